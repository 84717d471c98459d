//! The addresses under which a server that was just started can be opened, for the one line that people look for.
//!
//! A socket on all addresses is reached by the name of the machine and by the address that it uses towards the rest of
//! the network. That address is found by asking the kernel for a route (connect(2) on a UDP socket sends nothing), and
//! the name is told with `.local` where Avahi runs, which makes it known under that. Whether a router or a firewall is
//! in between cannot be known here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;

/// Exists while Avahi runs (avahi-daemon(8)).
const AVAHI: &str = "/run/avahi-daemon/socket";

/// Addresses for documentation (RFC 5737, RFC 3849), to which the way is that to anywhere.
const ELSEWHERE: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9),
    SocketAddr::new(
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
        9,
    ),
];

/// A line on where the sockets that listen on `bound` can be opened, and by whom. `asks` is whether for a password.
pub(in crate::server) fn told(bound: &[SocketAddr], asks: bool) -> Option<String> {
    let (near, far): (Vec<SocketAddr>, Vec<SocketAddr>) =
        bound.iter().partition(|one| one.ip().is_loopback());
    let mut urls: Vec<String> = far.iter().flat_map(|one| urls(*one)).collect();
    urls.dedup();
    if urls.is_empty() {
        let url = near.first().map(|one| format!("http://{one}/"))?;
        return Some(format!("watch at {url}, on this machine alone"));
    }
    let who = match asks {
        true => "with a name and password",
        false => "like everybody who can reach this machine (--auth asks for a password)",
    };
    Some(format!("watch at {}, {who}", urls.join(" or ")))
}

/// The line for whoever has just started it, on this machine: the address to open here, in front, and a warning if others can
/// watch as well. `asks` is whether for a password.
pub(in crate::server) fn line(bound: SocketAddr, asks: bool) -> String {
    let ip = bound.ip();
    let url = match ip.is_unspecified() || ip.is_loopback() {
        true => format!("http://localhost:{}/", bound.port()),
        false => format!("http://{bound}/"),
    };
    match ip.is_loopback() || asks {
        true => url,
        false => format!("{url} (everybody on the network can watch; --auth asks for a password)"),
    }
}

fn urls(bound: SocketAddr) -> Vec<String> {
    if !bound.ip().is_unspecified() {
        return vec![format!("http://{bound}/")];
    }
    let address = ELSEWHERE.iter().find_map(|there| towards(*there));
    let port = bound.port();
    let name = host_name().map(|name| format!("http://{name}:{port}/"));
    let address = address.map(|ip| format!("http://{}/", SocketAddr::new(ip, port)));
    let mut urls: Vec<_> = name.into_iter().chain(address).collect();
    if urls.is_empty() {
        urls.push(format!("http://localhost:{port}/"));
    }
    urls
}

/// The names that this machine has in its network, in full: its own name, in each domain in which names are looked up here
/// (resolv.conf(5)). A router that hands out addresses tells the domain and answers for these names, such as
/// `octopi.fritz.box`; for a page elsewhere, nobody can have them answered.
pub(in crate::server) fn full_names() -> Vec<String> {
    let resolver = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let system = rustix::system::uname();
    in_domains(&system.nodename().to_string_lossy(), &resolver)
}

fn in_domains(name: &str, resolver: &str) -> Vec<String> {
    match name {
        "" | "localhost" | "(none)" => Vec::new(),
        _ if name.contains('.') => vec![name.into()],
        _ => {
            let lines = resolver.lines().map(str::split_whitespace);
            let domains = lines.filter_map(|mut words| {
                matches!(words.next(), Some("search" | "domain")).then_some(words)
            });
            let domains = domains.flatten().filter(|domain| *domain != ".");
            domains.map(|domain| format!("{name}.{domain}")).collect()
        }
    }
}

/// The name of this machine, as others may know it.
fn host_name() -> Option<String> {
    let system = rustix::system::uname();
    let name = system.nodename().to_str().ok()?;
    match name {
        "" | "localhost" | "(none)" => None,
        _ if name.contains('.') || !Path::new(AVAHI).exists() => Some(name.into()),
        _ => Some(format!("{name}.local")),
    }
}

/// The address of this machine on the way to `there`.
fn towards(there: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match there {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(there).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified() && !ip.is_loopback()).then_some(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(bound: &[&str], asks: bool) -> Option<String> {
        let bound: Vec<SocketAddr> = bound.iter().map(|one| one.parse().unwrap()).collect();
        told(&bound, asks)
    }

    #[test]
    fn a_socket_on_one_address_is_reached_there() {
        let open = "watch at http://192.0.2.7:80/, like everybody who can reach this machine (--auth asks for a password)";
        assert_eq!(
            said(&["192.0.2.7:80", "127.0.0.1:80"], false).as_deref(),
            Some(open)
        );
        let asking = "watch at http://[2001:db8::7]:81/, with a name and password";
        assert_eq!(said(&["[2001:db8::7]:81"], true).as_deref(), Some(asking));
        let near = "watch at http://127.0.0.1:8080/, on this machine alone";
        assert_eq!(said(&["127.0.0.1:8080"], false).as_deref(), Some(near));
        assert_eq!(said(&[], false), None);
    }

    #[test]
    fn the_full_names_of_this_machine_are_those_in_its_domains() {
        let resolver =
            "# domain no.example\nnameserver 192.0.2.1\nsearch fritz.box lan.example\ndomain .\n";
        let names = in_domains("octopi", resolver);
        assert_eq!(names, ["octopi.fritz.box", "octopi.lan.example"]);
        assert_eq!(in_domains("cam.example.org", resolver), ["cam.example.org"]);
        assert_eq!(in_domains("localhost", resolver), [""; 0]);
        assert_eq!(in_domains("octopi", ""), [""; 0]);
    }

    #[test]
    fn the_first_line_says_plainly_when_everybody_can_watch() {
        let line = |bound: &str, asks| line(bound.parse().unwrap(), asks);
        let warning = " (everybody on the network can watch; --auth asks for a password)";
        for (bound, url) in [
            ("[::]:8080", "http://localhost:8080/"),
            ("0.0.0.0:8081", "http://localhost:8081/"),
            ("192.0.2.7:80", "http://192.0.2.7:80/"),
        ] {
            assert_eq!(line(bound, false), format!("{url}{warning}"));
            assert_eq!(line(bound, true), url);
        }
        assert_eq!(line("127.0.0.1:8080", false), "http://localhost:8080/");
    }

    #[test]
    fn a_socket_on_all_addresses_is_reached_by_something_that_is_not_that() {
        let told = said(&["[::]:8080"], false).unwrap();
        assert!(
            told.starts_with("watch at http://") && told.contains(":8080/"),
            "{told}"
        );
        assert!(!told.contains("[::]"), "{told}");
    }
}
