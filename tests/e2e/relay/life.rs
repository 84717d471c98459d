//! The life of a camera on the network: it refuses, is silent, is cut off, goes and comes back.

use std::fs;
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_send_buffer_size;
use rustix::net::{AddressFamily, SocketType, bind, listen, socket};
use rustix::process::{Signal, kill_process};
use serde_json::Value;

use super::standin::{Camera, HEAD, edge, part, told};
use crate::common::frames::Maker;
use crate::common::http::Client;
use crate::common::process::{
    Process, binary, clean, is_emulated, pid, sockets, wait_until_asleep,
};
use crate::common::{Scratch, eventually, skipped};

#[track_caller]
fn expect_why(edge: &Process, why: &str) {
    eventually("the reason is told", || told(edge)["why"] == why);
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

/// Why a camera is lost that was connected and did this.
fn why_after(act: impl FnOnce(&Camera)) -> String {
    let (scratch, camera) = (Scratch::new(), Camera::new());
    let edge = edge(&scratch, &camera.url("/"));
    let mut viewer = Client::connect(edge.address()).stream("/stream");
    act(&camera);
    // A viewer that waits is told after 5 s that there is none yet.
    eventually("the camera is lost", || told(&edge)["state"] == "lost");
    viewer.part_that(|part| part.notice().is_some());
    told(&edge)["why"].as_str().unwrap().to_owned()
}

#[test]
fn a_camera_that_accepts_and_says_nothing_is_lost() {
    let mut kept = None;
    let why = why_after(|camera| kept = Some(camera.accept()));
    assert_eq!(why, "does not answer the request");
}

#[test]
fn a_camera_that_stops_after_its_head_is_lost() {
    let mut kept = None;
    let why = why_after(|camera| {
        let viewer = kept.insert(camera.accept());
        viewer.send(format!(
            "{HEAD}\r\n{}",
            String::from_utf8(part(b"")).unwrap()
        ));
    });
    assert_eq!(why, "has sent no frame for too long");
}

/// Its queue of connections is full, so that it answers none: the same as a machine that is not there, without a network of its own.
#[test]
fn a_camera_that_cannot_be_reached_is_lost() {
    let listener = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&listener, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    listen(&listener, 0).unwrap();
    let listener = TcpListener::from(listener);
    let address = listener.local_addr().unwrap();
    let patience = Duration::from_secs(1);
    let mut inside = Vec::new();
    while let Ok(one) = TcpStream::connect_timeout(&address, patience) {
        inside.push(one);
    }
    let scratch = Scratch::new();
    let edge = edge(&scratch, &format!("http://{address}/"));
    let _viewer = Client::connect(edge.address()).stream("/stream");
    expect_why(&edge, "cannot connect: it does not answer");
}

#[test]
fn a_camera_that_refuses_is_asked_ever_more_rarely_and_not_at_all_when_nobody_looks() {
    let (scratch, camera) = (Scratch::new(), Camera::new());
    let edge = edge(&scratch, &camera.url("/"));
    let capture = edge.child();
    wait_until_asleep(capture);
    let before = sockets(capture);
    let viewer = Client::connect(edge.address()).stream("/stream");
    let mut asked = Vec::new();
    for _ in 0..4 {
        camera.accept().send("HTTP/1.1 404 None\r\n\r\n");
        asked.push(Instant::now());
    }
    // The waits are at least so long, however busy the machine is.
    for (two, least) in asked.windows(2).zip([450, 950, 1950]) {
        let gap = two[1] - two[0];
        assert!(
            gap > Duration::from_millis(least),
            "{gap:?} instead of {least} ms"
        );
    }
    drop(viewer);
    // The next attempt, after 4 s, may have been asked for before.
    sleep(Duration::from_secs(5));
    if let Some(socket) = camera.has_viewer() {
        drop(socket);
    }
    eventually("it is left alone", || {
        wait_until_asleep(capture);
        sockets(capture) == before
    });
    // The one after that would come after 8 s.
    sleep(Duration::from_secs(9));
    assert!(camera.has_viewer().is_none());
}

#[test]
fn a_camera_that_is_busy_is_left_alone_for_as_long_as_it_asks_for() {
    let (scratch, camera, maker) = (Scratch::new(), Camera::new(), Maker::new(3000));
    let edge = edge(&scratch, &camera.url("/"));
    let mut viewer = Client::connect(edge.address()).stream("/stream");
    let mut busy = camera.accept();
    let refused = Instant::now();
    busy.send("HTTP/1.1 503 Busy\r\nRetry-After: 3\r\n\r\n");
    drop(busy);
    let connection = camera.accept();
    assert!(refused.elapsed() > Duration::from_millis(2900));
    let _fed = connection.feed(&maker, 7);
    assert!(viewer.number(&maker) >= 7);
}

#[test]
fn a_camera_that_sends_anything_else_costs_little_memory() {
    let (scratch, camera) = (Scratch::new(), Camera::new());
    let edge = edge(&scratch, &camera.url("/"));
    let _viewer = Client::connect(edge.address()).stream("/stream");
    let head = "HTTP/1.1 200 OK\r\nContent-Type: ";
    let long = "HTTP/1.1 200 OK\r\nX: ".to_owned();
    let no_picture = "sends no pictures: there is none in the first MiB";
    for (start, why) in [
        (format!("{head}multipart/x\r\n\r\n"), no_picture),
        (long, "sends an answer whose head is too long"),
        (format!("{head}video/x\r\n\r\n"), no_picture),
        ("220 mail\r\n".into(), "sends an answer that is not HTTP"),
    ] {
        let mut connection = camera.accept();
        connection.send(start);
        // It hangs up when it has seen enough.
        let _ = connection.socket.write_all(&[b'z'; 2 << 20]);
        expect_why(&edge, why);
    }
    let status = fs::read_to_string(format!("/proc/{}/status", edge.child())).unwrap();
    let anonymous = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .unwrap();
    let kib: u64 = anonymous.trim().trim_end_matches(" kB").parse().unwrap();
    // What an emulator takes would be counted.
    assert!(is_emulated() || kib < 4096, "{kib} KiB");
}

/// What a camera has sent and nobody has read yet is old when it is read. Its own buffer is small here, and as large as it likes elsewhere.
#[test]
fn a_camera_cannot_send_far_ahead() {
    let (scratch, camera) = (Scratch::new(), Camera::new());
    let edge = edge(&scratch, &camera.url("/"));
    let _viewer = Client::connect(edge.address()).stream("/stream");
    let mut connection = camera.accept();
    connection.send(format!("{HEAD}\r\n"));
    set_socket_send_buffer_size(&connection.socket, 1).unwrap();
    kill_process(pid(edge.child()), Signal::STOP).unwrap();
    let patience = Some(Duration::from_secs(2));
    connection.socket.set_write_timeout(patience).unwrap();
    let mut taken = 0;
    let error = loop {
        match connection.socket.write(&[b'z'; 4096]) {
            Ok(len) => taken += len,
            Err(error) => break error,
        }
        // The system's own choice would be megabytes (tcp(7), tcp_rmem).
        assert!(taken < 512 << 10);
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert!(taken > 100_000, "{taken} bytes");
    kill_process(pid(edge.child()), Signal::CONT).unwrap();
}

#[test]
fn a_name_that_is_found_later_and_then_elsewhere_is_followed() {
    let own = ["--map-root-user", "--mount"];
    let can = Command::new("unshare").args(own).arg("true").status();
    if is_emulated() || !can.is_ok_and(|status| status.success()) {
        return skipped("no mount namespace can be made here");
    }
    let (scratch, maker) = (Scratch::new(), Maker::new(3000));
    let (hosts, resolver) = (scratch.join("hosts"), scratch.join("resolv.conf"));
    fs::write(&hosts, "").unwrap();
    // Nobody listens there, which is told at once.
    fs::write(
        &resolver,
        "nameserver 127.0.0.1\noptions attempts:1 timeout:1\n",
    )
    .unwrap();
    let mount = "mount --bind \"$1\" /etc/hosts && mount --bind \"$2\" /etc/resolv.conf && shift 2 && exec \"$@\"";
    let first = Camera::new();
    let url = format!("http://camera.example:{}/", first.port());
    let mut command = clean("unshare");
    command
        .args(own)
        .args(["sh", "-c", mount, "sh"])
        .args([&hosts, &resolver]);
    command.arg(binary()).args([
        "run",
        "--listen",
        "127.0.0.1:0",
        "--linger",
        "0.2",
        "--source",
        &url,
    ]);
    let edge = Process::start({
        command.arg("--frames").arg(scratch.join("front"));
        command
    });
    let mut viewer = Client::connect(edge.address()).stream("/stream");
    eventually("the name is not found", || {
        let why = told(&edge)["why"].clone();
        why.as_str()
            .is_some_and(|why| why.starts_with("its name is not found: "))
    });
    fs::write(&hosts, "127.0.0.1 camera.example\n").unwrap();
    let port = first.port();
    let connection = first.accept();
    assert!(
        connection
            .request
            .contains(&format!("\r\nHost: camera.example:{port}\r\n"))
    );
    let listener = TcpListener::bind(("127.0.0.2", port)).unwrap();
    let socket = connection.socket.try_clone().unwrap();
    let _fed = connection.feed(&maker, 1);
    viewer.number(&maker);
    fs::write(&hosts, "127.0.0.2 camera.example\n").unwrap();
    drop(first);
    socket.shutdown(std::net::Shutdown::Both).unwrap();
    listener.set_nonblocking(true).unwrap();
    let _fed = Camera { listener }.accept().feed(&maker, 1000);
    let part = viewer.part_that(|part| part.notice().is_none() && part.number() >= 1000);
    maker.verify(&part.jpeg);
}
