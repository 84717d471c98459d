//! Two calls that rustix does not have: one makes a tun device, one says what a socket's peer has not acknowledged.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, open as open_file};
use rustix::ioctl::{Getter, Opcode, Setter, ioctl, opcode};

/// `struct ifreq` (netdevice(7)), with the flags of the device.
#[repr(C)]
struct Request {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

/// `TUNSETIFF`, and its flags for IP packets with nothing before them (linux/if_tun.h).
const TUNSETIFF: Opcode = opcode::write::<libc::c_int>(b'T', 202);
const IFF_TUN: u16 = 0x0001;
const IFF_NO_PI: u16 = 0x1000;

/// Makes a device in the calling thread's network namespace. It is gone when its descriptor is closed.
pub(crate) fn open_tun(name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let device = open_file("/dev/net/tun", flags, Mode::empty())?;
    let mut request = Request {
        name: [0; 16],
        flags: IFF_TUN | IFF_NO_PI,
        rest: [0; 22],
    };
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    // SAFETY: this request reads a `struct ifreq`, to which the pointer points, and writes none but its name.
    unsafe { ioctl(&device, Setter::<TUNSETIFF, Request>::new(request)) }?;
    Ok(device)
}

/// Bytes that a TCP socket was given and that its peer has not acknowledged: `SIOCOUTQ`, tcp(7).
pub(crate) fn unacknowledged(socket: impl AsFd) -> io::Result<u64> {
    const SIOCOUTQ: Opcode = libc::TIOCOUTQ as Opcode;
    // SAFETY: this request writes one `int` to the pointer that it is given.
    let bytes = unsafe { ioctl(socket, Getter::<SIOCOUTQ, libc::c_int>::new()) }?;
    Ok(u64::try_from(bytes).unwrap_or(0))
}
