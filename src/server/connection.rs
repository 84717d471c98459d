//! One client's connection as a state machine: bytes, frames and the time go in, and bytes to send come out.
//!
//! ```text
//!                  ┌────────────────── next request ─────────────────┐
//!                  ▼                                                 │ sent
//!  accepted ──► Request ──(anything finite)──────────────────────► Reply ──sent, close──► Drain ──► Closed
//!                  │                                                 ▲                      ▲
//!                  ├──(who?)──► Trial ──right──► Request, ──wrong, later──► Reply
//!                  │
//!                  ├──(/snapshot)──► Snapshot ──frame or deadline────┘                      │
//!                  │                                                                        │
//!                  └──(/stream)────► Stream ──frame──► (sending) ──sent──► (waiting) ──end──┘
//! ```
//!
//! `Request` waits for the rest of a head, `Snapshot` and `Stream` wait for a frame, and `Reply` for the client to
//! take what is in the outbox. `Drain` waits for the client to close its side: closing a socket with unread input
//! sends a reset, and the client might then lose the end of what it was sent. Requests that arrive before their turn
//! (pipelining) stay in the input until their turn comes.
//!
//! This state machine knows no socket, clock or camera. Its owner reads and writes (`client.rs`), and chooses the frame
//! (`delivery.rs`). The files next to this one define how a request is answered (`answer.rs`), who is let in
//! (`trial.rs`) and what a stream remembers (`stream.rs`).

mod answer;
pub mod outbox;
mod settings;
mod stream;
mod trial;

use std::rc::Rc;
use std::time::Instant;

pub use self::settings::Settings;
use self::stream::Stream;
use self::trial::Trial;
use crate::server::connection::outbox::{Outbox, Output};
use crate::server::http::part::Facts;
use crate::server::http::quirks::Quirks;
use crate::server::http::request::{MAX_HEAD, asks_for_head};
use crate::server::http::response;
use crate::server::http::status::Status;
use crate::server::shot::Shot;
use crate::server::stats::{CloseReason, Stats};
use crate::server::want::{Look, Report, Terms, Want};

#[derive(Debug)]
enum State {
    Request {
        since: Instant,
    },
    Trial(Trial),
    Snapshot(Snapshot),
    Report {
        what: Report,
        keep_alive: bool,
        with_body: bool,
    },
    Reply {
        keep_alive: bool,
    },
    Stream(Stream),
    Drain {
        since: Instant,
    },
    Closed(CloseReason),
}

#[derive(Debug)]
struct Snapshot {
    camera: usize,
    since: Instant,
    terms: Terms,
    keep_alive: bool,
}

/// The connection. `F` is the type of a frame's file.
#[derive(Debug)]
pub struct Connection<F> {
    state: State,
    input: Vec<u8>,
    out: Outbox<F>,
    half_closed: bool,
    shut_down: bool,
    /// It was accepted on a socket where names and passwords are required.
    guarded: bool,
    /// The credential of the current request was right.
    proved: bool,
    /// The CORS fields for the answer to the current request.
    cors: Option<Rc<str>>,
}

impl<F> Connection<F> {
    /// A connection that was just accepted.
    pub fn new(now: Instant) -> Self {
        Connection {
            state: State::Request { since: now },
            input: Vec::new(),
            out: Outbox::new(),
            half_closed: false,
            shut_down: false,
            guarded: false,
            proved: false,
            cors: None,
        }
    }

    /// A connection that was just accepted where names and passwords are required.
    pub fn guarded(now: Instant) -> Self {
        Connection {
            guarded: true,
            ..Connection::new(now)
        }
    }

    /// A connection for which there is no place. It is told so and closed.
    pub fn turned_away(now: Instant, settings: &Settings, stats: &mut Stats) -> Self {
        let mut connection = Connection::new(now);
        connection.cors = Some(settings.origins.fields(None));
        connection.refuse(Status::Unavailable, false, true, stats);
        connection
    }

    /// Whether there is room for input. If there is none, the client has to wait for its turn.
    pub fn takes_input(&self) -> bool {
        match self.state {
            State::Request { .. } => true,
            State::Closed(_) => false,
            _ => self.is_last() || self.input.len() < MAX_HEAD,
        }
    }

    /// Whether no request is read after the current one. Anything that still comes is its body, or must not be
    /// answered (RFC 9112, 9.6). It is read and discarded, because the client may not listen before it has sent
    /// everything.
    fn is_last(&self) -> bool {
        match &self.state {
            State::Stream(_) | State::Drain { .. } | State::Closed(_) => true,
            State::Snapshot(Snapshot { keep_alive, .. })
            | State::Report { keep_alive, .. }
            | State::Reply { keep_alive } => !keep_alive,
            State::Request { .. } | State::Trial(_) => false,
        }
    }

    /// Takes what the client sent.
    pub fn receive(&mut self, bytes: &[u8], now: Instant, settings: &Settings, stats: &mut Stats) {
        if self.is_last() {
            return;
        }
        if let State::Request { since } = &mut self.state {
            if self.input.is_empty() {
                *since = now;
            }
            self.input.extend_from_slice(bytes);
            self.take_requests(now, settings, stats);
        } else {
            self.input.extend_from_slice(bytes);
        }
    }

    /// The client sends no more. A reply that it has asked for is still sent. If it is the client of a stream, it is
    /// gone, as far as can be told before the next frame.
    pub fn end_of_input(&mut self) {
        self.half_closed = true;
        match self.state {
            State::Request { .. } | State::Stream(_) => self.close(CloseReason::Left),
            State::Drain { .. } => self.close(CloseReason::Done),
            State::Snapshot(_)
            | State::Trial(_)
            | State::Report { .. }
            | State::Reply { .. }
            | State::Closed(_) => {}
        }
    }

    /// How the stream is sent and how it is identified, if this is one.
    pub fn quirks(&self) -> Option<&Quirks> {
        match &self.state {
            State::Stream(stream) => Some(&stream.quirks),
            _ => None,
        }
    }

    /// What to send now.
    pub fn output(&self) -> Option<Output<'_, F>> {
        match self.state {
            State::Closed(_) => None,
            _ => self.out.output(),
        }
    }

    /// How many bytes have not been sent yet.
    pub fn unsent(&self) -> u64 {
        self.out.len()
    }

    /// The frame that is being sent.
    pub fn holds(&self) -> Option<&Rc<F>> {
        self.out.holds()
    }

    /// Records that `n` bytes of the last [`Connection::output`] were sent.
    pub fn sent(&mut self, n: usize, now: Instant, settings: &Settings, stats: &mut Stats) {
        self.out.sent(n);
        if !self.out.is_empty() {
            return;
        }
        match &mut self.state {
            State::Reply { keep_alive: true } if !self.half_closed || !self.input.is_empty() => {
                self.state = State::Request { since: now };
                self.take_requests(now, settings, stats);
            }
            State::Reply { .. } => self.finish(now),
            State::Stream(stream) if stream.ending => self.finish(now),
            State::Stream(stream) => stream.all_taken(now, settings),
            _ => {}
        }
    }

    /// The frame that this connection waits for, if it does.
    pub fn want(&self, now: Instant) -> Option<Want> {
        match &self.state {
            State::Stream(stream) if stream.takes_a_frame(&self.out) => Some(Want::Stream {
                camera: stream.camera,
                have: stream.have,
                not_before: stream.not_before,
                repeat: stream.repeat_at <= now,
                picture: stream.picture,
            }),
            State::Snapshot(snapshot) => Some(Want::Snapshot {
                camera: snapshot.camera,
                since: snapshot.since,
                terms: snapshot.terms.clone(),
            }),
            _ => None,
        }
    }

    /// There was no frame to give. `later` is when to decide again, if that is known.
    pub fn give_nothing(&mut self, later: Option<Instant>, now: Instant, settings: &Settings) {
        if let State::Stream(stream) = &mut self.state {
            stream.give_nothing(later, now, settings);
        }
    }

    /// Gives it the frame that it wants.
    pub fn give(&mut self, shot: Shot<F>, now: Instant, stats: &mut Stats) {
        match &mut self.state {
            State::Stream(stream) => {
                if *stream.picture.get_or_insert(shot.picture) == shot.picture {
                    self.give_part(shot, true, now, stats);
                } else {
                    // Firefox keeps a stream's first size, so the stream ends and the client can reconnect.
                    self.finish(now);
                }
            }
            State::Snapshot(snapshot) => {
                let keep_alive = snapshot.keep_alive;
                stats.snapshots += 1;
                let age = now.saturating_duration_since(shot.taken);
                let frame = facts(&shot, true);
                self.say(response::snapshot_head(Some((frame, age)), keep_alive));
                self.out.put(shot, b"");
                self.state = State::Reply { keep_alive };
            }
            _ => {}
        }
    }

    /// Gives a stream a picture in place of a frame. Its size is not taken for the size of the frames: before the
    /// first frame it is only a guess.
    pub fn give_notice(&mut self, shot: Shot<F>, now: Instant, stats: &mut Stats) {
        self.give_part(shot, false, now, stats);
    }

    fn give_part(&mut self, shot: Shot<F>, online: bool, now: Instant, stats: &mut Stats) {
        let State::Stream(stream) = &mut self.state else {
            return;
        };
        stats.frames += 1;
        stats.repeats += u64::from(stream.have == Some(shot.number));
        stream.begin(&shot, now);
        let (quirks, fps) = (&stream.quirks, stream.rate.at(now).round() as u32);
        quirks.write_part_head(self.out.bytes(), &facts(&shot, online), fps);
        if quirks.zero_data {
            self.out.bytes().extend(quirks.delimiter());
        } else {
            self.out.put(shot, quirks.delimiter());
        }
    }

    /// The report that it waits for.
    pub fn wants_report(&self) -> Option<Report> {
        match self.state {
            State::Report { what, .. } => Some(what),
            _ => None,
        }
    }

    /// Gives it the report that it wants, with this media type.
    pub fn give_report(&mut self, media_type: &str, body: &str) {
        if let State::Report {
            keep_alive,
            with_body,
            ..
        } = self.state
        {
            let keep_alive = keep_alive && !self.half_closed;
            let reply = response::report(media_type, body, keep_alive, with_body);
            self.reply(reply, keep_alive);
        }
    }

    /// What it is looking at, if it is a viewer.
    pub fn looks_at(&self) -> Option<Look> {
        match &self.state {
            State::Stream(stream) => Some(Look::Stream(stream.camera)),
            State::Snapshot(snapshot) => Some(Look::Snapshot(snapshot.camera)),
            _ => None,
        }
    }

    /// Since when it has been waiting for a request, or for the rest of one.
    pub fn silent_since(&self) -> Option<Instant> {
        match self.state {
            State::Request { since } => Some(since),
            _ => None,
        }
    }

    /// When [`Connection::expire`] must be called, or a repeated frame is wanted.
    pub fn deadline(&self, settings: &Settings) -> Option<Instant> {
        match &self.state {
            State::Request { since } if self.input.is_empty() => {
                Some(*since + settings.idle_timeout)
            }
            State::Request { since } => Some(*since + settings.head_timeout),
            State::Snapshot(snapshot) => Some(snapshot.since + settings.snapshot_timeout),
            State::Trial(trial) => Some(trial.refuse_at()),
            State::Stream(stream) if self.out.is_empty() => Some(stream.repeat_at),
            State::Drain { since } => Some(*since + settings.drain_timeout),
            State::Stream(_) | State::Report { .. } | State::Reply { .. } | State::Closed(_) => {
                None
            }
        }
    }

    /// Acts on a deadline that has passed. Returns whether one has.
    pub fn expire(&mut self, now: Instant, settings: &Settings, stats: &mut Stats) -> bool {
        if self.deadline(settings).is_none_or(|at| now < at) {
            return false;
        }
        match &self.state {
            State::Request { .. } if self.input.is_empty() => self.close(CloseReason::Idle),
            State::Request { .. } => {
                let with_body = !asks_for_head(&self.input);
                self.refuse(Status::RequestTimeout, false, with_body, stats);
            }
            State::Snapshot(snapshot) => {
                let keep_alive = snapshot.keep_alive;
                self.refuse(Status::Unavailable, keep_alive, true, stats);
            }
            State::Trial(_) => self.send_away(stats),
            State::Drain { .. } => self.close(CloseReason::Done),
            State::Stream(_) | State::Report { .. } | State::Reply { .. } | State::Closed(_) => {
                return false;
            }
        }
        true
    }

    /// The server is stopping: finishes what was begun, and begins nothing new.
    pub fn stop(&mut self, now: Instant, stats: &mut Stats) {
        match &mut self.state {
            State::Request { .. } => self.close(CloseReason::Stopping),
            State::Snapshot(_) => self.refuse(Status::Unavailable, false, true, stats),
            State::Trial(trial) => {
                let with_body = trial.with_body;
                self.refuse(Status::Unavailable, false, with_body, stats);
            }
            State::Reply { keep_alive } | State::Report { keep_alive, .. } => *keep_alive = false,
            State::Stream(_) if self.out.is_empty() => self.finish(now),
            State::Stream(stream) => stream.ending = true,
            State::Drain { .. } | State::Closed(_) => {}
        }
    }

    /// A camera has gone: a stream of it ends after the current frame, and a snapshot of it is refused. Returns
    /// whether this connection was affected.
    pub fn camera_gone(&mut self, camera: usize, now: Instant, stats: &mut Stats) -> bool {
        match &mut self.state {
            State::Stream(stream) if stream.camera == camera => {
                stream.ending = true;
                if self.out.is_empty() {
                    self.finish(now);
                }
            }
            State::Snapshot(snapshot) if snapshot.camera == camera => {
                let keep_alive = snapshot.keep_alive;
                self.refuse(Status::Unavailable, keep_alive, true, stats);
            }
            _ => return false,
        }
        true
    }

    /// Ends the connection immediately.
    pub fn close(&mut self, reason: CloseReason) {
        if !matches!(self.state, State::Closed(_)) {
            self.state = State::Closed(reason);
        }
    }

    /// Ends the connection and releases the frame that was being sent.
    pub fn abandon(&mut self, reason: CloseReason) {
        self.close(reason);
        self.out = Outbox::new();
    }

    /// The camera of the stream on which a frame is being sent, if the stream continues after that frame.
    pub fn sends_stream_of(&self) -> Option<usize> {
        match &self.state {
            State::Stream(stream) if !stream.ending && !self.out.takes_a_frame() => {
                Some(stream.camera)
            }
            _ => None,
        }
    }

    /// How many frames per second a stream is sent.
    pub fn stream_fps(&self, now: Instant) -> Option<f64> {
        match &self.state {
            State::Stream(stream) => Some(stream.rate.at(now)),
            _ => None,
        }
    }

    /// Why it ended, if it has.
    pub fn closed(&self) -> Option<CloseReason> {
        match self.state {
            State::Closed(reason) => Some(reason),
            _ => None,
        }
    }

    /// Whether the sending side is to be shut down now. This is reported only once.
    pub fn take_shutdown(&mut self) -> bool {
        std::mem::take(&mut self.shut_down)
    }

    /// Everything has been sent: ends our side of the connection.
    fn finish(&mut self, now: Instant) {
        self.input = Vec::new();
        if self.half_closed {
            self.close(CloseReason::Done);
        } else {
            self.shut_down = true;
            self.state = State::Drain { since: now };
        }
    }
}

/// What a picture's head says about this frame.
fn facts<F>(shot: &Shot<F>, online: bool) -> Facts {
    Facts {
        len: shot.len,
        captured: shot.captured,
        picture: shot.picture,
        online,
    }
}

#[cfg(test)]
mod tests;
