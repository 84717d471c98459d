//! A simulated program behind a Linux of which every acknowledgement is known.

use super::*;

const INTERVAL: u64 = 33;
const LENGTH: u64 = 60_000;
const TAIL: u64 = 24;

/// What has arrived and is not read.
enum Item {
    /// A frame of this time.
    Frame(u64),
    Byte,
}

/// Milliseconds throughout.
struct Simulation {
    /// How long the program works on each frame.
    work: u64,
    /// Acknowledgements pass at multiples of this, if it is not 0.
    clump: u64,
    unread: Vec<Item>,
    /// The program works until then, or waits for more.
    works_until: u64,
    /// Acknowledgements: when they arrive, and how much they cover.
    coming: Vec<(u64, u64)>,
    /// When what was sent last is acknowledged in any case.
    delayed_until: Option<u64>,
    sent: u64,
    acknowledged: u64,
    last: u64,
    ahead: usize,
    /// The ages of frames when they are read, and how many were read.
    ages: Vec<u64>,
}

impl Simulation {
    fn acknowledge(&mut self, now: u64) {
        let at = match self.clump {
            0 => now,
            clump => now.div_ceil(clump) * clump,
        };
        self.coming.push((at, self.sent));
        self.delayed_until = None;
    }

    fn arrive(&mut self, item: Item, bytes: u64, now: u64) {
        if let Item::Frame(_) = item {
            // All but its tail, a segment of its own, is acknowledged at once.
            self.sent += bytes;
            self.acknowledge(now);
            self.sent += TAIL;
        } else {
            self.sent += bytes;
        }
        self.delayed_until = self.delayed_until.or(Some(now + 40));
        self.unread.push(item);
    }

    /// The program and the kernels go on to this time.
    fn run(&mut self, now: u64) {
        while self.works_until <= now && !self.unread.is_empty() {
            if let Item::Frame(taken) = self.unread.remove(0) {
                self.ages.push(now - taken);
                self.works_until = now + self.work;
                // It reads as much as there is behind it, up to the next frame.
                while matches!(self.unread.first(), Some(Item::Byte)) {
                    self.unread.remove(0);
                }
            }
            if self.unread.is_empty() && self.delayed_until.is_some() {
                self.acknowledge(now);
            }
        }
        if self.delayed_until.is_some_and(|at| at <= now) {
            self.acknowledge(now);
        }
        let (come, coming) = self.coming.drain(..).partition(|(at, _)| *at <= now);
        self.coming = coming;
        for (at, up_to) in come {
            if up_to > self.acknowledged {
                (self.acknowledged, self.last) = (up_to, at);
            }
        }
    }

    fn seen(&self, now: u64) -> Seen {
        Seen {
            queued: self.sent - self.acknowledged,
            segment: 1448,
            ahead: self.ahead,
            left: Duration::ZERO,
            silent: Duration::from_millis(now - self.last),
            round_trip: Duration::from_millis(1),
            is_closed: false,
            is_linux: true,
        }
    }
}

/// The ages at which a program gets frames, and how many of the camera's it was sent.
fn simulate(work: u64, clump: u64) -> (Vec<u64>, f64) {
    let start = Instant::now();
    let mut line = Simulation {
        work,
        clump,
        unread: Vec::new(),
        works_until: 0,
        coming: Vec::new(),
        delayed_until: None,
        sent: 0,
        acknowledged: 0,
        last: 0,
        ahead: 0,
        ages: Vec::new(),
    };
    let mut reader = Reader::new(start);
    let (mut had, mut look_at, mut begun) = (None, 0, 0);
    for now in 1..LENGTH {
        line.run(now);
        let newest = now / INTERVAL;
        let at = start + Duration::from_millis(now);
        if had.is_some() && reader.look_at(at, Duration::ZERO) == Some(at) {
            reader.frame_sent(at, line.seen(now));
        }
        if had == Some(newest) || now < look_at && now % INTERVAL != 0 {
            continue;
        }
        let again = |after: Duration| now + after.as_millis().max(1) as u64;
        let step = match reader.has_doubts(at) {
            true => reader.step(at, line.seen(now)),
            false => Step::Begin,
        };
        match step {
            Step::Begin => {
                reader.begin();
                reader.wrote(at);
                (had, line.ahead, begun) = (Some(newest), 0, begun + 1);
                line.arrive(Item::Frame(newest * INTERVAL), 20_000, now);
            }
            Step::Ask(after) => {
                line.ahead += 1;
                line.arrive(Item::Byte, 1, now);
                look_at = again(after);
            }
            Step::Look(after) => look_at = again(after),
        }
    }
    let late = line.ages.len() / 4;
    line.ages.drain(..late);
    line.ages.sort_unstable();
    (line.ages, begun as f64 / (LENGTH / INTERVAL) as f64)
}

#[test]
fn a_program_gets_no_frame_older_than_its_work_two_intervals_and_50_ms() {
    for work in [50, 100, 200, 500, 1000, 2000] {
        let (ages, _) = simulate(work, 0);
        let oldest = *ages.last().unwrap();
        assert!(oldest <= work + 2 * INTERVAL + 50, "{work}: {ages:?}");
        let frames = ages.len() as f64 * 4.0 / 3.0;
        let most = LENGTH as f64 / work as f64;
        assert!(frames >= 0.6 * most, "{work}: {frames} of {most}");
    }
}

#[test]
fn a_program_that_reads_at_once_gets_every_frame_and_none_of_them_late() {
    for work in [0, 1, 10] {
        let (ages, frames) = simulate(work, 0);
        assert!(frames > 0.99, "{work}: {frames}");
        let p99 = ages[ages.len() * 99 / 100];
        assert!(p99 <= 15, "{work}: {p99}");
    }
}

#[test]
fn a_line_of_which_acknowledgements_pass_in_clumps_loses_next_to_nothing() {
    for clump in [10, 25, 40, 50, 70, 100, 150] {
        let (_, frames) = simulate(0, clump);
        assert!(frames > 0.98, "clumps of {clump} ms: {frames}");
    }
}
