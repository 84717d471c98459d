//! What the loop does with what a visit ends with, over pairs of sockets, with a real frame directory and with a clock that only
//! the test moves.

mod scene;

use std::time::Duration;

use self::scene::{Guest, MILLISECOND, Scene};
use crate::frames::controls::{Outcome, Wishes};
use crate::server::settings::Setters;
use crate::server::stats::CloseReason::{Done, GaveWay, HeldTooMuch, Idle, Left, Stopping};

const STREAM: &str = "GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n";
const SNAPSHOT: &str = "GET /snapshot HTTP/1.1\r\nHost: localhost\r\n\r\n";
const STATE: &str = "GET /state HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// More than fits into a socket whose other end reads nothing.
const LONG: usize = 2_000_000;

#[test]
fn who_waits_for_a_frame_is_visited_when_it_comes_and_then_waits_again_or_no_more() {
    let mut scene = Scene::new("frame");
    let (mut stream, mut snapshot) = (scene.comes(STREAM), scene.comes(SNAPSHOT));
    snapshot.hears_nothing();
    scene.publish(0);
    assert_eq!(stream.is_told(), 200);
    assert_eq!(snapshot.is_told(), 200);
    scene.pass(MILLISECOND * 100);
    scene.publish(0);
    let (text, is_over) = stream.hears();
    assert!(text.contains("Content-Length: ") && !is_over, "{text}");
    snapshot.hears_nothing();
    assert_eq!(scene.turn.stats.snapshots, 1);
}

#[test]
fn who_asks_for_nothing_more_is_closed_when_its_time_is_over() {
    let mut scene = Scene::new("idle");
    scene.publish(0);
    let mut guest = scene.comes(STATE);
    assert_eq!(guest.is_told(), 200);
    assert_eq!(scene.next(), scene.turn.settings.kept_timeout);
    scene.pass(scene.next() - MILLISECOND);
    guest.hears_nothing();
    scene.pass(MILLISECOND);
    assert_eq!(guest.hears(), (String::new(), true));
    assert_eq!(scene.ended(Idle), 1);
    assert!(scene.visits.clients.is_empty() && scene.turn.timers.next().is_none());
}

#[test]
fn while_places_are_few_who_asks_for_nothing_more_is_closed_sooner() {
    let mut scene = Scene::new("crowd");
    let mut guest = scene.comes(STATE);
    assert_eq!(guest.is_told(), 200);
    let (kept, idle) = {
        let settings = &scene.turn.settings;
        (settings.kept_timeout, settings.idle_timeout)
    };
    assert_eq!(scene.next(), kept);
    let streams = [STREAM; 2].map(|request| scene.comes(request));
    scene.pass(idle - MILLISECOND);
    assert!(scene.is_here(&guest), "three of four places are taken");
    scene.pass(MILLISECOND);
    assert!(!scene.is_here(&guest));
    assert!(streams.iter().all(|stream| scene.is_here(stream)));
    // Now there is room again.
    let mut other = scene.comes("");
    assert!(scene.turn.settings.is_crowded);
    drop(streams);
    scene.publish(0);
    scene.says(&mut other, STATE);
    assert_eq!(other.is_told(), 200);
    assert!(!scene.turn.settings.is_crowded);
    assert!(scene.is_here(&other));
}

#[test]
fn a_report_is_given_in_the_visit_that_asks_for_it_or_when_there_may_be_another() {
    let mut scene = Scene::new("report");
    let mut guest = scene.comes(STATE);
    assert_eq!(guest.is_told(), 200);
    scene.pass(MILLISECOND * 30);
    scene.says(&mut guest, STATE);
    guest.hears_nothing();
    assert_eq!(scene.next(), MILLISECOND * 70);
    scene.pass(MILLISECOND * 70);
    assert_eq!(guest.is_told(), 200);
    assert!(scene.is_here(&guest));
}

#[test]
fn who_sets_a_control_is_visited_until_there_is_an_answer_or_none_will_come() {
    let mut scene = Scene::new("control");
    scene.turn.settings.setters = Setters::Everybody;
    let producer = Wishes::new(&scene.dir.path().join("front"), None).unwrap();
    let body = r#"{"brightness": 1}"#;
    let request = format!(
        "POST /front/controls HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut guest = scene.comes(&request);
    for _ in 0..3 {
        guest.hears_nothing();
        assert_eq!(scene.next(), MILLISECOND * 10);
        scene.pass(MILLISECOND * 10);
    }
    let (at, _) = producer.wanted().unwrap();
    let outcome = ("brightness=1".to_owned(), Outcome::Set);
    producer.answer(at, &[outcome]).unwrap();
    scene.pass(MILLISECOND * 10);
    assert_eq!(guest.is_told(), 200);
    // Who leaves meanwhile leaves nothing behind: the next one need not wait. But nobody answers any more.
    scene.pass(MILLISECOND * 200);
    drop(scene.comes(&request));
    scene.visits.end(&mut scene.turn);
    scene.pass(MILLISECOND * 200);
    let mut next = scene.comes(&request);
    assert_eq!(scene.next(), MILLISECOND * 10);
    scene.pass(MILLISECOND * 4999);
    next.hears_nothing();
    scene.pass(MILLISECOND);
    assert_eq!(next.is_told(), 503);
}

/// A request with this credential, in base64.
fn with(credential: &str) -> String {
    format!("GET /state HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {credential}\r\n\r\n")
}

#[test]
fn who_has_proved_a_password_is_visited_with_the_result() {
    let mut scene = Scene::guarded("password");
    let mut nobody = scene.comes(STATE);
    assert_eq!(nobody.is_told(), 401);
    let mut anna = scene.comes(&with("YW5uYTpzZWNyZXQ="));
    anna.hears_nothing();
    assert_eq!(scene.is_proved(&mut anna), 200);
    // What was proved once is known on this connection.
    scene.pass(MILLISECOND * 200);
    scene.says(&mut anna, &with("YW5uYTpzZWNyZXQ="));
    assert_eq!(anna.is_told(), 200);
    // A wrong one is refused when its penalty is over.
    let asked = scene.turn.now;
    let mut wrong = scene.comes(&with("YW5uYTp3cm9uZw=="));
    assert_eq!(scene.is_proved(&mut wrong), 401);
    assert!(scene.turn.now >= asked + Duration::from_secs(1));
}

#[test]
fn the_proof_for_who_has_left_is_nobodys() {
    let mut scene = Scene::guarded("left");
    let mut anna = scene.comes(&with("YW5uYTpzZWNyZXQ="));
    scene.visits.end(&mut scene.turn);
    assert!(anna.hears().1);
    assert_eq!(scene.ended(Stopping), 1);
    let mut other = scene.comes(&with("YW5uYTpzZWNyZXQ="));
    assert_eq!(scene.is_proved(&mut other), 200);
    assert!(scene.is_here(&other));
}

#[test]
fn who_has_been_silent_gives_way_and_who_has_not_stays() {
    let mut scene = Scene::new("way");
    let mut guests = [(); 4].map(|()| scene.comes(""));
    // There is no place yet, so the next one is told so, and one after that, who is not even kept.
    let mut refused = scene.comes(STATE);
    assert!(scene.is_here(&refused));
    assert_eq!(refused.is_told(), 503);
    let mut unkept = scene.comes(STATE);
    assert_eq!(unkept.id, None);
    assert_eq!(unkept.is_told(), 503);
    assert!(unkept.hears().1);
    assert_eq!((scene.turn.stats.turned_away, scene.ended(Done)), (2, 1));
    scene.turn.stats = Default::default();
    scene.says(&mut guests[0], STREAM);
    scene.turn.pass(600);
    let mut next = scene.comes(STATE);
    assert_eq!(next.is_told(), 200);
    assert_eq!(guests[1].hears(), (String::new(), true));
    let stay = [0, 2, 3].map(|index| scene.is_here(&guests[index]));
    assert_eq!((stay, scene.ended(GaveWay)), ([true; 3], 1));
}

#[test]
fn a_visit_to_who_has_gone_changes_nothing() {
    let mut scene = Scene::new("gone");
    let gone = scene.comes(STREAM);
    let mut stays = scene.comes(STREAM);
    gone.socket.shutdown(std::net::Shutdown::Both).unwrap();
    scene.wake(&gone);
    assert!(!scene.is_here(&gone));
    assert_eq!(scene.ended(Left), 1);
    // An event that was read before, a deadline, and the camera's next frame.
    scene.wake(&gone);
    scene.visits.serve(gone.id.unwrap(), &mut scene.turn);
    scene.publish(0);
    assert_eq!(stays.is_told(), 200);
    assert_eq!(scene.ended(Left), 1);
    assert_eq!(scene.visits.clients.len(), 1);
    // Its place is free: three more find one.
    let more = [STREAM; 3].map(|request| scene.comes(request));
    assert!(more.iter().all(|guest| scene.is_here(guest)));
    assert_eq!(scene.turn.stats.turned_away, 0);
}

#[test]
fn who_asks_for_much_at_once_goes_on_after_the_others() {
    let mut scene = Scene::new("much");
    let request = "GET /none HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut greedy = scene.comes(&request.repeat(20));
    let answers = |guest: &mut Guest| guest.hears().0.matches("HTTP/1.1 404").count();
    let mut all = answers(&mut greedy);
    assert!((1..20).contains(&all), "{all}");
    while all < 20 {
        assert_eq!(scene.next(), Duration::ZERO);
        scene.pass(Duration::ZERO);
        let more = answers(&mut greedy);
        assert!(more > 0, "{all}");
        all += more;
    }
    scene.pass(Duration::ZERO);
    assert!(scene.next() > Duration::ZERO);
}

#[test]
fn who_holds_the_oldest_frame_is_dropped_when_too_much_is_held_and_nobody_else() {
    let mut scene = Scene::new("held");
    let mut slow = [STREAM; 2].map(|request| scene.comes(request));
    let mut fast = scene.comes(STREAM);
    let mut frames = 0;
    for _ in 0..2 {
        scene.pass(MILLISECOND * 100);
        scene.publish(LONG);
        // It takes the frame as it comes.
        loop {
            let (text, is_over) = fast.hears();
            assert!(!is_over);
            frames += text.matches("Content-Length: ").count();
            if text.is_empty() {
                break;
            }
            scene.wake(&fast);
        }
    }
    assert_eq!(frames, 2);
    let stay = [&slow[0], &slow[1], &fast].map(|guest| scene.is_here(guest));
    assert_eq!(stay, [false, false, true], "{}", scene.turn.stats);
    assert_eq!(scene.ended(HeldTooMuch), 2);
    assert!(slow.iter_mut().all(|guest| guest.hears().1));
}

#[test]
fn the_viewers_of_a_camera_that_goes_are_told_and_others_are_not() {
    let mut scene = Scene::new("vanish");
    scene.publish(0);
    let (mut stream, mut other) = (scene.comes(STREAM), scene.comes(""));
    assert_eq!(stream.is_told(), 200);
    scene.visits.vanish(0, &mut scene.turn);
    assert_eq!(stream.hears(), (String::new(), true));
    other.hears_nothing();
    scene.says(&mut other, SNAPSHOT);
    assert_eq!(other.is_told(), 503);
}

#[test]
fn when_the_last_one_has_gone_the_time_until_the_end_begins_anew() {
    let mut scene = Scene::new("exit");
    let (after, now) = (Duration::from_secs(30), scene.turn.now);
    scene.visits.exit_idle = Some(after);
    scene.visits.begin(&mut scene.turn);
    let due = |scene: &Scene| scene.turn.timers.next();
    assert_eq!(due(&scene), Some(now + after));
    let guest = scene.comes("");
    assert_eq!(scene.next(), scene.turn.settings.idle_timeout);
    scene.turn.pass(7000);
    drop(guest.socket.shutdown(std::net::Shutdown::Both));
    scene.wake(&guest);
    assert_eq!(scene.next(), after);
    // It ends for another reason now.
    scene.visits.stop(&mut scene.turn);
    assert_eq!(due(&scene), None);
    assert!(scene.visits.door.is_closed());
}

#[test]
fn at_the_end_what_was_begun_is_finished_and_after_a_while_nobody_is_waited_for() {
    let mut scene = Scene::new("stop");
    let (mut idle, mut waits) = (scene.comes(""), scene.comes(SNAPSHOT));
    let mut slow = scene.comes(STREAM);
    scene.visits.stop(&mut scene.turn);
    assert_eq!(idle.hears(), (String::new(), true));
    assert_eq!(waits.is_told(), 503);
    let (text, is_over) = slow.hears();
    assert!(text.starts_with("HTTP/1.0 200") && is_over, "{text}");
    assert!(!scene.is_here(&idle) && scene.is_here(&waits));
    assert_eq!(scene.ended(Stopping), 1);
    scene.visits.end(&mut scene.turn);
    assert!(scene.visits.clients.is_empty());
    assert_eq!(scene.ended(Stopping), 3);
    assert!(scene.turn.timers.next().is_none());
}
