//! What the user can choose about a camera's pictures, whichever interface the camera uses.
//!
//! These are only wishes: what the camera makes of them is negotiated where it is opened. What is said about a wish that
//! it cannot fulfil is here, so that it is the same for all. Which camera
//! to use and how to encode its raw frames are not part of this: the former differs between the sources, and the
//! latter also applies to the test pattern.

use std::fmt;
use std::time::Instant;

use log::log;

use super::assignment::Assignment;
use super::opening_log::OpeningLog;
use super::source::Facts;
use crate::picture::format::{Fourcc, Sizes, USUAL_SIZE};
use crate::picture::jpeg::Size;
use crate::picture::pixels::PREFERENCE;
use crate::picture::turn::Transform;

/// For the sources `v4l2` and `libcamera`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CameraSettings {
    /// The pixel format; `None` selects the one that costs least.
    pub format: Option<Fourcc>,
    /// Width and height; `None` selects 640x480 or the nearest size that the camera has.
    pub size: Option<Size>,
    /// The standard of an analogue input, by the kernel's name for it; `None` selects what it detects.
    pub standard: Option<String>,
    /// Frames per second; `None` leaves the rate that the camera or its driver is set to.
    pub fps: Option<f64>,
    /// The controls to set, in this order; libcamera's `orientation` is one of them.
    pub controls: Vec<Assignment>,
    /// How the pictures are turned, after all that the controls do.
    pub turn: Transform,
}

impl CameraSettings {
    /// What is known about a camera that is not open: the size that was asked for, which is used for the picture that
    /// says why there is none.
    pub(super) fn facts(&self) -> Facts {
        Facts {
            size: self.size.map(|size| self.turn.size(size)),
            ..Facts::default()
        }
    }

    /// The size to ask for, as drivers count it.
    pub(super) fn size_to_ask_for(&self) -> (u32, u32) {
        let Size { width, height } = self.size.unwrap_or(USUAL_SIZE);
        (width.into(), height.into())
    }

    /// Whether a camera that was asked for that size may give this one.
    pub(super) fn takes_size(&self, given: (u32, u32)) -> bool {
        self.size.is_none() || given == self.size_to_ask_for()
    }

    /// Says so if the camera runs at another rate than was asked for.
    pub(super) fn tell_rate(
        &self,
        camera: &dyn fmt::Display,
        given: Option<f64>,
        told: &mut OpeningLog,
    ) {
        if let (Some(asked), Some(given)) = (self.fps, given) {
            if (asked - given).abs() > asked / 100.0 {
                log!(
                    told.level(Instant::now()),
                    "{camera} has no {asked} fps at this size and format, {given:.2} is the nearest"
                );
            }
        }
    }

    /// Why a camera cannot be used that offers no format that lazycam can read, or not the one that was asked for.
    pub(super) fn no_format(&self, camera: &dyn fmt::Display, offered: &[String]) -> String {
        let wanted = self.format.map_or(String::new(), |code| format!(" {code}"));
        let known: Vec<_> = PREFERENCE
            .iter()
            .map(|(code, _)| code.to_string())
            .collect();
        let (offered, known) = (one_after_another(offered), one_after_another(&known));
        format!(
            "{camera} has no format{wanted} that lazycam can read: it has {offered}; lazycam reads {known}"
        )
    }

    /// Why a camera cannot be used that does not have the size that was asked for in any of these formats.
    pub(super) fn no_size(
        &self,
        camera: &dyn fmt::Display,
        formats: impl Iterator<Item = (Fourcc, Option<Sizes>)>,
    ) -> String {
        let (width, height) = self.size_to_ask_for();
        let sizes = formats.map(|(code, sizes)| match sizes {
            Some(sizes) => format!("{code}: {sizes}"),
            None => format!("{code}: not told"),
        });
        let sizes = sizes.collect::<Vec<_>>().join("; ");
        format!("{camera} has no pictures of {width}x{height}; it has {sizes}")
    }
}

fn one_after_another(names: &[String]) -> String {
    match names {
        [] => "none".into(),
        names => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_that_has_not_what_was_asked_for_is_told_with_what_it_has() {
        let mut settings = CameraSettings::default();
        let offered = ["H264".to_owned(), "SRGGB10".to_owned()];
        let told = settings.no_format(&"camera a", &offered);
        let start = "camera a has no format that lazycam can read: it has H264, SRGGB10; lazycam reads MJPG, JPEG, YUYV, ";
        assert!(told.starts_with(start), "{told}");
        settings.format = Some(Fourcc(*b"NV12"));
        let told = settings.no_format(&"camera a", &[]);
        let start = "camera a has no format NV12 that lazycam can read: it has none; ";
        assert!(told.starts_with(start), "{told}");
        settings.size = Some(Size {
            width: 320,
            height: 200,
        });
        let sizes = Sizes::Discrete(vec![(640, 480), (320, 240)]);
        let formats = [(Fourcc(*b"MJPG"), Some(sizes)), (Fourcc(*b"NV12"), None)];
        assert_eq!(
            settings.no_size(&"camera a", formats.into_iter()),
            "camera a has no pictures of 320x200; it has MJPG: 640x480, 320x240; NV12: not told"
        );
    }

    #[test]
    fn a_size_that_was_asked_for_is_given_exactly_and_any_other_about() {
        let mut settings = CameraSettings::default();
        assert_eq!(settings.size_to_ask_for(), (640, 480));
        assert!(settings.takes_size((656, 488)));
        settings.size = Some(USUAL_SIZE);
        assert!(settings.takes_size((640, 480)) && !settings.takes_size((656, 488)));
    }
}
