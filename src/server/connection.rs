//! One client's connection as a state machine: bytes, frames and the time go in, bytes to send come out.
//!
//! ```text
//!                  ┌────────────────── next request ─────────────────┐
//!                  ▼                                                 │ sent
//!  accepted ──► Request ──(anything finite)──────────────────────► Reply ──sent, close──► Drain ──► Closed
//!                  │                                                 ▲                      ▲
//!                  ├──(/snapshot)──► Snapshot ──frame or deadline────┘                      │
//!                  │                                                                        │
//!                  └──(/stream)────► Stream ──frame──► (sending) ──sent──► (waiting) ──end──┘
//! ```
//!
//! `Request` waits for the rest of a head, `Snapshot` and `Stream` for a frame, `Reply` for the client to take what is in the
//! outbox, `Drain` for the client's side of the close: a socket closed while input is unread sends a reset, and
//! the client might lose the end of what it was sent. Requests that come before their turn (pipelining) stay in
//! the input until it is theirs.
//!
//! No socket, no clock, no camera here: the owner reads and writes (`peer.rs`), and chooses the frame
//! (`delivery.rs`).

use std::time::{Duration, Instant};

use super::outbox::{Outbox, Output, Shot};
use super::request::{self, MAX_HEAD, Method, Parsed, Request};
use super::response::{self, Status};
use super::route::{self, NoRoute, Resource, Terms};
use super::stats::{CloseReason, Stats};
use crate::frames::jpeg::Picture;

/// The page at `/`.
const PAGE: &str = include_str!("page.html");

/// Times and bounds of every connection.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Cameras that can be asked for.
    pub cameras: usize,
    /// From a request's first byte to the end of its head: 408 after that.
    pub head_timeout: Duration,
    /// For the first byte of a request: closed without a word after that.
    pub idle_timeout: Duration,
    /// A snapshot that has no frame by then is a 503.
    pub snapshot_timeout: Duration,
    /// A stream that was sent nothing for so long gets its last frame again. Clients give up after 10 s.
    pub repeat_after: Duration,
    /// For the client to close its side after we closed ours.
    pub drain_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            cameras: 1,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(15),
            snapshot_timeout: Duration::from_millis(1500),
            repeat_after: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(2),
        }
    }
}

/// A frame that the connection waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Want {
    /// The newest, if it is newer than the one that it had.
    Stream {
        /// Of this camera.
        camera: usize,
        /// The number of the last frame sent.
        have: Option<u64>,
        /// Not before this time (`fps=`).
        not_before: Instant,
        /// It is time to repeat the last frame if there is no newer one.
        repeat: bool,
    },
    /// One that meets the client's terms.
    Snapshot {
        /// Of this camera.
        camera: usize,
        /// When it was asked for.
        since: Instant,
        /// What will do.
        terms: Terms,
    },
}

impl Want {
    /// The camera that it is about.
    pub fn camera(&self) -> usize {
        match self {
            Want::Stream { camera, .. } | Want::Snapshot { camera, .. } => *camera,
        }
    }
}

/// An answer that only the whole server can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// What goes on, as JSON: with the stream of this camera at the place where ustreamer's clients look.
    State {
        /// This camera.
        camera: usize,
    },
    /// Counters for Prometheus.
    Metrics,
}

/// What a viewer looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// A stream of this camera.
    Stream(usize),
    /// It waits for a snapshot of this camera.
    Snapshot(usize),
}

#[derive(Debug)]
enum State {
    Request {
        since: Instant,
    },
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

#[derive(Debug)]
struct Stream {
    camera: usize,
    period: Option<Duration>,
    not_before: Instant,
    have: Option<u64>,
    picture: Option<Picture>,
    /// When the last frame is sent again if there is no newer one.
    repeat_at: Option<Instant>,
    ending: bool,
}

/// The connection. `F` is what a frame's file is.
#[derive(Debug)]
pub struct Connection<F> {
    state: State,
    input: Vec<u8>,
    out: Outbox<F>,
    half_closed: bool,
    shut_down: bool,
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
        }
    }

    /// A connection for which there is no place: it is told so, and closed.
    pub fn turned_away(now: Instant, stats: &mut Stats) -> Self {
        let mut connection = Connection::new(now);
        connection.refuse(Status::Unavailable, false, true, stats);
        connection
    }

    /// Whether there is room for input. Where there is none, the client must wait for its turn.
    pub fn takes_input(&self) -> bool {
        match self.state {
            State::Request { .. } | State::Stream(_) | State::Drain { .. } => true,
            State::Snapshot(_) | State::Report { .. } | State::Reply { .. } => {
                self.input.len() < MAX_HEAD
            }
            State::Closed(_) => false,
        }
    }

    /// Takes what the client sent.
    pub fn receive(&mut self, bytes: &[u8], now: Instant, settings: &Settings, stats: &mut Stats) {
        match &mut self.state {
            // What a client says into its stream, or after its last request, is of no interest.
            State::Stream(_) | State::Drain { .. } | State::Closed(_) => {}
            State::Request { since } => {
                if self.input.is_empty() {
                    *since = now;
                }
                self.input.extend_from_slice(bytes);
                self.take_requests(now, settings, stats);
            }
            State::Snapshot(_) | State::Report { .. } | State::Reply { .. } => {
                self.input.extend_from_slice(bytes);
            }
        }
    }

    /// The client sends no more. A reply that it asked for before is still sent; a stream's client that closes
    /// its side is gone, as far as anybody can tell before the next frame.
    pub fn end_of_input(&mut self) {
        self.half_closed = true;
        match self.state {
            State::Request { .. } | State::Stream(_) => self.close(CloseReason::Left),
            State::Drain { .. } => self.close(CloseReason::Done),
            State::Snapshot(_) | State::Report { .. } | State::Reply { .. } | State::Closed(_) => {}
        }
    }

    /// What to send now.
    pub fn output(&self) -> Option<Output<'_, F>> {
        match self.state {
            State::Closed(_) => None,
            _ => self.out.output(),
        }
    }

    /// Bytes not sent yet.
    pub fn unsent(&self) -> u64 {
        self.out.len()
    }

    /// The number of the frame that is being sent.
    pub fn holds(&self) -> Option<u64> {
        self.out.holds()
    }

    /// Takes note that `n` bytes of the last [`Connection::output`] were sent.
    pub fn sent(&mut self, n: usize, now: Instant, settings: &Settings, stats: &mut Stats) {
        self.out.sent(n);
        if !self.out.is_empty() {
            return;
        }
        match &self.state {
            State::Reply { keep_alive: true } if !self.half_closed || !self.input.is_empty() => {
                self.state = State::Request { since: now };
                self.take_requests(now, settings, stats);
            }
            State::Reply { .. } => self.finish(now),
            State::Stream(stream) if stream.ending => self.finish(now),
            _ => {}
        }
    }

    /// The frame that would move this connection on.
    pub fn want(&self, now: Instant) -> Option<Want> {
        match &self.state {
            State::Stream(stream) if !stream.ending && self.out.takes_a_frame() => {
                Some(Want::Stream {
                    camera: stream.camera,
                    have: stream.have,
                    not_before: stream.not_before,
                    repeat: stream.repeat_at.is_some_and(|at| at <= now),
                })
            }
            State::Snapshot(snapshot) => Some(Want::Snapshot {
                camera: snapshot.camera,
                since: snapshot.since,
                terms: snapshot.terms.clone(),
            }),
            _ => None,
        }
    }

    /// There was no frame to give. What could not be repeated now is tried again after a while.
    pub fn give_nothing(&mut self, now: Instant, settings: &Settings) {
        if let State::Stream(stream) = &mut self.state {
            if stream.repeat_at.is_some_and(|at| at <= now) {
                stream.repeat_at = Some(now + settings.repeat_after);
            }
        }
    }

    /// Gives it the frame that it wants.
    pub fn give(&mut self, shot: Shot<F>, now: Instant, settings: &Settings, stats: &mut Stats) {
        match &mut self.state {
            State::Stream(stream) => {
                if stream.picture.is_some_and(|size| size != shot.picture) {
                    // Firefox keeps a stream's first size: end it, and let the client come back.
                    self.finish(now);
                    return;
                }
                stats.frames += 1;
                stats.repeats += u64::from(stream.have == Some(shot.number));
                stream.begin(&shot, now, settings);
                response::write_part_head(self.out.bytes(), shot.len, shot.captured);
                self.out.put(shot, response::DELIMITER);
            }
            State::Snapshot(snapshot) => {
                let keep_alive = snapshot.keep_alive;
                stats.snapshots += 1;
                let frame = Some((shot.len, shot.captured));
                self.out
                    .bytes()
                    .extend(response::snapshot_head(frame, keep_alive));
                self.out.put(shot, b"");
                self.state = State::Reply { keep_alive };
            }
            _ => {}
        }
    }

    /// The report that it waits for.
    pub fn wants_report(&self) -> Option<Report> {
        match self.state {
            State::Report { what, .. } => Some(what),
            _ => None,
        }
    }

    /// Gives it the report that it wants, in this media type.
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

    /// What it looks at, if it is a viewer.
    pub fn looks_at(&self) -> Option<Look> {
        match &self.state {
            State::Stream(stream) => Some(Look::Stream(stream.camera)),
            State::Snapshot(snapshot) => Some(Look::Snapshot(snapshot.camera)),
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
            State::Stream(stream) if self.out.is_empty() => stream.repeat_at,
            State::Drain { since } => Some(*since + settings.drain_timeout),
            State::Stream(_) | State::Report { .. } | State::Reply { .. } | State::Closed(_) => {
                None
            }
        }
    }

    /// Does what a deadline that has passed calls for.
    pub fn expire(&mut self, now: Instant, settings: &Settings, stats: &mut Stats) {
        if self.deadline(settings).is_none_or(|at| now < at) {
            return;
        }
        match &self.state {
            State::Request { .. } if self.input.is_empty() => self.close(CloseReason::Idle),
            State::Request { .. } => self.refuse(Status::RequestTimeout, false, true, stats),
            State::Snapshot(snapshot) => {
                let keep_alive = snapshot.keep_alive;
                self.refuse(Status::Unavailable, keep_alive, true, stats);
            }
            State::Drain { .. } => self.close(CloseReason::Done),
            State::Stream(_) | State::Report { .. } | State::Reply { .. } | State::Closed(_) => {}
        }
    }

    /// The server ends: finish what was begun, begin nothing.
    pub fn stop(&mut self, now: Instant, stats: &mut Stats) {
        match &mut self.state {
            State::Request { .. } => self.close(CloseReason::Stopping),
            State::Snapshot(_) => self.refuse(Status::Unavailable, false, true, stats),
            State::Reply { keep_alive } | State::Report { keep_alive, .. } => *keep_alive = false,
            State::Stream(_) if self.out.is_empty() => self.finish(now),
            State::Stream(stream) => stream.ending = true,
            State::Drain { .. } | State::Closed(_) => {}
        }
    }

    /// Ends the connection here and now.
    pub fn close(&mut self, reason: CloseReason) {
        if !matches!(self.state, State::Closed(_)) {
            self.state = State::Closed(reason);
        }
    }

    /// Ends it and lets go of the frame that was being sent.
    pub fn abandon(&mut self, reason: CloseReason) {
        self.close(reason);
        self.out = Outbox::new();
    }

    /// The camera whose frame is on its way into a stream that goes on after it.
    pub fn sends_stream_of(&self) -> Option<usize> {
        match &self.state {
            State::Stream(stream) if !stream.ending && !self.out.takes_a_frame() => {
                Some(stream.camera)
            }
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

    /// Whether the sending side is to be shut down now; says so once.
    pub fn take_shutdown(&mut self) -> bool {
        std::mem::take(&mut self.shut_down)
    }

    /// All is sent: our side of the connection ends.
    fn finish(&mut self, now: Instant) {
        self.input = Vec::new();
        if self.half_closed {
            self.close(CloseReason::Done);
        } else {
            self.shut_down = true;
            self.state = State::Drain { since: now };
        }
    }

    /// Answers the requests that are complete, as far as one can be answered before the next.
    fn take_requests(&mut self, now: Instant, settings: &Settings, stats: &mut Stats) {
        let input = std::mem::take(&mut self.input);
        match request::parse(&input) {
            Parsed::Partial if self.half_closed => self.finish(now),
            Parsed::Partial => self.input = input,
            Parsed::Refused(status) => self.refuse(status, false, true, stats),
            Parsed::Complete(request, len) => {
                self.answer(&request, now, settings, stats);
                if matches!(
                    self.state,
                    State::Snapshot(_)
                        | State::Report {
                            keep_alive: true,
                            ..
                        }
                        | State::Reply { keep_alive: true }
                ) {
                    self.input = input[len..].to_vec();
                }
            }
        }
    }

    fn answer(
        &mut self,
        request: &Request<'_>,
        now: Instant,
        settings: &Settings,
        stats: &mut Stats,
    ) {
        let keep_alive = request.keep_alive;
        let with_body = request.method == Method::Get;
        let resource = match route::route(request.target) {
            Ok(Resource::Stream { camera, .. } | Resource::Snapshot { camera, .. })
                if camera >= settings.cameras =>
            {
                Err(NoRoute::NotFound)
            }
            found => found,
        };
        match (resource, request.method) {
            (Err(NoRoute::NotFound), _) => {
                self.refuse(Status::NotFound, keep_alive, with_body, stats);
            }
            (Err(NoRoute::NotImplemented), _) => {
                self.refuse(Status::NotImplemented, keep_alive, with_body, stats);
            }
            (Err(NoRoute::BadParameter), _) => {
                self.refuse(Status::BadRequest, keep_alive, with_body, stats);
            }
            (Ok(_), Method::Options) => self.reply(response::options(keep_alive), keep_alive),
            (Ok(Resource::Server), _) => {
                self.refuse(Status::BadRequest, keep_alive, with_body, stats);
            }
            (Ok(Resource::Icon), _) => self.reply(response::no_content(keep_alive), keep_alive),
            (Ok(Resource::State), method) => {
                let what = Report::State { camera: 0 };
                self.report(what, keep_alive, method == Method::Get);
            }
            (Ok(Resource::Metrics), method) => {
                self.report(Report::Metrics, keep_alive, method == Method::Get);
            }
            (Ok(Resource::Page), _) => {
                self.reply(response::page(PAGE, keep_alive, with_body), keep_alive);
            }
            // Their heads only, at once: asking what a picture is must not wake a camera.
            (Ok(Resource::Stream { .. }), Method::Head) => {
                self.reply(response::stream_head(false), false);
            }
            (Ok(Resource::Snapshot { .. }), Method::Head) => {
                self.reply(response::snapshot_head(None, keep_alive), keep_alive);
            }
            (Ok(Resource::Stream { camera, period }), Method::Get) => {
                stats.streams += 1;
                self.out.bytes().extend(response::stream_head(true));
                self.state = State::Stream(Stream::new(camera, period, now));
            }
            (Ok(Resource::Snapshot { camera, terms }), Method::Get) => {
                self.state = State::Snapshot(Snapshot {
                    camera,
                    since: now,
                    terms,
                    keep_alive,
                });
            }
        }
    }

    fn refuse(&mut self, status: Status, keep_alive: bool, with_body: bool, stats: &mut Stats) {
        stats.refuse(status);
        let keep_alive = keep_alive && !self.half_closed;
        self.reply(response::refusal(status, keep_alive, with_body), keep_alive);
    }

    fn report(&mut self, what: Report, keep_alive: bool, with_body: bool) {
        self.state = State::Report {
            what,
            keep_alive,
            with_body,
        };
    }

    fn reply(&mut self, bytes: Vec<u8>, keep_alive: bool) {
        self.out.bytes().extend(bytes);
        self.state = State::Reply { keep_alive };
    }
}

impl Stream {
    fn new(camera: usize, period: Option<Duration>, now: Instant) -> Self {
        Stream {
            camera,
            period,
            not_before: now,
            have: None,
            picture: None,
            repeat_at: None,
            ending: false,
        }
    }

    fn begin<F>(&mut self, shot: &Shot<F>, now: Instant, settings: &Settings) {
        self.have = Some(shot.number);
        self.picture = Some(shot.picture);
        self.repeat_at = Some(now + settings.repeat_after);
        if let Some(period) = self.period {
            // On a grid, so that lateness does not add up; but what was missed is not made good.
            self.not_before = (self.not_before + period).max(now);
        }
    }
}

#[cfg(test)]
mod tests;
