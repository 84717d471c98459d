//! Turns the planes of a raw picture, before it is encoded.
//!
//! In a picture of odd width or height the last chroma sample stands for one pixel only. It is moved like all others,
//! so colours are shifted by half a pixel then.

use super::Transform;
use crate::picture::encode::Planes;
use crate::picture::encode::planes::Plane;

/// Columns are gathered from squares of this side, so that both the rows that are read and those that are written stay
/// in the processor's first cache.
const SQUARE: usize = 16;

/// The memory for turned planes, which is reused for each frame.
#[derive(Debug, Default)]
pub(crate) struct Turned {
    planes: [Vec<u8>; 3],
}

impl Turned {
    /// The planes, turned; those that need not be turned are returned as they are.
    pub(crate) fn turn<'a>(
        &'a mut self,
        planes: Planes<'a>,
        turn: Transform,
    ) -> Option<Planes<'a>> {
        if turn.is_none() {
            return Some(planes);
        }
        let height = usize::from(planes.height);
        let half = height.div_ceil(2);
        let [cb, cr] = planes.chroma;
        let all = [(planes.luma, height), (cb, half), (cr, half)];
        for ((plane, height), into) in all.iter().zip(&mut self.planes) {
            turn_plane(*plane, *height, turn, into);
        }
        let (width, height) = match turn.transposed {
            true => (planes.height, planes.width),
            false => (planes.width, planes.height),
        };
        let (stride, half) = (usize::from(width), usize::from(width).div_ceil(2));
        let [y, cb, cr] = &self.planes;
        Planes::new((width, height), (y, stride), (cb, half), (cr, half))
    }
}

fn turn_plane(plane: Plane<'_>, height: usize, turn: Transform, into: &mut Vec<u8>) {
    let width = plane.width;
    into.resize(width * height, 0);
    let from_end = |at: usize, length: usize, is_turned: bool| match is_turned {
        true => length - 1 - at,
        false => at,
    };
    if !turn.transposed {
        for (y, row) in into.chunks_exact_mut(width).enumerate() {
            row.copy_from_slice(plane.row(from_end(y, height, turn.vertical)));
            if turn.horizontal {
                row.reverse();
            }
        }
        return;
    }
    for top in (0..height).step_by(SQUARE) {
        for left in (0..width).step_by(SQUARE) {
            let right = (left + SQUARE).min(width);
            for y in top..(top + SQUARE).min(height) {
                let column = from_end(y, height, turn.horizontal);
                for (x, &sample) in (left..right).zip(&plane.row(y)[left..right]) {
                    into[from_end(x, width, turn.vertical) * height + column] = sample;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The plane by its definition: where each sample goes, one by one.
    fn expected(plane: &[u8], (width, height): (usize, usize), turn: Transform) -> Vec<u8> {
        let mut moved = vec![0; plane.len()];
        let across = if turn.transposed { height } else { width };
        let down = plane.len() / across;
        for (at, &sample) in plane.iter().enumerate() {
            let (x, y) = (at % width, at / width);
            let (x, y) = if turn.transposed { (y, x) } else { (x, y) };
            let x = if turn.horizontal { across - 1 - x } else { x };
            let y = if turn.vertical { down - 1 - y } else { y };
            moved[y * across + x] = sample;
        }
        moved
    }

    #[test]
    fn every_sample_goes_where_its_turn_says_in_any_size() {
        for (width, height) in [(1, 1), (2, 7), (17, 33), (40, 24), (641, 483)] {
            let (w, h) = (usize::from(width), usize::from(height));
            let (half, lines) = (w.div_ceil(2), h.div_ceil(2));
            let samples = |count: usize, step: usize| -> Vec<u8> {
                (0..count).map(|n| (n * step + n / 251) as u8).collect()
            };
            // With padding behind each row, as drivers have it.
            let stride = w + 3;
            let padded = samples(stride * h, 7);
            let y: Vec<u8> = padded
                .chunks(stride)
                .flat_map(|row| &row[..w])
                .copied()
                .collect();
            let (cb, cr) = (samples(half * lines, 3), samples(half * lines, 5));
            let mut turned = Turned::default();
            for turn in Transform::ALL {
                let size = (width, height);
                let planes = Planes::new(size, (&padded, stride), (&cb, half), (&cr, half));
                let given = turned.turn(planes.unwrap(), turn).unwrap();
                let size = turn.size(crate::picture::jpeg::Size { width, height });
                assert_eq!((given.width, given.height), (size.width, size.height));
                let rows = |plane: Plane<'_>, count: usize| -> Vec<u8> {
                    (0..count).flat_map(|y| plane.row(y).to_vec()).collect()
                };
                let high = usize::from(given.height);
                assert_eq!(rows(given.luma, high), expected(&y, (w, h), turn), "{turn}");
                for (plane, samples) in given.chroma.iter().zip([&cb, &cr]) {
                    let moved = rows(*plane, high.div_ceil(2));
                    assert_eq!(moved, expected(samples, (half, lines), turn), "{turn}");
                }
            }
        }
    }
}
