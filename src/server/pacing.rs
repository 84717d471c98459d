//! When to begin a viewer's next frame: the arithmetic of staying close to the present.
//!
//! A frame that was handed to the kernel waits there behind everything handed over before it, and ages. So the frame
//! to send is chosen as late as is possible without letting the line fall idle. That is the moment when the queued
//! data has shrunk to what the path itself holds: its rate times its shortest round trip. The kernel does not report
//! this moment, so it is computed ([`Path::drains_in`]) from what is queued and from a rate that is measured here
//! ([`Meter`]). The kernel's own rate (`tcpi_delivery_rate`) covers only the last few segments: it is a hundred times
//! too high after an idle moment and far too low after a delayed acknowledgement.
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
//! There is one exception: if the next step comes just after the line is free (`PATIENCE`), waiting for it costs a
//! little idle time and makes the frame younger by nearly a whole interval.
//!
//! Nothing here reads a clock or a socket.

use std::time::{Duration, Instant};

/// This many unacknowledged bytes mean nothing: a receiver may delay its acknowledgement until it has two segments
/// (RFC 9293, 3.8.6.3).
pub const DELAYED_ACK: u64 = 2 * 1460;

/// A free line may wait this fraction of a frame interval for a fresher frame. With a quarter, one frame in four
/// waits, an eighth of an interval on average.
const PATIENCE: u32 = 4;

/// How long before a camera's step a frame must be asked for: the time to wake the producer, with some margin.
const ASK_MARGIN: Duration = Duration::from_millis(3);

/// How soon to look again at a path whose rate is not known yet; also the shortest wait for a busy path.
const SHORTEST_WAIT: Duration = Duration::from_millis(5);

/// The shortest time without an acknowledgement after which a line is considered stalled. On slow lines the time is
/// longer: one and a quarter round trips, or three times as long as two segments take (one acknowledgement covers two
/// segments).
///
/// A line stalls when the last segments of a frame were lost in a queue on the way. The receiver reports the loss
/// only when more data arrives. If none is sent, the kernel waits for its retransmission time-out, at least 200 ms
/// (Linux `TCP_RTO_MIN`; RFC 6298 asks for 1 s), and the line is idle meanwhile.
const STANDSTILL: Duration = Duration::from_millis(20);

/// A rate is measured over at least this many bytes or this much time, because acknowledgements come in bursts.
const METER_BYTES: u64 = 16 * 1024;
const METER_TIME: Duration = Duration::from_millis(100);

/// What is known about the path to a viewer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Path {
    /// Bytes handed to the kernel that the viewer has not acknowledged.
    pub queued: u64,
    /// Bytes that arrive per second, measured while the line was busy.
    pub rate: Option<f64>,
    /// The shortest round trip seen.
    pub min_rtt: Duration,
    /// Only the end of a frame is queued, and none of it has arrived for a while.
    pub lost_its_tail: bool,
}

impl Path {
    /// A path on which nothing was sent.
    pub const IDLE: Path = Path {
        queued: 0,
        rate: None,
        min_rtt: Duration::ZERO,
        lost_its_tail: false,
    };

    /// How long it takes until the line is free, which is when only data that is already on its way is queued.
    pub fn drains_in(&self) -> Duration {
        if self.queued <= DELAYED_ACK || self.lost_its_tail {
            return Duration::ZERO;
        }
        match self.rate {
            // A quarter more than one round trip: a rate that was measured while the line had spare capacity is too
            // low.
            Some(rate) => Duration::from_secs_f64(self.queued as f64 / rate)
                .saturating_sub(self.min_rtt + self.min_rtt / 4),
            None => SHORTEST_WAIT,
        }
    }
}

/// Measures the rate of a line while it is busy; an idle line gives no information.
///
/// It follows a lower rate faster than a higher one. Traffic shapers let a burst through after an idle moment, and an
/// estimate that is too high begins a frame too early, which then ages in a queue. An estimate that is too low is
/// corrected at the next measurement.
///
/// Nothing can be acknowledged before one round trip has passed, so busy time is counted from then on. Otherwise a
/// long line that is never full would look like a slow one.
#[derive(Debug, Default)]
pub struct Meter {
    /// The time from which acknowledgements can come, and how much had been acknowledged by then.
    busy: Option<(Instant, u64)>,
    rate: Option<f64>,
    acknowledged: u64,
    /// When something last arrived, or the earliest time at which it could.
    moved: Option<Instant>,
    min_rtt: Duration,
}

impl Meter {
    /// Records that data is handed to the kernel.
    pub fn begin(&mut self, now: Instant) {
        let first_answer = now + self.min_rtt;
        self.busy.get_or_insert((first_answer, self.acknowledged));
        self.moved = self.moved.max(Some(first_answer));
    }

    /// Whether nothing has arrived for longer than is normal on a working line.
    pub fn stands_still(&self, now: Instant) -> bool {
        let step = match self.rate(now) {
            Some(rate) => Duration::from_secs_f64(DELAYED_ACK as f64 / rate),
            None => Duration::ZERO,
        };
        let round_trip = self.min_rtt + self.min_rtt / 4;
        let patience = STANDSTILL.max(round_trip).max(step * 3);
        self.busy.is_some() && self.moved.is_some_and(|moved| moved + patience <= now)
    }

    /// Records that `acknowledged` bytes have arrived in total and `queued` bytes have yet to arrive.
    pub fn observe(&mut self, now: Instant, acknowledged: u64, queued: u64, min_rtt: Duration) {
        if acknowledged > self.acknowledged {
            self.moved = Some(now);
        }
        self.acknowledged = acknowledged;
        self.min_rtt = min_rtt;
        let Some((since, before)) = self.busy else {
            return;
        };
        let time = now.saturating_duration_since(since);
        let bytes = acknowledged.saturating_sub(before);
        let sample = bytes as f64 / time.as_secs_f64().max(0.001);
        if queued <= DELAYED_ACK {
            // Everything has arrived, some unknown time ago: the rate was at least this high.
            self.busy = None;
            if bytes >= METER_BYTES {
                self.rate = self.rate.map(|rate| rate + (sample - rate).max(0.0) / 4.0);
            }
        } else if self.stands_still(now) {
            // A stall says nothing about the rate at which the line moves.
            self.busy = Some((now, acknowledged));
        } else if !time.is_zero() && (bytes >= METER_BYTES || time >= METER_TIME) {
            self.busy = Some((now, acknowledged));
            self.rate = Some(match self.rate {
                Some(rate) if sample > rate => rate + (sample - rate) / 8.0,
                Some(rate) => rate + (sample - rate) / 2.0,
                None => sample,
            });
        }
    }

    /// Bytes per second, if a rate is known. It is never 0; a stalled line counts as too slow to be of use. Before
    /// the first acknowledgement can have come, everything sent is assumed to be on its way and not in a queue.
    pub fn rate(&self, now: Instant) -> Option<f64> {
        match (self.rate, self.busy) {
            (Some(rate), _) => Some(rate.max(1.0)),
            (None, Some((since, _))) if now < since => Some(f64::INFINITY),
            (None, _) => None,
        }
    }
}

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
pub enum Turn {
    /// Send the newest frame.
    Begin,
    /// Ask for another frame, and decide again when it arrives or at this time.
    Ask(Option<Instant>),
    /// Decide again at this time, or when a frame arrives.
    Wait(Instant),
}

/// Decides for a viewer whose line is free at `free` (a time in the past means now) and a camera that delivers a
/// frame every `interval`.
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

/// Asks just early enough for a frame to arrive in the last interval before the line is free.
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
        // Only half of the way: the rate may be wrong or change, which matters less the nearer the end is.
        let half = ((ask_at - now) / 2).max(SHORTEST_WAIT);
        return Turn::Wait(ask_at.min(now + half));
    }
    match newest {
        // The camera was asked already. If its next frame is late, a usable one must not be held back for ever.
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

/// When the camera's next frame is due. Steps are counted from the last arrival. A step for which no frame was asked
/// in time brings nothing; a frame that is a little late may still come.
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
            rate: Some(1000.0),
            ..Path::IDLE
        };
        assert_eq!(path.drains_in(), Duration::ZERO);
        assert_eq!(Path::IDLE.drains_in(), Duration::ZERO);
    }

    #[test]
    fn a_path_is_free_when_only_what_is_on_its_way_is_queued() {
        let path = Path {
            queued: 100_000,
            rate: Some(1_000_000.0),
            min_rtt: ms(40),
            lost_its_tail: false,
        };
        assert_eq!(path.drains_in(), ms(50));
        let shorter_than_the_round_trip = Path {
            queued: 30_000,
            ..path
        };
        assert_eq!(shorter_than_the_round_trip.drains_in(), Duration::ZERO);
    }

    #[test]
    fn the_meter_counts_busy_time_only() {
        let start = Instant::now();
        let mut meter = Meter::default();
        meter.begin(start);
        meter.observe(start + ms(50), 50_000, 50_000, ms(0));
        assert_eq!(meter.rate(start), Some(1_000_000.0));
        // All but a delayed acknowledgement has arrived, and then nothing was sent for a while.
        meter.observe(start + ms(1000), 98_000, 2000, ms(0));
        meter.begin(start + ms(2000));
        meter.observe(start + ms(2050), 148_000, 50_000, ms(0));
        assert_eq!(meter.rate(start), Some(1_000_000.0));
    }

    #[test]
    fn the_meter_believes_in_a_slower_line_sooner_than_in_a_faster_one() {
        let start = Instant::now();
        let measured = |second: u64| {
            let mut meter = Meter::default();
            meter.begin(start);
            meter.observe(start + ms(100), 100_000, 800_000, ms(0));
            meter.observe(start + ms(200), 100_000 + second, 700_000, ms(0));
            meter.rate(start).unwrap()
        };
        assert_eq!(measured(20_000), 600_000.0);
        assert_eq!(measured(180_000), 1_100_000.0);
    }

    #[test]
    fn a_long_line_that_is_not_full_does_not_seem_slow() {
        let start = Instant::now();
        let mut meter = Meter::default();
        meter.observe(start, 0, 0, ms(100));
        meter.begin(start);
        meter.observe(start + ms(33), 0, 64_000, ms(100));
        assert_eq!(meter.rate(start + ms(33)), Some(f64::INFINITY));
        meter.begin(start + ms(33));
        meter.begin(start + ms(66));
        meter.observe(start + ms(132), 64_000, 128_000, ms(100));
        assert_eq!(meter.rate(start + ms(132)), Some(2_000_000.0));
    }

    #[test]
    fn a_line_that_stands_still_is_not_taken_for_a_slow_one() {
        let start = Instant::now();
        let mut meter = Meter::default();
        meter.begin(start);
        meter.observe(start + ms(50), 50_000, 50_000, ms(0));
        assert!(!meter.stands_still(start + ms(60)));
        assert!(meter.stands_still(start + ms(70)));
        meter.observe(start + ms(250), 50_000, 50_000, ms(0));
        meter.observe(start + ms(260), 90_000, 10_000, ms(0));
        assert!(!meter.stands_still(start + ms(260)));
        assert!(meter.rate(start).unwrap() >= 1_000_000.0);
    }

    #[test]
    fn a_line_that_lost_the_end_of_a_frame_is_free_for_the_next() {
        let path = Path {
            queued: 12_000,
            rate: Some(1_000.0),
            lost_its_tail: true,
            ..Path::IDLE
        };
        assert_eq!(path.drains_in(), Duration::ZERO);
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
    fn a_busy_line_is_looked_at_again_half_way_to_the_time_to_ask() {
        let now = Instant::now();
        let ask_at = now + ms(800);
        let free = ask_at + INTERVAL + ASK_MARGIN;
        let turn = |now| decide(now, free, INTERVAL, newest(ask_at - ms(1000), false));
        assert_eq!(turn(now), Turn::Wait(now + ms(400)));
        assert_eq!(turn(ask_at - ms(6)), Turn::Wait(ask_at - ms(1)));
        assert_eq!(turn(ask_at - ms(2)), Turn::Wait(ask_at));
        assert_eq!(
            decide(ask_at, free, INTERVAL, None),
            Turn::Ask(None),
            "one interval and a margin before the line is free"
        );
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
