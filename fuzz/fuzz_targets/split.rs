//! The splitter: what is in a stream does not depend on how it is cut into reads, and each frame is a whole JPEG of the stream.
//!
//! The first byte is the length of the reads, the rest the stream.
#![no_main]

use lazycam::picture::split::{Event, Splitter};
use lazycam::picture::jpeg::{self, Defect};
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
});

/// The events, how much lay between frames, and where an unfinished one begins.
fn events(stream: &[u8], read: usize) -> (Vec<Event>, u64, Option<u64>) {
    let mut splitter = Splitter::new(LIMIT);
    let (mut events, mut end) = (Vec::new(), 0);
    for bytes in stream.chunks(read) {
        splitter.feed(bytes);
        while let Some(event) = splitter.next_event() {
            if let Event::Frame(found) = event {
                assert!(
                    found.offset >= end && found.len <= LIMIT,
                    "{found:?} behind {end}"
                );
                let from = found.offset as usize;
                end = found.offset + found.len as u64;
                let frame = splitter.frame(&found);
                assert_eq!(frame, &stream[from..end as usize]);
                assert_eq!(jpeg::check(frame), Ok(found.size));
            }
            events.push(event);
        }
    }
    assert_eq!(splitter.position(), stream.len() as u64);
    assert!(splitter.between() <= stream.len() as u64);
    (events, splitter.between(), splitter.unfinished())
}
