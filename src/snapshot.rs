//! Takes one fresh frame: requests it, waits for it and writes it out.
//!
//! Fresh means published after the request. Whatever `current.jpg` holds when the command starts is never used,
//! however new it is: opening that file is the request, and the answer is the frame that is renamed over it.
//!
//! A directory that does not exist is waited for only where somebody asks for that (`--timeout`): mostly its name was
//! mistyped.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, Instant, SystemTime};

use crate::error::{Context, Error, Result};
use crate::event::{Interest, Poll};
use crate::frames::frame::{self, Frame, Links, NoFrame};
use crate::frames::state::{Phase, State};
use crate::frames::watch::{Change, Watcher};

/// How long a frame may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Waits for the next frame of `dir`, for 5 s or as long as `timeout` says, and writes it to `output`: a file,
/// which is replaced by a rename once the frame is complete, or standard output.
pub fn run(dir: &Path, output: Option<&Path>, timeout: Option<Duration>) -> Result<()> {
    if timeout.is_none() && !dir.is_dir() {
        return Err(Error::Input(format!(
            "there is no frame directory {}: `ls /run/lazycam` shows those of the services, and --timeout waits for \
             one that is made later",
            dir.display()
        )));
    }
    let timeout = timeout.unwrap_or(TIMEOUT);
    let frame = next_frame(dir, timeout)?;
    match output {
        None => {
            let written = copy(&frame, &mut io::stdout().lock());
            written.doing(|| "write the frame to standard output".into())
        }
        Some(path) => write(&frame, path).doing(|| format!("write {}", path.display())),
    }
}

fn next_frame(dir: &Path, timeout: Duration) -> Result<Frame> {
    let (until, asked) = (Instant::now().checked_add(timeout), SystemTime::now());
    let mut watcher = Watcher::new()?;
    watcher.add(dir);
    let mut poll = Poll::new()?;
    let wait = || format!("wait for a frame in {}", dir.display());
    poll.add(&watcher, Interest::Readable, ()).doing(wait)?;
    // Only after the watch is set, so that the frame that answers the request cannot arrive before it.
    let mut reason = frame::ask(dir).err();
    let mut changes = Vec::new();
    loop {
        let retry = watcher.retry_at();
        poll.wait(until.into_iter().chain(retry).min())
            .doing(wait)?;
        let now = Instant::now();
        while poll.next_event().is_some() {}
        watcher.read(now, &mut changes).doing(wait)?;
        watcher.retry(now, &mut changes);
        // What the producer says about itself is read at the end.
        for (_, change) in changes
            .drain(..)
            .filter(|(_, change)| *change != Change::State)
        {
            match look(dir, change, asked) {
                Ok(frame) => return Ok(frame),
                Err(why) => reason = why,
            }
        }
        if until.is_some_and(|until| now >= until) {
            return Err(timed_out(dir, timeout, reason));
        }
    }
}

/// The frame that a change brought, or the reason why there is none. In a directory that has only just appeared, the
/// frame may be of any age, so there the time of capture is checked.
fn look(dir: &Path, change: Change, asked: SystemTime) -> Result<Frame, Option<NoFrame>> {
    match change {
        Change::Gone => Err(Some(NoFrame::NotYet)),
        Change::Frame => Frame::open(dir).map_err(Some),
        Change::Written => Err((!frame::is_empty(dir)).then_some(NoFrame::InPlace)),
        Change::State => Err(None),
        Change::Returned => {
            let frame = Frame::open(dir).map_err(Some)?;
            if frame.captured() < asked {
                return Err(None);
            }
            Ok(frame)
        }
    }
}

fn timed_out(dir: &Path, timeout: Duration, reason: Option<NoFrame>) -> Error {
    let lost = State::read(dir, Links::Follow).filter(|state| state.phase == Phase::Lost);
    let lost = lost.and_then(|state| state.why);
    let why = match reason {
        _ if !dir.is_dir() => "there is no such directory".into(),
        None | Some(NoFrame::NotYet) if lost.is_some() => {
            format!("the camera is lost: {}", lost.unwrap_or_default())
        }
        None | Some(NoFrame::NotYet) => "is something capturing into it?".into(),
        Some(reason) => reason.to_string(),
    };
    Error::Input(format!(
        "no new frame in {} within {} s: {why}",
        dir.display(),
        timeout.as_secs_f32()
    ))
}

/// Writes to a file beside the target and renames it, so that nobody sees an incomplete file. A target that is not a
/// regular file, such as a device or a FIFO, must not be replaced and is written to directly.
fn write(frame: &Frame, path: &Path) -> io::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if fs::metadata(&path).is_ok_and(|about| !about.is_file()) {
        return copy(frame, &mut fs::OpenOptions::new().write(true).open(&path)?);
    }
    let temporary = beside(&path)?;
    // A process that had the same number and was killed may have left such a file behind. If somebody puts something
    // else there in the meantime, such as a link, it is not followed: either the file is created here, or the command
    // fails.
    let _ = fs::remove_file(&temporary);
    let mut file = File::create_new(&temporary)?;
    let written = copy(frame, &mut file).and_then(|()| fs::rename(&temporary, &path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let name = name.to_string_lossy();
    Ok(path.with_file_name(format!(".{name}.{}", process::id())))
}

fn copy(frame: &Frame, to: &mut impl Write) -> io::Result<()> {
    use std::os::fd::AsFd;
    let mut from = File::from(frame.as_fd().try_clone_to_owned()?);
    io::copy(&mut from, to)?;
    to.flush()
}
