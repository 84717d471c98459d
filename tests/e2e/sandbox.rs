//! The fences from inside: what a process can still do, not what it says that it cannot.

#![allow(
    clippy::print_stdout,
    reason = "a child process of a test tells what it could do"
)]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::frames::{Maker, decode};
use crate::common::http::Client;
use crate::common::process::{Process, capture, is_emulated, run, serve, serve_arguments, wrapped};
use crate::common::producer::Camera;
use crate::common::{Scratch, eventually, impossible, skipped};
use lazycam::sandbox::{Needs, Sandbox};
use rustix::process::{Signal, getppid, getuid, test_kill_process};
use serde_json::Value;

fn sandbox(server: &Process) -> Value {
    let reply = Client::connect(server.address()).get("/state");
    let state: Value = serde_json::from_slice(&reply.body).unwrap();
    state["result"]["lazycam"]["sandbox"].clone()
}

fn has(sandbox: &Value, what: &str) -> bool {
    let enforced = sandbox["enforced"].as_array().unwrap();
    enforced.iter().any(|one| one == what)
}

/// Whether there is Landlock below a server; says so if there is none, and that the server says it too.
fn has_landlock(server: &Process) -> bool {
    let (told, line) = (sandbox(server), server.line("sandbox: "));
    match told["landlock"].as_u64() {
        Some(abi) => {
            let reads = format!("; Landlock ABI {abi}; reads below ");
            assert!(line.contains(&reads), "{line}");
            assert!(!line.contains("writes"), "{line}");
            assert_eq!(told["why"], Value::Null);
            assert!(has(&told, "reads") && has(&told, "changes"));
            true
        }
        None => {
            let why = told["why"].as_str().unwrap();
            assert!(line.ends_with(&format!("; {why}")), "{line}");
            assert!(!has(&told, "reads") && !has(&told, "changes"));
            skipped(why);
            false
        }
    }
}

/// A line of /proc/PID/status or /proc/PID/limits, without its name.
fn fact(pid: u32, file: &str, name: &str) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let words = line.unwrap().split_whitespace();
    words.map(str::to_owned).collect()
}

#[test]
fn the_kernel_tells_the_same_of_every_process() {
    let scratch = Scratch::new();
    let users = scratch.join("users");
    let hash = format!("$6$saltsalt${}", "a".repeat(86));
    fs::write(&users, format!("anna:{hash}\n")).unwrap();
    let dir = scratch.join("front");
    let alone = serve(&dir, &["--log", "debug"]);
    let asking = serve(&dir, &["--auth", users.to_str().unwrap()]);
    let camera = Process::start(capture(&dir, &[]));
    camera.line(" on demand");
    let both = Process::start(run(&scratch.join("both"), &["--log", "debug"]));
    both.address();
    let child = both.child();
    eventually("its child is ready", || both.log().contains(" on demand"));
    alone.address();
    asking.address();
    for pid in [alone.pid(), asking.pid(), camera.pid(), both.pid(), child] {
        assert_eq!(fact(pid, "status", "NoNewPrivs:"), ["1"]);
        let cores = &fact(pid, "limits", "Max core file size")[..2];
        // 0 where the tests themselves may have none.
        assert!(cores == ["1", "1"] || cores == ["0", "0"], "{cores:?}");
    }
    for server in [&alone, &both] {
        assert!(has(&sandbox(server), "no_new_privs") && has(&sandbox(server), "no_core_dumps"));
    }
    // Told once each: who was asked for the state has not told it again.
    assert_eq!(alone.log().matches("sandbox: ").count(), 1);
    assert_eq!(
        fact(alone.pid(), "limits", "Max processes")[..2],
        ["0", "0"]
    );
    // Root is not held to it, and is not told that it were.
    assert_eq!(
        has(&sandbox(&alone), "no_new_processes"),
        !getuid().is_root()
    );
    assert_ne!(
        fact(asking.pid(), "limits", "Max processes")[..2],
        ["0", "0"]
    );
    // `run` starts others, which need what it must not lose.
    assert!(!has(&sandbox(&both), "no_new_processes") && !has(&sandbox(&both), "reads"));
    assert!(sandbox(&both)["why"].is_string());
}

#[test]
fn a_server_that_crashes_leaves_no_core() {
    let scratch = Scratch::new();
    let dumping = ["sh", "-c", "ulimit -c unlimited; exec \"$@\"", "sh"];
    let mut control = Command::new("sh");
    control.args(["-c", "ulimit -c unlimited; kill -QUIT $$"]);
    let control = control.current_dir(scratch.path()).status().unwrap();
    if !control.core_dumped() {
        return impossible("nothing leaves a core on this machine");
    }
    let mut command = wrapped(&dumping, &serve_arguments(&scratch.join("front"), &[]));
    command.current_dir(scratch.path());
    let server = Process::start(command);
    server.line("watch at ");
    server.signal(Signal::QUIT);
    let ended = server.end();
    assert_eq!(ended.status.signal(), Some(Signal::QUIT.as_raw()));
    assert!(!ended.status.core_dumped());
}

/// Nothing is there but the root of the file system, so beneath that it has to be able to read.
#[test]
fn a_server_whose_frames_may_come_anywhere_does_not_say_that_its_reads_are_fenced() {
    let missing = format!("/lazycam-test-missing-{}/front", std::process::id());
    let server = serve(Path::new(&missing), &[]);
    let told = sandbox(&server);
    let Some(_) = told["landlock"].as_u64() else {
        return skipped(told["why"].as_str().unwrap());
    };
    assert!(!has(&told, "reads") && has(&told, "changes"), "{told}");
    let why = told["why"].as_str().unwrap();
    assert!(why.starts_with("no fence around files: "), "{why}");
    server.line(&format!("lazycam: warning: sandbox: {why}"));
}

/// Somebody who may write beside a frame directory puts a link in its place, to pictures that the server's user may read and he may not.
#[test]
fn what_lies_elsewhere_is_shown_by_no_server_whatever_its_directory_becomes() {
    let scratch = Scratch::new();
    let (dir, outside) = (scratch.join("in/front"), scratch.join("outside/front"));
    let (inside_maker, outside_maker) = (Maker::sized(64, 48, 5000), Maker::sized(80, 48, 5000));
    let _outside = Camera::start(&outside, 30.0, outside_maker);
    let camera = Camera::start(&dir, 30.0, inside_maker);
    let fenced = serve(&dir, &["--log", "debug"]);
    let all = scratch.path().to_str().unwrap();
    let wide = serve(&dir, &["--also-read", all]);
    let width = |server: &Process| {
        let reply = Client::connect(server.address()).get("/snapshot");
        (reply.head.status == 200).then(|| decode(&reply.body).0)
    };
    for server in [&fenced, &wide] {
        let reply = Client::connect(server.address()).picture("/snapshot");
        assert_eq!(decode(&reply.body).0, 64);
    }
    if !has_landlock(&fenced) {
        return;
    }
    drop(camera);
    fs::rename(&dir, scratch.join("away")).unwrap();
    symlink(&outside, &dir).unwrap();
    // It is the fence that keeps them in: a server that was told to may go there.
    eventually("the other picture", || width(&wide) == Some(80));
    assert_eq!(width(&fenced), None);
    fenced.line("cannot read current.jpg: Permission denied");
    // One that is made again where it was is its camera as before.
    fs::remove_file(&dir).unwrap();
    let _camera = Camera::start(&dir, 30.0, Maker::sized(64, 48, 5000));
    eventually("the picture is back", || width(&fenced) == Some(64));
}

/// The port on which names are looked up.
const DNS: u16 = 53;

/// What a process tried, and what came of it.
fn outcome<T>(name: &str, tried: io::Result<T>) {
    match tried {
        Ok(_) => println!("\n{name}=done"),
        Err(error) => println!("\n{name}={:?}", error.kind()),
    }
}

/// Not a test by itself: the process whose fences the next ones try.
#[test]
fn a_process_to_be_fenced() {
    let variable = |name| std::env::var(format!("LAZYCAM_TEST_{name}")).ok();
    let (Some(as_what), Some(dir)) = (variable("FENCED_AS"), variable("DIR")) else {
        return;
    };
    let port = |name| variable(name).unwrap().parse::<u16>().unwrap();
    let (port, other_port) = (port("PORT"), port("OTHER_PORT"));
    let dir = Path::new(&dir);
    let frames = dir.join("in/front");
    let mut needs = Needs {
        frames: vec![&frames],
        ..Needs::default()
    };
    let sandbox = match as_what.as_str() {
        "serve" => Sandbox::basic().serve(&needs),
        "capture" => Sandbox::basic().capture(&needs),
        from => {
            (needs.ports, needs.names) = (vec![port], from == "capture from a name");
            Sandbox::basic().capture(&needs)
        }
    };
    println!("\nsandbox={}", sandbox.json());
    outcome("read a frame", fs::read(frames.join("current.jpg")));
    outcome("read elsewhere", fs::read(dir.join("outside/secret")));
    outcome("read /etc/passwd", fs::read("/etc/passwd"));
    outcome("list", fs::read_dir(dir.join("outside")));
    outcome("make elsewhere", File::create(dir.join("outside/new")));
    let append = OpenOptions::new()
        .append(true)
        .open(dir.join("outside/secret"));
    outcome(
        "append elsewhere",
        append.and_then(|mut file| file.write_all(b"x")),
    );
    outcome(
        "remove elsewhere",
        fs::remove_file(dir.join("outside/secret")),
    );
    outcome("make a frame", fs::write(frames.join("new"), "x"));
    fs::create_dir(frames.join(".new")).ok();
    fs::write(frames.join(".new/x"), "x").ok();
    outcome(
        "publish",
        fs::rename(frames.join(".new/x"), frames.join("current.jpg")),
    );
    outcome(
        "make a directory again",
        fs::create_dir(dir.join("in/other")),
    );
    outcome("link", symlink("/etc", frames.join("link")));
    outcome("remove the socket", fs::remove_file(dir.join("run/socket")));
    outcome("start", Command::new("/bin/true").status());
    outcome("listen", TcpListener::bind("127.0.0.1:0"));
    outcome("connect", TcpStream::connect(("127.0.0.1", port)));
    let other = TcpStream::connect(("127.0.0.1", other_port));
    outcome("connect elsewhere", other);
    // Nobody listens there, mostly.
    let dns = TcpStream::connect(("127.0.0.1", DNS)).map(drop);
    let dns = dns.or_else(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused => Ok(()),
        _ => Err(error),
    });
    outcome("ask by TCP", dns);
    let send = |port| UdpSocket::bind("127.0.0.1:0")?.send_to(b"x", ("127.0.0.1", port));
    outcome("ask by UDP", send(DNS));
    outcome("send elsewhere", send(other_port));
    let parent = getppid().unwrap();
    outcome("signal", test_kill_process(parent).map_err(io::Error::from));
    let name = variable("NAME").unwrap();
    let address = SocketAddr::from_abstract_name(name).unwrap();
    outcome("abstract socket", UnixStream::connect_addr(&address));
    // In this process's place, so that it does not depend on whether another may be started; the last thing, because it is the end if it can be done.
    let mut other = Command::new("/bin/echo");
    outcome::<()>("execute", Err(other.arg("\nexecute=done").exec()));
}

/// Not a test by itself either.
#[test]
fn a_process_that_starts_a_thread() {
    if std::env::var_os("LAZYCAM_TEST_STARTS_A_THREAD").is_none() {
        return;
    }
    let sandbox = Sandbox::basic().serve(&Needs::default());
    println!("\nsandbox={}", sandbox.json());
    outcome("thread", std::thread::Builder::new().spawn(|| ()));
}

#[test]
fn no_new_processes_is_told_where_none_can_be_started_and_nowhere_else() {
    const NOBODY: u32 = 65534;
    if is_emulated() {
        return skipped("the program under test runs in an emulator, this would not");
    }
    let itself = Command::new(std::env::current_exe().unwrap());
    let mut users = vec![itself];
    if getuid().is_root() {
        let mut other = Command::new(std::env::current_exe().unwrap());
        other.uid(NOBODY).gid(NOBODY);
        users.push(other);
    }
    for mut command in users {
        command.args([
            "--exact",
            "sandbox::a_process_that_starts_a_thread",
            "--nocapture",
        ]);
        command.env("LAZYCAM_TEST_STARTS_A_THREAD", "1");
        let output = match command.args(["--test-threads", "1"]).output() {
            Ok(output) => output,
            Err(error) => return skipped(&format!("nobody may not run the test: {error}")),
        };
        let text = String::from_utf8(output.stdout).unwrap();
        let is_told = text.contains("\"no_new_processes\"");
        let expected = if is_told {
            "thread=WouldBlock"
        } else {
            "thread=done"
        };
        assert!(text.contains(expected), "{text}");
    }
}

/// What a process that is held to something could do; `None` if there is no Landlock to hold it.
fn tried(as_what: &str) -> Option<(u64, Vec<(String, String)>)> {
    if is_emulated() {
        skipped("the program under test runs in an emulator, this would not");
        return None;
    }
    let scratch = Scratch::new();
    for dir in ["in/front", "outside", "run"] {
        fs::create_dir_all(scratch.join(dir)).unwrap();
    }
    fs::write(scratch.join("in/front/current.jpg"), "frame").unwrap();
    fs::write(scratch.join("outside/secret"), "secret").unwrap();
    let _socket = UnixListener::bind(scratch.join("run/socket")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "sandbox::a_process_to_be_fenced", "--nocapture"]);
    command.env("LAZYCAM_TEST_FENCED_AS", as_what);
    command.env("LAZYCAM_TEST_DIR", scratch.path());
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    for (variable, listener) in [("PORT", &listener), ("OTHER_PORT", &other)] {
        let port = listener.local_addr().unwrap().port().to_string();
        command.env(format!("LAZYCAM_TEST_{variable}"), port);
    }
    let name = format!(
        "lazycam-test-{port}",
        port = other.local_addr().unwrap().port()
    );
    command.env("LAZYCAM_TEST_NAME", &name);
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _abstract = UnixListener::bind_addr(&address).unwrap();
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let lines = text.lines().filter_map(|line| line.split_once('='));
    let mut lines: Vec<_> = lines.map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
    let told: Value = serde_json::from_str(&lines.remove(0).1).unwrap();
    match told["landlock"].as_u64() {
        Some(abi) => Some((abi, lines)),
        None => {
            skipped(told["why"].as_str().unwrap());
            None
        }
    }
}

const DONE: &str = "done";
const DENIED: &str = "PermissionDenied";

/// Holds what was tried against what should have come of it. The number is the ABI since which that is so: before, it could be done.
#[track_caller]
fn expect(abi: u64, tried: &[(String, String)], expected: &[(&str, u64, &str)]) {
    for (name, since, outcome) in expected {
        let outcome = if abi < *since { DONE } else { outcome };
        let found = tried.iter().find(|(tried, _)| tried == name);
        assert_eq!(found.map(|it| it.1.as_str()), Some(outcome), "{name}");
    }
    assert_eq!(tried.len(), expected.len());
}

#[test]
fn a_server_can_read_frames_and_nothing_else() {
    let Some((abi, tried)) = tried("serve") else {
        return;
    };
    // RLIMIT_NPROC does not hold root, whom Landlock stops a step later.
    let cannot_start = if getuid().is_root() {
        DENIED
    } else {
        "WouldBlock"
    };
    expect(
        abi,
        &tried,
        &[
            ("read a frame", 1, DONE),
            ("read elsewhere", 1, DENIED),
            ("read /etc/passwd", 1, DENIED),
            ("list", 1, DENIED),
            ("make elsewhere", 1, DENIED),
            ("append elsewhere", 1, DENIED),
            ("remove elsewhere", 1, DENIED),
            ("make a frame", 1, DENIED),
            // Of a file that could not be made.
            ("publish", 1, "NotFound"),
            ("make a directory again", 1, DENIED),
            ("link", 1, DENIED),
            ("remove the socket", 1, DENIED),
            ("start", 1, cannot_start),
            ("listen", 4, DENIED),
            ("connect", 4, DENIED),
            ("connect elsewhere", 4, DENIED),
            ("ask by TCP", 4, DENIED),
            ("ask by UDP", 10, DENIED),
            ("send elsewhere", 10, DENIED),
            ("signal", 6, DENIED),
            ("abstract socket", 6, DENIED),
            ("execute", 1, DENIED),
        ],
    );
}

#[test]
fn a_capture_process_can_change_its_frame_directory_and_nothing_else() {
    expect_of_capture("capture", &[]);
}

#[test]
fn a_capture_process_can_connect_to_the_port_of_its_camera_and_for_a_name_to_dns() {
    expect_of_capture("capture from an address", &["connect"]);
    expect_of_capture(
        "capture from a name",
        &["connect", "ask by TCP", "ask by UDP"],
    );
}

/// `open` is what this process can do beside what each can.
fn expect_of_capture(as_what: &str, open: &[&str]) {
    let Some((abi, tried)) = tried(as_what) else {
        return;
    };
    let opened = |(name, since, outcome)| match open.contains(&name) {
        true => (name, since, DONE),
        false => (name, since, outcome),
    };
    expect(
        abi,
        &tried,
        &[
            ("read a frame", 1, DONE),
            ("read elsewhere", 1, DONE),
            ("read /etc/passwd", 1, DONE),
            ("list", 1, DONE),
            ("make elsewhere", 1, DENIED),
            ("append elsewhere", 1, DENIED),
            ("remove elsewhere", 1, DENIED),
            ("make a frame", 1, DONE),
            ("publish", 1, DONE),
            ("make a directory again", 1, DONE),
            ("link", 1, DENIED),
            ("remove the socket", 1, DENIED),
            ("start", 1, DONE),
            ("listen", 4, DENIED),
            ("connect", 4, DENIED),
            ("connect elsewhere", 4, DENIED),
            ("ask by TCP", 4, DENIED),
            ("ask by UDP", 10, DENIED),
            ("send elsewhere", 10, DENIED),
            ("signal", 6, DENIED),
            ("abstract socket", 6, DENIED),
            ("execute", 1, DONE),
        ]
        .map(opened),
    );
}
