//! The walk from frame to frame through what cameras and programs send as MJPEG: the same for a driver's buffer and for
//! a stream that is still arriving.
//!
//! A search for EOI would end a frame at the end of a thumbnail in APP1, and a search from the end would take two
//! frames for one. So the structure is followed (ITU-T T.81, annex B), with one state for each thing that can be
//! expected next:
//!
//! ```text
//!           FF D8 FF            SOS                      EOI
//!   Hunt ------------> Head ----------> Entropy ----> Marker ------> a frame, Hunt
//!    ^                  |  ^ a segment: its length      |  ^
//!    |                  |  +-- is skipped               |  | DHT, SOS, ... between scans
//!    +--- broken -------+<------------------------------+--+
//! ```
//!
//! Segments are skipped by their length; what those of the decoder contain is checked ([`Header`]). In entropy-coded
//! data 0xFF is followed by 0 (stuffing), by a restart marker, or by the marker that ends the scan; progressive files
//! have several scans.
//!
//! **What is forgiven:** anything before SOI and behind EOI, and a second SOI right behind the first. **What ends a
//! frame as a broken one:** any byte that does not fit. If it is the SOI of the next frame, that frame begins there. If
//! it comes right behind a segment, that segment may have been cut short, and then it has swallowed the beginning of
//! the next frame: the hunt for SOI goes on within the segment. In application data that may find a thumbnail, so a
//! frame that lies wholly within such a segment is none. Nothing of this happens in an undamaged stream, where each
//! byte is examined once, however it is divided into reads.
//!
//! A frame whose scan was followed by SOI, or by the end of the buffer, is told apart ([`Walked::Unended`]): there are
//! cameras that never send EOI ([`mjpeg`](super::mjpeg)).
//!
//! The search for 0xFF in the entropy-coded data is the only part whose cost depends on the length of a frame. It is
//! done by the crate memchr, with SIMD on x86_64 and aarch64. Cameras whose buffers need no such search are known to
//! [`mjpeg`](super::mjpeg).

use std::ops::Range;

use memchr::{memchr_iter, memmem};

use super::jpeg::header::Header;
use super::jpeg::{Defect, Head, marker};

/// What looks like the beginning of a frame: SOI, and the 0xFF of the next marker, since SOI's two bytes alone occur in
/// any garbage.
const BEGINNING: [u8; 3] = [0xFF, marker::SOI, 0xFF];

/// What is found, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Walked {
    /// A complete JPEG.
    Frame(Whole),
    /// A JPEG that is complete but for EOI, as far as its markers tell.
    Unended(Whole),
    /// The beginning of something that turned out not to be a frame. It was dropped.
    Broken(Defect),
}

/// Where in the bytes a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whole {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Its offsets count from the frame's first byte.
    pub(crate) head: Head,
}

/// What the next byte is expected to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    /// Anything: the start of a frame is being looked for.
    Hunt,
    /// The 0xFF of a marker in the head.
    Head,
    /// Entropy-coded data.
    Entropy,
    /// The 0xFF of a marker after at least one scan.
    BetweenScans,
}

/// How far the walk has come. All positions are those in the bytes that [`Walk::next`] is given.
#[derive(Clone, Debug)]
pub(crate) struct Walk {
    limit: usize,
    /// Where the current frame begins; only meaningful outside of [`Position::Hunt`].
    start: usize,
    /// The next byte to examine. It is beyond the end of the bytes while a segment is being skipped.
    at: usize,
    state: Position,
    header: Header,
    head: Option<Head>,
    /// The segment right before `at`, in the head or between scans.
    last: Option<Skipped>,
    /// The end of the application data in which the hunt goes on.
    shadow: usize,
    between: u64,
}

/// A segment that the walk has left behind.
#[derive(Clone, Debug)]
struct Skipped {
    range: Range<usize>,
    is_data: bool,
}

impl Walk {
    /// A walk that drops frames longer than `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Walk {
            limit,
            start: 0,
            at: 0,
            state: Position::Hunt,
            header: Header::default(),
            head: None,
            last: None,
            shadow: 0,
            between: 0,
        }
    }

    /// The head of a frame that begins with the first byte and is one scan, if it is all there and nothing is odd.
    pub(crate) fn plain_head(bytes: &[u8]) -> Option<Head> {
        let mut walk = Walk::new(bytes.len());
        if !bytes.starts_with(&BEGINNING) || !walk.hunt(bytes) {
            return None;
        }
        while walk.state == Position::Head {
            let code = walk.code(bytes).ok()??;
            let is_segment = !marker::stands_alone(code);
            if !is_segment || !walk.segment(bytes, code).ok()? {
                return None;
            }
        }
        walk.head.filter(|_| walk.header.in_one_scan)
    }

    /// Goes on to the next event; `None` when more bytes are needed. `bytes` are those given before, with or without
    /// more behind them.
    pub(crate) fn next(&mut self, bytes: &[u8]) -> Option<Walked> {
        let event = match self.walk(bytes) {
            Ok(event) => event?,
            Err(defect) => {
                self.go_back(defect);
                Walked::Broken(defect)
            }
        };
        Some(event)
    }

    /// Goes on when [`Walk::next`] needs more bytes and there are no more.
    pub(crate) fn end(&mut self, bytes: &[u8]) -> Option<Walked> {
        if self.state == Position::Hunt {
            return None;
        }
        let Some(head) = self.head else {
            self.go_back(Defect::Short);
            return Some(Walked::Broken(Defect::Short));
        };
        self.at = bytes.len();
        let frame = self.unended(head);
        Some(frame.map_or(Walked::Broken(Defect::NoEnd), Walked::Unended))
    }

    /// Where a frame begins whose end has not come yet.
    pub(crate) fn unfinished(&self) -> Option<usize> {
        (self.state != Position::Hunt).then_some(self.start)
    }

    /// The first byte that is still needed.
    pub(crate) fn needed(&self) -> usize {
        self.unfinished().unwrap_or(self.at)
    }

    /// The number of bytes before and between frames that belong to no frame: padding, part headers, garbage. The
    /// bytes of broken frames are not included.
    pub(crate) fn between(&self) -> u64 {
        self.between
    }

    /// Adjusts the positions after the first `gone` bytes were removed.
    pub(crate) fn shift(&mut self, gone: usize) {
        for position in [&mut self.at, &mut self.start, &mut self.shadow] {
            *position = position.saturating_sub(gone);
        }
        if let Some(Skipped { range, .. }) = &mut self.last {
            *range = range.start.saturating_sub(gone)..range.end.saturating_sub(gone);
        }
    }

    /// Proceeds until a frame ends.
    fn walk(&mut self, bytes: &[u8]) -> Result<Option<Walked>, Defect> {
        loop {
            let went_on = match self.state {
                Position::Hunt => self.hunt(bytes),
                Position::Entropy => self.entropy(bytes),
                Position::Head | Position::BetweenScans => match self.code(bytes)? {
                    None => false,
                    Some(marker::EOI) => {
                        if let Some(frame) = self.eoi()? {
                            return Ok(Some(Walked::Frame(frame)));
                        }
                        true
                    }
                    Some(marker::SOI) => {
                        if let Some(frame) = self.soi()? {
                            return Ok(Some(Walked::Unended(frame)));
                        }
                        true
                    }
                    Some(code) => self.segment(bytes, code)?,
                },
            };
            if self.state != Position::Hunt {
                self.within_limit(self.at)?;
            }
            if !went_on {
                return Ok(None);
            }
        }
    }

    fn hunt(&mut self, bytes: &[u8]) -> bool {
        let ahead = bytes.get(self.at..).unwrap_or_default();
        let skip_to = memchr_iter(0xFF, ahead).find(|&hit| {
            let seen = ahead.len().min(hit + BEGINNING.len());
            BEGINNING.starts_with(&ahead[hit..seen])
        });
        let skipped = skip_to.unwrap_or(ahead.len());
        self.at += skipped;
        self.between += skipped as u64;
        let found = ahead.len() >= skipped + BEGINNING.len();
        if found {
            self.start = self.at;
            self.at += 2;
            self.state = Position::Head;
            self.header = Header::default();
            (self.head, self.last) = (None, None);
        }
        found
    }

    /// Looks for the 0xFF that ends entropy-coded data (T.81, B.1.1.5).
    fn entropy(&mut self, bytes: &[u8]) -> bool {
        let ahead = bytes.get(self.at..).unwrap_or_default();
        for hit in memchr_iter(0xFF, ahead) {
            match ahead.get(hit + 1) {
                // Fill bytes too: it is the last 0xFF that counts.
                Some(0x00 | marker::RST0..=marker::RST7 | 0xFF) => {}
                Some(_) => {
                    self.at += hit;
                    self.last = None;
                    self.state = Position::BetweenScans;
                    return true;
                }
                None => {
                    self.at += hit;
                    return false;
                }
            }
        }
        self.at += ahead.len();
        false
    }

    /// The code of the marker at this position, after any fill bytes; `self.at` is then at the 0xFF right before it.
    fn code(&mut self, bytes: &[u8]) -> Result<Option<u8>, Defect> {
        let frame = &bytes[self.start..];
        if let Some(Skipped { range, .. }) = &self.last {
            // No segment ends with SOI: this one was cut short right before the next frame.
            let inside = bytes.get(range.start + 4..range.end).unwrap_or_default();
            if inside.ends_with(&BEGINNING[..2]) {
                return Err(Defect::BadMarker(range.start - self.start));
            }
        }
        match marker::code(frame, self.at - self.start) {
            Ok((code, at)) => {
                self.at = self.start + at;
                self.within_limit(self.at)?;
                Ok(Some(code))
            }
            Err(Defect::Short) => {
                self.at = self.at.max(bytes.len().saturating_sub(1));
                Ok(None)
            }
            Err(defect) => Err(defect),
        }
    }

    /// Ends the frame, unless it is part of a damaged segment.
    fn eoi(&mut self) -> Result<Option<Whole>, Defect> {
        let (start, end) = (self.start, self.at + 2);
        self.within_limit(end)?;
        self.at = end;
        self.last = None;
        let head = self.head.ok_or(Defect::NoScan)?;
        self.state = Position::Hunt;
        if end <= self.shadow {
            return Ok(None);
        }
        Ok(Some(Whole { start, end, head }))
    }

    /// Begins anew. What came before is a frame without an end if there was a scan, and nothing if there was only SOI.
    fn soi(&mut self) -> Result<Option<Whole>, Defect> {
        match (self.head, self.last.take()) {
            (Some(head), _) => Ok(self.unended(head)),
            (None, Some(_)) => Err(Defect::BadMarker(self.at - self.start)),
            (None, None) => {
                self.between += (self.at - self.start) as u64;
                self.state = Position::Hunt;
                Ok(None)
            }
        }
    }

    /// Ends the frame here, without EOI; a thumbnail in a damaged segment is none.
    fn unended(&mut self, head: Head) -> Option<Whole> {
        let (start, end) = (self.start, self.at);
        self.state = Position::Hunt;
        (start >= self.shadow).then_some(Whole { start, end, head })
    }

    /// Skips the marker at this position and its segment; returns false if not enough of it has been read yet.
    fn segment(&mut self, bytes: &[u8], code: u8) -> Result<bool, Defect> {
        if marker::stands_alone(code) {
            self.at += 2;
            self.last = None;
            return Ok(true);
        }
        let fits = match self.state {
            Position::BetweenScans => marker::is_between_scans(code),
            _ => marker::is_segment(code),
        };
        let (frame, at) = (&bytes[self.start..], self.at - self.start);
        if !fits {
            return Err(Defect::BadMarker(at));
        }
        let ahead = frame.get(at + 2..).unwrap_or_default();
        if ahead.starts_with(&BEGINNING) {
            return Err(Defect::BadLength(at));
        }
        if ahead.len() < 2 || ahead == &BEGINNING[..2] {
            return Ok(false);
        }
        let end = marker::end(frame, at)?;
        let is_data = marker::is_data(code);
        // A segment beyond the limit is not skipped, so that the hunt continues from here, however much of it has
        // arrived.
        self.within_limit(self.start + end)?;
        if !is_data {
            let Some(body) = frame.get(at + 2..end) else {
                return Ok(false);
            };
            // It was cut short, and this is the next frame.
            if memmem::find(body, &BEGINNING).is_some() || body.ends_with(&BEGINNING[..2]) {
                return Err(Defect::BadLength(at));
            }
            self.header.segment(code, &body[2..], at)?;
        }
        self.last = Some(Skipped {
            range: self.at..self.start + end,
            is_data,
        });
        self.at = self.start + end;
        if code == marker::SOS {
            let head = self.header.head(at, end)?;
            self.head.get_or_insert(head);
            self.last = None;
            self.state = Position::Entropy;
        }
        Ok(true)
    }

    /// Chooses where the hunt goes on after a defect: here, or within the segment that brought us here.
    fn go_back(&mut self, defect: Defect) {
        self.state = Position::Hunt;
        let last = self.last.take();
        let (Defect::BadMarker(_) | Defect::Short, Some(Skipped { range, is_data })) =
            (defect, last)
        else {
            return;
        };
        self.at = range.start + 2;
        if is_data {
            self.shadow = range.end;
        }
    }

    /// Checks that a frame that extends to `end` is not too long.
    fn within_limit(&self, end: usize) -> Result<(), Defect> {
        if end - self.start > self.limit {
            return Err(Defect::TooLong(self.limit));
        }
        Ok(())
    }
}
