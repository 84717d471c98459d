//! What a connection still has to send: bytes, then perhaps a frame, then bytes again.
//!
//! It never holds a frame's contents, only the frame, shared with every other viewer that is being sent it, and
//! how far this one has got. Generic over what a frame is, so that the states of a connection can be tested
//! without a file.

use std::rc::Rc;
use std::time::{Instant, SystemTime};

use super::quirks::Facts;
use crate::frames::jpeg::Picture;

/// A buffer of so many bytes is kept for the next frame: the head of a part fits in.
const KEPT: usize = 128;

/// A frame as the server hands it out.
#[derive(Debug)]
pub struct Shot<F> {
    /// The open file.
    pub file: Rc<F>,
    /// Its length in bytes.
    pub len: u64,
    /// When it was captured, by the wall clock.
    pub captured: SystemTime,
    /// The same on the monotonic clock, by which ages are counted.
    pub taken: Instant,
    /// Its size in pixels.
    pub picture: Picture,
    /// Grows from frame to frame of a camera.
    pub number: u64,
}

impl<F> Shot<F> {
    /// What is told of it.
    pub fn facts(&self, online: bool) -> Facts {
        Facts {
            len: self.len,
            captured: self.captured,
            picture: self.picture,
            online,
        }
    }
}

impl<F> Clone for Shot<F> {
    fn clone(&self) -> Self {
        Shot {
            file: Rc::clone(&self.file),
            ..*self
        }
    }
}

/// The next thing to send.
#[derive(Debug)]
pub enum Output<'a, F> {
    /// These bytes; `more` says that something else follows at once, so a small segment need not go out for
    /// them alone.
    Bytes {
        /// What to send.
        bytes: &'a [u8],
        /// More follows.
        more: bool,
    },
    /// This much of the file, from this offset on.
    File {
        /// The frame's file.
        file: &'a F,
        /// Where to go on.
        offset: u64,
        /// Bytes left.
        len: u64,
    },
}

/// The queue of one connection: never more than one frame long.
#[derive(Debug)]
pub struct Outbox<F> {
    head: Vec<u8>,
    head_sent: usize,
    shot: Option<Shot<F>>,
    shot_sent: u64,
    tail: &'static [u8],
}

impl<F> Outbox<F> {
    /// Nothing to send.
    pub fn new() -> Self {
        Outbox {
            head: Vec::new(),
            head_sent: 0,
            shot: None,
            shot_sent: 0,
            tail: b"",
        }
    }

    /// Whether all was sent.
    pub fn is_empty(&self) -> bool {
        self.head.is_empty() && self.shot.is_none() && self.tail.is_empty()
    }

    /// Whether a frame, or bytes before one, can be put behind what is queued.
    pub fn takes_a_frame(&self) -> bool {
        self.shot.is_none() && self.tail.is_empty()
    }

    /// The bytes to send before any frame, to append to. Must not be called once a frame was put in.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        debug_assert!(self.takes_a_frame());
        &mut self.head
    }

    /// Appends a frame and what goes out right behind it.
    pub fn put(&mut self, shot: Shot<F>, tail: &'static [u8]) {
        debug_assert!(self.takes_a_frame());
        self.shot = Some(shot);
        self.tail = tail;
    }

    /// The frame that is being sent, which is what keeps its memory in use.
    pub fn holds(&self) -> Option<&Rc<F>> {
        self.shot.as_ref().map(|shot| &shot.file)
    }

    /// Bytes that are not sent yet.
    pub fn len(&self) -> u64 {
        let shot = self.shot.as_ref().map_or(0, |shot| shot.len);
        (self.head.len() - self.head_sent + self.tail.len()) as u64 + shot - self.shot_sent
    }

    /// What to send next.
    pub fn output(&self) -> Option<Output<'_, F>> {
        if !self.head.is_empty() {
            return Some(Output::Bytes {
                bytes: &self.head[self.head_sent..],
                more: self.shot.is_some(),
            });
        }
        if let Some(shot) = &self.shot {
            return Some(Output::File {
                file: &shot.file,
                offset: self.shot_sent,
                len: shot.len - self.shot_sent,
            });
        }
        (!self.tail.is_empty()).then_some(Output::Bytes {
            bytes: self.tail,
            more: false,
        })
    }

    /// Takes note that `n` bytes of the last [`Outbox::output`] were sent.
    pub fn sent(&mut self, n: usize) {
        if !self.head.is_empty() {
            self.head_sent += n;
            if self.head_sent >= self.head.len() {
                self.head_sent = 0;
                self.head.clear();
                if self.head.capacity() > KEPT {
                    // Given back: a viewer that waits shall cost little memory.
                    self.head = Vec::new();
                }
            }
        } else if let Some(shot) = &self.shot {
            self.shot_sent += n as u64;
            if self.shot_sent >= shot.len {
                self.shot = None;
                self.shot_sent = 0;
            }
        } else {
            self.tail = &self.tail[n.min(self.tail.len())..];
        }
    }
}

impl<F> Default for Outbox<F> {
    fn default() -> Self {
        Self::new()
    }
}
