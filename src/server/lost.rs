//! The picture that a stream shows when its camera is lost: which one, what is wrong, and since when.
//!
//! A stream that stands still looks as if all were well, and one that sends nothing is given up by its client after ten
//! seconds. So this picture takes the camera's place until there is a frame again. It has the size that the stream has had so
//! far, because Firefox keeps a stream's first size, and it lies in memory as a file like any frame, so that it goes out in
//! the same way: drawn once per loss and size, shared by everybody who sees it.
//!
//! Snapshots are programs' as often as people's; they get a 503.

use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use log::warn;

use super::condition::Finding;
use super::date::date;
use super::outbox::Shot;
use crate::frames::frame::Frame;
use crate::frames::jpeg::Picture;
use crate::logging::Brake;
use crate::picture::canvas::{Area, Canvas, Colour, GLYPH};
use crate::picture::encode::Encoder;

/// Of a camera of which no picture was seen.
const USUAL_SIZE: Picture = Picture {
    width: 640,
    height: 480,
};

/// Pixels of the largest picture that is drawn: a foreign producer's frames may claim to be of any size.
const MOST_PIXELS: u32 = 4096 * 4096;

/// Sizes kept; a camera's viewers mostly have one.
const MOST_SIZES: usize = 4;

/// IJG scale. Letters on a plain ground are small at any quality.
const QUALITY: u8 = 80;

/// Letters that a line should have room for at least, if the picture allows.
const LETTERS: usize = 34;

const GROUND: Colour = Colour::grey(32);
const BAND: Colour = Colour([90, 110, 200]);

/// One camera's.
#[derive(Debug)]
pub(super) struct Notices {
    of: Option<Finding>,
    made: Vec<Shot<Frame>>,
    complaint: Brake,
}

impl Notices {
    pub(super) fn new() -> Self {
        Notices {
            of: None,
            made: Vec::new(),
            complaint: Brake::new(Duration::from_secs(60)),
        }
    }

    /// The camera gives frames again.
    pub(super) fn clear(&mut self) {
        self.of = None;
        self.made.clear();
    }

    /// The picture for this loss in this size, drawn if it was not yet; `None` if it cannot be.
    pub(super) fn get(
        &mut self,
        camera: &str,
        finding: Finding,
        size: Option<Picture>,
        now: Instant,
    ) -> Option<Shot<Frame>> {
        let size = size.unwrap_or(USUAL_SIZE);
        if self.of.as_ref() != Some(&finding) {
            self.made.clear();
        }
        let finding = self.of.insert(finding);
        if let Some(shot) = self.made.iter().find(|shot| shot.picture == size) {
            return Some(shot.clone());
        }
        if u32::from(size.width) * u32::from(size.height) > MOST_PIXELS {
            return None;
        }
        match make(camera, finding, size, now) {
            Ok(shot) => {
                self.made.truncate(MOST_SIZES - 1);
                self.made.insert(0, shot.clone());
                Some(shot)
            }
            Err(error) => {
                if self.complaint.pass(now).is_some() {
                    warn!("cannot make the picture for a lost camera: {error}");
                }
                None
            }
        }
    }
}

fn make(
    camera: &str,
    finding: &Finding,
    size: Picture,
    now: Instant,
) -> crate::error::Result<Shot<Frame>> {
    let canvas = draw(&words(camera, finding), size);
    let mut jpeg = Vec::new();
    // For programs; a frame of the pattern has its stamp in the same place.
    let comment = format!("lazycam notice: {camera} {}", finding.phase.word());
    if let Some(planes) = canvas.planes() {
        Encoder::new(QUALITY)?.encode(planes, Some(comment.as_bytes()), &mut jpeg)?;
    }
    let captured = SystemTime::now();
    let frame = Frame::in_memory(&jpeg, captured)?;
    Ok(Shot {
        len: frame.len(),
        picture: frame.picture(),
        captured,
        taken: now,
        number: 0,
        file: Rc::new(frame),
    })
}

/// What is said, a line each.
fn words(camera: &str, finding: &Finding) -> Vec<String> {
    let mut words = vec![camera.to_owned(), "no picture".to_owned()];
    if let Some(since) = finding.since {
        words.push(format!("since {}", date(since)));
    }
    words.extend(finding.why.clone());
    words
}

/// The first line large on a band, the others below it.
fn draw(words: &[String], size: Picture) -> Canvas {
    let mut canvas = Canvas::new(size.width, size.height);
    let (width, height) = (canvas.width, canvas.height);
    let scale = (width / (LETTERS * GLYPH)).clamp(1, 64);
    let (line, margin) = (GLYPH * scale * 3 / 2, GLYPH * scale);
    let whole = Area {
        x: 0,
        y: 0,
        width,
        height,
    };
    canvas.fill(whole, GROUND);
    let band = Area {
        height: line * 2,
        ..whole
    };
    canvas.fill(band, BAND);
    let letters = (width.saturating_sub(margin * 2) / (GLYPH * scale)).max(1);
    let mut y = line / 2 + GLYPH * scale / 4;
    for (n, text) in words.iter().enumerate() {
        for row in wrapped(text, letters) {
            canvas.text(margin, y, scale, &row);
            y += line;
        }
        if n == 0 {
            y = y.max(line * 2 + margin);
        }
    }
    canvas
}

/// Cut into rows of so many letters, between words where there is a gap. What the font does not have is a question mark.
fn wrapped(text: &str, letters: usize) -> Vec<String> {
    let plain = |c: char| if (' '..='~').contains(&c) { c } else { '?' };
    let text: Vec<char> = text.chars().map(plain).collect();
    let mut rows = Vec::new();
    let mut left = text.as_slice();
    while !left.is_empty() {
        let fits = left.len().min(letters);
        let gap = left[..fits].iter().rposition(|c| *c == ' ');
        let end = match gap {
            Some(gap) if fits < left.len() && left[fits] != ' ' && gap > 0 => gap,
            _ => fits,
        };
        rows.push(left[..end].iter().collect());
        left = left[end..].trim_start();
    }
    rows
}

/// Without blanks at the start.
trait TrimStart {
    fn trim_start(&self) -> &Self;
}

impl TrimStart for [char] {
    fn trim_start(&self) -> &Self {
        let blanks = self.iter().take_while(|c| **c == ' ').count();
        &self[blanks..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::state;
    use crate::server::condition::Phase;

    fn finding(why: &str) -> Finding {
        Finding {
            phase: Phase::Of(state::Phase::Lost),
            since: Some(SystemTime::UNIX_EPOCH),
            why: Some(why.into()),
        }
    }

    #[test]
    fn text_is_cut_between_words_or_where_it_must() {
        assert_eq!(wrapped("no such device", 8), ["no such", "device"]);
        assert_eq!(wrapped("no such", 7), ["no such"]);
        assert_eq!(wrapped("abcdefgh ij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrapped("ü\n", 4), ["??"]);
        assert!(wrapped("", 4).is_empty());
    }

    #[test]
    fn one_picture_is_made_per_loss_and_size() {
        let (mut notices, now) = (Notices::new(), Instant::now());
        let size = |width, height| Some(Picture { width, height });
        let mut get = |why: &str, size| notices.get("front", finding(why), size, now);
        let first = get("gone", size(160, 120)).unwrap();
        assert_eq!(first.picture, size(160, 120).unwrap());
        let again = get("gone", size(160, 120)).unwrap();
        assert!(Rc::ptr_eq(&first.file, &again.file));
        let other = get("gone", None).unwrap();
        assert_eq!(other.picture, USUAL_SIZE);
        let changed = get("burnt", size(160, 120)).unwrap();
        assert!(!Rc::ptr_eq(&first.file, &changed.file));
        assert!(get("gone", size(65535, 65535)).is_none());
        for tiny in [size(1, 1), size(16, 16), size(4096, 16)] {
            assert_eq!(
                get(&"long ".repeat(60), tiny).unwrap().picture,
                tiny.unwrap()
            );
        }
    }

    #[test]
    fn it_says_which_camera_since_when_and_why() {
        let since = "since Thu, 01 Jan 1970 00:00:00 GMT";
        let said = words("front", &finding("gone"));
        assert_eq!(said, ["front", "no picture", since, "gone"]);
        let unknown = Finding {
            since: None,
            why: None,
            ..finding("")
        };
        assert_eq!(words("front", &unknown), ["front", "no picture"]);
    }

    #[test]
    fn the_words_are_drawn_in_white() {
        let canvas = draw(&words("front", &finding("gone")), USUAL_SIZE);
        let pixels = (0..480).flat_map(|y| (0..640).map(move |x| (x, y)));
        let white = pixels
            .filter(|(x, y)| canvas.luma_at(*x, *y) == 255)
            .count();
        assert!(white > 1000, "{white}");
        assert_eq!(canvas.luma_at(639, 479), GROUND.0[0]);
    }
}
