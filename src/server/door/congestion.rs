//! Which congestion control TCP connections have (`TCP_CONGESTION`, tcp(7)).
//!
//! BBR estimates rate and round trip, and sends at that rate; cubic and Reno halve theirs at each loss, which on a line
//! that loses packets by nature (radio) leaves most of it idle: docs/performance.md. So BBR is asked for where the kernel
//! has it. The option is set on listeners, and accepted sockets have it from there (Linux `tcp_ca_openreq_child`), so a
//! connection costs no call. A route with an algorithm of its own (`congctl`, ip-route(8)) outranks both.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::str::FromStr;

use log::{info, warn};
use rustix::io::Errno;
use rustix::net::sockopt::set_tcp_congestion;

use crate::server::client::congestion;
use crate::server::client_id::is_unix;

/// What is asked for unless something else is.
const PREFERRED: &str = "bbr";

/// What `--congestion` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Congestion {
    /// BBR if it can be had.
    #[default]
    Preferred,
    /// What the sockets have already.
    System,
    /// This algorithm, in the kernel's words.
    Named(String),
}

impl FromStr for Congestion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The kernel's names have up to 15 bytes (`TCP_CA_NAME_MAX`).
        let is_name = |text: &str| {
            let letters = text.bytes().all(|byte| byte.is_ascii_graphic());
            letters && (1..16).contains(&text.len())
        };
        match text {
            "system" => Ok(Congestion::System),
            name if is_name(name) => Ok(Congestion::Named(name.to_owned())),
            _ => Err("this is neither 'system' nor the name of an algorithm".into()),
        }
    }
}

impl Congestion {
    /// Sets it on sockets of which some may be unix sockets, and says in the log what the TCP sockets among them have. Without
    /// the algorithm a server serves all the same.
    pub(super) fn set<'a>(&self, sockets: impl Iterator<Item = &'a OwnedFd>) {
        let name = match self {
            Congestion::Preferred => Some(PREFERRED),
            Congestion::System => None,
            Congestion::Named(name) => Some(name.as_str()),
        };
        let mut has = None;
        let mut failed = None;
        for socket in sockets {
            let Some(before) = congestion(socket.as_fd()).filter(|_| !is_unix(socket)) else {
                continue;
            };
            let set = name.map_or(Ok(()), |name| set_tcp_congestion(socket, name));
            failed = failed.or(set.err());
            has = Some(congestion(socket.as_fd()).unwrap_or(before));
        }
        let Some(has) = has else {
            return;
        };
        match (name, failed) {
            (Some(name), Some(errno)) => {
                let why = Refused(name, errno);
                if *self == Congestion::Preferred {
                    info!("congestion control of TCP: {has}, as {why}");
                } else {
                    warn!("congestion control of TCP: {has}, as {why}");
                }
            }
            _ => info!("congestion control of TCP: {has}"),
        }
    }
}

/// Why an algorithm cannot be had, and what helps.
struct Refused<'a>(&'a str, Errno);

impl fmt::Display for Refused<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refused(name, errno) = self;
        match *errno {
            // A module is loaded by itself only for those who are root.
            Errno::NOENT => write!(
                f,
                "the kernel has no {name}; if it is a module, modprobe tcp_{name} loads it"
            ),
            Errno::PERM => write!(
                f,
                "only root may use {name}, unless it is added to net.ipv4.tcp_allowed_congestion_control"
            ),
            errno => write!(f, "{name} cannot be set: {errno}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn what_is_set_on_a_listener_is_that_of_its_connections() {
        let listener = OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
        let Some(before) = congestion(listener.as_fd()) else {
            eprintln!("SKIPPED: this emulator has no TCP_CONGESTION");
            return;
        };
        // Every kernel has it, and everybody may use it.
        let reno: Congestion = "reno".parse().unwrap();
        let accepts = |listener: &TcpListener| {
            let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            congestion(listener.accept().unwrap().0.as_fd()).unwrap()
        };
        Congestion::System.set([&listener].into_iter());
        assert_eq!(congestion(listener.as_fd()).unwrap(), before);
        "nonesuch"
            .parse::<Congestion>()
            .unwrap()
            .set([&listener].into_iter());
        assert_eq!(congestion(listener.as_fd()).unwrap(), before);
        reno.set([&listener].into_iter());
        assert_eq!(accepts(&TcpListener::from(listener)), "reno");
    }

    #[test]
    fn a_name_is_what_the_kernel_can_take() {
        assert_eq!("system".parse(), Ok(Congestion::System));
        assert_eq!("cubic".parse(), Ok(Congestion::Named("cubic".into())));
        for bad in ["", "c ubic", "sixteen-letters-"] {
            assert!(bad.parse::<Congestion>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_refusal_says_what_helps() {
        let said = |errno| Refused("bbr", errno).to_string();
        assert!(said(Errno::NOENT).contains("modprobe tcp_bbr"));
        assert!(said(Errno::PERM).contains("tcp_allowed_congestion_control"));
        assert_eq!(
            said(Errno::NOPROTOOPT),
            format!("bbr cannot be set: {}", Errno::NOPROTOOPT)
        );
    }
}
