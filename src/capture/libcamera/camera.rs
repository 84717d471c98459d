//! One camera of libcamera: found, acquired, configured, with its requests. And what there is, for `lazycam list`.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use libcamera::camera::{
    ActiveCamera, Camera as Found, CameraConfiguration, CameraConfigurationStatus as Status,
    Orientation,
};
use libcamera::camera_manager::CameraManager;
use libcamera::color_space::{ColorSpace, Range, YcbcrEncoding};
use libcamera::control::ControlList;
use libcamera::controls::{AeState, ControlId, SensorTimestamp};
use libcamera::framebuffer::{AsFrameBuffer, FrameMetadataStatus};
use libcamera::framebuffer_allocator::{FrameBuffer, FrameBufferAllocator};
use libcamera::framebuffer_map::MemoryMappedFrameBuffer;
use libcamera::geometry::Size;
use libcamera::pixel_format::PixelFormat;
use libcamera::properties::Model;
use libcamera::request::{Request, RequestStatus, ReuseFlag};
use libcamera::stream::{Stream, StreamRole};
use libcamera::utils::UniquePtr;
use log::info;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{Access, access};
use rustix::io::Errno;

use super::controls::{self, Control};
use super::{Settings, formats};
use crate::capture::encode::Encoder;
use crate::capture::pixels::Unpacker;
use crate::capture::source::CameraName;
use crate::capture::v4l2::{Format, Fourcc, Sizes, mjpeg};
use crate::error::{Context, Error, Result};

/// One with us, one that is being filled, and two that wait, as in the source `v4l2`.
const BUFFERS: u32 = 4;

/// Asked for when no size is given.
const USUAL_SIZE: (u32, u32) = (640, 480);

/// What a stream may be made for. A Raspberry Pi answers the first one with YUV 4:2:0, others have only some of them.
const ROLES: [StreamRole; 3] = [
    StreamRole::VideoRecording,
    StreamRole::ViewFinder,
    StreamRole::StillCapture,
];

type Buffer = MemoryMappedFrameBuffer<FrameBuffer>;

/// A camera that is acquired and configured. Its members are dropped in this order, which libcamera wants: requests and their
/// buffers, the camera, the manager.
pub(super) struct Camera {
    /// The newest frame.
    held: Option<Request>,
    /// Those that are not queued.
    idle: Vec<Request>,
    completed: Receiver<Request>,
    /// How many requests there are.
    count: usize,
    /// Given to each start.
    controls: UniquePtr<ControlList>,
    stream: Stream,
    unpacker: Option<Unpacker>,
    description: String,
    longest_frame: Duration,
    /// libcamera says that the camera was unplugged.
    gone: Arc<AtomicBool>,
    bell: Arc<OwnedFd>,
    camera: ActiveCamera<'static>,
    _manager: CameraManager,
}

/// What came out of the channel.
pub(super) struct Completed {
    /// How many requests.
    pub(super) frames: u32,
    /// How many of them have no picture.
    pub(super) broken: u32,
    pub(super) newest: Option<Newest>,
}

/// The newest frame.
pub(super) struct Newest {
    /// By the sensor's clock.
    pub(super) stamp: Option<Duration>,
    /// Exposure has settled; `None` if the camera does not tell.
    pub(super) settled: Option<bool>,
}

impl Camera {
    pub(super) fn open(settings: &Settings) -> Result<Self> {
        let manager = manager()?;
        let found = find(&manager, settings.camera.as_ref())?;
        let id = found.id().to_owned();
        let mut camera = found
            .acquire()
            .map_err(|error| refused("acquire", &id, &error))?;
        let (orientation, settled) = controls::split_orientation(&settings.controls)?;
        let mut config = choose(&camera, settings, orientation)?;
        let configured = camera.configure(&mut config);
        configured.map_err(|error| refused("configure", &id, &error))?;
        let (controls, fps) = start_controls(&camera, settings.fps, &settled)?;
        let stream = config.get(0).and_then(|stream| stream.stream());
        let stream = stream.ok_or_else(|| Error::Input(format!("camera {id} has no stream")))?;
        let (format, unpacker) = reader(&config)?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let bell = Arc::new(bell.doing(|| "create an eventfd".into())?);
        let (gone, completed) = connect(&mut camera, &bell);
        let idle = requests(&mut camera, &stream, &id)?;
        Ok(Camera {
            held: None,
            count: idle.len(),
            idle,
            completed,
            controls,
            stream,
            unpacker,
            description: describe(&camera, &format, fps),
            longest_frame: longest_frame(fps, &settled),
            gone,
            bell,
            camera,
            _manager: manager,
        })
    }

    pub(super) fn describe(&self) -> String {
        self.description.clone()
    }

    /// The longest time that a frame may take by what was asked for.
    pub(super) fn longest_frame(&self) -> Duration {
        self.longest_frame
    }

    /// libcamera has told that the camera is unplugged.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    pub(super) fn start(&mut self) -> Result<()> {
        self.take_back();
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

    /// All requests that have come back are ready to be queued again.
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

    /// Sets the eventfd back.
    fn silence(&self) {
        // EAGAIN is what it says when it has not rung.
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
    }

    fn queue(&mut self, request: Request) -> Result<()> {
        let queued = self.camera.queue_request(request);
        queued.map_err(|(request, error)| {
            self.idle.push(request);
            refused("queue a request of", self.camera.id(), &error)
        })
    }

    /// Takes all that has completed, holds the newest good frame, and queues the others again.
    pub(super) fn collect(&mut self) -> Result<Completed> {
        self.silence();
        if self.is_gone() {
            let id = self.camera.id();
            return Err(Error::Input(format!("camera {id} was unplugged")));
        }
        let mut got = Completed {
            frames: 0,
            broken: 0,
            newest: None,
        };
        // What completes from here on rings again.
        for _ in 0..self.count {
            let Ok(request) = self.completed.try_recv() else {
                break;
            };
            got.frames += 1;
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

    /// The JPEG of the frame that is held.
    pub(super) fn encode(&mut self, encoder: &mut Encoder, jpeg: &mut Vec<u8>) -> Result<()> {
        let short = || Error::Input("a frame was cut short".into());
        let buffer = self
            .held
            .as_ref()
            .and_then(|request| request.buffer::<Buffer>(&self.stream));
        let buffer = buffer.ok_or_else(|| Error::Input("no frame has come yet".into()))?;
        let metadata = buffer.metadata().ok_or_else(short)?;
        // A mapping is as long as its memory, which may be longer than the picture.
        let used = metadata.planes();
        let cut = |(i, bytes): (usize, &'_ [u8])| {
            let used = used.get(i).map_or(0, |plane| plane.bytes_used as usize);
            used.min(bytes.len())
        };
        let mut planes = buffer.data();
        let lengths: Vec<usize> = planes.iter().copied().enumerate().map(cut).collect();
        for (plane, length) in planes.iter_mut().zip(lengths) {
            *plane = &plane[..length];
        }
        let Some(unpacker) = &mut self.unpacker else {
            let bytes = planes.first().copied().unwrap_or_default();
            let mut spare = Vec::new();
            let cleaned = mjpeg::clean(bytes, &mut spare);
            let cleaned = cleaned.map_err(|defect| Error::Input(defect.to_string()))?;
            jpeg.clear();
            jpeg.extend_from_slice(cleaned);
            return Ok(());
        };
        let planes = match planes[..] {
            [bytes] => unpacker.unpack(bytes),
            _ => unpacker.unpack_planes(&planes),
        };
        encoder.encode(planes.ok_or_else(short)?, None, jpeg)
    }
}

impl AsFd for Camera {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

/// What a completed request says of its frame; `None` if there is none.
fn newest(request: &Request, stream: &Stream) -> Option<Newest> {
    let metadata = request.buffer::<Buffer>(stream)?.metadata()?;
    let status = metadata.status();
    let usable = matches!(
        status,
        FrameMetadataStatus::Success | FrameMetadataStatus::Startup
    );
    if request.status() != RequestStatus::Complete || !usable {
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
    Some(Newest {
        stamp: stamp.filter(|&nanos| nanos > 0).map(Duration::from_nanos),
        settled,
    })
}

/// What runs on libcamera's thread: see the module's header.
fn connect(
    camera: &mut ActiveCamera<'static>,
    bell: &Arc<OwnedFd>,
) -> (Arc<AtomicBool>, Receiver<Request>) {
    let ring = |bell: &OwnedFd| {
        // Fails only when it has rung 2^64 times unheard.
        let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
    };
    let (sender, completed) = mpsc::channel();
    let ours = Arc::clone(bell);
    camera.on_request_completed(move |request| {
        // Fails only when the other end is gone, and then nobody wants it.
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

/// Buffers, mapped, and a request around each.
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

/// Starts libcamera, which looks for cameras and reads their tuning files.
fn started() -> io::Result<CameraManager> {
    #[cfg(feature = "libcamera-static")]
    let _while_it_looks = crate::capture::tuning::offer();
    CameraManager::new()
}

fn manager() -> Result<CameraManager> {
    started().map_err(|error| {
        let why = match Errno::from_io_error(&error) {
            Some(Errno::NODEV) => {
                "there is no media device; is the camera plugged in and its driver loaded?".into()
            }
            _ => error.to_string(),
        };
        Error::Input(format!(
            "libcamera finds no cameras: {}",
            forbidden().unwrap_or(why)
        ))
    })
}

fn all(manager: &CameraManager) -> Vec<Found<'static>> {
    let cameras = manager.cameras();
    (0..cameras.len())
        .filter_map(|index| cameras.get(index))
        .collect()
}

fn find(manager: &CameraManager, name: Option<&CameraName>) -> Result<Found<'static>> {
    let mut cameras = all(manager);
    let at = match name {
        None => 0,
        Some(CameraName::Index(index)) => *index,
        Some(CameraName::Id(id)) => {
            let at = cameras.iter().position(|camera| camera.id() == id);
            at.unwrap_or(usize::MAX)
        }
    };
    if at < cameras.len() {
        return Ok(cameras.swap_remove(at));
    }
    let ids = cameras
        .iter()
        .enumerate()
        .map(|(i, camera)| format!("{i} ({})", camera.id()));
    let ids = ids.collect::<Vec<_>>().join(", ");
    let told = match (name, ids.as_str()) {
        (_, "") => {
            let usual = || "is one connected, and in the configuration of the board?".into();
            format!(
                "libcamera has no camera: {}",
                forbidden().unwrap_or_else(usual)
            )
        }
        (Some(name), _) => format!("libcamera has no camera {name}; it has {ids}"),
        (None, _) => ids,
    };
    Err(Error::Input(told))
}

/// A device of a camera that this user may not open, and what to do.
fn forbidden() -> Option<String> {
    let in_folder = |folder: &str| {
        let entries = fs::read_dir(folder).into_iter().flatten();
        entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect::<Vec<PathBuf>>()
    };
    let is_needed = |path: &PathBuf| {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let kinds = ["media", "video", "v4l-subdev"];
        name == "udmabuf" || kinds.iter().any(|kind| name.starts_with(kind))
    };
    let devices = in_folder("/dev").into_iter().filter(is_needed);
    let mut devices = devices.chain(in_folder("/dev/dma_heap"));
    let path = devices
        .find(|path| access(path, Access::READ_OK | Access::WRITE_OK) == Err(Errno::ACCESS))?;
    Some(format!(
        "no permission for {}: add this user to the group that owns it, mostly video (see docs/cameras.md)",
        path.display()
    ))
}

fn refused(doing: &str, id: &str, error: &io::Error) -> Error {
    let why = match Errno::from_io_error(error) {
        Some(Errno::BUSY) => "it is in use by another program: end that one".into(),
        Some(Errno::NODEV | Errno::NXIO) => "it was unplugged, or its driver is gone".into(),
        Some(Errno::NOBUFS) => forbidden().unwrap_or_else(|| {
            "there is no memory to be had for it: /dev/dma_heap or /dev/udmabuf is needed".into()
        }),
        Some(Errno::ACCESS | Errno::PERM) => forbidden().unwrap_or_else(|| error.to_string()),
        Some(Errno::NOMEM) => {
            "there is no memory for its buffers: take a smaller size, or give the board more CMA"
                .into()
        }
        _ => error.to_string(),
    };
    Error::Input(format!("cannot {doing} camera {id}: {why}"))
}

/// Negotiates format, size, colour space and orientation.
fn choose(
    camera: &Found<'_>,
    settings: &Settings,
    orientation: Option<Orientation>,
) -> Result<CameraConfiguration> {
    let id = camera.id();
    let mut config = generated(camera)?;
    let offered = offered(&config);
    let mut candidates = formats::readable(&offered);
    if let Some(wanted) = settings.format {
        candidates.retain(|(_, code)| *code == wanted);
    }
    if candidates.is_empty() {
        let what = settings
            .format
            .map_or("format".into(), |wanted| format!("format {wanted}"));
        let has = offered
            .iter()
            .map(PixelFormat::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        let known = formats::known();
        let message = format!(
            "camera {id} has no {what} that lazycam can read: it has {has}; lazycam reads {known}"
        );
        return Err(Error::Usage(message));
    }
    let wanted = settings
        .size
        .map(|(width, height)| (u32::from(width), u32::from(height)));
    for &(format, _) in &candidates {
        let given = negotiate(
            &mut config,
            format,
            wanted.unwrap_or(USUAL_SIZE),
            orientation,
        );
        let Some((width, height)) = given else {
            continue;
        };
        if wanted.is_some_and(|wanted| wanted != (width, height)) {
            continue;
        }
        if orientation.is_some_and(|orientation| config.orientation() != orientation) {
            let has = orientations(camera);
            return Err(Error::Usage(format!(
                "camera {id} cannot turn its pictures like that; it has {has}"
            )));
        }
        return Ok(config);
    }
    let (width, height) = wanted.unwrap_or(USUAL_SIZE);
    let sizes = candidates
        .iter()
        .map(|&(format, code)| format!("{code}: {}", sizes(&config, format)));
    let sizes = sizes.collect::<Vec<_>>().join("; ");
    Err(Error::Usage(format!(
        "camera {id} has no pictures of {width}x{height}; it has {sizes}"
    )))
}

fn generated(camera: &Found<'_>) -> Result<CameraConfiguration> {
    let config = camera.generate_first_supported_configuration(&ROLES);
    let none = || {
        Error::Input(format!(
            "libcamera has no configuration for camera {}",
            camera.id()
        ))
    };
    config.map(|(config, _)| config).ok_or_else(none)
}

fn offered(config: &CameraConfiguration) -> Vec<PixelFormat> {
    let stream = config.get(0);
    stream.map_or(Vec::new(), |stream| {
        let formats = stream.formats().pixel_formats();
        (0..formats.len())
            .filter_map(|index| formats.get(index))
            .collect()
    })
}

/// Asks for a format, and gives the size if it can be had.
fn negotiate(
    config: &mut CameraConfiguration,
    format: PixelFormat,
    (width, height): (u32, u32),
    orientation: Option<Orientation>,
) -> Option<(u32, u32)> {
    let mut stream = config.get_mut(0)?;
    stream.set_pixel_format(format);
    stream.set_size(Size { width, height });
    // Full range by BT.601 is what JFIF has.
    stream.set_color_space(Some(ColorSpace::sycc()));
    stream.set_buffer_count(BUFFERS);
    config.set_orientation(orientation.unwrap_or(Orientation::Rotate0));
    if matches!(config.validate(), Status::Invalid) {
        return None;
    }
    let stream = config.get(0)?;
    let Size { width, height } = stream.get_size();
    (stream.get_pixel_format() == format).then_some((width, height))
}

/// How frames of a configuration are read: read back, because libcamera pads lines.
fn reader(config: &CameraConfiguration) -> Result<(Format, Option<Unpacker>)> {
    let unread = || Error::Input("libcamera gave a format that was not asked for".into());
    let stream = config.get(0).ok_or_else(unread)?;
    let Size { width, height } = stream.get_size();
    let space = stream.get_color_space();
    let format = Format {
        fourcc: formats::ours(stream.get_pixel_format()).ok_or_else(unread)?,
        width,
        height,
        stride: stream.get_stride(),
        full_range: space.is_some_and(|space| space.range == Range::Full),
        bt709: space.is_some_and(|space| space.ycbcr_encoding == YcbcrEncoding::Rec709),
    };
    let unpacker = Unpacker::new(&format);
    if unpacker.is_none() && format.fourcc != Fourcc(*b"MJPG") {
        return Err(unread());
    }
    Ok((format, unpacker))
}

/// What every start is given, and the frames per second among it.
fn start_controls(
    camera: &Found<'_>,
    fps: Option<f64>,
    assignments: &[crate::capture::v4l2::Assignment],
) -> Result<(UniquePtr<ControlList>, Option<f64>)> {
    let id = camera.id();
    // After configure(): limits depend on the sensor's mode.
    let known = controls::of(camera);
    let none = || Error::Input(format!("no list of controls for camera {id}"));
    let mut list = ControlList::from_info_map(camera.controls()).ok_or_else(none)?;
    for assignment in assignments {
        let value = controls::value(&known, assignment);
        let (control, value) = value.map_err(|why| Error::Usage(format!("camera {id}{why}")))?;
        // The only failure would be of a value that does not convert.
        let _ = list.set_raw(control, value);
    }
    let Some(fps) = fps else {
        return Ok((list, None));
    };
    let Some((shortest, longest)) = controls::frame_durations(&known) else {
        info!("camera {id} has no control over its rate: frames come as it sends them");
        return Ok((list, None));
    };
    let micros = ((1e6 / fps).round() as i64).clamp(shortest, longest);
    let given = 1e6 / micros as f64;
    if (given - fps).abs() > fps / 100.0 {
        info!("camera {id} has no {fps} fps at this size, {given:.2} is the nearest");
    }
    let _ = list.set_raw(ControlId::FrameDurationLimits.id(), [micros, micros].into());
    Ok((list, Some(given)))
}

fn longest_frame(fps: Option<f64>, assignments: &[crate::capture::v4l2::Assignment]) -> Duration {
    let exposure = assignments
        .iter()
        .find(|control| control.name == "exposuretime");
    let exposure = exposure.and_then(|control| control.value.parse().ok());
    let by_rate = fps.and_then(|fps| Duration::try_from_secs_f64(1.0 / fps).ok());
    let by_exposure = exposure.map(Duration::from_micros);
    by_rate
        .unwrap_or_default()
        .max(by_exposure.unwrap_or_default())
}

fn model(camera: &Found<'_>) -> String {
    let model = camera.properties().get::<Model>();
    model.map_or_else(|_| "camera".into(), |model| model.0)
}

fn describe(camera: &Found<'_>, format: &Format, fps: Option<f64>) -> String {
    let Format {
        fourcc,
        width,
        height,
        ..
    } = format;
    let rate = fps.map_or(String::new(), |fps| {
        format!(" at {} fps", (fps * 100.0).round() / 100.0)
    });
    format!(
        "libcamera {} ({}), {width}x{height} {fourcc}{rate}",
        camera.id(),
        model(camera)
    )
}

fn sizes(config: &CameraConfiguration, format: PixelFormat) -> Sizes {
    let Some(stream) = config.get(0) else {
        return Sizes::Discrete(Vec::new());
    };
    let formats = stream.formats();
    let range = formats.range(format);
    let pair = |size: Size| (size.width, size.height);
    if pair(range.min) != pair(range.max) && range.h_step > 0 {
        return Sizes::Stepwise([
            pair(range.min),
            pair(range.max),
            (range.h_step, range.v_step),
        ]);
    }
    Sizes::Discrete(formats.sizes(format).into_iter().map(pair).collect())
}

fn orientations(camera: &Found<'_>) -> String {
    let known = controls::ORIENTATIONS.iter().filter(|(orientation, _)| {
        let config = generated(camera);
        config.is_ok_and(|mut config| {
            config.set_orientation(*orientation);
            !matches!(config.validate(), Status::Invalid) && config.orientation() == *orientation
        })
    });
    known.map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
}

/// A camera, as `lazycam list` shows it.
pub struct Listed {
    /// By which it is named.
    pub id: String,
    /// The sensor's name.
    pub model: String,
    /// What it offers, the order as libcamera has it.
    pub formats: Vec<ListedFormat>,
    /// What it can be told.
    pub controls: Vec<Control>,
    /// How it can turn its pictures.
    pub orientations: String,
}

/// A pixel format of a camera.
pub struct ListedFormat {
    /// The name that `--format` takes, or libcamera's for those that cannot be read.
    pub name: String,
    /// lazycam can read it.
    pub readable: bool,
    /// Its sizes.
    pub sizes: Sizes,
}

/// The cameras that libcamera has. None, if there is no media device.
pub fn list() -> Result<Vec<Listed>> {
    let manager = match started() {
        Ok(manager) => manager,
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NODEV) => return Ok(Vec::new()),
        Err(_) => manager()?,
    };
    Ok(all(&manager).iter().map(listed).collect())
}

fn listed(camera: &Found<'static>) -> Listed {
    let config = generated(camera).ok();
    let formats = config.as_ref().map_or(Vec::new(), |config| {
        let format = |format: PixelFormat| {
            let ours = formats::ours(format);
            ListedFormat {
                name: ours.map_or_else(|| format.to_string(), |code| code.to_string()),
                readable: ours.is_some(),
                sizes: sizes(config, format),
            }
        };
        offered(config).into_iter().map(format).collect()
    });
    Listed {
        id: camera.id().to_owned(),
        model: model(camera),
        formats,
        controls: controls::of(camera),
        orientations: orientations(camera),
    }
}
