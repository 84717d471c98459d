//! Turns what cameras call MJPEG into what everybody calls JPEG. In nearly all cases nothing has to be done, and the
//! driver's bytes are passed on where they are.
//!
//! - **Padding.** A buffer may hold more than the picture, because devices fill up their transfers. Anything after
//!   EOI is removed.
//! - **Huffman tables.** The format comes from AVI files, whose frames (with `AVI1` in APP0) have no tables of their
//!   own and imply the typical ones of ITU-T T.81, K.3.3. Some decoders of single pictures refuse such a frame, so
//!   the tables are added once, here, instead of by each viewer.

use crate::picture::jpeg::{self, Defect, marker};

/// The JPEG in the bytes from a driver or a program; `spare` is the memory for one that has to be completed.
pub(crate) fn clean<'a>(bytes: &'a [u8], spare: &'a mut Vec<u8>) -> Result<&'a [u8], Defect> {
    let head = jpeg::head(bytes)?;
    // EOI is searched for from the end, where it is unless there is padding. Entropy-coded data cannot contain it
    // (T.81, B.1.1.5).
    let scan = bytes.get(head.scan..).unwrap_or_default();
    let end = scan
        .windows(2)
        .rposition(|two| two == [0xFF, marker::EOI])
        .ok_or(Defect::NoEnd)?;
    let whole = &bytes[..head.scan + end + 2];
    let Some(at) = head.missing_tables else {
        return Ok(whole);
    };
    let (before, after) = whole.split_at(at);
    spare.clear();
    spare.extend_from_slice(before);
    write_tables(spare);
    spare.extend_from_slice(after);
    Ok(spare)
}

/// One DHT segment with all four tables (T.81, B.2.4.2).
fn write_tables(into: &mut Vec<u8>) {
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
const TABLES: [(u8, [u8; 16], &[u8]); 4] = [
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
mod tests {
    use super::*;
    use crate::picture::encode::{Encoder, Planes};

    /// A picture that is not empty, and the same without its tables.
    fn pictures() -> (Vec<u8>, Vec<u8>) {
        let noise = |seed: usize| -> Vec<u8> {
            let at = |i: usize| ((i * i * seed + i / 7 * seed) >> 3) as u8;
            (0..64 * 48).map(at).collect()
        };
        let (y, cb, cr) = (noise(3), noise(5), noise(11));
        let planes = Planes::new((64, 48), (&y, 64), (&cb, 32), (&cr, 32)).unwrap();
        let mut jpeg = Vec::new();
        let mut encoder = Encoder::new(80).unwrap();
        encoder.encode(planes, None, &mut jpeg).unwrap();
        let mut bare = vec![0xFF, marker::SOI];
        let mut at = 2;
        loop {
            let length = usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
            let code = jpeg[at + 1];
            if code == marker::SOS {
                break;
            }
            if code != marker::DHT {
                bare.extend(&jpeg[at..at + 2 + length]);
            }
            at += 2 + length;
        }
        bare.extend(&jpeg[at..]);
        assert!(bare.len() < jpeg.len() - 400);
        (jpeg, bare)
    }

    fn pixels(jpeg: &[u8]) -> Vec<u8> {
        jpeg_decoder::Decoder::new(jpeg).decode().unwrap()
    }

    #[test]
    fn missing_tables_are_put_in_and_the_picture_is_the_same() {
        let (jpeg, bare) = pictures();
        let mut spare = vec![1, 2, 3];
        let cleaned = clean(&bare, &mut spare).unwrap();
        assert_eq!(cleaned.len(), bare.len() + 420);
        assert!(jpeg::check(cleaned).is_ok());
        assert_eq!(jpeg::head(cleaned).unwrap().missing_tables, None);
        assert_eq!(pixels(cleaned), pixels(&jpeg));
    }

    #[test]
    fn a_whole_picture_is_passed_on_where_it_lies() {
        let (jpeg, _) = pictures();
        let mut spare = Vec::new();
        let cleaned = clean(&jpeg, &mut spare).unwrap();
        assert_eq!(cleaned.as_ptr_range(), jpeg.as_ptr_range());
    }

    #[test]
    fn padding_behind_the_end_is_left_out() {
        let (jpeg, bare) = pictures();
        for padding in [&[0; 1][..], &[0; 3000], &[0xFF; 64], &[0xD9, 0xFF], b"junk"] {
            let padded = [&jpeg, padding].concat();
            assert_eq!(clean(&padded, &mut Vec::new()), Ok(&jpeg[..]));
            let padded = [&bare, padding].concat();
            let mut spare = Vec::new();
            let cleaned = clean(&padded, &mut spare).unwrap();
            assert_eq!(cleaned.len(), bare.len() + 420);
        }
    }

    #[test]
    fn a_picture_cut_short_is_none_at_every_length() {
        let (jpeg, bare) = pictures();
        for whole in [jpeg, bare] {
            for len in 0..whole.len() {
                assert!(clean(&whole[..len], &mut Vec::new()).is_err(), "{len}");
            }
        }
    }
}
