//! Places, shares and who gives way, without a socket and with a clock that only the test moves.

use super::*;

/// A door with few places, and those who are in.
struct Scene {
    door: Door,
    turn: Turn,
    inside: Vec<(ClientId, Place, Instant)>,
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
            inside: Vec::new(),
            next: 0,
        }
    }

    /// Somebody comes from this address and says nothing: the number under which it is in, and who had to go.
    fn come(&mut self, from: &str) -> (Option<ClientId>, Place, Option<ClientId>) {
        let silent = || {
            let served = self.inside.iter();
            let served = served.filter(|(_, place, _)| *place != Place::TurnedAway);
            served.map(|(id, _, since)| (*since, *id)).min()
        };
        let network = network(from);
        let (place, gone) = self.door.place_for(network, silent, &mut self.turn);
        if let Some(gone) = gone {
            self.go(gone);
        }
        let id = self.door.enter(place).then_some(self.next);
        if let Some(id) = id {
            self.next += 1;
            self.inside.push((id, place, self.turn.now));
        }
        (id, place, gone)
    }

    fn go(&mut self, id: ClientId) {
        let at = self.inside.iter().position(|(other, ..)| *other == id);
        let (_, place, _) = self.inside.remove(at.unwrap());
        self.door.leave(place, &mut self.turn);
    }

    fn is_served(&mut self, from: &str) -> bool {
        matches!(self.come(from), (Some(_), Place::Served(_), None))
    }
}

fn network(from: &str) -> Network {
    match from {
        "unix" => Network::Local,
        address => Network::of_address(address.parse().unwrap()),
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
    let place = Place::Served(network(HERE));
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
    assert!(scene.door.taken.is_empty());
    assert_eq!(scene.door.served, 0);
}
