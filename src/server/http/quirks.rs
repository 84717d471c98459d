//! Special treatment of streams that some clients need: ustreamer's parameters, and a workaround for Blink's late
//! picture.
//!
//! Blink shows a part of a stream in `<img>` when the head of the *next* part is complete (Chromium bug 527446),
//! which is one frame late. *Advance headers* send that head right behind the frame, when the length of the next
//! frame is not known yet. This breaks the rule that every part has a `Content-Length`, so only clients that ask for
//! it or are such an `<img>` get it.
//!
//! ```text
//!   --boundary  head  frame  | --boundary  head  frame | …      as a rule
//!   --boundary  head | frame  --boundary  head | frame  …       in advance: heads without length and time
//! ```
//!
//! What stands between two bars goes out together, in up to three calls: bytes, the file, bytes. The call before the
//! file tells the kernel that more follows.

use std::time::{Duration, SystemTime};

use crate::server::http::exchange::Exchange;
use crate::server::http::part::{self, FrameFacts};
use crate::server::http::request::Request;
use crate::server::http::target::{escape, is_unreserved, parameter};
use crate::time::clock::Moment;

/// The head of a part about which nothing is known yet.
const ADVANCE_HEAD: &str = "Content-Type: image/jpeg\r\n\r\n";

/// The delimiter, followed by the head of the next part.
const ADVANCE_DELIMITER: &[u8] = b"\r\n--boundarydonotcross\r\nContent-Type: image/jpeg\r\n\r\n";

/// `dual_final_frames`: if no other frame follows within this time, a frame is the last one for now, and is sent
/// again.
const FINAL_AFTER: Duration = Duration::from_millis(250);

/// A longer key is ignored. ustreamer's page makes keys of some ten letters.
const MAX_KEY: usize = 128;

/// How one stream is sent, and how it is identified in `/state`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quirks {
    /// A unique identifier of the stream.
    pub id: u64,
    /// `key=`, by which a page finds its stream in `/state`; `0` if there is none. It is escaped, so that
    /// it needs no quotes in cookies or JSON.
    pub key: Box<str>,
    /// `extra_headers=1`: send `X-UStreamer-*` fields in the heads of parts.
    pub extra_headers: bool,
    /// Send the head of a part before its frame is known, because of `advance_headers=0|1` or because the client is a
    /// Blink `<img>`.
    pub advance_headers: bool,
    /// `dual_final_frames=1`: send the last frame of a series twice, for WebKit.
    pub dual_final_frames: bool,
    /// `zero_data=1`: send the heads of parts without their frames, for clients that only count.
    pub zero_data: bool,
}

impl Quirks {
    /// What the request for a stream asks for. `id` is what the stream will be known by.
    pub fn of(request: &Request<'_>, id: u64) -> Self {
        let query = request
            .target
            .split_once('?')
            .map_or("", |(_, query)| query);
        let flag = |name| parameter(query, name).map(is_true);
        let key = parameter(query, "key");
        let key = key.filter(|key| !key.is_empty() && key.len() <= MAX_KEY);
        Quirks {
            id,
            key: key.map_or("0".into(), escaped).into(),
            extra_headers: flag("extra_headers").unwrap_or(false),
            advance_headers: flag("advance_headers").unwrap_or_else(|| is_blinks_img(request)),
            dual_final_frames: flag("dual_final_frames").unwrap_or(false),
            zero_data: flag("zero_data").unwrap_or(false),
        }
    }

    /// The cookie that tells a page how to find its stream in `/state`, as a header field.
    pub fn cookie(&self) -> String {
        let (key, id) = (&self.key, self.id);
        format!("Set-Cookie: stream_client={key}/{id:x}; path=/; max-age=30\r\n")
    }

    /// The head of the stream, with everything that is sent before the first frame is known.
    pub fn stream_head(&self, exchange: &Exchange, date: SystemTime) -> Vec<u8> {
        let mut head = part::stream_head(&self.cookie(), exchange, date);
        // The first boundary has no line break before it.
        head.extend_from_slice(&part::DELIMITER[2..]);
        if self.advance_headers {
            head.extend_from_slice(ADVANCE_HEAD.as_bytes());
        }
        head
    }

    /// What is sent right behind a frame.
    pub fn delimiter(&self) -> &'static [u8] {
        if self.advance_headers {
            ADVANCE_DELIMITER
        } else {
            part::DELIMITER
        }
    }

    /// Appends what is sent right before a frame, which is nothing if that was sent already. `fps` is the frame rate
    /// of this viewer.
    pub fn write_part_head(&self, out: &mut Vec<u8>, frame: &FrameFacts, fps: u32, sent: &Moment) {
        if self.advance_headers {
            return;
        }
        let len = if self.zero_data { 0 } else { frame.len };
        let extra = if self.extra_headers {
            frame.part_fields(fps, sent)
        } else {
            String::new()
        };
        part::write_part_head(out, len, frame.captured, &extra);
    }

    /// How long after it the frame that is sent now is sent again, if none follows it.
    pub fn repeat_after(&self, is_repeat: bool, usual: Duration) -> Duration {
        if self.dual_final_frames && !is_repeat {
            FINAL_AFTER.min(usual)
        } else {
            usual
        }
    }
}

/// Reads a flag as ustreamer does.
fn is_true(value: &str) -> bool {
    value.starts_with('1')
        || value.eq_ignore_ascii_case("true")
        || value.eq_ignore_ascii_case("yes")
}

/// A parameter's value with everything escaped except letters, digits, `-`, `.`, `_` and `~`, as ustreamer does it
/// (`evhttp_encode_uri` of libevent). The result can stand before a slash in a cookie (RFC 6265, 4.1.1), and in JSON.
fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [byte, behind @ ..] = rest {
        let (plain, left) = match (escape(rest), byte) {
            (Some(plain), _) => (plain, &rest[3..]),
            (None, b'+') => (b' ', behind),
            (None, byte) => (*byte, behind),
        };
        if is_unreserved(plain) {
            escaped.push(char::from(plain));
        } else {
            escaped.push_str(&format!("%{plain:02X}"));
        }
        rest = left;
    }
    escaped
}

/// An `<img>` asks for `image/avif,image/webp,…`; other requests ask for `*/*` or pages. Every Blink browser names
/// Chrome. On iOS no browser uses Blink, and there Chrome calls itself CriOS.
fn is_blinks_img(request: &Request<'_>) -> bool {
    let names = |name: &[u8]| {
        let agent = request.user_agent.unwrap_or_default();
        agent.windows(name.len()).any(|part| part == name)
    };
    let image = request
        .accept
        .is_some_and(|accept| accept.starts_with(b"image/"));
    image && (names(b"Chrome/") || names(b"Chromium/"))
}

#[cfg(test)]
mod tests {
    use super::super::request::{Parsed, parse};
    use super::*;

    const BLINK: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
                         HeadlessChrome/140.0.0.0 Safari/537.36";
    const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    const IMAGE: &str = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8";

    fn quirks(target: &str, agent: &str, accept: &str) -> Quirks {
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: a\r\nUser-Agent: {agent}\r\nAccept: {accept}\r\n\r\n"
        );
        match parse(head.as_bytes()) {
            Parsed::Complete(request, _) => Quirks::of(&request, 0xCAFE),
            other => panic!("{other:?}"),
        }
    }

    fn plain(target: &str) -> Quirks {
        quirks(target, "curl/8", "*/*")
    }

    #[test]
    fn headers_come_in_advance_for_blinks_img_and_whoever_asks() {
        for (target, agent, accept, expected) in [
            ("/stream", BLINK, IMAGE, true),
            ("/stream", BLINK, "*/*", false),
            ("/stream", BLINK, "text/html,image/avif", false),
            ("/stream", FIREFOX, IMAGE, false),
            ("/stream", "curl/8", "*/*", false),
            ("/stream?advance_headers=0", BLINK, IMAGE, false),
            ("/stream?advance_headers=1", "curl/8", "*/*", true),
            ("/?action=stream&advance_headers=1", FIREFOX, IMAGE, true),
        ] {
            let quirks = quirks(target, agent, accept);
            assert_eq!(
                quirks.advance_headers, expected,
                "{target} {agent} {accept}"
            );
        }
    }

    #[test]
    fn flags_are_read_as_ustreamer_reads_them() {
        for (value, expected) in [
            ("1", true),
            ("true", true),
            ("YES", true),
            ("0", false),
            ("", false),
        ] {
            let quirks = plain(&format!("/stream?zero_data={value}&extra_headers={value}"));
            assert_eq!(
                (quirks.zero_data, quirks.extra_headers),
                (expected, expected)
            );
            assert!(!quirks.dual_final_frames);
        }
    }

    #[test]
    fn a_key_goes_into_the_cookie_and_cannot_break_out_of_it() {
        let quirks = plain("/stream?key=abc-1.2%20x");
        assert_eq!(&*quirks.key, "abc-1.2%20x");
        let cookie = "Set-Cookie: stream_client=abc-1.2%20x/cafe; path=/; max-age=30\r\n";
        assert_eq!(quirks.cookie(), cookie);
        let long = "k".repeat(MAX_KEY + 1);
        for (key, expected) in [
            ("a/b,c", "a%2Fb%2Cc"),
            ("a\"b\\c", "a%22b%5Cc"),
            ("a%3bb%2f%7e%0d%0a", "a%3Bb%2F~%0D%0A"),
            ("100%&x", "100%25"),
            ("%zz+%2", "%25zz%20%252"),
            ("ä", "%C3%A4"),
            ("", "0"),
            (&long, "0"),
        ] {
            let quirks = plain(&format!("/stream?key={key}"));
            assert_eq!(&*quirks.key, expected, "{key}");
        }
        assert_eq!(&*plain("/stream").key, "0");
    }

    #[test]
    fn the_first_boundary_follows_the_head_without_a_line_break() {
        let (exchange, date) = (Exchange::default(), SystemTime::UNIX_EPOCH);
        let head = plain("/stream").stream_head(&exchange, date);
        assert!(head.ends_with(b"=boundarydonotcross\r\n\r\n--boundarydonotcross\r\n"));
    }

    #[test]
    fn the_last_of_a_series_comes_twice_where_that_is_asked_for() {
        let usual = Duration::from_secs(5);
        let dual = plain("/stream?dual_final_frames=1");
        assert_eq!(dual.repeat_after(false, usual), FINAL_AFTER);
        assert_eq!(dual.repeat_after(true, usual), usual);
        assert_eq!(plain("/stream").repeat_after(false, usual), usual);
    }
}
