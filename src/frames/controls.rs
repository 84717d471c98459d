//! Controls of a camera that are set while it runs: what somebody wants of it, and what the producer made of that.
//!
//! Both are files in the subdirectory `controls` of the frame directory, which a producer makes if it takes any. `wanted`
//! has a line `NAME=VALUE` for each control and is renamed into place by whoever may write there; `answer` is the
//! producer's, and says in its first line which `wanted` it is about: the one with this modification time. The answer is
//! not in `state`, because every reader of frames is woken by that, and it is none of their business.
//!
//! The subdirectory is watched by itself. So nothing happens until somebody wants something, and then it happens at
//! once. It can also be given to others without giving them the frames.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::inotify::WatchFlags;
use rustix::fs::{FlockOperation, flock};

use crate::error::{Context, Error, Result};
use crate::event::{Interest, Poll};
use crate::frames::follow::{Follower, Happened, complain};
use crate::frames::frame::{Links, open_file};
use crate::frames::state::Holder;
use crate::logging::Brake;
use crate::time::clock::Seconds;

/// The name of the subdirectory.
const FOLDER: &str = "controls";
const WANTED: &str = "wanted";
const ANSWER: &str = "answer";

/// The number of bytes of either file that are read.
const LARGEST: u64 = 16 << 10;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What becomes of one control that somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is set.
    Set,
    /// It will be set when the camera is there.
    Later,
    /// It cannot be set, for this reason.
    Refused(String),
}

/// The producer's end.
#[derive(Debug)]
pub struct Wishes {
    folder: PathBuf,
    follower: Follower,
    brake: Brake,
    /// Whether the subdirectory is there, as far as is known.
    is_there: bool,
}

impl Wishes {
    /// Makes the subdirectory of `dir`, which must exist, and watches it.
    pub fn new(dir: &Path) -> Result<Self> {
        let mut wishes = Wishes {
            folder: dir.join(FOLDER),
            follower: Follower::new(WatchFlags::MOVED_TO, Some(WANTED))?,
            brake: Brake::new(Duration::from_secs(60)),
            is_there: false,
        };
        wishes.make();
        let (_, followed) = wishes.follower.add(&wishes.folder, Instant::now());
        wishes.is_there = followed?;
        Ok(wishes)
    }

    /// Whether something may be wanted that was not before. Handles all events so far, without blocking.
    pub fn look(&mut self, now: Instant) -> io::Result<bool> {
        if !self.is_there {
            self.make();
        }
        let (mut seen, mut is_there, brake) = (false, self.is_there, &mut self.brake);
        let mut told = |_, happened| match happened {
            Happened::Current => seen = true,
            Happened::Returned => (seen, is_there) = (true, true),
            Happened::Gone => is_there = false,
            Happened::State | Happened::Written => {}
        };
        let mut failed = |_, error: Error| complain(brake, now, &error);
        self.follower.read(now, &mut told, &mut failed)?;
        self.follower.retry(now, &mut told, &mut failed);
        self.is_there = is_there;
        Ok(seen)
    }

    /// When to look although nothing has happened.
    pub fn retry_at(&self) -> Option<Instant> {
        self.follower.retry_at()
    }

    /// What is wanted now, line by line, and which file says so; `None` if nobody wants anything.
    pub fn wanted(&self) -> Option<(Seconds, String)> {
        read(&self.folder, WANTED)
    }

    /// Says what became of what that file wants.
    pub fn answer(&self, wanted: Seconds, outcomes: &[(String, Outcome)]) -> Result<()> {
        let mut text = format!("wanted {wanted}\n");
        for (wish, outcome) in outcomes {
            // Writing to a string does not fail.
            let _ = match outcome {
                Outcome::Set => writeln!(text, "set {wish}"),
                Outcome::Later => writeln!(text, "later {wish}"),
                Outcome::Refused(why) => writeln!(text, "refused {wish}: {why}"),
            };
        }
        let doing = || format!("answer in {}", self.folder.display());
        replace(&self.folder, ANSWER, &text, SystemTime::now()).doing(doing)
    }

    /// What cannot be made now is made later: mostly the frame directory itself is gone.
    fn make(&self) {
        let _ = fs::create_dir(&self.folder);
    }
}

impl AsFd for Wishes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.follower.as_fd()
    }
}

/// Wants controls of the camera whose frame directory is `dir`, each as `NAME=VALUE`, in addition to those that were wanted
/// before, and waits for the answer. Returns the lines of the answer that are about these. Those that were refused the last
/// time are no longer wanted.
pub fn want(dir: &Path, wishes: &[String]) -> Result<Vec<String>> {
    let folder = dir.join(FOLDER);
    if !folder.is_dir() {
        return Err(Error::Input(format!(
            "nobody takes controls in {}: `lazycam capture` does with --control or --settable",
            dir.display()
        )));
    }
    // Until the end of this function, so that of two that come at once the second one sees what the first one wanted.
    let only = File::open(&folder).doing(|| format!("open {}", folder.display()))?;
    flock(&only, FlockOperation::LockExclusive).doing(|| format!("lock {}", folder.display()))?;
    let mut follower = Follower::new(WatchFlags::MOVED_TO, Some(ANSWER))?;
    let (_, followed) = follower.add(&folder, Instant::now());
    followed?;
    let (text, at) = merged(&folder, wishes);
    replace(&folder, WANTED, &text, at).doing(|| format!("write into {}", folder.display()))?;
    if Holder::default().is_there(dir, Links::Follow) == Some(false) {
        let dir = dir.display();
        let message = format!("nobody captures into {dir} now: it will be set when somebody does");
        return Err(Error::Input(message));
    }
    let lines = answered(&folder, &mut follower, Seconds::since_1970(at))?;
    let is_about = |line: &&str| wishes.iter().any(|wish| subject(line) == name(wish));
    Ok(lines.lines().filter(is_about).map(str::to_owned).collect())
}

/// Waits for the answer to what was wanted at this time.
fn answered(folder: &Path, follower: &mut Follower, at: Seconds) -> Result<String> {
    let waiting = || format!("wait for an answer in {}", folder.display());
    let mut poll = Poll::new()?;
    poll.add(&*follower, Interest::Readable, ())
        .doing(waiting)?;
    let until = Instant::now() + TIMEOUT;
    loop {
        if let Some((_, text)) = read(folder, ANSWER) {
            let (first, lines) = text.split_once('\n').unwrap_or_default();
            if first.strip_prefix("wanted ").and_then(Seconds::parse) == Some(at) {
                return Ok(lines.to_owned());
            }
        }
        let now = Instant::now();
        if now >= until {
            let (folder, secs) = (folder.display(), TIMEOUT.as_secs());
            let message = format!("no answer in {folder} within {secs} s: is its producer alive?");
            return Err(Error::Input(message));
        }
        poll.wait(Some(until)).doing(waiting)?;
        while poll.next_event().is_some() {}
        follower.read(now, |_, _| {}, |_, _| {}).doing(waiting)?;
    }
}

/// What is wanted from now on, and since when: later than the last time, whatever the clock says.
fn merged(folder: &Path, wishes: &[String]) -> (String, SystemTime) {
    let (before, wanted) = read(folder, WANTED).unwrap_or((Seconds(Duration::ZERO), String::new()));
    let (_, answer) = read(folder, ANSWER).unwrap_or((before, String::new()));
    let refused = |line: &str| {
        let mut lines = answer
            .lines()
            .filter_map(|told| told.strip_prefix("refused "));
        lines.any(|told| {
            told.strip_prefix(line)
                .is_some_and(|rest| rest.starts_with(':'))
        })
    };
    let is_kept =
        |line: &&str| !wishes.iter().any(|wish| name(wish) == name(line)) && !refused(line);
    let kept = wanted.lines().filter(is_kept);
    let lines: Vec<_> = kept.chain(wishes.iter().map(String::as_str)).collect();
    let earliest = SystemTime::UNIX_EPOCH + before.0 + Duration::from_micros(1);
    (lines.join("\n") + "\n", SystemTime::now().max(earliest))
}

/// The name in `NAME=VALUE`.
fn name(wish: &str) -> &str {
    wish.split_once('=').map_or(wish, |(name, _)| name)
}

/// The name in a line of an answer.
fn subject(line: &str) -> &str {
    line.split_once(' ').map_or("", |(_, wish)| name(wish))
}

/// A file's text and modification time, in microseconds.
fn read(folder: &Path, file: &str) -> Option<(Seconds, String)> {
    let file = File::from(open_file(folder, file, Links::Follow).ok()?);
    let about = file.metadata().ok().filter(|about| about.is_file())?;
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes).ok()?;
    let at = Seconds::since_1970(about.modified().ok()?);
    let whole = Duration::from_micros(at.0.as_micros() as u64);
    Some((Seconds(whole), String::from_utf8_lossy(&bytes).into_owned()))
}

fn replace(folder: &Path, name: &str, text: &str, at: SystemTime) -> io::Result<()> {
    let temporary = folder.join(format!(".{name}.{}", process::id()));
    let _ = fs::remove_file(&temporary);
    let mut file = File::create_new(&temporary)?;
    let written = io::Write::write_all(&mut file, text.as_bytes())
        .and_then(|()| file.set_modified(at))
        .and_then(|()| fs::rename(&temporary, folder.join(name)));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_anew_comes_last_and_what_was_refused_goes() {
        let folder = std::env::temp_dir().join(format!("lazycam-controls-{}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        let want = |wishes: &[&str]| {
            let wishes: Vec<_> = wishes.iter().map(|wish| (*wish).to_owned()).collect();
            let (text, at) = merged(&folder, &wishes);
            replace(&folder, WANTED, &text, at).unwrap();
            (text, at)
        };
        let (first, early) = want(&["auto=0", "focus=10"]);
        assert_eq!(first, "auto=0\nfocus=10\n");
        replace(&folder, WANTED, &first, early + Duration::from_secs(3600)).unwrap();
        let (second, late) = want(&["gain=3", "auto=1"]);
        assert_eq!(second, "focus=10\ngain=3\nauto=1\n");
        // The clock was set back, and still each has a time of its own.
        assert!(late > early + Duration::from_secs(3600));
        let answer = "wanted 1.0\nset gain=3\nrefused focus=10: is 0 to 5\n";
        replace(&folder, ANSWER, answer, late).unwrap();
        assert_eq!(want(&[]).0, "gain=3\nauto=1\n");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_lines_of_an_answer_are_about_a_control() {
        for line in [
            "set focus=1",
            "later focus=1",
            "refused focus=1: it is 0 to 0",
        ] {
            assert_eq!(subject(line), "focus");
        }
        assert_eq!(subject("wanted"), "");
    }
}
