//! Machines that a test makes: network namespaces, joined by links of a given rate.
//!
//! A link is a pair of virtual Ethernet devices with a token bucket (tc-tbf(8)) towards the viewer, or a [`Line`]. All of it
//! takes root and iproute2, and is gone with its last [`Namespace`].
//!
//! Whoever measures on such a line calls [`waits_for_nobody`] first: otherwise the figures would be those of whatever else the machine does.

use std::fs::File;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::thread;

use rustix::net::sockopt::set_socket_send_buffer_size;
use rustix::process::setpriority_process;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::line::{Line, Pump};
use super::skipped;

/// A network namespace with its loopback up, removed at the end.
pub(crate) struct Namespace {
    name: String,
    links: AtomicU8,
}

impl Namespace {
    /// `None`, said loudly, where none can be made.
    pub(crate) fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("lazycam-test-{}-{number}", std::process::id());
        let added = Command::new("ip")
            .args(["netns", "add", &name])
            .stderr(Stdio::null())
            .status();
        if !added.is_ok_and(|status| status.success()) {
            skipped("no network namespaces can be made here (root and iproute2 are needed)");
            return None;
        }
        let namespace = Namespace {
            name,
            links: AtomicU8::new(0),
        };
        namespace.ip("link set dev lo up");
        Some(namespace)
    }

    /// The words that start a program in it.
    pub(crate) fn wrapper(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.name]
    }

    /// Another machine, which reaches this one over a link of so many bits per second, or an unlimited one.
    pub(crate) fn viewer(&self, rate: Option<u32>) -> Viewer {
        // The burst is what a network card sends in one go; 100 ms of queue are what a modest router has.
        let bucket = rate.map(|rate| format!("rate {rate} burst 16k latency 100ms"));
        self.behind_bucket(bucket.as_deref(), None)
    }

    /// The same behind a token bucket described in the words of tc-tbf(8), with a congestion control of the server.
    pub(crate) fn behind_bucket(&self, bucket: Option<&str>, congestion: Option<&str>) -> Viewer {
        let (own, number) = self.another();
        let link = format!("link{number}");
        let peer = &own.name;
        self.ip(&format!(
            "link add {link} type veth peer name link netns {peer}"
        ));
        self.ip(&format!("address add 10.99.{number}.1/24 dev {link}"));
        self.ip(&format!("link set dev {link} up"));
        own.ip(&format!("address add 10.99.{number}.2/24 dev link"));
        // At once: nobody else is there to have the same address.
        self.ip(&format!("address add fd99:{number}::1/64 dev {link} nodad"));
        own.ip(&format!("address add fd99:{number}::2/64 dev link nodad"));
        own.ip("link set dev link up");
        if let Some(bucket) = bucket {
            let name = &self.name;
            let add = format!("tc -n {name} qdisc add dev {link} root");
            run(&format!("{add} tbf {bucket}"));
        }
        self.reached_over(&link, number, congestion);
        Viewer {
            namespace: own,
            server: Ipv4Addr::new(10, 99, number, 1),
            number,
            pump: None,
        }
    }

    /// A listener of this machine, in this process. Its connections hold back what a modest router's queue would drop: 24 KiB at once.
    pub(crate) fn listen(&self) -> TcpListener {
        let listener = self.socket(|| TcpListener::bind(("0.0.0.0", 0)).unwrap());
        set_socket_send_buffer_size(&listener, 12 << 10).unwrap();
        listener
    }

    /// A socket of this machine, in this process.
    pub(crate) fn socket<T: Send>(&self, make: impl FnOnce() -> T + Send) -> T {
        inside(&self.name, make)
    }

    /// Another machine behind this line.
    pub(crate) fn behind(&self, line: &Line) -> Viewer {
        let (own, number) = self.another();
        let device = format!("line{number}");
        let pump = line.join(&device, &self.name, &own.name);
        for (namespace, host) in [(self, 1), (&own, 2)] {
            namespace.ip(&format!(
                "address add 10.99.{number}.{host}/24 dev {device}"
            ));
            namespace.ip(&format!("link set dev {device} txqueuelen 1000 up"));
        }
        self.reached_over(&device, number, line.congestion);
        Viewer {
            namespace: own,
            server: Ipv4Addr::new(10, 99, number, 1),
            number,
            pump: Some(pump),
        }
    }

    fn another(&self) -> (Namespace, u8) {
        let own = Namespace::new().expect("a second namespace where one could be made");
        (own, 1 + self.links.fetch_add(1, Ordering::Relaxed))
    }

    /// By route, because a namespace may not choose an algorithm that the machine does not allow.
    fn reached_over(&self, device: &str, number: u8, congestion: Option<&str>) {
        if let Some(congestion) = congestion {
            let route = format!("10.99.{number}.0/24 dev {device} proto kernel scope link");
            let source = format!("src 10.99.{number}.1 congctl {congestion}");
            self.ip(&format!("route replace {route} {source}"));
        }
    }

    fn ip(&self, command: &str) {
        run(&format!("ip -n {} {command}", self.name));
    }
}

/// Gives this thread, and every thread and process that it starts from now on, the processors before all others that are not real-time
/// (setpriority(2), nice value -20), so that a line is measured and not who else is busy. `false`, said loudly, where that may not be done.
pub(crate) fn waits_for_nobody() -> bool {
    let may = setpriority_process(None, -20).is_ok();
    if !may {
        skipped("no priority over other programs can be had here (root or CAP_SYS_NICE is needed)");
    }
    may
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .status();
    }
}

/// A machine at the far end of a link.
pub(crate) struct Viewer {
    namespace: Namespace,
    server: Ipv4Addr,
    /// That of its link.
    number: u8,
    pump: Option<Pump>,
}

impl Viewer {
    /// The words that start a program there.
    pub(crate) fn wrapper(&self) -> [&str; 4] {
        self.namespace.wrapper()
    }

    /// The machine at this end, as it is called there.
    pub(crate) fn server(&self) -> Ipv4Addr {
        self.server
    }

    /// A connection from there to a port of the machine at this end.
    pub(crate) fn connect(&self, port: u16) -> TcpStream {
        self.try_connect(port).expect("somebody who listens")
    }

    /// The same by IPv6.
    pub(crate) fn connect_by_ipv6(&self, port: u16) -> TcpStream {
        let server = Ipv6Addr::new(0xfd99, self.number.into(), 0, 0, 0, 0, 0, 1);
        let address = SocketAddr::from((server, port));
        inside(&self.namespace.name, || TcpStream::connect(address)).expect("somebody who listens")
    }

    /// The same as [`Viewer::connect`], if somebody listens.
    pub(crate) fn try_connect(&self, port: u16) -> Option<TcpStream> {
        let address = SocketAddr::from((self.server, port));
        inside(&self.namespace.name, || TcpStream::connect(address).ok())
    }

    /// What carries its packets, if that is a [`Line`].
    pub(crate) fn pump(&self) -> Option<&Pump> {
        self.pump.as_ref()
    }
}

/// Makes a socket in a namespace. A thread moves there, not the process; and a socket stays where it was made.
fn inside<T: Send>(namespace: &str, make: impl FnOnce() -> T + Send) -> T {
    let namespace = File::open(format!("/run/netns/{namespace}")).unwrap();
    thread::scope(|scope| {
        let maker = scope.spawn(|| {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            make()
        });
        maker.join().unwrap()
    })
}

fn run(command: &str) {
    let mut words = command.split(' ');
    let status = Command::new(words.next().unwrap()).args(words).status();
    assert!(status.unwrap().success(), "{command}");
}
