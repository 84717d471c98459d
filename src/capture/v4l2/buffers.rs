//! The driver's buffers: frames arrive in mapped memory, and each buffer belongs either to the driver or to us. A buffer's
//! bytes can be read only while the driver does not own it. The same holds for what an encoder takes, which is written there.
//!
//! In the multi-planar API a buffer has up to three pieces of memory, each with a place where its picture begins
//! (`data_offset`), and the calls get the address of a list of them.

#![allow(unsafe_code)]

use std::os::fd::BorrowedFd;
use std::ptr::{NonNull, null_mut};
use std::time::Duration;

use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::ioctl::{
    FIELD_NONE, KernelBuffer, KernelPlane, OUTPUT, OUTPUT_MPLANE, Plain, RequestBuffers,
    is_multi_planar, reqbufs, streamoff, streamon,
};
use crate::time::clock::monotonic;

/// V4L2_MEMORY_MMAP
const MEMORY_MMAP: u32 = 1;
/// V4L2_BUF_FLAG_ERROR: the data may be corrupted, but streaming continues.
const BUF_FLAG_ERROR: u32 = 0x40;
/// V4L2_BUF_FLAG_TIMESTAMP_MASK
const TIMESTAMP_MASK: u32 = 0xE000;
/// V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC: CLOCK_MONOTONIC.
const TIMESTAMP_MONOTONIC: u32 = 0x2000;

const QUERYBUF: Opcode = opcode::read_write::<KernelBuffer>(b'V', 9);
const QBUF: Opcode = opcode::read_write::<KernelBuffer>(b'V', 15);
const DQBUF: Opcode = opcode::read_write::<KernelBuffer>(b'V', 17);

/// No format that lazycam reads has more pieces of memory.
const MOST_PLANES: usize = 3;

/// A call about one buffer.
struct BufferCall {
    buffer: KernelBuffer,
    planes: [KernelPlane; MOST_PLANES],
}

impl BufferCall {
    fn about(kind: u32, index: u32) -> Self {
        let mut buffer = KernelBuffer::zeroed();
        (buffer.index, buffer.kind, buffer.memory) = (index, kind, MEMORY_MMAP);
        BufferCall {
            buffer,
            planes: [KernelPlane::zeroed(); MOST_PLANES],
        }
    }

    fn call<const OPCODE: Opcode>(&mut self, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        if is_multi_planar(self.buffer.kind) {
            self.buffer.m = self.planes.as_mut_ptr().expose_provenance();
            self.buffer.length = MOST_PLANES as u32;
        }
        // SAFETY: the number belongs to an ioctl whose argument points to this structure, and any bytes that the kernel
        // writes into it are a valid value. It follows `m` only in the multi-planar API, to as many planes as `length`
        // says: these are ours, plain too, and live longer than the call.
        unsafe { ioctl(fd, Updater::<OPCODE, KernelBuffer>::new(&mut self.buffer)) }
    }

    /// The pieces of memory, as the driver has described them.
    fn pieces(&self) -> impl Iterator<Item = KernelPlane> {
        let (buffer, many) = (self.buffer, is_multi_planar(self.buffer.kind));
        let one = KernelPlane {
            bytesused: buffer.bytesused,
            length: buffer.length,
            m: buffer.m,
            ..KernelPlane::zeroed()
        };
        let pieces = if many {
            self.planes
        } else {
            [one; MOST_PLANES]
        };
        let count = if many { buffer.length as usize } else { 1 };
        pieces.into_iter().take(count)
    }
}

/// One of the driver's buffers, mapped for reading, or also for writing.
struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

impl Mapping {
    fn new(fd: BorrowedFd<'_>, offset: u32, len: usize, access: ProtFlags) -> Result<Self, Errno> {
        // SAFETY: the kernel chooses an address where nothing is mapped.
        let start = unsafe {
            let shared = MapFlags::SHARED;
            mmap(null_mut(), len, access, shared, fd, u64::from(offset))
        }?;
        let start = NonNull::new(start.cast()).ok_or(Errno::NOMEM)?;
        Ok(Mapping { start, len })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length; slices of it borrow the owner, which ends here.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// A buffer that the driver has filled and returned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filled {
    pub(super) index: u32,
    /// In its first piece of memory.
    pub(super) bytesused: u32,
    /// Whether V4L2_BUF_FLAG_ERROR was set.
    pub(super) error: bool,
    /// CLOCK_MONOTONIC at capture, if the driver's time stamps use that clock.
    pub(super) monotonic: Option<Duration>,
    /// The stamp, whatever it means.
    pub(super) stamp: Option<Duration>,
}

impl Filled {
    /// Whether its frame is the newest one because it is younger than the interval. Asking the driver for the next one
    /// would be a system call per frame that nearly always returns nothing. If a camera is faster than it says, epoll
    /// reports the next frame at once.
    pub(super) fn has_no_successor(&self, interval: Option<Duration>) -> bool {
        let age = self.monotonic.and_then(|at| monotonic().checked_sub(at));
        matches!((age, interval), (Some(age), Some(interval)) if age < interval)
    }
}

/// One buffer.
struct DriverBuffer {
    pieces: Vec<Mapping>,
    /// Where in each of them the frame is: its beginning and its end.
    extents: [(u32, u32); MOST_PLANES],
    /// Whether it is outside of the driver's queue, so that nobody writes to it.
    is_ours: bool,
}

/// The driver's buffers, and who owns each of them.
pub(super) struct Buffers {
    kind: u32,
    buffers: Vec<DriverBuffer>,
}

impl Buffers {
    /// Asks for `count` buffers; the driver may give more or fewer. `kind` is a type of either API; what is for output is mapped for
    /// writing.
    /// (VIDIOC_REQBUFS, VIDIOC_QUERYBUF, mmap)
    pub(super) fn request(fd: BorrowedFd<'_>, kind: u32, count: u32) -> Result<Self, Errno> {
        let mut request = RequestBuffers::zeroed();
        (request.count, request.kind, request.memory) = (count, kind, MEMORY_MMAP);
        reqbufs(fd, &mut request)?;
        let access = match kind {
            OUTPUT | OUTPUT_MPLANE => ProtFlags::READ | ProtFlags::WRITE,
            _ => ProtFlags::READ,
        };
        let map = |index| {
            let mut about = BufferCall::about(kind, index);
            about.call::<QUERYBUF>(fd)?;
            let map = |piece: KernelPlane| {
                Mapping::new(fd, offset(piece.m), piece.length as usize, access)
            };
            Ok(DriverBuffer {
                pieces: about.pieces().map(map).collect::<Result<_, _>>()?,
                extents: [(0, 0); MOST_PLANES],
                is_ours: true,
            })
        };
        let buffers = (0..request.count).map(map).collect::<Result<_, _>>()?;
        Ok(Buffers { kind, buffers })
    }

    pub(super) fn count(&self) -> usize {
        self.buffers.len()
    }

    /// Gives a buffer to the driver. (VIDIOC_QBUF)
    pub(super) fn queue(&mut self, fd: BorrowedFd<'_>, index: u32) -> Result<(), Errno> {
        let Some(buffer) = self.buffers.get_mut(index as usize) else {
            return Err(Errno::INVAL);
        };
        // Before the call, because the driver may write to it as soon as the call is under way.
        buffer.is_ours = false;
        BufferCall::about(self.kind, index).call::<QBUF>(fd)
    }

    /// The memory of a buffer for output, piece by piece, and how many pieces there are; none if the driver owns it. To be filled and
    /// given to the driver with [`Buffers::queue_filled`].
    pub(super) fn memory(&mut self, index: u32) -> ([&mut [u8]; MOST_PLANES], usize) {
        let mut bytes: [&mut [u8]; MOST_PLANES] = [&mut [], &mut [], &mut []];
        let is_output = matches!(self.kind, OUTPUT | OUTPUT_MPLANE);
        let buffer = self.buffers.get_mut(index as usize);
        let Some(buffer) = buffer.filter(|buffer| buffer.is_ours && is_output) else {
            return (bytes, 0);
        };
        for (bytes, mapping) in bytes.iter_mut().zip(&mut buffer.pieces) {
            // SAFETY: the slice is the mapping, which may be written to and lives as long as `self`. No other slice of it exists
            // while `self` is borrowed mutably, and the driver does not use the buffer, because it is not in its queue.
            *bytes = unsafe { std::slice::from_raw_parts_mut(mapping.start.as_ptr(), mapping.len) };
        }
        (bytes, buffer.pieces.len())
    }

    /// Gives a buffer for output to the driver: how many bytes of each piece are filled, and a stamp that comes back with what is made
    /// of it. (VIDIOC_QBUF)
    pub(super) fn queue_filled(
        &mut self,
        fd: BorrowedFd<'_>,
        index: u32,
        used: [usize; MOST_PLANES],
        stamp: Duration,
    ) -> Result<(), Errno> {
        let Some(buffer) = self.buffers.get_mut(index as usize) else {
            return Err(Errno::INVAL);
        };
        buffer.is_ours = false;
        let mut about = BufferCall::about(self.kind, index);
        about.buffer.bytesused = used[0] as u32;
        about.buffer.field = FIELD_NONE;
        about.buffer.tv_sec = stamp.as_secs() as i64;
        about.buffer.tv_usec = stamp.subsec_micros().into();
        for ((plane, used), mapping) in about.planes.iter_mut().zip(used).zip(&buffer.pieces) {
            (plane.bytesused, plane.length) = (used as u32, mapping.len as u32);
        }
        about.call::<QBUF>(fd)
    }

    /// The next filled buffer; `None` if there is none yet. (VIDIOC_DQBUF)
    pub(super) fn dequeue(&mut self, fd: BorrowedFd<'_>) -> Result<Option<Filled>, Errno> {
        let mut about = BufferCall::about(self.kind, 0);
        match about.call::<DQBUF>(fd) {
            Ok(()) => {}
            Err(Errno::AGAIN) => return Ok(None),
            Err(errno) => return Err(errno),
        }
        let told = about.buffer;
        let buffer = self.buffers.get_mut(told.index as usize);
        let buffer = buffer.ok_or(Errno::IO)?;
        buffer.is_ours = true;
        for (extent, piece) in buffer.extents.iter_mut().zip(about.pieces()) {
            *extent = (piece.data_offset, piece.bytesused);
        }
        let (from, to) = buffer.extents[0];
        let is_monotonic = told.flags & TIMESTAMP_MASK == TIMESTAMP_MONOTONIC;
        let stamp = since_boot(&told);
        Ok(Some(Filled {
            index: told.index,
            bytesused: to.saturating_sub(from),
            error: told.flags & BUF_FLAG_ERROR != 0,
            monotonic: stamp.filter(|_| is_monotonic),
            stamp,
        }))
    }

    /// What the driver wrote into a buffer, piece by piece, and how many pieces there are; none if the driver owns the
    /// buffer again.
    pub(super) fn bytes(&self, filled: Filled) -> ([&[u8]; MOST_PLANES], usize) {
        let mut bytes: [&[u8]; MOST_PLANES] = [&[]; MOST_PLANES];
        let buffer = self.buffers.get(filled.index as usize);
        let Some(buffer) = buffer.filter(|buffer| buffer.is_ours) else {
            return (bytes, 0);
        };
        let pieces = buffer.pieces.iter().zip(buffer.extents);
        for (bytes, (mapping, (from, to))) in bytes.iter_mut().zip(pieces) {
            // SAFETY: the slice is the mapping, which lives as long as `self`. The driver writes only to buffers in its
            // queue, and putting this one there takes `&mut self`, so this slice has ended by then.
            let all = unsafe { std::slice::from_raw_parts(mapping.start.as_ptr(), mapping.len) };
            let end = all.len().min(to as usize);
            *bytes = all.get(from as usize..end).unwrap_or_default();
        }
        (bytes, buffer.pieces.len())
    }

    /// Whether what the driver wrote reaches the end of the first piece of memory.
    pub(super) fn is_full(&self, filled: Filled) -> bool {
        let buffer = self.buffers.get(filled.index as usize);
        buffer.is_some_and(|buffer| buffer.extents[0].1 as usize >= buffer.pieces[0].len)
    }

    /// Queues every buffer and starts streaming. (VIDIOC_STREAMON)
    pub(super) fn stream_on(&mut self, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        for index in 0..self.count() as u32 {
            self.queue(fd, index)?;
        }
        self.start(fd)
    }

    /// Starts streaming with what is queued. (VIDIOC_STREAMON)
    pub(super) fn start(&self, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        streamon(fd, &mut (self.kind as i32))
    }

    /// Stops streaming; the driver returns all buffers, including unfilled ones. (VIDIOC_STREAMOFF)
    pub(super) fn stream_off(&mut self, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        streamoff(fd, &mut (self.kind as i32))?;
        for buffer in &mut self.buffers {
            buffer.is_ours = true;
        }
        Ok(())
    }
}

/// The 32 bits with which a union of the size of a word begins.
fn offset(union: usize) -> u32 {
    let mut first = [0; 4];
    first.copy_from_slice(&union.to_ne_bytes()[..4]);
    u32::from_ne_bytes(first)
}

fn since_boot(buffer: &KernelBuffer) -> Option<Duration> {
    let (secs, micros) = (u64::try_from(buffer.tv_sec), u64::try_from(buffer.tv_usec));
    Duration::from_secs(secs.ok()?).checked_add(Duration::from_micros(micros.ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::ioctl::CAPTURE_MPLANE;
    use super::*;

    /// Buffers without a device: nothing is called.
    fn buffers(kind: u32, extents: [(u32, u32); MOST_PLANES]) -> Buffers {
        let zero = std::fs::File::open("/dev/zero").unwrap();
        let fd = std::os::fd::AsFd::as_fd(&zero);
        let access = ProtFlags::READ;
        let pieces = (0..2)
            .map(|_| Mapping::new(fd, 0, 100, access).unwrap())
            .collect();
        let buffer = DriverBuffer {
            pieces,
            extents,
            is_ours: true,
        };
        Buffers {
            kind,
            buffers: vec![buffer],
        }
    }

    #[test]
    fn a_frame_is_what_the_driver_says_of_each_piece_and_within_its_memory() {
        let filled = Filled {
            index: 0,
            bytesused: 1,
            error: false,
            monotonic: None,
            stamp: None,
        };
        let lengths = |extents| {
            let buffers = buffers(CAPTURE_MPLANE, extents);
            let (bytes, count) = buffers.bytes(filled);
            (bytes.map(<[u8]>::len), count)
        };
        assert_eq!(lengths([(10, 60), (0, 30), (0, 0)]), ([50, 30, 0], 2));
        assert_eq!(lengths([(0, 101), (200, 300), (0, 9)]), ([100, 0, 0], 2));
        assert_eq!(lengths([(60, 10), (1, u32::MAX), (0, 0)]), ([0, 99, 0], 2));
        let mut buffers = buffers(CAPTURE_MPLANE, [(0, 9); MOST_PLANES]);
        buffers.buffers[0].is_ours = false;
        assert_eq!(buffers.bytes(filled).1, 0);
        let unknown = Filled { index: 1, ..filled };
        assert_eq!(buffers.bytes(unknown).1, 0);
    }

    #[test]
    fn what_is_no_camera_gives_no_buffers() {
        let null = std::fs::File::open("/dev/null").unwrap();
        let fd = std::os::fd::AsFd::as_fd(&null);
        assert!(Buffers::request(fd, super::super::ioctl::CAPTURE, 4).is_err());
    }

    #[test]
    fn a_time_before_boot_is_none() {
        let mut buffer = BufferCall::about(super::super::ioctl::CAPTURE, 0).buffer;
        (buffer.tv_sec, buffer.tv_usec) = (3, 250_000);
        assert_eq!(since_boot(&buffer), Some(Duration::from_millis(3250)));
        buffer.tv_sec = -1;
        assert_eq!(since_boot(&buffer), None);
    }
}
