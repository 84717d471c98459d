//! Which frame a viewer gets: the newest, the next one, an old one as a sign of life, or a picture that says what is
//! wrong.
//!
//! A stream is given a frame when its line is free, and the frame has to be fresh then; `server/pacing.rs` decides
//! when that is. What the camera has, and how it is asked, is in `camera.rs`.

use std::time::{Duration, Instant};

use super::{Camera, Opening, age_of};
use crate::frames::frame::Frame;
use crate::picture::jpeg::Size;
use crate::server::cameras::condition::{Condition, Finding};
use crate::server::pacing::{self, Decision, Newest, Path};
use crate::server::shot::Shot;
use crate::server::want::{Terms, Want};
use crate::time::clock::{Clocks, unix_time};

/// The interval of a camera about which nothing is known yet.
const ASSUMED_INTERVAL: Duration = Duration::from_millis(33);

/// How long a client that asks again at once waits for another frame of such a camera.
const ASSUMED_WAIT: Duration = Duration::from_millis(250);

/// A frame is fresh until it is one interval and this fraction of an interval old, because cameras are not punctual.
const FRESHNESS_SLACK: u32 = 4;

/// How long a camera that was asked, and may have to start first, has to deliver a fresh frame before an old one is
/// sent as a sign of life. A viewer then waits at most 7 s, and no client gives up before 10.
pub(in crate::server) const FRESH_LIMIT: Duration = Duration::from_secs(2);

/// What is known about a request for a snapshot, beside its terms.
struct AskedFor {
    since: Instant,
    have: Option<u64>,
    slack: Duration,
}

/// What the server decided for a viewer that waits.
#[derive(Debug)]
pub enum Choice {
    /// This frame, now.
    Give(Shot<Frame>),
    /// This picture, which says why there is no frame.
    Notice(Shot<Frame>),
    /// There is none, for this reason, and there will be none in time. The picture says the same, if there is one.
    Refuse(String, Option<Shot<Frame>>),
    /// There is no frame now. Look again at this time if none has arrived before.
    Later(Option<Instant>),
}

impl Camera {
    /// Finds what `want` can have now. The path is measured only if there is something to decide.
    pub fn choose(
        &mut self,
        want: &Want,
        path: impl FnOnce() -> Path,
        clocks: Clocks,
        opening: &mut Opening<'_>,
    ) -> Choice {
        let look_again = self.look(clocks.now);
        match self.choose_now(want, path, clocks, opening) {
            Choice::Later(at) => Choice::Later(at.into_iter().chain(look_again).min()),
            choice => choice,
        }
    }

    fn choose_now(
        &mut self,
        want: &Want,
        path: impl FnOnce() -> Path,
        clocks: Clocks,
        opening: &mut Opening<'_>,
    ) -> Choice {
        let Want::Stream {
            have,
            not_before,
            repeat,
            picture,
            ..
        } = want
        else {
            return self.choose_frame(want, path, clocks, opening);
        };
        let Some(trouble) = self.trouble(*repeat, picture.is_some(), clocks) else {
            return self.choose_frame(want, path, clocks, opening);
        };
        if *repeat {
            // A lost camera is tried again while somebody asks.
            self.ask(clocks);
        }
        let choice = self.choose_frame(&want.without_repeat(), path, clocks, opening);
        let due =
            *repeat || (have.is_none_or(|have| have < self.lost_at) && *not_before <= clocks.now);
        match choice {
            Choice::Later(at) if due => match self.notice(trouble, *picture, clocks) {
                Ok(shot) => Choice::Notice(shot),
                Err(again) => Choice::Later(at.into_iter().chain(again).min()),
            },
            choice => choice,
        }
    }

    /// What is wrong with the camera, if anything is. A producer that reports a loss is believed at once. For a
    /// viewer that has waited `in_vain`, two more things are checked: whether there is a producer, and, unless the
    /// viewer has `had` a frame that could be repeated, whether the camera was asked so long ago that it is mute.
    fn trouble(&mut self, in_vain: bool, had: bool, clocks: Clocks) -> Option<Finding> {
        if !in_vain && !self.condition.is_lost() {
            return None;
        }
        let finding = self.find(clocks);
        if finding.phase.is_trouble() {
            return Some(finding);
        }
        if had {
            return None;
        }
        self.condition.mute(finding, clocks.now)
    }

    /// The picture that shows what is wrong, or the time from which one can be had. It has the number of the newest
    /// arrival, of which there is nothing else to see.
    fn notice(
        &mut self,
        trouble: Finding,
        size: Option<Size>,
        clocks: Clocks,
    ) -> Result<Shot<Frame>, Option<Instant>> {
        let told = self.condition.told().and_then(|told| told.size);
        let size = size.or(self.seen.map(|seen| seen.picture)).or(told);
        let shot = self.notices.get(&self.name(), trouble, size, clocks)?;
        Ok(Shot {
            number: self.number,
            ..shot
        })
    }

    fn choose_frame(
        &mut self,
        want: &Want,
        path: impl FnOnce() -> Path,
        clocks: Clocks,
        opening: &mut Opening<'_>,
    ) -> Choice {
        let now = clocks.now;
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
                let path = path();
                let (drains_in, takes) = (path.drains_in(), path.frame_takes());
                let line_free = now + drains_in.unwrap_or_else(|| path.look_in());
                let choice = if drains_in.is_none() && have.is_some() {
                    Choice::Later(Some(line_free))
                } else if on_its_way {
                    Choice::Later((line_free > now).then_some(line_free))
                } else {
                    let free = drains_in.map(|_| line_free.max(*not_before));
                    self.next_for_stream(*have, (free, takes), clocks, opening)
                };
                match (choice, have) {
                    (Choice::Later(at), Some(have)) if *repeat && line_free <= now => {
                        self.repeat(*have, at, clocks, opening)
                    }
                    (choice, _) => choice,
                }
            }
            Want::Snapshot {
                since,
                terms,
                have,
                slack,
                ..
            } => {
                let asked = AskedFor {
                    since: *since,
                    have: *have,
                    slack: *slack,
                };
                match self.snapshot(&asked, terms, clocks, opening) {
                    Choice::Later(at) => self.refuse_in_time(*since, terms, at, clocks),
                    choice => {
                        if !terms.last_taken {
                            self.patience.settle();
                        }
                        choice
                    }
                }
            }
        }
    }

    /// Makes sure that there is a fresh frame for a viewer when its line is free. Returns when to check again.
    pub(in crate::server) fn prepare(&mut self, path: Path, clocks: Clocks) -> Option<Instant> {
        let now = clocks.now;
        let free = path.drains_in().map(|left| now + left);
        let takes = path.frame_takes();
        let newest = self.newest(None, now).map(|newest| Newest {
            usable: false,
            ..newest
        });
        match pacing::decide(now, free, takes, self.interval(), newest) {
            Decision::Begin => None,
            Decision::Ask(again) => {
                self.ask(clocks);
                again
            }
            Decision::Wait(until) => Some(until),
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
        (free, takes): (Option<Instant>, Duration),
        clocks: Clocks,
        opening: &mut Opening<'_>,
    ) -> Choice {
        let now = clocks.now;
        let newest = self.newest(have, now);
        let turn = match (have, newest) {
            // A viewer that has nothing yet wants something at once, and does not wait for a fresher frame.
            (None, Some(newest)) if newest.usable => Decision::Begin,
            _ => pacing::decide(now, free, takes, self.interval(), newest),
        };
        match turn {
            Decision::Begin => match self.open(clocks, opening) {
                // The number reveals a file that was already seen under an earlier arrival.
                Some(shot) if have.is_none_or(|have| have < shot.number) => Choice::Give(shot),
                _ => Choice::Later(None),
            },
            Decision::Ask(again) => {
                self.ask(clocks);
                Choice::Later(again)
            }
            Decision::Wait(until) => Choice::Later(Some(until)),
        }
    }

    /// The newest frame, however old it is, as a sign of life for clients that would otherwise give up. This is only
    /// for a camera that gives nothing: if something came since the viewer's last frame, the camera is asked first
    /// and given time to deliver a fresh one.
    fn repeat(
        &mut self,
        have: u64,
        later: Option<Instant>,
        clocks: Clocks,
        opening: &mut Opening<'_>,
    ) -> Choice {
        if have < self.number {
            let asked = self.condition.asked_since().unwrap_or(clocks.now);
            let given_up = asked + FRESH_LIMIT;
            if clocks.now < given_up {
                return Choice::Later(later.into_iter().chain([given_up]).min());
            }
        }
        self.opened = None;
        match self.open(clocks, opening) {
            Some(shot) => Choice::Give(shot),
            None => Choice::Later(None),
        }
    }

    fn snapshot(
        &mut self,
        asked: &AskedFor,
        terms: &Terms,
        clocks: Clocks,
        opening: &mut Opening<'_>,
    ) -> Choice {
        let now = clocks.now;
        // A client that asks again at once has to wait for another frame, but not for longer than one may take.
        let interval = self.intervals.median();
        let wait = interval.map(|interval| interval + interval / FRESHNESS_SLACK);
        let again_at = asked.since + wait.unwrap_or(ASSUMED_WAIT);
        let again = |shot: &Shot<Frame>| asked.have == Some(shot.number) && now < again_at;
        if terms.last_taken {
            let last = self.last_taken.clone();
            let last = last.filter(|shot| self.meets(shot, terms, clocks));
            return match last {
                Some(shot) if again(&shot) => Choice::Later(Some(again_at)),
                last => last.map_or(Choice::Later(None), Choice::Give),
            };
        }
        let held_until = self.is_nearer(asked, terms).filter(|until| now < *until);
        if held_until.is_some() {
            self.ask(clocks);
            return Choice::Later(held_until);
        }
        let allowed = self.arrived.map_or(terms.max_age.is_some(), |arrived| {
            arrived >= asked.since
                || match terms.max_age {
                    Some(max_age) => now - arrived <= max_age,
                    None => self.is_fresh(asked.since.min(now)) || self.patience.owes(arrived, now),
                }
        });
        let shot = if allowed {
            self.open(clocks, opening)
        } else {
            None
        };
        match shot.filter(|shot| self.meets(shot, terms, clocks)) {
            Some(shot) if again(&shot) => {
                self.ask(clocks);
                Choice::Later(Some(again_at))
            }
            Some(shot) => Choice::Give(shot),
            None => {
                self.ask(clocks);
                Choice::Later(None)
            }
        }
    }

    /// Until when a snapshot is held back because the camera's next frame is nearer than the last one is old, and the
    /// client loses nothing by that.
    fn is_nearer(&self, asked: &AskedFor, terms: &Terms) -> Option<Instant> {
        let arrived = self.arrived.filter(|arrived| *arrived < asked.since)?;
        if terms.max_age.is_some() || terms.after.is_some() {
            return None;
        }
        let interval = self.intervals.median()?;
        let age = asked.since - arrived;
        let steps = age.as_nanos() / interval.as_nanos() + 1;
        let next = arrived + interval * u32::try_from(steps).ok()?;
        let late = interval / FRESHNESS_SLACK;
        let wait = next - asked.since;
        (wait < age && wait + late <= asked.slack && self.is_fresh(asked.since))
            .then_some(next + late)
    }

    /// Refuses a snapshot for which there is nothing until `later`, if it has waited for long enough.
    fn refuse_in_time(
        &mut self,
        since: Instant,
        terms: &Terms,
        later: Option<Instant>,
        clocks: Clocks,
    ) -> Choice {
        let now = clocks.now;
        let finding = self.find(clocks);
        let live_from = self.condition.live_from();
        let until = self
            .patience
            .until(since, terms.timeout, finding.phase, live_from);
        if now < until {
            return Choice::Later(Some(later.map_or(until, |later| later.min(until))));
        }
        if !terms.last_taken {
            self.patience.refuse(since, now);
        }
        let why = Condition::silence(&finding);
        let told = Finding {
            why: Some(why.clone()),
            ..finding
        };
        Choice::Refuse(why, self.notice(told, None, clocks).ok())
    }

    fn meets(&self, shot: &Shot<Frame>, terms: &Terms, clocks: Clocks) -> bool {
        let another = terms
            .after
            .is_none_or(|after| after != unix_time(shot.captured));
        // The wall clock is used for the age only if nobody saw the frame arrive.
        let young = terms.last_taken
            || self.arrived.is_some()
            || age_of(shot.captured, clocks)
                .is_some_and(|age| terms.max_age.is_some_and(|max_age| age <= max_age));
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
}
