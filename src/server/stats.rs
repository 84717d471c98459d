//! Counters: what happened, by reason. Strangers cause most of it, so it is counted and not logged line by line.

use std::fmt;
use std::time::Duration;

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

    /// In a word or three.
    pub fn word(self) -> &'static str {
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
    /// Connections sent away because their address had too many.
    pub over_share: u64,
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
    /// Files that the system would not let us open or read.
    pub unreadable_frames: u64,
    /// Pictures sent in place of a camera's because it is lost.
    pub notices: u64,
    /// Ages of frames when they were handed over.
    pub ages: Ages,
    refused: [u64; Status::ALL.len()],
    closed: [u64; CloseReason::ALL.len()],
}

impl Stats {
    /// Counts a frame that is handed over at this age.
    pub fn hand_over(&mut self, age: Duration) {
        self.ages.add(age);
    }

    /// Counts a connection's end.
    pub fn close(&mut self, reason: CloseReason) {
        self.closed[reason as usize] += 1;
    }

    /// Connections that ended for `reason`.
    pub fn closed(&self, reason: CloseReason) -> u64 {
        self.closed[reason as usize]
    }

    /// Counts a reply that said no.
    pub fn refuse(&mut self, status: Status) {
        self.refused[status as usize] += 1;
    }

    /// Replies that said no in this way.
    pub fn refused(&self, status: Status) -> u64 {
        self.refused[status as usize]
    }
}

/// How many durations are how long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ages {
    counts: [u64; Self::BOUNDS.len() + 1],
    sum: Duration,
}

impl Ages {
    /// Upper bounds of the classes; what is longer has a class of its own. From a wake-up to a line that is hopeless, closer
    /// together where a frame's interval lies.
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

    /// How many there are in each class, the last without a bound.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// All together.
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

/// The counters that are not zero, after what they count.
fn write_counts(f: &mut fmt::Formatter<'_>, what: &str, counts: &[(u64, String)]) -> fmt::Result {
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let mut separator = format!("; {what}: ");
    for (count, word) in counts {
        write!(f, "{separator}{count} {word}")?;
        separator = ", ".into();
    }
    Ok(())
}
