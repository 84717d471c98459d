//! Chooses the camera, its format and its size: what was asked for, or else what costs least.

use super::device::Device;
use crate::capture::devices::video_nodes;
use crate::capture::settings::Settings;
use crate::error::{Error, Result};
use crate::picture::format::Fourcc;
use crate::picture::pixels::{PREFERENCE, Pixels, Unpacker};

/// The size to ask for when none is given: every camera has it or something close to it.
const USUAL_SIZE: (u32, u32) = (640, 480);

/// The first camera that can be used. Those on USB come first, because on boards with a camera port, that port's
/// nodes have the low numbers.
pub fn first_camera() -> Result<Device> {
    let nodes = video_nodes().unwrap_or_default();
    let mut refused = None;
    let mut usable = Vec::new();
    for node in &nodes {
        match Device::open(node) {
            Ok(device) if device.card().is_camera() && !readable_formats(&device).is_empty() => {
                usable.push(device);
            }
            Ok(_) => {}
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    let on_usb = |device: &Device| device.card().bus.starts_with("usb-");
    let at = usable.iter().position(on_usb).unwrap_or(0);
    if at < usable.len() {
        return Ok(usable.swap_remove(at));
    }
    Err(refused.unwrap_or_else(|| {
        let found = match nodes.len() {
            0 => "there is no /dev/video device".into(),
            count => {
                format!("none of the {count} /dev/video devices is a camera that lazycam can read")
            }
        };
        Error::Input(format!(
            "{found}: plug a USB camera in, or see `lazycam list`"
        ))
    }))
}

/// The formats of a device that lazycam can read, the best first.
pub fn readable_formats(device: &Device) -> Vec<Fourcc> {
    let offered = device.formats();
    let known = PREFERENCE.iter().map(|(fourcc, _)| *fourcc);
    known.filter(|fourcc| offered.contains(fourcc)).collect()
}

/// Negotiates format and size, and sets them.
pub(super) fn choose(device: &Device, settings: &Settings) -> Result<()> {
    let path = device.path().display();
    if !device.card().captures {
        return Err(Error::Usage(format!(
            "{path} ({}) delivers no pictures that lazycam can take: see `lazycam list` for those that do",
            device.card().card
        )));
    }
    let mut candidates = readable_formats(device);
    if let Some(wanted) = settings.format {
        candidates.retain(|fourcc| *fourcc == wanted);
    }
    if candidates.is_empty() {
        return Err(Error::Usage(no_format(device, settings.format)));
    }
    let Some((width, height)) = settings.size else {
        return set(device, candidates[0], USUAL_SIZE);
    };
    let size = (u32::from(width), u32::from(height));
    for &fourcc in &candidates {
        let given = device.try_format(fourcc, size)?;
        if (given.fourcc, given.width, given.height) == (fourcc, size.0, size.1) {
            return set(device, fourcc, size);
        }
    }
    Err(Error::Usage(no_size(device, size, &candidates)))
}

fn set(device: &Device, fourcc: Fourcc, size: (u32, u32)) -> Result<()> {
    let given = device.set_format(fourcc, size)?;
    let readable = given.fourcc == fourcc
        && (Pixels::of(fourcc) == Some(Pixels::Jpeg) || Unpacker::new(&given).is_some());
    if readable {
        return Ok(());
    }
    let (path, width, height) = (device.path().display(), given.width, given.height);
    let message = format!(
        "{path} gave {width}x{height} {} when asked for {fourcc}",
        given.fourcc
    );
    Err(Error::Input(message))
}

fn no_format(device: &Device, wanted: Option<Fourcc>) -> String {
    let list = |formats: Vec<Fourcc>| match formats.is_empty() {
        true => "none".into(),
        false => {
            let names: Vec<_> = formats.iter().map(Fourcc::to_string).collect();
            names.join(", ")
        }
    };
    let (path, offered) = (device.path().display(), list(device.formats()));
    let known = list(PREFERENCE.iter().map(|(fourcc, _)| *fourcc).collect());
    match wanted {
        Some(wanted) => format!(
            "{path} has no format {wanted} that lazycam can read: it has {offered}; lazycam reads {known}"
        ),
        None => format!(
            "{path} ({}) has no format that lazycam can read: it has {offered}; lazycam reads {known}. \
             Cameras with raw sensor data go through libcamera",
            device.card().card
        ),
    }
}

fn no_size(device: &Device, (width, height): (u32, u32), candidates: &[Fourcc]) -> String {
    let sizes = candidates.iter().map(|&fourcc| match device.sizes(fourcc) {
        Some(sizes) => format!("{fourcc}: {sizes}"),
        None => format!("{fourcc}: not told"),
    });
    let path = device.path().display();
    let sizes = sizes.collect::<Vec<_>>().join("; ");
    format!("{path} has no pictures of {width}x{height}; it has {sizes}")
}
