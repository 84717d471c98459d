//! What is known of a camera beside its frames: what its producer says, whether there is one, and what has been seen.
//!
//! The word of the producer is taken if it gives one (`frames/state.rs`) and is there. Without, what was seen has to do:
//! frames that come, or a request that nothing has come after. Whether a producer is there is looked at only when
//! somebody asks for the state or waits in vain, because nothing tells it by itself.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use super::figures::Rate;
use crate::frames::frame::Links;
use crate::frames::state::{self, Holder, State};

/// Without word of the producer, a camera of which no frame has come for so long is not live.
const QUIET: Duration = Duration::from_secs(5);

/// And one that was asked so long ago, and gave nothing, is not starting.
const START_LIMIT: Duration = Duration::from_secs(10);

/// What a camera does, as told to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// What its producer says.
    Of(state::Phase),
    /// It has no producer.
    Absent,
}

impl Phase {
    /// As it is written.
    pub(super) fn word(self) -> &'static str {
        match self {
            Phase::Of(phase) => phase.word(),
            Phase::Absent => "absent",
        }
    }

    /// No picture is to be had, and not because nobody asked.
    pub(super) fn is_trouble(self) -> bool {
        matches!(self, Phase::Of(state::Phase::Lost) | Phase::Absent)
    }
}

/// A phase, and what there is to say of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Finding {
    pub(super) phase: Phase,
    /// By the wall clock; not known of a camera that nothing was seen of.
    pub(super) since: Option<SystemTime>,
    pub(super) why: Option<String>,
}

/// One camera's.
#[derive(Debug)]
pub(super) struct Condition {
    told: Option<State>,
    links: Links,
    holder: Holder,
    /// Frames that arrived since `told` was read.
    arrivals: u64,
    rate: Rate,
    first_arrival: Option<Instant>,
    last_arrival: Option<Instant>,
    /// The one before, should the last turn out to be none.
    before: Option<Instant>,
    asked: Option<Asked>,
    absent_since: Option<SystemTime>,
    /// The directory that frames came into is not there any more.
    gone: bool,
    /// Files that were no frame.
    broken: u64,
}

/// The asking since the last frame.
#[derive(Clone, Copy, Debug)]
struct Asked {
    first: Instant,
    /// The same by the wall clock, read once: what is told of it twice is the same.
    since: SystemTime,
    last: Instant,
}

impl Condition {
    pub(super) fn of(dir: &Path, links: Links, now: Instant) -> Self {
        Condition {
            told: State::read(dir, links),
            links,
            holder: Holder::default(),
            arrivals: 0,
            rate: Rate::new(now),
            first_arrival: None,
            last_arrival: None,
            before: None,
            asked: None,
            absent_since: None,
            gone: false,
            broken: 0,
        }
    }

    /// The producer's word, as of its last change.
    pub(super) fn told(&self) -> Option<&State> {
        self.told.as_ref()
    }

    /// The producer says something new, or somebody else may be the producer.
    pub(super) fn read(&mut self, dir: &Path) {
        self.told = State::read(dir, self.links);
        self.arrivals = 0;
    }

    /// The directory is not at its path any more.
    pub(super) fn gone(&mut self) {
        self.told = None;
        self.gone = true;
        self.holder.forget();
    }

    /// A file was renamed into place.
    pub(super) fn arrived(&mut self, now: Instant) {
        let gap = self.last_arrival.is_none_or(|last| now - last > QUIET);
        if gap {
            self.first_arrival = Some(now);
        }
        self.before = self.last_arrival.replace(now);
        self.gone = false;
        // A producer that says what its camera does says that it is live before the first frame: what comes before is the empty file.
        let told = self.told.as_ref();
        if told.is_none_or(|told| told.phase == state::Phase::Live) {
            self.asked = None;
            self.arrivals += 1;
            self.rate.add(1, now);
        }
    }

    /// What arrived last was no frame but the empty file.
    pub(super) fn was_empty(&mut self) {
        self.arrivals = self.arrivals.saturating_sub(1);
        self.last_arrival = self.before;
    }

    /// A frame was asked for.
    pub(super) fn asked(&mut self, now: Instant) {
        let asked = self.asked.get_or_insert_with(|| Asked {
            first: now,
            since: SystemTime::now(),
            last: now,
        });
        asked.last = now;
    }

    /// Since when it is asked and has given nothing.
    pub(super) fn asked_since(&self) -> Option<Instant> {
        self.asked.map(|asked| asked.first)
    }

    /// What arrived last was no frame and no empty file either.
    pub(super) fn was_broken(&mut self) {
        self.broken += 1;
    }

    /// Frames that were none, as the producer counts them and as they were found here.
    pub(super) fn broken(&self) -> u64 {
        let told = self.told.as_ref().map_or(0, |told| told.broken);
        told.saturating_add(self.broken)
    }

    /// Frames put in place by the producer, as far as anybody here knows.
    pub(super) fn published(&self) -> u64 {
        let told = self.told.as_ref().map_or(0, |told| told.published);
        // Anybody may have written that.
        told.saturating_add(self.arrivals)
    }

    /// Frames that arrive per second.
    pub(super) fn fps(&self, now: Instant) -> f64 {
        self.rate.at(now)
    }

    /// The producer says that the camera is lost.
    pub(super) fn is_lost(&self) -> bool {
        let told = self.told.as_ref();
        told.is_some_and(|told| told.phase == state::Phase::Lost)
    }

    /// What is found of a camera that was asked and has given nothing since, for longer than cameras take to start.
    pub(super) fn mute(&self, finding: Finding, now: Instant) -> Option<Finding> {
        let asked = self.asked.filter(|asked| now - asked.first >= QUIET)?;
        Some(Finding {
            since: Some(asked.since),
            why: Some("asked for a picture, and none has come".into()),
            ..finding
        })
    }

    /// Looks at everything there is to look at.
    pub(super) fn find(&mut self, dir: &Path, now: Instant) -> Finding {
        if self.told.is_some() && !State::is_current(dir) {
            self.told = None;
        }
        let there = match self.holder.is_there(dir, self.links) {
            Some(there) => there,
            // A producer that does not lock shows by its frames alone.
            None => self.is_live(now),
        };
        if !there {
            let seen = self.last_arrival.map(|at| wall(at, now));
            let since = self
                .absent_since
                .get_or_insert_with(|| seen.unwrap_or_else(SystemTime::now));
            return Finding {
                phase: Phase::Absent,
                since: Some(*since),
                why: Some("no program captures into its directory".into()),
            };
        }
        self.absent_since = None;
        match &self.told {
            Some(told) => Finding {
                phase: Phase::Of(told.phase),
                since: Some(told.since),
                why: told.why.clone(),
            },
            None => self.guess(now),
        }
    }

    /// What is seen of a producer that says nothing.
    fn guess(&self, now: Instant) -> Finding {
        let seen = |at: Option<Instant>| at.map(|at| wall(at, now));
        let asked = self.asked.filter(|asked| now - asked.last <= START_LIMIT);
        let (phase, since) = match asked {
            _ if self.is_live(now) => (state::Phase::Live, seen(self.first_arrival)),
            Some(asked) => (state::Phase::Starting, Some(asked.since)),
            None => (state::Phase::Off, seen(self.last_arrival)),
        };
        Finding {
            phase: Phase::Of(phase),
            since,
            why: None,
        }
    }

    fn is_live(&self, now: Instant) -> bool {
        let recent = |last: Instant| now - last <= QUIET;
        !self.gone && self.last_arrival.is_some_and(recent)
    }
}

/// The wall clock's time of a moment that has passed.
fn wall(at: Instant, now: Instant) -> SystemTime {
    let wall = SystemTime::now();
    wall.checked_sub(now.saturating_duration_since(at))
        .unwrap_or(wall)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(condition: &mut Condition, at: Instant) -> Phase {
        // No directory, no lock: what is seen decides alone.
        condition.find(Path::new("/nonexistent"), at).phase
    }

    #[test]
    fn a_producer_that_says_nothing_shows_by_its_frames() {
        let start = Instant::now();
        let mut condition = Condition::of(Path::new("/nonexistent"), Links::Follow, start);
        assert_eq!(phase(&mut condition, start), Phase::Absent);
        condition.arrived(start);
        assert_eq!(phase(&mut condition, start), Phase::Of(state::Phase::Live));
        let later = start + QUIET + Duration::from_millis(1);
        assert_eq!(phase(&mut condition, later), Phase::Absent);
        assert_eq!(condition.published(), 1);
        assert_eq!(condition.guess(later).phase, Phase::Of(state::Phase::Off));
        condition.asked(later);
        assert_eq!(
            condition.guess(later).phase,
            Phase::Of(state::Phase::Starting)
        );
        let tired = later + START_LIMIT + Duration::from_millis(1);
        assert_eq!(condition.guess(tired).phase, Phase::Of(state::Phase::Off));
    }

    #[test]
    fn a_camera_whose_directory_is_gone_is_absent_at_once() {
        let start = Instant::now();
        let mut condition = Condition::of(Path::new("/nonexistent"), Links::Follow, start);
        condition.arrived(start);
        condition.gone();
        assert_eq!(phase(&mut condition, start), Phase::Absent);
        condition.arrived(start);
        assert_eq!(phase(&mut condition, start), Phase::Of(state::Phase::Live));
    }

    #[test]
    fn a_camera_that_gives_nothing_is_found_so_in_the_same_words_each_time() {
        let start = Instant::now();
        let mut condition = Condition::of(Path::new("/nonexistent"), Links::Follow, start);
        condition.asked(start);
        let mut mute = |at: Instant| {
            condition.asked(at);
            condition.mute(condition.guess(at), at)
        };
        assert_eq!(mute(start + QUIET - Duration::from_millis(1)), None);
        let first = mute(start + QUIET);
        assert!(first.as_ref().is_some_and(|one| one.since.is_some()));
        assert_eq!(mute(start + QUIET * 2), first);
    }

    #[test]
    fn the_empty_file_is_no_frame() {
        let start = Instant::now();
        let mut condition = Condition::of(Path::new("/nonexistent"), Links::Follow, start);
        condition.arrived(start);
        condition.was_empty();
        assert_eq!(condition.published(), 0);
        assert_eq!(phase(&mut condition, start), Phase::Absent);
    }
}
