//! Who comes in: listeners, and places for those who come.
//!
//! When all places are taken, a connection that has been silent for long gives way to a new one. Clients beyond the
//! limit are told so in a few places reserved for this. Beyond those, connections wait in the kernel's backlog until
//! somebody leaves. Clients beyond the share of their address are told so too, but do not wait in the backlog, where
//! others would wait behind them: when the reserved places are taken, they get their answer without their request
//! being read.
//!
//! When there are no descriptors or no memory, or accepting fails again and again for another reason, accepting rests
//! for a moment. Otherwise a listener that is notified of the same waiting connection for ever would spin.
//!
//! The door knows clients by their places alone. What is said to them is their connection's business, and whether a
//! password is required that of the gate (`gate.rs`).

pub(in crate::server) mod gate;
pub(in crate::server) mod listen;
pub(in crate::server) mod places;
pub(in crate::server) mod reach;
pub(in crate::server) mod sockets;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use log::{info, warn};
use rustix::io::Errno;

use crate::error::{Context, Result};
use crate::event::Interest;
use crate::logging::Brake;
use crate::server::client_id::{ClientId, Network, Place};
use crate::server::door::listen::{Accepted, Listener};
use crate::server::door::places::Places;
use crate::server::turn::{Name, Timer, Turn};

/// How long accepting rests when it fails.
const ACCEPT_REST: Duration = Duration::from_millis(500);

/// When all places are taken, a connection without a request is kept for this long. A request comes right behind its
/// connection, however long the line is. And since a place is freed again this soon, a flood of silent peers keeps
/// few others out.
const SILENCE: Duration = Duration::from_millis(500);

/// How many connections are accepted in one turn of the loop, including failed attempts, so that a storm of them does
/// not keep viewers waiting.
const ACCEPT_BATCH: usize = 64;

/// How often each message about those who come is written at most.
const MESSAGE_EVERY: Duration = Duration::from_secs(10);

/// The listeners and the places behind them.
#[derive(Debug)]
pub(in crate::server) struct Door {
    listeners: Vec<Listener>,
    places: Places,
    /// How many places an address may have, as configured.
    share: Option<usize>,
    /// How many places are taken from each network.
    taken: HashMap<Network, usize>,
    /// How many clients are served.
    served: usize,
    /// How many clients are being told that there is no place for them.
    turned_away: usize,
    /// Not accepting until somebody leaves.
    crowded: bool,
    cannot_accept: Brake,
    over_share: Brake,
}

/// The connections that are accepted in one turn from one listener.
pub(in crate::server) struct Batch {
    listener: usize,
    left: usize,
    failure: Option<Errno>,
}

impl Batch {
    pub(in crate::server) fn from(listener: usize) -> Self {
        Batch {
            listener,
            left: ACCEPT_BATCH,
            failure: None,
        }
    }
}

/// Somebody who comes in.
pub(in crate::server) struct Arrival {
    /// The connection, set to non-blocking mode.
    pub(in crate::server) socket: OwnedFd,
    /// No password is required on the socket where it was accepted.
    pub(in crate::server) open: bool,
}

impl Door {
    /// A door through which nobody came yet. `share` is how many places an address may have, as in
    /// [`Places::share`].
    pub(in crate::server) fn new(
        listeners: Vec<Listener>,
        places: Places,
        share: Option<usize>,
    ) -> Self {
        Door {
            listeners,
            places,
            share,
            taken: HashMap::new(),
            served: 0,
            turned_away: 0,
            crowded: false,
            cannot_accept: Brake::new(MESSAGE_EVERY),
            over_share: Brake::new(MESSAGE_EVERY),
        }
    }

    /// Begins to wait for connections.
    pub(in crate::server) fn open(&mut self, turn: &mut Turn) -> Result<()> {
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            let registration = turn
                .poll
                .add(listener.socket(), Interest::Readable, Name::Listener(index))
                .doing(|| format!("wait for connections on {}", listener.name()))?;
            listener.registration = Some(registration);
            info!("listening on {}", listener.name());
        }
        Ok(())
    }

    /// Closes all listeners.
    pub(in crate::server) fn close(&mut self, turn: &mut Turn) {
        for mut listener in std::mem::take(&mut self.listeners) {
            if let Some(registration) = listener.registration.take() {
                turn.poll.remove(listener.socket(), registration);
            }
        }
        turn.timers.set(Timer::Accept, None);
    }

    /// Whether nobody can come any more.
    pub(in crate::server) fn is_closed(&self) -> bool {
        self.listeners.is_empty()
    }

    /// How many listeners there are.
    pub(in crate::server) fn listeners(&self) -> usize {
        self.listeners.len()
    }

    /// The TCP addresses that it listens on.
    pub(in crate::server) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.listeners.iter().filter_map(Listener::address)
    }

    /// Accepts the next connection of a batch, if there is one.
    pub(in crate::server) fn accept(
        &mut self,
        batch: &mut Batch,
        turn: &mut Turn,
    ) -> Result<Option<Arrival>> {
        while batch.left > 0 {
            batch.left -= 1;
            let Some(listener) = self.listeners.get(batch.listener) else {
                return Ok(None);
            };
            if self.is_crowded() {
                self.crowded = true;
                self.set_accepting(Interest::Nothing, turn)?;
                return Ok(None);
            }
            match listener.accept()? {
                Accepted::Connection(socket) => {
                    batch.failure = None;
                    let open = listener.open;
                    return Ok(Some(Arrival { socket, open }));
                }
                Accepted::None => return Ok(None),
                Accepted::Failed(errno) => batch.failure = Some(errno),
                Accepted::Exhausted(errno) => {
                    self.rest(batch.listener, errno, turn)?;
                    return Ok(None);
                }
            }
        }
        if let Some(errno) = batch.failure.take() {
            self.rest(batch.listener, errno, turn)?;
        }
        Ok(None)
    }

    /// Accepts again after a rest, or because somebody has left.
    pub(in crate::server) fn accept_again(&mut self, turn: &mut Turn) -> Result<()> {
        self.set_accepting(Interest::Readable, turn)
    }

    fn rest(&mut self, listener: usize, errno: Errno, turn: &mut Turn) -> Result<()> {
        if let Some(more) = self.cannot_accept.pass(turn.now) {
            let name = self.listeners[listener].name();
            warn!("cannot accept on {name}: {errno} ({more} more like it)");
        }
        let at = turn.now + ACCEPT_REST;
        turn.timers.set(Timer::Accept, Some(at));
        self.set_accepting(Interest::Nothing, turn)
    }

    fn set_accepting(&mut self, interest: Interest, turn: &mut Turn) -> Result<()> {
        for listener in &self.listeners {
            if let Some(registration) = &listener.registration {
                turn.poll
                    .modify(listener.socket(), registration, interest)
                    .doing(|| format!("wait for connections on {}", listener.name()))?;
            }
        }
        Ok(())
    }

    /// The place for a client from `network`: to be served, if there is such a place and the network has not used up
    /// its share. If a connection has to give way for it, that is the second value: the one that has waited longest
    /// for a request, which `silent` finds, with the time since when.
    pub(in crate::server) fn place_for(
        &mut self,
        network: Network,
        silent: impl FnOnce() -> Option<(Instant, ClientId)>,
        turn: &mut Turn,
    ) -> (Place, Option<ClientId>) {
        // This comes first, so that no other connection gives way to one that is not let in.
        if let Some(share) = self.used_up_share(network) {
            turn.stats.over_share += 1;
            if let Some(more) = self.over_share.pass(turn.now) {
                info!(
                    "turned away {network}: it has {share} connections already ({more} more like it)"
                );
            }
            return (Place::TurnedAway, None);
        }
        let place = Place::Served(network);
        if !self.is_full() {
            return (place, None);
        }
        let long =
            |(since, _): &(Instant, _)| turn.now.saturating_duration_since(*since) >= SILENCE;
        match silent().filter(long) {
            Some((_, id)) => (place, Some(id)),
            None => {
                turn.stats.turned_away += 1;
                (Place::TurnedAway, None)
            }
        }
    }

    /// The number of places that `network` may have, if it has used them all.
    fn used_up_share(&self, network: Network) -> Option<usize> {
        let share = self.places.share(self.share, network)?;
        let taken = self.taken.get(&network).copied().unwrap_or(0);
        (taken >= share).then_some(share)
    }

    /// A client takes its place. Returns whether it could: where clients are turned away, there may be no place left.
    pub(in crate::server) fn enter(&mut self, place: Place) -> bool {
        match place {
            Place::Served(network) => {
                self.served += 1;
                *self.taken.entry(network).or_default() += 1;
            }
            Place::TurnedAway if self.turned_away >= self.places.turned_away => return false,
            Place::TurnedAway => self.turned_away += 1,
        }
        true
    }

    /// A client leaves its place.
    pub(in crate::server) fn leave(&mut self, place: Place, turn: &mut Turn) {
        match place {
            Place::Served(network) => {
                self.served -= 1;
                if let Some(taken) = self.taken.get_mut(&network) {
                    *taken -= 1;
                    if *taken == 0 {
                        self.taken.remove(&network);
                    }
                }
            }
            Place::TurnedAway => self.turned_away -= 1,
        }
        if self.crowded && !self.is_crowded() {
            self.crowded = false;
            turn.timers.set(Timer::Accept, Some(turn.now));
        }
    }

    fn is_full(&self) -> bool {
        self.served >= self.places.served
    }

    /// Whether even the places for clients that are turned away are taken. Connections then wait in the backlog until
    /// somebody leaves.
    fn is_crowded(&self) -> bool {
        self.is_full() && self.turned_away >= self.places.turned_away
    }
}

#[cfg(test)]
mod tests;
