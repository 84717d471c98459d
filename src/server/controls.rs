//! Sets controls of cameras for clients: writes what they want where the camera's program looks for it, and waits for
//! its answer.
//!
//! One client at a time per camera, and for all of them ten times a second: the camera's program works through what is
//! written, and cameras on USB take milliseconds for each control. Who comes sooner waits, for as long as an answer may
//! take. The answer is looked for while somebody waits for one, and only then: there is no watch for it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use log::warn;

use crate::frames::controls::{self, Asked};
use crate::logging::Brake;
use crate::server::cameras::camera::Camera;
use crate::server::cameras::condition::{CameraPhase, public};
use crate::server::client_id::ClientId;
use crate::server::turn::Turn;
use crate::server::want::Wished;

/// From one wish to the next.
const REST: Duration = Duration::from_millis(100);

/// From one look for an answer to the next.
const LOOK: Duration = Duration::from_millis(10);

/// How long an answer may take, and how long a client waits for its turn.
const TIMEOUT: Duration = Duration::from_secs(5);

const ABSENT: &str = "no program captures for this camera now, so nothing can be set; try again";
const BUSY: &str = "others are setting controls of this camera all the time; try again";
const SILENT: &str = "the camera's program has not answered within 5 s: is it alive, and was it started with --mailbox?";
const UNWRITTEN: &str = "this server cannot write what is wanted, see its log; try again";

/// What becomes of a wish.
#[derive(Debug)]
pub(in crate::server) enum Granted {
    /// It is to be asked for again at this time.
    Later(Instant),
    /// The lines of the answer.
    Answer(Vec<String>),
    /// There is no answer, for this reason.
    Failed(&'static str),
}

/// What clients want and was not answered yet.
#[derive(Debug)]
pub(in crate::server) struct Desk {
    /// The directory with the mailboxes of the cameras; without it, wishes go into their frame directories.
    mailboxes: Option<PathBuf>,
    asked: Vec<Open>,
    rests_until: Option<Instant>,
    complaint: Brake,
}

#[derive(Debug)]
struct Open {
    client: ClientId,
    camera: usize,
    asked: Asked,
    until: Instant,
}

impl Desk {
    pub(in crate::server) fn new(mailboxes: Option<PathBuf>) -> Self {
        Desk {
            mailboxes,
            asked: Vec::new(),
            rests_until: None,
            complaint: Brake::new(Duration::from_secs(10)),
        }
    }

    /// Brings the wishes of a client, which it has had since then, as far as they can get now.
    pub(in crate::server) fn advance(
        &mut self,
        client: ClientId,
        camera: &mut Camera,
        wished: &Wished<'_>,
        turn: &Turn,
    ) -> Granted {
        let (now, number, since) = (turn.now, wished.camera, wished.since);
        if let Some(open) = self.asked.iter().find(|open| open.client == client) {
            let granted = match open.asked.answer() {
                Some(lines) if wished.details => Granted::Answer(lines),
                Some(lines) => Granted::Answer(lines.iter().map(|line| told(line)).collect()),
                None if now < open.until => return Granted::Later(now + LOOK),
                None => Granted::Failed(SILENT),
            };
            self.forget(client);
            return granted;
        }
        let is_busy = self.asked.iter().any(|open| open.camera == number);
        let rest = self.rests_until.filter(|until| now < *until);
        if is_busy || rest.is_some() {
            return wait(since, rest.unwrap_or(now + REST), now);
        }
        if camera.find(turn.clocks()).phase == CameraPhase::Absent {
            return Granted::Failed(ABSENT);
        }
        let mailbox = self.mailboxes.as_ref().map(|dir| dir.join(camera.name()));
        match controls::ask(camera.dir(), mailbox.as_deref(), wished.wishes, turn.wall) {
            Ok(Some(asked)) => {
                let until = now + TIMEOUT;
                self.rests_until = Some(now + REST);
                self.asked.push(Open {
                    client,
                    camera: number,
                    asked,
                    until,
                });
                Granted::Later(now + LOOK)
            }
            Ok(None) => wait(since, now + REST, now),
            Err(error) => {
                if let Some(more) = self.complaint.pass(now) {
                    warn!("cannot set controls: {error} ({more} more like it)");
                }
                Granted::Failed(UNWRITTEN)
            }
        }
    }

    /// The client waits no longer.
    pub(in crate::server) fn forget(&mut self, client: ClientId) {
        self.asked.retain(|open| open.client != client);
    }
}

fn wait(since: Instant, until: Instant, now: Instant) -> Granted {
    match now < since + TIMEOUT {
        true => Granted::Later(until),
        false => Granted::Failed(BUSY),
    }
}

/// A line of an answer for those who are not told of devices by their paths.
fn told(line: &str) -> String {
    match line.split_once(": ") {
        Some((wish, why)) => format!("{wish}: {}", public(why)),
        None => line.to_owned(),
    }
}
