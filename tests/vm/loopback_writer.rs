//! loopback_writer DEVICE: writes the pictures of the source `pattern`, 640x480, ten per second, into a device of v4l2loopback, as the programs do
//! that people use it for. A program for tests; it ends when it is killed.

use std::error::Error;
use std::fs::OpenOptions;
use std::io::Write;
use std::thread::sleep;
use std::time::{Duration, Instant};

use lazycam::capture::pattern::Pattern;
use lazycam::capture::source::Source;
use rustix::ioctl::{Updater, ioctl, opcode};

const SIZE: (u16, u16) = (640, 480);

/// struct v4l2_format with a v4l2_pix_format in it, as 64-bit kernels have it: the type, padding, and 200 bytes of union.
type Format = [u32; 52];

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("no device")?;
    let mut device = OpenOptions::new().read(true).write(true).open(path)?;
    let mut format: Format = [0; 52];
    let (width, height) = (SIZE.0.into(), SIZE.1.into());
    // V4L2_BUF_TYPE_VIDEO_OUTPUT; V4L2_FIELD_NONE; the largest picture.
    format[0] = 2;
    format[2..6].copy_from_slice(&[width, height, u32::from_le_bytes(*b"MJPG"), 1]);
    format[7] = width * height;
    // SAFETY: VIDIOC_S_FMT (linux/videodev2.h) reads and writes a structure of this size.
    #[allow(unsafe_code)]
    unsafe {
        const S_FMT: u32 = opcode::read_write::<Format>(b'V', 5);
        ioctl(&device, Updater::<S_FMT, Format>::new(&mut format))?;
    }
    let mut pattern = Pattern::new(SIZE, 10.0, 80)?;
    pattern
        .start(Instant::now())
        .map_err(|trouble| format!("{trouble:?}"))?;
    loop {
        while pattern.advance(Instant::now()).ok().flatten().is_none() {
            sleep(Duration::from_millis(10));
        }
        let jpeg = pattern.jpeg().map_err(|trouble| format!("{trouble:?}"))?;
        device.write_all(jpeg)?;
    }
}
