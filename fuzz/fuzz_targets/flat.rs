//! JSON that sets controls: what was read means the same when it is written and read again, and each member is one line.
#![no_main]

use lazycam::json::{flat, object, quoted};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(members) = flat(input) else {
        return;
    };
    assert!(members.len() <= 64 && input.len() >= members.len() * 4);
    for (name, value) in &members {
        assert!(!name.chars().chain(value.chars()).any(char::is_control));
    }
    let again = object(members.iter().map(|(name, value)| (name, quoted(value))));
    assert_eq!(flat(again.as_bytes()), Ok(members));
});
