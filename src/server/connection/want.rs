//! What a connection waits for: the words in which it says so to those who can give it.

use std::time::Instant;

use crate::frames::jpeg::Picture;
use crate::server::route::Terms;

/// A frame that the connection waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Want {
    /// The newest, if it is newer than the one that it had.
    Stream {
        /// Of this camera.
        camera: usize,
        /// The number of the last frame sent.
        have: Option<u64>,
        /// Not before this time (`fps=`).
        not_before: Instant,
        /// It is time to repeat the last frame if there is no newer one.
        repeat: bool,
        /// The size of the frames so far, if it had any.
        picture: Option<Picture>,
    },
    /// One that meets the client's terms.
    Snapshot {
        /// Of this camera.
        camera: usize,
        /// When it was asked for.
        since: Instant,
        /// What will do.
        terms: Terms,
    },
}

impl Want {
    /// The camera that it is about.
    pub fn camera(&self) -> usize {
        match self {
            Want::Stream { camera, .. } | Want::Snapshot { camera, .. } => *camera,
        }
    }

    /// The same, with patience.
    pub fn without_repeat(&self) -> Want {
        let mut want = self.clone();
        if let Want::Stream { repeat, .. } = &mut want {
            *repeat = false;
        }
        want
    }
}

/// An answer that only the whole server can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// What goes on, as JSON: with the stream of this camera at the place where ustreamer's clients look.
    State {
        /// This camera, if there is any.
        camera: Option<usize>,
    },
    /// Counters for Prometheus.
    Metrics,
}

/// What a viewer looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// A stream of this camera.
    Stream(usize),
    /// It waits for a snapshot of this camera.
    Snapshot(usize),
}
