//! The source `v4l2`: a camera behind one of the kernel's video devices, mostly on USB.
//!
//! <https://docs.kernel.org/userspace-api/media/v4l/v4l2.html>; frames come through mapped buffers, as described in
//! its chapter "Streaming I/O (Memory Mapping)".
//!
//! **Open** from the beginning, so that anything that cannot work (no such size, no such control) is reported at once. Format,
//! rate and controls are set when the device is opened, and controls once more after each start, because some drivers reset them
//! then. **Stopped** means VIDIOC_STREAMOFF: the device stays open and the buffers stay allocated, and the next start takes one
//! ioctl per buffer and VIDIOC_STREAMON. If a camera cannot be used yet, because it is not plugged in, another program is using it
//! or permission is missing, this is logged, and another attempt is made when somebody asks for a frame.
//!
//! **The newest frame wins.** At each wake-up all filled buffers are taken, and all but the last are returned at once. The last one
//! stays with us until a newer one has come. It is encoded, or passed on from where it is, only when it is asked for.
//!
//! **On a bus that could suspend it** the device is closed after half a minute, because most kernels do not suspend a USB camera
//! that is open. It is opened again, with all that is set, by the next start.
//!
//! **Unplugged**, the device returns ENODEV. It is then closed, even while stopped, because the number of its node becomes
//! available for its return only after the last descriptor is closed. inotify on /dev reports when it is back.
//!
//! **An input whose source has a say**, such as HDMI, is set up anew when its source has changed: see `signal`.
//!
//! Not supported: cameras whose frames are raw Bayer data, which need libcamera.
//!
//! The ioctls are our own, in `v4l2/ioctl.rs` and `v4l2/buffers.rs`. The crates `v4l` and `v4l2r` generate theirs with bindgen, which
//! needs libclang and the target's kernel headers on the build machine. `rscam` and `linux-video` have hand-written structures as well,
//! but do not check their layout, and the former uses the C library's `timeval`, whose width differs from the kernel's.

mod advice;
mod buffers;
mod choice;
mod controls;
mod device;
mod encoder;
mod format;
mod held;
mod ioctl;
mod opened;
mod reported;
mod signal;
mod standard;
mod turning;

use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use log::{debug, log, warn};
use rustix::io::Errno;

use crate::capture::assignment::Assignment;
use crate::capture::control_facts::ControlFacts;
use crate::capture::devices::{self, DeviceWatch, video_nodes};
use crate::capture::opening_log::OpeningLog;
use crate::capture::settings::CameraSettings;
use crate::capture::settling::{Settling, usable};
use crate::capture::source::{
    Captured, Discarded, Facts, Source, Trouble, Unset, patience, silent,
};
use crate::capture::stamps::Stamps;
use crate::error::{Error, Result};
use crate::event::Interest;
use crate::picture::develop::Developer;
use crate::picture::encode::hardware::HardwareCoder;
use crate::time::clock::{ago, monotonic};
use buffers::Filled;
pub use choice::{first_camera, readable_formats};
pub use controls::{Control, ControlKind};
pub use device::{Card, Device};
pub use encoder::{EncoderFacts, EncoderKind};
pub use format::Interval;
use held::{HeldBuffer, is_marked};
use opened::{Opened, Resting, taken_meanwhile};

/// The longest wait before an input is asked again whether its source sends anything.
const ASK_FOR_SIGNAL: Duration = Duration::from_secs(1);

/// How long after a stop, or after it was opened, a device is closed that its bus could suspend.
const REST_AFTER: Duration = Duration::from_secs(30);

/// A camera behind a video device.
pub struct V4l2 {
    /// The device to use; `None` stands for the first camera found.
    path: Option<PathBuf>,
    settings: CameraSettings,
    developer: Developer,
    watch: Option<DeviceWatch>,
    camera: Option<Opened>,
    /// Present while it is closed on purpose.
    resting: Option<Resting>,
    told: OpeningLog,
    /// When it may be closed.
    rest_at: Option<Instant>,
    /// Set while it streams: the time of the start or of the last frame.
    streaming: Option<Instant>,
    /// What the driver's stamps since the last start are worth.
    stamps: Stamps,
    /// Whether closing the device is the only remedy.
    failed: bool,
    /// Whether the device is there, but no signal that it can take.
    has_no_signal: bool,
    /// The newest frame, in a buffer that is returned to the driver when the next one has come.
    held: HeldBuffer,
    /// How many have come since it was last told.
    came: u32,
    settling: Settling,
}

impl V4l2 {
    /// Opens and configures the camera, or waits for one. Anything that will not work later either is an error.
    pub fn new(path: Option<PathBuf>, settings: CameraSettings, quality: u8) -> Result<Self> {
        let watch = DeviceWatch::new(path.as_deref());
        if let Err(error) = &watch {
            warn!("{error}; a camera that is plugged in will be found when somebody asks");
        }
        let mut source = V4l2 {
            path,
            settings,
            developer: Developer::new(quality)?,
            // Before the camera is looked for, so that it cannot appear unnoticed in between.
            watch: watch.ok(),
            camera: None,
            resting: None,
            told: OpeningLog::new(),
            rest_at: None,
            streaming: None,
            stamps: Stamps::since(Duration::ZERO),
            failed: false,
            has_no_signal: false,
            held: HeldBuffer::default(),
            came: 0,
            settling: Settling::default(),
        };
        match source.open() {
            Ok(()) => Ok(source),
            Err(wrong @ Error::Usage(_)) => Err(wrong),
            Err(error) => {
                warn!("{error}; waiting for it");
                Ok(source)
            }
        }
    }

    /// A device that rests is found where it was, also if there are others now.
    fn open(&mut self) -> Result<()> {
        let resting = self.resting.take();
        let rested_at = resting.as_ref().map(|resting| resting.path.as_path());
        let path = rested_at.or(self.path.as_deref());
        self.told.begin(resting.is_some());
        let signal = &mut self.has_no_signal;
        let opened = Opened::open(path, &self.settings, signal, &mut self.told);
        let opened = match (opened, resting) {
            // It is still the one that rests.
            (Err(Error::Busy(why)), Some(resting)) => {
                self.resting = Some(resting);
                Err(Error::Busy(taken_meanwhile(&why)))
            }
            (opened, _) => opened,
        };
        let (camera, turn) = opened?;
        self.developer.turn(turn);
        self.camera = Some(camera);
        self.rest_at = Some(Instant::now() + REST_AFTER);
        Ok(())
    }

    fn begin(&mut self, now: Instant) -> Result<()> {
        let (began, mut opening) = (Instant::now(), Duration::ZERO);
        if self.camera.as_ref().is_some_and(Opened::is_outdated) {
            self.camera = None;
        }
        if self.camera.is_none() {
            self.open()?;
            opening = began.elapsed();
            log!(self.told.level(now), "opened {}", self.describe());
        }
        let Some(camera) = &mut self.camera else {
            return Ok(());
        };
        self.stamps = Stamps::since(monotonic());
        camera.stream_on()?;
        camera.device.set_again(&camera.controls);
        camera.device.set_again(&camera.mirrors);
        self.streaming = Some(now);
        self.rest_at = None;
        self.came = 0;
        let is_fixed = camera.signal.is_some() || camera.device.has_fixed_exposure();
        self.settling = Settling::new(is_fixed);
        let [took, opening] = [began.elapsed(), opening].map(|it| it.as_secs_f64() * 1e3);
        debug!("started after {took:.1} ms, {opening:.1} of them for opening it");
        Ok(())
    }

    /// To be called when there was something to read, but no frame: whether the source has changed.
    fn look_at_signal(&mut self) -> Result<(), Trouble> {
        let Some(camera) = &self.camera else {
            return Ok(());
        };
        if camera.signal.is_none() || !signal::drain(&camera.device) || !camera.is_outdated() {
            return Ok(());
        }
        self.failed = true;
        Err(Trouble::Changed(self.describe()))
    }

    fn is_settled(&mut self, frame: Filled) -> bool {
        let camera = &mut self.camera;
        self.settling.frames(std::mem::take(&mut self.came), || {
            let camera = camera.as_mut()?;
            let (bytes, count) = camera.buffers.as_ref()?.bytes(frame);
            camera.reader.brightness(&bytes[..count]).and_then(usable)
        })
    }

    /// How long to wait for the next frame.
    fn patience(&self) -> Duration {
        patience(self.camera.as_ref().and_then(Opened::interval))
    }

    /// Takes all filled buffers, and counts the broken ones. Returns the newest good frame.
    fn collect(&mut self) -> Result<Option<Filled>, Errno> {
        let (mut newest, mut marked) = (None, 0);
        // Only if an iteration costs next to nothing: during encoding, a camera that is faster than it says fills
        // several buffers.
        let passed_on = |camera: &&Opened| !camera.reader.encodes();
        let interval = self.camera.as_ref().filter(passed_on);
        let interval = interval.and_then(Opened::interval);
        let Some((fd, buffers)) = self.camera.as_mut().and_then(Opened::stream) else {
            return Ok(None);
        };
        // Limited, in case a device fills buffers faster than this loop takes them.
        for _ in 0..2 * buffers.count() {
            let Some(filled) = buffers.dequeue(fd)? else {
                break;
            };
            self.came += 1;
            if let Some(index) = self.held.take(filled) {
                buffers.queue(fd, index)?;
            }
            if is_marked(&filled) {
                marked += 1;
                continue;
            }
            newest = Some(filled);
            self.developer.next_frame();
            if filled.has_no_successor(interval) {
                break;
            }
        }
        if let Some(camera) = &mut self.camera {
            camera.reader.discard_marked(marked);
        }
        Ok(newest)
    }
}

impl Source for V4l2 {
    fn describe(&self) -> String {
        match (&self.camera, &self.resting, &self.path) {
            (Some(camera), ..) => camera.describe(),
            (None, Some(resting), _) => resting.description.clone(),
            (None, None, Some(path)) => format!("v4l2 {}", path.display()),
            (None, None, None) => "v4l2, the first camera".into(),
        }
    }

    fn facts(&self) -> Facts {
        let Some(camera) = &self.camera else {
            let resting = self.resting.as_ref().map(|resting| resting.facts);
            return resting.unwrap_or_else(|| self.settings.facts());
        };
        Facts::of(&camera.format, camera.fps, &self.developer, &camera.reader)
    }

    fn start(&mut self, now: Instant) -> Result<(), Trouble> {
        self.begin(now).map_err(|error| {
            self.camera = None;
            Trouble::Lost(error.to_string())
        })
    }

    fn stop(&mut self) {
        self.developer.rest();
        self.held = HeldBuffer::default();
        let Some((fd, buffers)) = self.camera.as_mut().and_then(Opened::stream) else {
            return;
        };
        self.rest_at = Some(Instant::now() + REST_AFTER);
        let stopped = self.streaming.take().is_none() || buffers.stream_off(fd).is_ok();
        if self.failed || !stopped {
            self.camera = None;
        }
        self.failed = false;
    }

    fn encode_with(&mut self, hardware: Box<dyn HardwareCoder>) {
        self.developer.encode_with(hardware);
    }

    fn encoder(&self) -> Option<&str> {
        self.developer.maker()
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.camera.as_ref().map(|camera| camera.device.as_fd())
    }

    fn interest(&self) -> Interest {
        let signal = self
            .camera
            .as_ref()
            .and_then(|camera| camera.signal.as_ref());
        match signal {
            Some(_) => Interest::ReadableOrUrgent,
            None => Interest::Readable,
        }
    }

    fn rest_at(&self) -> Option<Instant> {
        self.rest_at.filter(|_| self.camera.is_some())
    }

    fn rest(&mut self) {
        self.rest_at = None;
        let keeps_awake = |camera: &Opened| camera.device.keeps_awake();
        if self.camera.as_ref().is_some_and(keeps_awake) {
            let (description, facts) = (self.describe(), self.facts());
            let controls = self.controls();
            debug!("closed {description}, so that it is suspended");
            self.resting = self.camera.take().map(|camera| Resting {
                path: camera.device.path().to_owned(),
                description,
                facts,
                controls,
            });
        }
    }

    fn longest_retry(&self) -> Duration {
        match self.has_no_signal {
            true => ASK_FOR_SIGNAL,
            false => Duration::MAX,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        Some(self.streaming? + self.patience())
    }

    fn advance(&mut self, now: Instant) -> Result<Option<Captured>, Trouble> {
        match self.collect() {
            Ok(Some(frame)) => {
                self.streaming = self.streaming.and(Some(now));
                Ok(Some(Captured {
                    at: ago(self.stamps.age(frame.monotonic, monotonic())),
                    settled: self.is_settled(frame),
                }))
            }
            Ok(None) if self.deadline().is_some_and(|at| at <= now) => {
                self.failed = true;
                let (what, why) = (self.describe(), silent(self.patience()));
                Err(Trouble::Lost(format!("{what} {why}")))
            }
            Ok(None) => self.look_at_signal().map(|()| None),
            Err(errno) => {
                self.look_at_signal()?;
                self.failed = true;
                let camera = self.camera.as_ref();
                let told = camera.map(|camera| camera.device.refused("read", errno).to_string());
                Err(Trouble::Lost(told.unwrap_or_default()))
            }
        }
    }

    fn discarded(&mut self) -> Option<Discarded> {
        self.camera.as_mut()?.reader.discarded()
    }

    fn jpeg(&mut self) -> Result<&[u8], Trouble> {
        let (Some(camera), Some(held)) = (&mut self.camera, self.held.newest()) else {
            return Err(Trouble::Broken("v4l2: no frame has come yet".into()));
        };
        let path = camera.device.path();
        let broken = |what: &str| Trouble::Broken(format!("{}: {what}", path.display()));
        let Some(buffers) = &camera.buffers else {
            return Err(broken("no buffers"));
        };
        let (bytes, count) = buffers.bytes(held);
        let developed = self.developer.develop(&mut camera.reader, &bytes[..count]);
        developed.map_err(|error| broken(&error.to_string()))
    }

    fn set_control(&mut self, wanted: &Assignment) -> Result<(), Unset> {
        if self.resting.is_some() {
            if let Err(error) = self.open() {
                debug!("{error}");
                return Err(Unset::Later);
            }
        }
        let camera = self.camera.as_mut().ok_or(Unset::Later)?;
        let set = camera.device.set_controls(std::slice::from_ref(wanted));
        let set = set.map_err(|error| Unset::Refused(error.to_string()))?;
        // At the next start, too, in the place of what was set before.
        camera
            .controls
            .retain(|one| !set.iter().any(|new| new.is_same(one)));
        camera.controls.extend(set);
        Ok(())
    }

    fn controls(&self) -> Vec<ControlFacts> {
        let Some(camera) = &self.camera else {
            let resting = self.resting.as_ref();
            return resting.map_or(Vec::new(), |resting| resting.controls.clone());
        };
        let controls = camera.device.controls();
        controls.iter().map(Control::facts).collect()
    }

    fn presence(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(AsFd::as_fd)
    }

    fn look(&mut self) -> bool {
        if !self.watch.as_mut().is_some_and(DeviceWatch::drain) {
            return false;
        }
        let is_gone = match (&self.camera, &self.resting) {
            // While it streams, its own descriptor reports this.
            (Some(_), _) if self.streaming.is_some() => return false,
            (Some(camera), _) if camera.device.is_there() => return false,
            (Some(_), _) => true,
            (None, resting) => resting.as_ref().is_some_and(|one| !one.path.exists()),
        };
        if is_gone {
            let level = self.told.level_of_end();
            log!(level, "{} was unplugged", self.describe());
            (self.camera, self.resting) = (None, None);
        }
        self.may_be_there()
    }
}

impl V4l2 {
    /// Whether there may be something to open. A name made by udev appears after its node, so an attempt at once
    /// fails, and the next one is made soon.
    fn may_be_there(&self) -> bool {
        match &self.path {
            Some(path) => !devices::is_node(path) || path.exists(),
            None => video_nodes().is_ok_and(|nodes| !nodes.is_empty()),
        }
    }
}

#[cfg(test)]
mod tests;
