//! Encoding with libjpeg-turbo, through the crate `turbojpeg`. It has SIMD code for x86 and ARM, and needs a C
//! library, either built or installed. Used with one of the features `turbojpeg` and `turbojpeg-system`.
//!
//! It reads the planes from where they are (tj3CompressFromYUVPlanes8), except for pictures of odd width or height.
//! For these it requires a plane with an even number of luma samples and rows, so luma is copied. Cameras have no
//! such sizes.
//!
//! It writes into memory of its own, which we keep from frame to frame and which grows to the size of the largest
//! frame. From there the file is copied once. To write directly into our vector, the vector would first have to be
//! filled with zeros up to the largest possible size, which is 2.8 MB for 1280x720.

use turbojpeg::{Compressor, OutputBuf, OwnedBuf, Subsamp, YuvPlanesImage};

use super::planes::{Plane, Planes};
use crate::error::{Error, Result};

/// The library's name.
pub const NAME: &str = "libjpeg-turbo";

/// A coder with one quality setting.
#[derive(Debug)]
pub struct Coder {
    compressor: Compressor,
    /// The library's memory, which contains the last file.
    output: OwnedBuf,
    /// The luma of a picture of odd size.
    evened: Vec<u8>,
}

impl Coder {
    /// `quality` is from 1 to 100.
    pub fn new(quality: u8) -> Result<Self> {
        let mut compressor = Compressor::new().map_err(failed)?;
        compressor.set_quality(i32::from(quality)).map_err(failed)?;
        Ok(Coder {
            compressor,
            output: OwnedBuf::new(),
            evened: Vec::new(),
        })
    }

    /// Replaces the contents of `into` by the JPEG.
    pub fn encode(&mut self, planes: Planes<'_>, into: &mut Vec<u8>) -> Result<()> {
        let (width, height) = (usize::from(planes.width), usize::from(planes.height));
        let [cb, cr] = planes.chroma;
        let (y_plane, y_stride) = if width % 2 == 0 && height % 2 == 0 {
            (planes.luma.bytes, planes.luma.stride)
        } else {
            even_out(planes.luma, height, &mut self.evened);
            (&self.evened[..], width.next_multiple_of(2))
        };
        let image = YuvPlanesImage {
            y_plane,
            u_plane: cb.bytes,
            v_plane: cr.bytes,
            width,
            height,
            y_stride,
            u_stride: cb.stride,
            v_stride: cr.stride,
            subsamp: Subsamp::Sub2x2,
        };
        let mut output = OutputBuf::owned(std::mem::replace(&mut self.output, OwnedBuf::new()));
        let encoded = self.compressor.compress_yuv_planes(&image, &mut output);
        encoded.map_err(failed)?;
        self.output = output.into_owned();
        into.clear();
        into.extend_from_slice(&self.output);
        Ok(())
    }
}

/// The plane, with the last sample of each row and the last row repeated where their number is odd.
fn even_out(plane: Plane<'_>, height: usize, into: &mut Vec<u8>) {
    into.clear();
    for y in 0..height.next_multiple_of(2) {
        let row = plane.row(y.min(height - 1));
        into.extend_from_slice(row);
        if let ([.., last], 1) = (row, row.len() % 2) {
            into.push(*last);
        }
    }
}

fn failed(error: turbojpeg::Error) -> Error {
    Error::Input(format!("libjpeg-turbo cannot encode a frame: {error}"))
}
