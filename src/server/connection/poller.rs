//! How a client asks for one snapshot after another on its connection: which frame it was given last, and for how long
//! the next answer can be held back.
//!
//! An answer that is held back until the camera's next frame is fresher. If the client begins its requests at a fixed
//! rate, that costs it nothing as long as it would have paused anyway: it pauses less. If it pauses for a fixed time
//! after each answer, every wait lowers its rate. Which of the two it is shows in the time from one request to the
//! next, when the answer to the first was held back.

use std::time::{Duration, Instant};

/// A wait shorter than this is none.
const NOTHING: Duration = Duration::from_millis(3);

/// So many waits that cost the client time in a row are no coincidence.
const STRIKES: u8 = 3;

/// For how many requests nothing is held back then.
const REST: u8 = 100;

/// The client of a connection, as far as it asks for snapshots.
#[derive(Debug, Default)]
pub(in crate::server) struct Poller {
    /// The camera and the number of the frame that was given last.
    given: Option<(usize, u64)>,
    asked: Option<Instant>,
    /// How long the last answer took.
    held: Duration,
    /// When the last answer had been handed to the system.
    sent: Option<Instant>,
    /// The time from one request to the next, if the first was answered at once.
    usual: Option<Duration>,
    slack: Duration,
    strikes: u8,
    resting: u8,
}

impl Poller {
    /// The client asks again.
    pub(in crate::server) fn ask(&mut self, now: Instant) {
        if let Some(before) = self.asked.replace(now) {
            self.learn(now.saturating_duration_since(before));
        }
        let pause = self
            .sent
            .take()
            .map(|sent| now.saturating_duration_since(sent));
        self.resting = self.resting.saturating_sub(1);
        self.slack = match self.resting {
            0 => pause.unwrap_or_default().saturating_sub(NOTHING),
            _ => Duration::ZERO,
        };
    }

    /// For how long the answer can be held back.
    pub(in crate::server) fn slack(&self) -> Duration {
        self.slack
    }

    fn learn(&mut self, cycle: Duration) {
        if self.held < NOTHING {
            self.usual = Some(cycle);
        } else if self
            .usual
            .is_some_and(|usual| cycle > usual + self.held / 2)
        {
            self.strikes += 1;
            if self.strikes == STRIKES {
                self.strikes -= 1;
                self.resting = REST;
            }
        } else {
            self.strikes = 0;
        }
    }

    /// The number of the frame of this camera that was given last, if nothing else was given since.
    pub(in crate::server) fn have(&self, camera: usize) -> Option<u64> {
        self.given
            .filter(|(of, _)| *of == camera)
            .map(|(_, number)| number)
    }

    /// The answer is this frame.
    pub(in crate::server) fn give(&mut self, camera: usize, number: u64, now: Instant) {
        self.given = Some((camera, number));
        let asked = self.asked.unwrap_or(now);
        self.held = now.saturating_duration_since(asked);
    }

    /// The answer has been handed to the system.
    pub(in crate::server) fn all_taken(&mut self, now: Instant) {
        self.sent = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_millis(66);

    /// A client with 200 requests. Every second answer is held back for 15 ms if it may be. Returns how many were, and the
    /// time that all took.
    fn poll(pauses_after_answers: bool) -> (usize, Duration) {
        let (mut poller, start) = (Poller::default(), Instant::now());
        let (mut now, mut held) = (start, 0);
        for number in 0..200 {
            poller.ask(now);
            let slack = poller.slack();
            let begun = now;
            if number % 2 == 1 && slack >= Duration::from_millis(15) {
                now += Duration::from_millis(15);
                held += 1;
            }
            poller.give(0, number, now);
            poller.all_taken(now);
            let from = if pauses_after_answers { now } else { begun };
            now = from + PERIOD;
        }
        (held, now - start)
    }

    #[test]
    fn a_client_with_a_rate_of_its_own_is_held_back_and_keeps_its_rate() {
        let (held, took) = poll(false);
        assert_eq!(held, 100);
        assert_eq!(took, PERIOD * 200);
    }

    #[test]
    fn a_client_that_would_lose_its_rate_is_let_go() {
        let (held, took) = poll(true);
        assert!(held <= 5, "{held}");
        assert!(took < PERIOD * 202);
    }

    #[test]
    fn a_client_without_pauses_is_not_held_back() {
        let (mut poller, now) = (Poller::default(), Instant::now());
        poller.ask(now);
        poller.give(1, 7, now);
        poller.all_taken(now);
        poller.ask(now);
        assert_eq!(poller.slack(), Duration::ZERO);
        assert_eq!((poller.have(1), poller.have(0)), (Some(7), None));
    }
}
