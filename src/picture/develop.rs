//! A camera's buffer becomes a JPEG: raw pixels are unpacked and encoded, and of what is called MJPEG the
//! frame is taken out, mostly without being copied. This is the same for every interface that hands out buffers
//! (V4L2, libcamera).
//!
//! Nothing is done before somebody asks for the JPEG, and a frame that is asked for twice is encoded, or turned, once.

use crate::error::{Error, Result};
use crate::picture::encode::Encoder;
use crate::picture::encode::hardware::HardwareCoder;
use crate::picture::format::Format;
use crate::picture::jpeg::{Defect, Size};
use crate::picture::mjpeg::{Discarded, Mjpeg};
use crate::picture::pixels::{Pixels, Unpacker};
use crate::picture::turn::lossless::NewestTurned;
use crate::picture::turn::planes::Turned;
use crate::picture::turn::{Transform, brightness};

/// How the frames of one camera are read, and the count of those without a picture.
pub(crate) struct FrameReader {
    /// Present for raw formats.
    unpacker: Option<Unpacker>,
    mjpeg: Mjpeg,
}

impl FrameReader {
    /// For frames of `format`; `None` if it is one that lazycam cannot read, or if a JPEG cannot have that size.
    /// `name` is the camera's, for the log.
    pub(crate) fn new(format: &Format, name: String) -> Option<Self> {
        Some(FrameReader {
            unpacker: match Pixels::of(format.fourcc)? {
                Pixels::Jpeg => None,
                _ => Some(Unpacker::new(format)?),
            },
            mjpeg: Mjpeg::new(name),
        })
    }

    /// Whether there is a reader for frames of `format`.
    pub(crate) fn reads(format: &Format) -> bool {
        FrameReader::new(format, String::new()).is_some()
    }

    /// Whether the frames have to be encoded.
    pub(crate) fn encodes(&self) -> bool {
        self.unpacker.is_some()
    }

    /// How bright the newest frame is, from 0 to 255; `None` if it cannot be read. `planes` are those of [`Developer::develop`].
    pub(crate) fn brightness(&mut self, planes: &[&[u8]]) -> Option<f32> {
        let Some(unpacker) = &mut self.unpacker else {
            return brightness::of(planes.first()?);
        };
        let unpacked = unpacker.unpack_all(planes)?;
        // Every fourth line is enough.
        let lines = || (0..usize::from(unpacked.height)).step_by(4);
        let sums = lines().map(|y| unpacked.luma.row(y).iter().map(|&it| u32::from(it)).sum());
        let sum: f32 = sums.map(|sum: u32| sum as f32).sum();
        Some(sum / (lines().count() * usize::from(unpacked.width)) as f32)
    }

    /// Counts frames that the driver has marked as broken.
    pub(crate) fn discard_marked(&mut self, count: u32) {
        for _ in 0..count {
            self.mjpeg.discard(Defect::Marked);
        }
    }

    /// What was thrown away since the last call, beside frames for which [`Developer::develop`] gave an error.
    pub(crate) fn discarded(&mut self) -> Option<Discarded> {
        self.mjpeg.discarded()
    }
}

/// Makes JPEGs of a camera's newest frame. It reuses its memory for each frame.
pub(crate) struct Developer {
    encoder: Encoder,
    /// The newest frame, if it came as a JPEG and is turned.
    turned: NewestTurned,
    planes: Turned,
    jpeg: Vec<u8>,
    /// Whether `jpeg` is the newest frame.
    encoded: bool,
}

impl Developer {
    /// `quality` is that of [`Encoder::new`].
    pub(crate) fn new(quality: u8) -> Result<Self> {
        Ok(Developer {
            encoder: Encoder::new(quality)?,
            turned: NewestTurned::default(),
            planes: Turned::default(),
            jpeg: Vec::new(),
            encoded: false,
        })
    }

    /// See [`Encoder::encode_with`].
    pub(crate) fn encode_with(&mut self, hardware: Box<dyn HardwareCoder>) {
        self.encoder.encode_with(hardware);
    }

    /// See [`Encoder::maker`].
    pub(crate) fn maker(&self) -> Option<&str> {
        self.encoder.maker()
    }

    /// Nobody looks: gives back what the camera's next start takes again.
    pub(crate) fn rest(&mut self) {
        self.encoder.rest();
    }

    /// From the next frame on, pictures are turned like this.
    pub(crate) fn turn(&mut self, turn: Transform) {
        self.turned = NewestTurned::new(turn);
    }

    /// The size of what comes out of pictures of this size. When JPEGs are turned, it is known exactly from the first
    /// one on.
    pub(crate) fn size(&self, size: Option<Size>) -> Option<Size> {
        let whole = || size.map(|size| self.turned.turn().size(size));
        self.turned.size().or_else(whole)
    }

    /// The JPEG quality of what comes out, if it is chosen here.
    pub(crate) fn quality(&self, reader: &FrameReader) -> Option<u8> {
        reader.encodes().then(|| self.encoder.quality())
    }

    /// From now on, [`Developer::develop`] is given another frame than before.
    pub(crate) fn next_frame(&mut self) {
        self.encoded = false;
        self.turned.next_frame();
    }

    /// The JPEG of the newest frame, which `planes` contains. A single one is the whole frame, with its planes one
    /// after another if it has several. An error says what is wrong with the frame.
    pub(crate) fn develop<'a>(
        &'a mut self,
        reader: &'a mut FrameReader,
        planes: &[&'a [u8]],
    ) -> Result<&'a [u8]> {
        if reader.encodes() {
            self.encode(reader, planes)?;
            return Ok(&self.jpeg);
        }
        let bytes = planes.first().copied().unwrap_or_default();
        let mjpeg = &mut reader.mjpeg;
        let turned = match self.turned.turn().is_none() {
            true => mjpeg.frame(bytes),
            false => self.turned.jpeg(|| mjpeg.frame(bytes)),
        };
        turned.map_err(|defect| Error::Input(defect.to_string()))
    }

    fn encode(&mut self, reader: &mut FrameReader, planes: &[&[u8]]) -> Result<()> {
        let (Some(unpacker), false) = (&mut reader.unpacker, self.encoded) else {
            return Ok(());
        };
        let unpacked = unpacker.unpack_all(planes);
        let turn = self.turned.turn();
        let turned = unpacked.and_then(|planes| self.planes.turn(planes, turn));
        let short = || Error::Input("a raw frame was cut short".into());
        self.encoder
            .encode(turned.ok_or_else(short)?, None, &mut self.jpeg)?;
        self.encoded = true;
        Ok(())
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
            chroma_strides: [0; 2],
            full_range: true,
            bt709: false,
        }
    }

    fn reader(code: &[u8; 4]) -> FrameReader {
        FrameReader::new(&format(code), "a camera".into()).unwrap()
    }

    const SIZE: Size = Size {
        width: 16,
        height: 8,
    };

    #[test]
    fn a_jpeg_with_padding_goes_out_where_it_lies() {
        let (mut developer, mut grey) = (Developer::new(80).unwrap(), reader(b"GREY"));
        let whole = developer.develop(&mut grey, &[&[128; 16 * 8]]);
        let whole = whole.unwrap().to_vec();
        let buffer = [&whole[..], &[0; 100]].concat();
        let mut jpegs = reader(b"MJPG");
        let jpeg = developer.develop(&mut jpegs, &[&buffer]).unwrap();
        assert_eq!(jpeg.as_ptr_range(), buffer[..whole.len()].as_ptr_range());
    }

    #[test]
    fn how_bright_a_frame_is_can_be_told_before_it_is_encoded_and_afterwards() {
        let (mut developer, mut grey) = (Developer::new(95).unwrap(), reader(b"GREY"));
        let pixels: Vec<u8> = (0..16 * 8).map(|n| 2 * (n / 16) + 90).collect();
        let raw = grey.brightness(&[&pixels]).unwrap();
        // The first and the fifth line.
        assert_eq!(raw, 94.0);
        assert_eq!(grey.brightness(&[&pixels[1..]]), None);
        let jpeg = developer.develop(&mut grey, &[&pixels]).unwrap();
        let coded = reader(b"MJPG").brightness(&[jpeg]).unwrap();
        // An encoder whose MCUs are 16 lines high repeats the last line in their lower half.
        let is_near = |mean: f64| (f64::from(coded) - mean).abs() < 1.0;
        assert!(is_near(97.0) || is_near((97.0 + 104.0) / 2.0), "{coded}");
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
    fn raw_and_coded_frames_are_turned_once_and_their_size_is_told() {
        let (mut developer, mut grey) = (Developer::new(80).unwrap(), reader(b"GREY"));
        let pixels: Vec<u8> = (0..16 * 8).map(|n| n * 2).collect();
        let upright = developer.develop(&mut grey, &[&pixels]).unwrap().to_vec();
        let quarter = Transform::of_orientation(6);
        developer.turn(quarter);
        developer.next_frame();
        assert_eq!(developer.size(Some(SIZE)), Some(quarter.size(SIZE)));
        let raw = developer.develop(&mut grey, &[&pixels]).unwrap();
        assert_eq!(jpeg::check(raw), Ok(quarter.size(SIZE)));
        let mut jpegs = reader(b"MJPG");
        // Four times as high, so that something is left when it is trimmed.
        let tall = upright_of_height(40);
        let turned = developer.develop(&mut jpegs, &[&tall]).unwrap().to_vec();
        let trimmed = jpeg::check(&turned).unwrap();
        assert_eq!(trimmed.to_string(), "32x16");
        assert_eq!(developer.size(Some(SIZE)), Some(trimmed));
        let again = developer.develop(&mut jpegs, &[&upright]).unwrap();
        assert_eq!(again, turned);
        developer.next_frame();
        let cut = [&tall[..tall.len() - 9], &tall[tall.len() - 2..]].concat();
        let told = developer.develop(&mut jpegs, &[&cut]).unwrap_err();
        assert!(told.to_string().contains("damaged"), "{told}");
    }

    /// A frame of 16 pixels by so many.
    fn upright_of_height(height: u32) -> Vec<u8> {
        let format = Format {
            height,
            ..format(b"GREY")
        };
        let mut grey = FrameReader::new(&format, String::new()).unwrap();
        let pixels: Vec<u8> = (0..16 * height).map(|n| (n / 3) as u8).collect();
        let mut developer = Developer::new(80).unwrap();
        developer.develop(&mut grey, &[&pixels]).unwrap().to_vec()
    }

    #[test]
    fn planes_may_follow_one_another_or_lie_apart() {
        let nv12: Vec<u8> = (0..16 * 12).map(|n| (n * 5) as u8).collect();
        let (y, chroma) = nv12.split_at(16 * 8);
        let jpeg = |planes: &[&[u8]]| {
            let (mut developer, mut reader) = (Developer::new(80).unwrap(), reader(b"NV12"));
            developer.develop(&mut reader, planes).unwrap().to_vec()
        };
        assert_eq!(jpeg(&[&nv12]), jpeg(&[y, chroma]));
    }

    #[test]
    fn frames_that_the_driver_marked_are_counted() {
        let mut reader = reader(b"GREY");
        assert_eq!(reader.discarded(), None);
        reader.discard_marked(2);
        let discarded = reader.discarded().unwrap();
        assert_eq!(discarded.count, 2);
        assert!(discarded.why.starts_with("a camera: "), "{}", discarded.why);
        assert_eq!(reader.discarded(), None);
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
        assert!(FrameReader::reads(&format(b"MJPG")) && !FrameReader::reads(&format(b"H264")));
        let wide = Format {
            width: 1 << 16,
            ..format(b"GREY")
        };
        assert!(!FrameReader::reads(&wide));
        let developer = Developer::new(70).unwrap();
        assert_eq!(developer.quality(&reader(b"GREY")), Some(70));
        assert_eq!(developer.quality(&reader(b"MJPG")), None);
    }
}
