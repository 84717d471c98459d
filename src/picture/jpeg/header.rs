//! What the segments before the entropy-coded data may say: the limits of ITU-T T.81, annex B, as far as decoders
//! insist on them.
//!
//! A frame can be a valid chain of markers and still be one that no decoder takes, because a table or a header in it
//! was damaged. One such part empties Chromium's `<img>` for good, so the contents are checked too, wherever the chain
//! is walked. Where libjpeg (on which the browsers are built) takes more than the standard allows, because there are
//! cameras that write it, so do we: a sequential scan's spectral selection may be anything, a quantization value may
//! be 0, an identifier may come twice, and the tables of Motion JPEG may be missing.
//!
//! Baseline, extended sequential and progressive pictures of 8 bits pass. No browser shows any other kind, so those
//! are refused by their name.

use std::fmt;
use std::str::FromStr;

use super::defect::Defect;
use super::marker;

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

/// The greatest number of components of which a decoder makes a picture: luma, two of chroma, and black.
const COMPONENTS: usize = 4;

/// The most blocks that an interleaved scan may have in a unit (T.81, B.2.3).
const MOST_BLOCKS: u32 = 10;

/// What has been read of one frame's segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    /// The picture's size, once there was a frame header.
    pub(crate) size: Option<Size>,
    /// Whether there were any Huffman tables.
    pub(crate) tables: bool,
    progressive: bool,
    /// Whether the last scan has all of the picture in it.
    pub(crate) in_one_scan: bool,
    /// A bit for each quantization table that was defined.
    quantization: u8,
    components: [FrameComponent; COMPONENTS],
    count: usize,
}

/// One component, as the frame header describes it (T.81, B.2.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct FrameComponent {
    id: u8,
    /// Blocks in an interleaved unit: the product of both sampling factors.
    blocks: u32,
    quantization: u8,
}

impl Header {
    /// Takes in the segment `code` whose marker is at `at`; `body` is what follows its length.
    pub(crate) fn segment(&mut self, code: u8, body: &[u8], at: usize) -> Result<(), Defect> {
        match code {
            marker::DQT => self.quantization(body).ok_or(Defect::Quantization(at)),
            marker::DHT => self.huffman(body).ok_or(Defect::Huffman(at)),
            marker::DRI if body.len() != 2 => Err(Defect::BadLength(at)),
            marker::SOS => self.scan(body, at),
            code if marker::is_sof(code) => self.frame(code, body, at),
            _ => Ok(()),
        }
    }

    /// The head, whose first scan header begins at `start` and ends at `end`.
    pub(crate) fn head(&self, start: usize, end: usize) -> Result<Head, Defect> {
        Ok(Head {
            size: self.size.ok_or(Defect::NoSize)?,
            scan: end,
            missing_tables: (!self.tables).then_some(start),
        })
    }

    /// Quantization tables (B.2.4.1): precision and number, then 64 values of one byte, or two.
    fn quantization(&mut self, mut body: &[u8]) -> Option<()> {
        while let Some((first, rest)) = body.split_first() {
            let (precision, number) = (first >> 4, first & 15);
            if precision > 1 || number > 3 {
                return None;
            }
            body = rest.get(64 << precision..)?;
            self.quantization |= 1 << number;
        }
        Some(())
    }

    /// Huffman tables (B.2.4.2): class and number, how many codes there are of each length, then their values.
    fn huffman(&mut self, mut body: &[u8]) -> Option<()> {
        while let Some((first, rest)) = body.split_first() {
            let (class, number) = (first >> 4, first & 15);
            let (counts, values) = rest.split_at_checked(16)?;
            let count = codes(counts)?;
            if class > 1 || number > 3 {
                return None;
            }
            let (values, rest) = values.split_at_checked(count)?;
            // A DC value is a number of bits (F.1.2.1); with the 12 bits of the largest precision there are 15.
            if class == 0 && values.iter().any(|&value| value > 15) {
                return None;
            }
            body = rest;
            self.tables = true;
        }
        Some(())
    }

    /// A frame header (B.2.2): precision, lines, samples per line, and the components.
    fn frame(&mut self, code: u8, body: &[u8], at: usize) -> Result<(), Defect> {
        if let Some(name) = refused(code) {
            return Err(Defect::Process(name));
        }
        let Some((&[precision, h1, h0, w1, w0, count], components)) = body.split_first_chunk()
        else {
            return Err(Defect::BadLength(at));
        };
        let count = usize::from(count);
        if components.len() != 3 * count {
            return Err(Defect::BadLength(at));
        }
        match precision {
            8 => {}
            12 => return Err(Defect::Process("a picture of 12 bits per sample")),
            _ => return Err(Defect::FrameHeader(at)),
        }
        let (width, height) = (u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]));
        if width == 0 || height == 0 {
            return Err(Defect::ZeroSize);
        }
        // Of two components no browser knows the colours. There is one frame header in a picture.
        if !matches!(count, 1 | 3 | 4) || self.size.is_some() {
            return Err(Defect::FrameHeader(at));
        }
        for (known, said) in self.components.iter_mut().zip(components.chunks_exact(3)) {
            *known = component(said).ok_or(Defect::FrameHeader(at))?;
        }
        self.count = count;
        self.progressive = code == marker::SOF0 + 2;
        self.size = Some(Size { width, height });
        Ok(())
    }

    /// A scan header (B.2.3): components with their Huffman tables, spectral selection, successive approximation.
    fn scan(&mut self, body: &[u8], at: usize) -> Result<(), Defect> {
        if self.size.is_none() {
            return Err(Defect::NoSize);
        }
        let bad = Defect::ScanHeader(at);
        let (&count, rest) = body.split_first().ok_or(Defect::BadLength(at))?;
        let count = usize::from(count);
        let Some((components, &[first, last, approximation])) = rest.split_last_chunk() else {
            return Err(Defect::BadLength(at));
        };
        if components.len() != 2 * count {
            return Err(Defect::BadLength(at));
        }
        if count == 0 || count > self.count {
            return Err(bad);
        }
        let mut blocks = 0;
        for said in components.chunks_exact(2) {
            let known = &self.components[..self.count];
            let component = known.iter().find(|known| known.id == said[0]).ok_or(bad)?;
            if said[1] >> 4 > 3 || said[1] & 15 > 3 {
                return Err(bad);
            }
            if self.quantization >> component.quantization & 1 == 0 {
                return Err(Defect::NoQuantization);
            }
            blocks += component.blocks;
        }
        // Bit positions beyond 13 (table B.3) are a sign of damage in any scan.
        let positions = approximation >> 4 <= 13 && approximation & 15 <= 13;
        let fits = positions && (count == 1 || blocks <= MOST_BLOCKS);
        if !fits || (self.progressive && !is_progressive_scan(count, first, last, approximation)) {
            return Err(bad);
        }
        self.in_one_scan = count == self.count && !self.progressive;
        Ok(())
    }
}

/// The number of codes in a Huffman table, if it can be one: no code needs more bits than it has or consists of ones
/// alone (T.81, C.2), and there are at most 256, one for each value of a byte.
fn codes(counts: &[u8]) -> Option<usize> {
    let (mut next, mut count) = (0_u32, 0);
    for (length, &of_length) in (1..).zip(counts) {
        next = (next << 1) + u32::from(of_length);
        if next >> length != 0 {
            return None;
        }
        count += usize::from(of_length);
    }
    (count <= 256).then_some(count)
}

/// What a component of a frame header says: identifier, sampling factors, quantization table.
fn component(said: &[u8]) -> Option<FrameComponent> {
    let &[id, factors, quantization] = said else {
        return None;
    };
    let (horizontal, vertical) = (factors >> 4, factors & 15);
    let valid = (1..=4).contains(&horizontal) && (1..=4).contains(&vertical) && quantization < 4;
    valid.then_some(FrameComponent {
        id,
        blocks: u32::from(horizontal * vertical),
        quantization,
    })
}

/// Whether a scan of a progressive picture can be one (T.81, G.1.1.1): DC and AC values come in separate scans, those
/// of AC one component at a time, and each refinement adds one bit.
fn is_progressive_scan(count: usize, first: u8, last: u8, approximation: u8) -> bool {
    let (high, low) = (approximation >> 4, approximation & 15);
    let band = match first {
        0 => last == 0,
        _ => first <= last && last < 64 && count == 1,
    };
    band && (high == 0 || high == low + 1)
}

/// What no browser shows, by the code of its frame header (T.81, table B.1).
fn refused(code: u8) -> Option<&'static str> {
    match code - marker::SOF0 {
        0..=2 => None,
        3 => Some("a lossless picture"),
        5..=7 => Some("a hierarchical picture"),
        _ => Some("a picture with arithmetic coding"),
    }
}

#[cfg(test)]
mod tests;
