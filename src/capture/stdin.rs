//! The source `stdin`: an MJPEG byte stream from any program, through a pipe.
//!
//! The output of `rpicam-vid --codec mjpeg -o -`, `ffmpeg -f mjpeg -` or `gst-launch-1.0 ... ! jpegenc ! fdsink` is
//! split into frames by [`split`](crate::picture::split), which are passed on unchanged. Thumbnails in them are left
//! out later, as with every source.
//!
//! **Stopped** means that nothing is read. The pipe fills up, 64 KiB by default (pipe(7)), and the program at its
//! other end sleeps in write(2).
//!
//! **Started again**, there is old material in three places: in the pipe, in the buffer of the sleeping writer, and
//! in queues of its own before that. All of it comes out as fast as we read, faster than the camera makes new frames.
//! So everything that comes is read and dropped until the pipe has been empty for 10 ms (`QUIET`): then the writer
//! has nothing left and is waiting for its camera, and frames count if their first byte comes after that. It would
//! not do if the pipe were empty for just a moment: right after a read it always is, because the writer that the read
//! woke has not run yet. A writer that never pauses (because it is slower than its camera, or reads a file) is taken
//! to be up to date after 500 ms or 4 MiB. If the pipe was empty at the start, no writer was held up, and the next
//! frame counts.
//!
//! One case cannot be recognised from outside: a writer that takes longer than those 10 ms for each frame of its
//! backlog, because it encodes raw frames that it has queued, looks like a live camera. Its frames are then older by
//! the length of its queue.
//!
//! **Reads never block** because we check first: FIONREAD returns the number of bytes available (ioctl_tty(2),
//! pipe(7)), and poll(2) reports the end. O_NONBLOCK is not set: it belongs to the open file description, which other
//! processes share, such as the shell that started us, and it would stay set after our end. If another process reads
//! from the same pipe, a read can still block, but such a stream is of no use to either process.
//!
//! **Descriptors that epoll does not accept** (epoll_ctl(2): EPERM for regular files and for /dev/null) cannot be
//! waited for. For these a clock requests one frame per interval, 30 times per second unless another rate is set.

mod input;

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant, SystemTime};

use log::warn;
use rustix::buffer::spare_capacity;
use rustix::event::{PollFlags, epoll};
use rustix::io::{Errno, ioctl_fionread, read};

use self::input::Beginning;
use crate::capture::pace::Pace;
use crate::capture::source::{Captured, Discarded, Facts, Source, Trouble, turned};
use crate::error::{Context, Result};
use crate::event::is_ready;
use crate::picture::jpeg::{Defect, Head};
use crate::picture::largest;
use crate::picture::mjpeg::Mjpeg;
use crate::picture::split::{Event, Found, Splitter};
use crate::picture::turn::Transform;
use crate::picture::turn::lossless::NewestTurned;

/// If the pipe is empty for this long, its writer is not waiting for us. ffmpeg was held up for 1.5 s while encoding
/// 1280x720 in 6.5 ms per frame on a server core: with 10 ms its whole backlog of 45 frames was dropped, with 5 ms
/// only 2 of them. At 60 fps the pipe is still empty for longer than this between two frames.
const QUIET: Duration = Duration::from_millis(10);

/// After this time a writer that never pauses is taken to be up to date.
const CATCH_UP_TIME: Duration = Duration::from_millis(500);

/// The same after this many bytes, which is more than all queues before a pipe are likely to hold.
const CATCH_UP_BYTES: u64 = 4 << 20;

/// The most that is taken by one read: the size of the largest pipe that an unprivileged process can make, pipe(7).
const READ_MOST: u64 = 1 << 20;

/// The amount taken from a file by one read.
const FILE_READ: usize = 64 << 10;

/// The frame rate for a file if no other was asked for.
const FILE_FPS: f64 = 30.0;

/// Whether the frames that arrive are new.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Freshness {
    /// Nothing is read.
    Stopped,
    /// What arrives may be old and is dropped.
    CatchingUp {
        since: Instant,
        last_bytes: Instant,
        from: u64,
    },
    /// Frames that begin at this offset of the stream or later are new.
    Live { from: u64 },
}

/// The result of one read.
#[derive(Debug, PartialEq)]
enum ReadResult {
    Nothing,
    Bytes,
    End,
}

/// The numbers of frames since the beginning, for the final message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    whole: u64,
    broken: u64,
    skipped: u64,
    old: u64,
}

/// An MJPEG stream from a descriptor: standard input, or a pipe.
pub struct Stdin<F> {
    fd: F,
    /// Whether epoll can wait for the descriptor.
    pollable: bool,
    splitter: Splitter,
    freshness: Freshness,
    /// The clock for a descriptor that cannot be waited for.
    clock: Option<Pace>,
    /// Where in the stream the last read began, and when it happened.
    read_at: (u64, SystemTime),
    /// The unfinished frame: where it began, and when that part was read.
    begun: (u64, SystemTime),
    counts: Counts,
    beginning: Beginning,
    mjpeg: Mjpeg,
    /// The newest frame, what its head says, and whether it had EOI.
    newest: Vec<u8>,
    about: Option<(Head, bool)>,
    turned: NewestTurned,
}

impl<F: AsFd> Stdin<F> {
    /// Creates a stream that is read from the current position of `fd`. From a file, `fps` frames are taken per
    /// second, 30 if `None`; from a pipe, every frame is reported.
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
            splitter: Splitter::new(largest()),
            freshness: Freshness::Stopped,
            clock,
            read_at: never,
            begun: never,
            counts: Counts::default(),
            beginning: Beginning::default(),
            mjpeg: Mjpeg::new("stdin".into()),
            newest: Vec::new(),
            about: None,
            turned: NewestTurned::default(),
        })
    }

    /// The same with every picture turned.
    #[must_use]
    pub fn turned(mut self, turn: Transform) -> Self {
        self.turned = NewestTurned::new(turn);
        self
    }

    /// Reads once what is available, and splits it.
    fn advance_pipe(&mut self, now: Instant) -> Result<Option<Captured>, Trouble> {
        let arrival = self.read_pipe()?;
        self.catch_up(now, &arrival);
        if arrival == ReadResult::End {
            return Err(self.ended());
        }
        let mut newest = None;
        while let Some(frame) = self.next_frame() {
            if self.is_old(&frame.0) {
                self.counts.old += 1;
            } else if newest.replace(frame).is_some() {
                self.counts.skipped += 1;
            }
        }
        let told = newest.map(|frame| self.tell(frame));
        self.remember_begun();
        Ok(told)
    }

    /// Takes one frame per interval, and reads until there is one.
    fn advance_file(&mut self, now: Instant) -> Result<Option<Captured>, Trouble> {
        if !self.clock.as_mut().is_some_and(|clock| clock.admit(now)) {
            return Ok(None);
        }
        loop {
            if let Some(frame) = self.next_frame() {
                return Ok(Some(self.tell(frame)));
            }
            self.remember_begun();
            match self.read(FILE_READ)? {
                ReadResult::End => return Err(self.ended()),
                ReadResult::Bytes => {}
                ReadResult::Nothing => return Ok(None),
            }
        }
    }

    /// Keeps a frame as the newest one.
    fn tell(&mut self, (found, ended): (Found, bool)) -> Captured {
        let (begun, since) = self.begun;
        let at = match begun == found.offset {
            true => since,
            false => self.read_at.1,
        };
        self.splitter.take(found, &mut self.newest);
        self.about = Some((found.head, ended));
        self.turned.next_frame();
        Captured { at, settled: true }
    }

    /// The next complete frame in what was read, and whether it has EOI. Broken ones on the way are counted.
    fn next_frame(&mut self) -> Option<(Found, bool)> {
        while let Some(event) = self.splitter.next_event() {
            let frame = match event {
                Event::Frame(found) => Ok((found, true)),
                Event::Unended(found) => Ok((found, false)),
                Event::Broken(defect) => Err(defect),
            };
            match frame {
                Ok((found, ended)) if self.mjpeg.accepts(ended) => {
                    self.counts.whole += 1;
                    return Some((found, ended));
                }
                Ok(_) => self.discard(Defect::NoEnd),
                Err(defect) => self.discard(defect),
            }
        }
        if self.counts.whole == 0 && self.splitter.unfinished().is_none() {
            if let Some(told) = self.beginning.complaint(self.splitter.position()) {
                warn!("{told}");
            }
        }
        None
    }

    fn discard(&mut self, defect: Defect) {
        self.counts.broken += 1;
        self.mjpeg.discard(defect);
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
        match self.freshness {
            Freshness::Live { from } => found.offset < from,
            Freshness::CatchingUp { .. } | Freshness::Stopped => true,
        }
    }

    /// Decides after a read whether the writer has caught up. What that read returned does not count as new yet.
    fn catch_up(&mut self, now: Instant, arrival: &ReadResult) {
        let Freshness::CatchingUp {
            since,
            last_bytes,
            from,
        } = self.freshness
        else {
            return;
        };
        let position = self.splitter.position();
        let quiet = *arrival != ReadResult::Bytes && now >= last_bytes + QUIET;
        let enough = now >= since + CATCH_UP_TIME || position - from >= CATCH_UP_BYTES;
        self.freshness = if quiet || enough {
            Freshness::Live { from: position }
        } else {
            let last_bytes = match arrival {
                ReadResult::Bytes => now,
                ReadResult::Nothing | ReadResult::End => last_bytes,
            };
            Freshness::CatchingUp {
                since,
                last_bytes,
                from,
            }
        };
    }

    /// Reads what is in the pipe, without waiting for more.
    fn read_pipe(&mut self) -> Result<ReadResult, Trouble> {
        let there = ioctl_fionread(&self.fd).unwrap_or(0);
        if there == 0 && !is_ready(self.fd.as_fd(), PollFlags::IN) {
            return Ok(ReadResult::Nothing);
        }
        // If it is readable with no bytes available, this is the end, or a device that does not report the number of
        // bytes.
        self.read(there.clamp(4096, READ_MOST) as usize)
    }

    fn read(&mut self, most: usize) -> Result<ReadResult, Trouble> {
        let (fd, from) = (self.fd.as_fd(), self.splitter.position());
        let result = self.splitter.read_by(most, |buffer| {
            let before = buffer.len();
            let result = read(fd, spare_capacity(&mut *buffer));
            self.beginning.see(&buffer[before..]);
            result
        });
        self.read_at = (from, SystemTime::now());
        match result {
            Ok(0) => Ok(ReadResult::End),
            Ok(_) => Ok(ReadResult::Bytes),
            Err(Errno::INTR | Errno::AGAIN) => Ok(ReadResult::Nothing),
            // Standard input cannot be opened again, so none of its errors is temporary.
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
        let nothing = whole + broken == 0 && self.splitter.position() > 0;
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
        if nothing {
            message += &format!(", in what looks like {}", self.beginning.looks_like());
        }
        let cut = self.splitter.unfinished().is_some();
        if cut {
            message += ", in the middle of a frame";
        }
        // Of a stream without EOI it cannot be told whether its last frame was whole.
        let clean = whole > 0 && (!cut || self.mjpeg.lacks_ends());
        Trouble::Ended { message, clean }
    }
}

impl<F: AsFd> Source for Stdin<F> {
    fn describe(&self) -> String {
        let what = match self.pollable {
            true => "a stream",
            false => "a file",
        };
        let turned = turned(self.turned.turn());
        match self.clock.as_ref().and_then(Pace::fps) {
            None => format!("stdin, {what}{turned}"),
            Some(fps) => format!("stdin, {what} at {fps} fps{turned}"),
        }
    }

    fn facts(&self) -> Facts {
        Facts {
            size: self.turned.size(),
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
        self.freshness = if empty || !self.pollable {
            Freshness::Live { from }
        } else {
            Freshness::CatchingUp {
                since: now,
                last_bytes: now,
                from,
            }
        };
        Ok(())
    }

    fn stop(&mut self) {
        self.freshness = Freshness::Stopped;
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pollable.then(|| self.fd.as_fd())
    }

    fn deadline(&self) -> Option<Instant> {
        match self.freshness {
            Freshness::Stopped => None,
            Freshness::CatchingUp {
                since, last_bytes, ..
            } => Some((last_bytes + QUIET).min(since + CATCH_UP_TIME)),
            Freshness::Live { .. } => self.clock.as_ref().and_then(Pace::due),
        }
    }

    fn advance(&mut self, now: Instant) -> Result<Option<Captured>, Trouble> {
        match (self.freshness, self.pollable) {
            (Freshness::Stopped, _) => Ok(None),
            (_, true) => self.advance_pipe(now),
            (_, false) => self.advance_file(now),
        }
    }

    fn discarded(&mut self) -> Option<Discarded> {
        self.mjpeg.discarded()
    }

    fn jpeg(&mut self) -> Result<&[u8], Trouble> {
        let none = || Trouble::Broken("stdin: no frame has come yet".into());
        let (head, ended) = self.about.ok_or_else(none)?;
        let frame = self.mjpeg.complete(&self.newest, &head, ended);
        if self.turned.turn().is_none() {
            return Ok(frame);
        }
        let turned = self.turned.jpeg(|| Ok(frame));
        turned.map_err(|defect| Trouble::Broken(format!("stdin: {defect}")))
    }
}

/// Whether epoll accepts the descriptor. epoll itself is asked, because the answer depends on the driver.
fn is_pollable(fd: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    let probe = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let data = epoll::EventData::new_u64(0);
    match epoll::add(&probe, fd, data, epoll::EventFlags::IN) {
        Ok(()) => Ok(true),
        Err(Errno::PERM) => Ok(false),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests;
