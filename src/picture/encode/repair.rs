//! The result of a hardware encoder becomes a JPEG that everybody can read.
//!
//! What encoders leave out or add is known from their drivers: Huffman tables and EOI may be missing, bytes may follow it, and
//! the picture may be as large as the encoder's memory, which is rounded up to whole units, instead of as large as what was
//! asked for. In the last case the size in the frame header is set right, as long as that does not change how many units (MCU)
//! there are: the rest of the last ones is then not shown, which is how JPEG itself stores such pictures (ITU-T T.81, A.2.4).
//!
//! **A missing EOI may also mean that the picture was cut short.** It is taken for that if the encoder has sent EOI before, or if its
//! memory for results is full. In the first result of an encoder, a cut before that cannot be told.

use crate::error::{Error, Result};
use crate::picture::jpeg::marker::{self, Segments};
use crate::picture::jpeg::{Defect, Size};
use crate::picture::largest;
use crate::picture::mjpeg::Mjpeg;
use crate::picture::walk::{Walk, Walked};

/// What has to be written into a result, from which byte on.
type Patch = Option<(usize, [u8; 4])>;

/// Repairs the results of one encoder.
#[derive(Debug)]
pub(crate) struct Repair {
    mjpeg: Mjpeg,
    /// Whether a result had EOI.
    has_ended: bool,
}

impl Repair {
    pub(crate) fn new() -> Self {
        let mjpeg = Mjpeg::new(String::new());
        Repair {
            mjpeg,
            has_ended: false,
        }
    }

    /// Replaces the contents of `into` by a JPEG of this size. `is_full` if there was no memory for a longer result.
    pub(crate) fn whole(
        &mut self,
        result: &[u8],
        is_full: bool,
        size: Size,
        into: &mut Vec<u8>,
    ) -> Result<()> {
        let unusable = |what: Defect| Error::Input(format!("its result is no JPEG: {what}"));
        let mut walk = Walk::new(largest());
        let (found, ended) = match walk.next(result).or_else(|| walk.end(result)) {
            Some(Walked::Frame(whole)) => (whole, true),
            Some(Walked::Unended(cut)) => (cut, false),
            Some(Walked::Broken(defect)) => return Err(unusable(defect)),
            None => return Err(unusable(Defect::NoStart)),
        };
        self.has_ended |= ended;
        if !ended && (self.has_ended || is_full) {
            return Err(Error::Input("its result is cut short".into()));
        }
        let (jpeg, head) = (&result[found.start..found.end], found.head);
        let patch = match head.size == size {
            true => None,
            false => resized(jpeg, size).map_err(unusable)?,
        };
        into.clear();
        into.extend_from_slice(self.mjpeg.complete(jpeg, &head, ended));
        match patch {
            // The frame header stands before the scan, and tables are added right before that.
            Some((at, sides)) => into[at..at + 4].copy_from_slice(&sides),
            None if head.size == size => {}
            None => {
                let message = format!("it gives pictures of {} for {size}", head.size);
                return Err(Error::Input(message));
            }
        }
        Ok(())
    }
}

/// What gives a JPEG another size; `None` if it would then have another number of units.
fn resized(jpeg: &[u8], size: Size) -> Result<Patch, Defect> {
    for segment in Segments::of(jpeg)? {
        let segment = segment?;
        if !marker::is_sof(segment.code) {
            continue;
        }
        // P, Y, X, Nf, and for each component C, H and V, Tq (T.81, B.2.2).
        let [_, y0, y1, x0, x1, count, components @ ..] = segment.body else {
            return Err(Defect::BadLength(segment.start));
        };
        let factors = components
            .chunks_exact(3)
            .map(|one| (one[1] >> 4, one[1] & 15));
        let most = factors.fold((1, 1), |(h, v), one| (h.max(one.0), v.max(one.1)));
        // A picture of one component is not interleaved, so that its units are single blocks (T.81, A.2.2).
        let (h, v) = if *count == 1 { (1, 1) } else { most };
        let units = |length: u16, factor: u8| length.div_ceil(8 * u16::from(factor));
        let (height, width) = (
            u16::from_be_bytes([*y0, *y1]),
            u16::from_be_bytes([*x0, *x1]),
        );
        let same =
            units(height, v) == units(size.height, v) && units(width, h) == units(size.width, h);
        let ([y0, y1], [x0, x1]) = (size.height.to_be_bytes(), size.width.to_be_bytes());
        return Ok(same.then_some((segment.start + 5, [y0, y1, x0, x1])));
    }
    Err(Defect::NoSize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::encode::{Encoder, Planes};
    use crate::picture::jpeg;

    fn size(width: u16, height: u16) -> Size {
        Size { width, height }
    }

    /// As an encoder gives it: `tables` and `end` say whether it has them.
    fn result(width: u16, height: u16, tables: bool, end: bool) -> Vec<u8> {
        let sides = usize::from(width) * usize::from(height);
        let luma: Vec<u8> = (0..sides).map(|n| (n * 7) as u8).collect();
        let (stride, chroma) = (usize::from(width), vec![90; sides]);
        let planes = Planes::new(
            (width, height),
            (&luma, stride),
            (&chroma, stride),
            (&chroma, stride),
        );
        let mut whole = Vec::new();
        let mut encoder = Encoder::new(80).unwrap();
        encoder.encode(planes.unwrap(), None, &mut whole).unwrap();
        if !tables {
            let found = Segments::of(&whole).unwrap().map_while(Result::ok);
            let found = found.take_while(|one| one.code != marker::SOS);
            let found = found.filter(|one| one.code == marker::DHT);
            let found: Vec<_> = found.map(|one| one.start..one.end).collect();
            for range in found.into_iter().rev() {
                whole.drain(range);
            }
        }
        if !end {
            whole.truncate(whole.len() - 2);
        }
        whole
    }

    fn repaired(result: &[u8], size: Size) -> Result<Vec<u8>, String> {
        repaired_by(&mut Repair::new(), result, false, size)
    }

    fn repaired_by(
        repair: &mut Repair,
        result: &[u8],
        is_full: bool,
        size: Size,
    ) -> Result<Vec<u8>, String> {
        let mut into = vec![1, 2, 3];
        let done = repair.whole(result, is_full, size, &mut into);
        done.map(|()| into).map_err(|error| error.to_string())
    }

    fn pixels(jpeg: &[u8]) -> Vec<u8> {
        jpeg_decoder::Decoder::new(jpeg).decode().unwrap()
    }

    #[test]
    fn what_is_whole_stays_as_it_is_and_padding_goes() {
        let whole = result(32, 16, true, true);
        assert_eq!(repaired(&whole, size(32, 16)).as_ref(), Ok(&whole));
        let padded = [&whole[..], &[0; 77]].concat();
        assert_eq!(repaired(&padded, size(32, 16)), Ok(whole));
    }

    #[test]
    fn tables_and_an_end_are_added() {
        let whole = result(32, 16, true, true);
        for (tables, end) in [(false, true), (true, false), (false, false)] {
            let made = repaired(&result(32, 16, tables, end), size(32, 16)).unwrap();
            assert_eq!(jpeg::check(&made), Ok(size(32, 16)));
            assert_eq!(jpeg::head(&made).unwrap().missing_tables, None);
            assert_eq!(pixels(&made), pixels(&whole));
        }
        let padded = [result(32, 16, false, false), vec![0; 50]].concat();
        let made = repaired(&padded, size(32, 16)).unwrap();
        assert_eq!(pixels(&made), pixels(&whole));
    }

    #[test]
    fn a_picture_as_large_as_the_encoders_memory_gets_its_size_back() {
        // In MCUs, 64x32 is 4x2, and so is all that is larger than 48x16.
        for (tables, asked) in [
            (true, size(64, 18)),
            (false, size(50, 32)),
            (true, size(49, 17)),
        ] {
            let made = repaired(&result(64, 32, tables, true), asked).unwrap();
            assert_eq!(jpeg::check(&made), Ok(asked));
            let rows = pixels(&result(64, 32, true, true));
            let shown = rows.chunks(64 * 3).take(asked.height.into());
            let shown: Vec<u8> = shown
                .flat_map(|row| &row[..usize::from(asked.width) * 3])
                .copied()
                .collect();
            assert_eq!(pixels(&made), shown);
        }
        for asked in [size(64, 16), size(48, 32), size(65, 32)] {
            let told = repaired(&result(64, 32, true, true), asked).unwrap_err();
            assert_eq!(told, format!("it gives pictures of 64x32 for {asked}"));
        }
    }

    #[test]
    fn a_picture_that_was_cut_short_is_no_whole_one() {
        let (whole, side) = (result(64, 64, true, true), size(64, 64));
        // In mid-scan.
        let cut = &whole[..whole.len() - 20];
        assert!(jpeg::head(cut).is_ok());
        let told = Err("its result is cut short".to_owned());
        let mut repair = Repair::new();
        assert_eq!(repaired_by(&mut repair, cut, true, side), told);
        assert_eq!(
            repaired_by(&mut repair, &whole, true, side).as_ref(),
            Ok(&whole)
        );
        assert_eq!(repaired_by(&mut repair, cut, false, side), told);
        // One that never sends EOI.
        let (endless, mut repair) = (result(64, 64, true, false), Repair::new());
        for _ in 0..3 {
            let made = repaired_by(&mut repair, &endless, false, side);
            assert_eq!(made.as_ref(), Ok(&whole));
        }
        assert_eq!(repaired_by(&mut repair, &endless, true, side), told);
    }

    #[test]
    fn what_is_no_jpeg_is_told_as_that() {
        for junk in [&[][..], &[0x55; 100], &result(32, 16, true, true)[..40]] {
            let told = repaired(junk, size(32, 16)).unwrap_err();
            assert!(told.starts_with("its result is no JPEG: "), "{told}");
        }
    }
}
