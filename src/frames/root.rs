//! A root: the directory in which cameras have their frame directories, each under its name.
//!
//! Cameras come and go with those directories, and so may the root itself: it is followed like a frame directory
//! (`frames/follow.rs`). An event only says that it is time to look. Which cameras there are is read from the
//! directory, so a lost event only delays the result until the next one.
//!
//! A camera is a *directory* with a valid name. A symlink is never one, wherever it leads: otherwise, whoever may
//! write into the root could make the server show files that it can read elsewhere. See also [`super::frame::Links`].

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::inotify::WatchFlags;

use crate::error::{Context, Error, Result};
use crate::frames::follow::{Follower, complain};
use crate::frames::name::Name;
use crate::logging::Brake;

/// Reports when the cameras in a directory may have changed, and which there are.
#[derive(Debug)]
pub struct Root {
    dir: PathBuf,
    follower: Follower,
    /// When to look again, because the directory could not be read.
    again: Option<Instant>,
    brake: Brake,
}

/// A root with more entries than this is not read, because whoever may write into it could keep the server busy with
/// nothing else. The cameras that are already known stay.
const MOST_ENTRIES: usize = 4096;

/// The wait before another attempt to read it, where no event says when that makes sense.
const RETRY: Duration = Duration::from_secs(1);

impl Root {
    /// Watches `dir`, which need not exist yet. What is already in it is not reported, so look at it after this call.
    pub fn new(dir: &Path) -> Result<Self> {
        let names = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE;
        let mut root = Root {
            dir: dir.to_owned(),
            follower: Follower::new(names, None)?,
            again: None,
            brake: Brake::new(Duration::from_secs(60)),
        };
        let now = Instant::now();
        let (_, followed) = root.follower.add(dir, now);
        if let Err(error) = followed {
            complain(&mut root.brake, now, &error);
        }
        Ok(root)
    }

    /// The directory that contains the cameras' directories.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Handles what has happened, without blocking. True means that it is time to look again.
    pub fn read(&mut self, now: Instant) -> io::Result<bool> {
        let (mut changed, brake) = (false, &mut self.brake);
        self.follower.read(
            now,
            |_, _| changed = true,
            |_, error| complain(brake, now, &error),
        )?;
        Ok(changed)
    }

    /// When to call [`Root::retry`]; `None`, the usual case, means never.
    pub fn retry_at(&self) -> Option<Instant> {
        let follower = self.follower.retry_at();
        follower.into_iter().chain(self.again).min()
    }

    /// Tries again to watch what could not be watched. True means that it is time to look again.
    pub fn retry(&mut self, now: Instant) -> bool {
        let due = self.again.take_if(|at| *at <= now).is_some();
        let (mut changed, brake) = (due, &mut self.brake);
        self.follower.retry(
            now,
            |_, _| changed = true,
            |_, error| complain(brake, now, &error),
        );
        changed
    }

    /// The cameras that exist now, by name; a root that is missing has none. `None` means that the root could not be
    /// read, or has too many entries; [`Root::retry`] then tells when to look again.
    pub fn cameras(&mut self, now: Instant) -> Option<Vec<Name>> {
        self.again = None;
        match cameras_in(&self.dir) {
            Ok(names) => Some(names),
            Err(error) => {
                complain(&mut self.brake, now, &error);
                self.again = Some(now + RETRY);
                None
            }
        }
    }
}

fn cameras_in(dir: &Path) -> Result<Vec<Name>> {
    let doing = || format!("look for cameras in {}", dir.display());
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if is_missing(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error).doing(doing),
    };
    let mut names = Vec::new();
    for (number, entry) in entries.enumerate() {
        if number >= MOST_ENTRIES {
            return Err(Error::Input(format!(
                "{} has more than {MOST_ENTRIES} entries, too many to look for cameras",
                dir.display()
            )));
        }
        let entry = entry.doing(doing)?;
        // The type of the entry itself, not of a symlink's target. An entry that has just gone counts as no
        // directory.
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let name = entry.file_name();
        let name = name.to_str().and_then(|name| name.parse().ok());
        names.extend(name.filter(|_| is_directory));
    }
    names.sort_unstable();
    Ok(names)
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.follower.as_fd()
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
