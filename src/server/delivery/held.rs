//! The frames that are in memory because a viewer is being sent them, and the limit to that.
//!
//! A frame that was replaced in its directory stays in memory for as long as somebody has it open. Each slow viewer
//! may hold another one, so there is a limit to all of them together: `--max-held`. Pictures of lost cameras and reports
//! are files in memory too, which many are sent at once, and count like frames.

use std::rc::{Rc, Weak};

use crate::frames::frame::Frame;
use crate::picture::jpeg::Size;
use crate::server::client_id::ClientId;
use crate::server::shot::Shot;

/// How many pictures of a lost camera, and how many reports, are kept anyway by those who make them.
const KEPT: usize = 4;

/// What it is that somebody is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Of {
    /// A frame of this camera, which keeps its newest one in its directory.
    Camera(usize),
    /// The picture of this camera in this size that says that it is lost. There is a newest one for each size.
    Notice(usize, Size),
    /// What the server tells of itself.
    Report,
}

impl Of {
    /// Whether this outdates that.
    fn outdates(self, other: Of) -> bool {
        match (self, other) {
            (Of::Camera(camera), other) => other.is_of(camera),
            (Of::Notice(..), other) => self == other,
            (Of::Report, _) => false,
        }
    }

    fn is_of(self, camera: usize) -> bool {
        matches!(self, Of::Camera(of) | Of::Notice(of, _) if of == camera)
    }

    /// Whether both are among those of which [`KEPT`] are kept.
    fn is_kept_with(self, other: Of) -> bool {
        match (self, other) {
            (Of::Notice(camera, _), Of::Notice(of, _)) => camera == of,
            (Of::Report, Of::Report) => true,
            _ => false,
        }
    }
}

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
    of: Of,
    /// It is in its camera's directory anyway, or kept by those who made it.
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

    /// Records what is handed out.
    pub(in crate::server) fn note(&mut self, of: Of, shot: &Shot<Frame>) {
        let file = Rc::downgrade(&shot.file);
        if self.frames.iter().any(|frame| frame.file.ptr_eq(&file)) {
            return;
        }
        self.frames.retain(|frame| frame.file.strong_count() > 0);
        self.outdate_all(|other| of.outdates(other));
        self.frames.push(HeldFrame {
            file,
            len: shot.len,
            of,
            newest: true,
        });
        let with = |frame: &&mut HeldFrame| frame.newest && of.is_kept_with(frame.of);
        for frame in self.frames.iter_mut().rev().filter(with).skip(KEPT) {
            frame.newest = false;
        }
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
        self.outdate_all(|of| of.is_of(camera));
    }

    fn outdate_all(&mut self, is_outdated: impl Fn(Of) -> bool) {
        self.grown = true;
        let frames = self.frames.iter_mut();
        for frame in frames.filter(|frame| is_outdated(frame.of)) {
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
