//! What makes a file a JPEG: SOI, a chain of marker segments up to the first scan, EOI.
//!
//! Both sides check this: capture, because cameras deliver broken frames; the server, because anybody may have
//! written the file, and a single part that cannot be decoded ends a stream for good in Chromium. This check reads the
//! head of a file, a few hundred bytes, and its last two bytes; the contents of the head's segments are checked in
//! `header`. Between them is entropy-coded data. Capture walks through it as well (`walk`), to find
//! where the picture ends; whether it decodes is left to the viewer's decoder.
//!
//! Marker codes and the order of segments are those of ITU-T T.81, annex B; [`marker`] lists the codes.

mod defect;
pub(crate) mod exif;
pub(crate) mod header;
pub mod marker;
#[cfg(test)]
pub(crate) mod sample;

use std::ops::Range;

pub use defect::Defect;
use header::Header;
pub use header::{Head, Size};
use marker::{Segment, Segments};

/// Reads the chain of segments from SOI through the first scan header. [`Defect::Short`] means that a longer prefix
/// of the same file may be valid; any other defect is final.
pub fn head(bytes: &[u8]) -> Result<Head, Defect> {
    let mut header = Header::default();
    for segment in Segments::of(bytes)? {
        let Segment {
            code,
            body,
            start,
            end,
        } = segment?;
        header.segment(code, body, start)?;
        if code == marker::SOS {
            return header.head(start, end);
        }
    }
    Err(Defect::Short)
}

/// The segments of the head, including their markers, that a viewer can mistake for the beginning or end of the
/// picture: application data and comments that contain the bytes of SOI or EOI, as a thumbnail does. They are in
/// order; the iterator ends at damage.
pub fn hidden_pictures(bytes: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let limit = |two: &[u8]| matches!(two, [0xFF, marker::SOI | marker::EOI]);
    Segments::of(bytes)
        .into_iter()
        .flatten()
        .map_while(Result::ok)
        .take_while(|segment| segment.code != marker::SOS)
        .filter(move |segment| marker::is_data(segment.code) && segment.body.windows(2).any(limit))
        .map(|segment| segment.start..segment.end)
}

/// Whether a file with these last bytes ends like a JPEG. Two bytes are enough.
pub fn ends(tail: &[u8]) -> bool {
    tail.ends_with(&[0xFF, marker::EOI])
}

/// Checks a whole file: its head, and EOI at the very end.
pub fn check(bytes: &[u8]) -> Result<Size, Defect> {
    let head = head(bytes)?;
    if ends(bytes.get(head.scan..).unwrap_or_default()) {
        Ok(head.size)
    } else {
        Err(Defect::NoEnd)
    }
}

/// The comments (COM segments) of the head, in order, without their length fields. The iterator ends at damage.
pub fn comments(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    Segments::of(bytes)
        .into_iter()
        .flatten()
        .map_while(Result::ok)
        .take_while(|segment| segment.code != marker::SOS)
        .filter(|segment| segment.code == marker::COM)
        .map(|segment| segment.body)
}

#[cfg(test)]
mod tests;
