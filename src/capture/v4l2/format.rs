//! Formats and rates in V4L2's terms: what is requested from a driver, and how its answer is read.

use super::ioctl::{self, Plain};
use crate::picture::format::{Format, Fourcc};

/// V4L2_FIELD_NONE: whole frames.
const FIELD_NONE: u32 = 1;
/// V4L2_FIELD_SEQ_TB, V4L2_FIELD_SEQ_BT, V4L2_FIELD_ALTERNATE: the two fields of interlaced video, one after the
/// other. A single field (V4L2_FIELD_TOP) is a picture with half as many lines.
const HALVES: [u32; 3] = [5, 6, 7];
/// V4L2_PIX_FMT_PRIV_MAGIC: says that the members after `priv` are used.
const PRIV_MAGIC: u32 = 0xFEED_CAFE;
/// V4L2_COLORSPACE_JPEG
const COLORSPACE_JPEG: u32 = 7;
/// V4L2_COLORSPACE_REC709
const COLORSPACE_REC709: u32 = 3;
/// V4L2_COLORSPACE_DCI_P3
const COLORSPACE_DCI_P3: u32 = 12;
/// V4L2_YCBCR_ENC_709
const YCBCR_ENC_709: u32 = 2;
/// V4L2_YCBCR_ENC_XV709
const YCBCR_ENC_XV709: u32 = 4;
/// V4L2_QUANTIZATION_FULL_RANGE
const FULL_RANGE: u32 = 1;
/// V4L2_QUANTIZATION_LIM_RANGE
const LIM_RANGE: u32 = 2;

/// A frame interval in seconds, as numerator and denominator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval(pub u32, pub u32);

impl Interval {
    /// The interval for a rate in frames per second.
    pub(super) fn of(fps: f64) -> Self {
        if fps.fract() == 0.0 {
            Interval(1, fps as u32)
        } else {
            Interval(1000, (fps * 1000.0).round() as u32)
        }
    }

    /// Frames per second; `None` if the driver does not report them.
    pub fn fps(self) -> Option<f64> {
        let Interval(numerator, denominator) = self;
        (numerator > 0 && denominator > 0).then(|| f64::from(denominator) / f64::from(numerator))
    }
}

/// The request for VIDIOC_TRY_FMT and VIDIOC_S_FMT.
pub(super) fn wanted(fourcc: Fourcc, (width, height): (u32, u32)) -> ioctl::AnyFormat {
    let mut format = ioctl::AnyFormat::zeroed();
    format.kind = ioctl::CAPTURE;
    let pix = &mut format.fmt.pix;
    (pix.width, pix.height, pix.pixelformat) = (width, height, fourcc.number());
    (pix.field, pix.private) = (FIELD_NONE, PRIV_MAGIC);
    format
}

/// The format that an answer describes.
pub(super) fn given(pix: &ioctl::PixFormat) -> Format {
    Format {
        fourcc: Fourcc(pix.pixelformat.to_le_bytes()),
        width: pix.width,
        height: pix.height,
        stride: pix.bytesperline,
        full_range: match pix.quantization {
            FULL_RANGE => true,
            LIM_RANGE => false,
            _ => {
                let grey = u32::from_le_bytes(*b"GREY");
                pix.colorspace == COLORSPACE_JPEG || pix.pixelformat == grey
            }
        },
        bt709: match pix.ycbcr_enc {
            0 => matches!(pix.colorspace, COLORSPACE_REC709 | COLORSPACE_DCI_P3),
            matrix => matches!(matrix, YCBCR_ENC_709 | YCBCR_ENC_XV709),
        },
    }
}

/// Whether buffers contain frames, and not the individual fields of interlaced video.
pub(super) fn has_frames(pix: &ioctl::PixFormat) -> bool {
    !HALVES.contains(&pix.field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_become_intervals_and_back() {
        assert_eq!(Interval::of(15.0), Interval(1, 15));
        assert_eq!(Interval::of(7.5), Interval(1000, 7500));
        assert_eq!(Interval(1001, 30000).fps().map(f64::round), Some(30.0));
        assert_eq!(Interval(0, 0).fps(), None);
    }

    #[test]
    fn fields_one_by_one_are_no_frames() {
        let mut pix = ioctl::PixFormat::zeroed();
        pix.field = FIELD_NONE;
        assert!(has_frames(&pix));
        // V4L2_FIELD_INTERLACED, V4L2_FIELD_ALTERNATE
        for (field, frames) in [(4, true), (7, false)] {
            pix.field = field;
            assert_eq!(has_frames(&pix), frames, "{field}");
        }
    }
}
