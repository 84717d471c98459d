//! lazycam: cameras as MJPEG over HTTP, where every viewer gets the newest frame and nothing runs when
//! nobody looks.

pub mod capture;
pub mod error;
pub mod event;
pub mod frames;
pub mod logging;
pub mod snapshot;

pub use error::{Error, Result};
