//! A simulated program behind a Linux of which every acknowledgement is known.

use super::*;

const INTERVAL: u64 = 33;
const LENGTH: u64 = 120_000;
const TAIL: u64 = 24;
const FRAME: u64 = 20_000;

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
    is_linux: bool,
    /// Its system has half of the memory from then on.
    shrinks_at: Option<u64>,
    waiting: Vec<Item>,
    /// What has been sent and does not fit beside that.
    outside: Vec<Item>,
    /// The program works until then, or waits for more.
    works_until: u64,
    /// The length of a full segment.
    segment: u64,
    /// How much its system takes, and how much of that it advertises at most.
    buffer: u64,
    advertised: u64,
    /// Acknowledgements: when they arrive, how much they cover, and the window.
    coming: Vec<(u64, u64, u64)>,
    window: u64,
    /// When what was sent last is acknowledged in any case.
    delayed_until: Option<u64>,
    sent: u64,
    acknowledged: u64,
    last: u64,
    ahead: usize,
    /// The program reads nothing any more from then on.
    leaves_at: Option<u64>,
    /// The longest time for which it was known to have read nothing.
    unread: Duration,
    /// The ages of frames when they are read, and how many were read.
    ages: Vec<u64>,
}

impl Simulation {
    fn acknowledge(&mut self, now: u64) {
        let at = match self.clump {
            0 => now,
            clump => now.div_ceil(clump) * clump,
        };
        let window = self
            .advertised
            .min(self.buffer.saturating_sub(bytes(&self.waiting)));
        self.coming
            .push((at, self.sent - bytes(&self.outside), window));
        self.delayed_until = None;
    }

    fn arrive(&mut self, item: Item, now: u64) {
        let is_frame = matches!(item, Item::Frame(_));
        let fits = bytes(&self.waiting) + FRAME <= self.buffer;
        if is_frame && !fits {
            self.sent += FRAME;
            self.outside.push(item);
            return;
        }
        self.waiting.push(item);
        if is_frame {
            // All but its tail, a segment of its own, is acknowledged at once, before it is read.
            self.sent += FRAME;
            self.acknowledge(now);
            self.sent += TAIL;
        } else {
            self.sent += 1;
        }
        self.delayed_until = self.delayed_until.or(Some(now + 40));
    }

    /// The program and the kernels go on to this time.
    fn run(&mut self, now: u64) {
        while self.works_until <= now && !self.waiting.is_empty() {
            if let Item::Frame(taken) = self.waiting.remove(0) {
                self.ages.push(now - taken);
                self.works_until = now + self.work;
                // It reads as much as there is behind it, up to the next frame.
                while matches!(self.waiting.first(), Some(Item::Byte)) {
                    self.waiting.remove(0);
                }
            }
            if self.waiting.is_empty() && self.delayed_until.is_some() {
                self.acknowledge(now);
            }
            if self.waiting.is_empty() && !self.outside.is_empty() {
                let item = self.outside.remove(0);
                self.sent -= FRAME;
                self.arrive(item, now);
            }
        }
        if self.delayed_until.is_some_and(|at| at <= now) {
            self.acknowledge(now);
        }
        let (come, coming) = self.coming.drain(..).partition(|(at, ..)| *at <= now);
        self.coming = coming;
        for (at, up_to, window) in come {
            if up_to > self.acknowledged {
                (self.acknowledged, self.last) = (up_to, at);
            }
            self.window = window;
        }
    }

    fn seen(&self, now: u64) -> Seen {
        Seen {
            acknowledged: self.acknowledged,
            window: Some(self.window),
            queued: self.sent - self.acknowledged,
            frame: FRAME,
            segment: self.segment,
            ahead: self.ahead,
            left: Duration::ZERO,
            silent: Duration::from_millis(now - self.last),
            round_trip: Duration::from_millis(1),
            behind_gap: 0,
            repeated: 0,
            is_linux: self.is_linux,
        }
    }
}

/// Only frames count.
fn bytes(items: &[Item]) -> u64 {
    let is_frame = |item: &&Item| matches!(item, Item::Frame(_));
    FRAME * items.iter().filter(is_frame).count() as u64
}

fn line(work: u64) -> Simulation {
    Simulation {
        work,
        clump: 0,
        is_linux: true,
        shrinks_at: None,
        segment: 1448,
        buffer: 126_000,
        advertised: 106_000,
        window: 106_000,
        waiting: Vec::new(),
        outside: Vec::new(),
        works_until: 0,
        coming: Vec::new(),
        delayed_until: None,
        sent: 0,
        acknowledged: 0,
        last: 0,
        ahead: 0,
        leaves_at: None,
        unread: Duration::ZERO,
        ages: Vec::new(),
    }
}

/// The ages at which a program gets frames, and how many of the camera's it was sent.
fn simulate(line: Simulation) -> (Vec<u64>, f64) {
    let (mut line, frames) = play(line);
    let longest = Duration::from_millis(2 * line.work + 1000);
    assert!(line.unread < longest, "{:?}", line.unread);
    // What came before it was known to be slow is read first.
    let late = line.ages.len() / 2;
    line.ages.drain(..late);
    line.ages.sort_unstable();
    (line.ages, frames)
}

/// How it was in the end, and how many of the camera's frames were sent.
fn play(mut line: Simulation) -> (Simulation, f64) {
    let start = Instant::now();
    let mut reader = Reader::new(start);
    let (mut had, mut look_at, mut begun) = (None, 0, 0);
    for now in 1..LENGTH {
        line.run(now);
        if line.shrinks_at == Some(now) {
            (line.buffer, line.advertised) = (line.buffer / 2, line.advertised / 2);
        }
        let newest = now / INTERVAL;
        let at = start + Duration::from_millis(now);
        if had == Some(newest) || now < look_at && now % INTERVAL != 0 {
            continue;
        }
        let again = |after: Duration| now + after.as_millis().max(1) as u64;
        if line.leaves_at.is_some_and(|left| left <= now) {
            line.works_until = u64::MAX;
        }
        let step = match reader.has_doubts(at) {
            true => reader.step(at, line.seen(now)),
            false => Step::Begin,
        };
        line.unread = line.unread.max(reader.unread_for().unwrap_or_default());
        match step {
            Step::Begin => {
                reader.begin();
                reader.wrote(at);
                (had, line.ahead, begun) = (Some(newest), 0, begun + 1);
                line.arrive(Item::Frame(newest * INTERVAL), now);
            }
            Step::Ask(after) => {
                line.ahead += 1;
                line.arrive(Item::Byte, now);
                look_at = again(after);
            }
            Step::Look(after) => look_at = again(after),
        }
    }
    (line, begun as f64 / (LENGTH / INTERVAL) as f64)
}

#[test]
fn a_program_gets_no_frame_older_than_its_work_two_intervals_and_50_ms() {
    let systems = [
        (126_000, 106_000, 1448),
        (850_000, 590_000, 1448),
        (120_000, 120_000, 1448),
        (36_000, 21_000, 1448),
        (36_000, 21_000, 65_483),
    ];
    for work in [50, 100, 200, 500, 1000, 2000] {
        for (buffer, advertised, segment) in systems {
            let (ages, _) = simulate(Simulation {
                segment,
                buffer,
                advertised,
                window: advertised,
                ..line(work)
            });
            let oldest = *ages.last().unwrap();
            assert!(oldest <= work + 2 * INTERVAL + 50, "{work}: {ages:?}");
            let frames = ages.len() as f64 * 2.0;
            let most = LENGTH as f64 / work as f64;
            assert!(frames >= 0.6 * most, "{work}: {frames} of {most}");
        }
    }
}

#[test]
fn of_another_system_only_what_the_window_does_not_tell_may_be_unread() {
    for work in [200, 500] {
        let (ages, _) = simulate(Simulation {
            is_linux: false,
            advertised: 126_000,
            window: 126_000,
            ..line(work)
        });
        let oldest = *ages.last().unwrap();
        assert!(oldest <= work + 2 * INTERVAL + 50, "{work}: {ages:?}");
    }
}

#[test]
fn a_program_that_reads_at_once_gets_every_frame_and_none_of_them_late() {
    for work in [0, 1, 10] {
        let (ages, frames) = simulate(line(work));
        assert!(frames > 0.99, "{work}: {frames}");
        let p99 = ages[ages.len() * 99 / 100];
        assert!(p99 <= 15, "{work}: {p99}");
    }
}

#[test]
fn a_system_that_takes_less_from_some_time_on_is_not_a_slow_program() {
    let (ages, frames) = simulate(Simulation {
        shrinks_at: Some(40_000),
        ..line(1)
    });
    assert!(frames > 0.99, "{frames}");
    assert!(ages[ages.len() * 99 / 100] <= 15, "{ages:?}");
}

#[test]
fn a_line_of_which_acknowledgements_pass_in_clumps_loses_next_to_nothing() {
    for clump in [10, 25, 40, 50, 70, 100, 150] {
        let (_, frames) = simulate(Simulation { clump, ..line(0) });
        assert!(frames > 0.98, "clumps of {clump} ms: {frames}");
    }
}

#[test]
fn a_program_that_reads_nothing_any_more_is_known_for_nearly_as_long() {
    // Of another system, a buffer that is full all the time says nothing; that is for who looks whether anything is taken.
    for (is_linux, segment, works) in [
        (true, 1448, &[0, 200, 1000][..]),
        (true, 65_483, &[0, 200, 1000]),
        (false, 1448, &[0]),
    ] {
        for &work in works {
            let (line, _) = play(Simulation {
                is_linux,
                segment,
                leaves_at: Some(LENGTH / 2),
                ..line(work)
            });
            let known = line.unread.as_millis() as u64;
            // Two frames may come before it is certain, each after all bytes of a head.
            let whole = LENGTH / 2 - 13_000..=LENGTH / 2 + work;
            assert!(whole.contains(&known), "{is_linux}, {work}: {known}");
        }
    }
}

/// Looks every second at a viewer of which so much came since, and the edge has moved by so much. For how long it is known to have read nothing.
fn looks() -> impl FnMut(u64, u64) -> Option<Duration> {
    let start = Instant::now();
    let mut reader = Reader::new(start);
    // A buffer that does not fill in the meantime.
    let (mut acknowledged, mut edge, mut now) = (0, 100_000_000, start);
    move |come, moved| {
        (acknowledged, edge) = (acknowledged + come, edge + moved);
        reader.wrote(now);
        now += Duration::from_secs(1);
        let line = Simulation {
            sent: acknowledged,
            acknowledged,
            window: edge - acknowledged,
            ..line(0)
        };
        reader.look_for_reading(now, line.seen(0));
        reader.unread_for()
    }
}

/// With the scales of windows that Linux uses by default, 7 and (since 6.17) 10, the edge moves by up to 3 and 29 % of what comes.
#[test]
fn an_edge_that_moves_by_rounding_alone_is_not_moved_by_reading() {
    let mut look = looks();
    assert_eq!(look(1448, 1448), None);
    look(14_480, 4240);
    assert!(look(14_480, 4240) >= Some(Duration::from_secs(1)));
    assert!(look(1, 1) >= Some(Duration::from_secs(2)));
    assert_eq!(look(1, 2000), None);
}

#[test]
fn a_program_that_reads_less_than_half_of_what_comes_but_all_the_time_has_not_left() {
    for (percent, steps) in [
        (36, 1448),
        (36, 40_000),
        (40, 4500),
        (40, 40_000),
        (45, 40_000),
    ] {
        let mut look = looks();
        look(1448, 1448);
        // It takes some 155 KB at 36 % until it is certain.
        let longest = Duration::from_secs(200_000 / steps + 1);
        for _ in 0..1000 {
            let unread = look(steps, steps * percent / 100);
            assert!(unread <= Some(longest), "{percent} of {steps}: {unread:?}");
        }
    }
    for percent in [0, 3, 29] {
        let mut look = looks();
        look(40_000, 40_000);
        let unread = (0..9).map(|_| look(40_000, 400 * percent)).last();
        assert!(
            unread >= Some(Some(Duration::from_secs(8))),
            "{percent}: {unread:?}"
        );
    }
}
