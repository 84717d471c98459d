//! Fan-out: what a frame costs per viewer, and how old it is on arrival.
//!
//! ```text
//!   frames.rs ──rename──► frame directory ──► server under test ──loopback──► viewers.rs
//!   (a thread)                            (contestant.rs: a process)         (this thread)
//! ```
//!
//! Each number is shown beside that of `reference.rs`, a bare program that only does epoll and sendfile, measured in
//! the same run and in turn. Machines differ and are shared, but the ratios of neighbouring measurements are
//! meaningful all the same.
//!
//! | part | measures |
//! | --- | --- |
//! | `fanout` | CPU per frame and viewer, age at the last byte, share of the frames delivered, memory |
//! | `storm` | visits that take one frame each: time to the first frame, CPU per visit |
//! | `memory` | resident memory without viewers, and per waiting viewer |
//! | `start` | from exec to listening |
//!
//! `cargo bench --bench fanout -- --help` explains the rest; `docs/performance.md` has results and how to repeat
//! them. Not measured here: slow lines (which are in `tests/`) and the producer's cost.

#![allow(clippy::print_stdout, reason = "tables are what this program is for")]

mod contestant;
mod frames;
mod reference;
mod viewers;

use std::fmt;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};

use self::contestant::{Contestant, Memory, Running};
use self::frames::{Camera, Directory};
use self::reference::How;
use self::viewers::{Crowd, storm};

/// Any error ends the run.
type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Something that was not as expected.
#[derive(Debug)]
struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

const FPS: u32 = 30;

/// Time for connections to reach their window, and buffers their size.
const WARM_UP: Duration = Duration::from_secs(1);

const STORM_VISITS: usize = 2000;
const STORM_AT_A_TIME: usize = 50;
const STORM_LIMIT: Duration = Duration::from_secs(20);
const STORM_FRAME_KB: usize = 100;

const STARTS: usize = 50;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Fanout,
    Storm,
    Memory,
    Start,
}

/// Measures lazycam's server against a bare one, by turns, on loopback.
#[derive(Debug, Parser)]
struct Flags {
    /// What to measure.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Part::value_variants().to_vec())]
    parts: Vec<Part>,
    /// Viewers at a time.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 100, 500])]
    viewers: Vec<usize>,
    /// Frame sizes in KB (of 1000 bytes).
    #[arg(long, value_delimiter = ',', default_values_t = [20, 100, 400])]
    kb: Vec<usize>,
    /// How often each program has its turn.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of a turn, beside the warm-up.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// 10 and 100 viewers of 100 KB, short turns.
    #[arg(long)]
    quick: bool,
    /// Another lazycam to measure beside this one (before and after a change); may be given several times.
    #[arg(long, value_name = "PROGRAM")]
    also: Vec<PathBuf>,
    /// Measure other ways to send a frame as well: read once and one sendmsg per viewer; sendfile, corked.
    #[arg(long)]
    ways: bool,
    /// Let the system place the processes; else the server gets one processor and the load another.
    #[arg(long)]
    no_pin: bool,

    /// Be the reference and serve this directory.
    #[arg(long, hide = true, value_name = "DIR")]
    reference: Option<PathBuf>,
    #[arg(long, hide = true, value_enum, default_value = "sendfile")]
    how: How,
    /// Cargo says this when it means it.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Outcome<()> {
    let mut flags = Flags::parse();
    if let Some(dir) = &flags.reference {
        return reference::run(dir, flags.how);
    }
    if !flags.bench {
        println!("not run: this is a benchmark, see cargo bench");
        return Ok(());
    }
    if flags.quick {
        (flags.viewers, flags.kb) = (vec![10, 100], vec![100]);
        (flags.rounds, flags.seconds) = (flags.rounds.min(3), flags.seconds.min(1.5));
    }
    let bench = Bench::new(flags)?;
    for part in &bench.flags.parts {
        match part {
            Part::Fanout => bench.fanout()?,
            Part::Storm => bench.storm()?,
            Part::Memory => bench.memory()?,
            Part::Start => bench.start()?,
        }
        println!();
    }
    Ok(())
}

struct Bench {
    flags: Flags,
    contestants: Vec<Contestant>,
    directory: Directory,
    /// The processor for the server.
    cpu: Option<usize>,
}

/// One turn of one program in one cell.
struct Turn {
    cpu_per_frame: f64,
    delivered: f64,
    age_p50: f64,
    age_p99: f64,
    rss: f64,
}

impl Bench {
    fn new(flags: Flags) -> Outcome<Self> {
        let mut contestants = vec![
            Contestant::Reference(How::Sendfile),
            Contestant::Lazycam {
                name: "lazycam".into(),
                program: env!("CARGO_BIN_EXE_lazycam").into(),
            },
        ];
        for program in &flags.also {
            contestants.push(Contestant::Lazycam {
                name: program.display().to_string(),
                program: program.clone(),
            });
        }
        if flags.ways {
            contestants.extend([How::Copy, How::Cork].map(Contestant::Reference));
        }
        let cpus = thread::available_parallelism()?.get();
        let pinned = !flags.no_pin && cpus > 1;
        if pinned {
            contestant::pin(None, 1)?;
        }
        Ok(Bench {
            contestants,
            directory: Directory::new()?,
            cpu: pinned.then_some(0),
            flags,
        })
    }

    fn run(&self, contestant: &Contestant) -> Outcome<Running> {
        contestant.start(&self.directory.frames(), self.cpu)
    }

    /// Runs all contestants in turn; returns the results of the turns for each of them.
    fn by_turns<T>(
        &self,
        mut turn: impl FnMut(&Contestant) -> Outcome<T>,
    ) -> Outcome<Vec<(&Contestant, Vec<T>)>> {
        let mut turns: Vec<_> = self.contestants.iter().map(|c| (c, Vec::new())).collect();
        for _ in 0..self.flags.rounds {
            for (contestant, results) in &mut turns {
                let result = turn(contestant);
                results.push(result.map_err(|error| format!("{}: {error}", contestant.name()))?);
            }
        }
        Ok(turns)
    }

    fn fanout(&self) -> Outcome<()> {
        println!(
            "| KB | viewers | program | CPU us per frame and viewer | ratio | age p50 ms | age p99 ms | delivered | RSS KiB |"
        );
        println!("| ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |");
        for &kb in &self.flags.kb {
            let camera = Camera::start(&self.directory.frames(), kb * 1000, FPS)?;
            for &viewers in &self.flags.viewers {
                let turns = self.by_turns(|contestant| {
                    camera.vouch_for(self.watch(contestant, &camera, viewers))
                })?;
                let reference = &turns[0].1;
                for (contestant, turns) in &turns {
                    let of = |value: fn(&Turn) -> f64| median(turns.iter().map(value));
                    let ratios = turns.iter().zip(reference);
                    let ratio = median(ratios.map(|(a, b)| a.cpu_per_frame / b.cpu_per_frame));
                    println!(
                        "| {kb} | {viewers} | {} | {:.1} | {ratio:.2} | {:.1} | {:.1} | {:.1} % | {:.0} |",
                        contestant.name(),
                        of(|turn| turn.cpu_per_frame) * 1e6,
                        of(|turn| turn.age_p50) * 1e3,
                        of(|turn| turn.age_p99) * 1e3,
                        of(|turn| turn.delivered) * 100.0,
                        of(|turn| turn.rss),
                    );
                }
            }
        }
        Ok(())
    }

    fn watch(&self, contestant: &Contestant, camera: &Camera, viewers: usize) -> Outcome<Turn> {
        let server = self.run(contestant)?;
        let mut crowd = Crowd::connect(server.address, viewers)?;
        crowd.watch(Instant::now() + WARM_UP)?;
        let (cpu, published) = (server.cpu()?, camera.published());
        let time = Duration::from_secs_f64(self.flags.seconds);
        let mut ages = crowd.watch(Instant::now() + time)?;
        let cpu = (server.cpu()? - cpu).as_secs_f64();
        let offered = (camera.published() - published) as f64 * viewers as f64;
        if ages.is_empty() {
            return Err(Failure(format!("{} delivered nothing", contestant.name())).into());
        }
        ages.sort_unstable();
        Ok(Turn {
            cpu_per_frame: cpu / ages.len() as f64,
            delivered: ages.len() as f64 / offered,
            age_p50: quantile(&ages, 0.5),
            age_p99: quantile(&ages, 0.99),
            rss: server.memory()?.rss as f64,
        })
    }

    fn storm(&self) -> Outcome<()> {
        println!(
            "{STORM_VISITS} visits, {STORM_AT_A_TIME} at a time, one frame of {STORM_FRAME_KB} KB each:\n"
        );
        println!(
            "| program | first frame p50 ms | p99 ms | ratio of p99 | CPU us per visit | ratio |"
        );
        println!("| --- | ---: | ---: | ---: | ---: | ---: |");
        let camera = Camera::start(&self.directory.frames(), STORM_FRAME_KB * 1000, FPS)?;
        let turns = self.by_turns(|contestant| camera.vouch_for(self.visit(contestant)))?;
        drop(camera);
        let reference = &turns[0].1;
        for (contestant, turns) in &turns {
            let of = |index: usize| median(turns.iter().map(|turn| turn[index]));
            let ratio = |index: usize| {
                let pairs = turns.iter().zip(reference);
                median(pairs.map(|(a, b)| a[index] / b[index]))
            };
            println!(
                "| {} | {:.1} | {:.1} | {:.2} | {:.0} | {:.2} |",
                contestant.name(),
                of(0) * 1e3,
                of(1) * 1e3,
                ratio(1),
                of(2) * 1e6,
                ratio(2),
            );
        }
        Ok(())
    }

    /// First frame p50 and p99, CPU per visit; in seconds.
    fn visit(&self, contestant: &Contestant) -> Outcome<[f64; 3]> {
        let server = self.run(contestant)?;
        // So that it has frames, and knows how often they come.
        let mut crowd = Crowd::connect(server.address, 1)?;
        crowd.watch(Instant::now() + WARM_UP)?;
        let cpu = server.cpu()?;
        let mut times = storm(server.address, STORM_VISITS, STORM_AT_A_TIME, STORM_LIMIT)?;
        let cpu = (server.cpu()? - cpu).as_secs_f64() / STORM_VISITS as f64;
        times.sort_unstable();
        Ok([quantile(&times, 0.5), quantile(&times, 0.99), cpu])
    }

    fn memory(&self) -> Outcome<()> {
        println!("| program | viewers | VmRSS KiB | RssAnon | RssFile | KiB per viewer |");
        println!("| --- | ---: | ---: | ---: | ---: | ---: |");
        let camera = Camera::start(&self.directory.frames(), 20_000, 5)?;
        for contestant in &self.contestants {
            let server = self.run(contestant)?;
            thread::sleep(WARM_UP);
            let idle = server.memory()?;
            print_memory(contestant, 0, idle, idle);
            for viewers in [1, 100, 500] {
                let server = self.run(contestant)?;
                let mut crowd = Crowd::connect(server.address, viewers)?;
                crowd.watch(Instant::now() + 2 * WARM_UP)?;
                print_memory(contestant, viewers, server.memory()?, idle);
            }
        }
        drop(camera);
        Ok(())
    }

    fn start(&self) -> Outcome<()> {
        println!("| program | from exec to listening, median of {STARTS}, ms | slowest |");
        println!("| --- | ---: | ---: |");
        for contestant in &self.contestants {
            let starts = (0..STARTS).map(|_| Ok(self.run(contestant)?.started_in));
            let mut times = starts.collect::<Outcome<Vec<Duration>>>()?;
            times.sort_unstable();
            println!(
                "| {} | {:.2} | {:.2} |",
                contestant.name(),
                quantile(&times, 0.5) * 1e3,
                quantile(&times, 1.0) * 1e3,
            );
        }
        Ok(())
    }
}

fn print_memory(contestant: &Contestant, viewers: usize, memory: Memory, idle: Memory) {
    let per_viewer = (memory.rss as f64 - idle.rss as f64) / viewers.max(1) as f64;
    println!(
        "| {} | {viewers} | {} | {} | {} | {per_viewer:.2} |",
        contestant.name(),
        memory.rss,
        memory.anon,
        memory.file,
    );
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// In seconds; `sorted` must be sorted and not empty.
fn quantile(sorted: &[Duration], quantile: f64) -> f64 {
    let last = sorted.len() - 1;
    sorted[(last as f64 * quantile).round() as usize].as_secs_f64()
}
