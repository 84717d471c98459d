//! What is reported about a viewer: counted as frames go out, computed when somebody asks.
//!
//! For each frame, this costs a viewer a few additions and no system call. Only the moment at which the last byte of
//! a frame was acknowledged has to be looked for. On a busy line it is seen when the line is examined for the next
//! frame; on a free line the kernel is asked for it when somebody wants to know.

use std::time::{Duration, Instant};

use crate::server::pacing::Reader;
use crate::time::rate::Rate;

/// A frame that is on its way.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// How many bytes will have been sent on the connection when all of the frame has been.
    end: u64,
    taken: Instant,
}

/// The figures of one stream. The stream itself knows how many frames it is sent per second (`connection/stream.rs`).
#[derive(Debug)]
pub(in crate::server) struct Figures {
    /// Frames that were started.
    pub(in crate::server) sent: u64,
    /// Frames that came between two that were sent.
    pub(in crate::server) skipped: u64,
    bytes: Rate,
    /// The age of the last new frame when it was started.
    pub(in crate::server) age_at_hand_over: Option<Duration>,
    age_at_last_byte: Option<Duration>,
    /// The last two frames, unless they have arrived. There are two because a frame is started before the previous
    /// one has arrived.
    marks: [Option<Mark>; 2],
    /// What is known about the program at the other end.
    pub(in crate::server) reader: Reader,
}

impl Figures {
    pub(in crate::server) fn new(now: Instant) -> Self {
        Figures {
            sent: 0,
            skipped: 0,
            bytes: Rate::new(now),
            age_at_hand_over: None,
            age_at_last_byte: None,
            marks: [None, None],
            reader: Reader::new(now),
        }
    }

    /// A frame captured at `taken` is started; `end` bytes will have been sent on this connection after it.
    pub(in crate::server) fn begin(
        &mut self,
        skipped: u64,
        taken: Instant,
        len: u64,
        end: u64,
        now: Instant,
    ) {
        self.sent += 1;
        self.skipped += skipped;
        self.bytes.add(len, now);
        self.age_at_hand_over = Some(now.saturating_duration_since(taken));
        self.marks = [self.marks[1], Some(Mark { end, taken })];
    }

    /// A frame is sent again, or a picture in its place.
    pub(in crate::server) fn fill_in(&mut self, len: u64, now: Instant) {
        self.sent += 1;
        self.bytes.add(len, now);
        self.marks = [None, None];
    }

    /// At `at`, `arrived` bytes of the connection had been acknowledged.
    pub(in crate::server) fn observe(&mut self, arrived: u64, at: Instant) {
        for mark in &mut self.marks {
            if let Some(frame) = mark.take_if(|frame| frame.end <= arrived) {
                self.age_at_last_byte = Some(at.saturating_duration_since(frame.taken));
            }
        }
    }

    /// Whether the last byte of a frame may have arrived unnoticed.
    pub(in crate::server) fn is_open(&self) -> bool {
        self.marks.iter().any(Option::is_some)
    }

    /// The age of the last frame that has arrived, at the time when its last byte was acknowledged.
    pub(in crate::server) fn age_at_last_byte(&self) -> Option<Duration> {
        self.age_at_last_byte
    }

    /// Bytes of frames per second.
    pub(in crate::server) fn bytes_per_second(&self, now: Instant) -> f64 {
        self.bytes.at(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_frame_has_arrived_when_its_last_byte_has() {
        let start = Instant::now();
        let at = |ms| start + millis(ms);
        let mut figures = Figures::new(start);
        figures.begin(0, at(0), 1000, 1000, at(5));
        assert_eq!(figures.age_at_hand_over, Some(millis(5)));
        figures.observe(999, at(10));
        assert_eq!(figures.age_at_last_byte(), None);
        figures.begin(2, at(30), 1000, 2000, at(40));
        figures.observe(1000, at(50));
        assert_eq!(figures.age_at_last_byte(), Some(millis(50)));
        figures.observe(2000, at(60));
        assert_eq!(figures.age_at_last_byte(), Some(millis(30)));
        assert!(!figures.is_open());
        assert_eq!((figures.sent, figures.skipped), (2, 2));
    }
}
