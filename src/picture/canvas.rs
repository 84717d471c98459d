//! A picture in planar YCbCr 4:2:0, on which rectangles and letters can be drawn.
//!
//! Everything is clipped to the picture, so a layout need not take care of sizes that are too small for it.

use font8x8::legacy::BASIC_LEGACY;

use super::encode::Planes;

/// The side of a glyph in pixels at scale 1.
pub(crate) const GLYPH: usize = 8;

/// Y, Cb and Cr with full range according to BT.601, as in JFIF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Colour(pub(crate) [u8; 3]);

impl Colour {
    pub(crate) const BLACK: Colour = Colour([0, 128, 128]);
    pub(crate) const WHITE: Colour = Colour([255, 128, 128]);

    /// A shade without colour.
    pub(crate) const fn grey(luma: u8) -> Self {
        Colour([luma, 128, 128])
    }

    /// From R, G and B, by the equations of JFIF 1.02.
    pub(crate) fn rgb([r, g, b]: [u8; 3]) -> Self {
        let [r, g, b] = [r, g, b].map(f32::from);
        Colour([
            (0.299 * r + 0.587 * g + 0.114 * b).round() as u8,
            (128.0 - 0.168_736 * r - 0.331_264 * g + 0.5 * b).round() as u8,
            (128.0 + 0.5 * r - 0.418_688 * g - 0.081_312 * b).round() as u8,
        ])
    }
}

/// A rectangle in the picture, in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Area {
    pub(crate) x: usize,
    pub(crate) y: usize,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

/// The picture's samples, without padding.
pub(crate) struct Canvas {
    pub(crate) width: usize,
    pub(crate) height: usize,
    luma: Vec<u8>,
    chroma: [Vec<u8>; 2],
}

impl Canvas {
    /// A black picture.
    pub(crate) fn new(width: u16, height: u16) -> Self {
        let (width, height) = (usize::from(width), usize::from(height));
        let chroma = vec![128; width.div_ceil(2) * height.div_ceil(2)];
        Canvas {
            width,
            height,
            luma: vec![0; width * height],
            chroma: [chroma.clone(), chroma],
        }
    }

    /// The planes for the encoder; `None` only for a picture without pixels.
    pub(crate) fn planes(&self) -> Option<Planes<'_>> {
        let (width, height) = (self.width.try_into().ok()?, self.height.try_into().ok()?);
        let half = self.width.div_ceil(2);
        let [cb, cr] = &self.chroma;
        Planes::new(
            (width, height),
            (&self.luma, self.width),
            (cb, half),
            (cr, half),
        )
    }

    /// Fills an area. Chroma has half the resolution, so chroma samples that are partly inside the area are changed
    /// too.
    pub(crate) fn fill(&mut self, area: Area, Colour([y, cb, cr]): Colour) {
        self.shade(area, y);
        let x = area.x / 2..(area.x + area.width).min(self.width).div_ceil(2);
        let rows = area.y / 2..(area.y + area.height).min(self.height).div_ceil(2);
        let half = self.width.div_ceil(2);
        for (plane, sample) in self.chroma.iter_mut().zip([cb, cr]) {
            for row in plane.chunks_exact_mut(half).take(rows.end).skip(rows.start) {
                if let Some(samples) = row.get_mut(x.clone()) {
                    samples.fill(sample);
                }
            }
        }
    }

    /// Fills only an area's luma, which is enough where there is no colour.
    pub(crate) fn shade(&mut self, area: Area, luma: u8) {
        let end = (area.x + area.width).min(self.width);
        let rows = self.luma.chunks_exact_mut(self.width);
        for row in rows.take(area.y + area.height).skip(area.y) {
            if let Some(samples) = row.get_mut(area.x..end) {
                samples.fill(luma);
            }
        }
    }

    /// Writes white text on top of the picture, in luma only, with each glyph `scale` times 8 pixels wide and high.
    /// Characters outside of ASCII are left out.
    pub(crate) fn text(&mut self, x: usize, y: usize, scale: usize, text: &str) {
        for (n, byte) in text.bytes().enumerate() {
            let Some(glyph) = BASIC_LEGACY.get(usize::from(byte)) else {
                continue;
            };
            self.glyph(x + n * GLYPH * scale, y, scale, glyph);
        }
    }

    /// Draws a glyph: one byte per line from the top, with the lowest bit on the left.
    fn glyph(&mut self, x: usize, y: usize, scale: usize, lines: &[u8; GLYPH]) {
        for (row, line) in lines.iter().enumerate() {
            for column in (0..GLYPH).filter(|column| line >> column & 1 == 1) {
                let dot = Area {
                    x: x + column * scale,
                    y: y + row * scale,
                    width: scale,
                    height: scale,
                };
                self.shade(dot, 255);
            }
        }
    }
}

#[cfg(test)]
impl Canvas {
    pub(crate) fn luma_at(&self, x: usize, y: usize) -> u8 {
        self.luma[y * self.width + x]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_outside_of_the_picture_is_not_drawn() {
        let mut canvas = Canvas::new(5, 3);
        let area = Area {
            x: 4,
            y: 2,
            width: 10,
            height: 10,
        };
        canvas.fill(area, Colour([200, 90, 91]));
        assert_eq!(canvas.luma_at(4, 2), 200);
        assert_eq!(canvas.luma.iter().filter(|&&luma| luma != 0).count(), 1);
        assert_eq!(canvas.chroma[0], [128, 128, 128, 128, 128, 90]);
        canvas.fill(Area { x: 50, ..area }, Colour::WHITE);
        canvas.text(3, 0, 2, "8");
        assert_eq!(canvas.luma_at(2, 0), 0);
    }

    #[test]
    fn primary_colours_have_the_values_of_jfif() {
        assert_eq!(Colour::rgb([255, 0, 0]), Colour([76, 85, 255]));
        assert_eq!(Colour::rgb([0, 0, 255]), Colour([29, 255, 107]));
        assert_eq!(Colour::rgb([255; 3]), Colour::WHITE);
    }
}
