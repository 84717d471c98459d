//! What the user can choose of a camera's pictures, whichever interface the camera is behind.
//!
//! Only wishes: what a camera makes of them is negotiated where it is opened, and told there. Which camera, and how its raw
//! frames are encoded, is not here: the sources differ in the one and agree with the test pattern in the other.

use super::source::Facts;
use super::v4l2::{Assignment, Fourcc};
use crate::frames::jpeg::Picture;

/// For the sources `v4l2` and `libcamera`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// The pixel format; `None` takes the one that costs least.
    pub format: Option<Fourcc>,
    /// Width and height; without, 640x480 or what the camera has near it.
    pub size: Option<(u16, u16)>,
    /// Frames per second; without, what the camera or its driver is set to.
    pub fps: Option<f64>,
    /// Controls to set, in this order; libcamera's `orientation` is one of them.
    pub controls: Vec<Assignment>,
}

impl Settings {
    /// What is known of a camera that is not open: the size that it has to have, for the picture that says why there is none.
    pub(super) fn facts(&self) -> Facts {
        let size = self.size.map(|(width, height)| Picture { width, height });
        Facts {
            size,
            ..Facts::default()
        }
    }
}
