//! Cameras that can mirror their pictures themselves are told to (V4L2_CID_HFLIP, V4L2_CID_VFLIP), because that costs
//! nothing. Whatever they cannot do is done here.
//!
//! The control `rotate` is not used: with 90 and 270 degrees some drivers exchange width and height and others stretch
//! the picture.

use std::time::Instant;

use log::log;

use super::controls::{ControlKind, Setting};
use super::device::Device;
use crate::capture::assignment::Assignment;
use crate::capture::opening_log::OpeningLog;
use crate::capture::settings::CameraSettings;
use crate::picture::turn::Transform;

/// What the camera does, as settings, and what is left to be done here.
pub(super) fn divide(
    device: &Device,
    settings: &CameraSettings,
    told: &mut OpeningLog,
) -> (Vec<Setting>, Transform) {
    let turn = settings.turn;
    if turn.is_none() {
        return (Vec::new(), turn);
    }
    let path = device.path().display();
    let mirrored = mirrors(device, settings).and_then(|all| device.set_controls(&all).ok());
    match mirrored {
        Some(set) => {
            let level = told.level(Instant::now());
            log!(level, "{path} turns its pictures itself: {turn}");
            (set, Transform::default())
        }
        None => {
            let level = told.level(Instant::now());
            log!(
                level,
                "{path} cannot turn its pictures like that, so they are {turn} here"
            );
            (Vec::new(), turn)
        }
    }
}

/// The controls that turn the pictures; `None` if there are none, or if the user has set them.
fn mirrors(device: &Device, settings: &CameraSettings) -> Option<Vec<Assignment>> {
    let Transform {
        transposed,
        horizontal,
        vertical,
    } = settings.turn;
    let needed = [("horizontal_flip", horizontal), ("vertical_flip", vertical)];
    let needed = needed.iter().filter(|(_, is_needed)| *is_needed);
    let controls = (!transposed).then(|| device.controls())?;
    let mirror = |(name, _): &(&str, bool)| {
        let found = controls.iter().find(|control| control.name == *name)?;
        let usable = found.kind == ControlKind::Boolean && !found.read_only && !found.inactive;
        let is_set = settings.controls.iter().any(|one| one.name == *name);
        // The default is how the camera is built in.
        (usable && !is_set).then(|| Assignment {
            name: found.name.clone(),
            value: (1 - found.default).to_string(),
        })
    };
    needed.map(mirror).collect()
}

/// Leaves the camera as it was found, for the next program.
pub(super) fn undo(device: &Device, set: &[Setting]) {
    let before: Vec<_> = set.iter().map(Setting::inverted).collect();
    device.set_again(&before);
}
