//! Which client gets which frame, and when: the part of the server where cameras and clients meet.

use std::rc::{Rc, Weak};
use std::time::Duration;

use log::debug;

use crate::frames::frame::Frame;
use crate::server::Server;
use crate::server::cameras::camera::Choice;
use crate::server::client::Begun;
use crate::server::client_id::ClientId;
use crate::server::shot::Shot;
use crate::server::stats::CloseReason;
use crate::server::turn::Timer;
use crate::server::want::Want;

/// How many rounds of reading, choosing and writing one client may take while all others wait. The client continues
/// in the next turn of the loop. A frame takes three or four rounds, and each request of several that came at once
/// takes one.
const FAIR_ROUNDS: usize = 8;

/// How long a client rests when the system had no memory for it.
const MEMORY_REST: Duration = Duration::from_millis(100);

impl Server {
    /// Brings a client as far as it can get now.
    pub(in crate::server) fn serve(&mut self, id: ClientId) {
        let now = self.turn.now;
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        // A decision that is due is made in this call, unless there is nothing left to decide.
        client.decide_at = client.decide_at.filter(|at| *at > now);
        client.exhausted = false;
        client.check_progress(now, self.stall_timeout);
        let mut rounds = 0;
        while self.go_round(id) {
            rounds += 1;
            if rounds == FAIR_ROUNDS {
                self.turn.timers.bring_forward(Timer::Client(id), now);
                break;
            }
        }
        self.look_ahead(id);
        self.settle(id);
    }

    /// Reads, chooses a frame and writes, in this order, so that a frame that is available is sent together with the
    /// head of the reply. Deadlines come after the choice: if this machine stood still for a moment, there may be
    /// both a frame and a deadline that has passed. Returns whether anything was done.
    fn go_round(&mut self, id: ClientId) -> bool {
        let now = self.turn.now;
        let Some(client) = self.clients.get_mut(id) else {
            return false;
        };
        let read = client.read(now, &self.turn.settings, &mut self.turn.stats);
        let admitted = self.examine(id);
        let given = self.deliver(id) || self.report(id);
        let now = self.turn.now;
        let Some(client) = self.clients.get_mut(id) else {
            return false;
        };
        let expired = !given
            && client
                .connection
                .expire(now, &self.turn.settings, &mut self.turn.stats);
        let wrote = client.write(now, &self.turn.settings, &mut self.turn.stats);
        (read || admitted || given || expired || wrote) && client.connection.closed().is_none()
    }

    fn examine(&mut self, id: ClientId) -> bool {
        match (&mut self.gate, self.clients.get_mut(id)) {
            (Some(gate), Some(client)) => gate.examine(id, client, &mut self.turn),
            _ => false,
        }
    }

    /// Gives a client the frame that it waits for, if there is one for it now.
    fn deliver(&mut self, id: ClientId) -> bool {
        let now = self.turn.now;
        let Some(client) = self.clients.get_mut(id) else {
            return false;
        };
        let Some(want) = client.connection.want(now) else {
            return false;
        };
        let index = want.camera();
        let camera = self.cameras.camera(index);
        match camera.choose(&want, || client.path(now), now, &mut self.turn.stats) {
            Choice::Give(shot) => {
                self.held.note(index, &shot);
                let begun = begun(&want, &shot);
                if let Begun::New { taken, .. } = begun {
                    self.turn
                        .stats
                        .hand_over(now.saturating_duration_since(taken));
                }
                self.begin(id, shot, begun);
                self.bound_held();
                true
            }
            Choice::Notice(shot) => {
                self.turn.stats.notices += 1;
                let begun = Begun::Notice { len: shot.len };
                self.begin(id, shot, begun);
                true
            }
            Choice::Later(at) => {
                client.connection.give_nothing(at, now, &self.turn.settings);
                client.decide_at = at;
                let before = client.waiting.replace(index);
                if before != Some(index) {
                    self.cameras.wait(id, index);
                    // Its last request concerned another camera, and ended without a frame.
                    if let Some(other) = before {
                        self.cameras.end_waiting(id, other);
                    }
                }
                false
            }
        }
    }

    /// Begins to send a client a frame, or a picture in its place.
    fn begin(&mut self, id: ClientId, shot: Shot<Frame>, begun: Begun) {
        let now = self.turn.now;
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        client.decide_at = None;
        let heads_only = client.connection.quirks().is_some_and(|of| of.zero_data);
        client.begin_frame(now, if heads_only { 0 } else { shot.len });
        let (connection, stats) = (&mut client.connection, &mut self.turn.stats);
        match begun {
            Begun::Notice { .. } => connection.give_notice(shot, now, stats),
            Begun::New { .. } | Begun::Again { .. } => connection.give(shot, now, stats),
        }
        if heads_only || client.connection.sends_stream_of().is_some() {
            client.count_frame(begun, now);
        }
    }

    /// While a frame is sent over a slow line, nobody opens the newer ones, and the camera stops. It is asked again
    /// early enough for the next frame to be there when the line is free.
    fn look_ahead(&mut self, id: ClientId) {
        let now = self.turn.now;
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        let Some(index) = client.connection.sends_stream_of() else {
            return;
        };
        let camera = self.cameras.camera(index);
        if !camera.was_asked() {
            let free = now + client.path(now).drains_in();
            client.decide_at = camera.prepare(free, now);
        }
    }

    /// Removes a client that is finished, or sets the time to look at it again.
    fn settle(&mut self, id: ClientId) {
        let now = self.turn.now;
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        if let Some(reason) = client.connection.closed() {
            self.remove(id, reason);
            return;
        }
        let times = [
            client.connection.deadline(&self.turn.settings),
            client.decide_at,
            client.exhausted.then(|| now + MEMORY_REST),
            client.stall_deadline(self.stall_timeout),
        ];
        if let Some(at) = times.into_iter().flatten().min() {
            self.turn.timers.bring_forward(Timer::Client(id), at);
        }
    }

    /// Drops the viewers that keep the oldest frames in memory, until no more is held than allowed.
    fn bound_held(&mut self) {
        while self.held.is_over() {
            let oldest = self
                .clients
                .iter()
                .filter_map(|(id, client)| Some((self.held.place(client.connection.holds()?)?, id)))
                .min();
            let Some((_, id)) = oldest else {
                return;
            };
            debug!("dropping a viewer that still holds the oldest frame");
            if let Some(client) = self.clients.get_mut(id) {
                client.connection.abandon(CloseReason::HeldTooMuch);
            }
            // The viewer is removed when its timer fires, as it may be in the middle of being served.
            self.turn.timers.set(Timer::Client(id), Some(self.turn.now));
        }
    }
}

/// Whether a frame is new to the viewer that wants it, or a repeat.
fn begun(want: &Want, shot: &Shot<Frame>) -> Begun {
    let skipped = match want {
        Want::Stream {
            have: Some(have), ..
        } => shot.number.checked_sub(have + 1),
        _ => Some(0),
    };
    let (taken, len) = (shot.taken, shot.len);
    match skipped {
        Some(skipped) => Begun::New {
            skipped,
            taken,
            len,
        },
        None => Begun::Again { len },
    }
}

/// The frames that are in memory because a viewer is being sent them.
#[derive(Debug)]
pub(in crate::server) struct Held {
    max: u64,
    /// In the order in which they were first handed out.
    frames: Vec<HeldFrame>,
}

#[derive(Debug)]
struct HeldFrame {
    file: Weak<Frame>,
    len: u64,
    camera: usize,
    /// It is in its camera's directory anyway.
    newest: bool,
}

impl Held {
    pub(in crate::server) fn new(max: u64) -> Self {
        Held {
            max,
            frames: Vec::new(),
        }
    }

    /// Records a frame of a camera that is handed out.
    fn note(&mut self, camera: usize, shot: &Shot<Frame>) {
        let file = Rc::downgrade(&shot.file);
        if self.frames.iter().any(|frame| frame.file.ptr_eq(&file)) {
            return;
        }
        self.frames.retain(|frame| frame.file.strong_count() > 0);
        self.outdate(camera);
        self.frames.push(HeldFrame {
            file,
            len: shot.len,
            camera,
            newest: true,
        });
    }

    /// Bytes of frames in memory, including the newest ones.
    pub(in crate::server) fn bytes(&self) -> u64 {
        let held = self.frames.iter();
        held.filter(|frame| frame.file.strong_count() > 0)
            .map(|frame| frame.len)
            .sum()
    }

    /// The frame that a camera last published is no longer the newest, or is no longer there.
    pub(in crate::server) fn outdate(&mut self, camera: usize) {
        let frames = self.frames.iter_mut();
        for frame in frames.filter(|frame| frame.camera == camera) {
            frame.newest = false;
        }
    }

    /// Whether more is held than allowed. The newest frame of each camera does not count.
    fn is_over(&self) -> bool {
        let counts = |frame: &&HeldFrame| !frame.newest && frame.file.strong_count() > 0;
        let held = self.frames.iter().filter(counts).map(|frame| frame.len);
        held.sum::<u64>() > self.max
    }

    /// The position of a frame among those that count, the oldest first.
    fn place(&self, file: &Rc<Frame>) -> Option<usize> {
        let is_it = |frame: &HeldFrame| !frame.newest && frame.file.as_ptr() == Rc::as_ptr(file);
        self.frames.iter().position(is_it)
    }
}
