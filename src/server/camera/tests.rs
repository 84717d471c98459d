use std::fs;

use super::*;
use crate::frames::demand::Demand;
use crate::frames::publish::Publisher;

/// A stream that has had nothing yet looks for a frame.
fn look(camera: &mut Camera) -> Choice {
    let now = Instant::now();
    let want = Want::Stream {
        camera: 0,
        have: None,
        not_before: now,
        repeat: false,
        picture: None,
    };
    camera.choose(&want, || Path::IDLE, now, &mut Stats::default())
}

/// Requests may be served before the event that tells of a new directory is read. A frame that they bring would be there
/// before the watch is, and nobody would know that it is new.
#[test]
fn a_directory_that_is_not_watched_yet_is_asked_when_it_is() {
    let dir = std::env::temp_dir().join(format!("lazycam-camera-{}", std::process::id()));
    let name = "front".parse().unwrap();
    let mut camera = Camera::new(name, dir.clone(), Links::Follow, false);
    let mut publisher = Publisher::open(&dir).unwrap();
    let mut demand = Demand::new(&dir).unwrap();
    publisher.announce().unwrap();
    let mut asked = || demand.drain(Instant::now()).unwrap().asked;
    assert!(!asked());

    assert!(matches!(look(&mut camera), Choice::Later(_)));
    assert!(!asked());
    camera.returned();
    assert!(matches!(look(&mut camera), Choice::Later(_)));
    assert!(asked());
    camera.gone();
    assert!(matches!(look(&mut camera), Choice::Later(_)));
    assert!(!asked());
    fs::remove_dir_all(dir).unwrap();
}
