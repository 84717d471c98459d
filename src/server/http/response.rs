//! The bytes of replies: status lines, header fields, and the parts of a stream.
//!
//! The fields of a stream, their order and the place of each boundary are what clients of mjpg-streamer and ustreamer
//! were found to need; `docs/http.md` names the client behind each rule. Finite replies are HTTP/1.1 and have a
//! length. A stream is HTTP/1.0 and ends with its connection, so that proxies pass it on as it comes.

use std::io::Write;
use std::time::{Duration, SystemTime};

use crate::server::http::page;
use crate::server::http::part::{DELIMITER, Facts, write_frame_fields};
use crate::server::http::status::Status;
use crate::time::clock::Seconds;
use crate::time::date::date_field;

/// After how many seconds a client that was turned away should try again.
const RETRY_AFTER_SECS: u32 = 5;

/// Pages that may read a snapshot (`cors.rs`) may also read these fields about it.
const EXPOSED: &str = "Access-Control-Expose-Headers: X-Timestamp, X-Frame-Age, \
    X-UStreamer-Online, X-UStreamer-Dropped, X-UStreamer-Width, X-UStreamer-Height, \
    X-UStreamer-Grab-Timestamp, X-UStreamer-Send-Timestamp\r\n";

/// Pictures are live: caches must not keep them, and proxies must not recode them (`no-transform` keeps haproxy from
/// compressing).
pub const PICTURE_CACHE: &str = "\
    Cache-Control: no-store, no-cache, must-revalidate, proxy-revalidate, no-transform, max-age=0\r\n\
    Pragma: no-cache\r\n\
    Expires: Mon, 03 Jan 2000 12:34:56 GMT\r\n";

/// For resources that are different each time somebody asks.
pub const NOT_KEPT: &str = "Cache-Control: no-store\r\n";

/// The fields of every reply: whether the connection continues after it, and the date.
fn general_fields(keep_alive: bool) -> String {
    // `keep-alive` is sent to HTTP/1.1 clients too, which do not need it, because 1.0 clients do (RFC 9112, C.2.2).
    let connection = if keep_alive { "keep-alive" } else { "close" };
    let date = date_field(SystemTime::now());
    format!("Connection: {connection}\r\n{date}")
}

/// A refusal, with the reason as text. `allow` lists the methods of the target.
pub fn refusal(status: Status, allow: &str, keep_alive: bool, with_body: bool) -> Vec<u8> {
    let (code, reason, text) = status.texts();
    let more = match status {
        // RFC 7617, 2: with `charset`, browsers encode what is typed as UTF-8.
        Status::Unauthorized => {
            "WWW-Authenticate: Basic realm=\"lazycam\", charset=\"UTF-8\"\r\n".into()
        }
        Status::MethodNotAllowed => format!("Allow: {allow}\r\n"),
        Status::Unavailable => format!("Retry-After: {RETRY_AFTER_SECS}\r\n"),
        _ => String::new(),
    };
    let body = if with_body { text } else { "" };
    format!(
        "HTTP/1.1 {code} {reason}\r\n\
         {}\
         {NOT_KEPT}\
         {more}\
         Content-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\n\r\n{body}{}",
        general_fields(keep_alive),
        text.len() + 1,
        if with_body { "\n" } else { "" },
    )
    .into_bytes()
}

/// The reply to OPTIONS for a resource with these methods, which is also the answer to a CORS preflight (WHATWG
/// Fetch, 3.2.2). According to that standard, `*` does not include `Authorization`.
pub fn options(allow: &str, keep_alive: bool) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\n\
         {}\
         Allow: {allow}\r\n\
         Access-Control-Allow-Methods: {allow}\r\n\
         Access-Control-Allow-Headers: *, Authorization\r\n\
         Content-Length: 0\r\n\r\n",
        general_fields(keep_alive),
    )
    .into_bytes()
}

/// The page with the picture.
pub fn page(keep_alive: bool, with_body: bool) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\n\
         {}\
         {}\
         {}\
         Content-Type: text/html; charset=utf-8\r\n\
         Content-Length: {}\r\n\r\n{}",
        general_fields(keep_alive),
        page_cache_fields(),
        page::FIELDS,
        page::PAGE.len(),
        if with_body { page::PAGE } else { "" },
    )
    .into_bytes()
}

/// The fields that a cache needs for the page: its version, and the instruction to revalidate it each time.
pub fn page_cache_fields() -> String {
    format!("Cache-Control: no-cache\r\nETag: {}\r\n", page::tag())
}

/// Tells the client that it already has the page, or the current state of another resource. The fields for caches are
/// the same as with the whole answer (RFC 9110, 15.4.5).
pub fn not_modified(cache_fields: &str, keep_alive: bool) -> Vec<u8> {
    let general = general_fields(keep_alive);
    format!("HTTP/1.1 304 Not Modified\r\n{general}{cache_fields}\r\n").into_bytes()
}

/// A report of the server about itself, as of now.
pub fn report(media_type: &str, body: &str, keep_alive: bool, with_body: bool) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\n\
         {}\
         {NOT_KEPT}\
         Content-Type: {media_type}\r\n\
         Content-Length: {}\r\n\r\n{}",
        general_fields(keep_alive),
        body.len(),
        if with_body { body } else { "" },
    )
    .into_bytes()
}

/// A redirect. `location` is relative to the URL of the request (RFC 9110, 10.2.2), so it stays correct behind
/// a proxy that strips a prefix.
pub fn moved(location: &str, keep_alive: bool) -> Vec<u8> {
    format!(
        "HTTP/1.1 308 Permanent Redirect\r\n\
         {}\
         Location: {location}\r\n\
         Content-Length: 0\r\n\r\n",
        general_fields(keep_alive)
    )
    .into_bytes()
}

/// An empty reply that is not an error.
pub fn no_content(keep_alive: bool) -> Vec<u8> {
    format!(
        "HTTP/1.1 204 No Content\r\n{}\r\n",
        general_fields(keep_alive)
    )
    .into_bytes()
}

/// The head of a snapshot. The facts about the frame, and its age, are known when it is sent, but not for HEAD.
pub fn snapshot_head(frame: Option<(Facts, Duration)>, keep_alive: bool) -> Vec<u8> {
    let mut head = format!(
        "HTTP/1.1 200 OK\r\n\
         {}\
         {EXPOSED}\
         {PICTURE_CACHE}\
         Content-Type: image/jpeg\r\n",
        general_fields(keep_alive),
    )
    .into_bytes();
    if let Some((frame, age)) = frame {
        write_frame_fields(&mut head, frame.len, frame.captured);
        // `X-Timestamp` alone does not give the age to clients whose clock differs.
        let _ = write!(head, "X-Frame-Age: {}\r\n", Seconds(age));
        head.extend_from_slice(frame.snapshot_fields().as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// The head of a stream with one more field, and the first boundary behind it. They are sent together.
pub fn stream_head(field: &str, with_boundary: bool) -> Vec<u8> {
    let mut head = format!(
        "HTTP/1.0 200 OK\r\n\
         {}\
         {PICTURE_CACHE}\
         X-Accel-Buffering: no\r\n\
         {field}\
         Content-Type: multipart/x-mixed-replace;boundary=boundarydonotcross\r\n\r\n",
        general_fields(false),
    )
    .into_bytes();
    if with_boundary {
        head.extend_from_slice(&DELIMITER[2..]);
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_first_boundary_follows_the_head_without_a_line_break() {
        let head = stream_head("", true);
        assert!(text(&head).ends_with("=boundarydonotcross\r\n\r\n--boundarydonotcross\r\n"));
    }

    #[test]
    fn every_refusal_has_the_length_that_it_says() {
        for status in Status::ALL {
            let reply = refusal(status, "GET", true, true);
            let (head, body) = text(&reply).split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("Content-Length: {}", body.len())));
            assert!(head.starts_with(&format!("HTTP/1.1 {} ", status.code())));
        }
    }
}
