//! `--camera` and `--frames NAME=DIR`: what is accepted means the same when it is written again, and what is laid over the
//! defaults is the camera that was named, or an error under its name.
#![no_main]

use std::sync::LazyLock;

use clap::Parser;
use lazycam::Error;
use lazycam::cli::{CameraFlag, Frames, SourceFlags};
use libfuzzer_sys::fuzz_target;

#[derive(Parser)]
#[command(no_binary_name = true)]
struct Flags {
    #[command(flatten)]
    source: SourceFlags,
}

static DEFAULTS: LazyLock<SourceFlags> = LazyLock::new(|| {
    let flags = [
        "--source=v4l2",
        "--size=64x64",
        "--fps=5",
        "--control=brightness=1",
    ];
    Flags::parse_from(flags).source
});

fuzz_target!(|text: &str| {
    if let Ok(frames) = text.parse::<Frames>() {
        check_name(frames.name.as_str());
        assert!(!frames.dir.as_os_str().is_empty());
    }
    let Ok(camera) = text.parse::<CameraFlag>() else {
        return;
    };
    check_name(camera.name.as_str());
    let mut again = format!("{}={}", camera.name, camera.source);
    for (key, value) in &camera.settings {
        assert_ne!(key, "source");
        again.push_str(&format!(",{key}={value}"));
    }
    assert_eq!(again.parse(), Ok(camera.clone()));
    match camera.over(&DEFAULTS) {
        Ok(source) => {
            assert_eq!(source.source, camera.source);
            assert!((1..=100).contains(&source.quality));
        }
        Err(Error::Usage(text)) => {
            assert!(
                text.starts_with(&format!("--camera {}: ", camera.name)),
                "{text}"
            );
            assert!(!text.contains('\n'), "{text}");
        }
        Err(error) => panic!("no error of flags: {error}"),
    }
});

/// Part of a path and of URLs.
fn check_name(name: &str) {
    assert!((1..=63).contains(&name.len()) && !name.starts_with(['-', '_']));
    assert!(
        name.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    );
}
