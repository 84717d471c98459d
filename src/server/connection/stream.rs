//! A stream that goes on: which frame it had, when it may have the next, when the last is to be repeated.

use std::time::{Duration, Instant};

use super::Settings;
use crate::frames::jpeg::Picture;
use crate::server::figures::Rate;
use crate::server::outbox::{Outbox, Shot};
use crate::server::quirks::{Facts, Quirks};

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) camera: usize,
    pub(super) period: Option<Duration>,
    pub(super) not_before: Instant,
    pub(super) have: Option<u64>,
    pub(super) picture: Option<Picture>,
    /// When the last frame, or a picture in its place, is sent again if there is no newer one.
    pub(super) repeat_at: Option<Instant>,
    pub(super) ending: bool,
    pub(super) quirks: Box<Quirks>,
    /// Frames that it is sent.
    pub(super) rate: Rate,
}

impl Stream {
    pub(super) fn new(
        camera: usize,
        period: Option<Duration>,
        quirks: Quirks,
        now: Instant,
        patience: Duration,
    ) -> Self {
        Stream {
            camera,
            period,
            not_before: now,
            have: None,
            picture: None,
            repeat_at: Some(now + patience),
            ending: false,
            quirks: Box::new(quirks),
            rate: Rate::new(now),
        }
    }

    /// Heads without frames do not fill the outbox, so they wait until it is empty.
    pub(super) fn takes_a_frame<F>(&self, out: &Outbox<F>) -> bool {
        let room = out.takes_a_frame() && (out.is_empty() || !self.quirks.zero_data);
        !self.ending && room
    }

    pub(super) fn begin<F>(&mut self, shot: &Shot<F>, now: Instant, settings: &Settings) -> Facts {
        let is_repeat = self.have == Some(shot.number);
        self.have = Some(shot.number);
        let repeat_after = self.quirks.repeat_after(is_repeat, settings.repeat_after);
        self.repeat_at = Some(now + repeat_after);
        self.rate.add(1, now);
        if let Some(period) = self.period {
            // On a grid, so that lateness does not add up; but what was missed is not made good.
            self.not_before = (self.not_before + period).max(now);
        }
        Facts {
            len: shot.len,
            captured: shot.captured,
            picture: shot.picture,
            fps: self.rate.at(now).round() as u32,
        }
    }
}
