//! Cameras on the network: a stand-in that writes what cameras write, and another lazycam.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::common::frames::Maker;
use crate::common::http::Client;
use crate::common::process::{Process, pid, run};
use crate::common::{PATIENCE, Scratch, eventually};
use lazycam::capture::pattern::stamp::Stamp;
use md5::{Digest, Md5};
use rustix::process::{Signal, kill_process};
use serde_json::Value;

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=123456789000000000000987654321\r\n";

/// A camera on the network that nobody has connected to.
struct Camera {
    listener: TcpListener,
}

/// A connection to it, after the request.
struct Viewer {
    socket: TcpStream,
    request: String,
}

impl Camera {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Camera { listener }
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port())
    }

    fn has_viewer(&self) -> Option<TcpStream> {
        match self.listener.accept() {
            Ok((socket, _)) => Some(socket),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }

    fn accept(&self) -> Viewer {
        let mut socket = None;
        eventually("somebody connects", || {
            socket = self.has_viewer();
            socket.is_some()
        });
        let socket = socket.unwrap();
        socket.set_nonblocking(false).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Viewer::over(socket)
    }
}

impl Viewer {
    /// Reads a request.
    fn over(mut socket: TcpStream) -> Self {
        let (mut request, mut byte) = (Vec::new(), [0]);
        while !request.ends_with(b"\r\n\r\n") {
            socket.read_exact(&mut byte).unwrap();
            request.extend(byte);
        }
        let request = String::from_utf8(request).unwrap();
        Viewer { socket, request }
    }

    /// Reads the next request on the same connection.
    fn again(self) -> Self {
        Viewer::over(self.socket)
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends frames from this number on, in chunks as ESP32's server does, until the other side is gone.
    fn feed(mut self, maker: &Maker, from: u64) -> JoinHandle<()> {
        self.send(format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n"));
        let maker = maker.clone();
        thread::spawn(move || {
            for number in from.. {
                let part = part(&maker.make(&Stamp::now(number)));
                let half = part.len() / 2;
                let mut bytes = Vec::new();
                for chunk in [&part[..half], &part[half..]] {
                    bytes.extend(format!("{:X}\r\n", chunk.len()).bytes());
                    bytes.extend([chunk, b"\r\n"].concat());
                }
                if self.socket.write_all(&bytes).is_err() {
                    return;
                }
                thread::sleep(Duration::from_millis(20));
            }
        })
    }
}

fn part(jpeg: &[u8]) -> Vec<u8> {
    let head = format!(
        "\r\n--123456789000000000000987654321\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n",
        jpeg.len()
    );
    [head.as_bytes(), jpeg].concat()
}

fn edge(scratch: &Scratch, source: &str) -> Process {
    let flags = ["--source", source, "--linger", "0.2"];
    Process::start(run(&scratch.join("front"), &flags))
}

fn told(server: &Process) -> Value {
    let reply = Client::connect(server.address()).get("/state");
    let state: Value = serde_json::from_slice(&reply.body).unwrap();
    state["result"]["lazycam"]["cameras"][0].clone()
}

#[test]
fn a_camera_is_connected_while_somebody_looks_and_not_longer() {
    let (scratch, camera, maker) = (Scratch::new(), Camera::new(), Maker::new(30_000));
    let edge = edge(&scratch, &camera.url("/cam?pwd=secret"));
    eventually("the source is told", || {
        told(&edge)["source"] == camera.url("/cam")
    });
    assert!(camera.has_viewer().is_none());
    for from in [1, 1000] {
        let mut viewer = Client::connect(edge.address()).stream("/stream");
        let connection = camera.accept();
        let asked = format!(
            "GET /cam?pwd=secret HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n",
            camera.port()
        );
        assert!(
            connection.request.starts_with(&asked),
            "{}",
            connection.request
        );
        let fed = connection.feed(&maker, from);
        let first = viewer.number(&maker);
        assert!(first >= from);
        assert!(viewer.number(&maker) > first);
        drop(viewer);
        fed.join().unwrap();
        assert!(camera.has_viewer().is_none());
    }
    let log = edge.stop().log;
    assert!(!log.contains("secret") && !log.contains("lost"), "{log}");
}

#[test]
fn a_camera_that_was_not_read_for_a_while_shows_its_newest_frame() {
    let (scratch, camera, maker) = (Scratch::new(), Camera::new(), Maker::new(1500));
    let edge = edge(&scratch, &camera.url("/"));
    let mut viewer = Client::connect(edge.address()).stream("/stream");
    let mut connection = camera.accept();
    connection.send(format!("{HEAD}\r\n"));
    connection.send(part(&maker.make(&Stamp::now(1))));
    assert_eq!(viewer.number(&maker), 1);
    let capture = pid(edge.child());
    kill_process(capture, Signal::STOP).unwrap();
    let status = format!("/proc/{}/stat", edge.child());
    eventually("it is stopped", || {
        std::fs::read_to_string(&status).unwrap().contains(") T ")
    });
    // Less than the smallest window, so that all of it is there when it goes on.
    for number in 2..=30 {
        connection.send(part(&maker.make(&Stamp::now(number))));
    }
    kill_process(capture, Signal::CONT).unwrap();
    assert_eq!(viewer.number(&maker), 30);
}

#[test]
fn a_lost_camera_is_told_with_the_reason_and_comes_back() {
    let (scratch, camera, maker) = (Scratch::new(), Camera::new(), Maker::new(3000));
    let edge = edge(&scratch, &camera.url("/"));
    let mut viewer = Client::connect(edge.address()).stream("/stream");
    let cut = format!("{HEAD}\r\n--x\r\nContent-Length: 5000\r\n\r\nhalf");
    for (answer, why) in [
        (
            "HTTP/1.0 401 No\r\n\r\n",
            "answers 401 No: it asks for a password",
        ),
        (
            "HTTP/1.1 503 Busy\r\nRetry-After: 1\r\n\r\n",
            "answers 503 Busy",
        ),
        (&cut, "ended the connection"),
    ] {
        let mut connection = camera.accept();
        connection.send(answer);
        drop(connection);
        eventually("the reason is told", || told(&edge)["why"] == why);
    }
    viewer.part_that(|part| part.notice().is_some());
    let _fed = camera.accept().feed(&maker, 7);
    assert!(viewer.number(&maker) >= 7);
    assert_eq!(told(&edge)["why"], Value::Null);
}

#[test]
fn a_camera_that_nobody_listens_for_is_lost_and_a_name_is_tried_at_all_its_addresses() {
    let (scratch, camera, maker) = (Scratch::new(), Camera::new(), Maker::new(3000));
    let port = camera.port();
    drop(camera);
    let url = format!("http://localhost:{port}/");
    let edge = edge(&scratch, &url);
    let mut viewer = Client::connect(edge.address()).stream("/stream");
    eventually("the reason is told", || {
        told(&edge)["why"]
            .as_str()
            .is_some_and(|why| why.starts_with("cannot connect: Connection refused"))
    });
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let _fed = Camera { listener }.accept().feed(&maker, 1);
    viewer.number(&maker);
}

#[test]
fn a_name_that_is_not_found_is_told() {
    let scratch = Scratch::new();
    let edge = edge(&scratch, "http://camera.invalid/");
    let _viewer = Client::connect(edge.address()).stream("/stream");
    eventually("the reason is told", || {
        told(&edge)["why"]
            .as_str()
            .is_some_and(|why| why.contains("name"))
    });
}

#[test]
fn another_lazycam_is_a_camera_that_sleeps_with_the_viewers_of_this_one() {
    let scratch = Scratch::new();
    let socket = scratch.join("origin.sock");
    let flags = ["--linger", "0.2", "--listen", socket.to_str().unwrap()];
    let origin = Process::start(run(&scratch.join("origin"), &flags));
    let sources = [
        format!("http://{}/stream", origin.address()),
        format!("http+unix:{}:/stream", socket.display()),
        format!("http://{}/snapshot", origin.address()),
    ];
    for source in &sources {
        let edge = edge(&scratch, source);
        let mut viewer = Client::connect(edge.address()).stream("/stream");
        let first = viewer.frame().number();
        viewer.part_after(first + 5);
        drop(viewer);
        eventually("the origin sleeps", || told(&origin)["state"] == "off");
        edge.stop();
    }
}

#[test]
fn single_pictures_are_fetched_one_after_the_other_and_no_faster_than_asked_for() {
    let (scratch, camera, maker) = (Scratch::new(), Camera::new(), Maker::new(3000));
    let url = camera.url("/capture?x=1");
    let flags = ["--source", &url, "--linger", "0.2", "--fps", "20"];
    let edge = Process::start(run(&scratch.join("front"), &flags));
    let mut viewer = Client::connect(edge.address()).stream("/stream");
    let begun = Instant::now();
    // Two on a connection that is kept; it is closed while the third is asked for.
    for number in (1..=10).step_by(2) {
        let mut connection = camera.accept();
        for number in [number, number + 1] {
            assert!(
                connection
                    .request
                    .starts_with("GET /capture?x=1 HTTP/1.1\r\n")
            );
            let jpeg = maker.make(&Stamp::now(number));
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nX-Timestamp: 1.5\r\nContent-Length: {}\r\n\r\n",
                jpeg.len()
            );
            connection.send([head.as_bytes(), &jpeg].concat());
            assert_eq!(viewer.part_after(number - 1).number(), number);
            connection = connection.again();
        }
    }
    assert!(begun.elapsed() > Duration::from_millis(9 * 50));
    assert!(!edge.stop().log.contains("lost"));
}

#[test]
fn another_lazycams_snapshots_are_each_another_picture() {
    let (scratch, camera, maker) = (Scratch::new(), Camera::new(), Maker::new(3000));
    let edge = edge(&scratch, &camera.url("/snapshot"));
    let mut viewer = Client::connect(edge.address()).stream("/stream");
    let mut connection = camera.accept();
    let jpeg = maker.make(&Stamp::now(1));
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nX-Timestamp: 12.500000\r\nX-Frame-Age: 0.25\r\nContent-Length: {}\r\n\r\n",
        jpeg.len()
    );
    connection.send([head.as_bytes(), &jpeg].concat());
    assert_eq!(viewer.number(&maker), 1);
    let connection = connection.again();
    let asked = "GET /snapshot?after=12.500000&timeout=8 HTTP/1.1\r\n";
    assert!(
        connection.request.starts_with(asked),
        "{}",
        connection.request
    );
}

#[test]
fn the_password_of_a_camera_comes_from_a_file_and_is_told_to_nobody_else() {
    let (scratch, camera, maker) = (Scratch::new(), Camera::new(), Maker::new(3000));
    let file = scratch.join("password");
    std::fs::write(&file, "open sesame\n").unwrap();
    let url = camera.url("/").replace("http://", "http://Aladdin@");
    let mut flags = vec!["--source", &url, "--log", "debug"];
    let ended = Process::start(run(&scratch.join("front"), &flags)).end();
    assert!(ended.log.contains("go together"), "{}", ended.log);
    flags.extend(["--source-password", file.to_str().unwrap()]);
    let edge = Process::start(run(&scratch.join("front"), &flags));
    let mut viewer = Client::connect(edge.address()).stream("/stream");
    let mut connection = camera.accept();
    assert!(!connection.request.contains("Authorization"));
    connection.send("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\r\n");
    let connection = camera.accept();
    // The example of RFC 7617, 2.
    let field = "\r\nAuthorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n";
    assert!(connection.request.contains(field), "{}", connection.request);
    let _fed = connection.feed(&maker, 1);
    viewer.number(&maker);
    assert_eq!(told(&edge)["source"], camera.url("/"));
    let arguments = std::fs::read_to_string(format!("/proc/{}/cmdline", edge.child())).unwrap();
    let log = edge.stop().log;
    for secret in ["sesame", "QWxh"] {
        assert!(
            !arguments.contains(secret) && !log.contains(secret),
            "{log}"
        );
    }
}

#[test]
fn a_password_goes_to_a_camera_that_knows_digest_as_a_proof_only() {
    let (scratch, camera, maker) = (Scratch::new(), Camera::new(), Maker::new(3000));
    let file = scratch.join("password");
    std::fs::write(&file, "Circle of Life").unwrap();
    let url = camera.url("/x?y").replace("http://", "http://Mufasa@");
    let password = ["--source-password", file.to_str().unwrap()];
    let mut flags = vec!["--source", &url, "--linger", "0.2"];
    flags.extend(password);
    let edge = Process::start(run(&scratch.join("front"), &flags));
    let challenge = |nonce: &str| {
        format!(
            "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"r\"\r\n\
             WWW-Authenticate: Digest realm=\"r\", nonce=\"{nonce}\", algorithm=MD5, qop=\"auth\"\r\n\r\n"
        )
    };
    let proof = |request: &str, nonce: &str, count: &str| {
        let value = |name: &str| {
            let (_, behind) = request.split_once(&format!("{name}=\"")).expect(request);
            behind.split_once('"').unwrap().0.to_owned()
        };
        let hash = |text: String| -> String {
            let hash = Md5::digest(text);
            hash.iter().map(|byte| format!("{byte:02x}")).collect()
        };
        let who = hash("Mufasa:r:Circle of Life".into());
        let what = hash("GET:/x?y".into());
        let ours = value("cnonce");
        assert!(request.contains(&format!("nc={count}, ")), "{request}");
        assert_eq!(
            value("response"),
            hash(format!("{who}:{nonce}:{count}:{ours}:auth:{what}"))
        );
        assert!(
            !request.contains("Basic") && !request.contains("Circle"),
            "{request}"
        );
    };
    let mut viewer = Client::connect(edge.address()).stream("/stream");
    camera.accept().send(challenge("one"));
    let connection = camera.accept();
    proof(&connection.request, "one", "00000001");
    let fed = connection.feed(&maker, 1);
    viewer.number(&maker);
    drop(viewer);
    fed.join().unwrap();
    // The camera has forgotten in the meantime.
    let mut viewer = Client::connect(edge.address()).stream("/stream");
    let mut connection = camera.accept();
    proof(&connection.request, "one", "00000002");
    connection.send(challenge("two"));
    let connection = camera.accept();
    proof(&connection.request, "two", "00000001");
    let _fed = connection.feed(&maker, 1);
    viewer.number(&maker);
    assert!(!edge.stop().log.contains("lost"));
}

#[test]
fn a_redirect_is_followed_on_the_same_host_and_to_no_other() {
    let (scratch, camera, maker) = (Scratch::new(), Camera::new(), Maker::new(3000));
    let (other, edge) = (Camera::new(), edge(&scratch, &camera.url("/old?x")));
    let mut viewer = Client::connect(edge.address()).stream("/stream");
    let redirect = |to: &str| format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\n\r\n");
    camera.accept().send(redirect(&other.url("/")));
    eventually("the reason is told", || {
        told(&edge)["why"]
            .as_str()
            .is_some_and(|why| why.starts_with("answers 302 Found and sends us to "))
    });
    camera.accept().send(redirect(&camera.url("/new?y#z")));
    let connection = camera.accept();
    assert!(connection.request.starts_with("GET /new?y HTTP/1.1\r\n"));
    let _fed = connection.feed(&maker, 7);
    assert!(viewer.number(&maker) >= 7);
    assert!(other.has_viewer().is_none());
}

#[test]
fn how_old_a_picture_was_at_the_origin_counts_at_the_edge() {
    let (scratch, camera, maker) = (Scratch::new(), Camera::new(), Maker::new(3000));
    let edge = edge(&scratch, &camera.url("/"));
    let mut viewer = Client::connect(edge.address()).stream("/stream");
    let mut connection = camera.accept();
    let jpeg = maker.make(&Stamp::now(1));
    let part = format!(
        "--x\r\nX-Frame-Age: 2.5\r\nContent-Length: {}\r\n\r\n",
        jpeg.len()
    );
    connection.send(format!("{HEAD}\r\n{part}"));
    connection.send(&jpeg);
    let part = viewer.frame();
    assert!(
        part.age_when_sent >= Duration::from_millis(2500),
        "{:?}",
        part.age_when_sent
    );
    eventually("the origin's age is told", || {
        told(&edge)["origin"]["age"] == 2.5
    });
    let own = told(&edge)["frame"]["age"].as_f64().unwrap();
    assert!(own >= 2.5, "{own}");
}

#[test]
fn the_picture_of_a_lost_camera_is_no_frame_for_the_next_server() {
    let (scratch, camera, maker) = (Scratch::new(), Camera::new(), Maker::new(3000));
    let flags = ["--source", &camera.url("/")];
    let origin = Process::start(run(&scratch.join("origin"), &flags));
    let edge = edge(&scratch, &format!("http://{}/stream", origin.address()));
    let mut viewer = Client::connect(edge.address()).stream("/stream");
    camera.accept().send("HTTP/1.1 404 None\r\n\r\n");
    eventually("the edge has lost its camera too", || {
        told(&edge)["why"] == "has lost its own camera, and shows a picture that says so"
    });
    viewer.part_that(|part| part.notice().is_some());
    assert_eq!(told(&edge)["published"], 0);
    let _fed = camera.accept().feed(&maker, 7);
    assert!(viewer.number(&maker) >= 7);
}

#[test]
fn cameras_that_go_round_in_a_loop_are_noticed() {
    let scratch = Scratch::new();
    let socket = |name: &str| scratch.join(name).to_str().unwrap().to_owned();
    let start = |name: &str, of: &str| {
        let source = format!("http+unix:{}:/stream", socket(of));
        let flags = [
            "--source",
            &source,
            "--listen",
            &socket(name),
            "--listen",
            "127.0.0.1:0",
        ];
        Process::start(run(&scratch.join(&format!("frames-{name}")), &flags))
    };
    let is_loop = |server: &Process| {
        let why = told(server)["why"].clone();
        why == "gets its pictures from this camera: they go round in a loop"
    };
    let alone = start("alone", "alone");
    let _viewer = Client::connect(alone.address()).stream("/stream");
    eventually("the loop is noticed", || is_loop(&alone));
    let both = [start("one", "two"), start("two", "one")];
    let _viewer = Client::connect(both[0].address()).stream("/stream");
    eventually("the loop is noticed", || both.iter().any(is_loop));
}
