//! How many clients there is room for under the limit of open files (`ulimit -n`, getrlimit(2)).
//!
//! A frame is opened when it is due. This must not fail because clients have taken the last descriptor, as nobody
//! would see anything any more. So each viewer has two descriptors from the beginning: one for its connection, and
//! one for the frame that it is being sent, which may be a different one for each viewer. Clients for which there are
//! not enough are told so. The cameras that exist at the start have their descriptors reserved too. Cameras that
//! appear in a root later use what the hard limit leaves; the soft limit is always raised to the hard one.

use std::os::fd::{AsFd, AsRawFd};

use log::warn;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::server::client_id::Remote;

/// How many clients beyond the limit are told so instead of being left waiting.
const TURNED_AWAY: usize = 32;

/// The descriptors of a camera: the frame that was taken last, the producer's lock (kept open, because opening it would wake the
/// producer), and the picture that is shown when it is lost. Such pictures in more than one size are rare, and if one
/// cannot be made, nothing is shown.
const PER_CAMERA: usize = 3;

/// Descriptors for other purposes: opening a frame to ask for the next one, and what restarting a capture process
/// takes for a moment.
const OTHERS: usize = 5;

/// How many places there are for clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) struct Places {
    /// Places for clients that are served.
    pub(in crate::server) served: usize,
    /// Places for clients that are told that there is no place.
    pub(in crate::server) turned_away: usize,
}

impl Places {
    /// The places for `wanted` clients in addition to `cameras` and the descriptors that are open already, of which
    /// one is `any`. Raises the soft limit, and lowers the number of clients if that is not enough.
    pub(in crate::server) fn for_clients(wanted: usize, cameras: usize, any: impl AsFd) -> Self {
        let all = Places {
            served: wanted,
            turned_away: TURNED_AWAY,
        };
        let limit = raise_limit();
        let others = descriptors(any).saturating_add(cameras.saturating_mul(PER_CAMERA));
        let places = all.within(limit.saturating_sub(others));
        if places != all {
            warn!(
                "room for {} clients at a time, not {wanted}: with {limit} descriptors at most (ulimit -n) each must \
                 have one for its connection and one for its frame",
                places.served
            );
        }
        places
    }

    /// How many places those may have that come over a network: all but an eighth, which are for this machine. What
    /// watches the server, and a proxy with everybody behind it, can always connect.
    pub(in crate::server) fn over_network(self) -> usize {
        self.served - self.served / 8
    }

    /// How many places those may have who have not proved a password yet, where one is required.
    pub(in crate::server) fn unproved(self) -> usize {
        self.served.div_ceil(2)
    }

    /// How many of these may come over a network: all but an eighth again, since who is on this machine begins without
    /// a proof, too.
    pub(in crate::server) fn unproved_over_network(self) -> usize {
        self.unproved() - self.unproved() / 8
    }

    /// How many places `remote` may have, or `None` for no limit. `wanted` is the configured number, where 0 means no
    /// limit. If nothing is configured, an address may have half of all places. Addresses of this machine are not
    /// limited then, as they may be a proxy with everybody behind it. The same is true of a unix socket, which is never
    /// limited because it has no address to count by.
    pub(in crate::server) fn share(self, wanted: Option<usize>, remote: Remote) -> Option<usize> {
        match wanted {
            _ if remote == Remote::Unix => None,
            Some(0) => None,
            Some(wanted) => Some(wanted),
            None if remote.is_here() => None,
            None => Some(self.served.div_ceil(2)),
        }
    }

    /// How many places the addresses of one /64 network may have together, of which one host may have any number: three
    /// quarters of those for the network, or the share of a single address if that is more.
    pub(in crate::server) fn share_of_block(self, share: usize) -> usize {
        let most = self.over_network() - self.over_network() / 4;
        share.max(most)
    }

    fn descriptors(self) -> usize {
        let served = self.served.saturating_mul(2);
        served.saturating_add(self.turned_away + OTHERS)
    }

    /// These places, or as many as there are `descriptors` for, but at least one of each kind.
    fn within(self, descriptors: usize) -> Self {
        if self.descriptors() <= descriptors {
            return self;
        }
        let left = descriptors.saturating_sub(OTHERS);
        let turned_away = (left / 4).clamp(1, self.turned_away);
        Places {
            served: (left.saturating_sub(turned_away) / 2).clamp(1, self.served),
            turned_away,
        }
    }
}

/// How many descriptors are open, or a slightly lower number: it is that of the next one, the lowest that is free.
fn descriptors(any: impl AsFd) -> usize {
    let next = rustix::io::fcntl_dupfd_cloexec(any, 0);
    next.map_or(usize::MAX, |fd| fd.as_raw_fd() as usize)
}

/// Raises the soft limit of open files to the hard one. Returns how many this process may have.
fn raise_limit() -> usize {
    let now = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: now.maximum,
        ..now
    };
    let limit = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current,
        Err(_) => now.current,
    };
    limit.map_or(usize::MAX, |n| n.try_into().unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_has_a_descriptor_for_its_connection_and_one_for_its_frame() {
        let all = Places {
            served: 256,
            turned_away: TURNED_AWAY,
        };
        assert_eq!(all.within(usize::MAX), all);
        assert_eq!(all.within(all.descriptors()), all);
        for descriptors in OTHERS + 3..all.descriptors() {
            let places = all.within(descriptors);
            assert!(places.served >= 1 && places.turned_away >= 1);
            assert!(places.served < all.served || places.turned_away < TURNED_AWAY);
            assert!(places.descriptors() <= descriptors, "{places:?}");
        }
    }

    #[test]
    fn an_address_of_another_machine_may_have_half_unless_something_else_is_said() {
        let places = Places {
            served: 7,
            turned_away: TURNED_AWAY,
        };
        let of = |text: &str| Remote::of_address(text.parse().unwrap());
        for (network, if_silent) in [
            (Remote::Unix, None),
            (of("127.0.0.1"), None),
            (of("192.0.2.1"), Some(4)),
            (of("2001:db8::1"), Some(4)),
        ] {
            assert_eq!(places.share(None, network), if_silent, "{network}");
            assert_eq!(places.share(Some(0), network), None, "{network}");
            let said = (network != Remote::Unix).then_some(2);
            assert_eq!(places.share(Some(2), network), said, "{network}");
        }
    }

    #[test]
    fn there_is_always_a_place_however_low_the_limit() {
        let all = Places {
            served: 1,
            turned_away: TURNED_AWAY,
        };
        let least = Places {
            served: 1,
            turned_away: 1,
        };
        assert_eq!(all.within(0), least);
    }
}
