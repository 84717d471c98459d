//! What is encoded: planes of samples, each a row of rows.

/// The rows of samples of one component.
#[derive(Clone, Copy)]
pub(in crate::picture) struct Plane<'a> {
    pub(in crate::picture) bytes: &'a [u8],
    pub(in crate::picture) stride: usize,
    pub(in crate::picture) width: usize,
}

impl<'a> Plane<'a> {
    /// `height` rows of `width` samples, with each row `stride` bytes after the previous one; `None` if there are too
    /// few bytes. The last row need not be padded to the stride. Coders in C count strides in `int`.
    fn new(bytes: &'a [u8], stride: usize, width: usize, height: usize) -> Option<Self> {
        let needed = stride.checked_mul(height - 1)?.checked_add(width)?;
        let fits = stride >= width && bytes.len() >= needed && i32::try_from(stride).is_ok();
        fits.then_some(Plane {
            bytes,
            stride,
            width,
        })
    }

    pub(in crate::picture) fn row(&self, y: usize) -> &'a [u8] {
        &self.bytes[y * self.stride..][..self.width]
    }
}

/// A picture in planar YCbCr 4:2:0. The chroma planes have half the width and height, rounded up.
#[derive(Clone, Copy)]
pub struct Planes<'a> {
    pub(in crate::picture) width: u16,
    pub(in crate::picture) height: u16,
    pub(in crate::picture) luma: Plane<'a>,
    pub(in crate::picture) chroma: [Plane<'a>; 2],
}

impl<'a> Planes<'a> {
    /// Width and height in pixels.
    pub(crate) fn size(&self) -> (u16, u16) {
        (self.width, self.height)
    }

    /// Y, Cb and Cr, each with its stride in bytes; `None` if a plane is too short for the size in pixels, or if the
    /// size is 0.
    pub fn new(
        (width, height): (u16, u16),
        y: (&'a [u8], usize),
        cb: (&'a [u8], usize),
        cr: (&'a [u8], usize),
    ) -> Option<Self> {
        if width == 0 || height == 0 {
            return None;
        }
        let (w, h) = (usize::from(width), usize::from(height));
        let chroma = |(bytes, stride)| Plane::new(bytes, stride, w.div_ceil(2), h.div_ceil(2));
        Some(Planes {
            width,
            height,
            luma: Plane::new(y.0, y.1, w, h)?,
            chroma: [chroma(cb)?, chroma(cr)?],
        })
    }
}
