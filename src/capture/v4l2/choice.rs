//! Chooses the camera, its format and its size: what was asked for, or else what costs least.

use super::advice::advice;
use super::device::Device;
use crate::capture::devices::video_nodes;
use crate::capture::settings::CameraSettings;
use crate::error::{Error, Result};
use crate::picture::develop::FrameReader;
use crate::picture::format::{Format, Fourcc, Sizes};
use crate::picture::pixels::{PREFERENCE, Pixels};

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
pub(super) fn choose(device: &Device, settings: &CameraSettings) -> Result<()> {
    let path = device.path().display();
    if device.card().takes {
        return Err(Error::Input(format!(
            "{path} ({}) delivers no pictures as long as no program writes any to it",
            device.card().card
        )));
    }
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
        let told = no_format(device, settings);
        // What a device has may change with its input, or with another device in its place; what lazycam reads does not.
        return Err(match settings.format {
            Some(wanted) if Pixels::of(wanted).is_none() => Error::Usage(told),
            _ => Error::Input(told),
        });
    }
    let size = settings.size_to_ask_for();
    if settings.size.is_none() {
        return set(device, candidates[0], size);
    }
    let fits = |given: &Format, fourcc| {
        given.fourcc == fourcc && settings.takes_size((given.width, given.height))
    };
    // Mostly the first has it, and asking before costs a camera on USB as many requests as setting it does.
    let first = candidates[0];
    let set_first = device.set_format(first, size);
    if set_first.is_ok_and(|given| fits(&given, first) && FrameReader::reads(&given)) {
        return Ok(());
    }
    for &fourcc in &candidates {
        if fits(&device.try_format(fourcc, size)?, fourcc) {
            return set(device, fourcc, size);
        }
    }
    let formats = candidates.into_iter();
    // Where the source decides, there are no sizes to choose from, but the one that it has.
    let only = |fourcc| {
        let given = device.try_format(fourcc, size).ok()?;
        Some(Sizes::Discrete(vec![(given.width, given.height)]))
    };
    let formats = formats.map(|fourcc| (fourcc, device.sizes(fourcc).or_else(|| only(fourcc))));
    Err(Error::Input(settings.no_size(&path, formats)))
}

fn set(device: &Device, fourcc: Fourcc, size: (u32, u32)) -> Result<()> {
    let given = device.set_format(fourcc, size)?;
    if given.fourcc == fourcc && FrameReader::reads(&given) {
        return Ok(());
    }
    let path = device.path().display();
    let message = format!("{path} gave {given} when asked for {fourcc}");
    Err(Error::Input(message))
}

fn no_format(device: &Device, settings: &CameraSettings) -> String {
    let formats = device.formats();
    let offered: Vec<_> = formats.iter().map(Fourcc::to_string).collect();
    let (path, card) = (device.path().display(), &device.card().card);
    let told = settings.no_format(&format_args!("{path} ({card})"), &offered);
    let wanted = settings.format.map(|wanted| vec![wanted]);
    match settings.format.and_then(Pixels::of) {
        Some(_) => told,
        None => {
            let advice = advice(&path.to_string(), &wanted.unwrap_or(formats));
            format!("{told}. {advice}")
        }
    }
}
