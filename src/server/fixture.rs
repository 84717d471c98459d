//! What the unit tests of the parts share: frame directories that are removed in the end, a picture to put into them,
//! and a turn whose clock the test moves.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use crate::picture::jpeg::{Size, sample};
use crate::server::roster::Roster;
use crate::server::settings::Settings;
use crate::server::turn::Turn;

/// A frame that consists of hardly more than its markers.
pub(in crate::server) const JPEG: &[u8] = sample::WHOLE;

/// Its size.
pub(in crate::server) const PICTURE: Size = Size {
    width: 64,
    height: 48,
};

/// A directory of one test.
pub(in crate::server) struct Directory(PathBuf);

impl Directory {
    pub(in crate::server) fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("lazycam-{}-{name}", process::id()));
        fs::create_dir(&dir).unwrap();
        Directory(dir)
    }

    pub(in crate::server) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Turn {
    /// A turn without cameras.
    pub(in crate::server) fn of_a_test() -> Self {
        Turn::new(Settings::default(), Roster::default()).unwrap()
    }

    /// Lets time pass.
    pub(in crate::server) fn pass(&mut self, millis: u64) {
        let time = Duration::from_millis(millis);
        (self.now, self.wall) = (self.now + time, self.wall + time);
    }
}
