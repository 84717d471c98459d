//! Several cameras in one process: each under its name, none in the way of another, also while they come and go.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use crate::common::frames::{Maker, decode};
use crate::common::http::Client;
use crate::common::process::{Process, is_alive, lazycam, run, wait_until_asleep, wrapped};
use crate::common::producer::{Camera, Feeder, Hand};
use crate::common::{PATIENCE, Scratch, eventually, jpeg, put};

const NOBODY_IS_THERE: u16 = 503;

fn maker() -> Maker {
    Maker::new(5000)
}

/// A picture that tells which camera made it: by its width.
fn of_width(width: u16) -> Maker {
    Maker::sized(width, 48, 5000)
}

/// `serve` on a free port with these flags.
fn serve(flags: &[&str]) -> Process {
    let listen = ["serve", "--listen", "127.0.0.1:0"];
    Process::start(lazycam(&[&listen, flags].concat()))
}

fn serve_root(root: &Path) -> Process {
    serve(&["--root", root.to_str().unwrap()])
}

fn status(server: &Process, target: &str) -> u16 {
    Client::connect(server.address()).get(target).head.status
}

#[track_caller]
fn width(server: &Process, target: &str) -> u16 {
    let reply = Client::connect(server.address()).picture(target);
    decode(&reply.body).0
}

#[test]
fn each_camera_of_run_has_its_settings_and_its_urls() {
    let scratch = Scratch::new();
    let flags = [
        "--camera",
        "front=pattern,size=320x240",
        "--camera",
        "bench=pattern,fps=60,quality=30",
        "--size",
        "64x48",
    ];
    let server = Process::start(run(&scratch.join("frames"), &flags));
    for (target, expected) in [
        ("/front/snapshot", 320),
        ("/front/snapshot.jpg", 320),
        ("/front/?action=snapshot&17", 320),
        ("/snapshot", 320),
        ("/?action=snapshot", 320),
        ("/?action=snapshot_0", 320),
        ("/bench/snapshot", 64),
        ("/bench?action=snapshot", 64),
        ("/?action=snapshot_1", 64),
    ] {
        assert_eq!(width(&server, target), expected, "{target}");
    }
    for (target, expected) in [
        ("/front/stream", 320),
        ("/bench/stream.mjpg", 64),
        ("/bench/?action=stream", 64),
        ("/?action=stream_1", 64),
        ("/stream", 320),
    ] {
        let part = Client::connect(server.address()).stream(target).frame();
        assert_eq!(decode(&part.jpeg).0, expected, "{target}");
    }
    assert_eq!(status(&server, "/bench/"), 200);
    for unknown in [
        "/back/stream",
        "/back/",
        "/?action=stream_2",
        "/bench/nothing",
    ] {
        assert_eq!(status(&server, unknown), 404, "{unknown}");
    }
    let elsewhere = Client::connect(server.address()).get("/bench");
    assert_eq!(elsewhere.head.status, 308);
    assert_eq!(elsewhere.head.field("Location"), Some("bench/"));
    let children = server.children();
    assert_eq!(children.len(), 2, "{children:?}");
    let frames = |name: &str| scratch.join("frames").join(name).join("current.jpg");
    assert!(frames("front").exists() && frames("bench").exists());
    let ended = server.stop();
    assert!(ended.status.success(), "{}", ended.log);
    assert!(!children.into_iter().any(is_alive), "an orphan");
    assert!(ended.log.contains("lazycam: bench: live"), "{}", ended.log);
}

#[test]
fn the_environment_names_cameras_and_what_holds_for_all_of_them() {
    let scratch = Scratch::new();
    let mut command = run(&scratch.join("frames"), &["--default-camera", "bench"]);
    command.env("LAZYCAM_CAMERA", "front=pattern;bench=pattern,size=320x240");
    command.env("LAZYCAM_SIZE", "64x48");
    // Of no use to a test picture, and so not for these.
    command.env("LAZYCAM_CONTROL", "power_line_frequency=50 Hz");
    let server = Process::start(command);
    assert_eq!(width(&server, "/front/snapshot"), 64);
    assert_eq!(width(&server, "/snapshot"), 320);
    assert_eq!(width(&server, "/?action=snapshot_0"), 64);
}

#[test]
fn what_makes_no_sense_ends_run_before_anything_is_started() {
    let scratch = Scratch::new();
    for (flags, why) in [
        (
            &["--camera", "a=pattern", "--source", "stdin"][..],
            "--source",
        ),
        (
            &["--camera", "a=pattern,format=MJPG"],
            "--camera a: --format",
        ),
        (&["--camera", "b=pattern,size=1x1"], "--camera b: "),
        (
            &["--camera", "a=stdin", "--camera", "b=stdin"],
            "one standard input",
        ),
        (&["--camera", "a=pattern", "--camera", "a=pattern"], "'a'"),
        (&["--camera", "../a=pattern"], "'../a' is no camera's name"),
        (&["--camera", "stream=pattern"], "called 'stream'"),
        (
            &["--camera", "a=pattern", "--default-camera", "b"],
            "called 'b'",
        ),
    ] {
        let ended = Process::start(run(&scratch.join("frames"), flags)).end();
        assert_eq!(ended.status.code(), Some(2), "{flags:?}: {}", ended.log);
        assert!(ended.log.contains(why), "{flags:?}: {}", ended.log);
        assert!(!ended.log.contains("is process"), "{}", ended.log);
    }
}

/// Standard input, a test picture, and a camera that is none.
fn run_mixed(frames: &Path, more: &[&str]) -> (Process, Feeder) {
    let flags = ["--camera", "fed=stdin", "--camera", "wrong=v4l2:/dev/null"];
    let mut command = run(frames, &[&flags, more].concat());
    command.stdin(Stdio::piped());
    let mut server = Process::start(command);
    let feeder = Feeder::start(server.take_stdin(), 30.0, maker());
    (server, feeder)
}

#[test]
fn a_camera_that_has_ended_for_good_leaves_the_others_alone() {
    let scratch = Scratch::new();
    let more = ["--camera", "drawn=pattern,size=64x48"];
    let (server, feeder) = run_mixed(&scratch.join("frames"), &more);
    server.line("capture of wrong cannot work");
    let mut drawn = Client::connect(server.address()).stream("/drawn/stream");
    let mut fed = Client::connect(server.address()).stream("/fed/stream");
    drawn.part();
    fed.number(&maker());
    feeder.finish();
    fed.expect_end();
    let number = drawn.frame().number();
    drawn.part_after(number + 10);
    assert_eq!(status(&server, "/fed/snapshot"), NOBODY_IS_THERE);
    assert_eq!(status(&server, "/fed/stream"), NOBODY_IS_THERE);
    assert_eq!(status(&server, "/wrong/snapshot"), NOBODY_IS_THERE);
    assert!(server.stop().status.success());
}

#[test]
fn run_ends_with_its_last_camera_and_tells_the_worst_end() {
    let scratch = Scratch::new();
    let (server, feeder) = run_mixed(&scratch.join("frames"), &[]);
    server.line("capture of wrong cannot work");
    let mut fed = Client::connect(server.address()).stream("/fed/stream");
    fed.number(&maker());
    feeder.finish();
    let ended = server.end();
    assert_eq!(ended.status.code(), Some(2), "{}", ended.log);
    assert!(ended.log.contains("capture of fed has come to its end"));
}

#[test]
fn frame_directories_that_are_named_have_the_numbers_of_their_order() {
    let scratch = Scratch::new();
    let _b = Camera::start(&scratch.join("b"), 30.0, of_width(64));
    let _a = Camera::start(&scratch.join("a"), 30.0, of_width(80));
    let b = scratch.join("b");
    let named = format!("front={}", scratch.join("a").display());
    let server = serve(&["--frames", b.to_str().unwrap(), "--frames", &named]);
    for (target, expected) in [
        ("/snapshot", 64),
        ("/b/snapshot", 64),
        ("/?action=snapshot_1", 80),
        ("/front/snapshot", 80),
    ] {
        assert_eq!(width(&server, target), expected, "{target}");
    }
    assert_eq!(status(&server, "/a/snapshot"), 404);
}

#[test]
fn a_camera_of_a_root_comes_and_goes_and_the_viewers_of_others_never_notice() {
    let scratch = Scratch::new();
    let root = scratch.join("root");
    let _front = Camera::start(&root.join("front"), 30.0, of_width(64));
    let server = serve_root(&root);
    let mut untouched = Client::connect(server.address()).stream("/front/stream");
    let mut last = untouched.frame().number();
    assert_eq!(status(&server, "/bench/stream"), 404);
    for round in 0..5 {
        let bench = Camera::start(&root.join("bench"), 30.0, of_width(80));
        eventually("it is there", || status(&server, "/bench/snapshot") == 200);
        // It is the second one, and stays it; the first by name is not the first by number.
        assert_eq!(width(&server, "/?action=snapshot_1"), 80);
        assert_eq!(width(&server, "/snapshot"), 64);
        let mut stream = Client::connect(server.address()).stream("/bench/stream");
        stream.number(&of_width(80));
        let mut waiting = Client::connect(server.address());
        drop(bench);
        // No frame will ever be later than that.
        waiting.request("GET", "/bench/snapshot?after=99999999999&max_age=0");
        wait_until_asleep_but_for_the_others();
        if round % 2 == 0 {
            fs::remove_dir_all(root.join("bench")).unwrap();
        } else {
            fs::rename(root.join("bench"), scratch.join(&format!("gone{round}"))).unwrap();
        }
        stream.expect_end();
        assert_eq!(waiting.reply().head.status, NOBODY_IS_THERE);
        assert_eq!(status(&server, "/bench/stream"), NOBODY_IS_THERE);
        assert_eq!(status(&server, "/?action=snapshot_1"), NOBODY_IS_THERE);
        assert_eq!(status(&server, "/bench/"), 200, "the page tells it");
        let state = Client::connect(server.address()).get("/bench/state");
        let state = String::from_utf8(state.body).unwrap();
        let bench = "\"name\":\"bench\",\"number\":1,";
        let (_, bench) = state.split_once(bench).expect(&state);
        assert!(bench.contains("\"state\":\"absent\""), "{state}");
        let number = untouched.part_after(last).number();
        assert!(number > last);
        last = number;
    }
    let log = server.stop().log;
    assert!(log.contains("camera 1 is gone: "), "{log}");
}

/// A page must see the 503 itself: a preflight that fails is another error to its browser.
#[test]
fn options_are_answered_whether_a_camera_is_there_away_or_never_was() {
    let scratch = Scratch::new();
    let root = scratch.join("root");
    let server = serve_root(&root);
    let options = |target: &str| {
        let mut client = Client::connect(server.address());
        client.request("OPTIONS", target);
        client.reply().head.status
    };
    for target in ["/stream", "/snapshot", "/?action=snapshot"] {
        assert_eq!(status(&server, target), NOBODY_IS_THERE, "{target}");
        assert_eq!(options(target), 200, "{target}");
    }
    drop(Camera::start(&root.join("front"), 30.0, maker()));
    eventually("it is there", || status(&server, "/front/") == 200);
    fs::remove_dir_all(root.join("front")).unwrap();
    eventually("it is gone", || {
        status(&server, "/front/stream") == NOBODY_IS_THERE
    });
    for target in ["/front/stream", "/front/snapshot", "/front", "/front/state"] {
        assert_eq!(options(target), 200, "{target}");
    }
    // Who asks may have no password, and is not told which there are.
    for target in ["/back/stream", "/back", "/back/state", "/?action=stream_1"] {
        assert_eq!(options(target), 200, "{target}");
    }
    assert_eq!(options("/a/b"), 404);
}

/// The other camera keeps the server busy, so its sleep cannot be waited for; a request takes no longer than this.
fn wait_until_asleep_but_for_the_others() {
    std::thread::sleep(std::time::Duration::from_millis(50));
}

#[test]
fn a_root_may_come_late_go_and_come_back() {
    let scratch = Scratch::new();
    let root = scratch.join("a/b/root");
    let server = serve_root(&root);
    assert_eq!(status(&server, "/stream"), NOBODY_IS_THERE);
    assert_eq!(status(&server, "/"), 200);
    assert_eq!(status(&server, "/front/"), 404);
    let camera = Camera::start(&root.join("front"), 30.0, maker());
    eventually("it is there", || status(&server, "/front/snapshot") == 200);
    let mut stream = Client::connect(server.address()).stream("/front/stream");
    stream.number(&maker());
    fs::rename(&root, scratch.join("elsewhere")).unwrap();
    stream.expect_end();
    assert_eq!(status(&server, "/front/snapshot"), NOBODY_IS_THERE);
    fs::rename(scratch.join("elsewhere"), &root).unwrap();
    eventually("it is back", || status(&server, "/front/snapshot") == 200);
    drop(camera);
    fs::remove_dir_all(scratch.join("a")).unwrap();
    eventually("it is gone", || {
        status(&server, "/front/stream") == NOBODY_IS_THERE
    });
    let _camera = Camera::start(&root.join("front"), 30.0, maker());
    eventually("it is back", || status(&server, "/snapshot") == 200);
}

/// Whoever may write into a root has it filled.
#[test]
fn a_root_full_of_other_things_keeps_its_cameras_and_gets_new_ones_when_they_are_gone() {
    let scratch = Scratch::new();
    let _front = Camera::start(&scratch.join("front"), 30.0, of_width(64));
    let server = serve_root(scratch.path());
    assert_eq!(width(&server, "/front/snapshot"), 64);
    let junk = |number| scratch.join(&format!(".{number}"));
    for number in 0..5000 {
        fs::write(junk(number), "").unwrap();
    }
    let _bench = Camera::start(&scratch.join("bench"), 30.0, of_width(80));
    let line = server.line("too many to look for cameras; trying again");
    assert!(line.contains("has more than 4096 entries"), "{line}");
    wait_until_asleep_but_for_the_others();
    assert_eq!(status(&server, "/bench/snapshot"), 404);
    assert_eq!(width(&server, "/front/snapshot"), 64);
    for number in 0..5000 {
        fs::remove_file(junk(number)).unwrap();
    }
    eventually("it is found", || status(&server, "/bench/snapshot") == 200);
}

#[test]
fn a_camera_that_comes_and_goes_without_end_does_not_fill_the_log() {
    let scratch = Scratch::new();
    let dir = scratch.join("front");
    let server = serve_root(scratch.path());
    let times = 40;
    for _ in 0..times {
        fs::create_dir(&dir).unwrap();
        wait_until_asleep(server.pid());
        fs::remove_dir(&dir).unwrap();
        wait_until_asleep(server.pid());
    }
    let log = server.stop().log;
    let lines = log.lines().filter(|line| line.contains("camera 0 is "));
    // One in ten seconds beside the first, on however slow a machine.
    assert!(lines.count() < times, "{log}");
}

/// Each may have its newest frame and its producer's lock open, while as many clients are served as there is room for.
#[test]
fn many_cameras_under_a_low_limit_of_descriptors_all_have_their_frames() {
    const CAMERAS: usize = 100;
    let scratch = Scratch::new();
    let mut words = vec!["serve".to_owned(), "--listen".into(), "127.0.0.1:0".into()];
    for number in 0..CAMERAS {
        let dir = scratch.join(&format!("c{number}"));
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("lock"), "").unwrap();
        put(&dir, &jpeg(100));
        words.extend(["--frames".into(), dir.to_str().unwrap().into()]);
    }
    let wrapper = ["sh", "-c", "ulimit -n 340 && exec \"$@\"", "sh"];
    let server = Process::start(wrapped(&wrapper, &words));
    server.line("room for ");
    let mut first = Client::connect(server.address());
    first.get("/state");
    let _crowd: Vec<_> = (0..200)
        .map(|_| {
            let mut client = Client::connect(server.address());
            client.request("GET", "/c0/stream");
            client
        })
        .collect();
    assert_eq!(first.get("/state").head.status, 200);
    for number in 0..CAMERAS {
        let target = format!("/c{number}/snapshot?max_age=1000000");
        assert_eq!(first.get(&target).head.status, 200, "{target}");
    }
    let log = server.stop().log;
    assert!(!log.contains("Too many open files"), "{log}");
}

#[test]
fn the_limit_of_descriptors_that_a_process_may_raise_is_raised() {
    let scratch = Scratch::new();
    let wrapper = ["sh", "-c", "ulimit -Sn 64 && exec \"$@\"", "sh"];
    let frames = scratch.path().to_str().unwrap();
    let words = ["serve", "--frames", frames, "--listen", "127.0.0.1:0"];
    let server = Process::start(wrapped(&wrapper, &words));
    server.address();
    server.line("watch at ");
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let words: Vec<_> = line.unwrap().split_whitespace().collect();
    assert_eq!(words[3], words[4], "{words:?}");
}

#[test]
fn no_name_and_no_link_leads_out_of_the_root() {
    let scratch = Scratch::new();
    let (root, outside) = (scratch.join("root"), scratch.join("outside"));
    let _outside = Camera::start(&outside, 30.0, of_width(80));
    let _hidden = Camera::start(&root.join(".hidden"), 30.0, of_width(80));
    let _inside = Camera::start(&root.join("front"), 30.0, of_width(64));
    symlink(&outside, root.join("link")).unwrap();
    symlink("front", root.join("inner")).unwrap();
    fs::write(root.join("file"), "no directory").unwrap();
    let server = serve_root(&root);
    assert_eq!(width(&server, "/front/snapshot"), 64);
    for target in [
        "/link/snapshot",
        "/inner/snapshot",
        "/file/snapshot",
        "/.hidden/snapshot",
        "/../outside/snapshot",
        "/front/../../outside/snapshot",
        "/%2e%2e/snapshot",
        "/..%2foutside/snapshot",
        "/%2e%2e/outside/snapshot",
        "/front%00/snapshot",
    ] {
        assert_eq!(status(&server, target), 404, "{target}");
    }
    // What was a directory is now a link, in one step.
    symlink(&outside, scratch.join("trap")).unwrap();
    let (front, trap) = (root.join("front"), scratch.join("trap"));
    let mut stream = Client::connect(server.address()).stream("/front/stream");
    stream.part();
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, &front, CWD, &trap, RenameFlags::EXCHANGE).unwrap();
    while let Some(part) = stream.next() {
        assert_eq!(decode(&part.jpeg).0, 64, "a picture from outside");
    }
    assert_eq!(status(&server, "/front/snapshot"), NOBODY_IS_THERE);
}

#[test]
fn a_camera_that_nobody_asks_for_a_picture_is_not_asked_for_one() {
    let scratch = Scratch::new();
    let root = scratch.join("root");
    let _front = Camera::on_demand(&root.join("front"), 30.0, maker());
    let mut bench = Hand::new(&root.join("bench"), maker());
    let server = serve_root(&root);
    let mut stream = Client::connect(server.address()).stream("/front/stream");
    for method in ["HEAD", "OPTIONS"] {
        for target in [
            "/bench/stream",
            "/bench/snapshot",
            "/?action=stream_0",
            "/bench/",
        ] {
            let mut client = Client::connect(server.address());
            client.request(method, target);
            assert_eq!(client.head().status, 200, "{method} {target}");
        }
    }
    assert_eq!(status(&server, "/bench/"), 200);
    for _ in 0..30 {
        stream.number(&maker());
    }
    assert!(!bench.was_asked(), "somebody opened its picture");
    drop(stream);
    // This does.
    Client::connect(server.address()).request("GET", "/bench/snapshot");
    bench.wait_until_asked();
}

#[test]
fn a_client_that_waited_in_vain_for_one_camera_is_given_the_picture_of_another() {
    let scratch = Scratch::new();
    let (a, b) = (scratch.join("a"), scratch.join("b"));
    let _silent = Hand::new(&a, maker());
    let mut hand = Hand::new(&b, maker());
    let server = serve(&[
        "--frames",
        a.to_str().unwrap(),
        "--frames",
        b.to_str().unwrap(),
    ]);
    let mut client = Client::connect(server.address());
    let (mut given, limit) = (0, Instant::now() + PATIENCE);
    while given < 2 {
        assert_eq!(client.get("/a/snapshot").head.status, 503);
        let asked = Instant::now();
        client.request("GET", "/b/snapshot?max_age=0");
        hand.wait_until_asked();
        wait_until_asleep(server.pid());
        let stamp = hand.publish();
        let reply = client.reply();
        if reply.is_out_of_time(asked) && Instant::now() < limit {
            continue;
        }
        assert_eq!(reply.head.status, 200);
        assert_eq!(maker().verify(&reply.body).frame, stamp.frame);
        given += 1;
    }
}
