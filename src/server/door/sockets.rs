//! The sockets that there are at the start: those that `--listen` names and those that the service manager passes, and
//! which of them are open to everybody (`--open-socket`).

use std::os::fd::OwnedFd;

use log::warn;

use crate::activation::{Label, Passed};
use crate::error::{Context, Error, Result};
use crate::server::client::make_nonblocking;
use crate::server::door::congestion::Congestion;
use crate::server::door::listen::{Address, Listener};

/// What a server starts with.
pub(in crate::server) struct Sockets {
    pub(in crate::server) listeners: Vec<Listener>,
    /// Connections that were accepted before, and whether no password is required on each.
    pub(in crate::server) connections: Vec<(OwnedFd, bool)>,
    /// Streams of an earlier server, with what it said of each.
    pub(in crate::server) streams: Vec<(OwnedFd, String)>,
}

impl Sockets {
    /// Listens on the addresses, and takes over what was `passed`. Each word of `open` names a socket on which no
    /// password is required: an address as it was given, or a name in `LISTEN_FDNAMES`.
    pub(in crate::server) fn new(
        listen: &[Address],
        passed: Vec<Passed>,
        open: &[String],
    ) -> Result<Self> {
        check_words(open, listen, &passed)?;
        let mut sockets = Sockets {
            listeners: Vec::new(),
            connections: Vec::new(),
            streams: Vec::new(),
        };
        for address in listen {
            let is_open = open.iter().any(|word| is_address(word, address));
            for listener in Listener::bind(address)? {
                sockets.listeners.push(listener.opened(is_open));
            }
        }
        for passed in passed {
            let is_open = open.iter().any(|word| passed.label().is(word));
            sockets.take_over(passed, is_open)?;
        }
        sockets.tell_of_open_ones();
        if sockets.listeners.is_empty() && sockets.connections.is_empty() {
            return Err(Error::Usage(
                "nothing to listen on: no socket was passed (LISTEN_FDS) and --listen is not given"
                    .into(),
            ));
        }
        Ok(sockets)
    }

    /// Sets the congestion control of all that are TCP.
    pub(in crate::server) fn set_congestion(&self, congestion: &Congestion) {
        let listeners = self.listeners.iter().map(Listener::socket);
        let connections = self.connections.iter().map(|(socket, _)| socket);
        let streams = self.streams.iter().map(|(socket, _)| socket);
        congestion.set(listeners.chain(connections).chain(streams));
    }

    /// Checks that there is somebody who may set controls where no password tells who that is.
    pub(in crate::server) fn check_setters(&self) -> Result<()> {
        if self.connections.is_empty() && !self.listeners.iter().any(|one| one.is_unix) {
            let message = "--allow-control: everybody on the network could set controls; take --auth, listen on a Unix socket, or add --open-control";
            return Err(Error::Usage(message.into()));
        }
        Ok(())
    }

    /// Checks that wrong passwords are remembered: a process for one connection has forgotten them when the next one comes.
    pub(in crate::server) fn check_memory(&self) -> Result<()> {
        match self.connections.iter().any(|(_, is_open)| !is_open) {
            true => Err(Error::Usage(
                "--auth: with a process per connection (Accept=yes) nobody remembers wrong passwords; use Accept=no, or --auth-without-memory".into(),
            )),
            false => Ok(()),
        }
    }

    /// An open socket is meant for a proxy on this machine. On one that others reach, the password is worth nothing.
    fn tell_of_open_ones(&self) {
        for listener in self.listeners.iter().filter(|one| one.open) {
            if listener.address().is_some_and(|at| !at.ip().is_loopback()) {
                let name = listener.name();
                warn!(
                    "--open-socket: {name} can be reached from other machines, and asks nobody for a password"
                );
            }
        }
    }

    fn take_over(&mut self, passed: Passed, is_open: bool) -> Result<()> {
        match passed {
            Passed::Listener { socket, label } => {
                let listener = Listener::inherited(socket, label.to_string())?;
                self.listeners.push(listener.opened(is_open));
            }
            Passed::Connection { socket, label } => {
                make_nonblocking(&socket)
                    .doing(|| format!("set the inherited connection {label} to non-blocking"))?;
                match label.kept() {
                    Some(words) => self.streams.push((socket, words.into())),
                    None => self.connections.push((socket, is_open)),
                }
            }
        }
        Ok(())
    }
}

fn is_address(word: &str, address: &Address) -> bool {
    word.parse().as_ref() == Ok(address)
}

/// Checks that every word of `--open-socket` names one socket, so that a typing error is reported at start, and that nothing
/// is open by accident: all sockets of a unit have the same name (systemd.socket(5), `FileDescriptorName=`).
fn check_words(words: &[String], listen: &[Address], passed: &[Passed]) -> Result<()> {
    let labels: Vec<&Label> = passed.iter().map(Passed::label).collect();
    let names_none = |word: &&String| {
        let bound = listen.iter().any(|address| is_address(word, address));
        !bound && !labels.iter().any(|label| label.is(word))
    };
    let count = |word: &str| labels.iter().filter(|label| label.is(word)).count();
    if let Some(word) = words.iter().find(|word| count(word) > 1) {
        return Err(Error::Usage(format!(
            "--open-socket {word}: this is the name of several passed sockets; a socket in a unit of its own has a name of its own"
        )));
    }
    match words.iter().find(names_none) {
        Some(word) => Err(Error::Usage(format!(
            "--open-socket {word}: this is neither an address of --listen nor the name of a passed socket"
        ))),
        None => Ok(()),
    }
}
