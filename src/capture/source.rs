//! The interface between the capture loop and a camera.
//!
//! A source is configured when it is created, and then started and stopped any number of times. It never has a thread
//! that wakes up while the source is stopped. The loop asks it for frames when its descriptor is readable or its
//! deadline has come, and for the JPEG of a frame only when that frame is going to be published: a raw frame that
//! nobody wants is never encoded.

use std::fmt;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant, SystemTime};

use super::assignment::Assignment;
use super::control_facts::ControlFacts;
use super::url::Url;
use crate::event::Interest;
use crate::picture::develop::{Developer, FrameReader};
use crate::picture::encode::hardware::HardwareCoder;
use crate::picture::format::Format;
use crate::picture::jpeg::{Defect, Size};
use crate::picture::largest;
pub use crate::picture::mjpeg::Discarded;
use crate::picture::turn::Transform;

/// The kinds of source, as `--source` names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// A test picture that is made here.
    Pattern,
    /// An MJPEG stream on standard input.
    Stdin,
    /// A video device; without a path, the first camera found.
    V4l2(Option<PathBuf>),
    /// A camera of libcamera; without a name, the first one found.
    Libcamera(Option<CameraName>),
    /// A camera on the network.
    Network(Url),
}

/// Identifies one of libcamera's cameras.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CameraName {
    /// By its position in the list, counted from 0.
    Index(usize),
    /// By its id: `/base/soc/i2c0mux/i2c@1/imx219@10`.
    Id(String),
}

impl fmt::Display for CameraName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CameraName::Index(index) => index.fmt(f),
            CameraName::Id(id) => f.write_str(id),
        }
    }
}

impl SourceKind {
    /// Whether the flag `setting` (without its dashes) applies to this source.
    pub fn takes(&self, setting: &str) -> bool {
        match setting {
            "size" => !matches!(self, SourceKind::Stdin | SourceKind::Network(_)),
            "source-password" => matches!(self, SourceKind::Network(url) if url.user.is_some()),
            "standard" => matches!(self, SourceKind::V4l2(_)),
            // The pattern has controls, but not those that are meant for cameras.
            "format" | "control" | "settable" | "mailbox" => {
                matches!(self, SourceKind::V4l2(_) | SourceKind::Libcamera(_))
            }
            _ => true,
        }
    }

    /// Whether it has controls.
    pub fn has_controls(&self) -> bool {
        !matches!(self, SourceKind::Stdin | SourceKind::Network(_))
    }
}

impl FromStr for SourceKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "pattern" => Ok(SourceKind::Pattern),
            "stdin" => Ok(SourceKind::Stdin),
            "v4l2" => Ok(SourceKind::V4l2(None)),
            "libcamera" => Ok(SourceKind::Libcamera(None)),
            url if Url::is_meant(url) => Ok(SourceKind::Network(url.parse()?)),
            device if device.starts_with("/dev/") => Ok(SourceKind::V4l2(Some(device.into()))),
            _ => match text.split_once(':') {
                Some(("v4l2", path)) if !path.is_empty() => Ok(SourceKind::V4l2(Some(path.into()))),
                Some(("libcamera", name)) if !name.is_empty() => {
                    let name = name.parse().map(CameraName::Index);
                    let name = name.unwrap_or_else(|_| CameraName::Id(text["libcamera:".len()..].into()));
                    Ok(SourceKind::Libcamera(Some(name)))
                }
                _ => Err(
                    "a source is pattern, stdin, v4l2, /dev/videoN, libcamera, libcamera: with a number or id, or http://…".into(),
                ),
            },
        }
    }
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SourceKind::Pattern => f.write_str("pattern"),
            SourceKind::Stdin => f.write_str("stdin"),
            SourceKind::V4l2(None) => f.write_str("v4l2"),
            SourceKind::V4l2(Some(path)) => write!(f, "v4l2:{}", path.display()),
            SourceKind::Libcamera(None) => f.write_str("libcamera"),
            SourceKind::Libcamera(Some(name)) => write!(f, "libcamera:{name}"),
            SourceKind::Network(url) => url.fmt(f),
        }
    }
}

/// The frame that the source holds as its newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Captured {
    /// The time of capture, as far as the source knows it; it becomes the file's modification time.
    pub at: SystemTime,
    /// Exposure and white balance have settled, or the source does not have any.
    pub settled: bool,
}

/// What a source tells about the camera that its pictures come from, if that is somewhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OriginFacts<'a> {
    /// Which servers the pictures come through (`Via`, RFC 9110, 7.6.3), with this one.
    pub via: &'a str,
    /// How old the newest picture was when the last of them sent it, if it said so.
    pub age: Option<Duration>,
}

/// What is known about a source's pictures before there is one, for the file `state`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Facts {
    /// Width and height in pixels.
    pub size: Option<Size>,
    /// The rate that it is set to, in frames per second.
    pub fps: Option<f64>,
    /// JPEG quality, if the frames are encoded here.
    pub quality: Option<u8>,
}

impl Facts {
    /// Those of a camera that is open, whose pictures are made by `developer`.
    pub(super) fn of(
        format: &Format,
        fps: Option<f64>,
        developer: &Developer,
        reader: &FrameReader,
    ) -> Self {
        Facts {
            size: developer.size(format.size()),
            fps,
            quality: developer.quality(reader),
        }
    }
}

/// What a camera is set to, for people: `640x480 YUYV at 30 fps`.
pub(super) fn described(format: &Format, fps: Option<f64>) -> String {
    match fps {
        Some(fps) => format!("{format} at {} fps", (fps * 100.0).round() / 100.0),
        None => format.to_string(),
    }
}

/// What is added to that for pictures that are turned.
pub(super) fn turned(turn: Transform) -> String {
    match turn.is_none() {
        true => String::new(),
        false => format!(", {turn}"),
    }
}

/// The number of buffers to ask a driver for: one that we hold, one that is being filled, and two that wait. They give
/// the loop time while it works on the first, and make sure that the driver always has a buffer.
pub(super) const BUFFERS: u32 = 4;

/// How long to wait for the next frame of a streaming camera before it is given up: 5 s and the time of three frames.
/// With a bad cable or a saturated bus, a camera may be streaming without delivering anything.
pub(super) fn patience(frame: Option<Duration>) -> Duration {
    Duration::from_secs(5) + 3 * frame.unwrap_or_default()
}

/// What is wrong with a camera that has given no frame for so long.
pub(super) fn silent(patience: Duration) -> String {
    let secs = patience.as_secs();
    format!("has given no frame for {secs} s: check its cable and dmesg")
}

/// Why a source delivers no frame, distinguished by what the loop has to do about it.
#[derive(Debug)]
pub enum Trouble {
    /// This frame cannot be used, but the next one may be. It is counted.
    Broken(String),
    /// The device is gone or has failed: stop, and try again after a while.
    Lost(String),
    /// What its pictures come from has changed, so it has to be stopped and started at once.
    Changed(String),
    /// The device has failed in a way from which only a new process can recover.
    Failed(String),
    /// There will never be another frame (end of input). `clean` says whether the input ended between frames.
    Ended {
        /// What happened, for the log.
        message: String,
        /// Whether the input ended between two frames, and not within one.
        clean: bool,
    },
}

/// Why a control was not set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unset {
    /// The camera is not there.
    Later,
    /// The camera does not have it, or not with this value.
    Refused(String),
}

/// A camera, or something that takes the place of one.
pub trait Source {
    /// A description for people: `pattern 640x480 at 30 fps`.
    fn describe(&self) -> String;

    /// What is known about its pictures; this may change with a start.
    fn facts(&self) -> Facts {
        Facts::default()
    }

    /// Where its pictures come from, if that is another server.
    fn origin(&self) -> Option<OriginFacts<'_>> {
        None
    }

    /// Starts to deliver frames. After this call, no frame from before it is delivered.
    fn start(&mut self, now: Instant) -> Result<(), Trouble>;

    /// Stops delivery without giving up the device, so that it can be started again without configuring it.
    fn stop(&mut self);

    /// From now on, this hardware makes JPEGs of its raw pictures, as far as it can.
    fn encode_with(&mut self, _hardware: Box<dyn HardwareCoder>) {}

    /// What has made the newest JPEG of a raw picture, as far as that is known: `CPU`, or what [`HardwareCoder::name`] says.
    fn encoder(&self) -> Option<&str> {
        None
    }

    /// The descriptor that becomes readable when there may be a frame. It is asked for after each start and stays the
    /// same until the next stop. It is watched only while the source is started.
    fn fd(&self) -> Option<BorrowedFd<'_>>;

    /// What its descriptor is watched for.
    fn interest(&self) -> Interest {
        Interest::Readable
    }

    /// When to call [`Source::rest`], if it is stopped then.
    fn rest_at(&self) -> Option<Instant> {
        None
    }

    /// Gives up what keeps the device awake, as far as the next start can do without it.
    fn rest(&mut self) {}

    /// The longest wait before another attempt at it, once it was lost.
    fn longest_retry(&self) -> Duration {
        Duration::MAX
    }

    /// When to call [`Source::advance`] next even if the descriptor has not become readable.
    fn deadline(&self) -> Option<Instant>;

    /// Handles what has arrived, without blocking. `Some` means that there is a frame newer than the last one
    /// reported; older frames that nobody took are dropped.
    fn advance(&mut self, now: Instant) -> Result<Option<Captured>, Trouble>;

    /// The pictures that were thrown away since the last call, because something was wrong with them. Those that a
    /// [`Trouble::Broken`] reports are not among them.
    fn discarded(&mut self) -> Option<Discarded> {
        None
    }

    /// The JPEG of the frame last reported by [`Source::advance`]; it is encoded now if it was not a JPEG already.
    fn jpeg(&mut self) -> Result<&[u8], Trouble>;

    /// The same, unless it is larger than a frame may be.
    fn frame(&mut self) -> Result<&[u8], Trouble> {
        let jpeg = self.jpeg()?;
        let most = largest();
        match jpeg.len() <= most {
            true => Ok(jpeg),
            false => Err(Trouble::Broken(Defect::TooLong(most).to_string())),
        }
    }

    /// Sets a control of the camera, also while it is stopped. It may be forgotten at the next start.
    fn set_control(&mut self, _wanted: &Assignment) -> Result<(), Unset> {
        Err(Unset::Refused("this source has no controls".into()))
    }

    /// The controls that it has, as they are now; none if the camera is not there.
    fn controls(&self) -> Vec<ControlFacts> {
        Vec::new()
    }

    /// The descriptor that becomes readable when the device may have come or gone; it stays the same for the source's
    /// whole life. It is watched all the time, even while nobody is watching the camera. `None` for devices that
    /// cannot be unplugged.
    fn presence(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Handles what [`Source::presence`] has to report, without blocking. `true` means that another attempt can be
    /// made now at a device that was lost.
    fn look(&mut self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::format::{Fourcc, USUAL_SIZE};

    #[test]
    fn what_a_camera_is_set_to_is_told_to_people_and_in_the_state() {
        let format = Format {
            fourcc: Fourcc(*b"YUYV"),
            width: 640,
            height: 480,
            stride: 1280,
            chroma_strides: [0; 2],
            full_range: false,
            bt709: false,
        };
        let fps = Some(30_000.0 / 1001.0);
        assert_eq!(described(&format, fps), "640x480 YUYV at 29.97 fps");
        assert_eq!(described(&format, None), "640x480 YUYV");
        let mut developer = Developer::new(80).unwrap();
        let reader = FrameReader::new(&format, String::new()).unwrap();
        let facts = Facts::of(&format, fps, &developer, &reader);
        assert_eq!((facts.size, facts.quality), (Some(USUAL_SIZE), Some(80)));
        developer.turn(Transform::of_orientation(6));
        let facts = Facts::of(&format, fps, &developer, &reader);
        assert_eq!(facts.size.unwrap().to_string(), "480x640");
        let huge = Format {
            width: 1 << 16,
            ..format
        };
        assert_eq!(Facts::of(&huge, None, &developer, &reader).size, None);
    }

    #[test]
    fn no_frame_is_larger_than_it_may_be() {
        struct Encoded(Vec<u8>);
        impl Source for Encoded {
            fn describe(&self) -> String {
                String::new()
            }
            fn start(&mut self, _: Instant) -> Result<(), Trouble> {
                Ok(())
            }
            fn stop(&mut self) {}
            fn fd(&self) -> Option<BorrowedFd<'_>> {
                None
            }
            fn deadline(&self) -> Option<Instant> {
                None
            }
            fn advance(&mut self, _: Instant) -> Result<Option<Captured>, Trouble> {
                Ok(None)
            }
            fn jpeg(&mut self) -> Result<&[u8], Trouble> {
                Ok(&self.0)
            }
        }
        let mut source = Encoded(vec![0; largest()]);
        assert_eq!(source.frame().unwrap().len(), largest());
        source.0.push(0);
        let told = source.frame().unwrap_err();
        assert!(
            matches!(&told, Trouble::Broken(why) if why.contains("(--max-frame)")),
            "{told:?}"
        );
    }

    #[test]
    fn a_kind_of_source_is_written_as_it_is_read() {
        for text in [
            "pattern",
            "stdin",
            "v4l2",
            "v4l2:/dev/v4l/by-id/usb-a:b-index0",
            "libcamera",
            "libcamera:1",
            "libcamera:/base/soc/i2c0mux/i2c@1/imx219@10",
            "http://cam.local:8080/stream?a=b",
            "http+unix:/run/lazycam.sock:/stream",
        ] {
            assert_eq!(text.parse::<SourceKind>().unwrap().to_string(), text);
        }
        let device = "/dev/video0".parse::<SourceKind>().unwrap();
        assert_eq!(device.to_string(), "v4l2:/dev/video0");
        assert!("v4l2:".parse::<SourceKind>().is_err() && "video0".parse::<SourceKind>().is_err());
        assert!("libcamera:".parse::<SourceKind>().is_err());
        assert!("https://cam/".parse::<SourceKind>().is_err());
    }
}
