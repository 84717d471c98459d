//! `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES`, with real descriptors of every kind: what is taken over is what was passed, in
//! order and under its name, and nothing else; after it there are no such variables, and no descriptor more than before.
//!
//! The input is four lines: a letter per descriptor from 3 on that says what it is (`l` listens on TCP, `u` on a unix socket,
//! `c` is a connection, `d` takes datagrams, `f` is a file, `-` is closed), then the three variables. `PID` stands for this
//! process, an empty line for no variable.
//!
//! Changes the environment and the lowest descriptors of the fuzzer itself, which has one thread and needs neither.
#![no_main]

use std::ffi::OsStr;
use std::fs::File;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::LazyLock;

use lazycam::activation::{Passed, passed_sockets};
use libfuzzer_sys::fuzz_target;
use rustix::io::{FdFlags, dup2, fcntl_getfd};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const VARIABLES: [&str; 3] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// The first descriptor that is passed (sd_listen_fds(3)), and how many there are at most.
const START: RawFd = 3;
const MOST: usize = 12;

/// One of each kind, far above those that are passed.
static KINDS: LazyLock<[(u8, OwnedFd); 5]> = LazyLock::new(|| {
    let path = format!("/tmp/lazycam-fuzz-{}.socket", std::process::id());
    let unix = UnixListener::bind(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let kinds: [(u8, OwnedFd); 5] = [
        (b'l', TcpListener::bind("127.0.0.1:0").unwrap().into()),
        (b'u', unix.into()),
        (b'c', UnixStream::pair().unwrap().0.into()),
        (b'd', UdpSocket::bind("127.0.0.1:0").unwrap().into()),
        (b'f', File::open("/dev/null").unwrap().into()),
    ];
    // A count of four thousand millions is looked for no further than this.
    let most = Rlimit {
        current: Some(256),
        ..getrlimit(Resource::Nofile)
    };
    setrlimit(Resource::Nofile, most).unwrap();
    kinds.map(|(kind, fd)| (kind, rustix::io::fcntl_dupfd_cloexec(&fd, 100).unwrap()))
});

fuzz_target!(|input: &[u8]| {
    let mut lines = input.splitn(4, |byte| *byte == b'\n');
    let kinds: Vec<u8> = lines
        .next()
        .unwrap_or_default()
        .iter()
        .copied()
        .take(MOST)
        .collect();
    let values: Vec<_> = (0..3)
        .map(|_| value(lines.next().unwrap_or_default()))
        .collect();
    if values.iter().flatten().any(|value| value.contains(&0)) {
        return;
    }
    prepare(&kinds);
    for (name, value) in VARIABLES.iter().zip(&values) {
        // SAFETY: the fuzzer has this one thread.
        unsafe {
            match value {
                Some(value) => std::env::set_var(name, OsStr::from_bytes(value)),
                None => std::env::remove_var(name),
            }
        }
    }
    let passed = passed_sockets();
    assert!(
        VARIABLES
            .iter()
            .all(|name| std::env::var_os(name).is_none()),
        "they are still there"
    );
    check(passed, &expected(&kinds, &values), &kinds);
});

/// An empty line is no variable, `PID` this process.
fn value(line: &[u8]) -> Option<Vec<u8>> {
    match line {
        b"" => None,
        b"PID" => Some(std::process::id().to_string().into()),
        line => Some(line.to_owned()),
    }
}

/// Puts a descriptor of each kind in its place, inherited as by exec.
fn prepare(kinds: &[u8]) {
    let at = |place: usize| START + place as RawFd;
    for place in 0..MOST {
        let wanted = kinds
            .get(place)
            .and_then(|kind| KINDS.iter().find(|(one, _)| one == kind));
        // SAFETY: nothing in this process uses these numbers; given back as a number below.
        let mut target = unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(at(place)) };
        match wanted {
            Some((_, fd)) => {
                dup2(fd, &mut target).unwrap();
                std::mem::forget(target);
            }
            None if is_open(at(place)) => drop(target),
            None => std::mem::forget(target),
        }
    }
}

/// How many descriptors are passed under which names, by the manual: none without the three being right.
fn expected(kinds: &[u8], values: &[Option<Vec<u8>>]) -> Option<Vec<String>> {
    let text = |at: usize| std::str::from_utf8(values[at].as_deref()?).ok();
    let own = std::process::id();
    if text(0).map(str::parse::<u32>).transpose().ok()? != Some(own) {
        return Some(Vec::new());
    }
    let count = text(1).map_or(Ok(0), str::parse::<u32>).ok()? as usize;
    let is_socket = |kind: &u8| b"luc".contains(kind);
    if count > kinds.len() || !kinds[..count].iter().all(is_socket) {
        return None;
    }
    // Names are taken of sockets of one's own alone, and of none there are none.
    let named = text(0) == Some(&own.to_string()) && count > 0;
    let names: Vec<String> = match text(2).filter(|_| named) {
        Some(names) => names.split(':').map(str::to_owned).collect(),
        None => vec![String::new(); count],
    };
    (names.len() == count).then_some(names)
}

fn check(passed: lazycam::Result<Vec<Passed>>, expected: &Option<Vec<String>>, kinds: &[u8]) {
    let passed = match (passed, expected) {
        (Ok(passed), Some(_)) => passed,
        (Err(error), None) => return assert!(!error.to_string().contains('\0')),
        (passed, expected) => panic!("{passed:?}, but {expected:?}"),
    };
    let names = expected.as_deref().unwrap_or_default();
    assert_eq!(passed.len(), names.len());
    let numbers: Vec<_> = passed
        .iter()
        .enumerate()
        .map(|(at, one)| {
            let (socket, listens) = match one {
                Passed::Listener { socket, .. } => (socket, true),
                Passed::Connection { socket, .. } => (socket, false),
            };
            let label = one.label();
            assert_eq!(listens, kinds[at] != b'c');
            assert_eq!(socket.as_raw_fd(), START + at as RawFd);
            let flags = fcntl_getfd(socket).unwrap();
            assert!(flags.contains(FdFlags::CLOEXEC), "a child would inherit it");
            let word = &names[at];
            let has_name = !word.is_empty() && word != "unknown";
            assert_eq!(label.is(word), has_name, "{label} is called {word}");
            let number = socket.as_raw_fd().to_string();
            assert!(label.to_string().starts_with(&number));
            socket.as_raw_fd()
        })
        .collect();
    drop(passed);
    assert!(!numbers.into_iter().any(is_open), "a descriptor is left");
}

fn is_open(number: RawFd) -> bool {
    std::fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_ok()
}
