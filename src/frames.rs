//! The frame directory: how a frame travels from the side that makes it to the side that sends it.

pub mod jpeg;
