//! How long a snapshot waits for its frame before it is refused, and what becomes of a frame that comes too late.
//!
//! Clients give up after different times: moonraker-timelapse after 2 s, OctoPrint after 5 s. A camera that runs answers
//! well within 2 s, and if it does not, its client should learn that in time. A camera that sleeps has to start first,
//! which no client can do without, so it is waited for nearly as long as the more patient clients do: the others give
//! up, and their next request finds the camera running. For a camera that is lost or absent, there is nothing to wait
//! for but luck.
//!
//! A frame that comes after its request was refused is what that request has brought about. It is given to the next
//! request, though it may be older by then than a fresh frame is; otherwise a camera that needs longer than its client
//! waits would never answer.

use std::time::{Duration, Instant};

use crate::frames::state;
use crate::server::cameras::condition::CameraPhase;

/// For a camera that runs, or is in trouble.
const USUAL: Duration = Duration::from_millis(1500);

/// For a camera that starts, and the longest wait that a client has not asked for.
const STARTING: Duration = Duration::from_millis(4500);

/// The longest wait that a client can ask for (`timeout=`).
const LONGEST: Duration = Duration::from_secs(30);

/// How old a frame may be, after a refusal, that the refused request has brought about: two of the intervals at which
/// clients are told to ask again (`Retry-After`).
const OWED: Duration = Duration::from_secs(10);

/// The last snapshot that was refused.
#[derive(Clone, Copy, Debug)]
struct LastRefusal {
    since: Instant,
    at: Instant,
}

/// What is known about the waits for one camera.
#[derive(Debug, Default)]
pub(in crate::server) struct Patience {
    refused: Option<LastRefusal>,
    /// How long the camera took for its last frame while it was running.
    needed: Option<Duration>,
}

impl Patience {
    /// A frame has come that a running camera was asked for this long ago.
    pub(in crate::server) fn learn(&mut self, took: Duration) {
        self.needed = Some(took);
    }

    /// Until when a snapshot waits that was requested at `since`, by a client that has asked for a wait of `timeout`,
    /// or for none. A camera that has only just become live (`live_from`) has its first frame still to give.
    pub(in crate::server) fn until(
        &self,
        since: Instant,
        timeout: Option<Duration>,
        phase: CameraPhase,
        live_from: Option<Instant>,
    ) -> Instant {
        let wait = self.wait(timeout, phase);
        match (timeout, live_from) {
            (None, Some(live_from)) => {
                (live_from.max(since) + wait).min(since + wait.max(STARTING))
            }
            _ => since + wait,
        }
    }

    fn wait(&self, timeout: Option<Duration>, phase: CameraPhase) -> Duration {
        match (timeout, phase) {
            (Some(timeout), _) => timeout.min(LONGEST),
            (None, CameraPhase::Of(state::Phase::Off | state::Phase::Starting)) => STARTING,
            (None, CameraPhase::Of(state::Phase::Live)) => {
                let needed = self.needed.unwrap_or_default();
                (needed * 3 / 2).clamp(USUAL, STARTING)
            }
            (None, CameraPhase::Of(state::Phase::Lost) | CameraPhase::Absent) => USUAL,
        }
    }

    /// A snapshot that was requested at `since` is refused.
    pub(in crate::server) fn refuse(&mut self, since: Instant, now: Instant) {
        self.refused = Some(LastRefusal { since, at: now });
    }

    /// Whether a frame that arrived at this time was brought about by a request that was refused.
    pub(in crate::server) fn owes(&self, arrived: Instant, now: Instant) -> bool {
        self.refused.is_some_and(|refused| {
            arrived >= refused.since && now <= arrived.max(refused.at) + OWED
        })
    }

    /// A frame was given.
    pub(in crate::server) fn settle(&mut self) {
        self.refused = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOONRAKER: Duration = Duration::from_secs(2);
    const OCTOPRINT: Duration = Duration::from_secs(5);

    #[test]
    fn a_cold_camera_is_waited_for_longer_than_a_warm_one() {
        let patience = Patience::default();
        let wait = |phase| patience.wait(None, CameraPhase::Of(phase));
        for cold in [state::Phase::Off, state::Phase::Starting] {
            assert!(wait(cold) > MOONRAKER * 2 && wait(cold) < OCTOPRINT);
        }
        for other in [state::Phase::Live, state::Phase::Lost] {
            assert!(wait(other) < MOONRAKER);
        }
        assert!(patience.wait(None, CameraPhase::Absent) < MOONRAKER);
    }

    #[test]
    fn a_camera_that_was_waited_for_is_not_given_up_when_it_becomes_live() {
        let (patience, since) = (Patience::default(), Instant::now());
        let at = |millis| since + Duration::from_millis(millis);
        let live = CameraPhase::Of(state::Phase::Live);
        let until = |timeout, from| patience.until(since, timeout, live, Some(from));
        assert_eq!(until(None, since - Duration::from_secs(9)), at(1500));
        assert_eq!(until(None, at(2000)), at(3500));
        assert_eq!(until(None, at(4000)), at(4500));
        assert_eq!(until(Some(Duration::from_secs(1)), at(900)), at(1000));
    }

    #[test]
    fn the_wait_grows_with_what_the_camera_has_needed_up_to_what_clients_bear() {
        let mut patience = Patience::default();
        let live = CameraPhase::Of(state::Phase::Live);
        for (millis, wait) in [(30, 1500), (1200, 1800), (2000, 3000), (9000, 4500)] {
            patience.learn(Duration::from_millis(millis));
            assert_eq!(patience.wait(None, live), Duration::from_millis(wait));
        }
        let asked = |secs| Some(Duration::from_secs(secs));
        assert_eq!(patience.wait(asked(0), live), Duration::ZERO);
        assert_eq!(
            patience.wait(asked(20), CameraPhase::Absent),
            Duration::from_secs(20)
        );
        assert_eq!(patience.wait(asked(500), live), LONGEST);
    }

    #[test]
    fn a_frame_that_a_refused_request_has_brought_about_is_owed_once_and_for_a_while() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut patience = Patience::default();
        assert!(!patience.owes(at(3), at(3)));
        patience.refuse(at(1), at(2));
        assert!(!patience.owes(at(0), at(2)), "from before the request");
        assert!(patience.owes(at(3), at(13)));
        assert!(!patience.owes(at(3), at(14)));
        patience.settle();
        assert!(!patience.owes(at(3), at(4)));
    }
}
