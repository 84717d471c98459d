//! Encoding with `jpeg-encoder`, which is pure Rust and therefore available in every build, on every processor.

use jpeg_encoder::{EncodingError, ImageBuffer, JpegColorType, SamplingFactor};

use super::planes::Planes;
use crate::error::{Error, Result};

/// The library's name.
pub const NAME: &str = "jpeg-encoder";

/// A coder with one quality setting.
#[derive(Debug)]
pub struct Coder {
    quality: u8,
}

impl Coder {
    /// `quality` is from 1 to 100.
    pub fn new(quality: u8) -> Result<Self> {
        Ok(Coder { quality })
    }

    /// Replaces the contents of `into` by the JPEG.
    pub fn encode(&mut self, planes: Planes<'_>, into: &mut Vec<u8>) -> Result<()> {
        into.clear();
        // Through a reference to the vector, because the library takes its writer by value.
        let mut encoder = jpeg_encoder::Encoder::new(into, self.quality);
        encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
        encoder.encode_image(planes).map_err(failed)
    }
}

fn failed(error: EncodingError) -> Error {
    Error::Input(format!("cannot encode a frame: {error}"))
}

/// The library asks for rows at full size and then leaves out what 4:2:0 does not keep, by taking the sample at the
/// top left of each 2x2. Samples that are doubled for it therefore come out unchanged.
impl ImageBuffer for Planes<'_> {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        JpegColorType::Ycbcr
    }

    fn width(&self) -> u16 {
        self.width
    }

    fn height(&self) -> u16 {
        self.height
    }

    fn fill_buffers(&self, y: u16, buffers: &mut [Vec<u8>; 4]) {
        let y = usize::from(y);
        let [luma, chroma @ .., _] = buffers;
        luma.extend_from_slice(self.luma.row(y));
        for (plane, buffer) in self.chroma.iter().zip(chroma) {
            let end = buffer.len() + usize::from(self.width);
            buffer.extend(plane.row(y / 2).iter().flat_map(|&sample| [sample; 2]));
            buffer.truncate(end);
        }
    }
}
