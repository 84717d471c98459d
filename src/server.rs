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
//! lent a turn (`turn`); what it cannot do alone it returns, and `visits`, which has the parts by name, acts on it. No
//! client waits for another, and there is no queue of frames. When a frame arrives, the viewers that can take it share
//! it, each at its own offset. The others are looked at again when their line is free.
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
mod controls;
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
mod visits;
pub mod want;

use std::time::Duration;

use log::info;
use signal_hook::consts::SIGCHLD;

pub use self::attendant::{Alone, Attendant, Verdict};
use self::cameras::Cameras;
use self::clients::Clients;
use self::controls::Desk;
use self::delivery::Delivery;
pub use self::door::congestion::Congestion;
use self::door::gate::Gate;
pub use self::door::listen::{Address, can_listen};
use self::door::places::Places;
use self::door::reach;
use self::door::sockets::Sockets;
use self::door::{Arrival, Door};
pub use self::options::ServerOptions;
use self::reports::Reports;
use self::roster::Roster;
use self::settings::{Setters, Settings};
use self::turn::{Timer, Token, Turn};
use self::visits::Visits;
use crate::activation::{Manager, Passed};
use crate::error::{Context, Result};
use crate::event::{Interest, Readiness, Signals};
use crate::sandbox::Sandbox;

/// How long streams have to finish their current frame after a stop signal.
const STOP_LIMIT: Duration = Duration::from_secs(3);

/// A server with its sockets, ready to run.
pub struct Server {
    turn: Turn,
    signals: Signals,
    manager: Manager,
    visits: Visits,
    /// Of the passwords with which its streams began.
    edition: u64,
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
            setters: options.setters,
            hands_over: manager.keeps_sockets(),
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
        if options.setters == Setters::Known && options.guard.is_none() {
            sockets.check_setters()?;
        }
        sockets.set_congestion(&options.congestion);
        let edition = options.guard.as_ref().map_or(0, |guard| guard.edition());
        let gate = options.guard.map(|guard| Gate::new(guard, &mut turn));
        let places = Places::for_clients(options.max_clients, cameras.len(), &signals);
        let share = options.max_clients_per_address;
        let mut visits = Visits {
            cameras,
            door: Door::new(sockets.listeners, places, share),
            gate: gate.transpose()?,
            clients: Clients::new(),
            delivery: Delivery::new(options.max_held, options.stall_timeout),
            reports: Reports::new(&turn),
            desk: Desk::new(options.mailboxes),
            handed_over: Vec::new(),
            exit_idle: options.exit_idle,
        };
        for (socket, open) in sockets.connections {
            if let Some(arrival) = Arrival::inherited(socket, open) {
                visits.admit(arrival, None, &mut turn);
            }
        }
        for (socket, words) in sockets.streams {
            manager.forget(&words);
            // Whoever was sent it had a password, and may have it no more.
            let words = words.strip_prefix(&format!("{edition:x} "));
            let arrival = words.and_then(|_| Arrival::inherited(socket, true));
            if let (Some(words), Some(arrival)) = (words, arrival) {
                visits.resume(arrival, words, &mut turn);
            }
        }
        visits.door.open(&mut turn)?;
        Ok(Server {
            turn,
            signals,
            manager,
            visits,
            edition,
            stopping: false,
        })
    }

    /// Sets the restrictions of this process that `/state` reports.
    pub fn within(mut self, sandbox: Sandbox) -> Self {
        self.visits.reports.set_sandbox(sandbox);
        self
    }

    /// Where it can be opened from this machine, and who else can: a line for each address that it listens on.
    pub fn lines(&self) -> Vec<String> {
        let asks = self.visits.gate.is_some();
        let bound = self.visits.door.bound();
        bound
            .map(|(at, open)| reach::line(at, asks && !open))
            .collect()
    }

    /// Says in the log under which addresses it can be opened.
    pub fn tell_where(&self) {
        let bound: Vec<_> = self.visits.door.addresses().collect();
        if let Some(words) = reach::told(&bound, self.visits.gate.is_some()) {
            info!("{words}");
        }
    }

    /// Serves until a signal, the attendant, `--exit-idle` or the end of a passed connection stops it.
    pub fn run(mut self, attendant: &mut dyn Attendant) -> Result<()> {
        self.turn.begin();
        self.manager.ready();
        self.set_ping();
        self.visits.begin(&mut self.turn);
        while !self.is_done() {
            let turn = &mut self.turn;
            turn.timers.set(Timer::Attendant, attendant.deadline());
            let retry = self.visits.cameras.retry_at();
            turn.timers.set(Timer::Frames, retry);
            turn.poll
                .wait(turn.timers.next())
                .doing(|| "wait for events".into())?;
            turn.begin();
            self.visits.reports.begin_turn();
            while let Some((token, readiness)) = self.turn.poll.next_event() {
                self.dispatch(token, readiness, attendant)?;
            }
            for timer in self.turn.timers.take_due(self.turn.now) {
                self.expire(timer, attendant)?;
            }
        }
        for (socket, words) in &self.visits.handed_over {
            let words = format!("{:x} {words}", self.edition);
            self.manager.keep(socket, &words);
        }
        info!("{}", self.turn.stats);
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.visits.clients.is_empty() && (self.stopping || self.visits.door.is_closed())
    }

    fn dispatch(
        &mut self,
        token: Token,
        readiness: Readiness,
        attendant: &mut dyn Attendant,
    ) -> Result<()> {
        let (visits, turn) = (&mut self.visits, &mut self.turn);
        match token {
            Token::Signals => self.take_signals(attendant)?,
            Token::Frames => visits.take_changes(turn)?,
            Token::Checks => visits.take_outcome(turn),
            Token::Root => visits.take_root_changes(turn)?,
            Token::Listener(index) => visits.accept(index, turn)?,
            Token::Client(id) => visits.wake(id, readiness, turn),
        }
        Ok(())
    }

    fn expire(&mut self, timer: Timer, attendant: &mut dyn Attendant) -> Result<()> {
        let (visits, turn) = (&mut self.visits, &mut self.turn);
        match timer {
            Timer::Client(id) => visits.serve(id, turn),
            Timer::Accept => visits.door.accept_again(turn)?,
            Timer::Idle => self.end_idle()?,
            Timer::Watchdog => {
                self.manager.ping();
                self.set_ping();
            }
            Timer::Frames => visits.retry(turn),
            Timer::Checks => visits.check_next(turn),
            Timer::Attendant => {
                let verdict = attendant.wake(turn.now)?;
                self.obey(verdict);
            }
            Timer::StopLimit => visits.end(turn),
        }
        Ok(())
    }

    fn set_ping(&mut self) {
        let ping = self.manager.next_ping(self.turn.now);
        self.turn.timers.set(Timer::Watchdog, ping);
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
                self.visits.vanish(number, &mut self.turn);
            }
        }
        Ok(())
    }

    /// Nobody came, so the server stops. A client that comes now finds the socket with the service manager, unless it
    /// is already in our backlog.
    fn end_idle(&mut self) -> Result<()> {
        for index in 0..self.visits.door.listeners() {
            self.visits.accept(index, &mut self.turn)?;
        }
        if self.visits.clients.is_empty() {
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
        let limit = self.turn.now + STOP_LIMIT;
        self.turn.timers.set(Timer::StopLimit, Some(limit));
        self.visits.stop(&mut self.turn);
    }
}
