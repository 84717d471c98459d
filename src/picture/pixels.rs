//! Converts the raw formats of cameras into the planes that JPEG works with.
//!
//! A picture becomes planar YCbCr 4:2:0 with full range (0 to 255), with as little work as possible. SamplePlaces that
//! have full range and are already in planes go to the encoder from where the driver wrote them; interleaved ones are
//! separated; limited range (16 to 235, chroma 16 to 240, which is V4L2's default for YUV) is stretched by a table on
//! the way. Only RGB has to be computed. Where 4:2:0 keeps one sample of chroma out of two or four, they are averaged.
//!
//! Which format has which samples where is a table (`layouts`), and the code is the same for all: lines of samples are picked out of
//! lines of bytes, at one of four distances.
//!
//! JFIF knows only the matrix of BT.601, so frames in that of BT.709 are converted as well.
//!
//! The layouts: <https://docs.kernel.org/userspace-api/media/v4l/yuv-formats.html>. Not supported: the matrices of
//! BT.2020 and SMPTE 240M, whose colours come out slightly wrong, and the position of chroma samples between the
//! pixels.

mod layouts;

use crate::picture::encode::Planes;
use crate::picture::format::Format;
use layouts::SamplePlaces;
pub(crate) use layouts::{PREFERENCE, Pixels};

/// Converts raw frames of one format into planes. It reuses its memory for each frame.
pub(crate) struct Unpacker {
    pixels: Pixels,
    size: (u16, u16),
    /// From one line to the next in bytes, for each plane.
    strides: [usize; 3],
    ranges: Option<Ranges>,
    bt709: bool,
    y: Vec<u8>,
    cb: Vec<u8>,
    cr: Vec<u8>,
    /// What is known of a line, or of two, before it becomes samples of a plane: one component, or R, G and B.
    lines: [Vec<u8>; 3],
    sums: [Vec<u16>; 3],
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

/// The samples of a line, one after another; `None` if the line is too short for so many.
fn pick(line: &[u8], from: SamplePlaces, count: usize, into: &mut Vec<u8>) -> Option<()> {
    let (first, step) = (usize::from(from.first), usize::from(from.step));
    let line = line.get(first..)?.get(..(count - 1) * step + 1)?;
    // The distance is a constant in each, so that the processor's instructions for several samples at once are used.
    match step {
        1 => into.extend_from_slice(line),
        2 => every::<2>(line, into),
        3 => every::<3>(line, into),
        _ => every::<4>(line, into),
    }
    Some(())
}

fn every<const STEP: usize>(line: &[u8], into: &mut Vec<u8>) {
    let groups = line.chunks_exact(STEP);
    let last = groups.remainder().first().copied();
    into.extend(groups.map(|group| group[0]));
    into.extend(last);
}

impl Unpacker {
    /// For frames of `format`; `None` for JPEG, and for sizes that a JPEG cannot have.
    pub(crate) fn new(format: &Format) -> Option<Self> {
        let pixels = Pixels::of(format.fourcc)?;
        let (width, height) = (
            u16::try_from(format.width).ok()?,
            u16::try_from(format.height).ok()?,
        );
        if width == 0 || height == 0 {
            return None;
        }
        let samples = usize::from(width);
        let line = match pixels {
            Pixels::Jpeg => return None,
            Pixels::Yuv {
                samples: [y, ..],
                across: 2,
                ..
            } if y.step == 2 => samples.next_multiple_of(2) * 2,
            Pixels::Rgb([r, ..]) => samples * usize::from(r.step),
            Pixels::Rgb565 => samples * 2,
            Pixels::Yuv { .. } | Pixels::Grey => samples,
        };
        let stride = (format.stride as usize).max(line);
        // Where planes follow one another, nothing is said of the others.
        let chroma = |told: u32| match (told, pixels) {
            (
                0,
                Pixels::Yuv {
                    samples, across, ..
                },
            ) => stride * usize::from(samples[1].step) / usize::from(across),
            (told, _) => told as usize,
        };
        let [second, third] = format.chroma_strides;
        Some(Unpacker {
            pixels,
            size: (width, height),
            strides: [stride, chroma(second), chroma(third)],
            ranges: (!format.full_range).then(Ranges::new),
            bt709: format.bt709,
            y: Vec::new(),
            cb: Vec::new(),
            cr: Vec::new(),
            lines: Default::default(),
            sums: Default::default(),
        })
    }

    /// The planes of a frame; a single one is the whole frame.
    pub(crate) fn unpack_all<'a>(&'a mut self, planes: &[&'a [u8]]) -> Option<Planes<'a>> {
        match *planes {
            [bytes] => self.unpack(bytes),
            _ => self.unpack_planes(planes),
        }
    }

    /// The planes of a frame whose own planes follow one another; `None` if it has too few bytes.
    pub(crate) fn unpack<'a>(&'a mut self, bytes: &'a [u8]) -> Option<Planes<'a>> {
        let Pixels::Yuv {
            samples: [y, cb, cr],
            down,
            ..
        } = self.pixels
        else {
            return self.unpack_planes(&[bytes]);
        };
        let planes = cb.plane.max(cr.plane);
        if planes == y.plane {
            return self.unpack_planes(&[bytes]);
        }
        let (y, chroma) = bytes.split_at_checked(self.strides[0] * self.height())?;
        if planes == 1 {
            return self.unpack_planes(&[y, chroma]);
        }
        let lines = self.height().div_ceil(usize::from(down));
        let (second, third) = chroma.split_at_checked(self.strides[1] * lines)?;
        self.unpack_planes(&[y, second, third])
    }

    /// The planes of a frame whose own planes may be anywhere; `None` if their number is not that of the format, or
    /// if they have too few bytes.
    pub(crate) fn unpack_planes<'a>(&'a mut self, planes: &[&'a [u8]]) -> Option<Planes<'a>> {
        match (self.pixels, planes) {
            (
                Pixels::Yuv {
                    samples,
                    across,
                    down,
                },
                planes,
            ) => self.yuv(planes, samples, (across, down)),
            (Pixels::Rgb(_) | Pixels::Rgb565, &[bytes]) => self.rgb(bytes),
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

    fn yuv<'a>(
        &'a mut self,
        planes: &[&'a [u8]],
        samples: [SamplePlaces; 3],
        halved: (u8, u8),
    ) -> Option<Planes<'a>> {
        self.clear();
        let [y, cb, cr] = samples;
        if planes.len() != usize::from(cb.plane.max(cr.plane)) + 1 {
            return None;
        }
        let plane = |at: SamplePlaces| planes[usize::from(at.plane)];
        let stride = |at: SamplePlaces| self.strides[usize::from(at.plane)];
        let as_it_is = self.ranges.is_none() && !self.bt709;
        let luma = (plane(y), stride(y));
        if as_it_is && halved == (2, 2) && cb.step == 1 {
            let chroma = |at| (plane(at), stride(at));
            return Planes::new(self.size, luma, chroma(cb), chroma(cr));
        }
        let mut own = std::mem::take(&mut self.cb);
        self.chroma(plane(cb), cb, halved, &mut own)?;
        self.cb = own;
        let mut own = std::mem::take(&mut self.cr);
        self.chroma(plane(cr), cr, halved, &mut own)?;
        self.cr = own;
        if as_it_is && y.step == 1 {
            let half = self.width().div_ceil(2);
            return Planes::new(self.size, luma, (&self.cb, half), (&self.cr, half));
        }
        self.luma(plane(y), y)?;
        self.convert_bt709();
        self.own()
    }

    /// One component of chroma in a quarter of the pixels, stretched.
    fn chroma(
        &mut self,
        plane: &[u8],
        from: SamplePlaces,
        (across, down): (u8, u8),
        into: &mut Vec<u8>,
    ) -> Option<()> {
        let (width, half) = (self.width(), self.width().div_ceil(2));
        let stride = self.strides[usize::from(from.plane)];
        let line = &mut self.lines[0];
        for y in 0..usize::from(self.size.1).div_ceil(down.into()) {
            line.clear();
            let bytes = plane.get(y * stride..)?;
            if across == 2 {
                pick(bytes, from, half, line)?;
            } else {
                pick(bytes, from, width, line)?;
                // Rounded down, as those of two lines are rounded up.
                for x in 0..half {
                    let (left, right) = (line[2 * x], line[(2 * x + 1).min(width - 1)]);
                    line[x] = ((u16::from(left) + u16::from(right)) / 2) as u8;
                }
                line.truncate(half);
            }
            if down == 2 || y % 2 == 0 {
                into.extend_from_slice(line);
            } else {
                let start = into.len() - half;
                for (above, sample) in into[start..].iter_mut().zip(line.iter()) {
                    *above = mean(*above, *sample);
                }
            }
        }
        map(chroma_table(&self.ranges), into);
        Some(())
    }

    fn grey<'a>(&'a mut self, bytes: &'a [u8]) -> Option<Planes<'a>> {
        let (half, lines) = self.chroma_size();
        self.cb.resize(half * lines, 128);
        if self.ranges.is_none() {
            let none = (&self.cb[..], half);
            return Planes::new(self.size, (bytes, self.strides[0]), none, none);
        }
        self.y.clear();
        let alone = SamplePlaces {
            plane: 0,
            first: 0,
            step: 1,
        };
        self.luma(bytes, alone)?;
        let none = (&self.cb[..], half);
        Planes::new(self.size, (&self.y, self.width()), none, none)
    }

    /// Y, stretched.
    fn luma(&mut self, plane: &[u8], from: SamplePlaces) -> Option<()> {
        let width = self.width();
        for line in 0..self.height() {
            pick(
                plane.get(line * self.strides[0]..)?,
                from,
                width,
                &mut self.y,
            )?;
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
        for line in 0..height {
            self.rgb_line(bytes.get(line * self.strides[0]..)?)?;
            let [r, g, b] = &self.lines;
            self.y.extend(r.iter().zip(g).zip(b).map(|((&r, &g), &b)| {
                let [r, g, b] = [r, g, b].map(u32::from);
                ((19595 * r + 38470 * g + 7471 * b + 32768) >> 16) as u8
            }));
            // With an odd width or height, the last pixel stands for both.
            let alone = line + 1 == height && line % 2 == 0;
            for (sums, line_of) in self.sums.iter_mut().zip(&self.lines) {
                if line % 2 == 0 {
                    sums.clear();
                    sums.resize(width.div_ceil(2), 0);
                }
                for (sum, pair) in sums.iter_mut().zip(line_of.chunks(2)) {
                    let two = u16::from(pair[0]) + u16::from(pair[pair.len() - 1]);
                    *sum += if alone { 2 * two } else { two };
                }
            }
            if line % 2 == 1 || alone {
                let [r, g, b] = &self.sums;
                for ((&r, &g), &b) in r.iter().zip(g).zip(b) {
                    let [r, g, b] = [r, g, b].map(i32::from);
                    // The sum of four pixels has two more bits; the constant is 128 plus one half for rounding.
                    let sample =
                        |value: i32| ((value + (128 << 18) + (1 << 17)) >> 18).clamp(0, 255) as u8;
                    self.cb.push(sample(-11059 * r - 21709 * g + 32768 * b));
                    self.cr.push(sample(32768 * r - 27439 * g - 5329 * b));
                }
            }
        }
        self.own()
    }

    /// R, G and B of a line, stretched.
    fn rgb_line(&mut self, bytes: &[u8]) -> Option<()> {
        let width = self.width();
        for line in &mut self.lines {
            line.clear();
        }
        if let Pixels::Rgb(samples) = self.pixels {
            for (line, from) in self.lines.iter_mut().zip(samples) {
                pick(bytes, from, width, line)?;
            }
        } else {
            let [r, g, b] = &mut self.lines;
            for pixel in bytes.get(..2 * width)?.chunks_exact(2) {
                let bits = u16::from_le_bytes([pixel[0], pixel[1]]);
                let (red, green, blue) = (bits >> 11, bits >> 5 & 63, bits & 31);
                // The upper bits once more as the lower ones, so that white is white.
                r.push((red << 3 | red >> 2) as u8);
                g.push((green << 2 | green >> 4) as u8);
                b.push((blue << 3 | blue >> 2) as u8);
            }
        }
        for line in &mut self.lines {
            map(luma_table(&self.ranges), line);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests;
