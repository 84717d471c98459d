//! Times, limits and rules that all connections share.

use std::time::Duration;

use crate::server::http::cors::Origins;
use crate::server::http::hosts::Hosts;

/// The times and limits of every connection.
#[derive(Clone, Debug)]
pub struct Settings {
    /// From the first byte of a request to the end of its head; after that the answer is 408.
    pub head_timeout: Duration,
    /// For the first byte of the first request; after that the connection is closed without an answer.
    pub idle_timeout: Duration,
    /// For the first byte of a further request, while there are places for others. Programs ask every 5, 10, 15, 30 or
    /// 60 s: this is longer, and no multiple, because a request that crosses with the end of its connection is lost.
    pub kept_timeout: Duration,
    /// There are few places left: `idle_timeout` is for all requests.
    pub is_crowded: bool,
    /// A stream that was sent nothing for this long gets its last frame again. Clients give up after 10 s.
    pub repeat_after: Duration,
    /// A stream that has had nothing at all for this long is told the reason, if the camera cannot deliver a frame.
    /// If the camera could but does not, the stream is told after `repeat_after`.
    pub patience: Duration,
    /// How long the client may take to close its side after we closed ours.
    pub drain_timeout: Duration,
    /// When this server ends, another one goes on with its streams.
    pub hands_over: bool,
    /// Which websites' pages may read what is sent.
    pub origins: Origins,
    /// The names under which requests are answered.
    pub hosts: Hosts,
    /// Who may set controls.
    pub setters: Setters,
}

/// Who may set controls of cameras.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Setters {
    /// Nobody.
    #[default]
    Nobody,
    /// Who has proved a password, or comes through a Unix socket.
    Known,
    /// Everybody.
    Everybody,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            head_timeout: Duration::from_secs(10),
            // Not one of those intervals either.
            idle_timeout: Duration::from_secs(12),
            kept_timeout: Duration::from_secs(77),
            is_crowded: false,
            repeat_after: Duration::from_secs(5),
            patience: Duration::from_secs(2),
            drain_timeout: Duration::from_secs(2),
            hands_over: false,
            origins: Origins::default(),
            hosts: Hosts::default(),
            setters: Setters::default(),
        }
    }
}
