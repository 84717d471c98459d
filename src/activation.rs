//! The service manager's side of the process: sockets that it passes, and what it wants to be told.
//!
//! The order of sd_listen_fds(3): the descriptors are ours only if `LISTEN_PID` says so; close-on-exec is set on each;
//! the variables are cleared in any case, so that no child takes them for its own. What each descriptor *is* the kernel
//! is asked, not the environment: a listening socket (`Accept=no`), or a connection (`Accept=yes`).
//!
//! A border with unsafe code: taking over a descriptor by its number, and changing the
//! environment. Both happen at the beginning of a command, before anything has started a thread.

#![allow(unsafe_code)]

use std::fs;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use log::{debug, warn};
use rustix::net::{AddressFamily, SocketType, sockopt};
use rustix::process::geteuid;
use sd_notify::NotifyState;

use crate::error::{Context, Error, Result};

/// A socket from the service manager.
#[derive(Debug)]
pub enum Passed {
    /// One that listens.
    Listener {
        /// The socket.
        socket: OwnedFd,
        /// Its name from `LISTEN_FDNAMES`, or its number.
        name: String,
    },
    /// One that is a connection already.
    Connection {
        /// The socket.
        socket: OwnedFd,
        /// Its name from `LISTEN_FDNAMES`, or its number.
        name: String,
    },
}

/// The sockets that were passed to this process. Once: a second call finds none.
pub fn passed_sockets() -> Result<Vec<Passed>> {
    let own = std::process::id().to_string();
    let count = std::env::var("LISTEN_FDS").map_or(Ok(0), |count| count.parse::<u32>());
    if std::env::var("LISTEN_PID").as_ref() != Ok(&own) || count == Ok(0) {
        // Names of somebody else's sockets, such as a wrapper's around this program, or of none: sd-notify would miss their
        // sockets and fail.
        // SAFETY: as below.
        unsafe { std::env::remove_var("LISTEN_FDNAMES") };
    }
    // SAFETY: changes the environment, which is sound while there is one thread; the commands call this before
    // anything that starts one.
    let passed = unsafe { sd_notify::listen_fds_with_names_and_unset_env() }
        .doing(|| "take over the sockets of LISTEN_FDS".into())?;
    passed
        .map(|(number, name)| {
            // SAFETY: the service manager passed this descriptor to this process (LISTEN_PID was checked),
            // it is open (setting close-on-exec on it succeeded), and nothing else here uses its number.
            let socket = unsafe { OwnedFd::from_raw_fd(number) };
            let name = if name.is_empty() || name == "unknown" {
                format!("{number}")
            } else {
                format!("{number} ({name})")
            };
            classify(socket, name)
        })
        .collect()
}

/// Whether `word` is what `LISTEN_FDNAMES` calls the socket of this name.
pub fn is_named(name: &str, word: &str) -> bool {
    let label = name
        .split_once(" (")
        .and_then(|(_, label)| label.strip_suffix(')'));
    label == Some(word)
}

fn classify(socket: OwnedFd, name: String) -> Result<Passed> {
    let not_ours = |what: &str| {
        Error::Usage(format!(
            "the passed descriptor {name} is {what}, not a TCP or unix stream socket"
        ))
    };
    let domain = sockopt::socket_domain(&socket).map_err(|_| not_ours("no socket"))?;
    if !matches!(
        domain,
        AddressFamily::INET | AddressFamily::INET6 | AddressFamily::UNIX
    ) {
        return Err(not_ours("of another family"));
    }
    if sockopt::socket_type(&socket) != Ok(SocketType::STREAM) {
        return Err(not_ours("of another type"));
    }
    let listens = sockopt::socket_acceptconn(&socket)
        .doing(|| format!("ask whether the passed descriptor {name} listens"))?;
    Ok(if listens {
        Passed::Listener { socket, name }
    } else {
        Passed::Connection { socket, name }
    })
}

/// What the service manager wants to be told (sd_notify(3)), and how often (sd_watchdog_enabled(3)). Says nothing
/// where there is none.
#[derive(Debug)]
pub struct Manager {
    ping_every: Option<Duration>,
}

impl Manager {
    /// Finds out what the manager of this process wants.
    pub fn of_this_process() -> Self {
        Manager {
            // Twice per interval, as the manual advises.
            ping_every: sd_notify::watchdog_enabled().map(|interval| interval / 2),
        }
    }

    /// Start-up is finished.
    pub fn ready(&self) {
        tell(&[NotifyState::Ready]);
    }

    /// The process ends.
    pub fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }

    /// The loop turns.
    pub fn ping(&self) {
        tell(&[NotifyState::Watchdog]);
    }

    /// When to ping next, if at all.
    pub fn next_ping(&self, now: Instant) -> Option<Instant> {
        self.ping_every.map(|every| now + every)
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!("cannot notify the service manager: {error}");
    }
}

/// A directory on a tmpfs that this process may write: the service's own, the system's, the user's; if there is none of these,
/// one that is made in `/dev/shm`.
pub fn runtime_directory() -> Result<PathBuf> {
    let own = std::env::var_os("RUNTIME_DIRECTORY").map(PathBuf::from);
    let users = std::env::var_os("XDG_RUNTIME_DIR").map(|dir| PathBuf::from(dir).join("lazycam"));
    let candidates = [own, Some(PathBuf::from("/run/lazycam")), users];
    for candidate in candidates.into_iter().flatten() {
        match fs::create_dir_all(&candidate).and_then(|()| {
            rustix::fs::access(&candidate, rustix::fs::Access::WRITE_OK).map_err(Into::into)
        }) {
            Ok(()) => return Ok(candidate),
            Err(error) => debug!("not {}: {error}", candidate.display()),
        }
    }
    let user = geteuid().as_raw();
    let shared = PathBuf::from(format!("/dev/shm/lazycam-{user}"));
    make_own(&shared)?;
    Ok(shared)
}

/// Makes a directory where all users may make some, for this one alone. Whoever made it first could put other pictures
/// there, or a link to somewhere else.
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
        // Only root can give one away.
        if chown(&own, Some(1), None).is_ok() {
            assert!(matches!(make_own(&own), Err(Error::Usage(_))));
        }
        fs::remove_dir_all(&base).unwrap();
    }
}
