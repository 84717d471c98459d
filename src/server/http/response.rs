//! The bytes of finite replies: HTTP/1.1, with a length. Pictures and streams are in `part.rs`.

use std::time::SystemTime;

use crate::server::http::exchange::Exchange;
use crate::server::http::page;
use crate::server::http::request::Request;
use crate::server::http::status::Status;

/// After how many seconds a client that was turned away should try again.
pub(super) const RETRY_AFTER_SECS: u32 = 5;

/// The media type of JSON (RFC 8259, 11).
pub const JSON: &str = "application/json";

/// For resources that are different each time somebody asks.
pub const NOT_KEPT: &str = "Cache-Control: no-store\r\n";

/// A refusal, with the reason as text: `why`, or the status's own sentence. `allow` lists the methods of the target.
pub fn refusal(
    status: Status,
    why: Option<&str>,
    allow: &str,
    exchange: &Exchange,
    date: SystemTime,
) -> Vec<u8> {
    let (code, reason, text) = status.texts();
    let text = why.unwrap_or(text);
    let more = match status {
        // RFC 7617, 2: with `charset`, browsers encode what is typed as UTF-8.
        Status::Unauthorized => {
            "WWW-Authenticate: Basic realm=\"lazycam\", charset=\"UTF-8\"\r\n".into()
        }
        Status::MethodNotAllowed => format!("Allow: {allow}\r\n"),
        Status::Unavailable => format!("Retry-After: {RETRY_AFTER_SECS}\r\n"),
        _ => String::new(),
    };
    let general = exchange.head(&format!("HTTP/1.1 {code} {reason}"), date);
    let fields = format!("{NOT_KEPT}{more}");
    let text = format!("{text}\n");
    with_content(
        &general,
        &fields,
        "text/plain; charset=utf-8",
        &text,
        exchange,
    )
}

/// The reply to OPTIONS for a resource with these methods, which is also the answer to a CORS preflight (WHATWG
/// Fetch, 3.2.2) if the page that asks may read. According to that standard, `*` does not include `Authorization`, and is the
/// name of a field where credentials are allowed: there, the fields that were asked for are.
pub fn options(
    allow: &str,
    request: &Request<'_>,
    exchange: &Exchange,
    date: SystemTime,
) -> Vec<u8> {
    let mut access = String::new();
    if exchange.may_be_read() {
        access = format!(
            "Access-Control-Allow-Methods: {allow}\r\n\
             Access-Control-Allow-Headers: *, Authorization"
        );
        let wanted = request
            .wanted_fields
            .filter(|_| exchange.allows_credentials());
        for name in wanted.unwrap_or_default().split(|byte| *byte == b',') {
            if let Some(name) = as_token(name.trim_ascii()) {
                access.push_str(", ");
                access.push_str(name);
            }
        }
        access.push_str("\r\n");
    }
    let head = exchange.head("HTTP/1.1 200 OK", date);
    format!("{head}Allow: {allow}\r\n{access}Content-Length: 0\r\n\r\n").into_bytes()
}

/// The name of a field, if it is one (RFC 9110, 5.6.2).
fn as_token(name: &[u8]) -> Option<&str> {
    let of_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let name = Some(name).filter(|name| !name.is_empty() && name.iter().all(of_token))?;
    std::str::from_utf8(name).ok()
}

/// JSON, as the answer to a request that was right, or with this status.
pub fn json(
    status: Option<Status>,
    content: &str,
    exchange: &Exchange,
    date: SystemTime,
) -> Vec<u8> {
    let (code, reason, _) = status.map_or((200, "OK", ""), Status::texts);
    let general = exchange.head(&format!("HTTP/1.1 {code} {reason}"), date);
    with_content(&general, NOT_KEPT, JSON, content, exchange)
}

/// The page with the picture, and with the panel for controls.
pub fn page(exchange: &Exchange, date: SystemTime, panel: bool) -> Vec<u8> {
    let general = exchange.head("HTTP/1.1 200 OK", date);
    let fields = format!("{}{}", page_cache_fields(panel), page::FIELDS);
    with_content(
        &general,
        &fields,
        "text/html; charset=utf-8",
        &page::document(panel),
        exchange,
    )
}

/// The fields that a cache needs for the page: its version, and the instruction to revalidate it each time.
pub fn page_cache_fields(panel: bool) -> String {
    format!("Cache-Control: no-cache\r\nETag: {}\r\n", page::tag(panel))
}

/// Tells the client that it already has the page, or the current state of another resource. The fields for caches are
/// the same as with the whole answer (RFC 9110, 15.4.5).
pub fn not_modified(cache_fields: &str, exchange: &Exchange, date: SystemTime) -> Vec<u8> {
    let general = exchange.head("HTTP/1.1 304 Not Modified", date);
    format!("{general}{cache_fields}\r\n").into_bytes()
}

/// The head of a report of the server about itself, which has this length.
pub fn report_head(media_type: &str, len: u64, exchange: &Exchange, date: SystemTime) -> Vec<u8> {
    let general = exchange.head("HTTP/1.1 200 OK", date);
    let fields = format!("Content-Type: {media_type}\r\nContent-Length: {len}\r\n");
    format!("{general}{NOT_KEPT}{fields}\r\n").into_bytes()
}

/// A redirect. `location` is relative to the URL of the request (RFC 9110, 10.2.2), so it stays correct behind
/// a proxy that strips a prefix.
pub fn moved(location: &str, exchange: &Exchange, date: SystemTime) -> Vec<u8> {
    let general = exchange.head("HTTP/1.1 308 Permanent Redirect", date);
    format!("{general}Location: {location}\r\nContent-Length: 0\r\n\r\n").into_bytes()
}

/// An empty reply that is not an error.
pub fn no_content(exchange: &Exchange, date: SystemTime) -> Vec<u8> {
    let general = exchange.head("HTTP/1.1 204 No Content", date);
    format!("{general}\r\n").into_bytes()
}

/// A reply with content, or only its head. The length is that of the content in both cases (RFC 9110, 9.3.2).
fn with_content(
    general: &str,
    fields: &str,
    media_type: &str,
    content: &str,
    exchange: &Exchange,
) -> Vec<u8> {
    format!(
        "{general}\
         {fields}\
         Content-Type: {media_type}\r\n\
         Content-Length: {}\r\n\r\n{}",
        content.len(),
        exchange.content(content),
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn every_refusal_has_the_length_that_it_says() {
        for status in Status::ALL {
            let exchange = Exchange::default();
            let reply = refusal(status, None, "GET", &exchange, SystemTime::UNIX_EPOCH);
            let (head, body) = text(&reply).split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("Content-Length: {}", body.len())));
            assert!(head.starts_with(&format!("HTTP/1.1 {} ", status.code())));
        }
    }
}
