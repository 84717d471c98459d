//! Where `lazycam run` keeps its frames when nobody has said where.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use log::debug;
use rustix::process::geteuid;

use crate::error::{Context, Error, Result};
use crate::frames::filesystem::{self, FilesystemKind};
use crate::server::Address;

/// A frame directory that no other `lazycam run` on this system uses: it is named after the listening socket, which
/// only one process can have. Its name is hidden, so that what is left of a process that was killed never becomes a
/// camera of `lazycam serve --root`; and it is removed at the end, when nobody writes into it any more. Until this process
/// listens it may be that of another, which stays.
pub(super) struct OwnFrames {
    dir: PathBuf,
    listens: bool,
}

impl OwnFrames {
    /// For a process that listens there.
    pub(super) fn new(listen: &[Address]) -> Result<Self> {
        let name = listen.first().map_or("camera".into(), |address| {
            let name = address.to_string();
            name.replace(|c: char| !c.is_ascii_alphanumeric(), "-")
        });
        let base = runtime_directory()?;
        Ok(OwnFrames {
            dir: base.join(format!(".{}", name.trim_matches('-'))),
            listens: false,
        })
    }

    /// The directory.
    pub(super) fn dir(&self) -> &PathBuf {
        &self.dir
    }

    /// This process listens now, so it is its own.
    pub(super) fn listens(&mut self) {
        self.listens = true;
    }
}

impl Drop for OwnFrames {
    fn drop(&mut self) {
        if !self.listens {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            debug!("{} stays: {error}", self.dir.display());
        }
    }
}

/// A directory in memory that this process can write to: the service's, the system's or the user's runtime directory, or if
/// there is none of these, a new one in `/dev/shm`. In containers `/run` often lies on a disk; then that is only taken where
/// nothing else can be.
fn runtime_directory() -> Result<PathBuf> {
    let own = std::env::var_os("RUNTIME_DIRECTORY").map(PathBuf::from);
    let users = std::env::var_os("XDG_RUNTIME_DIR").map(|dir| PathBuf::from(dir).join("lazycam"));
    let candidates = [own, Some(PathBuf::from("/run/lazycam")), users];
    let (in_memory, elsewhere): (Vec<_>, Vec<_>) =
        candidates.into_iter().flatten().partition(|dir| {
            let there = dir.ancestors().find(|dir| dir.exists());
            there.is_some_and(|dir| filesystem::kind(dir) == FilesystemKind::Usual)
        });
    if let Some(dir) = first_usable(in_memory) {
        return Ok(dir);
    }
    let user = geteuid().as_raw();
    let shared = PathBuf::from(format!("/dev/shm/lazycam-{user}"));
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
}
