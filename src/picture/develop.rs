//! A camera's buffer becomes a JPEG: raw pixels are unpacked and encoded, and what is called MJPEG is cleaned, which
//! mostly leaves the bytes where the driver has put them. This is the same for every interface that hands out buffers
//! (V4L2, libcamera).
//!
//! Nothing is done before somebody asks for the JPEG, and a raw frame that is asked for twice is encoded once.

use crate::error::{Error, Result};
use crate::picture::encode::Encoder;
use crate::picture::format::Format;
use crate::picture::mjpeg;
use crate::picture::pixels::{Pixels, Unpacker};

/// How the frames of one format are read.
pub(crate) enum Reader {
    /// They are JPEGs.
    Jpeg,
    /// They have to be encoded.
    Raw(Box<Unpacker>),
}

impl Reader {
    /// For frames of `format`; `None` if it is one that lazycam cannot read, or if a JPEG cannot have that size.
    pub(crate) fn new(format: &Format) -> Option<Self> {
        match Pixels::of(format.fourcc)? {
            Pixels::Jpeg => Some(Reader::Jpeg),
            _ => Unpacker::new(format).map(Box::new).map(Reader::Raw),
        }
    }

    /// Whether the frames have to be encoded.
    pub(crate) fn encodes(&self) -> bool {
        matches!(self, Reader::Raw(_))
    }
}

/// Makes JPEGs of a camera's newest frame. It reuses its memory for each frame.
pub(crate) struct Developer {
    encoder: Encoder,
    jpeg: Vec<u8>,
    /// Whether `jpeg` is the newest frame.
    encoded: bool,
}

impl Developer {
    /// `quality` is that of [`Encoder::new`].
    pub(crate) fn new(quality: u8) -> Result<Self> {
        Ok(Developer {
            encoder: Encoder::new(quality)?,
            jpeg: Vec::new(),
            encoded: false,
        })
    }

    /// The JPEG quality of what comes out, if it is chosen here.
    pub(crate) fn quality(&self, reader: &Reader) -> Option<u8> {
        reader.encodes().then(|| self.encoder.quality())
    }

    /// From now on, [`Developer::develop`] is given another frame than before.
    pub(crate) fn next_frame(&mut self) {
        self.encoded = false;
    }

    /// The JPEG of the newest frame, which `planes` contains. A single one is the whole frame, with its planes one
    /// after another if it has several. An error says what is wrong with the frame.
    pub(crate) fn develop<'a>(
        &'a mut self,
        reader: &mut Reader,
        planes: &[&'a [u8]],
    ) -> Result<&'a [u8]> {
        let unpacker = match reader {
            Reader::Jpeg => {
                let bytes = planes.first().copied().unwrap_or_default();
                let cleaned = mjpeg::clean(bytes, &mut self.jpeg);
                return cleaned.map_err(|defect| Error::Input(defect.to_string()));
            }
            Reader::Raw(unpacker) => unpacker,
        };
        if !self.encoded {
            let unpacked = match *planes {
                [bytes] => unpacker.unpack(bytes),
                _ => unpacker.unpack_planes(planes),
            };
            let short = || Error::Input("a raw frame was cut short".into());
            let unpacked = unpacked.ok_or_else(short)?;
            self.encoder.encode(unpacked, None, &mut self.jpeg)?;
            self.encoded = true;
        }
        Ok(&self.jpeg)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::format::Fourcc;
    use crate::picture::jpeg::{self, Size};

    fn format(code: &[u8; 4]) -> Format {
        Format {
            fourcc: Fourcc(*code),
            width: 16,
            height: 8,
            stride: 16,
            full_range: true,
            bt709: false,
        }
    }

    fn reader(code: &[u8; 4]) -> Reader {
        Reader::new(&format(code)).unwrap()
    }

    const SIZE: Size = Size {
        width: 16,
        height: 8,
    };

    #[test]
    fn a_jpeg_with_padding_goes_out_where_it_lies() {
        let mut grey = Developer::new(80).unwrap();
        let whole = grey.develop(&mut reader(b"GREY"), &[&[128; 16 * 8]]);
        let whole = whole.unwrap().to_vec();
        let buffer = [&whole[..], &[0; 100]].concat();
        let mut developer = Developer::new(80).unwrap();
        let jpeg = developer.develop(&mut reader(b"MJPG"), &[&buffer]).unwrap();
        assert_eq!(jpeg.as_ptr_range(), buffer[..whole.len()].as_ptr_range());
    }

    #[test]
    fn a_raw_frame_is_encoded_once() {
        let (mut developer, mut reader) = (Developer::new(80).unwrap(), reader(b"GREY"));
        let (dark, bright) = ([0; 16 * 8], [255; 16 * 8]);
        let first = developer.develop(&mut reader, &[&dark]).unwrap().to_vec();
        assert_eq!(jpeg::check(&first), Ok(SIZE));
        // Other bytes would be another frame, and nothing has said so.
        let again = developer.develop(&mut reader, &[&bright]).unwrap();
        assert_eq!(again, first);
        developer.next_frame();
        let other = developer.develop(&mut reader, &[&bright]).unwrap();
        assert_eq!(jpeg::check(other), Ok(SIZE));
        assert_ne!(other, first);
    }

    #[test]
    fn planes_may_follow_one_another_or_lie_apart() {
        let nv12: Vec<u8> = (0..16 * 12).map(|n| (n * 5) as u8).collect();
        let (y, chroma) = nv12.split_at(16 * 8);
        let jpeg = |planes: &[&[u8]]| {
            let mut developer = Developer::new(80).unwrap();
            let jpeg = developer.develop(&mut reader(b"NV12"), planes).unwrap();
            jpeg.to_vec()
        };
        assert_eq!(jpeg(&[&nv12]), jpeg(&[y, chroma]));
    }

    #[test]
    fn a_frame_that_was_cut_short_is_an_error_and_the_next_one_is_not() {
        let (mut developer, mut raw) = (Developer::new(80).unwrap(), reader(b"GREY"));
        let short = developer.develop(&mut raw, &[&[0; 16 * 7]]);
        assert_eq!(short.unwrap_err().to_string(), "a raw frame was cut short");
        assert!(developer.develop(&mut raw, &[&[0; 16 * 8]]).is_ok());
        let mut jpegs = reader(b"MJPG");
        assert!(developer.develop(&mut jpegs, &[&[0xFF, 0xD8]]).is_err());
        assert!(developer.develop(&mut jpegs, &[]).is_err());
    }

    #[test]
    fn what_cannot_be_read_has_no_reader_and_a_quality_is_only_known_of_what_is_encoded() {
        assert!(Reader::new(&format(b"H264")).is_none());
        let wide = Format {
            width: 1 << 16,
            ..format(b"GREY")
        };
        assert!(Reader::new(&wide).is_none());
        let developer = Developer::new(70).unwrap();
        assert_eq!(developer.quality(&reader(b"GREY")), Some(70));
        assert_eq!(developer.quality(&reader(b"MJPG")), None);
    }
}
