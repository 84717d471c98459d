//! How often a camera's frames come.

use std::time::{Duration, Instant};

/// The last few intervals between a frame that was opened at once and the next one. Any other gap says more about the
/// viewers than about the camera. The median is used because cameras hiccup.
#[derive(Debug)]
pub(in crate::server) struct Intervals {
    samples: [Duration; Self::SAMPLES],
    count: usize,
    /// Stored, because every viewer asks for it with every frame.
    median: Option<Duration>,
}

impl Intervals {
    const SAMPLES: usize = 5;
    /// With a longer interval, a frame that is 'about one interval old' is not fresh by any standard.
    const LONGEST: Duration = Duration::from_secs(2);
    const SHORTEST: Duration = Duration::from_millis(1);
    /// If a frame was opened later than this after its arrival, the camera's next step may have been missed.
    const AT_ONCE: Duration = Duration::from_millis(5);

    pub(in crate::server) fn new() -> Self {
        Intervals {
            samples: [Duration::ZERO; Self::SAMPLES],
            count: 0,
            median: None,
        }
    }

    pub(in crate::server) fn learn(
        &mut self,
        arrived: Instant,
        asked: Instant,
        next_arrived: Instant,
    ) {
        if asked.saturating_duration_since(arrived) > Self::AT_ONCE {
            return;
        }
        let sample = next_arrived.saturating_duration_since(arrived);
        self.samples[self.count % Self::SAMPLES] = sample.clamp(Self::SHORTEST, Self::LONGEST);
        self.count += 1;
        let mut known = self.samples;
        let known = &mut known[..self.count.min(Self::SAMPLES)];
        known.sort_unstable();
        self.median = known.get(known.len() / 2).copied();
    }

    pub(in crate::server) fn median(&self) -> Option<Duration> {
        self.median
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_gaps_after_a_frame_that_was_opened_at_once_are_the_cameras() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut intervals = Intervals::new();
        assert_eq!(intervals.median(), None);
        intervals.learn(at(0), at(1), at(33));
        intervals.learn(at(33), at(900), at(1000));
        intervals.learn(at(1000), at(1000), at(1034));
        intervals.learn(at(1034), at(1034), at(1067));
        assert_eq!(intervals.median(), Some(Duration::from_millis(33)));
    }

    #[test]
    fn one_hiccup_does_not_change_the_interval_but_a_new_rate_does() {
        let start = Instant::now();
        let mut at = start;
        let mut intervals = Intervals::new();
        for gap in [33, 33, 500, 33, 33] {
            let next = at + Duration::from_millis(gap);
            intervals.learn(at, at, next);
            at = next;
        }
        assert_eq!(intervals.median(), Some(Duration::from_millis(33)));
        for _ in 0..3 {
            let next = at + Duration::from_millis(200);
            intervals.learn(at, at, next);
            at = next;
        }
        assert_eq!(intervals.median(), Some(Duration::from_millis(200)));
    }
}
