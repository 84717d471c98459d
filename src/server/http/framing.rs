//! Where a request ends, and whether another may follow on its connection. Request smuggling past a proxy exploits
//! servers that disagree about this.

use httparse::Header;

use super::fields::{list, values};
use crate::server::http::status::Status;

/// What is announced to follow a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Nothing.
    Empty,
    /// So many bytes, at least one.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// Which body is announced, by a length or a transfer coding (RFC 9112, 6.3). Refused are lengths that are not
/// numbers or contradict each other, a length together with a transfer coding, a transfer coding in HTTP/1.0, and a
/// coding whose end cannot be determined.
pub(in crate::server) fn announced_body(
    fields: &[Header<'_>],
    minor_version: u8,
) -> Result<Body, Status> {
    let length = length(fields)?;
    if values(fields, "transfer-encoding").next().is_none() {
        let length = length.filter(|length| *length > 0);
        return Ok(length.map_or(Body::Empty, Body::Length));
    }
    if minor_version == 0 || length.is_some() {
        return Err(Status::BadRequest);
    }
    let (mut codings, mut is_chunked) = (0, false);
    for coding in list(fields, "transfer-encoding") {
        // Nothing may follow `chunked`, not even another `chunked` (RFC 9112, 6.1).
        if is_chunked {
            return Err(Status::BadRequest);
        }
        is_chunked = coding.eq_ignore_ascii_case(b"chunked");
        codings += 1;
    }
    match (is_chunked, codings) {
        (false, _) => Err(Status::BadRequest),
        (true, 1) => Ok(Body::Chunked),
        (true, _) => Err(Status::NotImplemented),
    }
}

/// The value of `Content-Length` (RFC 9110, 8.6). A list such as `5, 5` may be refused, and is.
fn length(fields: &[Header<'_>]) -> Result<Option<u64>, Status> {
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
    Ok(announced)
}

/// Whether the connection persists after this request (RFC 9112, 9.3).
pub(in crate::server) fn wants_keep_alive(fields: &[Header<'_>], minor_version: u8) -> bool {
    let names = |wanted: &[u8]| {
        list(fields, "connection").any(|option| option.eq_ignore_ascii_case(wanted))
    };
    !names(b"close") && (minor_version == 1 || names(b"keep-alive"))
}
