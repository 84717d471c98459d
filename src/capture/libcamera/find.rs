//! Which cameras there are, and why a camera cannot be used.

use std::fs;
use std::io;
use std::path::PathBuf;

use libcamera::camera::Camera as Found;
use libcamera::camera_manager::CameraManager;
use libcamera::pixel_format::PixelFormat;
use libcamera::properties::Model;
use rustix::fs::{Access, access};
use rustix::io::Errno;

use super::configure::{generated, offered, orientations, sizes};
use super::controls::{self, LibcameraControl};
use super::formats;
use crate::capture::source::CameraName;
use crate::error::{Error, Result};
use crate::picture::format::Sizes;

/// Starts libcamera, which looks for cameras and reads their tuning files.
fn started() -> io::Result<CameraManager> {
    #[cfg(feature = "libcamera-static")]
    let _while_it_looks = crate::capture::libcamera_tuning::offer();
    CameraManager::new()
}

pub(super) fn manager() -> Result<CameraManager> {
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

pub(super) fn find(manager: &CameraManager, name: Option<&CameraName>) -> Result<Found<'static>> {
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

/// A device belonging to a camera that this user may not open, and what to do about it.
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

pub(super) fn refused(doing: &str, id: &str, error: &io::Error) -> Error {
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

pub(super) fn model(camera: &Found<'_>) -> String {
    let model = camera.properties().get::<Model>();
    model.map_or_else(|_| "camera".into(), |model| model.0)
}

/// A camera as `lazycam list` shows it.
pub struct Listed {
    /// The id by which it can be selected.
    pub id: String,
    /// The sensor's name.
    pub model: String,
    /// The formats that it offers, in libcamera's order.
    pub formats: Vec<ListedFormat>,
    /// The controls that it has.
    pub controls: Vec<LibcameraControl>,
    /// The orientations in which it can deliver pictures.
    pub orientations: String,
}

/// A pixel format of a camera.
pub struct ListedFormat {
    /// The name that `--format` takes, or libcamera's name for formats that lazycam cannot read.
    pub name: String,
    /// Whether lazycam can read it.
    pub readable: bool,
    /// Its sizes.
    pub sizes: Sizes,
}

/// The cameras that libcamera finds. The list is empty if there is no media device.
pub fn list() -> Result<Vec<Listed>> {
    let manager = match started() {
        Ok(manager) => manager,
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NODEV) => return Ok(Vec::new()),
        Err(_) => manager()?,
    };
    Ok(all(&manager).iter().map(listed).collect())
}

fn listed(camera: &Found<'static>) -> Listed {
    let formats = generated(camera).map_or(Vec::new(), |mut config| {
        let offered = offered(&config);
        let format = |format: PixelFormat| {
            let ours = formats::ours(format);
            ListedFormat {
                name: ours.map_or_else(|| format.to_string(), |code| code.to_string()),
                readable: ours.is_some(),
                sizes: sizes(&mut config, format),
            }
        };
        offered.into_iter().map(format).collect()
    });
    Listed {
        id: camera.id().to_owned(),
        model: model(camera),
        formats,
        controls: controls::of(camera),
        orientations: orientations(camera),
    }
}
