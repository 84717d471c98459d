//! Floods: many connections at once, from one address or many, with slow heads, slow readers and nothing at all. Who
//! watches goes on watching, limits hold, and when the flood is gone everything is as it was.
//!
//! Small ones, for every test run; the big ones, with figures, are those of `benches/floods`.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod common;

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use common::frames::Maker;
use common::http::{Client, Stream, connect_from, expect_new_frame};
use common::network::{Namespace, Viewer};
use common::process::{Process, is_emulated, lazycam, serve, sockets, wrapped};
use common::producer::Camera;
use common::{Scratch, eventually, skipped};
use lazycam::time::clock::monotonic;

/// Frames of these tests.
const BYTES: usize = 20_000;

struct Rig {
    server: Process,
    viewer: Stream,
    /// Sockets of the server with that viewer and nobody else.
    sockets: usize,
    _camera: Camera,
    scratch: Scratch,
}

impl Rig {
    fn new(flags: &[&str]) -> Self {
        let scratch = Scratch::new();
        let camera = Camera::start(scratch.path(), 30.0, Maker::new(BYTES));
        let server = serve(scratch.path(), flags);
        let mut viewer = Client::connect(server.address()).stream("/stream");
        viewer.part();
        Rig {
            sockets: sockets(server.pid()),
            server,
            viewer,
            _camera: camera,
            scratch,
        }
    }

    /// The one that was there before goes on getting frames that are captured after this call.
    #[track_caller]
    fn expect_new_frames(&mut self) {
        for _ in 0..3 {
            expect_new_frame(&mut self.viewer);
        }
    }

    /// All others have gone, and have left nothing behind.
    #[track_caller]
    fn expect_nothing_left(&mut self) {
        eventually("the flood's sockets are closed", || {
            sockets(self.server.pid()) <= self.sockets
        });
        self.expect_new_frames();
        let held = self.metric("lazycam_held_bytes");
        assert!(held <= 4 * BYTES as u64, "{held}");
    }

    fn metric(&self, series: &str) -> u64 {
        metric(self.server.address(), series)
    }
}

/// One value of /metrics.
#[track_caller]
fn metric(address: SocketAddr, series: &str) -> u64 {
    let body = Client::connect(address).get("/metrics").body;
    let text = String::from_utf8(body).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    let value = line.unwrap_or_else(|| panic!("no {series} in {text}"));
    value.trim().parse().unwrap()
}

#[test]
fn one_address_takes_no_more_than_its_share_and_others_come_in() {
    let mut rig = Rig::new(&["--max-clients", "8", "--max-clients-per-address", "3"]);
    let address = rig.server.address();
    let mut own: Vec<_> = (0..3)
        .map(|_| connect_from(1, address).stream("/stream"))
        .collect();
    for _ in 0..50 {
        let mut more = connect_from(1, address);
        let reply = more.reply();
        assert_eq!(reply.head.status, 503);
        assert!(reply.head.field("Retry-After").is_some());
        more.expect_end();
    }
    // Who has the same share already watches on, and so do those that are within it.
    rig.expect_new_frames();
    for stream in &mut own {
        stream.part();
    }
    // Another address is not asked to wait, and 50 are counted for what they are.
    let mut other = connect_from(2, address).stream("/stream");
    other.part();
    let turned_away = "lazycam_connections_turned_away_total";
    assert_eq!(
        rig.metric(&format!("{turned_away}{{reason=\"address\"}}")),
        50
    );
    assert_eq!(rig.metric(&format!("{turned_away}{{reason=\"all\"}}")), 0);
    rig.server
        .line("turned away 127.0.9.1: it has 3 connections already");
    // Its place is its own again when one of its clients has left.
    own.pop();
    eventually("its place is free", || {
        let mut next = connect_from(1, address);
        next.try_send(b"GET /state HTTP/1.0\r\n\r\n").is_ok() && next.head().status == 200
    });
}

#[test]
fn who_is_beyond_its_share_makes_nobody_else_give_way() {
    let rig = Rig::new(&["--max-clients", "4", "--max-clients-per-address", "2"]);
    let address = rig.server.address();
    let mut own: Vec<_> = (0..2)
        .map(|_| connect_from(1, address).stream("/stream"))
        .collect();
    for stream in &mut own {
        stream.part();
    }
    // The last place is that of somebody who has asked before, and was silent for longer than one is let be then.
    let mut stranger = connect_from(2, address);
    assert_eq!(stranger.get("/favicon.ico").head.status, 204);
    thread::sleep(Duration::from_secs(1));
    for _ in 0..5 {
        assert_eq!(connect_from(1, address).reply().head.status, 503);
    }
    assert_eq!(stranger.get("/favicon.ico").head.status, 204);
    // It does for one who is within its share.
    thread::sleep(Duration::from_secs(1));
    let mut other = connect_from(3, address).stream("/stream");
    other.part();
}

#[test]
fn a_storm_from_one_address_beyond_its_share_keeps_nobody_else_out() {
    let mut rig = Rig::new(&["--max-clients", "8", "--max-clients-per-address", "2"]);
    let address = rig.server.address();
    // Nobody of these hears or says anything, so that none leaves by itself.
    let storm: Vec<_> = (0..150).map(|_| connect_from(1, address)).collect();
    let mut other = connect_from(2, address).stream("/stream");
    other.part();
    rig.expect_new_frames();
    drop((storm, other));
    rig.expect_nothing_left();
}

#[test]
fn a_unix_socket_has_no_address_and_so_no_share() {
    let scratch = Scratch::new();
    let _camera = Camera::start(scratch.path(), 30.0, Maker::new(BYTES));
    let path = scratch.join("socket");
    let flags = ["--listen", path.to_str().unwrap()];
    let server = serve(
        scratch.path(),
        &[&flags[..], &["--max-clients-per-address", "1"]].concat(),
    );
    server.lines("listening on ", 2);
    let mut viewers: Vec<_> = (0..4)
        .map(|_| Client::connect_unix(&path).stream("/stream"))
        .collect();
    for viewer in &mut viewers {
        viewer.part();
    }
    let mut one = Client::connect(server.address()).stream("/stream");
    one.part();
    assert_eq!(Client::connect(server.address()).reply().head.status, 503);
}

#[test]
fn an_address_of_ipv6_has_a_share_too() {
    let scratch = Scratch::new();
    let _camera = Camera::start(scratch.path(), 30.0, Maker::new(BYTES));
    let frames = scratch.path().to_str().unwrap();
    if TcpStream::connect("[::1]:9").is_err_and(|error| error.raw_os_error() == Some(99)) {
        return skipped("no IPv6 on loopback");
    }
    let server = Process::start(lazycam(&[
        "serve",
        "--frames",
        frames,
        "--listen",
        "[::1]:0",
        "--max-clients-per-address",
        "1",
    ]));
    let mut one = Client::connect(server.address()).stream("/stream");
    one.part();
    assert_eq!(Client::connect(server.address()).reply().head.status, 503);
    server.line("turned away ::1: it has 1 connections already");
}

#[test]
fn slow_heads_and_silent_peers_cost_a_viewer_nothing_and_little_memory() {
    let mut rig = Rig::new(&["--max-clients", "400"]);
    let address = rig.server.address();
    let before = anonymous(&rig.server);
    let mut crowd: Vec<_> = (0..300).map(|_| Client::connect(address)).collect();
    for client in crowd.iter_mut().skip(2).step_by(2) {
        client.send("GET /stream HTTP/1.1\r\nHost: te");
    }
    eventually("all are there", || {
        sockets(rig.server.pid()) == rig.sockets + 300
    });
    rig.expect_new_frames();
    if !is_emulated() {
        // Less than 2 KiB each; with a page each it would be 1200.
        let grown = anonymous(&rig.server).saturating_sub(before);
        assert!(grown < 900, "{grown} KiB for 300 peers");
    }
    // The last byte of a head is answered as if nothing had been. Its first one came late, for it has ten seconds.
    crowd[0].send("GET /stream HTTP/1.1\r\nHost: te");
    rig.expect_new_frames();
    crowd[0].send("st\r\n\r\n");
    assert_eq!(crowd[0].head().status, 200);
    drop(crowd);
    rig.expect_nothing_left();
}

#[test]
fn when_all_places_are_taken_the_longest_silent_gives_way() {
    let mut rig = Rig::new(&["--max-clients", "4"]);
    let address = rig.server.address();
    let mut first = Client::connect(address);
    let mut others: Vec<_> = (0..2).map(|_| Client::connect(address)).collect();
    // One that has asked before, and one in the middle of asking.
    assert_eq!(others[0].get("/favicon.ico").head.status, 204);
    others[1].send("GET /sta");
    let mut viewer = None;
    eventually("somebody who asks gets a place", || {
        let mut next = Client::connect(address);
        let asked = next.try_send(b"GET /stream HTTP/1.0\r\n\r\n");
        let served = asked.is_ok() && next.head().status == 200;
        viewer = served.then_some(next);
        served
    });
    first.expect_end();
    // One place was enough: the others are still where they were, and who watches is never asked to leave.
    assert_eq!(others[0].get("/favicon.ico").head.status, 204);
    others[1].send("te HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(others[1].reply().head.status, 200);
    rig.expect_new_frames();
}

#[test]
fn readers_that_take_nothing_hold_no_more_than_is_set_aside_for_them() {
    let mut rig = Rig::new(&["--max-held", "1"]);
    let address = rig.server.address();
    let mut crowd = Vec::new();
    for number in 0..100 {
        let mut client = Client::connect_tiny(address);
        client.request("GET", "/stream");
        crowd.push(client);
        if number % 10 == 0 {
            rig.expect_new_frames();
            let held = rig.metric("lazycam_held_bytes");
            // What is set aside, and the newest frame.
            assert!(held <= (1 << 20) + BYTES as u64, "{held}");
        }
    }
    drop(crowd);
    rig.expect_nothing_left();
}

#[test]
fn storms_that_break_off_leave_nothing_behind() {
    let mut rig = Rig::new(&["--max-clients", "32"]);
    let address = rig.server.address();
    for _ in 0..10 {
        let crowd: Vec<_> = (0..100)
            .map(|number| {
                let mut client = Client::connect(address);
                // Some are reset, because they leave with something unread.
                let _ = match number % 3 {
                    0 => client.try_send(b"GET /stream HTTP/1.1\r\nHost: test\r\n\r\n"),
                    1 => client.try_send(b"GET /snapshot HTTP/1.1\r\nHost: test\r\n\r\nGET"),
                    _ => Ok(()),
                };
                client
            })
            .collect();
        rig.expect_new_frames();
        drop(crowd);
    }
    rig.expect_nothing_left();
    assert!(rig.scratch.path().is_dir());
}

/// A server on another machine, which has sixteen places; somebody who watches it from a second one; a third one, whose
/// owner means ill; and those who only want to look.
struct Town {
    server: Process,
    viewer: Stream,
    stranger: Viewer,
    newcomers: Viewer,
    _neighbour: Viewer,
    _camera: Camera,
    _scratch: Scratch,
}

/// The right name and password of [`Town`], and the line of its file.
const ANNA: &str = "Authorization: Basic YW5uYTpzZWNyZXQ=\r\n";
const USERS: &str = "anna:$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA\n";

impl Town {
    /// `None`, said loudly, where no network can be made.
    fn new(more: &[&str], credential: &str) -> Option<Self> {
        let scratch = Scratch::new();
        let namespace = Namespace::new()?;
        let camera = Camera::start(&scratch.join("frames"), 30.0, Maker::new(BYTES));
        let [neighbour, stranger, newcomers] = [(); 3].map(|()| namespace.viewer(None));
        let frames = scratch.join("frames");
        let mut words = vec!["serve", "--frames", frames.to_str().unwrap()];
        words.extend(["--listen", "8080", "--max-clients", "16"]);
        let users = scratch.join("users");
        fs::write(&users, USERS).unwrap();
        if !credential.is_empty() {
            words.extend(["--auth", users.to_str().unwrap()]);
        }
        words.extend(more);
        let server = Process::start(wrapped(&namespace.wrapper(), &words));
        server.line("listening on ");
        let mut viewer = Client::over(neighbour.connect(8080));
        viewer.send(get("/stream", credential));
        let mut viewer = viewer.begin_stream();
        viewer.part();
        Some(Town {
            server,
            viewer,
            stranger,
            newcomers,
            _neighbour: neighbour,
            _camera: camera,
            _scratch: scratch,
        })
    }

    /// As many connections as anybody may have, by both families, each of which asks for as much as it can and reads
    /// nothing.
    fn attack(&self, target: &str) -> Vec<Client> {
        let ask = get(target, "").repeat(20);
        let socket = |number| match number % 2 {
            0 => self.stranger.connect(8080),
            _ => self.stranger.connect_by_ipv6(8080),
        };
        let crowd = (0..64).map(|number| {
            let mut client = Client::over(socket(number));
            let _ = client.try_send(ask.as_bytes());
            client
        });
        crowd.collect()
    }

    /// How many of twenty who come one after the other get a picture within three seconds.
    fn served(&self, credential: &str) -> usize {
        let is_served = |_: &usize| {
            let begun = monotonic();
            // Who left a moment ago may still be counted, so one may have to ask again, as browsers and programs do.
            while monotonic() - begun < Duration::from_secs(3) {
                let mut client = Client::over(self.newcomers.connect(8080));
                let asked = client.try_send(get("/snapshot", credential).as_bytes());
                if asked.is_ok() && client.reply().head.status == 200 {
                    return true;
                }
                thread::sleep(Duration::from_millis(100));
            }
            false
        };
        (0..20).filter(is_served).count()
    }

    /// Who watched before goes on watching.
    #[track_caller]
    fn expect_new_frames(&mut self) {
        for _ in 0..10 {
            expect_new_frame(&mut self.viewer);
        }
    }
}

fn get(target: &str, more: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: 10.99.1.1\r\n{more}\r\n")
}

#[test]
fn who_knows_no_password_takes_no_place_from_who_does() {
    let Some(mut town) = Town::new(&[], ANNA) else {
        return;
    };
    let crowd = town.attack("/stream");
    assert_eq!(town.served(ANNA), 20);
    town.expect_new_frames();
    drop(crowd);
}

#[test]
fn one_host_with_addresses_of_both_families_keeps_nobody_out() {
    let Some(mut town) = Town::new(&[], "") else {
        return;
    };
    let crowd = town.attack("/stream");
    assert_eq!(town.served(""), 20);
    town.expect_new_frames();
    let held = anonymous(&town.server);
    assert!(is_emulated() || held < 4096, "{held} KiB");
    drop(crowd);
}

/// RssAnon of /proc/PID/status, in KiB.
fn anonymous(server: &Process) -> u64 {
    let path = format!("/proc/{}/status", server.pid());
    let status = fs::read_to_string(Path::new(&path)).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let value = line.unwrap().trim().trim_end_matches(" kB");
    value.parse().unwrap()
}
