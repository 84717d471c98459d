//! A connection from its first byte to its end, under any order of what can happen to it.
//!
//! The input is a row of steps, separated by NUL. A step's first byte says what happens:
//! `r` the client sends the rest; `R` the same, byte by byte; `s` some of what waits is sent; `S` all of it; `g` and `G` there
//! is a frame, of one size or another; `n` there is none, `f` none in time, `F` the same with a picture that says so;
//! `t` time passes; `p` a report is ready; `e` the client sends no more; `c` a camera goes; `x` the server ends. If all of it
//! begins with `!`, the connection is guarded (`--auth`), and `a` says what becomes of the credential that waits: `ay` it
//! was right, `an` it was wrong, `aa` it is not looked at. `k` says that the controls that are wanted were set, `K` that there
//! is no answer. Controls may be set by everybody, or where it is guarded by who has proved a password.
#![no_main]

use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use lazycam::picture::jpeg::Size;
use lazycam::server::connection::Connection;
use lazycam::server::lent::{Ids, Lent};
use lazycam::server::remarks::Remarks;
use lazycam::server::roster::Roster;
use lazycam::server::settings::{Setters, Settings};
use lazycam::server::shot::Shot;
use lazycam::server::stats::{CloseReason, Stats};
use lazycam::server::want::Want;
use lazycam::time::clock::Moment;
use libfuzzer_sys::fuzz_target;

/// Header fields that this server sends. Another one would be a client's, got in through a target or an origin.
const FIELDS: [&str; 32] = [
    "Access-Control-Allow-Credentials",
    "Access-Control-Allow-Headers",
    "Access-Control-Allow-Methods",
    "Access-Control-Allow-Origin",
    "Access-Control-Expose-Headers",
    "Allow",
    "Cache-Control",
    "Connection",
    "Content-Length",
    "Content-Security-Policy",
    "Content-Type",
    "Date",
    "ETag",
    "Expires",
    "Location",
    "Pragma",
    "Referrer-Policy",
    "Retry-After",
    "Set-Cookie",
    "Vary",
    "WWW-Authenticate",
    "X-Accel-Buffering",
    "X-Content-Type-Options",
    "X-Frame-Age",
    "X-Frame-Error",
    "X-Timestamp",
    "X-UStreamer-Dropped",
    "X-UStreamer-Grab-Timestamp",
    "X-UStreamer-Height",
    "X-UStreamer-Online",
    "X-UStreamer-Send-Timestamp",
    "X-UStreamer-Width",
];

fuzz_target!(|input: &[u8]| {
    let (guarded, input) = match input.strip_prefix(b"!") {
        Some(rest) => (true, rest),
        None => (false, input),
    };
    let mut scene = Scene::new(guarded);
    for step in input.split(|byte| *byte == 0) {
        scene.step(step);
        scene.check();
    }
    scene.end();
});

/// The owner of the connection.
struct Owner {
    now: Instant,
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
                wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
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

struct Scene {
    connection: Connection<()>,
    owner: Owner,
    frames: u64,
    /// At the beginning of an answer: nothing of it was sent.
    fresh: bool,
    /// Credentials that were right, if they are asked for.
    proofs: Option<u64>,
    /// Snapshots and reports that were given.
    given: u64,
    over: Option<CloseReason>,
}

impl Scene {
    fn new(guarded: bool) -> Self {
        let now = Instant::now();
        let mut roster = Roster::default();
        for name in ["front", "bench"] {
            roster.appear(&name.parse().unwrap()).unwrap();
        }
        Scene {
            connection: if guarded {
                Connection::guarded(now)
            } else {
                Connection::new(now)
            },
            owner: Owner {
                now,
                settings: Settings {
                    setters: if guarded {
                        Setters::Known
                    } else {
                        Setters::Everybody
                    },
                    ..Settings::default()
                },
                roster,
                ids: Ids::default(),
                stats: Stats::default(),
                remarks: Remarks::default(),
            },
            frames: 0,
            fresh: true,
            proofs: guarded.then_some(0),
            given: 0,
            over: None,
        }
    }

    fn step(&mut self, step: &[u8]) {
        let Some((what, rest)) = step.split_first() else {
            return;
        };
        match what {
            b'r' => self.receive(rest),
            b'R' => rest.chunks(1).for_each(|byte| self.receive(byte)),
            b's' => self.send(usize::from(rest.first().copied().unwrap_or(1)).max(1)),
            b'S' => self.send_all(),
            b'g' => self.give(640),
            b'G' => self.give(320),
            b'n' => self.connection.give_nothing(None, &self.owner.lend()),
            b'f' => self.refuse(false),
            b'F' => self.refuse(true),
            b't' => self.pass(100 * u64::from(rest.first().copied().unwrap_or(1))),
            b'p' => self.report(),
            b'k' => self.set(Ok(vec!["set a=1".into(), "refused b=2: no".into()])),
            b'K' => self.set(Err("no answer")),
            b'e' => self.connection.end_of_input(),
            b'c' => {
                let camera = usize::from(rest.first().copied().unwrap_or(0) & 1);
                self.connection.camera_gone(camera, self.owner.now);
            }
            b'a' => self.examine(rest.first().copied().unwrap_or(b'y')),
            b'x' => self.connection.stop(&mut self.owner.lend()),
            _ => {}
        }
    }

    /// As the owner does: nothing is read while there is no room.
    fn receive(&mut self, bytes: &[u8]) {
        if self.connection.takes_input() {
            self.connection.receive(bytes, &mut self.owner.lend());
        }
    }

    fn pass(&mut self, millis: u64) {
        self.owner.now += Duration::from_millis(millis);
        self.connection.expire(&mut self.owner.lend());
    }

    /// A frame, if one is wanted, as the owner gives it.
    fn give(&mut self, width: u16) {
        let Some(want) = self.connection.want(self.owner.now) else {
            return;
        };
        assert!(want.camera() < 2, "there are two cameras: {want:?}");
        let streams = matches!(want, Want::Stream { .. });
        let shot = self.shot(width);
        let given = want.frame(shot.number);
        self.connection.give(shot, given, &mut self.owner.lend());
        if !streams {
            self.given += 1;
            assert!(
                self.connection.want(self.owner.now).is_none(),
                "one snapshot is one frame"
            );
        }
    }

    /// No frame came in time for a snapshot, if one is wanted.
    fn refuse(&mut self, with_picture: bool) {
        let Some(Want::Snapshot { .. }) = self.connection.want(self.owner.now) else {
            return;
        };
        let picture = with_picture.then(|| self.shot(640));
        let lent = &mut self.owner.lend();
        self.connection
            .give_refusal("no picture in time", picture, lent);
        assert!(
            self.connection.want(self.owner.now).is_none(),
            "one refusal is enough"
        );
    }

    fn shot(&mut self, width: u16) -> Shot<()> {
        self.frames += 1;
        Shot {
            file: Rc::new(()),
            len: 500,
            captured: SystemTime::UNIX_EPOCH,
            taken: self.owner.now,
            picture: Size { width, height: 480 },
            number: self.frames,
        }
    }

    /// What becomes of the credential that waits, if one does.
    fn examine(&mut self, verdict: u8) {
        if self.connection.take_credential().is_none() {
            return;
        }
        let proofs = self.proofs.as_mut().expect("nobody asks for a password");
        match verdict {
            b'y' => {
                *proofs += 1;
                self.connection.let_in(&mut self.owner.lend());
            }
            b'n' => self
                .connection
                .keep_out(self.owner.now + Duration::from_secs(1)),
            _ => self.connection.send_away("not looked at", &mut self.owner.lend()),
        }
    }

    fn report(&mut self) {
        if self.connection.wants_report().is_some() {
            self.given += 1;
            let report = Some(("text/plain", self.shot(0)));
            self.connection
                .give_report(report, &mut self.owner.lend());
            assert!(self.connection.wants_report().is_none());
        }
    }

    /// What becomes of the controls that are wanted, if some are: each is one line, and they come out of one body.
    fn set(&mut self, answer: Result<Vec<String>, &str>) {
        let Some(wished) = self.connection.wants_setting() else {
            return;
        };
        assert!(wished.camera < 2 && !wished.wishes.is_empty());
        let of_line = |c: char| !c.is_control();
        for wish in wished.wishes {
            assert!(wish.len() <= 165 && wish.contains('=') && wish.chars().all(of_line), "{wish:?}");
        }
        self.given += 1;
        self.connection.give_setting(answer, &mut self.owner.lend());
        assert!(self.connection.wants_setting().is_none(), "one body is one wish");
    }

    fn send_all(&mut self) {
        // What a few pipelined requests can ask for is far below this.
        for _ in 0..100_000 {
            if self.connection.output().is_none() {
                return;
            }
            self.send(usize::MAX);
        }
        panic!("there is no end to what it sends");
    }

    /// Sends up to so many bytes of the next piece.
    fn send(&mut self, limit: usize) {
        let before = self.connection.unsent();
        let n = match self.connection.output() {
            None => return,
            Some(output) => {
                let file = output.file.as_ref().map_or(0, |part| part.len as usize);
                let len = output.head.len() + file + output.tail.len();
                assert_eq!(len as u64, before, "all that is unsent is put out");
                assert!(len > 0, "nothing is no output");
                if !output.head.is_empty() && std::mem::take(&mut self.fresh) {
                    check_head(output.head);
                }
                len.min(limit)
            }
        };
        assert!(n as u64 <= before);
        if n as u64 == before && self.connection.looks_at().is_none() {
            // The next thing on this connection, if there is one, is an answer's beginning.
            self.fresh = true;
        }
        self.connection.sent(n, &mut self.owner.lend());
    }

    fn check(&mut self) {
        if let Some(proofs) = self.proofs {
            let seen = self.given + self.owner.stats.streams;
            assert!(
                seen <= proofs,
                "{seen} pictures and reports for {proofs} proofs"
            );
        }
        let closed = self.connection.closed();
        if self.over.is_some() {
            assert_eq!(closed, self.over, "what is closed stays so, for one reason");
        }
        self.over = closed;
        if closed.is_some() {
            assert!(
                self.connection.output().is_none()
                    && self.connection.want(self.owner.now).is_none()
            );
            assert!(!self.connection.takes_input() && self.connection.wants_report().is_none());
            assert!(self.connection.wants_setting().is_none());
            assert!(self.connection.deadline(&self.owner.settings).is_none());
            return;
        }
        assert_eq!(
            self.connection.unsent() == 0,
            self.connection.output().is_none()
        );
    }

    /// Left alone, with a client that takes what it is sent and closes its side, every connection ends.
    fn end(&mut self) {
        self.connection.stop(&mut self.owner.lend());
        for _ in 0..20 {
            self.report();
            self.send_all();
            self.pass(30_000);
            self.connection.take_shutdown();
            self.check();
        }
        assert!(self.over.is_some(), "it never ends: {:?}", self.connection);
    }
}

/// An answer begins with a head in which nothing is a client's but what a header field may hold.
fn check_head(bytes: &[u8]) {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut fields);
    let parsed = head.parse(bytes);
    assert!(
        matches!(parsed, Ok(httparse::Status::Complete(_))),
        "{parsed:?}: {bytes:?}"
    );
    for field in head.headers {
        assert!(
            FIELDS.contains(&field.name),
            "a field of somebody else: {}",
            field.name
        );
    }
}
