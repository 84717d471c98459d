//! Streams: who gets which frames, with whom else, and until when.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::frames::{Maker, decode};
use crate::common::heartbeat::Heartbeat;
use crate::common::http::{Client, Stream};
use crate::common::process::{Process, serve, sockets};
use crate::common::producer::{Camera, Hand};
use crate::common::{PATIENCE, Scratch, eventually};
use lazycam::time::clock::monotonic;

/// Reads until so many frames have come one after the other without a gap. A machine that has better things to do
/// may cost a frame now and then; a server that loses them by itself never gets there.
#[track_caller]
fn expect_every_frame(stream: &mut Stream, maker: &Maker, count: u64) {
    let limit = Instant::now() + PATIENCE;
    let mut last = stream.number(maker);
    let (mut first, mut gaps) = (last, Vec::new());
    while last - first + 1 < count {
        assert!(Instant::now() < limit, "not {count} in a row: {gaps:?}");
        let number = stream.number(maker);
        assert!(number > last, "{number} after {last}");
        if number != last + 1 {
            gaps.push((last, number));
            first = number;
        }
        last = number;
    }
}

#[test]
fn a_fast_viewer_gets_every_frame_beside_one_that_never_reads_and_one_that_leaves_in_mid_frame() {
    let scratch = Scratch::new();
    let maker = Maker::new(200_000);
    let _camera = Camera::start(scratch.path(), 30.0, maker.clone());
    let server = serve(scratch.path(), &[]);
    let mut stuck = Client::connect_narrow(server.address());
    stuck.request("GET", "/stream");
    stuck.take(10);
    let mut fast = Client::connect(server.address()).stream("/stream");
    expect_every_frame(&mut fast, &maker, 30);
    let leaving = thread::spawn({
        let address = server.address();
        move || {
            for _ in 0..20 {
                let mut leaves = Client::connect_narrow(address);
                leaves.request("GET", "/stream");
                leaves.take(30_000);
            }
        }
    });
    expect_every_frame(&mut fast, &maker, 60);
    leaving.join().unwrap();
    let ended = server.stop();
    assert!(ended.status.success());
    assert!(ended.log.contains(" 0 broken"), "{}", ended.log);
}

#[test]
fn many_viewers_are_all_given_every_frame() {
    let scratch = Scratch::new();
    let maker = Maker::new(20_000);
    let _camera = Camera::on_demand(scratch.path(), 30.0, maker.clone());
    let server = serve(scratch.path(), &[]);
    let viewers: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = Client::connect(server.address()).stream("/stream");
            let maker = maker.clone();
            thread::spawn(move || expect_every_frame(&mut stream, &maker, 30))
        })
        .collect();
    for viewer in viewers {
        viewer.join().unwrap();
    }
}

/// Memory of the server that is in no file, in KiB.
fn anonymous_memory(server: &Process) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.unwrap().parse().unwrap()
}

#[test]
fn slow_viewers_beside_fast_ones_keep_no_copies_of_frames() {
    const SLOW: usize = 20;
    let scratch = Scratch::new();
    let maker = Maker::new(200_000);
    let _camera = Camera::start(scratch.path(), 30.0, maker.clone());
    let server = serve(scratch.path(), &[]);
    let mut fast = [0, 1].map(|_| Client::connect(server.address()).stream("/stream"));
    for stream in &mut fast {
        // Enough for both ways to be tried.
        expect_every_frame(stream, &maker, 20);
    }
    let before = anonymous_memory(&server);
    let slow: Vec<_> = (0..SLOW)
        .map(|_| {
            let mut stuck = Client::connect_narrow(server.address());
            stuck.request("GET", "/stream");
            stuck.take(10_000);
            // Another frame for each.
            expect_every_frame(&mut fast[0], &maker, 1);
            stuck
        })
        .collect();
    for stream in &mut fast {
        expect_every_frame(stream, &maker, 20);
    }
    let held = anonymous_memory(&server).saturating_sub(before);
    assert!(held < SLOW as u64 * 50, "{held} KiB for {SLOW} viewers");
    for mut viewer in slow {
        // What was begun is whole, whichever way its pieces came.
        let mut rest = viewer.take(500_000);
        let at = rest.windows(2).position(|at| at == [0xFF, 0xD9]).unwrap();
        rest.drain(..at + 2);
        assert!(rest.starts_with(b"\r\n--boundarydonotcross\r\n"));
    }
}

#[test]
fn a_slow_viewer_gets_whole_frames_that_are_newer_each_time() {
    let scratch = Scratch::new();
    let maker = Maker::new(100_000);
    let _camera = Camera::start(scratch.path(), 30.0, maker.clone());
    let server = serve(scratch.path(), &[]);
    let mut stream = Client::connect_narrow(server.address()).stream("/stream");
    let mut last = 0;
    let mut skipped = 0;
    for _ in 0..8 {
        let number = stream.number(&maker);
        assert!(number > last, "{number} after {last}");
        skipped += number - last - 1;
        last = number;
        thread::sleep(Duration::from_millis(200));
    }
    assert!(skipped > 8, "it was not slow: {skipped}");
    // It reads fast from here on, and what it gets is of now. What was under way when it slept may be older.
    stream.part();
    stream.part();
    let asked = monotonic();
    let mut part = stream.part();
    for _ in 0..30 {
        if part.stamp().monotonic >= asked {
            return;
        }
        part = stream.part();
    }
    panic!("still frames from before, {:?} old", part.age());
}

#[test]
fn fps_thins_a_stream_evenly() {
    let scratch = Scratch::new();
    let maker = Maker::new(5000);
    let _camera = Camera::start(scratch.path(), 30.0, maker.clone());
    let server = serve(scratch.path(), &[]);
    let mut all = Client::connect(server.address()).stream("/stream");
    let mut third = Client::connect(server.address()).stream("/stream?fps=10");
    let reader = thread::spawn({
        let maker = maker.clone();
        move || expect_every_frame(&mut all, &maker, 30)
    });
    for attempt in 1.. {
        let heartbeat = Heartbeat::start();
        let numbers: Vec<_> = (0..41).map(|_| third.number(&maker)).collect();
        let stalled = heartbeat.stalled();
        let steps: Vec<_> = numbers.windows(2).map(|two| two[1] - two[0]).collect();
        let mean = steps.iter().sum::<u64>() as f64 / steps.len() as f64;
        let even = steps.iter().filter(|step| (2..=4).contains(*step)).count();
        if (2.7..=3.5).contains(&mean) && even * 10 >= steps.len() * 8 {
            break;
        }
        // What comes after the machine stood still is made good in no time.
        let again = attempt < 10 && !stalled.is_zero();
        assert!(again, "{mean} of {steps:?}");
    }
    reader.join().unwrap();
}

#[test]
fn more_fps_than_the_camera_has_is_what_the_camera_has() {
    let scratch = Scratch::new();
    let maker = Maker::new(5000);
    let _camera = Camera::on_demand(scratch.path(), 30.0, maker.clone());
    let server = serve(scratch.path(), &[]);
    let mut stream = Client::connect(server.address()).stream("/stream?fps=1000");
    expect_every_frame(&mut stream, &maker, 20);
}

#[test]
fn a_stream_without_new_frames_is_sent_the_last_one_again_and_only_then() {
    let scratch = Scratch::new();
    let mut hand = Hand::new(scratch.path(), Maker::new(5000));
    let server = serve(scratch.path(), &[]);
    // From here, not from publishing: the server may do that in the turn that began with the request, and counts
    // from that turn's beginning, which lies well before it where an emulator runs the server.
    let asked = Instant::now();
    let mut stream = Client::connect(server.address()).stream("/stream");
    hand.wait_until_asked();
    hand.publish();
    let first = stream.frame();
    let second = stream.part();
    // Clients give up after 10 s; a repetition before it is due would be a lie about the rate.
    let gap = asked.elapsed();
    assert!(gap >= Duration::from_secs(5), "{gap:?}");
    assert_eq!((first.number(), second.number()), (1, 1));
    assert_eq!(first.jpeg, second.jpeg);
    let usual = stream.usual_gap(&second);
    assert!(usual < Duration::from_secs(7), "{usual:?}");
    hand.publish();
    assert_eq!(stream.part_after(1).number(), 2);
    let log = server.stop().log;
    assert!(log.contains(" repeated, 0 broken, 0 unreadable)"), "{log}");
}

#[test]
fn who_wants_a_frame_every_ten_seconds_is_given_fresh_ones_more_often_and_no_old_ones() {
    let scratch = Scratch::new();
    let mut hand = Hand::new(scratch.path(), Maker::new(5000));
    let server = serve(scratch.path(), &[]);
    let mut stream = Client::connect(server.address()).stream("/stream?fps=0.1");
    // An old one is right if the camera gives nothing for 2 s, as happens when this machine stands still.
    let given = (0..4).find_map(|_| {
        hand.wait_until_asked();
        let first = hand.publish().frame;
        stream.part_that(|part| part.number() == first);
        hand.wait_until_asked();
        hand.publish();
        // Left lying; before the viewer may have another, one is asked for.
        hand.wait_until_asked();
        let fresh = hand.publish().frame;
        let given = stream.part().number();
        hand.was_asked();
        (given == fresh).then_some(given)
    });
    assert!(given.is_some(), "old frames alone");
}

#[test]
fn who_comes_between_two_frames_is_given_the_newest_at_once() {
    let scratch = Scratch::new();
    let camera = Camera::start(scratch.path(), 1.0, Maker::new(5000));
    let server = serve(scratch.path(), &[]);
    let mut first = Client::connect(server.address()).stream("/stream");
    // How long frames are fresh is learnt from their rate.
    for _ in 0..4 {
        first.frame();
    }
    // Now and then the next one comes just then, or the camera stands still for so long that the last one is not fresh.
    let rounds = (0..10).filter(|_| {
        thread::sleep(Duration::from_millis(300));
        let newest = camera.published();
        let mut late = Client::connect(server.address()).stream("/stream");
        late.part().number() == newest
    });
    assert_eq!(rounds.take(3).count(), 3, "they waited for the next one");
}

#[test]
fn a_viewer_after_a_pause_is_given_a_frame_from_after_its_request() {
    let scratch = Scratch::new();
    let mut hand = Hand::new(scratch.path(), Maker::new(5000));
    let server = serve(scratch.path(), &[]);
    let address = server.address();
    let without = sockets(server.pid());
    let mut first = Client::connect(address).stream("/stream");
    hand.wait_until_asked();
    hand.publish();
    first.frame();
    drop(first);
    // The one that the first frame asked for comes when nobody is there any more, and is not looked at.
    eventually("the viewer is gone", || sockets(server.pid()) == without);
    hand.wait_until_asked();
    hand.publish();
    thread::sleep(Duration::from_millis(300));
    assert!(!hand.was_asked());
    let asked = monotonic();
    let mut second = Client::connect(server.address()).stream("/stream");
    hand.wait_until_asked();
    hand.publish();
    let part = second.frame();
    assert_eq!(part.number(), 3);
    assert!(part.stamp().monotonic > asked);
}

#[test]
fn a_picture_of_another_size_ends_the_stream_cleanly_and_the_next_one_has_it() {
    let scratch = Scratch::new();
    let mut hand = Hand::new(scratch.path(), Maker::new(5000));
    let server = serve(scratch.path(), &[]);
    let mut stream = Client::connect(server.address()).stream("/stream");
    hand.wait_until_asked();
    hand.publish();
    assert_eq!(decode(&stream.frame().jpeg), (64, 48));
    let stamp = lazycam::capture::pattern::stamp::Stamp::now(2);
    hand.publish_bytes(&Maker::sized(80, 48, 5000).make(&stamp));
    assert!(stream.next().is_none(), "a frame of another size");
    let mut again = Client::connect(server.address()).stream("/stream");
    hand.wait_until_asked();
    hand.publish_bytes(&Maker::sized(80, 48, 5000).make(&stamp));
    assert_eq!(decode(&again.frame().jpeg), (80, 48));
}

#[test]
fn a_broken_frame_is_counted_and_never_sent_and_the_viewer_stays() {
    assert!((0..3).any(|_| never_sends_a_broken_frame()));
}

/// False if it took so long that a repetition was due.
fn never_sends_a_broken_frame() -> bool {
    let scratch = Scratch::new();
    let maker = Maker::new(5000);
    let mut hand = Hand::new(scratch.path(), maker.clone());
    let server = serve(scratch.path(), &[]);
    let mut stream = Client::connect(server.address()).stream("/stream");
    hand.wait_until_asked();
    let published = Instant::now();
    hand.publish();
    assert_eq!(stream.number(&maker), 1);
    let good = maker.make(&lazycam::capture::pattern::stamp::Stamp::now(99));
    let broken = [
        &good[..good.len() - 2],
        &good[..good.len() / 2],
        &good[..3],
        b"rubbish, and more of it than a line",
        &[0; 4096],
        &good[1..],
    ];
    for bytes in broken {
        hand.was_asked();
        hand.publish_bytes(bytes);
        // It was looked at, and by that the next one was asked for.
        hand.wait_until_asked();
    }
    hand.publish_bytes(b"");
    hand.wait_until_asked();
    hand.publish();
    let second = stream.number(&maker);
    let log = server.stop().log;
    if published.elapsed() >= Duration::from_secs(5) {
        return false;
    }
    assert_eq!(second, 2);
    let counted = format!(
        "2 frames (0 repeated, {} broken, 0 unreadable)",
        broken.len()
    );
    assert!(log.contains(&counted), "{log}");
    assert!(log.contains("warning: "), "{log}");
    true
}

#[test]
fn past_the_bound_of_held_frames_the_viewer_with_the_oldest_is_dropped_and_no_other() {
    let scratch = Scratch::new();
    let maker = Maker::new(700_000);
    let _camera = Camera::start(scratch.path(), 20.0, maker.clone());
    let server = serve(scratch.path(), &["--max-held", "1", "--log", "debug"]);
    let mut fast = Client::connect(server.address()).stream("/stream");
    let mut begin = || {
        let mut stuck = Client::connect_narrow(server.address());
        stuck.request("GET", "/stream");
        stuck.take(1000);
        // The frame that it holds is not the newest any more.
        for _ in 0..3 {
            fast.number(&maker);
        }
        stuck
    };
    let mut oldest = begin();
    assert!(!server.log().contains("dropping a viewer"));
    let mut second = begin();
    server.line("dropping a viewer that still holds");
    oldest.wait_for_any_end();
    // The second is still being sent its frame, and then the newest.
    second.take(1_000_000);
    let log = server.stop().log;
    assert!(log.contains("1 held too much"), "{log}");
}

#[test]
fn a_viewer_that_takes_nothing_is_given_up_and_one_that_takes_little_is_not() {
    assert!((0..3).any(|_| gives_up_who_takes_nothing()));
}

/// False if this process, and with it the viewer that takes little, has stood still for half as long as a viewer may.
fn gives_up_who_takes_nothing() -> bool {
    const STALL: Duration = Duration::from_secs(8);
    let scratch = Scratch::new();
    let maker = Maker::new(300_000);
    let _camera = Camera::start(scratch.path(), 20.0, maker.clone());
    let server = serve(scratch.path(), &["--stall-timeout", "8"]);
    let mut fast = Client::connect(server.address()).stream("/stream");
    let mut little = Client::connect_tiny(server.address());
    little.request("GET", "/stream");
    little.sip(1);
    let with_two = sockets(server.pid());
    let mut nothing = Client::connect_narrow(server.address());
    nothing.request("GET", "/stream");
    eventually("both are there", || sockets(server.pid()) == with_two + 1);
    // Some 2 KB/s: less than the server hands to the kernel at a time, so it is long between two of its writes.
    let start = Instant::now();
    let (mut last, mut is_given_up) = (start, false);
    while !is_given_up || start.elapsed() < STALL * 5 / 2 {
        if last.elapsed() > STALL / 2 {
            return false;
        }
        last = Instant::now();
        assert!(last - start < PATIENCE, "it is not given up");
        little.sip(100);
        fast.number(&maker);
        is_given_up = sockets(server.pid()) == with_two;
    }
    nothing.wait_for_any_end();
    let left = sockets(server.pid());
    drop(little);
    let log = server.stop().log;
    if last.elapsed() > STALL / 2 {
        return false;
    }
    assert_eq!(left, with_two);
    assert!(log.contains("1 stalled"), "{log}");
    true
}
