//! The calls that serving a client takes of its socket, and nothing else of it: what decides about them is tried over lines that the test plays.

use std::io::IoSlice;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::fs::sendfile;
use rustix::io::{Errno, Result};
use rustix::net::{
    RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, recv, send, sendmsg, shutdown,
};

use super::tcp;
use super::tcp::Times;
use crate::frames::frame::Frame;
use crate::server::connection::outbox::{FilePart, Output};
use crate::time::clock::spent;

/// A stream socket that never blocks.
pub(in crate::server) trait Wire {
    /// Reads once; 0 is the end of what the peer sends.
    fn receive(&self, scratch: &mut [u8]) -> Result<usize>;
    /// Sends as much as the system takes, and says how much that was. If there is a `copy` of the file, that is sent, with
    /// all else in one call. Otherwise it takes one call for each piece: `send`, `sendfile`, `send`.
    fn send(&self, output: Output<'_, Frame>, copy: Option<&[u8]>) -> Result<usize>;
    /// Ends what we send.
    fn shut_down(&self);
    /// What was handed over and has not arrived, if that is known ([`tcp::queued`]).
    fn queued(&self) -> Option<u64>;
    /// Times of a TCP connection.
    fn times(&self) -> Option<Times> {
        None
    }
    /// How long this thread has been on a processor.
    fn spent(&self) -> Duration {
        Duration::ZERO
    }
}

impl Wire for OwnedFd {
    fn receive(&self, scratch: &mut [u8]) -> Result<usize> {
        recv(self, scratch, RecvFlags::empty()).map(|(_, n)| n)
    }

    fn send(&self, output: Output<'_, Frame>, copy: Option<&[u8]>) -> Result<usize> {
        let Output { head, file, tail } = output;
        let Some(part) = file else {
            let bytes = if head.is_empty() { tail } else { head };
            return send(self, bytes, SendFlags::NOSIGNAL);
        };
        // Never more or less than was promised, even if somebody wrote into the file between two looks at it.
        let rest = part.offset as usize..(part.offset + part.len) as usize;
        match copy.and_then(|copy| copy.get(rest)) {
            Some(copy) => send_at_once(self, [head, copy, tail]),
            None => send_file(self, head, &part, tail),
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

    fn spent(&self) -> Duration {
        // What one call costs is a difference within a turn.
        spent()
    }
}

fn send_at_once(socket: &OwnedFd, pieces: [&[u8]; 3]) -> Result<usize> {
    let slices = pieces.map(IoSlice::new);
    let mut control = SendAncillaryBuffer::default();
    sendmsg(socket, &slices, &mut control, SendFlags::NOSIGNAL)
}

/// Goes on until the system takes less than all.
fn send_file(
    socket: &OwnedFd,
    head: &[u8],
    part: &FilePart<'_, Frame>,
    tail: &[u8],
) -> Result<usize> {
    let mut sent = 0;
    if !head.is_empty() {
        // The file follows at once, so the kernel need not send a small segment for the head alone.
        sent = send(socket, head, SendFlags::NOSIGNAL | SendFlags::MORE)?;
        if sent < head.len() {
            return Ok(sent);
        }
    }
    let len = usize::try_from(part.len).unwrap_or(usize::MAX);
    let mut offset = part.offset;
    sent += match sendfile(socket, part.file, Some(&mut offset), len) {
        // Somebody wrote into a published frame and shortened it. The promised length cannot be sent.
        Ok(0) => return Err(Errno::IO),
        result => unless_later(result, sent)?,
    };
    if offset == part.offset + part.len && !tail.is_empty() {
        sent += unless_later(send(socket, tail, SendFlags::NOSIGNAL), sent)?;
    }
    Ok(sent)
}

/// A call that may work later has sent nothing, if others before it have sent something.
fn unless_later(result: Result<usize>, before: usize) -> Result<usize> {
    match result {
        Err(Errno::AGAIN | Errno::INTR | Errno::NOBUFS | Errno::NOMEM) if before > 0 => Ok(0),
        result => result,
    }
}
