//! A camera as its viewers see it: the newest frame, how fresh that is, how often frames come.
//!
//! A frame is opened when the first viewer can take it, once, and shared; opening it also asks the producer for the
//! next one. What nobody can take is never opened, so that the producer may stop.
//!
//! Freshness is counted from the *arrival* of a frame by the monotonic clock: its modification time comes from a
//! wall clock that jumps. A frame that was there before anybody watched has no arrival and is not fresh.

use std::path::{Path as DirPath, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use log::warn;

use super::condition::{Condition, Finding};
use super::connection::Want;
use super::intervals::Intervals;
use super::lost::Notices;
use super::outbox::Shot;
use super::pacing::{self, Newest, Path, Turn};
use super::response::unix_time;
use super::route::Terms;
use super::stats::Stats;
use crate::frames::frame::{self, FileId, Frame, Links, NoFrame};
use crate::frames::jpeg::Picture;
use crate::frames::name::Name;
use crate::logging::Brake;

/// The interval of a camera of which nothing is known yet.
const ASSUMED_INTERVAL: Duration = Duration::from_millis(33);

/// A frame is fresh for this part of an interval beyond one: cameras are not punctual.
const FRESHNESS_SLACK: u32 = 4;

/// An ask that brought nothing is repeated when somebody waits after so long: the producer may have been started
/// anew since.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// A camera that was asked, and may have to start for it, has so long to give a fresh frame before an old one is given as a sign of
/// life. A viewer then waits 7 s at the most, and no client gives up before 10.
const FRESH_LIMIT: Duration = Duration::from_secs(2);

/// A frame that has just arrived and seems to be older than this was not captured when it says.
const LONGEST_WAY: Duration = Duration::from_secs(60);

/// What the server decided for a waiting viewer.
#[derive(Debug)]
pub enum Choice {
    /// This frame, now.
    Give(Shot<Frame>),
    /// This picture, which says why there is no frame.
    Notice(Shot<Frame>),
    /// No frame now; look again at this time if none has arrived before.
    Later(Option<Instant>),
}

/// One frame directory.
#[derive(Debug)]
pub struct Camera {
    name: Name,
    dir: PathBuf,
    links: Links,
    /// The directory is watched. Before that a request would be lost: the frame that it brings would come unnoticed.
    watched: bool,
    /// Counts arrivals; a shot has the number of the arrival that it was opened for.
    number: u64,
    arrived: Option<Instant>,
    /// What was found when the newest arrival was opened.
    opened: Option<Option<Shot<Frame>>>,
    /// The last file that was opened, and its number: the event of a frame may come after a look at it.
    last: Option<(FileId, u64)>,
    asked: Option<Instant>,
    intervals: Intervals,
    complaint: Brake,
    condition: Condition,
    notices: Notices,
    /// The number at the camera's last loss: who has had something since then has been told.
    lost_at: u64,
    seen: Option<Seen>,
}

/// The last frame that was opened, for those who want to know and not to see.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// The moment of capture on the monotonic clock.
    pub(super) taken: Instant,
    /// The same by the wall clock.
    pub(super) captured: SystemTime,
    pub(super) len: u64,
    pub(super) picture: Picture,
}

impl Camera {
    /// Of this directory, in which nothing is looked for yet but its state. If it is not `watched` yet, [`Camera::returned`] tells
    /// when it is.
    pub fn new(name: Name, dir: PathBuf, links: Links, watched: bool) -> Self {
        Camera {
            condition: Condition::of(&dir, links, Instant::now()),
            notices: Notices::new(),
            lost_at: 0,
            seen: None,
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
            complaint: Brake::new(Duration::from_secs(10)),
        }
    }

    pub(super) fn dir(&self) -> &DirPath {
        &self.dir
    }

    /// What clients call it.
    pub(super) fn name(&self) -> String {
        self.name.to_string()
    }

    /// A frame was renamed into place.
    pub fn frame_arrived(&mut self, now: Instant) {
        if let (Some(before), Some(asked)) = (self.arrived, self.asked) {
            self.intervals.learn(before, asked, now);
        }
        self.look_again();
        if self.condition.is_lost() {
            // Its producer tells that it is live before a frame: this one is from before the loss, of which we read first.
            self.lost_at = self.number;
        } else {
            self.arrived = Some(now);
        }
        self.condition.arrived(now);
    }

    /// The producer says something new about itself.
    pub fn state_changed(&mut self) {
        self.condition.read(&self.dir);
        if self.condition.is_lost() {
            // What there is, is from before.
            self.look_again();
            self.lost_at = self.number;
        }
    }

    /// The directory has come and is watched, possibly in place of another one.
    pub fn returned(&mut self) {
        self.watched = true;
        self.condition.read(&self.dir);
        self.look_again();
        self.lost_at = self.number;
    }

    /// The directory has gone.
    pub fn gone(&mut self) {
        self.watched = false;
        self.condition.gone();
        self.look_again();
    }

    /// What the camera does, as far as can be found out now without waking it.
    pub(super) fn find(&mut self, now: Instant) -> Finding {
        self.condition.find(&self.dir, now)
    }

    /// What is known beside that.
    pub(super) fn condition(&self) -> &Condition {
        &self.condition
    }

    /// The last frame that somebody here took.
    pub(super) fn seen(&self) -> Option<Seen> {
        self.seen
    }

    /// The directory is a new one, or events were lost: nothing is known of what is in it.
    pub(super) fn look_again(&mut self) {
        self.number += 1;
        self.arrived = None;
        self.opened = None;
        self.asked = None;
    }

    /// Finds what `want` can have now. The path is measured only if there is something to decide.
    pub fn choose(
        &mut self,
        want: &Want,
        path: impl FnOnce() -> Path,
        now: Instant,
        stats: &mut Stats,
    ) -> Choice {
        let Want::Stream {
            have,
            not_before,
            repeat,
            picture,
            ..
        } = want
        else {
            return self.choose_frame(want, path, now, stats);
        };
        let Some(trouble) = self.trouble(*repeat, picture.is_some(), now) else {
            return self.choose_frame(want, path, now, stats);
        };
        if *repeat {
            // A lost camera is tried again while somebody asks.
            self.ask(now);
        }
        let choice = self.choose_frame(&want.without_repeat(), path, now, stats);
        let due = *repeat || (have.is_none_or(|have| have < self.lost_at) && *not_before <= now);
        match choice {
            Choice::Later(at) if due => match self.notice(trouble, *picture, now) {
                Ok(shot) => Choice::Notice(shot),
                Err(again) => Choice::Later(at.into_iter().chain(again).min()),
            },
            choice => choice,
        }
    }

    /// What is wrong with the camera, if anything is. A producer that says so is believed at once. For a viewer who has waited
    /// `in_vain` two more things are looked at: whether there is a producer; and, if the viewer has `had` no frame that could be
    /// repeated, whether the camera was asked for so long that it is mute.
    fn trouble(&mut self, in_vain: bool, had: bool, now: Instant) -> Option<Finding> {
        if !in_vain && !self.condition.is_lost() {
            return None;
        }
        let finding = self.find(now);
        if finding.phase.is_trouble() {
            return Some(finding);
        }
        if had {
            return None;
        }
        self.condition.mute(finding, now)
    }

    /// The picture that says so, or when it can be had. It has the number of the newest arrival, of which there is nothing else
    /// to see.
    fn notice(
        &mut self,
        trouble: Finding,
        size: Option<Picture>,
        now: Instant,
    ) -> Result<Shot<Frame>, Option<Instant>> {
        let told = self.condition.told().and_then(|told| told.size);
        let size = size.or(self.seen.map(|seen| seen.picture)).or(told);
        let shot = self.notices.get(&self.name(), trouble, size, now)?;
        Ok(Shot {
            number: self.number,
            ..shot
        })
    }

    fn choose_frame(
        &mut self,
        want: &Want,
        path: impl FnOnce() -> Path,
        now: Instant,
        stats: &mut Stats,
    ) -> Choice {
        match want {
            Want::Stream {
                have,
                not_before,
                repeat,
                ..
            } => {
                let has_newest = have.is_some_and(|have| have >= self.number);
                let on_its_way = self.was_asked() && has_newest;
                if on_its_way && !repeat {
                    return Choice::Later(None);
                }
                let line_free = now + path().drains_in();
                let choice = if on_its_way {
                    Choice::Later((line_free > now).then_some(line_free))
                } else {
                    self.next_for_stream(*have, line_free.max(*not_before), now, stats)
                };
                match (choice, have) {
                    (Choice::Later(at), Some(have)) if *repeat && line_free <= now => {
                        self.repeat(*have, at, now, stats)
                    }
                    (choice, _) => choice,
                }
            }
            Want::Snapshot { since, terms, .. } => self.snapshot(*since, terms, now, stats),
        }
    }

    /// Whether somebody opened the newest frame, so that another one follows.
    pub(super) fn was_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// Sees to it that there is a fresh frame for a viewer whose line is free at `free`. Tells when to see to it again.
    pub(super) fn prepare(&mut self, free: Instant, now: Instant) -> Option<Instant> {
        let newest = self.newest(None, now).map(|newest| Newest {
            usable: false,
            ..newest
        });
        match pacing::decide(now, free, self.interval(), newest) {
            Turn::Begin => None,
            Turn::Ask(again) => {
                self.ask(now);
                again
            }
            Turn::Wait(until) => Some(until),
        }
    }

    fn newest(&self, have: Option<u64>, now: Instant) -> Option<Newest> {
        self.arrived.map(|arrived| Newest {
            arrived,
            asked: self.was_asked(),
            usable: self.is_fresh(now) && have.is_none_or(|have| have < self.number),
        })
    }

    fn next_for_stream(
        &mut self,
        have: Option<u64>,
        free: Instant,
        now: Instant,
        stats: &mut Stats,
    ) -> Choice {
        let newest = self.newest(have, now);
        let turn = match (have, newest) {
            // Who has nothing yet wants something at once: no patience for a fresher one.
            (None, Some(newest)) if newest.usable => Turn::Begin,
            _ => pacing::decide(now, free, self.interval(), newest),
        };
        match turn {
            Turn::Begin => match self.open(now, stats) {
                // The number tells a file that was already seen under an earlier arrival.
                Some(shot) if have.is_none_or(|have| have < shot.number) => Choice::Give(shot),
                _ => Choice::Later(None),
            },
            Turn::Ask(again) => {
                self.ask(now);
                Choice::Later(again)
            }
            Turn::Wait(until) => Choice::Later(Some(until)),
        }
    }

    /// The newest there is, however old: a sign of life for clients that would give up. Only if the camera gives nothing: when
    /// something came since the viewer's last frame, it is asked and given time to give a fresh one.
    fn repeat(
        &mut self,
        have: u64,
        later: Option<Instant>,
        now: Instant,
        stats: &mut Stats,
    ) -> Choice {
        if have < self.number {
            let asked = self.condition.asked_since().unwrap_or(now);
            let given_up = asked + FRESH_LIMIT;
            if now < given_up {
                return Choice::Later(later.into_iter().chain([given_up]).min());
            }
        }
        self.opened = None;
        match self.open(now, stats) {
            Some(shot) => Choice::Give(shot),
            None => Choice::Later(None),
        }
    }

    fn snapshot(
        &mut self,
        since: Instant,
        terms: &Terms,
        now: Instant,
        stats: &mut Stats,
    ) -> Choice {
        let allowed = self.arrived.map_or(terms.max_age.is_some(), |arrived| {
            arrived >= since
                || match terms.max_age {
                    Some(max_age) => now - arrived <= max_age,
                    None => self.is_fresh(now),
                }
        });
        let shot = if allowed { self.open(now, stats) } else { None };
        if let Some(shot) = shot.filter(|shot| self.meets(shot, terms)) {
            return Choice::Give(shot);
        }
        self.ask(now);
        Choice::Later(None)
    }

    fn meets(&self, shot: &Shot<Frame>, terms: &Terms) -> bool {
        let another = terms
            .after
            .is_none_or(|after| after != unix_time(shot.captured));
        // Only for a frame whose arrival nobody saw must the wall clock tell the age.
        let young = self.arrived.is_some()
            || SystemTime::now()
                .duration_since(shot.captured)
                .is_ok_and(|age| terms.max_age.is_some_and(|max_age| age <= max_age));
        another && young
    }

    fn is_fresh(&self, now: Instant) -> bool {
        let interval = self.interval();
        self.arrived
            .is_some_and(|arrived| now - arrived <= interval + interval / FRESHNESS_SLACK)
    }

    fn interval(&self) -> Duration {
        self.intervals.median().unwrap_or(ASSUMED_INTERVAL)
    }

    /// The newest frame, opened if it was not yet.
    fn open(&mut self, now: Instant, stats: &mut Stats) -> Option<Shot<Frame>> {
        if let Some(opened) = &self.opened {
            return opened.clone();
        }
        self.asked.get_or_insert(now);
        self.condition.asked(now);
        let shot = match Frame::open_with(&self.dir, self.links) {
            Ok(frame) => Some(self.shot(frame, now)),
            Err(NoFrame::NotYet) => {
                if self.arrived.is_some() {
                    self.condition.was_empty();
                }
                None
            }
            Err(problem) => {
                match problem {
                    NoFrame::Io(_) => stats.unreadable_frames += 1,
                    _ => {
                        stats.broken_frames += 1;
                        self.condition.was_broken();
                    }
                }
                self.complain(&problem, now);
                None
            }
        };
        self.opened = Some(shot.clone());
        shot
    }

    fn shot(&mut self, frame: Frame, now: Instant) -> Shot<Frame> {
        let number = match self.last {
            Some((id, number)) if id == frame.id() => number,
            _ => self.number,
        };
        self.last = Some((frame.id(), number));
        let taken = taken(frame.captured(), self.arrived, now);
        let (len, captured, picture) = (frame.len(), frame.captured(), frame.picture());
        self.notices.clear();
        self.seen = Some(Seen {
            taken,
            captured,
            len,
            picture,
        });
        Shot {
            len,
            captured,
            taken,
            picture,
            number,
            file: Rc::new(frame),
        }
    }

    /// Asks the producer for a frame, unless it was asked since the last one came. A directory that is not watched yet is asked
    /// when it is: who waits is served again then.
    fn ask(&mut self, now: Instant) {
        if !self.watched || self.asked.is_some_and(|asked| now - asked < ASK_AGAIN) {
            return;
        }
        self.asked = Some(now);
        self.condition.asked(now);
        // It cannot be asked: without a word here nobody would know why no frame comes. A directory that is not there yet is
        // noticed when it comes, and asked then.
        if let Err(problem @ NoFrame::Io(_)) = frame::ask_with(&self.dir, self.links) {
            self.complain(&problem, now);
        }
    }

    fn complain(&mut self, problem: &NoFrame, now: Instant) {
        if let Some(more) = self.complaint.pass(now) {
            warn!("{}: {problem} ({more} more like it)", self.dir.display());
        }
    }
}

/// The moment of capture on the monotonic clock, by which ages are counted. The producer told it by the wall clock, which
/// is compared with itself once, when the frame is opened: what it does afterwards changes nothing.
fn taken(captured: SystemTime, arrived: Option<Instant>, now: Instant) -> Instant {
    let age = SystemTime::now().duration_since(captured).ok();
    let age = age.filter(|age| arrived.is_none() || *age <= LONGEST_WAY);
    let taken = age.and_then(|age| now.checked_sub(age));
    taken.unwrap_or_else(|| arrived.unwrap_or(now))
}

#[cfg(test)]
mod tests;
