//! HTTP as strangers speak it: every method, version and form of address, well-behaved or not.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::common::frames::{Maker, decode};
use crate::common::http::{Client, Head, parse_timestamp};
use crate::common::process::{Process, pid, serve};
use crate::common::producer::{Camera, Hand};
use crate::common::{PATIENCE, Scratch};
use lazycam::frames::frame;
use rustix::process::{Signal, kill_process};

/// What `Allow` says: mjpg-streamer takes POST for a stream.
fn allow(target: &str) -> &'static str {
    match target.contains("stream") {
        true => "GET, HEAD, OPTIONS, POST",
        false => "GET, HEAD, OPTIONS",
    }
}

/// What every picture's head says, and nothing that is not here.
const PICTURE_FIELDS: [(&str, &str); 4] = [
    ("Vary", "Origin"),
    (
        "Cache-Control",
        "no-store, no-cache, must-revalidate, proxy-revalidate, no-transform, max-age=0",
    ),
    ("Pragma", "no-cache"),
    ("Expires", "Mon, 03 Jan 2000 12:34:56 GMT"),
];

/// A server with a producer that makes a frame when asked.
struct Site {
    server: Process,
    _camera: Camera,
    scratch: Scratch,
}

impl Site {
    fn new() -> Self {
        let scratch = Scratch::new();
        let camera = Camera::on_demand(scratch.path(), 50.0, Maker::new(5000));
        Site {
            server: serve(scratch.path(), &[]),
            _camera: camera,
            scratch,
        }
    }

    fn client(&self) -> Client {
        Client::connect(self.server.address())
    }

    /// The status of the reply to these bytes on a connection of their own, of which nothing else comes back.
    fn refusal(&self, bytes: impl AsRef<[u8]>) -> u16 {
        let mut client = self.client();
        client.send(bytes);
        let reply = client.reply();
        assert_eq!(reply.head.version, "HTTP/1.1");
        assert_eq!(reply.head.field("Connection"), Some("close"));
        assert!(reply.body.ends_with(b"\n"));
        client.expect_end();
        reply.head.status
    }
}

#[test]
fn a_stream_begins_with_exactly_the_head_that_clients_know() {
    let site = Site::new();
    for version in ["1.0", "1.1"] {
        let mut client = site.client();
        client.send(format!("GET /stream HTTP/{version}\r\nHost: test\r\n\r\n"));
        let head = client.head();
        assert_eq!(head.version, "HTTP/1.0");
        let mut expected = vec![("Connection", "close")];
        // Fields about other sites' pages come behind the first one.
        expected.push(PICTURE_FIELDS[0]);
        let date = head.field("Date").unwrap();
        expected.push(("Date", date));
        expected.extend(&PICTURE_FIELDS[1..]);
        expected.push(("X-Accel-Buffering", "no"));
        // Its name differs from stream to stream.
        let cookie = head.field("Set-Cookie").unwrap();
        expected.push(("Set-Cookie", cookie));
        expected.push((
            "Content-Type",
            "multipart/x-mixed-replace;boundary=boundarydonotcross",
        ));
        let fields: Vec<_> = head
            .fields
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        assert_eq!(fields, expected);
        let first = client.take(24 + 22);
        let first = String::from_utf8(first).unwrap();
        assert_eq!(first, "--boundarydonotcross\r\nContent-Type: image/jpeg");
    }
}

#[test]
fn the_delimiter_comes_with_its_frame_and_not_with_the_next() {
    let scratch = Scratch::new();
    let server = serve(scratch.path(), &[]);
    let maker = Maker::new(5000);
    let mut hand = Hand::new(scratch.path(), maker.clone());
    let mut stream = Client::connect(server.address()).stream("/stream");
    hand.wait_until_asked();
    // Each is published only when the delimiter of the one before was read. Had it to wait for another frame, that
    // would be a repeated one.
    for number in 1..=5 {
        hand.publish();
        assert_eq!(stream.number(&maker), number);
    }
}

#[test]
fn the_head_of_a_part_is_short_and_its_timestamp_is_the_wall_clock_at_capture() {
    let site = Site::new();
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut stream = site.client().stream("/stream");
    for _ in 0..5 {
        let part = stream.part();
        assert_eq!(decode(&part.jpeg), (64, 48));
        let captured = part.stamp().captured.duration_since(UNIX_EPOCH).unwrap();
        assert_eq!(part.timestamp, captured);
        assert!(part.timestamp >= before);
    }
    // OctoEverywhere finds the first part's head in the first 300 bytes; ffmpeg takes lines of less than 128.
    let mut client = site.client();
    client.request("GET", "/stream");
    client.head();
    let body = String::from_utf8_lossy(&client.take(300)).into_owned();
    let (head, _) = body.split_once("\r\n\r\n").unwrap();
    assert!(head.split("\r\n").all(|line| line.len() < 128), "{head}");
}

#[test]
fn nothing_that_ends_is_chunked_and_its_length_is_told() {
    let site = Site::new();
    for version in ["1.0", "1.1"] {
        for target in ["/", "/snapshot", "/nothing"] {
            let mut client = site.client();
            client.send(format!("GET {target} HTTP/{version}\r\nHost: x\r\n\r\n"));
            let reply = client.reply();
            assert_eq!(reply.head.version, "HTTP/1.1");
            assert_eq!(reply.head.field("Transfer-Encoding"), None);
            assert!(reply.head.field("Content-Length").is_some(), "{reply:?}");
            let goes_on = version == "1.1";
            let connection = if goes_on { "keep-alive" } else { "close" };
            assert_eq!(reply.head.field("Connection"), Some(connection));
            if goes_on {
                assert_eq!(client.get("/favicon.ico").head.status, 204);
            } else {
                client.expect_end();
            }
        }
    }
}

#[test]
fn a_snapshot_is_one_whole_picture_with_the_heads_fields_of_a_picture() {
    let site = Site::new();
    let mut client = site.client();
    for target in ["/snapshot", "/snapshot.jpg", "/?action=snapshot"] {
        let reply = client.picture(target);
        assert_eq!(reply.head.field("Content-Type"), Some("image/jpeg"));
        for (name, value) in PICTURE_FIELDS {
            assert_eq!(reply.head.field(name), Some(value));
        }
        let stamp = Maker::new(5000).verify(&reply.body);
        let timestamp = parse_timestamp(reply.head.field("X-Timestamp").unwrap());
        assert_eq!(UNIX_EPOCH + timestamp, stamp.captured);
        let age = parse_timestamp(reply.head.field("X-Frame-Age").unwrap());
        assert!(age < PATIENCE, "{age:?}");
        let exposed = reply.head.field("Access-Control-Expose-Headers").unwrap();
        let exposed: Vec<_> = exposed.split(", ").collect();
        let own = reply.head.fields.iter().map(|(name, _)| name.as_str());
        let own: Vec<_> = own.filter(|name| name.starts_with("X-")).collect();
        assert_eq!(own, exposed);
    }
}

#[test]
fn the_page_shows_the_stream_and_the_icon_is_nothing() {
    let site = Site::new();
    let mut client = site.client();
    let page = client.get("/");
    assert_eq!(page.head.status, 200);
    let kind = page.head.field("Content-Type").unwrap();
    assert!(kind.starts_with("text/html"), "{kind}");
    let policy = page.head.field("Content-Security-Policy").unwrap();
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    assert_eq!(page.head.field("X-Content-Type-Options"), Some("nosniff"));
    let body = String::from_utf8(page.body).unwrap();
    assert!(
        body.contains("<noscript><p><a href=\"stream\"><img src=\"snapshot\""),
        "{body}"
    );
    let icon = client.get("/favicon.ico");
    assert_eq!(icon.head.status, 204);
    assert_eq!(icon.head.field("Content-Length"), None, "RFC 9110, 8.6");
}

#[test]
fn head_and_options_answer_at_once_and_ask_no_camera() {
    let scratch = Scratch::new();
    let server = serve(scratch.path(), &[]);
    let mut hand = Hand::new(scratch.path(), Maker::new(5000));
    let targets = [
        "/stream",
        "/snapshot",
        "/?action=stream",
        "/?action=snapshot",
        "/",
        "/favicon.ico",
    ];
    for target in targets {
        for method in ["HEAD", "OPTIONS"] {
            let mut client = Client::connect(server.address());
            client.send(format!(
                "{method} {target} HTTP/1.1\r\nHost: test:8080\r\nOrigin: http://test\r\nConnection: close\r\n\r\n"
            ));
            let head = client.head();
            let expected = match (method, target) {
                ("HEAD", "/favicon.ico") => 204,
                _ => 200,
            };
            assert_eq!(head.status, expected, "{method} {target}");
            client.expect_end();
            if method == "OPTIONS" {
                let allow = Some(allow(target));
                assert_eq!(head.field("Allow"), allow);
                assert_eq!(head.field("Access-Control-Allow-Methods"), allow);
                assert_eq!(
                    head.field("Access-Control-Allow-Origin"),
                    Some("http://test")
                );
            }
        }
        assert!(!hand.was_asked(), "{target}");
    }
    // And this is what it would have looked like.
    let mut client = Client::connect(server.address());
    client.request("GET", "/snapshot");
    hand.wait_until_asked();
}

#[test]
fn a_head_says_what_a_get_would_say() {
    let site = Site::new();
    for target in ["/", "/nothing", "/?action=command"] {
        let mut client = site.client();
        let get = client.get(target).head;
        client.request("HEAD", target);
        let head = client.head();
        let without_date = |head: &Head| {
            let mut fields = head.fields.clone();
            fields.retain(|(name, _)| name != "Date");
            fields
        };
        assert_eq!(without_date(&head), without_date(&get), "{target}");
        assert_eq!(head.status, get.status);
        // No body came with it: the next reply begins right here.
        assert_eq!(client.get("/favicon.ico").head.status, 204);
    }
}

#[test]
fn options_of_the_server_as_a_whole_is_answered() {
    let site = Site::new();
    let mut client = site.client();
    client.request("OPTIONS", "*");
    let reply = client.reply();
    assert_eq!(reply.head.status, 200);
    assert_eq!(reply.head.field("Allow"), Some(allow("*")));
}

#[test]
fn every_form_of_address_in_use_leads_to_the_stream() {
    let site = Site::new();
    for target in [
        "/stream",
        "/stream/",
        "/stream.mjpg",
        "/?action=stream",
        "//?action=stream",
        "?action=stream",
        "/?x=1&action=stream",
        "/?action=stream&1698",
        "/?action=stream&timestamp=1698",
        "/?action=stream&bypassCache=1",
        "/?action=stream&cacheBust=1",
        "/?action=stream&_=1",
        "/?action=stream?nonce_dashboard=1",
        "/?action=stream_0",
        "/?action=stream_",
        "/?action=stream_x",
        "/stream?unheard_of=1",
        // Words of ours with values of others.
        "/?action=stream&fps=",
        "/stream?fps=auto",
        "/stream?fps=-1&key=a,b/c",
        "http://camera.local:8080/?action=stream",
    ] {
        let mut stream = site.client().stream(target);
        stream.part();
    }
    for target in [
        "/snapshot",
        "/snapshot.jpg",
        "/?action=snapshot",
        "/?action=snapshot&bypassCache=1",
        "/?action=snapshot_0",
        "?action=snapshot",
        "/?action=snapshot&max_age=&after=",
        "/snapshot?max_age=-1",
        "/snapshot?after=now",
    ] {
        let reply = site.client().picture(target);
        decode(&reply.body);
    }
}

#[test]
fn what_is_not_here_is_told_apart() {
    let site = Site::new();
    let mut client = site.client();
    for (target, status) in [
        ("/nothing", 404),
        ("/stream/x", 404),
        ("/?action=take", 404),
        ("/?action=streams", 404),
        ("/?action=stream_1", 404),
        ("/?action=snapshot_7", 404),
        ("/?action=command&id=1", 501),
    ] {
        let reply = client.get(target);
        assert_eq!(reply.head.status, status, "{target}");
        assert_eq!(reply.head.field("Connection"), Some("keep-alive"));
    }
}

#[test]
fn other_methods_are_refused_with_those_that_are_allowed() {
    let site = Site::new();
    for (method, target) in [
        ("POST", "/"),
        ("POST", "/snapshot"),
        ("PUT", "/stream"),
        ("DELETE", "/stream"),
        ("PATCH", "/stream"),
        ("PUT", "/?action=stream"),
        ("PUT", "/snapshot"),
        ("DELETE", "/nothing"),
    ] {
        let mut client = site.client();
        client.send(format!("{method} {target} HTTP/1.0\r\n\r\n"));
        let reply = client.reply();
        assert_eq!(reply.head.status, 405, "{method}");
        assert_eq!(reply.head.field("Allow"), Some(allow(target)), "{target}");
        client.expect_end();
    }
    assert_eq!(site.refusal("BREW / HTTP/1.0\r\n\r\n"), 501);
}

#[test]
fn what_is_no_request_is_refused_and_the_connection_ends_cleanly() {
    let site = Site::new();
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"\r\n\r\nrubbish\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nA b: c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"\0\0\0\0\0\0\0\0",
    ] {
        assert_eq!(site.refusal(garbage), 400, "{garbage:?}");
    }
    assert_eq!(site.refusal("GET / HTTP/2.0\r\n\r\n"), 505);
    assert_eq!(site.refusal("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505);
    // Nobody else noticed.
    site.client().stream("/stream").part();
}

#[test]
fn what_is_too_long_is_refused_even_while_more_of_it_comes() {
    let site = Site::new();
    let long = "a".repeat(8001);
    assert_eq!(
        site.refusal(format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n")),
        414
    );
    let endless = format!("GET /{}", "a".repeat(17_000));
    assert_eq!(site.refusal(endless), 414);
    let field = "a".repeat(16 * 1024);
    let head = format!("GET /stream HTTP/1.1\r\nHost: a\r\nCookie: {field}");
    assert_eq!(site.refusal(&head), 431);
    assert_eq!(site.refusal(format!("{head}\r\n\r\n")), 431);
    let many = "A: b\r\n".repeat(100);
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n");
    assert_eq!(site.refusal(head), 431);
    // Far beyond: the reply still arrives, because what came was read.
    let head = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nCookie: {}",
        "a".repeat(200_000)
    );
    assert_eq!(site.refusal(head), 431);
}

#[test]
fn three_requests_in_one_write_are_answered_in_their_order() {
    let site = Site::new();
    let mut client = site.client();
    client.send(
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n\
         GET /snapshot HTTP/1.1\r\nHost: a\r\n\r\n\
         HEAD /snapshot HTTP/1.1\r\nHost: a\r\n\r\n\
         OPTIONS / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    let page = client.reply();
    assert!(
        page.head
            .field("Content-Type")
            .unwrap()
            .starts_with("text/html")
    );
    let snapshot = client.reply();
    Maker::new(5000).verify(&snapshot.body);
    assert_eq!(
        client.head().field("Content-Type"),
        Some("image/jpeg"),
        "a head only"
    );
    let options = client.reply();
    assert_eq!(options.head.field("Allow"), Some(allow("/")));
    assert_eq!(options.head.field("Connection"), Some("close"));
    client.expect_end();
}

#[test]
fn a_stream_can_follow_other_requests_on_a_connection() {
    let site = Site::new();
    let mut client = site.client();
    for _ in 0..3 {
        client.picture("/snapshot");
    }
    client.stream("/stream").part();
}

#[test]
fn a_request_with_a_body_is_answered_and_is_the_last() {
    let site = Site::new();
    let mut client = site.client();
    client.send("GET /snapshot HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\n");
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n!!");
    let reply = client.reply();
    assert_eq!(reply.head.status, 200);
    assert_eq!(reply.head.field("Connection"), Some("close"));
    client.expect_end();
}

#[test]
fn a_request_is_understood_however_it_is_cut() {
    let site = Site::new();
    let request = b"GET /snapshot HTTP/1.1\r\nHost: test\r\nAccept: */*\r\n\r\n";
    let mut client = site.client();
    client.picture_by(|client| {
        for byte in request {
            client.send([*byte]);
            thread::sleep(Duration::from_millis(2));
        }
    });
    for cut in (1..request.len()).step_by(7) {
        client.picture_by(|client| {
            client.send(&request[..cut]);
            thread::sleep(Duration::from_millis(2));
            client.send(&request[cut..]);
        });
    }
}

#[test]
fn a_client_that_sends_no_more_still_gets_its_answer() {
    let site = Site::new();
    for target in ["/snapshot", "/", "/nothing"] {
        let mut client = site.client();
        client.request("GET", target);
        client.half_close();
        let reply = client.reply();
        assert!(!reply.body.is_empty());
        client.expect_end();
    }
    let mut client = site.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /snapshot HTTP/1.1\r\nHost: a\r\n\r\nGET");
    client.half_close();
    assert_eq!(client.reply().head.status, 200);
    Maker::new(5000).verify(&client.reply().body);
    client.expect_end();
}

/// The server reads no more than there is to know that there is, so the end of a connection must be told from a pause in
/// whatever order request and end come, and however they fall into its reads of 4096 bytes.
#[test]
fn the_end_of_what_a_client_sends_is_noticed_whenever_it_comes() {
    let site = Site::new();
    let request = |length: usize| {
        let head = "GET /nothing HTTP/1.1\r\nHost: a\r\nX: ";
        format!("{head}{}\r\n\r\n", "x".repeat(length - head.len() - 4))
    };
    let signal = |signal| kill_process(pid(site.server.pid()), signal).unwrap();
    let mut connections = 0;
    for length in [60, 4095, 4096, 4097, 8192] {
        let request = request(length);
        for pause in [0, 2, 30].map(Duration::from_millis) {
            for was_asleep in [false, true] {
                let mut client = site.client();
                assert_eq!(client.get("/nothing").head.status, 404);
                // What comes while the server is stopped comes to it as one event.
                if was_asleep {
                    signal(Signal::STOP);
                }
                client.send(&request);
                thread::sleep(pause);
                client.half_close();
                if was_asleep {
                    signal(Signal::CONT);
                }
                assert_eq!(client.reply().head.status, 404, "{length}, {pause:?}");
                client.expect_end();
                connections += 1;
            }
        }
    }
    // Not because they were silent for too long.
    let log = site.server.stop().log;
    assert!(log.contains(&format!("ended: {connections} left")), "{log}");
}

/// A read stops in front of an urgent byte, whatever is behind it. Nobody needs that, and it must not hold a request up.
#[test]
fn urgent_data_in_the_middle_of_a_request_does_not_hold_it_up() {
    let site = Site::new();
    let socket = std::net::TcpStream::connect(site.server.address()).unwrap();
    let signal = |signal| kill_process(pid(site.server.pid()), signal).unwrap();
    let mut client = Client::over(socket.try_clone().unwrap());
    for was_asleep in [false, true] {
        assert_eq!(client.get("/nothing").head.status, 404);
        if was_asleep {
            signal(Signal::STOP);
        }
        client.send("GET /nothing HT");
        rustix::net::send(&socket, b"!", rustix::net::SendFlags::OOB).unwrap();
        client.send("TP/1.1\r\nHost: a\r\n\r\n");
        if was_asleep {
            signal(Signal::CONT);
        }
        assert_eq!(client.reply().head.status, 404);
    }
}

#[test]
fn a_client_that_says_nothing_is_let_go_without_a_word() {
    let site = Site::new();
    let mut client = site.client();
    client.expect_end();
}

#[test]
fn who_has_asked_is_kept_between_two_requests_until_places_run_out() {
    let scratch = Scratch::new();
    let server = serve(scratch.path(), &["--max-clients", "8"]);
    let client = || {
        let mut client = Client::connect(server.address());
        assert_eq!(client.get("/favicon.ico").head.status, 204);
        client
    };
    let mut kept: Vec<_> = (0..3).map(|_| client()).collect();
    // Somebody who has not asked is let go; those who have are not.
    let mut silent = Client::connect(server.address());
    silent.expect_end();
    for client in &mut kept {
        assert!(!client.hears_something(Duration::from_millis(100)));
        assert_eq!(client.get("/favicon.ico").head.status, 204);
    }
    // Others take more than half of the places, who have something to do.
    let mut others: Vec<_> = (0..5)
        .map(|_| Client::connect(server.address()).stream("/stream"))
        .collect();
    for client in &mut kept {
        client.expect_end();
    }
    for stream in &mut others {
        stream.client().hears_something(Duration::from_millis(1));
    }
    drop(others);
    let log = server.stop().log;
    assert!(log.contains("4 idle"), "{log}");
}

#[test]
fn a_head_that_comes_too_slowly_is_answered_408_and_nobody_waits_for_it() {
    let site = Site::new();
    let mut slow = site.client();
    let start = Instant::now();
    let mut head = b"GET /stream HTTP/1.1\r\nCookie: "
        .iter()
        .chain([b'a'; 1].iter().cycle());
    while !slow.hears_something(Duration::from_millis(200)) {
        assert!(start.elapsed() < PATIENCE * 2, "it may go on for ever");
        slow.send([*head.next().unwrap()]);
        assert_eq!(site.client().get("/favicon.ico").head.status, 204);
    }
    let reply = slow.reply();
    assert_eq!(reply.head.status, 408);
    assert_eq!(reply.head.field("Connection"), Some("close"));
    slow.expect_end();
}

#[test]
fn a_stream_ends_with_the_delimiter_and_a_clean_end_whatever_the_client_had_sent() {
    let site = Site::new();
    let mut stream = site.client().stream("/stream");
    stream.part();
    // Unread input would turn the close into a reset.
    stream.client().send("GET /more HTTP/1.1\r\n\r\n");
    stream.part();
    let ended = thread::spawn(move || {
        stream.expect_end();
    });
    let stopped = site.server.stop();
    assert!(stopped.status.success(), "{}", stopped.log);
    ended.join().unwrap();
    assert!(frame::ask(site.scratch.path()).is_ok());
}

#[test]
fn who_leaves_is_gone_and_those_who_stay_never_notice() {
    let site = Site::new();
    let mut stays = site.client().stream("/stream");
    for round in 0..20 {
        let mut leaves = site.client();
        leaves.request("GET", ["/stream", "/snapshot", "/"][round % 3]);
        if round % 2 == 0 {
            leaves.take(10);
        }
        drop(leaves);
        Maker::new(5000).verify(&stays.part().jpeg);
    }
}
