//! The side that talks to strangers: frame directories to HTTP, in one loop on one thread.
//!
//! ```text
//!   inotify ──► cameras.rs, roster.rs   which cameras there are
//!                  │
//!               camera.rs   what is the newest frame, is it fresh
//!                  │
//!                  ├──── pacing.rs   may this viewer have it now, or when
//!                  ▼  delivery.rs   who gets which frame when
//!   sockets ──► peer.rs ◄─► connection.rs ◄─► outbox.rs   what each client is owed
//!                  │             ├── request.rs, route.rs   what it asked for
//!               tcp.rs           └── response.rs            how that is said
//! ```
//!
//! Nobody waits behind anybody: there is no queue of frames. When a frame arrives, those viewers that can take one
//! share it, each at its own offset; the others are looked at again when their line is free. A wait that can
//! end without an event is a deadline in one queue; with no viewer there is none, and the loop sleeps.
//!
//! What is not here: cameras (`capture`), processes (`supervise`), the names of sockets and services
//! (`activation`).

mod admission;
pub mod auth;
pub mod camera;
mod cameras;
mod condition;
pub mod connection;
mod date;
mod delivery;
pub mod figures;
mod gate;
mod intervals;
mod listen;
mod lost;
mod metrics;
pub mod origins;
pub mod outbox;
pub mod pacing;
mod page;
mod peer;
mod places;
pub mod preconditions;
pub mod quirks;
pub mod request;
pub mod response;
pub mod roster;
pub mod route;
mod source;
mod state;
pub mod stats;
mod tcp;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use log::info;
use signal_hook::consts::SIGCHLD;

use self::auth::verify::Checks;
use self::camera::Camera;
use self::connection::{Report, Settings};
use self::listen::Listener;
pub use self::listen::{Address, can_listen};
use self::peer::Peer;
use self::places::Places;
use self::roster::Roster;
use self::stats::{CloseReason, Stats};
use crate::activation::{Manager, Passed};
use crate::error::{Context, Result};
use crate::event::{Deadlines, Interest, NumberMap, Poll, Readiness, Signals};
use crate::frames::name::Name as CameraName;
use crate::frames::root::Root;
use crate::frames::watch::{DirId, Watcher};
use crate::logging::Brake;
use crate::sandbox::Sandbox;

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Cameras with their frame directories, in the order of their numbers.
    pub cameras: Vec<(CameraName, PathBuf)>,
    /// A directory in which each directory is a camera. They come after the others.
    pub root: Option<PathBuf>,
    /// The camera that bare URLs mean; if none is named, the first.
    pub default_camera: Option<CameraName>,
    /// Clients served at a time.
    pub max_clients: usize,
    /// Of these, clients of one address, 0 for no limit; if nobody says, half for addresses of other machines.
    pub max_clients_per_address: Option<usize>,
    /// Bytes of frames kept in memory for slow viewers, the newest frame apart.
    pub max_held: u64,
    /// A client that takes nothing for so long is given up.
    pub stall_timeout: Duration,
    /// End when no client was there for so long.
    pub exit_idle: Option<Duration>,
    /// Whose pages may read what is served.
    pub origins: origins::Origins,
    /// Who may come in, if not everybody.
    pub guard: Option<auth::Guard>,
    /// Sockets where nobody is asked for a password: their names in `LISTEN_FDNAMES`, or addresses as given to listen on.
    pub open_sockets: Vec<String>,
}

/// After a stop signal, streams have so long to finish their frame.
const STOP_LIMIT: Duration = Duration::from_secs(3);

/// What the loop waits for, by name.
#[derive(Clone, Copy, Debug)]
enum Name {
    Signals,
    Frames,
    Checks,
    Root,
    Listener(usize),
    Peer(PeerId),
}

/// Never used again, unlike descriptors.
type PeerId = u64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Timer {
    Peer(PeerId),
    Accept,
    Idle,
    Watchdog,
    Frames,
    Checks,
    Attendant,
    StopLimit,
}

/// Something that lives in the server's loop beside it: the supervisor of `lazycam run`.
pub trait Attendant {
    /// A child process changed its state. Appends the numbers of cameras that there will be no more pictures of.
    fn child_changed(&mut self, now: Instant, ended: &mut Vec<usize>) -> Result<Verdict>;
    /// When [`Attendant::wake`] is to be called.
    fn deadline(&self) -> Option<Instant>;
    /// The deadline has come.
    fn wake(&mut self, now: Instant) -> Result<Verdict>;
}

/// Whether the server goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    GoOn,
    /// It ends as at a signal.
    Stop,
}

/// Nobody beside the server.
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
    settings: Settings,
    poll: Poll<Name>,
    timers: Deadlines<Timer>,
    signals: Signals,
    watcher: Watcher,
    root: Option<Root>,
    /// By number.
    cameras: Vec<Camera>,
    directories: HashMap<DirId, usize>,
    /// Of what is told about cameras that come back and go.
    changes: Brake,
    waiting: Vec<Vec<PeerId>>,
    spare_list: Vec<PeerId>,
    listeners: Vec<Listener>,
    peers: NumberMap<PeerId, Peer>,
    next_peer: PeerId,
    held: delivery::Held,
    places: Places,
    /// Clients that are being told that there is no place for them.
    turned_away: usize,
    stats: Stats,
    /// Made in this turn of the loop.
    reports: Vec<(Report, String)>,
    started: Instant,
    started_at: SystemTime,
    manager: Manager,
    stopping: bool,
    crowded: bool,
    exhausted: Brake,
    over_share: Brake,
    /// Proofs of passwords, where they are asked for.
    checks: Option<Checks>,
    failures: Brake,
    /// What this process is held to, for those who ask.
    sandbox: Sandbox,
}

impl Server {
    /// Sets up a server on the sockets that were passed and those that `listen` names.
    pub fn new(
        options: Options,
        listen: &[Address],
        passed: Vec<Passed>,
        manager: Manager,
    ) -> Result<Self> {
        gate::check_words(&options.open_sockets, listen, &passed)?;
        let mut poll = Poll::new()?;
        let signals = Signals::catch_ends(&[SIGCHLD])?;
        let watcher = Watcher::new()?;
        poll.add(&signals, Interest::Readable, Name::Signals)
            .doing(|| "wait for signals".into())?;
        poll.add(&watcher, Interest::Readable, Name::Frames)
            .doing(|| "wait for frames".into())?;
        let settings = Settings {
            cameras: Roster::new(options.default_camera.clone()),
            origins: options.origins.clone(),
            ..Settings::default()
        };
        let mut server = Server {
            settings,
            poll,
            timers: Deadlines::new(),
            signals,
            watcher,
            root: None,
            directories: HashMap::new(),
            changes: Brake::new(Duration::from_secs(10)),
            waiting: Vec::new(),
            spare_list: Vec::new(),
            cameras: Vec::new(),
            listeners: Vec::new(),
            peers: NumberMap::default(),
            next_peer: 0,
            held: delivery::Held::new(options.max_held),
            places: Places {
                served: options.max_clients,
                turned_away: 0,
            },
            turned_away: 0,
            stats: Stats::default(),
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
        server.set_up_cameras()?;
        for address in listen {
            let open = server.is_open(|word| word.parse().as_ref() == Ok(address));
            for mut listener in Listener::bind(address)? {
                listener.open = open;
                server.listeners.push(listener);
            }
        }
        if let Some(checks) = &server.checks {
            let poll = &mut server.poll;
            poll.add(checks, Interest::Readable, Name::Checks)
                .doing(|| "wait for proofs of passwords".into())?;
        }
        server.adopt(passed)?;
        server.register_listeners()?;
        let (cameras, in_use) = (server.cameras.len(), server.descriptors());
        server.places = Places::for_clients(server.options.max_clients, cameras, in_use);
        Ok(server)
    }

    /// Tells in `/state` what this process is held to.
    pub fn within(self, sandbox: Sandbox) -> Self {
        Server { sandbox, ..self }
    }

    /// The TCP ports that are listened on.
    pub fn ports(&self) -> Vec<u16> {
        self.listeners.iter().filter_map(Listener::port).collect()
    }

    /// Serves until a signal, the attendant, idleness or the end of a passed connection ends it.
    pub fn run(mut self, attendant: &mut dyn Attendant) -> Result<()> {
        let mut now = Instant::now();
        self.manager.ready();
        self.timers
            .set(Timer::Watchdog, self.manager.next_ping(now));
        self.note_idleness(now);
        let first: Vec<_> = self.peers.keys().copied().collect();
        for id in first {
            self.serve(id, now);
        }
        while !self.is_done() {
            self.timers.set(Timer::Attendant, attendant.deadline());
            self.timers.set(Timer::Frames, self.retry_at());
            self.poll
                .wait(self.timers.next())
                .doing(|| "wait for events".into())?;
            now = Instant::now();
            self.reports.clear();
            while let Some((name, readiness)) = self.poll.next_event() {
                self.dispatch(name, readiness, attendant, now)?;
            }
            for timer in self.timers.take_due(now) {
                self.expire(timer, attendant, now)?;
            }
        }
        info!("{}", self.stats);
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.peers.is_empty() && (self.stopping || self.listeners.is_empty())
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
            Name::Frames => self.take_changes(now)?,
            Name::Checks => self.take_outcomes(now),
            Name::Root => self.take_root_changes(now)?,
            Name::Listener(index) => self.accept(index, now)?,
            Name::Peer(id) => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.ready(readiness);
                    self.serve(id, now);
                }
            }
        }
        Ok(())
    }

    fn expire(&mut self, timer: Timer, attendant: &mut dyn Attendant, now: Instant) -> Result<()> {
        match timer {
            Timer::Peer(id) => self.serve(id, now),
            Timer::Accept => self.accept_again()?,
            Timer::Idle => self.end_idle(now)?,
            Timer::Watchdog => {
                self.manager.ping();
                self.timers.set(timer, self.manager.next_ping(now));
            }
            Timer::Frames => self.retry(now),
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
                self.vanish(number, now);
            }
        }
        Ok(())
    }

    fn obey(&mut self, verdict: Verdict, now: Instant) {
        if verdict == Verdict::Stop {
            self.stop(now);
        }
    }

    /// Takes no new connections and lets those that are there finish what was begun.
    fn stop(&mut self, now: Instant) {
        if self.stopping {
            return;
        }
        self.stopping = true;
        self.manager.stopping();
        for mut listener in std::mem::take(&mut self.listeners) {
            if let Some(registration) = listener.registration.take() {
                self.poll.remove(listener.socket(), registration);
            }
        }
        self.timers.set(Timer::Accept, None);
        self.timers.set(Timer::Idle, None);
        self.timers.set(Timer::StopLimit, Some(now + STOP_LIMIT));
        let all: Vec<_> = self.peers.keys().copied().collect();
        for id in all {
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.connection.stop(now, &mut self.stats);
            }
            self.serve(id, now);
        }
    }

    fn close_all(&mut self, now: Instant) {
        let all: Vec<_> = self.peers.keys().copied().collect();
        for id in all {
            self.remove(id, CloseReason::Stopping, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Memory per client stays visible: change the bound when a member is worth it.
    #[test]
    fn a_client_costs_less_than_half_a_kilobyte_beside_its_buffers() {
        let size = size_of::<Peer>();
        assert!(size <= 512, "{size}");
    }
}
