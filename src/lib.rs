//! lazycam: cameras as MJPEG over HTTP, where every viewer gets the newest frame and nothing runs when
//! nobody looks.
//!
//! Two halves meet in a directory on a tmpfs and know nothing else of each other:
//!
//! ```text
//!   camera ─► source ─► capture ──rename──► current.jpg ──open, sendfile──► server ─► viewers
//!                          ▲                                                   │
//!                          └──────────── opening it asks for the next ◄────────┘
//! ```
//!
//! | module | is |
//! | --- | --- |
//! | [`frames`] | the directory: publishing, watching, asking, checking |
//! | [`capture`] | camera to directory, on demand; a file per source |
//! | [`server`] | directory to HTTP: the loop, connections, who gets which frame when |
//! | [`picture`] | drawing and encoding, for both |
//! | [`supervise`] | the capture process beside the server, for `lazycam run` |
//! | [`snapshot`] | one fresh frame to a file |
//! | [`list`] | the cameras there are |
//! | [`sandbox`] | what a process gives up before strangers speak to it |
//! | [`activation`] | sockets and notifications of the service manager |
//! | [`event`] | what a loop waits for: descriptors, deadlines, signals |
//! | [`cli`], [`commands`] | flags, and what each command does with them |
//! | [`error`], [`logging`], [`json`] | how failures, events and facts are told |
//!
//! `capture` and `server` share `frames` and `picture` and never use each other; `commands` and `cli` know both.

pub mod activation;
pub mod capture;
pub mod cli;
pub mod commands;
pub mod error;
pub mod event;
pub mod frames;
pub mod json;
pub mod list;
pub mod logging;
pub mod picture;
pub mod sandbox;
pub mod server;
pub mod snapshot;
pub mod supervise;

pub use error::{Error, Result};
