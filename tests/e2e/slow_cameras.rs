//! Snapshots of cameras that take their time, or give nothing: how long they are waited for, what a refusal says, and
//! that a program which asks again gets the frame that it has caused. And programs that ask without a pause.

use std::thread;
use std::time::{Duration, SystemTime};

use crate::common::frames::{Maker, decode};
use crate::common::http::{Client, Reply};
use crate::common::process::{Process, serve};
use crate::common::producer::{Camera, Hand};
use crate::common::{Scratch, eventually};
use jpeg::comments;
use lazycam::frames::state::{Phase, State};
use lazycam::picture::jpeg;

/// What `Retry-After` advises.
const PACE: Duration = Duration::from_secs(5);

struct Site {
    scratch: Scratch,
    server: Process,
}

impl Site {
    fn new() -> Self {
        let scratch = Scratch::new();
        let server = serve(&scratch.join("front"), &[]);
        Site { scratch, server }
    }

    fn hand(&self) -> Hand {
        Hand::new(&self.scratch.join("front"), Maker::new(3000))
    }

    fn client(&self) -> Client {
        Client::connect(self.server.address())
    }

    fn get(&self, target: &str) -> Reply {
        self.client().get(target)
    }
}

#[track_caller]
fn number(reply: &Reply) -> u64 {
    assert_eq!(reply.head.status, 200, "{:?}", reply.head);
    Maker::new(3000).verify(&reply.body).frame
}

#[test]
fn a_camera_that_takes_two_seconds_to_start_answers_the_first_snapshot() {
    let site = Site::new();
    let mut hand = site.hand();
    for phase in [None, Some(Phase::Off), Some(Phase::Starting)] {
        // No frame is fresh any more.
        thread::sleep(Duration::from_millis(300));
        if let Some(phase) = phase {
            hand.tell(&State::new(phase, SystemTime::now()));
        }
        let mut client = site.client();
        client.request("GET", "/snapshot");
        hand.wait_until_asked();
        thread::sleep(Duration::from_secs(2));
        if phase.is_some() {
            hand.tell(&State::new(Phase::Live, SystemTime::now()));
        }
        let frame = hand.publish().frame;
        assert_eq!(number(&client.reply()), frame, "{phase:?}");
    }
}

#[test]
fn a_frame_that_came_after_a_refusal_answers_the_next_snapshot_and_only_that() {
    let site = Site::new();
    let mut hand = site.hand();
    let refused = site.get("/snapshot?timeout=0.3");
    assert_eq!(refused.head.status, 503);
    hand.wait_until_asked();
    let frame = hand.publish().frame;
    thread::sleep(PACE);
    let reply = site.get("/snapshot?timeout=0.3");
    assert_eq!(number(&reply), frame);
    let age: f64 = reply.head.field("X-Frame-Age").unwrap().parse().unwrap();
    assert!(age >= PACE.as_secs_f64(), "{age}");
    assert_eq!(site.get("/snapshot?timeout=0.3").head.status, 503);
    // Nor is it a frame from before the refused request, nor one that the client does not want.
    hand.publish();
    thread::sleep(Duration::from_millis(200));
    assert_eq!(site.get("/snapshot?timeout=0.3&max_age=0").head.status, 503);
}

/// It does not lock, so nothing is known of it.
#[test]
fn a_camera_of_which_nobody_knows_answers_at_the_advised_pace() {
    let site = Site::new();
    let dir = site.scratch.join("front");
    drop(site.hand());
    std::fs::remove_file(dir.join("lock")).unwrap();
    assert_eq!(site.get("/snapshot").head.status, 503);
    let jpeg = Maker::new(3000).make(&jpeg_stamp());
    crate::common::put(&dir, &jpeg);
    thread::sleep(PACE);
    assert_eq!(number(&site.get("/snapshot")), 7);
}

fn jpeg_stamp() -> lazycam::capture::pattern::stamp::Stamp {
    lazycam::capture::pattern::stamp::Stamp::now(7)
}

#[test]
fn the_client_says_how_long_it_waits() {
    let site = Site::new();
    let mut hand = site.hand();
    assert_eq!(site.get("/snapshot?timeout=0").head.status, 503);
    let mut client = site.client();
    client.request("GET", "/snapshot?timeout=25");
    // Longer than any wait that nobody has asked for.
    thread::sleep(Duration::from_secs(6));
    hand.wait_until_asked();
    let frame = hand.publish().frame;
    assert_eq!(number(&client.reply()), frame);
}

#[test]
fn a_refusal_is_a_picture_with_the_reason_in_a_field_and_text_for_who_asked_for_it() {
    let site = Site::new();
    let mut hand = site.hand();
    hand.tell(&State {
        why: Some("cannot open /dev/video0".into()),
        ..State::new(Phase::Lost, SystemTime::now())
    });
    eventually("the server knows", || {
        let state = site.get("/state").body;
        String::from_utf8_lossy(&state).contains("cannot open /dev/video0")
    });
    let mut client = site.client();
    for accept in [
        "",
        "Accept: */*\r\n",
        "Accept: image/avif,image/webp,*/*;q=0.8\r\n",
    ] {
        client.send(format!(
            "GET /snapshot?timeout=0 HTTP/1.1\r\nHost: test\r\n{accept}\r\n"
        ));
        let Reply { head, body } = client.reply();
        assert_eq!(head.status, 503, "programs that look see it");
        assert_eq!(head.field("Content-Type"), Some("image/jpeg"));
        assert_eq!(head.field("X-UStreamer-Online"), Some("false"));
        assert_eq!(head.field("X-Frame-Error"), Some("cannot open /dev/video0"));
        assert!(head.field("Retry-After").is_some());
        assert_eq!(decode(&body), (640, 480));
        assert!(comments(&body).any(|text| text == b"lazycam notice: front lost"));
    }
    for accept in ["text/html,image/avif,*/*;q=0.8", "application/json"] {
        client.send(format!(
            "GET /snapshot?timeout=0 HTTP/1.1\r\nHost: test\r\nAccept: {accept}\r\n\r\n"
        ));
        let Reply { head, body } = client.reply();
        assert_eq!(head.status, 503);
        assert_eq!(head.field("X-Frame-Error"), Some("cannot open /dev/video0"));
        let text = String::from_utf8(body).unwrap();
        assert!(
            text.ends_with("try again: cannot open /dev/video0\n"),
            "{text}"
        );
    }
}

#[test]
fn a_program_that_asks_without_a_pause_gets_each_frame_once() {
    let site = Site::new();
    let camera = Camera::on_demand(&site.scratch.join("front"), 20.0, Maker::new(3000));
    let mut client = site.client();
    let numbers: Vec<_> = (0..20)
        .map(|_| number(&client.picture("/snapshot")))
        .collect();
    drop(camera);
    // Where a machine stalls, a frame comes late, and the last one is given once more.
    let again = numbers.windows(2).filter(|two| two[0] >= two[1]).count();
    assert!(again <= 4, "{numbers:?}");
}

/// Such a program accepts the same frame again, but there is no use in giving it thousands of times.
#[test]
fn a_program_that_accepts_old_frames_and_asks_without_a_pause_is_not_answered_at_once() {
    for target in ["/snapshot?max_age=60", "/snapshot?wake=0"] {
        let site = Site::new();
        let camera = Camera::start(&site.scratch.join("front"), 20.0, Maker::new(3000));
        let mut client = site.client();
        for _ in 0..10 {
            // So that the server knows the camera's interval.
            client.picture("/snapshot");
        }
        let first = camera.published();
        let (mut answers, mut came) = (0, 0);
        while came < 20 {
            number(&client.picture(target));
            answers += 1;
            came = camera.published() - first;
        }
        assert!(
            answers <= 2 * came + 2,
            "{answers} answers in {came} frames"
        );
    }
}
