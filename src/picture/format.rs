//! Formats of pictures as cameras deliver them: which code a format has, which sizes it comes in, and how its bytes lie
//! in memory. The codes are those of V4L2; libcamera's are translated into them.

use std::fmt;
use std::str::FromStr;

use crate::picture::jpeg::Size;

/// The size to ask a camera for when none is given, and to draw what has no size: every camera has it or something
/// close to it.
pub const USUAL_SIZE: Size = Size {
    width: 640,
    height: 480,
};

/// A pixel format: four characters, as in the kernel's header.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fourcc(pub [u8; 4]);

impl Fourcc {
    /// As the kernel and libcamera pass it: the first character in the lowest byte.
    pub(crate) fn number(self) -> u32 {
        u32::from_le_bytes(self.0)
    }
}

impl FromStr for Fourcc {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let upper = text.to_ascii_uppercase();
        let code = match upper.as_str() {
            "MJPEG" => "MJPG",
            "RGB24" => "RGB3",
            "YUV420" | "I420" => "YU12",
            code => code,
        };
        // Short codes are padded with spaces, which need not be typed: Y16 is 'Y', '1', '6', ' '.
        let code = code.trim_end_matches(' ');
        let plain = !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let bytes = <[u8; 4]>::try_from(format!("{code:4}").as_bytes());
        bytes
            .ok()
            .filter(|_| plain)
            .map(Fourcc)
            .ok_or_else(|| "a format is a code of four characters, such as MJPG or YUYV".into())
    }
}

impl fmt::Display for Fourcc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.escape_ascii().to_string().trim_end())
    }
}

impl fmt::Debug for Fourcc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The sizes of one format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// Only these sizes.
    Discrete(Vec<(u32, u32)>),
    /// From the first to the second, in steps of the third.
    Stepwise([(u32, u32); 3]),
}

impl Sizes {
    /// Whether a size is one of them.
    pub fn contain(&self, (width, height): (u32, u32)) -> bool {
        let within = |value: u32, min: u32, max: u32, step: u32| {
            (min..=max).contains(&value) && (value - min) % step.max(1) == 0
        };
        match self {
            Sizes::Discrete(sizes) => sizes.contains(&(width, height)),
            Sizes::Stepwise([min, max, step]) => {
                within(width, min.0, max.0, step.0) && within(height, min.1, max.1, step.1)
            }
        }
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sizes::Discrete(sizes) => {
                for (i, (width, height)) in sizes.iter().enumerate() {
                    let comma = if i == 0 { "" } else { ", " };
                    write!(f, "{comma}{width}x{height}")?;
                }
                Ok(())
            }
            Sizes::Stepwise([min, max, step]) => {
                let (from, to) = (
                    format!("{}x{}", min.0, min.1),
                    format!("{}x{}", max.0, max.1),
                );
                write!(f, "{from} to {to} by {}x{}", step.0, step.1)
            }
        }
    }
}

/// How the pictures of a camera lie in memory, as its driver or libcamera says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// The pixel format.
    pub fourcc: Fourcc,
    /// Pixels per line.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// The distance in bytes from one line to the next, in the first plane. 0 if the format has no lines.
    pub stride: u32,
    /// The same in the second and the third plane, if each plane has memory of its own. 0 where they follow the first:
    /// it is then the same for as many samples.
    pub chroma_strides: [u32; 2],
    /// Whether samples go from 0 to 255 instead of from 16 to 235. If the driver leaves this open, it is decided in
    /// the same way as by the kernel's V4L2_MAP_QUANTIZATION_DEFAULT; grey counts as full range, as the kernel's
    /// vivid produces it.
    pub full_range: bool,
    /// Whether YUV uses the matrix of BT.709 instead of that of BT.601. If the driver leaves this open, it is decided
    /// as by V4L2_MAP_YCBCR_ENC_DEFAULT.
    pub bt709: bool,
}

impl Format {
    /// The size of its pictures; `None` if no JPEG can have it.
    pub fn size(&self) -> Option<Size> {
        Some(Size {
            width: self.width.try_into().ok()?,
            height: self.height.try_into().ok()?,
        })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{} {}", self.width, self.height, self.fourcc)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_taken_in_either_case_and_by_their_usual_names() {
        for (text, code) in [
            ("mjpeg", "MJPG"),
            ("yuyv", "YUYV"),
            ("RGB24", "RGB3"),
            ("i420", "YU12"),
        ] {
            assert_eq!(text.parse::<Fourcc>().unwrap().to_string(), code);
        }
        assert_eq!(Fourcc(*b"Y16 ").to_string(), "Y16");
        // In the form in which `run` passes it to a capture process.
        assert_eq!("y16".parse(), Ok(Fourcc(*b"Y16 ")));
        for bad in ["webp5", "", "   ", "s\\:8", "a b"] {
            assert!(bad.parse::<Fourcc>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sizes_by_steps_contain_what_the_steps_reach() {
        let sizes = Sizes::Stepwise([(16, 16), (64, 48), (8, 2)]);
        assert!(sizes.contain((64, 48)) && sizes.contain((24, 18)));
        assert!(!sizes.contain((25, 18)) && !sizes.contain((72, 16)) && !sizes.contain((8, 16)));
        assert_eq!(sizes.to_string(), "16x16 to 64x48 by 8x2");
        let sizes = Sizes::Discrete(vec![(640, 480), (320, 240)]);
        assert!(sizes.contain((320, 240)) && !sizes.contain((640, 240)));
        assert_eq!(sizes.to_string(), "640x480, 320x240");
    }
}
