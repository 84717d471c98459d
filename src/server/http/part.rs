//! Pictures: the heads of streams and snapshots, what stands between the frames of a stream, and what is said about
//! each.
//!
//! The fields of a stream, their order and the place of each boundary are what clients of mjpg-streamer and ustreamer
//! were found to need; `docs/http.md` names the client behind each rule. A stream is HTTP/1.0 and ends with its
//! connection, so that proxies pass it on as it comes.

use std::time::{Duration, SystemTime};

use crate::picture::jpeg::Size;
use crate::server::http::exchange::Exchange;
use crate::server::http::response::{NOT_KEPT, RETRY_AFTER_SECS};
use crate::server::http::status::Status;
use crate::time::clock::{Moment, Seconds};

/// The delimiter behind every part of a stream, which is sent together with the part (RFC 2046, 5.1.1). The first one
/// is sent with the reply's head, without the line break before it.
pub const DELIMITER: &[u8] = b"\r\n--boundarydonotcross\r\n";

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

/// The head of a snapshot. The facts about the frame, and its age, are known when it is `sent`, but not for HEAD.
pub fn snapshot_head(frame: Option<FrameFacts>, exchange: &Exchange, sent: &Moment) -> Vec<u8> {
    let general = exchange.head("HTTP/1.1 200 OK", sent.wall);
    let mut head =
        format!("{general}{EXPOSED}{PICTURE_CACHE}Content-Type: image/jpeg\r\n").into_bytes();
    if let Some(frame) = frame {
        frame.write_fields(&mut head, frame.len);
        head.extend_from_slice(frame.snapshot_fields(sent).as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// The refusal of a snapshot, with the reason in a field. What follows is the picture with these facts, or it is a
/// sentence, if there is no picture or the client has asked for words.
pub fn snapshot_refusal(
    why: &str,
    picture: Option<FrameFacts>,
    exchange: &Exchange,
    sent: &Moment,
) -> Vec<u8> {
    let (code, reason, text) = Status::Unavailable.texts();
    // A field's value is visible ASCII and blanks (RFC 9110, 5.5).
    let plain = |c: char| if (' '..='~').contains(&c) { c } else { '?' };
    let why: String = why.chars().map(plain).collect();
    let why = why.trim();
    let (kind, body) = match &picture {
        Some(_) => ("image/jpeg", String::new()),
        None => ("text/plain; charset=utf-8", format!("{text}: {why}\n")),
    };
    let len = picture
        .as_ref()
        .map_or(body.len() as u64, |facts| facts.len);
    let about = picture.map_or(String::new(), |facts| facts.snapshot_fields(sent));
    format!(
        "{}\
         Access-Control-Expose-Headers: X-Frame-Error, Retry-After\r\n\
         {NOT_KEPT}\
         Retry-After: {RETRY_AFTER_SECS}\r\n\
         X-Frame-Error: {why}\r\n\
         {about}\
         Content-Type: {kind}\r\n\
         Content-Length: {len}\r\n\r\n{body}",
        exchange.head(&format!("HTTP/1.1 {code} {reason}"), sent.wall),
    )
    .into_bytes()
}

/// The head of a stream with one more field. The stream ends with its connection, so the exchange must be the last.
pub fn stream_head(field: &str, exchange: &Exchange, date: SystemTime) -> Vec<u8> {
    format!(
        "{}\
         {PICTURE_CACHE}\
         X-Accel-Buffering: no\r\n\
         {field}\
         Content-Type: multipart/x-mixed-replace;boundary=boundarydonotcross\r\n\r\n",
        exchange.head("HTTP/1.0 200 OK", date),
    )
    .into_bytes()
}

/// What the head of a part says, by ustreamer's name for it, if its picture stands for those of a lost camera.
pub(super) const OFFLINE: &str = "X-UStreamer-Online: false\r\n";

/// Enough for the head of any part, so that writing one allocates only once.
const PART_HEAD: usize = 128;

/// With six decimal places, as `Seconds` does.
fn write_seconds(out: &mut Vec<u8>, Seconds(time): Seconds) {
    write_number(out, time.as_secs(), 1);
    out.push(b'.');
    write_number(out, time.subsec_micros().into(), 6);
}

/// In decimal, with so many digits at least. This is written for every frame and viewer; the standard library's formatting takes
/// several times as many instructions.
fn write_number(out: &mut Vec<u8>, mut number: u64, least: usize) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    while number > 0 {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&digits[at.min(digits.len() - least)..]);
}

/// The facts about a picture that its head can contain.
#[derive(Clone, Debug)]
pub struct FrameFacts {
    /// Its length in bytes.
    pub len: u64,
    /// When it was captured, by the wall clock.
    pub captured: SystemTime,
    /// Its size in pixels.
    pub picture: Size,
    /// Its age when it is sent.
    pub age: Duration,
    /// It comes from the camera, and does not take the place of a lost camera's picture.
    pub online: bool,
}

impl FrameFacts {
    /// Appends the head of a stream's part of this length, with the additional fields in `extra`.
    pub fn write_part_head(&self, out: &mut Vec<u8>, len: u64, extra: &str) {
        out.reserve(PART_HEAD);
        out.extend_from_slice(b"Content-Type: image/jpeg\r\n");
        self.write_fields(out, len);
        out.extend_from_slice(extra.as_bytes());
        out.extend_from_slice(b"\r\n");
    }

    /// `X-Timestamp` is the wall clock at capture, in seconds since 1970 with six decimal places. It alone does not give the age to clients
    /// whose clock differs.
    fn write_fields(&self, out: &mut Vec<u8>, len: u64) {
        out.extend_from_slice(b"Content-Length: ");
        write_number(out, len, 1);
        out.extend_from_slice(b"\r\nX-Timestamp: ");
        write_seconds(out, Seconds::since_1970(self.captured));
        out.extend_from_slice(b"\r\nX-Frame-Age: ");
        write_seconds(out, Seconds(self.age));
        out.extend_from_slice(b"\r\n");
    }

    /// The ustreamer fields that have a meaning here. As in ustreamer, times are on the monotonic clock. No frame is
    /// held back for being the same as the one before, so `Dropped` is always 0. When the frame was encoded and taken
    /// over is not known to a server, and is left out.
    pub(super) fn part_fields(&self, fps: u32, sent: &Moment) -> String {
        let (sent, latency) = self.times(sent);
        let fields = self.fields();
        format!(
            "{fields}\
             X-UStreamer-Client-FPS: {fps}\r\n\
             X-UStreamer-Grab-Time: {:.6}\r\n\
             X-UStreamer-Send-Time: {sent:.6}\r\n\
             X-UStreamer-Latency: {latency:.6}\r\n",
            (sent - latency).max(0.0),
        )
    }

    /// The same for a snapshot. Here ustreamer has other names for the times, and sends them without being asked.
    fn snapshot_fields(&self, sent: &Moment) -> String {
        let (sent, latency) = self.times(sent);
        let fields = self.fields();
        format!(
            "{fields}\
             X-UStreamer-Grab-Timestamp: {:.6}\r\n\
             X-UStreamer-Send-Timestamp: {sent:.6}\r\n",
            (sent - latency).max(0.0),
        )
    }

    fn fields(&self) -> String {
        let Size { width, height } = self.picture;
        format!(
            "X-UStreamer-Online: {}\r\n\
             X-UStreamer-Dropped: 0\r\n\
             X-UStreamer-Width: {width}\r\n\
             X-UStreamer-Height: {height}\r\n",
            self.online,
        )
    }

    /// The time of sending on the monotonic clock, and the age of the picture then, both in seconds.
    fn times(&self, sent: &Moment) -> (f64, f64) {
        let latency = sent.wall.duration_since(self.captured);
        (
            sent.monotonic.as_secs_f64(),
            latency.unwrap_or_default().as_secs_f64(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    fn part(len: u64, captured: SystemTime, extra: &str) -> Vec<u8> {
        let facts = FrameFacts {
            len,
            captured,
            picture: crate::picture::format::USUAL_SIZE,
            age: Duration::from_millis(31),
            online: true,
        };
        let mut part = Vec::new();
        facts.write_part_head(&mut part, len, extra);
        part
    }

    /// OctoEverywhere looks for the end of the first part's head in the first 300 bytes of the body.
    #[test]
    fn boundary_and_part_head_stay_under_300_bytes() {
        let part = part(u64::MAX, SystemTime::now(), "X-UStreamer-Online: false\r\n");
        assert!(DELIMITER.len() + part.len() < 300);
        assert!(text(&part).lines().all(|line| line.len() < 128));
    }

    #[test]
    fn every_part_begins_with_what_is_sent_ahead() {
        let part = part(5, SystemTime::now(), "X-Extra: 1\r\n");
        assert!(part.starts_with(crate::server::pacing::AHEAD));
    }

    #[test]
    fn numbers_are_written_as_the_standard_library_writes_them() {
        for number in [0, 1, 9, 10, 123_456, u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            write_number(&mut out, number, 1);
            assert_eq!(text(&out), number.to_string());
            out.clear();
            write_number(&mut out, number, 6);
            assert_eq!(text(&out), format!("{number:06}"));
        }
    }

    #[test]
    fn the_timestamp_has_six_digits() {
        let captured = SystemTime::UNIX_EPOCH + Duration::from_micros(1_733_918_400_000_123);
        let part = part(5, captured, "");
        assert!(
            text(&part).contains("X-Timestamp: 1733918400.000123\r\nX-Frame-Age: 0.031000\r\n")
        );
    }
}
