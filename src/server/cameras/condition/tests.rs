use super::*;

/// A moment by the clock that these tests move. The one on the wall stands still.
fn clocks(now: Instant) -> Clocks {
    let wall = SystemTime::UNIX_EPOCH;
    Clocks { now, wall }
}

fn phase(condition: &mut Condition, at: Instant) -> CameraPhase {
    // There is no directory and no lock, so only what was observed counts.
    condition.find(Path::new("/nonexistent"), clocks(at)).phase
}

#[test]
fn a_producer_that_says_nothing_shows_by_its_frames() {
    let start = Instant::now();
    let mut condition = Condition::of(Path::new("/nonexistent"), Links::Follow, start);
    assert_eq!(phase(&mut condition, start), CameraPhase::Absent);
    condition.arrived(start);
    assert_eq!(
        phase(&mut condition, start),
        CameraPhase::Of(state::Phase::Live)
    );
    let later = start + QUIET + Duration::from_millis(1);
    assert_eq!(phase(&mut condition, later), CameraPhase::Absent);
    assert_eq!(condition.published(), 1);
    assert_eq!(
        condition.guess(clocks(later)).phase,
        CameraPhase::Of(state::Phase::Off)
    );
    condition.asked(clocks(later));
    assert_eq!(
        condition.guess(clocks(later)).phase,
        CameraPhase::Of(state::Phase::Starting)
    );
    let tired = later + START_LIMIT + Duration::from_millis(1);
    assert_eq!(
        condition.guess(clocks(tired)).phase,
        CameraPhase::Of(state::Phase::Off)
    );
}

#[test]
fn a_camera_whose_directory_is_gone_is_absent_at_once() {
    let start = Instant::now();
    let mut condition = Condition::of(Path::new("/nonexistent"), Links::Follow, start);
    condition.arrived(start);
    condition.gone();
    assert_eq!(phase(&mut condition, start), CameraPhase::Absent);
    condition.arrived(start);
    assert_eq!(
        phase(&mut condition, start),
        CameraPhase::Of(state::Phase::Live)
    );
}

#[test]
fn a_camera_that_gives_nothing_is_found_so_in_the_same_words_each_time() {
    let start = Instant::now();
    let mut condition = Condition::of(Path::new("/nonexistent"), Links::Follow, start);
    condition.asked(clocks(start));
    let mut mute = |at: Instant| {
        condition.asked(clocks(at));
        condition.mute(condition.guess(clocks(at)), at)
    };
    assert_eq!(mute(start + QUIET - Duration::from_millis(1)), None);
    let first = mute(start + QUIET);
    assert!(first.as_ref().is_some_and(|one| one.since.is_some()));
    assert_eq!(mute(start + QUIET * 2), first);
}

#[test]
fn the_empty_file_is_no_frame() {
    let start = Instant::now();
    let mut condition = Condition::of(Path::new("/nonexistent"), Links::Follow, start);
    condition.arrived(start);
    condition.was_empty();
    assert_eq!(condition.published(), 0);
    assert_eq!(phase(&mut condition, start), CameraPhase::Absent);
}

#[test]
fn of_files_that_nobody_looked_at_none_counts_if_the_last_one_is_unusable() {
    let start = Instant::now();
    let mut condition = Condition::of(Path::new("/nonexistent"), Links::Follow, start);
    condition.arrived(start);
    condition.arrived(start);
    condition.was_unusable("no EOI".into(), true, clocks(start));
    assert_eq!(condition.published(), 0);
    // Those before the last look stay counted.
    condition.was_usable();
    condition.arrived(start);
    condition.was_usable();
    condition.arrived(start);
    condition.was_unusable("no EOI".into(), true, clocks(start));
    assert_eq!(condition.published(), 1);
}

#[test]
fn a_camera_of_which_nothing_is_usable_is_lost_after_a_while_until_something_is() {
    let start = Instant::now();
    let at = |millis| start + Duration::from_millis(millis);
    let mut condition = Condition::of(Path::new("/nonexistent"), Links::Follow, start);
    condition.arrived(start);
    condition.was_usable();
    condition.asked(clocks(start));
    for millis in [33, 66, 5000] {
        condition.arrived(at(millis));
        condition.was_unusable("no EOI".into(), true, clocks(at(millis)));
        // The same file again.
        condition.was_unusable("no EOI".into(), true, clocks(at(millis)));
    }
    assert_eq!((condition.published(), condition.broken()), (1, 3));
    // Counted from the request that was not answered.
    let starting = phase(&mut condition, at(4999));
    assert_eq!(starting, CameraPhase::Of(state::Phase::Starting));
    let found = condition.find(Path::new("/nonexistent"), clocks(at(5000)));
    assert_eq!(found.phase, CameraPhase::Of(state::Phase::Lost));
    assert_eq!(found.why.as_deref(), Some("no EOI"));
    // What nobody has opened is not known to be any better.
    condition.arrived(at(5033));
    assert_eq!(condition.published(), 1);
    condition.was_usable();
    assert_eq!(condition.published(), 2);
    assert_eq!(
        phase(&mut condition, at(5033)),
        CameraPhase::Of(state::Phase::Live)
    );
}

#[test]
fn what_everybody_is_told_has_no_paths() {
    for (text, shown) in [
        (
            "cannot open /dev/v4l/by-id/usb-046d_C270_5D1E88A0-video-index0: plug it in",
            "cannot open …: plug it in",
        ),
        (
            "v4l2 /dev/v4l/by-path/platform-1.usb-usb-0:1:1.0 (Cam), MJPG",
            "v4l2 … (Cam), MJPG",
        ),
        ("(v4l2:/dev/v4l/by-id/x)", "(v4l2:…)"),
        ("libcamera /base/soc/i2c0mux/i2c@1/imx219@10", "libcamera …"),
        (
            "cannot open /dev/video0: gone",
            "cannot open /dev/video0: gone",
        ),
        ("640x480 at 30/s and/or  so", "640x480 at 30/s and/or  so"),
    ] {
        assert_eq!(public(text), shown);
    }
}
