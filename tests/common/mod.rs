//! What the tests share: a directory of their own, a small picture, patience; and for those that drive the real binary
//! from outside, the process ([`process`]), a client ([`http`]), pictures ([`frames`]) and who makes them
//! ([`producer`]).

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

pub(crate) mod bare;
pub(crate) mod calls;
pub(crate) mod exchange;
pub(crate) mod frames;
pub(crate) mod heartbeat;
pub(crate) mod http;
pub(crate) mod line;
pub(crate) mod network;
pub(crate) mod process;
pub(crate) mod producer;
pub(crate) mod tables;

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use lazycam::event::{Interest, Poll};
use lazycam::frames::watch::{Change, DirId, Watcher};

/// Longer than anything here takes on a busy machine, or on one that stands still for seconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A directory that is removed at the end.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() {
            memory.to_owned()
        } else {
            std::env::temp_dir()
        };
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = base.join(format!("lazycam-test-{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Scratch(path.canonicalize().unwrap()),
                // Left by a process that had this number before, and was killed.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => panic!("{}: {error}", path.display()),
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A picture of 16 by 8 pixels as far as its markers go, with `filling` bytes of scan.
pub(crate) fn jpeg(filling: usize) -> Vec<u8> {
    let mut bytes = vec![0xFF, 0xD8];
    bytes.extend([0xFF, 0xDB, 0, 67, 0]);
    bytes.resize(bytes.len() + 64, 1);
    bytes.extend([0xFF, 0xC0, 0, 11, 8, 0, 8, 0, 16, 1, 1, 0x11, 0]);
    bytes.extend([0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 63, 0]);
    bytes.resize(bytes.len() + filling, 0x55);
    bytes.extend([0xFF, 0xD9]);
    bytes
}

/// The least producer: a temporary and a rename.
pub(crate) fn put(dir: &Path, bytes: &[u8]) {
    let temporary = dir.join(".current.jpg.test");
    fs::write(&temporary, bytes).unwrap();
    fs::rename(temporary, dir.join("current.jpg")).unwrap();
}

/// All changes until `wanted` has come.
pub(crate) fn until(watcher: &mut Watcher, wanted: (DirId, Change)) -> Vec<(DirId, Change)> {
    let start = Instant::now();
    let mut changes = Vec::new();
    while !changes.contains(&wanted) {
        assert!(
            start.elapsed() < PATIENCE,
            "{wanted:?} never came, but {changes:?}"
        );
        wait(watcher, PATIENCE);
        watcher.read(Instant::now(), &mut changes).unwrap();
    }
    changes
}

/// All changes that are there already.
pub(crate) fn pending(watcher: &mut Watcher) -> Vec<(DirId, Change)> {
    let mut changes = Vec::new();
    watcher.read(Instant::now(), &mut changes).unwrap();
    changes
}

/// Whether there was something to read within `patience`.
pub(crate) fn wait(watcher: &Watcher, patience: Duration) -> bool {
    let mut poll = Poll::new().unwrap();
    poll.add(watcher, Interest::Readable, ()).unwrap();
    poll.wait(Some(Instant::now() + patience)).unwrap();
    poll.next_event().is_some()
}

/// For want of something that can be had: says so. With `LAZYCAM_SKIP_NOTHING` in the environment it is a failure.
#[track_caller]
pub(crate) fn skipped(why: &str) {
    let may_skip = std::env::var_os("LAZYCAM_SKIP_NOTHING").is_none();
    assert!(may_skip, "LAZYCAM_SKIP_NOTHING is set, but: {why}");
    impossible(why);
}

/// A test that no package makes possible on this machine. Says so loudly: written past the test harness, which keeps back what a
/// passing test prints, and at the begin of a line, where its dots (`cargo test -- --quiet`) do not end one.
pub(crate) fn impossible(why: &str) {
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(std::io::stderr(), "\nSKIPPED: {name}: {why}");
}

/// Waits until something is so.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "never so: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// How many events an inotify queue takes before it overflows; `None`, said loudly, if a test cannot make so many.
pub(crate) fn queue_limit() -> Option<usize> {
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let limit: usize = limit.trim().parse().unwrap();
    if limit > 200_000 {
        skipped(&format!(
            "max_queued_events is {limit}, too many to overflow in a test"
        ));
        return None;
    }
    Some(limit)
}
