//! Programs that serve cameras, each started here; and two that cannot be had, by stand-ins that write what they write.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use super::standin::{Camera, edge, expect_frames_and_sleep, told, told_over};
use crate::common::frames::Maker;
use crate::common::http::Client;
use crate::common::process::{Process, clean, has, run};
use crate::common::{Scratch, eventually};

/// A port that was free a moment ago, for programs that have to be told one.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Starts a program that listens on this port after a while.
fn started(mut command: Command, port: u16) -> Process {
    command.stdout(Stdio::null());
    let mut process = Process::start(command);
    eventually("it listens", || {
        assert!(process.runs(), "{}", process.log());
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    process
}

fn asking(scratch: &Scratch, source: &str, password: &str) -> Process {
    let file = scratch.join("password");
    fs::write(&file, password).unwrap();
    let flags = ["--linger", "0.2", "--source", source, "--source-password"];
    let flags = [&flags[..], &[file.to_str().unwrap()]].concat();
    Process::start(run(&scratch.join("front"), &flags))
}

/// Some frames come by. A program that listens before it has its camera may be lost once before.
#[track_caller]
fn expect_frames(edge: &Process, count: u32) {
    let mut viewer = Client::connect(edge.address()).stream("/stream");
    let mut last = Duration::ZERO;
    for _ in 0..count {
        // What is sent again has the same time.
        let part = viewer.part_that(|part| part.notice().is_none() && part.timestamp != last);
        last = part.timestamp;
    }
}

fn expect_refusal(edge: &Process, why: &str) {
    let _viewer = Client::connect(edge.address()).stream("/stream");
    eventually("it is refused", || told(edge)["why"] == why);
}

/// Without a device it shows a picture that says so, in its usual framing.
#[test]
fn ustreamer_is_a_camera() {
    if !has("ustreamer") {
        return;
    }
    let (scratch, port) = (Scratch::new(), free_port());
    let mut command = clean("ustreamer");
    command.args([
        "--device",
        "/dev/no-camera",
        "--host",
        "127.0.0.1",
        "--port",
        &port.to_string(),
    ]);
    command.args(["--user", "viewer", "--passwd", "secret"]);
    let _ustreamer = started(command, port);
    let url = |target: &str| format!("http://viewer@127.0.0.1:{port}/{target}");
    for target in ["stream", "snapshot"] {
        let edge = asking(&scratch, &url(target), "secret");
        expect_frames(&edge, 1);
        edge.stop();
    }
    let edge = asking(&scratch, &url("stream?extra_headers=1"), "secret");
    expect_refusal(
        &edge,
        "has lost its own camera, and shows a picture that says so",
    );
    edge.stop();
    let edge = asking(&scratch, &url("stream"), "wrong");
    expect_refusal(&edge, "answers 401 Unauthorized: it asks for a password");
}

/// Its camera is a lazycam, and its password is asked for by Digest.
#[test]
fn motion_is_a_camera() {
    if !has("motion") {
        return;
    }
    let (scratch, port) = (Scratch::new(), free_port());
    let origin = Process::start(run(&scratch.join("origin"), &["--fps", "10"]));
    let settings = format!(
        "daemon off\nlog_file {dir}/motion.log\ntarget_dir {dir}\nnetcam_url http://{camera}/stream\nwidth 640\nheight 480\n\
         framerate 10\npicture_output off\nmovie_output off\nwebcontrol_port 0\nstream_port {port}\nstream_localhost on\n\
         stream_maxrate 10\nstream_auth_method 2\nstream_authentication viewer:secret\n",
        dir = scratch.path().display(),
        camera = origin.address(),
    );
    let file = scratch.join("motion.conf");
    fs::write(&file, settings).unwrap();
    let mut command = clean("motion");
    command.arg("-n").arg("-c").arg(&file);
    let _motion = started(command, port);
    let url = format!("http://viewer@127.0.0.1:{port}/");
    let right = asking(&scratch, &url, "secret");
    expect_frames(&right, 5);
    // The challenge of before may have to be answered anew.
    eventually("it sleeps", || told(&right)["state"] == "off");
    expect_frames(&right, 5);
    right.stop();
    let wrong = asking(&scratch, &url, "wrong");
    expect_refusal(&wrong, "answers 401 Unauthorized: it asks for a password");
}

#[test]
fn nginx_in_front_of_a_lazycam_is_a_camera() {
    if !has("nginx") {
        return;
    }
    let (scratch, port) = (Scratch::new(), free_port());
    let origin = Process::start(run(&scratch.join("origin"), &["--linger", "0.2"]));
    let camera = origin.address();
    fs::write(scratch.join("users"), "viewer:{PLAIN}secret\n").unwrap();
    let settings = format!(
        "daemon off; pid nginx.pid; error_log stderr; user root;\nevents {{}}\n\
         http {{ access_log off; client_body_temp_path t; proxy_temp_path t; fastcgi_temp_path t; uwsgi_temp_path t; scgi_temp_path t;\n\
         server {{ listen 127.0.0.1:{port};\n\
         location /cam/ {{ auth_basic cam; auth_basic_user_file {}; proxy_pass http://{camera}/; proxy_buffering off; }}\n\
         location = /old {{ return 302 /cam/stream; }} }} }}\n",
        scratch.join("users").display()
    );
    let file = scratch.join("nginx.conf");
    fs::write(&file, settings).unwrap();
    let mut command = clean("nginx");
    command.arg("-p").arg(scratch.path()).arg("-c").arg(&file);
    let _nginx = started(command, port);
    // By a redirect, too.
    for target in ["cam/stream", "cam/snapshot", "old"] {
        let edge = asking(
            &scratch,
            &format!("http://viewer@127.0.0.1:{port}/{target}"),
            "secret",
        );
        expect_frames_and_sleep(edge, &origin);
    }
}

#[test]
fn another_lazycam_with_a_password_is_a_camera() {
    let scratch = Scratch::new();
    let users = scratch.join("users");
    let hash = crate::auth::SECRET;
    fs::write(&users, format!("anna:{hash}\n")).unwrap();
    // It is asked for its state over a socket that is open.
    let open = scratch.join("open.sock");
    let flags = [
        "--linger",
        "0.2",
        "--auth",
        users.to_str().unwrap(),
        "--listen",
        open.to_str().unwrap(),
        "--open-socket",
        open.to_str().unwrap(),
    ];
    let origin = Process::start(run(&scratch.join("origin"), &flags));
    let url = |target: &str| format!("http://anna@{}/{target}", origin.address());
    for target in ["stream", "snapshot"] {
        let edge = asking(&scratch, &url(target), "secret");
        let mut viewer = Client::connect(edge.address()).stream("/stream");
        let first = viewer.frame().number();
        viewer.part_after(first + 5);
        drop(viewer);
        eventually("the origin sleeps", || {
            told_over(Client::connect_unix(&open))["state"] == "off"
        });
        edge.stop();
    }
    let edge = asking(&scratch, &url("stream"), "wrong");
    expect_refusal(&edge, "answers 401 Unauthorized: it asks for a password");
}

/// What its plugin output_http writes (httpd.c: `send_stream`, `send_snapshot`).
#[test]
fn mjpg_streamers_framing_is_understood() {
    let maker = Maker::new(3000);
    let head = "HTTP/1.0 200 OK\r\nConnection: close\r\nServer: MJPG-Streamer/0.2\r\nCache-Control: no-store, no-cache, \
                must-revalidate, pre-check=0, post-check=0, max-age=0\r\nPragma: no-cache\r\nExpires: Mon, 3 Jan 2000 12:34:56 GMT\r\n";
    let (scratch, camera) = (Scratch::new(), Camera::new());
    let stream = edge(&scratch, &camera.url("/?action=stream"));
    let mut viewer = Client::connect(stream.address()).stream("/stream");
    let mut connection = camera.accept();
    connection.send(format!(
        "{head}Content-Type: multipart/x-mixed-replace;boundary=boundarydonotcross\r\n\r\n--boundarydonotcross\r\n"
    ));
    let _fed = connection.continue_with(&maker, 1, |jpeg| {
        let head = format!(
            "Content-Type: image/jpeg\r\nContent-Length: {}\r\nX-Timestamp: 12.000034\r\n\r\n",
            jpeg.len()
        );
        [head.as_bytes(), jpeg, b"\r\n--boundarydonotcross\r\n"].concat()
    });
    let first = viewer.number(&maker);
    viewer.part_after(first + 5);
    drop(stream.stop());
    let still = edge(&scratch, &camera.url("/?action=snapshot"));
    let mut viewer = Client::connect(still.address()).stream("/stream");
    for number in 1..=3 {
        let mut connection = camera.accept();
        let jpeg = maker.make(&lazycam::capture::pattern::stamp::Stamp::now(number));
        connection.send(format!(
            "{head}Content-type: image/jpeg\r\nX-Timestamp: 12.000034\r\n\r\n"
        ));
        connection.send(&jpeg);
        drop(connection);
        assert_eq!(viewer.number(&maker), number);
    }
}

/// Its server has one task: whoever comes second is connected by the system, and answered when the first has left.
#[test]
fn an_esp32_cam_that_has_its_one_viewer_is_waited_for() {
    let (scratch, camera, maker) = (Scratch::new(), Camera::new(), Maker::new(3000));
    let url = camera.url("/stream");
    let other = TcpStream::connect(("127.0.0.1", camera.port())).unwrap();
    let _serving = camera.serve_one_at_a_time(&maker);
    let mut other = Client::over(other);
    other.send("GET /stream HTTP/1.1\r\nHost: camera\r\n\r\n");
    other.sip(1);
    let edge = edge(&scratch, &url);
    let mut viewer = Client::connect(edge.address()).stream("/stream");
    let has_seen_enough = Arc::new(AtomicBool::new(false));
    let enough = Arc::clone(&has_seen_enough);
    thread::spawn(move || {
        while !enough.load(Relaxed) {
            other.sip(65536);
        }
    });
    eventually("it does not answer", || {
        told(&edge)["why"] == "does not answer the request"
    });
    viewer.part_that(|part| part.notice().is_some());
    has_seen_enough.store(true, Relaxed);
    viewer.number(&maker);
    assert_eq!(told(&edge)["why"], serde_json::Value::Null);
}
