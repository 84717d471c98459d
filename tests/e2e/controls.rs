//! Controls that are set while a camera is captured. Here is no camera; those of the emulated systems have real ones (`tests/vm`).

use std::fs;
use std::path::Path;
use std::process::Output;

use crate::common::Scratch;
use crate::common::process::{Process, capture, is_emulated, lazycam, switches, wait_until_asleep};

fn control(dir: &Path, wanted: &[&str]) -> Output {
    let words = [&["control", dir.to_str().unwrap()], wanted].concat();
    lazycam(&words)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .output()
        .unwrap()
}

fn told(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

const SOURCE: [&str; 2] = ["--source", "v4l2:/dev/no-such-camera"];

#[test]
fn what_is_wanted_of_a_camera_that_is_not_there_is_kept_for_it() {
    let scratch = Scratch::new();
    let dir = scratch.join("front");
    let flags = [&SOURCE[..], &["--settable", "focus_absolute,gain"]].concat();
    let producer = Process::start(capture(&dir, &flags));
    producer.line("on demand");
    let (status, out, _) = told(&control(&dir, &["focus_absolute=10", "Gain=3"]));
    assert_eq!(
        (status, out.as_str()),
        (Some(0), "later focus_absolute=10\nlater gain=3\n")
    );
    let (status, out, err) = told(&control(&dir, &["gain=4", "zoom=1"]));
    assert_eq!((status, out.as_str()), (Some(1), "later gain=4\n"));
    assert!(
        err.contains("refused zoom=1: it is not among those that may be set"),
        "{err}"
    );
    // What was refused is no longer wanted, and the order is that in which it was said.
    assert_eq!(told(&control(&dir, &["gain=5"])).0, Some(0));
    let wanted = fs::read_to_string(dir.join("controls/wanted")).unwrap();
    assert_eq!(wanted, "focus_absolute=10\ngain=5\n");
    // Nothing of this wakes anybody for long.
    wait_until_asleep(producer.pid());
    // (An emulator's own threads do.)
    let before = switches(producer.pid());
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(is_emulated() || switches(producer.pid()) == before);
    producer.stop();
    let (status, _, err) = told(&control(&dir, &["gain=6"]));
    assert_eq!(status, Some(1));
    assert!(err.contains("nobody captures into"), "{err}");
    let producer = Process::start(capture(&dir, &flags));
    producer.line("control gain=6 will be set when the camera is there");
}

#[test]
fn where_nothing_may_be_set_the_command_says_how_it_can() {
    let scratch = Scratch::new();
    let dir = scratch.join("front");
    let producer = Process::start(capture(&dir, &SOURCE));
    producer.line("on demand");
    assert!(!dir.join("controls").exists());
    let (status, _, err) = told(&control(&dir, &["gain=1"]));
    assert_eq!(status, Some(1));
    assert!(
        err.contains("nobody takes controls in") && err.contains("--settable"),
        "{err}"
    );
    let refused = lazycam(&["--settable", "gain"]).output().unwrap();
    let err = String::from_utf8(refused.stderr).unwrap();
    assert!(err.contains("--settable are for --source v4l2"), "{err}");
}
