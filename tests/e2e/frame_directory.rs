//! The contract of docs/frame-directory.md, from both sides, through the library.

#![allow(
    clippy::print_stdout,
    reason = "a child process of a test says when it is ready"
)]

use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{self, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::common::{PATIENCE, Scratch, eventually, jpeg, pending, put, queue_limit, skipped};
use lazycam::capture::source::{Captured, Source, Trouble};
use lazycam::capture::{self, CaptureOptions};
use lazycam::frames::demand::{Demand, DemandEvents};
use lazycam::frames::frame::{self, Frame, Links, NoFrame};
use lazycam::frames::publish::Publisher;
use lazycam::frames::state::{Phase, State};
use lazycam::frames::watch::{Change, Watcher};
use lazycam::picture::LARGEST;
use lazycam::snapshot;

#[test]
fn a_directory_that_must_not_be_a_symlink_is_none_if_it_is_one() {
    let scratch = Scratch::new();
    let (dir, link) = (scratch.join("dir"), scratch.join("link"));
    fs::create_dir(&dir).unwrap();
    put(&dir, &jpeg(1));
    symlink(&dir, &link).unwrap();
    assert!(Frame::open_with(&dir, Links::Refuse).is_ok());
    assert!(Frame::open_with(&link, Links::Follow).is_ok());
    let refused = Frame::open_with(&link, Links::Refuse);
    assert!(matches!(refused, Err(NoFrame::NotYet)), "{refused:?}");
    assert!(frame::ask_with(&link, Links::Refuse).is_err());
    // Above it they are no concern of this.
    let below = link.join("below");
    fs::create_dir(&below).unwrap();
    put(&below, &jpeg(1));
    assert!(Frame::open_with(&below, Links::Refuse).is_ok());
}

#[test]
fn a_published_frame_is_what_a_reader_opens() {
    let scratch = Scratch::new();
    let dir = scratch.join("made/with/parents");
    let mut publisher = Publisher::open(&dir).unwrap();
    publisher.announce().unwrap();
    assert!(matches!(Frame::open(&dir), Err(NoFrame::NotYet)));
    let captured = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789);
    publisher.publish(&jpeg(9), captured).unwrap();
    let old = Frame::open(&dir).unwrap();
    assert_eq!(old.len(), jpeg(9).len() as u64);
    assert_eq!((old.size().width, old.size().height), (16, 8));
    assert_eq!(old.captured(), captured);
    publisher.publish(&jpeg(10_000), captured).unwrap();
    assert_eq!(Frame::open(&dir).unwrap().len(), jpeg(10_000).len() as u64);
    let mut bytes = Vec::new();
    let mut file = File::from(old.as_fd().try_clone_to_owned().unwrap());
    assert_eq!(file.stream_position().unwrap(), 0);
    file.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, jpeg(9), "a frame in hand does not change");
    let mode = fs::metadata(dir.join("current.jpg")).unwrap().permissions();
    assert_eq!(mode.mode() & 0o444, 0o444);
}

#[test]
fn what_is_no_frame_is_told_as_what_it_is() {
    let scratch = Scratch::new();
    let (dir, current) = (scratch.path(), scratch.join("current.jpg"));
    let told = || Frame::open(dir).unwrap_err().to_string();
    assert!(matches!(frame::ask(dir), Err(NoFrame::NotYet)));
    assert_eq!(told(), "no frame yet");
    put(dir, &jpeg(3)[..jpeg(3).len() - 1]);
    assert_eq!(told(), "broken frame: no EOI at the end");
    put(dir, b"<html>");
    assert_eq!(told(), "broken frame: no SOI at the start");
    put(dir, b"x");
    assert!(told().starts_with("broken frame"));
    let file = File::create(&current).unwrap();
    file.set_len(LARGEST + 1).unwrap();
    assert!(matches!(Frame::open(dir), Err(NoFrame::TooLarge(len)) if len == LARGEST + 1));
    fs::remove_file(&current).unwrap();
    symlink("/dev/zero", &current).unwrap();
    assert!(matches!(Frame::open(dir), Err(NoFrame::NotAFile)));
    fs::remove_file(&current).unwrap();
    let made = Command::new("mkfifo").arg(&current).status().unwrap();
    assert!(made.success());
    assert!(matches!(Frame::open(dir), Err(NoFrame::NotAFile)));
    fs::remove_file(&current).unwrap();
    fs::create_dir(&current).unwrap();
    assert!(matches!(Frame::open(dir), Err(NoFrame::NotAFile)));
}

#[test]
fn a_long_header_is_read_further() {
    let scratch = Scratch::new();
    let mut bytes = vec![0xFF, 0xD8, 0xFF, 0xE1, 0xFF, 0x00];
    bytes.resize(bytes.len() + 0xFF00 - 2, 7);
    bytes.extend(&jpeg(5)[2..]);
    put(scratch.path(), &bytes);
    assert_eq!(Frame::open(scratch.path()).unwrap().size().width, 16);
}

#[test]
fn opening_is_demand_and_nothing_else_is() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    let mut publisher = Publisher::open(dir).unwrap();
    let mut demand = Demand::new(dir).unwrap();
    publisher.announce().unwrap();
    publisher.publish(&jpeg(1), SystemTime::now()).unwrap();
    fs::metadata(dir.join("current.jpg")).unwrap();
    fs::read_dir(dir).unwrap().count();
    fs::read(dir.join("lock")).unwrap();
    assert_eq!(
        demand.drain(Instant::now()).unwrap(),
        DemandEvents::default()
    );
    let old = Frame::open(dir).unwrap();
    assert!(demand.drain(Instant::now()).unwrap().asked);
    publisher.publish(&jpeg(2), SystemTime::now()).unwrap();
    let mut file = File::from(old.as_fd().try_clone_to_owned().unwrap());
    file.read_to_end(&mut Vec::new()).unwrap();
    assert!(
        !demand.drain(Instant::now()).unwrap().asked,
        "a slow reader asks nothing"
    );
    frame::ask(dir).unwrap();
    assert!(demand.drain(Instant::now()).unwrap().asked);
}

#[test]
fn a_flood_of_requests_counts_as_one_and_may_have_hidden_a_loss() {
    let Some(limit) = queue_limit() else {
        return;
    };
    let scratch = Scratch::new();
    let mut demand = Demand::new(scratch.path()).unwrap();
    for name in ["a", "b"] {
        fs::write(scratch.join(name), "").unwrap();
    }
    for _ in 0..=limit / 2 {
        File::open(scratch.join("a")).unwrap();
        File::open(scratch.join("b")).unwrap();
    }
    let (asked, lost) = (true, true);
    assert_eq!(
        demand.drain(Instant::now()).unwrap(),
        DemandEvents { asked, lost }
    );
    assert_eq!(
        demand.drain(Instant::now()).unwrap(),
        DemandEvents::default()
    );
}

#[test]
fn a_second_producer_is_told_who_is_the_first() {
    let scratch = Scratch::new();
    let first = Publisher::open(scratch.path()).unwrap();
    let error = Publisher::open(scratch.path()).unwrap_err();
    assert!(matches!(error, lazycam::Error::Busy(_)));
    let expected = format!(
        "frame directory {} has a producer already: pid {} ",
        scratch.path().display(),
        process::id()
    );
    assert!(error.to_string().starts_with(&expected), "{error}");
    drop(first);
    Publisher::open(scratch.path()).unwrap();
}

/// Not a test by itself: the producer that the next one kills.
#[test]
fn a_producer_to_be_killed() {
    let Some(dir) = env::var_os("LAZYCAM_TEST_VICTIM") else {
        return;
    };
    let dir = Path::new(&dir);
    let mut publisher = Publisher::open(dir).unwrap();
    publisher.publish(&jpeg(1), SystemTime::now()).unwrap();
    fs::write(dir.join(".new/current.jpg"), "half a fr").unwrap();
    fs::write(dir.join(".current.jpg.4711"), "half a fr").unwrap();
    println!("ready");
    thread::sleep(PATIENCE);
}

#[test]
fn what_a_killed_producer_left_is_cleaned_up_by_the_next() {
    let scratch = Scratch::new();
    let mut victim = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "frame_directory::a_producer_to_be_killed",
            "--nocapture",
        ])
        .env("LAZYCAM_TEST_VICTIM", scratch.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    assert!(
        lines
            .map_while(Result::ok)
            .any(|line| line.ends_with("ready"))
    );
    let error = Publisher::open(scratch.path()).unwrap_err().to_string();
    assert!(error.contains(&format!("pid {}", victim.id())), "{error}");
    victim.kill().unwrap();
    victim.wait().unwrap();
    let mut publisher = Publisher::open(scratch.path()).unwrap();
    publisher.announce().unwrap();
    let names = fs::read_dir(scratch.path()).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [".new", "current.jpg", "lock"]);
    let staged = fs::read_dir(scratch.join(".new")).unwrap();
    assert_eq!(staged.count(), 0);
    assert!(matches!(Frame::open(scratch.path()), Err(NoFrame::NotYet)));
}

/// As mjpg-streamer's `input_file` watches, which looks at the first event of each read alone.
#[test]
fn a_frame_is_one_event_to_whoever_watches_the_directory() {
    use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
    let scratch = Scratch::new();
    let mut publisher = Publisher::open(scratch.path()).unwrap();
    publisher.announce().unwrap();
    let events = inotify::init(CreateFlags::NONBLOCK).unwrap();
    inotify::add_watch(&events, scratch.path(), WatchFlags::ALL_EVENTS).unwrap();
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(&events, &mut buffer);
    for _ in 0..3 {
        publisher.publish(&jpeg(9), SystemTime::now()).unwrap();
        let event = reader.next().unwrap();
        assert_eq!(event.events(), ReadFlags::MOVED_TO);
        assert_eq!(event.file_name(), Some(c"current.jpg"));
        assert!(reader.next().is_err(), "a second event");
    }
}

#[test]
fn what_a_producer_tells_is_believed_although_the_clock_was_set_back_since_it_took_the_directory() {
    let scratch = Scratch::new();
    let mut publisher = Publisher::open(scratch.path()).unwrap();
    let state = State::new(Phase::Live, SystemTime::UNIX_EPOCH);
    let told = || State::read(scratch.path(), Links::Follow);
    publisher.tell(&state).unwrap();
    assert_eq!(told().as_ref(), Some(&state));
    let lock = File::options().write(true).open(scratch.join("lock"));
    let later = SystemTime::now() + Duration::from_secs(3600);
    lock.unwrap().set_modified(later).unwrap();
    assert_eq!(told(), None, "as if it were a predecessor's");
    publisher.tell(&state).unwrap();
    assert_eq!(told(), Some(state));
}

#[test]
fn a_full_file_system_costs_that_frame_and_leaves_nothing_behind() {
    let scratch = Scratch::new();
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "lazycam-test"])
        .arg(scratch.path())
        .output();
    if !mount.is_ok_and(|done| done.status.success()) {
        skipped("a tmpfs of 64 KiB cannot be mounted here (needs root)");
        return;
    }
    let full = publish_until_full(scratch.path());
    let unmounted = Command::new("umount").arg(scratch.path()).status();
    assert!(unmounted.unwrap().success());
    full.unwrap();
}

fn publish_until_full(dir: &Path) -> Result<(), String> {
    let mut publisher = Publisher::open(dir).map_err(|error| error.to_string())?;
    let mut publish = |len| publisher.publish(&jpeg(len), SystemTime::now());
    publish(20_000).map_err(|error| error.to_string())?;
    let error = publish(100_000).err().ok_or("100 kB fit into 64 KiB")?;
    if error.kind() != std::io::ErrorKind::StorageFull {
        return Err(error.to_string());
    }
    if dir.join(".new/current.jpg").exists() {
        return Err("the temporary is still there".into());
    }
    let frame = Frame::open(dir).map_err(|error| error.to_string())?;
    if frame.len() != jpeg(20_000).len() as u64 {
        return Err("the frame before is gone".into());
    }
    publish(30_000).map_err(|error| format!("the next frame: {error}"))
}

#[test]
fn a_directory_that_was_moved_away_is_not_mistaken_for_the_new_one() {
    let scratch = Scratch::new();
    let (dir, away) = (scratch.join("camera"), scratch.join("away"));
    let mut publisher = Publisher::open(&dir).unwrap();
    let mut demand = Demand::new(&dir).unwrap();
    assert!(publisher.in_place());
    fs::rename(&dir, &away).unwrap();
    fs::create_dir(&dir).unwrap();
    assert!(demand.drain(Instant::now()).unwrap().lost);
    assert!(!publisher.in_place());
    publisher.publish(&jpeg(1), SystemTime::now()).unwrap();
    assert!(away.join("current.jpg").exists());
    assert!(!dir.join("current.jpg").exists());
}

/// Frames every 5 ms while started, and the end of input when the file `end` exists. It cannot be started while
/// there is a file of that name with `.lost` at its end.
struct Fake {
    end: std::path::PathBuf,
    next: Option<Instant>,
    frame: Vec<u8>,
}

impl Source for Fake {
    fn describe(&self) -> String {
        "fake camera".into()
    }

    fn start(&mut self, now: Instant) -> Result<(), Trouble> {
        if self.end.with_extension("lost").exists() {
            return Err(Trouble::Lost("unplugged".into()));
        }
        self.next = Some(now);
        Ok(())
    }

    fn stop(&mut self) {
        self.next = None;
    }

    fn fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        None
    }

    fn deadline(&self) -> Option<Instant> {
        self.next
    }

    fn advance(&mut self, now: Instant) -> Result<Option<Captured>, Trouble> {
        if self.end.exists() {
            let (message, clean) = ("the fake has ended".into(), false);
            return Err(Trouble::Ended { message, clean });
        }
        self.next = Some(now + Duration::from_millis(5));
        let (at, settled) = (SystemTime::now(), true);
        Ok(Some(Captured { at, settled }))
    }

    fn jpeg(&mut self) -> Result<&[u8], Trouble> {
        Ok(&self.frame)
    }
}

/// Runs a camera into `dir`; the file `end` ends it once somebody asks.
fn camera(dir: &Path, end: &Path) -> thread::JoinHandle<lazycam::Result<()>> {
    let options = CaptureOptions {
        dir: dir.to_owned(),
        linger: Duration::from_millis(50),
        settle: Duration::from_secs(1),
        fps: None,
        settable: Vec::new(),
        mailbox: None,
        is_supervised: false,
    };
    let (end, next, frame) = (end.to_owned(), None, jpeg(1000));
    thread::spawn(move || capture::run(&mut Fake { end, next, frame }, &options))
}

fn end(camera: thread::JoinHandle<lazycam::Result<()>>, dir: &Path, end: &Path) {
    fs::write(end, "").unwrap();
    let _ = frame::ask(dir);
    let error = camera.join().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the fake has ended");
}

#[test]
fn a_snapshot_waits_for_a_producer_that_comes_later_and_takes_a_new_frame() {
    let scratch = Scratch::new();
    let (dir, out, stop) = (
        scratch.join("x/y"),
        scratch.join("out.jpg"),
        scratch.join("end"),
    );
    let taker = thread::spawn({
        let (dir, out) = (dir.clone(), out.clone());
        move || snapshot::run(&dir, Some(&out), Some(PATIENCE))
    });
    thread::sleep(Duration::from_millis(50));
    // It comes as a whole, so that its old frame is not seen to arrive.
    let made = scratch.join("made");
    fs::create_dir_all(made.join("y")).unwrap();
    put(&made.join("y"), &jpeg(1));
    let old = File::open(made.join("y/current.jpg")).unwrap();
    old.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    fs::rename(&made, scratch.join("x")).unwrap();
    let camera = camera(&dir, &stop);
    taker.join().unwrap().unwrap();
    assert_eq!(fs::read(&out).unwrap(), jpeg(1000));
    // Off again: nothing is published any more, and one request brings it back.
    let stamp = || {
        fs::metadata(dir.join("current.jpg"))
            .unwrap()
            .modified()
            .unwrap()
    };
    eventually("the camera rests", || {
        let before = stamp();
        thread::sleep(Duration::from_millis(100));
        stamp() == before
    });
    snapshot::run(&dir, Some(&out), Some(PATIENCE)).unwrap();
    end(camera, &dir, &stop);
}

#[test]
fn a_snapshot_that_nobody_answers_tells_the_directory() {
    let scratch = Scratch::new();
    let short = Duration::from_millis(30);
    let take = |dir: &Path| {
        snapshot::run(dir, None, Some(short))
            .unwrap_err()
            .to_string()
    };
    let missing = scratch.join("missing");
    let expected = format!(
        "no new frame in {} within 0.03 s: there is no such directory",
        missing.display()
    );
    assert_eq!(take(&missing), expected);
    put(scratch.path(), &jpeg(1));
    assert!(take(scratch.path()).ends_with("is something capturing into it?"));
}

#[test]
fn a_running_producer_makes_a_deleted_or_replaced_directory_again() {
    let scratch = Scratch::new();
    let (dir, stop) = (scratch.join("camera"), scratch.join("end"));
    let camera = camera(&dir, &stop);
    let mut watcher = Watcher::new().unwrap();
    let id = watcher.add(&dir);
    eventually("there is a directory", || dir.join("current.jpg").exists());
    // Off: only the directory can have woken it.
    fs::remove_dir_all(&dir).unwrap();
    eventually("it is made again", || dir.join("current.jpg").exists());
    snapshot::run(&dir, Some(&scratch.join("out.jpg")), Some(PATIENCE)).unwrap();
    // Streaming.
    fs::rename(&dir, scratch.join("away")).unwrap();
    snapshot::run(&dir, Some(&scratch.join("out.jpg")), Some(PATIENCE)).unwrap();
    assert!(pending(&mut watcher).contains(&(id, Change::Returned)));
    end(camera, &dir, &stop);
}

#[test]
fn a_reader_that_waits_for_a_lost_camera_need_not_ask_again_by_itself() {
    let scratch = Scratch::new();
    let (dir, stop, out) = (
        scratch.join("camera"),
        scratch.join("end"),
        scratch.join("out.jpg"),
    );
    fs::write(stop.with_extension("lost"), "").unwrap();
    let camera = camera(&dir, &stop);
    let taker = thread::spawn(move || snapshot::run(&dir, Some(&out), Some(PATIENCE)));
    // Long enough for the first retry to fail as well.
    thread::sleep(Duration::from_millis(700));
    assert!(!taker.is_finished());
    fs::remove_file(stop.with_extension("lost")).unwrap();
    taker.join().unwrap().unwrap();
    end(camera, &scratch.join("camera"), &stop);
}
