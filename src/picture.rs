//! What a picture is: JPEG as bytes, pixels as cameras pack them, drawing and encoding. It knows no camera, no frame
//! directory and no client.
//!
//! | module | does |
//! | --- | --- |
//! | [`jpeg`] | what makes bytes a JPEG: SOI, chain of markers, EOI |
//! | `mjpeg` | a camera's MJPEG buffer becomes a JPEG |
//! | [`split`] | a stream of JPEGs becomes single ones |
//! | `pixels` | raw formats become planes |
//! | `canvas` | draws: the test pattern, and what a stream shows when its camera is lost |
//! | [`encode`] | planes become a JPEG |

pub(crate) mod canvas;
pub mod encode;
pub mod jpeg;
pub(crate) mod mjpeg;
pub(crate) mod pixels;
pub mod split;
