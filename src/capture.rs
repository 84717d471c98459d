//! The capture side: brings frames from one camera into one frame directory, while somebody is watching.
//!
//! [`lifecycle`] decides what to do; this file is the loop around it. The loop waits for
//!
//! - signals: SIGTERM, SIGINT and SIGHUP stop the camera and end the process;
//! - the frame directory, while no frames are coming. While they are, its descriptor is not watched; its events are
//!   read when a frame comes due, right before the decision about that frame, so that one published frame costs one
//!   wake-up;
//! - the source, while it is started;
//! - the place where cameras come and go (/dev), if the source knows one, and the place where controls are wanted, if any
//!   may be set. Both hardly ever change, so they are watched at all times;
//! - deadlines: those of the source and of the lifecycle, and attempts to get back a lost directory.
//!
//! With the camera off there are no deadlines, and only signals, the directory and /dev are watched: the process
//! sleeps until one of them has something to report.

pub mod assignment;
mod camera_log;
pub mod control_facts;
pub mod devices;
#[cfg(feature = "libcamera")]
pub mod libcamera;
#[cfg(any(feature = "libcamera-static", test))]
mod libcamera_tuning;
pub mod lifecycle;
pub mod network;
mod opening_log;
mod outlet;
mod pace;
pub mod pattern;
mod report;
pub mod settings;
mod settling;
pub mod source;
mod stamps;
pub mod stdin;
pub mod url;
pub mod v4l2;
mod wishes;

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use log::{Level, info, log};

use crate::error::{Context, Error, Result};
use crate::event::{Interest, Poll, Registration, Signals};
use camera_log::CameraLog;
use lifecycle::{Action, Activity, Lifecycle};
use outlet::Outlet;
use pace::Pace;
use report::Report;
use source::{Discarded, Source, Trouble};
use wishes::Live;

/// A camera that is asked for 30 frames per second may well deliver 30.3.
const INEXACT: f64 = 1.02;

/// What the user can choose.
#[derive(Clone, Debug, PartialEq)]
pub struct CaptureOptions {
    /// The frame directory.
    pub dir: PathBuf,
    /// How long the camera continues to stream after the last frame that nobody opened.
    pub linger: Duration,
    /// The longest time for which frames are held back after a start while the exposure settles.
    pub settle: Duration,
    /// The maximum number of frames published per second, from 0.01 to 1000; `None` publishes as many as come. If the
    /// source itself promises no more than this, the limit is not applied, so that its jitter costs no frames.
    pub fps: Option<f64>,
    /// The names of the controls that may be set while it runs.
    pub settable: Vec<String>,
    /// Another directory in which somebody may want controls.
    pub mailbox: Option<PathBuf>,
    /// Whether `lazycam run` has started this process, and says what there is to know at the start.
    pub is_supervised: bool,
}

/// Captures from `source` into its frame directory until a signal arrives or the input ends. If the input was cut
/// off, the result is [`Error::Ended`].
pub fn run(source: &mut dyn Source, options: &CaptureOptions) -> Result<()> {
    let mut capture = Capture::new(source, options)?;
    let what = capture.source.describe();
    // Below a supervisor, the last line before the first viewer is to be the server's.
    let level = match options.is_supervised {
        true => Level::Debug,
        false => Level::Info,
    };
    log!(level, "{what}, to {} on demand", options.dir.display());
    capture.tell_state(Instant::now());
    let ended = loop {
        match capture.turn() {
            Ok(None) => {}
            Ok(Some(reason)) => {
                info!("{reason}");
                break Ok(());
            }
            Err(error) => break Err(error),
        }
    };
    capture.stop();
    ended
}

/// The token of an event: where it comes from.
#[derive(Clone, Copy)]
enum WokenBy {
    Signals,
    Directory,
    Source,
    Presence,
    Wishes,
}

/// Why the loop ends in an orderly way, for the log; `None` while it goes on.
type Done = Option<String>;

struct Capture<'a> {
    source: &'a mut dyn Source,
    lifecycle: Lifecycle,
    /// The maximum number of frames per second.
    fps: Option<f64>,
    outlet: Outlet,
    live: Option<Live>,
    signals: Signals,
    poll: Poll<WokenBy>,
    directory: Registration,
    directory_rests: bool,
    started: bool,
    frames: Option<Registration>,
    /// When the newest frame was captured.
    captured: SystemTime,
    report: Report,
    log: CameraLog,
}

impl<'a> Capture<'a> {
    fn new(source: &'a mut dyn Source, options: &CaptureOptions) -> Result<Self> {
        let signals = Signals::catch_ends(&[])?;
        let outlet = Outlet::open(options.dir.clone())?;
        let mut poll = Poll::new()?;
        let register = || "wait for signals and requests".into();
        poll.add(&signals, Interest::Readable, WokenBy::Signals)
            .doing(register)?;
        let directory = poll.add(&outlet, Interest::Readable, WokenBy::Directory);
        if let Some(presence) = source.presence() {
            poll.add(presence, Interest::Readable, WokenBy::Presence)
                .doing(register)?;
        }
        let mut live = Live::new(&options.dir, &options.settable, options.mailbox.as_deref())?;
        if let Some(live) = &mut live {
            poll.add(&live.wishes, Interest::Readable, WokenBy::Wishes)
                .doing(register)?;
            live.set(source, Instant::now());
        }
        Ok(Capture {
            source,
            lifecycle: Lifecycle::new(options.linger, options.settle),
            fps: options.fps,
            outlet,
            live,
            signals,
            poll,
            directory: directory.doing(register)?,
            directory_rests: false,
            started: false,
            frames: None,
            captured: SystemTime::UNIX_EPOCH,
            report: Report::new(),
            log: CameraLog::new(),
        })
    }

    /// Sleeps until something happens, and handles all of it.
    fn turn(&mut self) -> Result<Done> {
        let sleep = self.poll.wait(self.deadline());
        sleep.doing(|| "wait for events".into())?;
        let now = Instant::now();
        let due = |deadline: Option<Instant>| deadline.is_some_and(|at| at <= now);
        let mut frames = self.started && due(self.source.deadline());
        let mut directory = due(self.outlet.deadline()) || due(self.lifecycle.deadline());
        let (mut presence, mut wishes) = (false, due(self.live_deadline()));
        while let Some((token, _)) = self.poll.next_event() {
            match token {
                WokenBy::Signals => {
                    if let Some(signal) = self.signals.take().first() {
                        return Ok(Some(format!("ending on signal {signal}")));
                    }
                }
                WokenBy::Directory => directory = true,
                WokenBy::Source => frames = true,
                WokenBy::Presence => presence = true,
                WokenBy::Wishes => wishes = true,
            }
        }
        if !self.started && due(self.source.rest_at()) {
            self.source.rest();
        }
        let mut done = None;
        if let (Some(live), true) = (&mut self.live, wishes) {
            live.look(self.source, now);
        }
        if directory {
            done = self.look(now)?;
        }
        if done.is_none() && presence && self.source.look() {
            let action = self.lifecycle.returned(now);
            done = self.act(action, now)?;
        }
        if done.is_none() && frames && self.started {
            done = self.advance(now)?;
        }
        if done.is_none() {
            let action = self.lifecycle.tick(now);
            done = self.act(action, now)?;
        }
        self.log.activity(self.lifecycle.phase(), now);
        self.tell_state(now);
        self.rest_or_listen()?;
        Ok(done)
    }

    fn deadline(&self) -> Option<Instant> {
        let started = self.started.then(|| self.source.deadline());
        let source = started.unwrap_or_else(|| self.source.rest_at());
        let others = [self.lifecycle.deadline(), self.outlet.deadline()];
        let others = others.into_iter().chain([self.live_deadline()]);
        others.chain([source]).flatten().min()
    }

    fn live_deadline(&self) -> Option<Instant> {
        self.live.as_ref().and_then(Live::deadline)
    }

    /// Checks for requests, and starts the camera on the first one.
    fn look(&mut self, now: Instant) -> Result<Done> {
        if !self.outlet.look(now)? {
            return Ok(None);
        }
        let action = self.lifecycle.asked(now);
        self.act(action, now)
    }

    /// Handles what the source has delivered, and decides about its newest frame.
    fn advance(&mut self, now: Instant) -> Result<Done> {
        match self.source.advance(now) {
            Ok(None) => {
                if let Some(discarded) = self.source.discarded() {
                    self.cope_with_broken(&discarded, now);
                }
                Ok(None)
            }
            Ok(Some(frame)) => {
                self.count_discarded(now);
                self.captured = frame.at;
                if let Some(done) = self.look(now)? {
                    return Ok(Some(done));
                }
                let action = self.lifecycle.frame(now, frame.settled);
                if self.lifecycle.phase() == Activity::Lingering {
                    self.report.dropped += 1;
                    self.report.forget_broken();
                }
                self.act(action, now)
            }
            Err(trouble) => self.cope(trouble, now),
        }
    }

    fn act(&mut self, action: Action, now: Instant) -> Result<Done> {
        match action {
            Action::Nothing => Ok(None),
            Action::Start => self.start(now),
            Action::Stop => {
                self.stop();
                Ok(None)
            }
            Action::Publish => self.publish(now),
        }
    }

    fn start(&mut self, now: Instant) -> Result<Done> {
        self.started = true;
        self.report.forget_broken();
        match self.source.start(now) {
            Ok(()) => {}
            Err(Trouble::Broken(message)) => return self.cope(Trouble::Lost(message), now),
            Err(trouble) => return self.cope(trouble, now),
        }
        if let Some(live) = &mut self.live {
            live.set(self.source, now);
        }
        let pace = match self.excess() {
            Some(fps) => Pace::limit(fps)?,
            None => Pace::unlimited(),
        };
        self.lifecycle.limit(now, pace);
        if let Some(fd) = self.source.fd() {
            let frames = self.poll.add(fd, self.source.interest(), WokenBy::Source);
            let frames = frames.doing(|| format!("wait for frames of {}", self.source.describe()));
            self.frames = Some(frames?);
        }
        Ok(None)
    }

    /// The limit of frames per second, if the source may exceed it by more than the usual inaccuracy of cameras.
    fn excess(&self) -> Option<f64> {
        let promised = self.source.facts().fps;
        self.fps
            .filter(|limit| promised.is_none_or(|fps| fps > limit * INEXACT))
    }

    fn stop(&mut self) {
        // This comes first because the source may close its descriptor.
        if let (Some(frames), Some(fd)) = (self.frames.take(), self.source.fd()) {
            self.poll.remove(fd, frames);
        }
        if std::mem::take(&mut self.started) {
            self.source.stop();
        }
    }

    fn publish(&mut self, now: Instant) -> Result<Done> {
        if self.report.is_lost() {
            // Only a usable frame shows that the camera is back.
            if let Err(trouble) = self.source.frame() {
                self.lifecycle.unpublished();
                return self.cope(trouble, now);
            }
            self.report.recover();
        }
        // Before the frame: whoever sees the frame should already know that the camera is live. Readers add to the
        // counters what arrives after them.
        self.tell_state(now);
        self.tell_counters(now);
        match self.source.frame() {
            Ok(jpeg) => {
                if self.outlet.publish(jpeg, self.captured, now) {
                    self.report.count_published();
                } else {
                    self.lifecycle.unpublished();
                }
                self.count_discarded(now);
                Ok(None)
            }
            Err(trouble) => {
                self.count_discarded(now);
                self.lifecycle.unpublished();
                self.cope(trouble, now)
            }
        }
    }

    fn cope(&mut self, trouble: Trouble, now: Instant) -> Result<Done> {
        match trouble {
            Trouble::Broken(why) => self.cope_with_broken(&Discarded { count: 1, why }, now),
            Trouble::Lost(message) => self.lose(&message, now),
            Trouble::Changed(message) => {
                self.stop();
                self.lifecycle.restarted();
                self.log.changed(&message, now);
                return self.start(now);
            }
            Trouble::Failed(message) => {
                self.stop();
                self.tell_lost(&message, now);
                return Err(Error::Input(message));
            }
            Trouble::Ended {
                message,
                clean: true,
            } => return Ok(Some(message)),
            Trouble::Ended { message, .. } => return Err(Error::Ended(message)),
        }
        Ok(None)
    }

    /// Counts what was thrown away when there was nothing else; after a while of that the camera is lost.
    fn cope_with_broken(&mut self, discarded: &Discarded, now: Instant) {
        if self.report.count_broken(discarded.count, now) {
            self.lose(&format!("all frames are broken: {}", discarded.why), now);
            return;
        }
        self.tell_counters(now);
        self.warn_of_broken(&discarded.why, now);
    }

    /// Counts what was thrown away beside a frame.
    fn count_discarded(&mut self, now: Instant) {
        if let Some(Discarded { count, why }) = self.source.discarded() {
            self.report.broken += count;
            self.warn_of_broken(&why, now);
        }
    }

    fn warn_of_broken(&mut self, why: &str, now: Instant) {
        self.log.broken(why, self.report.broken, now);
    }

    /// Handles the loss of the camera. The frame that it left is removed too, and those who are waiting are made to
    /// ask again.
    fn lose(&mut self, message: &str, now: Instant) {
        self.stop();
        let announced = self.tell_lost(message, now);
        let longest = self.source.longest_retry();
        let wait = self.lifecycle.lost(now, announced, longest);
        self.log.lost(&self.source.describe(), message, wait, now);
    }

    /// Puts the empty file into place; returns whether that succeeded.
    fn tell_lost(&mut self, message: &str, now: Instant) -> bool {
        self.report.lose(message);
        // Before the empty file: whoever is woken by that file should already know the reason.
        self.tell_state_of(Activity::Lost, now);
        self.outlet.announce(now)
    }

    /// Writes the state file if it would say something new, or if it could not be written before.
    fn tell_state(&mut self, now: Instant) {
        self.tell_state_of(self.lifecycle.phase(), now);
    }

    fn tell_state_of(&mut self, phase: Activity, now: Instant) {
        if let Some(state) = self.report.news(phase, self.source, now) {
            self.outlet.set_state(state);
        }
        self.outlet.tell_state(now);
    }

    /// Writes the state file again if its counters are old. To be called only when a frame has come that somebody
    /// wants.
    fn tell_counters(&mut self, now: Instant) {
        let phase = self.lifecycle.phase();
        if let Some(state) = self.report.count(phase, self.source, now) {
            self.outlet.set_state(state);
        }
        self.outlet.tell_state(now);
    }

    /// While frames are coming, the directory is read when one arrives; otherwise the directory has to wake the loop.
    fn rest_or_listen(&mut self) -> Result<()> {
        let rests = matches!(self.lifecycle.phase(), Activity::Live | Activity::Lingering);
        if rests == self.directory_rests {
            return Ok(());
        }
        let interest = if rests {
            Interest::Nothing
        } else {
            Interest::Readable
        };
        self.directory_rests = rests;
        self.poll
            .modify(&self.outlet, &self.directory, interest)
            .doing(|| "wait for requests".into())
    }
}
