//! An encoder in hardware, behind [`Encoder`](super::Encoder): what it has to do, and what is done when it fails.
//!
//! Whatever goes wrong with it, there is a picture: the processor makes it, and those that follow, until the camera starts
//! again. One warning says so; as long as nothing changes, the next failures are only for `--log debug`.

use log::{Level, info, log};

use super::planes::Planes;
use crate::error::Result;

/// An encoder outside of the processor, which is found and opened when it is first used.
pub trait HardwareCoder {
    /// Replaces the contents of `into` by the JPEG: a whole one, of the size of `planes`, with its tables and its end. `quality` is
    /// from 1 to 100. False if there is no such hardware, and need not be. After that or an error it is not called again
    /// before [`HardwareCoder::rest`].
    fn encode(&mut self, planes: &Planes<'_>, quality: u8, into: &mut Vec<u8>) -> Result<bool>;

    /// Gives the hardware back: nobody looks.
    fn rest(&mut self);
}

/// What is known of the hardware that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Nothing is wrong as far as is known.
    Good,
    /// It is not there, which is all right, or it has failed, since it last rested.
    Out { told: bool },
    /// It has failed before it last rested, and that was told.
    WasBad,
}

/// The hardware, and how it does.
pub(super) struct Hardware {
    coder: Box<dyn HardwareCoder>,
    standing: Standing,
}

impl Hardware {
    pub(super) fn new(coder: Box<dyn HardwareCoder>) -> Self {
        let standing = Standing::Good;
        Hardware { coder, standing }
    }

    /// Whether the hardware has made the JPEG.
    pub(super) fn encode(&mut self, planes: &Planes<'_>, quality: u8, into: &mut Vec<u8>) -> bool {
        if matches!(self.standing, Standing::Out { .. }) {
            return false;
        }
        let was_bad = self.standing == Standing::WasBad;
        self.standing = match self.coder.encode(planes, quality, into) {
            Ok(true) => {
                if was_bad {
                    info!("the hardware encoder works again");
                }
                Standing::Good
            }
            Ok(false) => Standing::Out { told: was_bad },
            Err(error) => {
                let level = if was_bad { Level::Debug } else { Level::Warn };
                log!(
                    level,
                    "{error}; the processor encodes until the camera starts again"
                );
                Standing::Out { told: true }
            }
        };
        self.standing == Standing::Good
    }

    pub(super) fn rest(&mut self) {
        self.coder.rest();
        self.standing = match self.standing {
            Standing::Out { told: true } => Standing::WasBad,
            Standing::Out { told: false } => Standing::Good,
            same => same,
        };
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
        encoder.encode_with(Box::new(Scripted(script.clone())));
        let mut asked = 0;
        for works in [true, false, false, true, false] {
            if !works {
                // It fails, or is not there, and is left alone from then on.
                for _ in 0..3 {
                    assert!(!is_by_hardware(&mut encoder));
                }
                encoder.rest();
            } else {
                assert!(is_by_hardware(&mut encoder));
            }
            asked += 1;
            assert_eq!(script.borrow().asked, asked);
        }
        assert_eq!(script.borrow().rests, 3);
    }
}
