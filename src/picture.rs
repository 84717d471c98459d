//! Pictures that lazycam draws itself: the test pattern, and what a stream shows when its camera is lost.
//!
//! Both halves draw, but they do not use each other, so the code that draws and encodes is in this common module.

pub(crate) mod canvas;
pub mod encode;
