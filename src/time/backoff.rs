//! Waits between attempts, each twice as long as the one before: what fails once may work in a moment, and what fails
//! again and again should cost nothing.

use std::time::Duration;

/// The waits of one kind of attempt, and how far along them it is.
///
/// There is no randomness in them: nothing here is tried by many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// From `first`, by doubling, up to `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Backoff {
            first,
            longest,
            next: first,
        }
    }

    /// An attempt has failed: how long to wait before the next one.
    pub fn fail(&mut self) -> Duration {
        let wait = self.next;
        self.next = wait.saturating_mul(2).min(self.longest);
        wait
    }

    /// An attempt has succeeded, or there is a reason to expect that: the next wait is the first one again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(3));
        let waits: Vec<_> = (0..5).map(|_| backoff.fail().as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 3000, 3000]);
        backoff.reset();
        assert_eq!(backoff.fail(), Duration::from_millis(500));
    }
}
