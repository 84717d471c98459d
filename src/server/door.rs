//! Who comes in and who leaves: listeners, places, and idleness.
//!
//! When all places are taken, a connection that has been silent for long gives way to a new one. Clients beyond the
//! limit are told so in a few places reserved for this. Beyond those, connections wait in the kernel's backlog until
//! somebody leaves. Clients beyond the share of their address are told so too, but do not wait in the backlog, where
//! others would wait behind them: when the reserved places are taken, they get their answer without their request
//! being read.
//!
//! When there are no descriptors or no memory, or accepting fails again and again for another reason, accepting rests
//! for a moment. Otherwise a listener that is notified of the same waiting connection for ever would spin.

pub(in crate::server) mod gate;
pub(in crate::server) mod listen;
pub(in crate::server) mod places;

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use log::{info, warn};
use rustix::io::Errno;

use crate::activation::Passed;
use crate::error::{Context, Error, Result};
use crate::event::Interest;
use crate::server::Server;
use crate::server::client::{self, Client, Place};
use crate::server::client_id::{ClientId, Network};
use crate::server::connection::Connection;
use crate::server::door::listen::{Accepted, Listener};
use crate::server::stats::CloseReason;
use crate::server::turn::{Name, Timer};

/// How long accepting rests when it fails.
const ACCEPT_REST: Duration = Duration::from_millis(500);

/// When all places are taken, a connection without a request is kept for this long. A request comes right behind its
/// connection, however long the line is. And since a place is freed again this soon, a flood of silent peers keeps
/// few others out.
const SILENCE: Duration = Duration::from_millis(500);

/// How many connections are accepted in one turn of the loop, including failed attempts, so that a storm of them does
/// not keep viewers waiting.
const ACCEPT_BATCH: usize = 64;

impl Server {
    pub(in crate::server) fn adopt(&mut self, passed: Vec<Passed>) -> Result<()> {
        let now = Instant::now();
        for passed in passed {
            match passed {
                Passed::Listener { socket, name } => {
                    let open = self.is_open(|word| crate::activation::is_named(&name, word));
                    let mut listener = Listener::inherited(socket, name)?;
                    listener.open = open;
                    self.listeners.push(listener);
                }
                Passed::Connection { socket, name } => {
                    client::make_nonblocking(&socket)
                        .doing(|| format!("set the inherited connection {name} to non-blocking"))?;
                    let open = self.is_open(|word| crate::activation::is_named(&name, word));
                    self.admit(socket, open, now);
                }
            }
        }
        if self.listeners.is_empty() && self.clients.is_empty() {
            return Err(Error::Usage(
                "nothing to listen on: no socket was passed (LISTEN_FDS) and --listen is not given"
                    .into(),
            ));
        }
        Ok(())
    }

    pub(in crate::server) fn register_listeners(&mut self) -> Result<()> {
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            let registration = self
                .turn
                .poll
                .add(listener.socket(), Interest::Readable, Name::Listener(index))
                .doing(|| format!("wait for connections on {}", listener.name()))?;
            listener.registration = Some(registration);
            info!("listening on {}", listener.name());
        }
        Ok(())
    }

    /// How many descriptors are open, or a slightly lower number: it is that of the next one, the lowest that is free.
    pub(in crate::server) fn descriptors(&self) -> usize {
        let next = rustix::io::fcntl_dupfd_cloexec(&self.signals, 0);
        next.map_or(usize::MAX, |fd| fd.as_raw_fd() as usize)
    }

    pub(in crate::server) fn accept(&mut self, index: usize, now: Instant) -> Result<()> {
        let mut failure = None;
        for _ in 0..ACCEPT_BATCH {
            let Some(listener) = self.listeners.get(index) else {
                return Ok(());
            };
            if self.is_crowded() {
                self.crowded = true;
                return self.set_accepting(Interest::Nothing);
            }
            let open = listener.open;
            match listener.accept()? {
                Accepted::Connection(socket) => {
                    failure = None;
                    if let Some(id) = self.admit(socket, open, now) {
                        self.serve(id, now);
                    }
                }
                Accepted::None => return Ok(()),
                Accepted::Failed(errno) => failure = Some(errno),
                Accepted::Exhausted(errno) => return self.rest_accepting(index, errno, now),
            }
        }
        match failure {
            Some(errno) => self.rest_accepting(index, errno, now),
            None => Ok(()),
        }
    }

    /// Gives a new connection a place, or at least an answer. On a socket that is `open`, no password is required.
    pub(in crate::server) fn admit(
        &mut self,
        socket: OwnedFd,
        open: bool,
        now: Instant,
    ) -> Option<ClientId> {
        self.turn.stats.accepted += 1;
        let place = self.place_for(Network::of(&socket), now);
        let connection = match place {
            Place::TurnedAway => {
                Connection::turned_away(now, &self.turn.settings, &mut self.turn.stats)
            }
            Place::Served(_) if open || self.checks.is_none() => Connection::new(now),
            Place::Served(_) => Connection::guarded(now),
        };
        let mut client = Client::new(socket, connection, place, now);
        if place == Place::TurnedAway {
            if self.turned_away >= self.places.turned_away {
                client.write(now, &self.turn.settings, &mut self.turn.stats);
                self.turn.stats.close(CloseReason::Done);
                return None;
            }
            self.turned_away += 1;
        }
        let id = self.next_client;
        self.next_client += 1;
        match self
            .turn
            .poll
            .add(client.socket(), Interest::Edges, Name::Client(id))
        {
            Ok(registration) => client.registration = Some(registration),
            Err(error) => {
                if let Some(more) = self.exhausted.pass(now) {
                    warn!("cannot wait for a client: {error} ({more} more like it)");
                }
                client.connection.close(CloseReason::Failed);
            }
        }
        self.turn.timers.set(Timer::Idle, None);
        self.clients.insert(id, client);
        Some(id)
    }

    /// A place for a client from `network`, if there is one and the network has not used up its share.
    fn place_for(&mut self, network: Network, now: Instant) -> Place {
        let place = Place::Served(network);
        // This comes first, so that no other connection gives way to one that is not let in.
        if let Some(share) = self.used_up_share(place, network) {
            self.turn.stats.over_share += 1;
            if let Some(more) = self.over_share.pass(now) {
                info!(
                    "turned away {network}: it has {share} connections already ({more} more like it)"
                );
            }
            return Place::TurnedAway;
        }
        if self.is_full() && !self.make_room(now) {
            self.turn.stats.turned_away += 1;
            return Place::TurnedAway;
        }
        place
    }

    /// The number of places that `network` may have, if it has used them all.
    fn used_up_share(&self, place: Place, network: Network) -> Option<usize> {
        let wanted = self.options.max_clients_per_address;
        let share = self.places.share(wanted, network)?;
        let same = self.clients.values().filter(|client| client.place == place);
        (same.take(share).count() == share).then_some(share)
    }

    /// Closes the connection that has waited longest for a request. Returns whether there was one.
    fn make_room(&mut self, now: Instant) -> bool {
        let silent = self.clients.iter().filter_map(|(id, client)| {
            let since = client.connection.silent_since()?;
            (now.saturating_duration_since(since) >= SILENCE).then_some((since, *id))
        });
        let Some((_, id)) = silent.min() else {
            return false;
        };
        self.remove(id, CloseReason::Idle, now);
        true
    }

    fn is_full(&self) -> bool {
        self.clients.len() - self.turned_away >= self.places.served
    }

    /// Whether even the places for clients that are turned away are taken. Connections then wait in the backlog until
    /// somebody leaves.
    fn is_crowded(&self) -> bool {
        self.is_full() && self.turned_away >= self.places.turned_away
    }

    fn rest_accepting(&mut self, index: usize, errno: Errno, now: Instant) -> Result<()> {
        if let Some(more) = self.exhausted.pass(now) {
            let name = self.listeners[index].name();
            warn!("cannot accept on {name}: {errno} ({more} more like it)");
        }
        self.turn.timers.set(Timer::Accept, Some(now + ACCEPT_REST));
        self.set_accepting(Interest::Nothing)
    }

    pub(in crate::server) fn accept_again(&mut self) -> Result<()> {
        self.set_accepting(Interest::Readable)
    }

    fn set_accepting(&mut self, interest: Interest) -> Result<()> {
        for listener in &self.listeners {
            if let Some(registration) = &listener.registration {
                self.turn
                    .poll
                    .modify(listener.socket(), registration, interest)
                    .doing(|| format!("wait for connections on {}", listener.name()))?;
            }
        }
        Ok(())
    }

    /// If there is no client, starts the time until `--exit-idle` applies.
    pub(in crate::server) fn note_idleness(&mut self, now: Instant) {
        if self.clients.is_empty() && !self.stopping {
            let at = self.options.exit_idle.map(|after| now + after);
            self.turn.timers.set(Timer::Idle, at);
        }
    }

    /// Nobody came, so the server stops. A client that comes now finds the socket with the service manager, unless it
    /// is already in our backlog.
    pub(in crate::server) fn end_idle(&mut self, now: Instant) -> Result<()> {
        for index in 0..self.listeners.len() {
            self.accept(index, now)?;
        }
        if self.clients.is_empty() {
            info!("nobody was here for a while");
            self.stop(now);
        }
        Ok(())
    }

    pub(in crate::server) fn remove(&mut self, id: ClientId, reason: CloseReason, now: Instant) {
        let Some(mut client) = self.clients.remove(&id) else {
            return;
        };
        self.turn.stats.close(reason);
        if client.place == Place::TurnedAway {
            self.turned_away -= 1;
        }
        if let Some(checks) = &mut self.checks {
            checks.forget(id);
        }
        self.turn.timers.set(Timer::Client(id), None);
        if let Some(camera) = client.waiting {
            self.cameras.end_waiting(id, camera);
        }
        if let Some(registration) = client.registration.take() {
            self.turn.poll.remove(client.socket(), registration);
        }
        if self.crowded && !self.is_crowded() {
            self.crowded = false;
            self.turn.timers.set(Timer::Accept, Some(now));
        }
        self.note_idleness(now);
    }
}
