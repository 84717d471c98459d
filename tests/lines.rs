//! Lines, packet by packet: how old a frame is at its last byte, and how many come, with both congestion controls.
//!
//! A handful of the lines of `benches/lines`, which measures many more of them and for longer. What a line allows is measured beside it in the
//! same run, each program with a line and frames of its own: the two of `common/bare.rs` are the youngest and the most that there can be.
//! Figures count as ratios to theirs, and `--nocapture` prints them. The limits are wide, for busy machines: they tell a rule from its absence.
//!
//! Alone, because it measures, and before all other programs of the machine (`common::network::waits_for_nobody`).

#![allow(
    clippy::print_stdout,
    reason = "figures, for those who run with --nocapture"
)]

mod common;

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use common::bare::{self, When};
use common::frames::Maker;
use common::heartbeat::Heartbeat;
use common::http::Client;
use common::line::{Line, LostTails};
use common::network::{Namespace, Viewer, waits_for_nobody};
use common::process::{Process, is_emulated, wrapped};
use common::producer::Camera;
use common::{Scratch, impossible, skipped};

const FPS: f64 = 30.0;

/// What is measured, and what goes before it and does not count: the queues of who sends all that a socket takes are to be full.
const MEASURED: Duration = Duration::from_secs(8);
const WARM_UP: Duration = Duration::from_secs(3);

/// The server.
#[derive(Clone, Copy)]
enum Sender {
    Lazycam,
    /// It never begins a frame before all is acknowledged.
    Young,
    /// It sends what the socket takes.
    Eager,
}
use Sender::{Eager, Lazycam, Young};

/// A server, its line, and the length of its frames.
type Case = (Sender, Line, usize);

/// What a viewer got.
struct Got {
    median: f64,
    p90: f64,
    /// Frames per second.
    rate: f64,
}

impl Got {
    fn new(mut ages: Vec<Duration>, time: Duration) -> Self {
        ages.sort();
        let [median, p90] = [5, 9].map(|tenths| ages[ages.len() * tenths / 10].as_secs_f64());
        let rate = ages.len() as f64 / time.as_secs_f64();
        Got { median, p90, rate }
    }
}

/// Measures the cases of each congestion control side by side, and has `judge` say what is wrong, if anything is. What was measured while
/// this machine stood still is measured again.
#[track_caller]
fn measure<const N: usize>(
    name: &str,
    cases: [Case; N],
    work: Duration,
    judge: fn([&Got; N]) -> Option<&'static str>,
) {
    if is_emulated() {
        return skipped("an emulator's speed says nothing about a line");
    }
    if Namespace::new().is_none() || !waits_for_nobody() {
        return;
    }
    let algorithms = [Some("cubic"), has_bbr().then_some("bbr")];
    thread::scope(|scope| {
        let judged = algorithms.into_iter().flatten().map(|congestion| {
            let cases = &cases;
            scope.spawn(move || judged(name, congestion, cases, work, judge))
        });
        // All are begun before the first is waited for.
        for judged in judged.collect::<Vec<_>>() {
            let wrong = judged.join().unwrap();
            assert!(wrong.is_none(), "{name}: {}", wrong.unwrap());
        }
    });
}

fn judged<const N: usize>(
    name: &str,
    congestion: &'static str,
    cases: &[Case; N],
    work: Duration,
    judge: fn([&Got; N]) -> Option<&'static str>,
) -> Option<String> {
    for attempt in 1.. {
        let heartbeat = Heartbeat::start();
        let got = thread::scope(|scope| {
            let case = |case| scope.spawn(move || run(case, congestion, work));
            cases.each_ref().map(case).map(|one| one.join().unwrap())
        });
        let stalled = heartbeat.stalled();
        let figures = got.each_ref().map(|got| {
            let [median, p90] = [got.median, got.p90].map(|age| age * 1e3);
            format!("{median:.0} ms ({p90:.0}) at {:.2}/s", got.rate)
        });
        println!("{name}, {congestion}: {figures:?}, stood still {stalled:?}");
        let wrong = judge(got.each_ref());
        if wrong.is_none() || attempt == 3 || stalled.is_zero() {
            return wrong.map(|wrong| format!("{congestion}: {wrong}: {figures:?}"));
        }
    }
    None
}

/// Whether the kernel has BBR; it may be a module. Says so loudly if not.
fn has_bbr() -> bool {
    let _ = Command::new("modprobe").args(["-q", "tcp_bbr"]).status();
    let known = "/proc/sys/net/ipv4/tcp_available_congestion_control";
    let known = fs::read_to_string(known).unwrap();
    let has = known.split_whitespace().any(|name| name == "bbr");
    if !has {
        impossible("this kernel has no BBR");
    }
    has
}

/// One server with a viewer that works so long on each frame.
fn run(case: &Case, congestion: &'static str, work: Duration) -> Got {
    let (sender, line, frame) = case;
    let machine = Namespace::new().expect("another namespace where one could be made");
    let line = Line {
        congestion: Some(congestion),
        ..line.clone()
    };
    let viewer = machine.behind(&line);
    let scratch = Scratch::new();
    let dir = scratch.path();
    let _camera = Camera::on_demand(dir, FPS, Maker::new(*frame));
    let when = match sender {
        Lazycam => {
            let frames = dir.to_str().unwrap();
            let serve = ["serve", "--frames", frames, "--listen", "0.0.0.0:0"];
            let server = Process::start(wrapped(&machine.wrapper(), &serve));
            return watch(&viewer, server.address().port(), work);
        }
        Young => When::Acknowledged,
        Eager => When::Accepted,
    };
    let listener = machine.socket(|| TcpListener::bind("0.0.0.0:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    thread::scope(|scope| {
        scope.spawn(|| bare::serve(&listener, dir, when));
        watch(&viewer, port, work)
    })
}

fn watch(viewer: &Viewer, port: u16, work: Duration) -> Got {
    let mut stream = Client::over(viewer.connect(port)).stream("/stream");
    let begun = Instant::now();
    while begun.elapsed() < WARM_UP + work * 10 {
        stream.part();
        sleep(work);
    }
    let (start, mut ages) = (Instant::now(), Vec::new());
    while start.elapsed() < MEASURED {
        ages.push(stream.part().age());
        sleep(work);
    }
    Got::new(ages, start.elapsed())
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A line of so many Mbit/s with a round trip, and a queue of 100 ms.
fn line(mbit: f64, round_trip: u64) -> Line {
    Line {
        rate: mbit * 1e6,
        round_trip: ms(round_trip),
        queue: ms(100),
        ..Line::default()
    }
}

const FRAME: usize = 100 * 1024;

/// The first of these that does not hold.
fn first_wrong(held: &[(bool, &'static str)]) -> Option<&'static str> {
    held.iter().find(|(held, _)| !held).map(|(_, what)| *what)
}

#[test]
fn on_a_smooth_near_line_frames_are_as_young_and_as_many_as_it_allows() {
    let near = line(2.0, 2);
    let cases = [Lazycam, Young].map(|sender| (sender, near.clone(), FRAME));
    measure("near", cases, ms(0), |[seen, least]| {
        first_wrong(&[
            (seen.median <= 1.08 * least.median, "old"),
            (seen.p90 <= 1.25 * least.p90, "old at times"),
            (seen.rate >= 0.93 * least.rate, "few"),
        ])
    });
}

/// A program that waits for acknowledgements loses 15 % of the frames here; one that takes their silence for a lost tail makes a queue.
#[test]
fn acknowledgements_in_clumps_cost_neither_age_nor_frames() {
    let clumps = Line {
        clump: ms(50),
        ..line(5.0, 2)
    };
    let cases = [Lazycam, Young, Eager].map(|sender| (sender, clumps.clone(), FRAME));
    measure("clumps", cases, ms(0), |[seen, least, most]| {
        first_wrong(&[
            (seen.median <= 1.2 * least.median, "old"),
            (seen.p90 <= 1.4 * least.p90, "old at times"),
            (seen.rate >= 0.93 * most.rate, "few"),
        ])
    });
}

/// A program that waits for acknowledgements gets a quarter of the frames across here; one that does not look, all of them, but each behind a queue.
#[test]
fn a_far_line_is_full_and_its_queue_is_not() {
    let far = line(20.0, 100);
    let cases = [Lazycam, Young, Eager].map(|sender| (sender, far.clone(), FRAME));
    measure("far", cases, ms(0), |[seen, least, most]| {
        first_wrong(&[
            (seen.median <= 1.35 * least.median, "old"),
            (seen.rate >= 0.8 * most.rate, "few"),
        ])
    });
}

/// The last byte of every second frame is lost. Who waits for the kernel's time-out is 200 ms late, more than a frame takes.
#[test]
fn a_lost_tail_costs_no_time_out() {
    let lost_tails = Some(LostTails {
        frame: FRAME as u32,
        bytes: 1,
    });
    let whole = line(5.0, 2);
    let lossy = Line {
        lost_tails,
        ..whole.clone()
    };
    let cases = [(Lazycam, lossy, FRAME), (Young, whole, FRAME)];
    measure("tails", cases, ms(0), |[seen, least]| {
        first_wrong(&[
            (seen.median <= 1.4 * least.median, "old"),
            (seen.p90 <= 1.7 * least.p90, "old at times"),
            (seen.rate >= 0.95 * least.rate, "few"),
        ])
    });
}

/// What it reads was taken when it came back for it, not while it worked on others.
#[test]
fn a_program_slower_than_its_line_reads_no_frame_older_than_its_work() {
    const SHORT: usize = 20 * 1024;
    let fast = line(20.0, 2);
    let cases = [Lazycam, Eager].map(|sender| (sender, fast.clone(), SHORT));
    measure("slow program", cases, ms(300), |[seen, most]| {
        first_wrong(&[
            (seen.median * seen.rate <= 1.0, "old"),
            (seen.median <= 0.25 * most.median, "as old as unlooked for"),
            (seen.rate >= 0.6 * most.rate, "few"),
        ])
    });
}
