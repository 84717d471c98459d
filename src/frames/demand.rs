//! Demand: somebody opened `current.jpg`, and so asked for the next frame.
//!
//! IN_OPEN on the directory tells it, for `current.jpg` and for whichever inode bears that name. It is
//! never IN_ACCESS: read(2) and sendfile(2) from a frame that was replaced long ago still report
//! IN_ACCESS under the name `current.jpg` (tried on Linux 6.18), so one slow reader of one old frame
//! would keep the camera busy. stat(2), readdir(3) and O_PATH are no demand: they report nothing.
//!
//! The watch is the directory's and stays. A watch on each frame's inode has a gap between frames in which
//! requests are lost.
//!
//! Whoever publishes drains when a frame comes due, without waiting for this descriptor while frames are
//! coming: then requests wake nobody, and are known when the decision about the frame is made.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::inotify::WatchFlags;

use crate::error::{Error, Result};
use crate::frames::CURRENT;
use crate::frames::follow::{Follower, Happened, complain};
use crate::logging::Brake;

/// What happened since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Somebody opened `current.jpg`, or may have: events were lost.
    pub asked: bool,
    /// The directory was deleted, moved, unmounted or replaced, or may have been: see
    /// [`super::publish::Publisher::in_place`].
    pub lost: bool,
}

/// A producer's ear at one frame directory.
#[derive(Debug)]
pub struct Demand {
    follower: Follower,
    brake: Brake,
}

impl Demand {
    /// Watches `dir`, which exists. What is opened before this returns is not seen; see
    /// [`super::publish::Publisher::announce`].
    pub fn new(dir: &Path) -> Result<Self> {
        let mut follower = Follower::new(WatchFlags::OPEN, Some(CURRENT))?;
        let (_, followed) = follower.add(dir, Instant::now());
        followed?;
        Ok(Demand {
            follower,
            brake: Brake::new(Duration::from_secs(60)),
        })
    }

    /// Takes in all events so far, without blocking. A directory that was made again is watched from here
    /// on.
    pub fn drain(&mut self, now: Instant) -> io::Result<Seen> {
        let (mut seen, brake) = (Seen::default(), &mut self.brake);
        let failed = |_, error: Error| complain(brake, now, &error);
        self.follower
            .read(now, |_, happened| seen.note(happened), failed)?;
        Ok(seen)
    }

    /// Watches what stands at the path now, and tells what that shows: where there was no watch before, or on another directory,
    /// anything may have happened. After a new directory was made there, and before it is announced, so that no request
    /// falls between.
    pub fn follow(&mut self, now: Instant) -> Seen {
        let (mut seen, brake) = (Seen::default(), &mut self.brake);
        let failed = |_, error: Error| complain(brake, now, &error);
        self.follower
            .look_at_all(now, |_, happened| seen.note(happened), failed);
        seen
    }

    /// When to call [`Demand::follow`] because the directory could not be watched.
    pub fn retry_at(&self) -> Option<Instant> {
        self.follower.retry_at()
    }
}

impl AsFd for Demand {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.follower.as_fd()
    }
}

impl Seen {
    fn note(&mut self, happened: Happened) {
        match happened {
            Happened::Current => self.asked = true,
            // A reader that reads it wants to know, not to see.
            Happened::State => {}
            Happened::Gone => self.lost = true,
            Happened::Returned => (self.asked, self.lost) = (true, true),
        }
    }
}
