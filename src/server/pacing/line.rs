//! What is known about the line to a viewer: how much is on it, how fast it takes that away, and when it is free.
//!
//! The reasons are in `server/pacing.rs`. Nothing here reads a clock or a socket.

use std::time::{Duration, Instant};

/// This many unacknowledged bytes mean nothing: a receiver may delay its acknowledgement until it has two segments
/// (RFC 9293, 3.8.6.3).
pub const DELAYED_ACK: u64 = 2 * 1460;

/// Acknowledgements may be silent for at least this long without meaning anything.
const SILENCE: Duration = Duration::from_millis(20);

/// A rate is measured over at least this many bytes or this much time, because acknowledgements come in bursts; and
/// over this many silences, if they come in clumps.
const METER_BYTES: u64 = 16 * 1024;
const METER_TIME: Duration = Duration::from_millis(100);
const METER_SILENCES: u32 = 4;

/// How soon to look again at a line of which it is not known when it is free; also the shortest wait for a busy one.
pub(super) const SHORTEST_WAIT: Duration = Duration::from_millis(5);

/// How rarely to look at a line of which it is not known when it is free, if a frame takes long on it.
const LONGEST_LOOK: Duration = Duration::from_millis(20);

/// One frame of so many is begun as if the line was an eighth faster. A line on which frames are begun too late looks as
/// slow as that, if acknowledgements in clumps hide the idle time in between; with this, it shows what it can do. Without
/// it, the simulation's line of 5 Mbit/s with clumps of 100 ms stays at 0.85 of its frames; with a sixteenth, the one with
/// clumps of 150 ms and ticks of 10 ms. A prime, because frames and the camera's steps come in cycles, of two frames in three
/// steps for instance: a number with a factor in common hits the same frame of each cycle, which may be one that gains nothing.
const PROBE_EVERY: u8 = 13;

/// For so many frames after a loss the connection's window sets the pace, and not the line: that the line has nothing to carry for a moment does
/// not mean that it would carry more.
const RECOVERY: u8 = 16;

/// What is known about the line to a viewer at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Path {
    /// Bytes handed to the kernel, or waiting to be, that the viewer has not acknowledged.
    pub queued: u64,
    /// Bytes that arrive per second, measured while the line was busy.
    pub rate: Option<f64>,
    /// How long ago the last of what is acknowledged was.
    pub silent: Duration,
    /// The round trip: the shortest seen, or somewhat more.
    pub round_trip: Duration,
    /// How much may be without acknowledgement when a frame is begun.
    pub trust: u64,
    /// It ends in this machine: see [`Reading::is_local`].
    pub is_local: bool,
    /// Whatever the line: a frame is not to be begun before somebody has looked again, after this time.
    pub held: Option<Duration>,
    /// The length of the last frame.
    pub frame: u64,
}

impl Path {
    /// A line on which nothing was sent.
    pub const IDLE: Path = Path {
        queued: 0,
        rate: None,
        silent: Duration::ZERO,
        round_trip: Duration::ZERO,
        trust: 0,
        is_local: false,
        held: None,
        frame: 0,
    };

    /// How long it takes until the line is free, which is when all that is queued will have left it by the time the
    /// next byte can be there. What was acknowledged last is where the line stood then; since then it went on at its
    /// rate, whether acknowledgements come or not. `None`: only an acknowledgement can say.
    pub fn drains_in(&self) -> Option<Duration> {
        if self.held.is_some() {
            return None;
        }
        if self.queued <= DELAYED_ACK {
            return Some(Duration::ZERO);
        }
        if self.is_local {
            // Nothing is on its way, and a program reads when it likes.
            return None;
        }
        let takes = self.takes(self.queued)?;
        let left = takes.saturating_sub(self.silent + self.round_trip);
        (!left.is_zero() || self.queued <= self.trust).then_some(left)
    }

    /// When to look again if [`Path::drains_in`] does not know: sooner where frames take less time.
    pub fn look_in(&self) -> Duration {
        let usual = (self.frame_takes() / 16).clamp(SHORTEST_WAIT, LONGEST_LOOK);
        self.held.unwrap_or(usual)
    }

    /// For how long a frame keeps the line busy; nothing if its rate is not known.
    pub fn frame_takes(&self) -> Duration {
        self.takes(self.frame).unwrap_or_default()
    }

    fn takes(&self, bytes: u64) -> Option<Duration> {
        let rate = self.rate?;
        Some(Duration::try_from_secs_f64(bytes as f64 / rate).unwrap_or(Duration::MAX))
    }
}

/// What the kernel says about a connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// Bytes that have arrived in total.
    pub acknowledged: u64,
    /// Bytes that have yet to arrive.
    pub queued: u64,
    /// How long ago the last acknowledgement came.
    pub silent: Duration,
    /// The shortest round trip seen.
    pub min_rtt: Duration,
    /// Both ends are in this machine, and what has yet to arrive waits for nobody but its reader: a unix socket.
    pub is_local: bool,
    /// How many segments were sent again; 0 if that was not asked.
    pub repeated: u32,
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
    /// The time from which acknowledgements could come, and how much had been acknowledged by then.
    busy: Option<(Instant, u64)>,
    /// The line had nothing to carry for a part of that time.
    gap: bool,
    /// The line had nothing to carry when a frame was begun, the last time that this was looked at.
    spare: bool,
    /// A frame for which this is not known yet: when something of it can be acknowledged, and how much was sent before.
    begun: Option<(Instant, u64)>,
    rate: Option<f64>,
    last: Reading,
    looked: Option<Instant>,
    /// When something last arrived, or the earliest time at which it could.
    moved: Option<Instant>,
    /// The longest silence of acknowledgements that was ended by one, as far as it was noticed. It shrinks with time.
    silence: Duration,
    frame: u64,
    /// Counts frames up to [`PROBE_EVERY`].
    frames: u8,
    /// How many frames from now on count as those after a loss.
    recovers: u8,
}

impl Meter {
    /// Records that a frame of `len` bytes is begun.
    pub fn begin(&mut self, now: Instant, len: u64) {
        self.frame = len;
        self.frames = (self.frames + 1) % PROBE_EVERY;
        self.recovers = self.recovers.saturating_sub(1);
        let first_answer = now + self.last.min_rtt;
        if self.busy.is_none() {
            self.busy = Some((first_answer, self.last.acknowledged));
            self.moved = self.moved.max(Some(first_answer));
            self.spare = true;
            self.gap = false;
        } else {
            let before = self.last.acknowledged + self.last.queued;
            self.begun.get_or_insert((first_answer, before));
        }
    }

    /// A long line has no moment at which all is acknowledged. It had nothing to carry if what was sent before a
    /// frame was acknowledged before anything of that frame could be.
    fn look_for_gap(&mut self, moved: Instant) {
        let Some((first_answer, before)) = self.begun else {
            return;
        };
        let (Some(rate), Some(beyond)) = (self.rate, self.last.acknowledged.checked_sub(before))
        else {
            return;
        };
        let since = Duration::try_from_secs_f64(beyond as f64 / rate).unwrap_or_default();
        let clearly = if self.recovers > 0 { 1.0 / 16.0 } else { 0.0 };
        self.spare = moved + self.last.min_rtt.mul_f64(clearly) < first_answer + since;
        self.gap |= self.spare;
        self.begun = None;
    }

    /// Records what the kernel says.
    pub fn observe(&mut self, now: Instant, reading: Reading) {
        let before = std::mem::replace(&mut self.last, reading);
        let looked = self.looked.replace(now);
        self.last.repeated = reading.repeated.max(before.repeated);
        if reading.repeated > before.repeated {
            self.recovers = RECOVERY;
        }
        let arrived = reading.acknowledged > before.acknowledged;
        if arrived {
            let since_moved = |at: Instant| at.saturating_duration_since(self.moved.unwrap_or(at));
            let noticed = looked.map_or(Duration::ZERO, since_moved);
            self.silence = noticed.max(self.silence - self.silence / 8);
            // It came after the last look, at which it was not there.
            let at = now.checked_sub(reading.silent).max(looked).unwrap_or(now);
            self.moved = Some(at);
        }
        let (Some((since, acknowledged)), Some(moved)) = (self.busy, self.moved) else {
            return;
        };
        self.look_for_gap(moved);
        let bytes = reading.acknowledged.saturating_sub(acknowledged);
        let time = moved.saturating_duration_since(since);
        let enough = time >= METER_TIME / if bytes >= METER_BYTES { 2 } else { 1 };
        if reading.queued <= DELAYED_ACK {
            // Everything has arrived, and the end of it may have waited for its acknowledgement.
            self.busy = None;
            self.begun = None;
            self.gap = true;
            if bytes >= METER_BYTES {
                self.learn(bytes, time);
            }
        } else if arrived && enough && time >= self.silence * METER_SILENCES {
            self.busy = Some((moved, reading.acknowledged));
            self.learn(bytes, time);
            self.gap = self.spare && self.begun.is_some();
        }
    }

    fn learn(&mut self, bytes: u64, time: Duration) {
        let sample = bytes as f64 / time.as_secs_f64().max(0.001);
        self.rate = match self.rate {
            // The line was faster than this, as it had nothing to carry for a part of the time.
            Some(rate) if self.gap && sample < rate => Some(rate),
            Some(rate) => Some(rate + (sample - rate) / 4.0),
            None => Some(sample),
        };
    }

    /// The line at this moment. `unsent` bytes are still to be handed to the kernel.
    pub fn path(&self, now: Instant) -> Path {
        let faster = if self.frames == 0 { 1.125 } else { 1.0 };
        let rate = self.rate(now).map(|rate| rate * faster);
        let min_rtt = self.last.min_rtt;
        // A rate that was measured while the line had spare capacity is too low.
        let more = match (self.spare, self.recovers) {
            (false, _) => 0.0,
            (true, 0) => 1.0 / 16.0,
            (true, _) => 1.0 / 4.0,
        };
        let round_trip = min_rtt + min_rtt.mul_f64(more);
        let moved = self.moved.unwrap_or(now);
        let silence = SILENCE.max(self.silence) + round_trip;
        let on_its_way = rate.map_or(0.0, |rate| rate * silence.as_secs_f64());
        Path {
            queued: self.last.queued,
            rate,
            silent: now.saturating_duration_since(moved),
            round_trip,
            trust: (on_its_way as u64).saturating_add(self.frame / 2),
            is_local: self.last.is_local,
            held: None,
            frame: self.frame,
        }
    }

    /// Bytes per second, if a rate is known. It is never 0; a stalled line counts as too slow to be of use. Before
    /// the first acknowledgement can have come, everything sent is assumed to be on its way and not in a queue.
    fn rate(&self, now: Instant) -> Option<f64> {
        match (self.rate, self.busy) {
            (Some(rate), _) => Some(rate.max(1.0)),
            (None, Some((since, _))) if now < since => Some(f64::INFINITY),
            (None, _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// What the kernel says right after an acknowledgement.
    fn reading(acknowledged: u64, queued: u64, min_rtt: u64) -> Reading {
        Reading {
            acknowledged,
            queued,
            min_rtt: ms(min_rtt),
            ..Reading::default()
        }
    }

    fn path(queued: u64, rate: f64) -> Path {
        Path {
            queued,
            rate: Some(rate),
            trust: u64::MAX,
            ..Path::IDLE
        }
    }

    #[test]
    fn a_path_with_nothing_but_a_delayed_acknowledgement_is_free() {
        assert_eq!(path(2900, 1000.0).drains_in(), Some(Duration::ZERO));
        assert_eq!(Path::IDLE.drains_in(), Some(Duration::ZERO));
    }

    #[test]
    fn a_path_is_free_when_only_what_is_on_its_way_is_queued() {
        let long = |queued| Path {
            round_trip: ms(40),
            ..path(queued, 1_000_000.0)
        };
        assert_eq!(long(100_000).drains_in(), Some(ms(60)));
        assert_eq!(long(30_000).drains_in(), Some(Duration::ZERO));
    }

    #[test]
    fn a_line_goes_on_while_acknowledgements_are_silent() {
        let silent = Path {
            silent: ms(70),
            ..path(100_000, 1_000_000.0)
        };
        assert_eq!(silent.drains_in(), Some(ms(30)));
    }

    #[test]
    fn a_dead_line_gets_one_more_frame_and_no_queue_of_them() {
        let dead = |queued| Path {
            silent: ms(5000),
            trust: 70_000,
            ..path(queued, 1_000_000.0)
        };
        assert_eq!(dead(50_000).drains_in(), Some(Duration::ZERO));
        assert_eq!(dead(150_000).drains_in(), None);
    }

    #[test]
    fn of_a_line_whose_rate_is_not_known_only_an_acknowledgement_says_that_it_is_free() {
        let unknown = Path {
            rate: None,
            ..path(100_000, 0.0)
        };
        assert_eq!(unknown.drains_in(), None);
    }

    #[test]
    fn the_meter_counts_busy_time_only() {
        let start = Instant::now();
        let mut meter = Meter::default();
        meter.begin(start, 100_000);
        meter.observe(start + ms(50), reading(50_000, 50_000, 0));
        assert_eq!(meter.path(start).rate, Some(1_000_000.0));
        // All but a delayed acknowledgement has arrived, and then nothing was sent for a while.
        meter.observe(start + ms(98), reading(98_000, 2000, 0));
        meter.begin(start + ms(2000), 100_000);
        meter.observe(start + ms(2050), reading(148_000, 50_000, 0));
        assert_eq!(meter.path(start).rate, Some(1_000_000.0));
    }

    #[test]
    fn a_long_line_that_is_not_full_does_not_seem_slow() {
        let start = Instant::now();
        let mut meter = Meter::default();
        meter.observe(start, reading(0, 0, 100));
        meter.begin(start, 64_000);
        meter.observe(start + ms(33), reading(0, 64_000, 100));
        assert_eq!(meter.path(start + ms(33)).rate, Some(f64::INFINITY));
        meter.begin(start + ms(33), 64_000);
        meter.begin(start + ms(66), 64_000);
        meter.observe(start + ms(164), reading(128_000, 64_000, 100));
        // In 64 ms: before one round trip, nothing could be acknowledged.
        assert_eq!(meter.path(start + ms(164)).rate, Some(2_000_000.0));
    }

    /// What a rate of 2 MB/s becomes when each frame of 50 KB begins to be acknowledged at once, but one comes every 50 ms.
    fn rate_behind_a_small_window(repeated: u32) -> f64 {
        let start = Instant::now();
        let mut meter = Meter {
            rate: Some(2e6),
            ..Meter::default()
        };
        let told = |acknowledged, queued| Reading {
            repeated,
            ..reading(acknowledged, queued, 40)
        };
        meter.observe(start, told(0, 0));
        for frame in 0..20 {
            let begun = start + ms(50 * frame);
            meter.begin(begun, 50_000);
            let look = begun + Duration::from_micros(40_500);
            meter.observe(look, told(50_000 * frame + 1500, 48_500));
        }
        meter.rate.unwrap()
    }

    #[test]
    fn idle_moments_after_a_loss_are_not_taken_for_spare_capacity() {
        assert!(rate_behind_a_small_window(0) > 1.9e6);
        assert!(rate_behind_a_small_window(1) < 1.2e6);
    }

    #[test]
    fn silences_that_end_are_remembered_and_a_lower_rate_is_not_concluded_from_them() {
        let start = Instant::now();
        let mut meter = Meter::default();
        meter.begin(start, 100_000);
        meter.observe(start + ms(50), reading(50_000, 50_000, 0));
        let before = meter.path(start + ms(50)).trust;
        meter.observe(start + ms(140), reading(50_000, 50_000, 0));
        meter.observe(start + ms(150), reading(90_000, 10_000, 0));
        let path = meter.path(start + ms(150));
        assert_eq!(path.rate, Some(1_000_000.0));
        assert_eq!(path.trust - before, 70_000, "90 ms instead of 20");
    }

    #[test]
    fn a_reader_in_this_machine_gets_nothing_before_it_has_read_everything() {
        let start = Instant::now();
        let mut meter = Meter::default();
        let local = |read, queued| Reading {
            is_local: true,
            ..reading(read, queued, 0)
        };
        meter.begin(start, 20_000);
        meter.observe(start + ms(1), local(20_000, 0));
        meter.begin(start + ms(33), 20_000);
        meter.observe(start + ms(66), local(20_000, 20_768));
        assert_eq!(meter.path(start + ms(66)).drains_in(), None);
        meter.observe(start + ms(300), local(40_000, 0));
        let free = Some(Duration::ZERO);
        assert_eq!(meter.path(start + ms(300)).drains_in(), free);
    }

    #[test]
    fn what_came_after_the_last_look_is_dated_by_the_kernel() {
        let start = Instant::now();
        let mut meter = Meter::default();
        meter.begin(start, 100_000);
        let earlier = Reading {
            silent: ms(30),
            ..reading(50_000, 50_000, 0)
        };
        meter.observe(start + ms(80), earlier);
        assert_eq!(meter.path(start + ms(80)).rate, Some(1_000_000.0));
        assert_eq!(meter.path(start + ms(80)).silent, ms(30));
    }
}
