//! The hardware JPEG encoder: a memory-to-memory device of the kernel (`--encoder v4l2`).
//!
//! <https://docs.kernel.org/userspace-api/media/v4l/dev-encoder.html>. Raw pictures go into one queue of the device (OUTPUT) and
//! JPEGs come out of the other (CAPTURE). Any driver will do: bcm2835-codec, hantro, mtk-jpeg, imx-jpeg, coda. **A device is found
//! by what it can do**, never by its name or number: see `facts`. What happens in one is in `session`.
//!
//! **It is used as long as somebody looks.** The first picture after a start opens it, and when the camera stops, it is closed,
//! which ends both of its streams. What follows is a new beginning, also for one that has failed or is a different one now.
//!
//! **Written against the kernel's interface, and never tried on a board**: in `tests/vm`, a kernel module plays the device,
//! with what is known of the real ones. So it is not used unless asked for.
//!
//! Not supported: buffers of the camera that the encoder reads itself (DMABUF). JPEG wants samples of full range and the matrix of
//! BT.601, and most cameras' YUV has limited range, so that it is rewritten in any case; and a camera's 1080 lines are not
//! the encoder's 1088. Copying always works, and it is a small part of what is saved (`benches/capture --encoder`).

mod facts;
mod search;
mod session;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use log::{debug, info};

use super::device::Device;
use crate::error::{Error, Result};
use crate::picture::encode::Planes;
use crate::picture::encode::hardware::HardwareCoder;
use crate::picture::encode::repair::Repair;
pub use facts::EncoderFacts;
use search::Search;
use session::{Closing, Session};

/// What makes JPEGs of raw pictures, as `--encoder` names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum EncoderKind {
    /// An encoder in hardware if there is one, else the processor.
    Auto,
    /// The processor.
    #[default]
    Software,
    /// An encoder in hardware; without a path, the first one found. The processor makes what it cannot.
    V4l2(Option<PathBuf>),
}

impl EncoderKind {
    /// The hardware that this stands for; `None` for none.
    pub fn hardware(&self) -> Option<Box<dyn HardwareCoder>> {
        let (path, is_optional) = match self {
            EncoderKind::Software => return None,
            EncoderKind::Auto => (None, true),
            EncoderKind::V4l2(path) => (path.clone(), false),
        };
        Some(Box::new(V4l2Encoder::new(path, is_optional)))
    }
}

impl FromStr for EncoderKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(EncoderKind::Auto),
            "software" => Ok(EncoderKind::Software),
            "v4l2" => Ok(EncoderKind::V4l2(None)),
            _ => match text.strip_prefix("v4l2:").unwrap_or(text) {
                path if path.starts_with('/') => Ok(EncoderKind::V4l2(Some(path.into()))),
                _ => Err("an encoder is software, auto, v4l2 or v4l2:/dev/videoN".into()),
            },
        }
    }
}

impl fmt::Display for EncoderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EncoderKind::Auto => f.write_str("auto"),
            EncoderKind::Software => f.write_str("software"),
            EncoderKind::V4l2(None) => f.write_str("v4l2"),
            EncoderKind::V4l2(Some(path)) => write!(f, "v4l2:{}", path.display()),
        }
    }
}

/// An encoder behind a video device.
struct V4l2Encoder {
    /// The device to use; `None` stands for the best one found.
    path: Option<PathBuf>,
    /// Whether it is no mistake that there is none.
    is_optional: bool,
    /// What finds the best one.
    search: Search,
    /// The one that was begun with last, and what it is called. Under the same node there may be another one later.
    last: Option<EncoderFacts>,
    name: String,
    /// Present from the first picture of a start on.
    session: Option<Session>,
    /// The end of one that has hung.
    closing: Option<Closing>,
    /// For the results of `last`.
    repair: Repair,
}

impl V4l2Encoder {
    fn new(path: Option<PathBuf>, is_optional: bool) -> Self {
        V4l2Encoder {
            path,
            is_optional,
            search: Search::default(),
            last: None,
            name: String::new(),
            session: None,
            closing: None,
            repair: Repair::new(),
        }
    }

    /// Opens the device that was named, or the best; `None` if there is none and need not be.
    fn open(&mut self) -> Result<Option<(Device, EncoderFacts)>> {
        if let Some(path) = &self.path {
            return named(path).map(Some);
        }
        let best = self.search.best().map(named);
        let opened = match best {
            // Its driver may have failed, or another program may have it.
            Some(Err(_)) => self.search.anew().map(named),
            opened => opened,
        };
        match opened {
            Some(opened) => opened.map(Some),
            None if self.is_optional => Ok(None),
            None => Err(Error::Input(
                "there is no JPEG encoder: no /dev/video device takes raw pictures and gives JPEGs"
                    .into(),
            )),
        }
    }

    /// Begins for pictures of this size and quality.
    fn begin(&mut self, size: (u16, u16), quality: u8) -> Result<bool> {
        if let Some(closing) = &self.closing {
            closing.is_over()?;
        }
        self.closing = None;
        let Some((device, facts)) = self.open()? else {
            debug!("there is no JPEG encoder in hardware");
            return Ok(false);
        };
        let session = Session::new(device, &facts, size, quality)?;
        match self.take_up(facts) {
            true => info!("{}", session.describe()),
            false => debug!("{}", session.describe()),
        }
        self.session = Some(session);
        Ok(true)
    }

    /// Whether it is another one than the last; then nothing is left of what was known of that.
    fn take_up(&mut self, facts: EncoderFacts) -> bool {
        if self.last.as_ref() == Some(&facts) {
            return false;
        }
        self.name = facts.to_string();
        (self.last, self.repair) = (Some(facts), Repair::new());
        true
    }
}

fn named(path: &Path) -> Result<(Device, EncoderFacts)> {
    let device = Device::open(path)?;
    let facts = EncoderFacts::of(&device).ok_or_else(|| {
        let (path, card) = (path.display(), &device.card().card);
        Error::Input(format!(
            "{path} ({card}) is no JPEG encoder that lazycam can use: `lazycam list` shows those there are"
        ))
    })?;
    Ok((device, facts))
}

impl HardwareCoder for V4l2Encoder {
    fn encode(&mut self, planes: &Planes<'_>, quality: u8, into: &mut Vec<u8>) -> Result<bool> {
        let size = planes.size();
        let is_for = |session: &Session| session.size() == size;
        if !self.session.as_ref().is_some_and(is_for) {
            self.session = None;
            if !self.begin(size, quality)? {
                return Ok(false);
            }
        }
        let Some(session) = &mut self.session else {
            return Ok(false);
        };
        let encoded = session.encode(planes, &mut self.repair, into);
        if encoded.is_err() {
            self.closing = self.session.take().and_then(Session::give_up);
        }
        encoded.map(|()| true)
    }

    fn rest(&mut self) {
        self.session = None;
    }

    fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::super::device::Card;
    use super::*;
    use crate::picture::format::Fourcc;

    #[test]
    fn an_encoder_is_written_as_it_is_read() {
        for text in ["auto", "software", "v4l2", "v4l2:/dev/video31"] {
            assert_eq!(text.parse::<EncoderKind>().unwrap().to_string(), text);
        }
        let short: EncoderKind = "/dev/video31".parse().unwrap();
        assert_eq!(short.to_string(), "v4l2:/dev/video31");
        for bad in ["", "hardware", "v4l2:", "v4l2:video31", "m2m"] {
            assert!(bad.parse::<EncoderKind>().is_err(), "{bad}");
        }
        assert_eq!(EncoderKind::default(), EncoderKind::Software);
    }

    #[test]
    fn another_encoder_under_the_same_node_is_not_taken_for_the_last_one() {
        let one = |card: &str| EncoderFacts {
            path: "/dev/video31".into(),
            card: Card {
                card: card.into(),
                ..Card::default()
            },
            takes: vec![Fourcc(*b"YU12")],
            raw: Fourcc(*b"YU12"),
            gives: Fourcc(*b"JPEG"),
        };
        let mut encoder = V4l2Encoder::new(None, false);
        assert!(encoder.take_up(one("A coder")));
        assert!(!encoder.take_up(one("A coder")));
        assert!(encoder.take_up(one("Another")));
        assert_eq!(encoder.name(), "M2M-IMAGE /dev/video31 (Another)");
    }

    #[test]
    fn while_a_device_that_hung_is_being_closed_none_is_opened() {
        let planes = Planes::new((16, 16), (&[0; 256], 16), (&[0; 64], 8), (&[0; 64], 8)).unwrap();
        let (close, closed) = mpsc::channel();
        let (path, thread) = (
            "/dev/null".into(),
            thread::spawn(move || closed.recv().unwrap()),
        );
        let mut encoder = V4l2Encoder::new(Some("/dev/null".into()), false);
        encoder.closing = Some(Closing { path, thread });
        let mut told = || {
            encoder.rest();
            let encoded = encoder.encode(&planes, 80, &mut Vec::new());
            encoded.unwrap_err().to_string()
        };
        for _ in 0..2 {
            let told = told();
            assert!(
                told.contains("/dev/null: it hung, and is still being closed"),
                "{told}"
            );
        }
        close.send(()).unwrap();
        while told().contains("still being closed") {
            thread::yield_now();
        }
        assert!(told().contains("is not a video device"));
    }

    #[test]
    fn what_is_no_encoder_is_told_and_the_processor_needs_none() {
        assert!(EncoderKind::Software.hardware().is_none());
        let planes = Planes::new((16, 16), (&[0; 256], 16), (&[0; 64], 8), (&[0; 64], 8)).unwrap();
        for (path, words) in [
            ("/dev/null", "is not a video device"),
            ("/dev/no-such-encoder", "it is not there"),
        ] {
            let kind = EncoderKind::V4l2(Some(path.into()));
            let mut hardware = kind.hardware().unwrap();
            let told = hardware.encode(&planes, 80, &mut Vec::new()).unwrap_err();
            let told = told.to_string();
            assert!(told.contains(path) && told.contains(words), "{told}");
        }
    }
}
