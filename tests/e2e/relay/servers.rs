//! Other lazycams as cameras.

use std::time::Duration;

use lazycam::capture::pattern::stamp::Stamp;
use rustix::process::{Signal, kill_process};

use super::standin::{Camera, HEAD, edge, expect_frames_and_sleep, told};
use crate::common::frames::Maker;
use crate::common::http::Client;
use crate::common::process::{Process, pid, run};
use crate::common::{Scratch, eventually};

#[test]
fn another_lazycam_is_a_camera_that_sleeps_with_the_viewers_of_this_one() {
    let scratch = Scratch::new();
    let socket = scratch.join("origin.sock");
    let flags = ["--linger", "0.2", "--listen", socket.to_str().unwrap()];
    let origin = Process::start(run(&scratch.join("origin"), &flags));
    let sources = [
        format!("http://{}/stream", origin.address()),
        format!("http+unix:{}:/stream", socket.display()),
        format!("http://{}/snapshot", origin.address()),
    ];
    for source in &sources {
        let edge = edge(&scratch, source);
        expect_frames_and_sleep(edge, &origin);
    }
}

#[test]
fn another_lazycams_snapshots_are_each_another_picture() {
    let (scratch, camera, maker) = (Scratch::new(), Camera::new(), Maker::new(3000));
    let edge = edge(&scratch, &camera.url("/snapshot"));
    let mut viewer = Client::connect(edge.address()).stream("/stream");
    let mut connection = camera.accept();
    let jpeg = maker.make(&Stamp::now(1));
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nX-Timestamp: 12.500000\r\nX-Frame-Age: 0.25\r\nContent-Length: {}\r\n\r\n",
        jpeg.len()
    );
    connection.send([head.as_bytes(), &jpeg].concat());
    assert_eq!(viewer.number(&maker), 1);
    let connection = connection.again();
    let asked = "GET /snapshot?after=12.500000&timeout=8 HTTP/1.1\r\n";
    assert!(
        connection.request.starts_with(asked),
        "{}",
        connection.request
    );
}

#[test]
fn how_old_a_picture_was_at_the_origin_counts_at_the_edge() {
    let (scratch, camera, maker) = (Scratch::new(), Camera::new(), Maker::new(3000));
    let edge = edge(&scratch, &camera.url("/"));
    let mut viewer = Client::connect(edge.address()).stream("/stream");
    let mut connection = camera.accept();
    let jpeg = maker.make(&Stamp::now(1));
    let part = format!(
        "--x\r\nX-Frame-Age: 2.5\r\nContent-Length: {}\r\n\r\n",
        jpeg.len()
    );
    connection.send(format!("{HEAD}\r\n{part}"));
    connection.send(&jpeg);
    let part = viewer.frame();
    assert!(
        part.age_when_sent() >= Duration::from_millis(2500),
        "{:?}",
        part.age_when_sent()
    );
    eventually("the origin's age is told", || {
        told(&edge)["origin"]["age"] == 2.5
    });
    let own = told(&edge)["frame"]["age"].as_f64().unwrap();
    assert!(own >= 2.5, "{own}");
}

#[test]
fn the_picture_of_a_lost_camera_is_no_frame_for_the_next_server() {
    let (scratch, camera, maker) = (Scratch::new(), Camera::new(), Maker::new(3000));
    let flags = ["--source", &camera.url("/")];
    let origin = Process::start(run(&scratch.join("origin"), &flags));
    let edge = edge(&scratch, &format!("http://{}/stream", origin.address()));
    let mut viewer = Client::connect(edge.address()).stream("/stream");
    camera.accept().send("HTTP/1.1 404 None\r\n\r\n");
    eventually("the edge has lost its camera too", || {
        told(&edge)["why"] == "has lost its own camera, and shows a picture that says so"
    });
    viewer.part_that(|part| part.notice().is_some());
    assert_eq!(told(&edge)["published"], 0);
    let _fed = camera.accept().feed(&maker, 7);
    assert!(viewer.number(&maker) >= 7);
}

/// What benches/relay does over lines, and with more of them.
#[test]
fn viewers_of_an_edge_stay_when_the_origin_or_the_edges_capture_process_starts_again() {
    let scratch = Scratch::new();
    let socket = scratch.join("origin.sock");
    let flags = ["--listen", socket.to_str().unwrap()];
    let origin = || Process::start(run(&scratch.join("origin"), &flags));
    let first = origin();
    first.address();
    let edge = edge(&scratch, &format!("http+unix:{}:/stream", socket.display()));
    let mut viewer = Client::connect(edge.address()).stream("/stream");
    viewer.frame();
    first.stop();
    viewer.part_that(|part| part.notice().is_some());
    let _second = origin();
    viewer.part_that(|part| part.notice().is_none());
    let killed = edge.child();
    kill_process(pid(killed), Signal::KILL).unwrap();
    eventually("another process captures", || edge.child() != killed);
    let last = viewer.frame().number();
    viewer.part_after(last + 5);
}

#[test]
fn cameras_that_go_round_in_a_loop_are_noticed() {
    let scratch = Scratch::new();
    let socket = |name: &str| scratch.join(name).to_str().unwrap().to_owned();
    let start = |name: &str, of: &str| {
        let source = format!("http+unix:{}:/stream", socket(of));
        let flags = [
            "--source",
            &source,
            "--listen",
            &socket(name),
            "--listen",
            "127.0.0.1:0",
        ];
        Process::start(run(&scratch.join(&format!("frames-{name}")), &flags))
    };
    let is_loop = |server: &Process| {
        let why = told(server)["why"].clone();
        why == "gets its pictures from this camera: they go round in a loop"
    };
    let alone = start("alone", "alone");
    let _viewer = Client::connect(alone.address()).stream("/stream");
    eventually("the loop is noticed", || is_loop(&alone));
    let both = [start("one", "two"), start("two", "one")];
    let _viewer = Client::connect(both[0].address()).stream("/stream");
    eventually("the loop is noticed", || both.iter().any(is_loop));
}
