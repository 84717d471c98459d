//! Follows directories by their paths: tells what happens in them, and when they come, go or are
//! replaced. Both sides of the frame directory stand on it ([`super::watch`], [`super::demand`]).
//!
//! inotify(7) watches inodes, while a frame directory is a path: it may not exist yet, may be deleted
//! and made again, or another directory may be moved into its place. So the directory itself is watched,
//! and beside it every directory that the path leads through:
//!
//! | role | watched for |
//! | --- | --- |
//! | home, the directory itself | what the owner wants, and its own end |
//! | signpost, where the next name is missing, is the last one, or is a symlink; the parent of one where it is missing | that name made, deleted, moved |
//! | way, any other directory on the path | being moved itself |
//!
//! A watch is set first and what it guards is looked at afterwards; a change before the look is seen by
//! the look, one after it is an event. Any event that concerns the path leads to a new walk along it, and
//! what the walk finds is compared with what was there: nothing is concluded from the event itself.
//!
//! Why the signpost of a directory that is there: IN_DELETE_SELF comes only when the last descriptor of
//! the directory, *or of any deleted file that was in it*, is closed (tried on Linux 6.18, tmpfs and
//! ext4). A producer holds the directory, a reader holds frames; both would learn of a deletion too late. The
//! directories above, too, are held like that: hence the parent of a signpost that waits for a missing name.
//!
//! A directory is known again by its watch descriptor, not by its inode number: numbers come back, watch
//! descriptors do not.
//!
//! What the kernel does not tell, and so is not noticed: a file system mounted over the directory or its
//! path, and changes of permission.

mod watches;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use log::warn;
use rustix::fs::inotify::{ReadFlags, WatchFlags};
use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::frames::state::STATE;
use crate::logging::Brake;
use watches::{Role, Use, Watches};

/// As many symlinks as the kernel follows in one path (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// Walks begun anew because the path changed under way, before it is left for later.
const MAX_WALKS: usize = 16;

/// First and longest wait for what inotify cannot tell of: a watch limit raised, a permission given.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Names a directory that is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DirId(pub u32);

/// What happened to a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happened {
    /// The event that the follower was made for, on the name that it was made for.
    Current,
    /// The same on `state`.
    State,
    /// The directory appeared, or events were lost: anything may have happened in it.
    Returned,
    /// The directory is no longer at its path.
    Gone,
}

/// Any number of directories on one inotify instance.
#[derive(Debug)]
pub(super) struct Follower {
    watches: Watches,
    /// The name that the wanted events are about; without one, any name.
    name: Option<&'static str>,
    places: BTreeMap<DirId, Place>,
    next_id: u32,
}

#[derive(Debug)]
struct Place {
    /// Absolute; not resolved, for what it resolves to may change.
    path: PathBuf,
    /// The watch on the directory itself, while it is there.
    home: Option<i32>,
    retry: Option<Retry>,
}

#[derive(Debug, Clone, Copy)]
struct Retry {
    at: Instant,
    wait: Duration,
}

impl Follower {
    /// A follower that tells of `wanted` events of files called `name`, or of any file without a name.
    pub(super) fn new(wanted: WatchFlags, name: Option<&'static str>) -> Result<Self> {
        Ok(Follower {
            watches: Watches::new(wanted)?,
            name,
            places: BTreeMap::new(),
            next_id: 0,
        })
    }

    /// Follows `dir` from now on. `Ok(false)` says that it is not there yet; an error says what was
    /// refused, and [`Follower::retry`] goes on trying.
    pub(super) fn add(&mut self, dir: &Path, now: Instant) -> (DirId, Result<bool>) {
        let id = DirId(self.next_id);
        self.next_id += 1;
        let place = Place {
            // Fails for an empty path and without a current directory; the walk then says so.
            path: std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned()),
            home: None,
            retry: None,
        };
        self.places.insert(id, place);
        let walked = self.look(id, now);
        (id, walked.map(|()| self.places[&id].home.is_some()))
    }

    /// Whether the directory was there at the last look.
    pub(super) fn is_there(&self, id: DirId) -> bool {
        self.places
            .get(&id)
            .is_some_and(|place| place.home.is_some())
    }

    /// Ends following; nothing with this name is told after it.
    pub(super) fn remove(&mut self, id: DirId) {
        if self.places.remove(&id).is_some() {
            self.watches.assign(id, Vec::new());
        }
    }

    /// Takes in everything that has happened, without blocking. A directory that could not be followed
    /// further is told to `failed` and tried again by [`Follower::retry`].
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
        // First: what the producer says explains the frames that come or do not come.
        for &id in &news.state {
            told(id, Happened::State);
        }
        for &id in &news.current {
            told(id, Happened::Current);
        }
        self.look_again(news.stale, news.overflow, now, told, failed);
        events
    }

    /// When [`Follower::retry`] is due; `None` while inotify tells everything.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        let retries = self.places.values().filter_map(|place| place.retry);
        retries.map(|retry| retry.at).min()
    }

    /// Tries again to follow the directories that could not be followed and are due.
    pub(super) fn retry(
        &mut self,
        now: Instant,
        told: impl FnMut(DirId, Happened),
        failed: impl FnMut(DirId, Error),
    ) {
        let due = |place: &Place| place.retry.is_some_and(|retry| retry.at <= now);
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

    /// Walks along the path and sets the watches that it needs as it is now.
    fn look(&mut self, id: DirId, now: Instant) -> Result<()> {
        let Some(place) = self.places.get(&id) else {
            return Ok(());
        };
        let mut uses = Vec::new();
        let walked = walk(&mut self.watches, &place.path, id, &mut uses);
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

/// Logs that a directory cannot be followed for now.
pub(super) fn complain(brake: &mut Brake, now: Instant, error: &Error) {
    if let Some(held_back) = brake.pass(now) {
        warn!("{error}; trying again ({held_back} more such failures since the last message)");
    }
}

/// The sense of one batch of events.
#[derive(Default)]
struct News {
    current: BTreeSet<DirId>,
    state: BTreeSet<DirId>,
    stale: BTreeSet<DirId>,
    overflow: bool,
}

impl News {
    fn take(&mut self, uses: &[Use], flags: ReadFlags, name: Option<&OsStr>, is_wanted: bool) {
        self.overflow |= flags.contains(ReadFlags::QUEUE_OVERFLOW);
        // The watched directory itself has gone or moved, or the kernel ended the watch.
        let own_end =
            ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT | ReadFlags::IGNORED;
        for one in uses {
            let ended = flags.intersects(own_end);
            match &one.role {
                Role::Home if !ended && is_wanted => {
                    self.current.insert(one.dir);
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
    let wait = before.map_or(RETRY.0, |retry| (retry.wait * 2).min(RETRY.1));
    Retry {
        at: now + wait,
        wait,
    }
}

/// Walks along `path` and notes in `uses` which watches it takes; gives the watch on the directory itself,
/// or `None` while some part of the path does not exist.
fn walk(
    watches: &mut Watches,
    path: &Path,
    id: DirId,
    uses: &mut Vec<(i32, Use)>,
) -> Result<Option<i32>> {
    for _ in 0..MAX_WALKS {
        let mut walk = Walk {
            watches,
            id,
            uses,
            at: PathBuf::from("/"),
            ahead: ahead(path),
            links: 0,
        };
        match walk.all_the_way() {
            // Another directory, or none, stands where one was a moment ago.
            Err((_, Errno::NOENT | Errno::NOTDIR | Errno::LOOP)) => uses.clear(),
            Err((at, errno)) => {
                return Err(errno).doing(|| format!("watch {} ({})", at.display(), hint(errno)));
            }
            Ok(home) => return Ok(home),
        }
    }
    Err(Errno::AGAIN).doing(|| format!("watch {}, which keeps changing", path.display()))
}

/// What an administrator can do about a refusal.
fn hint(errno: Errno) -> &'static str {
    match errno {
        Errno::NOSPC => "see fs.inotify.max_user_watches, inotify(7)",
        Errno::ACCESS => "watching takes read permission",
        _ => "inotify_add_watch(2)",
    }
}

/// The names of a path, the next one last.
fn ahead(path: &Path) -> Vec<OsString> {
    let names = path.components().rev().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    names.collect()
}

/// Where a walk has come to. `at` is free of symlinks, so that its parent is the one its text says.
struct Walk<'a> {
    watches: &'a mut Watches,
    id: DirId,
    uses: &'a mut Vec<(i32, Use)>,
    at: PathBuf,
    ahead: Vec<OsString>,
    links: usize,
}

type Refused = (PathBuf, Errno);

impl Walk<'_> {
    fn all_the_way(&mut self) -> Result<Option<i32>, Refused> {
        while let Some(name) = self.ahead.pop() {
            if name == ".." {
                self.at.pop();
            } else if !self.step(name)? {
                return Ok(None);
            }
        }
        self.watch(Role::Home).map(Some)
    }

    /// Goes on by one name; false where there is nothing to go on to.
    fn step(&mut self, name: OsString) -> Result<bool, Refused> {
        let next = self.at.join(&name);
        let plain = !self.ahead.is_empty() && kind(&next)? == Kind::Directory;
        if plain {
            // Without the right to watch it, all that goes unnoticed is that it is moved.
            match self.watch(Role::Way) {
                Err((_, Errno::ACCESS)) | Ok(_) => {}
                Err(refused) => return Err(refused),
            }
            self.at = next;
            return Ok(true);
        }
        let guarded = self.watch(Role::Signpost(name.clone()));
        // Only now, with the watch in place.
        let kind = kind(&next)?;
        let signpost = match guarded {
            // The directory is there and tells of its own moves; it is its parent that cannot be read.
            Err((_, Errno::ACCESS)) if kind == Kind::Directory => None,
            guarded => Some(guarded?),
        };
        match kind {
            Kind::Directory => self.at = next,
            Kind::Link => return self.turn_off(&next),
            Kind::Other => return self.guard_signpost(signpost, name).map(|()| false),
        }
        Ok(true)
    }

    /// Sees to it that the end of a directory in which a name is missing is told at once, by its parent.
    fn guard_signpost(&mut self, before: Option<i32>, missing: OsString) -> Result<(), Refused> {
        let waiting = self.at.clone();
        let (Some(name), true) = (waiting.file_name(), self.at.pop()) else {
            return Ok(());
        };
        let guarded = self.watch(Role::Signpost(name.to_owned()));
        self.at.clone_from(&waiting);
        match guarded {
            // As of any directory on the way.
            Err((_, Errno::ACCESS)) => return Ok(()),
            guarded => drop(guarded?),
        }
        // Only now: is it still the same?
        let same = Some(self.watch(Role::Signpost(missing))?) == before;
        same.then_some(()).ok_or((waiting, Errno::NOENT))
    }

    /// Goes on where a symlink leads. One that leads round in a circle leads nowhere.
    fn turn_off(&mut self, link: &Path) -> Result<bool, Refused> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Ok(false);
        }
        let target = fs::read_link(link).map_err(|error| refused(link, &error))?;
        if target.is_absolute() {
            self.at = PathBuf::from("/");
        }
        self.ahead.extend(ahead(&target));
        Ok(true)
    }

    fn watch(&mut self, role: Role) -> Result<i32, Refused> {
        let wd = self.watches.watch(&self.at, &role);
        let wd = wd.map_err(|errno| (self.at.clone(), errno))?;
        self.uses.push((wd, Use { dir: self.id, role }));
        Ok(wd)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Directory,
    Link,
    /// Nothing, or something that no path leads through.
    Other,
}

fn kind(path: &Path) -> Result<Kind, Refused> {
    match fs::symlink_metadata(path) {
        Ok(about) if about.is_dir() => Ok(Kind::Directory),
        Ok(about) if about.is_symlink() => Ok(Kind::Link),
        Ok(_) => Ok(Kind::Other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Kind::Other),
        Err(error) => Err(refused(path, &error)),
    }
}

fn refused(path: &Path, error: &io::Error) -> Refused {
    let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
    (path.to_owned(), errno)
}
