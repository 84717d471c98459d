//! Marker codes (ITU-T T.81, table B.1), without the 0xFF before them, and the steps from one marker to the next.
//!
//! Both the reader of a whole head (`Segments`) and the walk through a stream that is still arriving
//! (`walk`) take these steps. [`Defect::Short`] means that more bytes are needed to take one.

use super::defect::Defect;

/// Temporary private use in arithmetic coding; stands alone.
pub const TEM: u8 = 0x01;
/// Start of frame, baseline: the first of sixteen codes, three of which have other meanings.
pub const SOF0: u8 = 0xC0;
/// Huffman tables.
pub const DHT: u8 = 0xC4;
/// Reserved for extensions; lies among the start-of-frame codes.
pub const JPG: u8 = 0xC8;
/// Conditioning of arithmetic coding.
pub const DAC: u8 = 0xCC;
/// Start of frame, the last code.
pub const SOF15: u8 = 0xCF;
/// First of the eight restart markers; stands alone, within entropy-coded data.
pub const RST0: u8 = 0xD0;
/// Last of the restart markers.
pub const RST7: u8 = 0xD7;
/// Start of image; stands alone.
pub const SOI: u8 = 0xD8;
/// End of image; stands alone.
pub const EOI: u8 = 0xD9;
/// Start of scan.
pub const SOS: u8 = 0xDA;
/// Quantization tables: the first of the segments that may stand between scans.
pub const DQT: u8 = 0xDB;
/// Restart interval: the last of those segments.
pub const DRI: u8 = 0xDD;
/// First of the application segments.
pub const APP0: u8 = 0xE0;
/// Last of the application segments.
pub const APP15: u8 = 0xEF;
/// Comment.
pub const COM: u8 = 0xFE;

/// Whether the marker starts a frame, so that its segment contains the picture's size.
pub fn is_sof(code: u8) -> bool {
    matches!(code, SOF0..=SOF15) && !matches!(code, DHT | JPG | DAC)
}

/// Whether the marker has no segment: no length follows it.
pub fn stands_alone(code: u8) -> bool {
    matches!(code, TEM | RST0..=EOI)
}

/// Whether the marker may begin a segment: it is not stuffing, not fill, and not one of the codes 0x02 to 0xBF,
/// which are reserved and in practice a sign of damage.
pub fn is_segment(code: u8) -> bool {
    code >= SOF0 && code != 0xFF && !stands_alone(code)
}

/// Whether the marker may begin a segment between two scans (T.81, B.2.1 and B.2.4): tables, another scan, the
/// number of lines, application data, a comment.
pub fn is_between_scans(code: u8) -> bool {
    matches!(code, DHT | DAC | SOS..=DRI | APP0..=APP15 | COM)
}

/// Whether the segment holds what the program, the camera or a person says, which may be anything, even a thumbnail.
pub fn is_data(code: u8) -> bool {
    matches!(code, APP0..=APP15 | COM)
}

/// The code of the marker at `at`, and the offset of the 0xFF right before it. Any number of 0xFF bytes may precede it
/// as fill (B.1.1.2).
pub(crate) fn code(bytes: &[u8], at: usize) -> Result<(u8, usize), Defect> {
    let ahead = bytes.get(at..).unwrap_or_default();
    match ahead.iter().position(|&byte| byte != 0xFF) {
        Some(0) => Err(Defect::BadMarker(at)),
        Some(fill) => Ok((ahead[fill], at + fill - 1)),
        None => Err(Defect::Short),
    }
}

/// Where the segment ends whose marker's 0xFF is at `at`.
pub(crate) fn end(bytes: &[u8], at: usize) -> Result<usize, Defect> {
    let &[high, low] = bytes.get(at + 2..at + 4).ok_or(Defect::Short)? else {
        return Err(Defect::Short);
    };
    match u16::from_be_bytes([high, low]) {
        0 | 1 => Err(Defect::BadLength(at)),
        length => Ok(at + 2 + usize::from(length)),
    }
}

/// One marker segment.
pub(crate) struct Segment<'a> {
    pub(crate) code: u8,
    /// What follows the length.
    pub(crate) body: &'a [u8],
    /// Offset of its marker; fill bytes before that belong to nothing.
    pub(crate) start: usize,
    /// Offset of the byte after it.
    pub(crate) end: usize,
}

/// The segments of a head. After SOS the iterator goes on as if no entropy-coded data followed, so the caller has to
/// stop there.
pub(crate) struct Segments<'a> {
    bytes: &'a [u8],
    at: usize,
    failed: bool,
}

impl<'a> Segments<'a> {
    pub(crate) fn of(bytes: &'a [u8]) -> Result<Self, Defect> {
        match bytes {
            [0xFF, SOI, ..] => Ok(Segments {
                bytes,
                at: 2,
                failed: false,
            }),
            [] | [0xFF] => Err(Defect::Short),
            _ => Err(Defect::NoStart),
        }
    }

    fn segment(&mut self) -> Result<Segment<'a>, Defect> {
        loop {
            let (code, start) = code(self.bytes, self.at)?;
            if code == EOI {
                return Err(Defect::NoScan);
            }
            if code != SOI && stands_alone(code) {
                self.at = start + 2;
                continue;
            }
            if !is_segment(code) {
                return Err(Defect::BadMarker(start));
            }
            let end = end(self.bytes, start)?;
            let body = self.bytes.get(start + 4..end).ok_or(Defect::Short)?;
            self.at = end;
            return Ok(Segment {
                code,
                body,
                start,
                end,
            });
        }
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = Result<Segment<'a>, Defect>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let segment = self.segment();
        self.failed = segment.is_err();
        Some(segment)
    }
}
