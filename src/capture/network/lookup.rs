//! Looks a host's name up without holding up the loop.
//!
//! The system's resolver (getaddrinfo(3)) blocks: for ten seconds and more if no name server answers. So it runs on a thread of
//! its own, one for each start of the camera, which ends with the answer; an eventfd tells the loop. If the camera is stopped
//! before, the thread ends by itself, and the next start waits for it: there is never more than one. Addresses need none.
//!
//! It is the resolver of the C library, so that names are found as by other programs: `/etc/hosts`, DNS, and what
//! `/etc/nsswitch.conf` names. In a static file that is musl's, which knows `/etc/hosts` and DNS: `.local` is found where
//! the name server of `/etc/resolv.conf` answers for it, as systemd-resolved does with `MulticastDNS=yes`.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::write;

/// The addresses that were found.
type Addresses = io::Result<Vec<SocketAddr>>;

/// A name that is being looked up.
#[derive(Debug)]
pub(super) struct Lookup {
    bell: Arc<OwnedFd>,
    thread: JoinHandle<Addresses>,
}

/// What is known without a look-up.
pub(super) fn address(host: &str, port: u16) -> Option<SocketAddr> {
    let address: IpAddr = host.parse().ok()?;
    Some(SocketAddr::new(address, port))
}

impl Lookup {
    pub(super) fn start(host: &str, port: u16) -> io::Result<Self> {
        let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (host, ring) = (host.to_owned(), bell.clone());
        let thread = thread::Builder::new()
            .name("lookup".into())
            .spawn(move || {
                let found = (host.as_str(), port).to_socket_addrs();
                let found = found.map(Iterator::collect);
                // Writing to an eventfd can fail only if it has overflowed.
                let _ = write(&ring, &1_u64.to_ne_bytes());
                found
            })?;
        Ok(Lookup { bell, thread })
    }

    /// Readable once the answer is there.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// The answer, after at most an instant once [`Lookup::fd`] is readable.
    pub(super) fn finish(self) -> Addresses {
        let ended = self.thread.join();
        ended.unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
    }
}
