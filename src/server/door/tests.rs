//! Places, shares and who gives way, without a socket and with a clock that only the test moves.

use std::collections::BTreeMap;

use super::*;

/// A door with few places, and those who are in.
struct Scene {
    door: Door,
    turn: Turn,
    /// By number, with what the door sees of those who are served.
    inside: BTreeMap<ClientId, (Place, Option<Seat>)>,
    next: ClientId,
}

impl Scene {
    fn new(served: usize, turned_away: usize, share: Option<usize>) -> Self {
        let places = Places {
            served,
            turned_away,
        };
        Scene {
            door: Door::new(Vec::new(), places, share),
            turn: Turn::of_a_test(),
            inside: BTreeMap::new(),
            next: 0,
        }
    }

    /// Somebody comes from this address and says nothing: the number under which it is in, and who had to go.
    fn come(&mut self, from: &str) -> (Option<ClientId>, Place, Option<ClientId>) {
        self.come_and(from, false, true)
    }

    /// The same for somebody of whom a password is required (`guarded`), or who is busy at once (not `silent`).
    fn come_and(
        &mut self,
        from: &str,
        guarded: bool,
        silent: bool,
    ) -> (Option<ClientId>, Place, Option<ClientId>) {
        let seats = || self.inside.values().filter_map(|(_, seat)| *seat);
        let newcomer = Newcomer {
            remote: remote(from),
            guarded,
        };
        let (place, gone) = self.door.place_for(newcomer, seats, &mut self.turn);
        if let Some(gone) = gone {
            self.go(gone);
        }
        let id = self.door.enter(place).then_some(self.next);
        if let Some(id) = id {
            self.next += 1;
            let seat = Seat {
                id,
                remote: newcomer.remote,
                since: self.turn.now,
                silent_since: silent.then_some(self.turn.now),
                unproved: guarded,
            };
            let seat = (place != Place::TurnedAway).then_some(seat);
            self.inside.insert(id, (place, seat));
        }
        (id, place, gone)
    }

    fn go(&mut self, id: ClientId) {
        let (place, _) = self.inside.remove(&id).unwrap();
        self.door.leave(place, &mut self.turn);
    }

    fn is_served(&mut self, from: &str) -> bool {
        matches!(self.come(from), (Some(_), Place::Served(_), None))
    }
}

fn remote(from: &str) -> Remote {
    match from {
        "unix" => Remote::Unix,
        address => Remote::of_address(address.parse().unwrap()),
    }
}

const HERE: &str = "127.0.0.1";
const THERE: &str = "192.0.2.1";
const ELSEWHERE: &str = "192.0.2.2";

#[test]
fn who_finds_all_places_taken_is_told_so_and_then_nobody_is_accepted_until_somebody_leaves() {
    let mut scene = Scene::new(2, 1, None);
    assert!(scene.is_served(HERE) && scene.is_served(HERE));
    assert!(!scene.door.is_crowded());
    assert_eq!(scene.come(HERE), (Some(2), Place::TurnedAway, None));
    assert!(scene.door.is_crowded());
    // Whoever was accepted all the same gets an answer and no place.
    assert_eq!(scene.come(HERE), (None, Place::TurnedAway, None));
    assert_eq!(scene.turn.stats.turned_away, 2);
    scene.door.crowded = true;
    assert_eq!(scene.turn.timers.next(), None);
    scene.go(2);
    assert_eq!(scene.turn.timers.next(), Some(scene.turn.now));
    scene.go(0);
    assert!(scene.is_served(HERE));
}

#[test]
fn who_has_been_silent_longest_gives_way_and_nobody_who_has_just_come() {
    let mut scene = Scene::new(2, 1, None);
    assert!(scene.is_served(HERE));
    scene.turn.pass(100);
    assert!(scene.is_served(HERE));
    scene.turn.pass(399);
    assert_eq!(scene.come(HERE).1, Place::TurnedAway);
    scene.turn.pass(1);
    let place = Place::Served(remote(HERE));
    assert_eq!(scene.come(HERE), (Some(3), place, Some(0)));
    // The other one was silent for less.
    assert_eq!(scene.come(HERE).1, Place::TurnedAway);
    scene.turn.pass(100);
    assert_eq!(scene.come(HERE).2, Some(1));
}

#[test]
fn nobody_gives_way_to_an_address_that_has_its_share() {
    let mut scene = Scene::new(2, 4, None);
    assert!(scene.is_served(THERE) && scene.is_served(ELSEWHERE));
    scene.turn.pass(10_000);
    assert_eq!(scene.come(THERE), (Some(2), Place::TurnedAway, None));
    assert_eq!(scene.turn.stats.over_share, 1);
    assert_eq!(scene.turn.stats.turned_away, 0);
    assert_eq!(scene.come(HERE).2, Some(0));
    assert_eq!(scene.come(THERE).2, Some(1));
}

#[test]
fn a_share_is_free_again_when_one_of_its_clients_leaves() {
    let mut scene = Scene::new(100, 4, Some(2));
    assert!(scene.is_served(THERE) && scene.is_served(THERE));
    assert!(!scene.is_served(THERE));
    // Another address has its own, and a unix socket none.
    assert!(scene.is_served(ELSEWHERE));
    assert!((0..3).all(|_| scene.is_served("unix")));
    scene.go(0);
    assert!(scene.is_served(THERE));
    assert!(!scene.is_served(THERE));
}

#[test]
fn those_who_are_turned_away_take_nobodys_place() {
    let mut scene = Scene::new(2, 4, Some(1));
    assert!(scene.is_served(THERE));
    assert!((0..4).all(|_| scene.come(THERE).0.is_some()));
    assert_eq!(scene.come(THERE), (None, Place::TurnedAway, None));
    assert!(!scene.door.is_crowded());
    assert!(scene.is_served(ELSEWHERE));
}

#[test]
fn nothing_is_kept_of_those_who_have_left() {
    let mut scene = Scene::new(100, 4, None);
    for host in 0..50 {
        assert!(scene.is_served(&format!("192.0.2.{host}")));
    }
    for id in 0..50 {
        scene.go(id);
    }
    assert!(scene.door.of_hosts.0.is_empty() && scene.door.of_blocks.0.is_empty());
    assert_eq!((scene.door.served, scene.door.over_network), (0, 0));
}

#[test]
fn an_eighth_of_the_places_is_for_this_machine() {
    let mut scene = Scene::new(16, 4, Some(0));
    for host in 0..14 {
        assert!(scene.is_served(&format!("192.0.2.{host}")));
    }
    let (_, place, gone) = scene.come_and(ELSEWHERE, false, false);
    assert_eq!((place, gone), (Place::TurnedAway, None));
    assert!(scene.is_served(HERE) && scene.is_served("unix"));
    // It may have more, if the network leaves it some.
    for id in 0..14 {
        scene.go(id);
    }
    assert!((0..14).all(|_| scene.is_served(HERE)));
}

#[test]
fn those_who_have_proved_nothing_have_half_of_the_places() {
    let mut scene = Scene::new(4, 4, Some(0));
    let stranger = |scene: &mut Scene| scene.come_and(THERE, true, false);
    assert_eq!(stranger(&mut scene).1, Place::Served(remote(THERE)));
    assert_eq!(stranger(&mut scene).1, Place::Served(remote(THERE)));
    assert_eq!(stranger(&mut scene).1, Place::TurnedAway);
    // Where no password is required, there is room, also for the same host.
    let (_, place, gone) = scene.come_and(THERE, false, false);
    assert_eq!((place, gone), (Place::Served(remote(THERE)), None));
    // Another one who may know a password takes the place of one of many, and so does anybody after half a second.
    assert_eq!(scene.come_and(ELSEWHERE, true, false).2, Some(1));
    scene.turn.pass(500);
    assert_eq!(stranger(&mut scene).2, Some(0));
}

#[test]
fn strangers_without_a_proof_keep_nobody_of_this_machine_out_and_take_nobodys_place_there() {
    let mut scene = Scene::new(16, 4, Some(0));
    // Half of 16 are for those who have proved nothing, and of these an eighth for this machine.
    for host in 0..7 {
        let stranger = scene.come_and(&format!("192.0.2.{host}"), true, false);
        assert!(stranger.2.is_none() && stranger.0.is_some());
    }
    assert_eq!(
        scene.come_and("192.0.2.9", true, false).1,
        Place::TurnedAway
    );
    let (proxy, _, gone) = scene.come_and(HERE, true, false);
    assert_eq!((proxy, gone), (Some(8), None));
    // However long its proof takes, it stays: one of the strangers goes.
    scene.turn.pass(10_000);
    for (host, gone) in (0..7).enumerate() {
        let stranger = scene.come_and(&format!("198.51.100.{host}"), true, false);
        assert_eq!(stranger.2, Some(gone));
    }
    assert!(scene.inside.contains_key(&8));
}

#[test]
fn one_network_of_ipv6_cannot_have_all_places_however_many_addresses_it_has() {
    let mut scene = Scene::new(16, 4, None);
    // Of 16, 14 are for networks, of which one may have 11.
    for host in 0..11 {
        assert!(scene.is_served(&format!("fe80::{host:x}")));
    }
    assert_eq!(scene.come("fe80::ffff").1, Place::TurnedAway);
    assert!(scene.is_served("2001:db8::1") && scene.is_served(THERE));
}
