//! What it outlasts around it: other kinds of file where a frame or its directory should be, processes that are stopped for a
//! while, a clock that jumps by hours, little memory. Viewers stay, new ones are served, nothing spins, no descriptor is left.

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::common::frames::Maker;
use crate::common::http::{Client, Stream, expect_new_frame};
use crate::common::process::{
    Process, Spent, capture, descriptors, is_emulated, lazycam, run, serve, serve_arguments,
    wait_until_asleep, wrapped,
};
use crate::common::producer::{Camera, Hand};
use crate::common::{PATIENCE, Scratch, eventually, jpeg, skipped};
use rustix::process::{Signal, kill_process};

fn watch(server: &Process) -> Stream {
    Client::connect(server.address()).stream("/stream")
}

/// What can stand where something else should.
const KINDS: [&str; 11] = [
    "a gigabyte",
    "a directory",
    "a fifo",
    "a device",
    "a socket",
    "a link to a frame",
    "a link to nothing",
    "a link to itself",
    "an empty file",
    "rubbish",
    "half a frame",
];

/// Makes one of them. False, said loudly, if this user may not.
fn make(kind: &str, path: &Path, elsewhere: &Path) -> bool {
    let program = |name: &str, arguments: &[&str]| {
        let done = Command::new(name).arg(path).args(arguments).output();
        done.is_ok_and(|done| done.status.success())
    };
    match kind {
        "a gigabyte" => File::create(path)
            .and_then(|file| file.set_len(1 << 30))
            .unwrap(),
        "a directory" => fs::create_dir(path).unwrap(),
        "a fifo" => assert!(program("mkfifo", &[])),
        "a device" if !program("mknod", &["c", "1", "3"]) => {
            skipped("a device cannot be made here (needs root)");
            return false;
        }
        "a device" => assert!(fs::metadata(path).unwrap().file_type().is_char_device()),
        "a socket" => drop(std::os::unix::net::UnixListener::bind(path).unwrap()),
        "a link to a frame" => symlink(elsewhere, path).unwrap(),
        "a link to nothing" => symlink("nowhere", path).unwrap(),
        "a link to itself" => symlink(path, path).unwrap(),
        "an empty file" => fs::write(path, "").unwrap(),
        "rubbish" => fs::write(path, "<html>".repeat(1000)).unwrap(),
        "half a frame" => fs::write(path, &jpeg(1000)[..500]).unwrap(),
        other => panic!("{other}"),
    }
    true
}

fn remove(path: &Path) {
    if fs::remove_file(path).is_err() {
        fs::remove_dir_all(path).unwrap();
    }
}

#[test]
fn whatever_takes_the_place_of_the_newest_frame_viewers_wait_for_the_next_one() {
    let scratch = Scratch::new();
    let (dir, current) = (scratch.join("frames"), scratch.join("frames/current.jpg"));
    let maker = Maker::new(5000);
    fs::write(
        scratch.join("frame"),
        maker.make(&lazycam::capture::pattern::stamp::Stamp::now(99)),
    )
    .unwrap();
    let mut hand = Hand::new(&dir, maker.clone());
    let server = serve(&dir, &[]);
    let mut viewer = watch(&server);
    hand.wait_until_asked();
    let mut last = hand.publish().frame;
    assert_eq!(viewer.number(&maker), last);
    let before = descriptors(server.pid());
    let (mut left, limit) = (KINDS.to_vec(), Instant::now() + PATIENCE);
    while let Some(kind) = left.pop() {
        let aside = scratch.join("aside");
        if !make(kind, &aside, &scratch.join("frame")) {
            continue;
        }
        if kind == "a directory" {
            fs::remove_file(&current).unwrap();
        }
        let spent = Spent::by(server.pid());
        fs::rename(&aside, &current).unwrap();
        wait_until_asleep(server.pid());
        let mut other = Client::connect(server.address());
        let asked = Instant::now();
        other.request("GET", "/snapshot");
        let hasty = other.hears_something(Duration::from_millis(200));
        let out_of_time = asked.elapsed() >= Duration::from_millis(1400);
        assert!(!hasty || out_of_time, "an answer while there is {kind}");
        spent.is_little(kind);
        if kind == "a directory" {
            fs::remove_dir(&current).unwrap();
        }
        last = hand.publish().frame;
        // The one before may have been sent again meanwhile.
        let next = viewer.part_after(last - 1);
        assert_eq!(maker.verify(&next.jpeg).frame, last, "after {kind}");
        let reply = other.reply();
        if reply.is_out_of_time(asked) && Instant::now() < limit {
            left.push(kind);
        } else {
            assert_eq!(reply.head.status, 200, "after {kind}");
            assert_eq!(maker.verify(&reply.body).frame, last, "after {kind}");
        }
        drop(other);
        eventually("its descriptors are closed", || {
            descriptors(server.pid()) <= before
        });
    }
    assert!(server.stop().status.success());
}

#[test]
fn whatever_takes_the_place_of_the_directory_is_waited_away() {
    let scratch = Scratch::new();
    let dir = scratch.join("frames");
    let maker = Maker::new(5000);
    let mut camera = Some(Camera::start(&dir, 30.0, maker.clone()));
    let server = serve(&dir, &[]);
    let mut viewer = watch(&server);
    expect_new_frame(&mut viewer);
    let before = descriptors(server.pid());
    // What is in it makes no difference here.
    let not_these = ["a directory", "a socket", "an empty file", "half a frame"];
    let kinds = KINDS.into_iter();
    for kind in kinds.filter(|kind| !not_these.contains(kind)) {
        drop(camera.take());
        remove(&dir);
        let spent = Spent::by(server.pid());
        if make(kind, &dir, &scratch.join("elsewhere")) {
            assert_eq!(
                Client::connect(server.address()).get("/state").head.status,
                200
            );
            thread::sleep(Duration::from_millis(200));
            spent.is_little(kind);
            remove(&dir);
        }
        camera = Some(Camera::start(&dir, 30.0, maker.clone()));
        expect_new_frame(&mut viewer);
    }
    eventually("descriptors are closed", || {
        descriptors(server.pid()) <= before
    });
    assert!(server.stop().status.success());
}

#[test]
fn a_capture_process_goes_on_when_what_took_the_place_of_its_directory_is_gone() {
    let scratch = Scratch::new();
    let dir = scratch.join("frames");
    let server = Process::start(run(&dir, &["--size", "64x48", "--linger", "0.2"]));
    let mut viewer = watch(&server);
    expect_new_frame(&mut viewer);
    let capture = server.child();
    for kind in ["rubbish", "a link to nothing"] {
        fs::rename(&dir, scratch.join(&format!("away from {kind}"))).unwrap();
        let spent = Spent::by(capture);
        // It makes its directory again, perhaps before this.
        if !dir.exists() && fs::symlink_metadata(&dir).is_err() {
            let aside = scratch.join("aside");
            make(kind, &aside, &aside);
            if fs::rename(&aside, &dir).is_err() {
                remove(&aside);
            }
        }
        thread::sleep(Duration::from_millis(200));
        spent.is_little(kind);
        if !dir.is_dir() {
            remove(&dir);
        }
        expect_new_frame(&mut viewer);
    }
    assert_eq!(server.child(), capture, "the same process");
}

#[test]
fn after_a_server_was_stopped_for_a_while_its_viewers_get_the_newest_frame_first() {
    let scratch = Scratch::new();
    let maker = Maker::new(5000);
    let mut hand = Hand::new(scratch.path(), maker.clone());
    let server = serve(scratch.path(), &[]);
    let mut viewer = watch(&server);
    hand.wait_until_asked();
    hand.publish();
    assert_eq!(viewer.number(&maker), 1);
    hand.wait_until_asked();
    server.signal(Signal::STOP);
    for _ in 0..5 {
        hand.publish();
        thread::sleep(Duration::from_millis(20));
    }
    // It comes while nobody answers.
    let mut other = Client::connect(server.address());
    other.request("GET", "/snapshot");
    server.signal(Signal::CONT);
    assert_eq!(viewer.number(&maker), 6);
    hand.wait_until_asked();
    hand.publish();
    assert!(viewer.number(&maker) > 6);
    assert!(maker.verify(&other.reply().body).frame >= 6);
}

#[test]
fn while_a_capture_process_is_stopped_viewers_are_sent_its_last_frame_again() {
    let scratch = Scratch::new();
    let server = Process::start(run(&scratch.join("frames"), &["--size", "64x48"]));
    let mut viewer = watch(&server);
    expect_new_frame(&mut viewer);
    let mut last = viewer.part();
    let capture = server.child();
    let signal = |signal| kill_process(crate::common::process::pid(capture), signal).unwrap();
    signal(Signal::STOP);
    let spent = Spent::by(server.pid());
    // What was on its way, and then the same one, which is all there is.
    loop {
        let part = viewer.part();
        let repeated = part.jpeg == last.jpeg;
        last = part;
        if repeated {
            break;
        }
    }
    spent.is_little("without a frame");
    signal(Signal::CONT);
    expect_new_frame(&mut viewer);
    assert_eq!(server.child(), capture, "the same process");
}

/// The library that gives a process another clock, and only the one on the wall.
fn other_clock() -> Option<&'static str> {
    const PLACES: [&str; 3] = [
        "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
        "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
        "/usr/lib/arm-linux-gnueabihf/faketime/libfaketimeMT.so.1",
    ];
    if is_emulated() || std::env::var_os("LAZYCAM_BIN").is_some() {
        skipped("a library cannot be put into an emulated or a static program");
        return None;
    }
    let found = PLACES.into_iter().find(|place| Path::new(place).exists());
    if found.is_none() {
        skipped("libfaketime is not installed");
    }
    found
}

#[test]
fn a_clock_that_jumps_by_hours_both_ways_holds_nobody_up() {
    let Some(library) = other_clock() else {
        return;
    };
    let scratch = Scratch::new();
    fs::create_dir(scratch.join("frames")).unwrap();
    let offset = scratch.join("frames/offset");
    let set = |hours: i64| {
        fs::write(scratch.join("new"), format!("{:+}\n", hours * 3600)).unwrap();
        fs::rename(scratch.join("new"), &offset).unwrap();
    };
    set(0);
    // As two: what `run` starts is in its sandbox, where the library cannot make what it needs.
    let start = |mut command: Command| {
        command.env("LD_PRELOAD", library);
        command.env("FAKETIME_TIMESTAMP_FILE", &offset);
        for name in [
            "FAKETIME_NO_CACHE",
            "FAKETIME_DONT_FAKE_MONOTONIC",
            "DONT_FAKE_MONOTONIC",
            "NO_FAKE_STAT",
        ] {
            command.env(name, "1");
        }
        Process::start(command)
    };
    let dir = scratch.join("frames");
    let camera = start(capture(&dir, &["--size", "64x48", "--fps", "20"]));
    let server = start(lazycam(&serve_arguments(&dir, &[])));
    let mut viewer = watch(&server);
    expect_new_frame(&mut viewer);
    for hours in [5, -7, 0] {
        let spent = Spent::by(server.pid());
        set(hours);
        let ahead = |timestamp: Duration| {
            let now = SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap();
            (timestamp.as_secs_f64() - now.as_secs_f64()) / 3600.0
        };
        let mut seen = 0;
        viewer.part_that(|part| {
            // From the moment of the jump on every frame has the other time, and they keep coming.
            seen += u32::from((ahead(part.timestamp) - hours as f64).abs() < 0.1);
            seen > 10
        });
        for target in ["/snapshot", "/snapshot?max_age=1"] {
            Client::connect(server.address()).picture(target);
        }
        expect_new_frame(&mut watch(&server));
        spent.is_little("with another clock");
    }
    assert!(camera.stop().status.success());
    assert!(server.stop().status.success());
}

#[test]
fn in_little_memory_many_viewers_are_served() {
    if is_emulated() {
        skipped("the memory would be the emulator's");
        return;
    }
    let scratch = Scratch::new();
    let frames = scratch.join("frames");
    // Of the address space of each process, in KiB.
    let wrapper = ["sh", "-c", "ulimit -v 32768 && exec \"$@\"", "sh"];
    let mut words = vec!["run", "--frames", frames.to_str().unwrap()];
    words.extend(["--listen", "127.0.0.1:0", "--size", "320x240"]);
    let server = Process::start(wrapped(&wrapper, &words));
    let mut viewers: Vec<_> = (0..200).map(|_| watch(&server)).collect();
    for viewer in &mut viewers {
        viewer.part();
        viewer.part();
    }
    expect_new_frame(&mut viewers[0]);
    assert!(server.stop().status.success());
}

/// A user namespace of its own, in which a limit of inotify is `limit` (namespaces(7), /proc/sys/user). `None`, said
/// loudly, where there are none.
fn with_limit(limit: &str) -> Option<[&str; 7]> {
    let namespace = ["unshare", "--user", "--map-root-user"];
    let script = "echo \"${0#*=}\" >/proc/sys/user/\"${0%=*}\" && exec \"$@\"";
    let wrapper = [namespace.as_slice(), &["sh", "-c", script, limit]].concat();
    let possible = Command::new(wrapper[0])
        .args(&wrapper[1..])
        .arg("true")
        .output()
        .is_ok_and(|done| done.status.success());
    if is_emulated() || !possible {
        skipped("no user namespace with its own limits of inotify can be had here");
        return None;
    }
    wrapper.try_into().ok()
}

#[test]
fn where_the_kernel_gives_no_inotify_instance_or_watch_the_end_tells_the_limit() {
    let frames = Scratch::new();
    let serve = serve_arguments(frames.path(), &[]);
    let capture = ["capture", "--frames", frames.path().to_str().unwrap()];
    let cases = [
        (
            "max_inotify_instances=0",
            serve.as_slice(),
            "max_user_instances",
        ),
        ("max_inotify_instances=0", &capture, "max_user_instances"),
        ("max_inotify_watches=0", &capture, "max_user_watches"),
    ];
    for (limit, words, told) in cases {
        let Some(wrapper) = with_limit(limit) else {
            return;
        };
        let ended = Process::start(wrapped(&wrapper, words)).end();
        assert_eq!(ended.status.code(), Some(1), "{limit}: {}", ended.log);
        assert!(ended.log.contains(told), "{limit}: {}", ended.log);
    }
}

#[test]
fn a_server_without_watches_waits_until_the_kernel_has_some() {
    let Some(wrapper) = with_limit("max_inotify_watches=0") else {
        return;
    };
    let frames = Scratch::new();
    let _camera = Camera::start(frames.path(), 20.0, Maker::new(5000));
    let server = Process::start(wrapped(&wrapper, &serve_arguments(frames.path(), &[])));
    let line = server.line("trying again");
    assert!(line.contains("max_user_watches"), "{line}");
    let spent = Spent::by(server.pid());
    let mut viewer = watch(&server);
    spent.is_little("without a watch");
    set_watches(&server, 1000);
    expect_new_frame(&mut viewer);
    assert!(server.stop().status.success());
}

/// How many watches a process with such a limit may have.
fn set_watches(process: &Process, count: u32) {
    let set = format!("echo {count} >/proc/sys/user/max_inotify_watches");
    let done = Command::new("nsenter")
        .args(["--user", "--preserve-credentials", "--target"])
        .args([&process.pid().to_string(), "sh", "-c", &set])
        .status();
    assert!(done.unwrap().success(), "the limit cannot be set");
}

#[test]
fn who_asks_while_a_capture_process_has_no_watch_is_heard_when_it_has_one() {
    let Some(wrapper) = with_limit("max_inotify_watches=1000") else {
        return;
    };
    let scratch = Scratch::new();
    let dir = scratch.join("front");
    let current = dir.join("current.jpg");
    let words = ["capture", "--frames", dir.to_str().unwrap()];
    let capture = Process::start(wrapped(&wrapper, &words));
    eventually("it is announced", || current.exists());
    set_watches(&capture, 0);
    fs::remove_dir_all(&dir).unwrap();
    capture.line("trying again");
    eventually("it is announced anew", || current.exists());
    // Nobody sees this.
    fs::File::open(&current).unwrap();
    set_watches(&capture, 1000);
    let has_frame = || fs::metadata(&current).is_ok_and(|about| about.len() > 0);
    eventually("there is a frame", has_frame);
    assert!(capture.stop().status.success());
}
