//! What runs in the server's loop beside the server, and what it may ask of it.

use std::time::Instant;

use crate::error::Result;

/// Something that runs in the server's loop beside the server: the supervisor of `lazycam run`.
pub trait Attendant {
    /// A child process changed its state. Appends the numbers of the cameras that will deliver no more pictures.
    fn child_changed(&mut self, now: Instant, ended: &mut Vec<usize>) -> Result<Verdict>;
    /// When to call [`Attendant::wake`].
    fn deadline(&self) -> Option<Instant>;
    /// The deadline has passed.
    fn wake(&mut self, now: Instant) -> Result<Verdict>;
}

/// Whether the server continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It continues.
    GoOn,
    /// It stops, as it does after a signal.
    Stop,
}

/// An attendant that does nothing, for a server without a supervisor.
#[derive(Debug)]
pub struct Alone;

impl Attendant for Alone {
    fn child_changed(&mut self, _now: Instant, _ended: &mut Vec<usize>) -> Result<Verdict> {
        Ok(Verdict::GoOn)
    }
    fn deadline(&self) -> Option<Instant> {
        None
    }
    fn wake(&mut self, _now: Instant) -> Result<Verdict> {
        Ok(Verdict::GoOn)
    }
}
