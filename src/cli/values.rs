//! The values of flags.

use std::time::Duration;

use crate::picture::jpeg::Size;

pub(super) fn parse_size(text: &str) -> Result<Size, String> {
    let sensible = |side: u16| (16..=8192).contains(&side);
    let size = text.parse::<Size>().ok();
    size.filter(|size| sensible(size.width) && sensible(size.height))
        .ok_or_else(|| "a size is WIDTHxHEIGHT in pixels, from 16x16 to 8192x8192".into())
}

pub(super) fn parse_fps(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|fps| (0.1..=1000.0).contains(fps))
        .ok_or_else(|| "a rate is frames per second, from 0.1 to 1000".into())
}

pub(super) fn parse_standard(text: &str) -> Result<String, String> {
    match text.starts_with(|first: char| first.is_ascii_alphabetic()) {
        true => Ok(text.to_owned()),
        false => Err("a standard is a name such as PAL or NTSC-M".into()),
    }
}

pub(super) fn parse_seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        // A deadline is a point in time on the system's clock, so a duration of a century or more counts as "never".
        .filter(|duration| duration.as_secs() < 100 * 365 * 24 * 3600)
        .ok_or_else(|| "a time is a number of seconds, such as 5 or 0.5".into())
}

pub(super) fn parse_positive_seconds(text: &str) -> Result<Duration, String> {
    parse_seconds(text)
        .ok()
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "this time is a number of seconds above 0, such as 5 or 0.5".into())
}
