use std::time::{Instant, SystemTime};

use super::*;
use crate::server::fixture::{JPEG, PICTURE};

/// How many bytes a frame of the tests has.
const LEN: u64 = JPEG.len() as u64;

fn shot(number: u64) -> Shot<Frame> {
    let captured = SystemTime::now();
    let frame = Frame::in_memory(JPEG, captured).unwrap();
    Shot {
        len: frame.len(),
        captured,
        taken: Instant::now(),
        picture: PICTURE,
        number,
        file: Rc::new(frame),
    }
}

/// Frames that are handed out, and who still has which.
struct Scene {
    held: Held,
    holders: Vec<(ClientId, Rc<Frame>)>,
}

impl Scene {
    /// As many frames as `max` may be held besides the newest.
    fn new(max: u64) -> Self {
        Scene {
            held: Held::new(max * LEN),
            holders: Vec::new(),
        }
    }

    /// A camera has a new frame, and these clients begin to be sent it.
    fn give(&mut self, camera: usize, clients: &[ClientId]) {
        let shot = shot(0);
        for client in clients {
            self.held.note(Of::Camera(camera), &shot);
            self.holders.push((*client, Rc::clone(&shot.file)));
        }
    }

    /// Drops whoever is to be dropped.
    fn bound(&mut self) -> Vec<ClientId> {
        let mut dropped = Vec::new();
        loop {
            let holders = self.holders.iter().map(|(id, file)| (*id, file));
            let Some(id) = self.held.excess(holders) else {
                return dropped;
            };
            self.holders.retain(|(other, _)| *other != id);
            dropped.push(id);
        }
    }
}

#[test]
fn a_frame_counts_once_however_many_are_sent_it_and_not_while_it_is_the_newest() {
    let mut scene = Scene::new(0);
    scene.give(0, &[1, 2, 3]);
    scene.give(1, &[4]);
    assert_eq!(scene.held.bytes(), 2 * LEN);
    assert_eq!(scene.bound(), []);
    // The frame of another camera outdates nothing here.
    scene.give(1, &[5]);
    assert_eq!(scene.bound(), [4]);
    assert_eq!(scene.held.bytes(), 2 * LEN);
}

#[test]
fn whoever_holds_the_oldest_frames_is_dropped_until_the_rest_is_within_the_limit() {
    let mut scene = Scene::new(2);
    for client in 1..=3 {
        scene.give(0, &[client, client + 10]);
        assert_eq!(scene.bound(), []);
    }
    // Now there are three besides the newest.
    scene.give(0, &[4]);
    assert_eq!(scene.bound(), [1, 11]);
    assert_eq!(scene.held.bytes(), 3 * LEN);
}

#[test]
fn what_was_sent_to_its_end_is_not_held_any_more() {
    let mut scene = Scene::new(2);
    for client in 1..=10 {
        scene.give(0, &[client]);
        assert_eq!(scene.bound(), []);
        scene.holders.retain(|(id, _)| *id == 1 || *id == client);
    }
    assert_eq!(scene.held.bytes(), 2 * LEN);
}

#[test]
fn the_last_frame_of_a_camera_that_has_gone_counts() {
    let mut scene = Scene::new(0);
    scene.give(0, &[1]);
    assert_eq!(scene.bound(), []);
    scene.held.outdate(0);
    assert_eq!(scene.bound(), [1]);
}

#[test]
fn of_reports_and_of_pictures_of_a_lost_camera_a_few_are_kept_and_the_others_count() {
    let other = Size {
        width: 1,
        ..PICTURE
    };
    for all in [
        &[Of::Report; 6][..],
        &[Of::Notice(0, PICTURE); 3],
        &[Of::Notice(0, PICTURE), Of::Notice(0, other), Of::Camera(0)],
    ] {
        let mut scene = Scene::new(0);
        for (client, of) in all.iter().enumerate() {
            let shot = shot(0);
            scene.held.note(*of, &shot);
            scene.holders.push((client as u64, shot.file));
        }
        assert_eq!(scene.bound(), [0, 1], "{all:?}");
    }
    // Of another size or camera, it is kept as well.
    let mut scene = Scene::new(0);
    for of in [
        Of::Notice(0, PICTURE),
        Of::Notice(0, other),
        Of::Notice(1, other),
    ] {
        let shot = shot(0);
        scene.held.note(of, &shot);
        scene.holders.push((0, shot.file));
    }
    assert_eq!(scene.bound(), []);
}
