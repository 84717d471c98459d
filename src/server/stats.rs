//! Counters: what happened, by reason. Strangers cause most of it, so it is counted and not logged line by line.

use std::fmt;

use super::response::Status;

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The client closed it.
    Left,
    /// All was sent and neither side wants more.
    Done,
    /// No request came on it for a while.
    Idle,
    /// Nothing that was sent to it arrived any more.
    Stalled,
    /// It held the oldest of more frames than memory is set aside for.
    HeldTooMuch,
    /// The connection broke.
    Failed,
    /// The server ends.
    Stopping,
}

impl CloseReason {
    /// Every reason, in the order of the counters.
    pub const ALL: [CloseReason; 7] = [
        CloseReason::Left,
        CloseReason::Done,
        CloseReason::Idle,
        CloseReason::Stalled,
        CloseReason::HeldTooMuch,
        CloseReason::Failed,
        CloseReason::Stopping,
    ];

    fn word(self) -> &'static str {
        match self {
            CloseReason::Left => "left",
            CloseReason::Done => "done",
            CloseReason::Idle => "idle",
            CloseReason::Stalled => "stalled",
            CloseReason::HeldTooMuch => "held too much",
            CloseReason::Failed => "failed",
            CloseReason::Stopping => "stopping",
        }
    }
}

/// What the server did since it was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections sent away because there were too many.
    pub turned_away: u64,
    /// Streams begun.
    pub streams: u64,
    /// Snapshots sent.
    pub snapshots: u64,
    /// Frames begun on streams.
    pub frames: u64,
    /// Frames sent once more because there was no newer one.
    pub repeats: u64,
    /// Files that were no whole JPEG.
    pub broken_frames: u64,
    /// Replies that said no.
    pub refusals: u64,
    closed: [u64; CloseReason::ALL.len()],
}

impl Stats {
    /// Counts a connection's end.
    pub fn close(&mut self, reason: CloseReason) {
        self.closed[reason as usize] += 1;
    }

    /// Connections that ended for `reason`.
    pub fn closed(&self, reason: CloseReason) -> u64 {
        self.closed[reason as usize]
    }

    /// Counts a refusal.
    pub fn refuse(&mut self, _status: Status) {
        self.refusals += 1;
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} connections, {} streams, {} snapshots, {} frames ({} repeated, {} broken), {} refusals, {} turned away; ended:",
            self.accepted,
            self.streams,
            self.snapshots,
            self.frames,
            self.repeats,
            self.broken_frames,
            self.refusals,
            self.turned_away,
        )?;
        for reason in CloseReason::ALL {
            if self.closed(reason) > 0 {
                write!(f, " {} {}", self.closed(reason), reason.word())?;
            }
        }
        Ok(())
    }
}
