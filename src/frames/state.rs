//! What a producer says about itself, in the file `state` of a frame directory, and whether there is a producer at
//! all.
//!
//! The file has one line per fact, `key value`, and is renamed into place when the phase changes, never for each
//! frame: while the camera is off, nobody writes and nobody is woken. It is optional. A reader has to manage without
//! it, must not trust it too much (any program with access to the directory may have written it), and must not
//! mistake a dead producer's file for the next producer's: the file counts only if it is no older than the line that
//! the producer wrote into `lock`.
//!
//! A producer that was killed says nothing, but the kernel releases its lock. [`Holder`] checks for that by trying to
//! take a shared lock, which it releases at once. Opening `lock` would cause an event for those who watch the
//! directory, so the file is opened once and kept open; trying the lock causes none.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use rustix::fs::{self as sys, AtFlags, CWD, FileType, FlockOperation};
use rustix::io::Errno;

use crate::frames::LOCK;
use crate::frames::frame::{self, Links};
use crate::picture::jpeg::Size;
use crate::time::clock::Seconds;

/// The name of the file.
pub const STATE: &str = "state";

/// The number of bytes of it that are read: enough for four texts of the longest characters. It has a few hundred.
const LARGEST: u64 = 8192;

/// The number of characters of a text (`why`, `source`) that are kept.
const LONGEST_TEXT: usize = 300;

/// What a camera is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It is stopped: nobody is watching.
    Off,
    /// A frame was requested, and there is none yet.
    Starting,
    /// Frames are coming, or would come if somebody asked for them.
    Live,
    /// It is gone or has failed.
    Lost,
}

impl Phase {
    /// The word for it in the file.
    pub fn word(self) -> &'static str {
        match self {
            Phase::Off => "off",
            Phase::Starting => "starting",
            Phase::Live => "live",
            Phase::Lost => "lost",
        }
    }
}

impl FromStr for Phase {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let all = [Phase::Off, Phase::Starting, Phase::Live, Phase::Lost];
        all.into_iter().find(|phase| phase.word() == text).ok_or(())
    }
}

/// The facts in the file. Counters have the values that they had when it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// What the camera is doing.
    pub phase: Phase,
    /// Since when it has been doing that, by the wall clock.
    pub since: SystemTime,
    /// What is wrong, if the camera is lost.
    pub why: Option<String>,
    /// A description of the camera, for people.
    pub source: Option<String>,
    /// The servers that its pictures come through, as the field `Via` has them.
    pub via: Option<String>,
    /// How old the newest frame was when the last of those servers sent it.
    pub origin_age: Option<Duration>,
    /// Width and height in pixels, if they are known before there is a frame.
    pub size: Option<Size>,
    /// The frame rate that it is set to, in frames per second.
    pub fps: Option<f64>,
    /// JPEG quality, 1 to 100, if the producer encodes the frames.
    pub quality: Option<u8>,
    /// What has made the newest frame of a raw picture: `CPU`, or another word that ustreamer has for it and the device.
    pub encoder: Option<String>,
    /// The number of frames put in place.
    pub published: u64,
    /// The number of frames that nobody had asked for.
    pub dropped: u64,
    /// The number of frames that were not complete JPEGs.
    pub broken: u64,
}

impl State {
    /// A state with no other facts.
    pub fn new(phase: Phase, since: SystemTime) -> Self {
        State {
            phase,
            since,
            why: None,
            source: None,
            via: None,
            origin_age: None,
            size: None,
            fps: None,
            quality: None,
            encoder: None,
            published: 0,
            dropped: 0,
            broken: 0,
        }
    }

    /// Parses the file's text. Lines that it does not understand are ignored; without a phase and its time there is
    /// no state.
    pub fn parse(text: &str) -> Option<State> {
        let lines = || text.lines().filter_map(|line| line.split_once(' '));
        let value = |key: &str| lines().find(|(k, _)| *k == key).map(|(_, value)| value);
        let count = |key| value(key).and_then(|n| n.parse().ok()).unwrap_or(0);
        let text = |key| value(key).map(one_line).filter(|text| !text.is_empty());
        Some(State {
            phase: value("phase")?.parse().ok()?,
            since: parse_time(value("since")?)?,
            why: text("why"),
            source: text("source"),
            via: text("via"),
            origin_age: value("origin-age").and_then(|age| Some(Seconds::parse(age)?.0)),
            size: value("size").and_then(|size| size.parse().ok()),
            fps: value("fps").and_then(|fps| {
                let fps = fps.parse().ok();
                fps.filter(|fps: &f64| fps.is_finite() && *fps > 0.0)
            }),
            quality: value("quality").and_then(|quality| {
                let quality = quality.parse().ok();
                quality.filter(|quality| (1..=100).contains(quality))
            }),
            encoder: text("encoder"),
            published: count("published"),
            dropped: count("dropped"),
            broken: count("broken"),
        })
    }

    /// What the producer of `dir` says; `None` if there is no file, if nothing in it can be understood, or if another
    /// process is the producer by now.
    pub fn read(dir: &Path, links: Links) -> Option<State> {
        let file = frame::open_file(dir, STATE, links).ok()?;
        let about = sys::fstat(&file).ok()?;
        if FileType::from_raw_mode(about.st_mode) != FileType::RegularFile {
            return None;
        }
        if !is_current(dir, &about) {
            return None;
        }
        let mut bytes = Vec::new();
        File::from(file)
            .take(LARGEST)
            .read_to_end(&mut bytes)
            .ok()?;
        State::parse(&String::from_utf8_lossy(&bytes))
    }

    /// Whether the file is (still) from the directory's present producer. The file is not opened, so checking wakes
    /// nobody.
    pub fn is_current(dir: &Path) -> bool {
        let about = sys::statat(CWD, dir.join(STATE), AtFlags::SYMLINK_NOFOLLOW);
        about.is_ok_and(|about| is_current(dir, &about))
    }
}

/// A producer that takes over a directory writes into `lock`, so a state from before that is another producer's.
fn is_current(dir: &Path, state: &sys::Stat) -> bool {
    let time = |about: &sys::Stat| (about.st_mtime, about.st_mtime_nsec);
    let lock = sys::statat(CWD, dir.join(LOCK), AtFlags::SYMLINK_NOFOLLOW);
    lock.map_or(true, |lock| time(state) >= time(&lock))
}

/// The file's text.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "phase {}", self.phase.word())?;
        writeln!(f, "since {}", Seconds::since_1970(self.since))?;
        let texts = [
            ("why", &self.why),
            ("source", &self.source),
            ("via", &self.via),
        ];
        for (key, text) in texts {
            if let Some(text) = text {
                writeln!(f, "{key} {}", one_line(text))?;
            }
        }
        if let Some(age) = self.origin_age {
            writeln!(f, "origin-age {}", Seconds(age))?;
        }
        if let Some(size) = self.size {
            writeln!(f, "size {size}")?;
        }
        if let Some(fps) = self.fps {
            writeln!(f, "fps {fps}")?;
        }
        if let Some(quality) = self.quality {
            writeln!(f, "quality {quality}")?;
        }
        if let Some(encoder) = &self.encoder {
            writeln!(f, "encoder {}", one_line(encoder))?;
        }
        writeln!(f, "published {}", self.published)?;
        writeln!(f, "dropped {}", self.dropped)?;
        writeln!(f, "broken {}", self.broken)
    }
}

/// Makes sure that a text for people stays on one line and is not too long.
fn one_line(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let text: String = text.chars().map(plain).take(LONGEST_TEXT).collect();
    text.trim().to_owned()
}

/// Parses seconds since 1970 with at most six decimal places.
fn parse_time(text: &str) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Seconds::parse(text)?.0)
}

/// Finds out whether some process holds the lock of a frame directory.
#[derive(Debug, Default)]
pub struct Holder {
    lock: Option<(Identity, OwnedFd)>,
}

type Identity = (u64, u64);

impl Holder {
    /// Whether a process holds the lock of `dir` now. `None` means that this is not known, because there is no such
    /// file (a producer need not lock) or it cannot be opened.
    pub fn is_there(&mut self, dir: &Path, links: Links) -> Option<bool> {
        let named = sys::statat(CWD, dir.join(LOCK), AtFlags::SYMLINK_NOFOLLOW);
        let named = named.ok().map(|about| identity(&about));
        if self.lock.as_ref().map(|(identity, _)| *identity) != named {
            self.lock = None;
            let file = frame::open_file(dir, LOCK, links).ok()?;
            self.lock = Some((identity(&sys::fstat(&file).ok()?), file));
        }
        let (_, file) = self.lock.as_ref()?;
        is_locked(file).ok()
    }

    /// Closes the file that was kept open.
    pub fn forget(&mut self) {
        self.lock = None;
    }
}

#[allow(clippy::unnecessary_cast, reason = "32 bits wide on some machines")]
fn identity(about: &sys::Stat) -> Identity {
    (about.st_dev as u64, about.st_ino as u64)
}

/// For this moment nobody else can lock it exclusively; a producer that finds it locked soon tries again.
fn is_locked(file: &OwnedFd) -> io::Result<bool> {
    match sys::flock(file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => {
            sys::flock(file, FlockOperation::Unlock)?;
            Ok(false)
        }
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State {
            why: Some("no such\ndevice ü".into()),
            source: Some("v4l2 /dev/video0".into()),
            via: Some("1.1 a, 1.1 b".into()),
            origin_age: Some(Duration::from_millis(31)),
            size: Some(Size {
                width: 640,
                height: 480,
            }),
            fps: Some(29.97),
            quality: Some(80),
            encoder: Some("M2M-IMAGE /dev/video31 (ü)".into()),
            published: 1,
            dropped: 2,
            broken: u64::MAX,
            ..State::new(
                Phase::Lost,
                SystemTime::UNIX_EPOCH + Duration::from_micros(1_733_918_400_100_020),
            )
        }
    }

    #[test]
    fn what_is_written_is_what_is_read_on_one_line_each() {
        let text = state().to_string();
        assert_eq!(text.lines().count(), 13, "{text}");
        assert!(text.starts_with("phase lost\nsince 1733918400.100020\nwhy no such device ü\n"));
        let why = Some("no such device ü".into());
        assert_eq!(State::parse(&text), Some(State { why, ..state() }));
        let bare = State::new(Phase::Off, SystemTime::UNIX_EPOCH);
        assert_eq!(State::parse(&bare.to_string()), Some(bare));
    }

    #[test]
    fn nonsense_is_no_state_and_a_line_of_it_spoils_no_other() {
        for text in [
            "",
            "phase",
            "phase live",
            "phase asleep\nsince 1",
            "phase live\nsince -1",
            "phase live\nsince 1.1234567",
            "phase live\nsince 18446744073709551615",
            "since 1.5\u{0}\nphase live",
        ] {
            assert_eq!(State::parse(text), None, "{text}");
        }
        let odd =
            "x\nphase live\n\nsince 1.5\nsize 0x0\nfps NaN\nquality 500\npublished -1\nwhy  \u{7} ";
        let since = SystemTime::UNIX_EPOCH + Duration::from_millis(1500);
        assert_eq!(State::parse(odd), Some(State::new(Phase::Live, since)));
    }

    #[test]
    fn long_texts_are_cut_and_all_of_them_are_read() {
        let long = Some("\u{1f4f7}".repeat(10_000));
        let state = State {
            why: long.clone(),
            source: long.clone(),
            via: long.clone(),
            encoder: long,
            ..state()
        };
        let text = state.to_string();
        assert!(text.len() < LARGEST as usize, "{}", text.len());
        let read = State::parse(&text).unwrap();
        for text in [read.why, read.source, read.via, read.encoder] {
            assert_eq!(text.map(|it| it.chars().count()), Some(LONGEST_TEXT));
        }
    }
}
