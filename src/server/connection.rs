//! One client's connection as a state machine: bytes, frames and the time go in, and bytes to send come out.
//!
//! ```text
//!                  ┌────────────────── next request ─────────────────┐
//!                  ▼                                                 │ sent
//!  accepted ──► Request ──(anything finite)──────────────────────► Reply ──sent, close──► Drain ──► Closed
//!                  │                                                 ▲                      ▲
//!                  ├──(who?)──► Trial ──right──► Request, ──wrong, later──► Reply
//!                  │
//!                  ├──(POST /controls)──► Upload ──body──► Setting ──answer─────┤                      │
//!                  │                                                 │                      │
//!                  ├──(/snapshot)──► Snapshot ──frame or refusal─────┘                      │
//!                  │                                                                        │
//!                  └──(/stream)────► Stream ──frame──► (sending) ──sent──► (waiting) ──end──┘
//! ```
//!
//! `Request` waits for the rest of a head, `Upload` for that of a body, `Setting` for the camera's program, `Snapshot` and
//! `Stream` wait for a frame, and `Reply` for the client to
//! take what is in the outbox. `Drain` waits for the client to close its side: closing a socket with unread input
//! sends a reset, and the client might then lose the end of what it was sent. Requests that arrive before their turn
//! (pipelining) stay in the input until their turn comes.
//!
//! This state machine knows no socket, clock or camera. Its owner reads and writes (`client.rs`), lends it the time and
//! the rules (`lent.rs`), and chooses the frame (`delivery.rs`). The files next to this one define how a request gets
//! its answer (`requests.rs`, `answer.rs`), what each state remembers (`state.rs`, `stream.rs`), how frames and reports
//! are given (`supply.rs`), and what is still to be sent (`outbox.rs`).
//!
//! A walk through it: a snapshot, asked for in two pieces.
//!
//! ```
//! use std::rc::Rc;
//! use std::time::{Duration, Instant, SystemTime};
//!
//! use lazycam::picture::jpeg::Size;
//! use lazycam::server::connection::Connection;
//! use lazycam::server::connection::outbox::FilePart;
//! use lazycam::server::lent::{Ids, Lent};
//! use lazycam::server::remarks::Remarks;
//! use lazycam::server::roster::Roster;
//! use lazycam::server::settings::Settings;
//! use lazycam::server::shot::Shot;
//! use lazycam::server::stats::Stats;
//! use lazycam::server::want::Want;
//! use lazycam::time::clock::Moment;
//!
//! // What the owner lends. The file of a frame is `()` here.
//! let (settings, mut roster) = (Settings::default(), Roster::default());
//! roster.appear(&"front".parse().unwrap()).unwrap();
//! let (now, monotonic) = (Instant::now(), Duration::from_secs(1000));
//! let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_386_179);
//! let moment = Moment { wall, monotonic };
//! let (ids, stats) = (&mut Ids::default(), &mut Stats::default());
//! let remarks = &mut Remarks::default();
//! let lent = &mut Lent { now, moment, settings: &settings, roster: &roster, ids, stats, remarks };
//! let mut connection = Connection::<()>::new(now);
//!
//! // `Request`: the head is not complete. There is a deadline, and nothing to send.
//! connection.receive(b"GET /front/snapshot HTT", lent);
//! assert_eq!(connection.deadline(&settings), Some(now + settings.head_timeout));
//! assert!(connection.output().is_none());
//!
//! // `Snapshot`: it is complete, and a frame of camera 0 is wanted.
//! connection.receive(b"P/1.1\r\nHost: a\r\n\r\n", lent);
//! let Some(want @ Want::Snapshot { camera: 0, .. }) = connection.want(now) else { panic!() };
//!
//! // `Reply`: the owner has one, taken 20 ms ago. Its head goes out first, and says that the file follows.
//! let taken = now - Duration::from_millis(20);
//! let size = Size { width: 640, height: 480 };
//! let file = Rc::new(());
//! let shot = Shot { file, len: 5000, captured: wall, taken, picture: size, number: 1 };
//! connection.give(shot, want.frame(1), lent);
//! let output = connection.output().unwrap();
//! assert!(matches!(output.file, Some(FilePart { offset: 0, len: 5000, .. })));
//! let head = String::from_utf8(output.head.to_vec()).unwrap();
//! assert!(head.starts_with("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n"));
//! assert!(head.contains("\r\nDate: Sun, 22 Nov 2026 22:22:59 GMT\r\n"));
//! assert!(head.contains("\r\nContent-Length: 5000\r\n"));
//! assert!(head.contains("\r\nX-Frame-Age: 0.020000\r\n"));
//!
//! // The system takes the head and some of the file, and the rest later.
//! connection.sent(head.len() + 3000, lent);
//! let output = connection.output().unwrap();
//! assert!(output.head.is_empty());
//! assert!(matches!(output.file, Some(FilePart { offset: 3000, len: 2000, .. })));
//! connection.sent(2000, lent);
//!
//! // `Request` again: the next request may come, for which there is a time-out.
//! assert!(connection.output().is_none() && connection.closed().is_none());
//! assert_eq!(connection.deadline(&settings), Some(now + settings.kept_timeout));
//!
//! // `Closed`: the client has closed its side instead.
//! connection.end_of_input();
//! assert!(connection.closed().is_some());
//! ```

mod answer;
mod handover;
pub mod outbox;
mod poller;
mod requests;
mod setting;
mod state;
mod stream;
mod supply;

use std::rc::Rc;
use std::time::{Duration, Instant};

use self::outbox::{Outbox, Output};
use self::poller::Poller;
use self::state::{ConnectionState, Upload};
use self::stream::Course;
use crate::server::http::exchange::Exchange;
use crate::server::http::request::MAX_HEAD;
use crate::server::http::status::Status;
use crate::server::lent::Lent;
use crate::server::settings::Settings;
use crate::server::stats::CloseReason;

/// What is said to a client for which there is no place.
const NO_PLACE: &str =
    "there are too many connections, of all clients or of your address; try again";

/// What is said where a credential has waited for its proof for too long.
const NOT_PROVED: &str = "your password could not be checked within a minute; try again";

/// How long a client may take nothing of a refusal. That is a few hundred bytes, which the system keeps for it; there is
/// no more room only if the client has not read many of them, and it has nothing to lose.
const REFUSAL_STALL: Duration = Duration::from_secs(2);

/// How much of what follows the last request on a connection is read and discarded: the body of a request that has one, or
/// requests that are not answered any more.
const MOST_DISCARDED: u32 = 64 * 1024;

/// The connection. `F` is the type of a frame's file.
#[derive(Debug)]
pub struct Connection<F> {
    state: ConnectionState,
    input: Vec<u8>,
    out: Outbox<F>,
    /// How many bytes behind the last request were discarded.
    discarded: u32,
    half_closed: bool,
    shut_down: bool,
    /// It was accepted on a socket where names and passwords are required.
    guarded: bool,
    /// It was accepted on a Unix socket.
    behind_proxy: bool,
    /// The other side is a program of this machine.
    is_near: bool,
    /// The credential of the current request was right.
    proved: bool,
    /// The last reply was a refusal in words.
    refused: bool,
    /// What the reply to the current request has to observe, or to the last one if there is none.
    exchange: Exchange,
    /// How it asks for snapshots, if it does.
    poller: Option<Box<Poller>>,
}

impl<F> Connection<F> {
    /// A connection that was just accepted.
    pub fn new(now: Instant) -> Self {
        Connection {
            state: ConnectionState::Request { since: now },
            input: Vec::new(),
            out: Outbox::new(),
            discarded: 0,
            half_closed: false,
            shut_down: false,
            guarded: false,
            behind_proxy: false,
            is_near: false,
            proved: false,
            refused: false,
            exchange: Exchange::default(),
            poller: None,
        }
    }

    /// A connection that was just accepted where names and passwords are required.
    pub fn guarded(now: Instant) -> Self {
        Connection {
            guarded: true,
            ..Connection::new(now)
        }
    }

    /// It was accepted on a Unix socket: the other side is a program of this machine, such as a proxy, which decides which names it
    /// passes on.
    pub fn behind_proxy(mut self) -> Self {
        self.behind_proxy = true;
        self
    }

    /// It comes from this machine.
    pub fn near(mut self) -> Self {
        self.is_near = true;
        self
    }

    /// Whether requests on it need a password.
    pub fn is_guarded(&self) -> bool {
        self.guarded
    }

    /// A connection for which there is no place. It is told so and closed.
    pub fn turned_away(lent: &mut Lent<'_>) -> Self {
        let mut connection = Connection::new(lent.now);
        connection.exchange = Exchange::with_fragment(b"", &lent.settings.origins);
        connection.refuse_for_now(NO_PLACE, lent);
        connection
    }

    /// Whether there is room for input. If there is none, the client has to wait for its turn.
    pub fn takes_input(&self) -> bool {
        match self.state {
            ConnectionState::Request { .. } | ConnectionState::Upload(_) => true,
            ConnectionState::Closed(_) => false,
            // The client may not close before everything that it sent was read, and there is a time-out.
            ConnectionState::Drain { .. } => true,
            _ if self.is_last() => self.discarded < MOST_DISCARDED,
            _ => self.input.len() < MAX_HEAD,
        }
    }

    /// Whether no request is read after the current one. Anything that still comes is its body, or must not be
    /// answered (RFC 9112, 9.6). It is read and discarded, because the client may not listen before it has sent
    /// everything.
    fn is_last(&self) -> bool {
        match &self.state {
            ConnectionState::Stream(_)
            | ConnectionState::Drain { .. }
            | ConnectionState::Closed(_) => true,
            ConnectionState::Snapshot(_)
            | ConnectionState::Report(_)
            | ConnectionState::Setting(_)
            | ConnectionState::Reply => self.exchange.is_last(),
            ConnectionState::Request { .. }
            | ConnectionState::Trial(_)
            | ConnectionState::Upload(_) => false,
        }
    }

    /// Takes what the client sent.
    pub fn receive(&mut self, bytes: &[u8], lent: &mut Lent<'_>) {
        if self.is_last() {
            self.discard(bytes.len());
            return;
        }
        match &mut self.state {
            ConnectionState::Request { since } => {
                if self.input.is_empty() {
                    *since = lent.now;
                }
                self.input.extend_from_slice(bytes);
                self.take_requests(lent);
            }
            ConnectionState::Upload(_) => self.read_body(bytes, lent),
            _ => self.input.extend_from_slice(bytes),
        }
    }

    /// Something came behind the last request. The viewer of a stream that goes on sending is closed, because a stream may
    /// last for days, and it cannot be left unread: the end of a stream's input says that its viewer has left.
    fn discard(&mut self, len: usize) {
        self.discarded = self
            .discarded
            .saturating_add(u32::try_from(len).unwrap_or(u32::MAX));
        if self.discarded >= MOST_DISCARDED && matches!(self.state, ConnectionState::Stream(_)) {
            self.close(CloseReason::TooMuchInput);
        }
    }

    /// The client sends no more. A reply that it has asked for is still sent. If it is the client of a stream, it is
    /// gone, as far as can be told before the next frame.
    pub fn end_of_input(&mut self) {
        self.half_closed = true;
        match self.state {
            ConnectionState::Request { .. }
            | ConnectionState::Upload(_)
            | ConnectionState::Stream(_) => self.close(CloseReason::Left),
            ConnectionState::Drain { .. } => self.close(CloseReason::Done),
            ConnectionState::Snapshot(_)
            | ConnectionState::Trial(_)
            | ConnectionState::Report(_)
            | ConnectionState::Setting(_)
            | ConnectionState::Reply
            | ConnectionState::Closed(_) => {}
        }
    }

    /// What to send now.
    pub fn output(&self) -> Option<Output<'_, F>> {
        match self.state {
            ConnectionState::Closed(_) => None,
            _ => self.out.output(),
        }
    }

    /// How many bytes have not been sent yet.
    pub fn unsent(&self) -> u64 {
        self.out.len()
    }

    /// How long the client may take nothing of what it is sent, if others may for `timeout`.
    pub fn stall_limit(&self, timeout: Duration) -> Duration {
        match self.state {
            ConnectionState::Reply if self.refused => timeout.min(REFUSAL_STALL),
            _ => timeout,
        }
    }

    /// The frame that is being sent.
    pub fn holds(&self) -> Option<&Rc<F>> {
        self.out.holds()
    }

    /// Records that `n` bytes of the last [`Connection::output`] were sent.
    pub fn sent(&mut self, n: usize, lent: &mut Lent<'_>) {
        self.out.sent(n);
        if !self.out.is_empty() {
            return;
        }
        if let Some(poller) = &mut self.poller {
            poller.all_taken(lent.now);
        }
        match &mut self.state {
            ConnectionState::Reply
                if !self.exchange.is_last() && (!self.half_closed || !self.input.is_empty()) =>
            {
                self.state = ConnectionState::Request { since: lent.now };
                self.take_requests(lent);
            }
            ConnectionState::Reply => self.finish(lent.now),
            ConnectionState::Stream(stream) if stream.course == Course::Ends => {
                self.finish(lent.now)
            }
            ConnectionState::Stream(stream) => stream.all_taken(lent),
            _ => {}
        }
    }

    /// Since when it has been waiting for a request, or for the rest of one.
    pub fn silent_since(&self) -> Option<Instant> {
        match self.state {
            ConnectionState::Request { since } => Some(since),
            ConnectionState::Upload(Upload { since, .. }) => Some(since),
            _ => None,
        }
    }

    /// When [`Connection::expire`] must be called, or a repeated frame is wanted.
    pub fn deadline(&self, settings: &Settings) -> Option<Instant> {
        match &self.state {
            ConnectionState::Request { since } if self.input.is_empty() => {
                let keeps = self.exchange.has_begun() && !settings.is_crowded;
                Some(match keeps {
                    true => *since + settings.kept_timeout,
                    false => *since + settings.idle_timeout,
                })
            }
            ConnectionState::Request { since } | ConnectionState::Upload(Upload { since, .. }) => {
                Some(*since + settings.head_timeout)
            }
            ConnectionState::Trial(trial) => Some(trial.refuse_at),
            ConnectionState::Stream(stream) if self.out.is_empty() => Some(stream.repeat_at),
            ConnectionState::Drain { since } => Some(*since + settings.drain_timeout),
            ConnectionState::Stream(_)
            | ConnectionState::Snapshot(_)
            | ConnectionState::Report(_)
            | ConnectionState::Setting(_)
            | ConnectionState::Reply
            | ConnectionState::Closed(_) => None,
        }
    }

    /// Acts on a deadline that has passed. Returns whether one has.
    pub fn expire(&mut self, lent: &mut Lent<'_>) -> bool {
        if self.deadline(lent.settings).is_none_or(|at| lent.now < at) {
            return false;
        }
        match &self.state {
            ConnectionState::Request { .. } if self.input.is_empty() => {
                self.close(CloseReason::Idle)
            }
            ConnectionState::Request { .. } => {
                self.exchange = Exchange::with_fragment(&self.input, &lent.settings.origins);
                self.refuse(Status::RequestTimeout, lent);
            }
            ConnectionState::Upload(_) => self.refuse(Status::RequestTimeout, lent),
            ConnectionState::Trial(_) => self.send_away(NOT_PROVED, lent),
            ConnectionState::Drain { .. } => self.close(CloseReason::Done),
            ConnectionState::Stream(_)
            | ConnectionState::Snapshot(_)
            | ConnectionState::Report(_)
            | ConnectionState::Setting(_)
            | ConnectionState::Reply
            | ConnectionState::Closed(_) => return false,
        }
        true
    }

    /// Ends the connection immediately.
    pub fn close(&mut self, reason: CloseReason) {
        if !matches!(self.state, ConnectionState::Closed(_)) {
            self.state = ConnectionState::Closed(reason);
        }
    }

    /// Ends the connection and releases the frame that was being sent.
    pub fn abandon(&mut self, reason: CloseReason) {
        self.close(reason);
        self.out = Outbox::new();
    }

    /// Why it ended, if it has.
    pub fn closed(&self) -> Option<CloseReason> {
        match &self.state {
            ConnectionState::Closed(reason) => Some(*reason),
            ConnectionState::Stream(stream)
                if stream.course == Course::IsHandedOver && self.out.is_empty() =>
            {
                Some(CloseReason::HandedOver)
            }
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
            self.state = ConnectionState::Drain { since: now };
        }
    }
}

#[cfg(test)]
mod tests;
