//! Looking for new frames where no event reports them.
//!
//! This is done only while somebody waits, and slowly, since each look may be a request over a network. The files are
//! not opened, so a look asks the producer for nothing.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::frames::CURRENT;
use crate::frames::frame::{FileId, id_of};
use crate::frames::state::STATE;

/// The time from one look to the next: five frames per second at most.
const PAUSE: Duration = Duration::from_millis(200);

/// What the looks at one directory have found.
#[derive(Debug, Default)]
pub(in crate::server) struct Looking {
    next: Option<Instant>,
    frame: Option<FileId>,
    state: Option<FileId>,
}

/// What has changed between two looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::server) struct Changed {
    /// There is another `current.jpg`, which came just now.
    pub(in crate::server) frame: bool,
    /// There is another `state`.
    pub(in crate::server) state: bool,
}

impl Looking {
    /// Looks, if it is time to. A frame that came while nobody looked is not taken for one that has just come.
    pub(in crate::server) fn look(&mut self, dir: &Path, now: Instant) -> Changed {
        if self.next.is_some_and(|next| now < next) {
            return Changed::default();
        }
        let went_on = self.next.is_some_and(|next| now < next + PAUSE);
        self.next = Some(now + PAUSE);
        let (frame, state) = (id_of(dir, CURRENT), id_of(dir, STATE));
        let before = std::mem::replace(&mut self.frame, frame);
        let told = std::mem::replace(&mut self.state, state);
        Changed {
            frame: went_on && frame.is_some() && frame != before,
            state: state != told,
        }
    }

    /// When to look again.
    pub(in crate::server) fn next(&self) -> Option<Instant> {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_frame_is_new_if_it_came_between_two_looks_in_a_row() {
        let dir = std::env::temp_dir().join(format!("lazycam-looking-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let put = |text: &str| {
            fs::write(dir.join("new"), text).unwrap();
            fs::rename(dir.join("new"), dir.join(CURRENT)).unwrap();
        };
        let (mut looking, start) = (Looking::default(), Instant::now());
        let mut frame = |looks: u32, pauses: u32| {
            let found = looking.look(&dir, start + PAUSE * looks + PAUSE / 9 * pauses);
            found.frame
        };
        put("a");
        assert!(!frame(0, 0), "of any age");
        put("b");
        assert!(!frame(0, 1), "too early to look");
        assert!(frame(1, 0));
        assert!(!frame(2, 0));
        put("c");
        assert!(!frame(9, 0), "nobody has looked for long");
        put("d");
        assert!(frame(10, 1));
        fs::remove_dir_all(&dir).unwrap();
    }
}
