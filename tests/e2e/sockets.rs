//! Sockets and the service manager: what is passed, what is listened on, what is told, and how it ends.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::frames::Maker;
use crate::common::heartbeat::Heartbeat;
use crate::common::http::Client;
use crate::common::process::{
    Process, has, is_alive, is_emulated, lazycam, run, serve, serve_arguments, words, wrapped,
};
use crate::common::producer::Camera;
use crate::common::{PATIENCE, Scratch, eventually, impossible, skipped};
use rustix::net::sockopt::tcp_congestion;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, listen, socket};
use rustix::process::{Signal, geteuid};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

fn camera(scratch: &Scratch) -> Camera {
    Camera::on_demand(scratch.path(), 30.0, Maker::new(5000))
}

fn serve_only(frames: &Path) -> [&str; 3] {
    ["serve", "--frames", frames.to_str().unwrap()]
}

/// lazycam with sockets passed as descriptors 3 and 4, the way a service manager does it: the shell's own number is
/// the one that lazycam will have.
pub(crate) fn passing(
    pid: &str,
    names: &str,
    sockets: Vec<OwnedFd>,
    arguments: &[&str],
) -> Command {
    let script = format!(
        "exec 3<&0 4>&1 0</dev/null 1>/dev/null
         export LISTEN_PID={pid} LISTEN_FDS={} LISTEN_FDNAMES='{names}'
         exec \"$@\"",
        sockets.len()
    );
    let mut command = wrapped(&["sh", "-c", &script, "sh"], arguments);
    let mut sockets = sockets.into_iter();
    command.stdin(sockets.next().map_or(Stdio::null(), Stdio::from));
    command.stdout(sockets.next().map_or(Stdio::null(), Stdio::from));
    command
}

pub(crate) const OWN: &str = "$$";

#[test]
fn two_listening_sockets_of_both_kinds_are_taken_over_by_their_names() {
    let scratch = Scratch::new();
    let _camera = camera(&scratch);
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let path = scratch.join("socket");
    let unix = UnixListener::bind(&path).unwrap();
    let sockets = vec![tcp.into(), unix.into()];
    let command = passing(OWN, "web:local", sockets, &serve_only(scratch.path()));
    let server = Process::start(command);
    server.line("listening on 3 (web)");
    server.line("listening on 4 (local)");
    let mut over_tcp = Client::connect(address).stream("/stream");
    let mut over_unix = Client::connect_unix(&path).stream("/stream");
    for _ in 0..5 {
        Maker::new(5000).verify(&over_tcp.part().jpeg);
        Maker::new(5000).verify(&over_unix.part().jpeg);
    }
    let ended = server.stop();
    assert!(ended.status.success());
    assert!(path.exists(), "the service manager's socket is left to it");
}

#[test]
fn connections_have_the_congestion_control_that_was_asked_for_if_there_is_such_a_one() {
    let scratch = Scratch::new();
    let started = |flags: &[&str]| {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let unix = UnixListener::bind(scratch.join(&format!("unix{}", flags.join("=")))).unwrap();
        let shared = tcp.try_clone().unwrap();
        let before = tcp_congestion(&tcp);
        let arguments = [&serve_only(scratch.path()), flags].concat();
        let sockets = vec![tcp.into(), unix.into()];
        let server = Process::start(passing(OWN, "web:local", sockets, &arguments));
        server.line("listening on 4");
        (server, before, tcp_congestion(&shared))
    };
    let (server, Ok(before), Ok(preferred)) = started(&[]) else {
        impossible("this emulator has no TCP_CONGESTION");
        return;
    };
    server.line(&format!("congestion control of TCP: {preferred}"));
    // What the kernel has not, or not for everybody, it can do without.
    assert!(preferred == "bbr" || preferred == before, "{preferred}");
    // Every kernel has it, and everybody may use it.
    let (server, _, reno) = started(&["--congestion", "reno"]);
    assert_eq!(reno.unwrap(), "reno");
    server.line("congestion control of TCP: reno");
    let (server, before, system) = started(&["--congestion", "system"]);
    assert_eq!(before, system);
    server.line(&format!("congestion control of TCP: {}", system.unwrap()));
    let (server, before, none) = started(&["--congestion", "nonesuch"]);
    assert_eq!(before, none);
    server.line("as the kernel has no nonesuch");
}

#[test]
fn names_of_no_sockets_are_no_reason_to_give_up() {
    let scratch = Scratch::new();
    let mut arguments = serve_only(scratch.path()).to_vec();
    arguments.extend(["--listen", "127.0.0.1:0"]);
    let server = Process::start(passing(OWN, "web", Vec::new(), &arguments));
    server.address();
    assert!(server.stop().status.success());
}

#[test]
fn a_passed_socket_is_open_by_its_name_and_the_others_ask_for_a_password() {
    let scratch = Scratch::new();
    let _camera = camera(&scratch);
    let users = scratch.join("users");
    let hash = format!("$6$saltsalt${}", "a".repeat(86));
    fs::write(&users, format!("anna:{hash}\n")).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let path = scratch.join("socket");
    let unix = UnixListener::bind(&path).unwrap();
    let mut arguments = serve_only(scratch.path()).to_vec();
    arguments.extend(["--auth", users.to_str().unwrap(), "--open-socket", "local"]);
    let sockets = vec![tcp.into(), unix.into()];
    let _server = Process::start(passing(OWN, "web:local", sockets, &arguments));
    let over_tcp = Client::connect(address).get("/snapshot");
    assert_eq!(over_tcp.head.status, 401);
    Client::connect_unix(&path).picture("/snapshot");
}

#[test]
fn a_name_that_two_passed_sockets_have_opens_neither() {
    let scratch = Scratch::new();
    let users = scratch.join("users");
    fs::write(&users, format!("anna:$6$saltsalt${}\n", "a".repeat(86))).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let unix = UnixListener::bind(scratch.join("socket")).unwrap();
    let mut arguments = serve_only(scratch.path()).to_vec();
    arguments.extend(["--auth", users.to_str().unwrap(), "--open-socket", "http"]);
    let sockets = vec![tcp.into(), unix.into()];
    let ended = Process::start(passing(OWN, "http:http", sockets, &arguments)).end();
    assert_eq!(ended.status.code(), Some(2));
    let told = "--open-socket http: this is the name of several passed sockets";
    assert!(ended.log.contains(told), "{}", ended.log);
}

#[test]
fn an_open_socket_that_other_machines_reach_is_warned_about() {
    let scratch = Scratch::new();
    let users = scratch.join("users");
    fs::write(&users, format!("anna:$6$saltsalt${}\n", "a".repeat(86))).unwrap();
    let start = |address: &str| {
        let tcp = TcpListener::bind(address).unwrap();
        let mut arguments = serve_only(scratch.path()).to_vec();
        arguments.extend(["--auth", users.to_str().unwrap(), "--open-socket", "web"]);
        let server = Process::start(passing(OWN, "web", vec![tcp.into()], &arguments));
        server.line("listening on 3 (web)");
        server.stop().log
    };
    let told = "3 (web) can be reached from other machines, and asks nobody for a password";
    let log = start("0.0.0.0:0");
    assert!(log.contains(told), "{log}");
    let log = start("127.0.0.1:0");
    assert!(!log.contains(told), "{log}");
}

#[test]
fn sockets_for_another_process_are_none_of_ours() {
    let scratch = Scratch::new();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let command = passing(
        "1",
        "web",
        vec![tcp.into()],
        &serve_arguments(scratch.path(), &[]),
    );
    let server = Process::start(command);
    let own = server.address();
    assert_eq!(Client::connect(own).get("/").head.status, 200);
    assert!(!server.log().contains("listening on 3"));
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let command = passing("1", "web", vec![tcp.into()], &serve_only(scratch.path()));
    let ended = Process::start(command).end();
    assert_eq!(ended.status.code(), Some(2));
    assert!(ended.log.contains("nothing to listen on"), "{}", ended.log);
}

#[test]
fn a_passed_descriptor_that_is_no_stream_socket_is_refused_by_its_number() {
    let scratch = Scratch::new();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let file = File::open("/dev/null").unwrap();
    for (socket, what) in [
        (file.into(), "3 (web) is no socket"),
        (udp.into(), "3 (web) is of another type"),
    ] {
        let command = passing(OWN, "web", vec![socket], &serve_only(scratch.path()));
        let ended = Process::start(command).end();
        assert_eq!(ended.status.code(), Some(2));
        assert!(ended.log.contains(what), "{}", ended.log);
    }
}

#[test]
fn a_passed_connection_is_served_and_then_the_process_ends() {
    let scratch = Scratch::new();
    let _camera = camera(&scratch);
    let start = |socket: OwnedFd| {
        let command = passing(OWN, "connection", vec![socket], &serve_only(scratch.path()));
        Process::start(command)
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = Client::connect(listener.local_addr().unwrap());
    let server = start(listener.accept().unwrap().0.into());
    for _ in 0..3 {
        Maker::new(5000).verify(&client.picture("/snapshot").body);
    }
    let mut stream = client.stream("/stream");
    stream.part();
    stream.part();
    drop(stream);
    assert!(server.end().status.success());
    let (ours, theirs) = UnixStream::pair().unwrap();
    let server = start(theirs.into());
    let mut client = Client::over_unix(ours);
    client.send("GET /snapshot HTTP/1.0\r\n\r\n");
    assert_eq!(client.reply().head.status, 200);
    client.expect_end();
    assert!(server.end().status.success());
}

#[test]
fn a_process_for_one_connection_asks_for_passwords_only_if_that_is_meant() {
    let scratch = Scratch::new();
    let users = scratch.join("users");
    fs::write(&users, format!("anna:$6$saltsalt${}\n", "a".repeat(86))).unwrap();
    let serve = serve_only(scratch.path());
    let auth = ["--auth", users.to_str().unwrap()];
    let start = |flags: &[&str]| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let arguments = [&serve[..], &auth, flags].concat();
        let server = Process::start(passing(OWN, "web", vec![theirs.into()], &arguments));
        (server, Client::over_unix(ours))
    };
    let (server, _client) = start(&[]);
    let ended = server.end();
    assert_eq!(ended.status.code(), Some(2));
    assert!(
        ended.log.contains("nobody remembers wrong passwords"),
        "{}",
        ended.log
    );
    let (_server, mut client) = start(&["--auth-without-memory"]);
    assert_eq!(client.get("/snapshot").head.status, 401);
    let (_server, mut client) = start(&["--open-socket", "web"]);
    assert_eq!(client.get("/").head.status, 200);
}

/// The sockets that a process has open, by their inodes.
fn open_sockets(pid: u32) -> Vec<String> {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let targets = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    let names = targets.map(|target| target.to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("socket:")).collect()
}

#[test]
fn the_capture_process_inherits_neither_sockets_nor_the_variables_about_them() {
    let scratch = Scratch::new();
    let frames = scratch.join("camera");
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let notify = scratch.join("notify");
    let _manager = UnixDatagram::bind(&notify).unwrap();
    let arguments = ["run", "--frames", frames.to_str().unwrap()];
    let mut command = passing(OWN, "web", vec![tcp.into()], &arguments);
    command.env("NOTIFY_SOCKET", &notify);
    command.env("WATCHDOG_USEC", "60000000");
    command.env("LISTEN_PIDFDID", "4711");
    let server = Process::start(command);
    let mut stream = Client::connect(address).stream("/stream");
    // A frame, not the picture of a camera that is not there yet: its process could still be a copy of this one.
    let first = stream.part_that(|part| part.notice().is_none());
    let check = |child: u32| {
        let own = open_sockets(server.pid());
        let inherited: Vec<_> = open_sockets(child)
            .into_iter()
            .filter(|socket| own.contains(socket))
            .collect();
        // Standard error may well be a socket that both have; here it is a pipe.
        assert_eq!(inherited, [""; 0], "of {own:?}");
        let environment = fs::read(format!("/proc/{child}/environ")).unwrap();
        let environment = String::from_utf8_lossy(&environment).into_owned();
        for name in ["LISTEN_", "NOTIFY_SOCKET", "WATCHDOG_"] {
            let told = environment.split('\0').find(|one| one.starts_with(name));
            assert_eq!(told, None);
        }
    };
    let child = server.child();
    check(child);
    // One that is started while a viewer is connected has no part in that connection either.
    rustix::process::kill_process(crate::common::process::pid(child), Signal::KILL).unwrap();
    eventually("there is another one", || {
        server
            .children()
            .iter()
            .any(|now| *now != child && is_alive(*now))
    });
    stream.part_that(|part| part.notice().is_none() && part.stamp().monotonic > first.received);
    check(server.child());
}

#[test]
fn several_addresses_of_both_families_are_listened_on_at_once() {
    let scratch = Scratch::new();
    let _camera = camera(&scratch);
    let path = scratch.join("socket");
    let mut flags = vec!["--listen", path.to_str().unwrap()];
    let v6 = TcpListener::bind("[::1]:0").is_ok();
    if v6 {
        flags.extend(["--listen", "[::1]:0"]);
    } else {
        impossible("the IPv6 part: there is no [::1] here");
    }
    let server = serve(scratch.path(), &flags);
    let lines = server.lines("listening on ", if v6 { 3 } else { 2 });
    for line in lines {
        let name = line.rsplit(' ').next().unwrap();
        let client = match name.parse::<SocketAddr>() {
            Ok(address) => Client::connect(address),
            Err(_) => Client::connect_unix(Path::new(name)),
        };
        client.stream("/stream").number(&Maker::new(5000));
    }
}

/// In a network of its own, where it may listen on all addresses and on the port that it likes.
#[test]
fn without_arguments_it_shows_a_pattern_on_port_8080_of_both_families_and_says_where() {
    if !geteuid().is_root() {
        return skipped("a network namespace takes root");
    }
    if !(has("unshare") && has("ip")) {
        return;
    }
    let scratch = Scratch::new();
    let script = "ip link set lo up && exec \"$@\"";
    let mut command = wrapped::<&str>(&["unshare", "-n", "sh", "-c", script, "sh"], &[]);
    command.env("RUNTIME_DIRECTORY", scratch.path());
    command.stdout(Stdio::piped());
    let mut server = Process::start(command);
    let mut out = std::io::BufReader::new(File::from(server.take_stdout()));
    let mut line = String::new();
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    let warning = " (everybody on the network can watch; --auth asks for a password)\n";
    assert_eq!(
        line,
        format!("http://localhost:8080/{warning}"),
        "{}",
        server.log()
    );
    let network = File::open(format!("/proc/{}/ns/net", server.pid())).unwrap();
    let viewer = thread::spawn(move || {
        use std::os::fd::AsFd;
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        for address in ["127.0.0.1:8080", "[::1]:8080"] {
            if address.starts_with('[') && !Path::new("/proc/net/if_inet6").exists() {
                impossible("the IPv6 part: this kernel has none");
                continue;
            }
            let mut stream = Client::connect(address.parse().unwrap()).stream("/stream");
            let (one, two) = (stream.frame(), stream.frame());
            assert_eq!(crate::common::frames::decode(&one.jpeg), (640, 480));
            assert!(two.number() > one.number());
        }
    });
    viewer.join().unwrap();
    assert!(server.stop().status.success());
}

#[test]
fn a_unix_socket_left_behind_is_replaced_and_one_in_use_is_not() {
    let scratch = Scratch::new();
    let _camera = camera(&scratch);
    let path = scratch.join("socket");
    let listen = ["--listen", path.to_str().unwrap()];
    let start = || {
        let mut arguments = serve_only(scratch.path()).to_vec();
        arguments.extend(listen);
        Process::start(lazycam(&arguments))
    };
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "left behind");
    let server = start();
    server.line("listening on ");
    Client::connect_unix(&path).picture("/snapshot");
    let ended = start().end();
    assert_eq!(ended.status.code(), Some(1));
    let expected = format!("cannot listen on {}", path.display());
    assert!(ended.log.contains(&expected), "{}", ended.log);
    assert_eq!(Client::connect_unix(&path).get("/").head.status, 200);
    assert!(server.stop().status.success());
    let successor = start();
    successor.line("listening on ");
    Client::connect_unix(&path).picture("/snapshot");
    assert!(successor.stop().status.success());
    fs::remove_file(&path).unwrap();
    // A file of somebody else's is not a stale socket.
    fs::write(&path, "mine").unwrap();
    assert_eq!(start().end().status.code(), Some(1));
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
}

#[test]
fn the_socket_of_a_server_that_is_just_starting_is_not_taken_for_a_stale_one() {
    let scratch = Scratch::new();
    let path = scratch.join("lazycam.sock");
    let other = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    bind(&other, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    let mut arguments = serve_only(scratch.path()).to_vec();
    arguments.extend(["--listen", path.to_str().unwrap()]);
    let second = Process::start(lazycam(&arguments));
    thread::sleep(Duration::from_millis(300));
    listen(&other, 1).unwrap();
    let ended = second.end();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    let expected = format!("cannot listen on {}", path.display());
    assert!(ended.log.contains(&expected), "{}", ended.log);
    UnixStream::connect(&path).unwrap();
}

#[test]
fn a_server_that_ends_leaves_the_socket_of_its_successor() {
    let scratch = Scratch::new();
    let (path, new) = (scratch.join("lazycam.sock"), scratch.join("new.sock"));
    let mut arguments = serve_only(scratch.path()).to_vec();
    arguments.extend(["--listen", path.to_str().unwrap()]);
    let server = Process::start(lazycam(&arguments));
    server.line("listening on ");
    let _successor = UnixListener::bind(&new).unwrap();
    fs::rename(&new, &path).unwrap();
    assert!(server.stop().status.success());
    UnixStream::connect(&path).unwrap();
}

#[test]
fn an_address_in_use_is_told_with_its_name() {
    let scratch = Scratch::new();
    let first = serve(scratch.path(), &[]);
    let address = first.address().to_string();
    let mut arguments = serve_only(scratch.path()).to_vec();
    arguments.extend(["--listen", &address]);
    let ended = Process::start(lazycam(&arguments)).end();
    assert_eq!(ended.status.code(), Some(1));
    let expected = format!("cannot listen on {address}");
    assert!(ended.log.contains(&expected), "{}", ended.log);
}

struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    fn new(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Manager { socket }
    }

    fn hear(&self) -> String {
        let mut bytes = [0; 1024];
        let n = self.socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..n]).trim().to_owned()
    }
}

#[test]
fn the_service_manager_is_told_of_readiness_liveliness_and_the_end() {
    let scratch = Scratch::new();
    let path = scratch.join("notify");
    let manager = Manager::new(&path);
    let mut command = lazycam(&serve_arguments(scratch.path(), &[]));
    command.env("NOTIFY_SOCKET", &path);
    command.env("WATCHDOG_USEC", "300000");
    let server = Process::start(command);
    assert_eq!(manager.hear(), "READY=1");
    // Ready means that connections are taken.
    assert_eq!(Client::connect(server.address()).get("/").head.status, 200);
    for _ in 0..5 {
        assert_eq!(manager.hear(), "WATCHDOG=1");
    }
    server.signal(Signal::TERM);
    let mut last = manager.hear();
    while last == "WATCHDOG=1" {
        last = manager.hear();
    }
    assert_eq!(last, "STOPPING=1");
    assert!(server.end().status.success());
}

#[test]
fn exit_idle_ends_a_server_that_nobody_uses_and_no_other() {
    let scratch = Scratch::new();
    let _camera = camera(&scratch);
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let start = || {
        let mut arguments = serve_only(scratch.path()).to_vec();
        arguments.extend(["--exit-idle", "0.5"]);
        let socket = tcp.try_clone().unwrap().into();
        Process::start(passing(OWN, "web", vec![socket], &arguments))
    };
    let ended = start().end();
    assert!(ended.status.success());
    assert!(ended.log.contains("nobody was here"), "{}", ended.log);
    // A client that comes in between waits with the socket and is served by the next one.
    let client = Client::connect(address);
    let mut server = start();
    let mut stream = client.stream("/stream");
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1500) {
        stream.part();
        assert!(server.runs());
    }
    drop(stream);
    assert!(server.end().status.success());
}

#[test]
fn systemd_socket_activate_starts_it_in_both_forms() {
    if is_emulated() {
        return skipped("systemd-socket-activate starts the binary itself");
    }
    if !has("systemd-socket-activate") {
        return;
    }
    let scratch = Scratch::new();
    let _camera = camera(&scratch);
    for form in [&[][..], &["--accept"]] {
        // On a unix socket, whose name nobody else can take.
        let path = scratch.join(&format!("socket{}", form.len()));
        let mut command = crate::common::process::clean("systemd-socket-activate");
        command.args(form).arg("--listen").arg(&path);
        command.args(words(&serve_only(scratch.path())));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let activator = Process::start(command);
        // Not by its file, which is there before it listens.
        eventually("it listens", || UnixStream::connect(&path).is_ok());
        for _ in 0..3 {
            let mut client = Client::connect_unix(&path);
            Maker::new(5000).verify(&client.picture("/snapshot").body);
            client.stream("/stream").number(&Maker::new(5000));
        }
        if form.is_empty() {
            // It has become lazycam, which ends as always.
            assert!(activator.stop().status.success());
        } else {
            eventually("each connection's process has ended", || {
                activator.children().iter().all(|child| !is_alive(*child))
            });
        }
    }
}

#[test]
fn at_sigterm_streams_end_with_a_whole_frame_even_beside_a_viewer_that_never_reads() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        assert!((0..3).any(|_| ends_streams_with_whole_frames(signal)));
    }
}

/// False if the machine stood still meanwhile: a server that ends waits for its viewers for 3 s and no longer.
fn ends_streams_with_whole_frames(signal: Signal) -> bool {
    let scratch = Scratch::new();
    let maker = Maker::new(300_000);
    let _camera = Camera::start(scratch.path(), 30.0, maker.clone());
    let server = serve(scratch.path(), &[]);
    let mut stuck = Client::connect_narrow(server.address());
    stuck.request("GET", "/stream");
    stuck.take(1000);
    let mut slow = Client::connect_narrow(server.address()).stream("/stream");
    slow.client().hears_something(PATIENCE);
    let mut fast = Client::connect(server.address()).stream("/stream");
    fast.part();
    // Still one client in its request, and one that waits for its second.
    let mut begun = Client::connect(server.address());
    begun.send("GET /str");
    let mut idle = Client::connect(server.address());
    assert_eq!(idle.get("/favicon.ico").head.status, 204);
    let heartbeat = Heartbeat::start();
    server.signal(signal);
    let start = Instant::now();
    let (ended, whole) = thread::scope(|scope| {
        // Each reads to the end: whole parts with their delimiters, then the end and no reset.
        let readers = [
            scope.spawn(|| fast.expect_end()),
            scope.spawn(|| {
                maker.verify(&slow.part().jpeg);
                slow.expect_end();
            }),
            scope.spawn(|| begun.expect_end()),
            scope.spawn(|| idle.expect_end()),
        ];
        let ended = server.end();
        (
            ended,
            readers.map(|reader| reader.join().is_ok()) == [true; 4],
        )
    });
    if !whole && heartbeat.stalled() > Duration::from_secs(1) {
        return false;
    }
    assert!(ended.status.success(), "{}", ended.log);
    // The server's own limit is 3 s, a service manager's 90.
    let took = start.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}");
    assert!(whole, "not all to the last byte, and no stall");
    true
}

#[test]
fn at_sigterm_who_waits_for_a_snapshot_is_answered() {
    assert!((0..3).any(|_| answers_at_sigterm()));
}

/// False if the wait had ended by itself.
fn answers_at_sigterm() -> bool {
    let scratch = Scratch::new();
    let mut hand = crate::common::producer::Hand::new(scratch.path(), Maker::new(5000));
    let server = serve(scratch.path(), &[]);
    let mut client = Client::connect(server.address());
    let asked = Instant::now();
    client.request("GET", "/snapshot");
    hand.wait_until_asked();
    server.signal(Signal::TERM);
    let reply = client.reply();
    if reply.is_out_of_time(asked) {
        return false;
    }
    assert_eq!(reply.head.status, 503);
    assert_eq!(reply.head.field("Connection"), Some("close"));
    client.expect_end();
    assert!(server.end().status.success());
    true
}

#[test]
fn no_connection_is_taken_after_sigterm() {
    let scratch = Scratch::new();
    let server = Process::start(run(&scratch.join("camera"), &[]));
    let address = server.address();
    let mut stream = Client::connect(address).stream("/stream");
    stream.part();
    assert!(server.stop().status.success());
    stream.expect_end();
    assert!(TcpStream::connect(address).is_err());
}
