//! Formats and rates in V4L2's terms: what is requested from a driver, and how its answer is read.

use super::ioctl::{self, FIELD_NONE, Plain};
use crate::picture::format::{Format, Fourcc};
use crate::picture::pixels::Pixels;

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
/// V4L2_YCBCR_ENC_601
const YCBCR_ENC_601: u32 = 1;
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
pub(super) fn wanted(kind: u32, fourcc: Fourcc, (width, height): (u32, u32)) -> ioctl::AnyFormat {
    let mut format = ioctl::AnyFormat::zeroed();
    format.kind = kind;
    if ioctl::is_multi_planar(kind) {
        let pix = format.fmt.mplane();
        (pix.width, pix.height, pix.pixelformat) = (width, height, fourcc.number());
        pix.field = FIELD_NONE;
        return format;
    }
    let pix = &mut format.fmt.pix;
    (pix.width, pix.height, pix.pixelformat) = (width, height, fourcc.number());
    (pix.field, pix.private) = (FIELD_NONE, PRIV_MAGIC);
    format
}

/// The same for one of the two queues of an encoder: pictures as JFIF has them (BT.601, full range), and for results how many bytes
/// they may have.
pub(super) fn wanted_of_encoder(
    kind: u32,
    fourcc: Fourcc,
    size: (u32, u32),
    bytes: u32,
) -> ioctl::AnyFormat {
    let mut format = wanted(kind, fourcc, size);
    if ioctl::is_multi_planar(kind) {
        let pix = format.fmt.mplane();
        pix.colorspace = COLORSPACE_JPEG;
        (pix.ycbcr_enc, pix.quantization) = (YCBCR_ENC_601 as u8, FULL_RANGE as u8);
        (pix.num_planes, pix.planes[0][0]) = (1, bytes);
        return format;
    }
    let pix = &mut format.fmt.pix;
    (pix.colorspace, pix.sizeimage) = (COLORSPACE_JPEG, bytes);
    (pix.ycbcr_enc, pix.quantization) = (YCBCR_ENC_601, FULL_RANGE);
    format
}

/// What an answer describes.
pub(super) struct FormatAnswer {
    pub(super) format: Format,
    /// Whether buffers contain frames, and not the individual fields of interlaced video.
    pub(super) has_frames: bool,
}

/// The format that an answer describes. `limited_rgb` says whether R, G and B go from 16 to 235 where the answer leaves it open.
pub(super) fn given(mut answer: ioctl::AnyFormat, limited_rgb: bool) -> FormatAnswer {
    let mut chroma_strides = [0; 2];
    let mut pix = answer.fmt.pix;
    if ioctl::is_multi_planar(answer.kind) {
        let many = answer.fmt.mplane();
        (pix.field, pix.colorspace) = (many.field, many.colorspace);
        pix.ycbcr_enc = many.ycbcr_enc.into();
        pix.quantization = many.quantization.into();
        let [first, second, third, ..] = many.planes.map(|[_, stride, ..]| stride);
        pix.bytesperline = first;
        // What is behind the last plane means nothing.
        let told = |plane: u8, stride| if plane < many.num_planes { stride } else { 0 };
        chroma_strides = [told(1, second), told(2, third)];
    }
    let fourcc = Fourcc(pix.pixelformat.to_le_bytes());
    let pixels = Pixels::of(fourcc);
    let format = Format {
        fourcc,
        width: pix.width,
        height: pix.height,
        stride: pix.bytesperline,
        chroma_strides,
        full_range: match (pix.quantization, pixels) {
            (FULL_RANGE, _) => true,
            (LIM_RANGE, _) => false,
            (_, Some(pixels)) if pixels.is_rgb() => !limited_rgb,
            _ => pix.colorspace == COLORSPACE_JPEG || pixels == Some(Pixels::Grey),
        },
        bt709: match pix.ycbcr_enc {
            0 => matches!(pix.colorspace, COLORSPACE_REC709 | COLORSPACE_DCI_P3),
            matrix => matches!(matrix, YCBCR_ENC_709 | YCBCR_ENC_XV709),
        },
    };
    let has_frames = !HALVES.contains(&pix.field);
    FormatAnswer { format, has_frames }
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
        let mut answer = ioctl::AnyFormat::zeroed();
        answer.kind = ioctl::CAPTURE;
        answer.fmt.pix.field = FIELD_NONE;
        assert!(given(answer, false).has_frames);
        // V4L2_FIELD_INTERLACED, V4L2_FIELD_ALTERNATE
        for (field, frames) in [(4, true), (7, false)] {
            answer.fmt.pix.field = field;
            assert_eq!(given(answer, false).has_frames, frames, "{field}");
        }
    }

    #[test]
    fn the_range_of_rgb_is_what_the_driver_says_and_otherwise_full() {
        for kind in [ioctl::CAPTURE, ioctl::CAPTURE_MPLANE] {
            let full = |code: &[u8; 4], quantization: u8, limited| {
                let mut answer = wanted(kind, Fourcc(*code), (64, 48));
                match kind {
                    ioctl::CAPTURE => answer.fmt.pix.quantization = quantization.into(),
                    _ => answer.fmt.mplane().quantization = quantization,
                }
                given(answer, limited).format.full_range
            };
            for code in [b"BGR3", b"XR24", b"RGBP"] {
                assert!(full(code, 0, false) && !full(code, 0, true));
                assert!(full(code, 1, true) && !full(code, 2, false));
            }
            assert!(!full(b"NV12", 0, false) && full(b"GREY", 0, true));
        }
    }

    #[test]
    fn each_plane_has_the_stride_that_the_driver_says() {
        let mut answer = wanted(ioctl::CAPTURE_MPLANE, Fourcc(*b"NM12"), (640, 360));
        let pix = answer.fmt.mplane();
        (pix.num_planes, pix.ycbcr_enc, pix.field) = (2, 2, FIELD_NONE);
        for (plane, stride) in [1280, 704, 99].into_iter().enumerate() {
            pix.planes[plane][1] = stride;
        }
        let FormatAnswer { format, has_frames } = given(answer, false);
        assert_eq!(format.to_string(), "640x360 NM12");
        assert_eq!((format.stride, format.chroma_strides), (1280, [704, 0]));
        assert!(has_frames && format.bt709 && !format.full_range);
    }
}
