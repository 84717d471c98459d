//! The calls that serving a client takes of its socket, and nothing else of it: what decides about them is tried over lines that the test plays.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::sendfile;
use rustix::io::{Errno, Result};
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};

use super::tcp;
use super::tcp::Times;
use crate::frames::frame::Frame;
use crate::server::connection::outbox::Output;

/// A stream socket that never blocks.
pub(in crate::server) trait Wire {
    /// Reads once; 0 is the end of what the peer sends.
    fn receive(&self, scratch: &mut [u8]) -> Result<usize>;
    /// Makes one call: `send` for bytes, `sendfile` for a frame.
    fn send(&self, output: Output<'_, Frame>) -> Result<usize>;
    /// Ends what we send.
    fn shut_down(&self);
    /// What was handed over and has not arrived, if that is known ([`tcp::queued`]).
    fn queued(&self) -> Option<u64>;
    /// Times of a TCP connection.
    fn times(&self) -> Option<Times> {
        None
    }
}

impl Wire for OwnedFd {
    fn receive(&self, scratch: &mut [u8]) -> Result<usize> {
        recv(self, scratch, RecvFlags::empty()).map(|(_, n)| n)
    }

    fn send(&self, output: Output<'_, Frame>) -> Result<usize> {
        match output {
            Output::Bytes { bytes, more } => {
                let more = if more {
                    SendFlags::MORE
                } else {
                    SendFlags::empty()
                };
                send(self, bytes, SendFlags::NOSIGNAL | more)
            }
            Output::File { file, offset, len } => {
                let mut offset = offset;
                let len = usize::try_from(len).unwrap_or(usize::MAX);
                match sendfile(self, file, Some(&mut offset), len)? {
                    // Somebody wrote into a published frame and shortened it. The promised length cannot be sent.
                    0 => Err(Errno::IO),
                    n => Ok(n),
                }
            }
        }
    }

    fn shut_down(&self) {
        // If the peer is already gone, there is nobody to tell.
        let _ = shutdown(self, Shutdown::Write);
    }

    fn queued(&self) -> Option<u64> {
        tcp::queued(self.as_fd())
    }

    fn times(&self) -> Option<Times> {
        tcp::times(self.as_fd())
    }
}
