//! The walk along the path of a directory, name by name, with a watch set wherever a change would lead elsewhere.
//!
//! What must be watched, and why, is said in [`super`]. Symlinks are followed by hand, because each of them is a place where the path can change.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use rustix::io::Errno;

use super::watches::{DirId, Role, Use, Watches};
use crate::error::{Context, Result};

/// The number of symlinks that the kernel follows in one path (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// How often a walk is started again because the path changed meanwhile, before the next attempt is put off.
const MAX_WALKS: usize = 16;

/// Walks along `path` and notes in `uses` which watches it needs. Returns the watch on the directory itself, or
/// `None` while some part of the path does not exist.
pub(super) fn walk(
    watches: &mut Watches,
    path: &Path,
    id: DirId,
    uses: &mut Vec<(i32, Use)>,
) -> Result<Option<i32>> {
    for _ in 0..MAX_WALKS {
        let mut walk = PathWalk {
            watches,
            id,
            uses,
            at: PathBuf::from("/"),
            ahead: ahead(path),
            links: 0,
        };
        match walk.all_the_way() {
            // A directory that existed a moment ago is gone, or another one is in its place.
            Err((_, Errno::NOENT | Errno::NOTDIR | Errno::LOOP)) => uses.clear(),
            Err((at, errno)) => {
                return Err(errno).doing(|| format!("watch {} ({})", at.display(), hint(errno)));
            }
            Ok(home) => return Ok(home),
        }
    }
    Err(Errno::AGAIN).doing(|| format!("watch {}, which keeps changing", path.display()))
}

/// What an administrator can do when the system refuses.
fn hint(errno: Errno) -> &'static str {
    match errno {
        Errno::NOSPC => "see fs.inotify.max_user_watches, inotify(7)",
        Errno::ACCESS => "watching takes read permission",
        _ => "inotify_add_watch(2)",
    }
}

/// The components of a path in reverse order, so that the next one is last.
fn ahead(path: &Path) -> Vec<OsString> {
    let names = path.components().rev().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    names.collect()
}

/// The position of a walk. `at` contains no symlinks, so its parent is the one that its text shows.
struct PathWalk<'a> {
    watches: &'a mut Watches,
    id: DirId,
    uses: &'a mut Vec<(i32, Use)>,
    at: PathBuf,
    ahead: Vec<OsString>,
    links: usize,
}

type RefusedPath = (PathBuf, Errno);

impl PathWalk<'_> {
    fn all_the_way(&mut self) -> Result<Option<i32>, RefusedPath> {
        while let Some(name) = self.ahead.pop() {
            if name == ".." {
                self.at.pop();
            } else if !self.step(name)? {
                return Ok(None);
            }
        }
        self.watch(Role::Home).map(Some)
    }

    /// Goes on by one name; returns false if there is nothing to go on to.
    fn step(&mut self, name: OsString) -> Result<bool, RefusedPath> {
        let next = self.at.join(&name);
        let plain = !self.ahead.is_empty() && kind(&next)? == Kind::Directory;
        if plain {
            // Without permission to watch this directory, only one thing goes unnoticed: that it is moved.
            match self.watch(Role::Way) {
                Err((_, Errno::ACCESS)) | Ok(_) => {}
                Err(refused) => return Err(refused),
            }
            self.at = next;
            return Ok(true);
        }
        let guarded = self.watch(Role::Signpost(name.clone()));
        // Only now that the watch is set.
        let kind = kind(&next)?;
        let signpost = match guarded {
            // The directory exists and reports when it is moved itself; only its parent cannot be read.
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

    /// Makes sure that the end of a directory in which a name is missing is reported at once, by its parent.
    fn guard_signpost(
        &mut self,
        before: Option<i32>,
        missing: OsString,
    ) -> Result<(), RefusedPath> {
        let waiting = self.at.clone();
        let (Some(name), true) = (waiting.file_name(), self.at.pop()) else {
            return Ok(());
        };
        let guarded = self.watch(Role::Signpost(name.to_owned()));
        self.at.clone_from(&waiting);
        match guarded {
            // As for any directory on the way.
            Err((_, Errno::ACCESS)) => return Ok(()),
            guarded => drop(guarded?),
        }
        // Only now, with its parent watched: is it still the same directory?
        let same = Some(self.watch(Role::Signpost(missing))?) == before;
        same.then_some(()).ok_or((waiting, Errno::NOENT))
    }

    /// Goes on where a symlink leads. One that leads back to itself leads nowhere.
    fn turn_off(&mut self, link: &Path) -> Result<bool, RefusedPath> {
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

    fn watch(&mut self, role: Role) -> Result<i32, RefusedPath> {
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
    /// Nothing, or something that a path cannot lead through.
    Other,
}

fn kind(path: &Path) -> Result<Kind, RefusedPath> {
    match fs::symlink_metadata(path) {
        Ok(about) if about.is_dir() => Ok(Kind::Directory),
        Ok(about) if about.is_symlink() => Ok(Kind::Link),
        Ok(_) => Ok(Kind::Other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Kind::Other),
        Err(error) => Err(refused(path, &error)),
    }
}

fn refused(path: &Path, error: &io::Error) -> RefusedPath {
    let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
    (path.to_owned(), errno)
}
