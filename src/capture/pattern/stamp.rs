//! The stamp that `pattern` puts into each JPEG: the frame's number and the time of its capture.
//!
//! It is text in a comment segment (COM, ITU-T T.81, B.2.4.5), which every program passes on and every decoder
//! ignores, so the age of a frame can be determined wherever its bytes arrive:
//!
//! ```text
//! lazycam frame=123 captured=1733918400.123456 monotonic=8642.123456
//! ```
//!
//! Both times are in seconds with exactly six decimal places. `captured` is the wall clock since the Unix epoch, for
//! people and other machines. `monotonic` is CLOCK_MONOTONIC (clock_gettime(2)), which is common to all processes of
//! a machine and is never set: use this one to compute ages.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::picture::jpeg;
use crate::time::clock::{Seconds, monotonic};

/// The number of a frame and the time of its capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The frame's number; a frame that was never published leaves a gap.
    pub frame: u64,
    /// The wall clock at capture, with a precision of microseconds; a time before 1970 becomes 1970.
    pub captured: SystemTime,
    /// CLOCK_MONOTONIC at capture, with a precision of microseconds.
    pub monotonic: Duration,
}

impl Stamp {
    /// A stamp for the present moment. The two clocks are read one after the other.
    pub fn now(frame: u64) -> Self {
        Stamp {
            frame,
            captured: SystemTime::now(),
            monotonic: monotonic(),
        }
    }

    /// Parses a stamp's text. Anything that is not exactly in this form gives `None`.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let rest = text.strip_prefix("lazycam frame=")?;
        let (frame, rest) = rest.split_once(" captured=")?;
        let (captured, monotonic) = rest.split_once(" monotonic=")?;
        Some(Stamp {
            frame: whole(frame)?,
            captured: UNIX_EPOCH.checked_add(seconds(captured)?)?,
            monotonic: seconds(monotonic)?,
        })
    }

    /// Finds the stamp in a JPEG or in the beginning of one.
    pub fn find(bytes: &[u8]) -> Option<Self> {
        jpeg::comments(bytes).find_map(Self::parse)
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let captured = Seconds::since_1970(self.captured);
        let monotonic = Seconds(self.monotonic);
        let frame = self.frame;
        write!(
            f,
            "lazycam frame={frame} captured={captured} monotonic={monotonic}"
        )
    }
}

/// Accepts digits only; the standard library's parser would accept a sign as well.
fn whole(digits: &str) -> Option<u64> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

/// All six decimal places have to be there.
fn seconds(text: &str) -> Option<Duration> {
    let (_, decimals) = text.split_once('.')?;
    let seconds = Seconds::parse(text).filter(|_| decimals.len() == 6);
    seconds.map(|seconds| seconds.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Stamp {
        Stamp {
            frame: 123,
            captured: UNIX_EPOCH + Duration::from_micros(1_733_918_400_123_456),
            monotonic: Duration::from_micros(8_642_000_007),
        }
    }

    #[test]
    fn the_text_has_exactly_the_documented_form() {
        let text = "lazycam frame=123 captured=1733918400.123456 monotonic=8642.000007";
        assert_eq!(example().to_string(), text);
        assert_eq!(Stamp::parse(text.as_bytes()), Some(example()));
    }

    #[test]
    fn anything_but_the_exact_form_is_no_stamp() {
        for text in [
            "",
            "lazycam frame=1",
            "lazycam frame=+1 captured=1.000000 monotonic=1.000000",
            "lazycam frame=1 captured=1.00000 monotonic=1.000000",
            "lazycam frame=1 captured=1.000000 monotonic=1.0000000",
            "lazycam frame=1 captured=1.000000 monotonic=1.000000 ",
            "lazycam frame=1 captured=99999999999999999999.000000 monotonic=1.000000",
            "lazycam frame=1 captured=18446744073709551615.000000 monotonic=1.000000",
            " lazycam frame=1 captured=1.000000 monotonic=1.000000",
        ] {
            assert_eq!(Stamp::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Stamp::parse(&[0xFF, 0xFE]), None);
    }

    #[test]
    fn it_is_found_among_other_comments() {
        let mut bytes = vec![0xFF, 0xD8];
        for text in ["made by hand", &example().to_string()] {
            bytes.extend([0xFF, 0xFE, 0, text.len() as u8 + 2]);
            bytes.extend(text.as_bytes());
        }
        assert_eq!(Stamp::find(&bytes), Some(example()));
    }

    #[test]
    fn the_stamps_of_later_frames_are_not_older() {
        let (first, second) = (Stamp::now(1), Stamp::now(2));
        assert!(first.monotonic <= second.monotonic);
        assert!(first.monotonic > Duration::ZERO);
    }
}
