//! Encoders in hardware, on a machine that has none of that name. What one does is tested in an emulated system (`tests/vm/run arm64`).

use std::{env, fs, process};

use crate::common::http::Client;
use crate::common::process::{Process, run};
use crate::common::{Scratch, eventually};
use lazycam::capture::pattern::stamp::Stamp;
use serde_json::Value;

const INSTEAD: &str = "; the processor encodes until the camera starts again";

#[test]
fn without_the_encoder_that_was_asked_for_there_are_pictures_and_one_warning() {
    let scratch = Scratch::new();
    let missing = "v4l2:/dev/no-such-encoder";
    let flags = ["--encoder", missing, "--linger", "0.1", "--log", "debug"];
    let server = Process::start(run(&scratch.join("front"), &flags));
    for start in 1..=3 {
        let picture = Client::connect(server.address()).picture("/snapshot");
        assert!(Stamp::find(&picture.body).is_some());
        server.lines("off: nobody looks", start);
    }
    eventually("each start has tried it", || {
        server.log().matches(INSTEAD).count() == 3
    });
    let log = server.log();
    let told: Vec<_> = log.lines().filter(|line| line.contains(INSTEAD)).collect();
    assert!(told[0].contains("cannot open /dev/no-such-encoder: it is not there"));
    let warnings = told.iter().filter(|line| line.contains("warning"));
    assert_eq!(warnings.count(), 1, "{told:?}");
}

#[test]
fn who_encodes_is_told_once_there_is_a_picture_and_not_what_was_asked_for() {
    let scratch = Scratch::new();
    let encoder = |server: &Process| {
        let state = Client::connect(server.address()).get("/state").body;
        let state: Value = serde_json::from_slice(&state).unwrap();
        state["result"]["lazycam"]["cameras"][0]["encoder"].clone()
    };
    let file = || fs::read_to_string(scratch.join("front/state")).unwrap_or_default();
    let missing = ["--encoder", "/dev/no-such-encoder"];
    let server = Process::start(run(&scratch.join("front"), &missing));
    eventually("it is told", || file().contains("\nquality 80\n"));
    assert!(!file().contains("\nencoder "), "{}", file());
    assert_eq!(encoder(&server), Value::Null);
    Client::connect(server.address()).picture("/snapshot");
    eventually("the processor is told", || encoder(&server) == "CPU");
    assert!(file().contains("\nencoder CPU\n"), "{}", file());
    drop(server);
    // Without hardware there is nobody else.
    let server = Process::start(run(&scratch.join("front"), &[]));
    eventually("the processor is told", || encoder(&server) == "CPU");
}

#[test]
fn an_encoder_outside_of_dev_can_be_opened_in_spite_of_the_sandbox() {
    let scratch = Scratch::new();
    let node = env::temp_dir().join(format!("lazycam-test-encoder-{}", process::id()));
    fs::write(&node, "").unwrap();
    let encoder = node.display().to_string();
    let server = Process::start(run(&scratch.join("front"), &["--encoder", &encoder]));
    Client::connect(server.address()).picture("/snapshot");
    let told = format!("{encoder} is not a video device");
    eventually("it is told what this is", || server.log().contains(&told));
    fs::remove_file(&node).unwrap();
}
