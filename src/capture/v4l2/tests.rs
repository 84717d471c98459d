use super::*;

fn absent() -> V4l2 {
    let path = Some("/dev/no-such-camera".into());
    V4l2::new(path, CameraSettings::default(), 80).unwrap()
}

#[test]
fn a_camera_that_is_not_there_is_waited_for() {
    let mut source = absent();
    assert_eq!(source.describe(), "v4l2 /dev/no-such-camera");
    assert!(source.fd().is_none() && source.deadline().is_none());
    assert!(!source.look());
    let Err(Trouble::Lost(told)) = source.start(Instant::now()) else {
        panic!("started");
    };
    assert!(
        told.contains("/dev/no-such-camera") && told.contains("plug it in"),
        "{told}"
    );
    source.stop();
    assert!(source.jpeg().is_err());
    assert!(matches!(source.advance(Instant::now()), Ok(None)));
}

#[test]
fn a_name_that_udev_makes_may_come_after_its_node() {
    let may_be_there = |path: &str| {
        let source = V4l2::new(Some(path.into()), CameraSettings::default(), 80);
        source.unwrap().may_be_there()
    };
    assert!(may_be_there("/dev/v4l/by-id/no-such-camera"));
    assert!(!may_be_there("/dev/video4000000"));
}

#[test]
fn a_path_that_is_no_camera_is_a_mistake_of_the_command() {
    let path = Some("/dev/null".into());
    let error = V4l2::new(path, CameraSettings::default(), 80)
        .err()
        .unwrap();
    assert!(matches!(error, Error::Usage(_)), "{error}");
}

#[test]
fn only_a_frame_younger_than_an_interval_is_known_to_be_the_newest() {
    let frame = |monotonic| Filled {
        index: 0,
        bytesused: 1,
        error: false,
        monotonic,
        stamp: None,
    };
    let (hour, moment) = (Duration::from_secs(3600), Duration::from_nanos(1));
    let now = monotonic();
    assert!(frame(Some(now)).has_no_successor(Some(hour)));
    assert!(!frame(Some(now - moment)).has_no_successor(Some(moment)));
    assert!(!frame(None).has_no_successor(Some(hour)));
    assert!(!frame(Some(now)).has_no_successor(None));
    // A stamp from a camera's own clock that is wrong.
    assert!(!frame(Some(now + hour)).has_no_successor(Some(hour)));
}
