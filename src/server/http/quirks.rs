//! Special treatment of streams that some clients need: ustreamer's parameters, and workarounds for what Blink and
//! WebKit do.
//!
//! Both show a part of a stream when the head of the *next* part is complete (Chromium bug 527446), which is one frame
//! late. *Advance headers* send that head right behind the frame, when the length of the next frame is not known yet.
//! This breaks the rule that every part has a `Content-Length`, so only clients that ask for it get it, and whatever
//! in these browsers displays the stream: `<img>`, frames, and a window with its address.
//!
//! What Blink and Gecko display takes the size of each part anew, so such a stream goes on when the pictures get another size, and an
//! `<img>` does not stand still for ever. (Tried with Chromium 156 and Firefox 153.)
//!
//! WebKit also asks of each part whether the page may read or show it, so what it displays has these fields in every
//! part.
//!
//! ```text
//!   --boundary  head  frame  | --boundary  head  frame | …      as a rule
//!   --boundary  head | frame  --boundary  head | frame  …       in advance: heads without length and time
//! ```
//!
//! What stands between two bars goes out together, in up to three calls: bytes, the file, bytes. The call before the
//! file tells the kernel that more follows.

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use crate::server::http::exchange::Exchange;
use crate::server::http::part::{self, FrameFacts};
use crate::server::http::request::Request;
use crate::server::http::target::{escape, is_unreserved, parameter};
use crate::time::clock::Moment;

/// The head of a part about which nothing is known yet, without the empty line.
const ADVANCE_HEAD: &str = "Content-Type: image/jpeg\r\n";

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
    /// Send the head of a part before its frame is known, because of `advance_headers=0|1` or because it is displayed
    /// by Blink or WebKit.
    pub advance_headers: bool,
    /// `dual_final_frames=1`: send the last frame of a series twice, for WebKit.
    pub dual_final_frames: bool,
    /// `zero_data=1`: send the heads of parts without their frames, for clients that only count.
    pub zero_data: bool,
    /// Its pictures may get another size.
    pub any_size: bool,
    /// What is sent right behind a frame: the delimiter, and perhaps the head of the next part.
    pub delimiter: Rc<[u8]>,
    /// The fields about who may read or show it, if they are in each part.
    access: Box<str>,
}

impl Quirks {
    /// What the request for a stream asks for. `id` is what the stream will be known by.
    pub fn of(request: &Request<'_>, exchange: &Exchange, id: u64) -> Self {
        let query = request
            .target
            .split_once('?')
            .map_or("", |(_, query)| query);
        let flag = |name| parameter(query, name).map(is_true);
        let key = parameter(query, "key");
        let key = key.filter(|key| !key.is_empty() && key.len() <= MAX_KEY);
        let displayed_by = engine(request).filter(|_| is_displayed(request));
        let is_late = matches!(displayed_by, Some(Engine::Blink | Engine::WebKit));
        let advance_headers = flag("advance_headers").unwrap_or(is_late);
        let access = match displayed_by {
            Some(Engine::WebKit) => exchange.access_fields(),
            _ => String::new(),
        };
        Quirks {
            id,
            key: key.map_or("0".into(), escaped).into(),
            extra_headers: flag("extra_headers").unwrap_or(false),
            advance_headers,
            dual_final_frames: flag("dual_final_frames").unwrap_or(false),
            zero_data: flag("zero_data").unwrap_or(false),
            any_size: matches!(displayed_by, Some(Engine::Blink | Engine::Gecko)),
            delimiter: delimiter(advance_headers, &access),
            access: access.into(),
        }
    }

    /// Everything but the identifier, in three words.
    pub(in crate::server) fn to_words(&self) -> String {
        let flags = [
            self.extra_headers,
            self.advance_headers,
            self.dual_final_frames,
            self.zero_data,
            self.any_size,
        ];
        let flags: String = flags
            .map(|is_set| if is_set { '1' } else { '0' })
            .iter()
            .collect();
        format!("{flags} {} {}", self.key, escaped(&self.access))
    }

    /// What these words say.
    pub(in crate::server) fn from_words<'a>(
        id: u64,
        words: &mut impl Iterator<Item = &'a str>,
    ) -> Option<Self> {
        let flags = words.next()?.bytes().map(|flag| flag == b'1');
        let [extra, advance, dual, zero, any] = flags.collect::<Vec<_>>()[..] else {
            return None;
        };
        let key = words.next()?.into();
        // Empty for most, and then perhaps not there.
        let access = plain(words.next().unwrap_or_default());
        let access = String::from_utf8(access).ok()?;
        Some(Quirks {
            id,
            key,
            extra_headers: extra,
            advance_headers: advance,
            dual_final_frames: dual,
            zero_data: zero,
            any_size: any,
            delimiter: delimiter(advance, &access),
            access: access.into(),
        })
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
        head.extend_from_slice(&self.delimiter[2..]);
        head
    }

    /// Appends what is sent right before a frame, which is nothing if that was sent already. `fps` is the frame rate
    /// of this viewer.
    pub fn write_part_head(&self, out: &mut Vec<u8>, frame: &FrameFacts, fps: u32, sent: &Moment) {
        if self.advance_headers {
            return;
        }
        let len = if self.zero_data { 0 } else { frame.len };
        let fields;
        let extra = if self.extra_headers {
            fields = self.access.to_string() + &frame.part_fields(fps, sent);
            &fields
        } else if frame.online {
            &*self.access
        } else {
            fields = self.access.to_string() + part::OFFLINE;
            &fields
        };
        frame.write_part_head(out, len, extra);
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

/// What is sent right behind a frame.
fn delimiter(advance_headers: bool, access: &str) -> Rc<[u8]> {
    let mut delimiter = part::DELIMITER.to_vec();
    if advance_headers {
        delimiter.extend(format!("{ADVANCE_HEAD}{access}\r\n").bytes());
    }
    delimiter.into()
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
    for byte in plain(value) {
        if is_unreserved(byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// The bytes that an escaped value means.
fn plain(value: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [byte, behind @ ..] = rest {
        let (byte, left) = match (escape(rest), byte) {
            (Some(byte), _) => (byte, &rest[3..]),
            (None, b'+') => (b' ', behind),
            (None, byte) => (*byte, behind),
        };
        bytes.push(byte);
        rest = left;
    }
    bytes
}

/// The engines of browsers. The first two show a part late.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Engine {
    Blink,
    WebKit,
    Gecko,
}

/// The engine that a browser says it has. With Blink all name Chrome; but on iOS no browser has it, and there Chrome
/// calls itself CriOS.
fn engine(request: &Request<'_>) -> Option<Engine> {
    let agent = request.user_agent.unwrap_or_default();
    if contains(agent, b"Chrome/") || contains(agent, b"Chromium/") {
        Some(Engine::Blink)
    } else if contains(agent, b"AppleWebKit/") {
        Some(Engine::WebKit)
    } else {
        contains(agent, b"Gecko/").then_some(Engine::Gecko)
    }
}

/// Whether a browser displays what is answered. It says so in `Sec-Fetch-Dest` (W3C Fetch Metadata, 2.1), but not over
/// plain HTTP to another machine. There `Accept` shows it: an `<img>` asks for `image/…` first, a window or a frame for
/// `text/html`, and a script or a player for `*/*`.
fn is_displayed(request: &Request<'_>) -> bool {
    let accept = request.accept.unwrap_or_default();
    match request.destination {
        Some(for_what) => DISPLAYED.iter().any(|known| known.as_bytes() == for_what),
        None => accept.starts_with(b"image/") || contains(accept, b"text/html"),
    }
}

fn contains(value: &[u8], word: &[u8]) -> bool {
    value.windows(word.len()).any(|part| part == word)
}

/// The destinations that display a picture.
const DISPLAYED: [&str; 6] = ["image", "document", "iframe", "frame", "embed", "object"];

#[cfg(test)]
mod tests {
    use super::super::cors::Origins;
    use super::super::request::{Parsed, parse};
    use super::*;

    const BLINK: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
                         HeadlessChrome/140.0.0.0 Safari/537.36";
    const WEBKIT: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                          Version/60.5 Safari/605.1.15";
    const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    const PAGE: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
    const IMAGE: &str = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8";

    fn quirks(target: &str, agent: &str, accept: &str) -> Quirks {
        quirks_with(target, agent, accept, "", &Origins::default())
    }

    fn quirks_with(
        target: &str,
        agent: &str,
        accept: &str,
        fields: &str,
        origins: &Origins,
    ) -> Quirks {
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: a\r\nUser-Agent: {agent}\r\nAccept: {accept}\r\n{fields}\r\n"
        );
        match parse(head.as_bytes()) {
            Parsed::Complete(request, _) => {
                Quirks::of(&request, &Exchange::of(&request, origins), 0xCAFE)
            }
            other => panic!("{other:?}"),
        }
    }

    fn plain(target: &str) -> Quirks {
        quirks(target, "curl/8", "*/*")
    }

    #[test]
    fn headers_come_in_advance_for_what_blink_and_webkit_display_and_whoever_asks() {
        for (target, agent, accept, expected) in [
            ("/stream", BLINK, IMAGE, true),
            ("/stream", BLINK, "*/*", false),
            ("/stream", BLINK, PAGE, true),
            (
                "/stream",
                WEBKIT,
                "image/webp,image/avif,video/*;q=0.8,*/*;q=0.5",
                true,
            ),
            ("/stream", WEBKIT, PAGE, true),
            ("/stream", WEBKIT, "*/*", false),
            ("/stream", FIREFOX, IMAGE, false),
            ("/stream", FIREFOX, PAGE, false),
            ("/stream", "curl/8", "*/*", false),
            ("/stream", "curl/8", PAGE, false),
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
    fn what_a_browser_says_it_will_do_counts_more_than_what_it_accepts() {
        for (destination, accept, expected) in [
            ("image", "*/*", true),
            ("document", "*/*", true),
            ("iframe", PAGE, true),
            ("embed", PAGE, true),
            ("object", PAGE, true),
            ("empty", IMAGE, false),
            ("video", "*/*", false),
            ("", PAGE, false),
        ] {
            let fields = format!("Sec-Fetch-Dest: {destination}\r\n");
            let origins = Origins::default();
            for (agent, expected) in [(BLINK, expected), (WEBKIT, expected), (FIREFOX, false)] {
                let quirks = quirks_with("/stream", agent, accept, &fields, &origins);
                assert_eq!(quirks.advance_headers, expected, "{destination} {agent}");
            }
        }
    }

    #[test]
    fn parts_say_who_may_read_them_where_webkit_displays_them() {
        let origins = |word: &str| Origins::new(&[word.into()], false).unwrap();
        let (all, named) = (origins("*"), origins("http://b"));
        let same_host = "Access-Control-Allow-Origin: http://a:81\r\n";
        let from = "Origin: http://b\r\n";
        let any =
            "Access-Control-Allow-Origin: *\r\nCross-Origin-Resource-Policy: cross-origin\r\n";
        let only =
            "Access-Control-Allow-Origin: http://b\r\nAccess-Control-Allow-Credentials: true\r\n";
        for (origins, agent, fields, expected) in [
            (&all, WEBKIT, from, any),
            (&all, WEBKIT, "", any),
            (&all, BLINK, from, ""),
            (&all, FIREFOX, from, ""),
            (&all, "curl/8", from, ""),
            (&Origins::default(), WEBKIT, from, ""),
            (
                &Origins::default(),
                WEBKIT,
                "Origin: http://a:81\r\n",
                same_host,
            ),
            (&named, WEBKIT, from, only),
            (&named, WEBKIT, "Origin: http://c\r\n", ""),
        ] {
            let quirks = quirks_with("/stream", agent, IMAGE, fields, origins);
            let behind = match quirks.advance_headers {
                true => format!("Content-Type: image/jpeg\r\n{expected}\r\n"),
                false => String::new(),
            };
            let whole = format!("\r\n--boundarydonotcross\r\n{behind}");
            assert_eq!(&*quirks.delimiter, whole.as_bytes(), "{agent} {fields}");
            let target = "/stream?advance_headers=0";
            let quirks = quirks_with(target, agent, IMAGE, fields, origins);
            assert_eq!(&*quirks.delimiter, part::DELIMITER);
            assert_eq!(&*quirks.access, expected, "{agent} {fields}");
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
