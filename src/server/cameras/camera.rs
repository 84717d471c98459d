//! A camera as its viewers see it: the newest frame, how fresh it is, and how often frames come.
//!
//! A frame is opened once, when the first viewer can take it, and is then shared. Opening it also asks the producer
//! for the next one. A frame that nobody can take is never opened, so that the producer may stop.
//!
//! Freshness is counted from the *arrival* of a frame by the monotonic clock, because its modification time comes
//! from a wall clock, which can jump. A frame that was there before anybody watched has no time of arrival, and is
//! not fresh.

pub mod choice;

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use log::warn;

use crate::frames::CURRENT;
use crate::frames::copy::FrameCopy;
use crate::frames::filesystem::{self, FilesystemKind};
use crate::frames::frame::{self, FileId, Frame, Links, NoFrame};
use crate::frames::name::Name;
use crate::logging::Brake;
use crate::picture::jpeg::Size;
use crate::server::cameras::condition::{Condition, Finding};
use crate::server::cameras::intervals::Intervals;
use crate::server::cameras::looking::Looking;
use crate::server::cameras::notice::Notices;
use crate::server::cameras::patience::Patience;
use crate::server::shot::Shot;
use crate::server::stats::Stats;
use crate::time::clock::Clocks;

/// If a request for a frame brought nothing, it is repeated after this long while somebody waits. The producer may
/// have been restarted meanwhile.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// If a frame that has just arrived seems to be older than this, its time of capture is wrong.
const LONGEST_WAY: Duration = Duration::from_secs(60);

/// A frame may be put in place while a turn of the loop runs, and is then younger than the turn's time. No turn takes longer
/// than this, unless the whole machine stands still.
const LONGEST_TURN: Duration = Duration::from_secs(1);

/// Clients are told times of this precision.
const MICROSECOND: Duration = Duration::from_micros(1);

/// One frame directory.
#[derive(Debug)]
pub struct Camera {
    name: Name,
    dir: PathBuf,
    links: Links,
    /// The directory is watched. Before that, a request would be in vain, as the frame that it brings would not be
    /// noticed.
    watched: bool,
    /// Counts arrivals. A shot has the number of the arrival for which it was opened.
    number: u64,
    arrived: Option<Instant>,
    /// What was found when the newest arrival was opened.
    opened: Option<Option<Shot<Frame>>>,
    /// The last file that was opened, with its number. The event of a frame may come after the frame was already
    /// opened.
    last: Option<Last>,
    /// Set where not every new frame causes an event.
    looking: Option<Looking>,
    /// What kind of file system the directory is on, as far as that was found out.
    on: Option<FilesystemKind>,
    asked: Option<Instant>,
    intervals: Intervals,
    patience: Patience,
    complaint: Brake,
    condition: Condition,
    notices: Notices,
    /// The number at the time of the camera's last loss. A viewer that has had something since then has been told of
    /// the loss.
    lost_at: u64,
    seen: Option<LastOpened>,
    /// The last frame that was opened. It stays open, so that it can be shown again without a request for another,
    /// which opening `current.jpg` is.
    last_taken: Option<Shot<Frame>>,
}

/// What opening a frame takes: where failures are counted, and where a copy goes.
#[derive(Debug)]
pub struct Opening<'a> {
    /// What is counted.
    pub stats: &'a mut Stats,
    /// Where frames go that are read as a whole.
    pub copy: &'a mut FrameCopy,
}

/// What is remembered of a file that was opened.
#[derive(Clone, Copy, Debug)]
struct Last {
    id: FileId,
    number: u64,
    /// The time of capture that its producer gave, and the one that is believed.
    stamp: SystemTime,
    captured: SystemTime,
}

/// The last frame that was opened, for reports about it.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct LastOpened {
    /// The moment of capture on the monotonic clock.
    pub(in crate::server) taken: Instant,
    /// The same by the wall clock.
    pub(in crate::server) captured: SystemTime,
    pub(in crate::server) len: u64,
    pub(in crate::server) picture: Size,
}

impl Camera {
    /// A camera with this directory, in which only the state has been read so far. If the directory is not `watched`
    /// yet, [`Camera::returned`] has to be called when it is.
    pub fn new(name: Name, dir: PathBuf, links: Links, watched: bool, now: Instant) -> Self {
        let mut camera = Camera {
            condition: Condition::of(&dir, links, now),
            notices: Notices::new(),
            lost_at: 0,
            seen: None,
            last_taken: None,
            name,
            dir,
            links,
            watched,
            number: 0,
            arrived: None,
            opened: None,
            last: None,
            asked: None,
            intervals: Intervals::new(),
            patience: Patience::default(),
            complaint: Brake::new(Duration::from_secs(10)),
            looking: None,
            on: None,
        };
        if watched {
            camera.see_where_it_lies();
        }
        camera
    }

    /// Finds out what the directory's file system means for it, and says so.
    fn see_where_it_lies(&mut self) {
        let on = filesystem::kind(&self.dir);
        let is_silent = matches!(on, FilesystemKind::Silent(_));
        self.looking = is_silent.then(Looking::default);
        self.condition.lies_on(on);
        if self.on.replace(on) == Some(on) {
            return;
        }
        let dir = self.dir.display();
        match on {
            FilesystemKind::Silent(name) => warn!(
                "{dir} is on {name}, which does not report what is changed elsewhere: looking for new frames five \
                 times a second while somebody waits"
            ),
            FilesystemKind::Disk(name) => warn!(
                "{dir} is on {name}: each frame is written to the disk, which wears out an SD card; \
                 use a directory in memory"
            ),
            FilesystemKind::Overlay => warn!(
                "{dir} is on overlay: what is put there from outside, below the overlay, is never seen; \
                 let both sides use the same mount, such as a volume or a tmpfs"
            ),
            FilesystemKind::Usual => {}
        }
    }

    /// Looks for changes where they cause no events. Returns when to look again.
    fn look(&mut self, now: Instant) -> Option<Instant> {
        let looking = self.looking.as_mut().filter(|_| self.watched)?;
        let changed = looking.look(&self.dir, now);
        let next = looking.next();
        if changed.state {
            self.state_changed(now);
        }
        if changed.frame && !self.last.is_some_and(|last| self.is_in_place(last)) {
            self.frame_arrived(now);
        }
        next
    }

    /// Whether the file that readers would open is this one.
    fn is_in_place(&self, last: Last) -> bool {
        frame::id_of(&self.dir, CURRENT) == Some(last.id)
    }

    pub(in crate::server) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The name by which clients call it.
    pub(in crate::server) fn name(&self) -> String {
        self.name.to_string()
    }

    /// A frame was renamed into place.
    pub fn frame_arrived(&mut self, now: Instant) {
        if let (Some(before), Some(asked)) = (self.arrived, self.asked) {
            self.intervals.learn(before, asked, now);
        }
        self.look_again();
        if self.condition.is_lost() {
            // A producer reports that it is live before it publishes a frame. So this frame is from before the loss,
            // whose report was read first.
            self.lost_at = self.number;
        } else {
            self.arrived = Some(now);
        }
        if let Some(took) = self.condition.arrived(now) {
            self.patience.learn(took);
        }
    }

    /// The file that readers open was written to, instead of being replaced.
    pub fn written_in_place(&mut self, clocks: Clocks) {
        // An empty one means that there is no frame yet, however it came there.
        if !frame::is_empty(&self.dir) {
            let problem = NoFrame::InPlace;
            self.condition.is_unusable(problem.to_string(), clocks);
            self.complain(&problem, clocks.now);
        }
    }

    /// The producer reported a new state.
    pub fn state_changed(&mut self, now: Instant) {
        self.condition.read(&self.dir, now);
        if self.condition.is_lost() {
            // Any frame that is there is from before the loss.
            self.look_again();
            self.lost_at = self.number;
        }
    }

    /// The directory exists and is watched, possibly in place of an earlier one.
    pub fn returned(&mut self, now: Instant) {
        self.watched = true;
        self.see_where_it_lies();
        self.condition.read(&self.dir, now);
        self.look_again();
        self.lost_at = self.number;
    }

    /// The directory has gone.
    pub fn gone(&mut self) {
        self.watched = false;
        self.condition.gone();
        self.look_again();
        self.last_taken = None;
    }

    /// What the camera is doing, as far as can be found out now without waking it.
    pub(in crate::server) fn find(&mut self, clocks: Clocks) -> Finding {
        self.condition.find(&self.dir, clocks)
    }

    /// What else is known about it.
    pub(in crate::server) fn condition(&self) -> &Condition {
        &self.condition
    }

    /// The last frame that was opened here.
    pub(in crate::server) fn seen(&self) -> Option<LastOpened> {
        self.seen
    }

    /// The directory is a new one, or events were lost, so nothing is known about its contents.
    pub(in crate::server) fn look_again(&mut self) {
        self.number += 1;
        self.arrived = None;
        self.opened = None;
        self.asked = None;
    }

    /// Whether the newest frame was opened.
    pub(in crate::server) fn has_opened(&self) -> bool {
        self.opened.is_some()
    }

    /// Whether somebody has asked for the frame after the newest one.
    pub(in crate::server) fn was_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// The newest frame, which is opened if it was not yet.
    fn open(&mut self, clocks: Clocks, opening: &mut Opening<'_>) -> Option<Shot<Frame>> {
        if let Some(opened) = &self.opened {
            return opened.clone();
        }
        self.asked.get_or_insert(clocks.now);
        self.condition.asked(clocks);
        let shot = match Frame::open_into(&self.dir, self.links, opening.copy) {
            Ok(frame) => {
                self.condition.was_usable();
                Some(self.shot(frame, clocks))
            }
            Err(NoFrame::NotYet) => {
                self.condition.was_empty();
                None
            }
            Err(problem) => {
                let unreadable = matches!(problem, NoFrame::Io(_));
                let stats = &mut opening.stats;
                stats.unreadable_frames += u64::from(unreadable);
                stats.broken_frames += u64::from(!unreadable);
                self.condition
                    .was_unusable(problem.to_string(), !unreadable, clocks);
                self.complain(&problem, clocks.now);
                None
            }
        };
        self.opened = Some(shot.clone());
        shot
    }

    fn shot(&mut self, frame: Frame, clocks: Clocks) -> Shot<Frame> {
        let last = match self.last {
            Some(last) if last.id == frame.id() => last,
            before => Last {
                id: frame.id(),
                number: self.number,
                stamp: frame.captured(),
                captured: believed(frame.captured(), before, self.arrived, clocks),
            },
        };
        self.last = Some(last);
        let Last {
            number, captured, ..
        } = last;
        let taken = taken(captured, self.arrived, clocks);
        let (len, picture) = (frame.len(), frame.size());
        self.notices.clear();
        self.seen = Some(LastOpened {
            taken,
            captured,
            len,
            picture,
        });
        let shot = Shot {
            len,
            captured,
            taken,
            picture,
            number,
            file: Rc::new(frame),
        };
        self.last_taken = Some(shot.clone());
        shot
    }

    /// Asks the producer for a frame, unless it was already asked since the last one came. A directory that is not
    /// watched yet is asked as soon as it is, because waiting clients are served again then.
    fn ask(&mut self, clocks: Clocks) {
        let now = clocks.now;
        if !self.watched || self.asked.is_some_and(|asked| now - asked < ASK_AGAIN) {
            return;
        }
        self.asked = Some(now);
        self.condition.asked(clocks);
        // If asking fails, this is the reason why no frame comes. A directory that does not exist yet is noticed when
        // it appears, and asked then.
        match frame::ask_with(&self.dir, self.links) {
            Ok(()) | Err(NoFrame::NotYet) => {}
            Err(problem) => {
                self.condition.is_unusable(problem.to_string(), clocks);
                self.complain(&problem, now);
            }
        }
    }

    fn complain(&mut self, problem: &NoFrame, now: Instant) {
        if let Some(more) = self.complaint.pass(now) {
            warn!("{}: {problem} ({more} more like it)", self.dir.display());
        }
    }
}

/// The time of capture by the wall clock: what the producer gave, unless that cannot be. A stamp that stands still
/// belongs to a copy or to a driver without a clock, and one that is far from now to a file that was made long ago. If
/// the frame was seen to arrive, it is from then. So every frame has a time of its own, by which clients tell it from
/// the one before (`after=`).
fn believed(
    stamp: SystemTime,
    before: Option<Last>,
    arrived: Option<Instant>,
    clocks: Clocks,
) -> SystemTime {
    let apart = clocks
        .wall
        .duration_since(stamp)
        .unwrap_or_else(|ahead| ahead.duration());
    let stands_still = before.is_some_and(|before| before.stamp == stamp);
    match arrived {
        Some(arrived) if stands_still || apart > LONGEST_WAY => {
            let seen = clocks.wall_at(arrived);
            let same = before.filter(|before| {
                let later = before.captured.duration_since(seen);
                later.is_ok_and(|later| later < LONGEST_TURN)
            });
            // Two frames of one turn have arrived at the same time.
            same.map_or(seen, |before| before.captured + MICROSECOND)
        }
        _ => stamp,
    }
}

/// How old what was captured then is, unless that is a time to come by more than a turn may take.
fn age_of(captured: SystemTime, clocks: Clocks) -> Option<Duration> {
    match clocks.wall.duration_since(captured) {
        Ok(age) => Some(age),
        Err(ahead) => (ahead.duration() < LONGEST_TURN).then_some(Duration::ZERO),
    }
}

/// The moment of capture on the monotonic clock, from which ages are computed. The producer gave it by the wall
/// clock, which decides about the age only once, when the frame is opened. So later changes of the wall clock have no
/// effect.
fn taken(captured: SystemTime, arrived: Option<Instant>, clocks: Clocks) -> Instant {
    let age = age_of(captured, clocks);
    let age = age.filter(|age| arrived.is_none() || *age <= LONGEST_WAY);
    let taken = age.and_then(|age| clocks.now.checked_sub(age));
    taken.unwrap_or_else(|| arrived.unwrap_or(clocks.now))
}

#[cfg(test)]
mod tests;
