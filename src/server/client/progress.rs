//! Whether the data that was sent to a client arrives. Time-outs measure this, not the age of a connection.
//!
//! How much has arrived is only known when somebody looks, and then not since when. While frames are sent, each
//! decision is a look; while a client takes nothing, there are some for this alone, so that what arrived right after
//! the last look is not taken for something that arrived just now.

use std::time::{Duration, Instant};

/// A client that takes nothing is looked at this often per time-out, which is also how exactly the time-out is kept.
const LOOKS: u32 = 8;

/// What was seen at the last look.
#[derive(Debug)]
pub(super) struct Progress {
    /// How many bytes were still to be sent or acknowledged.
    left: u64,
    /// How many bytes had been acknowledged. Unlike `left`, this does not change when a new frame is added; if `left`
    /// were used instead, it would then look as if nothing had arrived.
    arrived: u64,
    looked: Instant,
    since: Instant,
    /// The system has refused to take what waits here.
    was_refused: bool,
}

impl Progress {
    pub(super) fn new(now: Instant) -> Self {
        Progress {
            left: 0,
            arrived: 0,
            looked: now,
            since: now,
            was_refused: false,
        }
    }

    /// What waits here was given to the client since the last attempt to send something, for which it may have waited long.
    pub(super) fn may_begin(&mut self, now: Instant) {
        if !self.was_refused && !self.is_owed() {
            self.since = now;
        }
    }

    /// The system took nothing.
    pub(super) fn refused(&mut self) {
        self.was_refused = true;
    }

    /// What was to arrive at the last look had not yet.
    pub(super) fn is_owed(&self) -> bool {
        self.left > 0
    }

    /// How many bytes had arrived at the last look.
    pub(super) fn arrived(&self) -> u64 {
        self.arrived
    }

    /// The system took bytes for the client.
    pub(super) fn wrote(&mut self, now: Instant) {
        (self.since, self.was_refused) = (now, false);
    }

    /// This many bytes have arrived, and this many are still to.
    pub(super) fn look(&mut self, arrived: u64, left: u64, now: Instant) {
        if arrived > self.arrived || left == 0 {
            self.since = now;
        }
        (self.arrived, self.left, self.looked) = (arrived, left, now);
    }

    /// When to look again, if there is something for the client to take, or it `waits` for another reason.
    pub(super) fn look_at(&self, waits: bool, timeout: Duration) -> Option<Instant> {
        (waits || self.is_owed()).then(|| (self.since + timeout).min(self.looked + timeout / LOOKS))
    }

    /// Whether something was to be taken and nothing was for so long, as far as the last look could tell.
    pub(super) fn is_over(&self, unsent: u64, timeout: Duration, now: Instant) -> bool {
        (unsent > 0 || self.is_owed()) && self.since + timeout <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(20);

    /// Looks when it is time to, at a client of whom `arrived` tells what it has taken by then; until it is given up.
    fn given_up_after(start: Instant, arrived: impl Fn(Duration) -> u64) -> (Duration, u32) {
        let mut progress = Progress::new(start);
        progress.wrote(start);
        for looks in 1..1000 {
            let now = progress.look_at(true, TIMEOUT).unwrap();
            progress.look(arrived(now - start), 1000, now);
            if progress.is_over(1, TIMEOUT, now) {
                return (now - start, looks);
            }
        }
        panic!("never given up");
    }

    #[test]
    fn who_takes_no_more_than_its_system_holds_is_given_up_when_the_time_is_over_and_not_when_it_is_twice()
     {
        let start = Instant::now();
        let (after, looks) = given_up_after(start, |at| if at.is_zero() { 0 } else { 4096 });
        assert!((TIMEOUT..TIMEOUT * 5 / 4).contains(&after), "{after:?}");
        assert!(looks <= 10, "{looks}");
    }

    #[test]
    fn who_takes_something_again_has_the_whole_time_again() {
        let start = Instant::now();
        let late = Duration::from_secs(19);
        let (after, _) = given_up_after(start, |at| if at < late { 10 } else { 11 });
        let expected = late + TIMEOUT..late + TIMEOUT * 5 / 4;
        assert!(expected.contains(&after), "{after:?}");
    }

    #[test]
    fn who_is_owed_nothing_is_not_looked_at() {
        let start = Instant::now();
        let mut progress = Progress::new(start);
        assert_eq!(progress.look_at(false, TIMEOUT), None);
        progress.look(0, 7, start);
        assert!(progress.look_at(false, TIMEOUT).is_some());
        progress.look(7, 0, start);
        assert_eq!(progress.look_at(false, TIMEOUT), None);
        assert!(!progress.is_over(0, TIMEOUT, start + TIMEOUT * 2));
    }
}
