//! The part that clients talk to. It turns frame directories into HTTP, in one loop on one thread.
//!
//! ```text
//!   inotify ──► cameras   which there are, what is the newest frame, is it fresh
//!                  │
//!                  ▼  Shot, if there is one; pacing: may this viewer have it now, or when
//!               delivery  who gets which frame when
//!                  ▲  Want
//!                  │
//!   sockets ──► client ◄─► connection   what each client is owed
//!      │                      └── http   what it asked for, and how the answer is said
//!    door, auth   who may come in
//! ```
//!
//! The loop waits for
//! - signals: a child process has ended (for the [`Attendant`]), or the server is to stop;
//! - inotify: a frame, a state or a directory has come or gone (`cameras`);
//! - listeners: somebody comes, and finds a place or not (`door`);
//! - clients: there is something to read, or room to write (`clients`);
//! - the proof of a password, on a thread of its own, has ended (`door/gate`, `auth/verify`);
//! - deadlines: to look at a client again, to accept again, to prove the next password, to try again to watch a
//!   directory, to ping the service manager, to end because nobody came or because a stop has taken long enough.
//!
//! Without viewers there is no deadline but the service manager's, and the loop sleeps. Each part owns its data and is
//! lent a turn (`turn`); what it cannot do alone it returns, and the loop acts on it. No client waits for another,
//! and there is no queue of frames. When a frame arrives, the viewers that can take it share it, each at its own
//! offset. The others are looked at again when their line is free.
//!
//! | word | meaning |
//! | --- | --- |
//! | turn | what the loop does between two sleeps; its time is read once (`turn`) |
//! | lent | what of a turn a connection needs (`lent`, `settings`) |
//! | camera, roster | one frame directory; all of them by name and number, as URLs mean them (`cameras`, `roster`) |
//! | client, viewer | everybody who is connected (`client`, `clients`); those of them who look at a camera |
//! | remote, place | where a client comes from; one of the few seats that it takes (`client_id`, `door`) |
//! | want, shot, given | what a client waits for; a frame that is handed out; what it is to the client (`want`, `shot`) |
//! | visit, round | bringing one client as far as it can get; reading, choosing and writing once (`delivery`) |
//! | line, path | the way to a viewer, and what is known of how busy it is (`pacing`) |
//! | held | a frame that is in memory only because a viewer is being sent it (`delivery/held`) |
//! | notice | a picture that says why there is no frame (`cameras/notice`) |
//! | repeat | a frame that a viewer has had, sent again as a sign of life |
//! | report | `/state` or `/metrics` (`reports`), from what was counted (`stats`) |
//!
//! Other modules deal with cameras (`capture`), processes (`supervise`) and the names of sockets and services
//! (`activation`).

mod attendant;
pub mod auth;
pub mod cameras;
mod client;
mod client_id;
mod clients;
pub mod connection;
mod delivery;
mod door;
#[cfg(test)]
mod fixture;
pub mod http;
pub mod lent;
mod options;
pub mod pacing;
pub mod remarks;
mod reports;
pub mod roster;
pub mod settings;
pub mod shot;
pub mod stats;
mod turn;
pub mod want;

use std::time::{Duration, Instant};

use log::{debug, info};
use signal_hook::consts::SIGCHLD;

pub use self::attendant::{Alone, Attendant, Verdict};
use self::cameras::Cameras;
use self::client::Client;
use self::client_id::{ClientId, Newcomer, Place, Remote};
use self::clients::Clients;
use self::connection::Connection;
use self::delivery::held::Of;
use self::delivery::{Delivery, Ended, Rounds};
pub use self::door::congestion::Congestion;
use self::door::gate::Gate;
pub use self::door::listen::{Address, can_listen};
use self::door::places::Places;
use self::door::reach;
use self::door::sockets::Sockets;
use self::door::{Arrival, Batch, Door};
pub use self::options::ServerOptions;
use self::reports::{Answer, Reports};
use self::roster::Roster;
use self::settings::Settings;
use self::stats::CloseReason;
use self::turn::{Timer, Token, Turn};
use self::want::ReportKind;
use crate::activation::{Manager, Passed};
use crate::error::{Context, Result};
use crate::event::{Interest, Readiness, Signals};
use crate::frames::watch::{Change, DirId};
use crate::sandbox::Sandbox;

/// How long streams have to finish their current frame after a stop signal.
const STOP_LIMIT: Duration = Duration::from_secs(3);

/// A server with its sockets, ready to run.
pub struct Server {
    turn: Turn,
    signals: Signals,
    manager: Manager,
    cameras: Cameras,
    door: Door,
    /// If `--auth` is set.
    gate: Option<Gate>,
    clients: Clients,
    delivery: Delivery,
    reports: Reports,
    exit_idle: Option<Duration>,
    stopping: bool,
}

impl Server {
    /// Sets up a server on the sockets that were passed and on those that `listen` names.
    pub fn new(
        options: ServerOptions,
        listen: &[Address],
        passed: Vec<Passed>,
        manager: Manager,
    ) -> Result<Self> {
        let settings = Settings {
            origins: options.origins,
            hosts: options.hosts.and(reach::full_names()),
            ..Settings::default()
        };
        let mut turn = Turn::new(settings, Roster::new(options.default_camera.clone()))?;
        let signals = Signals::catch_ends(&[SIGCHLD])?;
        turn.poll
            .add(&signals, Interest::Readable, Token::Signals)
            .doing(|| "wait for signals".into())?;
        let (root, default) = (options.root.as_deref(), options.default_camera.as_ref());
        let cameras = Cameras::new(&options.cameras, root, default, &mut turn)?;
        let sockets = Sockets::new(listen, passed, &options.open_sockets)?;
        if options.guard.is_some() && !options.auth_without_memory {
            sockets.check_memory()?;
        }
        sockets.set_congestion(&options.congestion);
        let gate = options.guard.map(|guard| Gate::new(guard, &mut turn));
        let places = Places::for_clients(options.max_clients, cameras.len(), &signals);
        let share = options.max_clients_per_address;
        let mut server = Server {
            signals,
            manager,
            cameras,
            door: Door::new(sockets.listeners, places, share),
            gate: gate.transpose()?,
            clients: Clients::new(),
            delivery: Delivery::new(options.max_held, options.stall_timeout),
            reports: Reports::new(&turn),
            exit_idle: options.exit_idle,
            stopping: false,
            turn,
        };
        for (socket, open) in sockets.connections {
            server.admit(Arrival { socket, open });
        }
        server.door.open(&mut server.turn)?;
        Ok(server)
    }

    /// Sets the restrictions of this process that `/state` reports.
    pub fn within(mut self, sandbox: Sandbox) -> Self {
        self.reports.set_sandbox(sandbox);
        self
    }

    /// Where it can be opened from this machine, and who else can: a line for each address that it listens on.
    pub fn lines(&self) -> Vec<String> {
        let asks = self.gate.is_some();
        let bound = self.door.bound();
        bound
            .map(|(at, open)| reach::line(at, asks && !open))
            .collect()
    }

    /// Says in the log under which addresses it can be opened.
    pub fn tell_where(&self) {
        let bound: Vec<_> = self.door.addresses().collect();
        if let Some(words) = reach::told(&bound, self.gate.is_some()) {
            info!("{words}");
        }
    }

    /// Serves until a signal, the attendant, `--exit-idle` or the end of a passed connection stops it.
    pub fn run(mut self, attendant: &mut dyn Attendant) -> Result<()> {
        self.turn.begin();
        self.manager.ready();
        let ping = self.manager.next_ping(self.turn.now);
        self.turn.timers.set(Timer::Watchdog, ping);
        self.note_idleness();
        for id in self.clients.ids() {
            self.serve(id);
        }
        while !self.is_done() {
            let turn = &mut self.turn;
            turn.timers.set(Timer::Attendant, attendant.deadline());
            turn.timers.set(Timer::Frames, self.cameras.retry_at());
            turn.poll
                .wait(turn.timers.next())
                .doing(|| "wait for events".into())?;
            turn.begin();
            self.reports.begin_turn();
            while let Some((name, readiness)) = self.turn.poll.next_event() {
                self.dispatch(name, readiness, attendant)?;
            }
            for timer in self.turn.timers.take_due(self.turn.now) {
                self.expire(timer, attendant)?;
            }
        }
        info!("{}", self.turn.stats);
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.clients.is_empty() && (self.stopping || self.door.is_closed())
    }

    fn dispatch(
        &mut self,
        name: Token,
        readiness: Readiness,
        attendant: &mut dyn Attendant,
    ) -> Result<()> {
        match name {
            Token::Signals => self.take_signals(attendant)?,
            Token::Frames => self.take_changes()?,
            Token::Checks => self.take_outcome(),
            Token::Root => self.take_root_changes()?,
            Token::Listener(index) => self.accept(index)?,
            Token::Client(id) => {
                if let Some(client) = self.clients.get_mut(id) {
                    client.ready(readiness);
                    self.serve(id);
                }
            }
        }
        Ok(())
    }

    fn expire(&mut self, timer: Timer, attendant: &mut dyn Attendant) -> Result<()> {
        match timer {
            Timer::Client(id) => self.serve(id),
            Timer::Accept => self.door.accept_again(&mut self.turn)?,
            Timer::Idle => self.end_idle()?,
            Timer::Watchdog => {
                self.manager.ping();
                let ping = self.manager.next_ping(self.turn.now);
                self.turn.timers.set(timer, ping);
            }
            Timer::Frames => self.retry(),
            Timer::Checks => {
                if let Some(gate) = &mut self.gate {
                    gate.check_next(&mut self.turn);
                }
            }
            Timer::Attendant => {
                let verdict = attendant.wake(self.turn.now)?;
                self.obey(verdict);
            }
            Timer::StopLimit => {
                for id in self.clients.ids() {
                    self.remove(id, CloseReason::Stopping);
                }
            }
        }
        Ok(())
    }

    fn take_signals(&mut self, attendant: &mut dyn Attendant) -> Result<()> {
        for signal in self.signals.take() {
            let mut ended = Vec::new();
            let verdict = match signal {
                SIGCHLD => attendant.child_changed(self.turn.now, &mut ended)?,
                _ => Verdict::Stop,
            };
            self.obey(verdict);
            for number in ended {
                self.cameras.vanish(number, &mut self.turn);
                self.end_viewers_of(number);
            }
        }
        Ok(())
    }

    fn take_changes(&mut self) -> Result<()> {
        for change in self.cameras.read(&self.turn)? {
            self.apply(change);
        }
        Ok(())
    }

    fn apply(&mut self, change: (DirId, Change)) {
        if let Some(camera) = self.cameras.apply(change, &mut self.turn) {
            self.serve_waiting(camera);
        }
    }

    fn take_root_changes(&mut self) -> Result<()> {
        for gone in self.cameras.read_root(&mut self.turn)? {
            self.end_viewers_of(gone);
        }
        Ok(())
    }

    fn retry(&mut self) {
        for change in self.cameras.retry(&self.turn) {
            self.apply(change);
        }
        for gone in self.cameras.retry_root(&mut self.turn) {
            self.end_viewers_of(gone);
        }
    }

    /// Brings a client as far as it can get now, and acts on what that ends with.
    fn serve(&mut self, id: ClientId) {
        let mut rounds = Rounds::new();
        while let Some(client) = self.clients.get_mut(id) {
            let (turn, cameras) = (&mut self.turn, &mut self.cameras);
            let visit = self
                .delivery
                .visit((id, client), cameras, &mut rounds, turn);
            match visit {
                Ended::Report(what) => {
                    if let Some(at) = self.report(id, what) {
                        let timers = &mut self.turn.timers;
                        timers.bring_forward(Timer::Client(id), at);
                        break;
                    }
                }
                Ended::Credential(credential) => {
                    if let Some(gate) = &mut self.gate {
                        gate.examine((id, client), credential, turn);
                    }
                }
                Ended::Gone(reason) => {
                    self.remove(id, reason);
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
        self.bound_held();
    }

    /// Gives a client the report that it asked for, or says when to try again.
    fn report(&mut self, id: ClientId, what: ReportKind) -> Option<Instant> {
        self.cameras.check_default(&mut self.turn);
        let held = self.delivery.held.bytes();
        let (cameras, clients) = (&mut self.cameras, &mut self.clients);
        let report = match self.reports.get(what, cameras, clients, held, &self.turn) {
            Answer::Later(at) => return Some(at),
            Answer::Impossible => None,
            Answer::Report(media_type, shot) => {
                self.delivery.held.note(Of::Report, &shot);
                Some((media_type, shot))
            }
        };
        if let Some(client) = self.clients.get_mut(id) {
            let lent = &mut self.turn.lend();
            client.connection.give_report(report, lent);
        }
        None
    }

    /// Drops the viewers that keep the oldest frames in memory, until no more is held than allowed.
    fn bound_held(&mut self) {
        while let Some(id) = self.delivery.held.excess(self.clients.holders()) {
            debug!("dropping a viewer that still holds the oldest frame");
            self.remove(id, CloseReason::HeldTooMuch);
        }
    }

    /// A camera has something new: looks at every client that waits for it.
    fn serve_waiting(&mut self, camera: usize) {
        let waiting = self.cameras.take_waiting(camera);
        for id in &waiting {
            if let Some(client) = self.clients.get_mut(*id) {
                client.waiting = None;
                self.serve(*id);
            }
        }
        self.cameras.put_back(waiting);
    }

    /// A camera has gone: ends the streams and snapshots of its viewers. Nobody else is affected.
    fn end_viewers_of(&mut self, camera: usize) {
        self.delivery.held.outdate(camera);
        let now = self.turn.now;
        for id in self.clients.ids() {
            let affected = self
                .clients
                .get_mut(id)
                .is_some_and(|client| client.connection.camera_gone(camera, now));
            if affected {
                self.serve(id);
            }
        }
    }

    /// The proof of a password has ended.
    fn take_outcome(&mut self) {
        let Some(gate) = &mut self.gate else {
            return;
        };
        let Some(outcome) = gate.finished(&self.turn) else {
            return;
        };
        for id in &outcome.clients {
            if let Some(client) = self.clients.get_mut(*id) {
                outcome.tell(client, &mut self.turn);
                self.serve(*id);
            }
        }
        if let Some(gate) = &mut self.gate {
            gate.check_next(&mut self.turn);
        }
    }

    fn accept(&mut self, listener: usize) -> Result<()> {
        let mut batch = Batch::from(listener);
        while let Some(arrival) = self.door.accept(&mut batch, &mut self.turn)? {
            if let Some(id) = self.admit(arrival) {
                self.serve(id);
            }
        }
        Ok(())
    }

    /// Gives a new connection a place, or at least an answer.
    fn admit(&mut self, Arrival { socket, open }: Arrival) -> Option<ClientId> {
        self.turn.stats.accepted += 1;
        // Whoever has reset its connection by now is owed nothing.
        let remote = Remote::of(&socket)?;
        let guarded = !open && self.gate.is_some();
        let newcomer = Newcomer { remote, guarded };
        let seats = || self.clients.seats();
        let (place, gives_way) = self.door.place_for(newcomer, seats, &mut self.turn);
        if let Some(id) = gives_way {
            self.remove(id, CloseReason::GaveWay);
        }
        let turn = &mut self.turn;
        let connection = match place {
            Place::TurnedAway => Connection::turned_away(&mut turn.lend()),
            Place::Served(_) if guarded => Connection::guarded(turn.now),
            Place::Served(_) => Connection::new(turn.now),
        };
        let connection = match remote {
            Remote::Unix => connection.behind_proxy().near(),
            _ if remote.is_here() => connection.near(),
            _ => connection,
        };
        let mut client = Client::new(socket, connection, remote, place, turn.now);
        if !self.door.enter(place) {
            client.write(&mut turn.lend());
            turn.stats.close(CloseReason::Done);
            return None;
        }
        turn.timers.set(Timer::Idle, None);
        let id = self.clients.add(client, turn);
        self.note_crowd();
        Some(id)
    }

    /// Sets for how long connections without a request are kept, by how many places are left.
    fn note_crowd(&mut self) {
        let turn = &mut self.turn;
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

    fn remove(&mut self, id: ClientId, reason: CloseReason) {
        let Some(client) = self.clients.remove(id, &mut self.turn) else {
            return;
        };
        self.turn.stats.close(reason);
        if let Some(gate) = &mut self.gate {
            gate.forget(id);
        }
        if let Some(camera) = client.waiting {
            self.cameras.end_waiting(id, camera);
        }
        self.door.leave(client.place, &mut self.turn);
        self.note_crowd();
        self.note_idleness();
    }

    /// If there is no client, starts the time until `--exit-idle` applies.
    fn note_idleness(&mut self) {
        if self.clients.is_empty() && !self.stopping {
            let at = self.exit_idle.map(|after| self.turn.now + after);
            self.turn.timers.set(Timer::Idle, at);
        }
    }

    /// Nobody came, so the server stops. A client that comes now finds the socket with the service manager, unless it
    /// is already in our backlog.
    fn end_idle(&mut self) -> Result<()> {
        for index in 0..self.door.listeners() {
            self.accept(index)?;
        }
        if self.clients.is_empty() {
            info!("nobody was here for a while");
            self.stop();
        }
        Ok(())
    }

    fn obey(&mut self, verdict: Verdict) {
        if verdict == Verdict::Stop {
            self.stop();
        }
    }

    /// Accepts no more connections, and lets the existing ones finish what they have begun.
    fn stop(&mut self) {
        if self.stopping {
            return;
        }
        self.stopping = true;
        self.manager.stopping();
        self.door.close(&mut self.turn);
        let limit = self.turn.now + STOP_LIMIT;
        self.turn.timers.set(Timer::Idle, None);
        self.turn.timers.set(Timer::StopLimit, Some(limit));
        for id in self.clients.ids() {
            if let Some(client) = self.clients.get_mut(id) {
                client.connection.stop(&mut self.turn.lend());
            }
            self.serve(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps the memory per client visible: raise the bound if a new member is worth it.
    #[test]
    fn a_client_costs_little_more_than_half_a_kilobyte_beside_its_buffers() {
        let size = size_of::<Client>();
        assert!(size <= 680, "{size}");
    }
}
