//! The clocks, and times as numbers.
//!
//! The standard library's `Instant` does not reveal its value, and on some of the targets its clocks cost a system call
//! (see [`realtime`]); so what has to be compared between processes, or is read once per frame, is read here.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// CLOCK_MONOTONIC as other processes on this machine see it; std's `Instant` does not reveal its value.
pub fn monotonic() -> Duration {
    since_start_of(ClockId::Monotonic)
}

/// `SystemTime::now()` without a system call. The standard library asks the C library, and musl does not find the
/// vDSO of arm64 (tried on Linux 6.12), so there each reading of a clock would enter the kernel; rustix does find the
/// vDSO.
pub fn realtime() -> SystemTime {
    UNIX_EPOCH + since_start_of(ClockId::Realtime)
}

fn since_start_of(clock: ClockId) -> Duration {
    let now = clock_gettime(clock);
    let (secs, nanos) = (u64::try_from(now.tv_sec), u32::try_from(now.tv_nsec));
    // Seconds are negative only for the wall clock of a machine set to before 1970, and nanoseconds stay below a
    // second: clock_gettime(2).
    Duration::new(secs.unwrap_or(0), nanos.unwrap_or(0))
}

/// The time since 1970 in whole microseconds, as in `X-Timestamp` and `after=`.
pub fn unix_time(time: SystemTime) -> Duration {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Duration::new(since.as_secs(), since.subsec_micros() * 1000)
}
