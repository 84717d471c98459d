//! What somebody meets who starts the program for the first time: where to look, one message for one mistake, and
//! nothing left behind.

use std::fs;
use std::process::{Output, Stdio};

use crate::common::frames::Maker;
use crate::common::http::Client;
use crate::common::process::{Process, lazycam, serve};
use crate::common::producer::Hand;
use crate::common::{Scratch, eventually};
use serde_json::Value;

fn output(arguments: &[&str]) -> Output {
    let mut command = lazycam(arguments);
    command.stdout(Stdio::piped()).output().unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// `run` without `--frames`, with its directory in this one.
fn run_in(runtime: &Scratch, flags: &[&str]) -> Process {
    let mut arguments = vec!["run", "--listen", "127.0.0.1:0"];
    arguments.extend(flags);
    let mut command = lazycam(&arguments);
    command.env("RUNTIME_DIRECTORY", runtime.path());
    Process::start(command)
}

fn state(server: &Process) -> Value {
    let reply = Client::connect(server.address()).get("/state");
    let state: Value = serde_json::from_slice(&reply.body).unwrap();
    state["result"]["lazycam"].clone()
}

#[test]
fn the_last_line_before_the_first_viewer_says_where_to_watch() {
    let runtime = Scratch::new();
    let server = run_in(&runtime, &[]);
    eventually("its camera is ready", || {
        state(&server)["cameras"][0]["state"] == "off"
    });
    server.line("watch at");
    let log = server.log();
    // What a kernel lacks for the sandbox is told by either process when it comes to it.
    let is_told = log.contains("no Landlock");
    let sandbox = |line: &&str| !(is_told && line.contains("sandbox"));
    let last = log.lines().rfind(sandbox).unwrap();
    let address = server.address();
    assert_eq!(
        last,
        format!("lazycam: watch at http://{address}/, on this machine alone")
    );
    assert!(is_told || !log.contains("sandbox"), "{log}");
}

#[test]
fn a_camera_that_nobody_named_has_a_plain_name_and_nothing_of_it_stays() {
    let runtime = Scratch::new();
    let server = run_in(&runtime, &[]);
    assert_eq!(state(&server)["cameras"][0]["name"], "camera");
    assert_eq!(
        Client::connect(server.address())
            .get("/camera/snapshot")
            .head
            .status,
        200
    );
    assert!(server.stop().status.success());
    assert_eq!(fs::read_dir(runtime.path()).unwrap().count(), 0);
}

/// In containers that share `/dev/shm`, all may listen on the same port; here two have the same address because each gets
/// a free port.
#[test]
fn two_that_listen_alike_have_frames_of_their_own_until_the_end_of_each() {
    let runtime = Scratch::new();
    let several = ["--camera", "front=pattern", "--camera", "bench=pattern"];
    let (one, other) = (run_in(&runtime, &several), run_in(&runtime, &[]));
    let snapshot = |server: &Process| {
        Client::connect(server.address())
            .get("/snapshot")
            .head
            .status
    };
    let dirs = || fs::read_dir(runtime.path()).unwrap().count();
    assert_eq!((snapshot(&one), snapshot(&other), dirs()), (200, 200, 2));
    assert!(one.stop().status.success());
    assert_eq!((snapshot(&other), dirs()), (200, 1));
    let next = run_in(&runtime, &several);
    assert_eq!((snapshot(&next), dirs()), (200, 2));
    for server in [other, next] {
        assert!(!server.log().contains("has a producer already"));
        assert!(server.stop().status.success());
    }
    assert_eq!(dirs(), 0);
}

#[test]
fn who_cannot_listen_takes_nothing_from_who_does() {
    let runtime = Scratch::new();
    // Another has this port, and frames in the directory that is named after it.
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let frames = runtime.join(&format!(
        ".127-0-0-1-{}",
        other.local_addr().unwrap().port()
    ));
    fs::create_dir(&frames).unwrap();
    fs::write(frames.join("current.jpg"), "theirs").unwrap();
    let mut command = lazycam(&["run", "--listen", &address]);
    command.env("RUNTIME_DIRECTORY", runtime.path());
    let ended = Process::start(command).end();
    assert_eq!(ended.status.code(), Some(1));
    let said = format!("cannot listen on {address}: another program does");
    assert!(ended.log.contains(&said), "{}", ended.log);
    assert_eq!(fs::read(frames.join("current.jpg")).unwrap(), b"theirs");
}

#[test]
fn what_a_killed_process_leaves_is_no_camera_of_a_root() {
    let runtime = Scratch::new();
    let server = run_in(&runtime, &["--camera", "front=pattern"]);
    eventually("its camera is ready", || {
        state(&server)["cameras"][0]["state"] == "off"
    });
    server.kill();
    assert_ne!(
        fs::read_dir(runtime.path()).unwrap().count(),
        0,
        "it has had no time to clean up"
    );
    fs::create_dir(runtime.join("bench")).unwrap();
    let words = [
        "serve",
        "--root",
        runtime.path().to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
    ];
    let root = Process::start(lazycam(&words));
    let cameras = state(&root)["cameras"].as_array().unwrap().clone();
    let names: Vec<_> = cameras
        .iter()
        .map(|camera| camera["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["bench"]);
}

#[test]
fn a_camera_that_is_absent_is_not_the_default_while_another_is_there() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.join("a-ghost")).unwrap();
    let mut front = Hand::new(&scratch.join("front"), Maker::new(3000));
    front.announce();
    let root = Process::start(lazycam(&[
        "serve",
        "--root",
        scratch.path().to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
    ]));
    eventually("the one that is there is the default", || {
        state(&root)["camera"] == "front"
    });
    // The number is still that of the first by name.
    assert_eq!(state(&root)["cameras"][0]["name"], "a-ghost");
}

#[test]
fn one_mistake_gives_one_message() {
    let scratch = Scratch::new();
    let frames = scratch.join("frames");
    let frames = [
        "--frames",
        frames.to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
        "--log",
        "warn",
    ];
    for mistake in [
        &["--size", "5000x5000"][..],
        &["--source", "v4l2:/dev/null"],
        &["--source", "stdin", "--size", "640x480"],
    ] {
        let words = [&["run"], &frames[..], mistake].concat();
        let output = output(&words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        let said = errors(&output);
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.starts_with("lazycam: error: "), "{said}");
    }
}

#[test]
fn flags_of_other_programs_and_mistyped_ones_have_a_hint() {
    for (words, hint) in [
        (
            &["--port", "8080"][..],
            "hint: what other programs call --port is --listen 8080 here",
        ),
        (
            &["-p", "8080"],
            "hint: what other programs call -p is --listen 8080 here",
        ),
        (&["--device", "/dev/video0"], "is --source /dev/video0 here"),
        (&["--resolution", "640x480"], "is --size 1280x720 here"),
        (
            &["--lisen", "8080"],
            "a similar argument exists: '--listen'",
        ),
        (&["snapshto"], "a similar subcommand exists: 'snapshot'"),
    ] {
        let output = output(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        let said = errors(&output);
        assert!(said.contains(hint), "{said}");
    }
}

#[test]
fn a_snapshot_of_a_directory_that_does_not_exist_is_refused_at_once_unless_it_is_waited_for() {
    let scratch = Scratch::new();
    let nowhere = scratch.join("nope");
    let nowhere = nowhere.to_str().unwrap();
    let refused = output(&["snapshot", nowhere]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        errors(&refused).contains("there is no frame directory"),
        "{}",
        errors(&refused)
    );
    let waited = output(&["snapshot", nowhere, "--timeout", "0.1"]);
    assert!(
        errors(&waited).contains("within 0.1 s: there is no such directory"),
        "{}",
        errors(&waited)
    );
}

#[test]
fn a_list_without_cameras_says_what_is_missing() {
    let said = String::from_utf8(output(&["list"]).stdout).unwrap();
    if said.contains("--source ") && !said.contains("no cameras") {
        return;
    }
    assert!(
        said.contains("on the board's connector (ribbon cable):"),
        "{said}"
    );
    assert!(said.contains("this lazycam has "), "{said}");
}

/// Tells of addresses of this machine, but not of those that it only listens on.
#[test]
fn a_server_on_all_addresses_names_one_that_another_device_can_open() {
    let scratch = Scratch::new();
    let mut command = lazycam(&[
        "serve",
        "--frames",
        scratch.path().to_str().unwrap(),
        "--listen",
        "0",
    ]);
    command.env("LAZYCAM_MAX_CLIENTS", "4");
    let server = Process::start(command);
    let line = server.line("watch at http://");
    assert!(
        !line.contains("[::]") && !line.contains("0.0.0.0"),
        "{line}"
    );
    assert!(
        line.ends_with("like everybody who can reach this machine (--auth asks for a password)"),
        "{line}"
    );
    let near = serve(&scratch.join("front"), &[]);
    assert!(near.line("watch at ").ends_with("/, on this machine alone"));
}
