//! usb_camera: a USB camera in user space, so that the kernel's own uvcvideo driver has something to drive where no
//! camera is at hand. A program for tests; it needs root and the modules vhci-hcd and uvcvideo.
//!
//! It plays the device's side of USB/IP (the messages: <https://docs.kernel.org/usb/usbip_protocol.html>) to the kernel's
//! virtual host controller, through a socket pair whose other end it hands over in sysfs. What it says of itself follows
//! the USB Device Class Definition for Video Devices 1.0, with one bulk endpoint: MJPEG in two sizes at two rates,
//! brightness and power line frequency as controls.
//!
//! Its pictures are those of the source `pattern`, so each tells its number and time. Every second one has its Huffman
//! tables taken out and padding behind its end, as cheap cameras do.
//!
//! `usb_camera FPS BYTES [SPREAD]` is for benchmarks: one picture of noise, of that size and at that rate, whatever was agreed upon. Each is
//! longer than the one before by a byte, up to SPREAD bytes, since those of cameras are hardly ever alike in length.
//!
//! Standard output tells what happens to it: `plugged in`, `stream on at SECONDS`, `stream off at SECONDS`, `control N is V`.
//! Killing the program is pulling the plug.

#[path = "../common/tables.rs"]
mod tables;

use std::collections::VecDeque;
use std::error::Error;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use jpeg_encoder::{ColorType, SamplingFactor};
use lazycam::capture::pattern::Pattern;
use lazycam::capture::source::Source;
use lazycam::picture::encode::{Encoder, Planes};
use lazycam::time::clock::monotonic;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tables::without_tables;

const SIZES: [(u16, u16); 2] = [(320, 240), (640, 480)];
const RATES: [u32; 2] = [10, 5];
/// Bytes of one bulk transfer, with the two of its header.
const PAYLOAD: usize = 16384;
/// The driver has stopped when it asked for no more data for so long since it took transfers back.
const STILL: Duration = Duration::from_millis(200);
/// While this is there the camera streams and gives nothing.
const SILENT: &str = "/run/silent";
/// What is in this file makes a camera of it that sends odd buffers ([`Camera::tricked`]) or forgets its controls.
const TRICK: &str = "/run/trick";
/// The number of pictures after a start by which a camera that adjusts its exposure has done so.
const ADJUSTING: u8 = 3;
/// An upper bound of a picture, for the host's buffers.
const LARGEST: u32 = 200_000;

/// USB/IP commands, and errno values in their answers.
const SUBMIT: u32 = 1;
const UNLINK: u32 = 2;
const RET_SUBMIT: u32 = 3;
const RET_UNLINK: u32 = 4;
const STALL: i32 = -32;
const UNLINKED: i32 = -104;

fn main() -> Result<(), Box<dyn Error>> {
    let (ours, kernels) = UnixStream::pair()?;
    // Port, socket, device number, speed: 3 is high speed.
    let attach = format!("0 {} 65538 3", kernels.as_raw_fd());
    std::fs::write("/sys/devices/platform/vhci_hcd.0/attach", attach)?;
    drop(kernels);
    say("plugged in");
    let mut camera = Camera::new(ours);
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, fps, bytes, spread @ ..] = &arguments[..] {
        camera.still = Some((fps.parse()?, noise(bytes.parse()?)?));
        camera.spread = spread.first().map_or(Ok(1), |spread| spread.parse())?;
    }
    loop {
        camera.turn()?;
    }
}

#[allow(clippy::print_stdout)]
fn say(what: &str) {
    println!("{what}");
}

/// A picture of 640x480 and at least so many bytes, hardly more.
fn noise(bytes: usize) -> Result<Vec<u8>, Box<dyn Error>> {
    let (width, height) = SIZES[1];
    let stride = usize::from(width);
    let chroma = vec![128; stride * usize::from(height) / 4];
    let mut jpeg = Vec::new();
    for most in 1..=128 {
        let mut random = 1_u32;
        let mut sample = || {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (64 + (random >> 16) % most) as u8
        };
        let luma: Vec<u8> = (0..chroma.len() * 4).map(|_| sample()).collect();
        let planes = Planes::new(
            (width, height),
            (&luma, stride),
            (&chroma, stride / 2),
            (&chroma, stride / 2),
        );
        let planes = planes.ok_or("no pixels")?;
        Encoder::new(80)?.encode(planes, None, &mut jpeg)?;
        if jpeg.len() >= bytes {
            return Ok(jpeg);
        }
    }
    Err(format!("no picture has {bytes} bytes").into())
}

/// The same with so many more bytes of entropy-coded data.
fn longer(jpeg: &[u8], by: usize) -> Vec<u8> {
    let (picture, end) = jpeg.split_at(jpeg.len() - 2);
    [picture, &vec![0x55; by], end].concat()
}

/// A picture whose first Huffman table, if it has one, has more codes of one bit than there can be.
fn without_sense(mut jpeg: Vec<u8>) -> Vec<u8> {
    if let Some(at) = jpeg.windows(2).position(|two| two == [0xFF, 0xC4]) {
        jpeg[at + 5] = 255;
    }
    jpeg
}

struct Camera {
    socket: UnixStream,
    configuration: Vec<u8>,
    /// What the host and we agreed upon: the probe and commit control.
    agreed: [u8; 26],
    brightness: i16,
    power_line_frequency: u8,
    /// Bulk transfers that wait for data.
    waiting: VecDeque<(u32, usize)>,
    /// Payloads of the frame on its way.
    leaving: VecDeque<Vec<u8>>,
    pattern: Option<Pattern>,
    /// The number of pictures since then.
    since_start: u8,
    /// When the driver took a transfer back, if it gave none since.
    taken_back: Option<Instant>,
    /// A rate, and the picture to send at it instead of the pattern's.
    still: Option<(f64, Vec<u8>)>,
    /// How many lengths it is sent in, and how often it was sent.
    spread: usize,
    sent: usize,
    frame_id: u8,
}

impl Camera {
    fn new(socket: UnixStream) -> Self {
        Camera {
            socket,
            configuration: configuration(),
            agreed: agreement(1, 1, 10_000_000 / RATES[0]),
            brightness: 0,
            power_line_frequency: 1,
            waiting: VecDeque::new(),
            leaving: VecDeque::new(),
            pattern: None,
            taken_back: None,
            since_start: 0,
            still: None,
            spread: 1,
            sent: 0,
            frame_id: 0,
        }
    }

    /// Waits for the host or the next frame, and deals with either.
    fn turn(&mut self) -> Result<(), Box<dyn Error>> {
        let due = self.pattern.as_ref().and_then(|pattern| pattern.deadline());
        let due = due
            .into_iter()
            .chain(self.taken_back.map(|at| at + STILL))
            .min();
        let left =
            due.map(|due| due.saturating_duration_since(Instant::now()) + Duration::from_millis(1));
        let timeout = left.map(|left| Timespec {
            tv_sec: left.as_secs() as _,
            tv_nsec: left.subsec_nanos() as _,
        });
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
        if poll(&mut fds, timeout.as_ref())? > 0 {
            self.hear()?;
        }
        if self.taken_back.is_some_and(|at| at.elapsed() >= STILL) {
            self.stream_off();
        }
        self.picture()?;
        while !self.leaving.is_empty() && !self.waiting.is_empty() {
            if let (Some((sequence, _)), Some(payload)) =
                (self.waiting.pop_front(), self.leaving.pop_front())
            {
                self.answer(RET_SUBMIT, sequence, 0, payload.len(), &payload)?;
            }
        }
        Ok(())
    }

    /// Makes the next picture, if it is due and the last one has left: a camera does not queue.
    fn picture(&mut self) -> Result<(), Box<dyn Error>> {
        let Some(pattern) = &mut self.pattern else {
            return Ok(());
        };
        if pattern.advance(Instant::now()).ok().flatten().is_none() || !self.leaving.is_empty() {
            return Ok(());
        }
        if Path::new(SILENT).exists() {
            return Ok(());
        }
        self.frame_id ^= 1;
        self.sent += 1;
        let picture = match (&self.still, self.frame_id) {
            (Some((_, jpeg)), _) => longer(jpeg, self.sent % self.spread),
            (None, even) => {
                let jpeg = pattern.jpeg().map_err(|trouble| format!("{trouble:?}"))?;
                let jpeg = match even {
                    0 => jpeg.to_vec(),
                    _ => without_tables(jpeg),
                };
                self.tricked(jpeg)
            }
        };
        let chunks = picture.chunks(PAYLOAD - 2);
        let last = chunks.len() - 1;
        for (i, chunk) in chunks.enumerate() {
            // End of header; end of frame; the frame's identity.
            let flags = 0x80 | if i == last { 2 } else { 0 } | self.frame_id;
            self.leaving.push_back([&[2, flags], chunk].concat());
        }
        Ok(())
    }

    /// The buffer in which the picture is sent.
    fn tricked(&mut self, jpeg: Vec<u8>) -> Vec<u8> {
        let trick = std::fs::read_to_string(TRICK).unwrap_or_default();
        self.since_start = self.since_start.saturating_add(1);
        let half = jpeg.len() / 2;
        match trick.trim() {
            "merged" => [&jpeg[..half], &jpeg].concat(),
            "two-soi" => [&jpeg[..2], &jpeg].concat(),
            "junk" => [b"\0\0junk\xFF\xD8\0", &jpeg[..]].concat(),
            "no-eoi" => jpeg[..jpeg.len() - 2].to_vec(),
            "old-tail" => [&jpeg, &jpeg[half..]].concat(),
            "two-pictures" => [&jpeg[..], &jpeg].concat(),
            "bad-table" => without_sense(jpeg),
            "bars" if self.frame_id == 0 => bars(),
            "bars" => without_tables(&bars()),
            // Brighter and brighter, before the picture comes.
            "adjusting" if self.since_start <= ADJUSTING => flat(40 * self.since_start),
            _ => [&jpeg[..], &[0; 100]].concat(),
        }
    }

    /// One message of the host's. The kernel closes its end when the driver gives the device up.
    fn hear(&mut self) -> Result<(), Box<dyn Error>> {
        let mut message = [0; 48];
        self.socket.read_exact(&mut message)?;
        let word = |i: usize| u32::from_be_bytes([0, 1, 2, 3].map(|byte| message[4 * i + byte]));
        let (command, sequence, inward, endpoint) = (word(0), word(1), word(3) == 1, word(4));
        if command == UNLINK {
            return self.unlink(sequence, word(5));
        }
        if command != SUBMIT {
            return Err(format!("command {command}").into());
        }
        let length = word(6) as usize;
        if endpoint != 0 {
            self.waiting.push_back((sequence, length));
            self.taken_back = None;
            return self.stream_on();
        }
        let mut data = vec![0; if inward { 0 } else { length }];
        self.socket.read_exact(&mut data)?;
        match self.control(&message[40..48], &data) {
            Some(reply) if inward => {
                let reply = &reply[..reply.len().min(length)];
                self.answer(RET_SUBMIT, sequence, 0, reply.len(), reply)
            }
            Some(_) => self.answer(RET_SUBMIT, sequence, 0, length, &[]),
            None => self.answer(RET_SUBMIT, sequence, STALL, 0, &[]),
        }
    }

    fn answer(
        &mut self,
        command: u32,
        sequence: u32,
        status: i32,
        length: usize,
        data: &[u8],
    ) -> Result<(), Box<dyn Error>> {
        let words = [
            command,
            sequence,
            0,
            0,
            0,
            status as u32,
            length as u32,
            0,
            0,
            0,
            0,
            0,
        ];
        let mut message: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        message.extend_from_slice(data);
        Ok(self.socket.write_all(&message)?)
    }

    /// The driver takes its transfers back when it stops streaming.
    fn unlink(&mut self, sequence: u32, victim: u32) -> Result<(), Box<dyn Error>> {
        let before = self.waiting.len();
        self.waiting.retain(|(waiting, _)| *waiting != victim);
        let found = self.waiting.len() < before;
        self.taken_back = self.pattern.is_some().then(Instant::now);
        self.answer(
            RET_UNLINK,
            sequence,
            if found { UNLINKED } else { 0 },
            0,
            &[],
        )
    }

    /// Not at the last transfer taken back: that may have been answered meanwhile, and others may be given before it.
    fn stream_off(&mut self) {
        self.taken_back = None;
        if self.waiting.is_empty() && self.pattern.take().is_some() {
            self.leaving.clear();
            say(&format!("stream off at {:.3}", monotonic().as_secs_f64()));
        }
    }

    fn stream_on(&mut self) -> Result<(), Box<dyn Error>> {
        if self.pattern.is_some() {
            return Ok(());
        }
        let interval = u32::from_le_bytes([4, 5, 6, 7].map(|i| self.agreed[i]));
        let size = SIZES[usize::from(self.agreed[3].clamp(1, 2)) - 1];
        let agreed = 1e7 / f64::from(interval.max(1));
        let fps = self.still.as_ref().map_or(agreed, |(fps, _)| *fps);
        let mut pattern = Pattern::new(size, fps, 60)?;
        pattern
            .start(Instant::now())
            .map_err(|trouble| format!("{trouble:?}"))?;
        say(&format!(
            "stream on at {:.3}: {}",
            monotonic().as_secs_f64(),
            pattern.describe()
        ));
        self.pattern = Some(pattern);
        self.since_start = 0;
        if std::fs::read_to_string(TRICK).is_ok_and(|trick| trick.trim() == "forgetful") {
            self.brightness = 0;
            say("brightness was forgotten");
        }
        Ok(())
    }

    /// A request to endpoint 0 (USB 2.0, 9.3). `None` is a stall: not understood.
    fn control(&mut self, setup: &[u8], data: &[u8]) -> Option<Vec<u8>> {
        let (selector, unit) = (setup[3], setup[5]);
        match (setup[0], setup[1]) {
            (0x80, 6) => self.descriptor(selector, setup[2]),
            (0x80..=0x82, 0) => Some(vec![0, 0]),
            (0x80, 8) => Some(vec![1]),
            (0x00..=0x02, 1 | 3 | 9 | 11) => Some(Vec::new()),
            (0x21, 1) if unit == 0 => {
                let interval =
                    u32::from_le_bytes([4, 5, 6, 7].map(|i| data.get(i).copied().unwrap_or(0)));
                let known = RATES.map(|rate| 10_000_000 / rate).contains(&interval);
                let interval = if known {
                    interval
                } else {
                    10_000_000 / RATES[0]
                };
                self.agreed = agreement(1, data.get(3).copied()?.clamp(1, 2), interval);
                Some(Vec::new())
            }
            (0x21, 1) => self.set(selector, data),
            (0xA1, 0x85) if unit == 0 => Some(vec![26, 0]),
            (0xA1, 0x86) => Some(vec![3]),
            (0xA1, 0x81..=0x87) if unit == 0 => Some(self.agreed.to_vec()),
            (0xA1, request) => self.get(selector, request),
            _ => None,
        }
    }

    /// Brightness is selector 2 of a processing unit, power line frequency 5.
    fn set(&mut self, selector: u8, data: &[u8]) -> Option<Vec<u8>> {
        let value = match (selector, data) {
            (2, &[low, high, ..]) => {
                self.brightness = i16::from_le_bytes([low, high]);
                self.brightness
            }
            (5, &[value, ..]) => {
                self.power_line_frequency = value;
                i16::from(value)
            }
            _ => return None,
        };
        say(&format!("control {selector} is {value}"));
        Some(Vec::new())
    }

    /// Current, minimum, maximum, resolution, length and default, from 0x81 on.
    fn get(&self, selector: u8, request: u8) -> Option<Vec<u8>> {
        let request = usize::from(request - 0x81);
        let brightness = [self.brightness, -64, 64, 1, 2, 0, 0];
        let frequency = [self.power_line_frequency, 0, 2, 1, 1, 0, 1];
        match (selector, request) {
            (5, 4) => Some(vec![1, 0]),
            (5, _) => Some(vec![frequency[request]]),
            (2, 6) => Some(vec![0, 0]),
            (2, _) => Some(brightness[request].to_le_bytes().to_vec()),
            _ => None,
        }
    }

    fn descriptor(&self, kind: u8, index: u8) -> Option<Vec<u8>> {
        match kind {
            1 => Some(vec![
                18, 1, 0, 2, 0xEF, 2, 1, 64, 0x09, 0x12, 1, 0, 0, 1, 1, 2, 0, 1,
            ]),
            2 => Some(self.configuration.clone()),
            3 if index == 0 => Some(vec![4, 3, 9, 4]),
            3 => {
                let text: Vec<u8> = "lazycam test camera"
                    .encode_utf16()
                    .flat_map(u16::to_le_bytes)
                    .collect();
                Some([&[2 + text.len() as u8, 3], &text[..]].concat())
            }
            _ => None,
        }
    }
}

/// Format, size and interval that were agreed upon, largest frame and payload (Video Class 1.0, 4.3.1.1).
fn agreement(format: u8, frame: u8, interval: u32) -> [u8; 26] {
    let mut agreed = [0; 26];
    (agreed[2], agreed[3]) = (format, frame);
    agreed[4..8].copy_from_slice(&interval.to_le_bytes());
    agreed[18..22].copy_from_slice(&LARGEST.to_le_bytes());
    agreed[22..26].copy_from_slice(&(PAYLOAD as u32).to_le_bytes());
    agreed
}

/// The configuration descriptor with all that belongs to it.
fn configuration() -> Vec<u8> {
    let frames: Vec<u8> = (1..)
        .zip(SIZES)
        .flat_map(|(index, size)| frame(index, size))
        .collect();
    let format = [11, 0x24, 6, 1, SIZES.len() as u8, 1, 1, 0, 0, 0, 0];
    let colour = [6, 0x24, 0x0D, 1, 1, 4];
    let [low, high] = ((14 + format.len() + frames.len() + colour.len()) as u16).to_le_bytes();
    let parts: [&[u8]; 13] = [
        &[9, 2, 0, 0, 2, 1, 0, 0x80, 250],
        // Both interfaces together are a video function.
        &[8, 11, 0, 2, 0x0E, 3, 0, 0],
        // Control: header, camera, processing unit with brightness and power line frequency, output.
        &[9, 4, 0, 0, 0, 0x0E, 1, 0, 0],
        &[
            13,
            0x24,
            1,
            0,
            1,
            13 + 18 + 11 + 9,
            0,
            0x80,
            0x8D,
            0x5B,
            0,
            1,
            1,
        ],
        &[18, 0x24, 2, 1, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0],
        &[11, 0x24, 5, 2, 1, 0, 0, 2, 0x01, 0x04, 0],
        &[9, 0x24, 3, 3, 1, 1, 0, 2, 0],
        // Streaming: header, format, frames, colours, endpoint.
        &[9, 4, 1, 0, 1, 0x0E, 2, 0, 0],
        &[14, 0x24, 1, 1, low, high, 0x81, 0, 3, 0, 0, 0, 1, 0],
        &format,
        &frames,
        &colour,
        &[7, 5, 0x81, 2, 0, 2, 0],
    ];
    let mut all = parts.concat();
    let total = (all.len() as u16).to_le_bytes();
    all[2..4].copy_from_slice(&total);
    all
}

/// A picture that is grey all over.
fn flat(luma: u8) -> Vec<u8> {
    let (luma, grey, mut jpeg) = (vec![luma; 640 * 480], vec![128; 320 * 240], Vec::new());
    let chroma = (&grey[..], 320);
    let planes = Planes::new((640, 480), (&luma, 640), chroma, chroma);
    let encoder = Encoder::new(60).ok().zip(planes);
    let encoded = encoder.map(|(mut encoder, planes)| encoder.encode(planes, None, &mut jpeg));
    assert!(matches!(encoded, Some(Ok(()))), "a flat picture");
    jpeg
}

/// The eight colours of vivid's bars, over and over, each 64 pixels wide, with 4:2:2 and restart markers.
fn bars() -> Vec<u8> {
    let bar = |number: usize| [number / 2 % 2 == 0, number / 4 % 2 == 0, number % 2 == 0];
    let row = (0..640).flat_map(|x| bar(x / 64).map(|on| if on { 255 } else { 0 }));
    let (pixels, mut jpeg) = (row.collect::<Vec<u8>>().repeat(480), Vec::new());
    let mut encoder = jpeg_encoder::Encoder::new(&mut jpeg, 90);
    encoder.set_sampling_factor(SamplingFactor::F_2_1);
    encoder.set_restart_interval(7);
    let encoded = encoder.encode(&pixels, 640, 480, ColorType::Rgb);
    assert!(encoded.is_ok(), "bars");
    jpeg
}

fn frame(index: u8, (width, height): (u16, u16)) -> Vec<u8> {
    let intervals = RATES.map(|rate| 10_000_000 / rate);
    let mut frame = vec![26 + 4 * RATES.len() as u8, 0x24, 7, index, 0];
    frame.extend(width.to_le_bytes());
    frame.extend(height.to_le_bytes());
    let bits = LARGEST * 8 * RATES[0];
    for value in [bits, bits, LARGEST, intervals[0]] {
        frame.extend(value.to_le_bytes());
    }
    frame.push(RATES.len() as u8);
    frame.extend(intervals.iter().flat_map(|interval| interval.to_le_bytes()));
    frame
}
