//! What clients wait for, in the words of those that can provide it: which camera, which frame of it, which report.
//!
//! This is all that connections and cameras have in common: a connection says what it wants, a camera says whether it
//! has it, and neither knows the other. Nothing here is HTTP; `http/route.rs` reads it from URLs.

use std::time::{Duration, Instant};

use crate::frames::name::Name;
use crate::picture::jpeg::Size;

/// Which camera a URL means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// No camera is named: the one that URLs without a name mean.
    Default,
    /// The one with this number (`?action=stream_1`).
    Number(usize),
    /// The one with this name (`/front/stream`).
    Name(Name),
}

/// Which frames the client of a snapshot accepts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Terms {
    /// `max_age=` in seconds: a frame that is no older than this will do.
    pub max_age: Option<Duration>,
    /// `after=`: not the frame with this `X-Timestamp`, but a later one.
    pub after: Option<Duration>,
    /// `timeout=` in seconds: how long to wait for such a frame.
    pub timeout: Option<Duration>,
    /// `wake=0`: the frame that a viewer took last, however old it is. The camera is not asked for another.
    pub last_taken: bool,
}

/// A frame that the connection waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Want {
    /// The newest frame, if it is newer than the last one that the stream had.
    Stream {
        /// Of this camera.
        camera: usize,
        /// The number of the last frame sent.
        have: Option<u64>,
        /// Not before this time (`fps=`).
        not_before: Instant,
        /// Whether it is time to repeat the last frame if there is no newer one.
        repeat: bool,
        /// The size of the frames so far, if there were any.
        picture: Option<Size>,
    },
    /// A frame that meets the client's terms.
    Snapshot {
        /// Of this camera.
        camera: usize,
        /// When the snapshot was requested.
        since: Instant,
        /// Which frames are acceptable.
        terms: Terms,
        /// The number of the frame that this client was given before on the same connection.
        have: Option<u64>,
        /// For how long the answer can be held back for a fresher frame without costing the client its rate.
        slack: Duration,
    },
}

impl Want {
    /// The camera that it concerns.
    pub fn camera(&self) -> usize {
        match self {
            Want::Stream { camera, .. } | Want::Snapshot { camera, .. } => *camera,
        }
    }

    /// The same wish without a repeat.
    pub fn without_repeat(&self) -> Want {
        let mut want = self.clone();
        if let Want::Stream { repeat, .. } = &mut want {
            *repeat = false;
        }
        want
    }
}

/// A report that only the whole server can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// The state of cameras and viewers as JSON, with this camera where ustreamer's clients look for theirs.
    State {
        /// This camera, if there is any.
        camera: Option<usize>,
    },
    /// Counters for Prometheus.
    Metrics,
}

/// What a viewer is looking at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// A stream of this camera.
    Stream(usize),
    /// A snapshot of this camera that it is waiting for.
    Snapshot(usize),
}
