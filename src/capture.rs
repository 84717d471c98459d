//! Cameras, and what makes their frames JPEGs.

pub mod encode;
//pattern
pub mod source;
//split
pub mod stamp;
//stdin
