//! Limits how often a frame is let through.

use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// The most by which a frame can be early; if it comes even earlier, it is a different frame.
const JITTER: Duration = Duration::from_millis(20);

/// Lets something happen a given number of times per second: on average no more often than that, and never twice in a
/// row after a pause of an interval or more.
///
/// The times are on a grid, so 25 frames per second are reduced to 15 by leaving out two of every five, and not to
/// 12.5 by leaving out every second one.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Option<Duration>,
    /// How much before its time a frame is let through, to allow for the jitter of a camera or of the scheduler.
    tolerance: Duration,
    due: Option<Instant>,
}

impl Pace {
    /// For frames that arrive by themselves: lets `fps` of them through per second.
    pub(super) fn limit(fps: f64) -> Result<Self> {
        let interval = interval(fps)?;
        Ok(Pace {
            interval: Some(interval),
            tolerance: (interval / 4).min(JITTER),
            due: None,
        })
    }

    /// Lets every frame through.
    pub(super) fn unlimited() -> Self {
        Pace {
            interval: None,
            tolerance: Duration::ZERO,
            due: None,
        }
    }

    /// For frames that are fetched: never before their time.
    pub(super) fn clock(fps: f64) -> Result<Self> {
        Ok(Pace {
            interval: Some(interval(fps)?),
            tolerance: Duration::ZERO,
            due: None,
        })
    }

    /// Makes the first frame due now.
    pub(super) fn start(&mut self, now: Instant) {
        self.due = Some(now);
    }

    /// When the next frame is due; `None` before the start.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Frames per second; `None` if there is no limit.
    pub(super) fn fps(&self) -> Option<f64> {
        // Rounded to thousandths, because the interval is in whole nanoseconds.
        let fps = |interval: Duration| (1e3 / interval.as_secs_f64()).round() / 1e3;
        self.interval.map(fps)
    }

    /// Whether a frame may pass now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let due = self.due.filter(|_| self.interval.is_some());
        due.is_none_or(|due| now + self.tolerance >= due)
    }

    /// Records that a frame passes. The next one is due one interval after this one was due, or half an interval from
    /// now if this one was late by more than half an interval.
    pub(super) fn pass(&mut self, now: Instant) {
        if let Some(interval) = self.interval {
            let due = self.due.unwrap_or(now);
            self.due = Some((due + interval).max(now + interval / 2));
        }
    }

    /// Lets a frame pass if it may, and returns whether it did.
    pub(super) fn admit(&mut self, now: Instant) -> bool {
        let due = self.is_due(now);
        if due {
            self.pass(now);
        }
        due
    }
}

fn interval(fps: f64) -> Result<Duration> {
    if !(0.01..=1000.0).contains(&fps) {
        let message = format!("{fps} frames per second is not between 0.01 and 1000");
        return Err(Error::Usage(message));
    }
    Ok(Duration::from_secs_f64(1.0 / fps))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `count` frames pass that arrive at `rate` per second, every other one of them early by `jitter`.
    fn passed(limit: f64, rate: f64, count: u32, jitter: Duration) -> usize {
        let mut pace = Pace::limit(limit).unwrap();
        let start = Instant::now() + jitter;
        pace.start(start);
        let time = |n: u32| {
            let on_time = start + Duration::from_secs_f64(f64::from(n) / rate);
            if n % 2 == 1 {
                on_time
            } else {
                on_time - jitter
            }
        };
        (0..count).filter(|&n| pace.admit(time(n))).count()
    }

    #[test]
    fn thirty_become_fifteen_though_the_frames_jitter() {
        let jitter = Duration::from_millis(12);
        assert_eq!(passed(15.0, 30.0, 300, Duration::ZERO), 150);
        assert_eq!(passed(15.0, 30.0, 300, jitter), 150);
    }

    #[test]
    fn a_limit_above_the_rate_lets_all_through() {
        let jitter = Duration::from_millis(4);
        assert_eq!(passed(30.0, 30.0, 300, jitter), 300);
        assert_eq!(passed(60.0, 30.0, 300, jitter), 300);
    }

    #[test]
    fn a_limit_that_does_not_divide_the_rate_is_kept_on_average() {
        assert_eq!(passed(15.0, 25.0, 250, Duration::ZERO), 150);
        assert_eq!(passed(10.0, 30.0, 300, Duration::ZERO), 100);
    }

    #[test]
    fn after_a_pause_frames_are_not_let_through_in_a_bunch() {
        let mut pace = Pace::limit(10.0).unwrap();
        let start = Instant::now();
        pace.start(start);
        assert!(pace.admit(start));
        let late = start + Duration::from_secs(5);
        assert!(pace.admit(late));
        assert!(!pace.admit(late + Duration::from_millis(10)));
    }

    #[test]
    fn rates_that_are_none_are_refused() {
        for fps in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Pace::clock(fps).is_err(), "{fps}");
        }
    }
}
