//! One video device: what it is, what it can do, and what it is set to.
//!
//! The single-planar API (V4L2_BUF_TYPE_VIDEO_CAPTURE), which is that of USB cameras, comes first. A node that has only the
//! multi-planar one, as HDMI inputs of some boards, is used through that.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use super::buffers::Buffers;
use super::format::{FormatAnswer, Interval, given, wanted};
use super::ioctl::{self, Plain};
use crate::error::{Error, Result};
use crate::picture::format::{Format, Fourcc, Sizes};

/// V4L2_CAP_VIDEO_OUTPUT
const CAP_VIDEO_OUTPUT: u32 = 0x2;
/// V4L2_CAP_VIDEO_CAPTURE
const CAP_VIDEO_CAPTURE: u32 = 0x1;
/// V4L2_CAP_VIDEO_CAPTURE_MPLANE
const CAP_VIDEO_CAPTURE_MPLANE: u32 = 0x1000;
/// V4L2_CAP_VIDEO_OUTPUT_MPLANE
const CAP_VIDEO_OUTPUT_MPLANE: u32 = 0x2000;
/// V4L2_CAP_VIDEO_M2M_MPLANE
const CAP_VIDEO_M2M_MPLANE: u32 = 0x4000;
/// V4L2_CAP_VIDEO_M2M: what the device takes from memory, it gives back to it in another form.
const CAP_VIDEO_M2M: u32 = 0x8000;
/// V4L2_CAP_STREAMING
const CAP_STREAMING: u32 = 0x0400_0000;
/// V4L2_CAP_DEVICE_CAPS: device_caps describes this node, while capabilities describes all nodes of the device
/// together.
const CAP_DEVICE_CAPS: u32 = 0x8000_0000;
/// V4L2_CAP_IO_MC: what leads to this node is set up through the media controller, by another program.
const CAP_IO_MC: u32 = 0x2000_0000;
/// V4L2_CAP_TIMEPERFRAME
const CAP_TIMEPERFRAME: u32 = 0x1000;

/// A limit for any list; drivers that end their lists properly have fewer entries.
const MOST: u32 = 1024;

/// What a device says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Card {
    /// The driver's name.
    pub driver: String,
    /// The device's name.
    pub card: String,
    /// Where it is connected: `usb-0000:01:00.0-1.2`.
    pub bus: String,
    /// Whether it delivers pictures into mapped buffers.
    pub captures: bool,
    /// Whether it only takes pictures now. A device of v4l2loopback does so until a program writes to it, and delivers
    /// them afterwards.
    pub takes: bool,
    /// Whether it turns pictures in memory into others, as encoders do.
    pub converts: bool,
    /// Whether it delivers only what others feed into a chain of devices, as an ISP does. This is not a camera by
    /// itself, though it may look like one.
    pub is_part: bool,
}

impl Card {
    /// Whether it is what people call a camera.
    pub fn is_camera(&self) -> bool {
        self.captures && !self.is_part
    }
}

/// An open video device.
pub struct Device {
    path: PathBuf,
    fd: OwnedFd,
    card: Card,
    /// Which of its two interfaces is used: V4L2_BUF_TYPE_VIDEO_CAPTURE or its multi-planar form.
    kind: u32,
}

impl Device {
    /// Opens a node in such a way that no later operation on it blocks. (VIDIOC_QUERYCAP, VIDIOC_ENUMINPUT)
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = open(path, flags, Mode::empty()).map_err(|errno| refused(path, "open", errno))?;
        let no_camera = || {
            let path = path.display();
            Error::Usage(format!(
                "{path} is not a video device: `lazycam list` shows those there are"
            ))
        };
        // Ordinary files and terminals can be opened too.
        let about = rustix::fs::fstat(&fd).map_err(|errno| refused(path, "open", errno))?;
        if rustix::fs::FileType::from_raw_mode(about.st_mode)
            != rustix::fs::FileType::CharacterDevice
        {
            return Err(no_camera());
        }
        let mut caps = ioctl::Capability::zeroed();
        match ioctl::querycap(fd.as_fd(), &mut caps) {
            Ok(()) => {}
            // The last of these comes from qemu's user mode, which has no V4L2.
            Err(Errno::NOTTY | Errno::INVAL | Errno::NOSYS) => return Err(no_camera()),
            Err(errno) => return Err(refused(path, "query", errno)),
        }
        let own = match caps.capabilities & CAP_DEVICE_CAPS {
            0 => caps.capabilities,
            _ => caps.device_caps,
        };
        let input = ioctl::enuminput(fd.as_fd(), &mut ioctl::Input::zeroed());
        let takes = CAP_VIDEO_OUTPUT | CAP_VIDEO_OUTPUT_MPLANE;
        let captures = CAP_VIDEO_CAPTURE | CAP_VIDEO_CAPTURE_MPLANE;
        let card = Card {
            driver: text(&caps.driver),
            card: text(&caps.card),
            bus: text(&caps.bus_info),
            captures: own & captures != 0 && own & CAP_STREAMING != 0,
            takes: own & takes != 0 && own & captures == 0,
            converts: own & (CAP_VIDEO_M2M | CAP_VIDEO_M2M_MPLANE) != 0 && own & CAP_STREAMING != 0,
            is_part: is_part(own, input),
        };
        Ok(Device {
            path: path.to_owned(),
            fd,
            card,
            kind: match own & (CAP_VIDEO_CAPTURE | CAP_VIDEO_M2M) {
                0 => ioctl::CAPTURE_MPLANE,
                _ => ioctl::CAPTURE,
            },
        })
    }

    /// What the device says about itself.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// The path at which it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the device behind the descriptor is still there.
    pub fn is_there(&self) -> bool {
        ioctl::querycap(self.as_fd(), &mut ioctl::Capability::zeroed()).is_ok()
    }

    /// Whether its bus would suspend the device if it were closed: on USB, if it may be suspended and is not. (The kernel's
    /// power/runtime-pm.rst; below the node's `device` is the interface, and above that the device.)
    pub(super) fn keeps_awake(&self) -> bool {
        let power = |name: &str| {
            let node = rustix::fs::fstat(&self.fd).ok()?.st_rdev;
            let (major, minor) = (rustix::fs::major(node), rustix::fs::minor(node));
            let path = format!("/sys/dev/char/{major}:{minor}/device/../power/{name}");
            std::fs::read(path).ok()
        };
        self.card.bus.starts_with("usb-")
            && power("control").is_some_and(|it| it.starts_with(b"auto"))
            && power("runtime_status").is_some_and(|it| it.starts_with(b"active"))
    }

    /// The input that it is set to, if it has any. (VIDIOC_G_INPUT, VIDIOC_ENUMINPUT)
    pub(super) fn input(&self) -> Result<Option<ioctl::Input>, Errno> {
        let (mut input, mut number) = (ioctl::Input::zeroed(), 0);
        if exists(ioctl::g_input(self.as_fd(), &mut number))? {
            input.index = number as u32;
        }
        Ok(exists(ioctl::enuminput(self.as_fd(), &mut input))?.then_some(input))
    }

    /// The pixel formats, in the driver's order. (VIDIOC_ENUM_FMT)
    pub fn formats(&self) -> Vec<Fourcc> {
        self.formats_of(self.kind)
    }

    /// The types of buffers for what it takes, if it is one that converts, and for what it gives.
    pub(super) fn queues(&self) -> (u32, u32) {
        match ioctl::is_multi_planar(self.kind) {
            true => (ioctl::OUTPUT_MPLANE, self.kind),
            false => (ioctl::OUTPUT, self.kind),
        }
    }

    /// The same of one type of buffers.
    pub(super) fn formats_of(&self, kind: u32) -> Vec<Fourcc> {
        let mut formats = Vec::new();
        for index in 0..MOST {
            let mut desc = ioctl::FmtDesc::zeroed();
            (desc.index, desc.kind) = (index, kind);
            if ioctl::enum_fmt(self.as_fd(), &mut desc).is_err() {
                break;
            }
            formats.push(Fourcc(desc.pixelformat.to_le_bytes()));
        }
        formats
    }

    /// The sizes of a format; `None` if the driver does not report them. (VIDIOC_ENUM_FRAMESIZES)
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

    /// The frame intervals of a format and size; for a range, its two ends. (VIDIOC_ENUM_FRAMEINTERVALS)
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

    /// What [`Device::set_format`] would result in. (VIDIOC_TRY_FMT)
    pub fn try_format(&self, fourcc: Fourcc, size: (u32, u32)) -> Result<Format> {
        let mut format = wanted(self.kind, fourcc, size);
        let tried = ioctl::try_fmt(self.as_fd(), &mut format);
        tried.map_err(|errno| self.refused("ask for a format of", errno))?;
        Ok(given(format, false).format)
    }

    /// Sets format and size, as closely as the driver can. (VIDIOC_S_FMT)
    pub fn set_format(&self, fourcc: Fourcc, size: (u32, u32)) -> Result<Format> {
        let mut format = wanted(self.kind, fourcc, size);
        let set = ioctl::s_fmt(self.as_fd(), &mut format);
        set.map_err(|errno| self.refused("set the format of", errno))?;
        let FormatAnswer { format, has_frames } = given(format, false);
        if !has_frames {
            // A source may change that.
            return Err(Error::Input(format!(
                "{} gives every other line at a time, and lazycam does not put such half pictures together",
                self.path.display()
            )));
        }
        Ok(format)
    }

    /// What is set now: some controls change it (V4L2_CTRL_FLAG_MODIFY_LAYOUT), for example by rotating the picture.
    /// (VIDIOC_G_FMT)
    pub fn format(&self) -> Result<Format> {
        let mut format = wanted(self.kind, Fourcc([0; 4]), (0, 0));
        let got = ioctl::g_fmt(self.as_fd(), &mut format);
        got.map_err(|errno| self.refused("ask for the format of", errno))?;
        Ok(given(format, self.gets_limited_rgb()).format)
    }

    /// Asks for buffers of either interface.
    pub(super) fn buffers(&self, count: u32) -> Result<Buffers> {
        let given = Buffers::request(self.as_fd(), self.kind, count);
        given.map_err(|errno| self.refused("get buffers of", errno))
    }

    /// Sets the rate, as closely as the driver can, or with `None` only reads it. Returns the present rate if the
    /// driver reports it. (VIDIOC_S_PARM, VIDIOC_G_PARM)
    pub fn set_rate(&self, fps: Option<f64>) -> Option<f64> {
        let mut parm = ioctl::StreamParm::zeroed();
        parm.kind = self.kind;
        ioctl::g_parm(self.as_fd(), &mut parm).ok()?;
        if parm.capability & CAP_TIMEPERFRAME != 0 {
            if let Some(fps) = fps {
                let Interval(numerator, denominator) = Interval::of(fps);
                (parm.numerator, parm.denominator) = (numerator, denominator);
                // A driver that refuses continues at its own rate, which is read below in any case.
                let _ = ioctl::s_parm(self.as_fd(), &mut parm);
                ioctl::g_parm(self.as_fd(), &mut parm).ok()?;
            }
        }
        Interval(parm.numerator, parm.denominator).fps()
    }

    /// Makes an error for this device.
    pub(super) fn refused(&self, doing: &str, errno: Errno) -> Error {
        refused(&self.path, doing, errno)
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Decides by the capabilities, and by the answer to VIDIOC_ENUMINPUT for the first input. A camera has an input, and
/// the kernel's v4l2-compliance requires its driver to report it; a driver that does not support the call feeds the
/// node from its other nodes (bcm2835-isp).
fn is_part(capabilities: u32, input: Result<(), Errno>) -> bool {
    capabilities & CAP_IO_MC != 0 || input == Err(Errno::NOTTY)
}

/// Whether there is what a driver was asked for. There is not where it does not support the call, has no such entry, or not for this input;
/// other errors say nothing of that.
pub(super) fn exists(answer: Result<(), Errno>) -> Result<bool, Errno> {
    match answer {
        Ok(()) => Ok(true),
        Err(Errno::INVAL | Errno::NODATA | Errno::NOTTY) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// An error with what was attempted, the device, the cause, and what to do about it.
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

/// A string from the kernel, up to its NUL. A device chooses its names itself, and they are shown on terminals, so what is no
/// text in them is replaced.
pub(super) fn text(bytes: &[u8]) -> String {
    let len = bytes.iter().position(|&byte| byte == 0);
    let bytes = &bytes[..len.unwrap_or(bytes.len())];
    let text = String::from_utf8_lossy(bytes);
    text.trim().replace(char::is_control, "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_of_an_isp_is_no_camera() {
        let usual = CAP_VIDEO_CAPTURE | CAP_STREAMING;
        assert!(!is_part(usual, Ok(())));
        assert!(is_part(usual, Err(Errno::NOTTY)));
        assert!(is_part(usual | CAP_IO_MC, Ok(())));
        // Something is wrong with the device, but its driver supports the call.
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
    fn what_a_device_calls_itself_moves_no_cursor_and_begins_no_line() {
        let name = b" Cam\x1b[2J\x07\nlazycam: \xff\xc2\x9b1m \0rest";
        let expected = "Cam\u{fffd}[2J\u{fffd}\u{fffd}lazycam: \u{fffd}\u{fffd}1m";
        assert_eq!(text(name), expected);
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
