//! Who gives way when a newcomer finds no place.
//!
//! 1. A connection that has been silent for long. A request comes right behind its connection, however long the line
//!    is; and since such a place is freed this soon, a flood of silent clients keeps few others out.
//! 2. Where passwords are asked for, a client that has not proved one for as long, whatever it is doing: of the host
//!    that has the most places, the one that came first.
//! 3. One of the host that has the most places, the one that came last, if the newcomer's host has fewer even with one
//!    more. So somebody who takes many places takes them from the others who take many, and never from a viewer that is
//!    alone.
//!
//! A host with IPv6 has as many addresses as it likes, so hosts are compared by their blocks first. Who has proved a
//! password gives way to nobody who has not, unless it is silent; and who is on this machine only to others who are.
//!
//! This is about choosing alone: no socket, and no clock.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::server::client_id::{ClientId, Newcomer, Remote, Seat};

/// How long a connection may be silent, or without a proved password, while others wait for its place.
const PATIENCE: Duration = Duration::from_millis(500);

/// Who of `seats`, all of which would make room, gives way to a newcomer.
pub(super) fn gives_way(seats: &[Seat], newcomer: Newcomer, now: Instant) -> Option<ClientId> {
    let is_long = |since: Instant| now.saturating_duration_since(since) >= PATIENCE;
    let silent = seats
        .iter()
        .filter_map(|seat| Some((seat.silent_since?, seat.id)));
    if let Some((_, id)) = silent.min().filter(|(since, _)| is_long(*since)) {
        return Some(id);
    }
    if newcomer.guarded {
        let unproved: Vec<_> = seats.iter().filter(|seat| seat.unproved).copied().collect();
        let long: Vec<_> = unproved
            .iter()
            .filter(|seat| is_long(seat.since))
            .copied()
            .collect();
        of_busiest(&long)
            .min_by_key(|seat| seat.id)
            .map(|seat| seat.id)
            .or_else(|| of_who_has_most(&unproved, newcomer.remote))
    } else {
        of_who_has_most(seats, newcomer.remote)
    }
}

/// A place of the host that has the most, if that of `remote` will not have more by taking it.
fn of_who_has_most(seats: &[Seat], remote: Remote) -> Option<ClientId> {
    let busiest: Vec<_> = of_busiest(seats).collect();
    let from = busiest.first()?.remote;
    let of_host = |host: Remote| seats.iter().filter(|seat| seat.remote == host).count();
    let of_block = |of: Remote| {
        let inside = seats
            .iter()
            .filter(|seat| seat.remote.block() == of.block());
        inside.count()
    };
    let (has, has_most) = if from.block() == remote.block() {
        (of_host(remote), of_host(from))
    } else {
        (of_block(remote), of_block(from))
    };
    let last = busiest.iter().map(|seat| seat.id).max();
    last.filter(|_| has + 1 < has_most)
}

/// The places of the host that has the most in the block that has the most.
fn of_busiest(seats: &[Seat]) -> impl Iterator<Item = &Seat> {
    let block = most_common(seats.iter().map(|seat| (seat.remote.block(), seat.id)));
    let inside = move |remote: &Remote| Some(remote.block()) == block;
    let hosts = seats.iter().map(|seat| (seat.remote, seat.id));
    let host = most_common(hosts.filter(|(remote, _)| inside(remote)));
    seats.iter().filter(move |seat| Some(seat.remote) == host)
}

/// The one that occurs most often; of several, the one that came first. Seats are in no order, but numbers count up.
fn most_common(all: impl Iterator<Item = (Remote, ClientId)>) -> Option<Remote> {
    let mut counts: HashMap<Remote, (usize, Reverse<ClientId>)> = HashMap::new();
    for (remote, id) in all {
        let (count, first) = counts.entry(remote).or_insert((0, Reverse(id)));
        *count += 1;
        first.0 = id.min(first.0);
    }
    counts
        .into_iter()
        .max_by_key(|(_, count)| *count)
        .map(|(remote, _)| remote)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MALLORY: &str = "192.0.2.66";

    /// Clients from these hosts, in this order, that are busy with something; the last one came just now, each other
    /// one 100 ms before the next.
    fn busy(from: &[&str], now: Instant) -> Vec<Seat> {
        let seats = from.iter().enumerate();
        let age = |index| Duration::from_millis(100) * (from.len() - 1 - index) as u32;
        seats
            .map(|(index, from)| Seat {
                id: index as u64,
                remote: remote(from),
                since: now - age(index),
                silent_since: None,
                unproved: false,
            })
            .collect()
    }

    fn remote(from: &str) -> Remote {
        Remote::of_address(from.parse().unwrap())
    }

    fn comes(from: &str, guarded: bool) -> Newcomer {
        let remote = remote(from);
        Newcomer { remote, guarded }
    }

    fn now() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn who_has_most_gives_its_last_place_to_who_has_fewer() {
        let now = now();
        let seats = busy(&[MALLORY, "192.0.2.1", MALLORY, "192.0.2.1", MALLORY], now);
        assert_eq!(gives_way(&seats, comes("192.0.2.2", false), now), Some(4));
        // These have two or three of five.
        for has_enough in [MALLORY, "192.0.2.1"] {
            assert_eq!(gives_way(&seats, comes(has_enough, false), now), None);
        }
    }

    #[test]
    fn nobody_who_is_alone_gives_way() {
        let now = now();
        let seats = busy(&[MALLORY, "192.0.2.1", "fe80::1"], now);
        assert_eq!(gives_way(&seats, comes("192.0.2.2", false), now), None);
    }

    #[test]
    fn many_addresses_of_one_block_are_one_who_has_many() {
        let now = now();
        let seats = busy(
            &["192.0.2.1", "192.0.2.1", "fe80::1", "fe80::2", "fe80::3"],
            now,
        );
        // Each of them has one place, but together they have most.
        let gone = gives_way(&seats, comes("192.0.2.9", false), now).unwrap();
        assert!(gone >= 2, "{gone}");
        // A neighbour of theirs takes from the host that has most, in a block that is not theirs only.
        let seats = busy(
            &[
                "192.0.2.1",
                "fe80::1",
                "fe80::bad",
                "fe80::bad",
                "fe80::bad",
            ],
            now,
        );
        assert_eq!(gives_way(&seats, comes("fe80::2", false), now), Some(4));
    }

    #[test]
    fn who_has_proved_nothing_gives_way_to_who_may_after_half_a_second() {
        let now = now();
        let mut seats = busy(
            &["192.0.2.1", MALLORY, MALLORY, MALLORY, MALLORY, MALLORY],
            now,
        );
        seats[0].since = now - Duration::from_secs(9);
        for seat in &mut seats[1..] {
            seat.unproved = true;
        }
        // Seats 1 to 5 are 400, 300, 200, 100 and 0 ms old.
        let newcomer = comes(MALLORY, true);
        assert_eq!(gives_way(&seats, newcomer, now), None);
        let later = now + Duration::from_millis(100);
        assert_eq!(gives_way(&seats, newcomer, later), Some(1));
        // Another host need not wait.
        assert_eq!(gives_way(&seats, comes("192.0.2.7", true), now), Some(5));
    }

    #[test]
    fn who_has_proved_a_password_keeps_its_place() {
        let now = now();
        let mut seats = busy(&["192.0.2.1"; 4], now);
        assert_eq!(gives_way(&seats, comes("192.0.2.7", true), now), None);
        seats[2].silent_since = Some(now - PATIENCE);
        assert_eq!(gives_way(&seats, comes("192.0.2.7", true), now), Some(2));
    }
    #[test]
    fn of_hosts_with_as_many_the_one_that_came_first_gives_way_in_whatever_order_they_are_listed() {
        let now = now();
        let mut seats = busy(&["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"], now);
        for seat in &mut seats {
            seat.unproved = true;
            seat.since = now - PATIENCE;
        }
        for _ in 0..seats.len() {
            seats.rotate_left(1);
            assert_eq!(gives_way(&seats, comes("192.0.2.7", true), now), Some(0));
        }
    }
}
