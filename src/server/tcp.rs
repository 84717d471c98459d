//! What the kernel knows of a viewer's connection, and the one option that bounds its queue.
//!
//! The border to three calls that rustix does not have; the only file of the server with unsafe code.
//! All of it is advice: a kernel or an emulator that does not answer (qemu-user has no `TCP_INFO`)
//! makes [`Path`] say 'nothing is queued', and delivery falls back to what the socket buffer takes.

#![allow(unsafe_code)]

use std::io;
use std::mem::{MaybeUninit, offset_of, size_of};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use super::pacing::Path;

/// Bytes that the kernel accepts before it has sent what it has (`TCP_NOTSENT_LOWAT`, tcp(7)). Small, so
/// that a frame for a slow viewer waits here, where it is one shared file, and not in the kernel, where it is a
/// copy per viewer; large enough that a fast viewer's frame goes out in few calls.
const NOTSENT_LOWAT: libc::c_int = 16 * 1024;

/// The head of `struct tcp_info` (linux/tcp.h), to the last member used here. The kernel copies as much of its
/// own, longer one as there is room for; members are only ever added at its end.
#[repr(C)]
#[derive(Clone, Copy)]
struct TcpInfo {
    state_to_flags: [u8; 8],
    rto_to_total_retrans: [u32; 24],
    pacing_rate: u64,
    max_pacing_rate: u64,
    bytes_acked: u64,
    bytes_received: u64,
    segs_out: u32,
    segs_in: u32,
    notsent_bytes: u32,
    min_rtt_us: u32,
}

const _: () =
    assert!(offset_of!(TcpInfo, bytes_acked) == 120 && offset_of!(TcpInfo, min_rtt_us) == 148);

/// Bounds what the kernel queues unsent. Without it the newest frame would wait behind megabytes of old
/// ones.
pub(super) fn bound_unsent(socket: BorrowedFd<'_>) -> io::Result<()> {
    let lowat = NOTSENT_LOWAT;
    // SAFETY: the descriptor is borrowed for the call; pointer and length describe a live `c_int`.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_NOTSENT_LOWAT,
            (&raw const lowat).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The state of a TCP path to which `written` bytes were handed since the connection was accepted.
pub(super) fn tcp_path(socket: BorrowedFd<'_>, written: u64) -> Option<Path> {
    let mut info = MaybeUninit::<TcpInfo>::zeroed();
    let mut len = size_of::<TcpInfo>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `info`, which has room for them.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if result != 0 || (len as usize) < size_of::<TcpInfo>() {
        return None;
    }
    // SAFETY: all zeroes is a value of this struct of integers, and the kernel filled it in up to `len`.
    let info = unsafe { info.assume_init() };
    Some(Path {
        queued: written.saturating_sub(info.bytes_acked),
        rate: None,
        // The kernel says ~0 until it has measured one.
        min_rtt: match info.min_rtt_us {
            u32::MAX => Duration::ZERO,
            micros => Duration::from_micros(micros.into()),
        },
    })
}

/// The state of a unix socket: only how much its peer has not read yet (`SIOCOUTQ`, unix(7)).
pub(super) fn unix_path(socket: BorrowedFd<'_>) -> Option<Path> {
    let mut queued: libc::c_int = 0;
    // SAFETY: this request writes one `c_int` to the pointer that it is given.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut queued) };
    (result == 0).then(|| Path {
        queued: queued.max(0) as u64,
        rate: None,
        min_rtt: Duration::ZERO,
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn what_a_peer_has_not_acknowledged_is_queued() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut socket, _) = listener.accept().unwrap();
        bound_unsent(socket.as_fd()).unwrap();
        socket.write_all(&[0; 5000]).unwrap();
        peer.read_exact(&mut [0; 5000]).unwrap();
        let Some(path) = tcp_path(socket.as_fd(), 5000) else {
            eprintln!("SKIPPED: this kernel or emulator has no TCP_INFO");
            return;
        };
        assert_eq!(path.queued, 0);
        let claimed = tcp_path(socket.as_fd(), 5700).unwrap();
        assert_eq!(claimed.queued, 700);
        assert!(path.min_rtt < Duration::from_secs(10));
    }

    #[test]
    fn what_a_unix_peer_has_not_read_is_queued() {
        let (mut socket, mut peer) = UnixStream::pair().unwrap();
        socket.write_all(&[0; 5000]).unwrap();
        let Some(path) = unix_path(socket.as_fd()) else {
            eprintln!("SKIPPED: this emulator has no SIOCOUTQ");
            return;
        };
        assert!(path.queued >= 5000);
        peer.read_exact(&mut [0; 5000]).unwrap();
        assert_eq!(unix_path(socket.as_fd()).unwrap().queued, 0);
    }
}
