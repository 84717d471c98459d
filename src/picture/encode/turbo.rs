//! Coding by libjpeg-turbo, through the crate `turbojpeg`: SIMD code for x86 and ARM, and a C library to build or to
//! have. With one of the features `turbojpeg` and `turbojpeg-system`.
//!
//! It reads the planes where they lie (tj3CompressFromYUVPlanes8), but for pictures of odd width or height: it wants a
//! plane of an even number of luma samples and rows then, so luma is copied. Cameras have no such sizes.
//!
//! It writes into memory of its own, which stays with us from frame to frame and grows to what the largest frame took. From
//! there the file is copied once. Writing into our vector at once would mean to fill it with zeros up to the largest
//! possible size first, 2.8 MB for 1280x720.

use turbojpeg::{Compressor, OutputBuf, OwnedBuf, Subsamp, YuvPlanesImage};

use super::{Plane, Planes};
use crate::error::{Error, Result};

/// What it is called.
pub const NAME: &str = "libjpeg-turbo";

/// A coder of one quality.
#[derive(Debug)]
pub struct Coder {
    compressor: Compressor,
    /// The library's memory, with the last file in it.
    output: OwnedBuf,
    /// Luma of a picture of odd size.
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

    /// Replaces what is in `into` by the JPEG.
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

/// The plane with its last sample and its last row twice where their number was odd.
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
