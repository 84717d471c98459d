//! From bytes to a request, or to the refusal that they deserve.
//!
//! httparse takes the head apart; what is decided here is what RFC 9112 leaves to the server of a resource: limits,
//! versions, methods, whether the connection can be used again. This server has no use for bodies. It does
//! not read them: a request that announces one is answered, and then the connection ends, because what follows on it
//! could not be told from a body.

use httparse::Header;

use super::response::Status;

/// A request's head may be this long. Browsers send well under 1 KiB, proxies add cookies of the site they stand
/// for.
pub const MAX_HEAD: usize = 8 * 1024;

/// A request target may be this long; ours are short, what people append to them is not.
const MAX_TARGET: usize = 2 * 1024;

/// Header fields in a head.
const MAX_FIELDS: usize = 64;

/// The methods that every resource here has.
pub const ALLOW: &str = "GET, HEAD, OPTIONS";

/// What a client may do with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Send it.
    Get,
    /// Send the head of the answer only.
    Head,
    /// Tell what can be done.
    Options,
    /// As mjpg-streamer takes it for a stream: no other than `Get` there, and refused elsewhere.
    Post,
}

/// A request that can be answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// What is asked of the target.
    pub method: Method,
    /// Path and query, as they were sent.
    pub target: &'a str,
    /// HTTP/1.1: chunks and persistent connections are understood.
    pub minor_version: u8,
    /// The connection can serve another request after this one.
    pub keep_alive: bool,
    /// `Authorization`: who asks.
    pub authorization: Option<&'a [u8]>,
    /// `Origin`: whose page asks.
    pub origin: Option<&'a [u8]>,
    /// `Accept`: what for.
    pub accept: Option<&'a [u8]>,
    /// `User-Agent`: with what.
    pub user_agent: Option<&'a [u8]>,
}

/// The outcome of looking at the bytes received so far.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// The head is not complete; more bytes may make it so.
    Partial,
    /// A request, and how many bytes its head took.
    Complete(Request<'a>, usize),
    /// No request, and none can follow: the answer, after which the connection ends.
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
    match parsed {
        Ok(httparse::Status::Complete(len)) if len <= MAX_HEAD => match check(&head) {
            Ok(request) => Parsed::Complete(request, len),
            Err(status) => Parsed::Refused(status),
        },
        Ok(httparse::Status::Partial) if input.len() < MAX_HEAD => Parsed::Partial,
        Ok(_) if input.contains(&b'\n') => Parsed::Refused(Status::HeadersTooLarge),
        Ok(_) => Parsed::Refused(Status::UriTooLong),
        Err(httparse::Error::TooManyHeaders) => Parsed::Refused(Status::HeadersTooLarge),
        Err(httparse::Error::Version) if names_other_version(input) => {
            Parsed::Refused(Status::VersionNotSupported)
        }
        Err(_) => Parsed::Refused(Status::BadRequest),
    }
}

/// The request line ends in `HTTP/` and two digits that are not ours (RFC 9112, 2.3), so it is not rubbish.
fn names_other_version(input: &[u8]) -> bool {
    let line = input
        .split(|byte| matches!(byte, b'\r' | b'\n'))
        .find(|line| !line.is_empty())
        .unwrap_or_default();
    let version = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    matches!(version, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
        if major.is_ascii_digit() && minor.is_ascii_digit())
}

fn check<'a>(head: &httparse::Request<'_, 'a>) -> Result<Request<'a>, Status> {
    let minor_version = head.version.unwrap_or(0);
    let fields = &*head.headers;
    // RFC 9112, 3.2: a 1.1 request has one Host field, any request at most one.
    let hosts = values(fields, "host").count();
    if hosts > 1 || (hosts == 0 && minor_version == 1) {
        return Err(Status::BadRequest);
    }
    let body = announces_body(fields)?;
    let method = match head.method.unwrap_or_default() {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "OPTIONS" => Method::Options,
        "POST" => Method::Post,
        "PUT" | "DELETE" | "PATCH" | "CONNECT" | "TRACE" => {
            return Err(Status::MethodNotAllowed);
        }
        _ => return Err(Status::NotImplemented),
    };
    Ok(Request {
        method,
        target: head.path.unwrap_or_default(),
        minor_version,
        // What a POST is about would come in its body.
        keep_alive: !body && method != Method::Post && wants_keep_alive(fields, minor_version),
        authorization: values(fields, "authorization").next(),
        origin: values(fields, "origin").next(),
        accept: values(fields, "accept").next(),
        user_agent: values(fields, "user-agent").next(),
    })
}

/// RFC 9112, 6.3: a body is announced by a length or a transfer coding. Lengths that are no number or contradict
/// each other, and a length beside a transfer coding, are how requests are smuggled past a proxy.
fn announces_body(fields: &[Header<'_>]) -> Result<bool, Status> {
    let coded = values(fields, "transfer-encoding").next().is_some();
    let mut announced = None;
    for value in values(fields, "content-length") {
        let length = std::str::from_utf8(value)
            .ok()
            .filter(|value| value.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|value| value.parse::<u64>().ok())
            .ok_or(Status::BadRequest)?;
        if announced.is_some_and(|before| before != length) {
            return Err(Status::BadRequest);
        }
        announced = Some(length);
    }
    if coded && announced.is_some() {
        return Err(Status::BadRequest);
    }
    Ok(coded || announced.is_some_and(|length| length > 0))
}

/// RFC 9112, 9.3.
fn wants_keep_alive(fields: &[Header<'_>], minor_version: u8) -> bool {
    let names = |wanted: &str| {
        values(fields, "connection")
            .flat_map(|value| value.split(|byte| *byte == b','))
            .any(|option| option.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes()))
    };
    !names("close") && (minor_version == 1 || names("keep-alive"))
}

fn values<'a>(fields: &[Header<'a>], name: &str) -> impl Iterator<Item = &'a [u8]> {
    fields
        .iter()
        .filter(move |field| field.name.eq_ignore_ascii_case(name))
        .map(|field| field.value)
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
    fn a_request_of_version_1_1_names_one_host() {
        assert_eq!(refused("GET / HTTP/1.1\r\n\r\n"), Status::BadRequest);
        assert_eq!(
            refused("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
            Status::BadRequest
        );
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
        assert_eq!(refused("PUT / HTTP/1.0\r\n\r\n"), Status::MethodNotAllowed);
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
