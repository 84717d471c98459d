//! Dates in the format of HTTP, for replies and pictures: `Sun, 22 Nov 2026 22:22:59 GMT`.
//!
//! The crate `httpdate` knows the calendar. This module keeps the times away from it at which it would panic, and
//! decides when there is no valid time to report.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::clock::unix_time;

/// 2026-01-01 00:00:00 UTC. A clock that shows an earlier time has not been set: boards without a battery start in
/// 1970, or at the time when their system was built.
const NEVER_SET: Duration = Duration::from_secs(1_767_225_600);

/// The last second of a year with four digits.
const LAST: Duration = Duration::from_secs(253_402_300_799);

/// The date in the format of RFC 9110, 5.6.7. Times outside its range become its first or its last second.
pub(crate) fn date(time: SystemTime) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + unix_time(time).min(LAST))
}

/// The field `Date`; empty if the clock has not been set (RFC 9110, 6.6.1).
pub(crate) fn date_field(now: SystemTime) -> String {
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

    /// The expected dates are those of `date -u -d @SECONDS`.
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
