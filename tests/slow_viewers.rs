//! Viewers behind slow lines: what they get is whole, newer each time, and as fresh as the line allows.
//!
//! A frame's age is measured, not assumed: each carries the moment of its capture by the clock that all processes of
//! this machine share. The lines are those of `common/network.rs`. What the line allows is measured beside it in the same run ([`Bare`]), and a
//! figure counts as its ratio to that. `--nocapture` prints them.
//!
//! Alone, because it measures, and before all other programs of the machine (`common::network::waits_for_nobody`).

#![allow(
    clippy::print_stdout,
    reason = "figures, for those who run with --nocapture"
)]

mod common;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use common::frames::Maker;
use common::http::Client;
use common::network::{Namespace, Viewer, waits_for_nobody};
use common::process::{Process, is_emulated, lazycam, wrapped};
use common::producer::{Feeder, Hand};
use common::{PATIENCE, Scratch, skipped};
use lazycam::capture::pattern::stamp::Stamp;
use lazycam::time::clock::monotonic;

/// The frames of these tests: 100 KiB, 30 per second.
const FRAME: usize = 100 * 1024;
const FPS: f64 = 30.0;

const MEGABIT: u32 = 1_000_000;

#[test]
fn a_slow_viewer_alone_stays_close_to_the_present_at_1_mbit() {
    alone_behind(MEGABIT, 1.10);
}

#[test]
fn a_slow_viewer_alone_stays_close_to_the_present_at_5_mbit() {
    alone_behind(5 * MEGABIT, 1.15);
}

/// Frames are in the median at most `as_old` times as old at their last byte as the bare line makes them, and follow each other as fast: but for
/// 5 % in the median, and but for 10 % with what the line's queue drops, which a bare loop with its small buffer does not meet.
fn alone_behind(rate: u32, as_old: f64) {
    let Some(rig) = Rig::new() else { return };
    let camera = Fed::start(&rig);
    let [slow, bare] = [Some(rate); 2].map(|rate| rig.namespace.viewer(rate));
    let duration = Duration::from_secs(20);
    let (watched, bare) = thread::scope(|scope| {
        let bare = scope.spawn(|| Bare::on(&rig, &bare, duration));
        let watched = rig.watch(&slow, |_, time| time < duration);
        (watched, bare.join().unwrap())
    });
    drop(camera);
    let (age, least) = (watched.median_age(), bare.median_age());
    let (pause, shortest) = (watched.median_pause(), bare.median_pause());
    let used = watched.rate() / bare.rate();
    println!(
        "{rate} bit/s: {age:?} old, a frame every {pause:?}; bare {least:?} and {shortest:?}, of which {used:.3} of the rate"
    );
    assert!(watched.keeps_to_the_present());
    assert!(age <= least.mul_f64(as_old), "{age:?} old, {least:?} bare");
    assert!(pause <= shortest.mul_f64(1.05), "{pause:?}, {shortest:?}");
    assert!(used >= 0.9, "{used:.3} of the rate");
}

/// At 30 frames per second, or as slowly as a busy machine needs: the next frame is made when the fast viewer has the last one, so that it
/// misses one only if a server leaves it out.
#[test]
fn a_fast_viewer_gets_every_frame_beside_a_slow_one_whose_age_stays_bounded() {
    const FRAMES: u64 = 600;
    let Some(rig) = Rig::new() else { return };
    let [slow, fast] = [Some(MEGABIT), None].map(|rate| rig.namespace.viewer(rate));
    let mut hand = Hand::new(rig.frames(), rig.maker.clone());
    let (has, had) = mpsc::channel();
    let done = AtomicBool::new(false);
    let (slow, fast) = thread::scope(|scope| {
        let slow = scope.spawn(|| rig.watch(&slow, |_, _| !done.load(SeqCst)));
        let fast = scope.spawn(|| {
            rig.watch(&fast, |number, _| {
                has.send(number).unwrap();
                number < FRAMES
            })
        });
        let over = Over(&done);
        let interval = Duration::from_secs_f64(1.0 / FPS);
        let mut newest = None;
        for number in 1..=FRAMES {
            let next = Instant::now() + interval;
            hand.publish();
            while newest.is_none_or(|newest| newest < number) {
                // It may come later than the first frames, and is given none that is old by then.
                let patience = newest.map_or(interval, |_| PATIENCE);
                match had.recv_timeout(patience) {
                    Ok(number) => newest = Some(number),
                    Err(_) if newest.is_none() => break,
                    Err(error) => panic!("a fast viewer without frame {number}: {error}"),
                }
            }
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        drop(over);
        // For the slow one, which looks for the end only with a frame.
        hand.publish();
        (slow.join().unwrap(), fast.join().unwrap())
    });
    let numbers: Vec<_> = fast.frames.iter().map(|frame| frame.number).collect();
    let first = numbers[0];
    assert!(numbers.iter().copied().eq(first..=FRAMES), "{numbers:?}");
    assert!(first < FRAMES / 2, "it came with frame {first}");
    assert!(slow.keeps_to_the_present());
    let got = slow.frames.len();
    let (slow, fast) = (slow.median_age(), fast.median_age());
    println!("beside each other: slow {slow:?}, fast {fast:?}");
    assert!(fast < slow / 4, "{fast:?} old beside {slow:?}");
    assert!(got >= 14, "the slow one got {got}");
}

/// Sets it when it goes, also by a panic: who waits for it would wait for ever.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// What a line allows: frames of the same size, each captured when the one before has arrived, written by a bare loop.
struct Bare;

impl Bare {
    fn on(rig: &Rig, viewer: &Viewer, duration: Duration) -> Watched {
        let listener = rig.namespace.listen();
        let port = listener.local_addr().unwrap().port();
        thread::scope(|scope| {
            let maker = &rig.maker;
            scope.spawn(move || Bare::send(&listener, maker));
            let mut line = viewer.connect(port);
            let mut jpeg = vec![0; FRAME];
            let (mut frames, start) = (Vec::new(), Instant::now());
            while start.elapsed() < duration {
                line.read_exact(&mut jpeg).unwrap();
                frames.push(Frame::received(maker, &jpeg, monotonic()));
                line.write_all(b".").unwrap();
            }
            Watched { frames }
        })
    }

    /// Until the viewer has gone.
    fn send(listener: &TcpListener, maker: &Maker) {
        let (mut line, _) = listener.accept().unwrap();
        line.set_nodelay(true).unwrap();
        let (mut number, mut arrived) = (0, [0]);
        loop {
            number += 1;
            let sent = line.write_all(&maker.make(&Stamp::now(number)));
            if sent.and_then(|()| line.read_exact(&mut arrived)).is_err() {
                return;
            }
        }
    }
}

/// A server in a namespace of its own.
struct Rig {
    namespace: Namespace,
    server: Process,
    maker: Maker,
    scratch: Scratch,
}

impl Rig {
    fn new() -> Option<Self> {
        if is_emulated() {
            skipped("an emulator's speed says nothing about a line, and it cuts TCP_INFO short");
            return None;
        }
        let namespace = Namespace::new()?;
        if !waits_for_nobody() {
            return None;
        }
        let scratch = Scratch::new();
        let frames = scratch.path().to_str().unwrap();
        let serve = ["serve", "--frames", frames, "--listen", "0.0.0.0:0"];
        Some(Rig {
            server: Process::start(wrapped(&namespace.wrapper(), &serve)),
            namespace,
            maker: Maker::new(FRAME),
            scratch,
        })
    }

    fn frames(&self) -> &Path {
        self.scratch.path()
    }

    /// What a viewer gets, each frame once, for as long as `goes_on` says with the last frame's number and the time since the first one.
    fn watch(&self, viewer: &Viewer, mut goes_on: impl FnMut(u64, Duration) -> bool) -> Watched {
        let socket = viewer.connect(self.server.address().port());
        let mut stream = Client::over(socket).stream("/stream");
        let mut part = stream.frame();
        let (mut frames, start) = (Vec::new(), Instant::now());
        loop {
            let frame = Frame::received(&self.maker, &part.jpeg, part.received);
            let last = frames.last().map_or(0, |last: &Frame| last.number);
            assert!(frame.number >= last, "{} after {last}", frame.number);
            if frame.number > last {
                frames.push(frame);
            }
            if !goes_on(frame.number, start.elapsed()) {
                return Watched { frames };
            }
            part = stream.part();
        }
    }
}

/// A camera of 30 frames per second, and the capture process that it feeds.
struct Fed {
    _feeder: Feeder,
    _capture: Process,
}

impl Fed {
    fn start(rig: &Rig) -> Self {
        let frames = rig.frames().to_str().unwrap();
        let mut capture = lazycam(&["capture", "--source", "stdin", "--frames", frames]);
        capture.stdin(Stdio::piped());
        let mut capture = Process::start(capture);
        Fed {
            _feeder: Feeder::start(capture.take_stdin(), FPS, rig.maker.clone()),
            _capture: capture,
        }
    }
}

/// A frame that has arrived whole.
#[derive(Clone, Copy)]
struct Frame {
    number: u64,
    /// When its last byte was there, by the clock of [`monotonic`].
    at: Duration,
    /// How old it was then.
    age: Duration,
}

impl Frame {
    #[track_caller]
    fn received(maker: &Maker, jpeg: &[u8], at: Duration) -> Self {
        let stamp = maker.verify(jpeg);
        let age = at.saturating_sub(stamp.monotonic);
        let number = stamp.frame;
        Frame { number, at, age }
    }
}

struct Watched {
    frames: Vec<Frame>,
}

impl Watched {
    fn median_age(&self) -> Duration {
        median(self.frames.iter().map(|frame| frame.age))
    }

    /// Between the last byte of one frame and that of the next.
    fn median_pause(&self) -> Duration {
        median(self.frames.windows(2).map(|pair| pair[1].at - pair[0].at))
    }

    /// Frames per second.
    fn rate(&self) -> f64 {
        let [first, .., last] = &self.frames[..] else {
            return 0.0;
        };
        (self.frames.len() - 1) as f64 / (last.at - first.at).as_secs_f64()
    }

    /// Whether ages do not grow: a queue would show in the last third.
    fn keeps_to_the_present(&self) -> bool {
        let third = self.frames.len() / 3;
        if third == 0 {
            return false;
        }
        let ages = |frames: &[Frame]| median(frames.iter().map(|frame| frame.age));
        let first = ages(&self.frames[..third]);
        let last = ages(&self.frames[self.frames.len() - third..]);
        println!("{first:?} at first, {last:?} at last");
        last < first * 3 / 2
    }
}

fn median(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<_> = times.collect();
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
