//! The other end: wants something, and waits for the answer.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::inotify::WatchFlags;
use rustix::fs::{self as sys, FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;

use super::files::{ANSWER, FOLDER, WANTED, is_about_same, make_public, put, read};
use crate::error::{Context, Error, Result};
use crate::event::{Interest, Poll};
use crate::frames::follow::Follower;
use crate::frames::frame::Links;
use crate::frames::state::Holder;
use crate::time::clock::Seconds;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What was wanted and is not answered yet. While this exists, nobody else wants anything of this camera.
#[derive(Debug)]
pub struct Asked {
    folder: PathBuf,
    at: Seconds,
    wishes: Vec<String>,
    _only: File,
}

/// Wants controls of the camera whose frame directory is `dir`, each as `NAME=VALUE`, in addition to those that hold.
/// This is written into its mailbox if there is one, which is made, and else into `dir`. `None` if somebody else is
/// about to do the same.
pub fn ask(
    dir: &Path,
    mailbox: Option<&Path>,
    wishes: &[String],
    now: SystemTime,
) -> Result<Option<Asked>> {
    let folder = dir.join(FOLDER);
    begin(
        folder,
        mailbox,
        wishes,
        now,
        FlockOperation::NonBlockingLockExclusive,
    )
}

impl Asked {
    /// The lines of the answer that are about what was wanted, if it is there.
    pub fn answer(&self) -> Option<Vec<String>> {
        let lines = answer_to(&self.folder, self.at)?;
        let is_ours = |line: &&str| {
            let word = line.split(' ').next().unwrap_or_default();
            self.wishes.iter().any(|wish| is_about(line, word, wish))
        };
        Some(lines.lines().filter(is_ours).map(str::to_owned).collect())
    }
}

/// Wants controls of the camera whose frame directory is `dir`, each as `NAME=VALUE`, in addition to those that were wanted
/// before, and waits for the answer. Returns the lines of the answer that are about these. What was refused the last time is
/// no longer wanted.
pub fn want(dir: &Path, wishes: &[String]) -> Result<Vec<String>> {
    let folder = dir.join(FOLDER);
    if !folder.is_dir() {
        return Err(Error::Input(format!(
            "nobody takes controls in {}: `lazycam capture` does with --control or --settable",
            dir.display()
        )));
    }
    let mut follower = Follower::new(WatchFlags::MOVED_TO, Some(ANSWER))?;
    let (_, followed) = follower.add(&folder, Instant::now());
    followed?;
    let lock = FlockOperation::LockExclusive;
    let asked = begin(folder.clone(), None, wishes, SystemTime::now(), lock)?;
    if Holder::default().is_there(dir, Links::Follow) == Some(false) {
        let dir = dir.display();
        let message = format!("nobody captures into {dir} now: it will be set when somebody does");
        return Err(Error::Input(message));
    }
    let waiting = || format!("wait for an answer in {}", folder.display());
    let mut poll = Poll::new()?;
    poll.add(&follower, Interest::Readable, ()).doing(waiting)?;
    let until = Instant::now() + TIMEOUT;
    loop {
        if let Some(lines) = asked.as_ref().and_then(Asked::answer) {
            return Ok(lines);
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

/// Locks the subdirectory, so that of two that come at once the second one sees what the first one wanted, and writes
/// what is wanted.
fn begin(
    folder: PathBuf,
    mailbox: Option<&Path>,
    wishes: &[String],
    now: SystemTime,
    lock: FlockOperation,
) -> Result<Option<Asked>> {
    // Whatever a producer has put there in its place: opening a FIFO would wait for its other end.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let only = sys::open(folder.as_path(), flags, Mode::empty())
        .doing(|| format!("open {}", folder.display()))?;
    let only = File::from(only);
    match flock(&only, lock) {
        Err(Errno::WOULDBLOCK) => return Ok(None),
        locked => locked.doing(|| format!("lock {}", folder.display()))?,
    }
    let (text, at) = merged(&folder, wishes, now);
    let place = mailbox.unwrap_or(&folder);
    let put = || put(place, WANTED, &text, at, mailbox.is_some());
    let written = match (put(), mailbox) {
        (Err(error), Some(mailbox)) if error.kind() == io::ErrorKind::NotFound => {
            make_public(mailbox).and_then(|()| put())
        }
        (written, _) => written,
    };
    written.doing(|| format!("write into {}", place.display()))?;
    Ok(Some(Asked {
        folder,
        at: Seconds::since_1970(at),
        wishes: wishes.to_vec(),
        _only: only,
    }))
}

/// What is wanted from now on, and since when: later than the last time, whatever the clock says.
///
/// The value of before stays in front of a new one for the same control, until the new one is known to be set: it is
/// what holds if that is refused.
fn merged(folder: &Path, wishes: &[String], now: SystemTime) -> (String, SystemTime) {
    let (before, wanted) = read(folder, WANTED).unwrap_or((Seconds(Duration::ZERO), String::new()));
    let answer = answer_to(folder, before).unwrap_or_default();
    let told = |word, wish: &str| answer.lines().any(|line| is_about(line, word, wish));
    let mut kept: Vec<&str> = Vec::new();
    for line in wanted.lines().filter(|line| !told("refused", line)) {
        if told("set", line) {
            kept.retain(|before| !is_about_same(before, line));
        }
        kept.push(line);
    }
    let mut held: Vec<&str> = Vec::new();
    kept.retain(|line| {
        let is_wanted_anew = wishes.iter().any(|wish| is_about_same(wish, line));
        let is_first = !held.iter().any(|before| is_about_same(before, line));
        held.push(line);
        !is_wanted_anew || (is_first && !wishes.iter().any(|wish| wish == line))
    });
    kept.extend(wishes.iter().map(String::as_str));
    let next = before.0.saturating_add(Duration::from_micros(1));
    let earliest = SystemTime::UNIX_EPOCH.checked_add(next);
    (
        kept.join("\n") + "\n",
        earliest.map_or(now, |at| now.max(at)),
    )
}

/// The lines of the answer, if it is the one to what was wanted then: an older one knows nothing of it.
fn answer_to(folder: &Path, wanted: Seconds) -> Option<String> {
    let (_, text) = read(folder, ANSWER)?;
    let (first, lines) = text.split_once('\n')?;
    let about = first.strip_prefix("wanted ").and_then(Seconds::parse);
    (about == Some(wanted)).then(|| lines.to_owned())
}

/// Whether a line of an answer says this word of what was wanted.
fn is_about(line: &str, word: &str, wish: &str) -> bool {
    let said = line
        .strip_prefix(word)
        .and_then(|line| line.strip_prefix(' '));
    let rest = said.and_then(|said| said.strip_prefix(wish.trim()));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process;

    use super::*;

    #[test]
    fn what_is_wanted_anew_comes_last_and_what_was_refused_goes() {
        let folder = std::env::temp_dir().join(format!("lazycam-controls-{}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        let replace = |name, text: &str, at| put(&folder, name, text, at, false).unwrap();
        let answer = |text: &str| {
            let (wanted, _) = read(&folder, WANTED).unwrap();
            replace(
                ANSWER,
                &format!("wanted {wanted}\n{text}"),
                SystemTime::now(),
            );
        };
        let want = |wishes: &[&str]| {
            let wishes: Vec<_> = wishes.iter().map(|wish| (*wish).to_owned()).collect();
            let (text, at) = merged(&folder, &wishes, SystemTime::now());
            replace(WANTED, &text, at);
            (text, at)
        };
        let (first, early) = want(&["auto=0", "focus=10"]);
        assert_eq!(first, "auto=0\nfocus=10\n");
        replace(WANTED, &first, early + Duration::from_secs(3600));
        answer("set auto=0\nset focus=10\n");
        let (second, late) = want(&["gain=3", "auto=1"]);
        assert_eq!(second, "auto=0\nfocus=10\ngain=3\nauto=1\n");
        // The clock was set back, and still each has a time of its own.
        assert!(late > early + Duration::from_secs(3600));
        answer("set auto=0\nrefused focus=10: is 0 to 5\nset gain=3\nset auto=1\n");
        assert_eq!(want(&[]).0, "gain=3\nauto=1\n");
        assert_eq!(want(&["gain=3"]).0, "auto=1\ngain=3\n");
        // A name in another form is the same control.
        assert_eq!(want(&["_Gain=4"]).0, "auto=1\ngain=3\n_Gain=4\n");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_value_of_before_holds_until_the_next_one_is_set() {
        let folder = std::env::temp_dir().join(format!("lazycam-holds-{}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        let want = |wish: &str, answer: &str| {
            let (text, at) = merged(&folder, &[wish.to_owned()], SystemTime::now());
            put(&folder, WANTED, &text, at, false).unwrap();
            let answer = format!("wanted {}\n{answer}", Seconds::since_1970(at));
            put(&folder, ANSWER, &answer, at, false).unwrap();
            text
        };
        want("focus=1", "set focus=1\n");
        for (wish, answer, expected) in [
            (
                "focus=99",
                "set focus=1\nrefused focus=99: is 0 to 20\n",
                "focus=1\nfocus=99\n",
            ),
            ("gain=1", "set focus=1\nset gain=1\n", "focus=1\ngain=1\n"),
            (
                "focus=2",
                "set focus=1\nset gain=1\nset focus=2\n",
                "focus=1\ngain=1\nfocus=2\n",
            ),
            // The camera is not there any more.
            (
                "focus=3",
                "later gain=1\nlater focus=2\nlater focus=3\n",
                "gain=1\nfocus=2\nfocus=3\n",
            ),
            // However often something is wanted of it, it is not more.
            (
                "focus=10",
                "later gain=1\nlater focus=2\nlater focus=10\n",
                "gain=1\nfocus=2\nfocus=10\n",
            ),
            (
                "focus=1",
                "set gain=1\nset focus=2\nrefused focus=1: no\n",
                "gain=1\nfocus=2\nfocus=1\n",
            ),
            ("gain=2", "", "gain=1\nfocus=2\ngain=2\n"),
        ] {
            assert_eq!(want(wish, answer), expected, "{wish}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn an_answer_to_what_was_wanted_earlier_says_nothing_of_what_is_wanted_now() {
        let folder = std::env::temp_dir().join(format!("lazycam-older-{}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        let want = |wish: &str| {
            let (text, at) = merged(&folder, &[wish.to_owned()], SystemTime::now());
            put(&folder, WANTED, &text, at, false).unwrap();
            (text, at)
        };
        let (_, at) = want("focus=99");
        let refused = format!("wanted {}\nrefused focus=99: no\n", Seconds::since_1970(at));
        put(&folder, ANSWER, &refused, at, false).unwrap();
        assert_eq!(want("focus=99").0, "focus=99\n");
        // That is not answered yet, perhaps because nobody captures.
        assert_eq!(want("gain=1").0, "focus=99\ngain=1\n");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn nobody_waits_for_a_folder_that_is_none() {
        let dir = std::env::temp_dir().join(format!("lazycam-no-folder-{}", process::id()));
        fs::create_dir_all(&dir).unwrap();
        let folder = dir.join(FOLDER);
        let mut mkfifo = process::Command::new("mkfifo");
        assert!(mkfifo.arg(&folder).status().unwrap().success());
        let refused = || ask(&dir, None, &["a=1".into()], SystemTime::now()).is_err();
        assert!(refused());
        fs::remove_file(&folder).unwrap();
        std::os::unix::fs::symlink("/", &folder).unwrap();
        assert!(refused());
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn the_lines_of_an_answer_are_about_what_was_wanted() {
        assert!(is_about("set focus=1", "set", "focus=1"));
        assert!(is_about(
            "refused focus=1: it is 0 to 0",
            "refused",
            " focus=1"
        ));
        for line in ["set focus=10", "later focus=1", "setfocus=1", "set", ""] {
            assert!(!is_about(line, "set", "focus=1"), "{line}");
        }
    }
}
