//! From bytes to a request, or to the refusal that they deserve.
//!
//! httparse parses the head, and rejects what the grammar does not allow: folded lines, bare CR, NUL, and blanks in
//! the wrong places. This module decides what RFC 9112 leaves to the server of a resource: limits, versions and
//! methods. Two files next to it decide whether the connection can be used again (`framing.rs`), and what hosts and
//! targets may look like (`target.rs`). `docs/rfc.md` lists the rules one by one, with their tests.
//!
//! Bodies are not read here, and elsewhere only that of a POST of controls (`connection/setting.rs`). A request that
//! announces a body is answered, and then the connection ends: what follows is not read as another request.

use std::borrow::Cow;

use super::fields::{list, list_if_there, values};
pub use super::framing::Body;
use super::{framing, target};
use crate::server::http::preconditions::Preconditions;
use crate::server::http::status::Status;

/// The maximum length of a request's head. Browsers send well under 1 KiB, but proxies add cookies of the site that
/// they serve, and there must be room for a request line as long as RFC 9112 recommends.
pub const MAX_HEAD: usize = 16 * 1024;

/// The maximum length of a request target (RFC 9110, 4.1; RFC 9112, 3). Our own targets are short, but what people
/// append to them is not.
pub const MAX_TARGET: usize = 8000;

/// The maximum number of header fields in a head.
const MAX_FIELDS: usize = 64;

/// What a client wants to do with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Get it.
    Get,
    /// Get only the head of the answer.
    Head,
    /// Ask which methods it has.
    Options,
    /// Accepted for a stream, as in mjpg-streamer, where it is the same as `Get`, and for controls, which it sets; refused
    /// for everything else.
    Post,
    /// Any other HTTP method; no resource has it.
    Other,
}

/// A request that can be answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// What to do with the target.
    pub method: Method,
    /// Path and query as they were sent, but with unnecessary escapes decoded.
    pub target: Cow<'a, str>,
    /// 1 for HTTP/1.1, which means that the client understands chunks and persistent connections.
    pub minor_version: u8,
    /// The connection can serve another request after this one.
    pub keep_alive: bool,
    /// The host that is asked: that in the target, or `Host` (RFC 9112, 3.2.2).
    pub host: Option<&'a [u8]>,
    /// `Authorization`: who is asking.
    pub authorization: Option<&'a [u8]>,
    /// `Origin`: which website's page is asking.
    pub origin: Option<&'a [u8]>,
    /// `Accept`: what the client expects.
    pub accept: Option<&'a [u8]>,
    /// `User-Agent`: which program is asking.
    pub user_agent: Option<&'a [u8]>,
    /// `Sec-Fetch-Dest`: what a browser will do with the answer. Browsers say so only over TLS and to loopback.
    pub destination: Option<&'a [u8]>,
    /// `Access-Control-Request-Headers`: which fields a page wants to send.
    pub wanted_fields: Option<&'a [u8]>,
    /// `If-Match` and `If-None-Match`: the conditions of the request.
    pub preconditions: Preconditions<'a>,
    /// What follows the head.
    pub body: Body,
    /// `Content-Type` says that this is JSON.
    pub is_json: bool,
    /// `Expect`: the body is sent when the server has said that it reads it (RFC 9110, 10.1.1).
    pub expects: bool,
}

impl Request<'_> {
    /// Whether a picture may stand for an answer in words: not if the client has asked for text or JSON (RFC 9110,
    /// 12.5.1).
    pub fn takes_picture(&self) -> bool {
        let ranges = self.accept.unwrap_or_default().split(|byte| *byte == b',');
        let mut kinds = ranges.map(|range| {
            let kind = range.split(|byte| *byte == b';').next().unwrap_or_default();
            kind.trim_ascii().to_ascii_lowercase()
        });
        !kinds.any(|kind| kind.starts_with(b"text/") || kind.starts_with(b"application/json"))
    }
}

/// The result of parsing the bytes received so far.
#[derive(Debug, PartialEq, Eq)]
#[allow(
    clippy::large_enum_variant,
    reason = "there is one at a time, on the stack"
)]
pub enum Parsed<'a> {
    /// The head is not complete yet; more bytes may complete it.
    Partial,
    /// A request, and the number of bytes in its head.
    Complete(Request<'a>, usize),
    /// Not a request, and none can follow. The connection ends after an answer with this status.
    Refused(Status),
}

/// Looks for a request at the beginning of `input`.
pub fn parse(input: &[u8]) -> Parsed<'_> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut head = httparse::Request::new(&mut fields);
    let parsed = head.parse(input);
    if head.path.is_some_and(|target| target.len() > MAX_TARGET) {
        return Parsed::Refused(Status::UriTooLong);
    }
    let parsed = match parsed {
        Err(httparse::Error::Version) => parse_other_version(&mut head, input),
        parsed => parsed.map_err(deserved),
    };
    match parsed {
        Ok(httparse::Status::Complete(len)) if len <= MAX_HEAD => match check(&head) {
            Ok(request) => Parsed::Complete(request, len),
            Err(status) => Parsed::Refused(status),
        },
        Ok(httparse::Status::Partial) if input.len() < MAX_HEAD => Parsed::Partial,
        Ok(_) if input.contains(&b'\n') => Parsed::Refused(Status::HeadersTooLarge),
        Ok(_) => Parsed::Refused(Status::UriTooLong),
        Err(status) => Parsed::Refused(status),
    }
}

/// Whether the method in the bytes received so far is HEAD, to which no answer has content (RFC 9110, 9.3.2).
pub fn asks_for_head(input: &[u8]) -> bool {
    input.trim_ascii_start().starts_with(b"HEAD ")
}

fn deserved(error: httparse::Error) -> Status {
    match error {
        httparse::Error::TooManyHeaders => Status::HeadersTooLarge,
        _ => Status::BadRequest,
    }
}

/// Parses a head of another HTTP version than 1.0 or 1.1. A later version of HTTP/1 is treated like the latest one
/// known here (RFC 9110, 6.2). A version with another first digit is well-formed (RFC 9112, 2.3), but not supported.
fn parse_other_version<'a>(
    head: &mut httparse::Request<'_, 'a>,
    input: &'a [u8],
) -> Result<httparse::Status<usize>, Status> {
    let is_line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let blank = input.iter().take_while(|byte| is_line_end(byte)).count();
    let line = input[blank..].split(|byte| *byte == b'\n').next();
    let line = line.unwrap_or_default();
    // The parts that httparse has read are each followed by a blank.
    let read = head.method.map_or(0, str::len) + head.path.map_or(0, str::len) + 2;
    let version = line.get(read..).unwrap_or_default();
    match version.strip_suffix(b"\r").unwrap_or(version) {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'2'..=b'9'] => {}
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(Status::VersionNotSupported);
        }
        _ => return Err(Status::BadRequest),
    }
    let Some(rest) = input.get(blank + line.len() + 1..) else {
        return Ok(httparse::Status::Partial);
    };
    let fields = std::mem::take(&mut head.headers);
    let (len, count) = match httparse::parse_headers(rest, &mut *fields).map_err(deserved)? {
        httparse::Status::Complete((len, found)) => (len, found.len()),
        httparse::Status::Partial => return Ok(httparse::Status::Partial),
    };
    head.headers = &mut fields[..count];
    head.version = Some(1);
    Ok(httparse::Status::Complete(input.len() - rest.len() + len))
}

fn check<'a>(head: &httparse::Request<'_, 'a>) -> Result<Request<'a>, Status> {
    let minor_version = head.version.unwrap_or(0);
    let fields = &*head.headers;
    // RFC 9112, 3.2: a 1.1 request has exactly one Host field, any other request at most one, and it must be a valid
    // host.
    let mut hosts = values(fields, "host");
    let host = match (hosts.next(), hosts.next()) {
        (None, _) if minor_version == 0 => None,
        (Some(host), None) if target::is_host(host) => Some(host),
        _ => return Err(Status::BadRequest),
    };
    let target = head.path.unwrap_or_default();
    let of_target = target::split_absolute(target).map(|(host, _)| host.as_bytes());
    let body = framing::announced_body(fields, minor_version)?;
    let method = match head.method.unwrap_or_default() {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "OPTIONS" => Method::Options,
        "POST" => Method::Post,
        "PUT" | "DELETE" | "PATCH" | "CONNECT" | "TRACE" => Method::Other,
        _ => return Err(Status::NotImplemented),
    };
    Ok(Request {
        method,
        target: target::normal(target).ok_or(Status::BadRequest)?,
        host: of_target.or(host),
        minor_version,
        // With other methods, the subject of the request would come in its body.
        keep_alive: body == Body::Empty
            && matches!(method, Method::Get | Method::Head | Method::Options)
            && framing::wants_keep_alive(fields, minor_version),
        authorization: values(fields, "authorization").next(),
        origin: values(fields, "origin").next(),
        accept: values(fields, "accept").next(),
        user_agent: values(fields, "user-agent").next(),
        destination: values(fields, "sec-fetch-dest").next(),
        wanted_fields: values(fields, "access-control-request-headers").next(),
        preconditions: Preconditions {
            if_match: list_if_there(fields, "if-match"),
            if_none_match: list_if_there(fields, "if-none-match"),
        },
        body,
        is_json: values(fields, "content-type").any(is_json),
        expects: minor_version > 0
            && list(fields, "expect").any(|one| one.eq_ignore_ascii_case(b"100-continue")),
    })
}

/// Whether a media type is that of JSON, whatever parameters it has.
fn is_json(media_type: &[u8]) -> bool {
    let kind = media_type.split(|byte| *byte == b';').next();
    let kind = kind.unwrap_or_default().trim_ascii();
    kind.eq_ignore_ascii_case(b"application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(input: impl AsRef<[u8]>) -> Status {
        match parse(input.as_ref()) {
            Parsed::Refused(status) => status,
            other => panic!("not refused: {other:?}"),
        }
    }

    fn accepted(input: &str) -> Request<'_> {
        match parse(input.as_bytes()) {
            Parsed::Complete(request, len) => {
                assert_eq!(len, input.len());
                request
            }
            other => panic!("not accepted: {other:?}"),
        }
    }

    #[test]
    fn a_head_is_partial_at_every_byte_but_its_last() {
        let input = b"GET /stream HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n";
        for end in 0..input.len() {
            assert_eq!(parse(&input[..end]), Parsed::Partial, "{end}");
        }
        assert!(matches!(parse(input), Parsed::Complete(_, len) if len == input.len()));
    }

    #[test]
    fn keep_alive_follows_version_and_connection_options() {
        for (head, expected) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n",
                false,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: te, close\r\n\r\n",
                false,
            ),
            ("GET / HTTP/1.0\r\n\r\n", false),
            ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true),
        ] {
            assert_eq!(accepted(head).keep_alive, expected, "{head}");
        }
    }

    #[test]
    fn a_request_with_a_body_is_the_last_on_its_connection() {
        for field in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
            let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n");
            assert!(!accepted(&head).keep_alive, "{field}");
        }
        assert!(accepted("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").keep_alive);
    }

    #[test]
    fn lengths_that_are_no_length_are_refused() {
        for fields in [
            "Content-Length: -1",
            "Content-Length: +1",
            "Content-Length: five",
            "Content-Length: 99999999999999999999999",
            "Content-Length: 1\r\nContent-Length: 2",
            "Content-Length: 1\r\nTransfer-Encoding: chunked",
        ] {
            let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
            assert_eq!(refused(&head), Status::BadRequest, "{fields}");
        }
    }

    #[test]
    fn a_coding_is_chunked_alone_or_refused() {
        for (coding, status) in [
            ("gzip", Status::BadRequest),
            ("", Status::BadRequest),
            ("xchunked", Status::BadRequest),
            ("chunked, identity", Status::BadRequest),
            ("chunked, chunked", Status::BadRequest),
            ("gzip, chunked", Status::NotImplemented),
            ("gzip\r\nTransfer-Encoding: chunked", Status::NotImplemented),
        ] {
            let head = format!("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {coding}\r\n\r\n");
            assert_eq!(refused(&head), status, "{coding}");
        }
        let old = "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(refused(old), Status::BadRequest);
        accepted("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: , Chunked ,\r\n\r\n");
    }

    #[test]
    fn a_request_of_version_1_1_names_one_host() {
        for fields in ["", "Host: a\r\nHost: a\r\n", "Host: a b\r\n"] {
            let head = format!("GET / HTTP/1.1\r\n{fields}\r\n");
            assert_eq!(refused(&head), Status::BadRequest, "{head}");
        }
        let old = "GET / HTTP/1.0\r\nHost: a b\r\n\r\n";
        assert_eq!(refused(old), Status::BadRequest);
    }

    #[test]
    fn a_later_minor_version_is_read_like_1_1() {
        let input = b"\r\nGET /a HTTP/1.2\r\nHost: a\r\nOrigin: b\r\n\r\n";
        for end in 0..input.len() {
            assert_eq!(parse(&input[..end]), Parsed::Partial, "{end}");
        }
        let Parsed::Complete(request, len) = parse(input) else {
            panic!("not accepted");
        };
        assert_eq!((len, request.minor_version), (input.len(), 1));
        assert_eq!(request.origin, Some(&b"b"[..]));
        assert!(request.keep_alive);
        for bad in [
            "GET / HTTP/1.2\r\n\r\n",
            "GET / HTTP/1.23\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.2 \r\nHost: a\r\n\r\n",
            "GET / a HTTP/1.2\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.2\r\nHost: a\r\n b\r\n\r\n",
        ] {
            assert_eq!(refused(bad), Status::BadRequest, "{bad}");
        }
    }

    #[test]
    fn a_head_that_is_asked_for_is_known_before_it_is_whole() {
        assert!(asks_for_head(b"\r\nHEAD / HT"));
        assert!(!asks_for_head(b"HEADING / HTTP/1.1\r\n"));
        assert!(!asks_for_head(b"GET /HEAD "));
    }

    #[test]
    fn methods_are_allowed_known_or_unknown() {
        assert_eq!(accepted("HEAD / HTTP/1.0\r\n\r\n").method, Method::Head);
        assert_eq!(accepted("OPTIONS * HTTP/1.0\r\n\r\n").target, "*");
        assert_eq!(
            accepted("POST / HTTP/1.1\r\nHost: a\r\n\r\n").method,
            Method::Post
        );
        assert!(!accepted("POST / HTTP/1.1\r\nHost: a\r\n\r\n").keep_alive);
        let put = "PUT / HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(accepted(put).method, Method::Other);
        assert!(!accepted(put).keep_alive);
        assert_eq!(refused("BREW / HTTP/1.0\r\n\r\n"), Status::NotImplemented);
        assert_eq!(refused("get / HTTP/1.0\r\n\r\n"), Status::NotImplemented);
    }

    #[test]
    fn another_version_is_told_from_rubbish() {
        for line in ["GET / HTTP/2.0\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
            assert_eq!(refused(line), Status::VersionNotSupported, "{line}");
        }
        for line in ["GET / JUNK/1.1\r\n\r\n", "\u{16}\u{3}\u{1}", "GET\r\n\r\n"] {
            assert_eq!(refused(line), Status::BadRequest, "{line}");
        }
    }

    #[test]
    fn what_is_too_long_is_told_by_what_was_too_long() {
        let target = format!("GET /{} HTTP/1.1\r\n", "a".repeat(MAX_TARGET));
        assert_eq!(refused(&target), Status::UriTooLong);
        assert_eq!(
            refused(format!("GET /{}", "a".repeat(MAX_HEAD))),
            Status::UriTooLong
        );
        let field = format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(MAX_HEAD));
        assert_eq!(refused(&field), Status::HeadersTooLarge);
        let whole = format!("{field}\r\n\r\n");
        assert_eq!(refused(&whole), Status::HeadersTooLarge);
        let many = format!(
            "GET / HTTP/1.1\r\n{}\r\n",
            "A: b\r\n".repeat(MAX_FIELDS + 1)
        );
        assert_eq!(refused(&many), Status::HeadersTooLarge);
    }
}
