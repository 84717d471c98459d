use super::*;

const LINGER: Duration = Duration::from_secs(5);
const SETTLE: Duration = Duration::from_secs(1);

/// A camera at a given state, and the moment it reached it.
fn off() -> (Lifecycle, Instant) {
    (Lifecycle::new(LINGER, SETTLE), Instant::now())
}

fn starting() -> (Lifecycle, Instant) {
    let (mut camera, now) = off();
    assert_eq!(camera.asked(now), Action::Start);
    (camera, now)
}

fn live() -> (Lifecycle, Instant) {
    let (mut camera, now) = starting();
    assert_eq!(camera.frame(now, true), Action::Publish);
    (camera, now)
}

fn lingering() -> (Lifecycle, Instant) {
    let (mut camera, now) = live();
    assert_eq!(camera.frame(now, true), Action::Nothing);
    assert_eq!(camera.phase(), Activity::Lingering);
    (camera, now)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn a_camera_that_nobody_asked_for_has_no_deadline() {
    let (mut camera, now) = off();
    assert_eq!(camera.deadline(), None);
    assert_eq!(camera.tick(now + LINGER), Action::Nothing);
    assert_eq!(camera.phase(), Activity::Off);
}

#[test]
fn every_frame_that_was_opened_is_followed_by_another() {
    let (mut camera, now) = live();
    for _ in 0..3 {
        assert_eq!(camera.asked(now), Action::Nothing);
        assert_eq!(camera.frame(now, true), Action::Publish);
    }
    assert_eq!(camera.deadline(), None);
}

/// A live camera at 30 fps from which at most `fps` frames per second are published, with somebody asking for each
/// one. Returns the numbers of the published frames.
fn published(fps: f64, frames: u32) -> Vec<u32> {
    let (mut camera, now) = live();
    camera.limit(now, Pace::limit(fps).unwrap());
    let at = |n: u32| now + Duration::from_secs_f64(f64::from(n) / 30.0);
    let publish = |n: &u32| {
        camera.asked(at(*n));
        camera.frame(at(*n), true) == Action::Publish
    };
    (0..frames).filter(publish).collect()
}

#[test]
fn of_frames_that_come_too_fast_every_so_many_is_published() {
    assert_eq!(published(10.0, 12), [0, 3, 6, 9]);
    assert_eq!(published(1.0, 90), [0, 30, 60]);
    assert_eq!(published(20.0, 300).len(), 200);
    assert_eq!(published(30.0, 300).len(), 300);
}

#[test]
fn a_frame_that_is_not_due_leaves_the_request_standing_and_starts_no_linger() {
    let (mut camera, now) = live();
    camera.limit(now, Pace::limit(1.0).unwrap());
    camera.asked(now);
    assert_eq!(camera.frame(now, true), Action::Publish);
    assert_eq!(camera.frame(now + millis(100), true), Action::Nothing);
    assert_eq!(camera.phase(), Activity::Live);
    camera.asked(now + millis(200));
    assert_eq!(camera.frame(now + millis(300), true), Action::Nothing);
    assert_eq!(camera.frame(now + millis(1000), true), Action::Publish);
}

#[test]
fn who_asks_after_a_pause_waits_for_no_turn() {
    let (mut camera, now) = live();
    camera.limit(now, Pace::limit(1.0).unwrap());
    camera.asked(now);
    assert_eq!(camera.frame(now, true), Action::Publish);
    assert_eq!(camera.frame(now + millis(1000), true), Action::Nothing);
    assert_eq!(camera.phase(), Activity::Lingering);
    camera.asked(now + millis(1010));
    assert_eq!(camera.frame(now + millis(1033), true), Action::Publish);
    camera.asked(now + millis(1040));
    assert_eq!(camera.frame(now + millis(1066), true), Action::Nothing);
}

#[test]
fn a_frame_due_when_the_last_one_was_never_opened_is_dropped() {
    let (mut camera, now) = lingering();
    assert_eq!(camera.frame(now, true), Action::Nothing);
    assert_eq!(camera.deadline(), Some(now + LINGER));
}

#[test]
fn a_request_while_lingering_is_met_by_the_next_frame() {
    let (mut camera, now) = lingering();
    assert_eq!(camera.asked(now), Action::Nothing);
    assert_eq!(camera.deadline(), None);
    assert_eq!(camera.frame(now + LINGER * 2, true), Action::Publish);
}

#[test]
fn after_the_linger_the_source_is_stopped_and_starts_again_when_asked() {
    let (mut camera, now) = lingering();
    assert_eq!(camera.tick(now + LINGER - millis(1)), Action::Nothing);
    assert_eq!(camera.tick(now + LINGER), Action::Stop);
    assert_eq!(camera.deadline(), None);
    assert_eq!(camera.asked(now + LINGER * 2), Action::Start);
}

#[test]
fn unsettled_frames_are_held_back_until_one_has_settled() {
    let (mut camera, now) = starting();
    assert_eq!(camera.frame(now + millis(100), false), Action::Nothing);
    assert_eq!(camera.frame(now + millis(200), true), Action::Publish);
    assert_eq!(camera.asked(now + millis(210)), Action::Nothing);
    // Exposure that changes later is no reason to hold anything back.
    assert_eq!(camera.frame(now + millis(300), false), Action::Publish);
}

#[test]
fn the_frame_held_back_is_published_at_the_deadline() {
    let (mut camera, now) = starting();
    assert_eq!(camera.deadline(), None);
    assert_eq!(camera.frame(now + millis(100), false), Action::Nothing);
    assert_eq!(camera.deadline(), Some(now + SETTLE));
    assert_eq!(camera.tick(now + SETTLE), Action::Publish);
    assert_eq!(camera.phase(), Activity::Live);
}

#[test]
fn the_first_frame_after_the_deadline_is_published_unsettled() {
    let (mut camera, now) = starting();
    assert_eq!(camera.frame(now + SETTLE, false), Action::Publish);
}

#[test]
fn a_frame_that_could_not_be_published_leaves_the_request_standing() {
    let (mut camera, now) = live();
    camera.asked(now);
    assert_eq!(camera.frame(now, true), Action::Publish);
    camera.unpublished();
    assert_eq!(camera.frame(now, true), Action::Publish);
}

#[test]
fn a_lost_camera_is_tried_again_only_while_somebody_asks() {
    let (mut camera, now) = live();
    camera.asked(now);
    assert_eq!(camera.lost(now, true, Duration::MAX), FIRST_RETRY);
    assert_eq!(camera.deadline(), None);
    assert_eq!(camera.asked(now + millis(10)), Action::Nothing);
    assert_eq!(camera.deadline(), Some(now + FIRST_RETRY));
    assert_eq!(camera.tick(now + FIRST_RETRY), Action::Start);
}

#[test]
fn a_request_long_after_the_loss_is_tried_at_once() {
    let (mut camera, now) = live();
    camera.lost(now, true, Duration::MAX);
    assert_eq!(camera.asked(now + LAST_RETRY), Action::Start);
}

#[test]
fn a_device_that_came_back_is_tried_at_once_if_somebody_asks() {
    let (mut camera, now) = live();
    camera.lost(now, true, Duration::MAX);
    camera.asked(now);
    assert_eq!(camera.returned(now), Action::Start);
    assert_eq!(camera.lost(now, true, Duration::MAX), FIRST_RETRY);
    assert_eq!(camera.returned(now), Action::Nothing);
    assert_eq!(camera.deadline(), None);
    assert_eq!(camera.asked(now), Action::Start);
}

#[test]
fn a_device_that_comes_while_nothing_is_lost_changes_nothing() {
    let (mut camera, now) = off();
    assert_eq!(camera.returned(now), Action::Nothing);
    let (mut camera, _) = lingering();
    assert_eq!(camera.returned(now), Action::Nothing);
    assert_eq!(camera.phase(), Activity::Lingering);
}

#[test]
fn what_was_held_back_before_a_restart_is_not_published_after_it() {
    let (mut camera, now) = starting();
    assert_eq!(camera.frame(now, false), Action::Nothing);
    assert!(camera.deadline().is_some());
    camera.restarted();
    assert_eq!(camera.deadline(), None);
    let late = now + Duration::from_secs(3600);
    assert_eq!(camera.tick(late), Action::Nothing);
    assert_eq!(camera.frame(late, false), Action::Publish);
}

#[test]
fn a_request_that_could_not_be_renewed_is_not_forgotten() {
    let (mut camera, now) = starting();
    camera.lost(now, false, Duration::MAX);
    assert_eq!(camera.deadline(), Some(now + FIRST_RETRY));
}

#[test]
fn waits_double_up_to_half_a_minute_and_start_over_with_a_usable_frame() {
    let (mut camera, now) = starting();
    let waits: Vec<_> = (0..8)
        .map(|_| camera.lost(now, false, Duration::MAX))
        .collect();
    let secs = [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000].map(millis);
    assert_eq!(waits, secs);
    assert_eq!(camera.tick(now + LAST_RETRY), Action::Start);
    assert_eq!(camera.frame(now + LAST_RETRY, true), Action::Publish);
    assert_eq!(
        camera.lost(now + LAST_RETRY, true, Duration::MAX),
        FIRST_RETRY
    );
}

#[test]
fn who_waits_for_a_signal_waits_no_longer_than_it_says() {
    let (mut camera, now) = off();
    let second = Duration::from_secs(1);
    let waits: Vec<_> = (0..4).map(|_| camera.lost(now, false, second)).collect();
    assert_eq!(waits, [FIRST_RETRY, second, second, second]);
}
