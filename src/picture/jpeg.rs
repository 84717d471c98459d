//! What makes a file a JPEG: SOI, a chain of marker segments up to the first scan, EOI.
//!
//! Both sides check this: capture, because cameras deliver broken frames; the server, because anybody may have
//! written the file, and a single part that cannot be decoded ends a stream for good in Chromium. The check reads the
//! head of the file, a few hundred bytes, and its last two bytes. Between them is entropy-coded data, which only a
//! decoder can check; that is left to the viewer's.
//!
//! Marker codes and the order of segments are those of ITU-T T.81, annex B; table B.1 lists the codes.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// Marker codes (ITU-T T.81, table B.1), without the 0xFF before them.
pub mod marker {
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
}

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
    let (mut size, mut tables) = (None, false);
    for segment in Segments::of(bytes)? {
        let segment = segment?;
        match segment.code {
            marker::SOS => {
                return Ok(Head {
                    size: size.ok_or(Defect::NoSize)?,
                    scan: segment.end,
                    // The marker begins one byte before its code; fill bytes before that belong to nothing.
                    missing_tables: (!tables).then_some(segment.start - 1),
                });
            }
            marker::DHT => tables = true,
            code if marker::is_sof(code) => size = Some(size_of(&segment)?),
            _ => {}
        }
    }
    Err(Defect::Short)
}

/// The segments of the head, including their markers, that a viewer can mistake for the beginning or end of the
/// picture: application data and comments that contain the bytes of SOI or EOI, as a thumbnail does. They are in
/// order; the iterator ends at damage.
pub fn hidden_pictures(bytes: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let is_data = |code| matches!(code, marker::APP0..=marker::APP15 | marker::COM);
    let limit = |two: &[u8]| matches!(two, [0xFF, marker::SOI | marker::EOI]);
    Segments::of(bytes)
        .into_iter()
        .flatten()
        .map_while(Result::ok)
        .take_while(|segment| segment.code != marker::SOS)
        .filter(move |segment| is_data(segment.code) && segment.body.windows(2).any(limit))
        .map(|segment| segment.start - 1..segment.end)
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

/// The picture's size, from a frame header (T.81, B.2.2): precision, lines, samples per line, components.
fn size_of(segment: &Segment<'_>) -> Result<Size, Defect> {
    let &[_, h1, h0, w1, w0, _, ..] = segment.body else {
        return Err(Defect::BadLength(segment.start));
    };
    let (width, height) = (u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]));
    if width == 0 || height == 0 {
        return Err(Defect::ZeroSize);
    }
    Ok(Size { width, height })
}

/// One marker segment.
struct Segment<'a> {
    code: u8,
    /// What follows the length.
    body: &'a [u8],
    /// Offset of its marker's code.
    start: usize,
    /// Offset of the byte after it.
    end: usize,
}

/// The segments of a head. After SOS the iterator goes on as if no entropy-coded data followed, so the caller has to
/// stop there.
struct Segments<'a> {
    bytes: &'a [u8],
    at: usize,
    failed: bool,
}

impl<'a> Segments<'a> {
    fn of(bytes: &'a [u8]) -> Result<Self, Defect> {
        match bytes {
            [0xFF, marker::SOI, ..] => Ok(Segments {
                bytes,
                at: 2,
                failed: false,
            }),
            [] | [0xFF] => Err(Defect::Short),
            _ => Err(Defect::NoStart),
        }
    }

    fn byte(&self, at: usize) -> Result<u8, Defect> {
        self.bytes.get(at).copied().ok_or(Defect::Short)
    }

    /// The code of the next marker, and its offset. Any number of 0xFF bytes may precede it as fill (B.1.1.2).
    fn code(&mut self) -> Result<(u8, usize), Defect> {
        if self.byte(self.at)? != 0xFF {
            return Err(Defect::BadMarker(self.at));
        }
        while self.byte(self.at)? == 0xFF {
            self.at += 1;
        }
        Ok((self.byte(self.at)?, self.at))
    }

    fn segment(&mut self) -> Result<Segment<'a>, Defect> {
        loop {
            let (code, start) = self.code()?;
            if code == marker::EOI {
                return Err(Defect::NoScan);
            }
            if code != marker::SOI && marker::stands_alone(code) {
                self.at += 1;
                continue;
            }
            if !marker::is_segment(code) {
                return Err(Defect::BadMarker(start));
            }
            let length = [self.byte(start + 1)?, self.byte(start + 2)?];
            let end = start + 1 + usize::from(u16::from_be_bytes(length));
            if end < start + 3 {
                return Err(Defect::BadLength(start));
            }
            let body = self.bytes.get(start + 3..end).ok_or(Defect::Short)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    const SOI: &[u8] = &[0xFF, 0xD8];
    const COM: &[u8] = &[0xFF, 0xFE, 0, 4, b'h', b'i'];
    const SOF: &[u8] = &[0xFF, 0xC0, 0, 11, 8, 0, 48, 0, 64, 1, 1, 0x11, 0];
    const SOS: &[u8] = &[0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 63, 0];
    const EOI: &[u8] = &[0xFF, 0xD9];
    const SIZE: Size = Size {
        width: 64,
        height: 48,
    };

    fn whole() -> Vec<u8> {
        [SOI, COM, SOF, SOS, &[1, 2, 3], EOI].concat()
    }

    #[test]
    fn a_size_is_read_as_it_is_written() {
        assert_eq!("64x48".parse(), Ok(SIZE));
        assert_eq!(SIZE.to_string(), "64x48");
        for bad in ["64", "64x", "0x48", "64x0", "64x48x1", "65536x1", "-1x1"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_whole_file_tells_its_size() {
        assert_eq!(check(&whole()), Ok(SIZE));
        let scan = whole().len() - 5;
        let head = head(&whole()).unwrap();
        assert_eq!((head.size, head.scan), (SIZE, scan));
    }

    #[test]
    fn every_prefix_that_lacks_part_of_the_head_is_short_and_the_longer_ones_lack_their_end() {
        let whole = whole();
        for cut in 0..whole.len() {
            let expected = match cut < whole.len() - 5 {
                true => Defect::Short,
                false => Defect::NoEnd,
            };
            assert_eq!(check(&whole[..cut]), Err(expected), "cut at {cut}");
        }
    }

    #[test]
    fn an_end_that_belongs_to_the_scan_header_is_none() {
        let mut sos = SOS.to_vec();
        let len = sos.len();
        sos[len - 2..].copy_from_slice(EOI);
        assert_eq!(
            check(&[SOI, SOF, &sos].concat()),
            Err(Defect::NoEnd),
            "the last bytes are parameters of the scan"
        );
    }

    #[test]
    fn fill_bytes_and_lone_markers_are_stepped_over() {
        let filled = [SOI, &[0xFF, 0xFF], SOF, &[0xFF, 0x01], SOS, EOI].concat();
        assert_eq!(check(&filled), Ok(SIZE));
    }

    #[test]
    fn each_defect_is_told_apart() {
        let zero = [0xFF, 0xC2, 0, 11, 8, 0, 0, 0, 64, 1, 1, 0x11, 0];
        let cases: [(&[&[u8]], Defect); 10] = [
            (&[b"GIF89a"], Defect::NoStart),
            (&[&[0xFF, 0xD9]], Defect::NoStart),
            (&[SOI, b"x"], Defect::BadMarker(2)),
            (&[SOI, &[0xFF, 0x00]], Defect::BadMarker(3)),
            (&[SOI, SOI], Defect::BadMarker(3)),
            (&[SOI, &[0xFF, 0x42, 0, 2]], Defect::BadMarker(3)),
            (&[SOI, &[0xFF, 0xE0, 0, 1, 0]], Defect::BadLength(3)),
            (&[SOI, &[0xFF, 0xC0, 0, 3, 8]], Defect::BadLength(3)),
            (&[SOI, SOS], Defect::NoSize),
            (&[SOI, &zero, SOS], Defect::ZeroSize),
        ];
        for (parts, defect) in cases {
            assert_eq!(head(&parts.concat()), Err(defect), "{parts:02x?}");
        }
        assert_eq!(head(&[SOI, SOF, EOI].concat()), Err(Defect::NoScan));
    }

    #[test]
    fn huffman_tables_are_not_taken_for_a_frame_header() {
        let dht = [0xFF, 0xC4, 0, 11, 8, 0, 1, 0, 1, 1, 1, 0x11, 0];
        assert_eq!(check(&[SOI, SOF, &dht, SOS, EOI].concat()), Ok(SIZE));
    }

    #[test]
    fn missing_huffman_tables_are_missed_where_the_scan_begins() {
        let dht = [0xFF, 0xC4, 0, 11, 8, 0, 1, 0, 1, 1, 1, 0x11, 0];
        let missing_tables = |bytes: &[u8]| head(bytes).unwrap().missing_tables;
        let at = SOI.len() + SOF.len();
        assert_eq!(missing_tables(&[SOI, SOF, SOS, EOI].concat()), Some(at));
        let filled = [SOI, SOF, &[0xFF], SOS, EOI].concat();
        assert_eq!(missing_tables(&filled), Some(at + 1));
        let with = [SOI, SOF, &dht, SOS, EOI].concat();
        assert_eq!(missing_tables(&with), None);
    }

    #[test]
    fn comments_are_found_in_the_head_alone() {
        let after = [SOI, COM, SOF, COM, SOS, COM, EOI].concat();
        assert_eq!(comments(&after).collect::<Vec<_>>(), [b"hi", b"hi"]);
        assert_eq!(comments(&after[..9]).count(), 1);
        assert_eq!(comments(b"no picture").count(), 0);
    }

    #[test]
    fn pictures_in_application_data_and_comments_are_found_and_nothing_else_is() {
        let exif = [&[0xFF, 0xE1, 0, 8], SOI, b"xy", EOI].concat();
        let end_only = [&[0xFF, 0xFE, 0, 4], EOI].concat();
        // Values in a table may look the same, but without the table there is no picture.
        let table = [&[0xFF, 0xDB, 0, 4], SOI].concat();
        let bytes = [SOI, COM, &exif, &table, SOF, &end_only, SOS, &exif, EOI].concat();
        let found: Vec<_> = hidden_pictures(&bytes).map(|at| &bytes[at]).collect();
        assert_eq!(found, [&exif, &end_only]);
        assert_eq!(hidden_pictures(&whole()).count(), 0);
        assert_eq!(hidden_pictures(&bytes[..12]).count(), 0);
    }
}
