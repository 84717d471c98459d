//! Lines: how old a frame is when its last byte is at a viewer, and how many of those that a line can carry arrive.
//!
//! ```text
//!   tests/common/producer.rs ──pipe──► lazycam capture ──► frame directory ──► program ──line──► viewer
//! ```
//!
//! A cell is a line: rate, queue, round trip, losses, clumped acknowledgements, congestion control (`cells.rs`; the line itself is
//! `tests/common/line.rs`, or a token bucket of the kernel). Each cell is measured with each program in turn: lazycam, any others
//! given with `--also`, and the two of `tests/common/bare.rs`. One of these never begins a frame before all else was acknowledged: its ages are
//! the youngest that there can be. The other sends whatever the socket takes.
//!
//! Machines differ and are shared, so the programs of one cell are to be compared with each other. Needs root, iproute2, /dev/net/tun
//! and, for `bbr`, a kernel that has it. `cargo bench --bench lines -- --help` explains the rest; `docs/performance.md` has results.

#![allow(clippy::print_stdout, reason = "tables are what this program is for")]

mod cells;
#[path = "../../tests/common/mod.rs"]
mod common;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;

use self::cells::{Cell, Link};
use self::common::Scratch;
use self::common::bare::{self, When};
use self::common::frames::Maker;
use self::common::http::Client;
use self::common::line::{Line, Pump};
use self::common::network::{Namespace, Viewer, waits_for_nobody};
use self::common::process::Process;
use self::common::producer::Feeder;

/// Frames per second.
const FPS: f64 = 30.0;

/// Measures the age of frames behind lines of many kinds.
#[derive(Debug, Parser)]
struct Flags {
    /// Only cells in whose name one of these is found, with semicolons between.
    #[arg(long, value_delimiter = ';')]
    only: Vec<String>,
    /// Seconds of a measurement, after two seconds that do not count. Slow lines take longer: 12 frames.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Seconds for which the viewer does nothing after its first frame; then two seconds do not count, as always.
    #[arg(long, default_value_t = 0.0)]
    pause: f64,
    /// Another lazycam to measure beside this one (before and after a change); may be given several times.
    #[arg(long, value_name = "PROGRAM")]
    also: Vec<PathBuf>,
    /// This lazycam instead of the one that cargo has built.
    #[arg(long, value_name = "PROGRAM")]
    lazycam: Option<PathBuf>,
    /// Only lazycam and the others given, not the bare programs.
    #[arg(long)]
    no_bare: bool,
    /// Say which congestion control by lazycam's own flag, as a user would, and not by the route. Bare programs have the route.
    #[arg(long)]
    by_flag: bool,
    /// So many cells side by side. Lines of a few Mbit/s take little of a processor.
    #[arg(long, default_value_t = 1)]
    at_once: usize,
    /// Names the cells.
    #[arg(long)]
    list: bool,
    /// Cargo says this when it means it.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let flags = Flags::parse();
    let wanted = |cell: &Cell| {
        flags.only.is_empty()
            || flags
                .only
                .iter()
                .any(|word| cell.name().contains(word.as_str()))
    };
    let cells: Vec<_> = cells::all().into_iter().filter(wanted).collect();
    if flags.list {
        cells.iter().for_each(|cell| println!("{}", cell.name()));
        return;
    }
    if !flags.bench {
        println!("not run: this is a benchmark, see cargo bench");
        return;
    }
    if !waits_for_nobody() {
        return;
    }
    println!(
        "| line | program | frames/s | of what it carries | p50, ms | p90 | max | p50 / bare | dropped |"
    );
    println!("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let programs = programs(&flags);
    let (next, table) = (AtomicUsize::new(0), Mutex::new(()));
    thread::scope(|scope| {
        for _ in 0..flags.at_once {
            scope.spawn(|| {
                while let Some(cell) = cells.get(next.fetch_add(1, Relaxed)) {
                    let rows = measure(cell, &programs, &flags);
                    let _one_at_a_time = table.lock().unwrap();
                    rows.iter().for_each(|row| println!("{row}"));
                }
            });
        }
    });
}

/// A program with the name that the table has for it.
enum Program {
    Lazycam(String, PathBuf),
    Bare(&'static str, When),
}

fn programs(flags: &Flags) -> Vec<Program> {
    let own = flags
        .lazycam
        .clone()
        .unwrap_or_else(|| env!("CARGO_BIN_EXE_lazycam").into());
    let mut programs = Vec::new();
    if !flags.no_bare {
        programs.push(Program::Bare("bare", When::Acknowledged));
    }
    programs.push(Program::Lazycam("lazycam".into(), own));
    for other in &flags.also {
        programs.push(Program::Lazycam(other.display().to_string(), other.clone()));
    }
    if !flags.no_bare {
        programs.push(Program::Bare("eager", When::Accepted));
    }
    programs
}

/// The rows of one cell.
fn measure(cell: &Cell, programs: &[Program], flags: &Flags) -> Vec<String> {
    let mut bare = None;
    let one = |program: &Program| {
        let seen = run(cell, program, flags);
        let name = match program {
            Program::Lazycam(name, _) => name,
            Program::Bare(name, _) => *name,
        };
        let [p50, p90, max] = [0.5, 0.9, 1.0].map(|part| quantile(&seen.ages, part));
        let bare = *bare.get_or_insert(p50);
        format!(
            "| {} | {name} | {:.2} | {:.3} | {p50:.0} | {p90:.0} | {max:.0} | {:.3} | {} |",
            cell.name(),
            seen.rate(),
            seen.rate() / cell.carries(),
            p50 / bare,
            seen.lost
                .map_or_else(|| "-".into(), |lost| lost.to_string())
        )
    };
    programs.iter().map(one).collect()
}

fn quantile(sorted: &[f64], part: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let at = (sorted.len() as f64 * part) as usize;
    sorted.get(at.min(last)).copied().unwrap_or(f64::NAN)
}

/// The ages of frames in milliseconds, the youngest first, and how long they took to come.
struct Seen {
    ages: Vec<f64>,
    time: Duration,
    /// Packets, from the beginning on, where the line tells.
    lost: Option<u64>,
}

impl Seen {
    fn rate(&self) -> f64 {
        self.ages.len() as f64 / self.time.as_secs_f64()
    }
}

/// One program behind one line, with frames of its own.
fn run(cell: &Cell, program: &Program, flags: &Flags) -> Seen {
    let by_flag = flags.by_flag && matches!(program, Program::Lazycam(..));
    let by_route = (!by_flag).then_some(cell.congestion);
    let scratch = Scratch::new();
    let machine = Namespace::new().expect("root and iproute2");
    let viewer = match &cell.link {
        Link::Line(line) => machine.behind(&Line {
            congestion: by_route,
            ..line.clone()
        }),
        Link::Bucket(bucket) => machine.behind_bucket(Some(bucket), by_route),
    };
    let lazycam = match program {
        Program::Lazycam(_, path) => path.clone(),
        Program::Bare(..) => env!("CARGO_BIN_EXE_lazycam").into(),
    };
    let mut capture = Command::new(&lazycam);
    capture
        .args(["capture", "--source", "stdin", "--frames"])
        .arg(scratch.path())
        .stdin(Stdio::piped());
    let mut capture = Process::start(capture);
    let _feeder = Feeder::start(capture.take_stdin(), FPS, Maker::new(cell.frame));
    match program {
        Program::Lazycam(_, path) => {
            let mut serve = Command::new("ip");
            serve.args(machine.wrapper().into_iter().skip(1)).arg(path);
            serve
                .args(["serve", "--listen", "0.0.0.0:0", "--frames"])
                .arg(scratch.path());
            if by_flag {
                serve.args(["--congestion", cell.congestion]);
            }
            let server = Process::start(serve);
            if by_flag {
                server.line(&format!("congestion control of TCP: {}", cell.congestion));
            }
            watch(cell, &viewer, server.address().port(), flags)
        }
        Program::Bare(_, when) => beside(cell, &machine, &viewer, scratch.path(), *when, flags),
    }
}

/// A bare program on a thread of this process.
fn beside(
    cell: &Cell,
    machine: &Namespace,
    viewer: &Viewer,
    dir: &Path,
    when: When,
    flags: &Flags,
) -> Seen {
    let listener = machine.socket(|| TcpListener::bind("0.0.0.0:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    thread::scope(|scope| {
        scope.spawn(|| bare::serve(&listener, dir, when));
        watch(cell, viewer, port, flags)
    })
}

fn watch(cell: &Cell, viewer: &Viewer, port: u16, flags: &Flags) -> Seen {
    let mut stream = Client::over(viewer.connect(port)).stream("/stream");
    stream.frame();
    thread::sleep(Duration::from_secs_f64(flags.pause));
    let (connected, at_least) = (Instant::now(), 12.0 / cell.carries());
    while connected.elapsed() < Duration::from_secs(2) {
        stream.frame();
    }
    let start = Instant::now();
    let mut ages = Vec::new();
    while start.elapsed().as_secs_f64() < flags.seconds.max(at_least) {
        ages.push(stream.part().age().as_secs_f64() * 1e3);
    }
    let time = start.elapsed();
    ages.sort_by(f64::total_cmp);
    let lost = viewer.pump().map(Pump::dropped);
    Seen { ages, time, lost }
}
