//! Pictures that lazycam draws itself: the test pattern, and what a stream shows when its camera is lost.
//!
//! Both halves draw, and they do not use each other; so what draws and encodes is theirs in common.

pub(crate) mod canvas;
pub mod encode;
