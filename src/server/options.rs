//! What a server is told by the command line.

use std::path::PathBuf;
use std::time::Duration;

use crate::frames::name::Name;
use crate::server::auth::Guard;
use crate::server::door::congestion::Congestion;
use crate::server::http::cors::Origins;
use crate::server::http::hosts::Hosts;
use crate::server::settings::Setters;

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The cameras with their frame directories. A camera's index is its number.
    pub cameras: Vec<(Name, PathBuf)>,
    /// A directory in which each subdirectory is a camera. These cameras come after the others.
    pub root: Option<PathBuf>,
    /// The camera that URLs without a name mean. If it is `None`, they mean the first one.
    pub default_camera: Option<Name>,
    /// How many clients are served at the same time.
    pub max_clients: usize,
    /// How many of these may come from one address; 0 means no limit. By default an address on another machine may
    /// take half.
    pub max_clients_per_address: Option<usize>,
    /// Bytes of frames kept in memory for slow viewers. Each camera's newest frame does not count.
    pub max_held: u64,
    /// A client that accepts no data for this long is dropped.
    pub stall_timeout: Duration,
    /// Exit after this long without a client.
    pub exit_idle: Option<Duration>,
    /// Which websites' pages may read what is served.
    pub origins: Origins,
    /// The names under which requests are answered, beside those of the network at hand.
    pub hosts: Hosts,
    /// Who may set controls.
    pub setters: Setters,
    /// The directory with the mailboxes of the cameras, into which what is wanted of them is written.
    pub mailboxes: Option<PathBuf>,
    /// Who is let in; `None` means everybody.
    pub guard: Option<Guard>,
    /// Sockets on which no password is required: their names in `LISTEN_FDNAMES`, or addresses as they were given to
    /// listen on.
    pub open_sockets: Vec<String>,
    /// Passwords may be asked for on a connection that was accepted before, by a process that has seen no other one.
    pub auth_without_memory: bool,
    /// The congestion control of TCP connections.
    pub congestion: Congestion,
}
