//! What a picture is: JPEG as bytes, pixels as cameras pack them, drawing and encoding. It knows no camera, no frame
//! directory and no client.
//!
//! | module | does |
//! | --- | --- |
//! | [`jpeg`] | what makes bytes a JPEG: SOI, chain of markers, EOI |
//! | `mjpeg` | a camera's MJPEG buffer becomes a JPEG |
//! | [`split`] | a stream of JPEGs becomes single ones |
//! | `walk` | where in bytes the frames are, for both |
//! | `pixels` | raw formats become planes |
//! | `canvas` | draws: the test pattern, and what a stream shows when its camera is lost |
//! | `develop` | a camera's buffer, raw or MJPEG, becomes a JPEG |
//! | [`encode`] | planes become a JPEG |
//! | [`turn`] | a picture is rotated or mirrored, raw or as a JPEG |
//! | [`mod@format`] | codes, sizes and layouts of pixel formats |

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

pub(crate) mod canvas;
pub(crate) mod develop;
pub mod encode;
pub mod format;
pub mod jpeg;
pub mod mjpeg;
pub(crate) mod pixels;
pub mod split;
pub mod turn;
pub(crate) mod walk;

/// What [`largest`] is in bytes unless [`limit_frames`] has said otherwise: 32 MiB. A picture of 16 megapixels at full
/// quality has about 16 MiB.
pub const LARGEST: u64 = 32 << 20;

static LIMIT: AtomicUsize = AtomicUsize::new(LARGEST as usize);

/// What is longer than this many bytes is not a frame. It is one number for the whole process, set before anything is
/// read, since each of a dozen places that take bytes for pictures must hold to the same.
pub fn largest() -> usize {
    LIMIT.load(Relaxed)
}

/// Sets what [`largest`] says.
pub fn limit_frames(bytes: usize) {
    LIMIT.store(bytes, Relaxed);
}
