//! The frames that are in memory because a viewer is being sent them, and the limit to that.
//!
//! A frame that was replaced in its directory stays in memory for as long as somebody has it open. Each slow viewer
//! may hold another one, so there is a limit to all of them together: `--max-held`.

use std::rc::{Rc, Weak};

use crate::frames::frame::Frame;
use crate::server::client_id::ClientId;
use crate::server::shot::Shot;

/// The frames that are in memory because a viewer is being sent them.
#[derive(Debug)]
pub(in crate::server) struct Held {
    max: u64,
    /// More may count than at the last look.
    grown: bool,
    /// In the order in which they were first handed out.
    frames: Vec<HeldFrame>,
}

#[derive(Debug)]
struct HeldFrame {
    file: Weak<Frame>,
    len: u64,
    camera: usize,
    /// It is in its camera's directory anyway.
    newest: bool,
}

impl Held {
    pub(in crate::server) fn new(max: u64) -> Self {
        Held {
            max,
            grown: false,
            frames: Vec::new(),
        }
    }

    /// Records a frame of a camera that is handed out.
    pub(in crate::server) fn note(&mut self, camera: usize, shot: &Shot<Frame>) {
        let file = Rc::downgrade(&shot.file);
        if self.frames.iter().any(|frame| frame.file.ptr_eq(&file)) {
            return;
        }
        self.frames.retain(|frame| frame.file.strong_count() > 0);
        self.outdate(camera);
        self.frames.push(HeldFrame {
            file,
            len: shot.len,
            camera,
            newest: true,
        });
    }

    /// Bytes of frames in memory, including the newest ones.
    pub(in crate::server) fn bytes(&self) -> u64 {
        let held = self.frames.iter();
        held.filter(|frame| frame.file.strong_count() > 0)
            .map(|frame| frame.len)
            .sum()
    }

    /// The frame that a camera last published is no longer the newest, or is no longer there.
    pub(in crate::server) fn outdate(&mut self, camera: usize) {
        self.grown = true;
        let frames = self.frames.iter_mut();
        for frame in frames.filter(|frame| frame.camera == camera) {
            frame.newest = false;
        }
    }

    /// Who of the `holders` keeps the oldest frame in memory, if more is held than allowed.
    pub(in crate::server) fn excess<'a>(
        &mut self,
        holders: impl Iterator<Item = (ClientId, &'a Rc<Frame>)>,
    ) -> Option<ClientId> {
        if !self.grown {
            return None;
        }
        self.grown = self.is_over();
        if !self.grown {
            return None;
        }
        let placed = holders.filter_map(|(id, file)| Some((self.place(file)?, id)));
        let (_, id) = placed.min()?;
        Some(id)
    }

    /// Whether more is held than allowed. The newest frame of each camera does not count.
    fn is_over(&self) -> bool {
        let counts = |frame: &&HeldFrame| !frame.newest && frame.file.strong_count() > 0;
        let held = self.frames.iter().filter(counts).map(|frame| frame.len);
        held.sum::<u64>() > self.max
    }

    /// The position of a frame among those that count, the oldest first.
    fn place(&self, file: &Rc<Frame>) -> Option<usize> {
        let is_it = |frame: &HeldFrame| !frame.newest && frame.file.as_ptr() == Rc::as_ptr(file);
        self.frames.iter().position(is_it)
    }
}

#[cfg(test)]
mod tests;
