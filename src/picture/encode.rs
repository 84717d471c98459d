//! Encodes planes of samples as a JPEG.
//!
//! There is only one function, so that different coders can be behind it: planar YCbCr 4:2:0 in, a baseline JFIF file
//! out. This is the layout that JPEG itself works with, so no colours are converted. Sources bring their pixels into
//! this form, which for the raw formats of most cameras means no more than separating or halving rows.
//!
//! | coder | built | properties |
//! | --- | --- | --- |
//! | [`portable`] | always | pure Rust; used if there is no other |
//! | `turbo` | with the feature `turbojpeg` or `turbojpeg-system` | libjpeg-turbo: four to five times as fast |
//! | [`hardware`] | always | chosen at run time (`--encoder`); what it cannot do, one of the others does |
//!
//! Which of the first two [`Encoder`] uses is decided at build time, because nobody wants the slower of two available ones.
//! Both follow the quality scale of the Independent JPEG Group, so there is no visible difference in picture or size.
//!
//! This module knows no device: what speaks to hardware is given to it (`capture::v4l2::encoder`). What it needs for that,
//! and knows better than anybody, is here: `raw` writes planes into the encoder's memory, and `repair` makes a JPEG of
//! what comes back.
//!
//! **There is no separate thread**: encoding holds up only the capture loop. On the processor that takes a few milliseconds, and the
//! camera has four buffers, one of which is being encoded: what it takes meanwhile waits in the others, and the newest comes next.
//! Hardware may take up to a second. After more than about three frame intervals the camera has had no buffer left, and the newest
//! picture that it has is up to that much older. Figures and reasons are in `docs/performance.md`.
//!
//! Samples are BT.601 with full range, as JFIF 1.02 requires (0 to 255, chroma around 128). If a camera delivers
//! limited range (16 to 235), its source has to stretch the samples, or the picture looks pale.

pub mod hardware;
pub(in crate::picture) mod planes;
pub mod portable;
pub(crate) mod raw;
pub(crate) mod repair;
#[cfg(any(feature = "turbojpeg", feature = "turbojpeg-system"))]
pub mod turbo;

#[cfg(not(any(feature = "turbojpeg", feature = "turbojpeg-system")))]
use portable as chosen;
#[cfg(any(feature = "turbojpeg", feature = "turbojpeg-system"))]
use turbo as chosen;

use self::hardware::{Hardware, HardwareCoder};
pub use self::planes::Planes;
use crate::error::{Error, Result};

/// What the processor is called as an encoder, as ustreamer names it.
const PROCESSOR: &str = "CPU";

/// Encodes JPEGs with one quality setting.
pub struct Encoder {
    hardware: Option<Hardware>,
    /// Whether the hardware has made the newest JPEG.
    is_by_hardware: Option<bool>,
    coder: chosen::Coder,
    quality: u8,
}

impl Encoder {
    /// `quality` is from 1 to 100, on the scale of the Independent JPEG Group's library, which mjpg-streamer,
    /// ustreamer and others use too.
    pub fn new(quality: u8) -> Result<Self> {
        if !(1..=100).contains(&quality) {
            let message = format!("JPEG quality {quality} is not between 1 and 100");
            return Err(Error::Usage(message));
        }
        let coder = chosen::Coder::new(quality)?;
        Ok(Encoder {
            hardware: None,
            is_by_hardware: None,
            coder,
            quality,
        })
    }

    /// From now on, this hardware encodes as far as it can.
    pub fn encode_with(&mut self, hardware: Box<dyn HardwareCoder>) {
        self.hardware = Some(Hardware::new(hardware));
    }

    /// Gives hardware back until something is encoded again.
    pub fn rest(&mut self) {
        if let Some(hardware) = &mut self.hardware {
            hardware.rest();
        }
    }

    /// What has made the newest JPEG: `CPU`, or what [`HardwareCoder::name`] says. Before the first one it is known only without
    /// hardware.
    pub fn maker(&self) -> Option<&str> {
        match (&self.hardware, self.is_by_hardware) {
            (Some(hardware), Some(true)) => Some(hardware.name()),
            (Some(_), None) => None,
            _ => Some(PROCESSOR),
        }
    }

    /// The name of the library that this build uses as its coder.
    pub const CODER: &str = chosen::NAME;

    /// The quality that it was created with.
    pub fn quality(&self) -> u8 {
        self.quality
    }

    /// Replaces the contents of `into` by the JPEG, with `comment` in a COM segment after the JFIF header.
    pub fn encode(
        &mut self,
        planes: Planes<'_>,
        comment: Option<&[u8]>,
        into: &mut Vec<u8>,
    ) -> Result<()> {
        let quality = self.quality;
        let encoded = |hardware: &mut Hardware| hardware.encode(&planes, quality, into);
        let is_by_hardware = self.hardware.as_mut().is_some_and(encoded);
        if !is_by_hardware {
            self.coder.encode(planes, into)?;
        }
        self.is_by_hardware = Some(is_by_hardware);
        if let Some(comment) = comment {
            insert_comment(comment, into)?;
        }
        Ok(())
    }
}

/// The libraries write no COM segment, so it is inserted afterwards, behind APP0, which JFIF requires to be first.
/// This moves the rest of the file by some sixty bytes, which takes a few microseconds for 100 KB.
fn insert_comment(comment: &[u8], into: &mut Vec<u8>) -> Result<()> {
    let length = u16::try_from(comment.len() + 2)
        .map_err(|_| Error::Input("a JPEG comment holds at most 65533 bytes".into()))?;
    let at = match into[..] {
        [_, _, 0xFF, 0xE0, high, low, ..] => 4 + usize::from(u16::from_be_bytes([high, low])),
        _ => 2,
    };
    let header = [[0xFF, 0xFE], length.to_be_bytes()].concat();
    into.splice(at..at, header.into_iter().chain(comment.iter().copied()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::jpeg::{self, Size};

    fn flat(width: u16, height: u16, quality: u8, comment: Option<&[u8]>) -> Vec<u8> {
        let plane = vec![100; usize::from(width) * usize::from(height)];
        let stride = usize::from(width);
        let chroma = vec![140; plane.len()];
        let size = (width, height);
        let planes = Planes::new(size, (&plane, stride), (&chroma, stride), (&chroma, stride));
        let mut jpeg = vec![1, 2, 3];
        let mut encoder = Encoder::new(quality).unwrap();
        encoder.encode(planes.unwrap(), comment, &mut jpeg).unwrap();
        jpeg
    }

    #[test]
    fn odd_sizes_come_out_at_their_size_with_their_colour() {
        for (width, height) in [(1, 1), (17, 16), (16, 33), (319, 241)] {
            let jpeg = flat(width, height, 90, None);
            assert_eq!(jpeg::check(&jpeg), Ok(Size { width, height }));
            let pixels = jpeg_decoder::Decoder::new(&jpeg[..]).decode().unwrap();
            // R = Y + 1.402 (Cr - 128), G = Y - 0.344 (Cb - 128) - 0.714 (Cr - 128), B = Y + 1.772 (Cb - 128)
            for pixel in pixels.chunks(3) {
                for (channel, expected) in pixel.iter().zip([117u8, 87, 121]) {
                    assert!(channel.abs_diff(expected) <= 3, "{pixel:?}");
                }
            }
        }
    }

    #[test]
    fn the_comment_stands_behind_the_jfif_header() {
        let jpeg = flat(32, 32, 50, Some(b"hello"));
        assert_eq!(&jpeg[6..11], b"JFIF\0");
        assert_eq!(jpeg[20..24], [0xFF, 0xFE, 0, 7]);
        assert_eq!(jpeg::comments(&jpeg).collect::<Vec<_>>(), [b"hello"]);
        let plain = flat(32, 32, 50, None);
        assert_eq!([&jpeg[..20], &jpeg[29..]].concat(), plain);
    }

    #[test]
    fn a_comment_that_no_segment_can_hold_is_refused() {
        let planes = Planes::new((1, 1), (&[0], 1), (&[0], 1), (&[0], 1)).unwrap();
        let mut encoder = Encoder::new(50).unwrap();
        let mut jpeg = Vec::new();
        let result = encoder.encode(planes, Some(&[b'x'; 65534]), &mut jpeg);
        assert!(result.is_err());
    }

    #[test]
    fn planes_too_short_for_their_size_are_refused() {
        let bytes = [0; 64];
        let of = |size, stride| Planes::new(size, (&bytes, stride), (&bytes, 8), (&bytes, 8));
        assert!(of((8, 8), 8).is_some());
        assert!(of((8, 8), 9).is_none());
        assert!(of((8, 9), 8).is_none());
        assert!(of((8, 8), 7).is_none());
        assert!(of((0, 8), 8).is_none());
        assert!(of((8, 2), usize::MAX).is_none());
        assert!(of((8, 1), 1 << 31).is_none());
    }

    #[test]
    fn quality_outside_of_1_to_100_is_refused() {
        assert!(Encoder::new(0).is_err());
        assert!(Encoder::new(101).is_err());
    }
}
