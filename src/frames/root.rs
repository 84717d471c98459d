//! A root: the directory in which cameras have their frame directories, each under its name.
//!
//! Cameras come and go with those directories, and so may the root itself: it is followed like a frame directory
//! (`frames/follow.rs`). An event only says that it is time to look; what is there is read from the directory, so
//! that a lost event costs nothing but the time until the next one.
//!
//! A camera is a *directory* with a valid name. Symlinks are none, wherever they lead: who may write into the root
//! could have the server show what it can read elsewhere. See also [`super::frame::Links`].

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

/// Tells when there may be other cameras in a directory, and which there are.
#[derive(Debug)]
pub struct Root {
    dir: PathBuf,
    follower: Follower,
    /// When to look again, because it could not be read.
    again: Option<Instant>,
    brake: Brake,
}

/// Entries beyond which a root is not read: whoever may write into it could keep the server busy with nothing else. The cameras
/// that there are stay.
const MOST_ENTRIES: usize = 4096;

/// The wait before another try to read it, where no event tells when that makes sense.
const RETRY: Duration = Duration::from_secs(1);

impl Root {
    /// Watches `dir`, which need not exist yet. What it holds already is not told: look after this.
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

    /// Where the cameras are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Takes in what has happened, without blocking. True: look again.
    pub fn read(&mut self, now: Instant) -> io::Result<bool> {
        let (mut changed, brake) = (false, &mut self.brake);
        self.follower.read(
            now,
            |_, _| changed = true,
            |_, error| complain(brake, now, &error),
        )?;
        Ok(changed)
    }

    /// When to call [`Root::retry`]; `None`, as nearly always, means never.
    pub fn retry_at(&self) -> Option<Instant> {
        let follower = self.follower.retry_at();
        follower.into_iter().chain(self.again).min()
    }

    /// Tries again to watch what could not be watched. True: look again.
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

    /// The cameras that there are now, by name; a root that is missing has none. `None` says that it could not be read, or has
    /// too many entries, and that [`Root::retry`] tells when to look again.
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
        // Of the entry itself, not of what a symlink leads to. One that has just gone is none.
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
