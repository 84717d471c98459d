//! When to begin a viewer's next frame: how to stay close to the present without letting the line fall idle.
//!
//! # The line
//!
//! A frame that was handed to the kernel waits there behind everything handed over before it, and ages. So it is chosen
//! as late as possible, which is when what was sent before leaves the line. Nobody reports that moment: acknowledgements
//! come one round trip later, and many lines hold them back, or pass data in lumps (token buckets, Wi-Fi, cable and
//! mobile networks), so that nothing is heard for 150 ms while data flows all the time. Therefore it is computed
//! (`pacing/line.rs`):
//!
//! - What the last acknowledgement covered is **where the line stood when it came**, because a line that has data passes
//!   it on at its rate. If `queued` bytes were not covered then, the acknowledgement of the last of them comes after
//!   `queued / rate`, however silent it is until then. One round trip before that, a new frame's first byte is in time.
//!   On a long line, that is when the frames before it are still on their way; none waits behind another.
//! - **The rate** is that of acknowledged bytes over time in which the line had something to carry, between two
//!   acknowledgements, over several of their silences. `tcpi_delivery_rate` covers a few segments only: it is a hundred
//!   times too high after an idle moment and far too low after a delayed acknowledgement. Where the line had nothing to
//!   carry for a part of the time, which is seen when all before a frame was acknowledged before one round trip had
//!   passed since its beginning, the rate was at least as high. After a loss the connection's window sets the pace, so
//!   that for some frames the line has to be idle for longer before that is believed.
//! - **A lost tail needs no rule.** When the last segments of a frame are lost, the receiver says so only when more data
//!   comes; otherwise the kernel waits for a probe or for its time-out, at least 200 ms (Linux `TCP_RTO_MIN`; RFC 6298
//!   asks for 1 s). The line is free at the computed moment all the same; the next frame begins, and its first bytes
//!   bring the report.
//! - **A dead line** looks like a silent one. So what may be without acknowledgement at the beginning of a frame is
//!   bounded: what flows during a round trip and the longest silence that has ended well, and half a frame. A dead line
//!   gets one more frame and no queue of them. On a unix socket nothing is on its way: there, all has to be read first.
//!
//! # The program
//!
//! What the other end's system has acknowledged, its program may not have read: `pacing/reader.rs` finds out, as far as that is possible.
//!
//! # The camera
//!
//! Frames arrive in steps of the camera's interval, and only if one was asked for before the step. A line that
//! becomes free between two steps gets the last frame before that moment. This frame arrives at the same time whether
//! it is sent now or when the line is free, so there is no reason to leave the line idle. Hence [`decide`]:
//!
//! ```text
//!             ask            frame                          frame (next step)
//!              │               │                               │
//!  ────────────┴───────────────┴───────────────┬───────────────┴──────► time
//!              ◄── interval + margin ──────────► line is free
//!                              begin here: no newer one comes before the line is free
//! ```
//!
//! There is one exception: if the next step comes soon after the line is free, waiting for it costs a little idle time
//! and makes the frame younger by nearly a whole interval. How soon is chosen so that 2 % of the line are spent
//! (`PATIENCE`): 9 ms of 33 on a line that takes a frame in 50 ms, 25 ms on one that takes a second.
//!
//! # What can be had
//!
//! No frame is younger on arrival than the time that it takes on the line and half a round trip; one that fills the
//! line is older by what has passed since the last step, up to an interval. `pacing/simulation.rs` computes the best
//! schedule for lines of many kinds and holds this rule to it. `benches/lines` measures it on packets; `docs/performance.md`
//! has both congestion controls, and which lines miss the aim: a token bucket that saves up what is not used makes
//! waiting free, which nothing here learns.
//!
//! Nothing here reads a clock or a socket.

mod line;
mod reader;
#[cfg(test)]
mod simulation;

use std::time::{Duration, Instant};

use self::line::SHORTEST_WAIT;
pub use self::line::{DELAYED_ACK, Meter, Path, Reading};
pub use self::reader::{AHEAD, Reader, Seen, Step};

/// Of the time that a frame takes on the line, this fraction may be spent waiting for a fresher one, on average.
const PATIENCE: f64 = 0.02;

/// The most of a frame interval that a free line may wait: not much more is to be gained.
const MOST_PATIENCE: f64 = 0.75;

/// How late a frame may be, as a fraction of the interval, before it is not waited for any longer.
const LATE: u32 = 5;

/// How long before a camera's step a frame must be asked for: the time to wake the producer, with some margin.
const ASK_MARGIN: Duration = Duration::from_millis(3);

/// The newest frame of a camera, as seen by one viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newest {
    /// When it arrived.
    pub arrived: Instant,
    /// It was opened, so another frame follows at the next step.
    pub asked: bool,
    /// It can be given to this viewer: it is fresh, and the viewer has not had it.
    pub usable: bool,
}

/// What to do for a viewer that is waiting for a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Send the newest frame.
    Begin,
    /// Ask for another frame, and decide again when it arrives or at this time.
    Ask(Option<Instant>),
    /// Decide again at this time, or when a frame arrives.
    Wait(Instant),
}

/// Decides for a viewer whose line is free at `free` (a time in the past means now; `None` means that nobody knows), on
/// which a frame `takes` so long, and a camera that delivers a frame every `interval`.
pub fn decide(
    now: Instant,
    free: Option<Instant>,
    takes: Duration,
    interval: Duration,
    newest: Option<Newest>,
) -> Decision {
    let Some(free) = free else {
        return Decision::Wait(now + SHORTEST_WAIT);
    };
    let free = free.max(now);
    let Some(newest) = newest else {
        return ask_in_time(now, free, interval, None);
    };
    let next = next_step(now, interval, newest);
    if newest.usable && free + patience(takes, interval) <= next {
        return Decision::Begin;
    }
    ask_in_time(now, free, interval, Some((newest, next)))
}

/// How long a free line may wait for the next frame. A line that becomes free at any moment of an interval waits in a
/// share `x` of all cases, `x / 2` of an interval on average: `x * x / 2` intervals per frame.
fn patience(takes: Duration, interval: Duration) -> Duration {
    let takes = takes.as_secs_f64() / interval.as_secs_f64().max(1e-3);
    interval.mul_f64((2.0 * PATIENCE * takes).sqrt().clamp(0.25, MOST_PATIENCE))
}

/// Asks just early enough for a frame to arrive in the last interval before the line is free.
fn ask_in_time(
    now: Instant,
    free: Instant,
    interval: Duration,
    newest: Option<(Newest, Instant)>,
) -> Decision {
    let ask_at = free
        .checked_sub(interval + ASK_MARGIN)
        .unwrap_or(now)
        .max(now);
    if ask_at > now {
        // Only half of the way: the rate may be wrong or change, which matters less the nearer the end is.
        let half = ((ask_at - now) / 2).max(SHORTEST_WAIT);
        return Decision::Wait(ask_at.min(now + half));
    }
    match newest {
        // The camera was asked already. If its next frame is late, a usable one must not be held back for ever.
        Some((newest, next)) if newest.usable => {
            let late = next + interval / LATE;
            if newest.asked {
                Decision::Wait(late)
            } else {
                Decision::Ask(Some(late))
            }
        }
        _ => Decision::Ask(None),
    }
}

/// When the camera's next frame is due. Steps are counted from the last arrival. A step for which no frame was asked
/// in time brings nothing; a frame that is a little late may still come.
fn next_step(now: Instant, interval: Duration, newest: Newest) -> Instant {
    let since = now.saturating_duration_since(newest.arrived);
    let counted = if newest.asked {
        since.saturating_sub(interval / LATE)
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
    const TAKES: Duration = Duration::from_millis(50);

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
    fn a_free_viewer_gets_a_frame_the_moment_it_arrives() {
        let now = Instant::now();
        assert_eq!(
            decide(now, Some(now), TAKES, INTERVAL, newest(now, false)),
            Decision::Begin
        );
    }

    #[test]
    fn a_viewer_without_a_usable_frame_asks_for_one() {
        let now = Instant::now();
        assert_eq!(
            decide(now, Some(now), TAKES, INTERVAL, None),
            Decision::Ask(None)
        );
    }

    #[test]
    fn a_busy_line_is_looked_at_again_half_way_to_the_time_to_ask() {
        let now = Instant::now();
        let ask_at = now + ms(800);
        let free = ask_at + INTERVAL + ASK_MARGIN;
        let turn = |now| {
            decide(
                now,
                Some(free),
                TAKES,
                INTERVAL,
                newest(ask_at - ms(1000), false),
            )
        };
        assert_eq!(turn(now), Decision::Wait(now + ms(400)));
        assert_eq!(turn(ask_at - ms(6)), Decision::Wait(ask_at - ms(1)));
        assert_eq!(turn(ask_at - ms(2)), Decision::Wait(ask_at));
        assert_eq!(
            decide(ask_at, Some(free), TAKES, INTERVAL, None),
            Decision::Ask(None),
            "one interval and a margin before the line is free"
        );
    }

    #[test]
    fn the_last_frame_before_the_line_is_free_is_begun_at_once() {
        let now = Instant::now();
        let turn = decide(now, Some(now + ms(20)), TAKES, INTERVAL, newest(now, true));
        assert_eq!(turn, Decision::Begin);
    }

    #[test]
    fn a_line_that_is_free_just_before_the_next_step_waits_for_it() {
        let now = Instant::now();
        let turn = decide(now, Some(now + ms(30)), TAKES, INTERVAL, newest(now, true));
        assert_eq!(turn, Decision::Wait(now + INTERVAL + INTERVAL / LATE));
    }

    #[test]
    fn a_camera_that_is_late_does_not_keep_back_the_frame_at_hand() {
        let arrived = Instant::now();
        let now = arrived + INTERVAL + INTERVAL / LATE + ms(1);
        assert_eq!(
            decide(now, Some(now), TAKES, INTERVAL, newest(arrived, true)),
            Decision::Begin
        );
    }

    #[test]
    fn a_step_that_nobody_asked_for_in_time_is_not_waited_for() {
        let arrived = Instant::now();
        let now = arrived + INTERVAL - ms(2);
        assert_eq!(
            decide(now, Some(now), TAKES, INTERVAL, newest(arrived, false)),
            Decision::Begin
        );
    }
}
