//! The answer of a camera on the network: what is found in it does not depend on how it is cut into reads, and whatever it says, the next
//! request is one request to the same host.
//!
//! The first byte is the length of the reads, the rest the answer. Inputs are shorter than any limit of the reader that counts what came at once.
#![no_main]

use std::time::SystemTime;

use lazycam::capture::network::answer::{CameraAnswer, Refusal, Single};
use lazycam::capture::network::pictures::Pictures;
use lazycam::capture::network::request::CameraRequest;
use lazycam::capture::url::Url;
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

/// What comes after the answer.
fn next_request(refusal: &Refusal) -> Option<String> {
    let url: Url = "http://user@camera/a/b?c".parse().unwrap();
    let mut request = CameraRequest::new("secret");
    let follows = request.follow(&url, refusal.hint.as_ref()?);
    follows.then(|| request.text(&url))
}

/// What was wrong, the last picture, and what to ask for next.
fn found(answer: &[u8], read: usize) -> (Option<String>, Vec<u8>, Option<Single>) {
    let (mut reader, mut pictures) = (CameraAnswer::new(), Pictures::new("fuzz".into()));
    let mut wrong = None;
    for bytes in answer.chunks(read) {
        if let Err(refusal) = reader.feed(bytes, SystemTime::UNIX_EPOCH, &mut pictures) {
            if let Some(request) = next_request(&refusal) {
                assert!(request.is_ascii() && request.len() < 8192);
                let lines: Vec<_> = request.split("\r\n").collect();
                assert!(lines.iter().all(|line| !line.contains(['\r', '\n', '\0'])));
                assert!(lines[0].starts_with("GET /") && lines[0].ends_with(" HTTP/1.1") && lines[0].matches(' ').count() == 2);
                assert_eq!((lines[1], lines.len()), ("Host: camera", 5 + usize::from(lines[3].starts_with("Authorization: "))));
            }
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
