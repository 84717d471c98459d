//! Viewers that have left without closing their connection: a browser whose user is on another page, a program that hangs.
//!
//! Their system goes on taking what comes, until its buffer is full. What `--stall-timeout` promises counts from when their program stopped
//! reading all the same. It is judged by a viewer whose system takes next to nothing and who reads nothing from the beginning, beside it.

use std::thread;
use std::time::{Duration, Instant};

use crate::common::frames::Maker;
use crate::common::heartbeat::Heartbeat;
use crate::common::http::Client;
use crate::common::line::Line;
use crate::common::network::Namespace;
use crate::common::process::{Process, is_emulated, lazycam, sockets, wrapped};
use crate::common::producer::Camera;
use crate::common::{PATIENCE, Scratch, impossible};

const STALL: &str = "4";

/// Frames that a viewer reads before it leaves: its system has learned by then to take much for it.
const READ: usize = 90;

/// A server and the way to it.
struct Scene {
    server: Process,
    _camera: Camera,
    _frames: Scratch,
    maker: Maker,
}

impl Scene {
    /// With `wrapper` before the server's command line.
    fn new(wrapper: &[&str]) -> Self {
        let (frames, maker) = (Scratch::new(), Maker::new(40_000));
        let camera = Camera::start(frames.path(), 30.0, maker.clone());
        let directory = frames.path().to_str().unwrap();
        let words = [
            "serve",
            "--frames",
            directory,
            "--stall-timeout",
            STALL,
            "--listen",
            "0.0.0.0:0",
        ];
        let command = if wrapper.is_empty() {
            lazycam(&words)
        } else {
            wrapped(wrapper, &words)
        };
        let server = Process::start(command);
        Scene {
            server,
            _camera: camera,
            _frames: frames,
            maker,
        }
    }

    /// A viewer that reads and then leaves, one that has never read, and one that works on each frame for a second, at the other ends of
    /// these connections. When the first of them is given up, and when the second.
    fn given_up(&self, [leaves, never, slow]: [Client; 3]) -> (Duration, Duration) {
        let mut leaving = leaves.stream("/stream");
        let mut slow = slow.stream("/stream");
        for _ in 0..READ {
            leaving.number(&self.maker);
        }
        let all = sockets(self.server.pid());
        let mut never = never;
        never.request("GET", "/stream");
        let (start, mut first) = (Instant::now(), None);
        loop {
            // Whoever works on each frame is not taken for one that has left.
            slow.part();
            let worked = Instant::now();
            while worked.elapsed() < Duration::from_secs(1) {
                thread::sleep(Duration::from_millis(20));
                assert!(start.elapsed() < PATIENCE, "{}", self.server.log());
                match all - sockets(self.server.pid()) {
                    0 => {}
                    1 => first = first.or(Some(start.elapsed())),
                    _ => {
                        slow.part();
                        drop((leaving, never));
                        let second = start.elapsed();
                        return (first.unwrap_or(second), second);
                    }
                }
            }
        }
    }
}

/// As soon, but for the looks: a machine that stands still for a while adds to either.
#[track_caller]
fn expect_as_soon(name: &str, mut attempt: impl FnMut() -> (Duration, Duration)) {
    for left in (0..3).rev() {
        let heartbeat = Heartbeat::start();
        let (first, second) = attempt();
        let stalled = heartbeat.stalled();
        if second.as_secs_f64() <= 1.5 * first.as_secs_f64() {
            return;
        }
        let told = format!("{name}: {second:?} after {first:?}, stood still for {stalled:?}");
        assert!(left > 0, "{told}");
    }
}

#[test]
fn a_viewer_that_stops_reading_is_given_up_as_soon_as_one_that_never_read() {
    if is_emulated() {
        return impossible("an emulator tells nothing of windows");
    }
    let scene = Scene::new(&[]);
    let address = ([127, 0, 0, 1], scene.server.address().port()).into();
    expect_as_soon("on this machine", || {
        scene.given_up([
            Client::connect(address),
            Client::connect_narrow(address),
            Client::connect(address),
        ])
    });
}

#[test]
fn so_it_is_at_the_other_end_of_a_long_line() {
    let Some(machine) = Namespace::new() else {
        return;
    };
    if is_emulated() {
        return impossible("an emulator tells nothing of windows");
    }
    let line = Line {
        round_trip: Duration::from_millis(40),
        ..Line::default()
    };
    let far = machine.behind(&line);
    let scene = Scene::new(&machine.wrapper());
    let port = scene.server.address().port();
    let here = ([127, 0, 0, 1], port).into();
    expect_as_soon("at 40 ms", || {
        scene.given_up([
            Client::over(far.connect(port)),
            machine.socket(|| Client::connect_narrow(here)),
            Client::over(far.connect(port)),
        ])
    });
}
