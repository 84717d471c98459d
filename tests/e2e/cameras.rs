//! Cameras where there are none: what is said and done until one comes. With cameras, tests/vm/run.

use std::fs::File;
use std::process::{Output, Stdio};
use std::thread;
use std::time::Duration;

use crate::common::process::{
    Process, capture, is_left_alone, lazycam, switches, wait_until_asleep,
};
use crate::common::{Scratch, eventually};

/// No device of this name will ever be plugged in.
const ABSENT: &str = "v4l2:/dev/video-that-is-not-there";

fn output(flags: &[&str]) -> Output {
    let scratch = Scratch::new();
    capture(&scratch.join("frames"), flags).output().unwrap()
}

#[test]
fn a_camera_that_is_not_there_is_waited_for_asleep() {
    let scratch = Scratch::new();
    let frames = scratch.join("frames");
    let mut process = Process::start(capture(&frames, &["--source", ABSENT]));
    let told = process.line("waiting for it");
    assert!(
        told.contains("plug it in") && told.contains("lazycam list"),
        "{told}"
    );
    eventually("a file to open", || frames.join("current.jpg").exists());
    wait_until_asleep(process.pid());
    let pid = process.pid();
    let sleeps = || {
        let before = switches(pid);
        thread::sleep(Duration::from_secs(1));
        switches(pid) == before
    };
    assert!(is_left_alone(sleeps));

    // Somebody asks: it is tried, and the failure says that it is tried again.
    File::open(frames.join("current.jpg")).unwrap();
    let lost = process.line("is lost");
    assert!(lost.contains("trying again"), "{lost}");
    assert!(process.runs());
    // Nobody asks any more: no retry is due, so it sleeps for good.
    wait_until_asleep(process.pid());
    assert!(is_left_alone(sleeps));
    assert!(process.stop().status.success());
}

#[test]
fn what_is_no_camera_ends_the_program_with_the_status_of_wrong_words() {
    let output = output(&["--source", "v4l2:/dev/null"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("/dev/null is not a video device"), "{told}");
}

#[test]
fn flags_of_cameras_are_refused_where_there_is_none() {
    for flags in [
        ["pattern", "--format", "YUYV"],
        ["pattern", "--standard", "PAL"],
        ["stdin", "--control", "brightness=1"],
    ] {
        let output = output(&["--source", flags[0], flags[1], flags[2]]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains("--source v4l2"), "{told}");
    }
}

#[test]
fn the_list_is_text_for_people_and_json_for_programs() {
    let list = |arguments: &[&str]| {
        let output = lazycam(arguments).stdout(Stdio::piped()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(!list(&["list"]).is_empty());
    let json = list(&["list", "--json"]);
    assert!(
        json.starts_with("{\"cameras\":[") && json.ends_with("]}\n"),
        "{json}"
    );
}
