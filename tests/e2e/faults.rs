//! What goes wrong around it: directories that vanish, queues that overflow, no space, no descriptors, too many
//! clients. Viewers stay, and it goes on when the trouble is over.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ChildStdin, Stdio};
use std::thread;
use std::time::Duration;

use crate::common::frames::Maker;
use crate::common::http::{Client, Stream, expect_new_frame};
use crate::common::process::{
    Process, capture, clean, cpu_ticks, run, serve, serve_arguments, sockets, words, wrapped,
};
use crate::common::producer::{Camera, Feeder, Hand};
use crate::common::tables::without_tables;
use crate::common::{PATIENCE, Scratch, eventually, skipped};
use lazycam::time::clock::monotonic;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, prlimit};

fn watch(server: &Process) -> Stream {
    Client::connect(server.address()).stream("/stream")
}

#[test]
fn a_frame_directory_that_is_made_again_by_a_plain_producer_goes_on_being_watched() {
    let scratch = Scratch::new();
    let dir = scratch.join("some/where");
    let mut camera = Some(Camera::start(&dir, 30.0, Maker::new(5000)));
    // The directory around it is made again as well, which only what lies above has rules for.
    let above = scratch.path().to_str().unwrap();
    let server = serve(&dir, &["--also-read", above]);
    let (mut one, mut other) = (watch(&server), watch(&server));
    for round in 0..4 {
        expect_new_frame(&mut one);
        drop(camera.take());
        match round {
            0 => fs::remove_dir_all(&dir).unwrap(),
            1 => fs::remove_dir_all(scratch.join("some")).unwrap(),
            2 => fs::rename(&dir, scratch.join("away")).unwrap(),
            _ => fs::rename(scratch.join("some"), scratch.join("far")).unwrap(),
        }
        // Sometimes it takes a while, sometimes not.
        thread::sleep(Duration::from_millis(100 * (round % 2)));
        camera = Some(Camera::start(&dir, 30.0, Maker::new(5000)));
        expect_new_frame(&mut other);
    }
    expect_new_frame(&mut one);
}

#[test]
fn a_frame_directory_deleted_under_a_running_capture_is_made_again_by_it() {
    let scratch = Scratch::new();
    let dir = scratch.join("camera");
    let flags = ["--size", "160x120", "--linger", "0.2"];
    let _capture = Process::start(capture(&dir, &flags));
    let server = serve(&dir, &[]);
    let mut stream = watch(&server);
    for round in 0..4 {
        expect_new_frame(&mut stream);
        if round % 2 == 0 {
            fs::remove_dir_all(&dir).unwrap();
        } else {
            fs::rename(&dir, scratch.join(&format!("away{round}"))).unwrap();
        }
        expect_new_frame(&mut stream);
    }
    // While it sleeps, too.
    drop(stream);
    thread::sleep(Duration::from_millis(500));
    fs::remove_dir_all(&dir).unwrap();
    expect_new_frame(&mut watch(&server));
}

#[test]
fn after_a_queue_overflow_the_stream_goes_on_although_the_frames_event_was_lost() {
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let limit: usize = limit.trim().parse().unwrap();
    if limit > 500_000 {
        return skipped(&format!(
            "max_queued_events is {limit}, too many to overflow in a test"
        ));
    }
    let scratch = Scratch::new();
    let dir = scratch.path();
    let maker = Maker::new(5000);
    let mut hand = Hand::new(dir, maker.clone());
    let server = serve(dir, &[]);
    let mut stream = watch(&server);
    hand.wait_until_asked();
    hand.publish();
    assert_eq!(stream.number(&maker), 1);
    hand.wait_until_asked();
    server.signal(Signal::STOP);
    let (a, b) = (dir.join("a"), dir.join("b"));
    fs::write(&a, "").unwrap();
    // Two events of the same kind and name in a row count as one, so the names change.
    for _ in 0..=limit / 2 {
        fs::rename(&a, &b).unwrap();
        fs::rename(&b, &a).unwrap();
    }
    hand.publish();
    hand.was_asked();
    server.signal(Signal::CONT);
    // Nothing told it of this frame, and still it looks.
    hand.wait_until_asked();
    let mut last = stream.number(&maker);
    while last < 3 {
        hand.wait_until_asked();
        hand.publish();
        last = stream.number(&maker);
    }
}

/// `run` in a mount namespace of its own, where the frame directory is a file system of 256 KiB.
fn run_on_little_space(dir: &Path) -> Option<Process> {
    let script = "mount -t tmpfs -o size=256k lazycam-test \"$1\" && shift && exec \"$@\"";
    let dir = dir.to_str().unwrap();
    for unshare in [&["unshare", "-m"][..], &["unshare", "-rm"]] {
        let probe = clean(unshare[0])
            .args(&unshare[1..])
            .args(["sh", "-c", script, "sh", dir, "true"])
            .stderr(Stdio::null())
            .status();
        if !probe.is_ok_and(|status| status.success()) {
            continue;
        }
        let mut command = clean(unshare[0]);
        command.args(&unshare[1..]);
        command.args(["sh", "-c", script, "sh", dir]);
        command.args(words(&[
            "run",
            "--frames",
            dir,
            "--listen",
            "127.0.0.1:0",
            "--source",
            "stdin",
        ]));
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        return Some(Process::start(command));
    }
    skipped("a tmpfs cannot be mounted in a namespace here (unshare, root)");
    None
}

#[test]
fn a_full_file_system_costs_frames_but_no_viewer_and_no_process() {
    let scratch = Scratch::new();
    let Some(mut server) = run_on_little_space(scratch.path()) else {
        return;
    };
    let _feeder = Feeder::start(server.take_stdin(), 30.0, Maker::new(20_000));
    let mut stream = watch(&server);
    expect_new_frame(&mut stream);
    let child = server.child();
    let inside = format!("/proc/{child}/root{}", scratch.path().display());
    let filler = Path::new(&inside).join("filler");
    // Writes until it is full; the frame directory's own files need the rest.
    eventually("the file system is full", || {
        let _ = fs::write(filler.with_extension("more"), [0; 4096]);
        fs::write(&filler, vec![0; 256 << 10]).is_err()
    });
    server.line("cannot publish to");
    // The last frame is sent once more, which is all there is to send.
    stream.part();
    stream.part();
    fs::remove_file(&filler).unwrap();
    fs::remove_file(filler.with_extension("more")).unwrap();
    expect_new_frame(&mut stream);
    assert_eq!(server.child(), child, "the same process");
    stream.number(&Maker::new(20_000));
}

/// Connections with a stream asked for, answered or not.
fn crowd(address: SocketAddr, count: usize) -> Vec<Client> {
    let connect = |_| {
        let mut client = Client::connect(address);
        client.request("GET", "/stream");
        client
    };
    (0..count).map(connect).collect()
}

/// What 3 s cost at most, in hundredths of a second: a loop that spins would use all 300.
const MUCH: u64 = 150;

#[test]
fn at_the_descriptor_limit_viewers_keep_their_frames_and_nothing_spins() {
    let scratch = Scratch::new();
    let maker = Maker::new(5000);
    let _camera = Camera::start(scratch.path(), 20.0, maker.clone());
    let wrapper = ["sh", "-c", "ulimit -n 26 && exec \"$@\"", "sh"];
    let server = Process::start(wrapped(&wrapper, &serve_arguments(scratch.path(), &[])));
    let mut first = watch(&server);
    first.part();
    let alone = sockets(server.pid());
    // As many as it has room for are served, and the rest wait or are sent away.
    let others = crowd(server.address(), 60);
    for _ in 0..20 {
        expect_new_frame(&mut first);
    }
    let before = cpu_ticks(server.pid());
    let start = monotonic();
    while monotonic() - start < Duration::from_secs(3) {
        first.number(&maker);
    }
    let used = cpu_ticks(server.pid()) - before;
    assert!(used < MUCH, "{used} hundredths of a second in 3 s");
    drop(others);
    eventually("all of them are gone", || sockets(server.pid()) == alone);
    expect_new_frame(&mut watch(&server));
    expect_new_frame(&mut first);
    assert!(server.stop().status.success());
}

#[test]
fn a_crowd_from_before_the_first_frame_leaves_a_descriptor_for_it() {
    let scratch = Scratch::new();
    let wrapper = ["sh", "-c", "ulimit -n 26 && exec \"$@\"", "sh"];
    let server = Process::start(wrapped(&wrapper, &serve_arguments(scratch.path(), &[])));
    let mut first = watch(&server);
    let mut others = crowd(server.address(), 60);
    // Answered in their order, so whoever is to get in is in when the first is.
    others[0].hears_something(PATIENCE);
    thread::sleep(Duration::from_millis(300));
    let _camera = Camera::start(scratch.path(), 20.0, Maker::new(5000));
    for _ in 0..20 {
        expect_new_frame(&mut first);
    }
}

#[test]
fn without_any_descriptor_left_accepting_rests_and_goes_on_when_there_is_one() {
    let scratch = Scratch::new();
    let server = serve(scratch.path(), &[]);
    let address = server.address();
    let mut first = Client::connect(address);
    assert_eq!(first.get("/favicon.ico").head.status, 204);
    let pid = crate::common::process::pid(server.pid());
    let none = Rlimit {
        current: Some(0),
        // Inherited from here; to raise it would take root.
        maximum: getrlimit(Resource::Nofile).maximum,
    };
    // From outside and while it runs, so that it could not know beforehand.
    let old = match prlimit(Some(pid), Resource::Nofile, none) {
        Ok(old) => old,
        Err(error) => {
            return skipped(&format!(
                "the limit of a running process cannot be changed here: {error}"
            ));
        }
    };
    let mut second = Client::connect(address);
    second.request("GET", "/favicon.ico");
    let before = cpu_ticks(server.pid());
    thread::sleep(Duration::from_secs(3));
    let used = cpu_ticks(server.pid()) - before;
    assert!(used < MUCH, "{used} hundredths of a second in 3 s");
    assert_eq!(first.get("/favicon.ico").head.status, 204);
    server.line("cannot accept on ");
    prlimit(Some(pid), Resource::Nofile, old).unwrap();
    assert_eq!(second.reply().head.status, 204);
}

#[test]
fn clients_beyond_the_limit_are_told_when_to_come_back_and_others_never_notice() {
    let scratch = Scratch::new();
    let maker = Maker::new(5000);
    let _camera = Camera::start(scratch.path(), 30.0, maker.clone());
    let server = serve(scratch.path(), &["--max-clients", "3"]);
    let mut viewers: Vec<_> = (0..3).map(|_| watch(&server)).collect();
    for viewer in &mut viewers {
        viewer.part();
    }
    for _ in 0..50 {
        // It is told so without having said anything.
        let mut fourth = Client::connect(server.address());
        let reply = fourth.reply();
        assert_eq!(reply.head.status, 503);
        let after = reply.head.field("Retry-After").unwrap();
        assert!(after.parse::<u32>().unwrap() > 0);
        fourth.expect_end();
        for viewer in &mut viewers {
            expect_new_frame(viewer);
        }
    }
    let with_three = sockets(server.pid());
    viewers.pop();
    eventually("its place is free", || sockets(server.pid()) < with_three);
    expect_new_frame(&mut watch(&server));
}

#[test]
fn a_storm_of_clients_beyond_the_limit_is_answered_to_the_last() {
    let scratch = Scratch::new();
    let maker = Maker::new(5000);
    let _camera = Camera::start(scratch.path(), 30.0, maker.clone());
    let server = serve(scratch.path(), &["--max-clients", "3"]);
    let mut viewer = watch(&server);
    viewer.part();
    let mut storm = crowd(server.address(), 200);
    expect_new_frame(&mut viewer);
    let statuses: Vec<_> = storm
        .iter_mut()
        .map(|client| client.head().status)
        .collect();
    assert!(statuses.iter().all(|status| [200, 503].contains(status)));
    assert!(statuses.contains(&503));
    drop(storm);
    for _ in 0..10 {
        expect_new_frame(&mut viewer);
    }
}

/// `run` of what is written into the pipe.
fn run_piped(frames: &Path) -> (Process, ChildStdin) {
    let mut command = run(frames, &["--source", "stdin"]);
    command.stdin(Stdio::piped());
    let mut server = Process::start(command);
    let pipe = server.take_stdin();
    (server, pipe)
}

#[test]
fn broken_frames_on_standard_input_are_dropped_and_counted() {
    let scratch = Scratch::new();
    let (server, mut pipe) = run_piped(&scratch.join("camera"));
    let maker = Maker::new(5000);
    let mut stream = watch(&server);
    let writer = thread::spawn({
        let maker = maker.clone();
        move || {
            use std::io::Write;
            let mut number = 0;
            let mut write = |from: usize, less: usize| {
                number += 1;
                let jpeg = maker.make(&lazycam::capture::pattern::stamp::Stamp::now(number));
                let sent = pipe.write_all(&jpeg[from..jpeg.len() - less]);
                thread::sleep(Duration::from_millis(20));
                sent.is_ok()
            };
            // Whole, cut at the end, without its beginning; until nobody reads any more.
            while write(0, 0) && write(0, 3000) && write(50, 0) && write(0, 0) {}
        }
    });
    let mut last = 0;
    for _ in 0..30 {
        let number = stream.number(&maker);
        assert!(number > last, "{number} after {last}");
        last = number;
    }
    server.line("dropped a broken frame");
    let log = server.stop().log;
    assert!(log.contains(" 0 broken"), "the server saw none: {log}");
    writer.join().unwrap();
}

#[test]
fn thumbnails_in_a_cameras_frames_are_left_out() {
    let scratch = Scratch::new();
    let (server, mut pipe) = run_piped(&scratch.join("camera"));
    let (maker, thumbnails) = (Maker::new(5000), Maker::new(1000));
    let mut stream = watch(&server);
    let writer = thread::spawn({
        let maker = maker.clone();
        move || {
            use std::io::Write;
            let exif = |thumbnail: &[u8]| {
                let length = u16::try_from(thumbnail.len() + 8).unwrap();
                [
                    &[0xFF, 0xE1],
                    &length.to_be_bytes()[..],
                    b"Exif\0\0",
                    thumbnail,
                ]
                .concat()
            };
            let mut write = |number| {
                let stamp = lazycam::capture::pattern::stamp::Stamp::now(number);
                let (jpeg, exif) = (maker.make(&stamp), exif(&thumbnails.make(&stamp)));
                thread::sleep(Duration::from_millis(20));
                pipe.write_all(&[&jpeg[..2], &exif, &jpeg[2..]].concat())
            };
            // Until nobody reads any more.
            (1..).find(|&number| write(number).is_err());
        }
    });
    // Each is, byte by byte, what it was before the thumbnail was put in.
    for _ in 0..5 {
        stream.number(&maker);
    }
    server.stop();
    writer.join().unwrap();
}

#[test]
fn tables_that_a_programs_frames_lack_are_put_in() {
    let scratch = Scratch::new();
    let (server, mut pipe) = run_piped(&scratch.join("camera"));
    // With the usual tables, which are those that are meant where there are none.
    let mut whole = Vec::new();
    let pixels: Vec<u8> = (0..32 * 32).map(|n| (n * 7 % 251) as u8).collect();
    let encoder = jpeg_encoder::Encoder::new(&mut whole, 80);
    encoder
        .encode(&pixels, 32, 32, jpeg_encoder::ColorType::Luma)
        .unwrap();
    let bare = without_tables(&whole);
    assert!(bare.len() < whole.len());
    let mut stream = watch(&server);
    let writer = thread::spawn(move || {
        // Until nobody reads any more.
        while pipe.write_all(&bare).is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    let seen = stream.part_that(|part| part.notice().is_none());
    let decoded = |jpeg: &[u8]| jpeg_decoder::Decoder::new(jpeg).decode().unwrap();
    assert!(without_tables(&seen.jpeg).len() < seen.jpeg.len());
    assert_eq!(decoded(&seen.jpeg), decoded(&whole));
    server.stop();
    writer.join().unwrap();
}

/// Ticks of processor time that a process takes over a while in which it has next to nothing to do.
fn ticks_over(server: &Process, time: Duration) -> u64 {
    let before = cpu_ticks(server.pid());
    thread::sleep(time);
    cpu_ticks(server.pid()) - before
}

/// A hundred ticks are a second: who spins takes 700 here, who sleeps a few.
const SLEEPS: u64 = 70;

#[test]
fn a_viewer_whose_camera_is_gone_keeps_nobody_busy() {
    let scratch = Scratch::new();
    let mut hand = Hand::new(scratch.path(), Maker::new(5000));
    let server = serve(scratch.path(), &[]);
    let mut viewer = watch(&server);
    hand.wait_until_asked();
    hand.publish();
    viewer.part();
    // Nothing is there to be sent again after five seconds.
    hand.publish_bytes(b"");
    let ticks = ticks_over(&server, Duration::from_secs(7));
    assert!(ticks < SLEEPS, "{ticks} ticks in 7 s");
    hand.publish();
    viewer.part();
}

#[test]
fn a_server_that_ends_while_a_slow_viewer_is_in_mid_frame_ends_and_does_not_spin() {
    let scratch = Scratch::new();
    let _camera = Camera::on_demand(scratch.path(), 30.0, Maker::new(400 << 10));
    let server = serve(scratch.path(), &[]);
    let mut slow = Client::connect_narrow(server.address());
    slow.send("GET /stream HTTP/1.0\r\n\r\n");
    // Far enough into the frame for its rate to be known, and a time to be set at which to ask for the next.
    for _ in 0..30 {
        slow.take(4096);
        thread::sleep(Duration::from_millis(10));
    }
    server.signal(Signal::TERM);
    let before = cpu_ticks(server.pid());
    thread::sleep(Duration::from_secs(2));
    let ticks = cpu_ticks(server.pid()).saturating_sub(before);
    assert!(ticks < SLEEPS, "{ticks} ticks in 2 s");
    assert!(server.end().status.success());
}
