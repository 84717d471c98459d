//! Takes a byte stream apart into JPEGs.
//!
//! Programs that write MJPEG write one JPEG behind the other, some with padding, multipart headers or
//! line ends in between. Searching for EOI would cut frames at the end of a thumbnail in APP1, so the
//! structure is followed instead (ITU-T T.81, annex B), with one state for each thing to wait for:
//!
//! ```text
//!           FF D8 FF            SOS                      EOI
//!   Hunt ------------> Marker --------> Entropy ----> Marker ------> a frame, Hunt
//!    ^                  |   ^  a segment: its length    |  ^
//!    |                  |   +--is skipped               |  | DHT, SOS, ... between scans
//!    +--- broken -------+<------------------------------+--+
//! ```
//!
//! Segments are skipped by their length, whatever they contain. In entropy-coded data 0xFF is followed by
//! 0 (stuffing), a restart marker, or the marker that ends the scan; progressive files have several scans.
//! What does not fit is a broken frame, and the hunt for the next SOI begins at the byte that did not fit:
//! earlier bytes are not searched again, because they may hold a thumbnail's SOI. After damage inside a
//! frame head a thumbnail can still be taken for a frame, once; a stream that is whole has no such case.
//!
//! Each byte is looked at once, however the stream is cut into reads. Frames are handed out as slices of
//! the buffer they were read into, or with that buffer itself ([`Splitter::take`]).

use std::mem;
use std::ops::Range;

use crate::frames::frame::LARGEST;
use crate::frames::jpeg::{self, Defect, Picture, marker};

/// Bytes of the longest frame, as for whoever reads it. Past it the end was missed.
pub const LIMIT: usize = LARGEST as usize;

/// What comes out of the stream, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A whole JPEG.
    Frame(Found),
    /// The beginning of a frame that is none. It was dropped.
    Broken(Defect),
}

/// Where in the stream a frame lies. Its bytes stay in the buffer until more is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Offset of its first byte from the start of the stream.
    pub offset: u64,
    /// Its length in bytes.
    pub len: usize,
    /// Its size in pixels.
    pub picture: Picture,
}

/// What the next byte should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Anything: looking for the start of a frame.
    Hunt,
    /// The 0xFF of a marker, in the head.
    Head,
    /// Entropy-coded data.
    Entropy,
    /// The 0xFF of a marker, with a scan already behind.
    BetweenScans,
}

/// A byte stream on its way to becoming frames.
#[derive(Debug)]
pub struct Splitter {
    limit: usize,
    buffer: Vec<u8>,
    /// Offset in the stream of the buffer's first byte.
    base: u64,
    /// Where the current frame begins; only meaningful outside of [`State::Hunt`].
    start: usize,
    /// The next byte to look at. Beyond the end of the buffer while a segment is skipped.
    at: usize,
    state: State,
    between: u64,
}

impl Splitter {
    /// A splitter at the start of a stream that drops frames longer than `limit` bytes.
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

    /// Lets `read` append to the buffer, which has room for `room` bytes more. Frames found before are
    /// gone after this, so it is called when [`Splitter::next_event`] has nothing more to tell.
    pub fn read_by<T>(&mut self, room: usize, read: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        self.forget();
        self.buffer.reserve(room);
        read(&mut self.buffer)
    }

    /// Appends bytes. Frames found before are gone after this.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.read_by(bytes.len(), |buffer| buffer.extend_from_slice(bytes));
    }

    /// What the bytes at hand amount to; `None` when it takes more of them.
    pub fn next_event(&mut self) -> Option<Event> {
        let event = match self.walk() {
            Ok(end) => self.finish(end?),
            Err(defect) => Event::Broken(defect),
        };
        self.state = State::Hunt;
        Some(event)
    }

    /// The bytes of a frame, until more are read. Empty for a frame that is gone.
    pub fn frame(&self, found: &Found) -> &[u8] {
        self.range(found).map_or(&[], |range| &self.buffer[range])
    }

    /// Swaps the frame into `into`, buffer and all: what is copied is not the frame, only what was read
    /// behind it. Frames found before are gone after this.
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

    /// Offset in the stream of the frame whose beginning has been read and whose end has not.
    pub fn unfinished(&self) -> Option<u64> {
        (self.state != State::Hunt).then(|| self.base + self.start as u64)
    }

    /// How many bytes of the stream were read.
    pub fn position(&self) -> u64 {
        self.base + self.buffer.len() as u64
    }

    /// How many bytes before and between frames belonged to none: padding, part headers, rubbish. The
    /// bytes of broken frames are not among them.
    pub fn between(&self) -> u64 {
        self.between
    }

    /// Where the buffer has a frame, if it still has it.
    fn range(&self, found: &Found) -> Option<Range<usize>> {
        let start = usize::try_from(found.offset.checked_sub(self.base)?).ok()?;
        let end = start.checked_add(found.len)?;
        (end <= self.buffer.len()).then_some(start..end)
    }

    /// Goes on until a frame ends; its end in the buffer, if it does.
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

    /// Looks for SOI and the 0xFF of the marker after it: two bytes alone turn up in any rubbish.
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

    /// The code of the marker that stands here, behind any fill bytes; `self.at` is then the 0xFF right
    /// before it.
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

    /// Steps over the marker that stands here and what belongs to it; false if its length is not there
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
        // Not stepped over, so that the hunt goes on from here, however much of it has arrived.
        let end = self.at + 2 + length;
        self.within_limit(end)?;
        self.at = end;
        if code == marker::SOS {
            self.state = State::Entropy;
        }
        Ok(true)
    }

    /// Takes out the frame that ends at `end`. The chain is whole; its head must tell a size as well.
    fn finish(&mut self, end: usize) -> Event {
        let bytes = &self.buffer[self.start..end];
        self.at = end;
        match jpeg::head(bytes) {
            Ok(head) => Event::Frame(Found {
                offset: self.base + self.start as u64,
                len: bytes.len(),
                picture: head.picture,
            }),
            Err(defect) => Event::Broken(defect),
        }
    }

    fn bad_marker(&self) -> Defect {
        Defect::BadMarker(self.at - self.start)
    }

    /// A frame that reaches to `end` may still be one.
    fn within_limit(&self, end: usize) -> Result<(), Defect> {
        if end - self.start > self.limit {
            return Err(Defect::TooLong(self.limit));
        }
        Ok(())
    }

    /// Drops what no frame in the making needs.
    fn forget(&mut self) {
        let keep_from = match self.state {
            State::Hunt => self.at,
            _ => self.start,
        };
        self.buffer.drain(..keep_from);
        self.shift(keep_from);
    }

    /// The first `gone` bytes left the buffer.
    fn shift(&mut self, gone: usize) {
        self.base += gone as u64;
        self.at = self.at.saturating_sub(gone);
        self.start = self.start.saturating_sub(gone);
    }
}

/// How many bytes come before the next 0xFF. The plain loop takes 31 ms for 100 MB of entropy-coded data
/// on an x86 server core in the size-minded release build, the crate memchr 8 ms: at the 3 MB/s of a camera
/// not worth a dependency.
fn until_marker(bytes: &[u8]) -> usize {
    let found = bytes.iter().position(|&byte| byte == 0xFF);
    found.unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests;
