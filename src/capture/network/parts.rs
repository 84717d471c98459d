//! Takes `multipart/x-mixed-replace` apart, without any I/O.
//!
//! Cameras write it in many ways: boundaries that are declared with their dashes or sent without them, that change, that
//! are declared nowhere, text before the first one. So a line is a delimiter if it begins with `--`, or if it is what was
//! declared, dashes aside (RFC 2046, 5.1.1). Behind its head, a part is as long as its `Content-Length` says: it is complete
//! with its last byte, and does not wait for the delimiter behind it, which many cameras send with the next picture.
//!
//! A part with `X-UStreamer-Online: false` is what a lazycam, or ustreamer with `extra_headers`, shows instead of a lost camera's pictures. It
//! is no picture: the camera is lost here too. How old a picture is tells `X-Frame-Age`, or ustreamer's `X-UStreamer-Latency`.
//!
//! What has no `Content-Length`, or a wrong one (no delimiter follows), goes to the splitter that also reads standard
//! input, from there on to the end of the connection: it knows the end of a picture by its markers, which is again earlier than the next delimiter.

use std::time::{Duration, SystemTime};

use super::pictures::Pictures;
use crate::picture::largest;

/// The longest line of a part's head. What is longer is no head.
const LINE: usize = 1024;

/// The most that is looked at before the first delimiter, and the longest head of a part.
const MUCH: usize = 16 << 10;

/// How far the parts have been read.
#[derive(Clone, Copy, Debug, PartialEq)]
enum PartsState {
    /// Before the first delimiter.
    Before,
    /// In the head of a part.
    Head(PartHead),
    /// In a picture that lacks so many bytes.
    Picture(usize),
    /// In something else.
    Other(usize),
    /// Behind a part.
    Behind,
    /// Lengths are not told, or not right.
    Loose,
}

/// What the head of a part says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct PartHead {
    length: Option<usize>,
    /// It is said to be something else than a picture.
    is_other: bool,
    /// It is said to stand for the pictures of a camera that is lost.
    is_notice: bool,
    age: Option<Duration>,
}

/// A multipart body that is being read.
#[derive(Debug)]
pub(super) struct Parts {
    /// Without the dashes around it.
    boundary: Vec<u8>,
    state: PartsState,
    line: Vec<u8>,
    /// The number of bytes in lines since the last part.
    between: usize,
}

impl Parts {
    /// The boundary is the parameter of the field `Content-Type`, if there was one.
    pub(super) fn new(boundary: &str) -> Self {
        Parts {
            boundary: bare(boundary.as_bytes()).to_vec(),
            state: PartsState::Before,
            line: Vec::new(),
            between: 0,
        }
    }

    /// Takes in what came at the time `at`. The error says what cannot be right.
    pub(super) fn feed(
        &mut self,
        mut bytes: &[u8],
        at: SystemTime,
        pictures: &mut Pictures,
    ) -> Result<(), String> {
        while !bytes.is_empty() {
            match &mut self.state {
                PartsState::Loose => {
                    pictures.split(bytes, at);
                    return Ok(());
                }
                PartsState::Picture(left) | PartsState::Other(left) => {
                    let (now, rest) = bytes.split_at(bytes.len().min(*left));
                    *left -= now.len();
                    let is_whole = *left == 0;
                    if let PartsState::Picture(_) = self.state {
                        pictures.add(now);
                        if is_whole {
                            pictures.complete();
                        }
                    }
                    if is_whole {
                        self.state = PartsState::Behind;
                    }
                    bytes = rest;
                }
                PartsState::Before | PartsState::Head(_) | PartsState::Behind => {
                    let end = memchr::memchr(b'\n', bytes);
                    let (now, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
                    self.between += now.len();
                    self.line.extend_from_slice(now);
                    bytes = rest;
                    if self.line.len() > LINE || self.between > MUCH {
                        self.loosen(at, pictures);
                    } else if end.is_some() {
                        self.take_line(at, pictures)?;
                        self.line.clear();
                    }
                }
            }
        }
        Ok(())
    }

    fn take_line(&mut self, at: SystemTime, pictures: &mut Pictures) -> Result<(), String> {
        let line = self.line.trim_ascii();
        let is_delimiter = self.is_delimiter(line);
        match &mut self.state {
            PartsState::Before if self.line.starts_with(&[0xFF, 0xD8]) => self.loosen(at, pictures),
            PartsState::Before | PartsState::Behind if is_delimiter => {
                self.state = PartsState::Head(PartHead::default())
            }
            PartsState::Behind if !line.is_empty() => self.loosen(at, pictures),
            // A boundary that is sent twice.
            PartsState::Head(head) if is_delimiter && *head == PartHead::default() => {}
            PartsState::Head(head) if !line.is_empty() => head.read(line),
            PartsState::Head(head) => {
                let head = *head;
                self.begin(head, at, pictures)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Begins the part behind a head.
    fn begin(
        &mut self,
        head: PartHead,
        at: SystemTime,
        pictures: &mut Pictures,
    ) -> Result<(), String> {
        self.between = 0;
        if head.is_notice {
            pictures.notice();
        }
        self.state = match head.length {
            None => PartsState::Loose,
            Some(0) => PartsState::Behind,
            Some(length) if head.is_other || head.is_notice => PartsState::Other(length),
            Some(length) if length > largest() => {
                return Err(format!(
                    "sends a picture of {length} bytes, which is too long"
                ));
            }
            Some(length) => {
                pictures.begin(at, head.age);
                PartsState::Picture(length)
            }
        };
        Ok(())
    }

    /// From here on the pictures' own markers count.
    fn loosen(&mut self, at: SystemTime, pictures: &mut Pictures) {
        self.state = PartsState::Loose;
        pictures.split(&self.line, at);
        self.line = Vec::new();
    }

    fn is_delimiter(&self, line: &[u8]) -> bool {
        line.starts_with(b"--") || (!self.boundary.is_empty() && bare(line) == self.boundary)
    }
}

impl PartHead {
    fn read(&mut self, line: &[u8]) {
        let Some((name, value)) = std::str::from_utf8(line)
            .ok()
            .and_then(|line| line.split_once(':'))
        else {
            return;
        };
        let value = value.trim();
        if name.eq_ignore_ascii_case("Content-Length") {
            self.length = value.parse().ok();
        } else if name.eq_ignore_ascii_case("Content-Type") {
            self.is_other = !value
                .get(..6)
                .is_some_and(|kind| kind.eq_ignore_ascii_case("image/"));
        } else if name.eq_ignore_ascii_case("X-Frame-Age")
            || name.eq_ignore_ascii_case("X-UStreamer-Latency")
        {
            self.age = age(value);
        } else if name.eq_ignore_ascii_case("X-UStreamer-Online") {
            self.is_notice = value == "false";
        }
    }
}

/// The value of `X-Frame-Age`, in seconds.
pub(super) fn age(value: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(value.parse().ok()?).ok()
}

/// Without dashes around it.
fn bare(line: &[u8]) -> &[u8] {
    let is_dash = |byte: &u8| *byte == b'-';
    let start = line
        .iter()
        .position(|byte| !is_dash(byte))
        .unwrap_or(line.len());
    let end = line
        .iter()
        .rposition(|byte| !is_dash(byte))
        .map_or(start, |last| last + 1);
    &line[start..end]
}
