//! In which way frames are sent: from a copy in memory, with one call, or from their file, with one call more for what
//! comes before it and one for what comes behind.
//!
//! Sending from a file costs the system something for each page, and reading a copy costs something for each frame. Which is less
//! depends on how many take the frame, on how long it is, and on the machine: its memory, caches, kernel and network
//! interface. Nobody knows all machines, so it is measured on this one: for each length in the first frames, when several
//! take one for the first time, and then again every few minutes, both ways take turns for some frames, and the
//! processor time is read before and after each sending. Between these there is no reading of clocks.
//!
//! Opening a frame counts as part of its first sending, because one that is copied is checked in the copy.

use std::time::Duration;

use crate::frames::copy::{CLASSES, class};

/// For so many frames of one length the ways take turns, and then not again until so many have been sent.
const TRIAL: u32 = 16;
const BETWEEN: u32 = 8192;

/// The middle of so many samples counts, each of another frame.
const SAMPLES: usize = 7;

/// A frame that is sent to one viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sending {
    camera: usize,
    class: usize,
    /// Nobody was sent it before.
    first: bool,
}

/// What is known about both ways.
#[derive(Debug, Default)]
pub(super) struct Ways {
    classes: [Class; CLASSES],
    /// By the numbers of the cameras.
    turnouts: Vec<Turnout>,
}

/// How many take the frames of a camera.
#[derive(Clone, Copy, Debug, Default)]
struct Turnout {
    /// The newest frame that anybody took, and its class.
    number: Option<u64>,
    class: Option<usize>,
    takers: u32,
    /// What sending it took to those who were not the first, and to how many.
    further: (Duration, u32),
    copied: bool,
}

/// Frames of about one length.
#[derive(Debug)]
struct Class {
    frames: u32,
    /// How many frames are left of a trial.
    trial: u32,
    /// Several have taken one.
    is_shared: bool,
    file: Cost,
    copy: Cost,
}

impl Default for Class {
    fn default() -> Self {
        Class {
            frames: 0,
            trial: TRIAL,
            is_shared: false,
            file: Cost::default(),
            copy: Cost::default(),
        }
    }
}

/// What sending takes, in nanoseconds: to the first and to each further viewer.
#[derive(Debug, Default)]
struct Cost {
    first: Samples,
    further: Samples,
}

impl Cost {
    fn of(&self, takers: u32) -> Option<u64> {
        let first = self.first.middle?;
        let further = self.further.middle.unwrap_or(first);
        Some(first + u64::from(takers.saturating_sub(1)) * further)
    }
}

#[derive(Debug, Default)]
struct Samples {
    last: [u32; SAMPLES],
    count: usize,
    /// Once there are enough. It is asked for with each frame, and changes in trials only.
    middle: Option<u64>,
}

impl Samples {
    fn add(&mut self, took: Duration) {
        self.last[self.count % SAMPLES] = u32::try_from(took.as_nanos()).unwrap_or(u32::MAX);
        self.count += 1;
        if self.count >= SAMPLES {
            let mut sorted = self.last;
            sorted.sort_unstable();
            self.middle = Some(sorted[SAMPLES / 2].into());
        }
    }
}

impl Class {
    fn cost(&mut self, copied: bool) -> &mut Cost {
        if copied {
            &mut self.copy
        } else {
            &mut self.file
        }
    }

    /// Whether a frame is to be copied that so many are expected to take.
    fn copies(&self, takers: u32) -> bool {
        if self.trial > 0 {
            return self.frames % 2 == 1;
        }
        let costs = self.copy.of(takers).zip(self.file.of(takers));
        costs.is_some_and(|(copy, file)| copy < file)
    }
}

impl Ways {
    /// Which frames of this camera are to be copied when they are opened, by their length. As many are expected to take
    /// one as took the last.
    pub(super) fn copied(&self, camera: usize) -> [bool; CLASSES] {
        let takers = self.turnouts.get(camera).map_or(1, |last| last.takers);
        self.classes.each_ref().map(|class| class.copies(takers))
    }

    /// Whether the next sending of a frame of this camera is to be timed.
    pub(super) fn is_tried(&self, camera: usize) -> bool {
        let last = self.turnouts.get(camera).and_then(|turnout| turnout.class);
        last.is_some_and(|class| self.classes[class].trial > 0)
    }

    /// A frame of `len` bytes is begun for a viewer.
    pub(super) fn begin(&mut self, camera: usize, number: u64, len: u64) -> Option<Sending> {
        if camera >= self.turnouts.len() {
            self.turnouts.resize(camera + 1, Turnout::default());
        }
        let turnout = &mut self.turnouts[camera];
        let first = turnout.number.is_none_or(|last| last < number);
        if first {
            let last = std::mem::replace(
                turnout,
                Turnout {
                    number: Some(number),
                    class: class(len),
                    ..Turnout::default()
                },
            );
            if let (Some(class), (spent, times @ 1..)) = (last.class, last.further) {
                let cost = self.classes[class].cost(last.copied);
                cost.further.add(spent / times);
            }
        }
        turnout.takers += 1;
        let of = turnout.class?;
        let class = &mut self.classes[of];
        if first {
            class.frames = class.frames.wrapping_add(1);
            class.trial = class.trial.saturating_sub(1);
            if class.frames % BETWEEN == 0 {
                class.trial = TRIAL;
            }
        } else if !class.is_shared {
            class.is_shared = true;
            class.trial = TRIAL;
        }
        Some(Sending {
            camera,
            class: of,
            first,
        })
    }

    /// It was sent as a whole, from a copy or not, in this time of the processor.
    pub(super) fn sent(&mut self, sending: Sending, copied: bool, took: Duration) {
        if sending.first {
            self.classes[sending.class].cost(copied).first.add(took);
        } else if let Some(turnout) = self.turnouts.get_mut(sending.camera) {
            let (spent, times) = turnout.further;
            turnout.further = (spent + took, times + 1);
            turnout.copied = copied;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine on which a byte costs so many picoseconds in each way, and each call 1 us.
    struct Machine {
        ways: Ways,
        number: u64,
        file: u64,
        copy: u64,
        read: u64,
    }

    impl Machine {
        fn new(file: u64, copy: u64, read: u64) -> Self {
            Machine {
                ways: Ways::default(),
                number: 0,
                file,
                copy,
                read,
            }
        }

        /// So many take a frame. Returns whether it was copied, and how many clocks were read.
        fn frame(&mut self, len: u64, takers: u32) -> (bool, u32) {
            self.number += 1;
            let copied = class(len).is_some_and(|class| self.ways.copied(0)[class]);
            let mut timed = 0;
            for taker in 0..takers {
                let is_tried = self.ways.is_tried(0);
                let sending = self.ways.begin(0, self.number, len);
                let Some(sending) = sending.filter(|_| is_tried) else {
                    continue;
                };
                timed += 1;
                let read = if taker == 0 { self.read } else { 0 };
                let nanos = match copied {
                    true => 1000 + len * (self.copy + read) / 1000,
                    false => 3000 + len * self.file / 1000,
                };
                let took = Duration::from_nanos(nanos);
                self.ways.sent(sending, copied, took);
            }
            (copied, timed)
        }

        /// Whether frames are copied when all has been tried.
        fn settles(&mut self, len: u64, takers: u32) -> bool {
            for _ in 0..2 * TRIAL + 2 {
                self.frame(len, takers);
            }
            let (copied, timed) = self.frame(len, takers);
            assert_eq!(timed, 0, "no clock is read in between");
            copied
        }
    }

    #[test]
    fn where_a_copy_is_read_fast_and_sent_fast_it_pays_for_many_and_for_short_frames() {
        let mut machine = Machine::new(250, 130, 150);
        assert!(!machine.settles(100_000, 1));
        assert!(machine.settles(100_000, 2));
        assert!(machine.settles(100_000, 100));
        assert!(machine.settles(10_000, 1));
    }

    #[test]
    fn where_memory_is_slow_no_frame_is_copied() {
        let mut machine = Machine::new(250, 800, 800);
        for takers in [1, 2, 100] {
            assert!(!machine.settles(100_000, takers));
        }
    }

    #[test]
    fn it_is_decided_again_when_more_take_each_frame_and_after_a_while() {
        let mut machine = Machine::new(250, 130, 150);
        assert!(!machine.settles(100_000, 1));
        assert!(machine.settles(100_000, 10));
        assert!(!machine.settles(100_000, 1));
        (machine.file, machine.copy) = (100, 800);
        let clocks: u32 = (0..BETWEEN + TRIAL)
            .map(|_| machine.frame(100_000, 10).1)
            .sum();
        assert!(!machine.frame(100_000, 10).0);
        assert!(clocks <= TRIAL * 10, "{clocks}");
    }

    #[test]
    fn what_is_too_long_is_not_copied_and_not_timed() {
        let mut machine = Machine::new(1000, 1, 1);
        for _ in 0..100 {
            assert_eq!(machine.frame(600_000, 10), (false, 0));
        }
    }

    #[test]
    fn one_sample_that_is_off_decides_nothing() {
        let mut machine = Machine::new(250, 130, 150);
        machine.settles(100_000, 10);
        let sending = Sending {
            camera: 0,
            class: class(100_000).unwrap(),
            first: false,
        };
        machine.ways.sent(sending, true, Duration::from_secs(1));
        machine.frame(100_000, 10);
        assert!(machine.frame(100_000, 10).0);
    }
}
