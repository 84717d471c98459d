//! An encoder at work: open, set to one size, and streaming on both queues.
//!
//! **One picture at a time**: it is written into the device's memory, and the loop waits for the JPEG. That holds up what else
//! the loop does for the time that the hardware takes, but never for more than [`PATIENCE`]; then the device has
//! failed. Whatever else it says or gives that is not right is a failure too, and ends the session.
//!
//! **Stamps** tell which picture a result belongs to: each picture gets another one, and the driver copies it
//! (V4L2_BUF_FLAG_TIMESTAMP_COPY). A result with another stamp, as some devices give first, is thrown away.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;

use super::super::buffers::{Buffers, Filled};
use super::super::device::Device;
use super::super::format::{given, wanted_of_encoder};
use super::super::ioctl::{self, Plain};
use super::facts::EncoderFacts;
use crate::error::{Error, Result};
use crate::event::wait_for;
use crate::picture::encode::Planes;
use crate::picture::encode::raw::RawLayout;
use crate::picture::encode::repair::Repair;
use crate::picture::format::Format;
use crate::picture::jpeg::Size;

/// How long a picture may take. ustreamer gives up after as long.
const PATIENCE: Duration = Duration::from_secs(1);

/// V4L2_CID_JPEG_COMPRESSION_QUALITY
const QUALITY: u32 = 0x009D_0903;
/// V4L2_SEL_TGT_CROP
const CROP: u32 = 0;

/// An encoder at work.
pub(super) struct Session {
    device: Device,
    /// What it takes, and what it gives.
    raw: Buffers,
    coded: Buffers,
    layout: RawLayout,
    size: Size,
    /// Of the last picture.
    stamp: Duration,
    /// Whether closing it may take long, because a picture is not done.
    is_slow: bool,
    description: String,
}

impl Session {
    /// Sets the device up, in the order that the kernel's chapter on encoders gives.
    pub(super) fn new(
        device: Device,
        facts: &EncoderFacts,
        (width, height): (u16, u16),
        quality: u8,
    ) -> Result<Self> {
        let size = Size { width, height };
        let layout = set_formats(&device, facts, size)?;
        crop(&device, size);
        let quality = set_quality(&device, quality);
        let fd = device.as_fd();
        let (takes, gives) = device.queues();
        let refused = |errno| device.refused("get buffers of", errno);
        let raw = Buffers::request(fd, takes, 1).map_err(refused)?;
        let mut coded = Buffers::request(fd, gives, 1).map_err(refused)?;
        let started = coded.stream_on(fd).and_then(|()| raw.start(fd));
        started.map_err(|errno| device.refused("start", errno))?;
        let description = described(facts, &layout, size, quality);
        Ok(Session {
            device,
            raw,
            coded,
            layout,
            size,
            stamp: Duration::ZERO,
            is_slow: false,
            description,
        })
    }

    pub(super) fn describe(&self) -> &str {
        &self.description
    }

    /// The size of pictures for which it is set up.
    pub(super) fn size(&self) -> (u16, u16) {
        (self.size.width, self.size.height)
    }

    /// Replaces the contents of `into` by the JPEG.
    pub(super) fn encode(
        &mut self,
        planes: &Planes<'_>,
        repair: &mut Repair,
        into: &mut Vec<u8>,
    ) -> Result<()> {
        self.give(planes)?;
        let result = self.take()?;
        let (pieces, _) = self.coded.bytes(result);
        let is_full = self.coded.is_full(result);
        let repaired = repair.whole(pieces[0], is_full, self.size, into);
        repaired.map_err(|error| self.wrong(&error.to_string()))?;
        self.queue_result(result.index)
    }

    /// Writes a picture into the device's memory and lets it begin.
    fn give(&mut self, planes: &Planes<'_>) -> Result<()> {
        let fd = self.device.as_fd();
        let (mut pieces, count) = self.raw.memory(0);
        if self.layout.write(planes, &mut pieces[..count]).is_none() {
            return Err(self.wrong("its memory is too small for its own format"));
        }
        self.stamp += Duration::from_secs(1);
        let queued = self.raw.queue_filled(fd, 0, self.layout.used(), self.stamp);
        queued.map_err(|errno| self.device.refused("encode with", errno))
    }

    /// Waits for the result, and for the memory of the picture.
    fn take(&mut self) -> Result<Filled> {
        let deadline = Instant::now() + PATIENCE;
        let result = loop {
            let result = self.wait(PollFlags::IN, deadline)?;
            if result.stamp == Some(self.stamp) {
                break result;
            }
            self.queue_result(result.index)?;
            if Instant::now() > deadline {
                return Err(self.late());
            }
        };
        self.wait(PollFlags::OUT, deadline)?;
        if result.error || result.bytesused == 0 {
            return Err(self.wrong("it marked its result as damaged"));
        }
        Ok(result)
    }

    /// The next buffer that one of the queues gives back.
    fn wait(&mut self, which: PollFlags, deadline: Instant) -> Result<Filled> {
        let refused = |device: &Device, errno| Err(device.refused("encode with", errno));
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let found = match wait_for(self.device.as_fd(), which, left) {
                Ok(none) if none.is_empty() && left.is_zero() => return Err(self.late()),
                Ok(found) => found,
                Err(Errno::INTR) => PollFlags::empty(),
                Err(errno) => return refused(&self.device, errno),
            };
            let has_failed = found.intersects(PollFlags::ERR | PollFlags::HUP);
            let queue = match which == PollFlags::IN {
                true => &mut self.coded,
                false => &mut self.raw,
            };
            match queue.dequeue(self.device.as_fd()) {
                Ok(Some(filled)) => return Ok(filled),
                Ok(None) if has_failed => return refused(&self.device, Errno::IO),
                Ok(None) => {}
                Err(errno) => return refused(&self.device, errno),
            }
        }
    }

    fn queue_result(&mut self, index: u32) -> Result<()> {
        let queued = self.coded.queue(self.device.as_fd(), index);
        queued.map_err(|errno| self.device.refused("encode with", errno))
    }

    fn late(&mut self) -> Error {
        self.is_slow = true;
        self.wrong(&format!("no result after {} s", PATIENCE.as_secs()))
    }

    fn wrong(&self, what: &str) -> Error {
        wrong(&self.device, what)
    }

    /// Closes a device that has failed. The kernel waits for a picture that is not done, some drivers for seconds, so that a thread
    /// does it then. It ends by itself.
    pub(super) fn give_up(self) -> Option<Closing> {
        if !self.is_slow {
            return None;
        }
        let Session {
            device, raw, coded, ..
        } = self;
        // What is mapped holds the device open as well.
        drop((raw, coded));
        let path = device.path().to_owned();
        // If there can be no thread, the device is closed here.
        let thread = thread::Builder::new().spawn(move || drop(device)).ok()?;
        Some(Closing { path, thread })
    }
}

/// A device that has hung, and the thread that closes it.
pub(super) struct Closing {
    pub(super) path: PathBuf,
    pub(super) thread: JoinHandle<()>,
}

impl Closing {
    /// An error as long as it lasts. Drivers hold a lock meanwhile for which every other call waits, those of another opening too.
    pub(super) fn is_over(&self) -> Result<()> {
        let path = self.path.display();
        match self.thread.is_finished() {
            true => Ok(()),
            false => Err(Error::Input(format!(
                "cannot encode with {path}: it hung, and is still being closed"
            ))),
        }
    }
}

fn wrong(device: &Device, what: &str) -> Error {
    let (path, card) = (device.path().display(), &device.card().card);
    Error::Input(format!("cannot encode with {path} ({card}): {what}"))
}

/// Sets what it gives and what it takes, as closely as the driver can, and returns how pictures have to lie in its memory. The
/// results come first, because setting them resets the other in some drivers. (VIDIOC_S_FMT)
fn set_formats(device: &Device, facts: &EncoderFacts, size: Size) -> Result<RawLayout> {
    let (takes, gives) = device.queues();
    let (width, height) = (u32::from(size.width), u32::from(size.height));
    let set = |kind, fourcc, bytes| {
        let mut format = wanted_of_encoder(kind, fourcc, (width, height), bytes);
        let set = ioctl::s_fmt(device.as_fd(), &mut format);
        set.map_err(|errno| device.refused("set the format of", errno))?;
        let got = given(format, false).format;
        match got.fourcc == fourcc {
            true => Ok(got),
            false => Err(wrong(
                device,
                &format!("it gave {got} when asked for {fourcc}"),
            )),
        }
    };
    // Results as large as the raw picture in 4:2:0, which no JPEG of a camera's picture reaches. Most drivers take it as a wish.
    set(gives, facts.gives, width * height * 3 / 2)?;
    let got = set(takes, facts.raw, 0)?;
    let layout = layout(&got);
    match layout.holds((size.width, size.height)) {
        true => Ok(layout),
        false => Err(wrong(
            device,
            &format!("it takes pictures of {got}, and not of {size}"),
        )),
    }
}

fn layout(got: &Format) -> RawLayout {
    let [second, third] = got.chroma_strides;
    RawLayout {
        fourcc: got.fourcc,
        width: got.width as usize,
        height: got.height as usize,
        strides: [got.stride, second, third].map(|stride| stride as usize),
    }
}

/// Tells what of its memory is the picture. Whether that is what comes out, the result says. (VIDIOC_S_SELECTION, which takes
/// the single-planar type for both interfaces)
fn crop(device: &Device, size: Size) {
    let mut selection = ioctl::Selection::zeroed();
    (selection.kind, selection.target) = (ioctl::OUTPUT, CROP);
    (selection.width, selection.height) = (size.width.into(), size.height.into());
    let _ = ioctl::s_selection(device.as_fd(), &mut selection);
}

/// Sets the quality, within what the device has. Returns it; `None` for a device that has none.
fn set_quality(device: &Device, quality: u8) -> Option<i32> {
    let mut query = ioctl::QueryCtrl::zeroed();
    query.id = QUALITY;
    ioctl::queryctrl(device.as_fd(), &mut query).ok()?;
    let (least, most) = (query.minimum, query.maximum.max(query.minimum));
    let mut control = ioctl::ControlValue::zeroed();
    (control.id, control.value) = (QUALITY, i32::from(quality).clamp(least, most));
    ioctl::s_ctrl(device.as_fd(), &mut control).ok()?;
    Some(control.value)
}

fn described(facts: &EncoderFacts, layout: &RawLayout, size: Size, quality: Option<i32>) -> String {
    let (path, card) = (facts.path.display(), &facts.card.card);
    let (raw, width, height) = (layout.fourcc, layout.width, layout.height);
    let quality = match quality {
        Some(quality) => format!("quality {quality}"),
        None => "fixed quality".into(),
    };
    format!("{path} ({card}) encodes {size} in {quality}, as {raw} in memory for {width}x{height}")
}
