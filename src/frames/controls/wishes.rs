//! The producer's end: reads what is wanted, and answers.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::inotify::WatchFlags;

use super::files::{ANSWER, FOLDER, OFFERED, Outcome, WANTED, put, read};
use crate::error::{Context, Error, Result};
use crate::frames::follow::{DirId, Follower, Happened, complain};
use crate::logging::Brake;
use crate::time::clock::Seconds;

/// The subdirectory and the mailbox of one producer.
#[derive(Debug)]
pub struct Wishes {
    folder: PathBuf,
    mailbox: Option<PathBuf>,
    follower: Follower,
    own: DirId,
    brake: Brake,
    /// Whether the subdirectory is there, as far as is known.
    is_there: bool,
}

impl Wishes {
    /// Makes the subdirectory of `dir`, which must exist, and watches it; and the mailbox, which somebody else makes.
    pub fn new(dir: &Path, mailbox: Option<&Path>) -> Result<Self> {
        let folder = dir.join(FOLDER);
        make(&folder);
        let now = Instant::now();
        let mut follower = Follower::new(WatchFlags::MOVED_TO, Some(WANTED))?;
        let (own, followed) = follower.add(&folder, now);
        let is_there = followed?;
        if let Some(mailbox) = mailbox {
            let (_, followed) = follower.add(mailbox, now);
            followed?;
        }
        Ok(Wishes {
            folder,
            mailbox: mailbox.map(Path::to_owned),
            follower,
            own,
            brake: Brake::new(Duration::from_secs(60)),
            is_there,
        })
    }

    /// Whether something may be wanted that was not before. Handles all events so far, without blocking.
    pub fn look(&mut self, now: Instant) -> io::Result<bool> {
        if !self.is_there {
            make(&self.folder);
        }
        let (mut seen, mut is_there) = (false, self.is_there);
        let (own, brake) = (self.own, &mut self.brake);
        let mut told = |dir, happened| match happened {
            Happened::Current => seen = true,
            Happened::Returned => (seen, is_there) = (true, is_there || dir == own),
            Happened::Gone if dir == own => is_there = false,
            Happened::Gone | Happened::State | Happened::Written => {}
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
        let places = [Some(&self.folder), self.mailbox.as_ref()];
        let files = places
            .into_iter()
            .flatten()
            .filter_map(|place| read(place, WANTED));
        files.reduce(|own, new| if new.0.0 > own.0.0 { new } else { own })
    }

    /// Says what became of what that file wants, and keeps what holds of it if it came by the mailbox.
    pub fn answer(&self, wanted: Seconds, outcomes: &[(String, Outcome)]) -> Result<()> {
        let (mut text, mut holds) = (format!("wanted {wanted}\n"), String::new());
        for (wish, outcome) in outcomes {
            // Writing to a string does not fail.
            let _ = match outcome {
                Outcome::Set => writeln!(text, "set {wish}"),
                Outcome::Later => writeln!(text, "later {wish}"),
                Outcome::Refused(why) => writeln!(text, "refused {wish}: {why}"),
            };
            if !matches!(outcome, Outcome::Refused(_)) {
                holds.extend([wish, "\n"]);
            }
        }
        let doing = || format!("answer in {}", self.folder.display());
        let own = self
            .mailbox
            .is_some()
            .then(|| read(&self.folder, WANTED))
            .flatten();
        if self.mailbox.is_some() && own.is_none_or(|(at, _)| at.0 < wanted.0) {
            let at = SystemTime::UNIX_EPOCH.checked_add(wanted.0);
            let at = at.unwrap_or_else(SystemTime::now);
            put(&self.folder, WANTED, &holds, at, false).doing(doing)?;
        }
        put(&self.folder, ANSWER, &text, SystemTime::now(), false).doing(doing)
    }

    /// Whether it is still there what was said of that.
    pub fn is_offered(&self) -> bool {
        self.folder.join(OFFERED).exists()
    }

    /// Says what may be set, as JSON.
    pub fn offer(&self, json: &str) -> Result<()> {
        let doing = || format!("say in {} what may be set", self.folder.display());
        put(&self.folder, OFFERED, json, SystemTime::now(), false).doing(doing)
    }
}

/// What cannot be made now is made later: mostly the frame directory itself is gone.
fn make(folder: &Path) {
    let _ = fs::create_dir(folder);
}

impl AsFd for Wishes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.follower.as_fd()
    }
}
