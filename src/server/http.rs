//! HTTP: bytes to a request, a request to a resource, an answer to bytes. No socket, no camera and no timer here.

pub mod cors;
pub mod exchange;
mod fields;
mod framing;
pub mod hosts;
pub(in crate::server) mod page;
pub mod part;
pub mod preconditions;
pub mod quirks;
pub mod request;
pub mod response;
pub mod route;
pub mod status;
mod target;
