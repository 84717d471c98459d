//! What the file system below a frame directory means for it: whether every change causes an event, and whether frames
//! wear out a disk.
//!
//! inotify(7) reports what happens through this kernel's own view of a file system. What another machine does to a
//! directory on NFS, what the server of a FUSE file system finds by itself, and what is changed below an overlay cause
//! no event here. The kernel does not say which file systems these are, so they are recognised by their type
//! (statfs(2), linux/magic.h).

use std::fs;
use std::path::Path;

use rustix::fs::{major, minor, stat, statfs};

/// What is to be known about a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilesystemKind {
    /// Others can change it without an event.
    Silent(&'static str),
    /// An overlay. What is changed below it causes no event and is not even seen: files that were looked up once stay as
    /// they were (tried on Linux 6.18). Among those who use the same mount it is as good as any.
    Overlay,
    /// Whatever is written to it goes to a disk or flash memory.
    Disk(&'static str),
    /// Neither.
    Usual,
}

const OVERLAY: u32 = 0x794C_7630;

const TMPFS: u32 = 0x0102_1994;

const IN_MEMORY: &[(u32, &str)] = &[(TMPFS, "tmpfs"), (0x8584_58F6, "ramfs")];

const SILENT: &[(u32, &str)] = &[
    (0x6969, "NFS"),
    (0x517B, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB"),
    // virtiofs as well.
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9p"),
    (0x00C3_6400, "Ceph"),
    (0x5346_414F, "AFS"),
    (0x786F_4256, "vboxsf"),
    (0x7461_636F, "OCFS2"),
    (0x0116_1970, "GFS2"),
];

const DISKS: &[(u32, &str)] = &[
    (0xEF53, "ext4"),
    (0x5846_5342, "XFS"),
    (0x9123_683E, "Btrfs"),
    (0xF2F5_2010, "F2FS"),
    (0xCA45_1A4E, "bcachefs"),
    (0x2FC1_2FC1, "ZFS"),
    (0x4D44, "FAT"),
    (0x2011_BAB0, "exFAT"),
    (0x7366_746E, "NTFS"),
    (0x72B6, "JFFS2"),
    (0x2405_1905, "UBIFS"),
];

/// Those of these that have no block device as theirs although they are on this system's disks (stat(2), `st_dev`).
const WITHOUT_DEVICE: [&str; 5] = ["Btrfs", "bcachefs", "ZFS", "JFFS2", "UBIFS"];

/// What the file system of `dir` is; `Usual` also if it cannot be found out.
pub fn kind(dir: &Path) -> FilesystemKind {
    // The type has another width on each architecture; all numbers fit into 32 bits.
    #[allow(
        clippy::unnecessary_cast,
        reason = "another width on each architecture"
    )]
    let number = statfs(dir).map_or(0, |about| about.f_type as u32);
    let has_device = stat(dir).is_ok_and(|about| major(about.st_dev) != 0);
    kind_of(number, has_device)
}

/// What frames in `dir` lie on, in words: the type, for one in memory its size limit, and whether it has large folios, which is asked of
/// proc_pid_mountinfo(5). `None` if there is no such directory yet.
#[allow(
    clippy::unnecessary_cast,
    reason = "another width on each architecture"
)]
pub fn described(dir: &Path) -> Option<String> {
    let about = statfs(dir).ok()?;
    let number = about.f_type as u32;
    let known = [IN_MEMORY, SILENT, DISKS, &[(OVERLAY, "overlay")]].concat();
    let found = known.iter().find(|(known, _)| *known == number);
    let name = found.map_or_else(|| format!("type {number:#x}"), |(_, name)| (*name).into());
    if number != TMPFS {
        return Some(name);
    }
    let mib = (about.f_blocks as u64 * about.f_bsize as u64) >> 20;
    let limit = match mib {
        0 => "without a limit".into(),
        mib => format!("of at most {mib} MiB"),
    };
    let folios = match huge(dir).as_deref() {
        None | Some("never") => "without large folios".into(),
        Some(huge) => format!("with large folios (huge={huge})"),
    };
    Some(format!("{name} {limit}, {folios}"))
}

/// What the mount option `huge` of the file system below `dir` is set to (tmpfs(5)), if it is.
fn huge(dir: &Path) -> Option<String> {
    let device = stat(dir).ok()?.st_dev;
    let device = format!("{}:{}", major(device), minor(device));
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mut mounts = mounts.lines();
    let ours = mounts.find(|line| line.split(' ').nth(2) == Some(&device))?;
    let options = ours.rsplit(' ').next()?;
    let huge = options
        .split(',')
        .find_map(|option| option.strip_prefix("huge="));
    huge.map(str::to_owned)
}

/// `has_device` says whether it is on a block device of this system.
fn kind_of(number: u32, has_device: bool) -> FilesystemKind {
    let name = |list: &[(u32, &'static str)]| {
        let found = list.iter().find(|(known, _)| *known == number);
        found.map(|(_, name)| *name)
    };
    match (name(SILENT), name(DISKS)) {
        _ if number == OVERLAY => FilesystemKind::Overlay,
        (Some(name), _) => FilesystemKind::Silent(name),
        // 9p says the type of the file system that its server has (fs/9p/vfs_super.c, v9fs_statfs; seen on Linux 6.12). If that is
        // one in memory, it cannot be told from one of ours.
        (None, Some(name)) if !has_device && !WITHOUT_DEVICE.contains(&name) => {
            FilesystemKind::Silent("9p")
        }
        (None, Some(name)) => FilesystemKind::Disk(name),
        (None, None) => FilesystemKind::Usual,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_are_known_by_their_numbers() {
        assert_eq!(kind_of(0x6969, true), FilesystemKind::Silent("NFS"));
        assert_eq!(kind_of(0xFE53_4D42, true), FilesystemKind::Silent("SMB"));
        assert_eq!(kind_of(0x794C_7630, true), FilesystemKind::Overlay);
        assert_eq!(kind_of(0xEF53, true), FilesystemKind::Disk("ext4"));
        assert_eq!(kind_of(0xEF53, false), FilesystemKind::Silent("9p"));
        assert_eq!(kind_of(0x9123_683E, false), FilesystemKind::Disk("Btrfs"));
        for (number, _) in IN_MEMORY {
            assert_eq!(kind_of(*number, true), FilesystemKind::Usual);
        }
        assert_eq!(kind(Path::new("/proc")), FilesystemKind::Usual);
        assert_eq!(kind(Path::new("/nonexistent")), FilesystemKind::Usual);
    }
}
