//! Landlock's three system calls (landlock(7)): the border to what neither rustix nor libc has.
//!
//! Structures and constants are the kernel's own, out of linux-raw-sys. What a kernel knows is told by its ABI version, and here
//! each right stands beside the version that brought it: an older kernel is asked for less, a newer one for no
//! more than what was tried. A right that is *handled* is denied everywhere but beneath what [`Ruleset::allow`] names.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::ptr;

use linux_raw_sys::landlock as kernel;
use rustix::fs::{Mode, OFlags};

pub(super) const EXECUTE: u32 = kernel::LANDLOCK_ACCESS_FS_EXECUTE;
pub(super) const READ_FILE: u32 = kernel::LANDLOCK_ACCESS_FS_READ_FILE;
pub(super) const READ_DIR: u32 = kernel::LANDLOCK_ACCESS_FS_READ_DIR;
pub(super) const WRITE_FILE: u32 = kernel::LANDLOCK_ACCESS_FS_WRITE_FILE;
pub(super) const REMOVE_FILE: u32 = kernel::LANDLOCK_ACCESS_FS_REMOVE_FILE;
pub(super) const IOCTL_DEV: u32 = kernel::LANDLOCK_ACCESS_FS_IOCTL_DEV;

/// What a producer does to its frame directory.
pub(super) const PUBLISH: u32 = WRITE_FILE
    | REMOVE_FILE
    | kernel::LANDLOCK_ACCESS_FS_REMOVE_DIR
    | kernel::LANDLOCK_ACCESS_FS_MAKE_DIR
    | kernel::LANDLOCK_ACCESS_FS_MAKE_REG
    | kernel::LANDLOCK_ACCESS_FS_REFER
    | kernel::LANDLOCK_ACCESS_FS_TRUNCATE;

/// Everything that changes what is in a file system: the same, and making nodes, sockets, pipes and links.
pub(super) const CHANGES: u32 = PUBLISH
    | kernel::LANDLOCK_ACCESS_FS_MAKE_CHAR
    | kernel::LANDLOCK_ACCESS_FS_MAKE_BLOCK
    | kernel::LANDLOCK_ACCESS_FS_MAKE_SOCK
    | kernel::LANDLOCK_ACCESS_FS_MAKE_FIFO
    | kernel::LANDLOCK_ACCESS_FS_MAKE_SYM;

/// The rights of files that came with a later ABI than the first.
const LATER: [(u32, u32); 3] = [
    (2, kernel::LANDLOCK_ACCESS_FS_REFER),
    (3, kernel::LANDLOCK_ACCESS_FS_TRUNCATE),
    (5, IOCTL_DEV),
];

/// TCP can be forbidden from this version on.
pub(super) const SINCE_TCP: u32 = 4;
/// Signals and abstract unix sockets.
pub(super) const SINCE_SCOPES: u32 = 6;

/// The kernel's version of Landlock. `ENOSYS` and `EOPNOTSUPP` say that it has none, or that it is switched off.
pub(super) fn abi() -> io::Result<u32> {
    let none = ptr::null::<kernel::landlock_ruleset_attr>();
    // SAFETY: with this flag no structure is read (landlock_create_ruleset(2)).
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            none,
            0_usize,
            kernel::LANDLOCK_CREATE_RULESET_VERSION,
        )
    };
    Ok(checked(version)?.unsigned_abs() as u32)
}

/// Rules that nobody is held to yet.
pub(super) struct Ruleset {
    fd: OwnedFd,
    handled: u32,
}

impl Ruleset {
    /// Forbids `files` (as far as ABI `abi` knows them), TCP, signals to other processes and their abstract sockets.
    pub(super) fn new(abi: u32, files: u32) -> io::Result<Self> {
        let later = LATER.iter().filter(|(since, _)| abi < *since);
        let handled = later.fold(files, |files, (_, right)| files & !right);
        let mut attr = kernel::landlock_ruleset_attr {
            handled_access_fs: handled.into(),
            handled_access_net: 0,
            scoped: 0,
        };
        if abi >= SINCE_TCP {
            let tcp =
                kernel::LANDLOCK_ACCESS_NET_BIND_TCP | kernel::LANDLOCK_ACCESS_NET_CONNECT_TCP;
            attr.handled_access_net = tcp.into();
        }
        if abi >= SINCE_SCOPES {
            let scopes =
                kernel::LANDLOCK_SCOPE_SIGNAL | kernel::LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET;
            attr.scoped = scopes.into();
        }
        // SAFETY: the kernel reads a structure of this size, and takes a longer one than its own if the rest is zero.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_landlock_create_ruleset,
                &raw const attr,
                size_of_val(&attr),
                0_u32,
            )
        };
        let fd = checked(fd)?;
        // SAFETY: the call gave a new descriptor, which is nobody else's, and close-on-exec.
        let fd = unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) };
        Ok(Ruleset { fd, handled })
    }

    /// Allows `rights` for `path` and everything beneath it. The rule stays with what `path` is now: should another directory
    /// come in its place, it does not hold there.
    pub(super) fn allow(&self, path: &Path, rights: u32) -> io::Result<()> {
        let place = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let attr = kernel::landlock_path_beneath_attr {
            allowed_access: (rights & self.handled).into(),
            parent_fd: place.as_raw_fd(),
        };
        // SAFETY: the kernel reads the structure of this type of rule; both descriptors are open during the call.
        let added = unsafe {
            libc::syscall(
                libc::SYS_landlock_add_rule,
                self.fd.as_raw_fd(),
                kernel::landlock_rule_type::LANDLOCK_RULE_PATH_BENEATH as u32,
                &raw const attr,
                0_u32,
            )
        };
        checked(added).map(drop)
    }

    /// Holds this thread to the rules, and whatever it starts, for good. Takes `no_new_privs`.
    pub(super) fn restrict_self(self) -> io::Result<()> {
        // SAFETY: changes what later calls of this thread may do, and nothing in its memory.
        let restricted =
            unsafe { libc::syscall(libc::SYS_landlock_restrict_self, self.fd.as_raw_fd(), 0_u32) };
        checked(restricted).map(drop)
    }
}

fn checked(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}
