//! Demand: somebody has opened `current.jpg`, and thereby asked for the next frame.
//!
//! IN_OPEN on the directory reports this, for the name `current.jpg` and for whichever inode has that name. IN_ACCESS
//! is of no use: read(2) and sendfile(2) from a frame that was replaced long ago still report IN_ACCESS under the
//! name `current.jpg` (tried on Linux 6.18), so one slow reader of one old frame would keep the camera busy. stat(2),
//! readdir(3) and O_PATH do not count as demand: they cause no event.
//!
//! The watch is on the directory and stays there. With a watch on each frame's inode there would be a gap between
//! frames in which requests are lost.
//!
//! While frames are coming, the publishing side does not wait for this descriptor; it reads all events when a frame
//! comes due. In this way requests wake nobody, and they are known when the decision about the frame is made.

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
pub struct DemandEvents {
    /// Somebody opened `current.jpg`, or may have done so because events were lost.
    pub asked: bool,
    /// The directory was deleted, moved, unmounted or replaced, or may have been: see
    /// [`super::publish::Publisher::in_place`].
    pub lost: bool,
}

/// Listens for requests in one frame directory.
#[derive(Debug)]
pub struct Demand {
    follower: Follower,
    brake: Brake,
}

impl Demand {
    /// Watches `dir`, which must exist. Anything that is opened before this returns is not noticed; see
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

    /// Handles all events so far, without blocking. If the directory has been made again, the new one is watched from
    /// here on.
    pub fn drain(&mut self, now: Instant) -> io::Result<DemandEvents> {
        let (mut seen, brake) = (DemandEvents::default(), &mut self.brake);
        let failed = |_, error: Error| complain(brake, now, &error);
        self.follower
            .read(now, |_, happened| seen.note(happened), failed)?;
        Ok(seen)
    }

    /// Watches the directory that is at the path now, and reports what that shows: if there was no watch before, or
    /// it was on another directory, anything may have happened. To be called after a new directory has been made
    /// there and before it is announced, so that no request is missed in between.
    pub fn follow(&mut self, now: Instant) -> DemandEvents {
        let (mut seen, brake) = (DemandEvents::default(), &mut self.brake);
        let failed = |_, error: Error| complain(brake, now, &error);
        self.follower
            .look_at_all(now, |_, happened| seen.note(happened), failed);
        seen
    }

    /// When to call [`Demand::follow`] again because the directory could not be watched.
    pub fn retry_at(&self) -> Option<Instant> {
        self.follower.retry_at()
    }
}

impl AsFd for Demand {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.follower.as_fd()
    }
}

impl DemandEvents {
    fn note(&mut self, happened: Happened) {
        match happened {
            Happened::Current => self.asked = true,
            // Reading the state is not a request for a frame.
            Happened::State | Happened::Written => {}
            Happened::Gone => self.lost = true,
            Happened::Returned => (self.asked, self.lost) = (true, true),
        }
    }
}
