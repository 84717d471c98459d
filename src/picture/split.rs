//! Splits a byte stream into JPEGs.
//!
//! Programs that write MJPEG write one JPEG after another, some with padding, multipart headers or line ends in
//! between. A search for EOI would end a frame at the end of a thumbnail in APP1, so the structure is followed
//! instead (ITU-T T.81, annex B), with one state for each thing that can be expected next:
//!
//! ```text
//!           FF D8 FF            SOS                      EOI
//!   Hunt ------------> Marker --------> Entropy ----> Marker ------> a frame, Hunt
//!    ^                  |   ^  a segment: its length    |  ^
//!    |                  |   +--is skipped               |  | DHT, SOS, ... between scans
//!    +--- broken -------+<------------------------------+--+
//! ```
//!
//! Segments are skipped by their length, whatever they contain. In entropy-coded data 0xFF is followed by 0
//! (stuffing), by a restart marker, or by the marker that ends the scan; progressive files have several scans.
//! Anything that does not fit makes the frame a broken one, and the hunt for the next SOI begins at the byte that did
//! not fit. Earlier bytes are not searched again, because they may contain a thumbnail's SOI. After damage within the
//! head of a frame, a thumbnail can still be mistaken for a frame, once; this cannot happen in an undamaged stream.
//!
//! Each byte is examined once, however the stream is divided into reads. Frames are returned as slices of the buffer
//! that they were read into, or together with that buffer ([`Splitter::take`]).

use std::mem;
use std::ops::Range;

use crate::picture::LARGEST;
use crate::picture::jpeg::{self, Defect, Size, marker};

/// The maximum length of a frame in bytes, the same as for readers of frames. A longer one means that the end was
/// missed.
pub const LIMIT: usize = LARGEST as usize;

/// What is found in the stream, in the stream's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A complete JPEG.
    Frame(Found),
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
    /// Its size in pixels.
    pub size: Size,
}

/// What the next byte is expected to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Anything: the start of a frame is being looked for.
    Hunt,
    /// The 0xFF of a marker in the head.
    Head,
    /// Entropy-coded data.
    Entropy,
    /// The 0xFF of a marker after at least one scan.
    BetweenScans,
}

/// A byte stream that is being split into frames.
#[derive(Debug)]
pub struct Splitter {
    limit: usize,
    buffer: Vec<u8>,
    /// The offset in the stream of the first byte in the buffer.
    base: u64,
    /// Where in the buffer the current frame begins; only meaningful outside of [`State::Hunt`].
    start: usize,
    /// The next byte to examine. It is beyond the end of the buffer while a segment is being skipped.
    at: usize,
    state: State,
    between: u64,
}

impl Splitter {
    /// Creates a splitter at the start of a stream. It drops frames that are longer than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Splitter {
            limit,
            buffer: Vec::new(),
            base: 0,
            start: 0,
            at: 0,
            state: State::Hunt,
            between: 0,
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
        let event = match self.walk() {
            Ok(end) => self.finish(end?),
            Err(defect) => Event::Broken(defect),
        };
        self.state = State::Hunt;
        Some(event)
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
        (self.state != State::Hunt).then(|| self.base + self.start as u64)
    }

    /// The number of bytes read from the stream.
    pub fn position(&self) -> u64 {
        self.base + self.buffer.len() as u64
    }

    /// The number of bytes before and between frames that belong to no frame: padding, part headers, garbage. The
    /// bytes of broken frames are not included.
    pub fn between(&self) -> u64 {
        self.between
    }

    /// Where in the buffer a frame is, if it is still there.
    fn range(&self, found: &Found) -> Option<Range<usize>> {
        let start = usize::try_from(found.offset.checked_sub(self.base)?).ok()?;
        let end = start.checked_add(found.len)?;
        (end <= self.buffer.len()).then_some(start..end)
    }

    /// Proceeds until a frame ends; returns the frame's end in the buffer if there is one.
    fn walk(&mut self) -> Result<Option<usize>, Defect> {
        loop {
            let went_on = match self.state {
                State::Hunt => self.hunt(),
                State::Entropy => self.entropy(),
                State::Head | State::BetweenScans => match self.code()? {
                    Some(marker::EOI) => {
                        self.within_limit(self.at + 2)?;
                        return Ok(Some(self.at + 2));
                    }
                    Some(code) => self.segment(code)?,
                    None => false,
                },
            };
            if self.state != State::Hunt {
                self.within_limit(self.at)?;
            }
            if !went_on {
                return Ok(None);
            }
        }
    }

    /// Looks for SOI followed by the 0xFF of the next marker, since SOI's two bytes alone occur in any garbage.
    fn hunt(&mut self) -> bool {
        let ahead = &self.buffer[self.at..];
        let skipped = until_marker(ahead);
        self.at += skipped;
        self.between += skipped as u64;
        match ahead[skipped..] {
            [0xFF, marker::SOI, 0xFF, ..] => {
                self.start = self.at;
                self.at += 2;
                self.state = State::Head;
            }
            [] | [0xFF] | [0xFF, marker::SOI] => return false,
            _ => {
                self.at += 1;
                self.between += 1;
            }
        }
        true
    }

    /// Looks for the 0xFF that ends entropy-coded data (T.81, B.1.1.5).
    fn entropy(&mut self) -> bool {
        let ahead = self.buffer.get(self.at..).unwrap_or_default();
        let skipped = until_marker(ahead);
        self.at += skipped;
        match ahead.get(skipped + 1) {
            None => return false,
            Some(0x00 | marker::RST0..=marker::RST7) => self.at += 2,
            Some(0xFF) => self.at += 1,
            Some(_) => self.state = State::BetweenScans,
        }
        true
    }

    /// The code of the marker at this position, after any fill bytes; `self.at` is then at the 0xFF right before it.
    fn code(&mut self) -> Result<Option<u8>, Defect> {
        while let Some([0xFF, code]) = self.buffer.get(self.at..self.at + 2) {
            if *code != 0xFF {
                return Ok(Some(*code));
            }
            self.at += 1;
            self.within_limit(self.at)?;
        }
        match self.buffer.get(self.at) {
            None | Some(0xFF) => Ok(None),
            Some(_) => Err(self.bad_marker()),
        }
    }

    /// Skips the marker at this position and its segment; returns false if the segment's length has not been read
    /// yet.
    fn segment(&mut self, code: u8) -> Result<bool, Defect> {
        if code != marker::SOI && marker::stands_alone(code) {
            self.at += 2;
            return Ok(true);
        }
        let fits = match self.state {
            State::BetweenScans => marker::is_between_scans(code),
            _ => marker::is_segment(code),
        };
        if !fits {
            return Err(self.bad_marker());
        }
        let Some(length) = self.buffer.get(self.at + 2..self.at + 4) else {
            return Ok(false);
        };
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        if length < 2 {
            return Err(Defect::BadLength(self.at - self.start));
        }
        // A segment beyond the limit is not skipped, so that the hunt continues from here, however much of it has
        // arrived.
        let end = self.at + 2 + length;
        self.within_limit(end)?;
        self.at = end;
        if code == marker::SOS {
            self.state = State::Entropy;
        }
        Ok(true)
    }

    /// Extracts the frame that ends at `end`. Its chain of markers is complete, but its head must contain a size as
    /// well.
    fn finish(&mut self, end: usize) -> Event {
        let bytes = &self.buffer[self.start..end];
        self.at = end;
        match jpeg::head(bytes) {
            Ok(head) => Event::Frame(Found {
                offset: self.base + self.start as u64,
                len: bytes.len(),
                size: head.size,
            }),
            Err(defect) => Event::Broken(defect),
        }
    }

    fn bad_marker(&self) -> Defect {
        Defect::BadMarker(self.at - self.start)
    }

    /// Checks that a frame that extends to `end` is not too long.
    fn within_limit(&self, end: usize) -> Result<(), Defect> {
        if end - self.start > self.limit {
            return Err(Defect::TooLong(self.limit));
        }
        Ok(())
    }

    /// Drops what is not needed for the unfinished frame.
    fn forget(&mut self) {
        let keep_from = match self.state {
            State::Hunt => self.at,
            _ => self.start,
        };
        self.buffer.drain(..keep_from);
        self.shift(keep_from);
    }

    /// Adjusts the positions after the first `gone` bytes were removed from the buffer.
    fn shift(&mut self, gone: usize) {
        self.base += gone as u64;
        self.at = self.at.saturating_sub(gone);
        self.start = self.start.saturating_sub(gone);
    }
}

/// The number of bytes before the next 0xFF. For 100 MB of entropy-coded data on an x86 server core, the plain loop
/// takes 31 ms in the release build, which is optimised for size, and the crate memchr 8 ms. At a camera's 3 MB/s
/// that is not worth a dependency.
fn until_marker(bytes: &[u8]) -> usize {
    let found = bytes.iter().position(|&byte| byte == 0xFF);
    found.unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests;
