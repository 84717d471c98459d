//! How often something happens: events per second, counted as they come and computed when somebody asks.

use std::time::{Duration, Instant};

/// A rate is measured over the last window of at least this length.
const WINDOW: Duration = Duration::from_secs(1);

/// Events per second.
#[derive(Clone, Debug)]
pub struct Rate {
    since: Instant,
    count: u64,
    /// The rate of the previous window. Every viewer stores one, and an `f32` is exact enough for people.
    last: Option<f32>,
}

impl Rate {
    /// A rate before anything has happened.
    pub fn new(now: Instant) -> Self {
        Rate {
            since: now,
            count: 0,
            last: None,
        }
    }

    /// Counts `n` more events.
    pub fn add(&mut self, n: u64, now: Instant) {
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed >= WINDOW {
            self.last = Some(self.count as f32 / elapsed.as_secs_f32());
            (self.since, self.count) = (now, 0);
        }
        self.count += n;
    }

    /// The rate at this moment. It falls when nothing comes.
    pub fn at(&self, now: Instant) -> f64 {
        let elapsed = now.saturating_duration_since(self.since);
        let current = self.count as f64 / elapsed.max(WINDOW).as_secs_f64();
        match self.last {
            Some(last) if elapsed < WINDOW => last.into(),
            _ => current,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_rate_is_that_of_the_last_second_and_falls_when_nothing_comes() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        for n in 0..20 {
            rate.add(1, start + millis(n * 100));
        }
        assert_eq!(rate.at(start + millis(1950)), 10.0);
        assert_eq!(rate.at(start + millis(6000)), 2.0);
        rate.add(1, start + millis(11_000));
        assert_eq!(rate.at(start + millis(11_000)), 1.0);
    }
}
