//! Where `lazycam run` keeps its frames when nobody has said where.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use log::debug;
use rustix::fs::{self as sys, FlockOperation, Mode, OFlags};
use rustix::process::geteuid;

use crate::error::{Context, Error, Result};
use crate::frames::filesystem::{self, FilesystemKind};
use crate::server::Address;

/// How many may listen alike, such as containers that share `/dev/shm`.
const MOST: usize = 64;

/// A frame directory that no other `lazycam run` uses. It is named after the listening address; others may have the same
/// one, in another network namespace or while they end, so it is locked by flock(2), and where that is taken, the name gets
/// a number. The kernel releases the lock however the process ends: what is left of one that was killed is used again by
/// the next one. (The producer's own lock is that of a file in the directory: one says who captures, this one who runs it.)
///
/// Its name is hidden, so that what is left never becomes a camera of `lazycam serve --root`; and it is removed at the
/// end, when nobody writes into it any more. Who could not listen leaves what was there before.
pub(super) struct OwnFrames {
    dir: PathBuf,
    /// The lock belongs to this descriptor. Capture processes do not inherit it.
    held: OwnedFd,
    listens: bool,
}

impl OwnFrames {
    /// For a process that listens there.
    pub(super) fn new(listen: &[Address]) -> Result<Self> {
        let name = listen.first().map_or("camera".into(), |address| {
            let name = address.to_string();
            name.replace(|c: char| !c.is_ascii_alphanumeric(), "-")
        });
        Self::below(&runtime_directory()?, name.trim_matches('-'))
    }

    fn below(base: &Path, name: &str) -> Result<Self> {
        let mut number = 1;
        loop {
            let dir = base.join(match number {
                1 => format!(".{name}"),
                _ => format!(".{name}-{number}"),
            });
            match take(&dir) {
                Ok(held) => {
                    return Ok(OwnFrames {
                        dir,
                        held,
                        listens: false,
                    });
                }
                Err(error) if number < MOST => debug!("not {}: {error}", dir.display()),
                Err(error) => {
                    return Err(error).doing(|| format!("lock frame directory {}", dir.display()));
                }
            }
            number += 1;
        }
    }

    /// The directory.
    pub(super) fn dir(&self) -> &PathBuf {
        &self.dir
    }

    /// This process listens now, so whatever is in the directory is its own.
    pub(super) fn listens(&mut self) {
        self.listens = true;
    }

    fn remove(&self) -> io::Result<()> {
        // If somebody removed it, our capture processes made the one that is there now, or another `run`, which locked it.
        let _again = match is_at(&self.held, &self.dir)? {
            true => None,
            false => Some(take(&self.dir)?),
        };
        match self.listens {
            true => fs::remove_dir_all(&self.dir),
            // Only if it is empty.
            false => fs::remove_dir(&self.dir),
        }
    }
}

impl Drop for OwnFrames {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            debug!("{} stays: {error}", self.dir.display());
        }
    }
}

/// Makes a directory, unless it is there, and locks it, unless somebody else has.
fn take(dir: &Path) -> io::Result<OwnedFd> {
    loop {
        match fs::create_dir(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let held = sys::open(dir, flags, Mode::empty())?;
        sys::flock(&held, FlockOperation::NonBlockingLockExclusive)?;
        sys::access(dir, sys::Access::WRITE_OK)?;
        // Otherwise the one who had it removed it between open and flock, and there is a new one.
        if is_at(&held, dir)? {
            return Ok(held);
        }
    }
}

/// Whether this directory is the one at this path.
fn is_at(held: &OwnedFd, dir: &Path) -> io::Result<bool> {
    let (own, there) = (sys::fstat(held)?, sys::lstat(dir)?);
    Ok((own.st_dev, own.st_ino) == (there.st_dev, there.st_ino))
}

/// A directory that this process can write to: the service's, the system's or the user's runtime directory, or one in
/// `/dev/shm`.
fn runtime_directory() -> Result<PathBuf> {
    let own = std::env::var_os("RUNTIME_DIRECTORY").map(PathBuf::from);
    let users = std::env::var_os("XDG_RUNTIME_DIR").map(|dir| PathBuf::from(dir).join("lazycam"));
    let candidates = [own, Some(PathBuf::from("/run/lazycam")), users];
    let shared = PathBuf::from(format!("/dev/shm/lazycam-{}", geteuid().as_raw()));
    choose(
        candidates.into_iter().flatten().collect(),
        shared,
        filesystem::kind,
    )
}

/// The first of these that is in memory; if there is none, a directory of this user's own in a shared place. In containers
/// `/run` often lies on a disk; then that is only taken where nothing else can be.
fn choose(
    candidates: Vec<PathBuf>,
    shared: PathBuf,
    kind: impl Fn(&Path) -> FilesystemKind,
) -> Result<PathBuf> {
    let (in_memory, elsewhere): (Vec<_>, Vec<_>) = candidates.into_iter().partition(|dir| {
        let there = dir.ancestors().find(|dir| dir.exists());
        there.is_some_and(|dir| kind(dir) == FilesystemKind::Usual)
    });
    if let Some(dir) = first_usable(in_memory) {
        return Ok(dir);
    }
    match make_own(&shared) {
        Ok(()) => Ok(shared),
        Err(error) => first_usable(elsewhere).ok_or(error),
    }
}

/// The first of these that can be made and written to.
fn first_usable(candidates: Vec<PathBuf>) -> Option<PathBuf> {
    candidates.into_iter().find(|candidate| {
        let made = fs::create_dir_all(candidate);
        let can_write =
            || rustix::fs::access(candidate, rustix::fs::Access::WRITE_OK).map_err(Into::into);
        match made.and_then(|()| can_write()) {
            Ok(()) => true,
            Err(error) => {
                debug!("not {}: {error}", candidate.display());
                false
            }
        }
    })
}

/// Makes a directory that belongs to this user alone, in a place where all users may create some. If it were left to
/// whoever created it first, that user could put other pictures there, or a link to somewhere else.
fn make_own(dir: &Path) -> Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made.doing(|| format!("make {}", dir.display())),
    }
    let about = fs::symlink_metadata(dir).doing(|| format!("look at {}", dir.display()))?;
    let others_write = about.mode() & 0o022 != 0;
    if about.is_dir() && about.uid() == geteuid().as_raw() && !others_write {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "{} is not a directory that this user alone may write to: remove it, or name another one with --frames",
        dir.display()
    )))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    #[test]
    fn a_directory_in_a_shared_place_is_made_for_this_user_alone_and_no_other_one_is_taken() {
        let base = std::env::temp_dir().join(format!("lazycam-own-{}", std::process::id()));
        fs::create_dir(&base).unwrap();
        let mode = |dir: &Path, mode| {
            fs::set_permissions(dir, fs::Permissions::from_mode(mode)).unwrap();
        };
        let own = base.join("own");
        make_own(&own).unwrap();
        assert_eq!(fs::metadata(&own).unwrap().mode() & 0o777, 0o700);
        mode(&own, 0o755);
        make_own(&own).unwrap();
        for writable in [0o775, 0o757] {
            mode(&own, writable);
            assert!(matches!(make_own(&own), Err(Error::Usage(_))));
        }
        mode(&own, 0o755);
        let (link, file) = (base.join("link"), base.join("file"));
        symlink(&own, &link).unwrap();
        fs::write(&file, "").unwrap();
        for other in [link, file] {
            assert!(matches!(make_own(&other), Err(Error::Usage(_))));
        }
        // Only root can change the owner.
        if chown(&own, Some(1), None).is_ok() {
            assert!(matches!(make_own(&own), Err(Error::Usage(_))));
        }
        fs::remove_dir_all(&base).unwrap();
    }

    #[test]
    fn what_is_in_memory_comes_first_and_a_disk_last() {
        let base = std::env::temp_dir().join(format!("lazycam-choice-{}", std::process::id()));
        let [ram, other, disk, shared] =
            ["ram", "other", "disk", "shared"].map(|name| base.join(name));
        for place in [&ram, &other, &disk] {
            fs::create_dir_all(place).unwrap();
        }
        let kind = |dir: &Path| match dir.starts_with(&disk) {
            true => FilesystemKind::Disk("ext4"),
            false if dir.starts_with(&base) => FilesystemKind::Usual,
            false => FilesystemKind::Overlay,
        };
        let chosen = |candidates: &[&Path], shared: &Path| {
            let candidates = candidates.iter().map(|dir| dir.join("lazycam")).collect();
            choose(candidates, shared.to_owned(), kind)
        };
        // Those that are not there yet are where they will be.
        assert_eq!(
            chosen(&[&disk, &ram, &other], &shared).unwrap(),
            ram.join("lazycam")
        );
        assert!(!shared.exists() && !disk.join("lazycam").exists());
        // Where none can be made, another one in memory is next.
        let file = base.join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(
            chosen(&[&file, &other], &shared).unwrap(),
            other.join("lazycam")
        );
        assert_eq!(chosen(&[&disk, &file], &shared).unwrap(), shared);
        assert_eq!(chosen(&[], &shared).unwrap(), shared);
        assert_eq!(chosen(&[&disk], &file).unwrap(), disk.join("lazycam"));
        // The reason is that of the shared place.
        assert!(matches!(chosen(&[&file], &file), Err(Error::Usage(_))));
        fs::remove_dir_all(&base).unwrap();
    }

    #[test]
    fn of_those_with_one_name_each_has_a_directory_of_its_own_and_what_was_left_is_used_again() {
        let base = std::env::temp_dir().join(format!("lazycam-alike-{}", std::process::id()));
        fs::create_dir(&base).unwrap();
        let begin = || OwnFrames::below(&base, "port-8080").unwrap();
        let listening = || {
            let mut own = begin();
            own.listens();
            fs::write(own.dir().join("current.jpg"), "picture").unwrap();
            own
        };
        let names = || {
            let entries = fs::read_dir(&base).unwrap();
            let mut names: Vec<_> = entries.map(|one| one.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let (one, two) = (listening(), listening());
        assert_eq!(names(), [".port-8080", ".port-8080-2"]);
        // One that cannot listen leaves nothing.
        drop(begin());
        assert_eq!(names(), [".port-8080", ".port-8080-2"]);
        drop(one);
        assert_eq!(names(), [".port-8080-2"]);
        // What somebody left who was killed is used again, and stays if it comes to nothing.
        let left = base.join(".port-8080");
        fs::create_dir(&left).unwrap();
        fs::write(left.join("current.jpg"), "theirs").unwrap();
        let third = begin();
        assert_eq!(third.dir(), &left);
        drop(third);
        assert_eq!(fs::read(left.join("current.jpg")).unwrap(), b"theirs");
        fs::remove_dir_all(&left).unwrap();
        // What is at its path by the end is another's.
        let mut moved = begin();
        moved.listens();
        fs::rename(&left, base.join("away")).unwrap();
        let other = listening();
        assert_eq!(other.dir(), &left);
        drop(moved);
        assert!(left.join("current.jpg").exists());
        // Unless nobody has it: then its own capture processes made it again.
        fs::remove_dir_all(&left).unwrap();
        fs::create_dir(&left).unwrap();
        drop((two, other));
        assert_eq!(names(), ["away"]);
        fs::remove_dir_all(&base).unwrap();
    }
}
