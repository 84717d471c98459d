//! What becomes of clients from when they come until they go: everything in which more than one part of the server
//! takes part.
//!
//! The parts are here by name. None of them knows the others beyond what the layering allows (CONTRIBUTING.md): what a
//! part cannot do alone it returns, and this file acts on it. When something happens is the loop's business
//! (`server.rs`), which lends its turn.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use log::debug;

use crate::error::Result;
use crate::event::Readiness;
use crate::frames::copy::FrameCopy;
use crate::frames::frame::Frame;
use crate::frames::watch::{Change, DirId};
use crate::server::cameras::Cameras;
use crate::server::client::Client;
use crate::server::client_id::{ClientId, Newcomer, Place, Remote};
use crate::server::clients::Clients;
use crate::server::connection::Connection;
use crate::server::controls::{Desk, Granted};
use crate::server::delivery::held::Of;
use crate::server::delivery::{Delivery, Ended, Rounds};
use crate::server::door::gate::Gate;
use crate::server::door::{Arrival, Batch, Door};
use crate::server::reports::{ReportOutcome, Reports};
use crate::server::stats::CloseReason;
use crate::server::turn::{Timer, Turn};
use crate::server::want::ReportKind;

/// The parts, and the clients between them.
pub(in crate::server) struct Visits {
    pub(in crate::server) cameras: Cameras,
    pub(in crate::server) door: Door,
    /// If `--auth` is set.
    pub(in crate::server) gate: Option<Gate>,
    pub(in crate::server) clients: Clients,
    pub(in crate::server) delivery: Delivery,
    pub(in crate::server) reports: Reports,
    pub(in crate::server) desk: Desk,
    /// Streams that the next server goes on with, and what it has to know of each.
    pub(in crate::server) handed_over: Vec<(OwnedFd, String)>,
    /// How long nobody may be there before the server ends, as long as it is to end for that.
    pub(in crate::server) exit_idle: Option<Duration>,
}

impl Visits {
    /// The loop begins: those who were there before are served.
    pub(in crate::server) fn begin(&mut self, turn: &mut Turn) {
        self.note_idleness(turn);
        for id in self.clients.ids() {
            self.serve(id, turn);
        }
    }

    /// Something has happened in the directories of the cameras.
    pub(in crate::server) fn take_changes(&mut self, turn: &mut Turn) -> Result<()> {
        for change in self.cameras.read(turn)? {
            self.apply(change, turn);
        }
        Ok(())
    }

    fn apply(&mut self, change: (DirId, Change), turn: &mut Turn) {
        if let Some(camera) = self.cameras.apply(change, turn) {
            self.serve_waiting(camera, turn);
        }
    }

    /// Something has happened in the directory that contains those of the cameras.
    pub(in crate::server) fn take_root_changes(&mut self, turn: &mut Turn) -> Result<()> {
        for gone in self.cameras.read_root(turn)? {
            self.end_viewers_of(gone, turn);
        }
        Ok(())
    }

    /// Tries again to watch directories.
    pub(in crate::server) fn retry(&mut self, turn: &mut Turn) {
        for change in self.cameras.retry(turn) {
            self.apply(change, turn);
        }
        for gone in self.cameras.retry_root(turn) {
            self.end_viewers_of(gone, turn);
        }
    }

    /// The process of a camera has ended for good.
    pub(in crate::server) fn vanish(&mut self, camera: usize, turn: &mut Turn) {
        self.cameras.vanish(camera, turn);
        self.end_viewers_of(camera, turn);
    }

    /// There is something to read from a client, or room to write.
    pub(in crate::server) fn wake(&mut self, id: ClientId, readiness: Readiness, turn: &mut Turn) {
        if let Some(client) = self.clients.get_mut(id) {
            client.ready(readiness);
            self.serve(id, turn);
        }
    }

    /// Brings a client as far as it can get now, and acts on what that ends with.
    pub(in crate::server) fn serve(&mut self, id: ClientId, turn: &mut Turn) {
        let mut rounds = Rounds::new();
        while let Some(client) = self.clients.get_mut(id) {
            let cameras = &mut self.cameras;
            let delivery = &mut self.delivery;
            match delivery.visit((id, client), cameras, &mut rounds, turn) {
                Ended::Report(what) => {
                    if let Some(at) = self.report(id, what, turn) {
                        turn.timers.bring_forward(Timer::Client(id), at);
                        break;
                    }
                }
                Ended::Setting => {
                    if let Some(at) = self.set_controls(id, turn) {
                        turn.timers.bring_forward(Timer::Client(id), at);
                        break;
                    }
                }
                Ended::Credential(credential) => {
                    if let Some(gate) = &mut self.gate {
                        gate.examine((id, client), credential, turn);
                    }
                }
                Ended::Gone(reason) => {
                    self.remove(id, reason, turn);
                    break;
                }
                Ended::Again => {
                    turn.timers.bring_forward(Timer::Client(id), turn.now);
                    break;
                }
                Ended::Wait(at) => {
                    if let Some(at) = at {
                        turn.timers.bring_forward(Timer::Client(id), at);
                    }
                    break;
                }
            }
        }
        self.bound_held(turn);
    }

    /// Gives a client the report that it asked for, or says when to try again.
    fn report(&mut self, id: ClientId, what: ReportKind, turn: &mut Turn) -> Option<Instant> {
        self.cameras.check_default(turn);
        let held = self.delivery.held.bytes();
        let (cameras, clients) = (&mut self.cameras, &mut self.clients);
        let report = match self.reports.get(what, cameras, clients, held, turn) {
            ReportOutcome::Later(at) => return Some(at),
            ReportOutcome::Impossible => None,
            ReportOutcome::Report(media_type, shot) => {
                self.delivery.held.note(Of::Report, &shot);
                Some((media_type, shot))
            }
        };
        if let Some(client) = self.clients.get_mut(id) {
            let lent = &mut turn.lend();
            client.connection.give_report(report, lent);
        }
        None
    }

    /// Sets the controls that a client wants, or says when to try again.
    fn set_controls(&mut self, id: ClientId, turn: &mut Turn) -> Option<Instant> {
        let client = self.clients.get_mut(id)?;
        let wished = client.connection.wants_setting()?;
        let camera = self.cameras.camera(wished.camera);
        let answer = match self.desk.advance(id, camera, &wished, turn) {
            Granted::Later(at) => return Some(at),
            Granted::Answer(lines) => Ok(lines),
            Granted::Failed(why) => Err(why),
        };
        client.connection.give_setting(answer, &mut turn.lend());
        None
    }

    /// Drops the viewers that keep the oldest frames in memory, until no more is held than allowed.
    fn bound_held(&mut self, turn: &mut Turn) {
        while let Some(id) = self.delivery.held.excess(self.clients.holders()) {
            debug!("dropping a viewer that still holds the oldest frame");
            self.remove(id, CloseReason::HeldTooMuch, turn);
        }
    }

    /// A camera has something new: looks at every client that waits for it.
    fn serve_waiting(&mut self, camera: usize, turn: &mut Turn) {
        let waiting = self.cameras.take_waiting(camera);
        for id in &waiting {
            if let Some(client) = self.clients.get_mut(*id) {
                client.waiting = None;
                self.serve(*id, turn);
            }
        }
        self.cameras.put_back(waiting);
    }

    /// A camera has gone: ends the streams and snapshots of its viewers. Nobody else is affected.
    fn end_viewers_of(&mut self, camera: usize, turn: &mut Turn) {
        self.delivery.held.outdate(camera);
        let now = turn.now;
        for id in self.clients.ids() {
            let affected = self
                .clients
                .get_mut(id)
                .is_some_and(|client| client.connection.camera_gone(camera, now));
            if affected {
                self.serve(id, turn);
            }
        }
    }

    /// The proof of a password has ended.
    pub(in crate::server) fn take_outcome(&mut self, turn: &mut Turn) {
        let Some(gate) = &mut self.gate else {
            return;
        };
        let Some(outcome) = gate.finished(turn) else {
            return;
        };
        for id in &outcome.clients {
            if let Some(client) = self.clients.get_mut(*id) {
                outcome.tell(client, turn);
                self.serve(*id, turn);
            }
        }
        self.check_next(turn);
    }

    /// Begins to prove the next password.
    pub(in crate::server) fn check_next(&mut self, turn: &mut Turn) {
        if let Some(gate) = &mut self.gate {
            gate.check_next(turn);
        }
    }

    pub(in crate::server) fn accept(&mut self, listener: usize, turn: &mut Turn) -> Result<()> {
        let mut batch = Batch::from(listener);
        while let Some(arrival) = self.door.accept(&mut batch, turn)? {
            if let Some(id) = self.admit(arrival, None, turn) {
                self.serve(id, turn);
            }
        }
        Ok(())
    }

    /// Goes on with a stream of an earlier server, if that can be.
    pub(in crate::server) fn resume(&mut self, arrival: Arrival, words: &str, turn: &mut Turn) {
        match Connection::resumed(words, &mut turn.lend()) {
            Some(connection) => _ = self.admit(arrival, Some(connection), turn),
            None => debug!("a stream of the last server cannot go on: {words}"),
        }
    }

    /// Gives a new connection a place, or at least an answer. One that is `resumed` is in the midst of its own.
    pub(in crate::server) fn admit(
        &mut self,
        Arrival {
            socket,
            remote,
            open,
        }: Arrival,
        resumed: Option<Connection<Frame>>,
        turn: &mut Turn,
    ) -> Option<ClientId> {
        turn.stats.accepted += 1;
        let guarded = !open && self.gate.is_some();
        let newcomer = Newcomer { remote, guarded };
        let seats = || self.clients.seats();
        let (place, gives_way) = self.door.place_for(newcomer, seats, turn);
        if let Some(id) = gives_way {
            self.remove(id, CloseReason::GaveWay, turn);
        }
        let connection = match (place, resumed) {
            (Place::TurnedAway, Some(_)) => return None,
            (Place::Served(_), Some(connection)) => connection,
            (Place::TurnedAway, None) => Connection::turned_away(&mut turn.lend()),
            (Place::Served(_), None) if guarded => Connection::guarded(turn.now),
            (Place::Served(_), None) => Connection::new(turn.now),
        };
        let connection = match remote {
            Remote::Unix => connection.behind_proxy().near(),
            _ if remote.is_here() => connection.near(),
            _ => connection,
        };
        let mut client = Client::over(socket, connection, remote, place, turn.now);
        if !self.door.enter(place) {
            client.write(&FrameCopy::default(), &mut turn.lend());
            turn.stats.close(CloseReason::Done);
            return None;
        }
        turn.timers.set(Timer::Idle, None);
        let id = self.clients.add(client, turn);
        self.note_crowd(turn);
        Some(id)
    }

    /// Sets for how long connections without a request are kept, by how many places are left.
    fn note_crowd(&mut self, turn: &mut Turn) {
        let was_crowded = std::mem::replace(&mut turn.settings.is_crowded, self.door.is_busy());
        if turn.settings.is_crowded && !was_crowded {
            for seat in self.clients.seats() {
                if let Some(since) = seat.silent_since {
                    let at = since + turn.settings.idle_timeout;
                    turn.timers.bring_forward(Timer::Client(seat.id), at);
                }
            }
        }
    }

    fn remove(&mut self, id: ClientId, reason: CloseReason, turn: &mut Turn) {
        let Some(client) = self.clients.remove(id, turn) else {
            return;
        };
        turn.stats.close(reason);
        if let Some(gate) = &mut self.gate {
            gate.forget(id);
        }
        self.desk.forget(id);
        if let Some(camera) = client.waiting {
            self.cameras.end_waiting(id, camera);
        }
        self.door.leave(client.place, turn);
        if reason == CloseReason::HandedOver {
            let words = client.connection.to_words(&turn.roster);
            let kept = words.map(|words| (client.into_socket(), words));
            self.handed_over.extend(kept);
        }
        self.note_crowd(turn);
        self.note_idleness(turn);
    }

    /// If there is no client, starts the time until `--exit-idle` applies.
    fn note_idleness(&mut self, turn: &mut Turn) {
        if self.clients.is_empty() {
            self.delivery.rest();
            let at = self.exit_idle.map(|after| turn.now + after);
            turn.timers.set(Timer::Idle, at);
        }
    }

    /// Accepts no more connections, and lets the existing ones finish what they have begun.
    pub(in crate::server) fn stop(&mut self, turn: &mut Turn) {
        self.door.close(turn);
        self.exit_idle = None;
        turn.timers.set(Timer::Idle, None);
        for id in self.clients.ids() {
            if let Some(client) = self.clients.get_mut(id) {
                client.connection.stop(&mut turn.lend());
            }
            self.serve(id, turn);
        }
    }

    /// Waits for nobody any more.
    pub(in crate::server) fn end(&mut self, turn: &mut Turn) {
        for id in self.clients.ids() {
            self.remove(id, CloseReason::Stopping, turn);
        }
    }
}

#[cfg(test)]
mod tests;
