//! `--max-frame`: what is larger is no frame, whoever produces it, and is told and counted like any other that is broken.

use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::common::frames::Maker;
use crate::common::http::Client;
use crate::common::process::{Process, lazycam, run, serve};
use crate::common::producer::Camera;
use crate::common::{Scratch, eventually};
use lazycam::capture::pattern::stamp::Stamp;
use serde_json::Value;

const LIMIT: usize = 1 << 20;

fn camera(server: &Process) -> Value {
    let reply = Client::connect(server.address()).get("/state");
    let state: Value = serde_json::from_slice(&reply.body).unwrap();
    state["result"]["lazycam"]["cameras"][0].clone()
}

#[test]
fn of_a_source_the_frames_above_the_limit_reach_nobody() {
    let scratch = Scratch::new();
    let mut command = run(scratch.path(), &["--source", "stdin", "--max-frame", "1"]);
    command.stdin(Stdio::piped());
    let mut server = Process::start(command);
    let mut pipe = server.take_stdin();
    let feeder = thread::spawn(move || {
        let pair = [LIMIT + 1, LIMIT].map(|len| Maker::new(len).make(&Stamp::now(1)));
        // Until the server ends, and the other end of the pipe with it.
        while pipe.write_all(&pair.concat()).is_ok() {
            thread::sleep(Duration::from_millis(50));
        }
    });
    let mut stream = Client::connect(server.address()).stream("/stream");
    for _ in 0..5 {
        assert_eq!(stream.frame().jpeg.len(), LIMIT);
    }
    eventually("what is too large is counted", || {
        camera(&server)["dropped"]["broken"].as_u64() > Some(0)
    });
    server.line("longer than 1048576 bytes (--max-frame)");
    assert!(server.stop().status.success());
    feeder.join().unwrap();
}

#[test]
fn of_a_directory_the_frames_above_the_limit_are_not_shown_and_the_flag_is_named() {
    let scratch = Scratch::new();
    let _camera = Camera::start(scratch.path(), 10.0, Maker::new(LIMIT + 1));
    let server = serve(scratch.path(), &["--max-frame", "1"]);
    let mut stream = Client::connect(server.address()).stream("/stream");
    stream.part_that(|part| part.notice().is_some_and(|said| said.ends_with(" lost")));
    let told = camera(&server)["why"].as_str().unwrap().to_owned();
    assert!(
        told.contains("more than 1048576 allowed (--max-frame)"),
        "{told}"
    );
    // The same frames are shown by whoever allows them.
    let other = serve(scratch.path(), &["--max-frame", "2"]);
    let mut stream = Client::connect(other.address()).stream("/stream");
    assert_eq!(stream.frame().jpeg.len(), LIMIT + 1);
}

#[test]
fn a_single_frame_above_the_limit_is_not_written() {
    let scratch = Scratch::new();
    let _camera = Camera::start(&scratch.join("front"), 10.0, Maker::new(LIMIT + 1));
    let (frames, output) = (scratch.join("front"), scratch.join("picture.jpg"));
    let words = ["snapshot", frames.to_str().unwrap(), "--timeout", "20"];
    let to = ["--output", output.to_str().unwrap()];
    let ended = |limit| {
        let limit = ["--max-frame", limit];
        Process::start(lazycam(&[&words[..], &to, &limit].concat())).end()
    };
    let shown = ended("2");
    assert!(shown.status.success(), "{}", shown.log);
    assert_eq!(fs::read(&output).unwrap().len(), LIMIT + 1);
    fs::remove_file(&output).unwrap();
    let words = ["snapshot", frames.to_str().unwrap(), "--timeout", "2"];
    let refused = Process::start(lazycam(&[&words[..], &to, &["--max-frame", "1"]].concat())).end();
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        refused.log.contains("more than 1048576 allowed"),
        "{}",
        refused.log
    );
    assert!(!output.exists());
}
