//! The lines that are measured.

use std::time::Duration;

use crate::common::line::{Line, LostTails};

const KB: usize = 1024;

/// A line with the frames that it is to carry.
pub(crate) struct Cell {
    group: &'static str,
    pub(crate) link: Link,
    pub(crate) congestion: &'static str,
    /// Bits per second.
    rate: f64,
    /// Bytes of a frame.
    pub(crate) frame: usize,
}

pub(crate) enum Link {
    Line(Line),
    /// In the words of tc-tbf(8). The kernel lets segments of up to 64 KB pass as one.
    Bucket(String),
}

impl Cell {
    /// What the table calls it.
    pub(crate) fn name(&self) -> String {
        let mut words = vec![format!("{}: {} Mbit/s", self.group, self.rate / 1e6)];
        let ms = |time: Duration| time.as_millis();
        match &self.link {
            Link::Bucket(bucket) => words.push(format!(
                "tbf {}",
                bucket
                    .split_once("burst")
                    .map_or("", |(_, burst)| burst.trim())
            )),
            Link::Line(line) => {
                words.push(format!("RTT {}", ms(line.round_trip)));
                words.push(format!("queue {}", ms(line.queue)));
                if !line.clump.is_zero() {
                    words.push(format!("acks every {}", ms(line.clump)));
                }
                if line.loss > 0.0 {
                    words.push(format!("loss {} %", line.loss * 100.0));
                }
                if let Some(tails) = line.lost_tails {
                    words.push(format!("every second tail of {} lost", tails.bytes));
                }
            }
        }
        words.push(format!("{} KB", self.frame / KB));
        words.push(self.congestion.into());
        words.join(", ")
    }

    /// Frames per second that it can carry: 1448 bytes of a stream take 1500 on a line that counts IP packets, and 1514 in tc-tbf(8),
    /// which counts Ethernet frames. A part's head and delimiter are some 120 bytes.
    pub(crate) fn carries(&self) -> f64 {
        let packet = match self.link {
            Link::Line(_) => 1500.0,
            Link::Bucket(_) => 1514.0,
        };
        let frame = (self.frame as f64 + 120.0) * packet / 1448.0;
        (self.rate / 8.0 / frame).min(crate::FPS)
    }
}

pub(crate) fn all() -> Vec<Cell> {
    let mut cells = Vec::new();
    for congestion in ["cubic", "bbr"] {
        near(&mut cells, congestion);
        clumps(&mut cells, congestion);
        tails(&mut cells, congestion);
        far(&mut cells, congestion);
        losses(&mut cells, congestion);
    }
    cells
}

/// Adds a cell with frames of `kb`.
fn add(
    cells: &mut Vec<Cell>,
    group: &'static str,
    mbit: u32,
    kb: usize,
    congestion: &'static str,
    line: Line,
) {
    let rate = f64::from(mbit) * 1e6;
    let line = Line { rate, ..line };
    cells.push(Cell {
        group,
        link: Link::Line(line),
        congestion,
        rate,
        frame: kb * KB,
    });
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A line with this round trip and this queue.
fn line(round_trip: u64, queue: u64) -> Line {
    Line {
        round_trip: ms(round_trip),
        queue: ms(queue),
        ..Line::default()
    }
}

fn near(cells: &mut Vec<Cell>, congestion: &'static str) {
    for mbit in [1, 2, 5] {
        for queue in [50, 100] {
            add(cells, "near", mbit, 100, congestion, line(2, queue));
        }
    }
}

fn clumps(cells: &mut Vec<Cell>, congestion: &'static str) {
    for (mbit, limit) in [(1, 28_500), (2, 41_000), (5, 78_500)] {
        cells.push(Cell {
            group: "clumps",
            link: Link::Bucket(format!("rate {mbit}mbit burst 16000 limit {limit}")),
            congestion,
            rate: f64::from(mbit) * 1e6,
            frame: 100 * KB,
        });
    }
    for mbit in [1, 2, 5] {
        for clump in [10, 25, 50, 100, 150] {
            let line = Line {
                clump: ms(clump),
                ..line(2, 100)
            };
            add(cells, "clumps", mbit, 100, congestion, line);
        }
    }
    add(cells, "clumps", 1, 100, congestion, line(2, 500));
    // Far from full: what matters is who waits for an acknowledgement. Not in step with the camera, so that the shortest round trip is seen.
    for clump in [47, 71, 103] {
        let line = Line {
            clump: ms(clump),
            ..line(2, 100)
        };
        add(cells, "clumps", 20, 20, congestion, line);
    }
}

fn tails(cells: &mut Vec<Cell>, congestion: &'static str) {
    for mbit in [1, 2, 5] {
        for bytes in [1, 6000] {
            let lost_tails = Some(LostTails {
                frame: 100 * KB as u32,
                bytes,
            });
            let line = Line {
                lost_tails,
                ..line(2, 100)
            };
            add(cells, "tails", mbit, 100, congestion, line);
        }
    }
}

fn far(cells: &mut Vec<Cell>, congestion: &'static str) {
    for mbit in [10, 20, 50] {
        for round_trip in [20, 50, 100, 200] {
            for queue in [50, 100, 500] {
                add(cells, "far", mbit, 100, congestion, line(round_trip, queue));
            }
        }
    }
}

fn losses(cells: &mut Vec<Cell>, congestion: &'static str) {
    for loss in [0.001, 0.01, 0.02] {
        for round_trip in [20, 50, 100] {
            for kb in [20, 100] {
                let line = Line {
                    loss,
                    ..line(round_trip, 100)
                };
                add(cells, "loss", 20, kb, congestion, line);
            }
        }
    }
}
