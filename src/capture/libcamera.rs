//! The source `libcamera`: cameras whose pictures libcamera processes, such as those on the camera connector of a
//! Raspberry Pi. It is built in with the cargo feature of the same name.
//!
//! <https://libcamera.org/api-html/>, used through the crate `libcamera`. **Open** means acquired, configured and
//! with its buffers mapped. **Stopped** means Camera::stop(): all of that is kept, exposure and white balance are
//! remembered, and the next start takes Camera::start() and one request per buffer. While stopped, libcamera's
//! threads sleep.
//!
//! **The callback** runs on a thread of libcamera that holds a lock, which is also needed to queue a request. So the
//! callback only puts the completed request into a channel and signals an eventfd; everything else happens in the
//! capture loop.
//!
//! **The newest frame wins**, as in the source `v4l2`: all completed requests but the last are queued again at once,
//! and the last one stays with us until a newer one has come. The encoder reads the planes from where the camera
//! wrote them.
//!
//! **One manager per process**: libcamera aborts the program when a second CameraManager is created, so a process has
//! only one camera source. A camera that is missing, in use or forbidden is tried again with a new manager, when
//! somebody asks for a frame and when something has happened in /dev. libcamera's own hot-plug support needs udev;
//! this does not.
//!
//! **A camera that goes silent** while it streams cannot be recovered from here, and stopping it may hang as well.
//! The same is true of a camera that libcamera itself has given up: after a time-out of its own, the Raspberry Pi's
//! pipeline (`CameraData::cameraTimeout()` in `pipeline/rpi/common/pipeline_base.cpp`) cancels all requests, and from
//! then on every request that is queued. In either case the fact is reported and the process ends with status 1
//! without touching the camera again. The kernel cleans up, and the supervisor of `lazycam run` or the service
//! manager starts a new process.
//!
//! Not supported: several streams from one camera, raw sensor data, and noticing that a camera was unplugged while it
//! is stopped (its next start fails, and that is noticed). The crate maps buffers without DMA_BUF_IOCTL_SYNC; the
//! memory that libcamera allocates for Raspberry Pis is coherent for readers.

mod camera;
mod configure;
mod controls;
mod find;
mod formats;

use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant, SystemTime};

use log::{log, warn};

use crate::capture::assignment::Assignment;
use crate::capture::control_facts::ControlFacts;
use crate::capture::devices::DeviceWatch;
use crate::capture::opening_log::OpeningLog;
use crate::capture::settings::CameraSettings;
use crate::capture::settling::Settling;
use crate::capture::source::{
    CameraName, Captured, Discarded, Facts, Source, Trouble, Unset, patience, silent,
};
use crate::error::{Error, Result};
use crate::picture::develop::Developer;
use crate::picture::encode::hardware::HardwareCoder;
use crate::time::clock::{ago, boottime, monotonic};
use camera::{Completed, OpenedCamera};
pub use controls::LibcameraControl;
pub use find::{Listed, ListedFormat, list};

/// A camera behind libcamera.
pub struct Libcamera {
    /// The camera to use; `None` stands for the first one found.
    name: Option<CameraName>,
    settings: CameraSettings,
    developer: Developer,
    watch: Option<DeviceWatch>,
    camera: Option<OpenedCamera>,
    told: OpeningLog,
    /// Set while it streams: the time of the last good frame, or of the start.
    streaming: Option<Instant>,
    /// Whether ending the process is the only remedy.
    failed: bool,
    settling: Settling,
}

impl Libcamera {
    /// Opens and configures the camera, or waits for one. Anything that will not work later either is an error.
    pub fn new(name: Option<CameraName>, settings: CameraSettings, quality: u8) -> Result<Self> {
        let watch = DeviceWatch::for_media();
        if let Err(error) = &watch {
            warn!("{error}; a camera that appears will be found when somebody asks");
        }
        let mut source = Libcamera {
            name,
            settings,
            developer: Developer::new(quality)?,
            watch: watch.ok(),
            camera: None,
            told: OpeningLog::new(),
            streaming: None,
            failed: false,
            settling: Settling::default(),
        };
        match OpenedCamera::open(source.name.as_ref(), &source.settings, &mut source.told) {
            Ok(camera) => {
                source.developer.turn(camera.turn);
                source.camera = Some(camera);
            }
            Err(wrong @ Error::Usage(_)) => return Err(wrong),
            Err(error) => warn!("{error}; waiting for it"),
        }
        Ok(source)
    }

    fn begin(&mut self, now: Instant) -> Result<()> {
        let camera = match &mut self.camera {
            Some(camera) => camera,
            none => {
                let name = self.name.as_ref();
                let camera = OpenedCamera::open(name, &self.settings, &mut self.told)?;
                let camera = none.insert(camera);
                log!(self.told.level(now), "opened {}", camera.describe());
                self.developer.turn(camera.turn);
                camera
            }
        };
        camera.start()?;
        self.streaming = Some(now);
        self.settling = Settling::new(false);
        Ok(())
    }

    /// How long to wait for the next frame.
    fn patience(&self) -> Duration {
        patience(self.camera.as_ref().map(OpenedCamera::longest_frame))
    }
}

impl Source for Libcamera {
    fn describe(&self) -> String {
        match (&self.camera, &self.name) {
            (Some(camera), _) => camera.describe(),
            (None, Some(name)) => format!("libcamera:{name}"),
            (None, None) => "libcamera, the first camera".into(),
        }
    }

    fn facts(&self) -> Facts {
        let camera = self.camera.as_ref();
        camera.map_or(self.settings.facts(), |camera| {
            camera.facts(&self.developer)
        })
    }

    fn start(&mut self, now: Instant) -> Result<(), Trouble> {
        self.begin(now).map_err(|error| {
            self.camera = None;
            Trouble::Lost(error.to_string())
        })
    }

    fn stop(&mut self) {
        self.developer.rest();
        let streaming = self.streaming.take().is_some();
        if self.failed {
            mem::forget(self.camera.take());
            return;
        }
        let Some(camera) = &mut self.camera else {
            return;
        };
        let stopped = if streaming { camera.stop() } else { Ok(()) };
        if let Err(error) = &stopped {
            warn!("{error}; it will be opened anew");
        }
        if stopped.is_err() || camera.is_gone() {
            self.camera = None;
        }
    }

    fn encode_with(&mut self, hardware: Box<dyn HardwareCoder>) {
        self.developer.encode_with(hardware);
    }

    fn encoder(&self) -> Option<&str> {
        self.developer.maker()
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.camera.as_ref().map(AsFd::as_fd)
    }

    fn deadline(&self) -> Option<Instant> {
        Some(self.streaming? + self.patience())
    }

    fn advance(&mut self, now: Instant) -> Result<Option<Captured>, Trouble> {
        let patience = self.patience();
        let (Some(camera), Some(last)) = (&mut self.camera, &mut self.streaming) else {
            return Ok(None);
        };
        let lost = |error: Error| Trouble::Lost(error.to_string());
        let Completed {
            frames,
            broken,
            cancelled,
            newest,
        } = camera.collect().map_err(lost)?;
        if newest.is_some() {
            *last = now;
        }
        let silence = now.saturating_duration_since(*last);
        if let Some(why) = given_up(cancelled, silence, patience) {
            self.failed = true;
            let what = self.describe();
            return Err(Trouble::Failed(format!("{what} {why}")));
        }
        let exposure = newest.as_ref().and_then(|newest| newest.exposure);
        let settled = self.settling.frames(frames, || exposure);
        camera.reader.discard_marked(broken);
        match newest {
            Some(newest) => {
                self.developer.next_frame();
                Ok(Some(Captured {
                    at: newest.stamp.map_or_else(SystemTime::now, wall_clock),
                    settled: newest.settled.unwrap_or(settled),
                }))
            }
            None => Ok(None),
        }
    }

    fn discarded(&mut self) -> Option<Discarded> {
        self.camera.as_mut()?.reader.discarded()
    }

    fn jpeg(&mut self) -> Result<&[u8], Trouble> {
        let broken = |what: String| Trouble::Broken(format!("libcamera: {what}"));
        let Some(camera) = &mut self.camera else {
            return Err(broken("no frame has come yet".into()));
        };
        let developed = camera.develop(&mut self.developer);
        developed.map_err(|error| broken(error.to_string()))
    }

    fn set_control(&mut self, wanted: &Assignment) -> Result<(), Unset> {
        let camera = self.camera.as_mut().ok_or(Unset::Later)?;
        camera.set_control(wanted).map_err(Unset::Refused)
    }

    fn controls(&self) -> Vec<ControlFacts> {
        let camera = self.camera.as_ref();
        camera.map(OpenedCamera::controls).unwrap_or_default()
    }

    fn presence(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(AsFd::as_fd)
    }

    fn look(&mut self) -> bool {
        self.watch.as_mut().is_some_and(DeviceWatch::drain) && self.camera.is_none()
    }
}

/// What happened to a camera that only a new process can recover.
fn given_up(cancelled: bool, silence: Duration, patience: Duration) -> Option<String> {
    if cancelled {
        return Some(
            "was given up by libcamera, which cancels its frames: check its cable and dmesg; ending, to be started anew"
                .into(),
        );
    }
    (silence >= patience).then(|| format!("{}; ending, to be started anew", silent(patience)))
}

/// Converts a time of the sensor's clock to the wall clock. According to the documentation the stamps are from
/// CLOCK_BOOTTIME, but most drivers use CLOCK_MONOTONIC, which is behind by the time for which the machine was
/// suspended.
fn wall_clock(stamp: Duration) -> SystemTime {
    let ages = [monotonic(), boottime()].map(|clock| clock.checked_sub(stamp));
    ago(ages.into_iter().flatten().next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_is_given_up_when_requests_are_cancelled_and_after_a_silence() {
        let (none, moment, patience) = (
            Duration::ZERO,
            Duration::from_secs(4),
            Duration::from_secs(5),
        );
        let why = |cancelled, silence| given_up(cancelled, silence, patience);
        assert_eq!((why(false, none), why(false, moment)), (None, None));
        let told = why(false, patience).unwrap();
        assert!(told.starts_with("has given no frame for 5 s: "), "{told}");
        assert!(why(true, none).unwrap().contains("cancels its frames"));
    }

    #[test]
    fn the_moment_of_capture_is_told_by_either_clock() {
        let before = SystemTime::now();
        let at = wall_clock(monotonic() - Duration::from_millis(500));
        let ago = before.duration_since(at).unwrap();
        assert!(ago > Duration::from_millis(400) && ago <= Duration::from_millis(500));
        let ahead = wall_clock(monotonic() + Duration::from_secs(1_000_000_000));
        assert!(ahead >= before && ahead <= SystemTime::now());
    }
}
