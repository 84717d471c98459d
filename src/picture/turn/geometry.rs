//! Where a turn moves the blocks of a coded picture and the coefficients within them.
//!
//! A mirrored cosine of even frequency is itself, and one of odd frequency its negative. So in a block that is mirrored
//! each coefficient stays where it is, and those of odd frequency in the direction that is mirrored change their sign.
//! In a block that is transposed, rows and columns of coefficients are exchanged. The step from a coefficient to its value
//! (the quantization table) moves along.
//!
//! Blocks at the right and bottom edge may be there only in part. They cannot be moved to the other side, so the picture
//! is trimmed there: by less than one MCU, the group of blocks that belong together, 16x16 pixels in 4:2:0.

use super::Transform;
use crate::picture::jpeg::Size;

/// Row and column of each coefficient in the order in which they are coded, from the lowest frequency on: row in the
/// upper half (T.81, figure 5).
#[rustfmt::skip]
const ZIGZAG: [u8; 64] = [
    0x00, 0x01, 0x10, 0x20, 0x11, 0x02, 0x03, 0x12, 0x21, 0x30, 0x40, 0x31, 0x22, 0x13, 0x04, 0x05,
    0x14, 0x23, 0x32, 0x41, 0x50, 0x60, 0x51, 0x42, 0x33, 0x24, 0x15, 0x06, 0x07, 0x16, 0x25, 0x34,
    0x43, 0x52, 0x61, 0x70, 0x71, 0x62, 0x53, 0x44, 0x35, 0x26, 0x17, 0x27, 0x36, 0x45, 0x54, 0x63,
    0x72, 0x73, 0x64, 0x55, 0x46, 0x37, 0x47, 0x56, 0x65, 0x74, 0x75, 0x66, 0x57, 0x67, 0x76, 0x77,
];

/// What happens to the coefficients of each block, by their place in the order of coding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moves {
    /// The new place.
    pub(super) to: [u8; 64],
    /// A bit for each new place: whether the sign changes.
    pub(super) negated: u64,
}

impl Moves {
    pub(super) fn of(turn: Transform) -> Self {
        let mut moves = Moves {
            to: [0; 64],
            negated: 0,
        };
        for (from, &place) in ZIGZAG.iter().enumerate() {
            let place = match turn.transposed {
                true => place.rotate_left(4),
                false => place,
            };
            let to = ZIGZAG.iter().position(|known| *known == place);
            let to = to.unwrap_or(from);
            moves.to[from] = to as u8;
            let (row_is_odd, column_is_odd) = (place & 0x10 != 0, place & 1 != 0);
            let is_negated = (turn.vertical && row_is_odd) ^ (turn.horizontal && column_is_odd);
            moves.negated |= u64::from(is_negated) << to;
        }
        moves
    }
}

/// The MCUs of a picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    turn: Transform,
    /// How many there are, in a row and in a column.
    pub(super) all: (usize, usize),
    /// How many of them are kept.
    kept: (usize, usize),
    /// The size of the turned picture.
    pub(super) size: Size,
}

impl Grid {
    /// For pictures of this size, with MCUs of this one; `None` if nothing would be kept.
    pub(super) fn new(turn: Transform, size: Size, mcu: (u16, u16)) -> Option<Self> {
        // The edge that is moved to the other side, in the picture as it was.
        let (right, bottom) = match turn.transposed {
            true => (turn.vertical, turn.horizontal),
            false => (turn.horizontal, turn.vertical),
        };
        let side = |length: u16, unit: u16, is_moved: bool| match is_moved {
            true => (length / unit, length / unit * unit),
            false => (length.div_ceil(unit), length),
        };
        let (wide, width) = side(size.width, mcu.0, right);
        let (high, height) = side(size.height, mcu.1, bottom);
        let count = |length: u16, unit: u16| usize::from(length.div_ceil(unit));
        (wide > 0 && high > 0).then_some(Grid {
            turn,
            all: (count(size.width, mcu.0), count(size.height, mcu.1)),
            kept: (wide.into(), high.into()),
            size: turn.size(Size { width, height }),
        })
    }

    /// The MCUs of the turned picture, in a row and in a column.
    pub(super) fn turned(&self) -> (usize, usize) {
        exchanged(self.kept, self.turn.transposed)
    }

    /// From where the MCU at `place` of the turned picture comes: its number.
    pub(super) fn origin(&self, place: (usize, usize)) -> usize {
        let (x, y) = origin(self.turn, place, self.kept);
        y * self.all.0 + x
    }
}

/// For each block of an MCU of the turned picture, from where in its MCU it comes. There it has this many, in a row and in a
/// column.
pub(super) fn order(turn: Transform, blocks: (usize, usize)) -> Vec<usize> {
    let (across, down) = exchanged(blocks, turn.transposed);
    let places = (0..down).flat_map(|y| (0..across).map(move |x| (x, y)));
    let numbers = places.map(|place| {
        let (x, y) = origin(turn, place, blocks);
        y * blocks.0 + x
    });
    numbers.collect()
}

/// From where what is at `place` comes, in something that was so wide and so high before it was turned.
fn origin(turn: Transform, (x, y): (usize, usize), before: (usize, usize)) -> (usize, usize) {
    let (wide, high) = exchanged(before, turn.transposed);
    let x = if turn.horizontal { wide - 1 - x } else { x };
    let y = if turn.vertical { high - 1 - y } else { y };
    exchanged((x, y), turn.transposed)
}

/// Both exchanged, in a picture that is transposed.
pub(super) fn exchanged<T>((first, second): (T, T), transposed: bool) -> (T, T) {
    match transposed {
        true => (second, first),
        false => (first, second),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_coding_goes_up_and_down_the_diagonals() {
        let mut sorted = ZIGZAG;
        sorted.sort_unstable();
        let all: Vec<_> = (0..64).map(|n| (n / 8 * 16 + n % 8) as u8).collect();
        assert_eq!(sorted[..], all);
        for pair in ZIGZAG.windows(2) {
            let sum = |place: u8| place / 16 + place % 16;
            assert!(sum(pair[0]) <= sum(pair[1]) && sum(pair[1]) <= sum(pair[0]) + 1);
        }
    }

    #[test]
    fn what_is_moved_to_the_other_side_is_trimmed() {
        let size = |width, height| Size { width, height };
        let grid = |turn, mcu| Grid::new(turn, size(1920, 1080), mcu).map(|grid| grid.size);
        let turn = |n: u8| Transform::of_orientation(n);
        let expected = [
            (2, size(1920, 1080)),
            (3, size(1920, 1072)),
            (4, size(1920, 1072)),
            (5, size(1080, 1920)),
            (6, size(1072, 1920)),
            (7, size(1072, 1920)),
            (8, size(1080, 1920)),
        ];
        for (orientation, size) in expected {
            assert_eq!(
                grid(turn(orientation), (16, 16)),
                Some(size),
                "{orientation}"
            );
        }
        // 4:2:2
        assert_eq!(grid(turn(3), (16, 8)), Some(size(1920, 1080)));
        assert!(Grid::new(turn(3), size(16, 15), (16, 16)).is_none());
        assert!(Grid::new(turn(2), size(16, 15), (16, 16)).is_some());
    }
}
