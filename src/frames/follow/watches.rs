//! One inotify instance, its watches, and who uses each watch for what.
//!
//! Watching an inode a second time returns the same watch descriptor (inotify_add_watch(2)), so paths that share
//! ancestors, or lead to the same directory, share watches. Each watch asks for the events that its users need
//! together. Events are added when users come and removed when users go, so that nobody is woken for something that
//! only a former user wanted.

use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use crate::error::{Context, Result};
use crate::event::NumberMap;

/// Room for the events of one read(2).
const BUFFER: usize = 8192;

/// The largest size of one event: the header and a name of NAME_MAX bytes with its NUL (inotify(7)).
const LARGEST_EVENT: usize = 16 + 256;

/// Identifies a directory that is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DirId(pub u32);

/// The role that a watched directory has for a followed one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It is the followed directory itself.
    Home,
    /// The path goes on, or would go on, with this name.
    Signpost(OsString),
    /// The path leads through it.
    Way,
}

/// One followed directory's interest in a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Use {
    pub(super) dir: DirId,
    pub(super) role: Role,
}

#[derive(Debug)]
struct Watch {
    /// The path at which the inode was found. It is needed to change the mask: the kernel offers no other way.
    path: PathBuf,
    mask: WatchFlags,
    uses: Vec<Use>,
}

/// All watches of one inotify instance.
#[derive(Debug)]
pub(super) struct Watches {
    inotify: OwnedFd,
    wanted: WatchFlags,
    /// Keyed by watch descriptor: the kernel assigns them by counting up.
    all: NumberMap<i32, Watch>,
}

impl Watches {
    /// Creates an instance without watches; directories with the role `Home` will be watched for `wanted`.
    pub(super) fn new(wanted: WatchFlags) -> Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .doing(|| "create an inotify instance (see fs.inotify.max_user_instances)".into())?;
        Ok(Watches {
            inotify,
            wanted,
            all: NumberMap::default(),
        })
    }

    /// Sets the watch that `role` requires on the directory `path`, in addition to what is already watched there. It
    /// has no users, and nobody is notified of its events, until [`Watches::assign`].
    pub(super) fn watch(&mut self, path: &Path, role: &Role) -> Result<i32, Errno> {
        let mask = self.mask(role);
        let wd = set(&self.inotify, path, mask | WatchFlags::MASK_ADD)?;
        let watch = self.all.entry(wd).or_insert_with(|| Watch {
            path: path.to_owned(),
            mask: WatchFlags::empty(),
            uses: Vec::new(),
        });
        path.clone_into(&mut watch.path);
        watch.mask |= mask;
        Ok(wd)
    }

    /// Replaces all uses of the followed directory `dir`, and removes watches that nobody needs any more.
    pub(super) fn assign(&mut self, dir: DirId, uses: Vec<(i32, Use)>) {
        for watch in self.all.values_mut() {
            watch.uses.retain(|one| one.dir != dir);
        }
        for (wd, one) in uses {
            if let Some(watch) = self.all.get_mut(&wd) {
                watch.uses.push(one);
            }
        }
        self.give_up_the_unneeded();
    }

    fn give_up_the_unneeded(&mut self) {
        let unused = self.all.iter().filter(|(_, watch)| watch.uses.is_empty());
        for wd in unused.map(|(wd, _)| *wd).collect::<Vec<_>>() {
            self.all.remove(&wd);
            // This fails only if the kernel has already ended the watch.
            let _ = inotify::remove_watch(&self.inotify, wd);
        }
        let mut needed = Vec::new();
        for (&wd, watch) in &self.all {
            let masks = watch.uses.iter().map(|one| self.mask(&one.role));
            let mask = masks.fold(WatchFlags::empty(), WatchFlags::union);
            if mask != watch.mask {
                needed.push((wd, mask));
            }
        }
        for (wd, mask) in needed {
            self.narrow(wd, mask);
        }
    }

    /// Reduces what is watched for. If another directory has taken the path in the meantime, the mask stays as it is
    /// (an event about that is on its way), and the watch that was just set on the other directory is removed.
    fn narrow(&mut self, wd: i32, mask: WatchFlags) {
        let Some(watch) = self.all.get_mut(&wd) else {
            return;
        };
        match set(&self.inotify, &watch.path, mask) {
            Ok(same) if same == wd => watch.mask = mask,
            Ok(other) if !self.all.contains_key(&other) => {
                let _ = inotify::remove_watch(&self.inotify, other);
            }
            Ok(other) => self.widen(other),
            Err(_) => {}
        }
    }

    /// Restores the mask of a watch that was reduced by mistake.
    fn widen(&mut self, wd: i32) {
        if let Some(watch) = self.all.get(&wd) {
            let _ = set(
                &self.inotify,
                &watch.path,
                watch.mask | WatchFlags::MASK_ADD,
            );
        }
    }

    fn mask(&self, role: &Role) -> WatchFlags {
        let own_end = WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
        let names = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE;
        match role {
            Role::Home => self.wanted | own_end,
            Role::Signpost(_) => names | own_end,
            Role::Way => own_end,
        }
    }

    /// Hands out all queued events, each with the uses of its watch and, if it is about a file, that file's name.
    /// This usually takes one read(2): if the buffer has room left, the queue is empty.
    pub(super) fn read(
        &mut self,
        mut each: impl FnMut(&[Use], ReadFlags, Option<&OsStr>),
    ) -> io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        let mut taken = 0;
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            let name = event
                .file_name()
                .map(|name| OsStr::from_bytes(name.to_bytes()));
            taken += 16 + name.map_or(0, |name| (name.len() + 1).next_multiple_of(16));
            let uses = self
                .all
                .get(&event.wd())
                .map_or(&[][..], |watch| &watch.uses);
            each(uses, event.events(), name);
            if event.events().contains(ReadFlags::IGNORED) {
                self.all.remove(&event.wd());
            }
            if reader.is_buffer_empty() {
                if taken + LARGEST_EVENT <= BUFFER {
                    return Ok(());
                }
                taken = 0;
            }
        }
    }
}

impl AsFd for Watches {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

/// inotify_add_watch(2) of a directory, not through a symlink.
fn set(inotify: &OwnedFd, path: &Path, mask: WatchFlags) -> Result<i32, Errno> {
    let only = WatchFlags::ONLYDIR | WatchFlags::DONT_FOLLOW;
    inotify::add_watch(inotify, path, mask | only)
}
