//! Connections whose requests wait until a credential is proved.

use super::super::state::PROOF_LIMIT;
use super::*;

const CREDENTIAL: &str =
    "GET /favicon.ico HTTP/1.1\r\nHost: a\r\nAuthorization: Basic YTpi\r\n\r\n";

/// A guarded connection that waits for a proof.
fn on_trial() -> Scene {
    let mut scene = Scene::new();
    scene.connection = Connection::guarded(scene.owner.now);
    ask(&mut scene);
    scene
}

fn ask(scene: &mut Scene) {
    scene.receive(CREDENTIAL);
    assert!(scene.connection.take_credential().is_some());
    assert!(scene.connection.take_credential().is_none());
}

#[track_caller]
fn expect(scene: &mut Scene, status: &str, connection: &str) {
    let answer = scene.take(usize::MAX);
    let head = format!("HTTP/1.1 {status} ");
    assert!(answer.starts_with(&head), "{answer}");
    let field = format!("Connection: {connection}\r\n");
    assert!(answer.contains(&field), "{answer}");
}

#[test]
fn who_is_wrong_is_told_when_it_is_time_and_who_is_right_at_once() {
    let mut scene = on_trial();
    let until = scene.owner.now + Duration::from_secs(1);
    scene.connection.keep_out(until);
    scene.pass(500);
    assert!(scene.connection.output().is_none());
    scene.pass(500);
    expect(&mut scene, "401", "keep-alive");
    ask(&mut scene);
    scene.connection.let_in(&mut scene.owner.lend());
    expect(&mut scene, "204", "keep-alive");
    // Only once: the next request may be from somebody else.
    ask(&mut scene);
}

#[test]
fn what_cannot_be_proved_is_refused_in_the_end_and_so_is_what_is_not_looked_at() {
    let mut scene = on_trial();
    scene.pass(PROOF_LIMIT.as_millis() as u64 - 1000);
    assert!(scene.connection.output().is_none());
    scene.pass(1000);
    expect(&mut scene, "503", "close");
    let mut scene = on_trial();
    let lent = &mut scene.owner.lend();
    scene.connection.send_away("not looked at", lent);
    let reply = scene.take(1000);
    assert!(reply.starts_with("HTTP/1.1 503 "), "{reply}");
    assert!(reply.ends_with("\r\n\r\nnot looked at\n"), "{reply}");
}

#[test]
fn paths_of_devices_are_told_to_this_machine_and_to_who_has_a_password() {
    let ask = "GET /state HTTP/1.1\r\nHost: a\r\nAuthorization: Basic YTpi\r\n\r\n";
    let now = Instant::now();
    for (connection, told) in [
        (Connection::new(now), false),
        (Connection::new(now).near(), true),
        (Connection::guarded(now), true),
    ] {
        let mut scene = Scene::new();
        scene.connection = connection;
        scene.receive(ask);
        scene.connection.let_in(&mut scene.owner.lend());
        let camera = Some(0);
        let report = ReportKind::State {
            camera,
            details: told,
        };
        assert_eq!(scene.connection.wants_report(), Some(report));
    }
}
