//! The states of a connection, step by step: what goes in, and what comes out.

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use super::state::PROOF_LIMIT;
use super::*;
use crate::picture::jpeg::Size;
use crate::server::lent::Ids;
use crate::server::remarks::Remarks;
use crate::server::roster::Roster;
use crate::server::shot::Shot;
use crate::server::stats::Stats;
use crate::server::want::{Given, ReportKind, Want};
use crate::time::clock::Moment;

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
            let n = match output {
                Output::Bytes { bytes, .. } => {
                    let n = bytes.len().min(step);
                    taken.push_str(std::str::from_utf8(&bytes[..n]).unwrap());
                    n
                }
                Output::File { offset, len, .. } => {
                    if offset == 0 {
                        taken.push_str(&format!("<frame of {len}>"));
                    }
                    (len as usize).min(step)
                }
            };
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
fn a_stream_sends_head_boundary_frame_and_delimiter_in_this_order() {
    for step in [1, 7, usize::MAX] {
        let mut scene = Scene::after(STREAM);
        let head = scene.take(step);
        assert!(head.starts_with("HTTP/1.0 200 OK\r\n"), "{head}");
        assert!(head.ends_with("\r\n\r\n--boundarydonotcross\r\n"), "{head}");
        scene.give(1, SIZE);
        assert_eq!(scene.want(), None, "one frame at a time");
        assert_eq!(
            scene.take(step),
            "Content-Type: image/jpeg\r\nContent-Length: 5000\r\nX-Timestamp: 0.000000\r\n\r\n\
             <frame of 5000>\r\n--boundarydonotcross\r\n"
        );
        assert!(matches!(
            scene.want(),
            Some(Want::Stream { have: Some(1), .. })
        ));
    }
}

#[test]
fn a_frame_that_is_there_goes_out_with_the_head() {
    let mut scene = Scene::after(STREAM);
    assert!(matches!(
        scene.want(),
        Some(Want::Stream { have: None, .. })
    ));
    scene.give(1, SIZE);
    let Some(Output::Bytes { bytes, more }) = scene.connection.output() else {
        panic!("no output");
    };
    assert!(more, "the frame follows at once");
    assert!(bytes.starts_with(b"HTTP/1.0 200"));
    assert!(bytes.ends_with(b"X-Timestamp: 0.000000\r\n\r\n"));
}

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
fn a_viewer_that_closes_its_side_has_left() {
    let mut scene = Scene::after(STREAM);
    scene.connection.end_of_input();
    assert_eq!(scene.connection.closed(), Some(CloseReason::Left));
}

#[test]
fn a_stream_ends_with_a_delimiter_when_the_picture_changes_its_size() {
    let mut scene = Scene::after(STREAM);
    scene.give(1, SIZE);
    scene.take(100);
    scene.give(2, Size { width: 320, ..SIZE });
    assert_eq!(scene.take(100), "");
    assert!(scene.connection.take_shutdown());
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
fn a_stream_wants_a_repeat_when_nothing_was_sent_for_a_while() {
    let mut scene = Scene::after(STREAM);
    scene.give(1, SIZE);
    scene.take(100);
    scene.pass(4_999);
    assert!(matches!(
        scene.want(),
        Some(Want::Stream { repeat: false, .. })
    ));
    scene.pass(1);
    assert!(matches!(
        scene.want(),
        Some(Want::Stream { repeat: true, .. })
    ));
    scene.connection.give_nothing(None, &scene.owner.lend());
    let later = scene.owner.now + Duration::from_secs(5);
    assert_eq!(
        scene.connection.deadline(&scene.owner.settings),
        Some(later),
        "a deadline in the past would be met again at once, for ever"
    );
    scene.pass(5_000);
    scene.give(1, SIZE);
    assert_eq!(scene.owner.stats.repeats, 1);
}

#[test]
fn a_repeat_is_due_so_long_after_the_system_has_taken_the_last_frame() {
    let mut scene = Scene::after(STREAM);
    scene.give(1, SIZE);
    // The line is slow.
    scene.pass(6_000);
    scene.take(1000);
    let repeats = |scene: &Scene| match scene.want() {
        Some(Want::Stream { repeat, .. }) => repeat,
        other => panic!("{other:?}"),
    };
    assert!(!repeats(&scene));
    scene.pass(4_999);
    assert!(!repeats(&scene));
    scene.pass(1);
    assert!(repeats(&scene));
    // The camera is asked first, and the stream has to wait for it until then.
    let until = scene.owner.now + Duration::from_secs(2);
    scene
        .connection
        .give_nothing(Some(until), &scene.owner.lend());
    assert_eq!(
        scene.connection.deadline(&scene.owner.settings),
        Some(until)
    );
    scene.pass(2_000);
    assert!(repeats(&scene));
}

#[test]
fn a_rate_is_kept_on_a_grid_without_making_up_for_what_was_missed() {
    let mut scene = Scene::after("GET /stream?fps=10 HTTP/1.0\r\n\r\n");
    let start = scene.owner.now;
    let not_before = |scene: &Scene| match scene.want() {
        Some(Want::Stream { not_before, .. }) => not_before.saturating_duration_since(start),
        other => panic!("{other:?}"),
    };
    scene.give(1, SIZE);
    scene.take(100);
    assert_eq!(not_before(&scene), Duration::from_millis(100));
    scene.pass(97);
    scene.give(2, SIZE);
    scene.take(100);
    assert_eq!(not_before(&scene), Duration::from_millis(200));
    scene.pass(1000);
    scene.give(3, SIZE);
    scene.take(100);
    assert_eq!(not_before(&scene), Duration::from_millis(1097));
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

const CREDENTIAL: &str =
    "GET /favicon.ico HTTP/1.1\r\nHost: a\r\nAuthorization: Basic YTpi\r\n\r\n";

/// A guarded connection that waits for a proof.
fn on_trial() -> Scene {
    let mut scene = Scene::new();
    scene.connection = Connection::guarded(scene.owner.now);
    ask(&mut scene);
    scene
}

fn ask(scene: &mut Scene) {
    scene.receive(CREDENTIAL);
    assert!(scene.connection.take_credential().is_some());
    assert!(scene.connection.take_credential().is_none());
}

#[track_caller]
fn expect(scene: &mut Scene, status: &str, connection: &str) {
    let answer = scene.take(usize::MAX);
    let head = format!("HTTP/1.1 {status} ");
    assert!(answer.starts_with(&head), "{answer}");
    let field = format!("Connection: {connection}\r\n");
    assert!(answer.contains(&field), "{answer}");
}

#[test]
fn who_is_wrong_is_told_when_it_is_time_and_who_is_right_at_once() {
    let mut scene = on_trial();
    let until = scene.owner.now + Duration::from_secs(1);
    scene.connection.keep_out(until);
    scene.pass(500);
    assert!(scene.connection.output().is_none());
    scene.pass(500);
    expect(&mut scene, "401", "keep-alive");
    ask(&mut scene);
    scene.connection.let_in(&mut scene.owner.lend());
    expect(&mut scene, "204", "keep-alive");
    // Only once: the next request may be from somebody else.
    ask(&mut scene);
}

#[test]
fn what_cannot_be_proved_is_refused_in_the_end_and_so_is_what_is_not_looked_at() {
    let mut scene = on_trial();
    scene.pass(PROOF_LIMIT.as_millis() as u64 - 1000);
    assert!(scene.connection.output().is_none());
    scene.pass(1000);
    expect(&mut scene, "503", "close");
    let mut scene = on_trial();
    let lent = &mut scene.owner.lend();
    scene.connection.send_away("not looked at", lent);
    let reply = scene.take(1000);
    assert!(reply.starts_with("HTTP/1.1 503 "), "{reply}");
    assert!(reply.ends_with("\r\n\r\nnot looked at\n"), "{reply}");
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

#[test]
fn paths_of_devices_are_told_to_this_machine_and_to_who_has_a_password() {
    let ask = "GET /state HTTP/1.1\r\nHost: a\r\nAuthorization: Basic YTpi\r\n\r\n";
    let now = Instant::now();
    for (connection, told) in [
        (Connection::new(now), false),
        (Connection::new(now).near(), true),
        (Connection::guarded(now), true),
    ] {
        let mut scene = Scene::new();
        scene.connection = connection;
        scene.receive(ask);
        scene.connection.let_in(&mut scene.owner.lend());
        let camera = Some(0);
        let report = ReportKind::State {
            camera,
            details: told,
        };
        assert_eq!(scene.connection.wants_report(), Some(report));
    }
}
