//! The part that clients talk to. It turns frame directories into HTTP, in one loop on one thread.
//!
//! ```text
//!   inotify ──► cameras, roster   which cameras there are, what is the newest frame, is it fresh
//!                  │
//!                  ├──── pacing   may this viewer have it now, or when
//!                  ▼  delivery   who gets which frame when
//!   sockets ──► client ◄─► connection   what each client is owed
//!      │                      └── http   what it asked for, and how the answer is said
//!    door, auth   who may come in
//! ```
//!
//! No client waits for another, and there is no queue of frames. When a frame arrives, the viewers that can take it
//! share it, each at its own offset. The others are looked at again when their line is free. Every wait that can end
//! without an event is a deadline in one queue; without viewers there is no deadline, and the loop sleeps.
//!
//! Other modules deal with cameras (`capture`), processes (`supervise`) and the names of sockets and services
//! (`activation`).

pub mod auth;
pub mod cameras;
mod client;
mod client_id;
pub mod connection;
mod delivery;
mod door;
#[cfg(test)]
mod fixture;
pub mod http;
pub mod pacing;
mod reports;
pub mod roster;
pub mod shot;
pub mod stats;
mod turn;
pub mod want;

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use log::info;
use signal_hook::consts::SIGCHLD;

use self::auth::verify::Checks;
use self::cameras::Cameras;
use self::client::Client;
use self::client_id::ClientId;
use self::connection::Settings;
use self::door::listen::Listener;
pub use self::door::listen::{Address, can_listen};
use self::door::places::Places;
use self::roster::Roster;
use self::stats::CloseReason;
use self::turn::{Name, Timer, Turn};
use self::want::Report;
use crate::activation::{Manager, Passed};
use crate::error::{Context, Result};
use crate::event::{Interest, NumberMap, Readiness, Signals};
use crate::frames::name::Name as CameraName;
use crate::frames::watch::{Change, DirId};
use crate::logging::Brake;
use crate::sandbox::Sandbox;

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cameras with their frame directories. A camera's index is its number.
    pub cameras: Vec<(CameraName, PathBuf)>,
    /// A directory in which each subdirectory is a camera. These cameras come after the others.
    pub root: Option<PathBuf>,
    /// The camera that URLs without a name mean. If it is `None`, they mean the first one.
    pub default_camera: Option<CameraName>,
    /// How many clients are served at the same time.
    pub max_clients: usize,
    /// How many of these may come from one address; 0 means no limit. By default an address on another machine may
    /// take half.
    pub max_clients_per_address: Option<usize>,
    /// Bytes of frames kept in memory for slow viewers. Each camera's newest frame does not count.
    pub max_held: u64,
    /// A client that accepts no data for this long is dropped.
    pub stall_timeout: Duration,
    /// Exit after this long without a client.
    pub exit_idle: Option<Duration>,
    /// Which websites' pages may read what is served.
    pub origins: http::cors::Origins,
    /// Who is let in; `None` means everybody.
    pub guard: Option<auth::Guard>,
    /// Sockets on which no password is required: their names in `LISTEN_FDNAMES`, or addresses as they were given to
    /// listen on.
    pub open_sockets: Vec<String>,
}

/// How long streams have to finish their current frame after a stop signal.
const STOP_LIMIT: Duration = Duration::from_secs(3);

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

/// A server with its sockets, ready to run.
pub struct Server {
    options: Options,
    turn: Turn,
    signals: Signals,
    cameras: Cameras,
    listeners: Vec<Listener>,
    clients: NumberMap<ClientId, Client>,
    next_client: ClientId,
    held: delivery::Held,
    places: Places,
    /// How many clients are being told that there is no place for them.
    turned_away: usize,
    /// Reports made in this turn of the loop.
    reports: Vec<(Report, String)>,
    started: Instant,
    started_at: SystemTime,
    manager: Manager,
    stopping: bool,
    crowded: bool,
    exhausted: Brake,
    over_share: Brake,
    /// The proofs of passwords, if `--auth` is set.
    checks: Option<Checks>,
    failures: Brake,
    /// The restrictions of this process, for `/state`.
    sandbox: Sandbox,
}

impl Server {
    /// Sets up a server on the sockets that were passed and on those that `listen` names.
    pub fn new(
        options: Options,
        listen: &[Address],
        passed: Vec<Passed>,
        manager: Manager,
    ) -> Result<Self> {
        door::gate::check_words(&options.open_sockets, listen, &passed)?;
        let settings = Settings {
            cameras: Roster::new(options.default_camera.clone()),
            origins: options.origins.clone(),
            ..Settings::default()
        };
        let mut turn = Turn::new(settings, Instant::now())?;
        let signals = Signals::catch_ends(&[SIGCHLD])?;
        turn.poll
            .add(&signals, Interest::Readable, Name::Signals)
            .doing(|| "wait for signals".into())?;
        let (root, default) = (options.root.as_deref(), options.default_camera.as_ref());
        let cameras = Cameras::new(&options.cameras, root, default, &mut turn)?;
        let mut server = Server {
            turn,
            signals,
            cameras,
            listeners: Vec::new(),
            clients: NumberMap::default(),
            next_client: 0,
            held: delivery::Held::new(options.max_held),
            places: Places {
                served: options.max_clients,
                turned_away: 0,
            },
            turned_away: 0,
            reports: Vec::new(),
            started: Instant::now(),
            started_at: SystemTime::now(),
            manager,
            stopping: false,
            crowded: false,
            exhausted: Brake::new(Duration::from_secs(10)),
            over_share: Brake::new(Duration::from_secs(10)),
            checks: options.guard.clone().map(Checks::new).transpose()?,
            failures: Brake::new(Duration::from_secs(10)),
            sandbox: Sandbox::default(),
            options,
        };
        for address in listen {
            let open = server.is_open(|word| word.parse().as_ref() == Ok(address));
            for mut listener in Listener::bind(address)? {
                listener.open = open;
                server.listeners.push(listener);
            }
        }
        if let Some(checks) = &server.checks {
            let poll = &mut server.turn.poll;
            poll.add(checks, Interest::Readable, Name::Checks)
                .doing(|| "wait for proofs of passwords".into())?;
        }
        server.adopt(passed)?;
        server.register_listeners()?;
        let (cameras, in_use) = (server.cameras.len(), server.descriptors());
        server.places = Places::for_clients(server.options.max_clients, cameras, in_use);
        Ok(server)
    }

    /// Sets the restrictions of this process that `/state` reports.
    pub fn within(self, sandbox: Sandbox) -> Self {
        Server { sandbox, ..self }
    }

    /// The TCP ports on which the server listens.
    pub fn ports(&self) -> Vec<u16> {
        self.listeners.iter().filter_map(Listener::port).collect()
    }

    /// Serves until a signal, the attendant, `--exit-idle` or the end of a passed connection stops it.
    pub fn run(mut self, attendant: &mut dyn Attendant) -> Result<()> {
        let mut now = Instant::now();
        self.turn.now = now;
        self.manager.ready();
        self.turn
            .timers
            .set(Timer::Watchdog, self.manager.next_ping(now));
        self.note_idleness(now);
        let first: Vec<_> = self.clients.keys().copied().collect();
        for id in first {
            self.serve(id, now);
        }
        while !self.is_done() {
            self.turn.timers.set(Timer::Attendant, attendant.deadline());
            self.turn.timers.set(Timer::Frames, self.cameras.retry_at());
            self.turn
                .poll
                .wait(self.turn.timers.next())
                .doing(|| "wait for events".into())?;
            now = Instant::now();
            self.turn.now = now;
            self.reports.clear();
            while let Some((name, readiness)) = self.turn.poll.next_event() {
                self.dispatch(name, readiness, attendant, now)?;
            }
            for timer in self.turn.timers.take_due(now) {
                self.expire(timer, attendant, now)?;
            }
        }
        info!("{}", self.turn.stats);
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.clients.is_empty() && (self.stopping || self.listeners.is_empty())
    }

    fn dispatch(
        &mut self,
        name: Name,
        readiness: Readiness,
        attendant: &mut dyn Attendant,
        now: Instant,
    ) -> Result<()> {
        match name {
            Name::Signals => self.take_signals(attendant, now)?,
            Name::Frames => self.take_changes()?,
            Name::Checks => self.take_outcomes(now),
            Name::Root => self.take_root_changes()?,
            Name::Listener(index) => self.accept(index, now)?,
            Name::Client(id) => {
                if let Some(client) = self.clients.get_mut(&id) {
                    client.ready(readiness);
                    self.serve(id, now);
                }
            }
        }
        Ok(())
    }

    fn expire(&mut self, timer: Timer, attendant: &mut dyn Attendant, now: Instant) -> Result<()> {
        match timer {
            Timer::Client(id) => self.serve(id, now),
            Timer::Accept => self.accept_again()?,
            Timer::Idle => self.end_idle(now)?,
            Timer::Watchdog => {
                self.manager.ping();
                self.turn.timers.set(timer, self.manager.next_ping(now));
            }
            Timer::Frames => self.retry(),
            Timer::Checks => self.check_next(now),
            Timer::Attendant => {
                let verdict = attendant.wake(now)?;
                self.obey(verdict, now);
            }
            Timer::StopLimit => self.close_all(now),
        }
        Ok(())
    }

    fn take_signals(&mut self, attendant: &mut dyn Attendant, now: Instant) -> Result<()> {
        for signal in self.signals.take() {
            let mut ended = Vec::new();
            let verdict = match signal {
                SIGCHLD => attendant.child_changed(now, &mut ended)?,
                _ => Verdict::Stop,
            };
            self.obey(verdict, now);
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
        if let Some(camera) = self.cameras.apply(change, &self.turn) {
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

    /// A camera has something new: looks at every client that waits for it.
    fn serve_waiting(&mut self, camera: usize) {
        let waiting = self.cameras.take_waiting(camera);
        for id in &waiting {
            if let Some(client) = self.clients.get_mut(id) {
                client.waiting = None;
                self.serve(*id, self.turn.now);
            }
        }
        self.cameras.put_back(waiting);
    }

    /// A camera has gone: ends the streams and snapshots of its viewers. Nobody else is affected.
    fn end_viewers_of(&mut self, camera: usize) {
        self.held.outdate(camera);
        let (now, all) = (self.turn.now, self.clients.keys().copied());
        for id in all.collect::<Vec<_>>() {
            if let Some(client) = self.clients.get_mut(&id) {
                let stats = &mut self.turn.stats;
                if client.connection.camera_gone(camera, now, stats) {
                    self.serve(id, now);
                }
            }
        }
    }

    fn obey(&mut self, verdict: Verdict, now: Instant) {
        if verdict == Verdict::Stop {
            self.stop(now);
        }
    }

    /// Accepts no more connections, and lets the existing ones finish what they have begun.
    fn stop(&mut self, now: Instant) {
        if self.stopping {
            return;
        }
        self.stopping = true;
        self.manager.stopping();
        for mut listener in std::mem::take(&mut self.listeners) {
            if let Some(registration) = listener.registration.take() {
                self.turn.poll.remove(listener.socket(), registration);
            }
        }
        self.turn.timers.set(Timer::Accept, None);
        self.turn.timers.set(Timer::Idle, None);
        self.turn
            .timers
            .set(Timer::StopLimit, Some(now + STOP_LIMIT));
        let all: Vec<_> = self.clients.keys().copied().collect();
        for id in all {
            if let Some(client) = self.clients.get_mut(&id) {
                client.connection.stop(now, &mut self.turn.stats);
            }
            self.serve(id, now);
        }
    }

    fn close_all(&mut self, now: Instant) {
        let all: Vec<_> = self.clients.keys().copied().collect();
        for id in all {
            self.remove(id, CloseReason::Stopping, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps the memory per client visible: raise the bound if a new member is worth it.
    #[test]
    fn a_client_costs_less_than_half_a_kilobyte_beside_its_buffers() {
        let size = size_of::<Client>();
        assert!(size <= 512, "{size}");
    }
}
