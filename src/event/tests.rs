use std::io::Write;

use super::*;

#[test]
fn no_event_comes_after_its_registration_was_removed() {
    let mut poll = Poll::new().unwrap();
    let (a, mut a_peer) = UnixStream::pair().unwrap();
    let (b, mut b_peer) = UnixStream::pair().unwrap();
    let mut registrations = HashMap::new();
    for (name, socket) in [('a', &a), ('b', &b)] {
        let registration = poll.add(socket, Interest::Readable, name).unwrap();
        registrations.insert(name, registration);
    }
    a_peer.write_all(b"x").unwrap();
    b_peer.write_all(b"x").unwrap();
    poll.wait(None).unwrap();
    let (first, _) = poll.next_event().unwrap();
    let (other, socket) = if first == 'a' { ('b', &b) } else { ('a', &a) };
    poll.remove(socket, registrations.remove(&other).unwrap());
    // Registered again under the same descriptor number: the old event must not be attributed to the new
    // registration.
    poll.add(socket, Interest::Edges, 'c').unwrap();
    assert_eq!(poll.next_event().map(|(name, _)| name), None);
}

#[test]
fn what_was_registered_first_is_handed_out_first_whatever_was_ready_first() {
    let mut poll = Poll::new().unwrap();
    let mut pairs: Vec<_> = (0..8).map(|_| UnixStream::pair().unwrap()).collect();
    for (number, (socket, _)) in pairs.iter().enumerate() {
        poll.add(socket, Interest::Readable, number).unwrap();
    }
    for number in [3, 0, 7, 5, 1, 6, 2, 4] {
        pairs[number].1.write_all(b"x").unwrap();
    }
    poll.wait(None).unwrap();
    let order: Vec<_> = std::iter::from_fn(|| poll.next_event()).collect();
    assert!(order.iter().map(|(number, _)| *number).eq(0..8));
}

#[test]
fn a_deadline_less_than_a_millisecond_away_is_not_met_by_spinning() {
    assert_eq!(timeout(Duration::from_nanos(1)).tv_nsec, 1_000_000);
    assert_eq!(timeout(Duration::ZERO).tv_nsec, 0);
    let long = timeout(Duration::from_secs(u64::MAX));
    assert_eq!(long.tv_sec, i64::from(i32::MAX) / 1000);
}

#[test]
fn numbers_in_a_row_do_not_collide() {
    use std::hash::BuildHasher;
    let build = BuildHasherDefault::<NumberHasher>::default();
    // The map takes the position from the low bits and distinguishes entries in a group by the high bits.
    let hashes = (1000..1128_u64).map(|number| build.hash_one(number));
    let places: BTreeSet<_> = hashes.clone().map(|hash| hash % 128).collect();
    let tags: BTreeSet<_> = hashes.map(|hash| hash >> 57).collect();
    assert_eq!(places.len(), 128);
    assert!(tags.len() > 64, "{}", tags.len());
}

#[test]
fn deadlines_come_in_order_and_setting_one_again_moves_it() {
    let start = Instant::now();
    let at = |secs| start + Duration::from_secs(secs);
    let mut deadlines = Deadlines::new();
    deadlines.set('a', Some(at(1)));
    deadlines.set('b', Some(at(2)));
    deadlines.set('c', Some(at(3)));
    deadlines.set('a', Some(at(4)));
    deadlines.set('b', None);
    assert_eq!(deadlines.next(), Some(at(3)));
    assert_eq!(deadlines.take_due(at(2)), []);
    assert_eq!(deadlines.take_due(at(9)), ['c', 'a']);
    assert_eq!(deadlines.take_due(at(9)), []);
    assert_eq!(deadlines.next(), None);
}

#[test]
fn a_caught_signal_is_told_once() {
    let mut signals = Signals::catch(&[libc::SIGUSR1, libc::SIGUSR2]).unwrap();
    signal_hook::low_level::raise(libc::SIGUSR2).unwrap();
    signal_hook::low_level::raise(libc::SIGUSR2).unwrap();
    assert_eq!(signals.take(), [libc::SIGUSR2]);
    assert_eq!(signals.take(), []);
}

#[test]
fn std_has_broken_pipes_ignored_and_nothing_else() {
    assert!(is_ignored(libc::SIGPIPE));
    assert!(!is_ignored(libc::SIGTERM));
}
