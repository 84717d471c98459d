//! What is told about the cameras and the viewers: `/state` and `/metrics`.
//!
//! A request bears its own cost: the server keeps nothing for it beyond a few counters, and opens no frame, so no
//! camera is woken. Making a report takes a millisecond or more with many viewers, so it is made once for all clients
//! that ask in the same turn of the loop. A client that asks much faster than the loop turns does not hold up others.

mod metrics;
mod state;
mod subjects;

use std::time::{Instant, SystemTime};

use crate::sandbox::Sandbox;
use crate::server::cameras::Cameras;
use crate::server::clients::Clients;
use crate::server::reports::subjects::Subjects;
use crate::server::turn::Turn;
use crate::server::want::Report;

/// The reports, and what they tell about the server itself.
#[derive(Debug)]
pub(in crate::server) struct Reports {
    /// Those that were made in this turn of the loop.
    made: Vec<(Report, String)>,
    started: Instant,
    started_at: SystemTime,
    /// The restrictions of this process.
    sandbox: Sandbox,
}

impl Reports {
    /// The reports of a server that starts now.
    pub(in crate::server) fn new(turn: &Turn) -> Self {
        Reports {
            made: Vec::new(),
            started: turn.now,
            started_at: SystemTime::now(),
            sandbox: Sandbox::default(),
        }
    }

    /// Sets the restrictions that are reported.
    pub(in crate::server) fn set_sandbox(&mut self, sandbox: Sandbox) {
        self.sandbox = sandbox;
    }

    /// A turn of the loop begins: what was made in the last one is outdated.
    pub(in crate::server) fn begin_turn(&mut self) {
        self.made.clear();
    }

    /// A report, made if it was not yet in this turn, with its media type. `held` is how many bytes of frames are in
    /// memory because a viewer is being sent them.
    pub(in crate::server) fn get(
        &mut self,
        what: Report,
        cameras: &mut Cameras,
        clients: &mut Clients,
        held: u64,
        turn: &Turn,
    ) -> (&'static str, &str) {
        let before = self.made.iter().position(|(made, _)| *made == what);
        let index = before.unwrap_or_else(|| {
            let subjects = Subjects::new(cameras, clients, held, turn.now);
            let body = self.make(what, subjects, turn);
            self.made.push((what, body));
            self.made.len() - 1
        });
        let media_type = match what {
            Report::State { .. } => state::MEDIA_TYPE,
            Report::Metrics => metrics::MEDIA_TYPE,
        };
        (media_type, &self.made[index].1)
    }

    fn make(&self, what: Report, subjects: Subjects<'_>, turn: &Turn) -> String {
        match what {
            Report::State { camera } => {
                let uptime = turn.now.saturating_duration_since(self.started);
                state::report(camera, subjects, (uptime, &self.sandbox), turn.now)
            }
            Report::Metrics => metrics::report(subjects, self.started_at, &turn.stats, turn.now),
        }
    }
}

#[cfg(test)]
mod tests;
