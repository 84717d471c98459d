//! What tells clients apart: a number, the network a client comes from, as far as it matters for penalties and for
//! places, and the place it has.
//!
//! Addresses are those of connections. What a proxy says about its clients (`Forwarded`, `X-Forwarded-For`) could be
//! made up by anybody. So all clients behind a proxy have the proxy's address, or none if the proxy connects over a
//! unix socket.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;

/// The number of a client. Unlike a descriptor, it is never reused.
pub(in crate::server) type ClientId = u64;

/// A unix socket, or an address. Every client stores one, so it is small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::server) enum Network {
    /// A unix socket.
    Local,
    /// An IPv4 address.
    V4([u8; 4]),
    /// The /64 network of an IPv6 address: a host can have as many addresses in it as it likes.
    V6([u8; 8]),
}

impl Network {
    /// The network of a connected socket.
    pub(in crate::server) fn of(socket: impl AsFd) -> Self {
        rustix::net::getpeername(socket)
            .ok()
            .flatten()
            .and_then(|address| SocketAddr::try_from(address).ok())
            .map_or(Network::Local, |address| Network::of_address(address.ip()))
    }

    /// The network that an address belongs to.
    pub(in crate::server) fn of_address(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Network::V4(v4.octets()),
            IpAddr::V6(v6) => {
                let [a, b, c, d, e, f, g, h, ..] = v6.octets();
                Network::V6([a, b, c, d, e, f, g, h])
            }
        }
    }

    /// The kind and the address as bytes, of a fixed length.
    pub(in crate::server) fn bytes(self) -> [u8; 9] {
        let mut bytes = [0; 9];
        match self {
            Network::Local => {}
            Network::V4(v4) => {
                bytes[0] = 4;
                bytes[1..5].copy_from_slice(&v4);
            }
            Network::V6(v6) => {
                bytes[0] = 6;
                bytes[1..].copy_from_slice(&v6);
            }
        }
        bytes
    }

    /// Whether it is on this machine.
    pub(in crate::server) fn is_here(self) -> bool {
        match self {
            Network::Local => true,
            Network::V4(v4) => Ipv4Addr::from(v4).is_loopback(),
            // The first /64 contains no other address than ::1 (RFC 4291, 2.5).
            Network::V6(network) => network == [0; 8],
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Network::Local => f.write_str("a unix socket"),
            Network::V4(v4) => write!(f, "{}", Ipv4Addr::from(*v4)),
            Network::V6(network) => {
                let mut first = [0; 16];
                first[..8].copy_from_slice(network);
                write!(f, "{}/64", Ipv6Addr::from(first))
            }
        }
    }
}

/// Whose places a client takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Place {
    /// One of the places for clients that are served, counted against the share of this network.
    Served(Network),
    /// One of the places for clients that are turned away.
    TurnedAway,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        Network::of_address(text.parse().unwrap())
    }

    #[test]
    fn an_address_is_a_host_or_a_network_of_ipv6() {
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:1"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("2001:db8::1").to_string(), "2001:db8::/64");
    }

    #[test]
    fn this_machine_is_known_by_all_its_names() {
        for here in ["127.0.0.1", "127.8.8.8", "::ffff:127.0.0.1", "::1"] {
            assert!(network(here).is_here(), "{here}");
        }
        for there in ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "fe80::1"] {
            assert!(!network(there).is_here(), "{there}");
        }
        assert!(Network::Local.is_here());
    }
}
