//! The reader's side of a frame directory: reports that a frame has arrived, in any of several directories.
//!
//! A frame arrives by being renamed onto `current.jpg` (IN_MOVED_TO). A file of that name that is written in place is
//! not a frame, because it changes while readers have it open; that it is written is reported, so that somebody can
//! be told. The same applies to `state`. The producer need not be there first: for a directory that does not
//! exist, the nearest existing ancestor is watched until it appears, and a directory that is deleted, moved away or
//! replaced is waited for again. Nothing is polled. Only where inotify cannot report anything (its limits,
//! permissions) are there retries, which the owner's loop makes when the time [`Watcher::retry_at`] has come.
//!
//! `frames/follow.rs` describes how paths are followed, and what goes unnoticed.

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

/// What is reported to a reader about a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A file was renamed onto `current.jpg`: a frame, or the empty file that means 'not yet'.
    Frame,
    /// `current.jpg` was written to and closed (IN_CLOSE_WRITE), instead of being replaced.
    Written,
    /// The producer has put a new `state` in place.
    State,
    /// The directory appeared, possibly in place of another one, or events were lost: look at `current.jpg`.
    Returned,
    /// The directory no longer exists; it is being waited for.
    Gone,
}

/// Watches any number of frame directories with one descriptor.
#[derive(Debug)]
pub struct Watcher {
    follower: Follower,
    brake: Brake,
}

impl Watcher {
    /// Creates a watcher that watches nothing yet.
    pub fn new() -> Result<Self> {
        let wanted = WatchFlags::MOVED_TO | WatchFlags::CLOSE_WRITE;
        Ok(Watcher {
            follower: Follower::new(wanted, Some(CURRENT))?,
            brake: Brake::new(Duration::from_secs(60)),
        })
    }

    /// Watches `dir` from now on. If it exists, what is already in it is not reported, so look at it after this call.
    /// If it does not exist, it is waited for; if it cannot be watched, that is logged and tried again.
    pub fn add(&mut self, dir: &Path) -> DirId {
        let now = Instant::now();
        let (id, followed) = self.follower.add(dir, now);
        if let Err(error) = followed {
            complain(&mut self.brake, now, &error);
        }
        id
    }

    /// Whether the directory exists and is watched, according to the events read so far. If so, whoever opens a frame
    /// in it now will be notified of the next one by [`Change::Frame`].
    pub fn is_watched(&self, dir: DirId) -> bool {
        self.follower.is_there(dir)
    }

    /// Stops watching; nothing is reported about this directory afterwards.
    pub fn remove(&mut self, dir: DirId) {
        self.follower.remove(dir);
    }

    /// Appends what has happened, without blocking. Several frames since the last call are reported as one
    /// [`Change::Frame`], because only the newest can be opened.
    pub fn read(&mut self, now: Instant, changes: &mut Vec<(DirId, Change)>) -> io::Result<()> {
        let brake = &mut self.brake;
        let told = |id, happened: Happened| changes.push((id, happened.into()));
        self.follower
            .read(now, told, |_, error| complain(brake, now, &error))
    }

    /// When to call [`Watcher::retry`]; `None`, the usual case, means never.
    pub fn retry_at(&self) -> Option<Instant> {
        self.follower.retry_at()
    }

    /// Tries again to watch what could not be watched, and appends what that reveals. The wait between two attempts
    /// grows from 1 to 30 seconds.
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
            Happened::Written => Change::Written,
            Happened::State => Change::State,
            Happened::Returned => Change::Returned,
            Happened::Gone => Change::Gone,
        }
    }
}
