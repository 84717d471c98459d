//! What strangers get and do not get: those who do not read, who send without end, and pages that others wrote.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::common::frames::Maker;
use crate::common::http::{Client, Head, Reply, expect_new_frame};
use crate::common::process::{Process, lazycam, serve, sockets};
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
    let address = server.address();
    let before = sockets(server.pid());
    let mut stranger = Client::connect_narrow(address);
    let request = "GET /snapshot HTTP/1.1\r\nHost: test\r\n\r\n";
    eventually("it is there", || sockets(server.pid()) > before);
    stranger.send(request.repeat(1000));
    eventually("it is given up", || sockets(server.pid()) == before);
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

/// The reply to a request for the page, or for another target, under this name.
fn under(client: &mut Client, host: &str, target: &str) -> Reply {
    client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    client.reply()
}

#[test]
fn a_page_whose_name_was_bound_to_this_machine_gets_nothing() {
    let scratch = Scratch::new();
    let _camera = Camera::on_demand(scratch.path(), 30.0, Maker::new(5000));
    let path = scratch.join("socket");
    let listen = ["--listen", path.to_str().unwrap()];
    let server = serve(scratch.path(), &listen);
    let mut client = Client::connect(server.address());
    for target in ["/", "/snapshot", "/stream", "/state", "/nothing"] {
        let reply = under(&mut client, "evil.example:8080", target);
        assert_eq!(reply.head.status, 421, "{target}");
        let text = String::from_utf8(reply.body).unwrap();
        assert!(text.contains("--allow-host"), "{text}");
        let absolute = format!("http://evil.example{target}");
        let reply = under(&mut client, "localhost", &absolute);
        assert_eq!(reply.head.status, 421, "{absolute}");
    }
    // Once, for ten of them.
    server.line("refused a request for 'evil.example:8080', which is no name of this server");
    for own in [
        "localhost",
        "octopi",
        "octopi.local:8080",
        "192.0.2.1",
        "[::1]:8080",
    ] {
        assert_eq!(under(&mut client, own, "/").head.status, 200, "{own}");
    }
    // A proxy on this machine may have any name.
    let mut proxy = Client::connect_unix(&path);
    assert_eq!(under(&mut proxy, "cam.example.org", "/").head.status, 200);
    let log = server.stop().log;
    assert_eq!(log.matches("refused a request for").count(), 1, "{log}");
    let flags = ["--allow-host", "cam.example.org"];
    let server = serve(scratch.path(), &flags);
    let mut client = Client::connect(server.address());
    assert_eq!(under(&mut client, "cam.example.org", "/").head.status, 200);
    assert_eq!(under(&mut client, "evil.example", "/").head.status, 421);
    let ended = serve(scratch.path(), &["--allow-host", "http://a"]).end();
    assert_eq!(ended.status.code(), Some(2));
    let told = "--allow-host: 'http://a' is no name";
    assert!(ended.log.contains(told), "{}", ended.log);
}

#[test]
fn the_log_names_the_flag_for_a_page_that_may_not_read() {
    let scratch = Scratch::new();
    let ask = |flags: &[&str]| {
        let server = serve(scratch.path(), flags);
        for origin in ["http://test:81", "http://other"] {
            let mut client = Client::connect(server.address());
            let fields = format!("Host: test\r\nOrigin: {origin}\r\n");
            client.send(format!("GET / HTTP/1.1\r\n{fields}\r\n"));
            assert_eq!(client.reply().head.status, 200);
        }
        server.stop().log
    };
    let log = ask(&[]);
    let told = "a page of 'http://other' may not read what it asked for: --allow-origin lets it";
    assert!(log.contains(told), "{log}");
    for flags in [
        ["--allow-origin", "http://other"],
        ["--allow-origin", "none"],
        ["--allow-origin", "*"],
    ] {
        let log = ask(&flags);
        assert!(!log.contains("a page of 'http://other'"), "{log}");
    }
}

#[test]
fn without_a_password_options_tell_neither_which_cameras_there_are_nor_that_one_may_be_sent() {
    let scratch = Scratch::new();
    let _camera = Camera::on_demand(&scratch.join("front"), 30.0, Maker::new(5000));
    let users = users(&scratch);
    let ask = |flags: &[&str], target: &str, origin: &str| {
        let root = [
            "serve",
            "--root",
            scratch.path().to_str().unwrap(),
            "--listen",
            "127.0.0.1:0",
        ];
        let arguments: Vec<_> = root
            .iter()
            .chain(["--auth", &users].iter())
            .chain(flags)
            .copied()
            .collect();
        let server = Process::start(lazycam(&arguments));
        let mut client = Client::connect(server.address());
        let fields =
            format!("Host: test\r\nOrigin: {origin}\r\nAccess-Control-Request-Method: GET\r\n");
        client.send(format!("OPTIONS {target} HTTP/1.1\r\n{fields}\r\n"));
        client.reply().head
    };
    for (one, other) in [("/front/stream", "/secret/stream"), ("/front", "/secret")] {
        let (one, other) = (ask(&[], one, "http://test"), ask(&[], other, "http://test"));
        assert_eq!(one.status, other.status);
        let fields = |head: &Head| {
            let fields = head.fields.iter().filter(|(name, _)| name != "Date");
            fields.cloned().collect::<Vec<_>>()
        };
        assert_eq!(fields(&one), fields(&other));
        assert_eq!(one.field("Access-Control-Allow-Origin"), None);
        assert_eq!(one.field("Access-Control-Allow-Headers"), None);
    }
    let named = ["--allow-origin", "http://a.local"];
    let head = ask(&named, "/front/stream", "http://a.local");
    assert!(
        head.field("Access-Control-Allow-Headers")
            .unwrap()
            .contains("Authorization")
    );
    assert_eq!(
        ask(&named, "/front/stream", "http://b.local").field("Access-Control-Allow-Headers"),
        None
    );
}

#[test]
fn who_reads_no_report_holds_no_more_than_a_few_of_them() {
    let scratch = Scratch::new();
    for number in 0..900 {
        fs::create_dir(scratch.join(&format!("camera-{number}"))).unwrap();
    }
    let root = ["serve", "--root", scratch.path().to_str().unwrap()];
    let flags = ["--listen", "127.0.0.1:0", "--max-held", "1"];
    let server = Process::start(lazycam(&[&root[..], &flags].concat()));
    let address = server.address();
    let len = Client::connect(address).get("/state").body.len() as u64;
    assert!(len > 200_000, "{len}");
    let told = |name: &str| {
        let metrics = Client::connect(address).get("/metrics").body;
        let text = String::from_utf8(metrics).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        value.unwrap().trim().parse::<u64>().unwrap()
    };
    let mut strangers = Vec::new();
    eventually("one who holds a report is dropped", || {
        let mut stranger = Client::connect_narrow(address);
        stranger.request("GET", "/state");
        strangers.push(stranger);
        // Longer than a report is good for, so that the next one gets another.
        thread::sleep(Duration::from_millis(120));
        told("lazycam_connections_closed_total{reason=\"held_too_much\"}") > 0
    });
    // One more than 1 MiB counts, and four do not.
    let held = told("lazycam_held_bytes");
    assert!(held < (1 << 20) + 6 * len, "{held}");
    // Who reads gets a report that is whole.
    let reply = Client::connect(address).get("/state");
    assert!(reply.body.ends_with(b"}\n"));
    let log = server.stop().log;
    assert!(log.contains(" held too much"), "{log}");
}

#[test]
fn all_who_ask_at_once_share_one_report() {
    let scratch = Scratch::new();
    for number in 0..500 {
        fs::create_dir(scratch.join(&format!("camera-{number}"))).unwrap();
    }
    let root = ["serve", "--root", scratch.path().to_str().unwrap()];
    let server = Process::start(lazycam(&[&root[..], &["--listen", "127.0.0.1:0"]].concat()));
    let address = server.address();
    let len = Client::connect(address).get("/state").body.len();
    let before = resident(server.pid());
    let mut strangers: Vec<_> = (0..120).map(|_| Client::connect_narrow(address)).collect();
    for stranger in &mut strangers {
        stranger.request("GET", "/state");
    }
    let body = Client::connect(address).get("/state").body;
    assert!(body.ends_with(b"}\n"));
    let grown = resident(server.pid()).saturating_sub(before);
    assert!(grown < 20 * len, "{grown} bytes for 120 reports of {len}");
}

/// Bytes of a process that are in memory.
fn resident(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: usize = line
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    kib * 1024
}
