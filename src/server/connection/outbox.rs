//! What a connection still has to send: bytes, then perhaps a frame, then bytes again.
//!
//! An outbox never holds the contents of a frame. It holds the frame, which is shared with all other viewers that are
//! being sent it, and how much of it this viewer has been sent. It is generic over the type of the frame's file, so
//! that the states of a connection can be tested without a file.

use std::rc::Rc;

use crate::server::shot::Shot;

/// A buffer of at most this size is kept for the next frame; the head of a part fits into it.
const KEPT: usize = 128;

/// What there is to send, in this order. Any of the three may be empty, but not all.
#[derive(Debug)]
pub struct Output<'a, F> {
    /// These bytes first.
    pub head: &'a [u8],
    /// Then this much of a file.
    pub file: Option<FilePart<'a, F>>,
    /// Then these bytes.
    pub tail: &'a [u8],
}

impl<'a, F> Output<'a, F> {
    /// These bytes and nothing else.
    pub fn bytes(head: &'a [u8]) -> Self {
        Output {
            head,
            file: None,
            tail: &[],
        }
    }
}

/// What is left of a file.
#[derive(Debug)]
pub struct FilePart<'a, F> {
    /// The frame's file.
    pub file: &'a F,
    /// The offset from which to send.
    pub offset: u64,
    /// How many bytes are left.
    pub len: u64,
}

/// The queue of one connection, which is never longer than one frame.
#[derive(Debug)]
pub struct Outbox<F> {
    head: Vec<u8>,
    /// How much of the head was sent, or of the tail once everything before it was, or of the next head ahead of it.
    bytes_sent: usize,
    shot: Option<Shot<F>>,
    shot_sent: u64,
    tail: Option<Rc<[u8]>>,
}

impl<F> Outbox<F> {
    /// An outbox with nothing to send.
    pub fn new() -> Self {
        Outbox {
            head: Vec::new(),
            bytes_sent: 0,
            shot: None,
            shot_sent: 0,
            tail: None,
        }
    }

    /// One for a connection on which so much of the next head was sent.
    pub fn ahead_by(sent: usize) -> Self {
        Outbox {
            bytes_sent: sent,
            ..Outbox::new()
        }
    }

    /// Whether everything was sent.
    pub fn is_empty(&self) -> bool {
        self.head.is_empty() && self.takes_a_frame()
    }

    /// Whether a frame, or bytes before one, can be put behind what is queued.
    pub fn takes_a_frame(&self) -> bool {
        self.shot.is_none() && self.tail.is_none()
    }

    /// The bytes to send before any frame, for appending. Must not be called after a frame was put in.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        debug_assert!(self.takes_a_frame());
        &mut self.head
    }

    /// How much of the next head was sent.
    pub fn ahead(&self) -> usize {
        self.bytes_sent
    }

    /// One more byte of the next head was sent, with nothing in the outbox.
    pub fn sent_ahead(&mut self) {
        debug_assert!(self.is_empty());
        self.bytes_sent += 1;
    }

    /// Appends a frame, and the bytes that are sent right behind it.
    pub fn put(&mut self, shot: Shot<F>, tail: Option<&Rc<[u8]>>) {
        debug_assert!(self.takes_a_frame());
        self.shot = Some(shot);
        self.tail = tail.cloned();
    }

    /// The frame that is being sent. Holding it keeps its memory in use.
    pub fn holds(&self) -> Option<&Rc<F>> {
        self.shot.as_ref().map(|shot| &shot.file)
    }

    /// How many bytes have not been sent yet.
    pub fn len(&self) -> u64 {
        let shot = self.shot.as_ref().map_or(0, |shot| shot.len);
        let tail = self.tail.as_ref().map_or(0, |tail| tail.len());
        // Nothing, but for what was sent ahead, if there is nothing.
        let bytes = (self.head.len() + tail).saturating_sub(self.bytes_sent);
        bytes as u64 + shot - self.shot_sent
    }

    /// What is to be sent.
    pub fn output(&self) -> Option<Output<'_, F>> {
        if self.is_empty() {
            return None;
        }
        let (head, tail) = (&self.head[..], self.tail.as_deref().unwrap_or_default());
        let (in_head, in_tail) = match head.is_empty() && self.shot.is_none() {
            true => (0, self.bytes_sent),
            false => (self.bytes_sent, 0),
        };
        let file = self.shot.as_ref().map(|shot| FilePart {
            file: &*shot.file,
            offset: self.shot_sent,
            len: shot.len - self.shot_sent,
        });
        Some(Output {
            head: &head[in_head..],
            file,
            tail: &tail[in_tail..],
        })
    }

    /// Records that the first `n` bytes of the last [`Outbox::output`] were sent.
    pub fn sent(&mut self, n: usize) {
        let mut n = n as u64;
        if !self.head.is_empty() {
            let left = (self.head.len() - self.bytes_sent) as u64;
            if n < left {
                self.bytes_sent += n as usize;
                return;
            }
            n -= left;
            self.bytes_sent = 0;
            self.head.clear();
            if self.head.capacity() > KEPT {
                // A larger buffer is given back, so that a viewer that waits costs little memory.
                self.head = Vec::new();
            }
        }
        if let Some(shot) = &self.shot {
            let left = shot.len - self.shot_sent;
            if n < left {
                self.shot_sent += n;
                return;
            }
            n -= left;
            self.shot = None;
            self.shot_sent = 0;
        }
        if let Some(tail) = &self.tail {
            self.bytes_sent += n as usize;
            if self.bytes_sent >= tail.len() {
                self.tail = None;
                self.bytes_sent = 0;
            }
        }
    }
}

impl<F> Default for Outbox<F> {
    fn default() -> Self {
        Self::new()
    }
}
