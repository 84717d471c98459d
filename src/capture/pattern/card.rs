//! What the test picture looks like.
//!
//! ```text
//!   +--------------------------+-------+
//!   | strip (see its module)   | label |
//!   +----+----+----+----+----+-+-------+
//!   | colour bars, 75 %: grey, yellow, |   the clock's text is in UTC
//!   | cyan, green, magenta, red, blue  |
//!   |      +--------------------+      |
//!   |      |    12:34:56.789    |      |
//!   |      |    #000123    UTC  |      |
//!   |      +--------------------+      |
//!   |  reversed bars, black between    |   as in SMPTE EG 1
//!   +----------------------------------+
//!   | lane: a bar sweeps to and fro    |   once there and back in four seconds
//!   +----------------------------------+
//! ```
//!
//! Bars, labels and the box are drawn once; the strip, the text and the lane are drawn for each frame. If the picture
//! is too small for the strip or the text, they are left out.

use std::time::{Duration, UNIX_EPOCH};

use super::strip::{COLUMNS, ROWS, Strip};
use crate::capture::pattern::stamp::Stamp;
use crate::picture::canvas::{Area, Canvas, Colour, GLYPH};
use crate::picture::encode::Planes;

/// Colour bars at 75 % intensity, brightest first.
const BARS: [[u8; 3]; 7] = [
    [191, 191, 191],
    [191, 191, 0],
    [0, 191, 191],
    [0, 191, 0],
    [191, 0, 191],
    [191, 0, 0],
    [0, 0, 191],
];

/// The number of characters in `12:34:56.789`.
const CLOCK_LETTERS: usize = 12;

/// How long the sweeping bar takes to go there and back.
const SWEEP: Duration = Duration::from_secs(4);

/// What of the picture can be changed (`controls.rs`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Appearance {
    /// The luma of the lane.
    pub(super) lane: u8,
    /// Whether the clock is shown.
    pub(super) clock: bool,
    /// Whether the bar sweeps.
    pub(super) sweeps: bool,
}

impl Default for Appearance {
    fn default() -> Self {
        Appearance {
            lane: 24,
            clock: true,
            sweeps: true,
        }
    }
}

/// The luma of the marks on the lane.
const MARK: Colour = Colour::grey(96);

/// The position and the size of the text.
#[derive(Clone, Copy)]
struct Caption {
    area: Area,
    /// The scale of the clock; the line below it has two thirds of that.
    scale: usize,
}

impl Caption {
    fn small(&self) -> usize {
        (self.scale * 2 / 3).max(1)
    }
}

/// The picture, and the positions of its moving parts.
pub(super) struct TestCard {
    canvas: Canvas,
    cell: Option<usize>,
    text: Option<Caption>,
    lane: Area,
    pub(super) look: Appearance,
}

impl TestCard {
    /// Draws the parts that do not move.
    pub(super) fn new(width: u16, height: u16) -> Self {
        let canvas = Canvas::new(width, height);
        let (width, height) = (canvas.width, canvas.height);
        let cell = Strip::cell(width, height);
        let top = cell.map_or(0, |cell| cell * ROWS);
        let lane_height = (height / 8 / 2 * 2).max(2).min(height);
        let (middle, lane) = (
            Area {
                y: top,
                height: height - lane_height - top,
                width,
                x: 0,
            },
            Area {
                y: height - lane_height,
                height: lane_height,
                width,
                x: 0,
            },
        );
        let mut card = TestCard {
            canvas,
            cell,
            text: layout(middle),
            lane,
            look: Appearance::default(),
        };
        card.draw_bars(middle);
        card.draw_label();
        if let Some(text) = card.text {
            card.canvas.fill(text.area, Colour::BLACK);
        }
        card
    }

    /// Draws the parts that move. `elapsed` is the time for which the sweeping bar has been moving.
    pub(super) fn draw(&mut self, stamp: &Stamp, elapsed: Duration) -> Option<Planes<'_>> {
        let captured = stamp.captured.duration_since(UNIX_EPOCH);
        let captured = captured.unwrap_or_default();
        if let Some(cell) = self.cell {
            let (frame, millis) = (stamp.frame as u32, captured.as_millis() as u64);
            Strip { frame, millis }.draw(&mut self.canvas, cell);
        }
        if let Some(text) = self.text {
            self.draw_text(text, stamp.frame, captured);
        }
        self.draw_lane(elapsed);
        self.canvas.planes()
    }

    fn draw_bars(&mut self, area: Area) {
        let lower = area.height / 8;
        let edge = |n: usize| n * area.width / BARS.len();
        for (n, rgb) in BARS.into_iter().enumerate() {
            let upper = Area {
                x: edge(n),
                width: edge(n + 1) - edge(n),
                height: area.height - lower,
                ..area
            };
            let below = Area {
                y: area.y + area.height - lower,
                height: lower,
                ..upper
            };
            // The lower row shows the bars from right to left, with every second one replaced by black.
            let reversed = match n % 2 {
                0 => Colour::rgb(BARS[BARS.len() - 1 - n]),
                _ => Colour::grey(16),
            };
            self.canvas.fill(upper, Colour::rgb(rgb));
            self.canvas.fill(below, reversed);
        }
    }

    /// Writes to the right of the strip, if there is room, what size the picture has, and what the strip is: it looks
    /// like damage to those who do not expect it.
    fn draw_label(&mut self) {
        let size = format!("{}x{}", self.canvas.width, self.canvas.height);
        let Some(cell) = self.cell else { return };
        let (x, height) = (COLUMNS * cell, ROWS * cell / 2);
        let room = self.canvas.width - x;
        for (line, label) in [size.as_str(), "< TIME CODE"].into_iter().enumerate() {
            let scale = (room / ((label.len() + 1) * GLYPH)).min(height * 3 / 4 / GLYPH);
            let x = x + (room - label.len() * GLYPH * scale) / 2;
            let y = line * height + (height - GLYPH * scale) / 2;
            self.canvas.text(x, y, scale, label);
        }
    }

    fn draw_text(&mut self, text: Caption, frame: u64, captured: Duration) {
        let Caption { area, scale } = text;
        let small = text.small();
        self.canvas.shade(area, 0);
        if !self.look.clock {
            return;
        }
        let width = CLOCK_LETTERS * GLYPH * scale;
        let (x, y) = (area.x + (area.width - width) / 2, area.y + pad(scale));
        self.canvas.text(x, y, scale, &clock(captured));
        let y = y + GLYPH * scale + pad(scale);
        let letters = width / (GLYPH * small);
        self.canvas.text(x, y, small, &numbered(frame, letters));
    }

    fn draw_lane(&mut self, elapsed: Duration) {
        let (lane, width) = (self.lane, self.lane.width);
        self.canvas.fill(lane, Colour::grey(self.look.lane));
        for mark in 1..16 {
            let mark = Area {
                x: mark * width / 16,
                width: width.div_ceil(640),
                height: lane.height / if mark % 4 == 0 { 2 } else { 4 },
                ..lane
            };
            self.canvas.shade(mark, MARK.0[0]);
        }
        let bar_width = (width / 40).max(2).min(width);
        let elapsed = if self.look.sweeps { elapsed } else { SWEEP / 4 };
        let turn = elapsed.as_secs_f64() / SWEEP.as_secs_f64();
        let there = 1.0 - (turn.fract() * 2.0 - 1.0).abs();
        let bar = Area {
            x: (there * (width - bar_width) as f64).round() as usize,
            width: bar_width,
            ..lane
        };
        self.canvas.shade(bar, 255);
    }
}

/// A box in the middle, at most three quarters as wide as the picture; `None` if glyphs of 8 pixels do not fit.
fn layout(around: Area) -> Option<Caption> {
    let width = |scale| CLOCK_LETTERS * GLYPH * scale + 2 * pad(scale);
    let height = |scale| {
        let text = Caption {
            area: around,
            scale,
        };
        GLYPH * (scale + text.small()) + 3 * pad(scale)
    };
    let fits = |scale: &usize| {
        width(*scale) <= around.width * 7 / 8 && height(*scale) <= around.height * 5 / 8
    };
    let scale = (1..64).take_while(fits).last()?;
    // At even pixel positions, like the chroma samples, so that no colour bleeds into the box.
    let centre = |room: usize, size: usize| (room - size) / 2 / 2 * 2;
    let area = Area {
        x: centre(around.width, width(scale)),
        y: around.y + centre(around.height * 7 / 8, height(scale)),
        width: width(scale) / 2 * 2,
        height: height(scale) / 2 * 2,
    };
    Some(Caption { area, scale })
}

/// The margin around and between lines.
fn pad(scale: usize) -> usize {
    4 * scale
}

/// The line below the clock, which has the same width: the frame's number, and the time zone if there is room for it.
fn numbered(frame: u64, letters: usize) -> String {
    let number = format!("#{frame:06}");
    match letters.checked_sub(number.len()) {
        Some(room @ 4..) => format!("{number}{:>room$}", "UTC"),
        _ => number.chars().take(letters).collect(),
    }
}

/// The time of day in UTC, `HH:MM:SS.mmm`.
fn clock(since_epoch: Duration) -> String {
    let of_day = since_epoch.as_secs() % 86_400;
    let (hours, minutes, secs) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let millis = since_epoch.subsec_millis();
    format!("{hours:02}:{minutes:02}:{secs:02}.{millis:03}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_shows_the_time_of_day_in_utc() {
        let time = Duration::from_millis(1_733_918_400_007);
        assert_eq!(clock(time), "12:00:00.007");
        assert_eq!(clock(Duration::ZERO), "00:00:00.000");
    }

    #[test]
    fn the_zone_makes_room_for_large_numbers() {
        assert_eq!(numbered(123, 12), "#000123  UTC");
        assert_eq!(numbered(12_345_678, 12), "#12345678");
        assert_eq!(numbered(u64::MAX, 12), "#18446744073");
    }

    #[test]
    fn text_is_left_out_of_pictures_too_small_for_it() {
        assert!(TestCard::new(96, 96).text.is_none());
        let text = TestCard::new(160, 120).text.unwrap();
        assert_eq!(text.scale, 1);
        assert!(TestCard::new(4096, 16).text.is_none());
    }

    #[test]
    fn the_bar_sweeps_from_edge_to_edge() {
        let mut card = TestCard::new(64, 64);
        let bright = |card: &mut TestCard, millis| {
            card.draw_lane(Duration::from_millis(millis));
            let whites = (0..64).filter(|&x| card.canvas.luma_at(x, 60) == 255);
            whites.collect::<Vec<_>>()
        };
        assert_eq!(bright(&mut card, 0), [0, 1]);
        assert_eq!(bright(&mut card, 1000), [31, 32]);
        assert_eq!(bright(&mut card, 2000), [62, 63]);
        assert_eq!(bright(&mut card, 4000), [0, 1]);
    }
}
