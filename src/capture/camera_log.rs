//! What the log says of a camera: what it does, that it was lost, that its frames are broken. Each at a limited rate,
//! because viewers that come and go, or a camera that fails, can cause any number of these.

use std::time::{Duration, Instant};

use log::{debug, info, warn};

use super::lifecycle::Activity;
use crate::logging::Brake;

/// The interval between two lines of one kind.
const QUIET: Duration = Duration::from_secs(60);

/// When each kind of line was written last.
pub(super) struct CameraLog {
    broken: Brake,
    lost: Brake,
    /// What it was doing when that was looked at last.
    told: Activity,
    starting: Brake,
    live: Brake,
    off: Brake,
}

impl CameraLog {
    /// For a camera that is off.
    pub(super) fn new() -> Self {
        CameraLog {
            broken: Brake::new(QUIET),
            lost: Brake::new(QUIET),
            told: Activity::Off,
            starting: Brake::new(QUIET),
            live: Brake::new(QUIET),
            off: Brake::new(QUIET),
        }
    }

    /// A frame was thrown away, which makes `so_far`.
    pub(super) fn broken(&mut self, why: &str, so_far: u64, now: Instant) {
        if self.broken.pass(now).is_some() {
            warn!("dropped a broken frame, {so_far} so far: {why}");
        }
    }

    /// The camera is lost, and is tried again after `wait`.
    pub(super) fn lost(&mut self, what: &str, message: &str, wait: Duration, now: Instant) {
        if let Some(held_back) = self.lost.pass(now) {
            let after = wait.as_secs_f32();
            warn!(
                "{what} is lost: {message}; trying again after {after} s while somebody asks \
                 ({held_back} more losses since the last message)"
            );
        }
    }

    /// What the camera's pictures come from has changed.
    pub(super) fn changed(&mut self, what: &str, now: Instant) {
        if self.lost.pass(now).is_some() {
            info!("{what}: its source has changed");
        }
    }

    /// What the camera does now. Lingering begins and ends with every frame that nobody opened, so it is logged only at
    /// a detailed level.
    pub(super) fn activity(&mut self, activity: Activity, now: Instant) {
        if std::mem::replace(&mut self.told, activity) == activity {
            return;
        }
        let (brake, words) = match activity {
            Activity::Starting => (&mut self.starting, "asked for a frame: starting"),
            Activity::Live => (&mut self.live, "live"),
            Activity::Off => (&mut self.off, "off: nobody looks"),
            Activity::Lingering | Activity::Lost => return debug!("{activity:?}"),
        };
        if brake.pass(now).is_some() {
            info!("{words}");
        } else {
            debug!("{words}");
        }
    }
}
