//! The segments before the entropy-coded data of a frame that is turned: those that are read, and those that are written.

use std::ops::Range;

use super::Transform;
use super::entropy::Decoding;
use super::geometry::{Moves, exchanged};
use crate::picture::jpeg::marker::{self, Segment, Segments};
use crate::picture::jpeg::{Defect, Size, exif};
use crate::picture::mjpeg::{TABLES, write_tables};

/// One component, as the frame header describes it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Component {
    id: u8,
    /// Blocks in an MCU, in a row and in a column.
    pub(super) blocks: (usize, usize),
    quantization: u8,
    /// Which tables it uses.
    huffman: u8,
}

/// What is known of a frame.
#[derive(Debug, Default)]
pub(super) struct Picture {
    /// The code of its frame header.
    sof: u8,
    pub(super) size: Option<Size>,
    pub(super) components: Vec<Component>,
    /// Quantization tables by their number: 64 values, of one byte or two.
    quantization: [Vec<u8>; 4],
    /// Huffman tables, by class and number as T.81 writes them.
    huffman: Vec<(u8, Decoding)>,
    /// MCUs between two restart markers; 0 without any.
    pub(super) restart: usize,
    /// Application data and comments.
    kept: Vec<Range<usize>>,
    /// What Exif asks a viewer to do.
    pub(super) asked: Transform,
    /// Where the entropy-coded data begins.
    pub(super) scan: usize,
}

impl Picture {
    /// Reads a frame's head.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Defect> {
        let mut picture = Picture::default();
        for segment in Segments::of(bytes)? {
            let segment = segment?;
            picture.segment(bytes, &segment)?;
            if segment.code == marker::SOS {
                picture.scan = segment.end;
                return Ok(picture);
            }
        }
        Err(Defect::Short)
    }

    /// Of a picture without Huffman tables (MJPEG of AVI files) the typical ones are meant.
    pub(super) fn add_usual_tables(&mut self) {
        if self.huffman.is_empty() {
            let usual = |(name, counts, values): (u8, [u8; 16], &[u8])| {
                Some((name, Decoding::new(&counts, values)?))
            };
            self.huffman.extend(TABLES.into_iter().filter_map(usual));
        }
    }

    /// What the first coefficient of the first component is counted in.
    pub(super) fn first_step(&self) -> Option<u16> {
        let table = &self.quantization[usize::from(self.components.first()?.quantization)];
        match table.len() {
            128 => Some(u16::from_be_bytes([table[0], table[1]])),
            _ => table.first().map(|step| u16::from(*step)),
        }
    }

    fn segment(&mut self, bytes: &[u8], segment: &Segment<'_>) -> Result<(), Defect> {
        let (body, at) = (segment.body, segment.start);
        match segment.code {
            marker::DQT => self.quantization(body).ok_or(Defect::Quantization(at)),
            marker::DHT => self.huffman(body).ok_or(Defect::Huffman(at)),
            marker::DRI => {
                let interval = body.first_chunk().ok_or(Defect::BadLength(at))?;
                self.restart = u16::from_be_bytes(*interval).into();
                Ok(())
            }
            marker::SOS => self.scan(body, at),
            code if marker::is_sof(code) => self.frame(code, body, at),
            code if marker::is_data(code) => {
                let range = at..segment.end;
                match exif::orientation(&bytes[range.clone()]) {
                    Some(orientation) if orientation > 1 => {
                        self.asked = Transform::of_orientation(orientation);
                    }
                    _ => self.kept.push(range),
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn quantization(&mut self, mut body: &[u8]) -> Option<()> {
        while let Some((first, rest)) = body.split_first() {
            let (values, rest) = rest.split_at_checked(64 << (first >> 4).min(1))?;
            let table = self.quantization.get_mut(usize::from(first & 15))?;
            table.clear();
            table.extend_from_slice(values);
            body = rest;
        }
        Some(())
    }

    fn huffman(&mut self, mut body: &[u8]) -> Option<()> {
        while let Some((&name, rest)) = body.split_first() {
            let (counts, rest) = rest.split_first_chunk()?;
            let count = counts.iter().map(|count| usize::from(*count)).sum();
            let (values, rest) = rest.split_at_checked(count)?;
            let table = Decoding::new(counts, values)?;
            self.huffman.retain(|(known, _)| *known != name);
            self.huffman.push((name, table));
            body = rest;
        }
        Some(())
    }

    fn frame(&mut self, code: u8, body: &[u8], at: usize) -> Result<(), Defect> {
        if code > marker::SOF0 + 1 {
            return Err(Defect::Unturnable("a progressive picture"));
        }
        let bad = Defect::FrameHeader(at);
        let (&[_, h1, h0, w1, w0, _], components) = body.split_first_chunk().ok_or(bad)?;
        let (width, height) = (u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]));
        self.sof = code;
        self.size = Some(Size { width, height });
        self.components.clear();
        for said in components.chunks_exact(3) {
            let blocks = (usize::from(said[1] >> 4), usize::from(said[1] & 15));
            if !(1..=4).contains(&blocks.0) || !(1..=4).contains(&blocks.1) || said[2] > 3 {
                return Err(bad);
            }
            self.components.push(Component {
                id: said[0],
                blocks,
                quantization: said[2],
                huffman: 0,
            });
        }
        match &mut self.components[..] {
            [] => return Err(bad),
            // What is alone is not interleaved, and its MCU is a block whatever is said (T.81, A.2.2).
            [one] => one.blocks = (1, 1),
            _ => {}
        }
        (self.components.len() <= 4).then_some(()).ok_or(bad)
    }

    fn scan(&mut self, body: &[u8], at: usize) -> Result<(), Defect> {
        let (&count, said) = body.split_first().ok_or(Defect::BadLength(at))?;
        if usize::from(count) != self.components.len() {
            return Err(Defect::Unturnable("a picture of several scans"));
        }
        // In an interleaved scan the components come in the order of the frame header (B.2.3).
        for (component, said) in self.components.iter_mut().zip(said.chunks_exact(2)) {
            if component.id != said[0] {
                return Err(Defect::ScanHeader(at));
            }
            component.huffman = said[1];
        }
        Ok(())
    }

    /// The size of an MCU in pixels.
    pub(super) fn mcu(&self) -> (u16, u16) {
        let most = |side: fn(&Component) -> usize| self.components.iter().map(side).max();
        let pixels = |blocks: Option<usize>| 8 * blocks.unwrap_or(1) as u16;
        (
            pixels(most(|one| one.blocks.0)),
            pixels(most(|one| one.blocks.1)),
        )
    }

    /// The tables of a component: for the first coefficient of each block, and for the others.
    pub(super) fn tables(&self, component: &Component) -> Result<[&Decoding; 2], Defect> {
        let find = |name: u8| {
            let found = self.huffman.iter().find(|(known, _)| *known == name);
            found.map(|(_, table)| table).ok_or(Defect::Data)
        };
        Ok([
            find(component.huffman >> 4)?,
            find(0x10 | component.huffman & 15)?,
        ])
    }

    /// Replaces the contents of `into` by the head of the picture `bytes`, turned: without its restart markers, and
    /// with the tables of T.81, K.3.3, which have a code for everything.
    pub(super) fn write(
        &self,
        bytes: &[u8],
        (size, turn): (Size, Transform),
        moves: &Moves,
        into: &mut Vec<u8>,
    ) {
        into.clear();
        into.extend([0xFF, marker::SOI]);
        for range in &self.kept {
            into.extend_from_slice(&bytes[range.clone()]);
        }
        for (number, values) in (0..).zip(&self.quantization) {
            if let Some(width) = [64, 128].iter().position(|length| values.len() == *length) {
                segment(into, marker::DQT, 1 + values.len());
                into.push((width as u8) << 4 | number);
                let start = into.len();
                into.extend_from_slice(values);
                for (value, &to) in values.chunks_exact(1 + width).zip(&moves.to) {
                    let to = start + usize::from(to) * (1 + width);
                    into[to..to + 1 + width].copy_from_slice(value);
                }
            }
        }
        let count = self.components.len();
        segment(into, self.sof, 6 + 3 * count);
        into.push(8);
        into.extend(
            [size.height, size.width]
                .map(u16::to_be_bytes)
                .as_flattened(),
        );
        into.push(count as u8);
        for one in &self.components {
            let (h, v) = exchanged(one.blocks, turn.transposed);
            into.extend([one.id, (h << 4 | v) as u8, one.quantization]);
        }
        write_tables(into);
        segment(into, marker::SOS, 1 + 2 * count + 3);
        into.push(count as u8);
        for (n, one) in self.components.iter().enumerate() {
            let table = chroma(n) as u8;
            into.extend([one.id, table << 4 | table]);
        }
        into.extend([0, 63, 0]);
    }
}

/// The number of the tables that are written for the n-th component: those of luma, or those of chroma.
pub(super) fn chroma(n: usize) -> usize {
    usize::from(matches!(n, 1 | 2))
}

/// The beginning of a segment with so many bytes behind its length.
fn segment(into: &mut Vec<u8>, code: u8, length: usize) {
    into.extend([0xFF, code]);
    into.extend((length as u16 + 2).to_be_bytes());
}
