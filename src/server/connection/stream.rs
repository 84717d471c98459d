//! A stream in progress: which frame it had, when it may have the next, and when the last is to be repeated.

use std::time::{Duration, Instant};

use crate::picture::jpeg::Size;
use crate::server::connection::outbox::Outbox;
use crate::server::http::quirks::Quirks;
use crate::server::lent::Lent;
use crate::server::want::Given;
use crate::time::rate::Rate;

/// What is to become of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Course {
    GoesOn,
    /// It ends with the current frame.
    Ends,
    /// So it does here, and another process goes on with it.
    IsHandedOver,
}

#[derive(Debug)]
pub(in crate::server) struct Stream {
    pub(in crate::server) camera: usize,
    pub(in crate::server) period: Option<Duration>,
    pub(in crate::server) not_before: Instant,
    pub(in crate::server) have: Option<u64>,
    pub(in crate::server) picture: Option<Size>,
    /// When the last frame, or a picture in its place, is sent again if there is no newer one. The time counts from
    /// when the system has taken all of it, which on a slow line is long after it was begun.
    pub(in crate::server) repeat_at: Instant,
    /// The last frame sent was a repeat itself.
    is_repeat: bool,
    pub(in crate::server) course: Course,
    pub(in crate::server) quirks: Box<Quirks>,
    /// The rate of the frames that it is sent.
    pub(in crate::server) rate: Rate,
}

impl Stream {
    pub(in crate::server) fn new(
        camera: usize,
        period: Option<Duration>,
        quirks: Quirks,
        lent: &Lent<'_>,
    ) -> Self {
        Stream {
            camera,
            period,
            not_before: lent.now,
            have: None,
            picture: None,
            repeat_at: lent.now + lent.settings.patience,
            is_repeat: false,
            course: Course::GoesOn,
            quirks: Box::new(quirks),
            rate: Rate::new(lent.now),
        }
    }

    /// Heads without frames do not fill the outbox, so the next one waits until the outbox is empty.
    pub(in crate::server) fn takes_a_frame<F>(&self, out: &Outbox<F>) -> bool {
        let room = out.takes_a_frame() && (out.is_empty() || !self.quirks.zero_data);
        self.course == Course::GoesOn && room
    }

    /// The system has taken everything that there was to send.
    pub(in crate::server) fn all_taken(&mut self, lent: &Lent<'_>) {
        let after = match self.have {
            None => lent.settings.patience,
            Some(_) => {
                let usual = lent.settings.repeat_after;
                self.quirks.repeat_after(self.is_repeat, usual)
            }
        };
        self.repeat_at = lent.now + after;
    }

    /// There was no frame to give, and there is nothing to decide before `later`. If a repeat was due, it is tried
    /// again then, or after the usual time. A viewer that has had no frame yet has already waited for `patience`: its
    /// next try comes when a stream that has had a frame would get its first repeat.
    pub(in crate::server) fn give_nothing(&mut self, later: Option<Instant>, lent: &Lent<'_>) {
        let (now, settings) = (lent.now, lent.settings);
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
    pub(in crate::server) fn begin(&mut self, number: u64, given: Given, now: Instant) {
        self.have = Some(number);
        self.is_repeat = given.is_repeat();
        self.rate.add(1, now);
        if let Some(period) = self.period {
            // Times are on a grid, so that lateness does not add up; but what was missed is not made up for.
            self.not_before = (self.not_before + period).max(now);
        }
    }
}
