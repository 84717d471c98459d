//! The checks of a JPEG: a verdict stays when more bytes come, and offsets point at what they say.
#![no_main]

use lazycam::picture::jpeg::{self, Defect, marker};
use lazycam::picture::mjpeg::Mjpeg;
use lazycam::picture::turn::Transform;
use lazycam::picture::turn::lossless::Turner;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let head = jpeg::head(bytes);
    for cut in [
        bytes.len() / 3,
        bytes.len() / 2,
        bytes.len().saturating_sub(1),
    ] {
        let shorter = jpeg::head(&bytes[..cut]);
        assert!(
            shorter == Err(Defect::Short) || shorter == head,
            "{shorter:?}, then {head:?}"
        );
    }
    if let Ok(head) = head {
        assert!(head.scan <= bytes.len() && head.size.width > 0 && head.size.height > 0);
        assert_eq!(
            jpeg::head(&bytes[..head.scan]),
            Ok(head),
            "the scan is no part of the head"
        );
    }
    match jpeg::check(bytes) {
        Ok(picture) => {
            assert_eq!(head.map(|head| head.size), Ok(picture));
            assert!(
                bytes.starts_with(&[0xFF, marker::SOI]) && bytes.ends_with(&[0xFF, marker::EOI])
            );
        }
        Err(defect) => assert!(head == Err(defect) || defect == Defect::NoEnd),
    }
    if let Some(at) = head.ok().and_then(|head| head.missing_tables) {
        assert_eq!(bytes[at..at + 2], [0xFF, marker::SOS]);
    }
    let comments: usize = jpeg::comments(bytes).map(|comment| comment.len() + 4).sum();
    assert!(comments <= bytes.len());
    check_hidden(bytes);
    check_buffer(bytes);
    check_turned(bytes);
});

/// What was turned is whole, has the size that was told, and comes back when it is turned back.
fn check_turned(bytes: &[u8]) {
    if jpeg::check(bytes).is_err() {
        return;
    }
    let (mut turner, mut once, mut back) = (Turner::default(), Vec::new(), Vec::new());
    for (there, again) in [(6, 8), (3, 3), (5, 5)].map(|(a, b)| (Transform::of_orientation(a), Transform::of_orientation(b))) {
        let Ok(size) = turner.turn(bytes, there, &mut once) else {
            continue;
        };
        assert_eq!(jpeg::check(&once), Ok(size));
        // Only an edge that is there in part may be gone by then, and damage that no decoder minds.
        if let Ok(size) = turner.turn(&once, again, &mut back) {
            assert_eq!(jpeg::check(&back), Ok(size));
        }
    }
}

/// What a buffer gives is whole, with all that a decoder of single pictures needs, and is left alone by a second look; a whole file is
/// its own frame unless it ends earlier than at its last bytes.
fn check_buffer(bytes: &[u8]) {
    let mut camera = Mjpeg::new("fuzz".into());
    let Ok(frame) = camera.frame(bytes).map(<[u8]>::to_vec) else {
        return;
    };
    let head = jpeg::head(&frame).expect("a head");
    assert_eq!(head.missing_tables, None);
    assert_eq!(jpeg::check(&frame), Ok(head.size));
    assert_eq!(camera.frame(&frame), Ok(&frame[..]));
    if frame.len() == bytes.len() {
        assert_eq!(frame, bytes);
    }
}

/// Left out of a whole head, they are gone, and the picture is the same. In a damaged one fill bytes may then make a marker of what
/// follows; such a frame is not passed on.
fn check_hidden(bytes: &[u8]) {
    let mut plain = Vec::new();
    let mut from = 0;
    for hidden in jpeg::hidden_pictures(bytes) {
        assert!(
            hidden.start >= from && hidden.end > hidden.start,
            "in order"
        );
        assert_eq!(bytes[hidden.start], 0xFF, "from the marker on");
        plain.extend_from_slice(&bytes[from..hidden.start]);
        from = hidden.end;
    }
    plain.extend_from_slice(&bytes[from..]);
    if let Ok(head) = jpeg::head(bytes) {
        assert_eq!(jpeg::hidden_pictures(&plain).count(), 0);
        assert_eq!(jpeg::head(&plain).map(|head| head.size), Ok(head.size));
    }
}
