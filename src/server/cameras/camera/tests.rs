//! Which frame a viewer is given when there is none that it should have, with real files and a clock that only the
//! test moves.

use super::choice::{Choice, FRESH_LIMIT};
use super::*;
use crate::frames::demand::Demand;
use crate::frames::publish::Publisher;
use crate::server::fixture::{Directory, JPEG, PICTURE};
use crate::server::pacing::Path;
use crate::server::want::{Terms, Want};
use crate::time::clock::unix_time;

/// A line on which as much is queued as it carries in one second.
const BUSY: Path = Path {
    queued: 20_000,
    rate: Some(20_000.0),
    ..Path::IDLE
};

struct Scene {
    dir: Directory,
    publisher: Publisher,
    camera: Camera,
    clocks: Clocks,
    stats: Stats,
}

impl Scene {
    fn new(name: &str) -> Self {
        let dir = Directory::new(&format!("camera-{name}"));
        let path = dir.path().to_owned();
        let mut publisher = Publisher::open(&path).unwrap();
        publisher.announce().unwrap();
        let (name, clocks) = ("front".parse().unwrap(), Clocks::read());
        let camera = Camera::new(name, path, Links::Follow, true, clocks.now);
        Scene {
            dir,
            publisher,
            camera,
            clocks,
            stats: Stats::default(),
        }
    }

    fn pass(&mut self, millis: u64) {
        let time = Duration::from_millis(millis);
        self.clocks.now += time;
        self.clocks.wall += time;
    }

    fn publish(&mut self) {
        self.publisher.publish(JPEG, self.clocks.wall).unwrap();
        self.camera.frame_arrived(self.clocks.now);
    }

    /// The number of the frame that is given to a stream which had `have`, when it is time to repeat the last one.
    fn repeat(&mut self, have: u64, path: Path) -> Result<u64, Option<Instant>> {
        self.choose(Some(have), true, path)
    }

    fn choose(
        &mut self,
        have: Option<u64>,
        repeat: bool,
        path: Path,
    ) -> Result<u64, Option<Instant>> {
        let want = Want::Stream {
            camera: 0,
            have,
            not_before: self.clocks.now,
            repeat,
            picture: have.map(|_| PICTURE),
        };
        let opening = &mut Opening {
            stats: &mut self.stats,
            copy: &mut FrameCopy::default(),
        };
        match self.camera.choose(&want, || path, self.clocks, opening) {
            Choice::Give(shot) => Ok(shot.number),
            Choice::Later(at) => Err(at),
            Choice::Notice(_) | Choice::Refuse(..) => panic!("nothing is wrong with it"),
        }
    }
}

#[test]
fn a_camera_that_gives_nothing_has_its_last_frame_repeated() {
    let mut scene = Scene::new("silent");
    scene.publish();
    let have = scene.choose(None, false, Path::IDLE).unwrap();
    scene.pass(5000);
    assert_eq!(scene.repeat(have, Path::IDLE), Ok(have));
    scene.pass(5000);
    assert_eq!(scene.repeat(have, Path::IDLE), Ok(have));
}

#[test]
fn a_camera_that_can_give_a_fresh_frame_is_asked_for_it_before_an_old_one_is_given() {
    let mut scene = Scene::new("asleep");
    scene.publish();
    let have = scene.choose(None, false, Path::IDLE).unwrap();
    // The next frame comes when the viewer may not have it yet, and is not opened.
    scene.pass(33);
    scene.publish();
    scene.pass(4967);
    assert!(scene.repeat(have, Path::IDLE).is_err());
    assert!(scene.camera.was_asked());
    scene.pass(900);
    scene.publish();
    let fresh = scene.choose(Some(have), false, Path::IDLE);
    assert_eq!(fresh, Ok(have + 2));
}

#[test]
fn an_old_frame_is_given_as_a_sign_of_life_when_the_camera_gives_no_fresh_one() {
    let mut scene = Scene::new("dead");
    scene.publish();
    let have = scene.choose(None, false, Path::IDLE).unwrap();
    scene.pass(33);
    scene.publish();
    scene.pass(4967);
    let given_up = scene.clocks.now + FRESH_LIMIT;
    assert_eq!(scene.repeat(have, Path::IDLE), Err(Some(given_up)));
    scene.clocks.now = given_up;
    assert_eq!(scene.repeat(have, Path::IDLE), Ok(have + 1));
}

#[test]
fn nothing_is_repeated_on_top_of_what_a_slow_line_still_carries() {
    let mut scene = Scene::new("slow");
    scene.publish();
    let have = scene.choose(None, false, Path::IDLE).unwrap();
    scene.pass(5000);
    let free = scene.clocks.now + BUSY.drains_in().unwrap();
    assert_eq!(scene.repeat(have, BUSY), Err(Some(free)));
    assert_eq!(scene.repeat(have, Path::IDLE), Ok(have));
}

/// Requests may be served before the event about a new directory is read. A frame that they bring would be there
/// before the watch is, and nobody would know that it is new.
#[test]
fn a_directory_that_is_not_watched_yet_is_asked_when_it_is() {
    let mut scene = Scene::new("unwatched");
    let mut demand = Demand::new(scene.dir.path()).unwrap();
    let mut asked = |scene: &mut Scene| {
        assert_eq!(scene.choose(None, false, Path::IDLE), Err(None));
        demand.drain(Instant::now()).unwrap().asked
    };
    scene.camera.gone();
    assert!(!asked(&mut scene));
    scene.camera.returned(scene.clocks.now);
    assert!(asked(&mut scene));
}

impl Scene {
    /// The number of the frame that answers a snapshot which was asked for `ago` milliseconds ago by a client that
    /// pauses for long between its requests; or when to look again.
    fn snapshot(&mut self, ago: u64, have: Option<u64>) -> Result<u64, Option<Instant>> {
        let want = Want::Snapshot {
            camera: 0,
            since: self.clocks.now - Duration::from_millis(ago),
            terms: Terms::default(),
            have,
            slack: Duration::from_secs(1),
        };
        let opening = &mut Opening {
            stats: &mut self.stats,
            copy: &mut FrameCopy::default(),
        };
        match self
            .camera
            .choose(&want, || Path::IDLE, self.clocks, opening)
        {
            Choice::Give(shot) => Ok(shot.number),
            Choice::Later(at) => Err(at),
            choice => panic!("{choice:?}"),
        }
    }

    /// A camera that gives a frame every 40 ms, of which the newest has just arrived.
    fn running(name: &str) -> Self {
        let mut scene = Scene::new(name);
        for _ in 0..5 {
            scene.publish();
            let _ = scene.choose(None, false, Path::IDLE);
            scene.pass(40);
        }
        scene.publish();
        scene
    }
}

#[test]
fn a_snapshot_is_held_back_for_a_frame_that_is_nearer_than_the_last_one_is_old() {
    let mut scene = Scene::running("nearer");
    let newest = scene.snapshot(0, None).unwrap();
    scene.pass(15);
    assert_eq!(scene.snapshot(0, None), Ok(newest), "15 ms old, next in 25");
    scene.pass(15);
    let until = scene.clocks.now + Duration::from_millis(20);
    assert_eq!(scene.snapshot(0, None), Err(Some(until)));
    // If it does not come, the client gets what it would have had.
    scene.pass(20);
    assert_eq!(scene.snapshot(20, None), Ok(newest));
    scene.pass(5);
    scene.publish();
    assert_eq!(scene.snapshot(25, None), Ok(newest + 1));
}

#[test]
fn a_client_is_not_given_the_same_frame_twice_in_a_row_before_another_can_have_come() {
    let mut scene = Scene::running("twice");
    let newest = scene.snapshot(0, None).unwrap();
    let have = Some(newest);
    let another = scene.clocks.now + Duration::from_millis(50);
    assert_eq!(scene.snapshot(0, have), Err(Some(another)));
    scene.pass(49);
    assert_eq!(scene.snapshot(49, have), Err(Some(another)));
    scene.pass(1);
    assert_eq!(scene.snapshot(50, have), Ok(newest));
    scene.publish();
    assert_eq!(scene.snapshot(0, have), Ok(newest + 1));
}

impl Scene {
    /// When the newest frame was captured, by both clocks.
    fn captured(&mut self, have: Option<u64>) -> (Instant, SystemTime) {
        self.choose(have, false, Path::IDLE).unwrap();
        let seen = self.camera.seen().unwrap();
        (seen.taken, seen.captured)
    }
}

#[test]
fn a_frame_that_is_put_in_place_while_a_turn_runs_has_no_age_in_that_turn() {
    let mut scene = Scene::new("turn");
    scene.publish();
    scene.pass(33);
    // Its event is read in the next turn. The one of the frame before has just been.
    let before = scene.clocks.now;
    scene.camera.frame_arrived(before);
    scene.pass(7);
    let later = scene.clocks.wall + Duration::from_millis(3);
    scene.publisher.publish(JPEG, later).unwrap();
    assert_eq!(scene.captured(None), (scene.clocks.now, later));
    // A time that is still to come for long is that of a clock which was set back since.
    let much_later = scene.clocks.wall + Duration::from_secs(30);
    scene.camera.frame_arrived(scene.clocks.now);
    scene.publisher.publish(JPEG, much_later).unwrap();
    scene.pass(7);
    let arrived = scene.clocks.now - Duration::from_millis(7);
    assert_eq!(scene.captured(None), (arrived, much_later));
}

#[test]
fn frames_whose_stamp_stands_still_have_times_of_their_own_even_if_they_come_in_one_turn() {
    let mut scene = Scene::new("stamp");
    let mut times = Vec::new();
    let stamp = scene.clocks.wall;
    for millis in [100, 0, 0, 33, 0] {
        scene.pass(millis);
        scene.publisher.publish(JPEG, stamp).unwrap();
        scene.camera.frame_arrived(scene.clocks.now);
        times.push(unix_time(scene.captured(None).1));
    }
    assert!(times.is_sorted_by(|one, next| one < next), "{times:?}");
    let last = unix_time(scene.clocks.wall);
    assert!(last.abs_diff(times[4]) < Duration::from_millis(1));
}
