//! What a turn of the loop lends to the parts of the server: the time, the events and deadlines that they register,
//! the rules and the counters.
//!
//! A turn begins when the loop wakes up and ends when it sleeps again. Its time is read once, at the beginning, so
//! everything that happens in one turn happens at the same moment, and a test can move the clock. A part gets the
//! turn for as long as one of its methods runs, and keeps nothing of it.

use std::time::Instant;

use crate::error::Result;
use crate::event::{Deadlines, Poll};
use crate::server::client_id::ClientId;
use crate::server::connection::Settings;
use crate::server::stats::Stats;

/// The sources of events that the loop waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Name {
    Signals,
    Frames,
    Checks,
    Root,
    Listener(usize),
    Client(ClientId),
}

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::server) enum Timer {
    Client(ClientId),
    Accept,
    Idle,
    Watchdog,
    Frames,
    Checks,
    Attendant,
    StopLimit,
}

/// What the loop lends.
pub(in crate::server) struct Turn {
    /// When the turn began.
    pub(in crate::server) now: Instant,
    pub(in crate::server) poll: Poll<Name>,
    pub(in crate::server) timers: Deadlines<Timer>,
    pub(in crate::server) settings: Settings,
    pub(in crate::server) stats: Stats,
}

impl Turn {
    /// A first turn, for setting up.
    pub(in crate::server) fn new(settings: Settings, now: Instant) -> Result<Self> {
        Ok(Turn {
            now,
            poll: Poll::new()?,
            timers: Deadlines::new(),
            settings,
            stats: Stats::default(),
        })
    }
}
