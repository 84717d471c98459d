//! Controls that are set while a camera is captured. Here is no camera; those of the emulated systems have real ones (`tests/vm`).

use std::fs;
use std::path::Path;
use std::process::Output;
use std::thread;
use std::time::{Duration, Instant};

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
    // What was refused is no longer wanted, the order is that in which it was said, and until the camera has taken a value the one of
    // before is kept.
    assert_eq!(told(&control(&dir, &["gain=5"])).0, Some(0));
    let wanted = fs::read_to_string(dir.join("controls/wanted")).unwrap();
    assert_eq!(wanted, "focus_absolute=10\ngain=3\ngain=5\n");
    // Nothing of this wakes anybody for long.
    wait_until_asleep(producer.pid());
    // (An emulator's own threads do.)
    let before = switches(producer.pid());
    thread::sleep(Duration::from_millis(300));
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
    let refused = lazycam(&["--source", "stdin", "--settable", "gain"])
        .output()
        .unwrap();
    let err = String::from_utf8(refused.stderr).unwrap();
    assert!(err.contains("--settable are for --source v4l2"), "{err}");
    let refused = lazycam(&["--mailbox", "/tmp"]).output().unwrap();
    let err = String::from_utf8(refused.stderr).unwrap();
    assert!(err.contains("--mailbox is for controls"), "{err}");
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < until, "not in 20 s: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// What was answered to the mailbox's `wanted`, once it is.
fn wait_for_answer(dir: &Path, needle: &str) -> String {
    let answer = || fs::read_to_string(dir.join("controls/answer")).unwrap_or_default();
    wait_until(needle, || answer().contains(needle));
    answer()
}

#[test]
fn what_is_wanted_by_a_mailbox_is_set_and_kept_and_no_link_leads_out_of_it() {
    let scratch = Scratch::new();
    let (dir, mailbox) = (scratch.join("front"), scratch.join("box"));
    let flags = [
        "--settable",
        "clock,sweep",
        "--mailbox",
        mailbox.to_str().unwrap(),
    ];
    let producer = Process::start(capture(&dir, &flags));
    producer.line("on demand");
    let offered = || fs::read_to_string(dir.join("controls/offered")).unwrap();
    assert!(
        offered().contains(r#""name":"clock","kind":"boolean""#),
        "{}",
        offered()
    );
    assert!(!offered().contains("lane_brightness"), "{}", offered());
    // It need not be there from the beginning.
    fs::create_dir(&mailbox).unwrap();
    let put = |text: &str| {
        fs::write(mailbox.join("new"), text).unwrap();
        fs::rename(mailbox.join("new"), mailbox.join("wanted")).unwrap();
    };
    put("clock=off\nlane_brightness=3\n");
    let answer = wait_for_answer(&dir, "set clock=off");
    assert!(
        answer.contains("refused lane_brightness=3: it is not among"),
        "{answer}"
    );
    // What holds is with what was wanted in the other way, and the last one counts.
    let kept = || fs::read_to_string(dir.join("controls/wanted")).unwrap();
    assert_eq!(kept(), "clock=off\n");
    assert_eq!(told(&control(&dir, &["sweep=1"])).1, "set sweep=1\n");
    assert_eq!(kept(), "clock=off\nsweep=1\n");
    // A value that is refused leaves the one of before wanted, also for the next producer.
    let (status, out, err) = told(&control(&dir, &["sweep=7"]));
    assert_eq!((status, out.as_str()), (Some(1), ""));
    assert!(err.contains("refused sweep=7: "), "{err}");
    producer.stop();
    // So that what is said from here on was said by the next one.
    for name in ["answer", "offered"] {
        fs::remove_file(dir.join("controls").join(name)).unwrap();
    }
    let producer = Process::start(capture(&dir, &flags));
    producer.line("on demand");
    assert!(wait_for_answer(&dir, "refused sweep=7").contains("set sweep=1\n"));
    let value = |name: &str| {
        let offered = offered();
        let (_, rest) = offered
            .split_once(&format!(r#"{{"name":"{name}""#))
            .unwrap();
        let (_, value) = rest.split_once(r#""value":"#).unwrap();
        value.split(',').next().unwrap().to_owned()
    };
    assert_eq!(
        (value("clock").as_str(), value("sweep").as_str()),
        ("0", "1")
    );
    // Its text would come back in the answer.
    let secret = scratch.join("secret");
    fs::write(&secret, "the secret of another user\n").unwrap();
    fs::remove_file(mailbox.join("wanted")).unwrap();
    std::os::unix::fs::symlink(&secret, mailbox.join("new")).unwrap();
    fs::rename(mailbox.join("new"), mailbox.join("wanted")).unwrap();
    assert_eq!(told(&control(&dir, &["sweep=0"])).1, "set sweep=0\n");
    let answer = wait_for_answer(&dir, "set sweep=0");
    assert!(!answer.contains("secret"), "{answer}");
    wait_until_asleep(producer.pid());
}
