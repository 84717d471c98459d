//! Counters of what happened, by reason. Most of it is caused by unknown clients, so it is counted instead of logged
//! line by line.

use std::fmt;
use std::time::Duration;

use crate::server::http::status::Status;

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The client closed it.
    Left,
    /// Everything was sent, and neither side wants more.
    Done,
    /// No request came for a while.
    Idle,
    /// There was no place for somebody else, who needed one more.
    GaveWay,
    /// The client stopped acknowledging what was sent to it.
    Stalled,
    /// It held the oldest frame while more frames were held than memory is set aside for.
    HeldTooMuch,
    /// It went on sending while it was sent a stream.
    TooMuchInput,
    /// The connection broke.
    Failed,
    /// The server is stopping.
    Stopping,
    /// The server is stopping, and the service manager keeps the connection for the next one.
    HandedOver,
}

impl CloseReason {
    /// Every reason, in the order of the counters.
    pub const ALL: [CloseReason; 10] = [
        CloseReason::Left,
        CloseReason::Done,
        CloseReason::Idle,
        CloseReason::GaveWay,
        CloseReason::Stalled,
        CloseReason::HeldTooMuch,
        CloseReason::TooMuchInput,
        CloseReason::Failed,
        CloseReason::Stopping,
        CloseReason::HandedOver,
    ];

    /// The reason in at most three words.
    pub fn word(self) -> &'static str {
        match self {
            CloseReason::Left => "left",
            CloseReason::Done => "done",
            CloseReason::Idle => "idle",
            CloseReason::GaveWay => "gave way",
            CloseReason::Stalled => "stalled",
            CloseReason::HeldTooMuch => "held too much",
            CloseReason::TooMuchInput => "too much input",
            CloseReason::Failed => "failed",
            CloseReason::Stopping => "stopping",
            CloseReason::HandedOver => "handed over",
        }
    }
}

/// What the server has done since it was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections turned away because there were too many.
    pub turned_away: u64,
    /// Connections turned away because there were too many from their address.
    pub over_share: u64,
    /// Streams begun.
    pub streams: u64,
    /// Snapshots sent.
    pub snapshots: u64,
    /// Frames that were started on streams.
    pub frames: u64,
    /// Frames sent again because there was no newer one.
    pub repeats: u64,
    /// Files that were not a complete JPEG.
    pub broken_frames: u64,
    /// Files that the system did not let us open or read.
    pub unreadable_frames: u64,
    /// Pictures sent in place of a lost camera's own.
    pub notices: u64,
    /// The ages of frames when they were handed over.
    pub ages: Ages,
    refused: [u64; Status::ALL.len()],
    closed: [u64; CloseReason::ALL.len()],
}

impl Stats {
    /// Counts a frame that is handed over at this age.
    pub fn hand_over(&mut self, age: Duration) {
        self.ages.add(age);
    }

    /// Counts the end of a connection.
    pub fn close(&mut self, reason: CloseReason) {
        self.closed[reason as usize] += 1;
    }

    /// How many connections ended for `reason`.
    pub fn closed(&self, reason: CloseReason) -> u64 {
        self.closed[reason as usize]
    }

    /// Counts a refusal.
    pub fn refuse(&mut self, status: Status) {
        self.refused[status as usize] += 1;
    }

    /// How many requests were refused with this status.
    pub fn refused(&self, status: Status) -> u64 {
        self.refused[status as usize]
    }
}

/// A histogram of durations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ages {
    counts: [u64; Self::BOUNDS.len() + 1],
    sum: Duration,
}

impl Ages {
    /// Upper bounds of the classes; there is one more class for everything above. They range from the time of a
    /// wake-up to that of a hopeless line, and are closer together around the length of a frame interval.
    pub const BOUNDS: [Duration; 12] = [
        Duration::from_millis(1),
        Duration::from_millis(2),
        Duration::from_millis(5),
        Duration::from_millis(10),
        Duration::from_millis(20),
        Duration::from_millis(35),
        Duration::from_millis(50),
        Duration::from_millis(100),
        Duration::from_millis(200),
        Duration::from_millis(500),
        Duration::from_secs(1),
        Duration::from_secs(5),
    ];

    fn add(&mut self, age: Duration) {
        let class = Self::BOUNDS.partition_point(|bound| *bound < age);
        self.counts[class] += 1;
        self.sum = self.sum.saturating_add(age);
    }

    /// The number of durations in each class. The last class has no upper bound.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// The sum of all durations.
    pub fn sum(&self) -> Duration {
        self.sum
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} connections, {} streams, {} snapshots, {} frames ({} repeated, {} broken, {} unreadable), {} turned away, {} more for their address",
            self.accepted,
            self.streams,
            self.snapshots,
            self.frames,
            self.repeats,
            self.broken_frames,
            self.unreadable_frames,
            self.turned_away,
            self.over_share,
        )?;
        let refused = Status::ALL.map(|status| (self.refused(status), status.code().to_string()));
        let closed = CloseReason::ALL.map(|reason| (self.closed(reason), reason.word().to_owned()));
        write_counts(f, "refused", &refused)?;
        write_counts(f, "ended", &closed)
    }
}

/// The counters that are not zero, preceded by what they count.
fn write_counts(f: &mut fmt::Formatter<'_>, what: &str, counts: &[(u64, String)]) -> fmt::Result {
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let mut separator = format!("; {what}: ");
    for (count, word) in counts {
        write!(f, "{separator}{count} {word}")?;
        separator = ", ".into();
    }
    Ok(())
}
