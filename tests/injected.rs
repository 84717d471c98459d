//! Calls to the kernel that fail, one kind at a time: strace puts the error in (`-e inject=`), the rest is real. Each has its outcome:
//! what passes costs nobody a connection, what concerns one client costs that one, and what makes a start impossible is told.
//!
//! In each case some calls fail, then none; viewers, processor time and descriptors are looked at meanwhile and afterwards.
//! What not: the system itself at its limits, which is in `faults.rs`.

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use common::frames::Maker;
use common::http::{Client, expect_new_frame};
use common::process::{
    Process, Spent, clean, descriptors, has, is_emulated, pid, run, serve, serve_arguments, wrapped,
};
use common::producer::{Camera, Hand};
use common::{Scratch, eventually, skipped};
use rustix::process::{Signal, kill_process};

/// Whether calls can be made to fail here; says so if not.
fn can_inject() -> bool {
    if is_emulated() {
        skipped("the failing calls would be the emulator's");
        return false;
    }
    has("strace")
}

/// strace beside a process, by which calls of it fail.
struct Injection {
    strace: Process,
    out: PathBuf,
}

impl Injection {
    /// `what` as strace has it: `accept4:error=EMFILE:when=1..2`. `None`, said loudly, where it may not be done.
    fn into(pid: u32, what: &str, scratch: &Scratch) -> Option<Injection> {
        let out = scratch.join("calls");
        let calls = what.split(':').next().unwrap();
        let mut strace = clean("strace");
        strace.args([
            "-f",
            "-p",
            &pid.to_string(),
            "-e",
            &format!("trace={calls}"),
        ]);
        strace
            .args(["-e", &format!("inject={what}"), "-o"])
            .arg(&out);
        strace.stdin(Stdio::null()).stdout(Stdio::null());
        let strace = Process::start(strace);
        let line = strace.line("strace: ");
        if !line.contains("attached") {
            skipped(&line);
            return None;
        }
        Some(Injection { strace, out })
    }

    /// Waits until a call has failed.
    fn has_struck(&self) {
        eventually("a call fails", || {
            let calls = fs::read_to_string(&self.out).unwrap_or_default();
            calls.contains("(INJECTED)")
        });
    }

    /// From now on no call fails.
    fn end(self) {
        self.strace.stop();
    }
}

/// Each case on a thread of its own: they do little but wait.
fn each<T: Sync>(cases: &[T], test: impl Fn(&T) + Sync) {
    thread::scope(|scope| {
        for case in cases {
            scope.spawn(|| test(case));
        }
    });
}

/// While calls of a server fail, one viewer watches and another comes; both have their frames in the end.
fn nobody_is_lost(what: &str) {
    let scratch = Scratch::new();
    let maker = Maker::new(5000);
    let _camera = Camera::start(&scratch.join("frames"), 20.0, maker.clone());
    let mut server = serve(&scratch.join("frames"), &[]);
    let mut first = Client::connect(server.address()).stream("/stream");
    expect_new_frame(&mut first);
    let before = descriptors(server.pid());
    let Some(injection) = Injection::into(server.pid(), what, &scratch) else {
        return;
    };
    let spent = Spent::by(server.pid());
    let mut second = Client::connect(server.address()).stream("/stream");
    injection.has_struck();
    thread::sleep(Duration::from_millis(300));
    spent.is_little(what);
    expect_new_frame(&mut second);
    expect_new_frame(&mut first);
    injection.end();
    expect_new_frame(&mut first);
    maker.verify(&second.part().jpeg);
    drop(second);
    eventually("its descriptors are closed", || {
        // Those for a frame come and go.
        descriptors(server.pid()) <= before
    });
    assert!(server.runs(), "{what}");
    assert!(server.stop().status.success(), "{what}");
}

#[test]
fn what_passes_costs_no_viewer() {
    if !can_inject() {
        return;
    }
    let cases = [
        "accept4:error=EMFILE:when=1",
        "accept4:error=ENFILE:when=1",
        "accept4:error=ENOBUFS:when=1..2",
        "accept4:error=ENOMEM:when=1",
        "accept4:error=ECONNABORTED:when=1..5",
        "accept4:error=ENETDOWN:when=1..5",
        "accept4:error=EACCES:when=1..5",
        "accept4:error=EINTR:when=1..5",
        "sendto:error=ENOBUFS:when=1..3",
        "sendto:error=EINTR:when=1..3",
        // Which of them sends a frame is measured on the machine.
        "sendfile,sendmsg:error=ENOMEM:when=1..3",
        "sendfile,sendmsg:error=EINTR:when=1..3",
        "recvfrom:error=ENOMEM:when=1..2",
        "recvfrom:error=EINTR:when=1..3",
        "ioctl:error=ENOTTY",
        "getsockopt:error=ENOPROTOOPT",
        "?epoll_wait,epoll_pwait:error=EINTR:when=1..20",
    ];
    each(&cases, |case| nobody_is_lost(case));
}

/// The first option is that by which the address can be taken again; what follows is for connections, and is set once.
#[test]
fn options_of_a_socket_that_are_refused_cost_no_viewer() {
    if !can_inject() {
        return;
    }
    let scratch = Scratch::new();
    let maker = Maker::new(5000);
    let _camera = Camera::start(&scratch.join("frames"), 20.0, maker.clone());
    let server = started_with("setsockopt:error=EINVAL:when=2+", "serve", &scratch);
    let mut viewer = Client::connect(server.address()).stream("/stream");
    expect_new_frame(&mut viewer);
    maker.verify(&viewer.part().jpeg);
    let calls = fs::read_to_string(scratch.join("calls")).unwrap();
    for option in ["TCP_NODELAY", "TCP_NOTSENT_LOWAT"] {
        let is_refused = |line: &str| line.contains(option) && line.contains("(INJECTED)");
        assert!(calls.lines().any(is_refused), "{option}: {calls}");
    }
}

/// An error that comes with every call: a security module that denies before the kernel takes the connection off its queue.
#[test]
fn accepting_that_fails_for_ever_does_not_spin_and_costs_no_viewer() {
    if !can_inject() {
        return;
    }
    let cases = [
        "EPERM",
        "EACCES",
        "ECONNABORTED",
        "ENOPROTOOPT",
        "ENONET",
        "EOPNOTSUPP",
    ];
    each(&cases, |error| {
        let scratch = Scratch::new();
        let _camera = Camera::start(&scratch.join("frames"), 20.0, Maker::new(5000));
        let server = serve(&scratch.join("frames"), &[]);
        let mut first = Client::connect(server.address()).stream("/stream");
        expect_new_frame(&mut first);
        let what = format!("accept4:error={error}");
        let Some(injection) = Injection::into(server.pid(), &what, &scratch) else {
            return;
        };
        let spent = Spent::by(server.pid());
        // Waits in the kernel's queue, of which the server is told for as long as it is there.
        let mut second = Client::connect(server.address());
        injection.has_struck();
        server.line("cannot accept on ");
        thread::sleep(Duration::from_secs(1));
        spent.is_little(error);
        expect_new_frame(&mut first);
        injection.end();
        assert_eq!(second.get("/favicon.ico").head.status, 204);
        assert!(server.stop().status.success(), "{error}");
    });
}

#[test]
fn a_frame_that_cannot_be_read_is_one_frame_less() {
    if !can_inject() {
        return;
    }
    let cases = [
        "?open,openat:error=EMFILE:when=1..5",
        "?open,openat:error=ENFILE:when=1..5",
        "?open,openat:error=EACCES:when=1..5",
        "?open,openat:error=EIO:when=1..5",
        "?open,openat:error=ENOMEM:when=1..5",
        "fstat:error=EIO:when=1..5",
        "pread64:error=EIO:when=1..5",
        "read:error=EINTR:when=1..5",
    ];
    each(&cases, |case| nobody_is_lost(case));
}

#[test]
fn what_concerns_one_client_costs_that_one_alone() {
    if !can_inject() {
        return;
    }
    let cases = [
        ("sendto:error=ECONNRESET:when=1", "/favicon.ico"),
        ("sendto:error=EPIPE:when=1", "/favicon.ico"),
        ("sendto:error=EHOSTUNREACH:when=1", "/favicon.ico"),
        ("recvfrom:error=ECONNRESET:when=1", "/favicon.ico"),
        ("recvfrom:error=ETIMEDOUT:when=1", "/favicon.ico"),
        ("epoll_ctl:error=ENOMEM:when=1", "/favicon.ico"),
        (
            "sendfile,sendmsg:error=EIO:when=1",
            "/snapshot?max_age=1000",
        ),
        (
            "sendfile,sendmsg:error=EPIPE:when=1",
            "/snapshot?max_age=1000",
        ),
    ];
    each(&cases, |(what, target)| {
        let scratch = Scratch::new();
        let maker = Maker::new(5000);
        let mut hand = Hand::new(&scratch.join("frames"), maker.clone());
        let server = serve(&scratch.join("frames"), &[]);
        let mut viewer = Client::connect(server.address()).stream("/stream");
        hand.wait_until_asked();
        hand.publish();
        assert_eq!(viewer.number(&maker), 1);
        // The viewer waits for a frame, so the next call is another client's.
        let Some(injection) = Injection::into(server.pid(), what, &scratch) else {
            return;
        };
        let before = descriptors(server.pid());
        let mut other = Client::connect(server.address());
        let _ = other.try_send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes());
        other.wait_for_any_end();
        injection.has_struck();
        injection.end();
        eventually("its descriptors are closed", || {
            descriptors(server.pid()) <= before
        });
        hand.publish();
        // The first one may have been sent again meanwhile.
        let next = viewer.part_after(1);
        assert_eq!(maker.verify(&next.jpeg).frame, 2, "{what}");
        assert_eq!(
            Client::connect(server.address())
                .get("/favicon.ico")
                .head
                .status,
            204
        );
        assert!(server.stop().status.success(), "{what}");
    });
}

#[test]
fn who_waits_for_the_proof_of_a_password_has_it_when_there_is_a_thread_again() {
    if !can_inject() {
        return;
    }
    let scratch = Scratch::new();
    let _camera = Camera::start(&scratch.join("frames"), 20.0, Maker::new(5000));
    let users = scratch.join("users");
    // Its password is `secret`.
    let user = "anna:$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA";
    fs::write(&users, user).unwrap();
    let flags = ["--auth", users.to_str().unwrap()];
    let server = serve(&scratch.join("frames"), &flags);
    let what = "?clone,?clone3:error=EAGAIN";
    let Some(injection) = Injection::into(server.pid(), what, &scratch) else {
        return;
    };
    let ask = || {
        let mut client = Client::connect(server.address());
        client.send(
            "GET /stream HTTP/1.1\r\nHost: test\r\nAuthorization: Basic YW5uYTpzZWNyZXQ=\r\n\r\n",
        );
        client
    };
    let mut waiting = [ask(), ask()];
    injection.has_struck();
    server.line("no thread for the proof of a password");
    let spent = Spent::by(server.pid());
    thread::sleep(Duration::from_millis(1500));
    spent.is_little(what);
    injection.end();
    // Nobody else comes who would set it going.
    for client in &mut waiting {
        assert_eq!(client.head().status, 200);
    }
    assert!(server.stop().status.success());
}

#[test]
fn a_start_that_is_impossible_is_told_with_its_reason() {
    if !can_inject() {
        return;
    }
    let cases = [
        (
            "serve",
            "inotify_init1:error=EMFILE",
            "create an inotify instance",
        ),
        ("serve", "epoll_create1:error=EMFILE", "epoll"),
        ("serve", "socket:error=EMFILE", "listen on 127.0.0.1:0"),
        ("serve", "bind:error=EACCES", "listen on 127.0.0.1:0"),
        ("serve", "listen:error=EADDRINUSE", "listen on 127.0.0.1:0"),
        (
            "capture",
            "inotify_init1:error=EMFILE",
            "max_user_instances",
        ),
        (
            "capture",
            "inotify_add_watch:error=ENOSPC",
            "max_user_watches",
        ),
        ("capture", "flock:error=ENOLCK", "lock"),
        ("capture", "?mkdir,mkdirat:error=ENOSPC", "No space left"),
    ];
    each(&cases, |(command, what, told)| {
        let scratch = Scratch::new();
        let ended = started_with(what, command, &scratch).end();
        assert_eq!(ended.status.code(), Some(1), "{what}: {}", ended.log);
        assert!(ended.log.contains(told), "{what}: {}", ended.log);
        assert!(!ended.log.contains("panicked"), "{what}: {}", ended.log);
    });
}

/// A server or a capture process of which calls fail from the first one on.
fn started_with(what: &str, command: &str, scratch: &Scratch) -> Process {
    let frames = scratch.join("frames");
    let inject = format!("inject={what}");
    let out = scratch.join("calls");
    let strace = ["strace", "-f", "-o", out.to_str().unwrap(), "-e", &inject];
    let words = match command {
        "serve" => serve_arguments(&frames, &[]),
        command => vec![command, "--frames", frames.to_str().unwrap()],
    };
    Process::start(wrapped(&strace, &words))
}

#[test]
fn without_watches_left_it_starts_and_tries_again_until_there_are() {
    if !can_inject() {
        return;
    }
    let scratch = Scratch::new();
    let maker = Maker::new(5000);
    let _camera = Camera::start(&scratch.join("frames"), 20.0, maker.clone());
    let server = started_with(
        "inotify_add_watch:error=ENOSPC:when=1..2",
        "serve",
        &scratch,
    );
    let mut viewer = Client::connect(server.address()).stream("/stream");
    let line = server.line("trying again");
    assert!(line.contains("max_user_watches"), "{line}");
    expect_new_frame(&mut viewer);
}

#[test]
fn what_passes_costs_a_capture_process_frames_and_nothing_else() {
    if !can_inject() {
        return;
    }
    let publishing = "cannot publish to";
    let cases = [
        ("?open,openat:error=EMFILE:when=1..3", publishing),
        ("?open,openat:error=ENOSPC:when=1..3", publishing),
        ("?open,openat:error=EIO:when=1..3", publishing),
        // The fourth is not the log's, which has four by then.
        ("write:error=ENOSPC:when=1..3", ""),
        ("write:error=EIO:when=1..3", ""),
        ("write:error=EINTR:when=1..3", ""),
        ("utimensat:error=EIO:when=1..3", publishing),
        ("?renameat,renameat2:error=EIO:when=1..3", publishing),
        ("?renameat,renameat2:error=ENOSPC:when=1..3", publishing),
        ("?epoll_wait,epoll_pwait:error=EINTR:when=1..20", ""),
        ("read:error=EINTR:when=1..5", ""),
    ];
    each(&cases, |(what, told)| {
        let scratch = Scratch::new();
        let flags = ["--size", "64x48", "--fps", "20"];
        let server = Process::start(run(&scratch.join("frames"), &flags));
        let mut viewer = Client::connect(server.address()).stream("/stream");
        expect_new_frame(&mut viewer);
        let capture = server.child();
        let Some(injection) = Injection::into(capture, what, &scratch) else {
            return;
        };
        let (spent, before) = (Spent::by(capture), descriptors(capture));
        injection.has_struck();
        server.line(told);
        thread::sleep(Duration::from_millis(300));
        spent.is_little(what);
        expect_new_frame(&mut viewer);
        injection.end();
        expect_new_frame(&mut viewer);
        // One for a frame comes and goes.
        eventually("its descriptors are closed", || {
            descriptors(capture) <= before
        });
        assert_eq!(server.child(), capture, "{what}: another process");
    });
}

#[test]
fn a_capture_process_that_cannot_be_started_again_is_tried_again_and_costs_no_viewer() {
    if !can_inject() {
        return;
    }
    // musl's and glibc's ways to start a process, and what an older kernel is asked for.
    let cases = [
        "?clone,?clone3,?vfork:error=EAGAIN:when=1",
        "?clone,?clone3,?vfork:error=ENOMEM:when=1",
    ];
    each(&cases, |what| {
        let scratch = Scratch::new();
        let flags = ["--size", "64x48", "--fps", "20"];
        let mut server = Process::start(run(&scratch.join("frames"), &flags));
        let mut viewer = Client::connect(server.address()).stream("/stream");
        expect_new_frame(&mut viewer);
        let capture = server.child();
        let Some(injection) = Injection::into(server.pid(), what, &scratch) else {
            return;
        };
        kill_process(pid(capture), Signal::KILL).unwrap();
        server.line("cannot start a process for capture: ");
        injection.has_struck();
        injection.end();
        expect_new_frame(&mut viewer);
        assert!(server.runs() && server.child() != capture, "{what}");
    });
}

/// What goes wrong in one way is told also just after something else has gone wrong in another.
#[test]
fn a_message_that_was_just_written_keeps_back_no_other() {
    if !can_inject() {
        return;
    }
    let scratch = Scratch::new();
    let users = scratch.join("users");
    let user = "anna:$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA";
    fs::write(&users, user).unwrap();
    let flags = ["--auth", users.to_str().unwrap()];
    let server = serve(&scratch.join("frames"), &flags);
    let mut first = Client::connect(server.address());
    assert_eq!(first.get("/stream").head.status, 401);
    let what = "accept4,?clone,?clone3:error=ENOMEM";
    let Some(injection) = Injection::into(server.pid(), what, &scratch) else {
        return;
    };
    let _second = Client::connect(server.address());
    server.line("cannot accept on ");
    first.send(
        "GET /stream HTTP/1.1\r\nHost: test\r\nAuthorization: Basic YW5uYTpzZWNyZXQ=\r\n\r\n",
    );
    let line = server.line("no thread for the proof of a password");
    assert!(line.contains("(0 more like it)"), "{line}");
    injection.end();
}
