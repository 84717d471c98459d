//! Pictures that are turned: `--rotate` and `--flip`, for pictures that are drawn here and for those that come as JPEGs.

use std::io::Write;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::frames::decode;
use crate::common::http::Client;
use crate::common::process::{Process, run};
use crate::common::{Scratch, eventually};
use lazycam::capture::pattern::Pattern;
use lazycam::capture::pattern::stamp::Stamp;
use lazycam::capture::source::Source;
use serde_json::Value;

fn camera(server: &Process) -> Value {
    let reply = Client::connect(server.address()).get("/state");
    let state: Value = serde_json::from_slice(&reply.body).unwrap();
    state["result"]["lazycam"]["cameras"][0].clone()
}

/// The size of the stream's pictures, as the state tells it.
fn told_size(server: &Process) -> String {
    let reply = Client::connect(server.address()).get("/state");
    let state: Value = serde_json::from_slice(&reply.body).unwrap();
    let size = &state["result"]["source"]["resolution"];
    format!("{}x{}", size["width"], size["height"])
}

#[test]
fn the_test_picture_is_turned_before_it_is_encoded() {
    let scratch = Scratch::new();
    let flags = ["--size", "200x120", "--rotate", "90", "--flip", "vertical"];
    let server = Process::start(run(&scratch.join("front"), &flags));
    // Already before there is a picture.
    eventually("the size is told", || told_size(&server) == "120x200");
    let frame = Client::connect(server.address()).picture("/snapshot");
    assert_eq!(decode(&frame.body), (120, 200));
    assert!(Stamp::find(&frame.body).is_some());
    let source = camera(&server)["source"].to_string();
    let told = "rotated by 90 degrees and flipped vertically";
    assert!(source.contains(told), "{source}");
}

#[test]
fn jpegs_are_turned_and_trimmed_and_damaged_ones_are_counted() {
    let scratch = Scratch::new();
    let flags = ["--source", "stdin", "--rotate", "180"];
    let mut command = run(&scratch.join("front"), &flags);
    command.stdin(Stdio::piped());
    let mut server = Process::start(command);
    let mut pipe = server.take_stdin();
    let mut pattern = Pattern::new((641, 483), 100.0, 80).unwrap();
    let start = Instant::now();
    pattern.start(start).unwrap();
    let mut stream = Client::connect(server.address()).stream("/stream");
    server.line("asked for a frame: starting");
    eventually("a damaged one is counted, and the size told", || {
        while pattern.advance(Instant::now()).unwrap().is_none() {}
        let whole = pattern.jpeg().unwrap().to_vec();
        pipe.write_all(&whole).unwrap();
        let number = Stamp::find(&whole).unwrap().frame;
        let part = stream.part_that(|part| part.notice().is_none() && part.number() == number);
        assert_eq!(decode(&part.jpeg), (640, 480));
        let is_counted = camera(&server)["dropped"]["broken"].as_u64() > Some(0);
        if !is_counted {
            // Its markers are in order. One that the next one overtakes is not looked at.
            // Behind 0xFF it would be a marker.
            let (mut broken, mut middle) = (whole.clone(), whole.len() / 2);
            while broken[middle - 1] == 0xFF {
                middle += 1;
            }
            broken[middle..middle + 40].fill(0x55);
            pipe.write_all(&broken).unwrap();
            thread::sleep(Duration::from_millis(20));
        }
        is_counted && told_size(&server) == "640x480"
    });
    server.line("pictures are 640x480 when they are rotated by 180 degrees");
    server.line("its entropy-coded data is damaged");
}
