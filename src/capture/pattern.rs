//! The source `pattern`: a moving test picture with a clock and a frame number, readable for people and for programs.
//! It needs no hardware.
//!
//! Frames are on a fixed time grid, start + k/fps, like those of a camera. The frame number counts the points of the
//! grid, whether or not somebody was watching, so that a viewer can tell from the gaps which frames it did not get. A
//! tick that comes late produces the newest point, and the points before it are skipped. While the source is stopped
//! there is no grid, no clock and no deadline; the next start continues with the next number.
//!
//! [`Source::advance`] only notes the number and the time. Drawing and encoding happen in [`Source::jpeg`], so a
//! frame that nobody wants costs no more than reading the clock.
//!
//! Each frame contains its number and time in three forms: in letters, in the [`strip`] of cells, and in a comment
//! (`stamp`), which is present at every size.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use crate::capture::assignment::Assignment;
use crate::capture::control_facts::ControlFacts;
use crate::capture::pattern::stamp::Stamp;
use crate::capture::source::{Captured, Facts, Source, Trouble, Unset, turned};
use crate::error::{Error, Result};
use crate::picture::encode::Encoder;
use crate::picture::encode::hardware::HardwareCoder;
use crate::picture::jpeg::Size;
use crate::picture::turn::Transform;
use crate::picture::turn::planes::Turned;

mod card;
mod controls;
pub mod stamp;
pub mod strip;

use card::TestCard;

/// Width and height, in pixels.
const SIZES: std::ops::RangeInclusive<u16> = 16..=4096;

/// Frames per second.
const RATES: std::ops::RangeInclusive<f64> = 0.1..=240.0;

/// While the source is running: where the grid begins, and its next point.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    start: Instant,
    next: u64,
}

/// A frame that was reported, and its place on the grid.
#[derive(Clone, Copy, Debug)]
struct Tick {
    stamp: Stamp,
    encoded: bool,
}

/// The test picture.
pub struct Pattern {
    card: TestCard,
    size: Size,
    fps: f64,
    turn: Transform,
    turned: Turned,
    encoder: Encoder,
    grid: Option<Schedule>,
    /// The frame number of the grid's first point.
    first: u64,
    newest: Option<Tick>,
    jpeg: Vec<u8>,
}

impl Pattern {
    /// Makes a picture of 16x16 to 4096x4096 pixels, at 0.1 to 240 frames per second, in JPEG quality 1 to 100.
    pub fn new((width, height): (u16, u16), fps: f64, quality: u8) -> Result<Self> {
        if !SIZES.contains(&width) || !SIZES.contains(&height) {
            let message = format!("pattern: {width}x{height} is not between 16x16 and 4096x4096");
            return Err(Error::Usage(message));
        }
        if !RATES.contains(&fps) {
            let message = format!("pattern: {fps} frames per second is not between 0.1 and 240");
            return Err(Error::Usage(message));
        }
        Ok(Pattern {
            card: TestCard::new(width, height),
            size: Size { width, height },
            fps,
            turn: Transform::default(),
            turned: Turned::default(),
            encoder: Encoder::new(quality)?,
            grid: None,
            first: 0,
            newest: None,
            jpeg: Vec::new(),
        })
    }

    /// The same, turned.
    #[must_use]
    pub fn turned(mut self, turn: Transform) -> Self {
        self.turn = turn;
        self
    }

    /// The same, with these controls set.
    pub fn with(mut self, controls: &[Assignment]) -> Result<Self> {
        for wanted in controls {
            controls::set(&mut self.card.look, wanted).map_err(Error::Usage)?;
        }
        Ok(self)
    }

    /// The time from the beginning of the grid to point `n`.
    fn offset(&self, n: u64) -> Duration {
        // Beyond 2^53 points, which takes some million years, whole points would be lost.
        Duration::try_from_secs_f64(n as f64 / self.fps).unwrap_or(Duration::MAX)
    }

    fn due(&self, Schedule { start, next }: Schedule) -> Option<Instant> {
        start.checked_add(self.offset(next))
    }
}

impl Source for Pattern {
    fn describe(&self) -> String {
        let turned = turned(self.turn);
        format!("pattern {} at {} fps{turned}", self.size, self.fps)
    }

    fn facts(&self) -> Facts {
        Facts {
            size: Some(self.turn.size(self.size)),
            fps: Some(self.fps),
            quality: Some(self.encoder.quality()),
        }
    }

    fn start(&mut self, now: Instant) -> Result<(), Trouble> {
        self.stop();
        let (start, next) = (now, 0);
        self.grid = Some(Schedule { start, next });
        Ok(())
    }

    fn stop(&mut self) {
        self.encoder.rest();
        if let Some(grid) = self.grid.take() {
            self.first += grid.next;
        }
    }

    fn encode_with(&mut self, hardware: Box<dyn HardwareCoder>) {
        self.encoder.encode_with(hardware);
    }

    fn encoder(&self) -> Option<&str> {
        self.encoder.maker()
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn deadline(&self) -> Option<Instant> {
        self.due(self.grid?)
    }

    fn advance(&mut self, now: Instant) -> Result<Option<Captured>, Trouble> {
        let Some(mut grid) = self.grid else {
            return Ok(None);
        };
        if self.due(grid).is_none_or(|due| now < due) {
            return Ok(None);
        }
        // Rounding may make this one point too low, but never lower than the point that is due.
        let reached = (now.saturating_duration_since(grid.start).as_secs_f64() * self.fps) as u64;
        let n = reached.max(grid.next);
        grid.next = n + 1;
        self.grid = Some(grid);
        let stamp = Stamp::now(self.first + n);
        let encoded = false;
        self.newest = Some(Tick { stamp, encoded });
        Ok(Some(Captured {
            at: stamp.captured,
            settled: true,
        }))
    }

    fn jpeg(&mut self) -> Result<&[u8], Trouble> {
        let Some(Tick { stamp, encoded }) = self.newest else {
            return Err(Trouble::Broken("pattern: no frame was due yet".into()));
        };
        if !encoded {
            let elapsed = self.offset(stamp.frame);
            let broken = |what: String| Trouble::Broken(format!("pattern: {what}"));
            let planes = self.card.draw(&stamp, elapsed);
            let planes = planes.and_then(|planes| self.turned.turn(planes, self.turn));
            let planes = planes.ok_or_else(|| broken("no pixels".into()))?;
            let comment = stamp.to_string();
            self.encoder
                .encode(planes, Some(comment.as_bytes()), &mut self.jpeg)
                .map_err(|error| broken(error.to_string()))?;
            let encoded = true;
            self.newest = Some(Tick { stamp, encoded });
        }
        Ok(&self.jpeg)
    }

    fn set_control(&mut self, wanted: &Assignment) -> Result<(), Unset> {
        controls::set(&mut self.card.look, wanted).map_err(Unset::Refused)
    }

    fn controls(&self) -> Vec<ControlFacts> {
        controls::facts(self.card.look)
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::strip::Strip;
    use super::*;
    use crate::picture::jpeg;
    use crate::picture::turn::lossless::Turner;

    fn started(size: (u16, u16), fps: f64, quality: u8) -> (Pattern, Instant) {
        let mut pattern = Pattern::new(size, fps, quality).unwrap();
        let now = Instant::now();
        pattern.start(now).unwrap();
        (pattern, now)
    }

    fn number(pattern: &mut Pattern, now: Instant) -> Option<u64> {
        pattern.advance(now).unwrap()?;
        Some(Stamp::find(pattern.jpeg().unwrap()).unwrap().frame)
    }

    /// The luma of a decoded picture: the green channel alone, as the documentation recommends for browsers.
    fn green(jpeg: &[u8]) -> Vec<u8> {
        let mut decoder = jpeg_decoder::Decoder::new(jpeg);
        let pixels = decoder.decode().unwrap();
        pixels.chunks(3).map(|pixel| pixel[1]).collect()
    }

    #[test]
    fn the_strip_says_what_the_comment_says_at_every_quality() {
        for size in [(256, 128), (320, 241), (641, 480), (1280, 720)] {
            for quality in [5, 30, 80, 95] {
                let (mut pattern, now) = started(size, 30.0, quality);
                pattern.first = 0xFFFF_FFF0;
                let late = now + Duration::from_millis(1234);
                let told = pattern.advance(late).unwrap().unwrap();
                let jpeg = pattern.jpeg().unwrap();
                let stamp = Stamp::find(jpeg).unwrap();
                let (width, height) = (usize::from(size.0), usize::from(size.1));
                let strip = Strip::read(&green(jpeg), width, width, height).unwrap();
                assert_eq!(strip.frame, stamp.frame as u32);
                assert_eq!(stamp.frame, 0xFFFF_FFF0 + 37);
                let captured = stamp.captured.duration_since(UNIX_EPOCH).unwrap();
                assert_eq!(u128::from(strip.millis), captured.as_millis());
                let told = told.at.duration_since(UNIX_EPOCH).unwrap();
                assert_eq!(told.as_micros(), captured.as_micros());
            }
        }
    }

    /// The luma of a picture of `size` from which a turned one was made, with black where it was trimmed.
    fn turned_back(jpeg: &[u8], turn: Transform, size: Size) -> Vec<u8> {
        let turned = jpeg::check(jpeg).unwrap();
        let luma = green(jpeg);
        let (width, height) = (usize::from(turned.width), usize::from(turned.height));
        let mut back = vec![0; usize::from(size.width) * usize::from(size.height)];
        for (at, &sample) in luma.iter().enumerate() {
            let (x, y) = (at % width, at / width);
            let x = if turn.horizontal { width - 1 - x } else { x };
            let y = if turn.vertical { height - 1 - y } else { y };
            let (x, y) = if turn.transposed { (y, x) } else { (x, y) };
            back[y * usize::from(size.width) + x] = sample;
        }
        back
    }

    #[test]
    fn the_strip_can_be_read_however_the_picture_was_turned() {
        for (width, height) in [(640, 480), (1920, 1080), (641, 483)] {
            let size = Size { width, height };
            let (upright, now) = started((width, height), 30.0, 80);
            let mut upright = upright;
            upright.first = 0xC0FF_EE00;
            upright.advance(now).unwrap();
            let picture = upright.jpeg().unwrap().to_vec();
            for turn in Transform::ALL {
                let (raw, now) = started((width, height), 30.0, 80);
                let mut raw = raw.turned(turn);
                raw.first = 0xC0FF_EE00;
                raw.advance(now).unwrap();
                assert_eq!(raw.facts().size, Some(turn.size(size)));
                let before_it_was_coded = raw.jpeg().unwrap().to_vec();
                assert_eq!(jpeg::check(&before_it_was_coded), Ok(turn.size(size)));
                let mut afterwards = Vec::new();
                let mut turner = Turner::default();
                turner.turn(&picture, turn, &mut afterwards).unwrap();
                for turned in [before_it_was_coded, afterwards] {
                    let luma = turned_back(&turned, turn, size);
                    let (width, height) = (usize::from(width), usize::from(height));
                    let strip = Strip::read(&luma, width, width, height).unwrap();
                    assert_eq!(strip.frame, 0xC0FF_EE00, "{size} {turn}");
                    assert_eq!(Stamp::find(&turned).unwrap().frame, 0xC0FF_EE00);
                }
            }
        }
    }

    #[test]
    fn every_size_can_be_drawn() {
        let sizes = (16..=80).flat_map(|width| (16..=80).map(move |height| (width, height)));
        let extremes = [(16, 4096), (4096, 16), (255, 200), (513, 255)];
        for (width, height) in sizes.chain(extremes) {
            let (mut pattern, now) = started((width, height), 30.0, 50);
            number(&mut pattern, now).unwrap();
            let picture = jpeg::check(pattern.jpeg().unwrap());
            assert_eq!(picture, Ok(Size { width, height }));
        }
    }

    #[test]
    fn ticks_stay_on_their_grid_and_late_ones_are_left_out() {
        let (mut pattern, start) = started((16, 16), 10.0, 50);
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(pattern.deadline(), Some(start));
        assert_eq!(number(&mut pattern, at(3)), Some(0));
        assert_eq!(pattern.deadline(), Some(at(100)));
        assert_eq!(number(&mut pattern, at(99)), None);
        assert_eq!(number(&mut pattern, at(100)), Some(1));
        assert_eq!(number(&mut pattern, at(455)), Some(4));
        assert_eq!(number(&mut pattern, at(455)), None);
        assert_eq!(pattern.deadline(), Some(at(500)));
    }

    #[test]
    fn odd_rates_neither_stand_still_nor_give_a_number_twice() {
        let (mut pattern, start) = started((16, 16), 29.97, 50);
        for expected in 0..200 {
            let due = pattern.deadline().unwrap();
            assert_eq!(number(&mut pattern, due), Some(expected));
            assert!(pattern.deadline().unwrap() > due);
        }
        assert!(pattern.deadline().unwrap() - start < Duration::from_secs(7));
    }

    #[test]
    fn while_stopped_nothing_is_due_and_numbers_go_on_after_it() {
        let (mut pattern, start) = started((16, 16), 10.0, 50);
        assert_eq!(number(&mut pattern, start), Some(0));
        pattern.stop();
        assert_eq!(pattern.deadline(), None);
        let later = start + Duration::from_secs(60);
        assert_eq!(number(&mut pattern, later), None);
        pattern.start(later).unwrap();
        assert_eq!(pattern.deadline(), Some(later));
        assert_eq!(number(&mut pattern, later), Some(1));
    }

    #[test]
    fn the_same_frame_is_encoded_once() {
        let (mut pattern, now) = started((64, 64), 10.0, 50);
        assert!(pattern.jpeg().is_err());
        pattern.advance(now).unwrap();
        let first = pattern.jpeg().unwrap().to_vec();
        pattern.jpeg.push(0);
        assert_eq!(pattern.jpeg().unwrap().len(), first.len() + 1);
    }

    #[test]
    fn what_cannot_be_drawn_is_refused() {
        for (size, fps, quality) in [
            ((15, 16), 30.0, 80),
            ((16, 4097), 30.0, 80),
            ((16, 16), 0.09, 80),
            ((16, 16), f64::NAN, 80),
            ((16, 16), 241.0, 80),
            ((16, 16), 30.0, 0),
        ] {
            assert!(Pattern::new(size, fps, quality).is_err());
        }
    }
}
