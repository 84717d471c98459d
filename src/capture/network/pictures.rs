//! The pictures that come from the network: the one that is arriving, and the newest that is whole. Older ones are
//! dropped, whether anybody has seen them or not.

use std::mem;
use std::time::{Duration, SystemTime};

use crate::picture::largest;
use crate::picture::mjpeg::{Discarded, Mjpeg};
use crate::picture::split::{Event, Splitter};

/// Bytes without any picture after which there will not be one.
const MUCH: u64 = 1 << 20;

/// One connection's pictures.
#[derive(Debug)]
pub struct Pictures {
    part: Vec<u8>,
    /// When the picture in `part` was captured, and how old it was when it was sent, as far as the camera says.
    part_at: (SystemTime, Option<Duration>),
    newest: Vec<u8>,
    newest_at: (SystemTime, Option<Duration>),
    is_new: bool,
    /// The newest is a notice, which is no picture.
    is_notice: bool,
    /// How many were whole.
    count: u64,
    splitter: Splitter,
    /// The picture that the splitter waits for the end of: where it began, and when that came.
    begun: (u64, SystemTime),
    mjpeg: Mjpeg,
}

impl Pictures {
    /// `name` is told with what is thrown away.
    pub fn new(name: String) -> Self {
        Pictures {
            part: Vec::new(),
            part_at: (SystemTime::UNIX_EPOCH, None),
            newest: Vec::new(),
            newest_at: (SystemTime::UNIX_EPOCH, None),
            is_new: false,
            is_notice: false,
            count: 0,
            splitter: Splitter::new(largest()),
            begun: (u64::MAX, SystemTime::UNIX_EPOCH),
            mjpeg: Mjpeg::new(name),
        }
    }

    /// Forgets what an earlier connection has left unfinished.
    pub fn restart(&mut self) {
        self.part = Vec::new();
        self.splitter = Splitter::new(largest());
        self.begun.0 = u64::MAX;
        self.is_new = false;
        self.is_notice = false;
        self.count = 0;
    }

    /// Instead of a picture, one came that says that there is none.
    pub(super) fn notice(&mut self) {
        self.is_notice = true;
    }

    /// Whether the newest that came says that there is no picture.
    pub fn is_notice(&self) -> bool {
        self.is_notice
    }

    /// When the newest picture was captured, if there is one that was not reported before.
    pub fn news(&mut self) -> Option<SystemTime> {
        mem::take(&mut self.is_new).then_some(self.newest_at.0)
    }

    /// How old the newest picture was when the camera sent it, if it said so.
    pub fn age(&self) -> Option<Duration> {
        self.newest_at.1
    }

    /// Whether so much has come without a picture that there will be none.
    pub fn is_hopeless(&self) -> bool {
        self.count == 0 && self.splitter.position() > MUCH && self.splitter.unfinished().is_none()
    }

    /// What was thrown away.
    pub fn discarded(&mut self) -> Option<Discarded> {
        self.mjpeg.discarded()
    }

    /// The newest picture, with what it lacks. The error says what is wrong with it.
    pub fn jpeg(&mut self) -> Result<&[u8], crate::picture::jpeg::Defect> {
        self.mjpeg.frame(&self.newest)
    }

    /// Begins a picture whose end is known to the caller. Its head came at the time `at`, when it was of this age.
    pub(super) fn begin(&mut self, at: SystemTime, age: Option<Duration>) {
        self.part.clear();
        let captured = at.checked_sub(age.unwrap_or_default());
        self.part_at = (captured.unwrap_or(at), age);
    }

    /// Returns how long it has become.
    pub(super) fn add(&mut self, bytes: &[u8]) -> usize {
        self.part.extend_from_slice(bytes);
        self.part.len()
    }

    pub(super) fn complete(&mut self) {
        mem::swap(&mut self.part, &mut self.newest);
        self.newest_at = self.part_at;
        self.is_notice = false;
        self.is_new = true;
        self.count += 1;
    }

    /// Takes in bytes in which the pictures have to be found.
    pub(super) fn split(&mut self, bytes: &[u8], at: SystemTime) {
        self.splitter.feed(bytes);
        while let Some(event) = self.splitter.next_event() {
            match event {
                Event::Frame(found) | Event::Unended(found) => {
                    let (begun, since) = self.begun;
                    let at = match begun == found.offset {
                        true => since,
                        false => at,
                    };
                    self.newest_at = (at, None);
                    self.is_notice = false;
                    self.splitter.take(found, &mut self.newest);
                    self.is_new = true;
                    self.count += 1;
                }
                Event::Broken(defect) => self.mjpeg.discard(defect),
            }
        }
        if let Some(offset) = self.splitter.unfinished() {
            if offset != self.begun.0 {
                self.begun = (offset, at);
            }
        }
    }
}
