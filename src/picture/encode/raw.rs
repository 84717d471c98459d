//! Planes of samples are written into the memory of a hardware encoder, in one of the raw formats that it takes.
//!
//! Such memory has the encoder's own strides, and often a size that is rounded up to whole units of 16 pixels. What lies beyond
//! the picture is filled with its last samples: some encoders look at it, and an edge to something else would show inside.

use std::ops::Range;

use super::planes::{Plane, Planes};
use crate::picture::format::Fourcc;

/// The raw formats that can be written, those first that take the least work. YU12 and NV12 have all planes in one piece
/// of memory, YM12 and NM12 in several.
pub(crate) const WRITABLE: [Fourcc; 5] = [
    Fourcc(*b"YU12"),
    Fourcc(*b"YM12"),
    Fourcc(*b"NV12"),
    Fourcc(*b"NM12"),
    Fourcc(*b"YUYV"),
];

/// How an encoder wants a raw picture: its format, its size in pixels, and the distance in bytes between lines in each piece of
/// memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawLayout {
    pub(crate) fourcc: Fourcc,
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) strides: [usize; 3],
}

/// Rows of one component, or of two or three that are interleaved: in which piece of memory, from which byte on.
struct Rows {
    piece: usize,
    start: usize,
    stride: usize,
    /// Bytes per row, and rows.
    width: usize,
    height: usize,
}

impl Rows {
    fn bytes(&self) -> Range<usize> {
        self.start..self.start + self.stride * self.height
    }
}

impl RawLayout {
    /// Bytes of each piece of memory; 0 for those that there are not.
    pub(crate) fn used(&self) -> [usize; 3] {
        let mut used = [0; 3];
        for rows in self.rows().iter().flatten() {
            used[rows.piece] = used[rows.piece].max(rows.bytes().end);
        }
        used
    }

    /// The rows, in the order in which they are written.
    fn rows(&self) -> [Option<Rows>; 3] {
        let [first, second, third] = self.strides;
        let (width, height) = (self.width, self.height);
        let (half, low) = (width.div_ceil(2), height.div_ceil(2));
        let rows = |piece, start, stride, width, height| {
            Some(Rows {
                piece,
                start,
                stride,
                width,
                height,
            })
        };
        let luma = rows(0, 0, first, width, height);
        let (end, small) = (first * height, first / 2);
        match &self.fourcc.0 {
            b"YM12" => [
                luma,
                rows(1, 0, second, half, low),
                rows(2, 0, third, half, low),
            ],
            b"NV12" => [luma, rows(0, end, first, 2 * half, low), None],
            b"NM12" => [luma, rows(1, 0, second, 2 * half, low), None],
            b"YUYV" => [rows(0, 0, first, 4 * half, height), None, None],
            _ => [
                luma,
                rows(0, end, small, half, low),
                rows(0, end + small * low, small, half, low),
            ],
        }
    }

    /// Whether a picture of this size fits, and each row into its stride.
    pub(crate) fn holds(&self, (width, height): (u16, u16)) -> bool {
        let rows = self.rows();
        let fit = rows.iter().flatten().all(|rows| rows.stride >= rows.width);
        self.width >= usize::from(width) && self.height >= usize::from(height) && fit
    }

    /// Writes the planes into the pieces of memory; `None` if these are too short for it.
    pub(crate) fn write(&self, planes: &Planes<'_>, memory: &mut [&mut [u8]]) -> Option<()> {
        let [cb, cr] = planes.chroma;
        let luma = planes.luma;
        let [first, second, third] = self.rows();
        let (high, low) = (
            usize::from(planes.height),
            usize::from(planes.height).div_ceil(2),
        );
        let first = first?;
        if &self.fourcc.0 == b"YUYV" {
            return fill(&first, memory, high, 4, |y, row| {
                packed(luma, cb, cr, y, row)
            });
        }
        fill(&first, memory, high, 1, |y, row| copy(luma, y, row))?;
        let second = second?;
        match third {
            Some(third) => {
                fill(&second, memory, low, 1, |y, row| copy(cb, y, row))?;
                fill(&third, memory, low, 1, |y, row| copy(cr, y, row))
            }
            None => fill(&second, memory, low, 2, |y, row| paired(cb, cr, y, row)),
        }
    }
}

/// Calls `write` for each row of the memory, of which it writes the first bytes and tells how many; the last `unit` of them are
/// repeated to the end of the row. The last of `height` rows is repeated too.
fn fill(
    rows: &Rows,
    memory: &mut [&mut [u8]],
    height: usize,
    unit: usize,
    write: impl Fn(usize, &mut [u8]) -> usize,
) -> Option<()> {
    let piece = memory.get_mut(rows.piece)?.get_mut(rows.bytes())?;
    for (y, row) in piece.chunks_exact_mut(rows.stride).enumerate() {
        let row = row.get_mut(..rows.width)?;
        let mut written = write(y.min(height - 1), row);
        while written < row.len() {
            row.copy_within(written - unit..written, written);
            written += unit;
        }
    }
    Some(())
}

fn copy(plane: Plane<'_>, y: usize, row: &mut [u8]) -> usize {
    row[..plane.width].copy_from_slice(plane.row(y));
    plane.width
}

/// As in NV12: Cb and Cr in turn.
fn paired(cb: Plane<'_>, cr: Plane<'_>, y: usize, row: &mut [u8]) -> usize {
    let both = cb.row(y).iter().zip(cr.row(y));
    for (pair, (cb, cr)) in row.chunks_exact_mut(2).zip(both) {
        pair.copy_from_slice(&[*cb, *cr]);
    }
    2 * cb.width
}

/// As in YUYV: two of luma with one of each chroma, whose rows serve for two rows each.
fn packed(luma: Plane<'_>, cb: Plane<'_>, cr: Plane<'_>, y: usize, row: &mut [u8]) -> usize {
    let luma = luma.row(y);
    let chroma = cb.row(y / 2).iter().zip(cr.row(y / 2));
    for (pixels, (two, (cb, cr))) in row
        .chunks_exact_mut(4)
        .zip(luma.chunks_exact(2).zip(chroma))
    {
        pixels.copy_from_slice(&[two[0], *cb, two[1], *cr]);
    }
    if let ([.., last], 1) = (luma, luma.len() % 2) {
        let (cb, cr) = (cb.row(y / 2)[cb.width - 1], cr.row(y / 2)[cr.width - 1]);
        row[2 * luma.len() - 2..][..4].copy_from_slice(&[*last, cb, *last, cr]);
    }
    4 * cb.width
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(code: &[u8; 4], size: (usize, usize), strides: [usize; 3]) -> RawLayout {
        let (width, height) = size;
        RawLayout {
            fourcc: Fourcc(*code),
            width,
            height,
            strides,
        }
    }

    /// A picture of 5x3, in memory for 8x4.
    fn written(code: &[u8; 4], strides: [usize; 3]) -> Vec<Vec<u8>> {
        let luma: Vec<u8> = (0..15).collect();
        let (cb, cr): (Vec<u8>, Vec<u8>) = ((100..106).collect(), (200..206).collect());
        let planes = Planes::new((5, 3), (&luma, 5), (&cb, 3), (&cr, 3)).unwrap();
        let layout = layout(code, (8, 4), strides);
        assert!(layout.holds((5, 3)));
        let mut memory = layout.used().map(|bytes| vec![0xEE; bytes]);
        let mut pieces: Vec<_> = memory.iter_mut().map(|piece| &mut piece[..]).collect();
        layout.write(&planes, &mut pieces).unwrap();
        memory.into_iter().collect()
    }

    const LUMA: [[u8; 8]; 4] = [
        [0, 1, 2, 3, 4, 4, 4, 4],
        [5, 6, 7, 8, 9, 9, 9, 9],
        [10, 11, 12, 13, 14, 14, 14, 14],
        [10, 11, 12, 13, 14, 14, 14, 14],
    ];
    const CB: [[u8; 4]; 2] = [[100, 101, 102, 102], [103, 104, 105, 105]];
    const CR: [[u8; 4]; 2] = [[200, 201, 202, 202], [203, 204, 205, 205]];

    /// Rows with what is between them.
    fn spaced<const N: usize>(rows: &[[u8; N]], stride: usize) -> Vec<u8> {
        let mut spaced = Vec::new();
        for row in rows {
            spaced.extend(row);
            spaced.resize(spaced.len() + stride - N, 0xEE);
        }
        spaced
    }

    #[test]
    fn planes_get_the_encoders_strides_and_size_and_their_edges_are_repeated() {
        let none = Vec::new;
        let one = [spaced(&LUMA, 12), spaced(&CB, 6), spaced(&CR, 6)].concat();
        assert_eq!(written(b"YU12", [12, 0, 0]), [one, none(), none()]);
        let three = [spaced(&LUMA, 12), spaced(&CB, 4), spaced(&CR, 7)];
        assert_eq!(written(b"YM12", [12, 4, 7]), three);
        let pairs = [0, 1].map(|y| [0, 1, 2, 3].map(|x| [CB[y][x], CR[y][x]]).concat());
        let pairs: Vec<[u8; 8]> = pairs
            .into_iter()
            .map(|row| row.try_into().unwrap())
            .collect();
        let one = [spaced(&LUMA, 10), spaced(&pairs, 10)].concat();
        assert_eq!(written(b"NV12", [10, 0, 0]), [one, none(), none()]);
        let two = [spaced(&LUMA, 10), spaced(&pairs, 16), none()];
        assert_eq!(written(b"NM12", [10, 16, 0]), two);
        let pixels: Vec<[u8; 16]> = (0..4)
            .map(|y| {
                let pair = |x: usize| {
                    let [cb, cr] = [CB, CR].map(|rows| rows[y / 2][x]);
                    [LUMA[y][2 * x], cb, LUMA[y][2 * x + 1], cr]
                };
                [0, 1, 2, 3].map(pair).concat().try_into().unwrap()
            })
            .collect();
        let packed = spaced(&pixels, 18);
        assert_eq!(written(b"YUYV", [18, 0, 0]), [packed, none(), none()]);
    }

    #[test]
    fn memory_that_is_too_short_is_not_written_beyond() {
        let planes = Planes::new((4, 4), (&[0; 16], 4), (&[0; 4], 2), (&[0; 4], 2)).unwrap();
        for fourcc in WRITABLE {
            let layout = layout(&fourcc.0, (4, 4), [8, 4, 4]);
            let used = layout.used();
            for short in 0..3 {
                let mut memory: Vec<_> = used.iter().map(|&bytes| vec![0; bytes]).collect();
                if memory[short].pop().is_some() {
                    let mut pieces: Vec<_> = memory.iter_mut().map(|it| &mut it[..]).collect();
                    assert_eq!(layout.write(&planes, &mut pieces), None, "{fourcc}");
                }
            }
            assert_eq!(layout.write(&planes, &mut []), None);
        }
    }

    #[test]
    fn a_picture_larger_than_the_encoders_or_a_stride_too_short_does_not_fit() {
        let wide = layout(b"YU12", (1920, 1088), [1920, 0, 0]);
        assert!(wide.holds((1920, 1080)) && wide.holds((1919, 1088)));
        assert!(!wide.holds((1921, 1080)) && !wide.holds((1920, 1089)));
        assert!(!layout(b"YU12", (64, 48), [63, 0, 0]).holds((64, 48)));
        assert!(!layout(b"YUYV", (64, 48), [127, 0, 0]).holds((64, 48)));
        assert!(!layout(b"NM12", (64, 48), [64, 62, 0]).holds((64, 48)));
        assert!(layout(b"NM12", (64, 48), [64, 64, 0]).holds((64, 48)));
    }
}
