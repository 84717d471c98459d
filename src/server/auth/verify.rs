//! Credentials that have to be proved: one at a time, beside the loop, and not as often as somebody likes.
//!
//! A proof runs on a thread that lives no longer than it does and that yields to everything else; an eventfd tells the
//! loop of its end. Two proofs never run at the same time, so guessing, from however many addresses, takes one
//! core at most, and none from the loop.
//!
//! Whoever was wrong waits: the 401 comes after a second, then after 2, 4, and so on, and until then nothing else
//! from that address is proved. Addresses are those of the connection; what a proxy says about its client could be made
//! up. Behind a proxy all clients so are one: those that are known already do not notice.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};

use super::super::PeerId;
use super::super::source::Source;
use super::{Credential, Guard};
use crate::error::{Context, Result};

/// Requests of one address that wait for a proof; more are sent away.
const WAITING_PER_SOURCE: usize = 8;

/// The first failure costs so long, each one after it twice as long as the one before.
const FIRST_PENALTY: Duration = Duration::from_secs(1);

const MAX_PENALTY: Duration = Duration::from_secs(30);

/// Failures are forgotten after so long.
const MEMORY: Duration = Duration::from_secs(600);

/// Addresses whose failures are remembered. Beyond, the one that failed longest ago is forgotten.
const MAX_ACCOUNTS: usize = 1024;

/// The thread's stack: hashing needs some hundred bytes of it.
const STACK: usize = 128 * 1024;

/// Failures of the addresses that had some.
#[derive(Debug, Default)]
struct Accounts(HashMap<Source, Account>);

#[derive(Clone, Copy, Debug)]
struct Account {
    failures: u32,
    last: Instant,
    not_before: Instant,
}

impl Accounts {
    /// When something from `source` may be proved again.
    fn not_before(&self, source: Source) -> Option<Instant> {
        self.0.get(&source).map(|account| account.not_before)
    }

    /// One more failure: when its answer may go out.
    fn fail(&mut self, source: Source, now: Instant) -> Instant {
        self.0
            .retain(|_, account| now.saturating_duration_since(account.last) < MEMORY);
        let failures = self.0.get(&source).map_or(0, |account| account.failures);
        if failures == 0 && self.0.len() >= MAX_ACCOUNTS {
            let oldest = self.0.iter().min_by_key(|(_, account)| account.last);
            if let Some(oldest) = oldest.map(|(source, _)| *source) {
                self.0.remove(&oldest);
            }
        }
        let penalty = FIRST_PENALTY.saturating_mul(1 << failures.min(16));
        let account = Account {
            failures: failures + 1,
            last: now,
            not_before: now + penalty.min(MAX_PENALTY),
        };
        self.0.insert(source, account);
        account.not_before
    }
}

/// Something that is to be proved.
#[derive(Debug)]
struct Check {
    peer: PeerId,
    source: Source,
    credential: Credential,
}

/// What came of it.
#[derive(Debug)]
pub(in crate::server) struct Outcome {
    pub(in crate::server) peer: PeerId,
    pub(in crate::server) source: Source,
    /// When the 401 may go out; `None` if the credential is right.
    pub(in crate::server) wrong_until: Option<Instant>,
}

/// What [`Checks::start`] did.
#[derive(Debug)]
pub(in crate::server) enum Start {
    /// Nothing is to be done before the running proof ends or somebody comes.
    Enough,
    /// Nothing before this time: those that wait are from addresses that were wrong.
    At(Instant),
    /// There is no thread for this client's proof now.
    Impossible(PeerId),
}

/// The proofs: those that wait, and the one that runs.
pub(in crate::server) struct Checks {
    waiting: VecDeque<Check>,
    running: bool,
    accounts: Accounts,
    sender: mpsc::Sender<(Check, Option<usize>)>,
    results: mpsc::Receiver<(Check, Option<usize>)>,
    /// Readable when there are results.
    bell: Arc<OwnedFd>,
}

impl Checks {
    pub(in crate::server) fn new() -> Result<Self> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .doing(|| "make an eventfd for --auth".into())?;
        let (sender, results) = mpsc::channel();
        Ok(Checks {
            waiting: VecDeque::new(),
            running: false,
            accounts: Accounts::default(),
            sender,
            results,
            bell: Arc::new(bell),
        })
    }

    /// Puts a credential into the queue, unless too many of this address are in it.
    pub(in crate::server) fn submit(
        &mut self,
        peer: PeerId,
        source: Source,
        credential: Credential,
    ) -> bool {
        let same = self.waiting.iter().filter(|check| check.source == source);
        if same.count() >= WAITING_PER_SOURCE {
            return false;
        }
        self.waiting.push_back(Check {
            peer,
            source,
            credential,
        });
        true
    }

    /// A client has left.
    pub(in crate::server) fn forget(&mut self, peer: PeerId) {
        self.waiting.retain(|check| check.peer != peer);
    }

    /// Begins the next proof, if none runs.
    pub(in crate::server) fn start(&mut self, guard: &Guard, now: Instant) -> Start {
        if self.running {
            return Start::Enough;
        }
        let times = self.waiting.iter().map(|check| {
            let not_before = self.accounts.not_before(check.source);
            not_before.filter(|at| *at > now)
        });
        let times: Vec<_> = times.collect();
        let Some(next) = times.iter().position(Option::is_none) else {
            return times
                .into_iter()
                .flatten()
                .min()
                .map_or(Start::Enough, Start::At);
        };
        let Some(check) = self.waiting.remove(next) else {
            return Start::Enough;
        };
        let peer = check.peer;
        let (users, sender, bell) = (
            Arc::clone(&guard.users),
            self.sender.clone(),
            Arc::clone(&self.bell),
        );
        let prove = move || {
            // Of this thread alone, on Linux (setpriority(2)). Without it, it works as well.
            let _ = rustix::process::nice(19);
            let user = users.prove(&check.credential);
            // Both fail only if the server is gone.
            let _ = sender.send((check, user));
            let _ = rustix::io::write(&*bell, &1u64.to_ne_bytes());
        };
        let thread = thread::Builder::new()
            .name("proof".into())
            .stack_size(STACK);
        match thread.spawn(prove) {
            Ok(_) => {
                self.running = true;
                Start::Enough
            }
            Err(_) => Start::Impossible(peer),
        }
    }

    /// What came of the proof that ran, if it has ended. Who is right is known from now on.
    pub(in crate::server) fn finished(
        &mut self,
        guard: &mut Guard,
        now: Instant,
    ) -> Option<Outcome> {
        let mut count = [0; 8];
        // Resets the counter; that it was zero is no failure.
        let _ = rustix::io::read(&*self.bell, &mut count);
        let (check, user) = self.results.try_recv().ok()?;
        self.running = false;
        let wrong_until = match user {
            Some(user) => {
                guard.remember(user, &check.credential);
                None
            }
            None => Some(self.accounts.fail(check.source, now)),
        };
        Some(Outcome {
            peer: check.peer,
            source: check.source,
            wrong_until,
        })
    }
}

impl AsFd for Checks {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::network(text.parse().unwrap())
    }

    #[test]
    fn each_failure_costs_twice_as_long_up_to_a_bound_and_is_forgotten_in_the_end() {
        let mut accounts = Accounts::default();
        let (here, there) = (source("192.0.2.1"), source("192.0.2.2"));
        let mut now = Instant::now();
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            let until = accounts.fail(here, now);
            assert_eq!(until, now + Duration::from_secs(seconds));
            assert_eq!(accounts.not_before(here), Some(until));
            now = until;
        }
        assert_eq!(accounts.not_before(there), None);
        assert_eq!(accounts.fail(there, now), now + FIRST_PENALTY);
        now += MEMORY;
        assert_eq!(accounts.fail(here, now), now + FIRST_PENALTY);
    }

    #[test]
    fn the_memory_for_failures_is_bounded() {
        let mut accounts = Accounts::default();
        let start = Instant::now();
        for n in 0..3000u32 {
            let now = start + Duration::from_millis(n.into());
            accounts.fail(Source::V4(n.to_be_bytes()), now);
        }
        assert_eq!(accounts.0.len(), MAX_ACCOUNTS);
        assert_eq!(accounts.not_before(source("0.0.0.1")), None);
    }

    #[test]
    fn an_address_has_a_few_requests_in_the_queue_and_leaves_room_for_others() {
        let mut checks = Checks::new().unwrap();
        let mut submit = |peer, from| checks.submit(peer, source(from), Credential(b"a:b".into()));
        for peer in 0..8 {
            assert!(submit(peer, "192.0.2.1"));
        }
        assert!(!submit(8, "192.0.2.1"));
        assert!(submit(9, "192.0.2.2"));
        checks.forget(0);
        assert!(checks.submit(10, source("192.0.2.1"), Credential(b"a:b".into())));
    }
}
