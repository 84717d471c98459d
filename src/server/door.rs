//! Who comes in: listeners, and places for those who come.
//!
//! An eighth of the places is for this machine, and where passwords are asked for, half is for those who have proved
//! one, and of the other half an eighth is for this machine. When the places for somebody are taken, another may have
//! to give way (`seats.rs`). Clients beyond the limit are told so in a few places reserved for this. Beyond those,
//! connections wait in the kernel's backlog until somebody leaves. Clients beyond the share of their address are told
//! so too, but do not wait in the backlog, where others would wait behind them: when the reserved places are taken,
//! they get their answer without their request being read.
//!
//! When there are no descriptors or no memory, or accepting fails again and again for another reason, accepting rests
//! for a moment. Otherwise a listener that is notified of the same waiting connection for ever would spin.
//!
//! Listeners also carry what all their connections have: the congestion control (`congestion.rs`).
//!
//! The door knows clients by their places alone. What is said to them is their connection's business, and whether a
//! password is required that of the gate (`gate.rs`).

pub(in crate::server) mod congestion;
pub(in crate::server) mod gate;
pub(in crate::server) mod listen;
pub(in crate::server) mod places;
pub(in crate::server) mod reach;
mod seats;
pub(in crate::server) mod sockets;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use log::{info, warn};
use rustix::io::Errno;

use crate::error::{Context, Result};
use crate::event::Interest;
use crate::logging::Brake;
use crate::server::client::prepare;
use crate::server::client_id::{ClientId, Newcomer, Place, Remote, Seat};
use crate::server::door::listen::{Accepted, Listener};
use crate::server::door::places::Places;
use crate::server::door::seats::gives_way;
use crate::server::turn::{Timer, Token, Turn};

/// How long accepting rests when it fails.
const ACCEPT_REST: Duration = Duration::from_millis(500);

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
    /// How many places each host has taken.
    of_hosts: Taken,
    /// The same for each block of addresses.
    of_blocks: Taken,
    /// How many clients are served.
    served: usize,
    /// How many of these came over a network.
    over_network: usize,
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
    pub(in crate::server) remote: Remote,
    /// No password is required on the socket where it was accepted.
    pub(in crate::server) open: bool,
}

impl Arrival {
    /// Takes over a connection that was accepted before, if it has not been reset by now: then nobody is owed anything.
    pub(in crate::server) fn inherited(socket: OwnedFd, open: bool) -> Option<Self> {
        let remote = Remote::of(&socket)?;
        if remote != Remote::Unix {
            prepare(&socket);
        }
        Some(Arrival {
            socket,
            remote,
            open,
        })
    }
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
            of_hosts: Taken::default(),
            of_blocks: Taken::default(),
            served: 0,
            over_network: 0,
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
                .add(
                    listener.socket(),
                    Interest::Readable,
                    Token::Listener(index),
                )
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

    /// The same, and for each whether it is open where others ask for a password.
    pub(in crate::server) fn bound(&self) -> impl Iterator<Item = (SocketAddr, bool)> {
        let listeners = self.listeners.iter();
        listeners.filter_map(|listener| Some((listener.address()?, listener.open)))
    }

    /// Accepts the next connection of a batch, if there is one.
    pub(in crate::server) fn accept(
        &mut self,
        batch: &mut Batch,
        turn: &mut Turn,
    ) -> Result<Option<Arrival>> {
        while batch.left > 0 {
            batch.left -= 1;
            let is_crowded = self.is_crowded();
            let Some(listener) = self.listeners.get_mut(batch.listener) else {
                return Ok(None);
            };
            if is_crowded {
                self.crowded = true;
                self.set_accepting(Interest::Nothing, turn)?;
                return Ok(None);
            }
            match listener.accept()? {
                Accepted::Connection(socket, remote) => {
                    batch.failure = None;
                    let open = listener.open;
                    return Ok(Some(Arrival {
                        socket,
                        remote,
                        open,
                    }));
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

    /// The place for a newcomer: to be served, if there is such a place and its host has not used up its share. If
    /// somebody of `seats`, who are all that are served, has to give way for it, that is the second value.
    pub(in crate::server) fn place_for<S: Iterator<Item = Seat>>(
        &mut self,
        newcomer: Newcomer,
        seats: impl Fn() -> S,
        turn: &mut Turn,
    ) -> (Place, Option<ClientId>) {
        let remote = newcomer.remote;
        // This comes first, so that nobody gives way to somebody who is not let in.
        if let Some((who, share)) = self.used_up_share(remote) {
            turn.stats.over_share += 1;
            if let Some(more) = self.over_share.pass(turn.now) {
                info!(
                    "turned away {remote}: {who} has {share} connections already ({more} more like it)"
                );
            }
            return (Place::TurnedAway, None);
        }
        let Some(in_the_way) = self.in_the_way(newcomer, seats) else {
            return (Place::Served(remote), None);
        };
        match gives_way(&in_the_way, newcomer, turn.now) {
            Some(id) => (Place::Served(remote), Some(id)),
            None => {
                turn.stats.turned_away += 1;
                (Place::TurnedAway, None)
            }
        }
    }

    /// Those of whom one would have to go to make room for a newcomer; `None` if there is room.
    fn in_the_way<S: Iterator<Item = Seat>>(
        &self,
        newcomer: Newcomer,
        seats: impl Fn() -> S,
    ) -> Option<Vec<Seat>> {
        // Who is on this machine gives way only to others who are.
        let comes_from_here = newcomer.remote.is_here();
        let may_go = |seat: &Seat| comes_from_here || !seat.remote.is_here();
        if newcomer.guarded {
            let unproved = || seats().filter(|seat| seat.unproved);
            let over_network = unproved().filter(|seat| !seat.remote.is_here()).count();
            if unproved().count() >= self.places.unproved()
                || !comes_from_here && over_network >= self.places.unproved_over_network()
            {
                return Some(unproved().filter(may_go).collect());
            }
        }
        let network_is_full = self.over_network >= self.places.over_network();
        let is_full = self.is_full() || !comes_from_here && network_is_full;
        is_full.then(|| seats().filter(may_go).collect())
    }

    /// Who has used up its share of places, `remote` or the network around it, and how many these are.
    fn used_up_share(&self, remote: Remote) -> Option<(&'static str, usize)> {
        let share = self.places.share(self.share, remote)?;
        let (host, block) = (
            self.of_hosts.get(remote),
            self.of_blocks.get(remote.block()),
        );
        let share_of_block = self.places.share_of_block(share);
        if host >= share {
            Some(("it", share))
        } else if !remote.is_here() && block >= share_of_block {
            Some(("its /64 network", share_of_block))
        } else {
            None
        }
    }

    /// A client takes its place. Returns whether it could: where clients are turned away, there may be no place left.
    pub(in crate::server) fn enter(&mut self, place: Place) -> bool {
        match place {
            Place::Served(remote) => {
                self.served += 1;
                self.over_network += usize::from(!remote.is_here());
                self.of_hosts.add(remote);
                self.of_blocks.add(remote.block());
            }
            Place::TurnedAway if self.turned_away >= self.places.turned_away => return false,
            Place::TurnedAway => self.turned_away += 1,
        }
        true
    }

    /// A client leaves its place.
    pub(in crate::server) fn leave(&mut self, place: Place, turn: &mut Turn) {
        match place {
            Place::Served(remote) => {
                self.served -= 1;
                self.over_network -= usize::from(!remote.is_here());
                self.of_hosts.take(remote);
                self.of_blocks.take(remote.block());
            }
            Place::TurnedAway => self.turned_away -= 1,
        }
        if self.crowded && !self.is_crowded() {
            self.crowded = false;
            turn.timers.set(Timer::Accept, Some(turn.now));
        }
    }

    /// Whether more than half of the places are taken.
    pub(in crate::server) fn is_busy(&self) -> bool {
        self.served > self.places.served / 2
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

/// How many places somebody has taken.
#[derive(Debug, Default)]
struct Taken(HashMap<Remote, usize>);

impl Taken {
    fn get(&self, who: Remote) -> usize {
        self.0.get(&who).copied().unwrap_or(0)
    }

    fn add(&mut self, who: Remote) {
        *self.0.entry(who).or_default() += 1;
    }

    fn take(&mut self, who: Remote) {
        if let Entry::Occupied(mut taken) = self.0.entry(who) {
            *taken.get_mut() -= 1;
            if *taken.get() == 0 {
                taken.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests;
