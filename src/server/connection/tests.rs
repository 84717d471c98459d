//! The states of a connection, step by step: what goes in, and what comes out.

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use super::outbox::FilePart;
use super::*;
use crate::picture::jpeg::Size;
use crate::server::lent::Ids;
use crate::server::remarks::Remarks;
use crate::server::roster::Roster;
use crate::server::shot::Shot;
use crate::server::stats::Stats;
use crate::server::want::{Given, ReportKind, Want};
use crate::time::clock::Moment;

mod guarded;
mod stream;

const SIZE: Size = Size {
    width: 640,
    height: 480,
};

/// The owner of a connection, with a clock that only the test moves.
struct Owner {
    now: Instant,
    wall: SystemTime,
    settings: Settings,
    roster: Roster,
    ids: Ids,
    stats: Stats,
    remarks: Remarks,
}

impl Owner {
    fn lend(&mut self) -> Lent<'_> {
        Lent {
            now: self.now,
            moment: Moment {
                wall: self.wall,
                monotonic: Duration::from_secs(1000),
            },
            settings: &self.settings,
            roster: &self.roster,
            ids: &mut self.ids,
            stats: &mut self.stats,
            remarks: &mut self.remarks,
        }
    }
}

/// A frame that the client has not had.
const FRESH: Given = Given {
    skipped: Some(0),
    is_notice: false,
};

/// A connection without a socket.
struct Scene {
    connection: Connection<()>,
    owner: Owner,
}

impl Scene {
    fn new() -> Self {
        let now = Instant::now();
        let mut roster = Roster::default();
        for name in ["front", "bench"] {
            roster.appear(&name.parse().unwrap()).unwrap();
        }
        Scene {
            connection: Connection::new(now),
            owner: Owner {
                now,
                wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_386_179),
                settings: Settings::default(),
                roster,
                ids: Ids::default(),
                stats: Stats::default(),
                remarks: Remarks::default(),
            },
        }
    }

    fn after(request: &str) -> Self {
        let mut scene = Scene::new();
        scene.receive(request);
        scene
    }

    fn receive(&mut self, bytes: impl AsRef<[u8]>) {
        let lent = &mut self.owner.lend();
        self.connection.receive(bytes.as_ref(), lent);
    }

    fn pass(&mut self, millis: u64) {
        self.owner.now += Duration::from_millis(millis);
        self.connection.expire(&mut self.owner.lend());
    }

    fn shot(&self, number: u64, size: Size) -> Shot<()> {
        Shot {
            file: Rc::new(()),
            len: 5000,
            captured: SystemTime::UNIX_EPOCH,
            taken: self.owner.now,
            picture: size,
            number,
        }
    }

    fn give(&mut self, number: u64, size: Size) {
        let answer = self.want().map_or(FRESH, |want| want.frame(number));
        let shot = self.shot(number, size);
        self.connection.give(shot, answer, &mut self.owner.lend());
    }

    fn want(&self) -> Option<Want> {
        self.connection.want(self.owner.now)
    }

    /// Takes all output, at most `step` bytes at a time; a frame shows as `<frame of N>`.
    fn take(&mut self, step: usize) -> String {
        let mut taken = String::new();
        while let Some(output) = self.connection.output() {
            let mut n = output.head.len().min(step);
            taken.push_str(std::str::from_utf8(&output.head[..n]).unwrap());
            if let Some(FilePart { offset, len, .. }) = output.file {
                if offset == 0 && n < step {
                    taken.push_str(&format!("<frame of {len}>"));
                }
                n += (step - n).min(len as usize);
            }
            let of_tail = output.tail.len().min(step - n);
            taken.push_str(std::str::from_utf8(&output.tail[..of_tail]).unwrap());
            n += of_tail;
            self.connection.sent(n, &mut self.owner.lend());
        }
        taken
    }

    fn replies(&mut self) -> Vec<String> {
        self.take(usize::MAX)
            .split("HTTP/1.")
            .skip(1)
            .map(|reply| reply[2..5].to_owned())
            .collect()
    }
}

const STREAM: &str = "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n";
const SNAPSHOT: &str = "GET /snapshot HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn requests_are_answered_in_order_however_they_are_cut() {
    let requests =
        format!("{SNAPSHOT}HEAD /stream.mjpg?x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let nothing = "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n";
    let input = format!("{nothing}OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n{requests}");
    for step in 1..input.len() {
        let mut scene = Scene::new();
        let mut seen = Vec::new();
        for piece in input.as_bytes().chunks(step) {
            scene.receive(piece);
            seen.extend(scene.replies());
            if matches!(scene.want(), Some(Want::Snapshot { .. })) {
                scene.give(1, SIZE);
                seen.extend(scene.replies());
            }
        }
        assert_eq!(seen, ["404", "200", "200", "200"], "in pieces of {step}");
        assert!(scene.connection.take_shutdown());
    }
}

#[test]
fn a_snapshot_tells_how_old_its_frame_is() {
    let mut scene = Scene::after(SNAPSHOT);
    let shot = scene.shot(1, SIZE);
    scene.pass(31);
    scene.connection.give(shot, FRESH, &mut scene.owner.lend());
    assert!(scene.take(100).contains("\r\nX-Frame-Age: 0.031000\r\n"));
}

#[test]
fn a_snapshot_is_refused_by_a_picture_or_in_words_and_the_connection_goes_on() {
    for (accept, is_picture) in [
        ("", true),
        ("Accept: */*\r\n", true),
        ("Accept: image/avif,image/webp,*/*;q=0.8\r\n", true),
        ("Accept: text/html,image/avif,*/*;q=0.8\r\n", false),
        ("Accept: application/json\r\n", false),
    ] {
        let request = format!("GET /snapshot HTTP/1.1\r\nHost: a\r\n{accept}\r\n");
        let mut scene = Scene::after(&request);
        assert!(matches!(scene.want(), Some(Want::Snapshot { .. })));
        let picture = scene.shot(1, SIZE);
        let why = "ünplugged\r\nX: y";
        scene
            .connection
            .give_refusal(why, Some(picture), &mut scene.owner.lend());
        let reply = scene.take(usize::MAX);
        assert!(reply.starts_with("HTTP/1.1 503 "), "{reply}");
        assert!(reply.contains("\r\nRetry-After: "), "{reply}");
        assert!(reply.contains("\r\nX-Frame-Error: ?nplugged??X: y\r\n"));
        let end = match is_picture {
            true => "\r\nContent-Type: image/jpeg\r\nContent-Length: 5000\r\n\r\n<frame of 5000>",
            false => "\r\n\r\nthere is no picture for you now; try again: ?nplugged??X: y\n",
        };
        assert!(reply.ends_with(end), "{reply}");
        scene.receive(SNAPSHOT);
        assert!(scene.want().is_some());
    }
}

#[test]
fn a_request_that_does_not_end_is_a_408_and_one_that_does_not_begin_nothing() {
    let mut scene = Scene::after("GET /stream HT");
    scene.pass(9_999);
    assert_eq!(scene.take(100), "");
    scene.receive("TP");
    scene.pass(1);
    assert!(scene.take(100).starts_with("HTTP/1.1 408 "));
    assert!(scene.connection.take_shutdown());

    let mut scene = Scene::new();
    scene.pass(15_000);
    assert_eq!(scene.take(100), "");
    assert_eq!(scene.connection.closed(), Some(CloseReason::Idle));
}

#[test]
fn a_client_that_closes_its_side_still_gets_what_it_asked_for() {
    let mut scene = Scene::after(SNAPSHOT);
    scene.connection.end_of_input();
    scene.give(1, SIZE);
    assert!(scene.take(100).ends_with("<frame of 5000>"));
    assert_eq!(scene.connection.closed(), Some(CloseReason::Done));
}

#[test]
fn a_stopping_server_finishes_the_frame_and_begins_nothing() {
    let mut scene = Scene::after(STREAM);
    scene.give(1, SIZE);
    scene.connection.stop(&mut scene.owner.lend());
    assert!(scene.take(100).ends_with("--boundarydonotcross\r\n"));
    assert!(scene.connection.take_shutdown());
    assert_eq!(scene.want(), None);

    let mut waiting = Scene::after(STREAM);
    waiting.take(100);
    waiting.connection.stop(&mut waiting.owner.lend());
    assert!(waiting.connection.take_shutdown());

    let mut snapshot = Scene::after(SNAPSHOT);
    snapshot.connection.stop(&mut snapshot.owner.lend());
    assert!(snapshot.take(100).starts_with("HTTP/1.1 503 "));
}

#[test]
fn a_client_that_is_turned_away_is_told_so_before_it_has_asked() {
    let mut scene = Scene::new();
    scene.connection = Connection::turned_away(&mut scene.owner.lend());
    let reply = scene.take(100);
    assert!(reply.starts_with("HTTP/1.1 503 "), "{reply}");
    assert!(reply.contains("Connection: close"), "{reply}");
    assert!(
        reply.contains("\r\n\r\nthere are too many connections"),
        "{reply}"
    );
    assert!(scene.connection.take_shutdown());
}

#[test]
fn asking_for_heads_and_options_wants_no_frame() {
    for method in ["HEAD", "OPTIONS"] {
        for path in ["/stream", "/snapshot", "/?action=stream", "/"] {
            let mut scene = Scene::after(&format!("{method} {path} HTTP/1.0\r\n\r\n"));
            assert_eq!(scene.want(), None, "{method} {path}");
            let reply = scene.take(100);
            assert!(reply.contains(" 200 OK\r\n"), "{reply}");
            assert!(reply.ends_with("\r\n\r\n"), "{reply}");
        }
    }
}

#[test]
fn what_follows_the_last_request_is_taken_and_forgotten() {
    for request in [
        "GET /snapshot HTTP/1.0\r\n\r\n",
        "GET /snapshot HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n",
    ] {
        let mut scene = Scene::after(request);
        for _ in 0..64 {
            assert!(scene.connection.takes_input());
            scene.receive([b'x'; 1024]);
        }
        assert!(scene.connection.input.is_empty());
        assert!(!scene.connection.takes_input());
        scene.give(1, SIZE);
        scene.receive(SNAPSHOT);
        assert_eq!(scene.replies(), ["200"]);
        assert!(scene.connection.take_shutdown());
        assert_eq!(scene.want(), None);
    }
}

#[test]
fn a_viewer_that_sends_without_end_is_closed() {
    let mut scene = Scene::after(STREAM);
    scene.receive([b'x'; 65_535]);
    assert_eq!(scene.connection.closed(), None);
    scene.receive(b"x");
    assert_eq!(scene.connection.closed(), Some(CloseReason::TooMuchInput));
}

#[test]
fn input_is_bounded_while_a_reply_goes_out() {
    let mut scene = Scene::after(SNAPSHOT);
    for _ in 0..100 {
        if !scene.connection.takes_input() {
            break;
        }
        scene.receive([b'x'; 1024]);
    }
    assert!(!scene.connection.takes_input());
    assert!(scene.connection.input.len() <= MAX_HEAD);
}

#[test]
fn what_a_client_is_told_of_the_time_is_what_the_owner_knows() {
    let mut scene = Scene::after(SNAPSHOT);
    scene.give(1, SIZE);
    let reply = scene.take(usize::MAX);
    for field in [
        "Date: Sun, 22 Nov 2026 22:22:59 GMT",
        "X-UStreamer-Send-Timestamp: 1000.000000",
    ] {
        assert!(reply.contains(&format!("\r\n{field}\r\n")), "{reply}");
    }
    let mut scene = Scene::after(STREAM);
    let id = scene.connection.quirks().unwrap().id;
    let cookie = format!("\r\nSet-Cookie: stream_client=0/{id:x};");
    assert!(scene.take(usize::MAX).contains(&cookie), "{cookie}");
    assert_ne!(scene.owner.ids.draw(), id);
}
