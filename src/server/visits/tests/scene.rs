//! A server with one camera, and guests at the other ends of pairs of sockets; its clock is the test's.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use crate::event::Readiness;
use crate::frames::publish::Publisher;
use crate::server::auth::{Guard, Users};
use crate::server::cameras::Cameras;
use crate::server::client_id::ClientId;
use crate::server::clients::Clients;
use crate::server::controls::Desk;
use crate::server::delivery::Delivery;
use crate::server::door::gate::Gate;
use crate::server::door::places::Places;
use crate::server::door::{Arrival, Door};
use crate::server::fixture::{Directory, JPEG};
use crate::server::reports::Reports;
use crate::server::stats::CloseReason;
use crate::server::turn::{Timer, Turn};
use crate::server::visits::Visits;

const STALL: Duration = Duration::from_secs(20);
pub(super) const MILLISECOND: Duration = Duration::from_millis(1);

/// The other end of a connection.
pub(super) struct Guest {
    /// `None` if it was not even kept.
    pub(super) id: Option<ClientId>,
    pub(super) socket: UnixStream,
}

impl Guest {
    /// What came since the last time, and whether the connection has ended.
    pub(super) fn hears(&mut self) -> (String, bool) {
        let (mut all, mut scratch) = (Vec::new(), [0; 65536]);
        let is_over = loop {
            match self.socket.read(&mut scratch) {
                Ok(0) => break true,
                Ok(n) => all.extend(&scratch[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break false,
                // It has ended, and not all that was sent to it was read.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break true,
                Err(error) => panic!("{error}"),
            }
        };
        (String::from_utf8_lossy(&all).into_owned(), is_over)
    }

    /// The status of the only answer that came since the last time.
    pub(super) fn is_told(&mut self) -> u16 {
        let (text, _) = self.hears();
        let mut answers = text.split("HTTP/1.").skip(1);
        let (first, more) = (answers.next(), answers.next());
        assert_eq!(more, None, "{text}");
        let status = first.and_then(|answer| answer[2..5].parse().ok());
        status.unwrap_or_else(|| panic!("no answer: {text}"))
    }

    pub(super) fn hears_nothing(&mut self) {
        assert_eq!(self.hears(), (String::new(), false));
    }
}

/// A server with a camera, `front`, and places for four.
pub(super) struct Scene {
    pub(super) visits: Visits,
    pub(super) turn: Turn,
    publisher: Publisher,
    pub(super) dir: Directory,
}

impl Scene {
    pub(super) fn new(test: &str) -> Self {
        let dir = Directory::new(&format!("visits-{test}"));
        let front = dir.path().join("front");
        std::fs::create_dir(&front).unwrap();
        let mut turn = Turn::of_a_test();
        let publisher = Publisher::open(&front).unwrap();
        let named = ("front".parse().unwrap(), front);
        let places = Places {
            served: 4,
            turned_away: 1,
        };
        let visits = Visits {
            cameras: Cameras::new(&[named], None, None, &mut turn).unwrap(),
            door: Door::new(Vec::new(), places, None),
            gate: None,
            clients: Clients::new(),
            delivery: Delivery::new(1 << 20, STALL),
            reports: Reports::new(&turn),
            desk: Desk::new(None),
            handed_over: Vec::new(),
            exit_idle: None,
        };
        Scene {
            visits,
            turn,
            publisher,
            dir,
        }
    }

    /// The same where passwords are asked for: anna's is `secret`.
    pub(super) fn guarded(test: &str) -> Self {
        let mut scene = Scene::new(test);
        let users = "anna:$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA";
        let file = scene.dir.path().join("users");
        std::fs::write(&file, users).unwrap();
        let guard = Guard::new(Users::read(&file).unwrap()).unwrap();
        scene.visits.gate = Some(Gate::new(guard, &mut scene.turn).unwrap());
        scene
    }

    /// Somebody comes and has sent this.
    pub(super) fn comes(&mut self, request: &str) -> Guest {
        let (ours, mut socket) = UnixStream::pair().unwrap();
        for end in [&ours, &socket] {
            end.set_nonblocking(true).unwrap();
        }
        socket.write_all(request.as_bytes()).unwrap();
        let arrival = Arrival::inherited(ours.into(), false).unwrap();
        let id = self.visits.admit(arrival, None, &mut self.turn);
        if let Some(id) = id {
            self.visits.serve(id, &mut self.turn);
        }
        Guest { id, socket }
    }

    /// Somebody sends this, and the loop wakes up for it.
    pub(super) fn says(&mut self, guest: &mut Guest, request: &str) {
        guest.socket.write_all(request.as_bytes()).unwrap();
        self.wake(guest);
    }

    /// The socket of a guest has something to read, or room.
    pub(super) fn wake(&mut self, guest: &Guest) {
        let readiness = Readiness {
            readable: true,
            writable: true,
            stops_short: false,
        };
        let id = guest.id.unwrap();
        self.visits.wake(id, readiness, &mut self.turn);
    }

    /// Time passes, and in turns what is due is done.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.turn.now + time;
        loop {
            let due = self.turn.timers.next().filter(|at| *at <= end);
            let step = due.unwrap_or(end).saturating_duration_since(self.turn.now);
            (self.turn.now, self.turn.wall) = (self.turn.now + step, self.turn.wall + step);
            self.visits.reports.begin_turn();
            for timer in self.turn.timers.take_due(self.turn.now) {
                match timer {
                    Timer::Client(id) => self.visits.serve(id, &mut self.turn),
                    Timer::Checks => self.visits.check_next(&mut self.turn),
                    other => panic!("{other:?}"),
                }
            }
            if self.turn.now == end {
                return;
            }
        }
    }

    /// How long it is until the next deadline.
    pub(super) fn next(&self) -> Duration {
        self.turn.timers.next().unwrap() - self.turn.now
    }

    /// The camera has a frame, with so many bytes more than it needs.
    pub(super) fn publish(&mut self, more: usize) {
        let (picture, end) = JPEG.split_at(JPEG.len() - 2);
        let jpeg = [picture, &vec![0x55; more], end].concat();
        self.publisher.publish(&jpeg, self.turn.wall).unwrap();
        self.visits.take_changes(&mut self.turn).unwrap();
    }

    pub(super) fn is_here(&self, guest: &Guest) -> bool {
        let ids = self.visits.clients.ids();
        guest.id.is_some_and(|id| ids.contains(&id))
    }

    /// How many connections have ended, all of them for this reason.
    pub(super) fn ended(&self, reason: CloseReason) -> u64 {
        let all = CloseReason::ALL.map(|other| self.turn.stats.closed(other));
        let of_it = self.turn.stats.closed(reason);
        assert_eq!(all.iter().sum::<u64>(), of_it, "{}", self.turn.stats);
        of_it
    }

    /// Waits until the guest is told what its password is worth. The clock of the test goes on meanwhile.
    pub(super) fn is_proved(&mut self, guest: &mut Guest) -> u16 {
        for _ in 0..4000 {
            self.visits.take_outcome(&mut self.turn);
            let (text, _) = guest.hears();
            if !text.is_empty() {
                return text[9..12].parse().unwrap();
            }
            thread::sleep(MILLISECOND * 5);
            self.pass(MILLISECOND * 10);
        }
        panic!("the proof does not end");
    }
}
