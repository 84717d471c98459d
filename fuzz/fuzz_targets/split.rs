//! The splitter: what is in a stream does not depend on how it is cut into reads, each frame is a whole JPEG of the stream, and a
//! driver's buffer with the same bytes gives the stream's first frame.
//!
//! The first byte is the length of the reads, the rest the stream.
#![no_main]

use lazycam::picture::LARGEST;
use lazycam::picture::jpeg::{self, Defect};
use lazycam::picture::mjpeg::Mjpeg;
use lazycam::picture::split::{Event, Splitter};
use libfuzzer_sys::fuzz_target;

/// Small, so that what is too long can be made by a fuzzer.
const LIMIT: usize = 600;

fuzz_target!(|input: &[u8]| {
    let Some((read, stream)) = input.split_first() else {
        return;
    };
    let mut at_once = events(stream, stream.len().max(1));
    let mut cut = events(stream, usize::from(*read).max(1));
    if at_once.0.contains(&Event::Broken(Defect::TooLong(LIMIT))) {
        // Where it is noticed that a frame is too long does depend on the reads, and so what counts as behind it.
        (at_once.1, cut.1) = (0, 0);
    }
    assert_eq!(at_once, cut, "reads of {read}");
    same_in_a_buffer(stream);
    same_of_a_trusted_camera(stream);
});

/// In a buffer nothing more can come, so there may also be a frame within what the stream still waits for the end of.
fn same_in_a_buffer(bytes: &[u8]) {
    let mut splitter = Splitter::new(LARGEST as usize);
    splitter.feed(bytes);
    let mut of_stream = None;
    while let (None, Some(event)) = (of_stream, splitter.next_event()) {
        if let Event::Frame(found) = event {
            of_stream = Some(found);
        }
    }
    let mut camera = Mjpeg::new("fuzz".into());
    let of_buffer = camera.frame(bytes).map(<[u8]>::to_vec);
    match (of_stream, of_buffer) {
        (Some(found), frame) => {
            let bytes = splitter.frame(&found);
            let mut other = Mjpeg::new("fuzz".into());
            assert_eq!(
                frame.as_deref(),
                Ok(other.complete(bytes, &found.head, true))
            );
        }
        (None, Ok(frame)) => {
            let from = splitter.unfinished().expect("a beginning") as usize;
            assert!(jpeg::check(&frame).is_ok() && frame.len() <= bytes.len() - from + 420);
        }
        (None, Err(_)) => {}
    }
}

/// A camera that is looked at less closely makes the same of a buffer, or takes it as it is.
fn same_of_a_trusted_camera(bytes: &[u8]) {
    let (mut fresh, mut trusted) = (Mjpeg::new("fuzz".into()), Mjpeg::new("fuzz".into()));
    let Ok(frame) = fresh.frame(bytes).map(<[u8]>::to_vec) else {
        return;
    };
    let scan = jpeg::head(&frame).expect("a head").scan;
    for at in 0..40 {
        let filling = vec![0x55; 300 - 7 * at];
        let _ = trusted.frame(&[&frame[..scan], &filling, &[0xFF, 0xD9]].concat());
    }
    let made = trusted.frame(bytes).map(<[u8]>::to_vec);
    let is_as_it_is = made.as_deref() == Ok(bytes) && jpeg::check(bytes).is_ok();
    assert!(made == Ok(frame) || is_as_it_is, "{made:?}");
}

/// The events, how much lay between frames, and where an unfinished one begins.
fn events(stream: &[u8], read: usize) -> (Vec<Event>, u64, Option<u64>) {
    let mut splitter = Splitter::new(LIMIT);
    let (mut events, mut end) = (Vec::new(), 0);
    for bytes in stream.chunks(read) {
        splitter.feed(bytes);
        while let Some(event) = splitter.next_event() {
            if let Event::Frame(found) | Event::Unended(found) = event {
                assert!(
                    found.offset >= end && found.len <= LIMIT,
                    "{found:?} behind {end}"
                );
                let from = found.offset as usize;
                end = found.offset + found.len as u64;
                let frame = splitter.frame(&found);
                assert_eq!(frame, &stream[from..end as usize]);
                let whole = match event {
                    Event::Frame(_) => frame.to_vec(),
                    _ => [frame, &[0xFF, 0xD9]].concat(),
                };
                assert_eq!(jpeg::check(&whole), Ok(found.head.size));
            }
            events.push(event);
        }
    }
    assert_eq!(splitter.position(), stream.len() as u64);
    assert!(splitter.between() <= stream.len() as u64);
    (events, splitter.between(), splitter.unfinished())
}
