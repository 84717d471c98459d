//! The interface to the kernel's video devices: structures, ioctls and mapped buffers of V4L2.
//!
//! Everything here is defined by the kernel and has the kernel's names:
//! <https://docs.kernel.org/userspace-api/media/v4l/v4l2.html> and its header `linux/videodev2.h`. Only what lazycam
//! uses is included. The module contains unsafe code, but the interface that it offers is safe: a buffer's bytes can
//! be read only while the driver does not own the buffer.
//!
//! Layouts depend on the word size in two places, a union that contains pointers in [`AnyFormat`] and in [`KernelBuffer`]. An
//! ioctl's number contains the size of its structure, so a wrong size is refused (ENOTTY). The layouts are checked at
//! compile time.
//!
//! Time is 64 bits wide everywhere, even where the C library's `struct timeval` is not: since Linux 5.6 the kernel
//! accepts both forms of `v4l2_buffer` on 32-bit machines and distinguishes them by the ioctl's number. Older kernels
//! are not supported on 32-bit machines.

#![allow(unsafe_code)]

use std::mem::{align_of, offset_of, size_of};
use std::os::fd::BorrowedFd;
use std::ptr::{NonNull, null_mut};
use std::time::Duration;

use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// V4L2_BUF_TYPE_VIDEO_CAPTURE
pub(super) const CAPTURE: u32 = 1;
/// V4L2_MEMORY_MMAP
const MEMORY_MMAP: u32 = 1;
/// V4L2_BUF_FLAG_ERROR: the data may be corrupted, but streaming continues.
const BUF_FLAG_ERROR: u32 = 0x40;
/// V4L2_BUF_FLAG_TIMESTAMP_MASK
const TIMESTAMP_MASK: u32 = 0xE000;
/// V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC: CLOCK_MONOTONIC.
const TIMESTAMP_MONOTONIC: u32 = 0x2000;

/// Data for which any sequence of bytes is a valid value, with or without padding.
///
/// # Safety
///
/// All-zero bytes, and whatever the kernel writes, must be a valid value of the type: only integers and arrays of
/// them qualify.
pub(super) unsafe trait Plain: Sized {
    /// V4L2 requires zeroes in everything reserved.
    fn zeroed() -> Self {
        // SAFETY: zeroes are a valid value of the type, as promised by the implementation of the trait.
        unsafe { std::mem::zeroed() }
    }
}

macro_rules! plain {
    ($($(#[$about:meta])* struct $name:ident { $($field:ident: $kind:ty),* $(,)? })*) => {$(
        $(#[$about])*
        #[repr(C)]
        #[derive(Clone, Copy)]
        pub(super) struct $name { $(pub(super) $field: $kind),* }
        // SAFETY: the fields are integers, arrays of integers, and structures made of them by this same macro.
        unsafe impl Plain for $name {}
    )*};
}

plain! {
    /// struct v4l2_capability
    struct Capability {
        driver: [u8; 16], card: [u8; 32], bus_info: [u8; 32], version: u32, capabilities: u32, device_caps: u32,
        reserved: [u32; 3],
    }
    /// struct v4l2_fmtdesc
    struct FmtDesc {
        index: u32, kind: u32, flags: u32, description: [u8; 32], pixelformat: u32, mbus_code: u32, reserved: [u32; 3],
    }
    /// struct v4l2_frmsizeenum. Discrete: width and height; else minimum, maximum and step of both.
    struct FrmSizeEnum { index: u32, pixel_format: u32, kind: u32, size: [u32; 6], reserved: [u32; 2] }
    /// struct v4l2_frmivalenum. Discrete: a fraction of seconds; else minimum, maximum and step, each a fraction.
    struct FrmIvalEnum {
        index: u32, pixel_format: u32, width: u32, height: u32, kind: u32, interval: [u32; 6], reserved: [u32; 2],
    }
    /// struct v4l2_pix_format
    struct PixFormat {
        width: u32, height: u32, pixelformat: u32, field: u32, bytesperline: u32, sizeimage: u32, colorspace: u32,
        private: u32, flags: u32, ycbcr_enc: u32, quantization: u32, xfer_func: u32,
    }
    /// The union in struct v4l2_format, as far as it concerns single-planar video. It contains pointers for another
    /// type.
    struct FormatUnion { alignment: [usize; 0], pix: PixFormat, raw_data: [u8; 152] }
    /// struct v4l2_format
    struct AnyFormat { kind: u32, fmt: FormatUnion }
    /// struct v4l2_streamparm, with struct v4l2_captureparm in its union.
    struct StreamParm {
        kind: u32, capability: u32, capturemode: u32, numerator: u32, denominator: u32, extendedmode: u32,
        readbuffers: u32, reserved: [u32; 4], raw_data: [u8; 160],
    }
    /// struct v4l2_requestbuffers
    struct RequestBuffers { count: u32, kind: u32, memory: u32, capabilities: u32, flags_and_reserved: [u8; 4] }
    /// The union in struct v4l2_buffer, for mapped memory.
    struct BufferUnion { alignment: [usize; 0], offset: u32, rest: [u8; size_of::<usize>() - 4] }
    /// struct v4l2_buffer, with 64-bit time.
    struct KernelBuffer {
        index: u32, kind: u32, bytesused: u32, flags: u32, field: u32, tv_sec: i64, tv_usec: i64, timecode: [u8; 16],
        sequence: u32, memory: u32, m: BufferUnion, length: u32, reserved2: u32, request_fd: u32,
    }
    /// struct v4l2_queryctrl
    struct QueryCtrl {
        id: u32, kind: u32, name: [u8; 32], minimum: i32, maximum: i32, step: i32, default_value: i32, flags: u32,
        reserved: [u32; 2],
    }
    /// struct v4l2_querymenu. The name is an 8-byte number in menus of integers.
    struct QueryMenu { id: u32, index: u32, name: [u8; 32], reserved: u32 }
    /// struct v4l2_control
    struct ControlValue { id: u32, value: i32 }
    /// struct v4l2_input
    struct Input {
        index: u32, name: [u8; 32], kind: u32, audioset: u32, tuner: u32, std: u64, status: u32, capabilities: u32,
        reserved: [u32; 3],
    }
}

// SAFETY: an integer.
unsafe impl Plain for i32 {}

/// The sizes that the kernel's header gives for this word size and alignment of 64-bit integers.
const _: () = {
    let word = size_of::<usize>();
    assert!(size_of::<Capability>() == 104);
    assert!(size_of::<FmtDesc>() == 64);
    assert!(size_of::<FrmSizeEnum>() == 44);
    assert!(size_of::<FrmIvalEnum>() == 52);
    assert!(size_of::<PixFormat>() == 48);
    assert!(offset_of!(AnyFormat, fmt) == word && size_of::<AnyFormat>() == 200 + word);
    assert!(size_of::<StreamParm>() == 204);
    assert!(size_of::<RequestBuffers>() == 20);
    assert!(size_of::<QueryCtrl>() == 68);
    assert!(size_of::<QueryMenu>() == 44);
    assert!(size_of::<ControlValue>() == 8);
    assert!(size_of::<Input>() == 76_usize.next_multiple_of(align_of::<Input>()));
    // 20 bytes, plus 4 of padding where 64-bit integers are aligned to 8, which is everywhere but on 32-bit x86.
    let time = if align_of::<i64>() == 8 { 24 } else { 20 };
    assert!(
        offset_of!(KernelBuffer, tv_sec) == time && offset_of!(KernelBuffer, sequence) == time + 32
    );
    assert!(
        offset_of!(KernelBuffer, m) == time + 40
            && offset_of!(KernelBuffer, length) == time + 40 + word
    );
    let end = time + 52 + word;
    assert!(size_of::<KernelBuffer>() == end.next_multiple_of(align_of::<KernelBuffer>()));
    assert!(size_of::<KernelBuffer>() == if word == 8 { 88 } else { 56 + time });
};

macro_rules! calls {
    ($($(#[$about:meta])* fn $name:ident($direction:ident, $number:literal, $kind:ty);)*) => {$(
        $(#[$about])*
        pub(super) fn $name(fd: BorrowedFd<'_>, value: &mut $kind) -> Result<(), Errno> {
            const OPCODE: Opcode = opcode::$direction::<$kind>(b'V', $number);
            // SAFETY: the number belongs to an ioctl whose argument points to this structure (videodev2.h, with the
            // size above), and any bytes that the kernel writes into it are a valid value. None of the ioctls called
            // here follows pointers within it.
            unsafe { ioctl(fd, Updater::<OPCODE, $kind>::new(value)) }
        }
    )*};
}

calls! {
    /// VIDIOC_QUERYCAP
    fn querycap(read, 0, Capability);
    /// VIDIOC_ENUM_FMT
    fn enum_fmt(read_write, 2, FmtDesc);
    /// VIDIOC_G_FMT
    fn g_fmt(read_write, 4, AnyFormat);
    /// VIDIOC_S_FMT
    fn s_fmt(read_write, 5, AnyFormat);
    /// VIDIOC_TRY_FMT
    fn try_fmt(read_write, 64, AnyFormat);
    /// VIDIOC_REQBUFS
    fn reqbufs(read_write, 8, RequestBuffers);
    /// VIDIOC_QUERYBUF
    fn querybuf(read_write, 9, KernelBuffer);
    /// VIDIOC_QBUF
    fn qbuf(read_write, 15, KernelBuffer);
    /// VIDIOC_DQBUF
    fn dqbuf(read_write, 17, KernelBuffer);
    /// VIDIOC_STREAMON
    fn streamon(write, 18, i32);
    /// VIDIOC_STREAMOFF
    fn streamoff(write, 19, i32);
    /// VIDIOC_G_PARM
    fn g_parm(read_write, 21, StreamParm);
    /// VIDIOC_S_PARM
    fn s_parm(read_write, 22, StreamParm);
    /// VIDIOC_ENUMINPUT
    fn enuminput(read_write, 26, Input);
    /// VIDIOC_G_CTRL
    fn g_ctrl(read_write, 27, ControlValue);
    /// VIDIOC_S_CTRL
    fn s_ctrl(read_write, 28, ControlValue);
    /// VIDIOC_QUERYCTRL
    fn queryctrl(read_write, 36, QueryCtrl);
    /// VIDIOC_QUERYMENU
    fn querymenu(read_write, 37, QueryMenu);
    /// VIDIOC_ENUM_FRAMESIZES
    fn enum_framesizes(read_write, 74, FrmSizeEnum);
    /// VIDIOC_ENUM_FRAMEINTERVALS
    fn enum_frameintervals(read_write, 75, FrmIvalEnum);
}

/// One of the driver's buffers, mapped for reading.
struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

impl Mapping {
    fn new(fd: BorrowedFd<'_>, offset: u32, len: usize) -> Result<Self, Errno> {
        // SAFETY: the kernel chooses an address where nothing is mapped.
        let start = unsafe {
            let (read, shared) = (ProtFlags::READ, MapFlags::SHARED);
            mmap(null_mut(), len, read, shared, fd, u64::from(offset))
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
    pub(super) bytesused: u32,
    /// Whether V4L2_BUF_FLAG_ERROR was set.
    pub(super) error: bool,
    /// CLOCK_MONOTONIC at capture, if the driver's time stamps use that clock.
    pub(super) monotonic: Option<Duration>,
}

/// The driver's buffers, and who owns each of them.
pub(super) struct Buffers {
    mappings: Vec<Mapping>,
    /// By index: whether the buffer is outside of the driver's queue, so that nobody writes to it.
    ours: Vec<bool>,
}

impl Buffers {
    /// Asks for `count` buffers; the driver may give more or fewer. (VIDIOC_REQBUFS, mmap)
    pub(super) fn request(fd: BorrowedFd<'_>, count: u32) -> Result<Self, Errno> {
        let mut request = RequestBuffers::zeroed();
        (request.count, request.kind, request.memory) = (count, CAPTURE, MEMORY_MMAP);
        reqbufs(fd, &mut request)?;
        let map = |index| {
            let mut buffer = blank(index);
            querybuf(fd, &mut buffer)?;
            Mapping::new(fd, buffer.m.offset, buffer.length as usize)
        };
        let mappings: Vec<_> = (0..request.count).map(map).collect::<Result<_, _>>()?;
        let ours = vec![true; mappings.len()];
        Ok(Buffers { mappings, ours })
    }

    pub(super) fn count(&self) -> usize {
        self.mappings.len()
    }

    /// Gives a buffer to the driver. (VIDIOC_QBUF)
    pub(super) fn queue(&mut self, fd: BorrowedFd<'_>, index: u32) -> Result<(), Errno> {
        let Some(ours) = self.ours.get_mut(index as usize) else {
            return Err(Errno::INVAL);
        };
        // Before the call, because the driver may write to it as soon as the call is under way.
        *ours = false;
        qbuf(fd, &mut blank(index))
    }

    /// The next filled buffer; `None` if there is none yet. (VIDIOC_DQBUF)
    pub(super) fn dequeue(&mut self, fd: BorrowedFd<'_>) -> Result<Option<Filled>, Errno> {
        let mut buffer = blank(0);
        match dqbuf(fd, &mut buffer) {
            Ok(()) => {}
            Err(Errno::AGAIN) => return Ok(None),
            Err(errno) => return Err(errno),
        }
        *self.ours.get_mut(buffer.index as usize).ok_or(Errno::IO)? = true;
        let monotonic = buffer.flags & TIMESTAMP_MASK == TIMESTAMP_MONOTONIC;
        Ok(Some(Filled {
            index: buffer.index,
            bytesused: buffer.bytesused,
            error: buffer.flags & BUF_FLAG_ERROR != 0,
            monotonic: monotonic.then(|| since_boot(&buffer)).flatten(),
        }))
    }

    /// What the driver wrote into a buffer; empty if the driver owns the buffer again.
    pub(super) fn bytes(&self, filled: Filled) -> &[u8] {
        let index = filled.index as usize;
        match (self.mappings.get(index), self.ours.get(index)) {
            (Some(mapping), Some(true)) => {
                let len = mapping.len.min(filled.bytesused as usize);
                // SAFETY: the slice is within the mapping, which lives as long as `self`. The driver writes only to
                // buffers in its queue, and putting this one there takes `&mut self`, so this slice has ended by
                // then.
                unsafe { std::slice::from_raw_parts(mapping.start.as_ptr(), len) }
            }
            _ => &[],
        }
    }

    /// Queues every buffer and starts streaming. (VIDIOC_STREAMON)
    pub(super) fn stream_on(&mut self, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        for index in 0..self.count() as u32 {
            self.queue(fd, index)?;
        }
        streamon(fd, &mut (CAPTURE as i32))
    }

    /// Stops streaming; the driver returns all buffers, including unfilled ones. (VIDIOC_STREAMOFF)
    pub(super) fn stream_off(&mut self, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        streamoff(fd, &mut (CAPTURE as i32))?;
        self.ours.fill(true);
        Ok(())
    }
}

fn blank(index: u32) -> KernelBuffer {
    let mut buffer = KernelBuffer::zeroed();
    (buffer.index, buffer.kind, buffer.memory) = (index, CAPTURE, MEMORY_MMAP);
    buffer
}

fn since_boot(buffer: &KernelBuffer) -> Option<Duration> {
    let (secs, micros) = (u64::try_from(buffer.tv_sec), u64::try_from(buffer.tv_usec));
    Duration::from_secs(secs.ok()?).checked_add(Duration::from_micros(micros.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_kernels_header() {
        // The values that a C program prints on x86_64 and aarch64; on 32-bit ARM the last two sizes differ.
        assert_eq!(opcode::read::<Capability>(b'V', 0), 0x8068_5600);
        assert_eq!(opcode::write::<i32>(b'V', 18), 0x4004_5612);
        assert_eq!(opcode::read_write::<QueryCtrl>(b'V', 36), 0xC044_5624);
        assert_eq!(opcode::read_write::<StreamParm>(b'V', 22), 0xC0CC_5616);
        if align_of::<Input>() == 8 {
            assert_eq!(opcode::read_write::<Input>(b'V', 26), 0xC050_561A);
        }
        let word64 = cfg!(target_pointer_width = "64");
        let (s_fmt, dqbuf) = match word64 {
            true => (0xC0D0_5605, 0xC058_5611),
            false => (0xC0CC_5605, 0xC050_5611),
        };
        assert_eq!(opcode::read_write::<AnyFormat>(b'V', 5), s_fmt);
        if word64 || cfg!(target_arch = "arm") {
            assert_eq!(opcode::read_write::<KernelBuffer>(b'V', 17), dqbuf);
        }
    }

    #[test]
    fn a_time_before_boot_is_none() {
        let mut buffer = blank(0);
        (buffer.tv_sec, buffer.tv_usec) = (3, 250_000);
        assert_eq!(since_boot(&buffer), Some(Duration::from_millis(3250)));
        buffer.tv_sec = -1;
        assert_eq!(since_boot(&buffer), None);
    }

    #[test]
    fn something_that_is_no_camera_is_told_so_by_the_kernel() {
        let null = std::fs::File::open("/dev/null").unwrap();
        let fd = std::os::fd::AsFd::as_fd(&null);
        assert_eq!(querycap(fd, &mut Capability::zeroed()), Err(Errno::NOTTY));
        assert!(Buffers::request(fd, 4).is_err());
    }
}
