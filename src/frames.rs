//! The frame directory: how a frame travels from the side that makes it to the side that sends it.
//!
//! `docs/frame-directory.md` is the contract. In short: a producer writes a whole JPEG to a temporary
//! name and renames it onto `current.jpg`; a reader that opens that file keeps what it opened and, by
//! opening, asks for the next one.
//!
//! | module | whose | does |
//! | --- | --- | --- |
//! | [`publish`] | producer | holds the directory, writes and renames |
//! | [`demand`] | producer | tells that somebody opened the current frame |
//! | [`watch`] | reader | tells that a frame arrived, in any of several directories |
//! | [`frame`] | reader | opens the current frame and checks that it is one |
//! | `follow` | both | follows a directory by its path, through deletion and replacement |
//! | [`root`] | reader | tells which cameras have their directories in one and the same directory |
//! | [`name`] | both | what a camera may be called |
//! | [`state`] | both | what the producer says about itself, and whether there is one |
//! | [`jpeg`] | both | what makes a file a JPEG: SOI, marker chain, EOI |

pub mod demand;
mod follow;
pub mod frame;
pub mod jpeg;
pub mod name;
pub mod publish;
pub mod root;
pub mod state;
pub mod watch;

/// The name under which the newest frame is found.
pub const CURRENT: &str = "current.jpg";

/// The file whose flock(2) makes a process the producer, and which says who that is.
pub const LOCK: &str = "lock";

/// How the names of temporaries begin that a producer keeps in the directory itself; one that starts removes them all.
pub const TEMPORARY: &str = ".current.jpg.";
