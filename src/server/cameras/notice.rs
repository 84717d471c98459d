//! The picture that a stream shows when its camera is lost. It names the camera and says what is wrong, and for
//! how long, which needs neither a time zone nor a clock that agrees with the viewer's.
//!
//! A stream that stands still looks as if all were well, and clients give up on a stream that sends nothing after ten
//! seconds. So this picture takes the place of the camera's until there is a frame again. It has the size that the
//! stream has had so far, because players set up for a stream's first size. It is stored in memory as a file like any
//! frame, and is sent in the same way: drawn once per text and size, and shared by everybody who sees it.
//!
//! Drawing holds up the server's loop, and with it the viewers of all cameras, while a producer that may be hostile
//! decides what is drawn and when. So a picture has at most [`MOST_PIXELS`], and the pictures of one camera are drawn
//! at most once a second and for at most a tenth of the time ([`Notices::get`]).
//!
//! Snapshots get a 503 instead, because they are requested by programs as often as by people.

use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use log::warn;

use crate::error;
use crate::frames::frame::Frame;
use crate::logging::Brake;
use crate::picture::canvas::{Area, Canvas, Colour, GLYPH};
use crate::picture::encode::Encoder;
use crate::picture::format::USUAL_SIZE;
use crate::picture::jpeg::Size;
use crate::server::cameras::condition::Finding;
use crate::server::shot::Shot;
use crate::time::clock::Clocks;

/// The largest number of pixels that is drawn; every two of them take 3 bytes of memory. The frames of a foreign
/// producer may claim any size. If a stream is larger, the picture has a half of its size, a third, and so on: scaled
/// up, it fills the same place.
const MOST_PIXELS: u32 = 1920 * 1088;

/// How many sizes are kept. The viewers of a camera mostly have the same size.
const MOST_SIZES: usize = 4;

/// On the IJG scale. Letters on a plain background are small at any quality.
const QUALITY: u8 = 80;

/// A line should have room for at least this many letters, if the picture is large enough.
const LETTERS: usize = 34;

/// The shortest time from the end of one drawing to the next one of the same camera. On slow boards it is a multiple
/// of the time that the drawing took.
const REST: Duration = Duration::from_secs(1);
const REST_PER_WORK: u32 = 9;

/// Seconds since 1970; in 2001. An earlier time is that of a board whose clock has not been set yet.
const CLOCK_IS_SET: Duration = Duration::from_secs(1_000_000_000);

const GROUND: Colour = Colour::grey(32);
const BAND: Colour = Colour([90, 110, 200]);

/// The pictures of one camera.
#[derive(Debug)]
pub(in crate::server) struct Notices {
    /// The newest first, one of each size, with its text.
    made: Vec<(Vec<String>, Shot<Frame>)>,
    /// Nothing is drawn before this time.
    rests_until: Option<Instant>,
    complaint: Brake,
}

impl Notices {
    pub(in crate::server) fn new() -> Self {
        Notices {
            made: Vec::new(),
            rests_until: None,
            complaint: Brake::new(Duration::from_secs(60)),
        }
    }

    /// The camera delivers frames again.
    pub(in crate::server) fn clear(&mut self) {
        self.made.clear();
    }

    /// The picture for this loss in this size, drawn if there is none yet. While nothing may be drawn, it is the last
    /// one of this size. If there is none, the error is the time from which one can be drawn, or `None` if that is
    /// impossible.
    pub(in crate::server) fn get(
        &mut self,
        camera: &str,
        finding: Finding,
        size: Option<Size>,
        clocks: Clocks,
    ) -> Result<Shot<Frame>, Option<Instant>> {
        let now = clocks.now;
        let size = drawn_size(size.unwrap_or(USUAL_SIZE));
        let words = words(camera, &finding, clocks.wall);
        let of_size = |(_, shot): &(Vec<String>, Shot<Frame>)| shot.picture == size;
        let before = self.made.iter().position(of_size);
        let rests_until = self.rests_until.filter(|until| now < *until);
        if let Some((found, shot)) = before.map(|index| &self.made[index]) {
            if *found == words || rests_until.is_some() {
                return Ok(shot.clone());
            }
        }
        if rests_until.is_some() {
            return Err(rests_until);
        }
        // How long the drawing takes is not known before: this is measured, and nothing is dated by it.
        let begun = Instant::now();
        let made = make(&words, &comment(camera, &finding), size, clocks);
        let took = begun.elapsed();
        self.rests_until = Some(now + took + REST.max(took * REST_PER_WORK));
        match made {
            Ok(shot) => {
                before.map(|index| self.made.remove(index));
                self.made.truncate(MOST_SIZES - 1);
                self.made.insert(0, (words, shot.clone()));
                Ok(shot)
            }
            Err(error) => {
                if self.complaint.pass(now).is_some() {
                    warn!("cannot make the picture for a lost camera: {error}");
                }
                Err(None)
            }
        }
    }
}

/// The size itself, or the largest whole fraction (a half, a third, …) that is not too large to draw.
fn drawn_size(Size { width, height }: Size) -> Size {
    let part = |by: u16| Size {
        width: (width / by).max(1),
        height: (height / by).max(1),
    };
    let pixels = |size: &Size| u32::from(size.width) * u32::from(size.height);
    let mut parts = (1..=u16::MAX).map(part);
    parts
        .find(|size| pixels(size) <= MOST_PIXELS)
        .unwrap_or(USUAL_SIZE)
}

/// The JPEG comment, which is for programs. A frame of the test pattern has its stamp in the same place.
fn comment(camera: &str, finding: &Finding) -> String {
    format!("lazycam notice: {camera} {}", finding.phase.word())
}

fn make(words: &[String], comment: &str, size: Size, clocks: Clocks) -> error::Result<Shot<Frame>> {
    let canvas = draw(words, size);
    let mut jpeg = Vec::new();
    if let Some(planes) = canvas.planes() {
        Encoder::new(QUALITY)?.encode(planes, Some(comment.as_bytes()), &mut jpeg)?;
    }
    let frame = Frame::in_memory(&jpeg, clocks.wall)?;
    Ok(Shot {
        len: frame.len(),
        picture: frame.size(),
        captured: clocks.wall,
        taken: clocks.now,
        number: 0,
        file: Rc::new(frame),
    })
}

/// The text of the picture, line by line.
fn words(camera: &str, finding: &Finding, now: SystemTime) -> Vec<String> {
    let mut words = vec![camera.to_owned(), "no picture".to_owned()];
    // A time from before the clock was set says nothing.
    let since = finding
        .since
        .filter(|since| *since >= SystemTime::UNIX_EPOCH + CLOCK_IS_SET);
    let lasts = since.and_then(|since| now.duration_since(since).ok());
    words.extend(lasts.map(|lasts| format!("for {}", roughly(lasts))));
    words.extend(finding.why.as_deref().map(without_system_words));
    words
}

/// In the largest unit, so that it changes once a minute at most.
fn roughly(lasts: Duration) -> String {
    match lasts.as_secs() / 60 {
        0 => "less than a minute".into(),
        minutes @ 1..60 => format!("{minutes} min"),
        minutes @ 60..1440 => format!("{} h {} min", minutes / 60, minutes % 60),
        minutes => format!("{} days", minutes / 1440),
    }
}

/// A cause as people need it. Where the program has words of its own for it, those of the system stand behind them in
/// parentheses, for the log.
fn without_system_words(why: &str) -> String {
    let number = why.find(" (os error ");
    let words = number.map_or(why, |at| &why[..at]);
    let own = words.rfind(" (").filter(|_| why.ends_with("))"));
    own.map_or(words, |at| &words[..at]).to_owned()
}

/// Draws the first line large on a band, and the others below it.
fn draw(words: &[String], size: Size) -> Canvas {
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

/// Breaks the text into rows of at most this many letters, between words where possible. Characters that the font
/// does not have become question marks.
fn wrapped(text: &str, letters: usize) -> Vec<String> {
    let plain = |c: char| if (' '..='~').contains(&c) { c } else { '?' };
    // From here on it is ASCII, so a byte is a letter.
    let text: String = text.chars().map(plain).collect();
    let mut rows = Vec::new();
    let mut left = text.as_str();
    while !left.is_empty() {
        let end = if left.len() <= letters {
            left.len()
        } else {
            // A blank right behind the row counts as a gap, too.
            let gap = left[..=letters].rfind(' ').filter(|gap| *gap > 0);
            gap.unwrap_or(letters)
        };
        let (row, rest) = left.split_at(end);
        rows.push(row.to_owned());
        left = rest.trim_start_matches(' ');
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::state;
    use crate::server::cameras::condition::CameraPhase;

    fn finding(why: &str) -> Finding {
        Finding {
            phase: CameraPhase::Of(state::Phase::Lost),
            since: Some(SystemTime::UNIX_EPOCH),
            why: Some(why.into()),
        }
    }

    #[test]
    fn text_is_cut_between_words_or_where_it_must() {
        assert_eq!(wrapped("no such device", 8), ["no such", "device"]);
        assert_eq!(wrapped("no such", 7), ["no such"]);
        assert_eq!(wrapped("abcdefgh ij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrapped("abcd ij", 4), ["abcd", "ij"]);
        assert_eq!(wrapped("abc  d ij", 5), ["abc ", "d ij"]);
        assert_eq!(wrapped("ü\n", 4), ["??"]);
        assert!(wrapped("", 4).is_empty());
    }

    fn size(width: u16, height: u16) -> Size {
        Size { width, height }
    }

    /// Notices, and a clock that only the test moves.
    struct Scene {
        notices: Notices,
        clocks: Clocks,
    }

    impl Scene {
        fn new() -> Self {
            Scene {
                notices: Notices::new(),
                clocks: Clocks::read(),
            }
        }

        fn get(&mut self, why: &str, size: Size) -> Result<Shot<Frame>, Option<Instant>> {
            let finding = finding(why);
            self.notices.get("front", finding, Some(size), self.clocks)
        }

        /// Lets the time pass in which nothing is drawn.
        fn rest(&mut self) {
            self.clocks.now = self.notices.rests_until.unwrap();
        }
    }

    #[test]
    fn one_picture_is_made_per_loss_and_size() {
        let (mut scene, small) = (Scene::new(), size(160, 120));
        let first = scene.get("gone", small).unwrap();
        assert_eq!(first.picture, small);
        scene.rest();
        let other = scene
            .notices
            .get("front", finding("gone"), None, scene.clocks);
        assert_eq!(other.unwrap().picture, USUAL_SIZE);
        scene.rest();
        let again = scene.get("gone", small).unwrap();
        assert!(Rc::ptr_eq(&first.file, &again.file));
        let changed = scene.get("burnt", small).unwrap();
        assert!(!Rc::ptr_eq(&first.file, &changed.file));
        for tiny in [size(1, 1), size(16, 16), size(4096, 16)] {
            scene.rest();
            let long = scene.get(&"long ".repeat(60), tiny).unwrap();
            assert_eq!(long.picture, tiny);
        }
        assert_eq!(scene.notices.made.len(), MOST_SIZES);
    }

    #[test]
    fn a_producer_that_changes_its_mind_in_a_loop_has_one_picture_drawn_a_second() {
        let (mut scene, small) = (Scene::new(), size(160, 120));
        let first = scene.get("0", small).unwrap();
        let start = scene.clocks.now;
        let (mut last, mut drawn) = (Rc::clone(&first.file), 0);
        for millis in (0..10_000).step_by(10) {
            scene.clocks.now = start + Duration::from_millis(millis);
            // An old picture of this size is better than none.
            let shot = scene.get(&millis.to_string(), small).unwrap();
            drawn += usize::from(!Rc::ptr_eq(&shot.file, &last));
            last = shot.file;
        }
        assert!((1..10).contains(&drawn), "{drawn} in 10 s");
        // It cannot have more pictures drawn by sending frames in between or by making up sizes.
        scene.rest();
        scene.get("last", small).unwrap();
        scene.notices.clear();
        let until = scene.notices.rests_until;
        assert_eq!(scene.get("last", small).map(|_| ()), Err(until));
        assert_eq!(scene.get("last", size(17, 17)).map(|_| ()), Err(until));
        scene.rest();
        assert!(scene.get("last", size(17, 17)).is_ok());
    }

    #[test]
    fn a_picture_too_large_to_draw_has_a_whole_part_of_its_size() {
        for (whole, drawn) in [
            (size(1920, 1080), size(1920, 1080)),
            (size(3840, 2160), size(1920, 1080)),
            (size(4096, 4096), size(1365, 1365)),
            (size(65535, 1), size(65535, 1)),
            (size(65535, 65535), size(1424, 1424)),
        ] {
            assert_eq!(drawn_size(whole), drawn);
        }
        let shot = Scene::new().get("gone", size(65535, 65535)).unwrap();
        assert_eq!(shot.picture, size(1424, 1424));
    }

    #[test]
    fn it_says_which_camera_for_how_long_and_why() {
        let since = SystemTime::UNIX_EPOCH + CLOCK_IS_SET;
        let lost = Finding {
            since: Some(since),
            ..finding("gone")
        };
        for (seconds, told) in [
            (59, "for less than a minute"),
            (60, "for 1 min"),
            (3600 + 119, "for 1 h 1 min"),
            (3 * 86400, "for 3 days"),
        ] {
            let said = words("front", &lost, since + Duration::from_secs(seconds));
            assert_eq!(said, ["front", "no picture", told, "gone"]);
        }
        // Nobody knows when, or the clock was set afterwards.
        for since in [None, Some(SystemTime::UNIX_EPOCH)] {
            let unknown = Finding {
                since,
                why: None,
                ..finding("")
            };
            let said = words("front", &unknown, SystemTime::now());
            assert_eq!(said, ["front", "no picture"]);
        }
    }

    #[test]
    fn the_systems_words_are_left_to_the_log() {
        for (why, told) in [
            (
                "cannot open /dev/x: it is not there (No such file or directory (os error 2))",
                "cannot open /dev/x: it is not there",
            ),
            (
                "cannot open /dev/x: No such device (os error 19)",
                "cannot open /dev/x: No such device",
            ),
            ("the cable (USB) is loose", "the cable (USB) is loose"),
        ] {
            assert_eq!(without_system_words(why), told);
        }
    }

    #[test]
    fn the_words_are_drawn_in_white() {
        let canvas = draw(
            &words("front", &finding("gone"), SystemTime::now()),
            USUAL_SIZE,
        );
        let pixels = (0..480).flat_map(|y| (0..640).map(move |x| (x, y)));
        let white = pixels
            .filter(|(x, y)| canvas.luma_at(*x, *y) == 255)
            .count();
        assert!(white > 1000, "{white}");
        assert_eq!(canvas.luma_at(639, 479), GROUND.0[0]);
    }
}
