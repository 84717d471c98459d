//! Converts the raw formats of cameras into the planes that JPEG works with.
//!
//! A picture becomes planar YCbCr 4:2:0 with full range (0 to 255), with as little work as possible. Samples that
//! have full range and are already in planes go to the encoder from where the driver wrote them; interleaved ones are
//! separated; limited range (16 to 235, chroma 16 to 240, which is V4L2's default for YUV) is stretched by a table on
//! the way. Only RGB has to be computed. Where 4:2:0 keeps one line of chroma out of two, the two are averaged.
//!
//! JFIF knows only the matrix of BT.601, so frames in that of BT.709 are converted as well.
//!
//! The layouts: <https://docs.kernel.org/userspace-api/media/v4l/yuv-formats.html>. Not supported: the matrices of
//! BT.2020 and SMPTE 240M, whose colours come out slightly wrong, and the position of chroma samples between the
//! pixels.

use crate::picture::encode::Planes;
use crate::picture::format::{Format, Fourcc};

/// How to interpret the bytes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pixels {
    /// JPEG files.
    Jpeg,
    /// 4:2:2, packed, with Y at this offset in each pair of bytes: 0 for YUYV, 1 for UYVY.
    Packed {
        luma: usize,
    },
    /// 4:2:0, one plane of Y and one of chroma pairs, with Cb at this offset: 0 for NV12, 1 for NV21.
    Pairs {
        cb: usize,
    },
    /// 4:2:0, three planes.
    Planar,
    Rgb24,
    Grey,
}

/// The supported formats, the best first: JPEG costs nothing, and the others are ordered by how much has to be
/// computed and moved.
pub(crate) const PREFERENCE: [(Fourcc, Pixels); 9] = [
    (Fourcc(*b"MJPG"), Pixels::Jpeg),
    (Fourcc(*b"JPEG"), Pixels::Jpeg),
    (Fourcc(*b"YUYV"), Pixels::Packed { luma: 0 }),
    (Fourcc(*b"UYVY"), Pixels::Packed { luma: 1 }),
    (Fourcc(*b"NV12"), Pixels::Pairs { cb: 0 }),
    (Fourcc(*b"NV21"), Pixels::Pairs { cb: 1 }),
    (Fourcc(*b"YU12"), Pixels::Planar),
    (Fourcc(*b"RGB3"), Pixels::Rgb24),
    (Fourcc(*b"GREY"), Pixels::Grey),
];

impl Pixels {
    /// How frames of a format are interpreted, if the format is supported.
    pub(crate) fn of(fourcc: Fourcc) -> Option<Self> {
        let mut known = PREFERENCE.iter();
        known.find(|(code, _)| *code == fourcc).map(|(_, it)| *it)
    }
}

/// Converts raw frames of one format into planes. It reuses its memory for each frame.
pub(crate) struct Unpacker {
    pixels: Pixels,
    size: (u16, u16),
    stride: usize,
    ranges: Option<Ranges>,
    bt709: bool,
    y: Vec<u8>,
    cb: Vec<u8>,
    cr: Vec<u8>,
}

/// Tables from limited to full range; values outside of the limited range are clipped.
struct Ranges {
    luma: [u8; 256],
    chroma: [u8; 256],
}

impl Ranges {
    fn new() -> Self {
        let table = |from: i32, steps: i32, zero: i32| {
            let mut table = [0; 256];
            for (i, entry) in table.iter_mut().enumerate() {
                let value = (i as i32 - from) * 255;
                let rounded = (value + value.signum() * steps / 2) / steps;
                *entry = (rounded + zero).clamp(0, 255) as u8;
            }
            table
        };
        Ranges {
            luma: table(16, 219, 0),
            chroma: table(128, 224, 128),
        }
    }
}

/// Applies a table; without one there is nothing to do.
fn map(table: Option<&[u8; 256]>, samples: &mut [u8]) {
    if let Some(table) = table {
        for sample in samples {
            *sample = table[usize::from(*sample)];
        }
    }
}

fn luma_table(ranges: &Option<Ranges>) -> Option<&[u8; 256]> {
    ranges.as_ref().map(|ranges| &ranges.luma)
}

fn chroma_table(ranges: &Option<Ranges>) -> Option<&[u8; 256]> {
    ranges.as_ref().map(|ranges| &ranges.chroma)
}

fn mean(a: u8, b: u8) -> u8 {
    (u16::from(a) + u16::from(b)).div_ceil(2) as u8
}

impl Unpacker {
    /// For frames of `format`; `None` for JPEG, and for sizes that a JPEG cannot have.
    pub(crate) fn new(format: &Format) -> Option<Self> {
        let pixels = Pixels::of(format.fourcc)?;
        let (width, height) = (
            u16::try_from(format.width).ok()?,
            u16::try_from(format.height).ok()?,
        );
        let samples = usize::from(width);
        let line = match pixels {
            Pixels::Jpeg => return None,
            Pixels::Packed { .. } => samples.next_multiple_of(2) * 2,
            Pixels::Rgb24 => samples * 3,
            Pixels::Pairs { .. } | Pixels::Planar | Pixels::Grey => samples,
        };
        let limited = !format.full_range && pixels != Pixels::Rgb24;
        Some(Unpacker {
            pixels,
            size: (width, height),
            stride: (format.stride as usize).max(line),
            ranges: limited.then(Ranges::new),
            bt709: format.bt709,
            y: Vec::new(),
            cb: Vec::new(),
            cr: Vec::new(),
        })
    }

    /// The planes of a frame whose own planes follow one another; `None` if it has too few bytes.
    pub(crate) fn unpack<'a>(&'a mut self, bytes: &'a [u8]) -> Option<Planes<'a>> {
        let luma = self.stride * self.height();
        match self.pixels {
            Pixels::Pairs { .. } => {
                let (y, chroma) = bytes.split_at_checked(luma)?;
                self.unpack_planes(&[y, chroma])
            }
            Pixels::Planar => {
                let (y, chroma) = bytes.split_at_checked(luma)?;
                let (cb, cr) = chroma.split_at_checked(self.stride / 2 * self.chroma_size().1)?;
                self.unpack_planes(&[y, cb, cr])
            }
            _ => self.unpack_planes(&[bytes]),
        }
    }

    /// The planes of a frame whose own planes may be anywhere; `None` if their number is not that of the format, or
    /// if they have too few bytes. Chroma planes have the stride of the luma plane, or half of it if Cb and Cr are
    /// separate.
    pub(crate) fn unpack_planes<'a>(&'a mut self, planes: &[&'a [u8]]) -> Option<Planes<'a>> {
        match (self.pixels, planes) {
            (Pixels::Packed { luma }, &[bytes]) => self.packed(bytes, luma),
            (Pixels::Pairs { cb }, &[y, chroma]) => self.pairs(y, chroma, cb),
            (Pixels::Planar, &[y, cb, cr]) => self.planar(y, cb, cr),
            (Pixels::Rgb24, &[bytes]) => self.rgb(bytes),
            (Pixels::Grey, &[bytes]) => self.grey(bytes),
            _ => None,
        }
    }

    fn width(&self) -> usize {
        usize::from(self.size.0)
    }

    fn height(&self) -> usize {
        usize::from(self.size.1)
    }

    /// Width and height of a chroma plane.
    fn chroma_size(&self) -> (usize, usize) {
        (self.width().div_ceil(2), self.height().div_ceil(2))
    }

    fn clear(&mut self) {
        self.y.clear();
        self.cb.clear();
        self.cr.clear();
    }

    /// All three planes from our own memory, without padding.
    fn own(&self) -> Option<Planes<'_>> {
        let (width, half) = (self.width(), self.width().div_ceil(2));
        Planes::new(
            self.size,
            (&self.y, width),
            (&self.cb, half),
            (&self.cr, half),
        )
    }

    fn packed(&mut self, bytes: &[u8], luma: usize) -> Option<Planes<'_>> {
        self.clear();
        let (width, half) = (self.width(), self.width().div_ceil(2));
        let stride = self.stride;
        for line in 0..usize::from(self.size.1) {
            // With an odd width, the last pair is still complete.
            let row = bytes.get(line * stride..)?.get(..half * 4)?;
            self.y
                .extend(row.chunks_exact(2).map(|pair| pair[luma]).take(width));
            let (cb, cr) = (1 - luma, 3 - luma);
            if line % 2 == 0 {
                self.cb.extend(row.chunks_exact(4).map(|four| four[cb]));
                self.cr.extend(row.chunks_exact(4).map(|four| four[cr]));
            } else {
                for (plane, at) in [(&mut self.cb, cb), (&mut self.cr, cr)] {
                    let start = plane.len() - half;
                    for (above, four) in plane[start..].iter_mut().zip(row.chunks_exact(4)) {
                        *above = mean(*above, four[at]);
                    }
                }
            }
        }
        map(luma_table(&self.ranges), &mut self.y);
        map(chroma_table(&self.ranges), &mut self.cb);
        map(chroma_table(&self.ranges), &mut self.cr);
        self.convert_bt709();
        self.own()
    }

    fn pairs<'a>(&'a mut self, y: &'a [u8], chroma: &'a [u8], cb: usize) -> Option<Planes<'a>> {
        self.clear();
        let (half, lines) = self.chroma_size();
        for line in 0..lines {
            let row = chroma.get(line * self.stride..)?.get(..half * 2)?;
            self.cb.extend(row.chunks_exact(2).map(|pair| pair[cb]));
            self.cr.extend(row.chunks_exact(2).map(|pair| pair[1 - cb]));
        }
        if self.ranges.is_none() && !self.bt709 {
            let luma = (y, self.stride);
            return Planes::new(self.size, luma, (&self.cb, half), (&self.cr, half));
        }
        map(chroma_table(&self.ranges), &mut self.cb);
        map(chroma_table(&self.ranges), &mut self.cr);
        self.copy_luma(y)?;
        self.convert_bt709();
        self.own()
    }

    fn planar<'a>(&'a mut self, y: &'a [u8], cb: &'a [u8], cr: &'a [u8]) -> Option<Planes<'a>> {
        self.clear();
        let (half, lines) = self.chroma_size();
        let stride = self.stride / 2;
        if self.ranges.is_none() && !self.bt709 {
            let luma = (y, self.stride);
            return Planes::new(self.size, luma, (cb, stride), (cr, stride));
        }
        for (own, plane) in [(&mut self.cb, cb), (&mut self.cr, cr)] {
            for line in 0..lines {
                own.extend_from_slice(plane.get(line * stride..)?.get(..half)?);
            }
            map(chroma_table(&self.ranges), own);
        }
        self.copy_luma(y)?;
        self.convert_bt709();
        self.own()
    }

    fn grey<'a>(&'a mut self, bytes: &'a [u8]) -> Option<Planes<'a>> {
        let (half, lines) = self.chroma_size();
        self.cb.resize(half * lines, 128);
        if self.ranges.is_none() {
            let none = (&self.cb[..], half);
            return Planes::new(self.size, (bytes, self.stride), none, none);
        }
        self.y.clear();
        self.copy_luma(bytes)?;
        let none = (&self.cb[..], half);
        Planes::new(self.size, (&self.y, self.width()), none, none)
    }

    /// The Y plane at the beginning of the frame, stretched.
    fn copy_luma(&mut self, bytes: &[u8]) -> Option<()> {
        let width = self.width();
        for line in 0..self.height() {
            let row = bytes.get(line * self.stride..)?.get(..width)?;
            self.y.extend_from_slice(row);
        }
        map(luma_table(&self.ranges), &mut self.y);
        Some(())
    }

    /// Converts our own planes from the matrix of BT.709 to that of BT.601, if they are in the former. The R, G and B
    /// of the one (Rec. ITU-R BT.709-6, 3) are inserted into the formulas of the other, in full range with Cb and Cr
    /// around 0:
    /// Y' = Y + 0.1016 Cb + 0.1961 Cr, Cb' = 0.9899 Cb - 0.1107 Cr, Cr' = -0.0725 Cb + 0.9834 Cr.
    fn convert_bt709(&mut self) {
        if !self.bt709 {
            return;
        }
        let (width, half) = (self.width(), self.width().div_ceil(2));
        let sample = |value: i32| ((value + (1 << 15)) >> 16).clamp(0, 255) as u8;
        let centred = |cb: u8, cr: u8| (i32::from(cb) - 128, i32::from(cr) - 128);
        for (line, row) in self.y.chunks_exact_mut(width).enumerate() {
            let chroma = line / 2 * half;
            for (x, y) in row.iter_mut().enumerate() {
                let at = chroma + x / 2;
                let (cb, cr) = centred(self.cb[at], self.cr[at]);
                *y = sample((i32::from(*y) << 16) + 6660 * cb + 12852 * cr);
            }
        }
        for (first, second) in self.cb.iter_mut().zip(&mut self.cr) {
            let (cb, cr) = centred(*first, *second);
            *first = sample((128 << 16) + 64874 * cb - 7255 * cr);
            *second = sample((128 << 16) - 4751 * cb + 64448 * cr);
        }
    }

    /// Uses the formulas of JFIF 1.02 with 16 fractional bits; chroma is the mean of 2x2 pixels.
    fn rgb(&mut self, bytes: &[u8]) -> Option<Planes<'_>> {
        self.clear();
        let (width, height) = (self.width(), self.height());
        let row = |line: usize| bytes.get(line * self.stride..)?.get(..width * 3);
        for line in 0..height {
            let pixels = row(line)?.chunks_exact(3);
            self.y.extend(pixels.map(|pixel| {
                let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
                ((19595 * r + 38470 * g + 7471 * b + 32768) >> 16) as u8
            }));
        }
        for line in (0..height).step_by(2) {
            let (upper, lower) = (row(line)?, row((line + 1).min(height - 1))?);
            for (upper, lower) in upper.chunks(6).zip(lower.chunks(6)) {
                // With an odd width, the last pixel stands for both.
                let second = upper.len() - 3;
                let sum = |i: usize| {
                    let four = [upper[i], upper[second + i], lower[i], lower[second + i]];
                    four.map(i32::from).iter().sum::<i32>()
                };
                let [r, g, b] = [sum(0), sum(1), sum(2)];
                // The sum of four pixels has two more bits; the constant is 128 plus one half for rounding.
                let sample =
                    |value: i32| ((value + (128 << 18) + (1 << 17)) >> 18).clamp(0, 255) as u8;
                self.cb.push(sample(-11059 * r - 21709 * g + 32768 * b));
                self.cr.push(sample(32768 * r - 27439 * g - 5329 * b));
            }
        }
        self.own()
    }
}

#[cfg(test)]
mod tests;
