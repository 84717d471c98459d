//! What can be wrong with a JPEG.

use std::fmt;

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
    /// The entropy-coded data is damaged. Only a frame that is turned is read so far.
    Data,
    /// A kind of JPEG that can be passed on but not turned, by its name.
    Unturnable(&'static str),
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
            Defect::TooLong(limit) => write!(f, "longer than {limit} bytes (--max-frame)"),
            Defect::Quantization(at) => write!(f, "no valid quantization table at offset {at}"),
            Defect::Huffman(at) => write!(f, "no valid Huffman table at offset {at}"),
            Defect::FrameHeader(at) => write!(f, "no valid frame header at offset {at}"),
            Defect::ScanHeader(at) => write!(f, "no valid scan header at offset {at}"),
            Defect::NoQuantization => f.write_str("scan without its quantization table"),
            Defect::Data => f.write_str("its entropy-coded data is damaged"),
            Defect::Unturnable(name) => write!(f, "{name}, which cannot be turned"),
            Defect::Marked => f.write_str("the driver marked it as broken"),
            Defect::Process(name) => write!(f, "{name}, which no browser shows"),
        }
    }
}

impl std::error::Error for Defect {}
