//! Splits a byte stream into JPEGs.
//!
//! Programs that write MJPEG write one JPEG after another, some with padding, multipart headers or line ends in
//! between. Where a frame begins and ends, and what is forgiven, is decided by the `walk`; here is the
//! memory for what is still arriving. Frames are returned as slices of the buffer that they were read into, or together
//! with that buffer ([`Splitter::take`]).

use std::mem;
use std::ops::Range;

use crate::picture::jpeg::{Defect, Head};
use crate::picture::walk::{Walk, Walked, Whole};

/// What is found in the stream, in the stream's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A complete JPEG.
    Frame(Found),
    /// A JPEG that is complete but for EOI, because the next frame's SOI came instead.
    Unended(Found),
    /// The beginning of something that turned out not to be a frame. It was dropped.
    Broken(Defect),
}

/// The place of a frame in the stream. Its bytes stay in the buffer until more is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Offset of its first byte from the start of the stream.
    pub offset: u64,
    /// Its length in bytes.
    pub len: usize,
    /// What its head says.
    pub head: Head,
}

/// A byte stream that is being split into frames.
#[derive(Debug)]
pub struct Splitter {
    walk: Walk,
    buffer: Vec<u8>,
    /// The offset in the stream of the first byte in the buffer.
    base: u64,
}

impl Splitter {
    /// Creates a splitter at the start of a stream. It drops frames that are longer than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Splitter {
            walk: Walk::new(limit),
            buffer: Vec::new(),
            base: 0,
        }
    }

    /// Lets `read` append to the buffer, which has room for `room` more bytes. Frames found earlier are no longer
    /// available after this, so it should be called only when [`Splitter::next_event`] has nothing more to report.
    pub fn read_by<T>(&mut self, room: usize, read: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        self.forget();
        self.buffer.reserve(room);
        read(&mut self.buffer)
    }

    /// Appends bytes. Frames found earlier are no longer available after this.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.read_by(bytes.len(), |buffer| buffer.extend_from_slice(bytes));
    }

    /// The next event in the bytes read so far; `None` when more bytes are needed.
    pub fn next_event(&mut self) -> Option<Event> {
        Some(match self.walk.next(&self.buffer)? {
            Walked::Frame(whole) => Event::Frame(self.found(whole)),
            Walked::Unended(whole) => Event::Unended(self.found(whole)),
            Walked::Broken(defect) => Event::Broken(defect),
        })
    }

    /// The bytes of a frame, until more are read. Empty for a frame that is no longer available.
    pub fn frame(&self, found: &Found) -> &[u8] {
        self.range(found).map_or(&[], |range| &self.buffer[range])
    }

    /// Swaps the frame into `into` together with its buffer, so that only the bytes read after the frame are copied,
    /// not the frame. Frames found earlier are no longer available after this.
    pub fn take(&mut self, found: Found, into: &mut Vec<u8>) {
        into.clear();
        let Some(Range { start, end }) = self.range(&found) else {
            return;
        };
        into.extend_from_slice(&self.buffer[end..]);
        mem::swap(into, &mut self.buffer);
        into.truncate(end);
        into.drain(..start);
        self.shift(end);
    }

    /// The offset in the stream of a frame that has begun but whose end has not been read yet.
    pub fn unfinished(&self) -> Option<u64> {
        self.walk.unfinished().map(|at| self.base + at as u64)
    }

    /// The number of bytes read from the stream.
    pub fn position(&self) -> u64 {
        self.base + self.buffer.len() as u64
    }

    /// The number of bytes before and between frames that belong to no frame: padding, part headers, garbage. The
    /// bytes of broken frames are not included.
    pub fn between(&self) -> u64 {
        self.walk.between()
    }

    fn found(&self, Whole { start, end, head }: Whole) -> Found {
        Found {
            offset: self.base + start as u64,
            len: end - start,
            head,
        }
    }

    /// Where in the buffer a frame is, if it is still there.
    fn range(&self, found: &Found) -> Option<Range<usize>> {
        let start = usize::try_from(found.offset.checked_sub(self.base)?).ok()?;
        let end = start.checked_add(found.len)?;
        (end <= self.buffer.len()).then_some(start..end)
    }

    /// Drops what is not needed for the unfinished frame.
    fn forget(&mut self) {
        let keep_from = self.walk.needed().min(self.buffer.len());
        self.buffer.drain(..keep_from);
        self.shift(keep_from);
    }

    /// Adjusts the positions after the first `gone` bytes were removed from the buffer.
    fn shift(&mut self, gone: usize) {
        self.base += gone as u64;
        self.walk.shift(gone);
    }
}

#[cfg(test)]
mod tests;
