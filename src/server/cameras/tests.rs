//! Cameras that come and go, with real directories and a clock that only the test moves.

use std::fs;
use std::time::SystemTime;

use super::*;
use crate::frames::copy::FrameCopy;
use crate::frames::publish::Publisher;
use crate::frames::state::{self, State};
use crate::server::cameras::camera::Opening;
use crate::server::cameras::camera::choice::Choice;
use crate::server::fixture::{Directory, JPEG};
use crate::server::pacing::Path as Line;
use crate::server::want::Want;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// Cameras, and the turn that is lent to them.
struct Scene {
    dir: Directory,
    cameras: Cameras,
    turn: Turn,
}

impl Scene {
    /// One camera that the options name, `front`.
    fn named(test: &str) -> Self {
        let dir = Directory::new(test);
        let mut turn = Turn::of_a_test();
        let front = (name("front"), dir.path().join("front"));
        let cameras = Cameras::new(&[front], None, None, &mut turn).unwrap();
        Scene { dir, cameras, turn }
    }

    /// A root with nothing in it.
    fn in_root(test: &str) -> Self {
        let dir = Directory::new(test);
        let mut turn = Turn::of_a_test();
        let cameras = Cameras::new(&[], Some(dir.path()), None, &mut turn).unwrap();
        Scene { dir, cameras, turn }
    }

    fn make(&self, camera: &str) {
        fs::create_dir(self.dir.path().join(camera)).unwrap();
    }

    fn remove(&self, camera: &str) {
        fs::remove_dir_all(self.dir.path().join(camera)).unwrap();
    }

    fn publish(&self, camera: &str) -> Publisher {
        let mut publisher = Publisher::open(&self.dir.path().join(camera)).unwrap();
        publisher.publish(JPEG, SystemTime::now()).unwrap();
        publisher
    }

    /// The cameras in whose directories something has happened.
    fn changed(&mut self) -> Vec<usize> {
        let changes = self.cameras.read(&self.turn).unwrap();
        let apply = |change| self.cameras.apply(change, &mut self.turn);
        changes.into_iter().filter_map(apply).collect()
    }

    /// The cameras that have gone from the root.
    fn gone(&mut self) -> Vec<usize> {
        self.cameras.read_root(&mut self.turn).unwrap()
    }

    fn find(&self, camera: &str) -> Result<usize, Missing> {
        self.turn.roster.find(&Which::Name(name(camera)))
    }

    /// What a stream of the first camera is given that has had this frame.
    fn choose(&mut self, have: Option<u64>, repeat: bool) -> Choice {
        let want = Want::Stream {
            camera: 0,
            have,
            not_before: self.turn.now,
            repeat,
            picture: None,
        };
        let clocks = self.turn.clocks();
        let opening = &mut Opening {
            stats: &mut self.turn.stats,
            copy: &mut FrameCopy::default(),
        };
        let camera = self.cameras.camera(0);
        camera.choose(&want, || Line::IDLE, clocks, opening)
    }
}

#[test]
fn a_camera_in_a_root_is_served_while_its_directory_is_there_always_under_one_number() {
    let mut scene = Scene::in_root("root");
    assert_eq!(scene.find("front"), Err(Missing::Unknown));
    scene.make("front");
    scene.make("bench");
    assert_eq!(scene.gone(), []);
    // Those that are found together come in the order of their names.
    assert_eq!((scene.find("bench"), scene.find("front")), (Ok(0), Ok(1)));
    scene.remove("bench");
    assert_eq!(scene.gone(), [0]);
    assert_eq!(scene.find("bench"), Err(Missing::Away));
    assert_eq!(scene.find("front"), Ok(1));
    scene.make("attic");
    scene.make("bench");
    assert_eq!(scene.gone(), []);
    assert_eq!((scene.find("attic"), scene.find("bench")), (Ok(2), Ok(0)));
    assert_eq!(scene.cameras.len(), 3);
}

#[test]
fn a_frame_concerns_its_camera_alone_also_after_that_has_been_away() {
    let mut scene = Scene::in_root("frames");
    scene.make("bench");
    scene.make("front");
    scene.gone();
    scene.publish("front");
    assert_eq!(scene.changed(), [1]);
    scene.remove("bench");
    assert_eq!(scene.gone(), [0]);
    // Nothing is read any more about a camera that has gone.
    assert_eq!(scene.changed(), []);
    scene.make("bench");
    scene.gone();
    scene.publish("bench");
    assert_eq!(scene.changed(), [0]);
}

#[test]
fn what_is_in_a_directory_that_was_made_anew_is_new() {
    let mut scene = Scene::named("anew");
    scene.make("front");
    assert_eq!(scene.changed(), [0]);
    scene.publish("front");
    assert_eq!(scene.changed(), [0]);
    let Choice::Give(first) = scene.choose(None, false) else {
        panic!("there is a frame");
    };
    scene.remove("front");
    assert_eq!(scene.changed(), [0]);
    assert!(matches!(
        scene.choose(Some(first.number), false),
        Choice::Later(_)
    ));
    scene.make("front");
    assert_eq!(scene.changed(), [0]);
    scene.turn.pass(40);
    scene.publish("front");
    assert_eq!(scene.changed(), [0]);
    // A camera that was named is served whether its directory is there or not.
    assert_eq!(scene.find("front"), Ok(0));
    let Choice::Give(second) = scene.choose(Some(first.number), false) else {
        panic!("there is a frame again");
    };
    assert!(second.number > first.number);
}

#[test]
fn a_silent_camera_is_asked_and_in_the_end_a_picture_says_that_it_gives_nothing() {
    let mut scene = Scene::named("silent");
    scene.make("front");
    scene.changed();
    assert!(matches!(scene.choose(None, false), Choice::Later(_)));
    assert!(scene.cameras.camera(0).was_asked());
    scene.turn.pass(2000);
    assert!(matches!(scene.choose(None, true), Choice::Notice(_)));
    let phase = scene.cameras.camera(0).find(scene.turn.clocks()).phase;
    assert_eq!(phase.word(), "absent");
}

#[test]
fn who_waits_for_a_camera_is_told_once() {
    let mut scene = Scene::in_root("waiting");
    scene.make("bench");
    scene.make("front");
    scene.gone();
    for client in 1..=3 {
        scene.cameras.wait(client, 1);
    }
    scene.cameras.wait(4, 0);
    scene.cameras.end_waiting(2, 1);
    let told = scene.cameras.take_waiting(1);
    assert_eq!(told, [1, 3]);
    // One of them waits again at once, while the list is gone through.
    scene.cameras.wait(3, 1);
    scene.cameras.put_back(told);
    assert_eq!(scene.cameras.take_waiting(1), [3]);
    assert_eq!(scene.cameras.take_waiting(0), [4]);
}

#[test]
fn options_that_leave_no_camera_are_refused() {
    let dir = Directory::new("options");
    let front = || (name("front"), dir.path().join("front"));
    let new = |named: &[_], root, default| {
        let mut turn = Turn::of_a_test();
        turn.roster = crate::server::roster::Roster::new(default);
        let default = named.first().map(|_| name("other"));
        Cameras::new(named, root, default.as_ref(), &mut turn)
            .err()
            .map(|error| error.to_string())
    };
    let refused = |error: Option<String>, why: &str| {
        assert!(
            error.as_ref().is_some_and(|error| error.contains(why)),
            "{error:?}"
        );
    };
    refused(
        new(&[], None, None),
        "there is no camera: name a frame directory",
    );
    refused(
        new(&[front(), front()], None, None),
        "two cameras are called 'front'",
    );
    let other = Some(name("other"));
    refused(
        new(&[front()], None, other.clone()),
        "no camera called 'other'",
    );
    assert_eq!(new(&[front()], Some(dir.path()), other), None);
    assert_eq!(new(&[front()], None, Some(name("front"))), None);
}

#[test]
fn a_camera_whose_program_was_there_before_its_directory_was_watched_is_there() {
    let dir = Directory::new("before");
    let mut turn = Turn::of_a_test();
    let named = ["front", "bench"].map(|camera| (name(camera), dir.path().join(camera)));
    let cameras = Cameras::new(&named, None, None, &mut turn).unwrap();
    let mut scene = Scene { dir, cameras, turn };
    let default = |scene: &Scene| scene.turn.roster.find(&Which::Default);
    let tells = |scene: &Scene, camera: &str| {
        scene.make(camera);
        let mut publisher = Publisher::open(&scene.dir.path().join(camera)).unwrap();
        let state = State::new(state::Phase::Off, SystemTime::now());
        publisher.tell(&state).unwrap();
        publisher
    };
    let _bench = tells(&scene, "bench");
    scene.changed();
    assert_eq!(default(&scene), Ok(1));
    // It is the first one, and all that it has to say was said before anybody listened.
    let _front = tells(&scene, "front");
    scene.changed();
    assert_eq!(default(&scene), Ok(0));
}
