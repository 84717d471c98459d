//! Dates as HTTP writes them, in replies and in pictures: `Sun, 22 Nov 2026 22:22:59 GMT`.
//!
//! The crate `httpdate` knows the calendar; here is what it must be spared, times that it panics at, and when there is nothing
//! to tell.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::response::unix_time;

/// 2026-01-01 00:00:00 UTC. A clock that shows less has not been set: boards without a battery begin in 1970, or when their
/// system was built.
const NEVER_SET: Duration = Duration::from_secs(1_767_225_600);

/// The last second that has four digits for its year.
const LAST: Duration = Duration::from_secs(253_402_300_799);

/// In the form of RFC 9110, 5.6.7; what is beyond it is its first or its last second.
pub(super) fn date(time: SystemTime) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + unix_time(time).min(LAST))
}

/// The field `Date`; nothing if the clock is none (RFC 9110, 6.6.1).
pub(super) fn date_field(now: SystemTime) -> String {
    if unix_time(now) < NEVER_SET {
        return String::new();
    }
    format!("Date: {}\r\n", date(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(secs)
    }

    /// As `date -u -d @SECONDS` has them.
    #[test]
    fn the_field_has_the_one_form_that_may_be_sent() {
        for (secs, expected) in [
            (1_767_225_600, "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n"),
            (1_795_386_179, "Date: Sun, 22 Nov 2026 22:22:59 GMT\r\n"),
            (1_835_395_200, "Date: Tue, 29 Feb 2028 00:00:00 GMT\r\n"),
            (4_102_444_799, "Date: Thu, 31 Dec 2099 23:59:59 GMT\r\n"),
        ] {
            assert_eq!(date_field(at(secs)), expected);
        }
    }

    #[test]
    fn a_clock_that_was_never_set_tells_no_date() {
        assert_eq!(date_field(at(0)), "");
        assert_eq!(date_field(at(1_767_225_599)), "");
    }

    #[test]
    fn a_time_that_has_no_date_gets_the_nearest() {
        let before = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(date(before), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(date(at(1 << 40)), "Fri, 31 Dec 9999 23:59:59 GMT");
    }
}
