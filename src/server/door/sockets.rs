//! The sockets that there are at the start: those that `--listen` names and those that the service manager passes, and
//! which of them are open to everybody (`--open-socket`).

use std::os::fd::OwnedFd;

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
        congestion.set(listeners.chain(connections));
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
                self.connections.push((socket, is_open));
            }
        }
        Ok(())
    }
}

fn is_address(word: &str, address: &Address) -> bool {
    word.parse().as_ref() == Ok(address)
}

/// Checks that every word of `--open-socket` names a socket, so that a typing error is reported at start.
fn check_words(words: &[String], listen: &[Address], passed: &[Passed]) -> Result<()> {
    let labels: Vec<&Label> = passed.iter().map(Passed::label).collect();
    let names_none = |word: &&String| {
        let bound = listen.iter().any(|address| is_address(word, address));
        !bound && !labels.iter().any(|label| label.is(word))
    };
    match words.iter().find(names_none) {
        Some(word) => Err(Error::Usage(format!(
            "--open-socket {word}: this is neither an address of --listen nor the name of a passed socket"
        ))),
        None => Ok(()),
    }
}
