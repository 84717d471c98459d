//! Which buffers of a camera need not be walked through.
//!
//! The walk looks at every byte of the entropy-coded data, and that costs a quarter of all that capture does for a
//! frame. A camera whose buffers have all been right for a while is therefore looked at less closely, as long as none of
//! the following can be the case, each of which has been seen of cameras and drivers:
//!
//! - **It does not begin with SOI, does not end with EOI, or has an odd head:** the head is still walked through, and
//!   the last two bytes are read.
//! - **It has a second head in it**, because the first frame was cut off: then the last bytes of the head, which were the
//!   same in all of these buffers, come once more, and one sample of four bytes in each [`STRIDE`] hits them wherever
//!   they are.
//! - **It has old bytes behind its first EOI:** then it ends where an earlier picture in the same memory has ended, so it
//!   is as long as one of the last buffers.
//!
//! Then, and at anything else that is not as usual, the buffer is walked through. Only pictures of one scan are trusted,
//! since there is no marker to check in their entropy-coded data. What is lost is a marker that makes no sense in the
//! middle of that data, which is damage like any other there: whether the data decodes is not known either way.

use crate::picture::jpeg::{Head, ends};
use crate::picture::largest;
use crate::picture::walk::{Walk, Whole};

/// So many buffers in a row have to be right, about a second.
const WHILE: u32 = 32;

/// The distance of samples.
const STRIDE: usize = 128;

/// Of so many bytes every sample that begins in the first [`STRIDE`] ones is complete.
const WINDOW: usize = STRIDE + 3;

/// Drivers have four buffers as a rule, and not every one is looked at.
const LENGTHS: usize = 16;

const SLOTS: usize = 1 << SLOT_BITS;
const SLOT_BITS: u32 = 11;

/// What is known of the last buffers.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug, Default)]
pub(super) struct Trust {
    /// How many in a row were right.
    right: u32,
    /// The lengths of the last ones, in a ring.
    lengths: [usize; LENGTHS],
    oldest: usize,
    /// The end of their heads.
    window: Vec<u8>,
    /// Present if they are trusted.
    samples: Option<Probes>,
}

impl Trust {
    /// The head, if the buffer is a frame from its first to its last byte and needs no closer look.
    pub(super) fn head(&mut self, bytes: &[u8]) -> Option<Head> {
        let samples = self.samples.as_ref()?;
        let is_short = bytes.len() <= largest();
        if !is_short || !ends(bytes) || self.lengths.contains(&bytes.len()) {
            return None;
        }
        let head = Walk::plain_head(bytes)?;
        let is_usual = window(bytes, &head)? == self.window;
        let is_right = is_usual && !samples.are_in(&bytes[head.scan..]);
        is_right.then(|| {
            self.remember(bytes.len());
            head
        })
    }

    /// Takes in what a close look has found, if it was nothing but a frame.
    pub(super) fn learn(&mut self, bytes: &[u8], found: Option<&Whole>) {
        let exact = found.filter(|whole| (whole.start, whole.end) == (0, bytes.len()));
        let head = exact.and_then(|_| Walk::plain_head(bytes));
        let Some(window) = head.and_then(|head| window(bytes, &head)) else {
            return self.lose();
        };
        if window != self.window {
            self.lose();
            self.window = window.to_vec();
        }
        self.remember(bytes.len());
        self.right = self.right.saturating_add(1);
        if self.right == WHILE {
            self.samples = Probes::new(&self.window);
        }
    }

    /// Begins anew.
    pub(super) fn lose(&mut self) {
        (self.right, self.samples) = (0, None);
    }

    fn remember(&mut self, length: usize) {
        self.lengths[self.oldest] = length;
        self.oldest = (self.oldest + 1) % LENGTHS;
    }
}

/// The last bytes of the head.
fn window<'a>(bytes: &'a [u8], head: &Head) -> Option<&'a [u8]> {
    bytes.get(head.scan.checked_sub(WINDOW)?..head.scan)
}

/// The words of four bytes that occur in a window, at any offset: a table without collisions, so that a look into it
/// takes a multiplication and a comparison.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug)]
struct Probes {
    factor: u32,
    slots: Box<[u32; SLOTS]>,
}

impl Probes {
    /// `None` if no table was found, which is as good as impossible.
    fn new(window: &[u8]) -> Option<Self> {
        let words = window.windows(4).map(word);
        let first = words.clone().next()?;
        let mut samples = Probes {
            factor: 0x9E37_79B1,
            slots: Box::new([first; SLOTS]),
        };
        for _ in 0..4096 {
            samples.slots.fill(first);
            let reserved = samples.slot(first);
            let fits = words.clone().all(|word| {
                let slot = samples.slot(word);
                let there = std::mem::replace(&mut samples.slots[slot], word);
                there == word || (there == first && slot != reserved)
            });
            if fits {
                return Some(samples);
            }
            // Another odd one (Knuth's generator for 32 bits).
            samples.factor = samples.factor.wrapping_mul(1_664_525).wrapping_add(2);
        }
        None
    }

    fn slot(&self, word: u32) -> usize {
        (word.wrapping_mul(self.factor) >> (u32::BITS - SLOT_BITS)) as usize
    }

    fn are_in(&self, data: &[u8]) -> bool {
        let samples = data.chunks(STRIDE).filter(|chunk| chunk.len() >= 4);
        samples
            .map(word)
            .any(|word| self.slots[self.slot(word)] == word)
    }
}

/// The first four bytes as a number.
fn word(bytes: &[u8]) -> u32 {
    bytes
        .first_chunk()
        .map_or(0, |four| u32::from_ne_bytes(*four))
}

#[cfg(test)]
mod tests;
