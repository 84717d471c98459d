//! Controls of a camera that are set while it runs: what may be set, what somebody wants of it, and what the producer
//! made of that.
//!
//! These are files in the subdirectory `controls` of the frame directory, which a producer makes if it takes any. In
//! `wanted` there is a line `NAME=VALUE` for each control; it is renamed into place by whoever may write there. `answer`
//! is the producer's, and says in its first line which `wanted` it is about: the one with this modification time.
//! `offered` is the producer's list of what may be set. None of this is in `state`, because every reader of frames is
//! woken by that, and it is none of their business.
//!
//! The subdirectory is watched by itself. So nothing happens until somebody wants something, and then it happens at
//! once.
//!
//! Somebody who may not write there can have a place of his own for `wanted`, a *mailbox*, if the producer was told of it:
//! a server that talks to the network needs to write nowhere else. The newest `wanted` counts. The producer copies what
//! it took out of a mailbox into its own `wanted`, so that this is always all that holds.

mod asking;
mod files;
mod wishes;

pub use asking::{Asked, ask, want};
pub use files::{Outcome, are_offered, is_about_same, is_same, make_public, offered};
pub use wishes::Wishes;
