//! An encoder in hardware, behind [`Encoder`](super::Encoder): what it has to do, and what is done when it fails.
//!
//! Whatever goes wrong with it, there is a picture: the processor makes it, and those that follow, until the camera starts
//! again. One warning says so; as long as nothing changes, the next failures are only for `--log debug`. Whoever looks can start
//! the camera, so that one which works for a picture and then fails is told once a minute, however often it does so.

use std::mem;
use std::time::{Duration, Instant};

use log::{Level, info, log};

use super::planes::Planes;
use crate::error::Result;
use crate::logging::Brake;

/// An encoder outside of the processor, which is found and opened when it is first used.
pub trait HardwareCoder {
    /// Replaces the contents of `into` by the JPEG: a whole one, of the size of `planes`, with its tables and its end. `quality` is
    /// from 1 to 100. False if there is no such hardware, and need not be. After that or an error it is not called again
    /// before [`HardwareCoder::rest`].
    fn encode(&mut self, planes: &Planes<'_>, quality: u8, into: &mut Vec<u8>) -> Result<bool>;

    /// Gives the hardware back: nobody looks.
    fn rest(&mut self);

    /// Which one it has used last, as ustreamer names its kind, and the device: `M2M-IMAGE /dev/video31 (bcm2835-codec)`.
    fn name(&self) -> &str;
}

/// The interval between two warnings.
const QUIET: Duration = Duration::from_secs(60);

/// The hardware, and how it does.
pub(super) struct Hardware {
    coder: Box<dyn HardwareCoder>,
    /// Whether it is not there, which may be all right, or has failed, since it last rested.
    is_out: bool,
    /// Whether the last that was told of it, but for `--log debug`, is that it has failed.
    told: bool,
    failures: Brake,
}

impl Hardware {
    pub(super) fn new(coder: Box<dyn HardwareCoder>) -> Self {
        Hardware {
            coder,
            is_out: false,
            told: false,
            failures: Brake::new(QUIET),
        }
    }

    /// Whether the hardware has made the JPEG.
    pub(super) fn encode(&mut self, planes: &Planes<'_>, quality: u8, into: &mut Vec<u8>) -> bool {
        if self.is_out {
            return false;
        }
        match self.coder.encode(planes, quality, into) {
            Ok(true) => {
                if mem::take(&mut self.told) {
                    info!("the hardware encoder works again");
                }
                return true;
            }
            Ok(false) => {}
            Err(error) => {
                let level = self.level_of_failure(Instant::now());
                log!(
                    level,
                    "{error}; the processor encodes until the camera starts again"
                );
            }
        }
        self.is_out = true;
        false
    }

    /// That it works again is told only after a warning, so that this bounds both.
    fn level_of_failure(&mut self, now: Instant) -> Level {
        if self.told || self.failures.pass(now).is_none() {
            return Level::Debug;
        }
        self.told = true;
        Level::Warn
    }

    pub(super) fn rest(&mut self) {
        self.coder.rest();
        self.is_out = false;
    }

    pub(super) fn name(&self) -> &str {
        self.coder.name()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;
    use crate::error::Error;
    use crate::picture::encode::Encoder;
    use crate::picture::jpeg;

    /// Answers as it is told, and counts what it is asked; `None` is an error.
    #[derive(Default)]
    struct Script {
        answers: Vec<Option<bool>>,
        asked: usize,
        rests: usize,
    }

    struct Scripted(Rc<RefCell<Script>>);

    impl HardwareCoder for Scripted {
        fn encode(&mut self, _: &Planes<'_>, _: u8, into: &mut Vec<u8>) -> Result<bool> {
            let mut script = self.0.borrow_mut();
            script.asked += 1;
            let answer = script.answers.remove(0);
            if answer == Some(true) {
                *into = b"by hardware".to_vec();
            }
            answer.ok_or_else(|| Error::Input("out of order".into()))
        }

        fn rest(&mut self) {
            self.0.borrow_mut().rests += 1;
        }

        fn name(&self) -> &str {
            "a board's"
        }
    }

    fn is_by_hardware(encoder: &mut Encoder) -> bool {
        let planes = Planes::new((16, 16), (&[0; 256], 16), (&[0; 64], 8), (&[0; 64], 8));
        let mut into = vec![9];
        encoder.encode(planes.unwrap(), None, &mut into).unwrap();
        let is_by_hardware = into == b"by hardware";
        assert!(is_by_hardware || jpeg::check(&into).is_ok());
        is_by_hardware
    }

    #[test]
    fn there_is_a_picture_whatever_the_hardware_does_and_a_rest_gives_it_another_try() {
        let answers = [Some(true), None, Some(false), Some(true), None];
        let script = Rc::new(RefCell::new(Script {
            answers: answers.into(),
            ..Script::default()
        }));
        let mut encoder = Encoder::new(80).unwrap();
        assert_eq!(encoder.maker(), Some("CPU"));
        encoder.encode_with(Box::new(Scripted(script.clone())));
        assert_eq!(encoder.maker(), None, "there is no picture yet");
        let mut asked = 0;
        for works in [true, false, false, true, false] {
            if !works {
                // It fails, or is not there, and is left alone from then on.
                for _ in 0..3 {
                    assert!(!is_by_hardware(&mut encoder));
                    assert_eq!(encoder.maker(), Some("CPU"));
                }
                encoder.rest();
                assert_eq!(encoder.maker(), Some("CPU"), "of the newest picture");
            } else {
                assert!(is_by_hardware(&mut encoder));
                assert_eq!(encoder.maker(), Some("a board's"));
            }
            asked += 1;
            assert_eq!(script.borrow().asked, asked);
        }
        assert_eq!(script.borrow().rests, 3);
    }

    #[test]
    fn hardware_that_works_and_fails_in_turn_is_told_once_a_minute() {
        let answers = vec![Some(true); 130];
        let script = Rc::new(RefCell::new(Script {
            answers,
            ..Script::default()
        }));
        let mut hardware = Hardware::new(Box::new(Scripted(script)));
        let planes = Planes::new((16, 16), (&[0; 256], 16), (&[0; 64], 8), (&[0; 64], 8)).unwrap();
        let (start, mut warned) = (Instant::now(), Vec::new());
        for secs in 0..130 {
            assert!(hardware.encode(&planes, 80, &mut Vec::new()));
            assert!(!hardware.told, "it works, and the log says that");
            if hardware.level_of_failure(start + Duration::from_secs(secs)) == Level::Warn {
                warned.push(secs);
            }
        }
        assert_eq!(warned, [0, 60, 120]);
        // It only fails: that was told.
        hardware.told = true;
        let later = start + Duration::from_secs(1000);
        assert_eq!(hardware.level_of_failure(later), Level::Debug);
    }
}
