//! Turns what cameras call MJPEG into what everybody calls JPEG. In nearly all cases nothing has to be done, and the
//! driver's bytes are passed on where they are.
//!
//! - **Padding.** A buffer may hold more than the picture, because devices fill up their transfers, or leave the end of
//!   an older picture there. It may hold the beginning of a picture that was cut off, and then a whole one. The first
//!   whole picture is taken out (`walk`), and pictures that were thrown away are counted.
//! - **Huffman tables.** The format comes from AVI files, whose frames (with `AVI1` in APP0) have no tables of their
//!   own and imply the typical ones of ITU-T T.81, K.3.3. Some decoders of single pictures refuse such a frame, so
//!   the tables are added once, here, instead of by each viewer.
//! - **EOI.** There are cameras that never send it. If the first five frames all lack it, it is added to those that
//!   follow. With a camera that has sent it even once, a frame without it was cut short.
//!
//! A camera whose buffers have all been right for a while is looked at less closely (`trust`).

mod trust;

use log::warn;

use crate::picture::jpeg::{Defect, Head, marker};
use crate::picture::largest;
use crate::picture::walk::{Walk, Walked};
use trust::Trust;

/// After this many frames without EOI and none with it, the camera is one that does not send it.
const PROOF: u32 = 5;

/// One camera's MJPEG: what is known about it, and the memory for frames that have to be completed.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug)]
pub struct Mjpeg {
    /// Who sends it, for the log.
    name: String,
    endings: Endings,
    /// How many pictures were thrown away, and what was wrong with the last one.
    discarded: Option<(u64, Defect)>,
    trust: Trust,
    completed: Vec<u8>,
}

/// Whether a camera's frames have EOI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endings {
    /// None had it so far, and there were so many.
    Missing(u32),
    /// At least one had it.
    Present,
}

/// Pictures that were thrown away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discarded {
    /// How many.
    pub count: u64,
    /// Who sent them, and what was wrong with the last one.
    pub why: String,
}

impl Mjpeg {
    /// For a camera of which nothing has come yet.
    pub fn new(name: String) -> Self {
        Mjpeg {
            name,
            endings: Endings::Missing(0),
            discarded: None,
            trust: Trust::default(),
            completed: Vec::new(),
        }
    }

    /// The first whole JPEG in a buffer. If there is none, the error says what was wrong with the last thing that
    /// looked like one; it is not counted in [`Mjpeg::discarded`].
    pub fn frame<'a>(&'a mut self, bytes: &'a [u8]) -> Result<&'a [u8], Defect> {
        if let Some(head) = self.trust.head(bytes) {
            return Ok(self.complete(bytes, &head, true));
        }
        let mut walk = Walk::new(largest());
        let (mut last, mut unended) = (None, None);
        let whole = loop {
            let defect = match walk.next(bytes).or_else(|| walk.end(bytes)) {
                Some(Walked::Frame(whole)) => break Some(whole),
                Some(Walked::Unended(cut)) => unended.replace(cut).map(|_| Defect::NoEnd),
                Some(Walked::Broken(defect)) => Some(defect),
                None => break None,
            };
            if let Some(before) = defect.and_then(|defect| last.replace(defect)) {
                self.discard(before);
            }
        };
        if let (Some(_), Some(_)) = (&whole, &unended) {
            self.discard(Defect::NoEnd);
        }
        self.trust.learn(bytes, whole.as_ref());
        let ended = whole.is_some();
        let Some(found) = whole.or(unended) else {
            return Err(last.unwrap_or(Defect::NoStart));
        };
        if let Some(last) = last {
            self.discard(last);
        }
        if !self.accepts(ended) {
            return Err(Defect::NoEnd);
        }
        Ok(self.complete(&bytes[found.start..found.end], &found.head, ended))
    }

    /// Whether a frame with or without EOI is one that this camera means as a whole one.
    pub fn accepts(&mut self, ended: bool) -> bool {
        if ended {
            self.endings = Endings::Present;
            return true;
        }
        let Endings::Missing(so_far) = &mut self.endings else {
            return false;
        };
        *so_far = so_far.saturating_add(1);
        if *so_far == PROOF + 1 {
            warn!(
                "{} sends pictures without their end: EOI is added to each",
                self.name
            );
        }
        *so_far > PROOF
    }

    /// Whether this is a camera that never sends EOI.
    pub fn lacks_ends(&self) -> bool {
        matches!(self.endings, Endings::Missing(PROOF..))
    }

    /// The frame with all that it lacks.
    pub fn complete<'a>(&'a mut self, frame: &'a [u8], head: &Head, ended: bool) -> &'a [u8] {
        if ended && head.missing_tables.is_none() {
            return frame;
        }
        let (before, after) = frame.split_at(head.missing_tables.unwrap_or(0));
        self.completed.clear();
        self.completed.extend_from_slice(before);
        if head.missing_tables.is_some() {
            write_tables(&mut self.completed);
        }
        self.completed.extend_from_slice(after);
        if !ended {
            self.completed.extend([0xFF, marker::EOI]);
        }
        &self.completed
    }

    /// Counts a picture that was thrown away.
    pub fn discard(&mut self, last: Defect) {
        self.trust.lose();
        let so_far = self.discarded.map_or(0, |(count, _)| count);
        self.discarded = Some((so_far + 1, last));
    }

    /// What was thrown away since the last call.
    pub fn discarded(&mut self) -> Option<Discarded> {
        let (count, defect) = self.discarded.take()?;
        let why = format!("{}: {defect}", self.name);
        Some(Discarded { count, why })
    }
}

/// One DHT segment with all four tables (T.81, B.2.4.2).
pub(super) fn write_tables(into: &mut Vec<u8>) {
    let length = 2 + TABLES
        .iter()
        .map(|(_, counts, values)| 1 + counts.len() + values.len())
        .sum::<usize>();
    into.extend([0xFF, marker::DHT]);
    into.extend((length as u16).to_be_bytes());
    for (class_and_id, counts, values) in TABLES {
        into.push(class_and_id);
        into.extend(counts);
        into.extend(values);
    }
}

/// Class (0 for DC, 1 for AC) and number of a table, how many codes of 1 to 16 bits it has, and their values: T.81,
/// tables K.3 to K.6.
pub(super) const TABLES: [(u8, [u8; 16], &[u8]); 4] = [
    (0x00, [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0], &DC),
    (
        0x10,
        [0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7D],
        &AC_LUMA,
    ),
    (0x01, [0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0], &DC),
    (
        0x11,
        [0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 0x77],
        &AC_CHROMA,
    ),
];

const DC: [u8; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];

#[rustfmt::skip]
const AC_LUMA: [u8; 162] = [
    0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22, 0x71,
    0x14, 0x32, 0x81, 0x91, 0xA1, 0x08, 0x23, 0x42, 0xB1, 0xC1, 0x15, 0x52, 0xD1, 0xF0, 0x24, 0x33, 0x62, 0x72,
    0x82, 0x09, 0x0A, 0x16, 0x17, 0x18, 0x19, 0x1A, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A, 0x34, 0x35, 0x36, 0x37,
    0x38, 0x39, 0x3A, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4A, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59,
    0x5A, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6A, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7A, 0x83,
    0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0xA2, 0xA3,
    0xA4, 0xA5, 0xA6, 0xA7, 0xA8, 0xA9, 0xAA, 0xB2, 0xB3, 0xB4, 0xB5, 0xB6, 0xB7, 0xB8, 0xB9, 0xBA, 0xC2, 0xC3,
    0xC4, 0xC5, 0xC6, 0xC7, 0xC8, 0xC9, 0xCA, 0xD2, 0xD3, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8, 0xD9, 0xDA, 0xE1, 0xE2,
    0xE3, 0xE4, 0xE5, 0xE6, 0xE7, 0xE8, 0xE9, 0xEA, 0xF1, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9, 0xFA,
];

#[rustfmt::skip]
const AC_CHROMA: [u8; 162] = [
    0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71, 0x13, 0x22,
    0x32, 0x81, 0x08, 0x14, 0x42, 0x91, 0xA1, 0xB1, 0xC1, 0x09, 0x23, 0x33, 0x52, 0xF0, 0x15, 0x62, 0x72, 0xD1,
    0x0A, 0x16, 0x24, 0x34, 0xE1, 0x25, 0xF1, 0x17, 0x18, 0x19, 0x1A, 0x26, 0x27, 0x28, 0x29, 0x2A, 0x35, 0x36,
    0x37, 0x38, 0x39, 0x3A, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4A, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58,
    0x59, 0x5A, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6A, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7A,
    0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A,
    0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7, 0xA8, 0xA9, 0xAA, 0xB2, 0xB3, 0xB4, 0xB5, 0xB6, 0xB7, 0xB8, 0xB9, 0xBA,
    0xC2, 0xC3, 0xC4, 0xC5, 0xC6, 0xC7, 0xC8, 0xC9, 0xCA, 0xD2, 0xD3, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8, 0xD9, 0xDA,
    0xE2, 0xE3, 0xE4, 0xE5, 0xE6, 0xE7, 0xE8, 0xE9, 0xEA, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9, 0xFA,
];

#[cfg(test)]
mod tests;
