//! What the kernel knows about a viewer's connection, and the one option that bounds its queue.
//!
//! This file wraps calls that rustix does not have, and is the only file of the server with unsafe code. All
//! results are advisory: if a kernel or an emulator does not answer (qemu-user has no `TCP_INFO`), that means
//! 'nothing is queued' or 'no round trip', and delivery falls back to what the socket buffer takes.

#![allow(unsafe_code)]

use std::io;
use std::mem::{MaybeUninit, offset_of, size_of};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// How many unsent bytes the kernel accepts (`TCP_NOTSENT_LOWAT`, tcp(7)). The number is small, so that a frame for a
/// slow viewer waits here, where it is one shared file, and not in the kernel, where it is a copy per viewer. It is
/// large enough for a fast viewer's frame to go out in few calls.
///
/// `SO_SNDBUF` is left to the kernel. It also bounds the data that is not acknowledged, and so limits the rate to its
/// size divided by the round trip (16 KB at 20 ms: 6 Mbit/s). This option does not; [`queued`] together with
/// `crate::server::pacing` takes care of the data that is on its way.
const NOTSENT_LOWAT: libc::c_int = 16 * 1024;

/// The beginning of `struct tcp_info` (linux/tcp.h), up to the last member used here. The kernel copies as much of
/// its own, longer struct as there is room for; members are only ever added at its end.
#[repr(C)]
#[derive(Clone, Copy)]
struct TcpInfo {
    state_to_backoff: [u8; 5],
    options: u8,
    /// The window scales of the peer and of this machine, of four bits each.
    window_scales: u8,
    flags: u8,
    rto_to_ato: [u32; 2],
    snd_mss: u32,
    rcv_mss: u32,
    unacked: u32,
    /// Segments that arrived behind one that did not.
    sacked: u32,
    lost_to_last_data_recv: [u32; 6],
    /// Milliseconds since the last acknowledgement.
    last_ack_recv: u32,
    pmtu_to_rcv_space: [u32; 10],
    total_retrans: u32,
    pacing_rate: u64,
    max_pacing_rate: u64,
    bytes_acked: u64,
    bytes_received: u64,
    segs_out: u32,
    segs_in: u32,
    notsent_bytes: u32,
    min_rtt_us: u32,
    data_segs_to_rcv_ooopack: [u32; 19],
    /// From Linux 5.4 on.
    snd_wnd: u32,
}

const _: () = assert!(
    offset_of!(TcpInfo, last_ack_recv) == 56
        && offset_of!(TcpInfo, bytes_acked) == 120
        && offset_of!(TcpInfo, min_rtt_us) == 148
        && offset_of!(TcpInfo, snd_wnd) == 228
);

/// Bounds what the kernel queues unsent. Without this, the newest frame would wait behind megabytes of old ones.
pub(in crate::server) fn bound_unsent(socket: BorrowedFd<'_>) -> io::Result<()> {
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

/// What was handed to the socket and its peer has not acknowledged (TCP, in bytes) or read (unix, in bytes of the kernel's
/// memory, which are somewhat more): `SIOCOUTQ`, tcp(7) and unix(7). This is the cheapest query there is, as it takes no lock. It is made for every frame and viewer.
pub(in crate::server) fn queued(socket: BorrowedFd<'_>) -> Option<u64> {
    let mut queued: libc::c_int = 0;
    // SAFETY: this request writes one `c_int` to the pointer that it is given.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut queued) };
    (result == 0).then_some(queued.max(0) as u64)
}

/// The congestion control of a TCP socket (`TCP_CONGESTION`, tcp(7)); `None` of other sockets. rustix has this call too, but panics when there is no
/// NUL in the answer, as in that of qemu's user mode.
pub(in crate::server) fn congestion(socket: BorrowedFd<'_>) -> Option<String> {
    let mut name = [0_u8; 16]; // TCP_CA_NAME_MAX
    let mut len = name.len() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `name`, which has room for them.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_CONGESTION,
            name.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    let name = name.split(|byte| *byte == 0).next()?;
    (result == 0 && !name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned())
}

/// Times of a TCP connection.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::server) struct Times {
    /// The shortest round trip so far; zero if none has been measured yet.
    pub(super) min_rtt: Duration,
    /// How long ago the last acknowledgement came: in ticks of the kernel, which are 1 to 10 ms.
    pub(super) silent: Duration,
    /// The length of a full segment.
    pub(super) segment: u64,
    /// How much the peer takes beyond what it has acknowledged, where the kernel tells, and how much of that has arrived behind a gap.
    pub(super) window: Option<u64>,
    pub(super) behind_gap: u64,
    /// How many segments were sent again.
    pub(super) repeated: u32,
    /// The peer runs Linux: no other system has time stamps and a window scale of more than 6.
    pub(super) is_linux: bool,
}

#[cfg(test)]
impl Times {
    /// Of a peer with Linux, near by, that takes so much.
    pub(in crate::server) fn near(window: u64) -> Self {
        Times {
            window: Some(window),
            segment: 1448,
            is_linux: true,
            ..Times::default()
        }
    }
}

pub(super) fn times(socket: BorrowedFd<'_>) -> Option<Times> {
    let (info, len) = info(socket)?;
    let min_rtt = match info.min_rtt_us {
        u32::MAX => Duration::ZERO,
        micros => Duration::from_micros(micros.into()),
    };
    // The first of two bit-fields: `TCPI_OPT_TIMESTAMPS` is 1.
    let window_scale = if cfg!(target_endian = "little") {
        info.window_scales & 15
    } else {
        info.window_scales >> 4
    };
    Some(Times {
        min_rtt,
        segment: info.snd_mss.into(),
        window: (len >= size_of::<TcpInfo>()).then_some(info.snd_wnd.into()),
        behind_gap: u64::from(info.sacked) * u64::from(info.snd_mss),
        repeated: info.total_retrans,
        is_linux: info.options & 1 != 0 && window_scale > 6,
        silent: Duration::from_millis(info.last_ack_recv.into()),
    })
}

/// With how much of it the kernel has filled in.
fn info(socket: BorrowedFd<'_>) -> Option<(TcpInfo, usize)> {
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
    let len = len as usize;
    if result != 0 || len < offset_of!(TcpInfo, data_segs_to_rcv_ooopack) {
        return None;
    }
    // SAFETY: all zeroes is a value of this struct of integers, and the kernel filled it in up to `len`.
    Some((unsafe { info.assume_init() }, len))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::thread::sleep;
    use std::time::Instant;

    use super::*;

    #[test]
    fn what_a_peer_has_not_acknowledged_is_queued() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut socket, _) = listener.accept().unwrap();
        bound_unsent(socket.as_fd()).unwrap();
        socket.write_all(&[0; 5000]).unwrap();
        client.read_exact(&mut [0; 5000]).unwrap();
        let Some(Times { min_rtt, .. }) = times(socket.as_fd()) else {
            eprintln!("SKIPPED: this kernel or emulator has no TCP_INFO");
            return;
        };
        assert!(min_rtt < Duration::from_secs(5));
        let patience = Instant::now() + Duration::from_secs(5);
        while queued(socket.as_fd()).unwrap() > 0 {
            assert!(Instant::now() < patience, "never acknowledged");
            sleep(Duration::from_millis(1));
        }
        // More than the peer's buffer takes, so the rest stays here.
        socket.set_nonblocking(true).unwrap();
        let mut written = 0;
        while let Ok(n) = socket.write(&[0; 65536]) {
            written += n;
        }
        assert!((1..=written as u64).contains(&queued(socket.as_fd()).unwrap()));
    }

    /// Fills a connection whose peer reads nothing, and says how much of it was not even sent.
    fn unsent(listener: &TcpListener) -> Option<u32> {
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut socket, _) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        while socket.write(&[0; 4096]).is_ok() {}
        Some(info(socket.as_fd())?.0.notsent_bytes)
    }

    #[test]
    fn the_bound_of_a_listener_is_that_of_its_connections() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let Some(before) = unsent(&listener) else {
            eprintln!("SKIPPED: this kernel or emulator has no TCP_INFO");
            return;
        };
        bound_unsent(listener.as_fd()).unwrap();
        let bounded = unsent(&listener).unwrap();
        assert!(bounded < before / 2, "{bounded} of {before}");
    }

    #[test]
    fn what_a_unix_peer_has_not_read_is_queued() {
        let (mut socket, mut client) = UnixStream::pair().unwrap();
        socket.write_all(&[0; 5000]).unwrap();
        let Some(waiting) = queued(socket.as_fd()) else {
            eprintln!("SKIPPED: this emulator has no SIOCOUTQ");
            return;
        };
        assert!(waiting >= 5000);
        client.read_exact(&mut [0; 5000]).unwrap();
        assert_eq!(queued(socket.as_fd()).unwrap(), 0);
    }
}
