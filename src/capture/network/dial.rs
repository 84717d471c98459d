//! The sockets of the client: none of these calls waits.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::io::{Errno, Result};
use rustix::net::{AddressFamily, SocketAddrUnix, connect, sockopt};

use crate::event::stream_socket;

/// Asked for as the socket's receive buffer; the kernel doubles it and uses half of that for what it keeps about packets
/// (socket(7), tcp(7)). That is one frame or two of those that are common. It allows 20 Mbit/s at 50 ms of round trip.
const BUFFER: usize = 128 << 10;

/// Begins to connect. The size of the buffer has to be set before, because it decides about the window (tcp(7)).
pub(super) fn tcp(address: SocketAddr) -> Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = stream_socket(family)?;
    sockopt::set_socket_recv_buffer_size(&socket, BUFFER)?;
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(errno) => Err(errno),
    }
}

/// The same for a socket file; it is connected at once or not at all.
pub(super) fn unix(path: &Path) -> Result<OwnedFd> {
    let socket = stream_socket(AddressFamily::UNIX)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}
