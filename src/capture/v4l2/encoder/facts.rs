//! What can be known of a device without starting it, and whether it is a JPEG encoder.

use std::fmt;
use std::path::PathBuf;

use super::super::device::{Card, Device};
use crate::picture::encode::raw::WRITABLE;
use crate::picture::format::Fourcc;

/// V4L2_PIX_FMT_JPEG and V4L2_PIX_FMT_MJPEG. Video encoders call their results by the second name, and aim at a bit rate
/// instead of a quality.
const CODED: [Fourcc; 2] = [Fourcc(*b"JPEG"), Fourcc(*b"MJPG")];

/// An encoder, as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncoderFacts {
    /// Its node.
    pub path: PathBuf,
    /// What it says about itself.
    pub card: Card,
    /// The raw formats that it takes, in its own order. (VIDIOC_ENUM_FMT)
    pub takes: Vec<Fourcc>,
    /// The one of these that is the least work.
    pub raw: Fourcc,
    /// What it gives: JPEG or MJPG.
    pub gives: Fourcc,
}

impl EncoderFacts {
    /// `None` for a device that is no JPEG encoder, or none that takes what lazycam can write.
    pub fn of(device: &Device) -> Option<Self> {
        if !device.card().converts {
            return None;
        }
        let (takes, gives) = device.queues();
        let (takes, gives) = (device.formats_of(takes), device.formats_of(gives));
        let (raw, gives) = chosen(&takes, &gives)?;
        Some(EncoderFacts {
            path: device.path().to_owned(),
            card: device.card().clone(),
            takes,
            raw,
            gives,
        })
    }

    /// The one to be taken where none is named: the first that has a quality, or else the first.
    pub fn best(found: &[Self]) -> Option<&Self> {
        found.iter().min_by_key(|one| one.gives != CODED[0])
    }
}

/// By ustreamer's word for one with a quality or for one with a bit rate, its node and its name.
impl fmt::Display for EncoderFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.gives == CODED[0] {
            true => "M2M-IMAGE",
            false => "M2M-VIDEO",
        };
        write!(f, "{kind} {} ({})", self.path.display(), self.card.card)
    }
}

/// The raw format and the one of the results, for a device that has these.
fn chosen(takes: &[Fourcc], gives: &[Fourcc]) -> Option<(Fourcc, Fourcc)> {
    let raw = WRITABLE.into_iter().find(|code| takes.contains(code))?;
    let coded = CODED.into_iter().find(|code| gives.contains(code))?;
    Some((raw, coded))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(text: &str) -> Vec<Fourcc> {
        text.split_whitespace()
            .map(|code| code.parse().unwrap())
            .collect()
    }

    fn told(takes: &str, gives: &str) -> Option<String> {
        let (raw, coded) = chosen(&codes(takes), &codes(gives))?;
        Some(format!("{raw} {coded}"))
    }

    #[test]
    fn an_encoder_is_what_takes_a_raw_format_and_gives_jpegs() {
        // As the drivers list them: bcm2835-codec (image, video), hantro, mtk-jpeg, imx-jpeg, coda.
        let bcm2835 = "RGBP RGB3 BGR3 BGR4 AB24 YU12 YUYV YVYU VYUY UYVY";
        assert_eq!(told(bcm2835, "JPEG").unwrap(), "YU12 JPEG");
        assert_eq!(
            told("YU12 YV12 NV12 NV21 RGBP", "H264 MJPG").unwrap(),
            "YU12 MJPG"
        );
        assert_eq!(told("YM12 NM12 YUYV UYVY", "JPEG").unwrap(), "YM12 JPEG");
        assert_eq!(told("NM12 NM21 YUYV YVYU", "JPEG").unwrap(), "NM12 JPEG");
        assert_eq!(
            told("NM12 NV12 YUYV YUV3 BGR3 AR24 GREY", "JPEG").unwrap(),
            "NV12 JPEG"
        );
        assert_eq!(
            told("NV12 YU12 YV12 422P GREY", "JPEG").unwrap(),
            "YU12 JPEG"
        );
        // Decoders, scalers, ISPs; an encoder whose firmware is missing; one of formats that are not written.
        for (takes, gives) in [
            ("JPEG", "YU12 NV12"),
            ("YU12 RGB3", "YU12 RGB3"),
            ("YU12 NV12", "H264"),
            ("", ""),
            ("YU12", ""),
            ("RGBP GREY", "JPEG"),
        ] {
            assert_eq!(told(takes, gives), None, "{takes}: {gives}");
        }
    }

    #[test]
    fn one_with_a_quality_is_better_than_one_with_a_bit_rate() {
        let one = |path: &str, gives: &str| EncoderFacts {
            path: path.into(),
            card: Card::default(),
            takes: codes("YU12"),
            raw: Fourcc(*b"YU12"),
            gives: gives.parse().unwrap(),
        };
        let best = |found: &[(&str, &str)]| {
            let found: Vec<_> = found.iter().map(|(path, gives)| one(path, gives)).collect();
            EncoderFacts::best(&found).map(|one| one.path.display().to_string())
        };
        assert_eq!(
            best(&[("a", "MJPG"), ("b", "JPEG"), ("c", "JPEG")]).as_deref(),
            Some("b")
        );
        assert_eq!(best(&[("a", "MJPG"), ("b", "MJPG")]).as_deref(), Some("a"));
        assert_eq!(best(&[]), None);
        assert_eq!(
            one("/dev/video31", "JPEG").to_string(),
            "M2M-IMAGE /dev/video31 ()"
        );
        assert_eq!(
            one("/dev/video11", "MJPG").to_string(),
            "M2M-VIDEO /dev/video11 ()"
        );
    }
}
