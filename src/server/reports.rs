//! What is told about the cameras and the viewers: `/state` and `/metrics`.
//!
//! A request bears its own cost: the server keeps nothing for it beyond a few counters, and opens no frame, so no
//! camera is woken. Making a report takes a millisecond or more with many viewers, and it can be as large as a frame. So each is made at
//! most every tenth of a second: who asks sooner waits, and gets one that is as new as its request. It is made once for all who
//! have waited, and kept like a frame: in one file in memory, of which each client remembers how much it has been sent.
//! Clients that ask very fast do not hold up others, and those that do not read what they asked for hold no more than
//! `--max-held`.

mod metrics;
mod state;
mod subjects;

use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use log::warn;

use crate::error::Result;
use crate::frames::controls;
use crate::frames::frame::Frame;
use crate::logging::Brake;
use crate::sandbox::Sandbox;
use crate::server::cameras::Cameras;
use crate::server::clients::Clients;
use crate::server::http::response::JSON;
use crate::server::reports::subjects::Subjects;
use crate::server::settings::Setters;
use crate::server::shot::Shot;
use crate::server::turn::Turn;
use crate::server::want::ReportKind;

/// A report is not made again before this time has passed.
const REST: Duration = Duration::from_millis(100);

/// How many different ones are made in that time. There is one for each camera.
const MOST: usize = 4;

/// What becomes of a request for a report.
#[derive(Debug)]
pub(in crate::server) enum ReportOutcome {
    /// The media type, and the report as a file.
    Report(&'static str, Shot<Frame>),
    /// It is to be asked for again at this time.
    Later(Instant),
    /// The system has no memory or no descriptor for it.
    Impossible,
}

/// The reports, and what they tell about the server itself.
#[derive(Debug)]
pub(in crate::server) struct Reports {
    /// Those that were made in the last tenth of a second, the oldest first, and those of this turn as files.
    made: Vec<(ReportKind, Instant, Option<Shot<Frame>>)>,
    complaint: Brake,
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
            complaint: Brake::new(Duration::from_secs(10)),
            started: turn.now,
            started_at: turn.wall,
            sandbox: Sandbox::default(),
        }
    }

    /// Sets the restrictions that are reported.
    pub(in crate::server) fn set_sandbox(&mut self, sandbox: Sandbox) {
        self.sandbox = sandbox;
    }

    /// A turn of the loop begins: what was made in the last one is outdated.
    pub(in crate::server) fn begin_turn(&mut self) {
        for (_, _, shot) in &mut self.made {
            *shot = None;
        }
    }

    /// A report, made if it was not yet in this turn. `held` is how many bytes of frames are in memory because a viewer is
    /// being sent them.
    pub(in crate::server) fn get(
        &mut self,
        what: ReportKind,
        cameras: &mut Cameras,
        clients: &mut Clients,
        held: u64,
        turn: &Turn,
    ) -> ReportOutcome {
        self.made.retain(|(_, at, _)| turn.now < *at + REST);
        let media_type = match what {
            ReportKind::State { .. } | ReportKind::Controls { .. } => JSON,
            ReportKind::Metrics => metrics::MEDIA_TYPE,
        };
        let before = self.made.iter().find(|(made, ..)| *made == what);
        let first = self.made.first().filter(|_| self.made.len() >= MOST);
        match before.or(first) {
            Some((made, _, Some(shot))) if *made == what => {
                return ReportOutcome::Report(media_type, shot.clone());
            }
            Some((_, at, _)) => return ReportOutcome::Later(*at + REST),
            None => {}
        }
        let subjects = Subjects::new(cameras, clients, held, turn.now);
        match kept(&self.make(what, subjects, turn), turn) {
            Ok(shot) => {
                self.made.push((what, turn.now, Some(shot.clone())));
                ReportOutcome::Report(media_type, shot)
            }
            Err(error) => {
                if let Some(more) = self.complaint.pass(turn.now) {
                    warn!("cannot make a report: {error} ({more} more like it)");
                }
                ReportOutcome::Impossible
            }
        }
    }

    fn make(&self, what: ReportKind, subjects: Subjects<'_>, turn: &Turn) -> String {
        match what {
            ReportKind::State { camera, details } => {
                let uptime = turn.now.saturating_duration_since(self.started);
                let may_set = turn.settings.setters != Setters::Nobody;
                let facts = (uptime, &self.sandbox, details, may_set);
                state::report(camera, subjects, facts, turn.clocks())
            }
            ReportKind::Controls { camera } => {
                let dir = subjects.cameras.camera(camera).dir();
                controls::offered(dir).unwrap_or("[]".into()) + "\n"
            }
            ReportKind::Metrics => {
                metrics::report(subjects, self.started_at, &turn.stats, turn.clocks())
            }
        }
    }
}

/// The text as a file in memory.
fn kept(text: &str, turn: &Turn) -> Result<Shot<Frame>> {
    let frame = Frame::of_text(text.as_bytes(), turn.wall)?;
    Ok(Shot {
        len: frame.len(),
        captured: turn.wall,
        taken: turn.now,
        picture: frame.size(),
        number: 0,
        file: Rc::new(frame),
    })
}

#[cfg(test)]
mod tests;
