//! Times, bounds and rules that all connections share.

use std::time::Duration;

use crate::server::origins::Origins;
use crate::server::roster::Roster;

/// Times and bounds of every connection.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The cameras that can be asked for.
    pub cameras: Roster,
    /// From a request's first byte to the end of its head: 408 after that.
    pub head_timeout: Duration,
    /// For the first byte of a request: closed without a word after that.
    pub idle_timeout: Duration,
    /// A snapshot that has no frame by then is a 503.
    pub snapshot_timeout: Duration,
    /// A stream that was sent nothing for so long gets its last frame again. Clients give up after 10 s.
    pub repeat_after: Duration,
    /// A stream that has had nothing at all for so long is told why, if the camera cannot give it anything; if it only does not, after
    /// `repeat_after`.
    pub patience: Duration,
    /// For the client to close its side after we closed ours.
    pub drain_timeout: Duration,
    /// Whose pages may read what is sent.
    pub origins: Origins,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            cameras: Roster::default(),
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(15),
            snapshot_timeout: Duration::from_millis(1500),
            repeat_after: Duration::from_secs(5),
            patience: Duration::from_secs(2),
            drain_timeout: Duration::from_secs(2),
            origins: Origins::default(),
        }
    }
}
