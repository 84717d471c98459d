//! The source `http://…`: a camera on the network that sends MJPEG, such as another lazycam, an IP camera or a program.
//!
//! **On demand.** A start connects, and a stop closes the connection: while nobody looks, the far side has one viewer
//! less, and can sleep too. So everything that comes is from after the start.
//!
//! **The newest frame.** What waits in the socket is read away before a frame is reported, and of the pictures in it the
//! last whole one counts. The receive buffer is small (`dial.rs`), so that a far side that skips frames does so at once,
//! and does not fill megabytes of it while this process has no time.
//!
//! **It never blocks.** The loop gets an epoll instance of this source, behind which come one after the other: the bell
//! of the look-up (`lookup`), the socket while it connects, and the socket of the stream. Each step has its time.
//!
//! What comes is read by [`answer`], without any I/O, and is bounded: a head by 16 KiB, a picture like any other.
//!
//! Not here: TLS (a proxy's job), RTSP, and requests that change anything at the far side.

pub mod answer;
pub mod challenge;
mod dial;
mod lookup;
mod parts;
pub mod pictures;
mod reach;
pub mod request;
mod way;

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFlags, epoll};
use rustix::io::{Errno, read};
use rustix::net::{SendFlags, send};

use self::answer::{CameraAnswer, Refusal, Single};
use self::lookup::Lookup;
use self::pictures::Pictures;
use self::request::CameraRequest;
use self::way::Way;
use super::source::{Captured, Discarded, Facts, OriginFacts, Source, Trouble, turned};
use super::url::Url;
use crate::error::{Context, Result};
use crate::event::is_ready;
use crate::picture::turn::Transform;
use crate::picture::turn::lossless::NewestTurned;

/// The most that is read at a time. A line brings less at once; more costs memory.
const READ: usize = 16 << 10;

/// The most that is read before the loop looks elsewhere.
const ENOUGH: usize = 1 << 20;

/// For a look-up, a connection to one address, and the head of the answer.
const STEP: Duration = Duration::from_secs(10);

/// Between two requests for single pictures, unless another rate is set.
const INTERVAL: Duration = Duration::from_millis(100);

/// The longest time without a frame that is waited, whatever the rate was before.
const LONGEST: Duration = Duration::from_secs(60);

/// The longest time that the far side may keep us away with `Retry-After`.
const AWAY: Duration = Duration::from_secs(60);

#[derive(Debug)]
enum LinkStage {
    Stopped,
    /// The far side asked us to come later.
    Away,
    LookingUp,
    Connecting(OwnedFd),
    Receiving(OwnedFd, CameraAnswer),
    /// The answer was a single picture, and it is too early for the next one.
    Pausing(Option<OwnedFd>),
}

/// A camera on the network.
pub struct Network {
    url: Url,
    epoll: OwnedFd,
    stage: LinkStage,
    /// When the stage must have ended.
    until: Option<Instant>,
    lookup: Option<Lookup>,
    /// Addresses that were not tried yet; the last one is next.
    untried: Vec<SocketAddr>,
    /// The address that was connected to since the start.
    reached: Option<SocketAddr>,
    /// The far side does not want to be asked before.
    not_before: Option<Instant>,
    /// Single pictures: the time between two requests, when the last one was sent, and whether it went out on a
    /// connection that was used before.
    interval: Option<Duration>,
    asked: Instant,
    is_reused: bool,
    request: CameraRequest,
    way: Way,
    /// When it was told that the far side has lost its camera, if no frame has come since.
    told: Option<Instant>,
    /// When the last frame came, and how long after the one before.
    last: Option<Instant>,
    gap: Duration,
    buffer: Vec<u8>,
    pictures: Pictures,
    turned: NewestTurned,
}

impl Network {
    /// A camera whose pictures are turned. One that gives single pictures is asked for so many per second. Nothing is connected or
    /// looked up before a start. The password is that of the URL's user.
    pub fn new(url: Url, turn: Transform, fps: Option<f64>, password: &str) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)
            .doing(|| "create an epoll instance".into())?;
        Ok(Network {
            epoll,
            pictures: Pictures::new(url.shown().into()),
            request: CameraRequest::new(password),
            way: Way::new(),
            url,
            stage: LinkStage::Stopped,
            until: None,
            lookup: None,
            untried: Vec::new(),
            reached: None,
            not_before: None,
            interval: fps.map(|fps| Duration::from_secs_f64(1.0 / fps)),
            asked: Instant::now(),
            is_reused: false,
            told: None,
            last: None,
            gap: Duration::ZERO,
            buffer: Vec::new(),
            turned: NewestTurned::new(turn),
        })
    }

    /// Sends a request.
    fn ask(&mut self, socket: OwnedFd, now: Instant) -> rustix::io::Result<()> {
        let request = self.request.text(&self.url);
        // It is shorter than any send buffer.
        if send(&socket, request.as_bytes(), SendFlags::NOSIGNAL)? < request.len() {
            return Err(Errno::AGAIN);
        }
        self.asked = now;
        self.until = Some(now + STEP);
        self.stage = LinkStage::Receiving(socket, CameraAnswer::new());
        Ok(())
    }

    /// Waits until the next picture is due.
    fn pause(&mut self, socket: Option<OwnedFd>, after: Option<String>) {
        let usual = match after {
            // It answers when there is one.
            Some(_) => Duration::ZERO,
            None => INTERVAL,
        };
        self.request.next(after);
        self.until = Some(self.asked + self.interval.unwrap_or(usual));
        self.stage = LinkStage::Pausing(socket);
    }

    /// Asks for the next picture. A connection that the far side has closed in the meantime is no loss.
    fn ask_again(&mut self, socket: Option<OwnedFd>, now: Instant) -> Result<(), Trouble> {
        self.is_reused = true;
        match socket.map(|socket| self.ask(socket, now)) {
            Some(Ok(())) => Ok(()),
            None | Some(Err(_)) => self.begin(now),
        }
    }

    /// Reads what is there.
    fn receive(&mut self, now: Instant) -> Result<Option<Captured>, Trouble> {
        let LinkStage::Receiving(socket, answer) = &mut self.stage else {
            return Ok(None);
        };
        let mut so_far = 0;
        let mut end = None;
        while so_far < ENOUGH && end.is_none() {
            match read(&*socket, &mut self.buffer) {
                Ok(0) => {
                    answer.close(&mut self.pictures);
                    end = Some("ended the connection".to_owned());
                }
                Ok(len) => {
                    so_far += len;
                    let had_head = answer.is_accepted();
                    let at = SystemTime::now();
                    let fed = answer.feed(&self.buffer[..len], at, &mut self.pictures);
                    if !had_head {
                        let noted = self.way.note(answer.via());
                        noted.map_err(|what| lost(what.into()))?;
                    }
                    if let Err(refusal) = fed {
                        return self.refused(refusal, now);
                    }
                    if answer.is_ended() {
                        end = Some("ended the stream".to_owned());
                    } else if len < self.buffer.len() {
                        break;
                    }
                }
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(errno) => end = Some(format!("cut the connection: {}", io::Error::from(errno))),
            }
        }
        let single = answer.single().cloned();
        if end.is_some() && self.is_reused && answer.is_untouched() {
            self.is_reused = false;
            self.begin(now)?;
            return Ok(None);
        }
        // A frame goes before the end, which will be seen again.
        if let Some(at) = self.pictures.news() {
            self.not_before = None;
            self.request.was_accepted();
            self.arrived(now);
            if let Some(Single { after, is_kept }) = single {
                let stage = mem::replace(&mut self.stage, LinkStage::Stopped);
                let socket = match stage {
                    LinkStage::Receiving(socket, _) if is_kept => Some(socket),
                    _ => None,
                };
                self.pause(socket, after);
            }
            return Ok(Some(Captured { at, settled: true }));
        }
        match end {
            Some(end) => Err(lost(end)),
            // It is told at once. After that the connection stays for a while each time: it is what makes the far side try.
            None if self.pictures.is_notice()
                && self.told.is_none_or(|told| now - told > LONGEST) =>
            {
                Err(self.noticed(now))
            }
            None => Ok(None),
        }
    }

    fn noticed(&mut self, now: Instant) -> Trouble {
        self.told = Some(now);
        lost("has lost its own camera, and shows a picture that says so".into())
    }

    /// Asks once more if the camera says how it would answer otherwise.
    fn refused(&mut self, refusal: Refusal, now: Instant) -> Result<Option<Captured>, Trouble> {
        let hint = refusal.hint.as_ref();
        if hint.is_some_and(|hint| self.request.follow(&self.url, hint)) {
            return self.begin(now).map(|()| None);
        }
        self.not_before = refusal.wait.map(|wait| now + wait.min(AWAY));
        Err(lost(refusal.what))
    }

    /// Notes when a frame came, and how long to wait for the next one.
    fn arrived(&mut self, now: Instant) {
        self.told = None;
        self.turned.next_frame();
        if let Some(last) = self.last.replace(now) {
            self.gap = now - last;
        }
        self.until = Some(now + super::source::patience(Some(self.gap)).min(LONGEST));
    }

    /// What is wrong when a stage takes too long.
    fn late(&mut self, now: Instant) -> Result<(), Trouble> {
        let what = match &self.stage {
            LinkStage::Connecting(_) if !self.untried.is_empty() => return self.connect(now),
            LinkStage::Stopped | LinkStage::Away => return self.begin(now),
            LinkStage::Pausing(_) => {
                let stage = mem::replace(&mut self.stage, LinkStage::Stopped);
                let LinkStage::Pausing(socket) = stage else {
                    return Ok(());
                };
                return self.ask_again(socket, now);
            }
            LinkStage::LookingUp => "no name server says what its address is",
            LinkStage::Connecting(_) => "cannot connect: it does not answer",
            LinkStage::Receiving(_, answer) if !answer.is_accepted() => {
                "does not answer the request"
            }
            LinkStage::Receiving(..) if self.pictures.is_notice() => {
                return Err(self.noticed(now));
            }
            LinkStage::Receiving(..) => "has sent no frame for too long",
        };
        Err(lost(what.into()))
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

    fn origin(&self) -> Option<OriginFacts<'_>> {
        Some(OriginFacts {
            via: self.way.text(),
            age: self.pictures.age(),
        })
    }

    fn start(&mut self, now: Instant) -> Result<(), Trouble> {
        self.buffer.resize(READ, 0);
        self.last = None;
        self.gap = Duration::ZERO;
        self.request.restart();
        if let Some(at) = self.not_before.filter(|at| *at > now) {
            self.until = Some(at);
            self.stage = LinkStage::Away;
            return Ok(());
        }
        self.begin(now)
    }

    fn stop(&mut self) {
        // Closing the socket takes it out of the epoll instance.
        self.stage = LinkStage::Stopped;
        self.until = None;
        self.untried.clear();
        self.reached = None;
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
        let frame = match mem::replace(&mut self.stage, LinkStage::Stopped) {
            LinkStage::Connecting(socket) => self.connected(socket, now).map(|()| None),
            stage => {
                self.stage = stage;
                match self.stage {
                    LinkStage::LookingUp => self.looked_up(now).map(|()| None),
                    LinkStage::Receiving(..) => self.receive(now),
                    LinkStage::Pausing(ref mut socket) => {
                        // Nothing may come now but its end.
                        socket.take_if(|socket| is_ready(socket.as_fd(), PollFlags::IN));
                        Ok(None)
                    }
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
