//! The producer's side of a frame directory: the lock, and frames put in place by rename(2).
//!
//! A frame becomes visible as a whole or not at all: it is written under a name that nobody reads and then renamed
//! onto `current.jpg`. All operations are relative to the directory's descriptor. If the directory is moved away, its
//! producer's frames go with it, and whatever is at its path by then is not written to; [`Publisher::in_place`] tells
//! when it is time to open the path again.
//!
//! The temporary name is in a subdirectory, so that those who watch the directory see a frame as one event, the
//! rename. Some readers in use process only the first event that they find (mjpg-streamer's `input_file`), and would
//! miss a rename that follows the opening and closing of its temporary file; the producer itself would also be woken
//! by its own temporaries.
//!
//! There is one producer per directory: it holds flock(2) on the file `lock`, which the kernel releases when the
//! process ends, however it ends. What it leaves behind, temporaries and an old frame, is cleaned up by the next
//! producer.
//!
//! There is no fsync: a frame directory is in memory, and an old frame is worth nothing after a crash.

use std::env;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process;
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::fs::{self as sys, AtFlags, Dir, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::frames::replace::replace;
use crate::frames::state::{STATE, State};
use crate::frames::{CURRENT, LOCK, TEMPORARY};

/// The subdirectory for our temporary file. There is only one producer, so one name is enough.
const STAGING: &str = ".new";
const STAGED: &str = ".new/current.jpg";
const STAGED_STATE: &str = ".new/state";

/// Only the producer may use it.
const STAGING_MODE: Mode = Mode::from_raw_mode(0o700);

/// Everybody may read it, subject to the umask.
const MODE: Mode = Mode::from_raw_mode(0o644);

/// How often another attempt is made at a lock that is taken, and the pause before each.
const LOCK_TRIES: u32 = 3;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// The directory as its one producer holds it.
#[derive(Debug)]
pub struct Publisher {
    path: PathBuf,
    dir: OwnedFd,
    /// Device and inode of the directory; the inode cannot be reused while `dir` is open.
    identity: (u64, u64),
    /// The lock belongs to this descriptor.
    lock: File,
}

impl Publisher {
    /// Takes over the directory `dir`: makes it (and its parents) if it does not exist, locks it, and removes the
    /// temporaries and the state that a killed predecessor left. If another producer holds it, [`Error::Busy`] names
    /// that producer.
    ///
    /// `current.jpg` is left as it is until [`Publisher::announce`].
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

    /// Renames an empty file onto `current.jpg`: there is something to open, but no frame yet.
    ///
    /// To be called once the demand watch is set. Those who want a frame and opened the file before that see the
    /// rename and open it again, so no request is lost; and a frame that a predecessor left behind is not mistaken
    /// for a new one.
    pub fn announce(&mut self) -> io::Result<()> {
        self.replace(STAGED, CURRENT, &[], None)
    }

    /// Publishes what the camera is doing. To be called when that changes, not for each frame, because it wakes
    /// readers.
    ///
    /// Readers attribute a state that is older than the lock to a predecessor. Ours is never older, even if the clock
    /// has been set back meanwhile.
    pub fn tell(&mut self, state: &State) -> io::Result<()> {
        let locked = self.lock.metadata()?.modified()?;
        let at = SystemTime::now().max(locked);
        self.replace(STAGED_STATE, STATE, state.to_string().as_bytes(), Some(at))
    }

    /// Puts a frame in place that was captured at `captured`. The rename notifies those who watch the directory.
    ///
    /// On any error (most likely: no space) the previous frame stays, nothing is left behind, and the next frame can
    /// be tried as if nothing had happened.
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
        let created = self.create_temporary(staged);
        replace(self.dir.as_fd(), (staged, name), created, content, modified)
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

/// Locks `dir` and writes into the lock file which process holds it.
fn lock(dir: &OwnedFd, path: &Path) -> Result<File> {
    let what = || format!("lock frame directory {}", path.display());
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut tries = LOCK_TRIES;
    loop {
        let mut file = File::from(sys::openat(dir, LOCK, flags, MODE).doing(what)?);
        match sys::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            // A reader that checks whether there is a producer holds it for a moment (`state.rs`).
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
        // Somebody removed the file between open and flock, so nobody else would ever encounter this lock.
    }
}

/// Whether `file` is the file that the name `lock` refers to.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_named_by_its_pid_and_command() {
        assert!(holder().starts_with(&format!("pid {} ", process::id())));
        assert!(!holder().contains('/'));
    }
}
