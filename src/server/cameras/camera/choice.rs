//! Which frame a viewer gets: the newest, the next one, an old one as a sign of life, or a picture that says what is
//! wrong.
//!
//! A stream is given a frame when its line is free, and the frame has to be fresh then; `server/pacing.rs` decides
//! when that is. What the camera has, and how it is asked, is in `camera.rs`.

use std::time::{Duration, Instant, SystemTime};

use super::Camera;
use crate::frames::frame::Frame;
use crate::picture::jpeg::Size;
use crate::server::cameras::condition::Finding;
use crate::server::pacing::{self, Newest, Path, Turn};
use crate::server::shot::Shot;
use crate::server::stats::Stats;
use crate::server::want::{Terms, Want};
use crate::time::clock::unix_time;

/// The interval of a camera about which nothing is known yet.
const ASSUMED_INTERVAL: Duration = Duration::from_millis(33);

/// A frame is fresh until it is one interval and this fraction of an interval old, because cameras are not punctual.
const FRESHNESS_SLACK: u32 = 4;

/// How long a camera that was asked, and may have to start first, has to deliver a fresh frame before an old one is
/// sent as a sign of life. A viewer then waits at most 7 s, and no client gives up before 10.
pub(in crate::server) const FRESH_LIMIT: Duration = Duration::from_secs(2);

/// What the server decided for a viewer that waits.
#[derive(Debug)]
pub enum Choice {
    /// This frame, now.
    Give(Shot<Frame>),
    /// This picture, which says why there is no frame.
    Notice(Shot<Frame>),
    /// There is no frame now. Look again at this time if none has arrived before.
    Later(Option<Instant>),
}

impl Camera {
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

    /// What is wrong with the camera, if anything is. A producer that reports a loss is believed at once. For a
    /// viewer that has waited `in_vain`, two more things are checked: whether there is a producer, and, unless the
    /// viewer has `had` a frame that could be repeated, whether the camera was asked so long ago that it is mute.
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

    /// The picture that shows what is wrong, or the time from which one can be had. It has the number of the newest
    /// arrival, of which there is nothing else to see.
    fn notice(
        &mut self,
        trouble: Finding,
        size: Option<Size>,
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

    /// Makes sure that there is a fresh frame for a viewer whose line is free at `free`. Returns when to check again.
    pub(in crate::server) fn prepare(&mut self, free: Instant, now: Instant) -> Option<Instant> {
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
            // A viewer that has nothing yet wants something at once, and does not wait for a fresher frame.
            (None, Some(newest)) if newest.usable => Turn::Begin,
            _ => pacing::decide(now, free, self.interval(), newest),
        };
        match turn {
            Turn::Begin => match self.open(now, stats) {
                // The number reveals a file that was already seen under an earlier arrival.
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

    /// The newest frame, however old it is, as a sign of life for clients that would otherwise give up. This is only
    /// for a camera that gives nothing: if something came since the viewer's last frame, the camera is asked first
    /// and given time to deliver a fresh one.
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
        if terms.last_taken {
            let last = self.last_taken.clone();
            let last = last.filter(|shot| self.meets(shot, terms));
            return last.map_or(Choice::Later(None), Choice::Give);
        }
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
        // The wall clock is used for the age only if nobody saw the frame arrive.
        let young = terms.last_taken
            || self.arrived.is_some()
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
}
