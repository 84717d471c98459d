//! One camera of libcamera, acquired and configured, with its requests.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use libcamera::camera::{ActiveCamera, Camera as Found};
use libcamera::camera_manager::CameraManager;
use libcamera::control::ControlList;
use libcamera::control_value::ControlValue;
use libcamera::controls::{AeState, AnalogueGain, ExposureTime, SensorTimestamp};
use libcamera::framebuffer::{AsFrameBuffer, FrameMetadataStatus};
use libcamera::framebuffer_allocator::{FrameBuffer, FrameBufferAllocator};
use libcamera::framebuffer_map::MemoryMappedFrameBuffer;
use libcamera::request::{Request, RequestStatus, ReuseFlag};
use libcamera::stream::Stream;
use libcamera::utils::UniquePtr;
use rustix::event::{EventfdFlags, eventfd};

use super::configure::{choose, choose_turned, longest_frame, reader, start_controls};
use super::controls::{self, LibcameraControl};
use super::find::{find, manager, model, refused};
use crate::capture::assignment::Assignment;
use crate::capture::control_facts::ControlFacts;
use crate::capture::opening_log::OpeningLog;
use crate::capture::settings::CameraSettings;
use crate::capture::source::{CameraName, Facts, described};
use crate::error::{Context, Error, Result};
use crate::picture::develop::{Developer, FrameReader};
use crate::picture::format::Format;
use crate::picture::turn::Transform;

type Buffer = MemoryMappedFrameBuffer<FrameBuffer>;

/// A camera that is acquired and configured. Its members are dropped in the order that libcamera requires: requests
/// and their buffers, the camera, the manager.
pub(super) struct OpenedCamera {
    /// The newest frame.
    held: Option<Request>,
    /// The requests that are not queued.
    idle: Vec<Request>,
    completed: Receiver<Request>,
    /// The total number of requests.
    count: usize,
    /// Passed to every start.
    controls: UniquePtr<ControlList>,
    /// What was set since the start and is not in any request yet. Each goes into one of its own, so that a camera has
    /// their order: of two that come together libcamera does not keep it.
    pending: VecDeque<(u32, ControlValue)>,
    stream: Stream,
    /// How the pictures have to be turned here.
    pub(super) turn: Transform,
    pub(super) reader: FrameReader,
    format: Format,
    fps: Option<f64>,
    description: String,
    longest_frame: Duration,
    /// Set when libcamera reports that the camera was unplugged.
    gone: Arc<AtomicBool>,
    bell: Arc<OwnedFd>,
    camera: ActiveCamera<'static>,
    _manager: CameraManager,
}

/// What was received from the channel.
pub(super) struct Completed {
    /// The number of requests.
    pub(super) frames: u32,
    /// The number of those that have no picture.
    pub(super) broken: u32,
    /// Whether some were cancelled. While streaming, this means that libcamera has given the camera up.
    pub(super) cancelled: bool,
    pub(super) newest: Option<NewestFrame>,
}

/// The newest frame.
pub(super) struct NewestFrame {
    /// The time of capture by the sensor's clock.
    pub(super) stamp: Option<Duration>,
    /// Whether exposure has settled; `None` if the camera does not report it.
    pub(super) settled: Option<bool>,
    /// Its exposure times its gain, which say it too when they no longer change.
    pub(super) exposure: Option<f32>,
}

impl OpenedCamera {
    pub(super) fn open(
        name: Option<&CameraName>,
        settings: &CameraSettings,
        told: &mut OpeningLog,
    ) -> Result<Self> {
        told.begin(false);
        let manager = manager()?;
        let found = find(&manager, name)?;
        let id = found.id().to_owned();
        let mut camera = found
            .acquire()
            .map_err(|error| refused("acquire", &id, &error))?;
        let (orientation, assignments) = controls::split_orientation(&settings.controls)?;
        let (mut config, turn) = match orientation {
            Some(_) => (choose(&camera, settings, orientation)?, settings.turn),
            None => choose_turned(&camera, settings, told)?,
        };
        let configured = camera.configure(&mut config);
        configured.map_err(|error| refused("configure", &id, &error))?;
        let (controls, fps) = start_controls(&camera, settings, &assignments, told)?;
        let stream = config.get(0).and_then(|stream| stream.stream());
        let stream = stream.ok_or_else(|| Error::Input(format!("camera {id} has no stream")))?;
        let (format, reader) = reader(&config, &id)?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let bell = Arc::new(bell.doing(|| "create an eventfd".into())?);
        let (gone, completed) = connect(&mut camera, &bell);
        let idle = requests(&mut camera, &stream, &id)?;
        Ok(OpenedCamera {
            held: None,
            count: idle.len(),
            idle,
            completed,
            controls,
            pending: VecDeque::new(),
            stream,
            turn,
            reader,
            description: describe(&camera, &format, fps),
            longest_frame: longest_frame(fps, &assignments),
            format,
            fps,
            gone,
            bell,
            camera,
            _manager: manager,
        })
    }

    pub(super) fn describe(&self) -> String {
        self.description.clone()
    }

    pub(super) fn facts(&self, developer: &Developer) -> Facts {
        Facts::of(&self.format, self.fps, developer, &self.reader)
    }

    /// The longest time that a frame may take with the requested settings.
    pub(super) fn longest_frame(&self) -> Duration {
        self.longest_frame
    }

    /// Whether libcamera has reported that the camera is unplugged.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// Sets a control with one of the next requests, and at each start.
    pub(super) fn set_control(&mut self, wanted: &Assignment) -> Result<(), String> {
        let known = controls::of(&self.camera);
        let value = controls::value(&known, wanted);
        let (id, value) = value.map_err(|why| format!("camera {}{why}", self.camera.id()))?;
        let _ = self.controls.set_raw(id, value.clone());
        self.pending.push_back((id, value));
        let longest = longest_frame(None, std::slice::from_ref(wanted));
        self.longest_frame = self.longest_frame.max(longest);
        Ok(())
    }

    /// What is told about its controls.
    pub(super) fn controls(&self) -> Vec<ControlFacts> {
        let known = controls::of(&self.camera);
        known.iter().map(LibcameraControl::facts).collect()
    }

    pub(super) fn start(&mut self) -> Result<()> {
        self.take_back();
        // All of it is in the list for the start.
        self.pending.clear();
        let started = self.camera.start(Some(&self.controls));
        started.map_err(|error| refused("start", self.camera.id(), &error))?;
        while let Some(request) = self.idle.pop() {
            self.queue(request)?;
        }
        Ok(())
    }

    pub(super) fn stop(&mut self) -> Result<()> {
        let stopped = self.camera.stop();
        self.take_back();
        self.silence();
        stopped.map_err(|error| refused("stop", self.camera.id(), &error))
    }

    /// Makes all requests that have come back ready to be queued again.
    fn take_back(&mut self) {
        let back = self
            .held
            .take()
            .into_iter()
            .chain(self.completed.try_iter());
        for mut request in back {
            request.reuse(ReuseFlag::REUSE_BUFFERS);
            self.idle.push(request);
        }
    }

    /// Resets the eventfd.
    fn silence(&self) {
        // It returns EAGAIN if it has not been signalled.
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
    }

    fn queue(&mut self, mut request: Request) -> Result<()> {
        if let Some((id, value)) = self.pending.pop_front() {
            let _ = request.controls_mut().set_raw(id, value);
        }
        let queued = self.camera.queue_request(request);
        queued.map_err(|(request, error)| {
            self.idle.push(request);
            refused("queue a request of", self.camera.id(), &error)
        })
    }

    /// Takes everything that has completed, keeps the newest good frame, and queues the others again, except those
    /// that were cancelled: they would come back at once, again and again.
    pub(super) fn collect(&mut self) -> Result<Completed> {
        self.silence();
        if self.is_gone() {
            let id = self.camera.id();
            return Err(Error::Input(format!("camera {id} was unplugged")));
        }
        let mut got = Completed {
            frames: 0,
            broken: 0,
            cancelled: false,
            newest: None,
        };
        // What completes from here on signals again.
        for _ in 0..self.count {
            let Ok(request) = self.completed.try_recv() else {
                break;
            };
            got.frames += 1;
            if request.status() == RequestStatus::Cancelled {
                got.cancelled = true;
                self.idle.push(request);
                continue;
            }
            let back = match newest(&request, &self.stream) {
                Some(newest) => {
                    got.newest = Some(newest);
                    self.held.replace(request)
                }
                None => {
                    got.broken += 1;
                    Some(request)
                }
            };
            if let Some(mut request) = back {
                request.reuse(ReuseFlag::REUSE_BUFFERS);
                self.queue(request)?;
            }
        }
        Ok(got)
    }

    /// The JPEG of the frame that is kept.
    pub(super) fn develop<'a>(&'a mut self, developer: &'a mut Developer) -> Result<&'a [u8]> {
        let kept = self.held.as_ref();
        let buffer = kept.and_then(|request| request.buffer::<Buffer>(&self.stream));
        let buffer = buffer.ok_or_else(|| Error::Input("no frame has come yet".into()))?;
        developer.develop(&mut self.reader, &planes(buffer))
    }
}

/// The bytes of a frame, plane by plane. A mapping covers its whole memory, which may be longer than the picture.
fn planes<'a>(buffer: &'a Buffer) -> Vec<&'a [u8]> {
    let metadata = buffer.metadata();
    let used = metadata.map(|metadata| metadata.planes());
    let used = |i: usize| Some(used.as_ref()?.get(i)?.bytes_used as usize);
    let planes = buffer.data().into_iter().enumerate();
    let cut = |(i, bytes): (usize, &'a [u8])| &bytes[..used(i).unwrap_or(0).min(bytes.len())];
    planes.map(cut).collect()
}

impl AsFd for OpenedCamera {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

/// What a completed request says about its frame; `None` if it has none.
fn newest(request: &Request, stream: &Stream) -> Option<NewestFrame> {
    let metadata = request.buffer::<Buffer>(stream)?.metadata()?;
    let status = metadata.status();
    let usable = matches!(
        status,
        FrameMetadataStatus::Success | FrameMetadataStatus::Startup
    );
    if !usable {
        return None;
    }
    let told = request.metadata();
    let stamp = match told.get::<SensorTimestamp>() {
        Ok(stamp) => u64::try_from(stamp.0).ok(),
        Err(_) => Some(metadata.timestamp()),
    };
    let settled = match (status, told.get::<AeState>()) {
        (FrameMetadataStatus::Startup, _) => Some(false),
        (_, Ok(state)) => Some(state != AeState::Searching),
        (_, Err(_)) => None,
    };
    let exposure = told.get::<ExposureTime>().ok().map(|time| {
        let gain = told.get::<AnalogueGain>();
        time.0 as f32 * gain.map_or(1.0, |gain| gain.0)
    });
    Some(NewestFrame {
        exposure,
        stamp: stamp.filter(|&nanos| nanos > 0).map(Duration::from_nanos),
        settled,
    })
}

/// What runs on libcamera's thread: see the header of the module `libcamera`.
fn connect(
    camera: &mut ActiveCamera<'static>,
    bell: &Arc<OwnedFd>,
) -> (Arc<AtomicBool>, Receiver<Request>) {
    let ring = |bell: &OwnedFd| {
        // This fails only when it has been signalled 2^64 times without being read.
        let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
    };
    let (sender, completed) = mpsc::channel();
    let ours = Arc::clone(bell);
    camera.on_request_completed(move |request| {
        // This fails only when the other end is gone, and then nobody wants the request.
        let _ = sender.send(request);
        ring(&ours);
    });
    let gone = Arc::new(AtomicBool::new(false));
    let (told, ours) = (Arc::clone(&gone), Arc::clone(bell));
    camera.on_disconnected(move || {
        told.store(true, Ordering::Relaxed);
        ring(&ours);
    });
    (gone, completed)
}

/// The mapped buffers, with a request around each.
fn requests(camera: &mut ActiveCamera<'static>, stream: &Stream, id: &str) -> Result<Vec<Request>> {
    let buffers = FrameBufferAllocator::new(camera).alloc(stream);
    let buffers = buffers.map_err(|error| refused("get buffers of", id, &error))?;
    let request = |buffer: FrameBuffer| {
        let buffer = Buffer::new(buffer);
        let buffer = buffer
            .map_err(|error| Error::Input(format!("cannot map a buffer of {id}: {error}")))?;
        let request = camera.create_request(None);
        let mut request = request.ok_or_else(|| Error::Input(format!("{id} gives no requests")))?;
        let added = request.add_buffer(stream, buffer);
        added.map_err(|error| refused("add a buffer to a request of", id, &error))?;
        Ok(request)
    };
    buffers.into_iter().map(request).collect()
}

fn describe(camera: &Found<'_>, format: &Format, fps: Option<f64>) -> String {
    let set = described(format, fps);
    let (id, model) = (camera.id(), model(camera));
    format!("libcamera {id} ({model}), {set}")
}
