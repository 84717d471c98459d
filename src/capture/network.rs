//! The source `http://…`: a camera on the network that sends MJPEG, such as another lazycam, an IP camera or a program.
//!
//! **On demand.** A start connects, and a stop closes the connection: while nobody looks, the far side has one viewer
//! less, and can sleep too. So everything that comes is from after the start.
//!
//! **The newest frame.** What waits in the socket is read away before a frame is reported, and of the pictures in it the
//! last whole one counts. The receive buffer is small ([`BUFFER`]), so that a far side that skips frames does so at once,
//! and does not fill megabytes of it while this process has no time.
//!
//! **It never blocks.** The loop gets an epoll instance of this source, behind which come one after the other: the bell
//! of the look-up ([`lookup`]), the socket while it connects, and the socket of the stream. Each step has its time.
//!
//! What comes is read by [`answer`], without any I/O, and is bounded: a head by 16 KiB, a picture like any other.
//!
//! Not here: TLS (a proxy's job), RTSP, and requests that change anything at the far side.

pub mod answer;
mod lookup;
mod parts;
pub mod pictures;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::io::{Errno, read};
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use rustix::net::{connect, send, socket_with, sockopt};

use self::answer::{Answer, Refusal};
use self::lookup::Lookup;
use self::pictures::Pictures;
use super::source::{Captured, Discarded, Facts, Source, Trouble, turned};
use super::url::{Place, Url};
use crate::error::{Context, Result};
use crate::picture::turn::Turn;
use crate::picture::turn::lossless::Newest;

/// Asked for as the socket's receive buffer; the kernel doubles it and uses half of that for what it keeps about packets
/// (socket(7), tcp(7)). That is one frame or two of those that are common. It allows 20 Mbit/s at 50 ms of round trip.
const BUFFER: usize = 128 << 10;

/// The most that is read at a time, and before the loop looks elsewhere.
const READ: usize = 64 << 10;
const ENOUGH: usize = 1 << 20;

/// For a look-up, a connection to one address, and the head of the answer.
const STEP: Duration = Duration::from_secs(10);

/// The longest time without a frame that is waited, whatever the rate was before.
const LONGEST: Duration = Duration::from_secs(60);

/// The longest time that the far side may keep us away with `Retry-After`.
const AWAY: Duration = Duration::from_secs(60);

#[derive(Debug)]
enum Stage {
    Stopped,
    /// The far side asked us to come later.
    Away,
    LookingUp,
    Connecting(OwnedFd),
    Receiving(OwnedFd, Answer),
}

/// A camera on the network.
pub struct Network {
    url: Url,
    epoll: OwnedFd,
    stage: Stage,
    /// When the stage must have ended.
    until: Option<Instant>,
    lookup: Option<Lookup>,
    /// Addresses that were not tried yet; the last one is next.
    untried: Vec<SocketAddr>,
    /// The far side does not want to be asked before.
    not_before: Option<Instant>,
    /// When the last frame came, and how long after the one before.
    last: Option<Instant>,
    gap: Duration,
    buffer: Vec<u8>,
    pictures: Pictures,
    turned: Newest,
}

impl Network {
    /// A camera whose pictures are turned. Nothing is connected or looked up before a start.
    pub fn new(url: Url, turn: Turn) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)
            .doing(|| "create an epoll instance".into())?;
        Ok(Network {
            epoll,
            pictures: Pictures::new(url.shown().into()),
            url,
            stage: Stage::Stopped,
            until: None,
            lookup: None,
            untried: Vec::new(),
            not_before: None,
            last: None,
            gap: Duration::ZERO,
            buffer: Vec::new(),
            turned: Newest::new(turn),
        })
    }

    /// Begins with whatever has to come before the connection.
    fn begin(&mut self, now: Instant) -> Result<(), Trouble> {
        self.until = Some(now + STEP);
        let (host, port) = match &self.url.place {
            Place::Socket(_) => return self.connect(now),
            Place::Host(host, port) => (host.clone(), *port),
        };
        if let Some(address) = lookup::address(&host, port) {
            self.untried = vec![address];
            return self.connect(now);
        }
        self.forget_answer();
        if self.lookup.is_none() {
            let lookup = Lookup::start(&host, port);
            self.lookup =
                Some(lookup.map_err(|error| lost(format!("cannot look up its name: {error}")))?);
        }
        if let Some(lookup) = &self.lookup {
            // It may be there from a start before.
            self.watch(lookup.fd(), epoll::EventFlags::IN)?;
        }
        self.stage = Stage::LookingUp;
        Ok(())
    }

    /// Drops the answer to a look-up that nobody waits for any more.
    fn forget_answer(&mut self) {
        self.lookup
            .take_if(|lookup| is_ready(lookup.fd(), PollFlags::IN));
    }

    fn looked_up(&mut self, now: Instant) -> Result<(), Trouble> {
        let Some(lookup) = self
            .lookup
            .take_if(|lookup| is_ready(lookup.fd(), PollFlags::IN))
        else {
            return Ok(());
        };
        let found = lookup.finish();
        let mut found = found.map_err(|error| lost(format!("its name is not found: {error}")))?;
        found.reverse();
        self.untried = found;
        self.connect(now)
    }

    /// Connects to the next address.
    fn connect(&mut self, now: Instant) -> Result<(), Trouble> {
        self.until = Some(now + STEP);
        let socket = match &self.url.place {
            Place::Host(..) => {
                let Some(address) = self.untried.pop() else {
                    return Err(lost("its name has no address".into()));
                };
                begin_tcp(address)
            }
            Place::Socket(path) => begin_unix(path),
        };
        match socket {
            Ok(socket) => {
                self.watch(socket.as_fd(), epoll::EventFlags::OUT)?;
                self.stage = Stage::Connecting(socket);
                Ok(())
            }
            Err(errno) => self.not_connected(errno, now),
        }
    }

    fn not_connected(&mut self, errno: Errno, now: Instant) -> Result<(), Trouble> {
        match self.untried.is_empty() {
            true => Err(lost(format!("cannot connect: {}", io::Error::from(errno)))),
            false => self.connect(now),
        }
    }

    /// Sends the request, once the connection is there.
    fn connected(&mut self, socket: OwnedFd, now: Instant) -> Result<(), Trouble> {
        if !is_ready(socket.as_fd(), PollFlags::OUT) {
            self.stage = Stage::Connecting(socket);
            return Ok(());
        }
        let error = sockopt::socket_error(&socket).and_then(|outcome| outcome);
        if let Err(errno) = error {
            return self.not_connected(errno, now);
        }
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: lazycam/{}\r\nConnection: close\r\n\r\n",
            self.url.target(),
            self.url.authority(),
            env!("CARGO_PKG_VERSION"),
        );
        // It is shorter than any send buffer.
        match send(&socket, request.as_bytes(), SendFlags::NOSIGNAL) {
            Ok(sent) if sent == request.len() => {}
            Ok(_) => return self.not_connected(Errno::AGAIN, now),
            Err(errno) => return self.not_connected(errno, now),
        }
        let data = epoll::EventData::new_u64(0);
        let watched = epoll::modify(&self.epoll, &socket, data, epoll::EventFlags::IN);
        watched.map_err(|errno| lost(format!("cannot wait for it: {errno}")))?;
        self.until = Some(now + STEP);
        self.pictures.restart();
        self.stage = Stage::Receiving(socket, Answer::new());
        Ok(())
    }

    /// Reads what is there.
    fn receive(&mut self, now: Instant) -> Result<Option<Captured>, Trouble> {
        let Stage::Receiving(socket, answer) = &mut self.stage else {
            return Ok(None);
        };
        let mut so_far = 0;
        let mut end = None;
        while so_far < ENOUGH && end.is_none() {
            match read(&*socket, &mut self.buffer) {
                Ok(0) => end = Some("ended the connection".to_owned()),
                Ok(len) => {
                    so_far += len;
                    let fed =
                        answer.feed(&self.buffer[..len], SystemTime::now(), &mut self.pictures);
                    if let Err(Refusal { what, wait }) = fed {
                        self.not_before = wait.map(|wait| now + wait.min(AWAY));
                        return Err(lost(what));
                    }
                    if answer.is_ended() {
                        end = Some("ended the stream".into());
                    } else if len < self.buffer.len() {
                        break;
                    }
                }
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(errno) => end = Some(format!("cut the connection: {}", io::Error::from(errno))),
            }
        }
        // A frame goes before the end, which will be seen again.
        if let Some(at) = self.pictures.news() {
            self.not_before = None;
            self.arrived(now);
            return Ok(Some(Captured { at, settled: true }));
        }
        match end {
            Some(end) => Err(lost(end)),
            None => Ok(None),
        }
    }

    /// Notes when a frame came, and how long to wait for the next one.
    fn arrived(&mut self, now: Instant) {
        self.turned.next_frame();
        if let Some(last) = self.last.replace(now) {
            self.gap = now - last;
        }
        self.until = Some(now + super::source::patience(Some(self.gap)).min(LONGEST));
    }

    /// What is wrong when a stage takes too long.
    fn late(&mut self, now: Instant) -> Result<(), Trouble> {
        let what = match &self.stage {
            Stage::Connecting(_) if !self.untried.is_empty() => return self.connect(now),
            Stage::Stopped | Stage::Away => return self.begin(now),
            Stage::LookingUp => "no name server says what its address is",
            Stage::Connecting(_) => "cannot connect: it does not answer",
            Stage::Receiving(_, answer) if !answer.is_accepted() => "does not answer the request",
            Stage::Receiving(..) => "has sent no frame for too long",
        };
        Err(lost(what.into()))
    }

    fn watch(&self, fd: BorrowedFd<'_>, what: epoll::EventFlags) -> Result<(), Trouble> {
        let data = epoll::EventData::new_u64(0);
        match epoll::add(&self.epoll, fd, data, what) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(lost(format!("cannot wait for it: {errno}"))),
        }
    }
}

impl Source for Network {
    fn describe(&self) -> String {
        format!("{}{}", self.url.shown(), turned(self.turned.turn()))
    }

    fn facts(&self) -> Facts {
        Facts {
            size: self.turned.size(),
            ..Facts::default()
        }
    }

    fn start(&mut self, now: Instant) -> Result<(), Trouble> {
        self.buffer.resize(READ, 0);
        self.last = None;
        self.gap = Duration::ZERO;
        if let Some(at) = self.not_before.filter(|at| *at > now) {
            self.until = Some(at);
            self.stage = Stage::Away;
            return Ok(());
        }
        self.begin(now)
    }

    fn stop(&mut self) {
        // Closing the socket takes it out of the epoll instance.
        self.stage = Stage::Stopped;
        self.until = None;
        self.untried.clear();
        self.buffer = Vec::new();
        self.pictures.restart();
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.epoll.as_fd())
    }

    fn deadline(&self) -> Option<Instant> {
        self.until
    }

    fn advance(&mut self, now: Instant) -> Result<Option<Captured>, Trouble> {
        let frame = match std::mem::replace(&mut self.stage, Stage::Stopped) {
            Stage::Connecting(socket) => self.connected(socket, now).map(|()| None),
            stage => {
                self.stage = stage;
                match self.stage {
                    Stage::LookingUp => self.looked_up(now).map(|()| None),
                    Stage::Receiving(..) => self.receive(now),
                    _ => {
                        self.forget_answer();
                        Ok(None)
                    }
                }
            }
        }?;
        if frame.is_none() && self.until.is_some_and(|until| until <= now) {
            self.late(now)?;
        }
        Ok(frame)
    }

    fn discarded(&mut self) -> Option<Discarded> {
        self.pictures.discarded()
    }

    fn jpeg(&mut self) -> Result<&[u8], Trouble> {
        let broken = |defect| Trouble::Broken(format!("{}: {defect}", self.url.shown()));
        if self.turned.turn().is_none() {
            return self.pictures.jpeg().map_err(broken);
        }
        self.turned.jpeg(|| self.pictures.jpeg()).map_err(broken)
    }
}

fn lost(what: String) -> Trouble {
    Trouble::Lost(what)
}

/// Begins to connect. The size of the buffer has to be set before, because it decides about the window (tcp(7)).
fn begin_tcp(address: SocketAddr) -> rustix::io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = stream_socket(family)?;
    sockopt::set_socket_recv_buffer_size(&socket, BUFFER)?;
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(errno) => Err(errno),
    }
}

fn begin_unix(path: &std::path::Path) -> rustix::io::Result<OwnedFd> {
    let socket = stream_socket(AddressFamily::UNIX)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

fn stream_socket(family: AddressFamily) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(family, SocketType::STREAM, flags, None)
}

/// Whether a descriptor is ready now, be it for an error.
fn is_ready(fd: BorrowedFd<'_>, what: PollFlags) -> bool {
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut fds = [PollFd::new(&fd, what)];
    matches!(poll(&mut fds, Some(&at_once)), Ok(1..))
}
