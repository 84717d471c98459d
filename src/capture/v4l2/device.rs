//! One video device: what it is, what it can do, what it is set to. Typed, and told in V4L2's terms.
//!
//! Only the single-planar API is spoken (V4L2_BUF_TYPE_VIDEO_CAPTURE): that of USB cameras. Nodes of media pipelines that
//! speak only the multi-planar one are no cameras by themselves either; libcamera is the way to those.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use super::ioctl::{self, Plain};
use crate::error::{Error, Result};

/// V4L2_CAP_VIDEO_CAPTURE
const CAP_VIDEO_CAPTURE: u32 = 0x1;
/// V4L2_CAP_STREAMING
const CAP_STREAMING: u32 = 0x0400_0000;
/// V4L2_CAP_DEVICE_CAPS: device_caps tells of this node, capabilities of all nodes of the device together.
const CAP_DEVICE_CAPS: u32 = 0x8000_0000;
/// V4L2_CAP_IO_MC: what leads to this node is set up through the media controller, by somebody else.
const CAP_IO_MC: u32 = 0x2000_0000;
/// V4L2_CAP_TIMEPERFRAME
const CAP_TIMEPERFRAME: u32 = 0x1000;
/// V4L2_FIELD_NONE: whole frames.
const FIELD_NONE: u32 = 1;
/// V4L2_FIELD_SEQ_TB, V4L2_FIELD_SEQ_BT, V4L2_FIELD_ALTERNATE: both fields of interlaced video, one after the other. One field alone
/// (V4L2_FIELD_TOP) is a picture of half as many lines.
const HALVES: [u32; 3] = [5, 6, 7];
/// V4L2_PIX_FMT_PRIV_MAGIC: the members behind `priv` are used.
const PRIV_MAGIC: u32 = 0xFEED_CAFE;
/// V4L2_COLORSPACE_JPEG
const COLORSPACE_JPEG: u32 = 7;
/// V4L2_COLORSPACE_REC709
const COLORSPACE_REC709: u32 = 3;
/// V4L2_COLORSPACE_DCI_P3
const COLORSPACE_DCI_P3: u32 = 12;
/// V4L2_YCBCR_ENC_709
const YCBCR_ENC_709: u32 = 2;
/// V4L2_YCBCR_ENC_XV709
const YCBCR_ENC_XV709: u32 = 4;
/// V4L2_QUANTIZATION_FULL_RANGE
const FULL_RANGE: u32 = 1;
/// V4L2_QUANTIZATION_LIM_RANGE
const LIM_RANGE: u32 = 2;

/// More of anything than a driver that ends its lists would tell.
const MOST: u32 = 1024;

/// A pixel format, four characters as the header has them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fourcc(pub [u8; 4]);

impl Fourcc {
    fn number(self) -> u32 {
        u32::from_le_bytes(self.0)
    }
}

impl FromStr for Fourcc {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let upper = text.to_ascii_uppercase();
        let code = match upper.as_str() {
            "MJPEG" => "MJPG",
            "RGB24" => "RGB3",
            "YUV420" | "I420" => "YU12",
            code => code,
        };
        // Short ones end in spaces, which nobody has to say: Y16 is 'Y', '1', '6', ' '.
        let code = code.trim_end_matches(' ');
        let plain = !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let bytes = <[u8; 4]>::try_from(format!("{code:4}").as_bytes());
        bytes
            .ok()
            .filter(|_| plain)
            .map(Fourcc)
            .ok_or_else(|| "a format is a code of four characters, such as MJPG or YUYV".into())
    }
}

impl fmt::Display for Fourcc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.escape_ascii().to_string().trim_end())
    }
}

impl fmt::Debug for Fourcc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The sizes of one format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// These and no others.
    Discrete(Vec<(u32, u32)>),
    /// From the first to the second, by steps of the third.
    Stepwise([(u32, u32); 3]),
}

impl Sizes {
    /// Whether a size is one of them.
    pub fn contain(&self, (width, height): (u32, u32)) -> bool {
        let within = |value: u32, min: u32, max: u32, step: u32| {
            (min..=max).contains(&value) && (value - min) % step.max(1) == 0
        };
        match self {
            Sizes::Discrete(sizes) => sizes.contains(&(width, height)),
            Sizes::Stepwise([min, max, step]) => {
                within(width, min.0, max.0, step.0) && within(height, min.1, max.1, step.1)
            }
        }
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sizes::Discrete(sizes) => {
                for (i, (width, height)) in sizes.iter().enumerate() {
                    let comma = if i == 0 { "" } else { ", " };
                    write!(f, "{comma}{width}x{height}")?;
                }
                Ok(())
            }
            Sizes::Stepwise([min, max, step]) => {
                let (from, to) = (
                    format!("{}x{}", min.0, min.1),
                    format!("{}x{}", max.0, max.1),
                );
                write!(f, "{from} to {to} by {}x{}", step.0, step.1)
            }
        }
    }
}

/// A frame interval in seconds: numerator, denominator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval(pub u32, pub u32);

impl Interval {
    /// Of a rate in frames per second.
    fn of(fps: f64) -> Self {
        if fps.fract() == 0.0 {
            Interval(1, fps as u32)
        } else {
            Interval(1000, (fps * 1000.0).round() as u32)
        }
    }

    /// Frames per second; `None` if the driver does not tell.
    pub fn fps(self) -> Option<f64> {
        let Interval(numerator, denominator) = self;
        (numerator > 0 && denominator > 0).then(|| f64::from(denominator) / f64::from(numerator))
    }
}

/// What a device says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// The driver's name.
    pub driver: String,
    /// The device's name.
    pub card: String,
    /// Where it is: `usb-0000:01:00.0-1.2`.
    pub bus: String,
    /// It delivers pictures, into mapped buffers.
    pub captures: bool,
    /// It delivers only what others put into a chain of devices, as an ISP does: no camera by itself, though it may look like one.
    pub is_part: bool,
}

impl Card {
    /// It is what people call a camera.
    pub fn is_camera(&self) -> bool {
        self.captures && !self.is_part
    }
}

/// What the driver has set after a format was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// The pixel format.
    pub fourcc: Fourcc,
    /// Pixels per line.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// From one line to the next, of the first plane. 0 if the format has no lines.
    pub stride: u32,
    /// Samples go from 0 to 255 and not from 16 to 235. What the driver leaves open is decided as the kernel's
    /// V4L2_MAP_QUANTIZATION_DEFAULT does for YUV; grey counts as full, which is how the kernel's vivid makes it.
    pub full_range: bool,
    /// YUV by the matrix of BT.709 and not of BT.601, as V4L2_MAP_YCBCR_ENC_DEFAULT where the driver leaves it open.
    pub bt709: bool,
}

/// An open video device.
pub struct Device {
    path: PathBuf,
    fd: OwnedFd,
    card: Card,
}

impl Device {
    /// Opens a node, without blocking on anything it does later. (VIDIOC_QUERYCAP, VIDIOC_ENUMINPUT)
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = open(path, flags, Mode::empty()).map_err(|errno| refused(path, "open", errno))?;
        let no_camera = || {
            let path = path.display();
            Error::Usage(format!(
                "{path} is not a video device: `lazycam list` shows those there are"
            ))
        };
        // An ordinary file or a terminal opens as well.
        let about = rustix::fs::fstat(&fd).map_err(|errno| refused(path, "open", errno))?;
        if rustix::fs::FileType::from_raw_mode(about.st_mode)
            != rustix::fs::FileType::CharacterDevice
        {
            return Err(no_camera());
        }
        let mut caps = ioctl::Capability::zeroed();
        match ioctl::querycap(fd.as_fd(), &mut caps) {
            Ok(()) => {}
            // The last of them from qemu's user mode, which has no V4L2.
            Err(Errno::NOTTY | Errno::INVAL | Errno::NOSYS) => return Err(no_camera()),
            Err(errno) => return Err(refused(path, "query", errno)),
        }
        let own = match caps.capabilities & CAP_DEVICE_CAPS {
            0 => caps.capabilities,
            _ => caps.device_caps,
        };
        let input = ioctl::enuminput(fd.as_fd(), &mut ioctl::Input::zeroed());
        let needed = CAP_VIDEO_CAPTURE | CAP_STREAMING;
        let card = Card {
            driver: text(&caps.driver),
            card: text(&caps.card),
            bus: text(&caps.bus_info),
            captures: own & needed == needed,
            is_part: is_part(own, input),
        };
        Ok(Device {
            path: path.to_owned(),
            fd,
            card,
        })
    }

    /// What it says of itself.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the device behind the descriptor is still there.
    pub fn is_there(&self) -> bool {
        ioctl::querycap(self.as_fd(), &mut ioctl::Capability::zeroed()).is_ok()
    }

    /// The pixel formats, in the driver's order. (VIDIOC_ENUM_FMT)
    pub fn formats(&self) -> Vec<Fourcc> {
        let mut formats = Vec::new();
        for index in 0..MOST {
            let mut desc = ioctl::FmtDesc::zeroed();
            (desc.index, desc.kind) = (index, ioctl::CAPTURE);
            if ioctl::enum_fmt(self.as_fd(), &mut desc).is_err() {
                break;
            }
            formats.push(Fourcc(desc.pixelformat.to_le_bytes()));
        }
        formats
    }

    /// The sizes of a format; `None` if the driver does not tell. (VIDIOC_ENUM_FRAMESIZES)
    pub fn sizes(&self, fourcc: Fourcc) -> Option<Sizes> {
        let mut discrete = Vec::new();
        for index in 0..MOST {
            let mut entry = ioctl::FrmSizeEnum::zeroed();
            (entry.index, entry.pixel_format) = (index, fourcc.number());
            if ioctl::enum_framesizes(self.as_fd(), &mut entry).is_err() {
                break;
            }
            let [w0, w1, w_step, h0, h1, h_step] = entry.size;
            if entry.kind != 1 {
                return Some(Sizes::Stepwise([(w0, h0), (w1, h1), (w_step, h_step)]));
            }
            if !discrete.contains(&(w0, w1)) {
                discrete.push((w0, w1));
            }
        }
        (!discrete.is_empty()).then_some(Sizes::Discrete(discrete))
    }

    /// The frame intervals of a format and size; of a range, its two ends. (VIDIOC_ENUM_FRAMEINTERVALS)
    pub fn intervals(&self, fourcc: Fourcc, (width, height): (u32, u32)) -> Vec<Interval> {
        let mut intervals = Vec::new();
        for index in 0..MOST {
            let mut entry = ioctl::FrmIvalEnum::zeroed();
            (entry.index, entry.pixel_format) = (index, fourcc.number());
            (entry.width, entry.height) = (width, height);
            if ioctl::enum_frameintervals(self.as_fd(), &mut entry).is_err() {
                break;
            }
            let [n0, d0, n1, d1, ..] = entry.interval;
            intervals.push(Interval(n0, d0));
            if entry.kind != 1 {
                intervals.push(Interval(n1, d1));
                break;
            }
        }
        intervals
    }

    /// What [`Device::set_format`] would give. (VIDIOC_TRY_FMT)
    pub fn try_format(&self, fourcc: Fourcc, size: (u32, u32)) -> Result<Format> {
        let mut format = wanted(fourcc, size);
        let tried = ioctl::try_fmt(self.as_fd(), &mut format);
        tried.map_err(|errno| self.refused("ask for a format of", errno))?;
        Ok(given(&format.fmt.pix))
    }

    /// Sets format and size, as near as the driver can. (VIDIOC_S_FMT)
    pub fn set_format(&self, fourcc: Fourcc, size: (u32, u32)) -> Result<Format> {
        let mut format = wanted(fourcc, size);
        let set = ioctl::s_fmt(self.as_fd(), &mut format);
        set.map_err(|errno| self.refused("set the format of", errno))?;
        if HALVES.contains(&format.fmt.pix.field) {
            return Err(Error::Usage(format!(
                "{} gives every other line at a time, and lazycam does not put such half pictures together",
                self.path.display()
            )));
        }
        Ok(given(&format.fmt.pix))
    }

    /// What is set now: some controls change it (V4L2_CTRL_FLAG_MODIFY_LAYOUT), turning the picture for one. (VIDIOC_G_FMT)
    pub fn format(&self) -> Result<Format> {
        let mut format = wanted(Fourcc([0; 4]), (0, 0));
        let got = ioctl::g_fmt(self.as_fd(), &mut format);
        got.map_err(|errno| self.refused("ask for the format of", errno))?;
        Ok(given(&format.fmt.pix))
    }

    /// Sets the rate, as near as the driver can, or only asks for it; tells what it is now, if the driver does.
    /// (VIDIOC_S_PARM, VIDIOC_G_PARM)
    pub fn set_rate(&self, fps: Option<f64>) -> Option<f64> {
        let mut parm = ioctl::StreamParm::zeroed();
        parm.kind = ioctl::CAPTURE;
        ioctl::g_parm(self.as_fd(), &mut parm).ok()?;
        if parm.capability & CAP_TIMEPERFRAME != 0 {
            if let Some(fps) = fps {
                let Interval(numerator, denominator) = Interval::of(fps);
                (parm.numerator, parm.denominator) = (numerator, denominator);
                // A driver that refuses goes on at its own rate, which is told below all the same.
                let _ = ioctl::s_parm(self.as_fd(), &mut parm);
                ioctl::g_parm(self.as_fd(), &mut parm).ok()?;
            }
        }
        Interval(parm.numerator, parm.denominator).fps()
    }

    /// An error of this device.
    pub(super) fn refused(&self, doing: &str, errno: Errno) -> Error {
        refused(&self.path, doing, errno)
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// By its capabilities, and by the answer to VIDIOC_ENUMINPUT for the first input. A camera has one, and the kernel's v4l2-compliance
/// holds its driver to telling it; a driver that does not know the call feeds the node from its other nodes (bcm2835-isp).
fn is_part(capabilities: u32, input: Result<(), Errno>) -> bool {
    capabilities & CAP_IO_MC != 0 || input == Err(Errno::NOTTY)
}

fn wanted(fourcc: Fourcc, (width, height): (u32, u32)) -> ioctl::Format {
    let mut format = ioctl::Format::zeroed();
    format.kind = ioctl::CAPTURE;
    let pix = &mut format.fmt.pix;
    (pix.width, pix.height, pix.pixelformat) = (width, height, fourcc.number());
    (pix.field, pix.private) = (FIELD_NONE, PRIV_MAGIC);
    format
}

fn given(pix: &ioctl::PixFormat) -> Format {
    Format {
        fourcc: Fourcc(pix.pixelformat.to_le_bytes()),
        width: pix.width,
        height: pix.height,
        stride: pix.bytesperline,
        full_range: match pix.quantization {
            FULL_RANGE => true,
            LIM_RANGE => false,
            _ => {
                let grey = u32::from_le_bytes(*b"GREY");
                pix.colorspace == COLORSPACE_JPEG || pix.pixelformat == grey
            }
        },
        bt709: match pix.ycbcr_enc {
            0 => matches!(pix.colorspace, COLORSPACE_REC709 | COLORSPACE_DCI_P3),
            matrix => matches!(matrix, YCBCR_ENC_709 | YCBCR_ENC_XV709),
        },
    }
}

/// What was tried, on which device, the cause, and what to do about it.
fn refused(path: &Path, doing: &str, errno: Errno) -> Error {
    let path = path.display();
    let advice = match errno {
        Errno::NOENT | Errno::NXIO => "it is not there: plug it in, or see `lazycam list`",
        Errno::NODEV => "it was unplugged",
        Errno::ACCESS | Errno::PERM => {
            "no permission: make the user a member of the device's group, mostly video (`usermod -aG video USER`, \
             or SupplementaryGroups=video in the unit)"
        }
        Errno::BUSY => {
            let message = format!(
                "cannot {doing} {path}: it is in use by another program, which has to end first \
                 (`fuser -v {path}` names it)"
            );
            return Error::Busy(message);
        }
        Errno::NOSPC => {
            "not enough bandwidth on its USB bus: take a smaller --size, a lower --fps, --format MJPG, \
             or another port"
        }
        Errno::IO | Errno::PIPE | Errno::PROTO | Errno::TIMEDOUT => {
            "the device does not answer: check cable and power, plug it in again"
        }
        _ => return Error::Input(format!("cannot {doing} {path}: {errno}")),
    };
    Error::Input(format!("cannot {doing} {path}: {advice} ({errno})"))
}

/// A string of the kernel's, up to its NUL.
pub(super) fn text(bytes: &[u8]) -> String {
    let len = bytes.iter().position(|&byte| byte == 0);
    let bytes = &bytes[..len.unwrap_or(bytes.len())];
    String::from_utf8_lossy(bytes).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_taken_in_either_case_and_by_their_usual_names() {
        for (text, code) in [
            ("mjpeg", "MJPG"),
            ("yuyv", "YUYV"),
            ("RGB24", "RGB3"),
            ("i420", "YU12"),
        ] {
            assert_eq!(text.parse::<Fourcc>().unwrap().to_string(), code);
        }
        assert_eq!(Fourcc(*b"Y16 ").to_string(), "Y16");
        // As `run` tells it to a capture process.
        assert_eq!("y16".parse(), Ok(Fourcc(*b"Y16 ")));
        for bad in ["webp5", "", "   ", "s\\:8", "a b"] {
            assert!(bad.parse::<Fourcc>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sizes_by_steps_contain_what_the_steps_reach() {
        let sizes = Sizes::Stepwise([(16, 16), (64, 48), (8, 2)]);
        assert!(sizes.contain((64, 48)) && sizes.contain((24, 18)));
        assert!(!sizes.contain((25, 18)) && !sizes.contain((72, 16)) && !sizes.contain((8, 16)));
        assert_eq!(sizes.to_string(), "16x16 to 64x48 by 8x2");
        let sizes = Sizes::Discrete(vec![(640, 480), (320, 240)]);
        assert!(sizes.contain((320, 240)) && !sizes.contain((640, 240)));
        assert_eq!(sizes.to_string(), "640x480, 320x240");
    }

    #[test]
    fn rates_become_intervals_and_back() {
        assert_eq!(Interval::of(15.0), Interval(1, 15));
        assert_eq!(Interval::of(7.5), Interval(1000, 7500));
        assert_eq!(Interval(1001, 30000).fps().map(f64::round), Some(30.0));
        assert_eq!(Interval(0, 0).fps(), None);
    }

    #[test]
    fn a_node_of_an_isp_is_no_camera() {
        let usual = CAP_VIDEO_CAPTURE | CAP_STREAMING;
        assert!(!is_part(usual, Ok(())));
        assert!(is_part(usual, Err(Errno::NOTTY)));
        assert!(is_part(usual | CAP_IO_MC, Ok(())));
        // Something is wrong with it, but it knows the call.
        assert!(!is_part(usual, Err(Errno::IO)));
    }

    #[test]
    fn failures_say_what_to_do() {
        let told = |errno| refused(Path::new("/dev/video7"), "open", errno).to_string();
        assert!(told(Errno::ACCESS).contains("usermod -aG video"));
        assert!(told(Errno::BUSY).contains("fuser -v /dev/video7"));
        assert!(told(Errno::NOENT).contains("plug it in"));
        assert!(told(Errno::NOSPC).contains("--size"));
        assert!(told(Errno::NOENT).starts_with("cannot open /dev/video7: "));
    }

    #[test]
    fn what_is_no_video_device_is_refused_as_that() {
        for path in ["/dev/null", "/proc/self/stat", "/"] {
            let refused = Device::open(Path::new(path)).err().unwrap();
            let told = refused.to_string();
            assert!(told.contains(path), "{told}");
        }
        let missing = Device::open(Path::new("/dev/no-such-camera"));
        let told = missing.err().unwrap().to_string();
        assert!(told.contains("plug it in"), "{told}");
    }
}
