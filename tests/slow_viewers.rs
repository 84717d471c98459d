//! Viewers behind slow links: what they get is whole, newer each time, and as fresh as the link allows.
//!
//! A frame's age is measured, not assumed: each carries the moment of its capture by the clock that all processes of
//! this machine share. The links are pairs of virtual Ethernet devices with a token bucket (tc-tbf(8)) between network
//! namespaces, which takes root; without it these tests say that they are skipped.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod common;

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use common::Scratch;
use lazycam::capture::stamp::{Stamp, monotonic};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The frames of these tests: 100 KiB, 30 per second.
const FRAME: usize = 100 * 1024;
const FPS: u32 = 30;

/// Two links measured at once on one machine would measure each other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

#[test]
fn a_slow_viewer_alone_stays_close_to_the_floor_at_1_mbit() {
    alone(
        1_000_000,
        Duration::from_millis(80),
        Duration::from_secs(30),
    );
}

#[test]
fn a_slow_viewer_alone_stays_close_to_the_floor_at_5_mbit() {
    alone(
        5_000_000,
        Duration::from_millis(25),
        Duration::from_secs(20),
    );
}

#[allow(non_snake_case)]
fn DELAY() -> u32 {
    std::env::var("DELAY").map_or(0, |d| d.parse().unwrap())
}
#[test]
fn far() {
    let Some(rig) = Rig::new() else { return };
    let rate = std::env::var("RATE").map_or(1_000_000_000, |d| d.parse().unwrap());
    let v = rig.viewer(Some(rate), DELAY());
    let seen = v.watch(rig.server, Duration::from_secs(10));
    let report = Report::of(&seen, rate, Duration::from_secs(10));
    eprintln!("{report:?}");
}

fn alone(rate: u32, allowance: Duration, duration: Duration) {
    let Some(rig) = Rig::new() else { return };
    let slow = rig.viewer(Some(rate), DELAY());
    let seen = slow.watch(rig.server, duration);
    let report = Report::of(&seen, rate, duration);
    eprintln!("{report:?}");
    report.is_sound();
    assert!(report.median_age <= report.floor + allowance, "{report:?}");
    assert!(report.rate_used >= 0.95, "{report:?}");
}

#[test]
fn a_slow_viewer_stays_in_the_present_and_a_fast_one_beside_it_gets_every_frame() {
    let Some(rig) = Rig::new() else { return };
    let duration = Duration::from_secs(30);
    let (slow, fast) = (rig.viewer(Some(1_000_000), 0), rig.viewer(None, 0));
    let server = rig.server;
    let (slow, fast) = thread::scope(|scope| {
        let slow = scope.spawn(|| slow.watch(server, duration));
        let fast = scope.spawn(|| fast.watch(server, duration));
        (slow.join().unwrap(), fast.join().unwrap())
    });
    let report = Report::of(&slow, 1_000_000, duration);
    eprintln!("slow: {report:?}");
    report.is_sound();
    let fast_report = Report::of(&fast, 1_000_000_000, duration);
    eprintln!("fast: {fast_report:?}");
    fast_report.is_sound();
    let missed = fast
        .windows(2)
        .filter(|pair| pair[1].frame != pair[0].frame + 1)
        .count();
    assert!(missed == 0, "{missed}");
}

/// A frame as a viewer got it.
#[derive(Clone, Copy, Debug)]
struct Seen {
    frame: u64,
    /// From its capture to its last byte.
    age: Duration,
}

#[derive(Debug)]
struct Report {
    frames: usize,
    floor: Duration,
    median_age: Duration,
    worst_age: Duration,
    /// Median age in the first and in the last third: a queue that grows shows here.
    thirds: (Duration, Duration),
    increasing: bool,
    rate_used: f64,
}

impl Report {
    fn of(seen: &[Seen], rate: u32, duration: Duration) -> Self {
        let mut ages: Vec<_> = seen.iter().map(|seen| seen.age).collect();
        let median = |ages: &[Duration]| {
            let mut ages = ages.to_vec();
            ages.sort();
            ages[ages.len() / 2]
        };
        let third = ages.len() / 3;
        let thirds = (median(&ages[..third]), median(&ages[ages.len() - third..]));
        let median_age = median(&ages);
        ages.sort();
        // What the link carries: 1514 bytes on the wire for 1448 of payload, as tc-tbf(8) counts.
        let wire = (FRAME as f64 + 150.0) * 8.0 * 1514.0 / 1448.0;
        let possible = duration.as_secs_f64() * f64::from(rate) / wire;
        Report {
            frames: seen.len(),
            floor: Duration::from_secs_f64(FRAME as f64 * 8.0 / f64::from(rate)),
            median_age,
            worst_age: *ages.last().unwrap(),
            thirds,
            increasing: seen.windows(2).all(|pair| pair[0].frame < pair[1].frame),
            rate_used: seen.len() as f64 / possible,
        }
    }

    fn is_sound(&self) {
        assert!(self.increasing, "{self:?}");
        assert!(
            self.thirds.1 < self.thirds.0 * 3 / 2 + Duration::from_millis(50),
            "{self:?}"
        );
    }
}

/// A server in a namespace of its own, with a capture process that it asks for frames.
struct Rig {
    server: SocketAddr,
    namespace: Namespace,
    next_link: AtomicU32,
    ended: Arc<AtomicBool>,
    children: Vec<Child>,
    _scratch: Scratch,
    _one_at_a_time: MutexGuard<'static, ()>,
}

impl Rig {
    fn new() -> Option<Self> {
        let guard = ONE_AT_A_TIME
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let namespace = Namespace::new()?;
        let scratch = Scratch::new();
        let binary = std::env::var("LAZYCAM_BIN").unwrap_or(env!("CARGO_BIN_EXE_lazycam").into());
        let mut capture = Command::new(&binary)
            .args(["capture", "--source", "stdin", "--frames"])
            .arg(scratch.path())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let stdin = capture.stdin.take().unwrap();
        thread::spawn({
            let ended = Arc::clone(&ended);
            move || generate(stdin, &ended)
        });
        let server = Command::new("ip")
            .args([
                "netns",
                "exec",
                &namespace.0,
                &binary,
                "serve",
                "--listen",
                "8080",
                "--frames",
            ])
            .arg(scratch.path())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_millis(500));
        Some(Rig {
            server: (Ipv4Addr::LOCALHOST, 8080).into(),
            namespace,
            next_link: AtomicU32::new(1),
            ended,
            children: vec![server, capture],
            _scratch: scratch,
            _one_at_a_time: guard,
        })
    }

    /// A viewer's machine, behind a link of this many bits per second.
    fn viewer(&self, rate: Option<u32>, delay: u32) -> Viewer {
        let number = self.next_link.fetch_add(1, Ordering::Relaxed);
        let own = Namespace::new().unwrap();
        let (server, link) = (&self.namespace.0, format!("link{number}"));
        run(&[
            "ip", "-n", server, "link", "add", &link, "type", "veth", "peer", "name", "link",
            "netns", &own.0,
        ]);
        run(&[
            "ip",
            "-n",
            server,
            "address",
            "add",
            &format!("10.99.{number}.1/24"),
            "dev",
            &link,
        ]);
        run(&["ip", "-n", server, "link", "set", "dev", &link, "up"]);
        run(&[
            "ip",
            "-n",
            &own.0,
            "address",
            "add",
            &format!("10.99.{number}.2/24"),
            "dev",
            "link",
        ]);
        run(&["ip", "-n", &own.0, "link", "set", "dev", "link", "up"]);
        if delay > 0 {
            run(&[
                "tc",
                "-n",
                &own.0,
                "qdisc",
                "add",
                "dev",
                "link",
                "root",
                "netem",
                "delay",
                &format!("{delay}ms"),
            ]);
        }
        if let Some(rate) = rate {
            let rate = rate.to_string();
            let burst = std::env::var("BURST").unwrap_or("16k".into());
            let latency = std::env::var("LATENCY").unwrap_or("50ms".into());
            run(&[
                "tc", "-n", server, "qdisc", "add", "dev", &link, "root", "tbf", "rate", &rate,
                "burst", &burst, "latency", &latency,
            ]);
        }
        Viewer {
            namespace: own,
            number,
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Writes frames at the steps of a camera's clock; a step at which the pipe is full is missed.
fn generate(mut stdin: impl Write, ended: &AtomicBool) {
    let start = Instant::now();
    let mut step = 0;
    while !ended.load(Ordering::Relaxed) {
        let jpeg = frame(u64::from(step));
        if stdin.write_all(&jpeg).is_err() {
            return;
        }
        step = (start.elapsed().as_secs_f64() * f64::from(FPS)) as u32 + 1;
        let next = start + Duration::from_secs(1) * step / FPS;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

fn frame(number: u64) -> Vec<u8> {
    let stamp = Stamp::now(number).to_string();
    let mut bytes = vec![0xFF, 0xD8, 0xFF, 0xFE];
    bytes.extend(u16::try_from(stamp.len() + 2).unwrap().to_be_bytes());
    bytes.extend(stamp.as_bytes());
    bytes.extend(&common::jpeg(0)[2..]);
    let filling = FRAME - bytes.len();
    let at = bytes.len() - 2;
    bytes.splice(at..at, std::iter::repeat_n(0x55, filling));
    bytes
}

struct Viewer {
    namespace: Namespace,
    number: u32,
}

impl Viewer {
    fn watch(&self, server: SocketAddr, duration: Duration) -> Vec<Seen> {
        let address = SocketAddr::from((
            Ipv4Addr::new(10, 99, u8::try_from(self.number).unwrap(), 1),
            server.port(),
        ));
        let namespace = File::open(format!("/run/netns/{}", self.namespace.0)).unwrap();
        thread::spawn(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            watch(address, duration)
        })
        .join()
        .unwrap()
    }
}

fn watch(address: SocketAddr, duration: Duration) -> Vec<Seen> {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.write_all(b"GET /stream HTTP/1.0\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    let mut seen = Vec::new();
    let mut end = None;
    let mut chunk = vec![0; 64 * 1024];
    while end.is_none_or(|end| Instant::now() < end) {
        let n = socket.read(&mut chunk).unwrap();
        assert!(n > 0);
        let now = monotonic();
        bytes.extend_from_slice(&chunk[..n]);
        while let Some(start) = bytes.windows(2).position(|at| at == [0xFF, 0xD8]) {
            if bytes.len() < start + FRAME {
                break;
            }
            let jpeg = &bytes[start..start + FRAME];
            lazycam::frames::jpeg::check(jpeg).unwrap();
            let stamp = Stamp::find(jpeg).unwrap();
            if end.is_none() {
                end = Some(Instant::now() + duration);
            } else {
                seen.push(Seen {
                    frame: stamp.frame,
                    age: now - stamp.monotonic,
                });
            }
            bytes.drain(..start + FRAME);
        }
    }
    if std::env::var("TRACE").is_ok() {
        for s in &seen {
            eprintln!("{} {:?}", s.frame, s.age);
        }
    }
    seen
}

/// A network namespace with its loopback up, removed at the end.
struct Namespace(String);

impl Namespace {
    fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "lazycam-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let added = Command::new("ip").args(["netns", "add", &name]).status();
        if !added.is_ok_and(|status| status.success()) {
            eprintln!("SKIPPED: no network namespaces here (root and iproute2 are needed)");
            return None;
        }
        run(&["ip", "-n", &name, "link", "set", "lo", "up"]);
        Some(Namespace(name))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

fn run(command: &[&str]) {
    let status = Command::new(command[0])
        .args(&command[1..])
        .status()
        .unwrap();
    assert!(status.success(), "{command:?}");
}
