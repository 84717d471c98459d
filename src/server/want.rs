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

    /// What the frame with this number is to the client.
    pub fn frame(&self, number: u64) -> Given {
        let skipped = match self {
            Want::Stream {
                have: Some(have), ..
            } => number.checked_sub(have + 1),
            _ => Some(0),
        };
        Given {
            skipped,
            is_notice: false,
        }
    }

    /// What a picture that takes the place of the frame with this number is to the client.
    pub fn notice(&self, number: u64) -> Given {
        Given {
            is_notice: true,
            ..self.frame(number)
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

/// What a frame, or a picture in its place, is to the client that wanted one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// How many frames came between the last one that the client had and this one; `None` if it has had this one
    /// already, and it is sent once more.
    pub skipped: Option<u64>,
    /// It is a picture that says why there is no frame.
    pub is_notice: bool,
}

impl Given {
    /// Whether the client is sent what it has had already.
    pub fn is_repeat(self) -> bool {
        self.skipped.is_none()
    }
}

/// Controls of a camera that a client wants to be set.
#[derive(Debug)]
pub struct Wished<'a> {
    /// The number of the camera.
    pub camera: usize,
    /// Each as `NAME=VALUE`.
    pub wishes: &'a [String],
    /// Since when it has been waiting.
    pub since: Instant,
    /// Whether it is told of devices by their paths.
    pub details: bool,
}

/// A report that only the whole server can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportKind {
    /// The state of cameras and viewers as JSON, with this camera where ustreamer's clients look for theirs.
    State {
        /// This camera, if there is any.
        camera: Option<usize>,
        /// With the paths and serial numbers of devices.
        details: bool,
    },
    /// Counters for Prometheus.
    Metrics,
    /// What of this camera can be set.
    Controls {
        /// Its number.
        camera: usize,
    },
}

/// What a viewer is looking at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// A stream of this camera.
    Stream(usize),
    /// A snapshot of this camera that it is waiting for.
    Snapshot(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(have: Option<u64>) -> Want {
        Want::Stream {
            camera: 0,
            have,
            not_before: Instant::now(),
            repeat: true,
            picture: None,
        }
    }

    #[test]
    fn a_frame_is_a_repeat_for_who_has_had_it_and_for_nobody_else() {
        for (have, number, skipped) in [
            (None, 7, Some(0)),
            (Some(6), 7, Some(0)),
            (Some(3), 7, Some(3)),
            (Some(7), 7, None),
        ] {
            let given = stream(have).frame(number);
            assert_eq!(given.skipped, skipped, "{have:?}");
            assert_eq!(given.is_repeat(), have == Some(number));
            let notice = stream(have).notice(number);
            assert_eq!((notice.skipped, notice.is_notice), (skipped, true));
        }
    }
}
