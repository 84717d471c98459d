//! The clocks, and times as numbers.
//!
//! The standard library's `Instant` does not reveal its value, and on some of the targets its clocks cost a system call
//! (see `realtime` below); so what has to be compared between processes, or is read once per frame, is read here. The server reads its
//! clocks once per turn ([`Clocks::read`]).

use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// CLOCK_MONOTONIC as other processes on this machine see it; std's `Instant` does not reveal its value.
pub fn monotonic() -> Duration {
    since_start_of(ClockId::Monotonic)
}

/// `SystemTime::now()` without a system call. The standard library asks the C library, and musl does not find the
/// vDSO of arm64 (tried on Linux 6.12), so there each reading of a clock would enter the kernel; rustix does find the
/// vDSO.
fn realtime() -> SystemTime {
    UNIX_EPOCH + since_start_of(ClockId::Realtime)
}

fn since_start_of(clock: ClockId) -> Duration {
    let now = clock_gettime(clock);
    let (secs, nanos) = (u64::try_from(now.tv_sec), u32::try_from(now.tv_nsec));
    // Seconds are negative only for the wall clock of a machine set to before 1970, and nanoseconds stay below a
    // second: clock_gettime(2).
    Duration::new(secs.unwrap_or(0), nanos.unwrap_or(0))
}

/// One moment by the clocks whose values are told to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The wall clock.
    pub wall: SystemTime,
    /// CLOCK_MONOTONIC.
    pub monotonic: Duration,
}

/// One moment by the clock that deadlines and ages are counted by, and by the one that people read. The first goes on evenly;
/// the second can jump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// The time for deadlines and ages.
    pub now: Instant,
    /// The wall clock.
    pub wall: SystemTime,
}

impl Clocks {
    /// Now. Both are read by the standard library, so that a program that gives this process another clock moves both. That is
    /// worth a system call in each turn on aarch64 with musl, where the standard library's clocks take one.
    pub fn read() -> Self {
        Clocks {
            now: Instant::now(),
            wall: SystemTime::now(),
        }
    }

    /// The wall clock's time at an earlier moment, as far as the clock has not jumped since.
    pub fn wall_at(self, at: Instant) -> SystemTime {
        self.wall
            .checked_sub(self.now.saturating_duration_since(at))
            .unwrap_or(self.wall)
    }
}

/// CLOCK_BOOTTIME: like [`monotonic`], but it goes on while the machine is suspended.
pub fn boottime() -> Duration {
    since_start_of(ClockId::Boottime)
}

/// CLOCK_THREAD_CPUTIME_ID: how long this thread has been on a processor. This one always takes a system call.
pub fn spent() -> Duration {
    since_start_of(ClockId::ThreadCPUTime)
}

/// The wall clock's time `age` ago.
pub fn ago(age: Duration) -> SystemTime {
    let now = realtime();
    now.checked_sub(age).unwrap_or(now)
}

/// The time since 1970 in whole microseconds, as in `X-Timestamp` and `after=`.
pub fn unix_time(time: SystemTime) -> Duration {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Duration::new(since.as_secs(), since.subsec_micros() * 1000)
}

/// A time in seconds, written with exactly six decimal places: `1733918400.123456`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seconds(pub Duration);

impl Seconds {
    /// The time since 1970; a time before that becomes 0.
    pub fn since_1970(time: SystemTime) -> Self {
        Seconds(unix_time(time))
    }

    /// Reads seconds with at most six decimal places. Signs, exponents and white space are not accepted.
    pub fn parse(text: &str) -> Option<Self> {
        let (secs, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(secs) || !digits(fraction) || fraction.len() > 6 {
            return None;
        }
        let micros: u32 = format!("{fraction:0<6}").parse().ok()?;
        Some(Seconds(Duration::new(secs.parse().ok()?, micros * 1000)))
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0.as_secs(), self.0.subsec_micros())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_written_with_six_decimal_places_and_read_with_as_many_or_fewer() {
        let seconds = Seconds(Duration::from_micros(8_642_000_007));
        assert_eq!(seconds.to_string(), "8642.000007");
        for (text, micros) in [
            ("8642.000007", 8_642_000_007),
            ("8642.5", 8_642_500_000),
            ("8642.", 8_642_000_000),
            ("8642", 8_642_000_000),
        ] {
            let expected = Seconds(Duration::from_micros(micros));
            assert_eq!(Seconds::parse(text), Some(expected), "{text}");
        }
        let too_much = "99999999999999999999";
        for text in [
            "",
            ".5",
            "+1",
            "-1",
            "1.+5",
            "1e3",
            " 1",
            "1.0000001",
            too_much,
        ] {
            assert_eq!(Seconds::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_time_before_1970_is_written_as_1970() {
        let before = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(Seconds::since_1970(before).to_string(), "0.000000");
    }

    #[test]
    fn an_earlier_moment_has_its_time_by_the_wall_clock() {
        let clocks = Clocks::read();
        let second = Duration::from_secs(1);
        let before = clocks.now.checked_sub(second).unwrap();
        assert_eq!(clocks.wall_at(before), clocks.wall - second);
        assert_eq!(clocks.wall_at(clocks.now + second), clocks.wall);
    }

    #[test]
    fn the_wall_clock_is_known_of_every_age_that_there_can_be() {
        let (before, hour) = (SystemTime::now(), Duration::from_secs(3600));
        let then = ago(hour);
        assert!(then + hour >= before && then + hour <= SystemTime::now());
        assert!(ago(Duration::MAX) >= before);
        assert!(monotonic() <= boottime());
    }
}
