//! What is known about a camera apart from its frames: what its producer reports, whether there is a producer, and
//! what has been observed.
//!
//! If the producer is there and reports a state (`frames/state.rs`), that is used. Otherwise the state is inferred
//! from what was observed: frames that arrive, or a request that no frame has followed. Nothing signals whether a
//! producer is there, so this is checked only when somebody asks for the state or waits in vain.
//!
//! Whatever the producer reports, a camera of which no file was usable for a while is lost, and the defect is the
//! reason. Only a frame that was opened is known to be usable. So while there is a defect, what arrives counts as
//! nothing until a usable frame has been opened.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use crate::frames::filesystem::FilesystemKind;
use crate::frames::frame::Links;
use crate::frames::state::{self, Holder, State};
use crate::time::clock::Clocks;
use crate::time::rate::Rate;

/// A text of a producer, for everybody who may see pictures: paths are left out, because they contain the serial number of a USB
/// camera (`/dev/v4l/by-id/…`) and tell how the machine is built. `/dev/video0` tells nothing, and helps.
pub(in crate::server) fn public(text: &str) -> String {
    let shown = |word: &str| {
        let path = word.find('/').map(|at| word.split_at(at));
        let path = path.filter(|(before, _)| {
            before.is_empty() || before.ends_with([':', '(', '\'', '"', '='])
        });
        match path {
            Some((_, path)) if path.starts_with("/dev/video") => word.to_owned(),
            Some((before, path)) => {
                let end = path
                    .trim_end_matches([':', ',', ';', ')', '\'', '"', '.'])
                    .len();
                format!("{before}…{}", &path[end..])
            }
            None => word.to_owned(),
        }
    };
    let words: Vec<_> = text.split(' ').map(shown).collect();
    words.join(" ")
}

const ABSENT: &str = "no program captures into its directory";
const ABSENT_OR_BELOW: &str =
    "no program captures into its directory, or it does so below the overlay, where it is not seen";

/// Without a report by the producer, a camera that has delivered no frame for this long is not live.
const QUIET: Duration = Duration::from_secs(5);

/// Without a report by the producer, a camera that was last asked this long ago and has delivered nothing is not
/// starting.
const START_LIMIT: Duration = Duration::from_secs(10);

/// What a camera is doing, as reported to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum CameraPhase {
    /// What its producer reports.
    Of(state::Phase),
    /// It has no producer.
    Absent,
}

impl CameraPhase {
    /// The word for it in reports.
    pub(in crate::server) fn word(self) -> &'static str {
        match self {
            CameraPhase::Of(phase) => phase.word(),
            CameraPhase::Absent => "absent",
        }
    }

    /// There is no picture, and not because nobody asked for one.
    pub(in crate::server) fn is_trouble(self) -> bool {
        matches!(
            self,
            CameraPhase::Of(state::Phase::Lost) | CameraPhase::Absent
        )
    }
}

/// A phase with its details.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::server) struct Finding {
    pub(in crate::server) phase: CameraPhase,
    /// By the wall clock. Unknown if nothing was ever observed of the camera.
    pub(in crate::server) since: Option<SystemTime>,
    pub(in crate::server) why: Option<String>,
}

/// The condition of one camera.
#[derive(Debug)]
pub(in crate::server) struct Condition {
    told: Option<State>,
    links: Links,
    holder: Holder,
    /// A lock that nobody holds says nothing: the producer may be elsewhere.
    is_remote: bool,
    /// What to say if there is no producer.
    absence: &'static str,
    /// How many frames have arrived since `told` was read.
    arrivals: u64,
    rate: Rate,
    first_arrival: Option<Instant>,
    last_arrival: Option<Instant>,
    /// What was known before the arrivals since the last look, in case the next one finds no frame.
    before: Option<Before>,
    asked: Option<Asking>,
    /// When the producer was last seen to report that the camera is live now.
    live_from: Option<Instant>,
    defect: Option<Unusable>,
    absent_since: Option<SystemTime>,
    /// The directory in which frames arrived is not there any more.
    gone: bool,
    /// How many files were not frames.
    broken: u64,
}

/// What an arrival changes.
#[derive(Clone, Copy, Debug)]
struct Before {
    arrivals: u64,
    last_arrival: Option<Instant>,
    asked: Option<Asking>,
}

/// What makes files unusable, from the first such file to the next usable frame.
#[derive(Clone, Debug)]
struct Unusable {
    why: String,
    first: Instant,
    /// The same as `first` by the wall clock.
    since: SystemTime,
}

/// The requests for a frame since the last one arrived.
#[derive(Clone, Copy, Debug)]
struct Asking {
    first: Instant,
    /// The same as `first` by the wall clock. It is read only once, so that every report of it says the same.
    since: SystemTime,
    last: Instant,
}

impl Condition {
    pub(in crate::server) fn of(dir: &Path, links: Links, now: Instant) -> Self {
        Condition {
            told: State::read(dir, links),
            links,
            holder: Holder::default(),
            is_remote: false,
            absence: ABSENT,
            arrivals: 0,
            rate: Rate::new(now),
            first_arrival: None,
            last_arrival: None,
            before: None,
            asked: None,
            live_from: None,
            defect: None,
            absent_since: None,
            gone: false,
            broken: 0,
        }
    }

    /// Takes into account what the directory lies on: the producer may be where its lock is not seen.
    pub(in crate::server) fn lies_on(&mut self, on: FilesystemKind) {
        self.is_remote = matches!(on, FilesystemKind::Silent(_) | FilesystemKind::Overlay);
        self.absence = match on {
            FilesystemKind::Overlay => ABSENT_OR_BELOW,
            _ => ABSENT,
        };
    }

    /// What the producer reported at its last change of state.
    pub(in crate::server) fn told(&self) -> Option<&State> {
        self.told.as_ref()
    }

    /// The producer reported a new state, or there may be another producer now.
    pub(in crate::server) fn read(&mut self, dir: &Path, now: Instant) {
        let phase = |told: &Option<State>| told.as_ref().map(|told| told.phase);
        let before = phase(&self.told);
        self.told = State::read(dir, self.links);
        self.arrivals = 0;
        self.before = None;
        // If only the counters are new, the defect is as it was.
        let after = phase(&self.told);
        if after != before {
            self.defect = None;
            self.live_from = (after == Some(state::Phase::Live)).then_some(now);
        }
    }

    /// The directory is no longer at its path.
    pub(in crate::server) fn gone(&mut self) {
        self.told = None;
        self.gone = true;
        self.defect = None;
        self.holder.forget();
    }

    /// A file was renamed into place.
    ///
    /// Returns how long it took if the camera was asked for it while it was running.
    pub(in crate::server) fn arrived(&mut self, now: Instant) -> Option<Duration> {
        let running = |asked: &Asking| {
            let last = self.last_arrival;
            last.is_some_and(|last| asked.first.saturating_duration_since(last) <= QUIET)
        };
        let asked = self.asked.filter(running);
        let took = asked.map(|asked| now.saturating_duration_since(asked.first));
        let gap = self.last_arrival.is_none_or(|last| now - last > QUIET);
        if gap {
            self.first_arrival = Some(now);
        }
        // Of several that nobody looked at, all are what the last one is found to be.
        let last_arrival = self.last_arrival.replace(now);
        self.before.get_or_insert(Before {
            arrivals: self.arrivals,
            last_arrival,
            asked: self.asked,
        });
        self.gone = false;
        // A producer that reports its state reports that it is live before its first frame. Anything earlier is the
        // empty file.
        let told = self.told.as_ref();
        if told.is_none_or(|told| told.phase == state::Phase::Live) {
            self.rate.add(1, now);
            if self.defect.is_none() {
                self.asked = None;
                self.arrivals += 1;
            }
        }
        took
    }

    /// There is no frame but the empty file, which may have come with its directory, before there were arrivals to tell.
    pub(in crate::server) fn was_empty(&mut self) {
        let before = self.take_back();
        self.last_arrival = before.and_then(|before| before.last_arrival);
    }

    /// The last arrival does not count, and requests before it were not answered by it.
    fn take_back(&mut self) -> Option<Before> {
        let before = self.before.take()?;
        self.arrivals = before.arrivals;
        self.asked = before.asked.or(self.asked);
        Some(before)
    }

    /// A usable frame was opened.
    pub(in crate::server) fn was_usable(&mut self) {
        let has_arrived = self.before.take().is_some();
        if self.defect.take().is_some() && has_arrived {
            self.arrivals += 1;
        }
    }

    /// There is a file, and it is not usable for this reason.
    pub(in crate::server) fn is_unusable(&mut self, why: String, clocks: Clocks) {
        let (first, since) = match &self.defect {
            Some(defect) => (defect.first, defect.since),
            None => (clocks.now, clocks.wall),
        };
        self.defect = Some(Unusable { why, first, since });
    }

    /// A frame is asked for.
    pub(in crate::server) fn asked(&mut self, clocks: Clocks) {
        let asked = self.asked.get_or_insert(Asking {
            first: clocks.now,
            since: clocks.wall,
            last: clocks.now,
        });
        asked.last = clocks.now;
    }

    /// Since when it has been asked without delivering anything.
    pub(in crate::server) fn asked_since(&self) -> Option<Instant> {
        self.asked.map(|asked| asked.first)
    }

    /// The last arrival was neither the empty file nor a usable frame, for this reason. It was a `broken` frame if
    /// it could be read.
    pub(in crate::server) fn was_unusable(&mut self, why: String, broken: bool, clocks: Clocks) {
        // Without an arrival, it is the same file again.
        if self.take_back().is_some() && broken {
            self.broken += 1;
        }
        self.is_unusable(why, clocks);
    }

    /// How many frames were broken, as counted by the producer and as found here.
    pub(in crate::server) fn broken(&self) -> u64 {
        let told = self.told.as_ref().map_or(0, |told| told.broken);
        told.saturating_add(self.broken)
    }

    /// How many frames the producer has published, as far as is known here.
    pub(in crate::server) fn published(&self) -> u64 {
        let told = self.told.as_ref().map_or(0, |told| told.published);
        // Saturating, because anybody may have written this number.
        told.saturating_add(self.arrivals)
    }

    /// How many frames arrive per second.
    pub(in crate::server) fn fps(&self, now: Instant) -> f64 {
        self.rate.at(now)
    }

    /// When the producer was last seen to report that the camera is live now, if it is.
    pub(in crate::server) fn live_from(&self) -> Option<Instant> {
        self.live_from
    }

    /// Whether the producer reports that the camera is lost.
    pub(in crate::server) fn is_lost(&self) -> bool {
        let told = self.told.as_ref();
        told.is_some_and(|told| told.phase == state::Phase::Lost)
    }

    /// What to say about a camera that has given no frame in time.
    pub(in crate::server) fn silence(finding: &Finding) -> String {
        let why = match finding.phase {
            CameraPhase::Of(state::Phase::Live) => "no new picture has come in time",
            CameraPhase::Of(state::Phase::Off | state::Phase::Starting) => {
                "the camera has not started in time"
            }
            phase => phase.word(),
        };
        finding.why.clone().unwrap_or_else(|| why.into())
    }

    /// The finding for a camera that has been asked and has delivered nothing for longer than cameras take to start.
    pub(in crate::server) fn mute(&self, finding: Finding, now: Instant) -> Option<Finding> {
        let asked = self.asked.filter(|asked| now - asked.first >= QUIET)?;
        Some(Finding {
            since: Some(asked.since),
            why: Some("asked for a picture, and none has come".into()),
            ..finding
        })
    }

    /// Examines everything that there is to examine.
    pub(in crate::server) fn find(&mut self, dir: &Path, clocks: Clocks) -> Finding {
        if self.told.is_some() && !State::is_current(dir) {
            self.told = None;
        }
        let held = self.holder.is_there(dir, self.links);
        let there = match held.filter(|held| *held || !self.is_remote) {
            Some(there) => there,
            // A producer that does not lock is detected only by what it puts in place.
            None => self.is_live(clocks.now) || self.defect.is_some(),
        };
        if !there {
            let seen = self.last_arrival.map(|at| clocks.wall_at(at));
            let since = self.absent_since.get_or_insert(seen.unwrap_or(clocks.wall));
            return Finding {
                phase: CameraPhase::Absent,
                since: Some(*since),
                why: Some(self.absence.into()),
            };
        }
        self.absent_since = None;
        if let (Some(found), false) = (self.defective(clocks.now), self.is_lost()) {
            return found;
        }
        match &self.told {
            Some(told) => Finding {
                phase: CameraPhase::Of(told.phase),
                since: Some(told.since),
                why: told.why.as_deref().map(public),
            },
            None => self.guess(clocks),
        }
    }

    /// The finding for a camera of which no file has been usable for as long as cameras take to start.
    fn defective(&self, now: Instant) -> Option<Finding> {
        let defect = self.defect.as_ref()?;
        let (first, since) = match self.asked {
            Some(asked) if asked.first < defect.first => (asked.first, asked.since),
            _ => (defect.first, defect.since),
        };
        (now.saturating_duration_since(first) >= QUIET).then(|| Finding {
            phase: CameraPhase::Of(state::Phase::Lost),
            since: Some(since),
            why: Some(defect.why.clone()),
        })
    }

    /// The phase inferred for a producer that reports nothing.
    fn guess(&self, clocks: Clocks) -> Finding {
        let now = clocks.now;
        let seen = |at: Option<Instant>| at.map(|at| clocks.wall_at(at));
        let asked = self.asked.filter(|asked| now - asked.last <= START_LIMIT);
        let (phase, since) = match asked {
            _ if self.is_live(now) && self.defect.is_none() => {
                (state::Phase::Live, seen(self.first_arrival))
            }
            Some(asked) => (state::Phase::Starting, Some(asked.since)),
            None => (state::Phase::Off, seen(self.last_arrival)),
        };
        Finding {
            phase: CameraPhase::Of(phase),
            since,
            why: None,
        }
    }

    fn is_live(&self, now: Instant) -> bool {
        let recent = |last: Instant| now - last <= QUIET;
        !self.gone && self.last_arrival.is_some_and(recent)
    }
}

#[cfg(test)]
mod tests;
