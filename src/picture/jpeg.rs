//! What makes a file a JPEG: SOI, a chain of marker segments up to the first scan, EOI.
//!
//! Both sides check this: capture, because cameras deliver broken frames; the server, because anybody may have
//! written the file, and a single part that cannot be decoded ends a stream for good in Chromium. This check reads the
//! head of a file, a few hundred bytes, and its last two bytes; the contents of the head's segments are checked in
//! [`header`]. Between them is entropy-coded data. Capture walks through it as well ([`walk`](super::walk)), to find
//! where the picture ends; whether it decodes is left to the viewer's decoder.
//!
//! Marker codes and the order of segments are those of ITU-T T.81, annex B; [`marker`] lists the codes.

pub(crate) mod header;
pub mod marker;
#[cfg(test)]
pub(crate) mod sample;

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use header::Header;
use marker::{Segment, Segments};

/// The size of a picture in pixels, as given in its frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Samples per line, at least 1.
    pub width: u16,
    /// Lines, at least 1.
    pub height: u16,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl FromStr for Size {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let sides = text.split_once('x').and_then(|(width, height)| {
            let (width, height) = (width.parse().ok()?, height.parse().ok()?);
            (width > 0 && height > 0).then_some(Size { width, height })
        });
        sides.ok_or(())
    }
}

/// Why a sequence of bytes is not a JPEG. Offsets count from the first byte given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// The bytes end before the first scan begins; with more bytes this may be a JPEG.
    Short,
    /// There is no SOI at the start.
    NoStart,
    /// There is no EOI at the end.
    NoEnd,
    /// At this offset there should be a marker, and there is none, or one that is not allowed there.
    BadMarker(usize),
    /// The segment at this offset is too short for its kind.
    BadLength(usize),
    /// The scan begins without a frame header before it that gives the size.
    NoSize,
    /// Width or height is 0. T.81 allows a height of 0 if a DNL segment gives it later (B.2.5), but no camera does
    /// that and browsers refuse it.
    ZeroSize,
    /// The image ends before any scan.
    NoScan,
    /// A frame has grown beyond this many bytes without an end.
    TooLong(usize),
    /// The segment at this offset defines a quantization table that cannot be one.
    Quantization(usize),
    /// The segment at this offset defines a Huffman table that cannot be one.
    Huffman(usize),
    /// The frame header at this offset says what cannot be, or is the second one.
    FrameHeader(usize),
    /// The scan header at this offset says what cannot be.
    ScanHeader(usize),
    /// The scan uses a quantization table that was not defined.
    NoQuantization,
    /// A kind of JPEG that no browser shows, by its name.
    Process(&'static str),
    /// The camera's driver says so.
    Marked,
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Defect::Short => f.write_str("cut short before the first scan"),
            Defect::NoStart => f.write_str("no SOI at the start"),
            Defect::NoEnd => f.write_str("no EOI at the end"),
            Defect::BadMarker(at) => write!(f, "no valid marker at offset {at}"),
            Defect::BadLength(at) => write!(f, "wrong segment length at offset {at}"),
            Defect::NoSize => f.write_str("scan without a frame header"),
            Defect::ZeroSize => f.write_str("width or height of 0"),
            Defect::NoScan => f.write_str("end of image without a scan"),
            Defect::TooLong(limit) => write!(f, "longer than {limit} bytes"),
            Defect::Quantization(at) => write!(f, "no valid quantization table at offset {at}"),
            Defect::Huffman(at) => write!(f, "no valid Huffman table at offset {at}"),
            Defect::FrameHeader(at) => write!(f, "no valid frame header at offset {at}"),
            Defect::ScanHeader(at) => write!(f, "no valid scan header at offset {at}"),
            Defect::NoQuantization => f.write_str("scan without its quantization table"),
            Defect::Marked => f.write_str("the driver marked it as broken"),
            Defect::Process(name) => write!(f, "{name}, which no browser shows"),
        }
    }
}

impl std::error::Error for Defect {}

/// What is known from the bytes before the first entropy-coded one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The picture's size.
    pub size: Size,
    /// Offset of the first entropy-coded byte.
    pub scan: usize,
    /// Set if Huffman tables are missing: the offset of the first scan header's marker, if there is no table before
    /// it. Motion JPEG leaves the tables out and implies the typical ones of T.81, K.3.3; a decoder of single
    /// pictures needs them written out.
    pub missing_tables: Option<usize>,
}

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
