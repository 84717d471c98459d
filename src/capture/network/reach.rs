//! The way to the camera: the look-up of its name, and a connection to one of its addresses.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::event::{PollFlags, epoll};
use rustix::io::Errno;
use rustix::net::sockopt;

use super::lookup::{self, Lookup};
use super::{LinkStage, Network, STEP, dial, lost};
use crate::capture::source::Trouble;
use crate::capture::url::Endpoint;
use crate::event::is_ready;

impl Network {
    /// Begins with whatever has to come before the connection.
    pub(super) fn begin(&mut self, now: Instant) -> Result<(), Trouble> {
        self.until = Some(now + STEP);
        let (host, port) = match &self.url.place {
            Endpoint::Socket(_) => return self.connect(now),
            Endpoint::Host(host, port) => (host.clone(), *port),
        };
        if let Some(address) = self.reached.or_else(|| lookup::address(&host, port)) {
            self.untried = vec![address];
            return self.connect(now);
        }
        self.forget_answer();
        if self.lookup.is_none() {
            let lookup = Lookup::start(&host, port);
            self.lookup =
                Some(lookup.map_err(|error| lost(format!("cannot look up its name: {error}")))?);
        }
        if let Some(lookup) = &self.lookup {
            // It may be there from a start before.
            self.watch(lookup.fd(), epoll::EventFlags::IN)?;
        }
        self.stage = LinkStage::LookingUp;
        Ok(())
    }

    /// Drops the answer to a look-up that nobody waits for any more.
    pub(super) fn forget_answer(&mut self) {
        self.lookup
            .take_if(|lookup| is_ready(lookup.fd(), PollFlags::IN));
    }

    pub(super) fn looked_up(&mut self, now: Instant) -> Result<(), Trouble> {
        let Some(lookup) = self
            .lookup
            .take_if(|lookup| is_ready(lookup.fd(), PollFlags::IN))
        else {
            return Ok(());
        };
        let found = lookup.finish();
        let mut found = found.map_err(|error| lost(format!("its name is not found: {error}")))?;
        found.reverse();
        self.untried = found;
        self.connect(now)
    }

    /// Connects to the next address.
    pub(super) fn connect(&mut self, now: Instant) -> Result<(), Trouble> {
        self.until = Some(now + STEP);
        let socket = match &self.url.place {
            Endpoint::Host(..) => {
                let Some(address) = self.untried.pop() else {
                    return Err(lost("its name has no address".into()));
                };
                self.reached = Some(address);
                dial::tcp(address)
            }
            Endpoint::Socket(path) => dial::unix(path),
        };
        match socket {
            Ok(socket) => {
                self.watch(socket.as_fd(), epoll::EventFlags::OUT)?;
                self.stage = LinkStage::Connecting(socket);
                Ok(())
            }
            Err(errno) => self.not_connected(errno, now),
        }
    }

    pub(super) fn not_connected(&mut self, errno: Errno, now: Instant) -> Result<(), Trouble> {
        match self.untried.is_empty() {
            true => Err(lost(format!("cannot connect: {}", io::Error::from(errno)))),
            false => self.connect(now),
        }
    }

    /// Sends the request, once the connection is there.
    pub(super) fn connected(&mut self, socket: OwnedFd, now: Instant) -> Result<(), Trouble> {
        if !is_ready(socket.as_fd(), PollFlags::OUT) {
            self.stage = LinkStage::Connecting(socket);
            return Ok(());
        }
        let error = sockopt::socket_error(&socket).and_then(|outcome| outcome);
        if let Err(errno) = error {
            return self.not_connected(errno, now);
        }
        self.is_reused = false;
        self.pictures.restart();
        let data = epoll::EventData::new_u64(0);
        let watched = epoll::modify(&self.epoll, &socket, data, epoll::EventFlags::IN);
        watched.map_err(|errno| lost(format!("cannot wait for it: {errno}")))?;
        match self.ask(socket, now) {
            Ok(()) => Ok(()),
            Err(errno) => self.not_connected(errno, now),
        }
    }

    fn watch(&self, fd: BorrowedFd<'_>, what: epoll::EventFlags) -> Result<(), Trouble> {
        let data = epoll::EventData::new_u64(0);
        match epoll::add(&self.epoll, fd, data, what) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(lost(format!("cannot wait for it: {errno}"))),
        }
    }
}
