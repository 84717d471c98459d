//! A stream in progress: which frame it had, when it may have the next, and when the last is to be repeated.

use std::time::{Duration, Instant};

use super::Settings;
use crate::frames::jpeg::Picture;
use crate::server::figures::Rate;
use crate::server::outbox::{Outbox, Shot};
use crate::server::quirks::Quirks;

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) camera: usize,
    pub(super) period: Option<Duration>,
    pub(super) not_before: Instant,
    pub(super) have: Option<u64>,
    pub(super) picture: Option<Picture>,
    /// When the last frame, or a picture in its place, is sent again if there is no newer one. The time counts from
    /// when the system has taken all of it, which on a slow line is long after it was begun.
    pub(super) repeat_at: Instant,
    /// The last frame sent was a repeat itself.
    is_repeat: bool,
    pub(super) ending: bool,
    pub(super) quirks: Box<Quirks>,
    /// The rate of the frames that it is sent.
    pub(super) rate: Rate,
}

impl Stream {
    pub(super) fn new(
        camera: usize,
        period: Option<Duration>,
        quirks: Quirks,
        now: Instant,
        settings: &Settings,
    ) -> Self {
        Stream {
            camera,
            period,
            not_before: now,
            have: None,
            picture: None,
            repeat_at: now + settings.patience,
            is_repeat: false,
            ending: false,
            quirks: Box::new(quirks),
            rate: Rate::new(now),
        }
    }

    /// Heads without frames do not fill the outbox, so the next one waits until the outbox is empty.
    pub(super) fn takes_a_frame<F>(&self, out: &Outbox<F>) -> bool {
        let room = out.takes_a_frame() && (out.is_empty() || !self.quirks.zero_data);
        !self.ending && room
    }

    /// The system has taken everything that there was to send.
    pub(super) fn all_taken(&mut self, now: Instant, settings: &Settings) {
        let after = match self.have {
            None => settings.patience,
            Some(_) => {
                let usual = settings.repeat_after;
                self.quirks.repeat_after(self.is_repeat, usual)
            }
        };
        self.repeat_at = now + after;
    }

    /// There was no frame to give, and there is nothing to decide before `later`. If a repeat was due, it is tried
    /// again then, or after the usual time. A viewer that has had no frame yet has already waited for `patience`: its
    /// next try comes when a stream that has had a frame would get its first repeat.
    pub(super) fn give_nothing(
        &mut self,
        later: Option<Instant>,
        now: Instant,
        settings: &Settings,
    ) {
        if self.repeat_at > now {
            return;
        }
        let waited = if self.have.is_none() {
            settings.patience
        } else {
            Duration::ZERO
        };
        let usual = now + settings.repeat_after.saturating_sub(waited);
        let later = later.filter(|at| *at > now);
        self.repeat_at = later.map_or(usual, |at| at.min(usual));
    }

    /// Records the next part.
    pub(super) fn begin<F>(&mut self, shot: &Shot<F>, now: Instant) {
        self.is_repeat = self.have.replace(shot.number) == Some(shot.number);
        self.rate.add(1, now);
        if let Some(period) = self.period {
            // Times are on a grid, so that lateness does not add up; but what was missed is not made up for.
            self.not_before = (self.not_before + period).max(now);
        }
    }
}
