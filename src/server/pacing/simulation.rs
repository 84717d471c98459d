//! A simulated line with its viewer, and the best that can be done with it, computed beside it.
//!
//! The line has a rate, a round trip and a queue without end; acknowledgements pass in clumps, and tails can be lost. The
//! server sees of it what the kernel would tell: how much was acknowledged, when that last changed, and the round trip. It
//! looks when it has said that it would, and when a frame comes. The best schedule knows when the line is free.

use std::time::{Duration, Instant};

use super::{Decision, Meter, Newest, Reading, decide};

const SEGMENT: u64 = 1448;
const HEADERS: u64 = 52;
const FRAME: u64 = 100 * 1024;
/// A frame with the headers of its packets.
const ON_THE_LINE: f64 = (FRAME + FRAME.div_ceil(SEGMENT) * HEADERS) as f64;
const INTERVAL: Duration = Duration::from_micros(33_333);
const LENGTH: Duration = Duration::from_secs(60);

/// What comes before does not count.
const COUNTED: Duration = Duration::from_secs(12);

/// A lost tail is sent again when this much later nothing has come of it: about the least that Linux waits (`TCP_RTO_MIN`).
const TIME_OUT: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug, Default)]
struct Line {
    /// Bytes per second.
    rate: f64,
    round_trip: Duration,
    clump: Duration,
    /// So many bytes pass at once after an idle moment, and so many segments together at all times: a token bucket.
    burst: u64,
    lump: usize,
    /// It has this part of its rate at first, if that is not 0.
    at_first: f64,
    /// Every second frame loses so many of its last segments.
    lost: usize,
    /// The kernel tells times in these.
    tick: Duration,
}

/// A frame on its way.
struct Sent {
    taken: Instant,
    begun: Instant,
    arrived: Option<Instant>,
}

struct Packet {
    frame: usize,
    bytes: u64,
    sent: Instant,
    /// When it was at the viewer, if it was not lost.
    arrives: Option<Instant>,
    acknowledged: Instant,
}

struct Simulation {
    line: Line,
    start: Instant,
    free: Instant,
    segments: Vec<Packet>,
    /// How many of them arrived in order, and when the last of these did; of how many the server knows.
    settled: (usize, Instant),
    known: usize,
    acknowledged: u64,
    sent: u64,
    frames: Vec<Sent>,
}

impl Simulation {
    fn new(line: Line) -> Self {
        let start = Instant::now();
        Simulation {
            line,
            start,
            free: start,
            segments: Vec::new(),
            settled: (0, start),
            known: 0,
            acknowledged: 0,
            sent: 0,
            frames: Vec::new(),
        }
    }

    /// When an acknowledgement sent at `at` is back.
    fn back(&self, at: Instant) -> Instant {
        let at = at + self.line.round_trip / 2;
        let clump = self.line.clump.as_nanos();
        if clump == 0 {
            return at;
        }
        let clumps = (at - self.start).as_nanos() / clump + 1;
        self.start + Duration::from_nanos((clumps * clump) as u64)
    }

    fn begin(&mut self, now: Instant, taken: Instant) {
        let frame = self.frames.len();
        self.frames.push(Sent {
            taken,
            begun: now,
            arrived: None,
        });
        self.repeat_lost(now);
        let count = FRAME.div_ceil(SEGMENT) as usize;
        let is_slower = self.line.at_first > 0.0 && now < self.start + COUNTED / 3;
        let rate = self.line.rate * if is_slower { self.line.at_first } else { 1.0 };
        for number in 0..count {
            let bytes = SEGMENT.min(FRAME - number as u64 * SEGMENT);
            let packet = (bytes + HEADERS) as f64;
            let saved = Duration::from_secs_f64(self.line.burst as f64 / rate);
            self.free = self.free.max(now.checked_sub(saved).unwrap())
                + Duration::from_secs_f64(packet / rate);
            let more = (self.line.lump.max(1) - 1 - number % self.line.lump.max(1))
                .min(count - 1 - number);
            let behind = Duration::from_secs_f64(more as f64 * (SEGMENT + HEADERS) as f64 / rate);
            let there = (self.free + behind).max(now) + self.line.round_trip / 2;
            self.sent += bytes;
            let lost = frame % 2 == 1 && number + self.line.lost >= count;
            self.segments.push(Packet {
                frame,
                bytes,
                sent: now,
                arrives: (!lost).then_some(there),
                acknowledged: there,
            });
        }
        self.settle();
    }

    /// The first data behind a gap tells the server of it, and what was lost is sent again.
    fn repeat_lost(&mut self, now: Instant) {
        let told = now.max(self.free) + self.line.round_trip;
        self.send_again(told);
    }

    fn send_again(&mut self, at: Instant) {
        let unsettled = &mut self.segments[self.settled.0..];
        for segment in unsettled.iter_mut().filter(|one| one.arrives.is_none()) {
            let at = at.min(segment.sent + TIME_OUT + self.line.round_trip);
            segment.arrives = Some(at + self.line.round_trip / 2);
        }
    }

    /// Time passes without another frame: the time-out sends the tail again.
    fn time_out(&mut self, now: Instant) {
        let limit = TIME_OUT + self.line.round_trip;
        let free = self.free;
        let late = |one: &Packet| one.arrives.is_none() && free.max(one.sent) + limit <= now;
        if self.segments[self.settled.0..].iter().any(late) {
            self.send_again(now);
            self.settle();
        }
    }

    /// An acknowledgement covers all before it.
    fn settle(&mut self) {
        while let Some(segment) = self.segments.get(self.settled.0) {
            let Some(arrives) = segment.arrives else {
                return;
            };
            let at = arrives.max(self.settled.1);
            let acknowledged = self.back(at);
            let segment = &mut self.segments[self.settled.0];
            segment.acknowledged = acknowledged;
            self.frames[segment.frame].arrived = Some(at);
            self.settled = (self.settled.0 + 1, at);
        }
    }

    /// What the kernel says at `now`.
    fn reading(&mut self, now: Instant) -> Reading {
        self.time_out(now);
        while self.known < self.settled.0 && self.segments[self.known].acknowledged <= now {
            self.acknowledged += self.segments[self.known].bytes;
            self.known += 1;
        }
        let last = match self.known {
            0 => self.start,
            known => self.segments[known - 1].acknowledged,
        };
        let tick = self.line.tick.as_nanos().max(1);
        let ticks = |at: Instant| (at - self.start).as_nanos() / tick;
        let silent = Duration::from_nanos(((ticks(now) - ticks(last)) * tick) as u64);
        Reading {
            acknowledged: self.acknowledged,
            queued: self.sent - self.acknowledged,
            silent,
            min_rtt: self.line.round_trip,
            is_local: false,
            repeated: 0,
        }
    }

    /// Median and 90th percentile of the ages, and how much of the line was used.
    fn result(mut self) -> [f64; 3] {
        self.settle();
        let skipped = self.frames.iter().skip(self.frames.len() / 5);
        let mut ages: Vec<f64> = skipped
            .filter_map(|frame| Some((frame.arrived? - frame.taken).as_secs_f64() * 1e3))
            .collect();
        ages.sort_by(f64::total_cmp);
        let counted = |frame: &&Sent| frame.begun >= self.start + COUNTED;
        let begun = self.frames.iter().map(|frame| frame.begun);
        let first = self.frames.iter().find(counted).unwrap().begun;
        let frames = begun.filter(|at| *at >= first).count() as f64;
        let time = (self.start + LENGTH - first).as_secs_f64();
        let carried = (time * self.line.rate / ON_THE_LINE).min(time * 30.0);
        [
            ages[ages.len() / 2],
            ages[ages.len() * 9 / 10],
            frames / carried,
        ]
    }
}

/// The camera delivers at each step if it was asked before.
struct FrameClock {
    next: Instant,
    newest: Option<Newest>,
    asked: bool,
}

/// What the rule does.
fn simulate(line: Line) -> [f64; 3] {
    let mut simulation = Simulation::new(line);
    let mut meter = Meter::default();
    let mut camera = FrameClock {
        next: simulation.start,
        newest: None,
        asked: true,
    };
    let mut now = simulation.start;
    let mut look_at = Some(now);
    while now < simulation.start + LENGTH {
        let look = look_at.unwrap_or(camera.next);
        now = now.max(camera.next.min(look));
        if now >= camera.next {
            camera.next += INTERVAL;
            if camera.asked {
                camera.asked = false;
                camera.newest = Some(Newest {
                    arrived: now,
                    asked: false,
                    usable: true,
                });
            }
        }
        meter.observe(now, simulation.reading(now));
        look_at = turn(&mut simulation, &mut meter, &mut camera, now);
    }
    simulation.result()
}

/// What the server does when it looks: it begins a frame, or says when to look again.
fn turn(
    simulation: &mut Simulation,
    meter: &mut Meter,
    camera: &mut FrameClock,
    now: Instant,
) -> Option<Instant> {
    let path = meter.path(now);
    let newest = camera.newest.map(|newest| Newest {
        asked: camera.asked,
        usable: newest.usable && now - newest.arrived <= INTERVAL + INTERVAL / 4,
        ..newest
    });
    if newest.is_some_and(|newest| !newest.usable && newest.asked) {
        return None;
    }
    match decide(
        now,
        path.drains_in().map(|left| now + left),
        path.frame_takes(),
        INTERVAL,
        newest,
    ) {
        Decision::Begin => {
            let newest = camera.newest.as_mut().unwrap();
            newest.usable = false;
            camera.asked = true;
            meter.begin(now, FRAME);
            simulation.begin(now, newest.arrived);
            None
        }
        Decision::Ask(at) => {
            camera.asked = true;
            at
        }
        Decision::Wait(at) => Some(at),
    }
}

/// What could be done by somebody who knows when the line is free, and whom frames reach without being asked for.
fn best(line: Line) -> [f64; 3] {
    let mut simulation = Simulation::new(line);
    let takes = Duration::from_secs_f64(ON_THE_LINE / line.rate);
    let step = |number: u32| simulation.start + INTERVAL * number;
    let start = simulation.start;
    let mut number = 0;
    let mut begun = Vec::new();
    let mut now = start;
    while now < start + LENGTH {
        // The newest frame at this time, or the next one if it is worth waiting for.
        let newest = ((now - start).as_nanos() / INTERVAL.as_nanos()) as u32;
        let worth = now + super::patience(takes, INTERVAL) > step(newest + 1);
        let next = if worth || newest < number {
            number.max(newest + 1)
        } else {
            newest
        };
        now = now.max(step(next));
        begun.push((now, step(next)));
        number = next + 1;
        now += takes;
    }
    for (now, taken) in begun {
        simulation.begin(now, taken);
    }
    simulation.result()
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Median and 90th percentile of the ages at most so many times those of the best schedule, and at least so much of its frames,
/// whether the kernel counts in ticks of 1 or 4 ms.
#[track_caller]
fn close_to_the_best(rates: &[f64], line: Line, [median, p90, used]: [f64; 3]) {
    for mbit in rates {
        for tick in [ms(1), ms(4)] {
            let rate = mbit * 1e6 / 8.0;
            let tick = line.tick.max(tick);
            let line = Line { rate, tick, ..line };
            let steady = Line {
                at_first: 0.0,
                ..line
            };
            let (rule, best) = (simulate(line), best(steady));
            let so = rule[0] <= median * best[0] && rule[1] <= p90 * best[1];
            assert!(
                so && rule[2] >= used * best[2],
                "{mbit} Mbit/s, {line:?}: {rule:?}, best {best:?}"
            );
        }
    }
}

#[test]
fn on_a_smooth_line_nothing_better_could_be_done() {
    let near = Line {
        round_trip: ms(2),
        ..Line::default()
    };
    close_to_the_best(&[1.0, 2.0, 5.0], near, [1.01, 1.04, 0.99]);
}

#[test]
fn acknowledgements_that_pass_in_clumps_are_not_a_lost_tail() {
    for clump in [10, 25, 50, 100, 150] {
        let clumps = Line {
            round_trip: ms(2),
            clump: ms(clump),
            ..Line::default()
        };
        close_to_the_best(&[1.0, 2.0, 5.0], clumps, [1.03, 1.06, 0.97]);
    }
}

#[test]
fn a_kernel_that_counts_in_ticks_of_10_ms_costs_a_tenth_of_the_frames_at_most() {
    for clump in [0, 10, 25, 50, 100, 150] {
        let coarse = Line {
            round_trip: ms(2),
            clump: ms(clump),
            tick: ms(10),
            ..Line::default()
        };
        close_to_the_best(&[1.0, 2.0, 5.0], coarse, [1.03, 1.06, 0.9]);
    }
}

#[test]
fn data_that_passes_in_lumps_does_not_queue() {
    for lump in [1, 10, 40] {
        let bucket = Line {
            round_trip: ms(1),
            burst: 16_000,
            lump,
            ..Line::default()
        };
        // The best schedule spends what the bucket saves while it is idle, which nobody can count on.
        close_to_the_best(&[1.0, 2.0, 5.0], bucket, [1.19, 1.22, 1.0]);
    }
}

#[test]
fn a_lost_tail_costs_less_than_a_time_out() {
    for (lost, round_trip) in [(1, 2), (5, 2), (20, 2), (1, 20), (5, 20)] {
        let tails = Line {
            round_trip: ms(round_trip),
            lost,
            ..Line::default()
        };
        close_to_the_best(&[1.0, 2.0, 5.0], tails, [1.06, 1.18, 0.97]);
    }
}

#[test]
fn a_long_line_is_kept_full_and_its_queue_short() {
    for round_trip in [20, 50, 100, 200] {
        let far = Line {
            round_trip: ms(round_trip),
            ..Line::default()
        };
        close_to_the_best(&[10.0, 20.0, 50.0], far, [1.10, 1.15, 0.95]);
    }
}

#[test]
fn a_long_line_that_was_slower_for_a_while_is_full_again() {
    for (round_trip, at_first) in [(20, 0.8), (50, 0.9), (50, 0.5), (100, 0.8), (200, 0.8)] {
        let far = Line {
            round_trip: ms(round_trip),
            at_first,
            ..Line::default()
        };
        close_to_the_best(&[10.0, 20.0, 50.0], far, [1.10, 1.15, 0.97]);
    }
}
