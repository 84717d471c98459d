//! Nobody looks, nothing runs: no system call, no wake-up, and the source stands still until the first viewer asks.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use common::frames::Maker;
use common::http::Client;
use common::process::{Process, clean, has, is_emulated, is_left_alone, run, switches};
use common::producer::Feeder;
use common::{PATIENCE, Scratch, eventually, impossible, skipped};
use lazycam::time::clock::monotonic;

/// So long nothing may happen.
const SILENCE: Duration = Duration::from_secs(10);

fn fed(frames: &Path) -> (Process, Feeder) {
    let mut command = run(frames, &["--source", "stdin", "--linger", "0.5"]);
    command.stdin(Stdio::piped());
    let mut server = Process::start(command);
    let feeder = Feeder::start(server.take_stdin(), 30.0, Maker::new(20_000));
    (server, feeder)
}

fn look_for_a_while(server: &Process) {
    let mut stream = Client::connect(server.address()).stream("/stream");
    for _ in 0..10 {
        stream.part();
    }
    Client::connect(server.address()).picture("/snapshot");
}

/// Waits until a measure has not changed for a second.
fn settled<T: PartialEq>(what: &str, mut measure: impl FnMut() -> T) -> T {
    let limit = Instant::now() + PATIENCE;
    loop {
        let before = measure();
        thread::sleep(Duration::from_secs(1));
        let after = measure();
        if before == after {
            return after;
        }
        assert!(Instant::now() < limit, "never still: {what}");
    }
}

/// After the silence: the first viewer gets a frame captured after it asked.
fn look_again(server: &Process) {
    let asked = monotonic();
    let mut stream = Client::connect(server.address()).stream("/stream");
    let part = stream.frame();
    Maker::new(20_000).verify(&part.jpeg);
    let captured = part.stamp().monotonic;
    assert!(captured > asked, "{:?} too old", asked - captured);
    for _ in 0..10 {
        stream.part();
    }
}

#[test]
fn without_a_viewer_neither_process_wakes_up_and_the_source_stands_still() {
    let scratch = Scratch::new();
    let (server, feeder) = fed(&scratch.join("camera"));
    let pids = [server.pid(), server.child()];
    // Before the first viewer too: the source was never read.
    let written = settled("the source", || feeder.written());
    assert!(written < 1 << 20, "a pipe's worth, not {written}");
    look_for_a_while(&server);
    let measure = || (pids.map(switches), feeder.written());
    assert!(is_left_alone(|| {
        let before = settled("both processes and the source", measure);
        thread::sleep(SILENCE);
        measure() == before
    }));
    look_again(&server);
}

/// Whether system calls can be seen here; says so if not.
fn can_trace() -> bool {
    if is_emulated() {
        skipped("the system calls would be the emulator's");
        return false;
    }
    has("strace")
}

#[test]
fn without_a_viewer_neither_process_makes_a_system_call() {
    if !can_trace() {
        return;
    }
    let scratch = Scratch::new();
    let (server, _feeder) = fed(&scratch.join("camera"));
    look_for_a_while(&server);
    let pids = [server.pid(), server.child()];
    if let Some(traced) = silent(&pids, &scratch) {
        look_again(&server);
        eventually("the calls are traced", || traced.now() != traced.before);
    }
}

#[test]
fn neither_side_of_a_relay_makes_a_system_call_when_nobody_looks() {
    if !can_trace() {
        return;
    }
    let scratch = Scratch::new();
    let (origin, _feeder) = fed(&scratch.join("origin/camera"));
    let source = format!("http://{}/stream", origin.address());
    let flags = ["--source", &source, "--linger", "0.5"];
    let edge = Process::start(run(&scratch.join("edge/camera"), &flags));
    look_for_a_while(&edge);
    let pids = [origin.pid(), origin.child(), edge.pid(), edge.child()];
    if let Some(traced) = silent(&pids, &scratch) {
        look_again(&edge);
        let woken = || traced.now().iter().zip(&traced.before).all(|(a, b)| a != b);
        eventually("all four are traced", woken);
    }
}

/// What strace has written of some processes.
struct Traced {
    tracers: Vec<(Process, PathBuf)>,
    before: Vec<String>,
}

impl Traced {
    fn now(&self) -> Vec<String> {
        self.tracers.iter().map(|(_, out)| calls(out)).collect()
    }
}

/// Holds processes to no system call for a while; nothing if they cannot be traced.
fn silent(pids: &[u32], scratch: &Scratch) -> Option<Traced> {
    let mut traced = Traced {
        tracers: pids.iter().map(|&pid| trace(pid, scratch)).collect(),
        before: Vec::new(),
    };
    for (tracer, _) in &traced.tracers {
        let line = tracer.line("strace: ");
        if !line.contains("attached") {
            skipped(&line);
            return None;
        }
    }
    // Attaching interrupts the call that each sleeps in, once.
    traced.before = settled("all processes", || traced.now());
    thread::sleep(SILENCE);
    assert_eq!(traced.now(), traced.before);
    Some(traced)
}

#[test]
fn a_camera_that_nobody_looks_at_sleeps_while_another_is_watched() {
    let scratch = Scratch::new();
    let cameras = ["front=pattern", "bench=pattern,linger=0.5"];
    let cameras = cameras.map(|camera| ["--camera", camera]).concat();
    let server = Process::start(run(
        &scratch.join("frames"),
        &[&cameras[..], &["--size", "64x48"]].concat(),
    ));
    let line = server.line("capture of bench is process ");
    let bench: u32 = line.rsplit(' ').next().unwrap().parse().unwrap();
    let mut front = Client::connect(server.address()).stream("/front/stream");
    // It was awake, and goes back to sleep.
    Client::connect(server.address())
        .stream("/bench/stream")
        .part();
    let traced = (!is_emulated() && has("strace")).then(|| trace(bench, &scratch));
    let traced = traced.filter(|(tracer, _)| tracer.line("strace: ").contains("attached"));
    if traced.is_none() {
        impossible("system calls cannot be counted here; wake-ups are");
    }
    let measure = || (switches(bench), traced.as_ref().map(|(_, out)| calls(out)));
    assert!(is_left_alone(|| {
        let before = settled("the camera that nobody looks at", measure);
        let until = Instant::now() + SILENCE;
        let first = front.frame().number();
        while Instant::now() < until {
            front.part();
        }
        assert!(front.frame().number() > first + 100, "it was not watched");
        measure() == before
    }));
    let before = measure();
    Client::connect(server.address())
        .stream("/bench/stream")
        .part();
    eventually("it wakes up", || measure() != before);
}

fn trace(pid: u32, scratch: &Scratch) -> (Process, PathBuf) {
    let out = scratch.join(&format!("trace.{pid}"));
    let mut command = clean("strace");
    command.args(["-f", "-p", &pid.to_string(), "-o"]).arg(&out);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    (Process::start(command), out)
}

fn calls(out: &Path) -> String {
    fs::read_to_string(out).unwrap_or_default()
}
