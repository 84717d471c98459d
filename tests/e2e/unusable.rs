//! Frame directories of which nothing can be used, and sources of which no frame can: the viewers are told why, the
//! counters count nothing that was no frame, and it goes on with the first frame that is one.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::common::frames::Maker;
use crate::common::http::{Client, Stream};
use crate::common::process::{Process, capture, run, serve, serve_arguments, wrapped};
use crate::common::producer::{Camera, Feeder};
use crate::common::{Scratch, eventually, jpeg, put, skipped};
use lazycam::frames::state::{Phase, State};
use lazycam::picture::LARGEST;
use serde_json::Value;

/// The only camera, as `/state` shows it.
fn camera(server: &Process) -> Value {
    let reply = Client::connect(server.address()).get("/state");
    let state: Value = serde_json::from_slice(&reply.body).unwrap();
    state["result"]["lazycam"]["cameras"][0].clone()
}

fn watch(server: &Process) -> Stream {
    Client::connect(server.address()).stream("/stream")
}

/// Reads on until the picture of a lost camera comes.
#[track_caller]
fn expect_lost(stream: &mut Stream) {
    stream.part_that(|part| part.notice().is_some_and(|said| said.ends_with(" lost")));
}

/// Someone who does the same thing to a directory ten times a second, until dropped.
struct Vandal {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Vandal {
    fn start(dir: &Path, act: fn(&Path)) -> Self {
        let (dir, stop) = (dir.to_owned(), Arc::new(AtomicBool::new(false)));
        let halt = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !halt.load(SeqCst) {
                act(&dir);
                thread::sleep(Duration::from_millis(100));
            }
        });
        Vandal {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Vandal {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Renames what `make` makes under another name onto `current.jpg`.
fn replace(dir: &Path, make: impl FnOnce(PathBuf)) {
    let temporary = dir.join(".current.jpg.test");
    make(temporary.clone());
    fs::rename(temporary, dir.join("current.jpg")).unwrap();
}

fn put_link(dir: &Path) {
    fs::write(dir.join("picture"), jpeg(100)).unwrap();
    replace(dir, |path| symlink("picture", path).unwrap());
}

fn put_link_once(dir: &Path) {
    if !dir.join("current.jpg").is_symlink() {
        put_link(dir);
    }
}

fn put_pipe(dir: &Path) {
    replace(dir, |path| {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    });
}

fn put_half(dir: &Path) {
    let whole = jpeg(1000);
    put(dir, &whole[..500]);
}

fn put_text(dir: &Path) {
    put(dir, b"<html>no camera here</html>");
}

fn put_giant(dir: &Path) {
    replace(dir, |path| {
        let file = fs::File::create(path).unwrap();
        file.set_len(LARGEST + 1).unwrap();
    });
}

fn put_private(dir: &Path) {
    replace(dir, |path| {
        fs::write(&path, jpeg(100)).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
    });
}

fn write_in_place(dir: &Path) {
    fs::write(dir.join("current.jpg"), jpeg(100)).unwrap();
}

/// As `write_in_place`, but of a file that is there from the beginning and never as long as that.
fn write_less_and_less(dir: &Path) {
    let path = dir.join("current.jpg");
    let len = fs::metadata(&path).map_or(1000, |about| about.len() as usize);
    fs::write(path, jpeg(len.saturating_sub(50).max(10))).unwrap();
}

/// A server that reads as a user who owns nothing, if this one is root.
fn serve_as_nobody(dir: &Path) -> Option<Process> {
    if fs::metadata(dir).unwrap().uid() != 0 {
        return Some(serve(dir, &[]));
    }
    let user = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ];
    let probe = Command::new(user[0]).args(&user[1..]).arg("true").status();
    if !probe.is_ok_and(|status| status.success()) {
        skipped("no other user to serve as (setpriv, root)");
        return None;
    }
    Some(Process::start(wrapped(&user, &serve_arguments(dir, &[]))))
}

/// What a vandal does, and what the viewers are told then.
type Case = (fn(&Path), &'static str);

const DEFECTS: &[Case] = &[
    (put_link, "current.jpg is not a regular file"),
    (put_link_once, "current.jpg is not a regular file"),
    (put_pipe, "current.jpg is not a regular file"),
    (put_half, "broken frame: "),
    (put_text, "broken frame: "),
    (put_giant, "more than 33554432 allowed"),
    (put_private, "cannot read current.jpg: Permission denied"),
    (write_in_place, "current.jpg is written in place: "),
    (write_less_and_less, "current.jpg is written in place: "),
];

fn is_told_and_goes_on(act: fn(&Path), why: &str) {
    let scratch = Scratch::new();
    let Some(server) = serve_as_nobody(scratch.path()) else {
        return;
    };
    let vandal = Vandal::start(scratch.path(), act);
    let mut stream = watch(&server);
    expect_lost(&mut stream);
    let camera = self::camera(&server);
    let told = camera["why"].as_str().unwrap();
    assert!(told.contains(why), "{told}");
    assert_eq!(camera["state"], "lost", "{told}");
    assert_eq!(camera["published"], 0, "{told}");
    server.line(why);
    drop(vandal);
    let frames = Camera::start(scratch.path(), 10.0, Maker::new(3000));
    let part = stream.part_that(|part| part.notice().is_none());
    Maker::new(3000).verify(&part.jpeg);
    let camera = self::camera(&server);
    assert_eq!(camera["state"], "live", "after {told}");
    let published = camera["published"].as_u64().unwrap();
    // Who publishes counts a frame when it is in place, and may be interrupted in between; so the count is that of the end.
    // What was replaced before anybody looked at it may have been a frame: the vandal's last file and the empty one.
    let made = frames.end() + 2;
    assert!((1..=made).contains(&published), "{published} of {made}");
}

#[test]
fn viewers_of_a_directory_in_which_nothing_is_usable_are_told_the_defect() {
    thread::scope(|scope| {
        for (act, why) in DEFECTS {
            scope.spawn(|| is_told_and_goes_on(*act, why));
        }
    });
}

#[test]
fn a_stream_that_had_frames_is_told_the_defect_of_those_that_follow() {
    let scratch = Scratch::new();
    let server = serve(scratch.path(), &[]);
    let frames = Camera::start(scratch.path(), 10.0, Maker::new(3000));
    let mut stream = watch(&server);
    stream.frame();
    drop(frames);
    // Otherwise it says that nobody captures.
    fs::remove_file(scratch.join("lock")).unwrap();
    let _vandal = Vandal::start(scratch.path(), put_half);
    expect_lost(&mut stream);
    let before = camera(&server);
    assert_eq!(before["state"], "lost");
    // There is more of it, and none of it counts.
    eventually("more broken frames are counted", || {
        camera(&server)["dropped"]["broken"].as_u64() > before["dropped"]["broken"].as_u64()
    });
    assert_eq!(camera(&server)["published"], before["published"]);
}

/// The command for one snapshot says it as well.
#[test]
fn the_snapshot_command_says_that_the_file_is_written_in_place() {
    let scratch = Scratch::new();
    let _vandal = Vandal::start(scratch.path(), write_in_place);
    let dir = scratch.path().to_str().unwrap();
    let words = ["snapshot", dir, "--timeout", "2"];
    let ended = Process::start(crate::common::process::lazycam(&words)).end();
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.log.contains("written in place"), "{}", ended.log);
}

/// A frame whose head says that it has no pixels.
fn without_pixels() -> Vec<u8> {
    let mut bytes = jpeg(1000);
    let sof = bytes
        .windows(2)
        .position(|two| two == [0xFF, 0xC0])
        .unwrap();
    // Behind the marker come length and precision, then height and width (T.81, B.2.2).
    bytes[sof + 5..sof + 9].fill(0);
    bytes
}

#[test]
fn a_source_of_which_all_frames_are_broken_is_lost_with_the_defect_as_the_reason() {
    let scratch = Scratch::new();
    let mut command = run(scratch.path(), &["--source", "stdin"]);
    command.stdin(Stdio::piped());
    let mut server = Process::start(command);
    let mut pipe = server.take_stdin();
    let feeder = thread::spawn(move || {
        use std::io::Write;
        let end = std::time::Instant::now() + Duration::from_secs(12);
        while std::time::Instant::now() < end {
            if pipe.write_all(&without_pixels()).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
        pipe
    });
    let mut stream = watch(&server);
    expect_lost(&mut stream);
    let lost = camera(&server);
    assert_eq!(lost["state"], "lost");
    let why = lost["why"].as_str().unwrap();
    assert!(why.contains("all frames are broken: "), "{why}");
    assert!(lost["dropped"]["broken"].as_u64() > Some(10), "{lost}");
    assert_eq!(lost["published"], 0);
    let since = lost["since"].clone();
    // It stays lost while it is tried again, since the same time.
    thread::sleep(Duration::from_secs(2));
    let still = camera(&server);
    assert_eq!((&still["state"], &still["since"]), (&"lost".into(), &since));
    let pipe = feeder.join().unwrap();
    let _feeder = Feeder::start(pipe, 20.0, Maker::new(3000));
    stream.part_that(|part| part.notice().is_none());
    assert_eq!(camera(&server)["state"], "live");
}

#[test]
fn the_counters_in_the_state_file_are_kept_up_while_somebody_looks() {
    let scratch = Scratch::new();
    let _capture = Process::start(capture(
        scratch.path(),
        &["--size", "160x120", "--fps", "20"],
    ));
    let server = serve(scratch.path(), &[]);
    let mut stream = watch(&server);
    stream.frame();
    let told = || {
        let text = fs::read_to_string(scratch.join("state")).unwrap();
        State::parse(&text).unwrap()
    };
    let first = told();
    assert_eq!(first.phase, Phase::Live);
    let mut last = first.clone();
    for _ in 0..2 {
        let before = last.published;
        stream.part_that(|_| {
            last = told();
            last.published > before
        });
        assert_eq!((last.phase, last.since), (Phase::Live, first.since));
    }
}
