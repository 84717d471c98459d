//! What a connection is doing, and what it has to remember for as long as it does that.

use std::time::{Duration, Instant};

use super::stream::Stream;
use crate::server::auth::Credential;
use crate::server::stats::CloseReason;
use crate::server::want::{ReportKind, Terms};

/// How long a credential waits for its proof at most, either behind wrong ones from the same address or for a thread.
pub(super) const PROOF_LIMIT: Duration = Duration::from_secs(60);

/// The states of a connection; `connection.rs` draws the ways between them.
#[derive(Debug)]
pub(super) enum ConnectionState {
    Request { since: Instant },
    Trial(Trial),
    Snapshot(Awaited),
    Report(ReportKind),
    Upload(Upload),
    Setting(Box<Wishing>),
    Reply,
    Stream(Stream),
    Drain { since: Instant },
    Closed(CloseReason),
}

/// A request that waits while its credential is proved, and afterwards for the penalty if it was wrong.
///
/// The request stays in the input as it came. If the credential is right, the request is read once more, and is
/// answered this time.
#[derive(Debug)]
pub(super) struct Trial {
    /// What is to be proved, until somebody takes it.
    pub(super) credential: Option<Credential>,
    /// The length of the request's head.
    pub(super) head: usize,
    /// When the request is refused, if nothing happens before that.
    pub(super) refuse_at: Instant,
    /// The credential was proved to be wrong. Otherwise it is not known what it is.
    pub(super) was_wrong: bool,
}

impl Trial {
    pub(super) fn new(credential: Credential, head: usize, now: Instant) -> Self {
        Trial {
            credential: Some(credential),
            head,
            refuse_at: now + PROOF_LIMIT,
            was_wrong: false,
        }
    }
}

/// A request for one frame.
#[derive(Debug)]
pub(super) struct Awaited {
    pub(super) camera: usize,
    pub(super) since: Instant,
    pub(super) terms: Terms,
}

/// A request whose body is being read.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) camera: usize,
    pub(super) since: Instant,
    /// How many bytes are still to come.
    pub(super) left: usize,
    pub(super) body: Vec<u8>,
}

/// Controls that the client wants to be set, each as `NAME=VALUE`.
#[derive(Debug)]
pub(super) struct Wishing {
    pub(super) camera: usize,
    pub(super) since: Instant,
    pub(super) wishes: Vec<String>,
    /// With the paths of devices in the answer.
    pub(super) details: bool,
}
