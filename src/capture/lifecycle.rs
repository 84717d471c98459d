//! Decides when the camera runs and which frames are published, without doing any I/O.
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
//! | Starting | streams | held back until settled, or until the deadline | a frame, or the deadline |
//! | Live | streams | published if somebody asked since the last one was | a frame |
//! | Lingering | streams | dropped without being encoded | asked (noticed when a frame arrives), or the linger time is over |
//! | Lost | gone | none | asked, then until the time of the retry |
//!
//! *Asked* means that `current.jpg` has been opened since a frame was last put there. The decision to publish uses up
//! the request before the rename, so opening the new frame is a request for the next one.
//!
//! A camera may be faster than wanted (`Lifecycle::limit`). Frames that come before one is due are dropped as if they
//! had not come, and requests remain pending until then. Only a published frame advances the time grid, so a request
//! after a pause is answered with the next frame that arrives.
//!
//! A lost camera is tried again only while somebody is asking, and a single request does not last for ever: at each
//! failure the owner renames the empty file into place. Readers that are still waiting see it and open it, which is a
//! new request. Those that have left do not, and the camera is left alone until the next request.

use std::time::{Duration, Instant};

use super::pace::Pace;
use crate::time::backoff::Backoff;

/// The first wait after the camera was lost; each further one is twice as long as the one before.
const FIRST_RETRY: Duration = Duration::from_millis(500);

/// The longest wait.
const LAST_RETRY: Duration = Duration::from_secs(30);

/// What the owner has to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Continue to wait; if there is a frame at hand, drop it.
    Nothing,
    /// Start the source.
    Start,
    /// Stop the source.
    Stop,
    /// Publish the newest frame.
    Publish,
}

/// The state as it is reported to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Configured but not streaming.
    Off,
    /// Streaming, but no frame has been published since the start.
    Starting,
    /// Streaming, and each frame that is asked for is published.
    Live,
    /// Streaming, but nobody is asking.
    Lingering,
    /// The camera is gone.
    Lost,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Off,
    Starting {
        settled_by: Instant,
        /// Whether a frame has come that is not settled.
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
    state: Stage,
    asked: bool,
    linger: Duration,
    settle: Duration,
    pace: Pace,
    /// The waits that follow losses.
    backoff: Backoff,
}

impl Lifecycle {
    /// Creates a camera that is off. `linger` and `settle` are those of [`super::CaptureOptions`].
    pub fn new(linger: Duration, settle: Duration) -> Self {
        Lifecycle {
            state: Stage::Off,
            asked: false,
            linger,
            settle,
            pace: Pace::unlimited(),
            backoff: Backoff::new(FIRST_RETRY, LAST_RETRY),
        }
    }

    /// From now on, publishes frames no faster than this pace.
    pub(super) fn limit(&mut self, now: Instant, mut pace: Pace) {
        pace.start(now);
        self.pace = pace;
    }

    /// The state as it is reported to people.
    pub fn phase(&self) -> Activity {
        match self.state {
            Stage::Off => Activity::Off,
            Stage::Starting { .. } => Activity::Starting,
            Stage::Live => Activity::Live,
            Stage::Lingering { .. } => Activity::Lingering,
            Stage::Lost { .. } => Activity::Lost,
        }
    }

    /// Reports that somebody opened `current.jpg`.
    pub fn asked(&mut self, now: Instant) -> Action {
        self.asked = true;
        match self.state {
            Stage::Off => self.start(now),
            Stage::Lost { retry_at } if now >= retry_at => self.start(now),
            Stage::Lingering { .. } => {
                self.state = Stage::Live;
                Action::Nothing
            }
            Stage::Starting { .. } | Stage::Live | Stage::Lost { .. } => Action::Nothing,
        }
    }

    /// Reports that the source has a new frame. All requests before it must have been reported by
    /// [`Lifecycle::asked`].
    pub fn frame(&mut self, now: Instant, settled: bool) -> Action {
        match &mut self.state {
            Stage::Starting { settled_by, held } if !settled && now < *settled_by => {
                *held = true;
                Action::Nothing
            }
            Stage::Starting { .. } | Stage::Live if self.pace.is_due(now) => self.decide(now),
            Stage::Starting { .. } | Stage::Live => Action::Nothing,
            Stage::Off | Stage::Lingering { .. } | Stage::Lost { .. } => Action::Nothing,
        }
    }

    /// When [`Lifecycle::tick`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            Stage::Starting {
                settled_by,
                held: true,
            } => Some(settled_by),
            Stage::Lingering { until } => Some(until),
            Stage::Lost { retry_at } if self.asked => Some(retry_at),
            Stage::Off | Stage::Starting { .. } | Stage::Live | Stage::Lost { .. } => None,
        }
    }

    /// Reports that the deadline may have come. All requests before it must have been reported.
    pub fn tick(&mut self, now: Instant) -> Action {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return Action::Nothing;
        }
        match self.state {
            Stage::Starting { .. } => self.decide(now),
            Stage::Lost { .. } => self.start(now),
            Stage::Lingering { .. } => {
                self.state = Stage::Off;
                Action::Stop
            }
            Stage::Off | Stage::Live => Action::Nothing,
        }
    }

    /// Reports that the frame to be published was not published: it could not be written, or was not a valid frame.
    pub fn unpublished(&mut self) {
        self.asked = true;
    }

    /// Reports that the camera was lost, or did not start. `announced` says that the empty file is in place, so that
    /// earlier requests will be repeated by those who are still waiting. Returns the time until the retry, which is at
    /// most `longest`.
    pub fn lost(&mut self, now: Instant, announced: bool, longest: Duration) -> Duration {
        let wait = self.backoff.fail().min(longest);
        self.asked &= !announced;
        self.state = Stage::Lost {
            retry_at: now + wait,
        };
        wait
    }

    /// Reports that the source was stopped and started: a frame that was held back until it has settled is gone.
    pub fn restarted(&mut self) {
        if let Stage::Starting { held, .. } = &mut self.state {
            *held = false;
        }
    }

    /// Reports that the device has come back, or may have: there is no reason to wait any longer.
    pub fn returned(&mut self, now: Instant) -> Action {
        let Stage::Lost { .. } = self.state else {
            return Action::Nothing;
        };
        self.backoff.reset();
        self.state = Stage::Lost { retry_at: now };
        self.tick(now)
    }

    fn start(&mut self, now: Instant) -> Action {
        self.state = Stage::Starting {
            settled_by: now + self.settle,
            held: false,
        };
        Action::Start
    }

    fn decide(&mut self, now: Instant) -> Action {
        self.backoff.reset();
        if self.asked {
            self.asked = false;
            self.state = Stage::Live;
            self.pace.pass(now);
            return Action::Publish;
        }
        self.state = Stage::Lingering {
            until: now + self.linger,
        };
        Action::Nothing
    }
}

#[cfg(test)]
mod tests;
