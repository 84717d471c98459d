//! A frame on its way from a camera to a client.

use std::rc::Rc;
use std::time::{Instant, SystemTime};

use crate::picture::jpeg::Size;

/// A frame as the server hands it out.
#[derive(Debug)]
pub struct Shot<F> {
    /// The open file.
    pub file: Rc<F>,
    /// Its length in bytes.
    pub len: u64,
    /// When it was captured, by the wall clock.
    pub captured: SystemTime,
    /// When it was captured, by the monotonic clock, from which ages are computed.
    pub taken: Instant,
    /// Its size in pixels.
    pub picture: Size,
    /// A number that grows from frame to frame of a camera.
    pub number: u64,
}

impl<F> Clone for Shot<F> {
    fn clone(&self) -> Self {
        Shot {
            file: Rc::clone(&self.file),
            ..*self
        }
    }
}
