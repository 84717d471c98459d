//! The frame directory: how a frame travels from the process that makes it to the process that sends it.
//!
//! `docs/frame-directory.md` is the contract. In short: a producer writes a complete JPEG to a temporary name and
//! renames it onto `current.jpg`. A reader that opens that file keeps what it opened and, by opening it, asks for the
//! next frame.
//!
//! | module | whose | does |
//! | --- | --- | --- |
//! | [`publish`] | producer | owns the directory, writes and renames frames |
//! | [`demand`] | producer | reports that somebody opened the current frame |
//! | [`watch`] | reader | reports that a frame arrived, in any of several directories |
//! | [`frame`] | reader | opens the current frame and checks that it is one |
//! | [`copy`] | reader | a frame in memory, for as long as it is the last that was opened |
//! | [`file_id`] | reader | tells one published file from another |
//! | [`filesystem`] | reader | whether a file system reports every change, and whether it is a disk |
//! | `follow` | both | follows a directory by its path, through deletion and replacement |
//! | [`root`] | reader | finds the cameras whose directories are in one common directory |
//! | [`controls`] | both | what somebody wants of the camera while it runs, and the answer |
//! | `replace` | both | replaces a file in one step |
//! | [`name`] | both | defines which names a camera may have |
//! | [`state`] | both | what the producer says about itself, and whether there is a producer |

pub mod controls;
pub mod copy;
pub mod demand;
pub mod file_id;
pub mod filesystem;
mod follow;
pub mod frame;
pub mod name;
pub mod publish;
mod replace;
pub mod root;
pub mod state;
pub mod watch;

/// The name of the file that is the newest frame.
pub const CURRENT: &str = "current.jpg";

/// The file whose flock(2) makes a process the producer. It also says which process that is.
pub const LOCK: &str = "lock";

/// The prefix of temporary files that a producer keeps in the directory itself. A producer that starts removes all of
/// them.
pub const TEMPORARY: &str = ".current.jpg.";
