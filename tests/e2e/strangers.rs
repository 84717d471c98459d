//! What strangers get and do not get: those who do not read, who send without end, and pages that others wrote.

use std::fs;

use crate::common::frames::Maker;
use crate::common::http::{Client, expect_new_frame};
use crate::common::process::{serve, sockets};
use crate::common::producer::Camera;
use crate::common::{Scratch, eventually};

/// A file of names and passwords for which nobody knows a password.
fn users(scratch: &Scratch) -> String {
    let path = scratch.join("users");
    fs::write(&path, format!("anna:$6$saltsalt${}\n", "a".repeat(86))).unwrap();
    path.to_str().unwrap().into()
}

#[test]
fn who_reads_no_refusals_is_closed_long_before_a_viewer_would_be() {
    let scratch = Scratch::new();
    let users = users(&scratch);
    // A viewer may take nothing for ten minutes, which is longer than this test waits.
    let flags = ["--auth", &users, "--stall-timeout", "600"];
    let server = serve(scratch.path(), &flags);
    let before = sockets(server.pid());
    let mut stranger = Client::connect_narrow(server.address());
    let request = "GET /snapshot HTTP/1.1\r\nHost: test\r\n\r\n";
    stranger.send(request.repeat(1000));
    eventually("it is given up", || {
        stranger.try_send(b"GET").is_err() || sockets(server.pid()) == before
    });
    let log = server.stop().log;
    assert!(log.contains("1 stalled"), "{log}");
}

#[test]
fn who_sends_without_end_behind_the_request_for_a_stream_is_closed_and_others_watch_on() {
    let scratch = Scratch::new();
    let _camera = Camera::start(scratch.path(), 30.0, Maker::new(5000));
    let server = serve(scratch.path(), &[]);
    let mut viewer = Client::connect(server.address()).stream("/stream");
    // Something may follow.
    viewer.client().send([b'x'; 10_000]);
    let mut stranger = Client::connect(server.address());
    stranger.request("GET", "/stream");
    let mut sent = 0;
    while stranger.try_send(&[b'x'; 1000]).is_ok() {
        sent += 1000;
        assert!(sent < 50_000_000, "it is read for ever");
    }
    stranger.wait_for_any_end();
    expect_new_frame(&mut viewer);
    let log = server.stop().log;
    assert!(log.contains("1 too much input"), "{log}");
}
