//! A connection with its socket: the reading, writing and measuring that the state machine leaves out.
//!
//! Sockets are edge-triggered. Each edge is remembered until a call would block, so a viewer costs no call to epoll
//! after it was accepted.

mod figures;
mod progress;
mod tcp;
mod wire;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::sockopt;

use crate::event::{Readiness, Registration};
use crate::frames::copy::FrameCopy;
use crate::frames::frame::Frame;
use crate::server::auth::Print;
use crate::server::client::figures::Figures;
use crate::server::client::progress::Progress;
#[cfg(test)]
pub(in crate::server) use crate::server::client::tcp::Times;
pub(in crate::server) use crate::server::client::tcp::congestion;
pub(in crate::server) use crate::server::client::wire::Wire;
use crate::server::client_id::{ClientId, Place, Remote, Seat};
use crate::server::connection::Connection;
use crate::server::connection::outbox::Output;
use crate::server::lent::Lent;
use crate::server::pacing::{AHEAD, DELAYED_ACK, Meter, Path, Reading, Seen, Step};
use crate::server::stats::CloseReason;
use crate::server::want::Given;

/// How much input is read per call; a request rarely has more than one kilobyte.
pub(in crate::server) const SCRATCH: usize = 4096;

/// A client.
#[derive(Debug)]
pub(in crate::server) struct Client<W = OwnedFd> {
    socket: W,
    pub(in crate::server) registration: Option<Registration>,
    pub(in crate::server) connection: Connection<Frame>,
    /// Which places it is counted against.
    pub(in crate::server) place: Place,
    /// When it came.
    since: Instant,
    /// The credential that was proved on this connection.
    pub(in crate::server) proved: Option<Box<Print>>,
    /// The camera in whose list of waiting viewers it is.
    pub(in crate::server) waiting: Option<usize>,
    /// When to decide again about its next frame.
    pub(in crate::server) decide_at: Option<Instant>,
    is_tcp: bool,
    readable: bool,
    writable: bool,
    /// See [`Readiness::stops_short`].
    stops_short: bool,
    /// The system had no memory for a call just now.
    pub(in crate::server) exhausted: bool,
    written: u64,
    /// The shortest round trip, once it was asked for; zero if the kernel does not report it.
    min_rtt: Option<Duration>,
    meter: Meter,
    progress: Progress,
    /// Present from the first frame of a stream on.
    figures: Option<Box<Figures>>,
}

impl<W: Wire> Client<W> {
    /// A client at the other end of a wire, which is an accepted, non-blocking socket that was prepared ([`prepare`]).
    pub(in crate::server) fn over(
        socket: W,
        connection: Connection<Frame>,
        remote: Remote,
        place: Place,
        now: Instant,
    ) -> Self {
        Client {
            socket,
            registration: None,
            connection,
            place,
            since: now,
            proved: None,
            waiting: None,
            decide_at: None,
            is_tcp: remote != Remote::Unix,
            readable: true,
            writable: true,
            stops_short: false,
            exhausted: false,
            written: 0,
            min_rtt: None,
            meter: Meter::default(),
            figures: None,
            progress: Progress::new(now),
        }
    }

    pub(in crate::server) fn socket(&self) -> &W {
        &self.socket
    }

    pub(in crate::server) fn into_socket(self) -> W {
        self.socket
    }

    /// What the door knows of it, if it is served.
    pub(in crate::server) fn seat(&self, id: ClientId) -> Option<Seat> {
        let Place::Served(remote) = self.place else {
            return None;
        };
        Some(Seat {
            id,
            remote,
            since: self.since,
            silent_since: self.connection.silent_since(),
            unproved: self.connection.is_guarded() && self.proved.is_none(),
        })
    }

    /// Remembers what epoll reported.
    pub(in crate::server) fn ready(&mut self, readiness: Readiness) {
        self.readable |= readiness.readable;
        self.writable |= readiness.writable;
        self.stops_short |= readiness.stops_short;
    }

    /// Reads once. Returns whether anything came.
    pub(in crate::server) fn read(&mut self, lent: &mut Lent<'_>) -> bool {
        if !self.readable || !self.connection.takes_input() {
            return false;
        }
        let mut scratch = [0; SCRATCH];
        match self.socket.receive(&mut scratch) {
            Ok(0) => {
                self.readable = false;
                self.connection.end_of_input();
                true
            }
            Ok(n) => {
                // There is nothing more than this, and what comes now is an edge (epoll(7), question 9), except what was
                // reported already. A unix socket also stops behind descriptors that were sent along.
                self.readable = n == SCRATCH || self.stops_short || !self.is_tcp;
                self.connection.receive(&scratch[..n], lent);
                true
            }
            Err(Errno::AGAIN) => {
                self.readable = false;
                false
            }
            Err(errno) => self.fail(errno),
        }
    }

    /// Writes once, or shuts down the sending side. Returns whether anything was done. What is sent of a frame is taken from
    /// its `copy` if there is one.
    pub(in crate::server) fn write(&mut self, copy: &FrameCopy, lent: &mut Lent<'_>) -> bool {
        if self.connection.take_shutdown() {
            self.socket.shut_down();
            return true;
        }
        if !self.writable {
            return false;
        }
        let Some(output) = self.connection.output() else {
            return false;
        };
        let copied = output
            .file
            .as_ref()
            .and_then(|part| copy.of(part.file.id()));
        match self.socket.send(output, copied) {
            Ok(n) => {
                self.written += n as u64;
                self.progress.wrote(lent.now);
                if let Some(figures) = &mut self.figures {
                    figures.reader.wrote(lent.now);
                }
                self.connection.sent(n, lent);
                true
            }
            Err(Errno::AGAIN) => {
                self.writable = false;
                self.progress.refused();
                false
            }
            Err(errno) => self.fail(errno),
        }
    }

    /// A call failed for a reason other than that it would block. Returns whether to try again.
    fn fail(&mut self, errno: Errno) -> bool {
        match errno {
            Errno::INTR => return true,
            // The system is out of memory, which is not the connection's fault and passes.
            Errno::NOBUFS | Errno::NOMEM => self.exhausted = true,
            Errno::CONNRESET | Errno::PIPE => self.connection.close(CloseReason::Left),
            _ => self.connection.close(CloseReason::Failed),
        }
        false
    }

    /// The state of the path to this client. Data that was not handed to the kernel yet counts as queued. On a free
    /// line, which is the usual case, this takes one cheap call; the round trip is queried at first and while the
    /// line is busy.
    pub(in crate::server) fn path(&mut self, now: Instant) -> Path {
        let path = self.path_now(now);
        let held = self.hold(path, now);
        Path { held, ..path }
    }

    fn path_now(&mut self, now: Instant) -> Path {
        let arrived = self.arrived();
        let queued = self.written - arrived + self.connection.unsent();
        let (mut silent, mut repeated) = (Duration::ZERO, 0);
        if self.is_tcp && (self.min_rtt.is_none() || queued > DELAYED_ACK) {
            let times = self.socket.times().unwrap_or_default();
            self.min_rtt = Some(times.min_rtt);
            (silent, repeated) = (times.silent, times.repeated);
        }
        let reading = Reading {
            acknowledged: arrived,
            queued,
            silent,
            min_rtt: self.min_rtt.unwrap_or_default(),
            is_local: !self.is_tcp,
            repeated,
        };
        self.meter.observe(now, reading);
        // On a unix socket, the moment at which all was read is known only if somebody looks while it is not.
        let was_busy = !self.is_tcp && self.progress.is_owed();
        self.progress.look(arrived, queued, now);
        if (queued > 0 || was_busy) && !self.is_slow() {
            if let Some(figures) = &mut self.figures {
                figures.observe(arrived, now);
            }
        }
        self.meter.path(now)
    }

    /// Whether the program has yet to read what its system has acknowledged, and when to look again.
    fn hold(&mut self, path: Path, now: Instant) -> Option<Duration> {
        let figures = self.figures.as_mut()?;
        if !self.is_tcp || !figures.reader.has_doubts(now) {
            return None;
        }
        if self.connection.sends_nothing_ahead() {
            let seen = seen(&self.socket, path, (self.progress.arrived(), 0));
            figures.reader.look_only(now, seen);
            return None;
        }
        let ahead = self.connection.sent_of_next_head()?;
        let was_slow = figures.reader.is_slow();
        let seen = seen(&self.socket, path, (self.progress.arrived(), ahead));
        let step = figures.reader.step(now, seen);
        match step {
            Step::Begin => {
                if was_slow {
                    figures.observe(self.written, now);
                }
                None
            }
            Step::Look(again) => Some(again),
            Step::Ask(again) => {
                let byte = Output::bytes(&AHEAD[ahead..=ahead]);
                if self.socket.send(byte, None) == Ok(1) {
                    self.written += 1;
                    self.connection.sent_ahead();
                }
                Some(again)
            }
        }
    }

    fn is_slow(&self) -> bool {
        self.figures
            .as_ref()
            .is_some_and(|figures| figures.reader.is_slow())
    }

    /// How many bytes the peer has acknowledged (TCP) or read (unix). What a unix socket tells is memory, which is some bytes more
    /// than what was not read (`findings/siocoutq.sh`); only nothing is exact. So what has arrived once remains so.
    fn arrived(&self) -> u64 {
        // Nothing was handed over since all had arrived, or at all.
        if self.progress.arrived() == self.written {
            return self.written;
        }
        let in_kernel = self.socket.queued().unwrap_or(0);
        let arrived = self.written.saturating_sub(in_kernel);
        if self.is_tcp {
            arrived
        } else {
            arrived.max(self.progress.arrived())
        }
    }

    /// A frame is put into the outbox.
    pub(in crate::server) fn begin_frame(&mut self, now: Instant, len: u64) {
        self.meter.begin(now, len);
        if let Some(figures) = &mut self.figures {
            figures.reader.begin();
        }
    }

    /// Counts a frame of a stream, or a picture in its place, that was put into the outbox: `len` bytes, captured at
    /// `taken`.
    pub(in crate::server) fn count_frame(
        &mut self,
        given: Given,
        (taken, len): (Instant, u64),
        now: Instant,
    ) {
        let end = self.written + self.connection.unsent();
        let figures = self.figures.get_or_insert_with(|| Figures::new(now).into());
        match given.skipped {
            Some(skipped) if !given.is_notice => figures.begin(skipped, taken, len, end, now),
            _ => figures.fill_in(len, now),
        }
    }

    /// What is known about this viewer now, and how many bytes are on their way to it.
    pub(in crate::server) fn figures(&mut self, now: Instant) -> (u64, Option<&Figures>) {
        let arrived = self.arrived();
        let in_flight = self.written - arrived;
        let is_slow = self.is_slow();
        if let Some(figures) = self.figures.as_mut().filter(|_| !is_slow) {
            if in_flight > 0 {
                figures.observe(arrived, now);
            } else if figures.is_open() && self.is_tcp {
                // Everything has arrived, so the last acknowledgement was that of the last byte.
                if let Some(at) = self
                    .socket
                    .times()
                    .and_then(|times| now.checked_sub(times.silent))
                {
                    figures.observe(arrived, at);
                }
            }
        }
        (in_flight, self.figures.as_deref())
    }

    /// When to see whether a client takes what it is owed, if there is something. `timeout` is how long it may take
    /// nothing.
    pub(in crate::server) fn stall_deadline(&self, timeout: Duration) -> Option<Instant> {
        let timeout = self.connection.stall_limit(timeout);
        let waits = self.connection.unsent() > 0 || self.unread_for().is_some();
        self.progress.look_at(waits, timeout)
    }

    /// For how long the program of a viewer is known to have read nothing of what its system has taken.
    fn unread_for(&self) -> Option<Duration> {
        self.figures.as_ref()?.reader.unread_for()
    }

    /// Drops a client that accepted nothing for `timeout`.
    pub(in crate::server) fn check_progress(&mut self, now: Instant, timeout: Duration) {
        self.progress.may_begin(now);
        let has_left = |client: &Self| client.unread_for().is_some_and(|so_far| so_far >= timeout);
        // Looks for another reason may have told it, however often they were.
        if has_left(self) {
            return self.connection.close(CloseReason::Stalled);
        }
        if self.stall_deadline(timeout).is_none_or(|at| now < at) {
            return;
        }
        let path = self.path(now);
        if self.unread_for().is_some() {
            let seen = seen(&self.socket, path, (self.progress.arrived(), 0));
            if let Some(figures) = &mut self.figures {
                figures.reader.look_for_reading(now, seen);
            }
        }
        let unsent = self.connection.unsent();
        let timeout = self.connection.stall_limit(timeout);
        if has_left(self) || self.progress.is_over(unsent, timeout, now) {
            self.connection.close(CloseReason::Stalled);
        }
    }
}

/// What the kernel says about a viewer on a line of which this is known, that has so much, and was sent so much of the next head.
fn seen(socket: &impl Wire, path: Path, (acknowledged, ahead): (u64, usize)) -> Seen {
    let times = socket.times().unwrap_or_default();
    Seen {
        acknowledged,
        window: times.window,
        behind_gap: times.behind_gap,
        queued: path.queued,
        frame: path.frame,
        segment: times.segment,
        ahead,
        left: path.drains_in().unwrap_or_default(),
        silent: times.silent,
        round_trip: times.min_rtt,
        repeated: times.repeated,
        is_linux: times.is_linux,
    }
}

/// Sets what a TCP connection needs, on itself or on the socket that is to accept it. All of it is optional: a socket that
/// refuses still serves.
pub(in crate::server) fn prepare(socket: &OwnedFd) {
    let _ = sockopt::set_tcp_nodelay(socket, true);
    let _ = tcp::bound_unsent(socket.as_fd());
}

/// Puts a socket that was created elsewhere into the mode that this file relies on.
pub(in crate::server) fn make_nonblocking(socket: &OwnedFd) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(socket)?;
    Ok(rustix::fs::fcntl_setfl(
        socket,
        flags | rustix::fs::OFlags::NONBLOCK,
    )?)
}
