//! The settings of a camera: format, size, colour space, orientation and controls. They are requested, adjusted by
//! libcamera, and read back.

use std::time::{Duration, Instant};

use libcamera::camera::{
    Camera as Found, CameraConfiguration, CameraConfigurationStatus as Status, Orientation,
};
use libcamera::color_space::{ColorSpace, Range, YcbcrEncoding};
use libcamera::control::ControlList;
use libcamera::controls::ControlId;
use libcamera::geometry::Size;
use libcamera::pixel_format::PixelFormat;
use libcamera::stream::StreamRole;
use libcamera::utils::UniquePtr;
use log::log;

use super::{controls, formats};
use crate::capture::assignment::Assignment;
use crate::capture::opening_log::OpeningLog;
use crate::capture::settings::CameraSettings;
use crate::capture::source::BUFFERS;
use crate::error::{Error, Result};
use crate::picture::develop::FrameReader;
use crate::picture::format::{Format, Sizes};
use crate::picture::pixels::Pixels;
use crate::picture::turn::Transform;

/// The purposes for which a stream can be configured. A Raspberry Pi answers the first one with YUV 4:2:0; other
/// platforms support only some of them.
const ROLES: [StreamRole; 3] = [
    StreamRole::VideoRecording,
    StreamRole::ViewFinder,
    StreamRole::StillCapture,
];

/// Negotiates format, size, colour space and orientation.
pub(super) fn choose(
    camera: &Found<'_>,
    settings: &CameraSettings,
    orientation: Option<Orientation>,
) -> Result<CameraConfiguration> {
    let id = camera.id();
    let mut config = generated(camera)?;
    let offered = offered(&config);
    let mut candidates = formats::readable(&offered);
    if let Some(wanted) = settings.format {
        candidates.retain(|(_, code)| *code == wanted);
    }
    let name = format!("camera {id}");
    if candidates.is_empty() {
        let offered: Vec<_> = offered.iter().map(PixelFormat::to_string).collect();
        return Err(Error::Usage(settings.no_format(&name, &offered)));
    }
    let size = settings.size_to_ask_for();
    for &(format, _) in &candidates {
        let given = negotiate(&mut config, format, size, orientation);
        if !given.is_some_and(|given| settings.takes_size(given)) {
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
    let formats = candidates.into_iter();
    let formats = formats.map(|(format, code)| (code, Some(sizes(&mut config, format))));
    Err(Error::Usage(settings.no_size(&name, formats)))
}

/// The same with the pictures turned by the camera, if it can do that. Returns also what is left to be done here.
/// No pipeline of libcamera exchanges rows and columns, so that is not asked for.
pub(super) fn choose_turned(
    camera: &Found<'_>,
    settings: &CameraSettings,
    told: &mut OpeningLog,
) -> Result<(CameraConfiguration, Transform)> {
    let (id, turn) = (camera.id(), settings.turn);
    let orientation = match (turn.transposed, turn.horizontal, turn.vertical) {
        (false, true, false) => Some(Orientation::Rotate0Mirror),
        (false, false, true) => Some(Orientation::Rotate180Mirror),
        (false, true, true) => Some(Orientation::Rotate180),
        _ => None,
    };
    if orientation.is_some() {
        if let Ok(config) = choose(camera, settings, orientation) {
            let level = told.level(Instant::now());
            log!(level, "camera {id} turns its pictures itself: {turn}");
            return Ok((config, Transform::default()));
        }
    }
    let config = choose(camera, settings, None)?;
    if !turn.is_none() {
        let level = told.level(Instant::now());
        log!(
            level,
            "camera {id} cannot turn its pictures like that, so they are {turn} here"
        );
    }
    Ok((config, turn))
}

pub(super) fn generated(camera: &Found<'_>) -> Result<CameraConfiguration> {
    let config = camera.generate_first_supported_configuration(&ROLES);
    let none = || {
        Error::Input(format!(
            "libcamera has no configuration for camera {}",
            camera.id()
        ))
    };
    config.map(|(config, _)| config).ok_or_else(none)
}

pub(super) fn offered(config: &CameraConfiguration) -> Vec<PixelFormat> {
    let stream = config.get(0);
    stream.map_or(Vec::new(), |stream| {
        let formats = stream.formats().pixel_formats();
        (0..formats.len())
            .filter_map(|index| formats.get(index))
            .collect()
    })
}

/// Requests a format, and returns the size if the format is available.
fn negotiate(
    config: &mut CameraConfiguration,
    format: PixelFormat,
    (width, height): (u32, u32),
    orientation: Option<Orientation>,
) -> Option<(u32, u32)> {
    let mut stream = config.get_mut(0)?;
    stream.set_pixel_format(format);
    stream.set_size(Size { width, height });
    // JFIF uses BT.601 with full range.
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

/// How to read the frames of a configuration. The values are read back because libcamera pads lines.
/// `id` is that of the camera.
pub(super) fn reader(config: &CameraConfiguration, id: &str) -> Result<(Format, FrameReader)> {
    let unread = || Error::Input("libcamera gave a format that was not asked for".into());
    let stream = config.get(0).ok_or_else(unread)?;
    let Size { width, height } = stream.get_size();
    let space = stream.get_color_space();
    let fourcc = formats::ours(stream.get_pixel_format()).ok_or_else(unread)?;
    let is_rgb = Pixels::of(fourcc).is_some_and(Pixels::is_rgb);
    let format = Format {
        fourcc,
        width,
        height,
        stride: stream.get_stride(),
        // libcamera names one stride for all planes.
        chroma_strides: [0; 2],
        full_range: is_rgb || space.is_some_and(|space| space.range == Range::Full),
        bt709: space.is_some_and(|space| space.ycbcr_encoding == YcbcrEncoding::Rec709),
    };
    let reader = FrameReader::new(&format, id.to_owned()).ok_or_else(unread)?;
    Ok((format, reader))
}

/// The controls that every start is given, and the number of frames per second that they set.
pub(super) fn start_controls(
    camera: &Found<'_>,
    settings: &CameraSettings,
    assignments: &[Assignment],
    told: &mut OpeningLog,
) -> Result<(UniquePtr<ControlList>, Option<f64>)> {
    let id = camera.id();
    // After configure(), because limits depend on the sensor's mode.
    let known = controls::of(camera);
    let none = || Error::Input(format!("no list of controls for camera {id}"));
    let mut list = ControlList::from_info_map(camera.controls()).ok_or_else(none)?;
    for assignment in assignments {
        let value = controls::value(&known, assignment);
        let (control, value) = value.map_err(|why| Error::Usage(format!("camera {id}{why}")))?;
        // The only possible failure is a value that cannot be converted.
        let _ = list.set_raw(control, value);
    }
    let Some(fps) = settings.fps else {
        return Ok((list, None));
    };
    let Some((shortest, longest)) = controls::frame_durations(&known) else {
        let level = told.level(Instant::now());
        log!(
            level,
            "camera {id} has no control over its rate: frames come as it sends them"
        );
        return Ok((list, None));
    };
    let micros = ((1e6 / fps).round() as i64).clamp(shortest, longest);
    let given = 1e6 / micros as f64;
    settings.tell_rate(&format_args!("camera {id}"), Some(given), told);
    let _ = list.set_raw(ControlId::FrameDurationLimits.id(), [micros, micros].into());
    Ok((list, Some(given)))
}

/// The longest time that a frame may take with the camera's settings. `fps` is the rate that the camera was given,
/// which takes precedence over limits among the assignments.
pub(super) fn longest_frame(fps: Option<f64>, assignments: &[Assignment]) -> Duration {
    let told = |name: &str| {
        let mut named = assignments.iter().rev();
        let last = named.find(|one| controls::plain(&one.name) == name)?;
        // The second of two limits is the longer one.
        let micros = last.value.rsplit(':').next()?.trim();
        micros.parse().ok().map(Duration::from_micros)
    };
    let by_rate = fps.and_then(|fps| Duration::try_from_secs_f64(1.0 / fps).ok());
    let by_rate = by_rate.or_else(|| told("framedurationlimits"));
    by_rate.max(told("exposuretime")).unwrap_or_default()
}

/// The sizes of a format. libcamera reports a range even for a list, so a size from the middle of the range is tried.
pub(super) fn sizes(config: &mut CameraConfiguration, format: PixelFormat) -> Sizes {
    let pair = |size: Size| (size.width, size.height);
    let told = config.get(0).map(|stream| {
        let formats = stream.formats();
        (formats.range(format), formats.sizes(format))
    });
    let Some((range, sizes)) = told else {
        return Sizes::Discrete(Vec::new());
    };
    let (min, max) = (pair(range.min), pair(range.max));
    let middle = |min: u32, max: u32| (min + max.saturating_sub(min) / 2) & !31;
    let between = (middle(min.0, max.0), middle(min.1, max.1));
    let continuous = min != max && negotiate(config, format, between, None) == Some(between);
    match continuous {
        true => Sizes::Stepwise([min, max, (range.h_step, range.v_step)]),
        false => Sizes::Discrete(sizes.into_iter().map(pair).collect()),
    }
}

pub(super) fn orientations(camera: &Found<'_>) -> String {
    let known = controls::ORIENTATIONS.iter().filter(|(orientation, _)| {
        let config = generated(camera);
        config.is_ok_and(|mut config| {
            config.set_orientation(*orientation);
            !matches!(config.validate(), Status::Invalid) && config.orientation() == *orientation
        })
    });
    known.map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_may_take_as_long_as_the_camera_was_told_last_in_any_spelling() {
        let longest = |fps, controls: &[&str]| {
            let assignments: Vec<_> = controls.iter().map(|one| one.parse().unwrap()).collect();
            longest_frame(fps, &assignments).as_millis()
        };
        assert_eq!(longest(None, &["AfMode=1"]), 0);
        assert_eq!(longest(Some(0.5), &["ExposureTime=1000"]), 2000);
        for name in ["ExposureTime", "Exposure_Time", "exposure_time"] {
            let told = ["ExposureTime=1000", &format!("{name}=6000000")];
            assert_eq!(longest(Some(30.0), &told), 6000, "{name}");
        }
        let limits = "FrameDurationLimits=33333:10000000";
        assert_eq!(longest(None, &[limits]), 10_000);
        // `--fps` is set after it.
        assert_eq!(longest(Some(0.5), &[limits]), 2000);
    }
}
