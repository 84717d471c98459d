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
mod tests;
