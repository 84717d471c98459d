//! The parts of a stream: what stands between the frames, and what is said about each.

use std::io::Write;
use std::time::SystemTime;

use rustix::time::{ClockId, clock_gettime};

use crate::picture::jpeg::Size;
use crate::time::clock::Seconds;

/// The delimiter behind every part of a stream, which is sent together with the part (RFC 2046, 5.1.1). The first one
/// is sent with the reply's head, without the line break before it.
pub const DELIMITER: &[u8] = b"\r\n--boundarydonotcross\r\n";

/// Enough for the head of any part, so that writing one allocates only once.
const PART_HEAD: usize = 128;

/// Appends the head of a stream's part, with the additional fields in `extra`.
pub fn write_part_head(out: &mut Vec<u8>, len: u64, captured: SystemTime, extra: &str) {
    out.reserve(PART_HEAD);
    out.extend_from_slice(b"Content-Type: image/jpeg\r\n");
    write_frame_fields(out, len, captured);
    out.extend_from_slice(extra.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// `X-Timestamp` is the wall clock at capture, in seconds since 1970 with six decimal places.
pub(in crate::server) fn write_frame_fields(out: &mut Vec<u8>, len: u64, captured: SystemTime) {
    let captured = Seconds::since_1970(captured);
    // Writing to a Vec cannot fail.
    let _ = write!(out, "Content-Length: {len}\r\nX-Timestamp: {captured}\r\n");
}

/// The facts about a picture that its head can contain.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Its length in bytes.
    pub len: u64,
    /// When it was captured, by the wall clock.
    pub captured: SystemTime,
    /// Its size in pixels.
    pub picture: Size,
    /// It comes from the camera, and does not take the place of a lost camera's picture.
    pub online: bool,
}

impl Facts {
    /// The ustreamer fields that have a meaning here. As in ustreamer, times are on the monotonic clock. No frame is
    /// held back for being the same as the one before, so `Dropped` is always 0. When the frame was encoded and taken
    /// over is not known to a server, and is left out.
    pub fn part_fields(&self, fps: u32) -> String {
        let (sent, latency) = self.times();
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
    pub fn snapshot_fields(&self) -> String {
        let (sent, latency) = self.times();
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

    /// The current time on the monotonic clock, and the age of the picture, both in seconds.
    fn times(&self) -> (f64, f64) {
        let latency = SystemTime::now().duration_since(self.captured);
        let clock = clock_gettime(ClockId::Monotonic);
        (
            clock.tv_sec as f64 + clock.tv_nsec as f64 / 1e9,
            latency.unwrap_or_default().as_secs_f64(),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    /// OctoEverywhere looks for the end of the first part's head in the first 300 bytes of the body.
    #[test]
    fn boundary_and_part_head_stay_under_300_bytes() {
        let mut part = Vec::new();
        write_part_head(&mut part, u64::MAX, SystemTime::now(), "");
        assert!(DELIMITER.len() + part.len() < 300);
        assert!(text(&part).lines().all(|line| line.len() < 128));
    }

    #[test]
    fn the_timestamp_has_six_digits() {
        let mut part = Vec::new();
        let captured = SystemTime::UNIX_EPOCH + Duration::from_micros(1_733_918_400_000_123);
        write_part_head(&mut part, 5, captured, "");
        assert!(text(&part).contains("X-Timestamp: 1733918400.000123\r\n"));
    }
}
