//! When the camera runs and which frames are published: the decisions, without any I/O.
//!
//! ```text
//!                 asked                       frame settled, or deadline
//!        ┌─────┐ ───────────▶ ┌──────────┐ ───────────────────────────▶ ┌──────┐
//!        │ Off │              │ Starting │                              │ Live │
//!        └─────┘              └──────────┘                              └──────┘
//!           ▲                      ▲  │                                  │    ▲
//!           │ linger over          │  │ lost       frame due, not asked  │    │ asked
//!           │                retry │  ▼                                  ▼    │
//!           │                  ┌──────┐        lost (also from      ┌───────────┐
//!           │                  │ Lost │ ◀─────── Live) ──────────── │ Lingering │
//!           │                  └──────┘                             └───────────┘
//!           └────────────────────────────────────────────────────────────┘
//! ```
//!
//! | state | camera | frames | sleeps until |
//! | --- | --- | --- | --- |
//! | Off | stopped | none | asked |
//! | Starting | streams | held back until settled, or the deadline | a frame, the deadline |
//! | Live | streams | published if asked since the last one was | a frame |
//! | Lingering | streams | dropped unencoded | asked (seen at a frame), the linger's end |
//! | Lost | gone | none | asked; then the retry's time |
//!
//! *Asked* means that `current.jpg` was opened since a frame was last put there. It is used up by the
//! decision to publish, before the rename, so that whoever opens the new frame asks for the next.
//!
//! A camera may be faster than wanted (`Lifecycle::limit`). Frames that come before one is due are dropped as if they had not
//! come; requests stand until then. Only what is published moves the grid on, so whoever asks after a pause
//! gets the next frame there is.
//!
//! A lost camera is tried again only while somebody asks, and one request does not last for ever: at each
//! failure the owner renames the empty file into place. Readers that still wait see it and open it; that
//! is asking again. Those who left do not, and the camera rests until the next request.

use std::time::{Duration, Instant};

use super::pace::Pace;

/// The first wait after the camera was lost; each further one is twice as long.
const FIRST_RETRY: Duration = Duration::from_millis(500);

/// The longest wait.
const LAST_RETRY: Duration = Duration::from_secs(30);

/// What the owner has to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Go on waiting; a frame at hand is dropped.
    Nothing,
    /// Start the source.
    Start,
    /// Stop the source.
    Stop,
    /// Publish the newest frame.
    Publish,
}

/// The state, as told to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Configured, not streaming.
    Off,
    /// Streaming, no frame published since.
    Starting,
    /// Streaming, each demanded frame is published.
    Live,
    /// Streaming, nobody asked.
    Lingering,
    /// The camera is gone.
    Lost,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Off,
    Starting {
        settled_by: Instant,
        /// A frame has come that is not settled.
        held: bool,
    },
    Live,
    Lingering {
        until: Instant,
    },
    Lost {
        retry_at: Instant,
    },
}

/// The state of one camera.
#[derive(Debug)]
pub struct Lifecycle {
    state: State,
    asked: bool,
    linger: Duration,
    settle: Duration,
    pace: Pace,
    /// The wait after the next loss.
    next_wait: Duration,
}

impl Lifecycle {
    /// A camera that is off. `linger` and `settle` are those of [`super::Options`].
    pub fn new(linger: Duration, settle: Duration) -> Self {
        Lifecycle {
            state: State::Off,
            asked: false,
            linger,
            settle,
            pace: Pace::unlimited(),
            next_wait: FIRST_RETRY,
        }
    }

    /// From now on frames are published at this pace at the most.
    pub(super) fn limit(&mut self, now: Instant, mut pace: Pace) {
        pace.start(now);
        self.pace = pace;
    }

    /// What people call the state.
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Off => Phase::Off,
            State::Starting { .. } => Phase::Starting,
            State::Live => Phase::Live,
            State::Lingering { .. } => Phase::Lingering,
            State::Lost { .. } => Phase::Lost,
        }
    }

    /// Somebody opened `current.jpg`.
    pub fn asked(&mut self, now: Instant) -> Action {
        self.asked = true;
        match self.state {
            State::Off => self.start(now),
            State::Lost { retry_at } if now >= retry_at => self.start(now),
            State::Lingering { .. } => {
                self.state = State::Live;
                Action::Nothing
            }
            State::Starting { .. } | State::Live | State::Lost { .. } => Action::Nothing,
        }
    }

    /// The source has a new frame, and all requests before it have been told by [`Lifecycle::asked`].
    pub fn frame(&mut self, now: Instant, settled: bool) -> Action {
        match &mut self.state {
            State::Starting { settled_by, held } if !settled && now < *settled_by => {
                *held = true;
                Action::Nothing
            }
            State::Starting { .. } | State::Live if self.pace.is_due(now) => self.decide(now),
            State::Starting { .. } | State::Live => Action::Nothing,
            State::Off | State::Lingering { .. } | State::Lost { .. } => Action::Nothing,
        }
    }

    /// When [`Lifecycle::tick`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Starting {
                settled_by,
                held: true,
            } => Some(settled_by),
            State::Lingering { until } => Some(until),
            State::Lost { retry_at } if self.asked => Some(retry_at),
            State::Off | State::Starting { .. } | State::Live | State::Lost { .. } => None,
        }
    }

    /// The deadline may have come, and all requests before it have been told.
    pub fn tick(&mut self, now: Instant) -> Action {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return Action::Nothing;
        }
        match self.state {
            State::Starting { .. } => self.decide(now),
            State::Lost { .. } => self.start(now),
            State::Lingering { .. } => {
                self.state = State::Off;
                Action::Stop
            }
            State::Off | State::Live => Action::Nothing,
        }
    }

    /// The frame that was to be published was not: it could not be written, or was none.
    pub fn unpublished(&mut self) {
        self.asked = true;
    }

    /// The camera was lost, or did not start. `announced` says that the empty file is in place, so that
    /// requests from before will be made again by those who still have them. Tells the wait.
    pub fn lost(&mut self, now: Instant, announced: bool) -> Duration {
        let wait = self.next_wait;
        self.next_wait = (wait * 2).min(LAST_RETRY);
        self.asked &= !announced;
        self.state = State::Lost {
            retry_at: now + wait,
        };
        wait
    }

    /// The device has come back, or may have: nothing is left to wait for.
    pub fn returned(&mut self, now: Instant) -> Action {
        let State::Lost { .. } = self.state else {
            return Action::Nothing;
        };
        self.next_wait = FIRST_RETRY;
        self.state = State::Lost { retry_at: now };
        self.tick(now)
    }

    fn start(&mut self, now: Instant) -> Action {
        self.state = State::Starting {
            settled_by: now + self.settle,
            held: false,
        };
        Action::Start
    }

    fn decide(&mut self, now: Instant) -> Action {
        self.next_wait = FIRST_RETRY;
        if self.asked {
            self.asked = false;
            self.state = State::Live;
            self.pace.pass(now);
            return Action::Publish;
        }
        self.state = State::Lingering {
            until: now + self.linger,
        };
        Action::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER: Duration = Duration::from_secs(5);
    const SETTLE: Duration = Duration::from_secs(1);

    /// A camera at a given state, and the moment it reached it.
    fn off() -> (Lifecycle, Instant) {
        (Lifecycle::new(LINGER, SETTLE), Instant::now())
    }

    fn starting() -> (Lifecycle, Instant) {
        let (mut camera, now) = off();
        assert_eq!(camera.asked(now), Action::Start);
        (camera, now)
    }

    fn live() -> (Lifecycle, Instant) {
        let (mut camera, now) = starting();
        assert_eq!(camera.frame(now, true), Action::Publish);
        (camera, now)
    }

    fn lingering() -> (Lifecycle, Instant) {
        let (mut camera, now) = live();
        assert_eq!(camera.frame(now, true), Action::Nothing);
        assert_eq!(camera.phase(), Phase::Lingering);
        (camera, now)
    }

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_camera_that_nobody_asked_for_has_no_deadline() {
        let (mut camera, now) = off();
        assert_eq!(camera.deadline(), None);
        assert_eq!(camera.tick(now + LINGER), Action::Nothing);
        assert_eq!(camera.phase(), Phase::Off);
    }

    #[test]
    fn every_frame_that_was_opened_is_followed_by_another() {
        let (mut camera, now) = live();
        for _ in 0..3 {
            assert_eq!(camera.asked(now), Action::Nothing);
            assert_eq!(camera.frame(now, true), Action::Publish);
        }
        assert_eq!(camera.deadline(), None);
    }

    /// A live camera of 30 fps whose frames are published `fps` times a second at the most, and somebody who asks for each.
    /// Tells the numbers of the frames published.
    fn published(fps: f64, frames: u32) -> Vec<u32> {
        let (mut camera, now) = live();
        camera.limit(now, Pace::limit(fps).unwrap());
        let at = |n: u32| now + Duration::from_secs_f64(f64::from(n) / 30.0);
        let publish = |n: &u32| {
            camera.asked(at(*n));
            camera.frame(at(*n), true) == Action::Publish
        };
        (0..frames).filter(publish).collect()
    }

    #[test]
    fn of_frames_that_come_too_fast_every_so_many_is_published() {
        assert_eq!(published(10.0, 12), [0, 3, 6, 9]);
        assert_eq!(published(1.0, 90), [0, 30, 60]);
        assert_eq!(published(20.0, 300).len(), 200);
        assert_eq!(published(30.0, 300).len(), 300);
    }

    #[test]
    fn a_frame_that_is_not_due_leaves_the_request_standing_and_starts_no_linger() {
        let (mut camera, now) = live();
        camera.limit(now, Pace::limit(1.0).unwrap());
        camera.asked(now);
        assert_eq!(camera.frame(now, true), Action::Publish);
        assert_eq!(camera.frame(now + millis(100), true), Action::Nothing);
        assert_eq!(camera.phase(), Phase::Live);
        camera.asked(now + millis(200));
        assert_eq!(camera.frame(now + millis(300), true), Action::Nothing);
        assert_eq!(camera.frame(now + millis(1000), true), Action::Publish);
    }

    #[test]
    fn who_asks_after_a_pause_waits_for_no_turn() {
        let (mut camera, now) = live();
        camera.limit(now, Pace::limit(1.0).unwrap());
        camera.asked(now);
        assert_eq!(camera.frame(now, true), Action::Publish);
        assert_eq!(camera.frame(now + millis(1000), true), Action::Nothing);
        assert_eq!(camera.phase(), Phase::Lingering);
        camera.asked(now + millis(1010));
        assert_eq!(camera.frame(now + millis(1033), true), Action::Publish);
        camera.asked(now + millis(1040));
        assert_eq!(camera.frame(now + millis(1066), true), Action::Nothing);
    }

    #[test]
    fn a_frame_due_when_the_last_one_was_never_opened_is_dropped() {
        let (mut camera, now) = lingering();
        assert_eq!(camera.frame(now, true), Action::Nothing);
        assert_eq!(camera.deadline(), Some(now + LINGER));
    }

    #[test]
    fn a_request_while_lingering_is_met_by_the_next_frame() {
        let (mut camera, now) = lingering();
        assert_eq!(camera.asked(now), Action::Nothing);
        assert_eq!(camera.deadline(), None);
        assert_eq!(camera.frame(now + LINGER * 2, true), Action::Publish);
    }

    #[test]
    fn after_the_linger_the_source_is_stopped_and_starts_again_when_asked() {
        let (mut camera, now) = lingering();
        assert_eq!(camera.tick(now + LINGER - millis(1)), Action::Nothing);
        assert_eq!(camera.tick(now + LINGER), Action::Stop);
        assert_eq!(camera.deadline(), None);
        assert_eq!(camera.asked(now + LINGER * 2), Action::Start);
    }

    #[test]
    fn unsettled_frames_are_held_back_until_one_has_settled() {
        let (mut camera, now) = starting();
        assert_eq!(camera.frame(now + millis(100), false), Action::Nothing);
        assert_eq!(camera.frame(now + millis(200), true), Action::Publish);
        assert_eq!(camera.asked(now + millis(210)), Action::Nothing);
        // Exposure that changes later is no reason to hold anything back.
        assert_eq!(camera.frame(now + millis(300), false), Action::Publish);
    }

    #[test]
    fn the_frame_held_back_is_published_at_the_deadline() {
        let (mut camera, now) = starting();
        assert_eq!(camera.deadline(), None);
        assert_eq!(camera.frame(now + millis(100), false), Action::Nothing);
        assert_eq!(camera.deadline(), Some(now + SETTLE));
        assert_eq!(camera.tick(now + SETTLE), Action::Publish);
        assert_eq!(camera.phase(), Phase::Live);
    }

    #[test]
    fn the_first_frame_after_the_deadline_is_published_unsettled() {
        let (mut camera, now) = starting();
        assert_eq!(camera.frame(now + SETTLE, false), Action::Publish);
    }

    #[test]
    fn a_frame_that_could_not_be_published_leaves_the_request_standing() {
        let (mut camera, now) = live();
        camera.asked(now);
        assert_eq!(camera.frame(now, true), Action::Publish);
        camera.unpublished();
        assert_eq!(camera.frame(now, true), Action::Publish);
    }

    #[test]
    fn a_lost_camera_is_tried_again_only_while_somebody_asks() {
        let (mut camera, now) = live();
        camera.asked(now);
        assert_eq!(camera.lost(now, true), FIRST_RETRY);
        assert_eq!(camera.deadline(), None);
        assert_eq!(camera.asked(now + millis(10)), Action::Nothing);
        assert_eq!(camera.deadline(), Some(now + FIRST_RETRY));
        assert_eq!(camera.tick(now + FIRST_RETRY), Action::Start);
    }

    #[test]
    fn a_request_long_after_the_loss_is_tried_at_once() {
        let (mut camera, now) = live();
        camera.lost(now, true);
        assert_eq!(camera.asked(now + LAST_RETRY), Action::Start);
    }

    #[test]
    fn a_device_that_came_back_is_tried_at_once_if_somebody_asks() {
        let (mut camera, now) = live();
        camera.lost(now, true);
        camera.asked(now);
        assert_eq!(camera.returned(now), Action::Start);
        assert_eq!(camera.lost(now, true), FIRST_RETRY);
        assert_eq!(camera.returned(now), Action::Nothing);
        assert_eq!(camera.deadline(), None);
        assert_eq!(camera.asked(now), Action::Start);
    }

    #[test]
    fn a_device_that_comes_while_nothing_is_lost_changes_nothing() {
        let (mut camera, now) = off();
        assert_eq!(camera.returned(now), Action::Nothing);
        let (mut camera, _) = lingering();
        assert_eq!(camera.returned(now), Action::Nothing);
        assert_eq!(camera.phase(), Phase::Lingering);
    }

    #[test]
    fn a_request_that_could_not_be_renewed_is_not_forgotten() {
        let (mut camera, now) = starting();
        camera.lost(now, false);
        assert_eq!(camera.deadline(), Some(now + FIRST_RETRY));
    }

    #[test]
    fn waits_double_up_to_half_a_minute_and_start_over_with_a_usable_frame() {
        let (mut camera, now) = starting();
        let waits: Vec<_> = (0..8).map(|_| camera.lost(now, false)).collect();
        let secs = [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000].map(millis);
        assert_eq!(waits, secs);
        assert_eq!(camera.tick(now + LAST_RETRY), Action::Start);
        assert_eq!(camera.frame(now + LAST_RETRY, true), Action::Publish);
        assert_eq!(camera.lost(now + LAST_RETRY, true), FIRST_RETRY);
    }
}
