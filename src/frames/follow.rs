//! Follows directories by their paths: reports what happens in them, and when they appear, disappear or are replaced.
//! Both sides of the frame directory are built on it ([`super::watch`], [`super::demand`]).
//!
//! inotify(7) watches inodes, but a frame directory is a path: it may not exist yet, it may be deleted and made
//! again, or another directory may be moved into its place. So the directory itself is watched, and so is every
//! directory that the path leads through:
//!
//! | role | watched for |
//! | --- | --- |
//! | home: the directory itself | what the owner wants to know, and its own end |
//! | signpost: a directory in which the next name of the path is missing, is the last one, or is a symlink; also the parent of a signpost whose next name is missing | that name being made, deleted or moved |
//! | way: any other directory on the path | being moved itself |
//!
//! A watch is set first, and what it guards is looked at afterwards: a change before the look is seen by the look,
//! and one after it causes an event. Any event that concerns the path leads to a new walk along the path, whose
//! result is compared with what was there before. Nothing is concluded from the event itself.
//!
//! The signpost is needed even while the directory exists, because IN_DELETE_SELF comes only once the last descriptor
//! of the directory, *or of any deleted file that was in it*, is closed (tried on Linux 6.18, tmpfs and ext4). A
//! producer holds the directory open and a reader holds frames open, so both would learn of a deletion too late. The
//! directories above can be held open in the same way, which is why the parent of a signpost with a missing name is
//! watched too.
//!
//! A directory is recognised by its watch descriptor and not by its inode number: inode numbers are reused, watch
//! descriptors are not.
//!
//! Two changes are not reported by the kernel and therefore go unnoticed: a file system mounted over the directory or
//! its path, and changed permissions.

mod path;
mod watches;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use log::warn;
use rustix::fs::inotify::{ReadFlags, WatchFlags};

use crate::error::{Error, Result};
use crate::frames::state::STATE;
use crate::logging::Brake;
use crate::time::backoff::Backoff;
pub use watches::DirId;
use watches::{Role, Use, Watches};

/// The first and the longest wait before another attempt, for changes that inotify cannot report: a raised watch
/// limit, a permission that was granted.
const RETRY: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));

/// What happened to a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happened {
    /// The event that the follower was made for, on the file name that it was made for.
    Current,
    /// The file of that name was written to and closed (IN_CLOSE_WRITE), if that is among the wanted events.
    Written,
    /// The same events on `state`.
    State,
    /// The directory appeared, or events were lost: anything may have happened in it.
    Returned,
    /// The directory is no longer at its path.
    Gone,
}

/// Follows any number of directories with one inotify instance.
#[derive(Debug)]
pub(super) struct Follower {
    watches: Watches,
    /// The file name that the wanted events are about; `None` stands for any name.
    name: Option<&'static str>,
    places: BTreeMap<DirId, Followed>,
    next_id: u32,
}

#[derive(Debug)]
struct Followed {
    /// Absolute but not resolved, because what it resolves to may change.
    path: PathBuf,
    /// The watch on the directory itself, while the directory exists.
    home: Option<i32>,
    retry: Option<Retry>,
}

#[derive(Debug, Clone, Copy)]
struct Retry {
    at: Instant,
    backoff: Backoff,
}

impl Follower {
    /// Creates a follower that reports the events `wanted` for files called `name`, or for any file if there is no
    /// name.
    pub(super) fn new(wanted: WatchFlags, name: Option<&'static str>) -> Result<Self> {
        Ok(Follower {
            watches: Watches::new(wanted)?,
            name,
            places: BTreeMap::new(),
            next_id: 0,
        })
    }

    /// Follows `dir` from now on. `Ok(false)` means that it does not exist yet. An error says what was refused;
    /// [`Follower::retry`] keeps trying.
    pub(super) fn add(&mut self, dir: &Path, now: Instant) -> (DirId, Result<bool>) {
        let id = DirId(self.next_id);
        self.next_id += 1;
        let place = Followed {
            // This fails for an empty path, or without a current directory; the walk then reports the error.
            path: std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned()),
            home: None,
            retry: None,
        };
        self.places.insert(id, place);
        let walked = self.look(id, now);
        (id, walked.map(|()| self.places[&id].home.is_some()))
    }

    /// Whether the directory existed at the last look.
    pub(super) fn is_there(&self, id: DirId) -> bool {
        self.places
            .get(&id)
            .is_some_and(|place| place.home.is_some())
    }

    /// Stops following the directory; nothing is reported under this id afterwards.
    pub(super) fn remove(&mut self, id: DirId) {
        if self.places.remove(&id).is_some() {
            self.watches.assign(id, Vec::new());
        }
    }

    /// Handles everything that has happened, without blocking. A directory that can no longer be followed is reported
    /// to `failed`, and [`Follower::retry`] tries it again.
    pub(super) fn read(
        &mut self,
        now: Instant,
        mut told: impl FnMut(DirId, Happened),
        failed: impl FnMut(DirId, Error),
    ) -> io::Result<()> {
        let mut news = News::default();
        let wanted = self.name.map(OsStr::new);
        let events = self.watches.read(|uses, flags, name| {
            let is_wanted = name.is_some() && (wanted.is_none() || name == wanted);
            news.take(uses, flags, name, is_wanted);
        });
        if news.overflow {
            news.stale.extend(self.places.keys());
        }
        // The state goes first: what the producer says explains why frames come or do not come.
        for &id in &news.state {
            told(id, Happened::State);
        }
        for &id in &news.written {
            told(id, Happened::Written);
        }
        for &id in &news.current {
            told(id, Happened::Current);
        }
        self.look_again(news.stale, news.overflow, now, told, failed);
        events
    }

    /// When [`Follower::retry`] is due; `None` while inotify reports everything.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        let retries = self.places.values().filter_map(|place| place.retry);
        retries.map(|retry| retry.at).min()
    }

    /// Tries again those directories that could not be followed and whose next attempt is due.
    pub(super) fn retry(
        &mut self,
        now: Instant,
        told: impl FnMut(DirId, Happened),
        failed: impl FnMut(DirId, Error),
    ) {
        let due = |place: &Followed| place.retry.is_some_and(|retry| retry.at <= now);
        let places = self.places.iter().filter(|(_, place)| due(place));
        let ids = places.map(|(id, _)| *id).collect();
        self.look_again(ids, false, now, told, failed);
    }

    /// Looks at every followed directory now, without waiting for events.
    pub(super) fn look_at_all(
        &mut self,
        now: Instant,
        told: impl FnMut(DirId, Happened),
        failed: impl FnMut(DirId, Error),
    ) {
        let ids = self.places.keys().copied().collect();
        self.look_again(ids, false, now, told, failed);
    }

    fn look_again(
        &mut self,
        ids: BTreeSet<DirId>,
        events_lost: bool,
        now: Instant,
        mut told: impl FnMut(DirId, Happened),
        mut failed: impl FnMut(DirId, Error),
    ) {
        for id in ids {
            let Some(before) = self.places.get(&id).map(|place| place.home) else {
                continue;
            };
            if let Err(error) = self.look(id, now) {
                failed(id, error);
            }
            let after = self.places[&id].home;
            if after.is_some() && (after != before || events_lost) {
                told(id, Happened::Returned);
            } else if after.is_none() && before.is_some() {
                told(id, Happened::Gone);
            }
        }
    }

    /// Walks along the path and sets the watches that it needs in its present state.
    fn look(&mut self, id: DirId, now: Instant) -> Result<()> {
        let Some(place) = self.places.get(&id) else {
            return Ok(());
        };
        let mut uses = Vec::new();
        let walked = path::walk(&mut self.watches, &place.path, id, &mut uses);
        self.watches.assign(id, uses);
        let Some(place) = self.places.get_mut(&id) else {
            return Ok(());
        };
        place.home = *walked.as_ref().unwrap_or(&None);
        place.retry = walked.is_err().then(|| next_retry(place.retry, now));
        walked.map(|_| ())
    }
}

impl AsFd for Follower {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watches.as_fd()
    }
}

/// Logs that a directory cannot be followed for the time being.
pub(super) fn complain(brake: &mut Brake, now: Instant, error: &Error) {
    if let Some(held_back) = brake.pass(now) {
        warn!("{error}; trying again ({held_back} more such failures since the last message)");
    }
}

/// The outcome of one batch of events.
#[derive(Default)]
struct News {
    current: BTreeSet<DirId>,
    written: BTreeSet<DirId>,
    state: BTreeSet<DirId>,
    stale: BTreeSet<DirId>,
    overflow: bool,
}

impl News {
    fn take(&mut self, uses: &[Use], flags: ReadFlags, name: Option<&OsStr>, is_wanted: bool) {
        self.overflow |= flags.contains(ReadFlags::QUEUE_OVERFLOW);
        // The watched directory itself has gone or moved, or the kernel has ended the watch.
        let own_end =
            ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT | ReadFlags::IGNORED;
        for one in uses {
            let ended = flags.intersects(own_end);
            match &one.role {
                Role::Home if !ended && is_wanted => {
                    if flags.contains(ReadFlags::CLOSE_WRITE) {
                        self.written.insert(one.dir);
                    } else {
                        self.current.insert(one.dir);
                    }
                }
                Role::Home if !ended && name == Some(OsStr::new(STATE)) => {
                    self.state.insert(one.dir);
                }
                Role::Signpost(waited_for) if name == Some(waited_for) => {
                    self.stale.insert(one.dir);
                }
                _ if ended => {
                    self.stale.insert(one.dir);
                }
                _ => {}
            }
        }
    }
}

fn next_retry(before: Option<Retry>, now: Instant) -> Retry {
    let mut backoff = before.map_or(RETRY, |retry| retry.backoff);
    let at = now + backoff.fail();
    Retry { at, backoff }
}
