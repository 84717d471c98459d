//! A camera that is open and configured.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::buffers::Buffers;
use super::choice::{choose, first_camera};
use super::controls::Setting;
use super::device::Device;
use super::signal::Signal;
use super::standard;
use super::turning;
use crate::capture::control_facts::ControlFacts;
use crate::capture::opening_log::OpeningLog;
use crate::capture::settings::CameraSettings;
use crate::capture::source::{BUFFERS, Facts, described};
use crate::error::{Error, Result};
use crate::picture::develop::FrameReader;
use crate::picture::format::Format;
use crate::picture::turn::Transform;

/// With fewer than this, the driver has no buffer while we hold one.
const FEWEST_BUFFERS: usize = 2;

/// A camera that is open and configured.
pub(super) struct Opened {
    pub(super) device: Device,
    pub(super) format: Format,
    pub(super) fps: Option<f64>,
    pub(super) reader: FrameReader,
    /// Present if the source has a say.
    pub(super) signal: Option<Signal>,
    /// What the user has set.
    pub(super) controls: Vec<Setting>,
    /// What mirrors the pictures.
    pub(super) mirrors: Vec<Setting>,
    /// Present from the first start on.
    pub(super) buffers: Option<Buffers>,
}

impl Opened {
    /// Opens and configures the device at `path`, or the first camera that there is. Returns also how its pictures have to be turned
    /// here. `has_no_signal` tells an error that will be over when its source sends something.
    pub(super) fn open(
        path: Option<&Path>,
        settings: &CameraSettings,
        has_no_signal: &mut bool,
        told: &mut OpeningLog,
    ) -> Result<(Self, Transform)> {
        *has_no_signal = false;
        let device = match path {
            Some(path) => Device::open(path)?,
            None => first_camera()?,
        };
        let signal = match &settings.standard {
            Some(wanted) => {
                standard::set(&device, wanted)?;
                None
            }
            None => {
                *has_no_signal = true;
                let signal = Signal::take(&device, told)?;
                *has_no_signal = false;
                signal
            }
        };
        choose(&device, settings)?;
        let fps = device.set_rate(settings.fps);
        settings.tell_rate(&device.path().display(), fps, told);
        let controls = device.set_controls(&settings.controls)?;
        let (mirrors, turn) = turning::divide(&device, settings, told);
        let format = device.format()?;
        // The driver may have changed its mind since it was asked for one that can be read.
        let path = device.path().display().to_string();
        let reader = FrameReader::new(&format, path.clone());
        let unread = || Error::Input(format!("{path} gave {format}, which lazycam cannot read"));
        let reader = reader.ok_or_else(unread)?;
        let camera = Opened {
            device,
            format,
            fps,
            reader,
            signal,
            controls,
            mirrors,
            buffers: None,
        };
        Ok((camera, turn))
    }

    /// The descriptor and the buffers, once the buffers exist.
    pub(super) fn stream(&mut self) -> Option<(BorrowedFd<'_>, &mut Buffers)> {
        Some((self.device.as_fd(), self.buffers.as_mut()?))
    }

    pub(super) fn stream_on(&mut self) -> Result<()> {
        let Opened {
            device, buffers, ..
        } = self;
        let fd = device.as_fd();
        let ours = match buffers {
            Some(buffers) => buffers,
            None => {
                let given = device.buffers(BUFFERS)?;
                if given.count() < FEWEST_BUFFERS {
                    let (path, count) = (device.path().display(), given.count());
                    let message =
                        format!("{path} gave {count} buffers, and it takes two to stream");
                    return Err(Error::Input(message));
                }
                buffers.insert(given)
            }
        };
        let started = ours.stream_on(fd);
        started.map_err(|errno| device.refused("start", errno))
    }

    /// Whether its source sends something else than it is set to, or nothing; what, is told when it is opened.
    pub(super) fn is_outdated(&self) -> bool {
        let current = self
            .signal
            .as_ref()
            .map(|signal| signal.is_current(&self.device));
        !matches!(current, None | Some(Ok(true)))
    }

    /// The time from one frame to the next, if the driver reports it.
    pub(super) fn interval(&self) -> Option<Duration> {
        Duration::try_from_secs_f64(1.0 / self.fps?).ok()
    }

    pub(super) fn describe(&self) -> String {
        let (path, card) = (self.device.path().display(), &self.device.card().card);
        let set = described(&self.format, self.fps);
        format!("v4l2 {path} ({card}), {set}")
    }
}

/// What is known of a device that was closed, so that its bus suspends it.
pub(super) struct Resting {
    pub(super) path: PathBuf,
    pub(super) description: String,
    pub(super) facts: Facts,
    pub(super) controls: Vec<ControlFacts>,
}

/// Why a device that rests cannot be opened, with how another program could come by it.
pub(super) fn taken_meanwhile(why: &str) -> String {
    format!("{why}; it was closed meanwhile because nobody looked")
}

impl Drop for Opened {
    fn drop(&mut self) {
        turning::undo(&self.device, &self.mirrors);
    }
}
