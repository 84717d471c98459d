//! What the user can choose of a camera's pictures, whichever interface the camera is behind.
//!
//! Only wishes: what a camera makes of them is negotiated where it is opened, and told there. Which camera, and how its raw
//! frames are encoded, is not here: the sources differ in the one and agree with the test pattern in the other.

use super::v4l2::{Assignment, Fourcc};

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
