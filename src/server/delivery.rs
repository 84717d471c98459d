//! Which client gets which frame, and when: the part of the server where cameras and clients meet.
//!
//! A visit brings one client as far as it can get now: it reads, chooses a frame and writes, in rounds. What it ends
//! with is returned, and the loop acts on it: the visit itself knows neither the other clients nor the door.

pub(in crate::server) mod held;
mod ways;

use std::time::{Duration, Instant};

use crate::frames::copy::FrameCopy;
use crate::frames::frame::Frame;
use crate::server::auth::Credential;
use crate::server::cameras::Cameras;
use crate::server::cameras::camera::Opening;
use crate::server::cameras::camera::choice::Choice;
use crate::server::client::{Client, Wire};
use crate::server::client_id::ClientId;
use crate::server::delivery::held::{Held, Of};
use crate::server::delivery::ways::{Sending, Ways};
use crate::server::shot::Shot;
use crate::server::stats::CloseReason;
use crate::server::turn::Turn;
use crate::server::want::{Given, Look, ReportKind};
use crate::time::clock::Clocks;

/// How many rounds of reading, choosing and writing one client may take while all others wait. The client continues
/// in the same turn once more, after all others, and then in the next one. A frame takes one or two rounds, and each
/// request of several that came at once takes one.
const FAIR_ROUNDS: usize = 4;

/// How long a client rests when the system had no memory for it.
const MEMORY_REST: Duration = Duration::from_millis(100);

/// What a visit ends with.
#[derive(Debug)]
pub(in crate::server) enum Ended {
    /// Nothing more can be done before this time, if there is one, unless something happens.
    Wait(Option<Instant>),
    /// There is more to do, but the others come first.
    Again,
    /// The client waits for this report. The visit goes on when it has it.
    Report(ReportKind),
    /// The client waits for controls to be set. The visit goes on when it has the answer.
    Setting,
    /// The client waits for the proof of this credential. The visit goes on when it was submitted.
    Credential(Credential),
    /// The client is finished.
    Gone(CloseReason),
}

/// How many rounds are left to one client in this turn.
#[derive(Debug)]
pub(in crate::server) struct Rounds(usize);

impl Rounds {
    pub(in crate::server) fn new() -> Self {
        Rounds(FAIR_ROUNDS)
    }
}

/// Hands out frames.
#[derive(Debug)]
pub(in crate::server) struct Delivery {
    /// The frames that are being sent.
    pub(in crate::server) held: Held,
    /// The frame that was opened last, if frames like it are sent from a copy.
    copy: FrameCopy,
    ways: Ways,
    stall_timeout: Duration,
}

impl Delivery {
    /// `max_held` is how many bytes of frames are kept in memory for slow viewers. A client that accepts no data for
    /// `stall_timeout` is dropped.
    pub(in crate::server) fn new(max_held: u64, stall_timeout: Duration) -> Self {
        Delivery {
            held: Held::new(max_held),
            copy: FrameCopy::default(),
            ways: Ways::default(),
            stall_timeout,
        }
    }

    /// Nobody is here: gives back what is kept for the next frame.
    pub(in crate::server) fn rest(&mut self) {
        self.copy.clear();
    }

    /// Brings a client as far as it can get now.
    pub(in crate::server) fn visit<W: Wire>(
        &mut self,
        (id, client): (ClientId, &mut Client<W>),
        cameras: &mut Cameras,
        rounds: &mut Rounds,
        turn: &mut Turn,
    ) -> Ended {
        let now = turn.now;
        // A decision that is due is made in this visit, unless there is nothing left to decide.
        client.decide_at = client.decide_at.filter(|at| *at > now);
        client.exhausted = false;
        client.check_progress(now, self.stall_timeout);
        while rounds.0 > 0 {
            match self.go_round((id, client), cameras, turn) {
                Round::Asks(ended) => return ended,
                Round::Still => break,
                Round::Moved => rounds.0 -= 1,
            }
        }
        look_ahead(client, cameras, turn.clocks());
        self.end(client, rounds, turn)
    }

    /// Reads, chooses a frame and writes, in this order, so that a frame that is available is sent together with the
    /// head of the reply. Deadlines come after the choice: if this machine stood still for a moment, there may be
    /// both a frame and a deadline that has passed.
    fn go_round<W: Wire>(
        &mut self,
        (id, client): (ClientId, &mut Client<W>),
        cameras: &mut Cameras,
        turn: &mut Turn,
    ) -> Round {
        let read = client.read(&mut turn.lend());
        if let Some(credential) = client.connection.take_credential() {
            return Round::Asks(Ended::Credential(credential));
        }
        let camera = match client.connection.looks_at() {
            Some(Look::Stream(camera) | Look::Snapshot(camera)) => Some(camera),
            None => None,
        };
        let is_tried = camera.is_some_and(|camera| self.ways.is_tried(camera));
        let before = is_tried.then(|| client.socket().spent());
        let (given, sending) = match self.deliver((id, client), cameras, turn) {
            Delivered::Frame(sending) => (true, sending),
            Delivered::Other => (true, None),
            Delivered::Nothing => (false, None),
        };
        if let Some(what) = client.connection.wants_report() {
            return Round::Asks(Ended::Report(what));
        }
        if client.connection.wants_setting().is_some() {
            return Round::Asks(Ended::Setting);
        }
        let expired = !given && client.connection.expire(&mut turn.lend());
        let is_copied = client
            .connection
            .holds()
            .is_some_and(|file| self.copy.of(file.id()).is_some());
        let wrote = client.write(&self.copy, &mut turn.lend());
        if let (Some(before), Some(sending)) = (before, sending) {
            if client.connection.unsent() == 0 {
                let took = client.socket().spent().saturating_sub(before);
                self.ways.sent(sending, is_copied, took);
            }
        }
        if (read || given || expired || wrote) && client.connection.closed().is_none() {
            Round::Moved
        } else {
            Round::Still
        }
    }

    /// Gives a client the frame that it waits for, if there is one for it now.
    fn deliver<W: Wire>(
        &mut self,
        (id, client): (ClientId, &mut Client<W>),
        cameras: &mut Cameras,
        turn: &mut Turn,
    ) -> Delivered {
        let (now, clocks) = (turn.now, turn.clocks());
        let Some(want) = client.connection.want(now) else {
            return Delivered::Nothing;
        };
        let index = want.camera();
        let camera = cameras.camera(index);
        if !camera.has_opened() {
            self.copy.wanted = self.ways.copied(index);
        }
        let opening = &mut Opening {
            stats: &mut turn.stats,
            copy: &mut self.copy,
        };
        match camera.choose(&want, || client.path(now), clocks, opening) {
            Choice::Give(shot) => {
                let sending = self.ways.begin(index, shot.number, shot.len);
                self.held.note(Of::Camera(index), &shot);
                let given = want.frame(shot.number);
                if !given.is_repeat() {
                    let age = now.saturating_duration_since(shot.taken);
                    turn.stats.hand_over(age);
                }
                begin(client, shot, given, turn);
                Delivered::Frame(sending)
            }
            Choice::Notice(shot) => {
                turn.stats.notices += 1;
                self.held.note(Of::Notice(index, shot.picture), &shot);
                let given = want.notice(shot.number);
                begin(client, shot, given, turn);
                Delivered::Other
            }
            Choice::Refuse(why, picture) => {
                client.decide_at = None;
                if let Some(shot) = &picture {
                    self.held.note(Of::Notice(index, shot.picture), shot);
                }
                let lent = &mut turn.lend();
                client.connection.give_refusal(&why, picture, lent);
                Delivered::Other
            }
            Choice::Later(at) => {
                client.connection.give_nothing(at, &turn.lend());
                client.decide_at = at;
                let before = client.waiting.replace(index);
                if before != Some(index) {
                    cameras.wait(id, index);
                    // Its last request concerned another camera, and ended without a frame.
                    if let Some(other) = before {
                        cameras.end_waiting(id, other);
                    }
                }
                Delivered::Nothing
            }
        }
    }

    /// What a visit ends with when nothing more can be done, or no round is left.
    fn end<W: Wire>(&self, client: &Client<W>, rounds: &Rounds, turn: &Turn) -> Ended {
        if let Some(reason) = client.connection.closed() {
            return Ended::Gone(reason);
        }
        if rounds.0 == 0 {
            return Ended::Again;
        }
        let times = [
            client.connection.deadline(&turn.settings),
            client.decide_at,
            client.exhausted.then(|| turn.now + MEMORY_REST),
            client.stall_deadline(self.stall_timeout),
        ];
        Ended::Wait(times.into_iter().flatten().min())
    }
}

/// What came of one round.
enum Round {
    /// Something was done, and there may be more to do.
    Moved,
    /// There is nothing to do, or nobody to do it for.
    Still,
    /// Only the owner of the visit can go on.
    Asks(Ended),
}

/// What a client was given.
enum Delivered {
    /// A frame, which is sent in one of the ways if it is not too long.
    Frame(Option<Sending>),
    /// What takes the place of a frame.
    Other,
    /// There is nothing for it now.
    Nothing,
}

/// Begins to send a client a frame, or a picture in its place.
fn begin<W: Wire>(client: &mut Client<W>, shot: Shot<Frame>, given: Given, turn: &mut Turn) {
    let (now, of_shot) = (turn.now, (shot.taken, shot.len));
    client.decide_at = None;
    let heads_only = client.connection.quirks().is_some_and(|of| of.zero_data);
    client.begin_frame(now, if heads_only { 0 } else { shot.len });
    client.connection.give(shot, given, &mut turn.lend());
    if heads_only || client.connection.sends_stream_of().is_some() {
        client.count_frame(given, of_shot, now);
    }
}

/// While a frame is sent over a slow line, nobody opens the newer ones, and the camera stops. It is asked again early
/// enough for the next frame to be there when the line is free.
fn look_ahead<W: Wire>(client: &mut Client<W>, cameras: &mut Cameras, clocks: Clocks) {
    let Some(index) = client.connection.sends_stream_of() else {
        return;
    };
    let camera = cameras.camera(index);
    if !camera.was_asked() {
        let path = client.path(clocks.now);
        client.decide_at = camera.prepare(path, clocks);
    }
}

#[cfg(test)]
mod tests;
