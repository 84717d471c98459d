//! lazycam serves cameras as MJPEG over HTTP. Every viewer gets the newest frame, and when nobody is watching,
//! nothing runs.
//!
//! It has two halves, which meet in a directory on a tmpfs and know nothing else about each other:
//! ```text
//!   camera ─► source ─► capture ──rename──► current.jpg ──open, sendfile──► server ─► viewers
//!                          ▲                                                   │
//!                          └──────────── opening it asks for the next ◄────────┘
//! ```
//!
//! | module | what it is |
//! | --- | --- |
//! | [`frames`] | the frame directory: publishing, watching, requesting and checking frames |
//! | [`capture`] | from the camera to the directory, on demand; each source has its own file |
//! | [`server`] | from the directory to HTTP: the loop, the connections, and which viewer gets which frame when |
//! | [`picture`] | what a picture is: JPEG, pixels, drawing and encoding; it knows no camera |
//! | [`time`] | clocks, dates, rates and waits |
//! | [`supervise`] | runs the capture processes beside the server, for `lazycam run` |
//! | [`snapshot`] | writes one fresh frame to a file |
//! | [`list`] | lists the cameras of this machine |
//! | [`sandbox`] | what a process gives up before strangers can talk to it |
//! | [`activation`] | sockets from the service manager, and notifications to it |
//! | [`event`] | what a loop waits for: descriptors, deadlines, signals |
//! | [`cli`], [`commands`] | the flags, and what each command does with them |
//! | [`error`], [`logging`], [`json`] | how failures, events and facts are reported |
//!
//! `capture` and `server` both use `frames` and `picture`, but never each other; `commands` and `cli` know both.

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
pub mod time;

pub use error::{Error, Result};
