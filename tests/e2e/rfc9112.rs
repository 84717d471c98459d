//! RFC 9112, HTTP/1.1: what a request looks like, where it ends, and whether another one may follow.
//!
//! Each case cites the section that asks for it; docs/rfc.md has the sections in order. All cases of a test go to one server,
//! each on a connection of its own, with another request right behind it. An answer to that one shows where the server has
//! read on, and its absence that it has not: nobody gets a second request in by hiding it in the first.

use crate::common::Scratch;
use crate::common::exchange::Answer::{Ends, GoesOn};
use crate::common::exchange::{Case, answers, check};
use crate::common::frames::Maker;
use crate::common::http::Client;
use crate::common::process::{Process, serve};
use crate::common::producer::Camera;

/// The answer to `/favicon.ico`: there is nothing, and nothing is wrong.
const FINE: u16 = 204;

fn server() -> (Process, Scratch) {
    let scratch = Scratch::new();
    // What is a host is asked here, and not whose.
    (serve(scratch.path(), &["--allow-host", "*"]), scratch)
}

/// A request with these fields beside `Host`, in HTTP/1.1.
fn with(fields: &str) -> Vec<u8> {
    format!("GET /favicon.ico HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n").into_bytes()
}

/// One with this first line.
fn line(line: &str) -> Vec<u8> {
    format!("{line}\r\nHost: a\r\n\r\n").into_bytes()
}

#[test]
fn lines_end_and_messages_begin_as_section_2_2_has_it() {
    let (server, _scratch) = server();
    let cases: &[Case<'_>] = &[
        // An empty line before the request is ignored.
        ("2.2", &[&b"\r\n"[..], &with("A: b")].concat(), GoesOn(FINE)),
        (
            "2.2",
            &[&b"\r\n\n\r\n"[..], &with("A: b")].concat(),
            GoesOn(FINE),
        ),
        // LF alone may end a line.
        (
            "2.2",
            b"GET /favicon.ico HTTP/1.1\nHost: a\n\n",
            GoesOn(FINE),
        ),
        (
            "2.2",
            b"GET /favicon.ico HTTP/1.1\r\nHost: a\nA: b\r\n\n",
            GoesOn(FINE),
        ),
        // CR alone is invalid, wherever it stands.
        (
            "2.2",
            b"\rGET /favicon.ico HTTP/1.1\r\nHost: a\r\n\r\n",
            Ends(400),
        ),
        (
            "2.2",
            b"GET /favicon.ico\r HTTP/1.1\r\nHost: a\r\n\r\n",
            Ends(400),
        ),
        (
            "2.2",
            b"GET /favicon.ico HTTP/1.1\rHost: a\r\n\r\n",
            Ends(400),
        ),
        ("2.2", &with("A: b\rB: c"), Ends(400)),
        ("2.2", &with("A\rB: c"), Ends(400)),
        ("2.2", &with("A: b\r"), Ends(400)),
        (
            "2.2",
            b"GET /favicon.ico HTTP/1.1\r\nHost: a\r\n\rA: b\r\n\r\n",
            Ends(400),
        ),
        // Nothing blank stands between the request line and the first field.
        (
            "2.2",
            b"GET /favicon.ico HTTP/1.1\r\n Host: a\r\n\r\n",
            Ends(400),
        ),
        (
            "2.2",
            b"GET /favicon.ico HTTP/1.1\r\n\tA: b\r\nHost: a\r\n\r\n",
            Ends(400),
        ),
        (
            "2.2",
            b"GET /favicon.ico HTTP/1.1\r\n \r\nHost: a\r\n\r\n",
            Ends(400),
        ),
        // What has not this grammar at all.
        (
            "2.2",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            Ends(400),
        ),
        ("2.2", b"\0\0\0\0\r\n\r\n", Ends(400)),
        ("2.2", b"HTTP/1.1 200 OK\r\n\r\n", Ends(400)),
        ("2.2", b"{\"a\": 1}\r\n\r\n", Ends(400)),
        ("2.2", "ä\r\n\r\n".as_bytes(), Ends(400)),
    ];
    check(server.address(), cases);
}

#[test]
fn versions_are_those_of_section_2_3() {
    let (server, _scratch) = server();
    let mut cases = Vec::new();
    for (version, expected) in [
        ("HTTP/1.1", GoesOn(FINE)),
        ("HTTP/1.0", Ends(FINE)),
        // RFC 9110, 6.2: a later one with the same first digit is as good as the latest that is known.
        ("HTTP/1.2", GoesOn(FINE)),
        ("HTTP/1.9", GoesOn(FINE)),
        ("HTTP/0.9", Ends(505)),
        ("HTTP/2.0", Ends(505)),
        ("HTTP/3.0", Ends(505)),
        // The name has capitals, the numbers one digit each.
        ("http/1.1", Ends(400)),
        ("Http/1.1", Ends(400)),
        ("HTTP/1", Ends(400)),
        ("HTTP/1.", Ends(400)),
        ("HTTP/1.10", Ends(400)),
        ("HTTP/01.1", Ends(400)),
        ("HTTP/+1.1", Ends(400)),
        ("HTTP/1,1", Ends(400)),
        ("HTTP /1.1", Ends(400)),
        ("HTTPS/1.1", Ends(400)),
        ("1.1", Ends(400)),
        ("", Ends(400)),
    ] {
        cases.push((line(&format!("GET /favicon.ico {version}")), expected));
    }
    cases.push((line("GET /favicon.ico"), Ends(400)));
    cases.push((b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), Ends(505)));
    let cases = cases
        .iter()
        .map(|(sent, expected)| ("2.3", &sent[..], *expected));
    check(server.address(), &cases.collect::<Vec<_>>());
}

#[test]
fn request_lines_have_three_parts_and_room_for_8000_bytes_as_section_3_has_it() {
    let (server, _scratch) = server();
    // With the method, the version and the blanks 8000 bytes, and the target a little less, and so much too.
    let long = |total: usize| format!("/favicon.ico?{}", "a".repeat(total - 13));
    let cases: &[Case<'_>] = &[
        ("3", &line("GET  /favicon.ico HTTP/1.1"), Ends(400)),
        ("3", &line("GET /favicon.ico  HTTP/1.1"), Ends(400)),
        ("3", &line("GET /favicon.ico HTTP/1.1 "), Ends(400)),
        ("3", &line(" GET /favicon.ico HTTP/1.1"), Ends(400)),
        ("3", &line("GET\t/favicon.ico HTTP/1.1"), Ends(400)),
        ("3", &line("GET /favicon.ico\tHTTP/1.1"), Ends(400)),
        ("3", &line("GET /favicon .ico HTTP/1.1"), Ends(400)),
        ("3", &line("GET HTTP/1.1"), Ends(400)),
        ("3", &line("GET"), Ends(400)),
        (
            "3",
            &line(&format!("GET {} HTTP/1.1", long(8000 - 13))),
            GoesOn(FINE),
        ),
        (
            "3",
            &line(&format!("GET {} HTTP/1.1", long(8000))),
            GoesOn(FINE),
        ),
        (
            "3",
            &line(&format!("GET {} HTTP/1.1", long(8001))),
            Ends(414),
        ),
        (
            "3",
            &line(&format!("GET {} HTTP/1.1", long(15_000))),
            Ends(414),
        ),
        (
            "3",
            &line(&format!("GET {} HTTP/1.1", long(100_000))),
            Ends(414),
        ),
        // Methods have capitals, and of those that are too long nobody needs to know more.
        ("3.1", &line("get /favicon.ico HTTP/1.1"), Ends(501)),
        ("3.1", &line("BREW /favicon.ico HTTP/1.1"), Ends(501)),
        (
            "3.1",
            &line(&format!("{} / HTTP/1.1", "A".repeat(4000))),
            Ends(501),
        ),
        ("3.1", &line("GE(T /favicon.ico HTTP/1.1"), Ends(400)),
        ("3.1", &line("GET\0 /favicon.ico HTTP/1.1"), Ends(400)),
    ];
    check(server.address(), cases);
}

#[test]
fn targets_have_the_forms_of_section_3_2() {
    let (server, _scratch) = server();
    let mut cases = Vec::new();
    for (section, first, expected) in [
        ("3.2", "GET /a\u{7f} HTTP/1.1", Ends(400)),
        ("3.2", "GET /a\u{1} HTTP/1.1", Ends(400)),
        ("3.2.1", "GET /favicon.ico?a=b HTTP/1.1", GoesOn(FINE)),
        ("3.2.1", "OPTIONS / HTTP/1.1", GoesOn(200)),
        // Another host than that of the Host field: it is the target's that counts.
        ("3.2.2", "GET http://b/favicon.ico HTTP/1.1", GoesOn(FINE)),
        (
            "3.2.2",
            "GET HTTP://b:8080/favicon.ico?a HTTP/1.1",
            GoesOn(FINE),
        ),
        (
            "3.2.2",
            "GET http://[::1]:80/favicon.ico HTTP/1.1",
            GoesOn(FINE),
        ),
        ("3.2.2", "OPTIONS http://b HTTP/1.1", GoesOn(200)),
        ("3.2.2", "OPTIONS http://b?a HTTP/1.1", GoesOn(200)),
        // RFC 9110, 4.2.1 and 4.2.4: no URI of this scheme.
        ("3.2.2", "GET http:///favicon.ico HTTP/1.1", Ends(400)),
        ("3.2.2", "GET http://:80/favicon.ico HTTP/1.1", Ends(400)),
        ("3.2.2", "GET http://b:http/favicon.ico HTTP/1.1", Ends(400)),
        ("3.2.2", "GET http://b<c/favicon.ico HTTP/1.1", Ends(400)),
        ("3.2.2", "GET http://[b]/favicon.ico HTTP/1.1", Ends(400)),
        (
            "3.2.2",
            "GET http://me:secret@b/favicon.ico HTTP/1.1",
            Ends(400),
        ),
        // RFC 9110, 7.1: only CONNECT has this one, which nobody may do.
        ("3.2.3", "CONNECT b:443 HTTP/1.1", Ends(405)),
        ("3.2.3", "CONNECT b: HTTP/1.1", Ends(405)),
        ("3.2.3", "GET b:80 HTTP/1.1", GoesOn(404)),
        // And only OPTIONS this one.
        ("3.2.4", "OPTIONS * HTTP/1.1", GoesOn(200)),
        ("3.2.4", "GET * HTTP/1.1", GoesOn(400)),
        ("3.2.4", "HEAD * HTTP/1.1", GoesOn(400)),
        ("3.2.4", "OPTIONS ** HTTP/1.1", GoesOn(404)),
    ] {
        cases.push((section, line(first), expected));
    }
    let cases = cases
        .iter()
        .map(|(section, sent, expected)| (*section, &sent[..], *expected));
    check(server.address(), &cases.collect::<Vec<_>>());
}

#[test]
fn a_host_is_named_once_and_properly_as_section_3_2_has_it() {
    let (server, _scratch) = server();
    let mut cases = Vec::new();
    for (version, fields, expected) in [
        ("1.1", "", Ends(400)),
        ("1.1", "Hosts: a\r\n", Ends(400)),
        ("1.1", "Host: a\r\nHost: a\r\n", Ends(400)),
        ("1.1", "Host: a\r\nhost: b\r\n", Ends(400)),
        ("1.0", "Host: a\r\nHost: b\r\n", Ends(400)),
        ("1.0", "", Ends(FINE)),
        // Empty where the target's URI has no host.
        ("1.1", "Host:\r\n", GoesOn(FINE)),
        ("1.1", "Host: \t \r\n", GoesOn(FINE)),
        ("1.1", "hOST:a\r\n", GoesOn(FINE)),
        ("1.1", "Host: camera.local:8080\r\n", GoesOn(FINE)),
        ("1.1", "Host: a_b.c-d:\r\n", GoesOn(FINE)),
        ("1.1", "Host: 192.168.0.1:80\r\n", GoesOn(FINE)),
        ("1.1", "Host: [2001:db8::1]:80\r\n", GoesOn(FINE)),
        ("1.1", "Host: [fe80::1%25eth0]\r\n", GoesOn(FINE)),
        ("1.1", "Host: [v1.fe80::a+en1]:80\r\n", GoesOn(FINE)),
        ("1.1", "Host: %2Frun%2Flazycam.sock\r\n", GoesOn(FINE)),
        ("1.1", "Host: a b\r\n", Ends(400)),
        ("1.1", "Host: a/b\r\n", Ends(400)),
        ("1.1", "Host: me@a\r\n", Ends(400)),
        ("1.1", "Host: a:b\r\n", Ends(400)),
        ("1.1", "Host: a:80:80\r\n", Ends(400)),
        ("1.1", "Host: [::1\r\n", Ends(400)),
        ("1.1", "Host: ::1\r\n", Ends(400)),
        ("1.1", "Host: [foo]\r\n", Ends(400)),
        ("1.1", "Host: [1:2:3]:80\r\n", Ends(400)),
        ("1.1", "Host: [192.0.2.1]\r\n", Ends(400)),
        ("1.1", "Host: [v.a]\r\n", Ends(400)),
        ("1.1", "Host: http://a/\r\n", Ends(400)),
        ("1.1", "Host: a?b\r\n", Ends(400)),
        ("1.1", "Host: a#b\r\n", Ends(400)),
        ("1.1", "Host: a\\b\r\n", Ends(400)),
        ("1.1", "Host: a%zz\r\n", Ends(400)),
        ("1.1", "Host: ä\r\n", Ends(400)),
        ("1.0", "Host: a b\r\n", Ends(400)),
    ] {
        let head = format!("GET /favicon.ico HTTP/{version}\r\n{fields}\r\n");
        cases.push((head.into_bytes(), expected));
    }
    // Also where the target names a host itself.
    let absolute = "GET http://a/favicon.ico HTTP/1.1\r\n";
    cases.push((format!("{absolute}\r\n").into_bytes(), Ends(400)));
    cases.push((
        format!("{absolute}Host: b c\r\n\r\n").into_bytes(),
        Ends(400),
    ));
    let cases = cases
        .iter()
        .map(|(sent, expected)| ("3.2", &sent[..], *expected));
    check(server.address(), &cases.collect::<Vec<_>>());
}

#[test]
fn field_lines_have_the_syntax_of_section_5() {
    let (server, _scratch) = server();
    let cases: &[Case<'_>] = &[
        ("5", &with("A:b"), GoesOn(FINE)),
        ("5", &with("A: \t b \t "), GoesOn(FINE)),
        ("5", &with("A:"), GoesOn(FINE)),
        ("5", &with("!#$%&'*+-.^_`|~09: b"), GoesOn(FINE)),
        ("5.1", &with("A : b"), Ends(400)),
        ("5.1", &with("A\t: b"), Ends(400)),
        (
            "5.1",
            b"GET /favicon.ico HTTP/1.1\r\nHost : a\r\n\r\n",
            Ends(400),
        ),
        ("5.1", &with("Content-Length : 5"), Ends(400)),
        ("5.1", &with("Transfer-Encoding : chunked"), Ends(400)),
        ("5.1", &with("A b: c"), Ends(400)),
        ("5.1", &with("A"), Ends(400)),
        ("5.1", &with(": b"), Ends(400)),
        ("5.1", &with("A[]: b"), Ends(400)),
        ("5.1", &with("A\0: b"), Ends(400)),
        ("5.1", &with("Ä: b"), Ends(400)),
        // RFC 9110, 5.5: other bytes are nobody's business, these are dangerous.
        ("5.5", &with("A: ä"), GoesOn(FINE)),
        (
            "5.5",
            &[&with("A: ")[..39], b"\xff\r\n\r\n"].concat(),
            GoesOn(FINE),
        ),
        ("5.5", &with("A: b\0"), Ends(400)),
        ("5.5", &with("A: \u{b}b"), Ends(400)),
        ("5.5", &with("A: \u{7f}"), Ends(400)),
        ("5.2", &with("A: b\r\n c"), Ends(400)),
        ("5.2", &with("A: b\r\n\tc"), Ends(400)),
        ("5.2", &with("A:\r\n b"), Ends(400)),
        ("5.2", &with("A: b\r\n \r\nB: c"), Ends(400)),
        (
            "5.2",
            b"GET /favicon.ico HTTP/1.1\r\nHost:\r\n a\r\n\r\n",
            Ends(400),
        ),
        ("5.2", &with("Transfer-Encoding:\r\n chunked"), Ends(400)),
        ("5.2", &with("Content-Length: 0\r\n 5"), Ends(400)),
    ];
    check(server.address(), cases);
}

/// A body that is a request to whoever believes another length.
const HIDDEN: &str = "0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: h\r\n\r\n";

#[test]
fn bodies_have_the_one_length_of_section_6_or_nothing_is_read_behind_them() {
    let (server, _scratch) = server();
    let mut cases = Vec::new();
    for (section, version, fields, expected) in [
        // Nothing here reads a body: it may be there, and nothing follows it.
        ("6", "1.1", "Content-Length: 38", Ends(FINE)),
        (
            "6",
            "1.0",
            "Content-Length: 38\r\nConnection: keep-alive",
            Ends(FINE),
        ),
        ("6.1", "1.1", "Transfer-Encoding: chunked", Ends(FINE)),
        ("6.1", "1.1", "Transfer-Encoding: , Chunked ,", Ends(FINE)),
        // Both: nobody knows which of them the one in between believed.
        (
            "6.1",
            "1.1",
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            Ends(400),
        ),
        (
            "6.1",
            "1.1",
            "Transfer-Encoding: chunked\r\nContent-Length: 0",
            Ends(400),
        ),
        (
            "6.1",
            "1.0",
            "Transfer-Encoding: chunked\r\nConnection: keep-alive",
            Ends(400),
        ),
        (
            "6.1",
            "1.0",
            "Transfer-Encoding: chunked\r\nContent-Length: 5",
            Ends(400),
        ),
        ("6.1", "1.1", "Transfer-Encoding: gzip, chunked", Ends(501)),
        (
            "6.1",
            "1.1",
            "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
            Ends(501),
        ),
        (
            "6.1",
            "1.1",
            "Transfer-Encoding: chunked, chunked",
            Ends(400),
        ),
        (
            "6.1",
            "1.1",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            Ends(400),
        ),
        ("6.3", "1.1", "Transfer-Encoding: chunked, gzip", Ends(400)),
        (
            "6.3",
            "1.1",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            Ends(400),
        ),
        ("6.3", "1.1", "Transfer-Encoding: identity", Ends(400)),
        ("6.3", "1.1", "Transfer-Encoding: gzip", Ends(400)),
        ("6.3", "1.1", "Transfer-Encoding: xchunked", Ends(400)),
        ("6.3", "1.1", "Transfer-Encoding: \"chunked\"", Ends(400)),
        ("6.3", "1.1", "Transfer-Encoding: chunked;a=b", Ends(400)),
        ("6.3", "1.1", "Transfer-Encoding: chunked x", Ends(400)),
        ("6.3", "1.1", "Transfer-Encoding:", Ends(400)),
        ("6.3", "1.1", "Transfer-Encoding: \u{b}chunked", Ends(400)),
        (
            "6.3",
            "1.1",
            "Content-Length: 5\r\nContent-Length: 38",
            Ends(400),
        ),
        (
            "6.3",
            "1.1",
            "Content-Length: 0\r\nContent-Length: 38",
            Ends(400),
        ),
        (
            "6.3",
            "1.1",
            "Content-Length: 38\r\nContent-Length: 38",
            Ends(FINE),
        ),
        ("6.3", "1.1", "Content-Length: 0, 38", Ends(400)),
        // RFC 9110, 8.6: may be refused.
        ("6.3", "1.1", "Content-Length: 38, 38", Ends(400)),
        ("6.3", "1.1", "Content-Length: 038", Ends(FINE)),
        ("6.3", "1.1", "Content-Length: +38", Ends(400)),
        ("6.3", "1.1", "Content-Length: -1", Ends(400)),
        ("6.3", "1.1", "Content-Length: 0x26", Ends(400)),
        ("6.3", "1.1", "Content-Length: 3 8", Ends(400)),
        ("6.3", "1.1", "Content-Length: 38.0", Ends(400)),
        ("6.3", "1.1", "Content-Length: 3e1", Ends(400)),
        ("6.3", "1.1", "Content-Length: \"38\"", Ends(400)),
        ("6.3", "1.1", "Content-Length: five", Ends(400)),
        ("6.3", "1.1", "Content-Length: \u{0664}", Ends(400)),
        ("6.3", "1.1", "Content-Length:", Ends(400)),
        (
            "6.3",
            "1.1",
            "Content-Length: 18446744073709551615",
            Ends(FINE),
        ),
        // 2^64 and 2^64 + 38: what some would take for 0 and 38.
        (
            "6.3",
            "1.1",
            "Content-Length: 18446744073709551616",
            Ends(400),
        ),
        (
            "6.3",
            "1.1",
            "Content-Length: 18446744073709551654",
            Ends(400),
        ),
    ] {
        let head =
            format!("GET /favicon.ico HTTP/{version}\r\nHost: a\r\n{fields}\r\n\r\n{HIDDEN}");
        cases.push((section, head.into_bytes(), expected));
    }
    // A request that names no length has no body.
    cases.push(("6.3", with("Content-Length: 0"), GoesOn(FINE)));
    cases.push(("6.3", with("Content-Length: 00"), GoesOn(FINE)));
    let cases = cases
        .iter()
        .map(|(section, sent, expected)| (*section, &sent[..], *expected));
    check(server.address(), &cases.collect::<Vec<_>>());
}

/// Chunks are not taken apart, right or wrong: the connection ends behind the answer (9.3).
#[test]
fn nothing_of_section_7_is_read_as_a_request() {
    let (server, _scratch) = server();
    let mut cases = Vec::new();
    for body in [
        "5\r\nhello\r\n0\r\n\r\n",
        "5;a=b;c=\"d\"\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nHost: b\r\nContent-Length: 5\r\n\r\n",
        "05\r\nhello\r\n00\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "Z\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\nhello\n0\n\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "5;\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
        "",
    ] {
        let mut sent = with("Transfer-Encoding: chunked");
        sent.extend(body.as_bytes());
        cases.push(("7.1", sent, Ends(FINE)));
    }
    let cases = cases
        .iter()
        .map(|(section, sent, expected)| (*section, &sent[..], *expected));
    check(server.address(), &cases.collect::<Vec<_>>());
}

#[test]
fn a_message_that_ends_too_early_is_none_as_section_8_has_it() {
    let (server, _scratch) = server();
    for (sent, expected) in [
        ("", &[][..]),
        ("\r\n", &[]),
        ("GET /favicon.ico HTTP/1.1\r\nHost: a\r\n", &[]),
        ("GET /favicon.ico HTTP/1.1\r\nHost: a\r\n\r", &[]),
        // The body is nobody's here, whole or not.
        (
            "GET /favicon.ico HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhel",
            &[FINE],
        ),
        (
            "GET /favicon.ico HTTP/1.1\r\nHost: a\r\n\r\nGET / HT",
            &[FINE],
        ),
    ] {
        let mut client = Client::connect(server.address());
        client.send(sent);
        client.half_close();
        let mut statuses = Vec::new();
        while !client.is_at_end() {
            statuses.push(client.reply().head.status);
        }
        assert_eq!(statuses, expected, "{sent:?}");
    }
}

#[test]
fn connections_persist_as_section_9_3_has_it() {
    let (server, _scratch) = server();
    let mut cases = Vec::new();
    for (version, fields, expected) in [
        ("1.1", "", GoesOn(FINE)),
        ("1.1", "Connection: keep-alive\r\n", GoesOn(FINE)),
        ("1.1", "Connection: upgrade, te\r\n", GoesOn(FINE)),
        ("1.1", "Connection:\r\n", GoesOn(FINE)),
        ("1.1", "Connection: closed\r\n", GoesOn(FINE)),
        ("1.1", "Connection: close\r\n", Ends(FINE)),
        ("1.1", "connection:CLOSE\r\n", Ends(FINE)),
        ("1.1", "Connection: te,\tclose , x\r\n", Ends(FINE)),
        ("1.1", "Connection: , ,close,\r\n", Ends(FINE)),
        ("1.1", "Connection: te\r\nConnection: close\r\n", Ends(FINE)),
        ("1.1", "Connection: keep-alive, close\r\n", Ends(FINE)),
        ("1.0", "", Ends(FINE)),
        ("1.0", "Connection: Keep-Alive\r\n", GoesOn(FINE)),
        (
            "1.0",
            "Connection: te, keep-alive\r\nKeep-Alive: timeout=5\r\n",
            GoesOn(FINE),
        ),
        ("1.0", "Connection: keep-alive, close\r\n", Ends(FINE)),
        ("1.0", "Keep-Alive: timeout=5\r\n", Ends(FINE)),
        ("1.0", "Connection: close\r\n", Ends(FINE)),
    ] {
        let head = format!("GET /favicon.ico HTTP/{version}\r\nHost: a\r\n{fields}\r\n");
        cases.push((head.into_bytes(), expected));
    }
    let cases = cases
        .iter()
        .map(|(sent, expected)| ("9.3", &sent[..], *expected));
    check(server.address(), &cases.collect::<Vec<_>>());
}

#[test]
fn pipelined_requests_are_answered_in_their_order_as_section_9_3_2_has_it() {
    let scratch = Scratch::new();
    let _camera = Camera::on_demand(scratch.path(), 50.0, Maker::new(5000));
    let server = serve(scratch.path(), &[]);
    let mut client = Client::connect(server.address());
    // HEAD and what needs a frame among those that are answered at once, and more bytes than are kept.
    let round = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET /snapshot HTTP/1.1\r\nHost: a\r\n\r\n\
                 \r\nOPTIONS * HTTP/1.1\r\nHost: a\r\n\r\nGET /nothing HTTP/1.1\r\nHost: a\r\n\r\n\
                 HEAD /snapshot HTTP/1.1\r\nHost: a\r\n\r\nGET /favicon.ico HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    let rounds = 100;
    let last = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let (address, sent) = (server.address(), round.repeat(rounds) + last + round);
    assert!(sent.len() > 16 * 1024);
    client.send(sent);
    for _ in 0..rounds {
        assert!(
            client
                .head()
                .field("Content-Type")
                .unwrap()
                .starts_with("text/html")
        );
        Maker::new(5000).verify(&client.reply().body);
        assert!(client.reply().head.field("Allow").is_some());
        assert_eq!(client.reply().head.status, 404);
        assert_eq!(client.head().field("Content-Type"), Some("image/jpeg"));
        assert_eq!(client.reply().head.status, FINE);
    }
    assert_eq!(client.reply().head.status, 200);
    client.expect_end();
    // A stream ends with its connection, so what stands behind it is never answered.
    let mut stream = Client::connect(address).stream("/stream");
    stream.client().send(round);
    stream.part();
    stream.part();
}

#[test]
fn an_answer_arrives_whatever_is_still_sent_as_section_9_6_has_it() {
    let scratch = Scratch::new();
    let _camera = Camera::on_demand(scratch.path(), 50.0, Maker::new(300_000));
    let server = serve(scratch.path(), &[]);
    // More than the buffers of both sides: who stops reading here waits for somebody who does not listen yet.
    let body = vec![b'x'; 4 << 20];
    for (head, status) in [
        (
            "GET /snapshot HTTP/1.1\r\nHost: a\r\nContent-Length: 4194304\r\n\r\n",
            200,
        ),
        (
            "GET /snapshot HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            200,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4194304\r\n\r\n",
            405,
        ),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    ] {
        let mut client = Client::connect(server.address());
        client.send(head);
        client.send(&body);
        let reply = client.reply();
        assert_eq!(reply.head.status, status, "{head}");
        assert_eq!(reply.head.field("Connection"), Some("close"));
        if status == 200 {
            Maker::new(300_000).verify(&reply.body);
        }
        client.expect_end();
    }
    // The server waits for the other side, and then it is gone: nothing is reset.
    let closed = answers(server.address(), b"GET /favicon.ico HTTP/1.0\r\n\r\n");
    assert_eq!(closed.len(), 1);
}
