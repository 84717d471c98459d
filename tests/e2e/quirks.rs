//! What single clients need beyond the rule: the parameters of ustreamer's streams, and other sites' pages.

use std::time::{Duration, Instant, SystemTime};

use crate::common::frames::{Maker, decode};
use crate::common::http::Client;
use crate::common::process::{Process, serve};
use crate::common::producer::{Camera, Hand};
use crate::common::{PATIENCE, Scratch};
use lazycam::capture::pattern::stamp::Stamp;
use lazycam::frames::state::{Phase, State};

const DELIMITER: &str = "\r\n--boundarydonotcross\r\n";
const BARE_HEAD: &str = "Content-Type: image/jpeg\r\n\r\n";
const BLINK: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
                     Chrome/140.0.0.0 Safari/537.36";
const IMAGE: &str = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8";

/// Takes everything up to and with `end`.
#[track_caller]
fn take_until(client: &mut Client, end: &str) -> Vec<u8> {
    let mut taken = Vec::new();
    while !taken.ends_with(end.as_bytes()) {
        taken.extend(client.take(1));
    }
    taken
}

/// The lines of a part's head.
#[track_caller]
fn part_head(client: &mut Client) -> Vec<(String, String)> {
    let head = String::from_utf8(take_until(client, "\r\n\r\n")).unwrap();
    let lines = head.trim_end().split("\r\n");
    let fields = lines.map(|line| line.split_once(": ").expect(line));
    fields.map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}

#[track_caller]
fn value<'a>(fields: &'a [(String, String)], name: &str) -> &'a str {
    let found = fields.iter().find(|(field, _)| field == name);
    &found.unwrap_or_else(|| panic!("no {name}: {fields:?}")).1
}

fn ask(server: &Process, target: &str, fields: &str) -> Client {
    let mut client = Client::connect(server.address());
    client.send(format!(
        "GET {target} HTTP/1.1\r\nHost: test\r\n{fields}\r\n"
    ));
    client
}

/// The bytes of the body up to and with its first part's head, and whether that has a length.
fn is_in_advance(server: &Process, target: &str, fields: &str) -> bool {
    let mut client = ask(server, target, fields);
    assert_eq!(client.head().status, 200, "{target}");
    take_until(&mut client, "--boundarydonotcross\r\n");
    let head = part_head(&mut client);
    assert_eq!(value(&head, "Content-Type"), "image/jpeg");
    !head.iter().any(|(name, _)| name == "Content-Length")
}

#[test]
fn in_advance_the_next_head_comes_right_behind_each_frame() {
    let scratch = Scratch::new();
    let server = serve(scratch.path(), &[]);
    let maker = Maker::new(5000);
    let mut hand = Hand::new(scratch.path(), maker.clone());
    let mut client = ask(&server, "/stream?advance_headers=1&extra_headers=1", "");
    assert_eq!(client.head().status, 200);
    let first = format!("{}{BARE_HEAD}", &DELIMITER[2..]);
    assert_eq!(client.take(first.len()), first.as_bytes());
    let tail = format!("{DELIMITER}{BARE_HEAD}");
    hand.wait_until_asked();
    // Each is published only when the head behind the one before was read.
    for number in 1..=5 {
        hand.publish();
        let mut frame = take_until(&mut client, &tail);
        frame.truncate(frame.len() - tail.len());
        assert_eq!(maker.verify(&frame).frame, number);
    }
}

#[test]
fn headers_come_in_advance_by_themselves_for_what_blink_and_webkit_display() {
    let scratch = Scratch::new();
    let _camera = Camera::on_demand(scratch.path(), 50.0, Maker::new(5000));
    let server = serve(scratch.path(), &[]);
    let of = |agent: &str, accept: &str| format!("User-Agent: {agent}\r\nAccept: {accept}\r\n");
    let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    let webkit = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/60.5 Safari/605.1.15";
    let page = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let script = "Sec-Fetch-Dest: empty\r\n";
    for (target, fields, expected) in [
        ("/stream", of(BLINK, IMAGE), true),
        ("/stream", of(BLINK, page), true),
        ("/stream", of(BLINK, IMAGE) + script, false),
        ("/stream", of(webkit, IMAGE), true),
        ("/stream", of(webkit, page), true),
        ("/stream", of(webkit, "*/*"), false),
        ("/stream", of(firefox, page), false),
        ("/?action=stream", of(BLINK, IMAGE), true),
        ("/stream?advance_headers=0", of(BLINK, IMAGE), false),
        ("/stream", of(BLINK, "*/*"), false),
        ("/stream", of(firefox, IMAGE), false),
        ("/stream", of("curl/8.14", "*/*"), false),
        ("/stream?advance_headers=1", of("curl/8.14", "*/*"), true),
        ("/stream", String::new(), false),
    ] {
        assert_eq!(
            is_in_advance(&server, target, &fields),
            expected,
            "{target} {fields}"
        );
    }
}

#[test]
fn what_blink_and_gecko_display_goes_on_in_another_size() {
    let scratch = Scratch::new();
    let mut hand = Hand::new(scratch.path(), Maker::new(5000));
    let server = serve(scratch.path(), &[]);
    let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    let of = |agent: &str, accept: &str| format!("User-Agent: {agent}\r\nAccept: {accept}\r\n");
    for (number, fields) in (1..).zip([of(BLINK, IMAGE), of(firefox, IMAGE)]) {
        let mut client = ask(&server, "/stream", &fields);
        client.head();
        for (width, again) in [(64, 0), (80, 1), (64, 2)] {
            hand.wait_until_asked();
            let stamp = Stamp::now(10 * number + again);
            let frame = Maker::sized(width, 48, 5000).make(&stamp);
            hand.publish_bytes(&frame);
            let mut taken = Vec::new();
            // A stream that ends fails here.
            while !taken.ends_with(&frame) {
                taken.extend(client.take(1));
            }
        }
    }
}

#[test]
fn extra_headers_tell_what_is_known_of_a_frame_when_they_are_asked_for() {
    let scratch = Scratch::new();
    let _camera = Camera::start(scratch.path(), 25.0, Maker::new(5000));
    let server = serve(scratch.path(), &[]);
    let mut client = ask(&server, "/stream?extra_headers=1", "");
    client.head();
    take_until(&mut client, "--boundarydonotcross\r\n");
    let start = Instant::now();
    for count in 1.. {
        let head = part_head(&mut client);
        let number = |name| value(&head, name).parse::<f64>().unwrap();
        let jpeg = client.take(number("Content-Length") as usize);
        assert_eq!(client.take(DELIMITER.len()), DELIMITER.as_bytes());
        let (width, height) = decode(&jpeg);
        assert_eq!(value(&head, "X-UStreamer-Online"), "true");
        assert_eq!(value(&head, "X-UStreamer-Dropped"), "0");
        assert_eq!(number("X-UStreamer-Width"), f64::from(width));
        assert_eq!(number("X-UStreamer-Height"), f64::from(height));
        let fps = number("X-UStreamer-Client-FPS") as u32;
        let (grabbed, sent) = (
            number("X-UStreamer-Grab-Time"),
            number("X-UStreamer-Send-Time"),
        );
        assert!(
            (sent - grabbed - number("X-UStreamer-Latency")).abs() < 0.001,
            "{head:?}"
        );
        let captured = Stamp::find(&jpeg).unwrap().monotonic.as_secs_f64();
        assert!(
            (grabbed - captured).abs() < 0.1,
            "{grabbed} is not {captured}"
        );
        assert!(
            head.iter()
                .all(|(name, value)| name.len() + value.len() < 126)
        );
        // Of the last second: a machine that stood still in it has had few.
        if count >= 60 && (5..=30).contains(&fps) {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "{fps}");
    }
}

/// PiKVM's kvmd takes a snapshot without these for a failure.
#[test]
fn a_snapshot_tells_what_ustreamer_tells_of_it() {
    let scratch = Scratch::new();
    let _camera = Camera::on_demand(scratch.path(), 50.0, Maker::new(5000));
    let server = serve(scratch.path(), &[]);
    for target in ["/snapshot", "/?action=snapshot"] {
        let reply = Client::connect(server.address()).get(target);
        let field = |name: &str| reply.head.field(&format!("X-UStreamer-{name}")).unwrap();
        let (width, height) = decode(&reply.body);
        assert_eq!((field("Online"), field("Dropped")), ("true", "0"));
        assert_eq!(field("Width"), width.to_string());
        assert_eq!(field("Height"), height.to_string());
        let time = |name| field(name).parse::<f64>().unwrap();
        let (grabbed, sent) = (time("Grab-Timestamp"), time("Send-Timestamp"));
        let captured = Stamp::find(&reply.body).unwrap().monotonic.as_secs_f64();
        assert!(grabbed <= sent, "{grabbed} is after {sent}");
        // The wall clock would be years away.
        let patience = PATIENCE.as_secs_f64();
        assert!(
            (grabbed - captured).abs() < patience,
            "{grabbed} is not {captured}"
        );
    }
}

#[test]
fn extra_headers_say_that_a_picture_is_not_the_cameras() {
    let scratch = Scratch::new();
    let mut hand = Hand::new(&scratch.join("front"), Maker::new(5000));
    let server = serve(&scratch.join("front"), &[]);
    let lost = State::new(Phase::Lost, SystemTime::now());
    hand.tell(&lost);
    hand.announce();
    let mut client = ask(&server, "/front/stream?extra_headers=1", "");
    client.head();
    take_until(&mut client, "--boundarydonotcross\r\n");
    let next = |client: &mut Client| {
        let head = part_head(client);
        let jpeg = client.take(value(&head, "Content-Length").parse().unwrap());
        client.take(DELIMITER.len());
        let online = value(&head, "X-UStreamer-Online").to_owned();
        assert_eq!(online == "true", Stamp::find(&jpeg).is_some(), "{head:?}");
        online
    };
    assert_eq!(next(&mut client), "false");
    hand.wait_until_asked();
    hand.tell(&State::new(Phase::Live, SystemTime::now()));
    hand.publish();
    while next(&mut client) == "false" {}
}

#[test]
fn zero_data_is_the_heads_of_a_stream_without_its_frames() {
    let scratch = Scratch::new();
    let _camera = Camera::start(scratch.path(), 25.0, Maker::new(5000));
    let server = serve(scratch.path(), &[]);
    let mut client = ask(&server, "/stream?zero_data=1", "");
    client.head();
    take_until(&mut client, "--boundarydonotcross\r\n");
    let mut last = String::new();
    for _ in 0..10 {
        let head = part_head(&mut client);
        assert_eq!(value(&head, "Content-Length"), "0");
        let timestamp = value(&head, "X-Timestamp");
        assert_ne!(timestamp, last);
        last = timestamp.to_owned();
        assert_eq!(client.take(DELIMITER.len()), DELIMITER.as_bytes());
    }
}

#[test]
fn dual_final_frames_sends_the_last_of_a_series_twice_and_soon() {
    let scratch = Scratch::new();
    let server = serve(scratch.path(), &[]);
    let maker = Maker::new(5000);
    let mut hand = Hand::new(scratch.path(), maker.clone());
    let mut dual = Client::connect(server.address()).stream("/stream?dual_final_frames=1");
    let mut single = Client::connect(server.address()).stream("/stream");
    hand.wait_until_asked();
    let published = Instant::now();
    hand.publish();
    assert_eq!(dual.number(&maker), 1);
    assert_eq!(single.number(&maker), 1);
    assert_eq!(dual.number(&maker), 1);
    // Not a third time, and the other viewer not at all, before the usual five seconds.
    let usual = || published.elapsed() >= Duration::from_secs(5);
    assert!(!dual.client().hears_something(Duration::from_secs(1)) || usual());
    assert!(!single.client().hears_something(Duration::from_millis(1)) || usual());
}

#[test]
fn each_stream_has_a_cookie_with_its_key_and_a_name_of_its_own() {
    let scratch = Scratch::new();
    let _camera = Camera::on_demand(scratch.path(), 50.0, Maker::new(5000));
    let server = serve(scratch.path(), &[]);
    let cookie = |target| {
        let head = ask(&server, target, "").head();
        head.field("Set-Cookie").unwrap().to_owned()
    };
    let parts = |cookie: &str| {
        let pair = cookie.strip_suffix("; path=/; max-age=30").expect(cookie);
        let (key, id) = pair
            .strip_prefix("stream_client=")
            .unwrap()
            .split_once('/')
            .unwrap();
        (key.to_owned(), u64::from_str_radix(id, 16).unwrap())
    };
    let (first, second) = (
        parts(&cookie("/stream")),
        parts(&cookie("/stream?key=k3y.x")),
    );
    assert_eq!((first.0.as_str(), second.0.as_str()), ("0", "k3y.x"));
    assert_ne!(first.1, second.1);
    // As ustreamer escapes it; a semicolon that is not escaped ends a parameter here.
    for (target, key) in [
        ("/stream?key=a,b", "a%2Cb"),
        ("/stream?key=a/b%3Bc%2f", "a%2Fb%3Bc%2F"),
        ("/stream?key=a%22b;c=d\"", "a%22b"),
        ("/stream?key=%0d%0aX:+y", "%0D%0AX%3A%20y"),
    ] {
        assert_eq!(parts(&cookie(target)).0, key, "{target}");
    }
    // No cookie where no stream is.
    assert_eq!(
        Client::connect(server.address())
            .get("/snapshot")
            .head
            .field("Set-Cookie"),
        None
    );
}

#[test]
fn state_tells_a_page_how_its_stream_is_sent_under_the_name_in_its_cookie() {
    let scratch = Scratch::new();
    let _camera = Camera::start(scratch.path(), 25.0, Maker::new(5000));
    let server = serve(scratch.path(), &[]);
    let flags = [
        "extra_headers",
        "advance_headers",
        "dual_final_frames",
        "zero_data",
    ];
    for asked in flags {
        let mut client = ask(&server, &format!("/stream?key=my,own&{asked}=1"), "");
        let cookie = client.head().field("Set-Cookie").unwrap().to_owned();
        let (_, id) = cookie.split(';').next().unwrap().split_once('/').unwrap();
        take_until(&mut client, DELIMITER);
        take_until(&mut client, DELIMITER);
        let state = Client::connect(server.address()).get("/state").body;
        let state = String::from_utf8(state).unwrap().replace(' ', "");
        let (_, stat) = state.split_once(&format!("\"{id}\":{{")).expect(&state);
        let stat = &stat[..stat.find('}').unwrap()];
        for flag in flags {
            let expected = format!("\"{flag}\":{}", flag == asked);
            assert!(stat.contains(&expected), "{expected}: {stat}");
        }
        // As it is in the cookie.
        assert!(cookie.contains("=my%2Cown/"), "{cookie}");
        assert!(stat.contains("\"key\":\"my%2Cown\""), "{stat}");
    }
}

#[test]
fn a_post_of_a_stream_is_a_get_and_its_body_is_of_no_interest() {
    let scratch = Scratch::new();
    let maker = Maker::new(5000);
    let _camera = Camera::on_demand(scratch.path(), 50.0, maker.clone());
    let server = serve(scratch.path(), &[]);
    for target in ["/stream", "/?action=stream"] {
        let mut client = Client::connect(server.address());
        client.send(format!(
            "POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n"
        ));
        // A body that would be a request, if somebody took it for one.
        client.send("GET /snapshot HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.head().version, "HTTP/1.0");
        take_until(&mut client, "--boundarydonotcross\r\n");
        for _ in 0..5 {
            let head = part_head(&mut client);
            let length = value(&head, "Content-Length").parse().unwrap();
            maker.verify(&client.take(length));
            assert_eq!(client.take(DELIMITER.len()), DELIMITER.as_bytes());
        }
    }
}

#[test]
fn pages_of_the_same_host_may_read_or_all_or_none_or_those_that_are_named() {
    let scratch = Scratch::new();
    let _camera = Camera::on_demand(scratch.path(), 50.0, Maker::new(5000));
    let allowed = |server: &Process, origin: &str, target: &str, method: &str| {
        let mut client = Client::connect(server.address());
        client.send(format!(
            "{method} {target} HTTP/1.1\r\nHost: test\r\nOrigin: {origin}\r\nConnection: close\r\n\r\n"
        ));
        // OPTIONS of nothing has a body as long as it says, too.
        let head = match (method, target) {
            ("HEAD", _) | (_, "/stream" | "/snapshot") => client.head(),
            _ => client.reply().head,
        };
        let field = |name| head.field(name).map(str::to_owned);
        (
            field("Access-Control-Allow-Origin"),
            field("Access-Control-Allow-Credentials"),
            field("Vary"),
            field("Cross-Origin-Resource-Policy"),
        )
    };
    let usual = serve(scratch.path(), &[]);
    let all = serve(scratch.path(), &["--allow-origin", "*"]);
    let none = serve(scratch.path(), &["--allow-origin", "none"]);
    let named = serve(
        scratch.path(),
        &[
            "--allow-origin",
            "http://a.local",
            "--allow-origin",
            "https://b.local:8443",
        ],
    );
    let text = |text: &str| Some(text.to_owned());
    for method in ["GET", "OPTIONS", "HEAD"] {
        for target in ["/stream", "/snapshot", "/nothing", "/"] {
            let what = format!("{method} {target}");
            let any = (text("*"), None, None, text("cross-origin"));
            assert_eq!(
                allowed(&all, "http://a.local", target, method),
                any,
                "{what}"
            );
            for origin in ["http://test", "http://test:81", "https://TEST"] {
                let echo = (text(origin), None, text("Origin"), None);
                assert_eq!(allowed(&usual, origin, target, method), echo, "{what}");
            }
            for origin in ["http://a.local", "null", "http://test.evil.example"] {
                let other = (None, None, text("Origin"), None);
                assert_eq!(allowed(&usual, origin, target, method), other, "{what}");
            }
            let nobody = (None, None, None, text("same-origin"));
            assert_eq!(
                allowed(&none, "http://a.local", target, method),
                nobody,
                "{what}"
            );
            for origin in ["http://a.local", "https://b.local:8443"] {
                let echo = (text(origin), text("true"), text("Origin"), None);
                assert_eq!(allowed(&named, origin, target, method), echo, "{what}");
            }
            for origin in ["http://a.local:81", "null", "http://b.local:8443"] {
                let other = (None, None, text("Origin"), None);
                assert_eq!(allowed(&named, origin, target, method), other, "{what}");
            }
        }
    }
}

/// With credentials, `*` would be the name of a field.
#[test]
fn a_preflight_is_allowed_the_fields_that_it_asks_for_where_credentials_are() {
    let scratch = Scratch::new();
    let allowed = |origin: &str, wanted: &str| {
        let server = serve(scratch.path(), &["--allow-origin", origin]);
        let fields = format!(
            "Origin: http://a.local\r\nAccess-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: {wanted}\r\n"
        );
        let mut client = Client::connect(server.address());
        client.send(format!(
            "OPTIONS /snapshot HTTP/1.1\r\nHost: test\r\n{fields}\r\n"
        ));
        let head = client.reply().head;
        head.field("Access-Control-Allow-Headers")
            .map(str::to_owned)
    };
    for (origin, wanted, expected) in [
        ("http://a.local", "", Some("*, Authorization")),
        (
            "http://a.local",
            "x-own,x-other",
            Some("*, Authorization, x-own, x-other"),
        ),
        (
            "http://a.local",
            "x-own, (no name), \u{e4}",
            Some("*, Authorization, x-own"),
        ),
        ("*", "x-own", Some("*, Authorization")),
        ("http://b.local", "x-own", None),
    ] {
        assert_eq!(
            allowed(origin, wanted).as_deref(),
            expected,
            "{origin} {wanted}"
        );
    }
}

#[test]
fn an_origin_that_is_none_is_told_at_start() {
    let scratch = Scratch::new();
    let server = serve(scratch.path(), &["--allow-origin", "a.local"]);
    let ended = server.end();
    assert_eq!(ended.status.code(), Some(2));
    assert!(
        ended.log.contains("--allow-origin: 'a.local' is no origin"),
        "{}",
        ended.log
    );
}

#[test]
fn a_snapshot_ends_with_an_answer_while_all_places_are_taken_and_none_hangs() {
    let scratch = Scratch::new();
    let _camera = Camera::on_demand(scratch.path(), 50.0, Maker::new(5000));
    let server = serve(scratch.path(), &["--max-clients", "2"]);
    let mut one = Client::connect(server.address()).stream("/stream");
    let mut two = Client::connect(server.address()).stream("/stream");
    one.part();
    two.part();
    let mut third = Client::connect(server.address());
    third.set_patience(PATIENCE);
    let reply = third.get("/snapshot");
    assert_eq!(reply.head.status, 503);
    assert!(reply.head.field("Retry-After").is_some());
    assert_eq!(reply.head.field("Vary"), Some("Origin"));
}
