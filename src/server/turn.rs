//! What a turn of the loop lends to the parts of the server: the time, the events and deadlines that they register,
//! the rules and the counters.
//!
//! A turn begins when the loop wakes up and ends when it sleeps again. Its time is read once, at the beginning, so
//! everything that happens in one turn happens at the same moment, and a test can move the clock. What comes from
//! outside while a turn runs, such as a frame, may be younger than that. A part gets the turn for as long as one of its
//! methods runs, and keeps nothing of it.

use std::time::{Duration, Instant, SystemTime};

use crate::error::Result;
use crate::event::{Deadlines, Poll};
use crate::server::client_id::ClientId;
use crate::server::lent::{Ids, Lent};
use crate::server::remarks::Remarks;
use crate::server::roster::Roster;
use crate::server::settings::Settings;
use crate::server::stats::Stats;
use crate::time::clock::{Clocks, Moment, monotonic};

/// The sources of events that the loop waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Token {
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
    /// The same by the wall clock.
    pub(in crate::server) wall: SystemTime,
    /// A moment by both monotonic clocks, the second of which shows its value.
    first: (Instant, Duration),
    /// The last time that was lent, by both: it is lent several times for each viewer and frame.
    lent: (Instant, Duration),
    ids: Ids,
    pub(in crate::server) poll: Poll<Token>,
    pub(in crate::server) timers: Deadlines<Timer>,
    pub(in crate::server) settings: Settings,
    /// The cameras by name; `cameras.rs` keeps it.
    pub(in crate::server) roster: Roster,
    pub(in crate::server) stats: Stats,
    remarks: Remarks,
}

impl Turn {
    /// A first turn, for setting up.
    pub(in crate::server) fn new(settings: Settings, roster: Roster) -> Result<Self> {
        let Clocks { now, wall } = Clocks::read();
        let first = (now, monotonic());
        Ok(Turn {
            now,
            wall,
            first,
            lent: first,
            ids: Ids::default(),
            poll: Poll::new()?,
            timers: Deadlines::new(),
            settings,
            roster,
            stats: Stats::default(),
            remarks: Remarks::default(),
        })
    }

    /// The next turn begins.
    pub(in crate::server) fn begin(&mut self) {
        Clocks {
            now: self.now,
            wall: self.wall,
        } = Clocks::read();
    }

    /// The time of this turn, by both clocks.
    pub(in crate::server) fn clocks(&self) -> Clocks {
        Clocks {
            now: self.now,
            wall: self.wall,
        }
    }

    /// What a connection needs of this turn.
    pub(in crate::server) fn lend(&mut self) -> Lent<'_> {
        if self.lent.0 != self.now {
            let (first, monotonic) = self.first;
            let since = self.now.saturating_duration_since(first);
            self.lent = (self.now, monotonic + since);
        }
        Lent {
            now: self.now,
            moment: Moment {
                wall: self.wall,
                monotonic: self.lent.1,
            },
            settings: &self.settings,
            roster: &self.roster,
            ids: &mut self.ids,
            stats: &mut self.stats,
            remarks: &mut self.remarks,
        }
    }
}
