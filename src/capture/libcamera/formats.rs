//! Pixel formats by libcamera's names and by ours.
//!
//! libcamera uses the codes of the kernel's DRM (drm_fourcc.h), which name the bytes of a pixel from the highest to
//! the lowest, whereas V4L2 names them in memory order: DRM's BGR888 is V4L2's RGB24. Formats with a modifier
//! (compressed, tiled) are not supported.

use libcamera::pixel_format::PixelFormat;

use crate::picture::format::Fourcc;

/// DRM's code and ours, the best first: JPEG costs nothing, and YUV 4:2:0 with three planes does not even have to be
/// copied.
const KNOWN: [([u8; 4], [u8; 4]); 8] = [
    (*b"MJPG", *b"MJPG"),
    (*b"YU12", *b"YU12"),
    (*b"NV12", *b"NV12"),
    (*b"NV21", *b"NV21"),
    (*b"YUYV", *b"YUYV"),
    (*b"UYVY", *b"UYVY"),
    (*b"BG24", *b"RGB3"),
    (*b"R8  ", *b"GREY"),
];

/// Our code for a format of libcamera, if lazycam can read it.
pub(super) fn ours(format: PixelFormat) -> Option<Fourcc> {
    let code = format.fourcc().to_le_bytes();
    let known = KNOWN.iter().find(|(drm, _)| *drm == code)?;
    (format.modifier() == 0).then_some(Fourcc(known.1))
}

/// The offered formats that lazycam can read, the best first.
pub(super) fn readable(offered: &[PixelFormat]) -> Vec<(PixelFormat, Fourcc)> {
    let find = |(_, code): &([u8; 4], [u8; 4])| {
        let code = Fourcc(*code);
        let format = offered.iter().find(|format| ours(**format) == Some(code))?;
        Some((*format, code))
    };
    KNOWN.iter().filter_map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drm(code: &[u8; 4], modifier: u64) -> PixelFormat {
        PixelFormat::new(u32::from_le_bytes(*code), modifier)
    }

    #[test]
    fn the_formats_of_both_worlds_are_told_apart() {
        assert_eq!(ours(drm(b"BG24", 0)), Some(Fourcc(*b"RGB3")));
        assert_eq!(ours(drm(b"RG24", 0)), None);
        assert_eq!(ours(drm(b"NV12", 1)), None);
        let offered = [drm(b"NV12", 0), drm(b"XR24", 0), drm(b"YU12", 0)];
        let codes = readable(&offered).into_iter().map(|(_, code)| code);
        let best = [Fourcc(*b"YU12"), Fourcc(*b"NV12")];
        assert_eq!(codes.collect::<Vec<_>>(), best);
    }
}
