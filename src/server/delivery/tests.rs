//! Who is served in which round and with which frame, over lines that the test plays and with a clock that only the test moves.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::SystemTime;

use rustix::io::Errno;

use super::*;
use crate::frames::publish::Publisher;
use crate::server::client::Times;
use crate::server::client_id::{Place, Remote};
use crate::server::connection::Connection;
use crate::server::connection::outbox::Output;
use crate::server::fixture::{Directory, JPEG};
use crate::server::http::part::DELIMITER;

const STALL: Duration = Duration::from_secs(20);
const STREAM: &str = "GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A line: what the client has sent, how much it can take, and what was sent to it.
#[derive(Default)]
struct Line {
    input: Vec<u8>,
    /// How many bytes the system takes before a call would block.
    room: u64,
    /// What every call fails with.
    fails: Option<Errno>,
    /// Bytes that are on their way.
    queued: u64,
    /// How many bytes the peer's system takes in all, where that is told. It moves when the program reads.
    edge: Option<u64>,
    taken: Vec<u8>,
    /// By their lengths, the frames that were begun, and which of them from a copy.
    frames: Vec<u64>,
    copied: Vec<bool>,
}

/// Both ends of it.
#[derive(Clone, Default)]
struct Ends(Rc<RefCell<Line>>);

impl Wire for Ends {
    fn receive(&self, scratch: &mut [u8]) -> rustix::io::Result<usize> {
        let input = &mut self.0.borrow_mut().input;
        if input.is_empty() {
            return Err(Errno::AGAIN);
        }
        let len = input.len().min(scratch.len());
        scratch[..len].copy_from_slice(&input[..len]);
        input.drain(..len);
        Ok(len)
    }

    fn send(&self, output: Output<'_, Frame>, copy: Option<&[u8]>) -> rustix::io::Result<usize> {
        let line = &mut *self.0.borrow_mut();
        if let Some(errno) = line.fails {
            return Err(errno);
        }
        if line.room == 0 {
            return Err(Errno::AGAIN);
        }
        let mut picture = Vec::new();
        if let Some(part) = &output.file {
            if part.offset == 0 {
                line.frames.push(part.len);
                line.copied.push(copy.is_some());
            }
            let end = (part.offset + part.len) as usize;
            picture = match copy {
                Some(copy) => copy[..end].to_vec(),
                None => {
                    let mut bytes = vec![0; end];
                    assert_eq!(rustix::io::pread(part.file, &mut bytes, 0)?, end);
                    bytes
                }
            };
            picture.drain(..part.offset as usize);
        }
        let all = [output.head, &picture, output.tail].concat();
        let taken = (all.len() as u64).min(line.room);
        line.room -= taken;
        line.taken.extend(&all[..taken as usize]);
        Ok(taken as usize)
    }

    fn shut_down(&self) {}

    fn queued(&self) -> Option<u64> {
        Some(self.0.borrow().queued)
    }

    fn times(&self) -> Option<Times> {
        let line = self.0.borrow();
        let window = |edge| edge + line.queued - line.taken.len() as u64;
        line.edge.map(|edge| Times::near(window(edge)))
    }
}

/// A picture that is told from others by its length, and long enough for its acknowledgement to count.
fn picture(number: u64) -> Vec<u8> {
    let comment = vec![b'x'; 60_000 + number as usize];
    let [high, low] = (2 + comment.len() as u16).to_be_bytes();
    [&JPEG[..2], &[0xFF, 0xFE, high, low], &comment, &JPEG[2..]].concat()
}

fn length(number: u64) -> u64 {
    picture(number).len() as u64
}

/// A camera, and viewers of it.
struct Scene {
    publisher: Publisher,
    cameras: Cameras,
    delivery: Delivery,
    viewers: Vec<(Client<Ends>, Ends)>,
    turn: Turn,
    _dir: Directory,
}

impl Scene {
    fn new(test: &str) -> Self {
        let dir = Directory::new(test);
        let front = dir.path().join("front");
        std::fs::create_dir(&front).unwrap();
        let mut turn = Turn::of_a_test();
        let named = ("front".parse().unwrap(), front.clone());
        Scene {
            cameras: Cameras::new(&[named], None, None, &mut turn).unwrap(),
            publisher: Publisher::open(&front).unwrap(),
            delivery: Delivery::new(1 << 20, STALL),
            viewers: Vec::new(),
            turn,
            _dir: dir,
        }
    }

    /// A viewer has sent this, and its line takes so many bytes. Returns its number.
    fn comes(&mut self, input: &str, room: u64) -> usize {
        let ends = Ends::default();
        ends.0.borrow_mut().input = input.into();
        ends.0.borrow_mut().room = room;
        let now = self.turn.now;
        let remote = Remote::V4([127, 0, 0, 1]);
        let place = Place::Served(remote);
        let client = Client::over(ends.clone(), Connection::new(now), remote, place, now);
        self.viewers.push((client, ends));
        self.viewers.len() - 1
    }

    fn visit(&mut self, viewer: usize) -> Ended {
        let client = &mut self.viewers[viewer].0;
        let visited = (viewer as ClientId, client);
        let (cameras, turn) = (&mut self.cameras, &mut self.turn);
        self.delivery
            .visit(visited, cameras, &mut Rounds::new(), turn)
    }

    /// As the loop does, until nothing more can be done now. Returns when there is, or why the client has gone.
    fn serve(&mut self, viewer: usize) -> Result<Option<Instant>, CloseReason> {
        loop {
            match self.visit(viewer) {
                Ended::Again => {}
                Ended::Wait(at) => return Ok(at),
                Ended::Gone(reason) => return Err(reason),
                other => panic!("{other:?}"),
            }
        }
    }

    /// The camera has the frame with this number, and all viewers are served.
    fn publish(&mut self, number: u64) {
        self.turn.pass(100);
        self.camera_has(number);
        for viewer in 0..self.viewers.len() {
            self.serve(viewer).unwrap();
        }
    }

    fn camera_has(&mut self, number: u64) {
        let frame = picture(number);
        self.publisher.publish(&frame, SystemTime::now()).unwrap();
        for change in self.cameras.read(&self.turn).unwrap() {
            self.cameras.apply(change, &mut self.turn);
        }
    }

    fn line(&self, viewer: usize) -> std::cell::RefMut<'_, Line> {
        self.viewers[viewer].1.0.borrow_mut()
    }

    /// The line takes bytes again.
    fn opens(&mut self, viewer: usize) {
        self.line(viewer).room = u64::MAX;
        let ready = crate::event::Readiness {
            stops_short: false,
            readable: false,
            writable: true,
        };
        self.viewers[viewer].0.ready(ready);
    }
}

#[test]
fn of_many_requests_at_once_only_some_are_answered_before_the_others_come() {
    let mut scene = Scene::new("fair");
    let request = "GET /none HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let viewer = scene.comes(&request.repeat(3 * FAIR_ROUNDS), u64::MAX);
    let answers = |scene: &Scene| {
        let text = String::from_utf8(scene.line(viewer).taken.clone()).unwrap();
        text.matches("HTTP/1.1 404").count()
    };
    let mut visits = 1;
    while matches!(scene.visit(viewer), Ended::Again) {
        assert!((1..=visits * FAIR_ROUNDS).contains(&answers(&scene)));
        visits += 1;
    }
    assert!(visits > 2);
    assert_eq!(answers(&scene), 3 * FAIR_ROUNDS);
}

#[test]
fn every_viewer_gets_the_newest_frame_that_its_own_line_takes() {
    let mut scene = Scene::new("newest");
    let (fast, slow) = (scene.comes(STREAM, u64::MAX), scene.comes(STREAM, u64::MAX));
    scene.publish(1);
    // The slow one's line takes nothing more: frame 2 waits, 3 and 4 pass by.
    scene.line(slow).room = 0;
    for number in 2..=4 {
        scene.publish(number);
    }
    scene.opens(slow);
    scene.serve(slow).unwrap();
    scene.turn.pass(100);
    scene.serve(slow).unwrap();
    assert_eq!(scene.line(fast).frames, [1, 2, 3, 4].map(length));
    assert_eq!(scene.line(slow).frames, [1, 2, 4].map(length));
}

/// The pictures of a stream, as its viewer has them; the last may be cut.
fn pictures(taken: &[u8]) -> Vec<Vec<u8>> {
    let find = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|at| at == what);
    let (mut rest, mut all) = (taken, Vec::new());
    while let Some(at) = find(rest, b"\r\n\r\n") {
        let head = std::str::from_utf8(&rest[..at]).unwrap();
        rest = &rest[at + 4..];
        let Some((_, len)) = head.split_once("Content-Length: ") else {
            continue;
        };
        let len: usize = len.split("\r\n").next().unwrap().parse().unwrap();
        all.push(rest[..len.min(rest.len())].to_vec());
        rest = rest.get(len..).unwrap_or_default();
        assert!(DELIMITER.starts_with(&rest[..rest.len().min(DELIMITER.len())]));
    }
    all
}

#[test]
fn frames_are_the_same_by_either_way_to_fast_viewers_and_to_one_that_takes_them_in_pieces() {
    let mut scene = Scene::new("ways");
    let fast = [0, 1].map(|_| scene.comes(STREAM, u64::MAX));
    let slow = scene.comes(STREAM, 30_000);
    for number in 1..=40 {
        scene.publish(number);
        for viewer in fast {
            let taken = std::mem::take(&mut scene.line(viewer).taken);
            assert_eq!(pictures(&taken), [picture(number)]);
        }
        scene.opens(slow);
        scene.line(slow).room = 30_000;
        scene.serve(slow).unwrap();
    }
    let begun = scene.line(slow).frames.clone();
    let taken = scene.line(slow).taken.clone();
    assert!((10..40).contains(&begun.len()), "{begun:?}");
    let number = |len: u64| len - length(0);
    for (len, picture_taken) in begun.iter().zip(pictures(&taken)) {
        assert!(picture(number(*len)).starts_with(&picture_taken));
    }
    for viewer in [fast[0], slow] {
        let copied = scene.line(viewer).copied.clone();
        assert!(
            copied.contains(&true) && copied.contains(&false),
            "{copied:?}"
        );
    }
}

#[test]
fn a_frame_is_not_begun_while_the_last_one_is_on_its_way() {
    let mut scene = Scene::new("queued");
    let viewer = scene.comes(STREAM, u64::MAX);
    scene.publish(1);
    scene.line(viewer).queued = 100_000;
    scene.publish(2);
    scene.publish(3);
    assert_eq!(scene.line(viewer).frames, [length(1)]);
    scene.line(viewer).queued = 0;
    scene.publish(4);
    assert_eq!(scene.line(viewer).frames, [1, 4].map(length));
}

#[test]
fn a_client_for_which_the_system_has_no_memory_is_tried_again_soon() {
    let mut scene = Scene::new("memory");
    let viewer = scene.comes(STREAM, u64::MAX);
    scene.line(viewer).fails = Some(Errno::NOBUFS);
    let at = scene.serve(viewer).unwrap().unwrap();
    assert_eq!(at, scene.turn.now + MEMORY_REST);
    scene.line(viewer).fails = None;
    scene.turn.pass(100);
    scene.serve(viewer).unwrap();
    assert!(!scene.line(viewer).taken.is_empty());
}

#[test]
fn who_takes_nothing_is_dropped_when_the_time_for_it_is_over_and_not_before() {
    let mut scene = Scene::new("stalls");
    let viewer = scene.comes(STREAM, u64::MAX);
    scene.publish(1);
    scene.line(viewer).room = 0;
    scene.publish(2);
    let since = scene.turn.now;
    let reason = loop {
        match scene.serve(viewer) {
            Ok(at) => scene.turn.now = at.unwrap().max(scene.turn.now),
            Err(reason) => break reason,
        }
        assert!(scene.turn.now < since + 2 * STALL);
    };
    assert_eq!(reason, CloseReason::Stalled);
    assert!(scene.turn.now - since >= STALL - Duration::from_millis(200));
}

/// Its system takes everything meanwhile, and would for much longer.
#[test]
fn whose_program_reads_nothing_is_dropped_then_too_also_where_each_head_comes_early() {
    for target in ["/stream", "/stream?advance_headers=1"] {
        let mut scene = Scene::new("unread");
        let request = STREAM.replace("/stream", target);
        let viewer = scene.comes(&request, u64::MAX);
        scene.line(viewer).edge = Some(20_000_000);
        let since = scene.turn.now;
        for number in 1.. {
            scene.camera_has(number);
            if let Err(reason) = scene.serve(viewer) {
                assert_eq!(reason, CloseReason::Stalled, "{target}");
                break;
            }
            scene.turn.pass(1000);
            assert!(scene.turn.now < since + 2 * STALL, "{target}");
        }
        assert!(scene.turn.now >= since + STALL, "{target}");
    }
}

#[test]
fn a_peer_that_has_reset_its_connection_has_left() {
    let mut scene = Scene::new("reset");
    let viewer = scene.comes(STREAM, u64::MAX);
    scene.line(viewer).fails = Some(Errno::CONNRESET);
    assert_eq!(scene.serve(viewer), Err(CloseReason::Left));
}
