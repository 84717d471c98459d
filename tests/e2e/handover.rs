//! The server is restarted, by an upgrade for example, and its service manager keeps the streams: their viewers see a pause and no end.
//!
//! The service manager is this program, as far as a server can tell (sd_notify(3), `FDSTORE=1`; sd_listen_fds(3)).

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::Signal;
use serde_json::Value;

use crate::common::frames::Maker;
use crate::common::http::{Client, Stream};
use crate::common::process::Process;
use crate::common::producer::Camera;
use crate::common::{PATIENCE, Scratch};
use crate::sockets::{OWN, passing};

/// `anna` with the password `secret`.
const USERS: &str = "anna:$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA\n";

/// A service manager with one socket, and what it keeps.
struct Manager {
    notify: UnixDatagram,
    path: PathBuf,
    listener: TcpListener,
    kept: Option<(String, OwnedFd)>,
    /// What it passed on, which it keeps a duplicate of until it is told to forget it, as systemd does.
    passed: Option<(String, OwnedFd)>,
    frames: Scratch,
    _camera: Camera,
    maker: Maker,
    _scratch: Scratch,
}

impl Manager {
    fn new(frame: usize) -> Self {
        let (scratch, frames, maker) = (Scratch::new(), Scratch::new(), Maker::new(frame));
        let camera = Camera::start(frames.path(), 20.0, maker.clone());
        let path = scratch.join("notify");
        let notify = UnixDatagram::bind(&path).unwrap();
        notify.set_read_timeout(Some(PATIENCE)).unwrap();
        Manager {
            notify,
            path,
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            kept: None,
            passed: None,
            frames,
            _camera: camera,
            maker,
            _scratch: scratch,
        }
    }

    /// The same, with a file of [`USERS`].
    fn with_users() -> (Self, PathBuf) {
        let manager = Manager::new(5_000);
        let users = manager.frames.join("users");
        std::fs::write(&users, USERS).unwrap();
        (manager, users)
    }

    /// Starts the server with what is kept.
    fn start(&mut self, flags: &[&str]) -> Process {
        let mut names = "web".to_owned();
        let mut sockets = vec![self.listener.try_clone().unwrap().into()];
        if let Some((name, socket)) = self.kept.take() {
            names = format!("{names}:{name}");
            sockets.push(socket.try_clone().unwrap());
            self.passed = Some((name, socket));
        }
        let frames = format!("front={}", self.frames.path().display());
        let mut words = vec!["serve", "--frames", &frames];
        words.extend(flags);
        let mut command = passing(OWN, &names, sockets, &words);
        command
            .env("NOTIFY_SOCKET", &self.path)
            .env("FDSTORE", "16");
        let server = Process::start(command);
        while self.hear() != "READY=1" {}
        assert!(self.passed.is_none(), "a duplicate would keep it open");
        server
    }

    /// The next message; a socket that comes with it is kept.
    fn hear(&mut self) -> String {
        let (mut bytes, mut space) = (
            [0; 1024],
            [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))],
        );
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let buffers = &mut [IoSliceMut::new(&mut bytes)];
        let got = recvmsg(&self.notify, buffers, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
        let text = String::from_utf8_lossy(&bytes[..got.bytes])
            .trim_end_matches('\n')
            .to_owned();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(mut sockets) = message {
                let name = text.strip_prefix("FDSTORE=1\nFDNAME=").expect(&text);
                assert!(self.kept.is_none(), "one at a time");
                self.kept = Some((name.into(), sockets.next().unwrap()));
            }
        }
        let forgotten = text.strip_prefix("FDSTOREREMOVE=1\nFDNAME=");
        self.passed = self
            .passed
            .take()
            .filter(|(name, _)| forgotten != Some(name.as_str()));
        text
    }

    /// Ends the server, which must leave its stream here.
    fn stop(&mut self, server: Process) {
        server.signal(Signal::TERM);
        while self.kept.is_none() {
            self.hear();
        }
        let log = server.end().log;
        assert!(log.contains("1 handed over"), "{log}");
    }

    fn connect(&self) -> Client {
        Client::connect(self.listener.local_addr().unwrap())
    }

    /// A stream with the password of [`USERS`].
    fn enter(&self) -> Stream {
        let mut client = self.connect();
        client.send(
            "GET /stream HTTP/1.1\r\nHost: test\r\nAuthorization: Basic YW5uYTpzZWNyZXQ=\r\n\r\n",
        );
        client.begin_stream()
    }
}

/// Reads whole frames, each newer than the last, until a new one has come after `until` was set; how many there were.
fn read(stream: &mut Stream, maker: &Maker, until: &AtomicBool) -> u64 {
    let (mut last, mut count) = (0, 0);
    loop {
        let is_over = until.load(SeqCst);
        let number = stream.number(maker);
        assert!(number > last, "{number} after {last}");
        (last, count) = (number, count + 1);
        if is_over {
            return count;
        }
    }
}

#[test]
fn streams_go_on_when_their_server_is_restarted() {
    // In the midst of a frame, and between two.
    for (frame, is_narrow) in [(5_000, false), (300_000, false), (300_000, true)] {
        let mut manager = Manager::new(frame);
        let mut server = manager.start(&[]);
        let client = match is_narrow {
            true => Client::connect_narrow(manager.listener.local_addr().unwrap()),
            false => manager.connect(),
        };
        let mut stream = client.stream("/front/stream?key=mine&fps=15");
        let (maker, over) = (manager.maker.clone(), AtomicBool::new(false));
        stream.number(&maker);
        thread::scope(|scope| {
            let viewer = scope.spawn(|| read(&mut stream, &maker, &over));
            for _ in 0..3 {
                manager.stop(server);
                server = manager.start(&[]);
            }
            let reply = manager.connect().get("/state");
            let state: Value = serde_json::from_slice(&reply.body).unwrap();
            let streams = state["result"]["stream"]["clients_stat"]
                .as_object()
                .unwrap();
            let keys: Vec<_> = streams.values().map(|one| &one["key"]).collect();
            assert_eq!(keys, ["mine"], "{state}");
            over.store(true, SeqCst);
            assert!(viewer.join().unwrap() > 0);
        });
    }
}

#[test]
fn a_stream_that_had_a_password_goes_on_and_nobody_else_comes_in_without_one() {
    let (mut manager, users) = Manager::with_users();
    let flags = ["--auth", users.to_str().unwrap()];
    let server = manager.start(&flags);
    let mut stream = manager.enter();
    let maker = manager.maker.clone();
    stream.number(&maker);
    manager.stop(server);
    let _server = manager.start(&flags);
    let now = lazycam::time::clock::monotonic();
    stream.part_that(|part| part.notice().is_none() && part.stamp().monotonic > now);
    assert_eq!(manager.connect().get("/stream").head.status, 401);
}

#[test]
fn a_stream_ends_with_the_password_that_it_had() {
    let (mut manager, users) = Manager::with_users();
    let flags = ["--auth", users.to_str().unwrap()];
    let server = manager.start(&flags);
    let mut stream = manager.enter();
    stream.number(&manager.maker);
    manager.stop(server);
    std::fs::write(&users, USERS.replace("anna", "bert")).unwrap();
    let _server = manager.start(&flags);
    stream.expect_end();
}

#[test]
fn a_stream_of_which_nothing_is_known_ends_and_the_server_does_not() {
    let mut manager = Manager::new(5_000);
    let server = manager.start(&[]);
    let mut stream = manager.connect().stream("/stream");
    stream.number(&manager.maker);
    manager.stop(server);
    let (name, _) = manager.kept.as_mut().unwrap();
    assert!(name.starts_with("kept 0 stream1 front "), "{name}");
    *name = name.replace("stream1", "stream0");
    let _server = manager.start(&[]);
    stream.expect_end();
    assert_eq!(manager.connect().get("/state").head.status, 200);
}
