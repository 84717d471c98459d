//! The service manager's side of the process: the sockets that it passes in, and the notifications that it expects.
//!
//! The steps are those of sd_listen_fds(3). The descriptors are ours only if `LISTEN_PID` says so; close-on-exec is
//! set on each of them; and the variables are always cleared, so that no child mistakes them for its own. What each
//! descriptor *is* comes from the kernel, not from the environment: a listening socket (`Accept=no`) or a connection
//! (`Accept=yes`).
//!
//! This module contains unsafe code: it takes over a descriptor by its number and it changes the environment. Both
//! happen at the beginning of a command, before any thread has been started.

#![allow(unsafe_code)]

use std::fmt;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use log::warn;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, sendmsg_addr, socket_with, sockopt,
};
use sd_notify::NotifyState;

use crate::error::{Context, Error, Result};

/// With this begin the names of sockets that a process of this program has left to the service manager.
const KEPT: &str = "kept ";

/// How long a name may be (systemd, `FDNAME_MAX`).
const LONGEST_NAME: usize = 255;

/// A socket from the service manager.
#[derive(Debug)]
pub enum Passed {
    /// A listening socket.
    Listener {
        /// The socket.
        socket: OwnedFd,
        /// How it was passed.
        label: Label,
    },
    /// A connection that has already been accepted.
    Connection {
        /// The socket.
        socket: OwnedFd,
        /// How it was passed.
        label: Label,
    },
}

impl Passed {
    /// How it was passed.
    pub fn label(&self) -> &Label {
        match self {
            Passed::Listener { label, .. } | Passed::Connection { label, .. } => label,
        }
    }
}

/// What a passed socket is called: by its number in messages, and by its name, if it has one, in settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    number: RawFd,
    name: Option<String>,
}

impl Label {
    /// `name` is what `LISTEN_FDNAMES` says, which is "unknown" for a socket without a name (sd_listen_fds(3)).
    fn new(number: RawFd, name: String) -> Self {
        let has_name = !name.is_empty() && name != "unknown";
        Label {
            number,
            name: has_name.then_some(name),
        }
    }

    /// Whether `LISTEN_FDNAMES` calls the socket `word`.
    pub fn is(&self, word: &str) -> bool {
        self.name.as_deref() == Some(word)
    }

    /// What an earlier process said of it when it left it to the service manager ([`Manager::keep`]).
    pub fn kept(&self) -> Option<&str> {
        self.name.as_deref()?.strip_prefix(KEPT)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{} ({name})", self.number),
            None => write!(f, "{}", self.number),
        }
    }
}

/// The sockets that were passed to this process. It works only once: a second call finds none.
pub fn passed_sockets() -> Result<Vec<Passed>> {
    let own = std::process::id().to_string();
    let count = std::env::var("LISTEN_FDS").map_or(Ok(0), |count| count.parse::<u32>());
    if std::env::var("LISTEN_PID").as_ref() != Ok(&own) || count == Ok(0) {
        // The names belong to somebody else's sockets, such as those of a wrapper around this program, or to none at
        // all. sd-notify would look for sockets to go with them and fail.
        // SAFETY: as below.
        unsafe { std::env::remove_var("LISTEN_FDNAMES") };
    }
    // Since systemd 262, with which this can be told of a reused LISTEN_PID. sd-notify does not know it yet.
    // SAFETY: as below.
    unsafe { std::env::remove_var("LISTEN_PIDFDID") };
    // SAFETY: changing the environment is sound while there is only one thread; the commands call this before
    // anything that starts one.
    let passed = unsafe { sd_notify::listen_fds_with_names_and_unset_env() }
        .doing(|| "take over the sockets of LISTEN_FDS".into())?;
    passed
        .map(|(number, name)| {
            // SAFETY: the service manager passed this descriptor to this process (LISTEN_PID was checked),
            // it is open (setting close-on-exec on it succeeded), and nothing else here uses its number.
            let socket = unsafe { OwnedFd::from_raw_fd(number) };
            classify(socket, Label::new(number, name))
        })
        .collect()
}

fn classify(socket: OwnedFd, label: Label) -> Result<Passed> {
    let not_ours = |what: &str| {
        Error::Usage(format!(
            "the passed descriptor {label} is {what}, not a TCP or unix stream socket"
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
        .doing(|| format!("ask whether the passed descriptor {label} listens"))?;
    Ok(if listens {
        Passed::Listener { socket, label }
    } else {
        Passed::Connection { socket, label }
    })
}

/// What the service manager wants to be notified of (sd_notify(3)), and how often (sd_watchdog_enabled(3)). Without a
/// service manager, nothing is sent.
#[derive(Debug)]
pub struct Manager {
    ping_every: Option<Duration>,
    keeps: bool,
}

impl Manager {
    /// Finds out which notifications this process's manager expects.
    pub fn of_this_process() -> Self {
        Manager {
            // Twice per interval, as the man page recommends.
            ping_every: sd_notify::watchdog_enabled().map(|interval| interval / 2),
            // Since systemd 254; the unit sets it for older ones.
            keeps: std::env::var("FDSTORE").is_ok_and(|most| most != "0"),
        }
    }

    /// Whether it keeps sockets for the next process while the service is restarted (`FileDescriptorStoreMax=`).
    pub fn keeps_sockets(&self) -> bool {
        self.keeps
    }

    /// Leaves it a socket, which the next process is passed with these words. They may have neither colons nor control characters; if there are too
    /// many for a name, it is not left.
    pub fn keep(&self, socket: &OwnedFd, words: &str) {
        let name = format!("{KEPT}{words}");
        if name.len() > LONGEST_NAME {
            return;
        }
        if let Err(error) = keep(socket, &name) {
            warn!("cannot leave a connection to the service manager: {error}");
        }
    }

    /// Tells it that it need not keep what it passed with these words any more. Until then it holds a duplicate, which keeps the
    /// connection open whatever is done here, and would be passed to later processes with words that are not true any more.
    pub fn forget(&self, words: &str) {
        let text = format!("FDSTOREREMOVE=1\nFDNAME={KEPT}{words}");
        tell(&[NotifyState::Custom(&text)]);
    }

    /// Where it is notified, if that is a file; an abstract socket has no path.
    pub fn socket() -> Option<PathBuf> {
        let socket = PathBuf::from(std::env::var_os("NOTIFY_SOCKET")?);
        socket.is_absolute().then_some(socket)
    }

    /// Reports that start-up is finished.
    pub fn ready(&self) {
        tell(&[NotifyState::Ready]);
    }

    /// Reports that the process is about to end.
    pub fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }

    /// Reports that the loop is still running.
    pub fn ping(&self) {
        tell(&[NotifyState::Watchdog]);
    }

    /// When the next ping is due, if any is.
    pub fn next_ping(&self, now: Instant) -> Option<Instant> {
        self.ping_every.map(|every| now + every)
    }
}

/// sd_pid_notify_with_fds(3), for which sd-notify would need one more crate.
fn keep(socket: &OwnedFd, name: &str) -> rustix::io::Result<()> {
    let place = std::env::var_os("NOTIFY_SOCKET").unwrap_or_default();
    let manager = match place.as_bytes() {
        [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name)?,
        path => SocketAddrUnix::new(path)?,
    };
    let sender = socket_with(
        AddressFamily::UNIX,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let text = format!("FDSTORE=1\nFDNAME={name}");
    let sockets = [socket.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&sockets));
    let text = [IoSlice::new(text.as_bytes())];
    sendmsg_addr(&sender, &manager, &text, &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!("cannot notify the service manager: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_called_by_its_name_and_by_no_part_of_how_it_is_shown() {
        let label = |name: &str| Label::new(3, name.into());
        for (name, shown) in [
            ("http", "3 (http)"),
            ("", "3"),
            ("unknown", "3"),
            ("a (b)", "3 (a (b))"),
        ] {
            assert_eq!(label(name).to_string(), shown);
            assert_eq!(label(name).is(name), shown != "3");
            assert!(!label(name).is("b)") && !label(name).is("3") && !label(name).is(shown));
        }
    }
}
