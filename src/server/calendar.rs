//! Dates of the Gregorian calendar in UTC: for people, and as HTTP writes them.

use std::time::{Duration, SystemTime};

use super::response::unix_time;

/// 2026-01-01 00:00:00 UTC. A clock that shows less has not been set: boards without a battery begin in 1970, or when their
/// system was built.
const NEVER_SET: Duration = Duration::from_secs(1_767_225_600);

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// A second of a day.
struct Moment {
    year: u64,
    /// From 0.
    month: usize,
    day: u64,
    /// From 0, which is a Thursday, as 1 January 1970 was.
    weekday: usize,
    /// `12:34:56`
    time: String,
}

/// `2026-02-28 12:34:56 UTC`
pub(super) fn date(time: SystemTime) -> String {
    let at = moment(time);
    let (year, month, day) = (at.year, at.month + 1, at.day);
    format!("{year}-{month:02}-{day:02} {} UTC", at.time)
}

/// The field `Date` with the form of RFC 9110, 5.6.7; nothing if the clock is none (6.6.1).
pub(super) fn date_field(now: SystemTime) -> String {
    if unix_time(now) < NEVER_SET {
        return String::new();
    }
    let at = moment(now);
    let (weekday, month) = (DAYS[at.weekday], MONTHS[at.month]);
    let (year, day) = (at.year, at.day);
    format!(
        "Date: {weekday}, {day:02} {month} {year} {} GMT\r\n",
        at.time
    )
}

fn moment(time: SystemTime) -> Moment {
    let secs = unix_time(time).as_secs();
    let (mut days, of_day) = (secs / 86_400, secs % 86_400);
    let weekday = (days % 7) as usize;
    let mut year = 1970;
    let leap = |year: u64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    // The Gregorian calendar repeats itself after 400 years, which have 146097 days.
    year += days / 146_097 * 400;
    days %= 146_097;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 0;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    Moment {
        year,
        month,
        day: days + 1,
        weekday,
        time: format!("{hour:02}:{minute:02}:{second:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(secs)
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (secs, expected) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_733_918_400, "2024-12-11 12:00:00 UTC"),
            (1_735_689_599, "2024-12-31 23:59:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(date(at(secs)), expected);
        }
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
}
