//! The interface to the kernel's video devices: structures and ioctls of V4L2.
//!
//! Everything here is defined by the kernel and has the kernel's names:
//! <https://docs.kernel.org/userspace-api/media/v4l/v4l2.html> and its header `linux/videodev2.h`. Only what lazycam
//! uses is included. The module contains unsafe code, but the interface that it offers is safe.
//!
//! Layouts depend on the word size where a union contains a pointer, in [`AnyFormat`] and in [`KernelBuffer`], and in
//! [`KernelPlane`]. An ioctl's number contains the size of its structure, so a wrong size is refused (ENOTTY). The layouts are checked at
//! compile time.
//!
//! Time is 64 bits wide everywhere, even where the C library's `struct timeval` is not: since Linux 5.6 the kernel
//! accepts both forms of `v4l2_buffer` on 32-bit machines and distinguishes them by the ioctl's number. Older kernels
//! are not supported on 32-bit machines.

#![allow(unsafe_code)]

use std::mem::{align_of, offset_of, size_of};
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};

/// V4L2_BUF_TYPE_VIDEO_CAPTURE
pub(super) const CAPTURE: u32 = 1;
/// V4L2_BUF_TYPE_VIDEO_OUTPUT: what a device takes.
pub(super) const OUTPUT: u32 = 2;
/// V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE: the multi-planar API, in which a picture may be in several pieces of memory.
pub(super) const CAPTURE_MPLANE: u32 = 9;
/// V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE
pub(super) const OUTPUT_MPLANE: u32 = 10;

/// V4L2_FIELD_NONE: whole frames.
pub(super) const FIELD_NONE: u32 = 1;

/// Whether a type of buffers belongs to the multi-planar API.
pub(super) fn is_multi_planar(kind: u32) -> bool {
    matches!(kind, CAPTURE_MPLANE | OUTPUT_MPLANE)
}

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
    /// struct v4l2_pix_format_mplane, with struct v4l2_plane_pix_format in it: the size in bytes, the stride and what is reserved.
    struct PixMplane {
        width: u32, height: u32, pixelformat: u32, field: u32, colorspace: u32, planes: [[u32; 5]; 8], num_planes: u8, flags: u8,
        ycbcr_enc: u8, quantization: u8, xfer_func: u8, reserved: [u8; 7],
    }
    /// The union in struct v4l2_format, as far as it concerns video. It contains pointers for another type.
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
    /// struct v4l2_buffer, with 64-bit time. The union `m` begins with an offset of 32 bits, or is the address of planes.
    struct KernelBuffer {
        index: u32, kind: u32, bytesused: u32, flags: u32, field: u32, tv_sec: i64, tv_usec: i64, timecode: [u8; 16],
        sequence: u32, memory: u32, m: usize, length: u32, reserved2: u32, request_fd: u32,
    }
    /// struct v4l2_plane. The union `m` begins with an offset of 32 bits.
    struct KernelPlane { bytesused: u32, length: u32, m: usize, data_offset: u32, reserved: [u32; 11] }
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
    /// struct v4l2_standard. The period is that of a frame, as a fraction of seconds.
    struct Standard { index: u32, id: u64, name: [u8; 24], frameperiod: [u32; 2], framelines: u32, reserved: [u32; 4] }
    /// struct v4l2_selection, with struct v4l2_rect in it.
    struct Selection { kind: u32, target: u32, flags: u32, left: i32, top: i32, width: u32, height: u32, reserved: [u32; 9] }
    /// struct v4l2_dv_timings, with struct v4l2_bt_timings in its union. The latter is packed, so the clock (Hz) is bytes here. Blanking: front
    /// porch, sync and back porch, first across and then down.
    struct DvTimings {
        kind: u32, width: u32, height: u32, interlaced: u32, polarities: u32, pixelclock: [u8; 8], blanking: [u32; 6],
        rest: [u32; 20],
    }
    /// struct v4l2_event_subscription
    struct EventSubscription { kind: u32, id: u32, flags: u32, reserved: [u32; 5] }
    /// struct v4l2_event, with 64-bit time.
    struct KernelEvent {
        kind: u32, data: [u64; 8], pending: u32, sequence: u32, tv_sec: i64, tv_nsec: i64, id: u32, reserved: [u32; 8],
    }
}

// SAFETY: an integer.
unsafe impl Plain for i32 {}
// SAFETY: an integer.
unsafe impl Plain for u64 {}

impl FormatUnion {
    /// What it is for the multi-planar types.
    pub(super) fn mplane(&mut self) -> &mut PixMplane {
        // SAFETY: both are integers only, the union is larger, and its alignment is that of a word (checked below).
        unsafe { &mut *std::ptr::from_mut(self).cast() }
    }
}

/// The sizes that the kernel's header gives for this word size and alignment of 64-bit integers.
const _: () = {
    let word = size_of::<usize>();
    assert!(size_of::<Capability>() == 104);
    assert!(size_of::<FmtDesc>() == 64);
    assert!(size_of::<FrmSizeEnum>() == 44);
    assert!(size_of::<FrmIvalEnum>() == 52);
    assert!(size_of::<PixFormat>() == 48);
    assert!(offset_of!(AnyFormat, fmt) == word && size_of::<AnyFormat>() == 200 + word);
    assert!(size_of::<PixMplane>() == 192 && size_of::<FormatUnion>() == 200);
    assert!(align_of::<PixMplane>() <= align_of::<FormatUnion>());
    assert!(offset_of!(KernelPlane, m) == 8 && size_of::<KernelPlane>() == 56 + word);
    assert!(size_of::<StreamParm>() == 204);
    assert!(size_of::<RequestBuffers>() == 20);
    assert!(size_of::<QueryCtrl>() == 68);
    assert!(size_of::<QueryMenu>() == 44);
    assert!(size_of::<ControlValue>() == 8);
    assert!(size_of::<Selection>() == 64);
    assert!(size_of::<Standard>() == if align_of::<u64>() == 8 { 72 } else { 64 });
    assert!(size_of::<DvTimings>() == 132 && offset_of!(DvTimings, pixelclock) == 20);
    assert!(size_of::<EventSubscription>() == 32);
    assert!(size_of::<KernelEvent>() == if align_of::<u64>() == 8 { 136 } else { 128 });
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
            // here follows pointers within it; those that do are in `buffers`.
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
    /// VIDIOC_STREAMON
    fn streamon(write, 18, i32);
    /// VIDIOC_STREAMOFF
    fn streamoff(write, 19, i32);
    /// VIDIOC_G_PARM
    fn g_parm(read_write, 21, StreamParm);
    /// VIDIOC_S_PARM
    fn s_parm(read_write, 22, StreamParm);
    /// VIDIOC_G_STD
    fn g_std(read, 23, u64);
    /// VIDIOC_S_STD
    fn s_std(write, 24, u64);
    /// VIDIOC_ENUMSTD
    fn enumstd(read_write, 25, Standard);
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
    /// VIDIOC_G_INPUT
    fn g_input(read, 38, i32);
    /// VIDIOC_QUERYSTD
    fn querystd(read, 63, u64);
    /// VIDIOC_ENUM_FRAMESIZES
    fn enum_framesizes(read_write, 74, FrmSizeEnum);
    /// VIDIOC_ENUM_FRAMEINTERVALS
    fn enum_frameintervals(read_write, 75, FrmIvalEnum);
    /// VIDIOC_S_SELECTION
    fn s_selection(read_write, 95, Selection);
    /// VIDIOC_S_DV_TIMINGS
    fn s_dv_timings(read_write, 87, DvTimings);
    /// VIDIOC_DQEVENT
    fn dqevent(read, 89, KernelEvent);
    /// VIDIOC_SUBSCRIBE_EVENT
    fn subscribe_event(write, 90, EventSubscription);
    /// VIDIOC_QUERY_DV_TIMINGS
    fn query_dv_timings(read, 99, DvTimings);
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
            assert_eq!(opcode::read_write::<Standard>(b'V', 25), 0xC048_5619);
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
    fn something_that_is_no_camera_is_told_so_by_the_kernel() {
        let null = std::fs::File::open("/dev/null").unwrap();
        let fd = std::os::fd::AsFd::as_fd(&null);
        assert_eq!(querycap(fd, &mut Capability::zeroed()), Err(Errno::NOTTY));
    }
}
