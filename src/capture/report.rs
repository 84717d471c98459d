//! What the camera's state file says, and when it is written: on a change of phase, and every few seconds while frames
//! come and somebody wants them, so that the counters in it are right. Never for each frame, and never without one.
//!
//! Three things are simplified for readers. Live and lingering are both `live`: the camera is running, and which of
//! the two applies changes with every frame that nobody opened. A lost camera stays `lost` during new attempts until
//! it has delivered a frame, and its state dates from the first loss, because an attempt every half minute is no
//! news. If the reason changes in the meantime, the new one is reported.

use std::time::{Duration, Instant, SystemTime};

use super::lifecycle::Activity;
use super::source::Source;
use crate::frames::state::{self, State};
use crate::picture::jpeg::Size;

/// The counters in the file are at most this old while they change and somebody looks.
const COUNT_AGAIN: Duration = Duration::from_secs(2);

/// A camera of which all frames have been broken for this long is lost, as is one that has given none.
const PATIENCE: Duration = Duration::from_secs(5);

/// Counters, and what was reported last.
#[derive(Debug)]
pub(super) struct Report {
    /// The number of frames put in place.
    pub(super) published: u64,
    /// The number of frames that nobody had asked for.
    pub(super) dropped: u64,
    /// The number of frames that were not complete JPEGs.
    pub(super) broken: u64,
    /// What is wrong, from a loss until the next usable frame.
    why: Option<String>,
    told: Option<(state::Phase, Option<String>, Option<Size>)>,
    /// The way of the pictures as it was told.
    via: Option<String>,
    /// What makes JPEGs of them, as it was told.
    encoder: Option<String>,
    since: SystemTime,
    /// When the counters were reported last.
    counted: Option<Instant>,
    /// When the first broken frame came of those that no usable one has followed.
    broken_since: Option<Instant>,
}

impl Report {
    pub(super) fn new() -> Self {
        Report {
            published: 0,
            dropped: 0,
            broken: 0,
            why: None,
            told: None,
            via: None,
            encoder: None,
            since: SystemTime::UNIX_EPOCH,
            counted: None,
            broken_since: None,
        }
    }

    /// Whether the camera is lost, and no usable frame has come since.
    pub(super) fn is_lost(&self) -> bool {
        self.why.is_some()
    }

    /// Records that a lost camera has given a usable frame.
    pub(super) fn recover(&mut self) {
        self.why = None;
    }

    /// Counts a frame that was put in place.
    pub(super) fn count_published(&mut self) {
        self.published += 1;
        self.broken_since = None;
    }

    /// Counts broken frames. Returns whether all frames have been broken for so long that the camera counts as lost.
    pub(super) fn count_broken(&mut self, count: u64, now: Instant) -> bool {
        self.broken += count;
        now - *self.broken_since.get_or_insert(now) >= PATIENCE
    }

    /// Nobody looks, so it is not known whether frames are usable.
    pub(super) fn forget_broken(&mut self) {
        self.broken_since = None;
    }

    /// Records that the camera is lost, and why.
    pub(super) fn lose(&mut self, why: &str) {
        self.why = Some(why.to_owned());
    }

    /// What to write now, if there is anything new.
    pub(super) fn news(
        &mut self,
        phase: Activity,
        source: &dyn Source,
        now: Instant,
    ) -> Option<State> {
        let phase = self.public(phase);
        // Of pictures that are turned the size is known from the first one on, as is which hardware encodes them.
        let size = source.facts().size;
        let via = source.origin().map(|origin| origin.via);
        let encoder = encoder(source);
        if let Some((told, why, told_size)) = &self.told {
            let is_same = *told == phase && *why == self.why && *told_size == size;
            if is_same && self.via.as_deref() == via && self.encoder.as_deref() == encoder {
                return None;
            }
        }
        self.via = via.map(str::to_owned);
        self.encoder = encoder.map(str::to_owned);
        self.counted = Some(now);
        let before = self.told.replace((phase, self.why.clone(), size));
        if before.is_none_or(|(before, ..)| before != phase) {
            self.since = SystemTime::now();
        }
        Some(self.state(phase, source))
    }

    /// What to write right before a frame, in addition: the counters, if it is time.
    pub(super) fn count(
        &mut self,
        phase: Activity,
        source: &dyn Source,
        now: Instant,
    ) -> Option<State> {
        let due = |counted: Instant| now.saturating_duration_since(counted) >= COUNT_AGAIN;
        if !self.counted.is_none_or(due) {
            return None;
        }
        self.counted = Some(now);
        let phase = self.public(phase);
        Some(self.state(phase, source))
    }

    fn public(&mut self, phase: Activity) -> state::Phase {
        match phase {
            Activity::Off => {
                self.why = None;
                state::Phase::Off
            }
            _ if self.is_lost() => state::Phase::Lost,
            Activity::Starting => state::Phase::Starting,
            Activity::Lost => state::Phase::Lost,
            Activity::Live | Activity::Lingering => state::Phase::Live,
        }
    }

    fn state(&self, phase: state::Phase, source: &dyn Source) -> State {
        let facts = source.facts();
        let origin = source.origin();
        State {
            via: origin.map(|origin| origin.via.to_owned()),
            origin_age: origin.and_then(|origin| origin.age),
            why: self.why.clone(),
            source: Some(source.describe()),
            size: facts.size,
            fps: facts.fps,
            quality: facts.quality,
            encoder: encoder(source).map(str::to_owned),
            published: self.published,
            dropped: self.dropped,
            broken: self.broken,
            ..State::new(phase, self.since)
        }
    }
}

/// What makes JPEGs, if the pictures do not come as such.
fn encoder(source: &dyn Source) -> Option<&str> {
    source.facts().quality.and(source.encoder())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::pattern::Pattern;
    use crate::error::Result;
    use crate::picture::encode::Planes;
    use crate::picture::encode::hardware::HardwareCoder;

    #[test]
    fn only_a_change_is_told_and_lingering_is_none() {
        let source = Pattern::new((64, 48), 5.0, 70).unwrap();
        let (mut report, now) = (Report::new(), Instant::now());
        let first = report.news(Activity::Off, &source, now).unwrap();
        assert_eq!(first.phase, state::Phase::Off);
        assert_eq!((first.fps, first.quality), (Some(5.0), Some(70)));
        assert_eq!(report.news(Activity::Off, &source, now), None);
        report.dropped = 3;
        let live = report.news(Activity::Lingering, &source, now).unwrap();
        assert_eq!((live.phase, live.dropped), (state::Phase::Live, 3));
        assert_eq!(report.news(Activity::Live, &source, now), None);
        assert_eq!(report.news(Activity::Lingering, &source, now), None);
    }

    #[test]
    fn who_encodes_is_told_with_the_first_picture_and_not_when_the_counters_are() {
        struct Absent;
        impl HardwareCoder for Absent {
            fn encode(&mut self, _: &Planes<'_>, _: u8, _: &mut Vec<u8>) -> Result<bool> {
                Ok(false)
            }
            fn rest(&mut self) {}
            fn name(&self) -> &str {
                "none"
            }
        }
        let mut source = Pattern::new((64, 48), 5.0, 70).unwrap();
        source.encode_with(Box::new(Absent));
        let (mut report, now) = (Report::new(), Instant::now());
        source.start(now).unwrap();
        let before = report.news(Activity::Live, &source, now).unwrap();
        assert_eq!((before.quality, before.encoder), (Some(70), None));
        source.advance(now).unwrap();
        source.jpeg().unwrap();
        let told = report.news(Activity::Live, &source, now).unwrap();
        assert_eq!(told.encoder.as_deref(), Some("CPU"));
        assert_eq!(report.news(Activity::Live, &source, now), None);
    }

    #[test]
    fn a_lost_camera_is_lost_since_its_first_loss_until_it_gives_a_frame() {
        let source = Pattern::new((64, 48), 5.0, 70).unwrap();
        let (mut report, now) = (Report::new(), Instant::now());
        report.lose("unplugged");
        let lost = report.news(Activity::Lost, &source, now).unwrap();
        assert_eq!(report.news(Activity::Starting, &source, now), None);
        report.lose("busy");
        let again = report.news(Activity::Lost, &source, now).unwrap();
        assert_eq!(again.since, lost.since);
        assert_eq!(again.why.as_deref(), Some("busy"));
        // Frames come, but none is known to be usable.
        assert_eq!(report.news(Activity::Live, &source, now), None);
        report.recover();
        let live = report.news(Activity::Live, &source, now).unwrap();
        assert_eq!((live.phase, live.why), (state::Phase::Live, None));
        let starting = report.news(Activity::Off, &source, now).unwrap();
        assert_eq!(starting.phase, state::Phase::Off);
        assert_eq!(
            report
                .news(Activity::Starting, &source, now)
                .map(|state| state.phase),
            Some(state::Phase::Starting)
        );
    }

    #[test]
    fn counters_are_told_again_after_a_while_and_not_with_each_frame() {
        let source = Pattern::new((64, 48), 5.0, 70).unwrap();
        let (mut report, start) = (Report::new(), Instant::now());
        let live = report.news(Activity::Live, &source, start).unwrap();
        let mut told = Vec::new();
        for n in 1..=50_u32 {
            let now = start + Duration::from_millis(100) * n;
            assert_eq!(report.news(Activity::Live, &source, now), None);
            told.extend(report.count(Activity::Live, &source, now));
            report.count_published();
        }
        let counts: Vec<_> = told.iter().map(|state| state.published).collect();
        assert_eq!(counts, [19, 39]);
        assert!(told.iter().all(|state| state.since == live.since));
    }

    #[test]
    fn a_camera_is_given_up_when_no_frame_was_usable_for_a_while() {
        let (mut report, start) = (Report::new(), Instant::now());
        let at = |secs| start + Duration::from_secs(secs);
        assert!(!report.count_broken(1, at(0)));
        report.count_published();
        assert!(!report.count_broken(1, at(9)));
        assert!(!report.count_broken(1, at(13)));
        assert!(report.count_broken(1, at(14)));
        report.forget_broken();
        assert!(!report.count_broken(1, at(20)));
        assert_eq!((report.published, report.broken), (1, 5));
    }
}
