//! The orientation in a frame's Exif data: how a viewer has to turn the picture.
//!
//! Exif (JEITA CP-3451) is TIFF 6.0 in an APP1 segment. Only the one tag is read and written. Crates that decode all of
//! Exif are many times as long as this, for what nobody here looks at.

use super::marker;

/// The beginning of Exif's segment.
const NAME: &[u8] = b"Exif\0\0";
/// The tag Orientation, a SHORT.
const ORIENTATION: u16 = 0x0112;
const SHORT: u16 = 3;

/// The orientation that the segment at the beginning of `bytes` says, from 1 (upright) to 8.
pub(crate) fn orientation(bytes: &[u8]) -> Option<u8> {
    let body = bytes.strip_prefix(&[0xFF, marker::APP0 + 1])?.get(2..)?;
    let tiff = Tiff::of(body.strip_prefix(NAME)?)?;
    let directory = tiff.u32(4)? as usize;
    let count = usize::from(tiff.u16(directory)?);
    let entries = (0..count).map(|entry| directory + 2 + 12 * entry);
    let mut found = entries.take_while(|at| at + 12 <= tiff.bytes.len());
    let entry = found.find(|at| tiff.u16(*at) == Some(ORIENTATION))?;
    let value = tiff
        .u16(entry + 8)
        .filter(|_| tiff.u16(entry + 2) == Some(SHORT))?;
    u8::try_from(value)
        .ok()
        .filter(|value| (1..=8).contains(value))
}

/// A segment that says nothing but this orientation.
pub(crate) fn segment(orientation: u8) -> [u8; 36] {
    let mut segment = [0; 36];
    let parts: [&[u8]; 4] = [
        &[0xFF, marker::APP0 + 1, 0, 34],
        NAME,
        // The byte order, and where the directory is, of one entry: tag, type, number of values, value. No other follows.
        b"MM\0\x2A\0\0\0\x08\0\x01",
        &[0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation],
    ];
    let bytes = parts.iter().copied().flatten();
    segment
        .iter_mut()
        .zip(bytes)
        .for_each(|(at, byte)| *at = *byte);
    segment
}

/// TIFF in its byte order; all offsets count from its first byte.
struct Tiff<'a> {
    bytes: &'a [u8],
    little: bool,
}

impl<'a> Tiff<'a> {
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let little = match bytes.get(..4)? {
            b"II\x2A\0" => true,
            b"MM\0\x2A" => false,
            _ => return None,
        };
        Some(Tiff { bytes, little })
    }

    fn u16(&self, at: usize) -> Option<u16> {
        let two = *self.bytes.get(at..)?.first_chunk()?;
        Some(match self.little {
            true => u16::from_le_bytes(two),
            false => u16::from_be_bytes(two),
        })
    }

    fn u32(&self, at: usize) -> Option<u32> {
        let four = *self.bytes.get(at..)?.first_chunk()?;
        Some(match self.little {
            true => u32::from_le_bytes(four),
            false => u32::from_be_bytes(four),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A segment with a width before the orientation, in either byte order.
    fn exif(little: bool, orientation: u16) -> Vec<u8> {
        let short = |value: u16| match little {
            true => value.to_le_bytes(),
            false => value.to_be_bytes(),
        };
        let long = |value: u32| match little {
            true => value.to_le_bytes(),
            false => value.to_be_bytes(),
        };
        let mut body = NAME.to_vec();
        body.extend(if little { b"II" } else { b"MM" });
        body.extend(short(42));
        body.extend(long(8));
        body.extend(short(2));
        for (tag, value) in [(0x0100, 640), (ORIENTATION, orientation)] {
            body.extend([short(tag), short(SHORT)].concat());
            body.extend(long(1));
            body.extend([short(value), short(0)].concat());
        }
        body.extend(long(0));
        let length = (body.len() as u16 + 2).to_be_bytes();
        [&[0xFF, 0xE1], &length[..], &body].concat()
    }

    #[test]
    fn the_orientation_is_read_in_both_byte_orders_and_as_it_is_written() {
        for value in 1..=8 {
            for little in [true, false] {
                assert_eq!(orientation(&exif(little, value.into())), Some(value));
            }
            assert_eq!(orientation(&segment(value)), Some(value));
        }
        assert_eq!(segment(6).len(), 2 + 34);
    }

    #[test]
    fn what_is_no_orientation_is_none() {
        for value in [0, 9, 0x0600] {
            assert_eq!(orientation(&exif(true, value)), None);
        }
        let whole = exif(true, 6);
        for cut in 0..whole.len() - 6 {
            assert_eq!(orientation(&whole[..cut]), None, "cut at {cut}");
        }
        for at in 0..whole.len() {
            for value in 0..=255 {
                let mut damaged = whole.clone();
                damaged[at] = value;
                let found = orientation(&damaged);
                assert!(found.is_none_or(|found| (1..=8).contains(&found)));
            }
        }
        assert_eq!(orientation(&[0xFF, 0xE0, 0, 4, b'x', b'y']), None);
    }
}
