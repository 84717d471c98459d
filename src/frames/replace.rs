//! How a file is replaced in one step: written under a name that nobody reads, and renamed onto the other one.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::time::{Duration, SystemTime};

use rustix::fs::{self as sys, AtFlags, Timespec, Timestamps};

/// The tv_nsec value that leaves a time unchanged (utimensat(2)).
const OMIT: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: sys::UTIME_OMIT,
};

/// Replaces the file `name` of a directory by this content, with this modification time if there is one. `created` is
/// the new file under its name `staged`, in the same directory or below it.
///
/// On any error the file that was there stays, and the other one is removed.
pub(super) fn replace(
    dir: BorrowedFd<'_>,
    (staged, name): (&str, &str),
    created: rustix::io::Result<File>,
    content: &[u8],
    modified: Option<SystemTime>,
) -> io::Result<()> {
    let replaced = created.map_err(io::Error::from).and_then(|mut file| {
        file.write_all(content)?;
        if let Some(modified) = modified {
            let times = Timestamps {
                last_access: OMIT,
                last_modification: timespec(modified),
            };
            sys::futimens(&file, &times)?;
        }
        drop(file);
        Ok(sys::renameat(dir, staged, dir, name)?)
    });
    if replaced.is_err() {
        // Best effort: what cannot be removed is replaced by the next attempt.
        let _ = sys::unlinkat(dir, staged, AtFlags::empty());
    }
    replaced
}

/// A time as utimensat(2) takes it, also before 1970.
fn timespec(at: SystemTime) -> Timespec {
    let (since, sign) = match at.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => (since, 1),
        Err(error) => (error.duration(), -1),
    };
    let nanos = i64::from(since.subsec_nanos()) * sign;
    let secs = i64::try_from(since.as_secs()).unwrap_or(i64::MAX) * sign;
    let second = Duration::from_secs(1).as_nanos() as i64;
    Timespec {
        tv_sec: secs + nanos.div_euclid(second),
        tv_nsec: nanos.rem_euclid(second) as _,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_around_the_epoch_have_nanoseconds_that_count_upwards() {
        let epoch = SystemTime::UNIX_EPOCH;
        let parts = |at| (timespec(at).tv_sec, timespec(at).tv_nsec);
        assert_eq!(parts(epoch), (0, 0));
        assert_eq!(parts(epoch + Duration::from_millis(1500)), (1, 500_000_000));
        assert_eq!(parts(epoch - Duration::from_millis(1)), (-1, 999_000_000));
        assert_eq!(parts(epoch - Duration::from_secs(2)), (-2, 0));
    }
}
