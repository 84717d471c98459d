//! The three kinds of input of a loop: ready descriptors, deadlines and signals.
//!
//! [`Poll`] is epoll(7), but it hands out *names*: whoever registers a descriptor chooses a name for its events, so
//! handlers match on an enum of their own and never deal with numbers. Internally each name has a token that is never
//! reused. A descriptor's number is reused, and when many connections come and go it can be reused within one batch
//! of events. Events for registrations that no longer exist are dropped here.
//!
//! [`Deadlines`] is a queue with one deadline per key; setting a key again moves its deadline. With no deadline and
//! no ready descriptor the loop sleeps for ever, which is half of what lazycam promises.
//!
//! [`Signals`] turns signals into readiness of a descriptor, using signal-hook's self-pipe. The pipe is emptied
//! before the flags are read. In the opposite order, a signal that arrives in between would go unnoticed until the
//! next one.
//!
//! This module has no timer descriptors (the timeout of epoll_wait does the same without extra system calls), and it
//! knows nothing about cameras or viewers.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::error::{Context, Result};

/// The number of events taken from the kernel in one call. Any further ones are returned by the next call; none is
/// lost.
const BATCH: usize = 128;

/// A map whose keys are numbers that this program assigns itself by counting up.
pub type NumberMap<K, V> = HashMap<K, V, BuildHasherDefault<NumberHasher>>;

/// What to wait for on a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Input, reported again until it has been read (level-triggered).
    Readable,
    /// Input and room for output, each reported once when it becomes available (edge-triggered). The owner must
    /// continue until the call would block before it waits again. Once set, this needs no further system calls.
    Edges,
    /// Input, and what is urgent (EPOLLPRI), such as an event of a video device; both reported until they have been read.
    ReadableOrUrgent,
    /// Only errors: the descriptor stays registered, but its input and output are not watched.
    Nothing,
}

impl Interest {
    fn flags(self) -> epoll::EventFlags {
        use epoll::EventFlags as F;
        match self {
            Interest::Readable => F::IN,
            Interest::ReadableOrUrgent => F::IN | F::PRI,
            Interest::Edges => F::IN | F::OUT | F::RDHUP | F::PRI | F::ET,
            Interest::Nothing => F::empty(),
        }
    }
}

/// What a descriptor is ready for. Errors and hang-ups count as both; the next read or write shows which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// A read would not block, or there is something urgent.
    pub readable: bool,
    /// A write would not block.
    pub writable: bool,
    /// Behind what a read returns there may be something that was reported already: the end, or bytes after urgent data, at
    /// which a read stops (tcp(7)).
    pub stops_short: bool,
}

/// The handle of a registration. Closing the descriptor removes only the kernel's part, so the registration has to be
/// removed ([`Poll::remove`], [`Poll::forget`]); otherwise its token stays in the table.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Registration(u64);

/// An epoll instance whose events carry the tokens `T` that were given at registration.
pub struct Poll<T> {
    epoll: OwnedFd,
    tokens: NumberMap<u64, T>,
    /// What the kernel knows the next registration by.
    next_key: u64,
    batch: Vec<epoll::Event>,
}

impl<T: Copy> Poll<T> {
    /// Creates an instance with nothing registered.
    pub fn new() -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)
            .doing(|| "create an epoll instance".into())?;
        Ok(Poll {
            epoll,
            tokens: NumberMap::default(),
            next_key: 0,
            batch: Vec::with_capacity(BATCH),
        })
    }

    /// Registers `fd`; its events will be handed out with `token`.
    pub fn add(&mut self, fd: impl AsFd, interest: Interest, token: T) -> io::Result<Registration> {
        let key = self.next_key;
        let data = epoll::EventData::new_u64(key);
        epoll::add(&self.epoll, fd, data, interest.flags())?;
        self.next_key += 1;
        self.tokens.insert(key, token);
        Ok(Registration(key))
    }

    /// Changes what a descriptor is watched for.
    pub fn modify(
        &self,
        fd: impl AsFd,
        registration: &Registration,
        interest: Interest,
    ) -> io::Result<()> {
        let data = epoll::EventData::new_u64(registration.0);
        Ok(epoll::modify(&self.epoll, fd, data, interest.flags())?)
    }

    /// Removes a registration. After this no event with its token is handed out, not even one from the current batch.
    pub fn remove(&mut self, fd: impl AsFd, registration: Registration) {
        self.tokens.remove(&registration.0);
        // This fails only if the descriptor is not registered, which is the state that was asked for.
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// Removes the registration of a descriptor that is closed next, which removes the kernel's part (epoll(7)). Only for one
    /// that was never duplicated.
    pub fn forget(&mut self, registration: Registration) {
        self.tokens.remove(&registration.0);
    }

    /// Sleeps until something is ready, until the time `until`, or until a signal is caught. When the deadline has
    /// passed, the batch is empty. After an interruption, which may also be the end of a stop (signal(7)), the batch
    /// contains what is ready by then: ready descriptors go before deadlines that have passed in the meantime.
    pub fn wait(&mut self, until: Option<Instant>) -> io::Result<()> {
        self.batch.clear();
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        match self.collect(left) {
            Err(Errno::INTR) => match self.collect(Some(Duration::ZERO)) {
                Ok(()) | Err(Errno::INTR) => Ok(()),
                Err(errno) => Err(errno.into()),
            },
            collected => Ok(collected?),
        }
    }

    fn collect(&mut self, patience: Option<Duration>) -> Result<(), Errno> {
        let timeout = patience.map(timeout);
        let batch = spare_capacity(&mut self.batch);
        epoll::wait(&self.epoll, batch, timeout.as_ref())?;
        // They are taken from the end.
        self.batch
            .sort_unstable_by_key(|event| Reverse(event.data.u64()));
        Ok(())
    }

    /// The next event of the batch that [`Poll::wait`] fetched. Events are handed out one by one because handling one
    /// may remove the registration of a later one, and in the order in which they were registered: what a loop waits for
    /// from its start, such as news of frames, is known before somebody who came later is answered.
    pub fn next_event(&mut self) -> Option<(T, Readiness)> {
        while let Some(event) = self.batch.pop() {
            let (data, flags) = (event.data, event.flags);
            let Some(token) = self.tokens.get(&data.u64()) else {
                continue;
            };
            use epoll::EventFlags as F;
            let broken = flags.intersects(F::ERR | F::HUP);
            let readiness = Readiness {
                readable: broken || flags.intersects(F::IN | F::PRI | F::RDHUP),
                writable: broken || flags.contains(F::OUT),
                stops_short: broken || flags.intersects(F::RDHUP | F::PRI),
            };
            return Some((*token, readiness));
        }
        None
    }
}

/// Rounds up to whole milliseconds, the unit of epoll_wait(2). Rounding down would make the loop spin until a
/// deadline less than a millisecond away has come.
fn timeout(left: Duration) -> Timespec {
    let millis = left.as_nanos().div_ceil(1_000_000).min(i32::MAX as u128) as i64;
    Timespec {
        tv_sec: millis / 1000,
        tv_nsec: ((millis % 1000) * 1_000_000) as _,
    }
}

/// Whether a call on a descriptor would return at once now, be it with the end or an error.
pub fn is_ready(fd: BorrowedFd<'_>, what: PollFlags) -> bool {
    wait_for(fd, what, Duration::ZERO).is_ok_and(|found| !found.is_empty())
}

/// Waits until a call on a descriptor would return at once, for as long as `patience`. Returns what was found, errors and the
/// end included; nothing if the time is over.
pub fn wait_for(
    fd: BorrowedFd<'_>,
    what: PollFlags,
    patience: Duration,
) -> Result<PollFlags, Errno> {
    let mut fds = [PollFd::new(&fd, what)];
    poll(&mut fds, Some(&timeout(patience)))?;
    Ok(fds[0].revents())
}

/// A new stream socket whose calls never wait.
pub fn stream_socket(family: AddressFamily) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(family, SocketType::STREAM, flags, None)
}

/// One deadline per key, ordered by time, the earliest first.
#[derive(Debug)]
pub struct Deadlines<K> {
    queue: BTreeSet<(Instant, K)>,
    set: NumberMap<K, Instant>,
}

impl<K: Copy + Ord + Hash> Deadlines<K> {
    /// Creates an empty queue.
    pub fn new() -> Self {
        Deadlines {
            queue: BTreeSet::new(),
            set: NumberMap::default(),
        }
    }

    /// Sets, moves or (with `None`) removes the deadline of a key.
    pub fn set(&mut self, key: K, at: Option<Instant>) {
        let before = match at {
            Some(at) => self.set.insert(key, at),
            None => self.set.remove(&key),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.queue.remove(&(before, key));
        }
        if let Some(at) = at {
            self.queue.insert((at, key));
        }
    }

    /// Sets a deadline unless an earlier one is already set. This is for deadlines that mostly move further away:
    /// when the early one comes, its owner sets a new one, which is cheaper than moving it every time.
    pub fn bring_forward(&mut self, key: K, at: Instant) {
        if self.set.get(&key).is_none_or(|set| at < *set) {
            self.set(key, Some(at));
        }
    }

    /// The earliest deadline, to be passed to [`Poll::wait`].
    pub fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Removes and returns the keys whose deadlines have come. If one is set again to a time that has already passed,
    /// it is returned by the next call, so that the loop can handle all other events in between.
    pub fn take_due(&mut self, now: Instant) -> Vec<K> {
        let mut due = Vec::new();
        while let Some(&(_, key)) = self.queue.first().filter(|(at, _)| *at <= now) {
            self.queue.pop_first();
            self.set.remove(&key);
            due.push(key);
        }
        due
    }
}

impl<K: Copy + Ord + Hash> Default for Deadlines<K> {
    fn default() -> Self {
        Self::new()
    }
}

/// Spreads numbers out with a single multiplication (Knuth, TAOCP 6.4). The standard library's hasher prevents
/// strangers from choosing colliding keys; nobody outside can choose these, and each frame for each viewer takes a
/// dozen lookups.
#[derive(Debug, Default)]
pub struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(byte.into());
        }
    }

    fn write_u64(&mut self, number: u64) {
        // 2^64 divided by the golden ratio.
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn write_isize(&mut self, discriminant: isize) {
        self.write_u64(discriminant as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Signals, reported as readiness of a descriptor.
#[derive(Debug)]
pub struct Signals {
    wake: UnixStream,
    caught: Vec<(i32, Arc<AtomicBool>)>,
}

impl Signals {
    /// Starts catching `signals`.
    pub fn catch(signals: &[i32]) -> Result<Self> {
        let catch = || -> io::Result<Self> {
            let (wake, write) = UnixStream::pair()?;
            wake.set_nonblocking(true)?;
            let mut caught = Vec::new();
            for &signal in signals {
                let flag = Arc::new(AtomicBool::new(false));
                // The order matters: the flag must already be set when the wake-up is seen.
                signal_hook::flag::register(signal, Arc::clone(&flag))?;
                signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
                caught.push((signal, flag));
            }
            Ok(Signals { wake, caught })
        };
        catch().doing(|| format!("catch the signals {signals:?}"))
    }

    /// Catches the signals that ask a process to end, and the `others`. SIGHUP counts among the former, because it is
    /// sent when a terminal is closed; a process that was started with SIGHUP ignored (nohup(1)) goes on ignoring it.
    pub fn catch_ends(others: &[i32]) -> Result<Self> {
        let mut signals = vec![SIGTERM, SIGINT];
        if !is_ignored(SIGHUP) {
            signals.push(SIGHUP);
        }
        signals.extend(others);
        Signals::catch(&signals)
    }

    /// The signals caught since the last call, each listed once.
    pub fn take(&mut self) -> Vec<i32> {
        let mut bytes = [0; 64];
        while matches!(self.wake.read(&mut bytes), Ok(n) if n == bytes.len()) {}
        let was_set = |flag: &AtomicBool| flag.swap(false, Ordering::SeqCst);
        self.caught
            .iter()
            .filter(|(_, flag)| was_set(flag))
            .map(|(signal, _)| *signal)
            .collect()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

/// Whether this process ignores `signal`, according to the mask in proc_pid_status(5). Without /proc the answer is
/// always no.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests;
