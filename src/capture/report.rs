//! What the camera's state file says, and when it is written: on a change of phase, never for each frame.
//!
//! Three things are simplified for readers. Live and lingering are both `live`: the camera is running, and which of
//! the two applies changes with every frame that nobody opened. A lost camera stays `lost` during new attempts until
//! it has delivered a frame, and its state dates from the first loss, because an attempt every half minute is no
//! news. If the reason changes in the meantime, the new one is reported.

use std::time::SystemTime;

use super::lifecycle::Phase;
use super::source::Source;
use crate::frames::state::{self, State};

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
    told: Option<(state::Phase, Option<String>)>,
    since: SystemTime,
}

impl Report {
    pub(super) fn new() -> Self {
        Report {
            published: 0,
            dropped: 0,
            broken: 0,
            why: None,
            told: None,
            since: SystemTime::UNIX_EPOCH,
        }
    }

    /// Records that the camera is lost, and why.
    pub(super) fn lose(&mut self, why: &str) {
        self.why = Some(why.to_owned());
    }

    /// What to write now, if there is anything new.
    pub(super) fn news(&mut self, phase: Phase, source: &dyn Source) -> Option<State> {
        let phase = self.public(phase);
        if let Some((told, why)) = &self.told {
            if *told == phase && *why == self.why {
                return None;
            }
        }
        let before = self.told.replace((phase, self.why.clone()));
        if before.is_none_or(|(before, _)| before != phase) {
            self.since = SystemTime::now();
        }
        Some(self.state(phase, source))
    }

    fn public(&mut self, phase: Phase) -> state::Phase {
        match phase {
            Phase::Starting if self.why.is_some() => state::Phase::Lost,
            Phase::Starting => state::Phase::Starting,
            Phase::Lost => state::Phase::Lost,
            Phase::Off | Phase::Live | Phase::Lingering => {
                self.why = None;
                match phase {
                    Phase::Off => state::Phase::Off,
                    _ => state::Phase::Live,
                }
            }
        }
    }

    fn state(&self, phase: state::Phase, source: &dyn Source) -> State {
        let facts = source.facts();
        State {
            why: self.why.clone(),
            source: Some(source.describe()),
            size: facts.size,
            fps: facts.fps,
            quality: facts.quality,
            published: self.published,
            dropped: self.dropped,
            broken: self.broken,
            ..State::new(phase, self.since)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::pattern::Pattern;

    #[test]
    fn only_a_change_is_told_and_lingering_is_none() {
        let source = Pattern::new((64, 48), 5.0, 70).unwrap();
        let mut report = Report::new();
        let first = report.news(Phase::Off, &source).unwrap();
        assert_eq!(first.phase, state::Phase::Off);
        assert_eq!((first.fps, first.quality), (Some(5.0), Some(70)));
        assert_eq!(report.news(Phase::Off, &source), None);
        report.dropped = 3;
        let live = report.news(Phase::Lingering, &source).unwrap();
        assert_eq!((live.phase, live.dropped), (state::Phase::Live, 3));
        assert_eq!(report.news(Phase::Live, &source), None);
        assert_eq!(report.news(Phase::Lingering, &source), None);
    }

    #[test]
    fn a_lost_camera_is_lost_since_its_first_loss_until_it_gives_a_frame() {
        let source = Pattern::new((64, 48), 5.0, 70).unwrap();
        let mut report = Report::new();
        report.lose("unplugged");
        let lost = report.news(Phase::Lost, &source).unwrap();
        assert_eq!(report.news(Phase::Starting, &source), None);
        report.lose("busy");
        let again = report.news(Phase::Lost, &source).unwrap();
        assert_eq!(again.since, lost.since);
        assert_eq!(again.why.as_deref(), Some("busy"));
        let live = report.news(Phase::Live, &source).unwrap();
        assert_eq!((live.phase, live.why), (state::Phase::Live, None));
        let starting = report.news(Phase::Off, &source).unwrap();
        assert_eq!(starting.phase, state::Phase::Off);
        assert_eq!(
            report
                .news(Phase::Starting, &source)
                .map(|state| state.phase),
            Some(state::Phase::Starting)
        );
    }
}
