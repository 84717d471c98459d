//! When a viewer's next frame is begun: the arithmetic of staying close to the present.
//!
//! A frame that is handed to the kernel waits there behind everything handed over before it, and ages.
//! So the frame to send is chosen as late as possible without letting the line fall idle: at the moment when what
//! is queued has shrunk to what the path itself holds, its rate times its shortest round trip. The kernel
//! knows both and does not tell when that moment comes, so it is computed ([`Path::drains_in`]).
//!
//! Frames come in steps of the camera's interval, and only when somebody asked before the step. A line that
//! becomes free between two steps gets the last frame before it: that one, sent now or when the line is
//! free, arrives at the same time, and the line need not wait for anything. Hence [`decide`]:
//!
//! ```text
//!             ask            frame                          frame (next step)
//!              │               │                               │
//!  ────────────┴───────────────┴───────────────┬───────────────┴──────► time
//!              ◄── interval + margin ──────────► line is free
//!                              begin here: no newer one comes before the line is free
//! ```
//!
//! One exception: if the next step comes just after the line is free ([`PATIENCE`]), waiting costs a little
//! idle time and makes the frame younger by nearly a whole interval.
//!
//! Nothing here reads a clock or a socket.

use std::time::{Duration, Instant};

/// Unacknowledged bytes that mean nothing: a receiver may hold back its acknowledgement for two segments
/// (RFC 9293, 3.8.6.3).
const DELAYED_ACK: u64 = 2 * 1460;

/// The part of a frame interval that a free line may wait for a fresher frame. A quarter: the wait happens for
/// one frame in four and lasts an eighth of an interval on average.
const PATIENCE: u32 = 4;

/// How long before a camera's step it must have been asked: a wake-up of the producer, with some room.
const ASK_MARGIN: Duration = Duration::from_millis(3);

/// How soon to look again at a path whose rate is not known yet.
const UNKNOWN_RATE_RETRY: Duration = Duration::from_millis(5);

/// What is known of the way to a viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Bytes handed to the kernel that the viewer has not acknowledged.
    pub queued: u64,
    /// Bytes per second that arrive, as last measured.
    pub rate: Option<u64>,
    /// The shortest round trip seen.
    pub min_rtt: Duration,
}

impl Path {
    /// A path that nothing was sent on.
    pub const IDLE: Path = Path {
        queued: 0,
        rate: None,
        min_rtt: Duration::ZERO,
    };

    /// The time until the line is free: until no more is queued than is on its way.
    pub fn drains_in(&self) -> Duration {
        if self.queued <= DELAYED_ACK {
            return Duration::ZERO;
        }
        match self.rate {
            Some(rate) => Duration::from_secs_f64(self.queued as f64 / rate as f64)
                .saturating_sub(self.min_rtt),
            None => UNKNOWN_RATE_RETRY,
        }
    }
}

/// The newest frame of a camera, as a viewer's choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newest {
    /// When it arrived.
    pub arrived: Instant,
    /// It was opened, so another one follows at the next step.
    pub asked: bool,
    /// This viewer can be given it: it is fresh, and the viewer has not had it.
    pub usable: bool,
}

/// What to do for a viewer that waits for a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Send the newest frame.
    Begin,
    /// Ask for another frame, and decide again when it arrives or at the given time.
    Ask(Option<Instant>),
    /// Decide again at this time, or when a frame arrives.
    Wait(Instant),
}

/// Decides for a viewer whose line is free at `free` (in the past: now), with a camera that gives a frame
/// every `interval`.
pub fn decide(now: Instant, free: Instant, interval: Duration, newest: Option<Newest>) -> Turn {
    let free = free.max(now);
    let Some(newest) = newest else {
        return ask_in_time(now, free, interval, None);
    };
    let next = next_step(now, interval, newest);
    if newest.usable && free + interval / PATIENCE <= next {
        return Turn::Begin;
    }
    ask_in_time(now, free, interval, Some((newest, next)))
}

/// Asks just early enough that a frame arrives in the last interval before the line is free.
fn ask_in_time(
    now: Instant,
    free: Instant,
    interval: Duration,
    newest: Option<(Newest, Instant)>,
) -> Turn {
    let ask_at = free
        .checked_sub(interval + ASK_MARGIN)
        .unwrap_or(now)
        .max(now);
    if ask_at > now {
        return Turn::Wait(ask_at);
    }
    match newest {
        // The camera was asked already. Should its next frame be late, a usable one is not held back for ever.
        Some((newest, next)) if newest.usable => {
            let late = next + interval / (2 * PATIENCE);
            if newest.asked {
                Turn::Wait(late)
            } else {
                Turn::Ask(Some(late))
            }
        }
        _ => Turn::Ask(None),
    }
}

/// When the camera's next frame is due. Its steps are counted from the last arrival; a step that was not asked
/// for in time brings nothing, and one that is a little late may still come.
fn next_step(now: Instant, interval: Duration, newest: Newest) -> Instant {
    let since = now.saturating_duration_since(newest.arrived);
    let counted = if newest.asked {
        since.saturating_sub(interval / (2 * PATIENCE))
    } else {
        since + ASK_MARGIN
    };
    let steps = counted.as_nanos() / interval.as_nanos().max(1) + 1;
    let steps = u32::try_from(steps).unwrap_or(u32::MAX);
    newest
        .arrived
        .checked_add(interval.saturating_mul(steps))
        .unwrap_or(now + interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(32);

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn newest(arrived: Instant, asked: bool) -> Option<Newest> {
        Some(Newest {
            arrived,
            asked,
            usable: true,
        })
    }

    #[test]
    fn a_path_with_nothing_but_a_delayed_acknowledgement_is_free() {
        let path = Path {
            queued: 2900,
            rate: Some(1000),
            min_rtt: Duration::ZERO,
        };
        assert_eq!(path.drains_in(), Duration::ZERO);
        assert_eq!(Path::IDLE.drains_in(), Duration::ZERO);
    }

    #[test]
    fn a_path_is_free_when_only_what_is_on_its_way_is_queued() {
        let path = Path {
            queued: 100_000,
            rate: Some(1_000_000),
            min_rtt: ms(40),
        };
        assert_eq!(path.drains_in(), ms(60));
        let shorter_than_the_round_trip = Path {
            queued: 30_000,
            ..path
        };
        assert_eq!(shorter_than_the_round_trip.drains_in(), Duration::ZERO);
    }

    #[test]
    fn a_free_viewer_gets_a_frame_the_moment_it_arrives() {
        let now = Instant::now();
        assert_eq!(decide(now, now, INTERVAL, newest(now, false)), Turn::Begin);
    }

    #[test]
    fn a_viewer_without_a_usable_frame_asks_for_one() {
        let now = Instant::now();
        assert_eq!(decide(now, now, INTERVAL, None), Turn::Ask(None));
    }

    #[test]
    fn a_busy_line_asks_one_interval_before_it_is_free() {
        let now = Instant::now();
        let free = now + ms(800);
        let turn = decide(now, free, INTERVAL, newest(now, true));
        assert_eq!(turn, Turn::Wait(free - INTERVAL - ASK_MARGIN));
    }

    #[test]
    fn the_last_frame_before_the_line_is_free_is_begun_at_once() {
        let now = Instant::now();
        let turn = decide(now, now + ms(20), INTERVAL, newest(now, true));
        assert_eq!(turn, Turn::Begin);
    }

    #[test]
    fn a_line_that_is_free_just_before_the_next_step_waits_for_it() {
        let now = Instant::now();
        let turn = decide(now, now + ms(30), INTERVAL, newest(now, true));
        assert_eq!(turn, Turn::Wait(now + INTERVAL + ms(4)));
    }

    #[test]
    fn a_camera_that_is_late_does_not_keep_back_the_frame_at_hand() {
        let arrived = Instant::now();
        let now = arrived + INTERVAL + ms(5);
        assert_eq!(
            decide(now, now, INTERVAL, newest(arrived, true)),
            Turn::Begin
        );
    }

    #[test]
    fn a_step_that_nobody_asked_for_in_time_is_not_waited_for() {
        let arrived = Instant::now();
        let now = arrived + INTERVAL - ms(2);
        assert_eq!(
            decide(now, now, INTERVAL, newest(arrived, false)),
            Turn::Begin
        );
    }
}
