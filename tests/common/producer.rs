//! Who makes frames in tests: a hand that publishes one at a time, a camera that publishes at a rate, and a program
//! that writes MJPEG into a pipe.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use lazycam::capture::pattern::stamp::Stamp;
use lazycam::frames::demand::Demand;
use lazycam::frames::publish::Publisher;
use lazycam::frames::state::State;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::eventually;
use super::frames::Maker;

/// A producer moved by hand.
pub(crate) struct Hand {
    publisher: Publisher,
    demand: Demand,
    maker: Maker,
    number: u64,
}

impl Hand {
    /// Takes the directory and announces itself; publishes nothing.
    pub(crate) fn new(dir: &Path, maker: Maker) -> Self {
        let mut publisher = Publisher::open(dir).unwrap();
        let demand = Demand::new(dir).unwrap();
        publisher.announce().unwrap();
        Hand {
            publisher,
            demand,
            maker,
            number: 0,
        }
    }

    /// One more frame, captured now.
    pub(crate) fn publish(&mut self) -> Stamp {
        self.number += 1;
        let stamp = Stamp::now(self.number);
        let jpeg = self.maker.make(&stamp);
        self.publisher.publish(&jpeg, stamp.captured).unwrap();
        stamp
    }

    /// Something that need not be a frame.
    pub(crate) fn publish_bytes(&mut self, bytes: &[u8]) {
        let now = std::time::SystemTime::now();
        self.publisher.publish(bytes, now).unwrap();
    }

    /// Says what the camera does.
    pub(crate) fn tell(&mut self, state: &State) {
        self.publisher.tell(state).unwrap();
    }

    /// Puts the empty file in place.
    pub(crate) fn announce(&mut self) {
        self.publisher.announce().unwrap();
    }

    /// Whether somebody asked for a frame since the last call.
    pub(crate) fn was_asked(&mut self) -> bool {
        self.demand.drain(Instant::now()).unwrap().asked
    }

    /// Waits until somebody asks for a frame.
    pub(crate) fn wait_until_asked(&mut self) {
        eventually("somebody asks for a frame", || self.was_asked());
    }
}

/// Calls `step` at a rate, on a thread of its own, until dropped. What came late is made good as long as it is less
/// than a second.
fn at_rate(
    fps: f64,
    stop: Arc<AtomicBool>,
    mut step: impl FnMut() -> bool + Send + 'static,
) -> JoinHandle<()> {
    let period = Duration::from_secs_f64(1.0 / fps);
    thread::spawn(move || {
        let mut next = Instant::now();
        while !stop.load(SeqCst) && step() {
            next = (next + period).max(Instant::now() - Duration::from_secs(1));
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    })
}

/// A camera: publishes at a rate, whether anybody looks or not.
pub(crate) struct Camera {
    stop: Arc<AtomicBool>,
    published: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Camera {
    pub(crate) fn start(dir: &Path, fps: f64, maker: Maker) -> Self {
        Camera::publishing(dir, fps, maker, |_| true)
    }

    /// Like [`Camera::start`], but a frame is made only when the last one was opened.
    pub(crate) fn on_demand(dir: &Path, fps: f64, maker: Maker) -> Self {
        Camera::publishing(dir, fps, maker, Hand::was_asked)
    }

    fn publishing(dir: &Path, fps: f64, maker: Maker, is_due: fn(&mut Hand) -> bool) -> Self {
        let mut hand = Hand::new(dir, maker);
        let (stop, published) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let count = Arc::clone(&published);
        let thread = at_rate(fps, Arc::clone(&stop), move || {
            if is_due(&mut hand) {
                count.store(hand.publish().frame, SeqCst);
            }
            true
        });
        Camera {
            stop,
            published,
            thread: Some(thread),
        }
    }

    /// The number of the last frame.
    pub(crate) fn published(&self) -> u64 {
        self.published.load(SeqCst)
    }

    /// Ends it. Returns the number of the last frame.
    pub(crate) fn end(mut self) -> u64 {
        self.stop();
        self.published()
    }

    fn stop(&mut self) {
        self.stop.store(true, SeqCst);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A program that writes MJPEG into a pipe at a rate, and sleeps while nobody reads it.
pub(crate) struct Feeder {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    /// Held by the writer from the first to the last byte of a frame.
    pipe: Arc<Mutex<Option<File>>>,
    thread: Option<JoinHandle<()>>,
}

impl Feeder {
    pub(crate) fn start(pipe: impl Into<OwnedFd>, fps: f64, maker: Maker) -> Self {
        let pipe: OwnedFd = pipe.into();
        // Of this end alone: a pipe's ends are two open files.
        rustix::io::ioctl_fionbio(&pipe, true).unwrap();
        let pipe = Arc::new(Mutex::new(Some(File::from(pipe))));
        let (stop, written) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (out, count, halt) = (Arc::clone(&pipe), Arc::clone(&written), Arc::clone(&stop));
        let mut number = 0;
        let thread = at_rate(fps, Arc::clone(&stop), move || {
            number += 1;
            let jpeg = maker.make(&Stamp::now(number));
            match &mut *out.lock().unwrap() {
                Some(pipe) => write_all(pipe, &jpeg, &count, &halt),
                None => false,
            }
        });
        Feeder {
            stop,
            written,
            pipe,
            thread: Some(thread),
        }
    }

    /// Bytes that the pipe has taken so far.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(SeqCst)
    }

    /// Closes the pipe between two frames.
    pub(crate) fn finish(&self) {
        drop(self.pipe.lock().unwrap().take());
    }
}

/// Waits for room without missing the end. False: nobody will read this any more.
fn write_all(pipe: &mut File, mut bytes: &[u8], count: &AtomicU64, stop: &AtomicBool) -> bool {
    while !bytes.is_empty() && !stop.load(SeqCst) {
        match pipe.write(bytes) {
            Ok(n) => {
                count.fetch_add(n as u64, SeqCst);
                bytes = &bytes[n..];
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let brief = Timespec {
                    tv_sec: 0,
                    tv_nsec: 20_000_000,
                };
                let _ = poll(&mut [PollFd::new(&*pipe, PollFlags::OUT)], Some(&brief));
            }
            Err(_) => return false,
        }
    }
    bytes.is_empty()
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
