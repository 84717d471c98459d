//! The camera of the benchmark: pictures of a chosen size, published at a steady rate, each with its stamp.
//!
//! What: one real JPEG, encoded once and brought to its size with fill bytes before its EOI (T.81, B.1.1.2). A frame
//! is that picture with a new [`Stamp`] after SOI, put in place by the producer side of lazycam.
//!
//! What not: it ignores demand. The camera always runs, so that both servers are offered the same frames.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jpeg_encoder::{ColorType, Encoder};
use lazycam::capture::pattern::stamp::Stamp;
use lazycam::frames::publish::Publisher;
use lazycam::picture::jpeg::marker;

use crate::{Failure, Outcome};

/// Where the stamp's comment begins: behind SOI.
const STAMP_AT: usize = 2;

/// A frame directory in memory that is removed at the end.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Outcome<Self> {
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() {
            memory.to_owned()
        } else {
            std::env::temp_dir()
        };
        // One level down, so that what other programs do beside it wakes nobody here.
        let own = base.join(format!("lazycam-bench-{}", process::id()));
        fs::create_dir_all(own.join("frames"))?;
        Ok(Directory(own))
    }

    pub(crate) fn frames(&self) -> PathBuf {
        self.0.join("frames")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Publishes until it is dropped.
pub(crate) struct Camera {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    published: AtomicU64,
    stop: AtomicBool,
    failed: OnceLock<String>,
}

impl Camera {
    pub(crate) fn start(dir: &Path, frame_bytes: usize, fps: u32) -> Outcome<Self> {
        let mut publisher = Publisher::open(dir)?;
        publisher.announce()?;
        let picture = picture(frame_bytes)?;
        let shared = Arc::new(Shared::default());
        let thread = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                if let Err(error) = publish(&mut publisher, picture, fps, &shared) {
                    let _ = shared.failed.set(format!("the camera failed: {error}"));
                }
            }
        });
        Ok(Camera {
            shared,
            thread: Some(thread),
        })
    }

    /// Passes on what was measured, or an error if there were no frames to measure with.
    pub(crate) fn vouch_for<T>(&self, measured: Outcome<T>) -> Outcome<T> {
        match self.shared.failed.get() {
            Some(reason) => Err(Failure(reason.clone()).into()),
            None => measured,
        }
    }

    /// The number of frames put in place so far.
    pub(crate) fn published(&self) -> u64 {
        self.shared.published.load(Ordering::Relaxed)
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn publish(
    publisher: &mut Publisher,
    mut picture: Vec<u8>,
    fps: u32,
    shared: &Shared,
) -> Outcome<()> {
    let interval = Duration::from_secs(1) / fps;
    let mut due = Instant::now();
    for number in 1.. {
        if shared.stop.load(Ordering::Relaxed) {
            break;
        }
        due = (due + interval).max(Instant::now());
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let stamp = Stamp::now(number);
        let comment = comment(&stamp);
        picture[STAMP_AT..STAMP_AT + comment.len()].copy_from_slice(&comment);
        publisher.publish(&picture, stamp.captured)?;
        shared.published.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// A COM segment with the same length for all stamps: blanks before it make up for short numbers.
fn comment(stamp: &Stamp) -> Vec<u8> {
    const TEXT: usize = 96;
    let text = stamp.to_string();
    let mut segment = vec![0xFF, marker::COM, 0, text.len() as u8 + 2];
    segment.extend(text.as_bytes());
    // A second comment takes the rest.
    let rest = TEXT - text.len();
    segment.extend([0xFF, marker::COM, 0, rest as u8 + 2]);
    segment.resize(4 + TEXT + 4, b' ');
    segment
}

/// A noisy picture of exactly `frame_bytes`, with room for the stamp.
fn picture(frame_bytes: usize) -> Outcome<Vec<u8>> {
    const WIDTH: u16 = 640;
    let comment = comment(&Stamp::now(0));
    let mut best = Vec::new();
    for height in (16..=2048).step_by(16) {
        let jpeg = noise(WIDTH, height)?;
        if jpeg.len() + comment.len() > frame_bytes {
            break;
        }
        best = jpeg;
    }
    if best.is_empty() {
        return Err(Failure(format!("no picture fits into {frame_bytes} bytes")).into());
    }
    let fill = frame_bytes - comment.len() - best.len();
    best.splice(STAMP_AT..STAMP_AT, comment);
    let end = best.len() - 2;
    best.splice(end..end, std::iter::repeat_n(0xFF, fill));
    Ok(best)
}

/// Grey pseudo-random noise: the same on every machine.
fn noise(width: u16, height: u16) -> Outcome<Vec<u8>> {
    let mut state = 1_u32;
    let pixels: Vec<u8> = (0..usize::from(width) * usize::from(height))
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            112 + (state >> 27) as u8
        })
        .collect();
    let mut jpeg = Vec::new();
    Encoder::new(&mut jpeg, 85).encode(&pixels, width, height, ColorType::Luma)?;
    Ok(jpeg)
}
