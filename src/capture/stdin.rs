//! The source `stdin`: an MJPEG byte stream from any program, through a pipe.
//!
//! `rpicam-vid --codec mjpeg -o -`, `ffmpeg -f mjpeg -`, `gst-launch-1.0 ... ! jpegenc ! fdsink`: what they
//! write is taken apart by [`split`](crate::capture::split) and passed on untouched. Thumbnails in it are left out
//! later, as with every source.
//!
//! **Stopped** means that nothing is read. The pipe fills up, 64 KiB by default (pipe(7)), and the program
//! at its other end sleeps in write(2).
//!
//! **Started again**, there is old material in three places: in the pipe, in the hands of the writer that
//! sleeps, and in queues of its own behind that. All of it comes out faster than the camera makes new
//! frames, as fast as we read. So whatever comes is read and dropped until the pipe has been empty for
//! 10 ms (`QUIET`): then the writer has nothing left and waits for its camera, and frames count whose first byte
//! comes after that. Emptiness for a moment would not do: right behind a read the pipe is always empty,
//! because the writer that it wakes has not run yet. A writer that never pauses (one that is slower than its
//! camera, or reads a file) is believed after 500 ms or 4 MiB. A pipe that was empty
//! at the start holds nobody up, and its next frame counts.
//!
//! What cannot be told from outside: a writer that takes longer than those 10 ms for each frame of its backlog,
//! because it encodes raw frames that it queued, looks like a live camera. Its frames then are as much older
//! as its queue is long.
//!
//! **Never blocking** comes from asking first: FIONREAD tells how much is there (ioctl_tty(2), pipe(7)), poll(2)
//! whether the end is. O_NONBLOCK is not set: it belongs to the open file description, which other
//! processes share, such as the shell that started us, and would outlive us there. Should another
//! process read from the same pipe, a read can still block; such a stream is of no use to either.
//!
//! **Something epoll does not take** (epoll_ctl(2): EPERM for regular files, and for /dev/null) has no descriptor
//! to wait for; a clock calls for one frame per interval instead, 30 times a second unless asked
//! otherwise.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant, SystemTime};

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::io::{Errno, ioctl_fionread, read};

use crate::capture::mjpeg;
use crate::capture::pace::Pace;
use crate::capture::source::{Captured, Facts, Source, Trouble};
use crate::capture::split::{Event, Found, LIMIT, Splitter};
use crate::error::{Context, Result};
use crate::frames::jpeg::Defect;

/// A pipe empty for so long has no writer that waits for us. ffmpeg, held up for 1.5 s and encoding 1280x720 in
/// 6.5 ms per frame on a server core, got its whole backlog of 45 frames dropped with 10 ms, and with 5 ms
/// only 2 of them. At 60 fps the pipe is still empty for longer than this between two frames.
const QUIET: Duration = Duration::from_millis(10);

/// After so much time a writer that never pauses is believed.
const CATCH_UP_TIME: Duration = Duration::from_millis(500);

/// After so many bytes too: more than all queues behind a pipe are likely to hold.
const CATCH_UP_BYTES: u64 = 4 << 20;

/// Taken by one read: the largest pipe that an unprivileged process can make, pipe(7).
const READ_MOST: u64 = 1 << 20;

/// Taken from a file by one read.
const FILE_READ: usize = 64 << 10;

/// Frames per second out of a file when nothing else was asked for.
const FILE_FPS: f64 = 30.0;

/// Whether frames that come are new.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// Nothing is read.
    Stopped,
    /// What comes may be old: dropped.
    CatchingUp {
        since: Instant,
        last_bytes: Instant,
        from: u64,
    },
    /// Frames that begin at this offset of the stream or later are new.
    Live { from: u64 },
}

/// What one read brought.
#[derive(Debug, PartialEq)]
enum Arrival {
    Nothing,
    Bytes,
    End,
}

/// Frames counted since the beginning, for the closing words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    whole: u64,
    broken: u64,
    skipped: u64,
    old: u64,
}

/// An MJPEG stream out of a descriptor: standard input, or a pipe.
pub struct Stdin<F> {
    fd: F,
    /// The descriptor can be waited for.
    pollable: bool,
    splitter: Splitter,
    phase: Phase,
    /// For what cannot be waited for.
    clock: Option<Pace>,
    /// When the last read happened, and where in the stream it began.
    read_at: (u64, SystemTime),
    /// The frame in the making: where it began and when that was read.
    begun: (u64, SystemTime),
    counts: Counts,
    /// Broken frames not told yet, and what was wrong with the last of them.
    untold: Option<(u64, Defect)>,
    newest: Vec<u8>,
    /// The same, if something had to be put in.
    completed: Vec<u8>,
}

impl<F: AsFd> Stdin<F> {
    /// A stream that is read from `fd` on from where it stands. `fps` is how many frames a second
    /// are taken out of a file, 30 without; a pipe's are all told.
    pub fn new(fd: F, fps: Option<f64>) -> Result<Self> {
        let pollable = is_pollable(fd.as_fd()).doing(|| "watch standard input".into())?;
        let clock = match pollable {
            true => None,
            false => Some(Pace::clock(fps.unwrap_or(FILE_FPS))?),
        };
        let never = (u64::MAX, SystemTime::UNIX_EPOCH);
        Ok(Stdin {
            fd,
            pollable,
            splitter: Splitter::new(LIMIT),
            phase: Phase::Stopped,
            clock,
            read_at: never,
            begun: never,
            counts: Counts::default(),
            untold: None,
            newest: Vec::new(),
            completed: Vec::new(),
        })
    }

    /// Reads what is there, once, and takes it apart.
    fn advance_pipe(&mut self, now: Instant) -> Result<Option<Captured>, Trouble> {
        let arrival = self.read_pipe()?;
        self.catch_up(now, &arrival);
        if arrival == Arrival::End {
            return Err(self.ended());
        }
        let mut newest = None;
        while let Some(found) = self.next_frame() {
            if self.is_old(&found) {
                self.counts.old += 1;
            } else if newest.replace(found).is_some() {
                self.counts.skipped += 1;
            }
        }
        let told = newest.map(|found| self.tell(found));
        self.remember_begun();
        self.tell_broken(told)
    }

    /// One frame per interval, reading on until there is one.
    fn advance_file(&mut self, now: Instant) -> Result<Option<Captured>, Trouble> {
        if !self.clock.as_mut().is_some_and(|clock| clock.admit(now)) {
            return Ok(None);
        }
        loop {
            if let Some(found) = self.next_frame() {
                let told = self.tell(found);
                return self.tell_broken(Some(told));
            }
            self.remember_begun();
            match self.read(FILE_READ)? {
                Arrival::End => return Err(self.ended()),
                Arrival::Bytes => {}
                Arrival::Nothing => return Ok(None),
            }
        }
    }

    /// Keeps a frame as the newest.
    fn tell(&mut self, found: Found) -> Captured {
        let (begun, since) = self.begun;
        let at = match begun == found.offset {
            true => since,
            false => self.read_at.1,
        };
        self.splitter.take(found, &mut self.newest);
        Captured { at, settled: true }
    }

    /// The next whole frame of what was read. Broken ones are counted on the way.
    fn next_frame(&mut self) -> Option<Found> {
        while let Some(event) = self.splitter.next_event() {
            match event {
                Event::Frame(found) => {
                    self.counts.whole += 1;
                    return Some(found);
                }
                Event::Broken(defect) => {
                    self.counts.broken += 1;
                    let before = self.untold.map_or(0, |(count, _)| count);
                    self.untold = Some((before + 1, defect));
                }
            }
        }
        None
    }

    /// A good frame goes first; the broken ones are told when there is none.
    fn tell_broken(&mut self, told: Option<Captured>) -> Result<Option<Captured>, Trouble> {
        if told.is_some() {
            return Ok(told);
        }
        match self.untold.take() {
            None => Ok(None),
            Some((1, defect)) => Err(Trouble::Broken(format!("stdin: {defect}"))),
            Some((count, defect)) => {
                let message = format!("stdin: {count} broken frames, the last one {defect}");
                Err(Trouble::Broken(message))
            }
        }
    }

    /// Notes when the first byte of an unfinished frame was read.
    fn remember_begun(&mut self) {
        if let Some(offset) = self.splitter.unfinished() {
            if offset != self.begun.0 {
                self.begun = (offset, self.read_at.1);
            }
        }
    }

    fn is_old(&self, found: &Found) -> bool {
        match self.phase {
            Phase::Live { from } => found.offset < from,
            Phase::CatchingUp { .. } | Phase::Stopped => true,
        }
    }

    /// Decides whether the writer has caught up, after a read: what that brought is not new either.
    fn catch_up(&mut self, now: Instant, arrival: &Arrival) {
        let Phase::CatchingUp {
            since,
            last_bytes,
            from,
        } = self.phase
        else {
            return;
        };
        let position = self.splitter.position();
        let quiet = *arrival != Arrival::Bytes && now >= last_bytes + QUIET;
        let enough = now >= since + CATCH_UP_TIME || position - from >= CATCH_UP_BYTES;
        self.phase = if quiet || enough {
            Phase::Live { from: position }
        } else {
            let last_bytes = match arrival {
                Arrival::Bytes => now,
                Arrival::Nothing | Arrival::End => last_bytes,
            };
            Phase::CatchingUp {
                since,
                last_bytes,
                from,
            }
        };
    }

    /// Reads what the pipe holds, without waiting for more.
    fn read_pipe(&mut self) -> Result<Arrival, Trouble> {
        let there = ioctl_fionread(&self.fd).unwrap_or(0);
        if there == 0 && !is_readable(self.fd.as_fd()) {
            return Ok(Arrival::Nothing);
        }
        // With nothing there and yet readable it is the end, or a device that does not tell how much.
        self.read(there.clamp(4096, READ_MOST) as usize)
    }

    fn read(&mut self, most: usize) -> Result<Arrival, Trouble> {
        let (fd, from) = (self.fd.as_fd(), self.splitter.position());
        let result = self
            .splitter
            .read_by(most, |buffer| read(fd, spare_capacity(buffer)));
        self.read_at = (from, SystemTime::now());
        match result {
            Ok(0) => Ok(Arrival::End),
            Ok(_) => Ok(Arrival::Bytes),
            Err(Errno::INTR | Errno::AGAIN) => Ok(Arrival::Nothing),
            // Standard input cannot be opened again, so no error of it passes.
            Err(errno) => Err(Trouble::Ended {
                message: format!("stdin: cannot read: {errno}"),
                clean: false,
            }),
        }
    }

    fn ended(&self) -> Trouble {
        let Counts {
            whole,
            broken,
            skipped,
            old,
        } = self.counts;
        let plural = if whole == 1 { "" } else { "s" };
        let mut message = format!("stdin: end of input after {whole} frame{plural}");
        for (count, what) in [
            (broken, "broken"),
            (skipped, "skipped"),
            (old, "from before a start"),
        ] {
            if count > 0 {
                message += &format!(", {count} {what}");
            }
        }
        let cut = self.splitter.unfinished().is_some();
        if cut {
            message += ", in the middle of a frame";
        }
        let clean = whole > 0 && !cut;
        Trouble::Ended { message, clean }
    }
}

impl<F: AsFd> Source for Stdin<F> {
    fn describe(&self) -> String {
        let what = match self.pollable {
            true => "a stream",
            false => "a file",
        };
        match self.clock.as_ref().and_then(Pace::fps) {
            None => format!("stdin, {what}"),
            Some(fps) => format!("stdin, {what} at {fps} fps"),
        }
    }

    fn facts(&self) -> Facts {
        Facts {
            fps: self.clock.as_ref().and_then(Pace::fps),
            ..Facts::default()
        }
    }

    fn start(&mut self, now: Instant) -> Result<(), Trouble> {
        if let Some(clock) = &mut self.clock {
            clock.start(now);
        }
        let from = self.splitter.position();
        let empty = matches!(ioctl_fionread(&self.fd), Ok(0));
        self.phase = if empty || !self.pollable {
            Phase::Live { from }
        } else {
            Phase::CatchingUp {
                since: now,
                last_bytes: now,
                from,
            }
        };
        Ok(())
    }

    fn stop(&mut self) {
        self.phase = Phase::Stopped;
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pollable.then(|| self.fd.as_fd())
    }

    fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Stopped => None,
            Phase::CatchingUp {
                since, last_bytes, ..
            } => Some((last_bytes + QUIET).min(since + CATCH_UP_TIME)),
            Phase::Live { .. } => self.clock.as_ref().and_then(Pace::due),
        }
    }

    fn advance(&mut self, now: Instant) -> Result<Option<Captured>, Trouble> {
        match (self.phase, self.pollable) {
            (Phase::Stopped, _) => Ok(None),
            (_, true) => self.advance_pipe(now),
            (_, false) => self.advance_file(now),
        }
    }

    fn jpeg(&mut self) -> Result<&[u8], Trouble> {
        let cleaned = mjpeg::clean(&self.newest, &mut self.completed);
        cleaned.map_err(|defect| Trouble::Broken(format!("stdin: {defect}")))
    }
}

/// Whether epoll takes the descriptor: asked of epoll itself, because the answer depends on the driver.
fn is_pollable(fd: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    let probe = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let data = epoll::EventData::new_u64(0);
    match epoll::add(&probe, fd, data, epoll::EventFlags::IN) {
        Ok(()) => Ok(true),
        Err(Errno::PERM) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Whether a read would not block now, be it for bytes, the end or an error.
fn is_readable(fd: BorrowedFd<'_>) -> bool {
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    matches!(poll(&mut fds, Some(&at_once)), Ok(1..))
}

#[cfg(test)]
mod tests;
