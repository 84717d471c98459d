//! Everybody who is connected, by number.

use std::rc::Rc;
use std::time::Duration;

use log::warn;

use crate::event::{Interest, NumberMap};
use crate::frames::frame::Frame;
use crate::logging::Brake;
use crate::server::client::Client;
use crate::server::client_id::{ClientId, Seat};
use crate::server::stats::CloseReason;
use crate::server::turn::{Timer, Token, Turn};

/// All clients.
#[derive(Debug)]
pub(in crate::server) struct Clients {
    map: NumberMap<ClientId, Client>,
    next: ClientId,
    cannot_wait: Brake,
}

impl Clients {
    /// Nobody.
    pub(in crate::server) fn new() -> Self {
        Clients {
            map: NumberMap::default(),
            next: 0,
            cannot_wait: Brake::new(Duration::from_secs(10)),
        }
    }

    /// Takes a client in, and gives it a number. If the system cannot watch its socket, it ends with its first visit.
    pub(in crate::server) fn add(&mut self, mut client: Client, turn: &mut Turn) -> ClientId {
        let id = self.next;
        self.next += 1;
        let token = Token::Client(id);
        match turn.poll.add(client.socket(), Interest::Edges, token) {
            Ok(registration) => client.registration = Some(registration),
            Err(error) => {
                if let Some(more) = self.cannot_wait.pass(turn.now) {
                    warn!("cannot wait for a client: {error} ({more} more like it)");
                }
                client.connection.close(CloseReason::Failed);
            }
        }
        self.map.insert(id, client);
        id
    }

    /// Lets a client go: nothing is waited for any more on its account.
    pub(in crate::server) fn remove(&mut self, id: ClientId, turn: &mut Turn) -> Option<Client> {
        let mut client = self.map.remove(&id)?;
        turn.timers.set(Timer::Client(id), None);
        if let Some(registration) = client.registration.take() {
            turn.poll.forget(registration);
        }
        Some(client)
    }

    pub(in crate::server) fn get_mut(&mut self, id: ClientId) -> Option<&mut Client> {
        self.map.get_mut(&id)
    }

    pub(in crate::server) fn len(&self) -> usize {
        self.map.len()
    }

    pub(in crate::server) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Their numbers, for looking at each of them while some may leave.
    pub(in crate::server) fn ids(&self) -> Vec<ClientId> {
        self.map.keys().copied().collect()
    }

    fn iter(&self) -> impl Iterator<Item = (ClientId, &Client)> {
        self.map.iter().map(|(id, client)| (*id, client))
    }

    pub(in crate::server) fn iter_mut(&mut self) -> impl Iterator<Item = (ClientId, &mut Client)> {
        self.map.iter_mut().map(|(id, client)| (*id, client))
    }

    /// Who is being sent a frame, and which.
    pub(in crate::server) fn holders(&self) -> impl Iterator<Item = (ClientId, &Rc<Frame>)> {
        self.iter()
            .filter_map(|(id, client)| Some((id, client.connection.holds()?)))
    }

    /// Those who are served, as the door sees them.
    pub(in crate::server) fn seats(&self) -> impl Iterator<Item = Seat> {
        self.iter().filter_map(|(id, client)| client.seat(id))
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
