//! The reader's side of a frame directory: tells that a frame arrived, in any of several directories.
//!
//! A frame arrives by being renamed onto `current.jpg` (IN_MOVED_TO); a file of that name that is written
//! in place is not one. The same goes for `state`. Nobody needs to be there first: a directory that does not exist is waited for
//! at the nearest ancestor that does, and one that is deleted, moved away or replaced is waited for again.
//! Nothing is polled; only where inotify has no event to give (its limits, permissions) is there a
//! retry, which the owner's loop calls when [`Watcher::retry_at`] has come.
//!
//! How paths are followed is in `frames/follow.rs`. What is not noticed is said there too.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::inotify::WatchFlags;

use crate::error::Result;
use crate::frames::CURRENT;
pub use crate::frames::follow::DirId;
use crate::frames::follow::{Follower, Happened, complain};
use crate::logging::Brake;

/// What a reader is told about a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A file was renamed onto `current.jpg`: a frame, or the empty file that says 'not yet'.
    Frame,
    /// The producer has put another `state` in place.
    State,
    /// The directory appeared, also in place of another one, or events were lost: look at `current.jpg`.
    Returned,
    /// The directory is no longer there; it is waited for.
    Gone,
}

/// Watches any number of frame directories with one descriptor.
#[derive(Debug)]
pub struct Watcher {
    follower: Follower,
    brake: Brake,
}

impl Watcher {
    /// Watches nothing yet.
    pub fn new() -> Result<Self> {
        Ok(Watcher {
            follower: Follower::new(WatchFlags::MOVED_TO, Some(CURRENT))?,
            brake: Brake::new(Duration::from_secs(60)),
        })
    }

    /// Watches `dir` from now on. If it is there, what it holds already is not told: look after this.
    /// If it is missing it is waited for, and if it cannot be watched that is logged and tried again.
    pub fn add(&mut self, dir: &Path) -> DirId {
        let now = Instant::now();
        let (id, followed) = self.follower.add(dir, now);
        if let Err(error) = followed {
            complain(&mut self.brake, now, &error);
        }
        id
    }

    /// Whether the directory is there and watched, as far as events were read: whoever opens a frame in it now is told of
    /// the next one by [`Change::Frame`].
    pub fn is_watched(&self, dir: DirId) -> bool {
        self.follower.is_there(dir)
    }

    /// Ends watching; nothing is told of this directory after it.
    pub fn remove(&mut self, dir: DirId) {
        self.follower.remove(dir);
    }

    /// Appends what has happened, without blocking. Several frames since the last call are one
    /// [`Change::Frame`]: only the newest can be opened.
    pub fn read(&mut self, now: Instant, changes: &mut Vec<(DirId, Change)>) -> io::Result<()> {
        let brake = &mut self.brake;
        let told = |id, happened: Happened| changes.push((id, happened.into()));
        self.follower
            .read(now, told, |_, error| complain(brake, now, &error))
    }

    /// When to call [`Watcher::retry`]; `None`, as nearly always, means never.
    pub fn retry_at(&self) -> Option<Instant> {
        self.follower.retry_at()
    }

    /// Tries again what could not be watched, and appends what that shows. The wait between two tries grows
    /// from 1 to 30 seconds.
    pub fn retry(&mut self, now: Instant, changes: &mut Vec<(DirId, Change)>) {
        let brake = &mut self.brake;
        let told = |id, happened: Happened| changes.push((id, happened.into()));
        self.follower
            .retry(now, told, |_, error| complain(brake, now, &error));
    }
}

impl AsFd for Watcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.follower.as_fd()
    }
}

impl From<Happened> for Change {
    fn from(happened: Happened) -> Self {
        match happened {
            Happened::Current => Change::Frame,
            Happened::State => Change::State,
            Happened::Returned => Change::Returned,
            Happened::Gone => Change::Gone,
        }
    }
}
