//! The producer's hold on a frame directory: the lock, and frames put in place by rename(2).
//!
//! A frame becomes visible whole or not at all: it is written under a name that nobody reads and renamed
//! onto `current.jpg`. Everything happens relative to the directory's descriptor, so a directory that was
//! moved away takes its producer's frames with it, and whatever stands at its path by then is not
//! written to; [`Publisher::in_place`] tells that it is time to open it anew.
//!
//! The name is in a subdirectory, so that a frame is one event to whoever watches the directory, the rename. Readers
//! in use take only the first event that they find (mjpg-streamer's `input_file`), and would miss a rename behind
//! the opening and closing of its temporary; and the producer itself would be woken by its own.
//!
//! One producer per directory: flock(2) on the file `lock`, which the kernel lets go of when the process
//! ends in whatever way. What it held then, temporaries and an old frame, the next producer cleans up.
//!
//! No fsync: a frame directory lives in memory, and an old frame is worth nothing after a crash.

use std::env;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process;
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::fs::{self as sys, AtFlags, Dir, FlockOperation, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::frames::state::{STATE, State};
use crate::frames::{CURRENT, LOCK, TEMPORARY};

/// Ours. There is one producer, so there is one name, in a subdirectory of its own.
const STAGING: &str = ".new";
const STAGED: &str = ".new/current.jpg";
const STAGED_STATE: &str = ".new/state";

/// For the producer alone.
const STAGING_MODE: Mode = Mode::from_raw_mode(0o700);

/// For everybody to read, less the umask.
const MODE: Mode = Mode::from_raw_mode(0o644);

/// A lock that is taken is tried again so often, after so long each time.
const LOCK_TRIES: u32 = 3;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// tv_nsec that leaves a time as it is (utimensat(2)).
const OMIT: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: sys::UTIME_OMIT,
};

/// Held by the one producer of a directory.
#[derive(Debug)]
pub struct Publisher {
    path: PathBuf,
    dir: OwnedFd,
    /// Device and inode of the directory; the inode cannot be reused while `dir` holds it.
    identity: (u64, u64),
    /// Its descriptor is the lock.
    lock: File,
}

impl Publisher {
    /// Takes the directory `dir`: makes it (and its parents) if missing, locks it, and removes the
    /// temporaries and the state of a killed predecessor. [`Error::Busy`] names the producer that has it.
    ///
    /// `current.jpg` is left as it is, until [`Publisher::announce`].
    pub fn open(dir: &Path) -> Result<Publisher> {
        let what = || format!("open frame directory {}", dir.display());
        fs::create_dir_all(dir).doing(|| format!("make frame directory {}", dir.display()))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = sys::open(dir, flags, Mode::empty()).doing(what)?;
        let about = sys::fstat(&fd).doing(what)?;
        let publisher = Publisher {
            path: dir.to_owned(),
            identity: (about.st_dev as _, about.st_ino as _),
            lock: lock(&fd, dir)?,
            dir: fd,
        };
        publisher.remove_temporaries().doing(what)?;
        Ok(publisher)
    }

    /// Renames an empty file onto `current.jpg`: there is something to open, and no frame yet.
    ///
    /// To be called when the demand watch is set. Whoever wants a frame and opened the file before that
    /// sees the rename and opens again, so no request is lost; and a frame that a predecessor left behind
    /// is not taken for a new one.
    pub fn announce(&mut self) -> io::Result<()> {
        self.replace(STAGED, CURRENT, &[], None)
    }

    /// Tells what the camera does. To be called when that changes, not for each frame: it wakes readers.
    ///
    /// Readers take a state that is older than the lock for a predecessor's; ours is not, even if the clock was set back since.
    pub fn tell(&mut self, state: &State) -> io::Result<()> {
        let locked = self.lock.metadata()?.modified()?;
        let at = SystemTime::now().max(locked);
        self.replace(STAGED_STATE, STATE, state.to_string().as_bytes(), Some(at))
    }

    /// Puts a frame in place, captured at `captured`. Whoever watches the directory is told by the rename.
    ///
    /// On any error (no space, first of all) the frame before stays, nothing is left behind, and the next
    /// frame can be tried as if nothing had happened.
    pub fn publish(&mut self, jpeg: &[u8], captured: SystemTime) -> io::Result<()> {
        self.replace(STAGED, CURRENT, jpeg, Some(captured))
    }

    /// Whether the directory is still the one at its path.
    pub fn in_place(&self) -> bool {
        let identity = |about: Metadata| (about.dev(), about.ino());
        fs::metadata(&self.path).is_ok_and(|about| identity(about) == self.identity)
    }

    fn replace(
        &mut self,
        staged: &str,
        name: &str,
        content: &[u8],
        modified: Option<SystemTime>,
    ) -> io::Result<()> {
        let written = self.write_temporary(staged, content, modified);
        let replaced = written.and_then(|()| {
            sys::renameat(&self.dir, staged, &self.dir, name).map_err(io::Error::from)
        });
        if replaced.is_err() {
            // Best effort: the next one truncates what cannot be removed.
            let _ = sys::unlinkat(&self.dir, staged, AtFlags::empty());
        }
        replaced
    }

    fn write_temporary(
        &self,
        staged: &str,
        content: &[u8],
        modified: Option<SystemTime>,
    ) -> io::Result<()> {
        let mut file = self.create_temporary(staged)?;
        file.write_all(content)?;
        if let Some(modified) = modified {
            let times = Timestamps {
                last_access: OMIT,
                last_modification: timespec(modified),
            };
            sys::futimens(&file, &times)?;
        }
        Ok(())
    }

    fn create_temporary(&self, staged: &str) -> rustix::io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let create = || sys::openat(&self.dir, staged, flags, MODE);
        match create() {
            Err(Errno::NOENT) => {
                sys::mkdirat(&self.dir, STAGING, STAGING_MODE)?;
                create()
            }
            created => created,
        }
        .map(File::from)
    }

    fn remove_temporaries(&self) -> io::Result<()> {
        for name in [STAGED, STAGED_STATE, STATE] {
            match sys::unlinkat(&self.dir, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        for entry in Dir::read_from(&self.dir)? {
            let entry = entry?;
            if entry
                .file_name()
                .to_bytes()
                .starts_with(TEMPORARY.as_bytes())
            {
                sys::unlinkat(&self.dir, entry.file_name(), AtFlags::empty())?;
            }
        }
        Ok(())
    }
}

/// Locks `dir` and writes into the lock file who has it.
fn lock(dir: &OwnedFd, path: &Path) -> Result<File> {
    let what = || format!("lock frame directory {}", path.display());
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut tries = LOCK_TRIES;
    loop {
        let mut file = File::from(sys::openat(dir, LOCK, flags, MODE).doing(what)?);
        match sys::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            // A reader that looks whether there is a producer has it for a moment (`state.rs`).
            Err(Errno::WOULDBLOCK) if tries > 0 => {
                tries -= 1;
                thread::sleep(LOCK_PAUSE);
                continue;
            }
            Err(Errno::WOULDBLOCK) => return Err(Error::Busy(held_by(&mut file, path))),
            Err(errno) => return Err(errno).doing(what),
        }
        if is_named(&file, dir).doing(what)? {
            file.set_len(0).doing(what)?;
            file.write_all(holder().as_bytes()).doing(what)?;
            return Ok(file);
        }
        // Somebody removed the file between open and flock: a lock that nobody else would meet.
    }
}

/// Whether `file` is what the name `lock` stands for.
fn is_named(file: &File, dir: &OwnedFd) -> io::Result<bool> {
    let own = sys::fstat(file)?;
    match sys::statat(dir.as_fd(), LOCK, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(named) => Ok((named.st_dev, named.st_ino) == (own.st_dev, own.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// `pid 1234 lazycam capture`: the process, and the first two words of its command.
fn holder() -> String {
    let words = env::args_os().take(2).map(|word| {
        let name = Path::new(&word).file_name().unwrap_or(&word);
        name.to_string_lossy().into_owned()
    });
    let command = words.collect::<Vec<_>>().join(" ");
    format!("pid {} {command}\n", process::id())
}

fn held_by(file: &mut File, path: &Path) -> String {
    let mut text = Vec::new();
    let read = file
        .rewind()
        .and_then(|()| file.take(256).read_to_end(&mut text));
    let text = String::from_utf8_lossy(&text);
    let holder = match (read, text.trim()) {
        (Ok(_), holder) if !holder.is_empty() => holder.escape_default().to_string(),
        _ => "which has not said who it is".into(),
    };
    format!(
        "frame directory {} has a producer already: {holder}",
        path.display()
    )
}

/// A moment as utimensat(2) takes it, before 1970 too.
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

    #[test]
    fn a_holder_is_named_by_its_pid_and_command() {
        assert!(holder().starts_with(&format!("pid {} ", process::id())));
        assert!(!holder().contains('/'));
    }
}
