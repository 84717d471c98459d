//! How many clients there is room for under the limit of descriptors (`ulimit -n`, getrlimit(2)).
//!
//! A frame is opened when it is due, and must not fail because clients have taken the last descriptor: then nobody would
//! see anything any more. So each viewer has two from the beginning, one for its connection and one for the
//! frame that it is being sent, which may be a different one for each; who comes beyond that is told so. The cameras that are there at
//! the start have theirs too; for those that come into a root later there is what the hard limit leaves, up to which
//! the soft one is always raised.

use log::warn;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::source::Source;

/// Clients beyond the limit that are told so and not just left waiting.
const TURNED_AWAY: usize = 32;

/// Descriptors of a camera: its newest frame, the producer's lock (kept open, because opening it would wake the producer), and the
/// picture of a lost camera. Such pictures in more than one size are rare, and if one cannot be made, nothing is shown.
const PER_CAMERA: usize = 3;

/// Descriptors beside those of clients and cameras: the opening that asks for a frame, and what it takes for a moment to start a
/// capture process again.
const OTHERS: usize = 5;

/// Places for clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Places {
    /// For those that are served.
    pub(super) served: usize,
    /// For those that are told that there is no place.
    pub(super) turned_away: usize,
}

impl Places {
    /// For `wanted` clients beside `cameras`, and the `in_use` descriptors that are open already. Raises the soft limit, and
    /// lowers the number of clients if that does not do.
    pub(super) fn for_clients(wanted: usize, cameras: usize, in_use: usize) -> Self {
        let all = Places {
            served: wanted,
            turned_away: TURNED_AWAY,
        };
        let limit = raise_limit();
        let others = in_use.saturating_add(cameras.saturating_mul(PER_CAMERA));
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

    /// How many of them `source` may have, if that is limited. `wanted` is what was said of it, where 0 is no limit. If nobody
    /// said anything an address may have half, so that none can keep all others out. But one of this machine may be a
    /// proxy, with everybody behind it; and so may a unix socket be, whatever is said, which has no address to count by.
    pub(super) fn share(self, wanted: Option<usize>, source: Source) -> Option<usize> {
        match wanted {
            _ if source == Source::Local => None,
            Some(0) => None,
            Some(wanted) => Some(wanted),
            None if source.is_here() => None,
            None => Some(self.served.div_ceil(2)),
        }
    }

    fn descriptors(self) -> usize {
        let served = self.served.saturating_mul(2);
        served.saturating_add(self.turned_away + OTHERS)
    }

    /// These, or fewer: as many as there are `descriptors` for, and at least one of each.
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

/// Raises the soft limit of descriptors to the hard one. How many this process may have.
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
        let of = |text: &str| Source::network(text.parse().unwrap());
        for (source, if_silent) in [
            (Source::Local, None),
            (of("127.0.0.1"), None),
            (of("192.0.2.1"), Some(4)),
            (of("2001:db8::1"), Some(4)),
        ] {
            assert_eq!(places.share(None, source), if_silent, "{source}");
            assert_eq!(places.share(Some(0), source), None, "{source}");
            let said = (source != Source::Local).then_some(2);
            assert_eq!(places.share(Some(2), source), said, "{source}");
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
