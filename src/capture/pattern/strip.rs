//! The strip: frame number and capture time as black and white cells, for programs that have only the pixels.
//!
//! It is in the top left corner and consists of four rows of 32 square cells, black for 0 and white for 1, the
//! highest bit on the left:
//!
//! | row | 32 bits |
//! | --- | --- |
//! | 0 | `0x1ACFFC1D`, which identifies the strip (the sync marker of CCSDS 131.0-B) |
//! | 1 | the lowest 32 bits of the frame's number |
//! | 2 | capture time in milliseconds since the Unix epoch, bits 47 to 16 |
//! | 3 | bits 15 to 0 of the capture time, then a CRC-16 |
//!
//! The CRC is CRC-16/CCITT-FALSE (polynomial 0x1021, initial value 0xFFFF, nothing reflected, no final XOR) over ten
//! bytes: the number and the time, big-endian.
//!
//! A cell is 16 pixels wide and high in pictures of 512x256 and larger, and 8 in those of 256x128 and larger; smaller
//! pictures have no strip. This aligns the cells with the 8x8 blocks of JPEG: each block has a single value, its DC
//! coefficient, which survives the lowest quality, and the chroma under the strip is neutral.
//!
//! To read it in a browser: draw the picture on a canvas of its natural size (`naturalWidth`), take the green channel
//! (which equals luma where there is no colour) at the centre of each cell, at `(column + 0.5) * cell` and `(row +
//! 0.5) * cell`, compare it with 128, and check row 0 and the CRC.

use crate::picture::canvas::{Area, Canvas, Colour};

/// Cells in a row.
pub const COLUMNS: usize = 32;

/// Rows of cells.
pub const ROWS: usize = 4;

const SYNC: u32 = 0x1ACF_FC1D;

/// The information in the strip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strip {
    /// The lowest 32 bits of the frame's number.
    pub frame: u32,
    /// Capture time in milliseconds since the Unix epoch; 48 bits are enough until the year 10889.
    pub millis: u64,
}

impl Strip {
    /// The side of a cell, in pixels, in a picture of this size; `None` if it is too small for a strip.
    pub fn cell(width: usize, height: usize) -> Option<usize> {
        [16, 8]
            .into_iter()
            .find(|cell| width >= COLUMNS * cell && height >= 4 * ROWS * cell)
    }

    /// Reads the strip of a picture. `luma` contains its samples, 0 for black and 255 for white, with a row every
    /// `stride` bytes. `None` means that there is no strip, or that it is damaged.
    pub fn read(luma: &[u8], stride: usize, width: usize, height: usize) -> Option<Self> {
        let cell = Self::cell(width, height)?;
        let mut rows = [0u32; ROWS];
        for (row, bits) in rows.iter_mut().enumerate() {
            let line = (row * cell + cell / 2).checked_mul(stride)?;
            for column in 0..COLUMNS {
                let sample = *luma.get(line.checked_add(column * cell + cell / 2)?)?;
                *bits = *bits << 1 | u32::from(sample >= 128);
            }
        }
        Self::from_rows(rows)
    }

    fn from_rows([sync, frame, high, low]: [u32; ROWS]) -> Option<Self> {
        let millis = u64::from(high) << 16 | u64::from(low >> 16);
        let strip = Strip { frame, millis };
        (strip.to_rows() == [sync, frame, high, low] && sync == SYNC).then_some(strip)
    }

    fn to_rows(self) -> [u32; ROWS] {
        let millis = &self.millis.to_be_bytes()[2..];
        let crc = crc16(&[&self.frame.to_be_bytes(), millis].concat());
        let low = (self.millis as u32) << 16 | u32::from(crc);
        [SYNC, self.frame, (self.millis >> 16) as u32, low]
    }

    /// Draws the cells. Chroma is not changed.
    pub(super) fn draw(self, canvas: &mut Canvas, cell: usize) {
        for (row, bits) in self.to_rows().into_iter().enumerate() {
            for column in 0..COLUMNS {
                let white = bits >> (COLUMNS - 1 - column) & 1 == 1;
                let area = Area {
                    x: column * cell,
                    y: row * cell,
                    width: cell,
                    height: cell,
                };
                let Colour([luma, ..]) = if white { Colour::WHITE } else { Colour::BLACK };
                canvas.shade(area, luma);
            }
        }
    }
}

/// CRC-16/CCITT-FALSE, computed bit by bit: a table would not be worth it for ten bytes per frame.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, &byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| {
            let shifted = crc << 1;
            if crc & 0x8000 == 0 {
                shifted
            } else {
                shifted ^ 0x1021
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: Strip = Strip {
        frame: 0xDEAD_BEEF,
        millis: 1_733_918_400_123,
    };

    #[test]
    fn the_check_value_is_the_one_in_the_catalogues() {
        assert_eq!(crc16(b"123456789"), 0x29B1);
    }

    #[test]
    fn a_single_wrong_cell_is_noticed() {
        let rows = EXAMPLE.to_rows();
        assert_eq!(Strip::from_rows(rows), Some(EXAMPLE));
        for bit in 0..128 {
            let mut wrong = rows;
            wrong[bit / 32] ^= 1 << (bit % 32);
            assert_eq!(Strip::from_rows(wrong), None, "bit {bit}");
        }
    }

    #[test]
    fn a_luma_plane_too_short_for_its_size_holds_no_strip() {
        assert_eq!(Strip::read(&[0; 100], 640, 640, 480), None);
        assert_eq!(Strip::read(&[], usize::MAX, 640, 480), None);
        assert_eq!(Strip::read(&[0; 100], 10, 10, 10), None);
    }
}
