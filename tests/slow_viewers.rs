//! Viewers behind slow lines: what they get is whole, newer each time, and as fresh as the line allows.
//!
//! A frame's age is measured, not assumed: each carries the moment of its capture by the clock that all processes of
//! this machine share. The lines are those of `common/network.rs`. The figures that are asked for here are medians over a run
//! and leave room for a busy machine; a run that misses them is repeated before it counts, and one in which the machine stood still
//! does not count.

#![allow(
    clippy::print_stdout,
    reason = "figures, for those who run with --nocapture"
)]

mod common;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use common::frames::Maker;
use common::heartbeat::Heartbeat;
use common::http::Client;
use common::network::{Namespace, Viewer};
use common::process::{Process, is_emulated, lazycam, wrapped};
use common::producer::Feeder;
use common::{Scratch, skipped};

/// The frames of these tests: 100 KiB, 30 per second.
const FRAME: usize = 100 * 1024;
const FPS: f64 = 30.0;

const MEGABIT: u32 = 1_000_000;

/// Runs of a measurement before it fails: what is measured here shares the machine with others.
const TRIES: usize = 3;

/// And of those in which the machine stands still, which do not count.
const RUNS: usize = 10;

/// Two lines measured at once on one machine would measure each other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

#[test]
fn a_slow_viewer_alone_stays_close_to_the_present_at_1_mbit() {
    alone_behind(MEGABIT, Duration::from_millis(80));
}

#[test]
fn a_slow_viewer_alone_stays_close_to_the_present_at_5_mbit() {
    alone_behind(5 * MEGABIT, Duration::from_millis(25));
}

/// Median age at the last byte at most the line's own time and `allowance`, with 95 % of what the line can carry.
fn alone_behind(rate: u32, allowance: Duration) {
    let Some(rig) = Rig::new() else { return };
    let slow = rig.namespace.viewer(Some(rate));
    let floor = Duration::from_secs_f64(FRAME as f64 * 8.0 / f64::from(rate));
    let mut runs = Runs::default();
    loop {
        let watched = rig.watch(&rig.server, &slow, Duration::from_secs(20));
        let fresh = watched.keeps_to_the_present();
        let (age, used) = (watched.median_age(), watched.rate() / carried(rate));
        println!("{rate} bit/s: floor {floor:?}, median {age:?}, {used:.3} of the rate used");
        if fresh && age <= floor + allowance && used >= 0.95 {
            break;
        }
        assert!(
            runs.may_go_on(watched.stalled),
            "median age {age:?}, {used:.3} of the rate"
        );
    }
}

/// On a quiet machine the fast viewer misses nothing. On a busy one frames are lost before they reach any server; how many, a
/// fast viewer of another server says, which has no slow one beside it.
#[test]
fn a_fast_viewer_gets_every_frame_beside_a_slow_one_whose_age_stays_bounded() {
    let Some(rig) = Rig::new() else { return };
    let other = Rig::serve(&rig.namespace, &rig.scratch);
    let [slow, fast, undisturbed] =
        [Some(MEGABIT), None, None].map(|rate| rig.namespace.viewer(rate));
    let viewers = [
        (&rig.server, &slow),
        (&rig.server, &fast),
        (&other, &undisturbed),
    ];
    let mut runs = Runs::default();
    loop {
        let [slow, fast, undisturbed] = beside_each_other(&rig, viewers);
        let (fresh, stalled, got) = (slow.keeps_to_the_present(), slow.stalled, slow.frames.len());
        let (missed, lost, of) = (fast.missed(), undisturbed.missed(), fast.frames.len());
        let (slow, fast) = (slow.median_age(), fast.median_age());
        println!(
            "beside each other: slow {slow:?}, fast {fast:?}, missed {missed} of {of}; undisturbed missed {lost}"
        );
        let allowed = if lost == 0 { 0 } else { lost + of as u64 / 100 };
        if fresh && got >= 20 && missed <= allowed && fast < slow / 4 {
            break;
        }
        assert!(
            runs.may_go_on(stalled),
            "missed {missed} of {of}, {fast:?} old; the slow one got {got}"
        );
    }
}

/// How often it was tried.
#[derive(Default)]
struct Runs {
    undisturbed: usize,
    all: usize,
}

impl Runs {
    /// After one more that missed.
    fn may_go_on(&mut self, stalled: Duration) -> bool {
        self.undisturbed += usize::from(stalled.is_zero());
        self.all += 1;
        self.undisturbed < TRIES && self.all < RUNS
    }
}

fn beside_each_other(rig: &Rig, viewers: [(&Process, &Viewer); 3]) -> [Watched; 3] {
    let duration = Duration::from_secs(30);
    thread::scope(|scope| {
        let watching = viewers
            .map(|(server, viewer)| scope.spawn(move || rig.watch(server, viewer, duration)));
        watching.map(|one| one.join().unwrap())
    })
}

/// Frames of these tests per second on a line of `rate` bits per second: 1514 bytes on the wire carry 1448 of ours, as
/// tc-tbf(8) counts, and a part's head and delimiter are some 120 bytes.
fn carried(rate: u32) -> f64 {
    f64::from(rate) / ((FRAME as f64 + 120.0) * 8.0 * 1514.0 / 1448.0)
}

/// A server in a namespace of its own, and a capture process that it asks for frames.
struct Rig {
    namespace: Namespace,
    server: Process,
    maker: Maker,
    _feeder: Feeder,
    _capture: Process,
    scratch: Scratch,
    _one_at_a_time: MutexGuard<'static, ()>,
}

impl Rig {
    fn new() -> Option<Self> {
        if is_emulated() {
            skipped("an emulator's speed says nothing about a line, and it cuts TCP_INFO short");
            return None;
        }
        let guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let namespace = Namespace::new()?;
        let scratch = Scratch::new();
        let frames = scratch.path().to_str().unwrap();
        let mut capture = lazycam(&["capture", "--source", "stdin", "--frames", frames]);
        capture.stdin(std::process::Stdio::piped());
        let mut capture = Process::start(capture);
        let feeder = Feeder::start(capture.take_stdin(), FPS, Maker::new(FRAME));
        let server = Rig::serve(&namespace, &scratch);
        Some(Rig {
            server,
            namespace,
            maker: Maker::new(FRAME),
            _feeder: feeder,
            _capture: capture,
            scratch,
            _one_at_a_time: guard,
        })
    }

    /// A server in a namespace, of these frames.
    fn serve(namespace: &Namespace, frames: &Scratch) -> Process {
        let frames = frames.path().to_str().unwrap();
        let serve = ["serve", "--frames", frames, "--listen", "0.0.0.0:0"];
        Process::start(wrapped(&namespace.wrapper(), &serve))
    }

    /// What a viewer gets from a server in `duration`, counted from its first frame.
    fn watch(&self, server: &Process, viewer: &Viewer, duration: Duration) -> Watched {
        let socket = viewer.connect(server.address().port());
        let mut stream = Client::over(socket).stream("/stream");
        stream.frame();
        let (start, heartbeat) = (Instant::now(), Heartbeat::start());
        let mut frames = Vec::new();
        while start.elapsed() < duration {
            let part = stream.part();
            frames.push((self.maker.verify(&part.jpeg).frame, part.age()));
        }
        Watched {
            frames,
            time: start.elapsed(),
            stalled: heartbeat.stalled(),
        }
    }
}

/// Numbers of frames and their ages at the last byte.
struct Watched {
    frames: Vec<(u64, Duration)>,
    time: Duration,
    /// Of which the machine stood still.
    stalled: Duration,
}

impl Watched {
    fn median_age(&self) -> Duration {
        median(&self.frames)
    }

    fn rate(&self) -> f64 {
        let time = self.time.saturating_sub(self.stalled);
        self.frames.len() as f64 / time.as_secs_f64()
    }

    fn missed(&self) -> u64 {
        let gaps = self.frames.windows(2).map(|pair| pair[1].0 - pair[0].0 - 1);
        gaps.sum()
    }

    /// Each frame is newer than the one before. Whether ages do not grow: a queue would show in the last third.
    #[track_caller]
    fn keeps_to_the_present(&self) -> bool {
        let increases = self.frames.windows(2).all(|pair| pair[0].0 < pair[1].0);
        assert!(increases, "{:?}", self.frames);
        let third = self.frames.len() / 3;
        if third == 0 {
            return false;
        }
        let (first, last) = (
            median(&self.frames[..third]),
            median(&self.frames[self.frames.len() - third..]),
        );
        println!("{first:?} at first, {last:?} at last");
        last < first * 3 / 2
    }
}

fn median(frames: &[(u64, Duration)]) -> Duration {
    let mut ages: Vec<_> = frames.iter().map(|(_, age)| *age).collect();
    ages.sort();
    ages[ages.len() / 2]
}
