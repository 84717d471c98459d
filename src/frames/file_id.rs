//! Which file it is, by what the kernel says about it.

use rustix::fs::Stat;

/// Distinguishes one published file from another, without opening both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    device: u64,
    inode: u64,
    /// The inode number can be reused once its file is gone. The time of the last change of the inode, which the rename
    /// sets, is not: unlike the time of capture, no producer can choose it.
    changed: (i64, i64),
}

impl FileId {
    /// That of the file of which the kernel says this.
    #[allow(clippy::unnecessary_cast, reason = "32 bits wide on some machines")]
    pub(super) fn of(about: &Stat) -> Self {
        FileId {
            device: about.st_dev as u64,
            inode: about.st_ino as u64,
            changed: (about.st_ctime as i64, about.st_ctime_nsec as i64),
        }
    }
}
