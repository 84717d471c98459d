//! What tells clients apart: a number, where a client comes from, for penalties and for places, and the place it has.
//!
//! Addresses are those of connections. What a proxy says about its clients (`Forwarded`, `X-Forwarded-For`) could be
//! made up by anybody. So all clients behind a proxy have the proxy's address, or none if the proxy connects over a
//! unix socket.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Instant;

use rustix::net::{AddressFamily, SocketAddrAny, sockopt};

/// The number of a client. Unlike a descriptor, it is never reused.
pub(in crate::server) type ClientId = u64;

/// The other end of a connection. Every client stores one, so it is small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::server) enum Remote {
    /// A unix socket.
    Unix,
    /// An IPv4 address.
    V4([u8; 4]),
    /// An IPv6 address. Neighbours share its first 64 bits, and a host can have as many addresses as it likes among
    /// them, so where it matters how many there are, [`Remote::block`] is counted too.
    V6([u8; 16]),
}

impl Remote {
    /// The other end of a connected socket. `None` if the connection has been reset: what kind of socket it is does not
    /// depend on that, so a stranger's resets are not those of a unix socket.
    pub(in crate::server) fn of(socket: impl AsFd) -> Option<Self> {
        if is_unix(&socket) {
            return Some(Remote::Unix);
        }
        Remote::of_peer(rustix::net::getpeername(socket).ok().flatten()?)
    }

    /// The host at the other end of a TCP connection.
    pub(in crate::server) fn of_peer(address: SocketAddrAny) -> Option<Self> {
        let address = SocketAddr::try_from(address).ok()?;
        Some(Remote::of_address(address.ip()))
    }

    /// The host with this address.
    pub(in crate::server) fn of_address(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Remote::V4(v4.octets()),
            IpAddr::V6(v6) => Remote::V6(v6.octets()),
        }
    }

    /// What one host can be in as many ways as it likes: the /64 network of an IPv6 address, named by its first
    /// address. Others are themselves.
    pub(in crate::server) fn block(self) -> Self {
        match self {
            Remote::V6(mut v6) => {
                v6[8..].fill(0);
                // The first /64 is this machine's (`is_here`), and ::1 the only address in it that is used.
                if v6 == [0; 16] { self } else { Remote::V6(v6) }
            }
            other => other,
        }
    }

    /// The kind and the address as bytes, of a fixed length.
    pub(in crate::server) fn bytes(self) -> [u8; 17] {
        let mut bytes = [0; 17];
        match self {
            Remote::Unix => {}
            Remote::V4(v4) => {
                bytes[0] = 4;
                bytes[1..5].copy_from_slice(&v4);
            }
            Remote::V6(v6) => {
                bytes[0] = 6;
                bytes[1..].copy_from_slice(&v6);
            }
        }
        bytes
    }

    /// Whether it is on this machine.
    pub(in crate::server) fn is_here(self) -> bool {
        match self {
            Remote::Unix => true,
            Remote::V4(v4) => Ipv4Addr::from(v4).is_loopback(),
            Remote::V6(v6) => Ipv6Addr::from(v6).is_loopback(),
        }
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Remote::Unix => f.write_str("a unix socket"),
            Remote::V4(v4) => write!(f, "{}", Ipv4Addr::from(*v4)),
            Remote::V6(v6) => write!(f, "{}", Ipv6Addr::from(*v6)),
        }
    }
}

/// Whether this is a unix socket, connected or listening.
pub(in crate::server) fn is_unix(socket: impl AsFd) -> bool {
    sockopt::socket_domain(socket) == Ok(AddressFamily::UNIX)
}

/// Whose places a client takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Place {
    /// One of the places for clients that are served, counted against the share of this host.
    Served(Remote),
    /// One of the places for clients that are turned away.
    TurnedAway,
}

/// A client that is served, as the door sees it.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct Seat {
    pub(in crate::server) id: ClientId,
    pub(in crate::server) remote: Remote,
    /// When it came.
    pub(in crate::server) since: Instant,
    /// Since when it has been waited for to ask something, if it has.
    pub(in crate::server) silent_since: Option<Instant>,
    /// A password is required of it, and it has not proved one yet.
    pub(in crate::server) unproved: bool,
}

/// Somebody for whom there may be no place.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct Newcomer {
    pub(in crate::server) remote: Remote,
    /// A password is required of it.
    pub(in crate::server) guarded: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(text: &str) -> Remote {
        Remote::of_address(text.parse().unwrap())
    }

    #[test]
    fn hosts_are_told_apart_and_belong_to_blocks() {
        assert_eq!(remote("::ffff:192.0.2.1"), remote("192.0.2.1"));
        for (one, other) in [("192.0.2.1", "192.0.2.2"), ("fe80::1", "fe80::2")] {
            assert_ne!(remote(one), remote(other));
        }
        let block = |text| remote(text).block();
        assert_eq!(block("2001:db8::1"), block("2001:db8::ffff:1"));
        assert_ne!(block("2001:db8::1"), block("2001:db8:0:1::1"));
        assert_ne!(block("192.0.2.1"), block("192.0.2.2"));
        assert!(block("::1").is_here());
    }

    #[test]
    fn a_connection_that_was_reset_is_none_of_a_unix_socket() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let one = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (other, _) = listener.accept().unwrap();
        assert_eq!(Remote::of(&other), Some(remote("127.0.0.1")));
        rustix::net::sockopt::set_socket_linger(&one, Some(std::time::Duration::ZERO)).unwrap();
        drop(one);
        while Remote::of(&other).is_some() {
            std::thread::yield_now();
        }
        let (unix, its_peer) = std::os::unix::net::UnixStream::pair().unwrap();
        drop(its_peer);
        assert_eq!(Remote::of(&unix), Some(Remote::Unix));
    }

    #[test]
    fn this_machine_is_known_by_all_its_names() {
        for here in ["127.0.0.1", "127.8.8.8", "::ffff:127.0.0.1", "::1"] {
            assert!(remote(here).is_here(), "{here}");
        }
        for there in ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "fe80::1"] {
            assert!(!remote(there).is_here(), "{there}");
        }
        assert!(Remote::Unix.is_here());
    }
}
