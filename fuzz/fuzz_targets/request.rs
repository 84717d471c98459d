//! A request's head: what is decided about some bytes stays decided when more come, and a connection that goes on is at the
//! place where the next request begins.
#![no_main]

use lazycam::server::http::request::{self, Body, MAX_HEAD, MAX_TARGET, Method, Parsed};
use lazycam::server::http::route;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let whole = request::parse(input);
    if let Parsed::Complete(request, len) = &whole {
        let head = &input[..*len];
        assert!(*len <= MAX_HEAD && head.ends_with(b"\n"));
        let graphic = |byte: u8| byte > b' ' && byte != 0x7F;
        assert!(request.target.bytes().all(graphic), "{:?}", request.target);
        assert!(!request.target.is_empty() && request.target.len() <= MAX_TARGET);
        // So much of what follows may be read as a body, where one is read at all, and no request is looked for behind it.
        let length = announced_length(head);
        match request.body {
            Body::Empty => assert!(!announces_body(head), "a body would be taken for nothing"),
            Body::Length(told) => assert_eq!(Some(told), length, "a body of another length"),
            Body::Chunked => assert!(length.is_none() && announces_body(head)),
        }
        assert!(request.body == Body::Empty || !request.keep_alive);
        if request.keep_alive {
            assert!(!matches!(request.method, Method::Post | Method::Other));
            assert!(!announces_body(head), "a body would be read as a request");
        }
        let _ = route::route(&request.target);
    }
    // The first bytes of it, as a slow client sends them. Every cut would cost the square of the length.
    for cut in [
        input.len() / 3,
        input.len() / 2,
        input.len().saturating_sub(1),
    ] {
        match request::parse(&input[..cut]) {
            Parsed::Partial => assert!(cut < MAX_HEAD),
            Parsed::Complete(request, len) => {
                assert_eq!(Parsed::Complete(request, len), whole, "cut at {cut}");
            }
            Parsed::Refused(_) => {
                assert!(
                    matches!(whole, Parsed::Refused(_)),
                    "cut at {cut}: {whole:?}"
                );
            }
        }
    }
});

/// By a look at the lines alone: a transfer coding, or a length that is not 0.
fn announces_body(head: &[u8]) -> bool {
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    text.lines().any(|line| match line.split_once(':') {
        Some(("transfer-encoding", _)) => true,
        Some(("content-length", value)) => value.trim().trim_matches('0') != "",
        _ => false,
    })
}

/// By a look at the lines alone: the length that they agree on.
fn announced_length(head: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    let lengths = text.lines().filter_map(|line| {
        let (_, value) = line.split_once(':').filter(|(name, _)| *name == "content-length")?;
        Some(value.trim().parse::<u64>().expect("a length that is no number was accepted"))
    });
    lengths.reduce(|one, other| {
        assert_eq!(one, other, "two lengths were accepted");
        one
    })
}
