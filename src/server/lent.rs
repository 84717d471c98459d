//! What the owner of a connection lends it for the length of a call: the time by each clock, the rules, the cameras
//! by name, numbers for streams, and the counters. With it, a connection needs no clock and keeps nothing that it shares
//! with others.

use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

use crate::server::remarks::Remarks;
use crate::server::roster::Roster;
use crate::server::settings::Settings;
use crate::server::stats::Stats;
use crate::time::clock::Moment;

/// What is lent. Both times are the same moment.
#[derive(Debug)]
pub struct Lent<'a> {
    /// The time for deadlines and ages.
    pub now: Instant,
    /// The time that is told to clients.
    pub moment: Moment,
    /// Times, limits and rules.
    pub settings: &'a Settings,
    /// The cameras that can be asked for.
    pub roster: &'a Roster,
    /// Numbers for streams.
    pub ids: &'a mut Ids,
    /// What is counted.
    pub stats: &'a mut Stats,
    /// What the log is told about requests.
    pub remarks: &'a mut Remarks,
}

/// A row of numbers that do not come up again, not even after the server was restarted, as those of a counter would.
#[derive(Debug, Default)]
pub struct Ids {
    key: RandomState,
    count: u64,
}

impl Ids {
    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.count += 1;
        self.key.hash_one(self.count)
    }
}
