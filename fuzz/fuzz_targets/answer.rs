//! The answer of a camera on the network: what is found in it does not depend on how it is cut into reads, and of all that
//! it says only digits get into the next request.
//!
//! The first byte is the length of the reads, the rest the answer. Inputs are shorter than any limit of the reader that counts what came at once.
#![no_main]

use std::time::SystemTime;

use lazycam::capture::network::answer::{CameraAnswer, Single};
use lazycam::capture::network::pictures::Pictures;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((read, answer)) = input.split_first() else {
        return;
    };
    if answer.len() > 12_000 {
        return;
    }
    let at_once = found(answer, answer.len().max(1));
    let cut = found(answer, usize::from(*read).max(1));
    assert_eq!(at_once, cut, "reads of {read}");
    if let Some(Single {
        after: Some(after), ..
    }) = &at_once.2
    {
        assert!(after.len() < 32 && after.bytes().all(|c| c == b'.' || c.is_ascii_digit()));
    }
});

/// What was wrong, the last picture, and what to ask for next.
fn found(answer: &[u8], read: usize) -> (Option<String>, Vec<u8>, Option<Single>) {
    let (mut reader, mut pictures) = (CameraAnswer::new(), Pictures::new("fuzz".into()));
    let mut wrong = None;
    for bytes in answer.chunks(read) {
        if let Err(refusal) = reader.feed(bytes, SystemTime::UNIX_EPOCH, &mut pictures) {
            wrong = Some(refusal.what);
            break;
        }
    }
    if wrong.is_none() {
        reader.close(&mut pictures);
    }
    let picture = pictures.jpeg().map(<[u8]>::to_vec).unwrap_or_default();
    (wrong, picture, reader.single().cloned())
}
