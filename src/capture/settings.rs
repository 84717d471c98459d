//! What the user can choose about a camera's pictures, whichever interface the camera uses.
//!
//! These are only wishes: what the camera makes of them is negotiated and reported where it is opened. Which camera
//! to use and how to encode its raw frames are not part of this: the former differs between the sources, and the
//! latter also applies to the test pattern.

use super::source::Facts;
use super::v4l2::{Assignment, Fourcc};
use crate::picture::jpeg::Picture;

/// For the sources `v4l2` and `libcamera`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// The pixel format; `None` selects the one that costs least.
    pub format: Option<Fourcc>,
    /// Width and height; `None` selects 640x480 or the nearest size that the camera has.
    pub size: Option<(u16, u16)>,
    /// Frames per second; `None` leaves the rate that the camera or its driver is set to.
    pub fps: Option<f64>,
    /// The controls to set, in this order; libcamera's `orientation` is one of them.
    pub controls: Vec<Assignment>,
}

impl Settings {
    /// What is known about a camera that is not open: the size that was asked for, which is used for the picture that
    /// says why there is none.
    pub(super) fn facts(&self) -> Facts {
        let size = self.size.map(|(width, height)| Picture { width, height });
        Facts {
            size,
            ..Facts::default()
        }
    }
}
