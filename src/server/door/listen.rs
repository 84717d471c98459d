//! Listening sockets, which are created here or passed by the service manager, and the three ways in which accepting
//! can fail.
//!
//! A connection that was aborted before it was accepted is not a failure, unless this happens again and again. A lack
//! of descriptors or memory is a failure: the listener then *rests* for a moment instead of being notified of the
//! same waiting connection for ever. Only errors that say that the descriptor is no listener end the server.
//!
//! The file of a Unix socket stays when the server ends, as those of the service manager do (systemd.socket(5),
//! `RemoveOnStop=`), and the next server replaces it. To remove it, a server that has talked to strangers would need the
//! right to remove whatever lies beside it: Landlock grants that for whole directories only.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, acceptfrom_with, bind, listen, sockopt,
};

use crate::error::{Context, Error, Result};
use crate::event::{Registration, stream_socket};
use crate::server::client::{make_nonblocking, prepare};
use crate::server::client_id::{Remote, is_unix};

/// How many connections the kernel keeps for us until we accept them. The kernel reduces this to its own limit.
const BACKLOG: i32 = 1024;

/// Errors of accept(2) that can never pass, because the descriptor is no listening socket. All others may: the network
/// errors of a new connection are reported as its own, and a firewall or a security module may refuse with whatever it
/// likes (EPERM, EACCES).
const BROKEN: [Errno; 4] = [Errno::BADF, Errno::FAULT, Errno::INVAL, Errno::NOTSOCK];

/// How long a server may take from creating the file of its socket until it listens on it. Connections are refused in
/// between, as they are when no server runs.
const STARTING: Duration = Duration::from_secs(2);

/// How often a socket is tried in that time.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// An address to listen on, as given to `--listen`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A port on all addresses, IPv4 and IPv6.
    Port(u16),
    /// The name or address of a host, and a port.
    Host(String),
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = String;

    /// Accepts `8080`, `:8080`, `*:8080` (all addresses), `127.0.0.1:8080`, `[::1]:8080`, `name:8080`, `/path`,
    /// `unix:/path`.
    fn from_str(text: &str) -> Result<Self, String> {
        let path = text.strip_prefix("unix:").unwrap_or(text);
        if path.starts_with('/') {
            return Ok(Address::Unix(path.into()));
        }
        let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
        let port: u16 = port
            .parse()
            .map_err(|_| format!("'{text}' is no PORT, ADDRESS:PORT or /PATH"))?;
        match host {
            "" | "*" | "[::]" => Ok(Address::Port(port)),
            _ => Ok(Address::Host(text.to_owned())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Port(port) => write!(f, "port {port}"),
            Address::Host(host) => f.write_str(host),
            Address::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A socket that accepts connections.
#[derive(Debug)]
pub(in crate::server) struct Listener {
    socket: OwnedFd,
    pub(in crate::server) registration: Option<Registration>,
    /// Its name in messages.
    name: String,
    pub(in crate::server) is_unix: bool,
    /// Some of those who wait may have come before it was prepared.
    has_early_ones: bool,
    /// No password is required on this socket.
    pub(in crate::server) open: bool,
}

/// Whether this address is free, as far as can be told without keeping it.
pub fn can_listen(address: &Address) -> bool {
    Listener::bind(address).is_ok()
}

/// The result of accepting.
pub(in crate::server) enum Accepted {
    /// A connection, set to non-blocking mode, and its other end.
    Connection(OwnedFd, Remote),
    /// No connection is waiting.
    None,
    /// The connection was aborted or is not allowed; the next one may succeed.
    Failed(Errno),
    /// There is no descriptor or no memory for it at the moment.
    Exhausted(Errno),
}

impl Listener {
    fn over(socket: OwnedFd, name: String) -> Self {
        Listener {
            is_unix: is_unix(&socket),
            socket,
            has_early_ones: false,
            registration: None,
            name,
            open: false,
        }
    }

    /// Takes over a socket that is already listening. What TCP connections need is set on it once: they have it from the
    /// socket that they come to (Linux `sk_clone_lock`), so that they cost no call for it. Whoever came before, such as the
    /// one for whom the service manager has started this process, has not.
    pub(in crate::server) fn inherited(socket: OwnedFd, name: String) -> Result<Self> {
        make_nonblocking(&socket)
            .doing(|| format!("set the inherited socket {name} to non-blocking"))?;
        let mut listener = Listener::over(socket, name);
        if !listener.is_unix {
            prepare(&listener.socket);
            listener.has_early_ones = true;
        }
        Ok(listener)
    }

    /// Creates the sockets that `address` names. There may be several, because a host may have several addresses.
    pub(in crate::server) fn bind(address: &Address) -> Result<Vec<Self>> {
        match address {
            Address::Unix(path) => Ok(vec![Self::bind_unix(path)?]),
            Address::Port(port) => Ok(vec![Self::bind_any(*port)?]),
            Address::Host(host) => {
                let addresses = host
                    .to_socket_addrs()
                    .doing(|| format!("find the address {host}"))?;
                addresses
                    .map(|address| Self::bind_tcp(address, true))
                    .collect()
            }
        }
    }

    /// One socket for both IPv4 and IPv6; IPv4 alone on a system without IPv6.
    fn bind_any(port: u16) -> Result<Self> {
        let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        match Self::bind_tcp(both, false) {
            Err(Error::Io { source, .. })
                if [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL]
                    .map(|errno| Some(errno.raw_os_error()))
                    .contains(&source.raw_os_error()) =>
            {
                Self::bind_tcp(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)), false)
            }
            bound => bound,
        }
    }

    fn bind_tcp(address: SocketAddr, v6only: bool) -> Result<Self> {
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let open = || -> io::Result<OwnedFd> {
            let socket = stream_socket(family)?;
            sockopt::set_socket_reuseaddr(&socket, true)?;
            if family == AddressFamily::INET6 {
                sockopt::set_ipv6_v6only(&socket, v6only)?;
            }
            prepare(&socket);
            bind(&socket, &address)?;
            listen(&socket, BACKLOG)?;
            Ok(socket)
        };
        let socket = match open() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                let port = address.port();
                return Err(Error::Busy(format!(
                    "cannot listen on {address}: another program does (`ss -ltnp 'sport = :{port}'` names it); \
                     --listen takes another port"
                )));
            }
            opened => opened.doing(|| format!("listen on {address}"))?,
        };
        let name = rustix::net::getsockname(&socket)
            .ok()
            .and_then(|bound| SocketAddr::try_from(bound).ok())
            .unwrap_or(address)
            .to_string();
        Ok(Listener::over(socket, name))
    }

    fn bind_unix(path: &Path) -> Result<Self> {
        remove_stale(path)?;
        let open = || -> io::Result<OwnedFd> {
            let socket = stream_socket(AddressFamily::UNIX)?;
            bind(&socket, &SocketAddrUnix::new(path)?)?;
            listen(&socket, BACKLOG)?;
            Ok(socket)
        };
        let socket = open().doing(|| format!("listen on {}", path.display()))?;
        let name = path.display().to_string();
        Ok(Listener::over(socket, name))
    }

    /// The same, on which a password is required or not.
    pub(in crate::server) fn opened(mut self, open: bool) -> Self {
        self.open = open;
        self
    }

    pub(in crate::server) fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    pub(in crate::server) fn name(&self) -> &str {
        &self.name
    }

    /// The TCP address, if it has one.
    pub(in crate::server) fn address(&self) -> Option<SocketAddr> {
        let bound = rustix::net::getsockname(&self.socket).ok()?;
        SocketAddr::try_from(bound).ok()
    }

    /// The other end is asked for in the same call, and its kind is that of this socket: a connection that has been reset
    /// by now is a stranger's nevertheless.
    pub(in crate::server) fn accept(&mut self) -> Result<Accepted> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        match acceptfrom_with(&self.socket, flags) {
            Ok((socket, _)) if self.is_unix => Ok(Accepted::Connection(socket, Remote::Unix)),
            Ok((socket, address)) => {
                if self.has_early_ones {
                    prepare(&socket);
                }
                Ok(match address.and_then(Remote::of_peer) {
                    Some(remote) => Accepted::Connection(socket, remote),
                    None => Accepted::Failed(Errno::CONNABORTED),
                })
            }
            Err(Errno::AGAIN) => {
                self.has_early_ones = false;
                Ok(Accepted::None)
            }
            Err(errno @ (Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) => {
                Ok(Accepted::Exhausted(errno))
            }
            Err(errno) if BROKEN.contains(&errno) => {
                Err(errno).doing(|| format!("accept on {}", self.name))
            }
            Err(errno) => Ok(Accepted::Failed(errno)),
        }
    }
}

/// Removes the socket of a server that no longer runs, which shows by nobody answering on it. A file that is new may
/// belong to a server that is just starting, so it is given some time to answer.
fn remove_stale(path: &Path) -> Result<()> {
    // The loop, whose turn has a time, begins after this.
    let start = Instant::now();
    while let Some(age) = age_if_refused(path) {
        // A clock that jumps makes nobody wait for longer.
        if age >= STARTING || start.elapsed() >= STARTING {
            return std::fs::remove_file(path)
                .doing(|| format!("remove the stale socket {}", path.display()));
        }
        thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}

/// How long ago the file of a socket was created on which nobody answers.
fn age_if_refused(path: &Path) -> Option<Duration> {
    let about = std::fs::symlink_metadata(path).ok()?;
    let refused = about.file_type().is_socket()
        && UnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    let created = UNIX_EPOCH + Duration::from_secs(u64::try_from(about.ctime()).unwrap_or(0));
    refused.then(|| {
        SystemTime::now()
            .duration_since(created)
            .unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(listener: &mut Listener) -> (OwnedFd, Remote) {
        loop {
            match listener.accept().unwrap() {
                Accepted::Connection(socket, remote) => return (socket, remote),
                _ => thread::yield_now(),
            }
        }
    }

    #[test]
    fn a_connection_has_what_its_listener_was_prepared_with_and_the_address_of_its_peer() {
        let address = Address::Host("127.0.0.1:0".into());
        let mut listener = Listener::bind(&address).unwrap().remove(0);
        let _peer = std::net::TcpStream::connect(listener.address().unwrap()).unwrap();
        let (socket, remote) = accepted(&mut listener);
        assert_eq!(remote, Remote::V4([127, 0, 0, 1]));
        assert!(sockopt::tcp_nodelay(&socket).unwrap());
    }

    #[test]
    fn who_came_before_the_server_has_the_same_as_who_comes_later() {
        let inherited = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = inherited.local_addr().unwrap();
        let _early = std::net::TcpStream::connect(address).unwrap();
        let mut listener = Listener::inherited(inherited.into(), "3".into()).unwrap();
        assert!(sockopt::tcp_nodelay(accepted(&mut listener).0).unwrap());
        while !matches!(listener.accept().unwrap(), Accepted::None) {}
        let _late = std::net::TcpStream::connect(address).unwrap();
        assert!(sockopt::tcp_nodelay(accepted(&mut listener).0).unwrap());
    }

    #[test]
    fn addresses_are_ports_hosts_or_paths() {
        for (text, expected) in [
            ("8080", Address::Port(8080)),
            (":8080", Address::Port(8080)),
            ("*:8080", Address::Port(8080)),
            ("[::]:8080", Address::Port(8080)),
            ("127.0.0.1:1", Address::Host("127.0.0.1:1".into())),
            ("[::1]:1", Address::Host("[::1]:1".into())),
            ("/run/x.sock", Address::Unix("/run/x.sock".into())),
            ("unix:/run/x.sock", Address::Unix("/run/x.sock".into())),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for bad in ["", "host", "host:", "host:99999", "x:y"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
