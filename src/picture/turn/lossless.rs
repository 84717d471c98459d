//! Turns a JPEG without decoding the picture, and so without loss: blocks are put in another order, and within each one
//! the coefficients change places or signs (`geometry`).
//!
//! **Own code**, although libjpeg-turbo has such a transformer. That one adds 64 KB to a static file, cannot be had
//! without a C library, and keeps the coefficients of the whole picture in memory, 6 MB at 1920x1080, which it then
//! touches out of order. Here the codes are read once, and each block's new codes are kept as bits, which together are as long as
//! the file. They are then copied in their new order, and only the first coefficient of each block, which is coded as
//! the difference from the block before, is coded again. `docs/performance.md` has figures. The results are the same to the
//! byte, which a test checks where libjpeg-turbo is at hand.
//!
//! Everything in the picture has to be read for this, so damage is found that passing frames on does not notice.
//!
//! **Only what cameras send**: baseline and extended sequential pictures in one scan, of which all blocks of a component
//! are there. Progressive ones, which some programs write, are refused.
//!
//! What Exif asks a viewer to do is done here, before anything else, and taken out of the frame. So a frame that was
//! turned is never turned once more by those who heed it, and looks the same to those who do not.

use log::{Level, log};

use super::Transform;
use super::entropy::{BitWriter, Bits, Decoding, Encoding, Store};
use super::geometry::{Grid, Moves, order};
use super::head::{Component, Picture, chroma};
use crate::picture::jpeg::{Defect, Size, marker};
use crate::picture::mjpeg::TABLES;

/// Larger pictures are refused, because of the memory that they take: 64 megapixels.
const MOST_PIXELS: u32 = 64 << 20;

/// A block of the picture as it was.
#[derive(Clone, Copy, Debug)]
struct Block {
    /// Where the codes of all coefficients but the first one are kept, and how many bits they have.
    at: u32,
    bits: u16,
    /// The first coefficient.
    mean: i16,
}

/// Turns pictures one after the other. It reuses its memory.
#[derive(Debug)]
pub struct Turner {
    /// The tables that are written: for the first coefficient of each block and for the others, of luma and of chroma.
    tables: [[Encoding; 2]; 2],
    /// By components, in the order in which they come.
    blocks: [Vec<Block>; 4],
    kept: Store,
}

impl Default for Turner {
    fn default() -> Self {
        let [dc, ac, dc_chroma, ac_chroma] =
            TABLES.map(|(_, counts, values)| Encoding::new(&counts, values));
        Turner {
            tables: [[dc, ac], [dc_chroma, ac_chroma]],
            blocks: Default::default(),
            kept: Store::default(),
        }
    }
}

impl Turner {
    /// Replaces the contents of `into` by the turned picture, and returns its size. `jpeg` has all its tables.
    pub fn turn(
        &mut self,
        jpeg: &[u8],
        turn: Transform,
        into: &mut Vec<u8>,
    ) -> Result<Size, Defect> {
        let picture = Picture::read(jpeg)?;
        let turn = picture.asked.then(turn);
        let size = picture.size.ok_or(Defect::NoSize)?;
        if u32::from(size.width) * u32::from(size.height) > MOST_PIXELS {
            return Err(Defect::Unturnable("a picture of more than 64 megapixels"));
        }
        if size.width == 0 || size.height == 0 {
            return Err(Defect::ZeroSize);
        }
        let grid = Grid::new(turn, size, picture.mcu());
        let grid = grid.ok_or(Defect::Unturnable("a picture of less than one MCU"))?;
        let moves = Moves::of(turn);
        self.read(&picture, &jpeg[picture.scan..], &grid, (turn, &moves))?;
        picture.write(jpeg, (grid.size, turn), &moves, into);
        self.write(&picture.components, &grid, turn, into)?;
        into.extend([0xFF, marker::EOI]);
        Ok(grid.size)
    }

    /// Reads all blocks, and keeps the codes that they will have.
    fn read(
        &mut self,
        picture: &Picture,
        scan: &[u8],
        grid: &Grid,
        (turn, moves): (Transform, &Moves),
    ) -> Result<(), Defect> {
        self.kept.clear();
        self.blocks.iter_mut().for_each(Vec::clear);
        let mut bits = Bits::new(scan);
        let mut components = Vec::with_capacity(4);
        for (n, one) in picture.components.iter().enumerate() {
            components.push((one.blocks.0 * one.blocks.1, picture.tables(one)?, chroma(n)));
        }
        let (mut means, mut scratch) = ([0_i16; 4], [0_u32; 64]);
        for mcu in 0..grid.all.0 * grid.all.1 {
            if picture.restart > 0 && mcu > 0 && mcu % picture.restart == 0 {
                bits.restart((mcu / picture.restart - 1) as u8)?;
                means = [0; 4];
            }
            for (n, (count, [dc, ac], chroma)) in components.iter().enumerate() {
                for _ in 0..*count {
                    means[n] = mean(&mut bits, dc, means[n])?;
                    let at = self.kept.len();
                    let table = &self.tables[*chroma][1];
                    match turn.transposed {
                        false => mirrored(&mut bits, ac, moves, table, &mut self.kept)?,
                        true => {
                            let tables = (*ac, table);
                            transposed(&mut bits, tables, moves, &mut scratch, &mut self.kept)?;
                        }
                    }
                    self.blocks[n].push(Block {
                        at: at as u32,
                        // Of 63 coefficients with at most 26 bits each.
                        bits: (self.kept.len() - at) as u16,
                        mean: means[n],
                    });
                }
            }
            if bits.is_over() {
                return Err(Defect::Data);
            }
        }
        self.kept.finish();
        bits.end()
    }

    /// Writes all blocks in their new order.
    fn write(
        &self,
        components: &[Component],
        grid: &Grid,
        turn: Transform,
        into: &mut Vec<u8>,
    ) -> Result<(), Defect> {
        let mut output = BitWriter::new(into);
        let mut before = [0_i16; 4];
        let orders = components.iter().map(|one| order(turn, one.blocks));
        let orders: Vec<_> = orders.collect();
        let (wide, high) = grid.turned();
        let places = (0..high).flat_map(|y| (0..wide).map(move |x| (x, y)));
        for place in places {
            let mcu = grid.origin(place);
            for (n, order) in orders.iter().enumerate() {
                for within in order {
                    let block = self.blocks[n][mcu * order.len() + within];
                    let table = &self.tables[chroma(n)][0];
                    let (code, count) = difference(table, before[n], block.mean)?;
                    before[n] = block.mean;
                    output.put(code, count);
                    self.kept
                        .copy(block.at as usize, block.bits.into(), &mut output);
                }
            }
        }
        output.finish();
        Ok(())
    }
}

/// Reads a block's first coefficient (T.81, F.2.2.1).
pub(super) fn mean(bits: &mut Bits<'_>, table: &Decoding, before: i16) -> Result<i16, Defect> {
    let (size, bits) = bits.value(table)?;
    // In pictures of 8 bits differences have at most 11.
    if size > 11 {
        return Err(Defect::Data);
    }
    let size = u32::from(size);
    let is_negative = size > 0 && bits >> (size - 1) == 0;
    let lowest = if is_negative { 1 - (1 << size) } else { 0 };
    i16::try_from(i32::from(before) + lowest + bits as i32).map_err(|_| Defect::Data)
}

/// The code of a block's first coefficient (T.81, F.1.2.1).
#[inline]
fn difference(table: &Encoding, before: i16, mean: i16) -> Result<(u64, u32), Defect> {
    let difference = i32::from(mean) - i32::from(before);
    let size = 32 - difference.unsigned_abs().leading_zeros();
    let bits = if difference < 0 {
        difference - 1
    } else {
        difference
    };
    let bits = bits as u32 & ((1 << size) - 1);
    table.with(size as u8, bits, size).ok_or(Defect::Data)
}

/// Reads a block's other coefficients (T.81, F.2.2.2), and gives `take` each value, the place of its coefficient, and
/// the bits behind it. At an end of block and a run of 16 zeros the place is none of a coefficient.
#[inline(always)]
pub(super) fn others(
    bits: &mut Bits<'_>,
    table: &Decoding,
    mut take: impl FnMut(u8, usize, u32) -> Result<(), Defect>,
) -> Result<(), Defect> {
    let mut place = 0;
    while place < 63 {
        let (value, extra) = bits.value(table)?;
        let run = usize::from(value >> 4);
        match value {
            0 => return take(0, 64, 0),
            0xF0 => {
                place += 16;
                take(value, 64, 0)?;
            }
            _ => {
                place += run + 1;
                if place > 63 || value & 15 == 0 {
                    return Err(Defect::Data);
                }
                take(value, place, extra)?;
            }
        }
    }
    (place == 63).then_some(()).ok_or(Defect::Data)
}

/// Keeps a block's codes with changed signs: of a negative number the bits are those of its positive counterpart,
/// inverted.
fn mirrored(
    bits: &mut Bits<'_>,
    table: &Decoding,
    moves: &Moves,
    encoding: &Encoding,
    kept: &mut Store,
) -> Result<(), Defect> {
    others(bits, table, |value, place, extra| {
        let size = u32::from(value & 15);
        let is_negated = moves.negated.checked_shr(place as u32).unwrap_or(0) & 1 != 0;
        let sign = if is_negated { (1 << size) - 1 } else { 0 };
        let (code, count) = encoding
            .with(value, extra ^ sign, size)
            .ok_or(Defect::Data)?;
        kept.put(code, count);
        Ok(())
    })
}

/// Keeps a block's codes, which are others when rows and columns are exchanged. `coefficients` may contain anything.
fn transposed(
    bits: &mut Bits<'_>,
    (table, encoding): (&Decoding, &Encoding),
    moves: &Moves,
    coefficients: &mut [u32; 64],
    kept: &mut Store,
) -> Result<(), Defect> {
    // A bit for each new place of a coefficient that is not 0. The coefficient itself: its size, in the upper half, and
    // its bits.
    let mut present = 0_u64;
    others(bits, table, |value, place, extra| {
        if let Some(&to) = moves.to.get(place) {
            present |= 1 << to;
            coefficients[usize::from(to)] = u32::from(value & 15) << 16 | extra;
        }
        Ok(())
    })?;
    let (mut next, mut rest) = (1, present);
    while rest != 0 {
        let place = rest.trailing_zeros();
        rest &= rest - 1;
        let mut run = place - next;
        next = place + 1;
        while run > 15 {
            let (code, count) = encoding.with(0xF0, 0, 0).ok_or(Defect::Data)?;
            kept.put(code, count);
            run -= 16;
        }
        let (size, extra) = (
            coefficients[place as usize] >> 16,
            coefficients[place as usize] & 0xFFFF,
        );
        let sign = if moves.negated >> place & 1 != 0 {
            (1 << size) - 1
        } else {
            0
        };
        let code = encoding.with((run << 4 | size) as u8, extra ^ sign, size);
        let (code, count) = code.ok_or(Defect::Data)?;
        kept.put(code, count);
    }
    if next < 64 {
        let (code, count) = encoding.with(0, 0, 0).ok_or(Defect::Data)?;
        kept.put(code, count);
    }
    Ok(())
}

/// The newest frame of one camera, turned when it is asked for, and only once.
#[derive(Debug, Default)]
pub struct NewestTurned {
    turn: Transform,
    turner: Turner,
    jpeg: Vec<u8>,
    /// Whether `jpeg` is the newest frame.
    is_done: bool,
    /// The size of the last one.
    size: Option<Size>,
}

impl NewestTurned {
    /// Frames are turned like this.
    pub fn new(turn: Transform) -> Self {
        NewestTurned {
            turn,
            ..NewestTurned::default()
        }
    }

    /// How frames are turned.
    pub fn turn(&self) -> Transform {
        self.turn
    }

    /// The size of a frame that came out, once one has.
    pub fn size(&self) -> Option<Size> {
        self.size
    }

    /// From now on there is another frame than before.
    pub fn next_frame(&mut self) {
        self.is_done = false;
    }

    /// The newest frame, turned; `frame` gives it as it came.
    pub fn jpeg<'a>(
        &mut self,
        frame: impl FnOnce() -> Result<&'a [u8], Defect>,
    ) -> Result<&[u8], Defect> {
        if !self.is_done {
            let size = self.turner.turn(frame()?, self.turn, &mut self.jpeg)?;
            let before = self.size.replace(size);
            if before != Some(size) {
                // A camera on the network could change it with each picture.
                let level = match before {
                    None => Level::Info,
                    Some(_) => Level::Debug,
                };
                log!(level, "pictures are {size} when they are {}", self.turn);
            }
            self.is_done = true;
        }
        Ok(&self.jpeg)
    }
}

#[cfg(test)]
mod tests;
