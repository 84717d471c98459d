//! The shell programs in docs/frame-directory.md do what the page says, against the library and against
//! each other.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::common::{PATIENCE, Scratch, eventually, jpeg, put, skipped};
use lazycam::frames::frame::{self, Frame};
use lazycam::frames::publish::Publisher;
use lazycam::snapshot;
use rustix::process::{Pid, Signal, kill_process_group};

const PAGE: &str = include_str!("../../docs/frame-directory.md");

/// The fenced block that follows the comment `<!-- name -->`, as a file.
fn program(name: &str, scratch: &Scratch) -> PathBuf {
    let (_, after) = PAGE.split_once(&format!("<!-- {name} -->")).unwrap();
    let (_, after) = after.split_once("```sh\n").unwrap();
    let (text, _) = after.split_once("```").unwrap();
    let path = scratch.join(&name.replace(' ', "-"));
    fs::write(&path, text).unwrap();
    path
}

fn has(tool: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {tool}")])
        .stdout(Stdio::null())
        .status();
    if found.is_ok_and(|status| status.success()) {
        return true;
    }
    skipped(&format!("there is no {tool} here"));
    false
}

/// A shell program that ends with the test, and everything that it started with it: what outlived the
/// shell would hold the test run's output open.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        Running(command.process_group(0).spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}

fn slide_show(scratch: &Scratch, dir: &Path) -> Running {
    let (one, two) = (scratch.join("one"), scratch.join("two"));
    fs::write(&one, jpeg(1111)).unwrap();
    fs::write(&two, jpeg(2222)).unwrap();
    Running::start(
        Command::new("sh")
            .arg(program("producer", scratch))
            .arg(dir)
            .args([&one, &two])
            .env("INTERVAL", "0.05"),
    )
}

#[test]
fn the_plain_producer_publishes_whole_frames_and_holds_the_lock() {
    if !has("flock") {
        return;
    }
    let scratch = Scratch::new();
    let dir = scratch.join("run/show");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join(".current.jpg.left"), "half a fr").unwrap();
    let show = slide_show(&scratch, &dir);
    let out = scratch.join("out.jpg");
    let mut lens = Vec::new();
    let start = Instant::now();
    while !(lens.contains(&jpeg(1111).len()) && lens.contains(&jpeg(2222).len())) {
        assert!(start.elapsed() < PATIENCE, "{lens:?}");
        snapshot::run(&dir, Some(&out), Some(PATIENCE)).unwrap();
        lens.push(fs::read(&out).unwrap().len());
    }
    assert!(!dir.join(".current.jpg.left").exists());
    let error = Publisher::open(&dir).unwrap_err().to_string();
    let holder = format!("pid {} slide-show", show.0.id());
    assert!(error.ends_with(&holder), "{error}");
}

#[test]
fn the_reader_takes_the_next_frame_and_not_the_one_that_is_there() {
    let scratch = Scratch::new();
    let dir = scratch.join("camera");
    let mut publisher = Publisher::open(&dir).unwrap();
    let mut demand = lazycam::frames::demand::Demand::new(&dir).unwrap();
    put(&dir, &jpeg(1));
    let reader = Command::new("sh")
        .arg(program("reader", &scratch))
        .arg(&dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("the reader has asked", || {
        demand.drain(Instant::now()).unwrap().asked
    });
    publisher.announce().unwrap();
    publisher
        .publish(&jpeg(777), std::time::SystemTime::now())
        .unwrap();
    let output = reader.wait_with_output().unwrap();
    assert_eq!(output.stdout, jpeg(777));
}

#[test]
fn the_producer_on_demand_takes_a_picture_when_asked() {
    if !(has("flock") && has("inotifywait")) {
        return;
    }
    let scratch = Scratch::new();
    let (dir, picture) = (scratch.join("camera"), scratch.join("picture"));
    fs::write(&picture, jpeg(333)).unwrap();
    let _running = Running::start(
        Command::new("sh")
            .arg(program("producer on demand", &scratch))
            .arg(&dir)
            .arg(format!("cat {}", picture.display())),
    );
    eventually("it is there", || frame::ask(&dir).is_ok());
    let out = scratch.join("out.jpg");
    snapshot::run(&dir, Some(&out), Some(PATIENCE)).unwrap();
    assert_eq!(fs::read(&out).unwrap(), jpeg(333));
    assert!(Frame::open(&dir).is_ok());
}
