//! Cameras, and what makes their frames JPEGs.

pub mod encode;
pub mod pattern;
pub mod source;
pub mod split;
pub mod stamp;
pub mod stdin;
