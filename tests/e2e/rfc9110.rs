//! RFC 9110, HTTP's semantics: what requests mean and what replies must say, whatever they are about.
//!
//! Each case cites the section that asks for it; docs/rfc.md has the sections in order. What pictures, pages and reports say
//! beyond that is in tests/e2e/http.rs and its neighbours, passwords (section 11) in tests/e2e/auth.rs.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::common::Scratch;
use crate::common::exchange::Answer::{Ends, GoesOn};
use crate::common::exchange::{Case, answers, check};
use crate::common::frames::Maker;
use crate::common::http::{Client, Reply};
use crate::common::process::{Process, serve};
use crate::common::producer::Camera;

/// The answer to `/favicon.ico`: there is nothing, and nothing is wrong.
const FINE: u16 = 204;

/// A server with a camera that makes a frame when asked.
struct Site {
    server: Process,
    _camera: Camera,
    _scratch: Scratch,
}

impl Site {
    fn new() -> Self {
        let scratch = Scratch::new();
        let frames = scratch.join("camera");
        let camera = Camera::on_demand(&frames, 50.0, Maker::new(5000));
        Site {
            server: serve(&frames, &[]),
            _camera: camera,
            _scratch: scratch,
        }
    }

    fn check(&self, cases: &[(&str, Vec<u8>, crate::common::exchange::Answer)]) {
        let cases = cases
            .iter()
            .map(|(section, sent, expected)| (*section, &sent[..], *expected));
        check(self.server.address(), &cases.collect::<Vec<Case<'_>>>());
    }

    /// The reply to a request with these fields beside `Host`, of HTTP/1.1.
    #[track_caller]
    fn ask(&self, line: &str, fields: &str) -> Reply {
        let sent = format!("{line} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        answers(self.server.address(), sent.as_bytes()).remove(0)
    }
}

fn line(line: &str) -> Vec<u8> {
    format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
}

fn with(fields: &str) -> Vec<u8> {
    format!("GET /favicon.ico HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes()
}

/// RFC 9110, 5.6.7: the one form of dates that may be sent.
#[track_caller]
fn parse_date(text: &str) -> SystemTime {
    assert_eq!(text.len(), "Sun, 06 Nov 1994 08:49:37 GMT".len(), "{text}");
    let number = |at: usize, len: usize| -> u64 { text[at..at + len].parse().expect(text) };
    let months = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let month = months.find(&text[8..11]).expect(text) as u64 / 3 + 1;
    let (year, day) = (number(12, 4), number(5, 2));
    // Days since 1970 by the day of a year that begins in March.
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 719_469;
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][days as usize % 7];
    let (hour, minute, second) = (number(17, 2), number(20, 2), number(23, 2));
    let again = format!(
        "{weekday}, {day:02} {} {year:04} {hour:02}:{minute:02}:{second:02} GMT",
        &text[8..11]
    );
    assert_eq!(text, again);
    UNIX_EPOCH + Duration::from_secs(days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[test]
fn escapes_mean_what_section_4_2_3_says() {
    let site = Site::new();
    let mut cases = Vec::new();
    for (section, target, expected) in [
        // RFC 3986, 6.2.2: what needs no escape is the same without it, in capitals or not.
        ("4.2.3", "/favicon%2eico", GoesOn(FINE)),
        ("4.2.3", "/%66%61%76%69con%2Eico", GoesOn(FINE)),
        ("4.2.3", "http://a/%66avicon.ico", GoesOn(FINE)),
        ("4.2.3", "/?%61ction=%74ake", GoesOn(404)),
        // Once, not again and again.
        ("4.2.3", "/favicon%252eico", GoesOn(404)),
        // What separates is another thing escaped.
        ("4.2.3", "/%2ffavicon.ico", GoesOn(404)),
        ("4.2.3", "/favicon.ico%3fa", GoesOn(404)),
        ("4.2.3", "%2Ffavicon.ico", GoesOn(404)),
        ("4.2.3", "/favicon.ico%00", GoesOn(404)),
        ("4.2.3", "/favicon.ico%20", GoesOn(404)),
        ("4.2.3", "/favicon.ico%0d%0aA:%20b", GoesOn(404)),
        ("4.2.3", "/favicon.ico/..%2f", GoesOn(404)),
        // No file lies under any path: dots are names that nobody has.
        ("4.2.3", "/./favicon.ico", GoesOn(404)),
        ("4.2.3", "/a/../favicon.ico", GoesOn(404)),
        ("4.2.3", "/%2e%2e/%2e%2e/etc/passwd", GoesOn(404)),
        ("4.2.3", "/favicon.ico%", Ends(400)),
        ("4.2.3", "/favicon.ico%2", Ends(400)),
        ("4.2.3", "/%zz", Ends(400)),
        ("4.2.3", "/%u0041", Ends(400)),
        // In a query clients append what they like.
        ("4.2.3", "/favicon.ico?100%", GoesOn(FINE)),
        ("4.2.3", "/favicon.ico?a=%zz", GoesOn(FINE)),
    ] {
        cases.push((section, line(&format!("GET {target}")), expected));
    }
    site.check(&cases);
}

#[test]
fn fields_are_lists_values_and_limits_as_section_5_has_them() {
    let site = Site::new();
    let many = |count: usize| "A: b\r\n".repeat(count);
    let long = |total: usize| format!("A: {}\r\n", "a".repeat(total - with("A: \r\n").len()));
    site.check(&[
        ("5.1", with("X-Unheard-Of: 1\r\n"), GoesOn(FINE)),
        // Several lines are one list.
        (
            "5.3",
            with("Connection: te\r\nconnection: Close\r\n"),
            Ends(FINE),
        ),
        // Nothing is done before the whole head is there, whatever its end says.
        (
            "5.3",
            b"GET /favicon.ico HTTP/1.1\r\nConnection: te\r\nHost: a\r\nA\r\n\r\n".into(),
            Ends(400),
        ),
        ("5.4", with(&many(63)), GoesOn(FINE)),
        ("5.4", with(&many(64)), Ends(431)),
        ("5.4", with(&many(2000)), Ends(431)),
        ("5.4", with(&long(16 * 1024)), GoesOn(FINE)),
        ("5.4", with(&long(16 * 1024 + 1)), Ends(431)),
        ("5.4", with(&long(300_000)), Ends(431)),
        (
            "5.4",
            with(&format!("{}: b\r\n", "a".repeat(20_000))),
            Ends(431),
        ),
        (
            "5.6.1.2",
            with("Connection: ,, ,\t,close,,\r\n"),
            Ends(FINE),
        ),
    ]);
}

#[test]
fn every_reply_has_a_date_and_dates_have_the_form_of_section_5_6_7() {
    let site = Site::new();
    let before = SystemTime::now() - Duration::from_secs(1);
    let mut stream = Client::connect(site.server.address());
    stream.request("GET", "/stream");
    let mut heads = vec![stream.head()];
    for (sent, status) in [
        ("GET /", 200),
        ("GET /snapshot", 200),
        ("HEAD /snapshot", 200),
        ("HEAD /stream", 200),
        ("GET /state", 200),
        ("GET /metrics", 200),
        ("OPTIONS *", 200),
        ("GET /favicon.ico", 204),
        ("GET /camera", 308),
        ("GET *", 400),
        ("GET /nothing/at/all", 404),
        ("PUT /", 405),
        ("BREW /", 501),
    ] {
        let reply = site.ask(sent, "");
        assert_eq!(reply.head.status, status, "{sent}");
        heads.push(reply.head);
    }
    let after = SystemTime::now();
    for head in heads {
        // 6.6.1
        let date = parse_date(
            head.field("Date")
                .unwrap_or_else(|| panic!("no Date: {head:?}")),
        );
        assert!(before <= date && date <= after, "{head:?}");
        if let Some(expires) = head.field("Expires") {
            assert!(parse_date(expires) < date, "{head:?}");
        }
    }
}

#[test]
fn replies_have_the_version_of_section_6_2() {
    let site = Site::new();
    for version in ["HTTP/1.0", "HTTP/1.1", "HTTP/1.2", "HTTP/2.0"] {
        let sent = format!("GET / {version}\r\nHost: a\r\n\r\n");
        let reply = answers(site.server.address(), sent.as_bytes()).remove(0);
        assert_eq!(reply.head.version, "HTTP/1.1", "{version}");
    }
    // What is not as it should be, and why, is in docs/rfc.md.
    assert_eq!(site.ask("HEAD /stream", "").head.version, "HTTP/1.0");
}

#[test]
fn another_protocol_is_not_switched_to_section_7_8() {
    let site = Site::new();
    for fields in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
        "Connection: Upgrade\r\nUpgrade: HTTP/3.0, TLS/1.3\r\n",
        "Upgrade: h2c\r\n",
    ] {
        site.check(&[("7.8", with(fields), GoesOn(FINE))]);
    }
}

#[test]
fn methods_are_known_allowed_or_neither_as_section_9_has_it() {
    let site = Site::new();
    let mut cases = Vec::new();
    for (section, sent, expected) in [
        ("9.1", "PROPFIND /", Ends(501)),
        ("9.1", "M-SEARCH *", Ends(501)),
        ("9.3.3", "POST /", Ends(405)),
        ("9.3.3", "POST /snapshot", Ends(405)),
        ("9.3.4", "PUT /", Ends(405)),
        ("9.3.5", "DELETE /stream", Ends(405)),
        ("9.3.6", "CONNECT a:80", Ends(405)),
        ("9.3.8", "TRACE /", Ends(405)),
    ] {
        cases.push((section, line(sent), expected));
    }
    site.check(&cases);
    let allow = |sent: &str| match sent.contains("stream") {
        true => "GET, HEAD, OPTIONS, POST",
        false => "GET, HEAD, OPTIONS",
    };
    for sent in [
        "PUT /",
        "POST /metrics",
        "DELETE /",
        "DELETE /stream",
        "PATCH /camera/?action=stream",
        "TRACE *",
        "CONNECT a:80",
    ] {
        // 10.2.1 and 15.5.6
        assert_eq!(
            site.ask(sent, "").head.field("Allow"),
            Some(allow(sent)),
            "{sent}"
        );
    }
    for sent in [
        "OPTIONS *",
        "OPTIONS /",
        "OPTIONS /stream",
        "OPTIONS /snapshot",
    ] {
        // 9.3.7
        let reply = site.ask(sent, "Max-Forwards: 0\r\n");
        assert_eq!(reply.head.status, 200, "{sent}");
        assert_eq!(reply.head.field("Allow"), Some(allow(sent)), "{sent}");
        assert_eq!(reply.head.field("Content-Length"), Some("0"), "{sent}");
    }
}

/// [`answers`] takes what is behind the head for the next reply, so content would be seen.
#[test]
fn head_is_get_without_content_whatever_the_answer_section_9_3_2() {
    let site = Site::new();
    let long = "a".repeat(9000);
    let head = |rest: String| format!("HEAD {rest}\r\n\r\n");
    let goes_on = [
        ("/", 200),
        ("/snapshot", 200),
        ("/state", 200),
        ("/metrics", 200),
        ("/favicon.ico", 204),
        ("/camera", 308),
        ("/?action=command", 501),
        ("*", 400),
        ("/nothing/at/all", 404),
    ];
    let mut cases = Vec::new();
    for (target, status) in goes_on {
        let sent = head(format!("{target} HTTP/1.1\r\nHost: a"));
        cases.push(("9.3.2", sent.into_bytes(), GoesOn(status)));
    }
    for (rest, status) in [
        ("/stream HTTP/1.1\r\nHost: a".into(), 200),
        ("/stream?fps=x&key=a,b HTTP/1.1\r\nHost: a".into(), 200),
        ("/ HTTP/1.1".into(), 400),
        ("/ HTTP/1.1\r\nHost: a\r\nA : b".into(), 400),
        ("/%zz HTTP/1.1\r\nHost: a".into(), 400),
        ("/".into(), 400),
        (format!("/{long} HTTP/1.1\r\nHost: a"), 414),
        (format!("/ HTTP/1.1\r\nHost: a\r\nA: {long}{long}"), 431),
        (
            "/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: a, chunked".into(),
            501,
        ),
        ("/ HTTP/2.0".into(), 505),
    ] {
        cases.push(("9.3.2", head(rest).into_bytes(), Ends(status)));
    }
    site.check(&cases);
    // And it says what GET would say, as far as that is known without doing it (8.6).
    let fields = |reply: Reply| {
        let mut fields = reply.head.fields;
        let of_the_frame = |name: &str| {
            ["Date", "X-Timestamp", "X-Frame-Age"].contains(&name)
                || name.starts_with("X-UStreamer-")
        };
        fields.retain(|(name, _)| !of_the_frame(name));
        fields
    };
    for target in ["/", "/camera", "/?action=command", "*", "/nothing/at/all"] {
        let get = site.ask(&format!("GET {target}"), "");
        let head = site.ask(&format!("HEAD {target}"), "");
        assert_eq!(head.head.status, get.head.status, "{target}");
        assert_eq!(fields(head), fields(get), "{target}");
    }
    let mut get = fields(site.ask("GET /snapshot", ""));
    get.retain(|(name, _)| name != "Content-Length");
    assert_eq!(fields(site.ask("HEAD /snapshot", "")), get);
}

#[test]
fn lengths_are_told_where_section_8_6_allows_it() {
    let site = Site::new();
    assert_eq!(
        site.ask("GET /favicon.ico", "")
            .head
            .field("Content-Length"),
        None
    );
    for sent in [
        "GET /",
        "GET /snapshot",
        "GET /state",
        "GET /metrics",
        "GET /nothing/at/all",
        "PUT /",
    ] {
        let reply = site.ask(sent, "");
        assert!(reply.head.field("Content-Length").is_some(), "{sent}");
        assert_eq!(reply.head.field("Transfer-Encoding"), None, "{sent}");
        // 8.3
        assert!(reply.head.field("Content-Type").is_some(), "{sent}");
    }
}

/// The final answer is known at once, so nobody is asked to go on (and nothing comes but one answer).
#[test]
fn expectations_are_answered_as_section_10_1_1_has_it() {
    let site = Site::new();
    let go_on = "Expect: 100-continue\r\n";
    site.check(&[
        (
            "10.1.1",
            with(&format!("{go_on}Content-Length: 9\r\n")),
            Ends(FINE),
        ),
        (
            "10.1.1",
            with(&format!("{go_on}Transfer-Encoding: chunked\r\n")),
            Ends(FINE),
        ),
        ("10.1.1", with(go_on), GoesOn(FINE)),
        ("10.1.1", with("Expect: 200-ok\r\n"), GoesOn(FINE)),
        (
            "10.1.1",
            b"GET /favicon.ico HTTP/1.0\r\nExpect: 100-continue\r\n\r\n".into(),
            Ends(FINE),
        ),
    ]);
    let mut client = Client::connect(site.server.address());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n");
    let head = client.head();
    assert_eq!(
        (head.status, head.field("Connection")),
        (405, Some("close"))
    );
}

#[test]
fn what_a_client_prefers_is_advice_section_12() {
    let site = Site::new();
    for fields in [
        "Accept: text/plain\r\n",
        "Accept: image/*;q=0\r\n",
        "Accept-Encoding: gzip, br\r\n",
        "Accept-Encoding: identity;q=0\r\n",
        "Accept-Language: tlh\r\nAccept-Charset: x\r\n",
    ] {
        for target in ["/", "/snapshot"] {
            let reply = site.ask(&format!("GET {target}"), fields);
            assert_eq!(reply.head.status, 200, "{fields}");
            assert_eq!(reply.head.field("Content-Encoding"), None, "{fields}");
        }
    }
}

#[test]
fn the_page_is_not_sent_to_who_has_it_section_13() {
    let site = Site::new();
    let page = site.ask("GET /", "");
    let tag = page.head.field("ETag").unwrap().to_owned();
    // 8.8.3: strong, and of the bytes.
    assert!(
        tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"'),
        "{tag}"
    );
    let ask = |method: &str, fields: &str| site.ask(&format!("{method} /"), fields);
    let old = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (section, fields, status) in [
        ("13.1.2", format!("If-None-Match: {tag}\r\n"), 304),
        ("13.1.2", format!("If-None-Match: W/{tag}\r\n"), 304),
        (
            "13.1.2",
            format!("If-None-Match: \"a\", {tag}, \"b\"\r\n"),
            304,
        ),
        (
            "13.1.2",
            format!("If-None-Match: \"a\"\r\nif-none-match: {tag}\r\n"),
            304,
        ),
        ("13.1.2", "If-None-Match: *\r\n".into(), 304),
        ("13.1.2", "If-None-Match: \"a\"\r\n".into(), 200),
        ("13.1.2", "If-None-Match:\r\n".into(), 200),
        ("13.1.1", format!("If-Match: \"a\", {tag}\r\n"), 200),
        ("13.1.1", "If-Match: *\r\n".into(), 200),
        ("13.1.1", format!("If-Match: W/{tag}\r\n"), 412),
        ("13.1.1", "If-Match: \"a\"\r\n".into(), 412),
        // The order of 13.2.2.
        (
            "13.2.2",
            format!("If-None-Match: {tag}\r\nIf-Match: \"a\"\r\n"),
            412,
        ),
        (
            "13.2.2",
            format!("If-None-Match: {tag}\r\nIf-Match: {tag}\r\n"),
            304,
        ),
        // There is no date of modification.
        ("13.1.3", format!("If-Modified-Since: {old}\r\n"), 200),
        (
            "13.1.3",
            "If-Modified-Since: Tue, 19 Jan 2038 03:14:08 GMT\r\n".into(),
            200,
        ),
        ("13.1.4", format!("If-Unmodified-Since: {old}\r\n"), 200),
    ] {
        for method in ["GET", "HEAD"] {
            let reply = ask(method, &fields);
            assert_eq!(reply.head.status, status, "{section}: {method} {fields}");
            if status == 304 {
                // 15.4.5: what the cache must know of it, and no content.
                for field in ["ETag", "Cache-Control", "Vary"] {
                    assert_eq!(reply.head.field(field), page.head.field(field), "{fields}");
                }
                assert!(reply.head.field("Date").is_some());
                assert!(reply.head.field("Content-Length").is_none());
            }
        }
    }
    // 13.2.1: only what would be there without the condition has one.
    let none = format!("If-None-Match: *, {tag}\r\n");
    for (sent, status) in [
        ("OPTIONS /", 200),
        ("GET /camera", 308),
        ("GET /favicon.ico", 204),
        ("GET /nothing/at/all", 404),
        ("GET *", 400),
        ("POST /", 405),
    ] {
        assert_eq!(site.ask(sent, &none).head.status, status, "{sent}");
    }
    // Pictures have no tag, so nobody has this one already.
    let tagged = format!("If-None-Match: {tag}\r\n");
    assert_eq!(site.ask("GET /snapshot", &tagged).head.status, 200);
    let wanted = format!("If-Match: {tag}\r\n");
    let any = "If-None-Match: *\r\n";
    for target in ["/snapshot", "/stream", "/state", "/metrics"] {
        let kept = site.ask(&format!("GET {target}"), any).head;
        assert_eq!(kept.status, 304, "{target}");
        // 15.4.5: these as with 200.
        let whole = site.ask(&format!("HEAD {target}"), "").head;
        for field in ["Cache-Control", "Expires"] {
            assert_eq!(kept.field(field), whole.field(field), "{target}");
        }
        assert!(kept.field("Cache-Control").is_some(), "{target}");
    }
    // 13.1.2: 304 is for GET and HEAD alone.
    for fields in [any, "If-None-Match: \"a\", *\r\n", &wanted] {
        let sent = format!("POST /stream HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let reply = answers(site.server.address(), sent.as_bytes()).remove(0);
        assert_eq!(reply.head.status, 412, "{fields}");
    }
    assert_eq!(site.ask("GET /snapshot", &wanted).head.status, 412);
}

#[test]
fn ranges_are_not_served_and_nobody_is_told_so_in_error_section_14_2() {
    let site = Site::new();
    for fields in [
        "Range: bytes=0-9\r\n",
        "Range: bytes=999999999-\r\n",
        "Range: bytes=0-99999999999999999999999999\r\n",
        "Range: frames=1\r\n",
        "Range: bytes=0-9\r\nIf-Range: \"a\"\r\n",
    ] {
        let reply = site.ask("GET /snapshot", fields);
        assert_eq!(reply.head.status, 200, "{fields}");
        Maker::new(5000).verify(&reply.body);
        assert_eq!(reply.head.field("Content-Range"), None);
    }
}

#[test]
fn refusals_say_why_as_section_15_5_has_it() {
    let site = Site::new();
    for sent in [
        line("GET *"),
        line("GET /nothing/at/all"),
        line("PUT /"),
        line("BREW /"),
        line(&format!("GET /{}", "a".repeat(9000))),
        with(&format!("A: {}\r\n", "a".repeat(20_000))),
        with("Host: b\r\n"),
        b"GET / HTTP/2.0\r\n\r\n".into(),
    ] {
        let reply = answers(site.server.address(), &sent).remove(0);
        assert!(reply.head.status >= 400);
        let kind = reply.head.field("Content-Type").unwrap();
        assert!(kind.starts_with("text/plain"), "{kind}");
        let text = String::from_utf8(reply.body).unwrap();
        assert!(text.len() > 10 && text.ends_with('\n'), "{text}");
        if reply.head.status == 505 {
            // 15.6.6: what is spoken instead.
            assert!(text.contains("HTTP/1.1"), "{text}");
        }
    }
}

/// docs/rfc.md names the tests of each section: all of these two files, and some beside them or inside the parts.
#[test]
fn each_test_that_the_table_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| fs::read_to_string(root.join(file)).unwrap();
    let ours = read("tests/e2e/rfc9110.rs") + &read("tests/e2e/rfc9112.rs");
    let everywhere = sources(&root.join("tests")) + &sources(&root.join("src"));
    let page = read("docs/rfc.md");
    let named = page.split('`').skip(1).step_by(2);
    let named: Vec<_> = named.filter(|name| name.matches('_').count() > 3).collect();
    for name in &named {
        assert!(everywhere.contains(&format!("fn {name}()")), "{name}");
    }
    let tests = ours.split("#[test]\nfn ").skip(1);
    for test in tests.filter_map(|rest| rest.split('(').next()) {
        assert!(named.contains(&test), "docs/rfc.md does not name {test}");
    }
}

/// The text of all Rust files below `dir`.
fn sources(dir: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text += &sources(&path);
        } else if path.extension().is_some_and(|end| end == "rs") {
            text += &fs::read_to_string(path).unwrap();
        }
    }
    text
}
