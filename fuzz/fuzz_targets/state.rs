//! The file `state`: what is read can be written and read again, within its bounds.
#![no_main]

use lazycam::frames::state::State;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some(state) = State::parse(&String::from_utf8_lossy(bytes)) else {
        return;
    };
    for text in [&state.why, &state.source].into_iter().flatten() {
        assert!(!text.is_empty() && text.chars().count() <= 300);
        assert!(
            !text.contains(char::is_control),
            "{text:?} stays on its line"
        );
    }
    assert!(state.fps.is_none_or(|fps| fps.is_finite() && fps > 0.0));
    assert!(
        state
            .quality
            .is_none_or(|quality| (1..=100).contains(&quality))
    );
    assert!(
        state
            .size
            .is_none_or(|size| size.width > 0 && size.height > 0)
    );
    let text = state.to_string();
    assert!(text.len() <= 4096, "more than is read: {}", text.len());
    assert_eq!(State::parse(&text), Some(state), "{text}");
});
