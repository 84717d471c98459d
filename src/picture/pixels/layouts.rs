//! Where the samples of each raw format are, as a table: what a format is not told by its name, but by these numbers.
//!
//! Codes and layouts are those of the kernel (<https://docs.kernel.org/userspace-api/media/v4l/pixfmt.html>). A code with an M in
//! it (`NM12`, `YM12`) is the same as the one without, only that each plane has memory of its own.

use crate::picture::format::Fourcc;

/// Where the samples of one component are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SamplePlaces {
    /// In which of the planes.
    pub(super) plane: u8,
    /// The first one's place in a line.
    pub(super) first: u8,
    /// The distance from one to the next in bytes, at most 4.
    pub(super) step: u8,
}

/// How to interpret the bytes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pixels {
    /// JPEG files.
    Jpeg,
    /// Y, Cb and Cr, with one sample of chroma for so many pixels across and down.
    Yuv {
        samples: [SamplePlaces; 3],
        across: u8,
        down: u8,
    },
    /// R, G and B.
    Rgb([SamplePlaces; 3]),
    /// R, G and B in 5, 6 and 5 bits of a number of 16 bits, of which the first byte is the lower one.
    Rgb565,
    Grey,
}

const fn at(plane: u8, first: u8, step: u8) -> SamplePlaces {
    SamplePlaces { plane, first, step }
}

/// 4:2:2 in groups of two pixels, with Y, Cb and Cr at these places.
const fn packed(y: u8, cb: u8, cr: u8) -> Pixels {
    Pixels::Yuv {
        samples: [at(0, y, 2), at(0, cb, 4), at(0, cr, 4)],
        across: 2,
        down: 1,
    }
}

/// One plane of Y and one of pairs, in which Cb has this place.
const fn pairs(cb: u8, across: u8, down: u8) -> Pixels {
    Pixels::Yuv {
        samples: [at(0, 0, 1), at(1, cb, 2), at(1, 1 - cb, 2)],
        across,
        down,
    }
}

/// Three planes, of which this one has Cb.
const fn planar(cb: u8, across: u8, down: u8) -> Pixels {
    Pixels::Yuv {
        samples: [at(0, 0, 1), at(cb, 0, 1), at(3 - cb, 0, 1)],
        across,
        down,
    }
}

/// Pixels of so many bytes, with R, G and B at these places.
const fn rgb(step: u8, [r, g, b]: [u8; 3]) -> Pixels {
    Pixels::Rgb([at(0, r, step), at(0, g, step), at(0, b, step)])
}

/// The supported formats, the best first: JPEG costs nothing, and the others are ordered by how much has to be
/// computed and moved.
pub(crate) const PREFERENCE: [(Fourcc, Pixels); 39] = [
    (Fourcc(*b"MJPG"), Pixels::Jpeg),
    (Fourcc(*b"JPEG"), Pixels::Jpeg),
    (Fourcc(*b"YUYV"), packed(0, 1, 3)),
    (Fourcc(*b"UYVY"), packed(1, 0, 2)),
    (Fourcc(*b"YVYU"), packed(0, 3, 1)),
    (Fourcc(*b"VYUY"), packed(1, 2, 0)),
    (Fourcc(*b"NV12"), pairs(0, 2, 2)),
    (Fourcc(*b"NV21"), pairs(1, 2, 2)),
    (Fourcc(*b"NM12"), pairs(0, 2, 2)),
    (Fourcc(*b"NM21"), pairs(1, 2, 2)),
    (Fourcc(*b"YU12"), planar(1, 2, 2)),
    (Fourcc(*b"YV12"), planar(2, 2, 2)),
    (Fourcc(*b"YM12"), planar(1, 2, 2)),
    (Fourcc(*b"YM21"), planar(2, 2, 2)),
    (Fourcc(*b"NV16"), pairs(0, 2, 1)),
    (Fourcc(*b"NV61"), pairs(1, 2, 1)),
    (Fourcc(*b"NM16"), pairs(0, 2, 1)),
    (Fourcc(*b"NM61"), pairs(1, 2, 1)),
    (Fourcc(*b"422P"), planar(1, 2, 1)),
    (Fourcc(*b"YM16"), planar(1, 2, 1)),
    (Fourcc(*b"YM61"), planar(2, 2, 1)),
    (Fourcc(*b"NV24"), pairs(0, 1, 1)),
    (Fourcc(*b"NV42"), pairs(1, 1, 1)),
    (Fourcc(*b"YM24"), planar(1, 1, 1)),
    (Fourcc(*b"YM42"), planar(2, 1, 1)),
    (Fourcc(*b"RGB3"), rgb(3, [0, 1, 2])),
    (Fourcc(*b"BGR3"), rgb(3, [2, 1, 0])),
    // The fourth byte is nothing or how opaque a pixel is. The last two are older names, with either.
    (Fourcc(*b"XR24"), rgb(4, [2, 1, 0])),
    (Fourcc(*b"XB24"), rgb(4, [0, 1, 2])),
    (Fourcc(*b"RX24"), rgb(4, [3, 2, 1])),
    (Fourcc(*b"BX24"), rgb(4, [1, 2, 3])),
    (Fourcc(*b"AR24"), rgb(4, [2, 1, 0])),
    (Fourcc(*b"AB24"), rgb(4, [0, 1, 2])),
    (Fourcc(*b"RA24"), rgb(4, [3, 2, 1])),
    (Fourcc(*b"BA24"), rgb(4, [1, 2, 3])),
    (Fourcc(*b"BGR4"), rgb(4, [2, 1, 0])),
    (Fourcc(*b"RGB4"), rgb(4, [1, 2, 3])),
    (Fourcc(*b"RGBP"), Pixels::Rgb565),
    (Fourcc(*b"GREY"), Pixels::Grey),
];

impl Pixels {
    /// How frames of a format are interpreted, if the format is supported.
    pub(crate) fn of(fourcc: Fourcc) -> Option<Self> {
        let mut known = PREFERENCE.iter();
        known.find(|(code, _)| *code == fourcc).map(|(_, it)| *it)
    }

    /// Whether its samples are R, G and B, which have full range where nothing is said of it.
    pub(crate) fn is_rgb(self) -> bool {
        matches!(self, Pixels::Rgb(_) | Pixels::Rgb565)
    }
}
