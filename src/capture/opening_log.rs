//! What the log says of a camera when it is opened. A camera that fails and comes back is opened again and again, so the
//! same is said of it at a limited rate; in between, it is there for who looks for it.

use std::time::{Duration, Instant};

use log::Level;

use crate::logging::Brake;

/// The interval between two openings that are told.
const QUIET: Duration = Duration::from_secs(60);

/// When an opening was told last.
pub(super) struct OpeningLog {
    brake: Brake,
    /// How the lines of this opening are told, once there is one.
    level: Option<Level>,
    /// The same of the last one that was not quiet.
    loud: Level,
}

impl OpeningLog {
    pub(super) fn new() -> Self {
        OpeningLog {
            brake: Brake::new(QUIET),
            level: None,
            loud: Level::Info,
        }
    }

    /// The camera is about to be opened. `quietly` if it was closed only so that it could rest.
    pub(super) fn begin(&mut self, quietly: bool) {
        self.level = quietly.then_some(Level::Debug);
    }

    /// The level of a line about what is opened: the same for all lines of one opening. An attempt that has none does not
    /// count.
    pub(super) fn level(&mut self, now: Instant) -> Level {
        *self.level.get_or_insert_with(|| {
            self.loud = match self.brake.pass(now) {
                Some(_) => Level::Info,
                None => Level::Debug,
            };
            self.loud
        })
    }

    /// The level of a line about the end of what was opened.
    pub(super) fn level_of_end(&self) -> Level {
        self.loud
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_that_comes_and_goes_is_told_now_and_then() {
        let (start, mut log) = (Instant::now(), OpeningLog::new());
        let at = |secs| start + Duration::from_secs(secs);
        let mut opened = |secs, quietly| {
            log.begin(quietly);
            let levels = [0, 1].map(|_| log.level(at(secs)));
            assert_eq!(levels[0], levels[1], "all lines of one opening");
            (levels[0], log.level_of_end())
        };
        assert_eq!(opened(0, true), (Level::Debug, Level::Info));
        assert_eq!(opened(1, false), (Level::Info, Level::Info));
        for secs in 2..61 {
            assert_eq!(opened(secs, false), (Level::Debug, Level::Debug));
        }
        assert_eq!(opened(61, false), (Level::Info, Level::Info));
        assert_eq!(opened(62, true), (Level::Debug, Level::Info));
        // Attempts of which there was nothing to tell.
        log.begin(false);
        log.begin(false);
        assert_eq!(log.level(at(201)), Level::Info);
    }
}
