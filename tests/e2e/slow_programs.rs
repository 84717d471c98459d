//! Programs that work on each frame for longer than a frame interval, as computer vision does: how old is what they get when they come back?
//!
//! Counted in frames: what a program reads was the newest, but for one, or is newer, at the moment at which it had read the one before. So it is
//! as old as the work took, and not as old as several times that.

use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::common::frames::Maker;
use crate::common::http::{Client, Stream};
use crate::common::network::Namespace;
use crate::common::process::{Process, is_emulated, serve, wrapped};
use crate::common::producer::Camera;
use crate::common::{Scratch, eventually, impossible};

const WORK: Duration = Duration::from_millis(300);

/// How many frames were published between the one that a program reads and the moment at which it had read the one before, for each of the last eight.
fn behind(stream: &mut Stream, camera: &Camera) -> Vec<u64> {
    // Before it is known what the program is like, it may get older ones.
    for _ in 0..4 {
        stream.part();
        sleep(WORK);
    }
    stream.part();
    let one = || {
        let newest = camera.published();
        sleep(WORK);
        newest.saturating_sub(stream.part().number())
    };
    std::iter::repeat_with(one).take(8).collect()
}

#[test]
fn a_program_on_a_unix_socket_gets_frames_that_were_begun_when_it_had_read_the_last() {
    for len in [5_000, 20_000, 100_000] {
        let (scratch, frames) = (Scratch::new(), Scratch::new());
        let socket = scratch.join("socket");
        let server = serve(frames.path(), &["--listen", socket.to_str().unwrap()]);
        server.address();
        let camera = Camera::start(frames.path(), 30.0, Maker::new(len));
        let mut stream = Client::connect_unix(&socket).stream("/stream");
        let behind = behind(&mut stream, &camera);
        let late = behind.iter().filter(|frames| **frames > 1).count();
        assert!(late <= 2, "{len} bytes: {behind:?} frames behind");
        // What the program will find is there, but nothing behind it; and what it found was read after the work. A server that
        // gets no processor meanwhile begins a frame later.
        eventually("/state tells both", || {
            stream.part();
            sleep(WORK);
            let reply = Client::connect(server.address()).get("/state");
            let state: Value = serde_json::from_slice(&reply.body).unwrap();
            let viewer = &state["result"]["lazycam"]["viewers"][0];
            let in_flight = viewer["bytes_in_flight"].as_u64().unwrap() as usize;
            let age = viewer["age_at_last_byte"].as_f64().unwrap();
            (len..len * 2).contains(&in_flight) && age > 0.9 * WORK.as_secs_f64()
        });
    }
}

/// Of the last half of some thirty frames, at most a quarter may be older than the aim: what came before it was known to be slow is read first.
#[track_caller]
fn catches_up(name: &str, stream: &mut Stream, camera: &Camera) {
    let behind: Vec<_> = (0..4).flat_map(|_| behind(stream, camera)).collect();
    let late = behind[16..].iter().filter(|frames| **frames > 2).count();
    assert!(late <= 4, "{name}: {behind:?} frames behind");
}

/// Whether Linux takes much for a program that does not read. Where it does not, or is another system, nothing has to be found out.
fn takes_much() -> bool {
    let rmem = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_rmem").unwrap_or_default();
    let most = rmem
        .split_whitespace()
        .nth(2)
        .and_then(|most| most.parse().ok());
    if is_emulated() || most.is_none_or(|most: u32| most < 4 << 20) {
        impossible(
            "a Linux with little memory for sockets, or none, is not told from other systems",
        );
        return false;
    }
    true
}

#[test]
fn a_program_on_a_tcp_socket_gets_frames_that_were_begun_when_it_had_read_the_last() {
    if !takes_much() {
        return;
    }
    std::thread::scope(|scope| {
        for len in [20_000, 100_000] {
            scope.spawn(move || {
                let frames = Scratch::new();
                let server = serve(frames.path(), &[]);
                let camera = Camera::start(frames.path(), 30.0, Maker::new(len));
                let mut stream = Client::connect(server.address()).stream("/stream");
                catches_up(&format!("{len} bytes"), &mut stream, &camera);
            });
        }
    });
}

#[test]
fn a_program_behind_a_cable_or_4_mbit_gets_frames_that_were_begun_when_it_had_read_the_last() {
    let Some(machine) = Namespace::new().filter(|_| takes_much()) else {
        return;
    };
    let cells = [(20_000, None), (100_000, None), (100_000, Some(4_000_000))];
    let cells = cells.map(|(len, rate)| (len, rate, machine.viewer(rate)));
    std::thread::scope(|scope| {
        for (len, rate, viewer) in &cells {
            let wrapper = machine.wrapper();
            scope.spawn(move || {
                let frames = Scratch::new();
                let flags = [
                    "serve",
                    "--frames",
                    frames.path().to_str().unwrap(),
                    "--listen",
                    "0.0.0.0:0",
                ];
                let server = Process::start(wrapped(&wrapper, &flags));
                let camera = Camera::start(frames.path(), 30.0, Maker::new(*len));
                let socket = viewer.connect(server.address().port());
                let mut stream = Client::over(socket).stream("/stream");
                catches_up(&format!("{len} bytes, {rate:?}"), &mut stream, &camera);
            });
        }
    });
}
