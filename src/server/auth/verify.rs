//! Proving credentials: one at a time, outside the loop, and with a limit on how often anybody may try.
//!
//! A proof runs on a thread of its own, which ends with it and yields to everything else; an eventfd tells the loop
//! when it has ended. Two proofs never run at the same time, so guessing takes at most one core, from however many
//! addresses it comes, and no time from the loop. Equal credentials from one address are proved together, so a page
//! full of pictures takes one proof.
//!
//! A wrong credential costs a wait: the 401 comes after one second, then after 2, 4, and so on. Until then nothing
//! else from that address is proved. The address is that of the connection, because anything a proxy says about its
//! clients could be made up. A host with IPv6 has as many addresses as it likes, so after a few of a /64 network the
//! further ones that fail have one account together.
//!
//! Clients whose credentials are known already are not affected, even at the same address (behind a proxy all clients
//! share one). But at that address, it would show at once whether a guess matches a known credential. So unknown
//! credentials are counted, including those of clients that hang up; those that are refused unread are not. After a few
//! since the last failure, nothing from that address is looked up any more, and everything waits for a proof. What a
//! connection has proved itself stays known on that connection, which is of no use to somebody who guesses.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};

use super::{Credential, Guard, Print};
use crate::error::{Context, Result};
use crate::server::client_id::{ClientId, Remote};
use crate::time::backoff::Backoff;

/// How many different credentials of one address may wait for a proof; any more are refused.
const WAITING_PER_ACCOUNT: usize = 8;

/// How many credentials of one address may turn out unknown between two failures. After that, none is looked up.
const MISSES_PER_ACCOUNT: u32 = 8;

/// How many addresses of one /64 network have accounts of their own.
const ACCOUNTS_PER_BLOCK: usize = 8;

/// The penalty for the first failure. Each further failure costs twice as much as the one before.
const FIRST_PENALTY: Duration = Duration::from_secs(1);

const MAX_PENALTY: Duration = Duration::from_secs(30);

/// Failures are forgotten after this long.
const MEMORY: Duration = Duration::from_secs(600);

/// How many addresses have their failures remembered. When there are more, the oldest of those that never failed is
/// forgotten, or else the one whose last failure is oldest: to send something unknown and hang up costs nothing, so it
/// must not free anybody from a penalty.
const MAX_ACCOUNTS: usize = 1024;

/// The stack of the thread. Hashing needs only some hundred bytes of it.
const STACK: usize = 128 * 1024;

/// How long to wait before the next try when no thread could be started for a proof.
const RETRY: Duration = Duration::from_secs(1);

/// The addresses that sent unknown credentials, and how long each has to wait.
#[derive(Debug, Default)]
struct Accounts(HashMap<Remote, Account>);

#[derive(Clone, Copy, Debug)]
struct Account {
    penalties: Backoff,
    /// How many credentials since the last failure were unknown, without those that turned out right.
    misses: u32,
    /// When the last failure was, or the first miss if there was no failure yet.
    last: Instant,
    not_before: Instant,
}

impl Account {
    /// Whether there was a failure. Its penalty ends after it.
    fn has_failed(&self) -> bool {
        self.not_before > self.last
    }
}

impl Accounts {
    /// Under what a host has its account: its address, or that of its block, if enough others of it have one.
    fn key(&self, remote: Remote) -> Remote {
        let block = remote.block();
        let has_own = block == remote || self.0.contains_key(&remote);
        let others = self.0.keys().filter(|other| other.block() == block);
        if has_own || others.count() < ACCOUNTS_PER_BLOCK {
            remote
        } else {
            block
        }
    }

    /// The time from which something from `remote` may be proved again.
    fn not_before(&self, remote: Remote) -> Option<Instant> {
        let account = self.0.get(&self.key(remote));
        account.map(|account| account.not_before)
    }

    /// Whether credentials from `remote` may be looked up, which shows at once whether they are known.
    fn may_look_up(&self, remote: Remote) -> bool {
        let account = self.0.get(&self.key(remote));
        account.is_none_or(|account| account.misses < MISSES_PER_ACCOUNT)
    }

    /// A credential was not known.
    fn miss(&mut self, remote: Remote, now: Instant) {
        let account = self.of(remote, now);
        account.misses = account.misses.saturating_add(1);
    }

    /// A credential that was not known turned out right.
    fn clear(&mut self, remote: Remote) {
        let key = self.key(remote);
        if let Some(account) = self.0.get_mut(&key) {
            account.misses = account.misses.saturating_sub(1);
        }
    }

    /// Records a failure whose proof began now. Returns when its answer may be sent.
    fn fail(&mut self, remote: Remote, now: Instant) -> Instant {
        let account = self.of(remote, now);
        (account.misses, account.last) = (0, now);
        account.not_before = now + account.penalties.fail();
        account.not_before
    }

    fn of(&mut self, remote: Remote, now: Instant) -> &mut Account {
        self.0
            .retain(|_, account| now.saturating_duration_since(account.last) < MEMORY);
        let key = self.key(remote);
        if self.0.len() >= MAX_ACCOUNTS && !self.0.contains_key(&key) {
            let worth = |account: &Account| (account.has_failed(), account.last);
            let oldest = self.0.iter().min_by_key(|(_, account)| worth(account));
            if let Some(oldest) = oldest.map(|(remote, _)| *remote) {
                self.0.remove(&oldest);
            }
        }
        self.0.entry(key).or_insert(Account {
            penalties: Backoff::new(FIRST_PENALTY, MAX_PENALTY),
            misses: 0,
            last: now,
            not_before: now,
        })
    }
}

/// A credential that has to be proved, and those of one address who have sent it.
#[derive(Debug)]
struct Check {
    clients: Vec<ClientId>,
    remote: Remote,
    print: Print,
    credential: Arc<Credential>,
}

/// What happens to a credential that a client sent.
#[derive(Debug)]
pub(in crate::server) enum Ruling {
    /// It is known to be right.
    Right(Print),
    /// It waits to be proved.
    Waits,
    /// Too many others from its address are waiting, so it is not even looked at.
    TooMany,
}

/// The result of a proof.
#[derive(Debug)]
pub(in crate::server) struct ProofResult {
    /// All who have sent this credential from this address.
    pub(in crate::server) clients: Vec<ClientId>,
    pub(in crate::server) remote: Remote,
    /// The print of a credential that was right, or when the 401 may be sent for one that was wrong.
    pub(in crate::server) verdict: Result<Print, Instant>,
}

/// What [`Checks::start`] has done.
#[derive(Debug)]
pub(in crate::server) enum Start {
    /// Nothing is to be done until the running proof ends or another credential comes.
    Enough,
    /// Nothing is to be done before this time, because all waiting credentials come from addresses that were wrong.
    At(Instant),
    /// No thread could be started. Try again at this time.
    Impossible(Instant),
}

/// The proofs that wait, and the one that runs.
pub(in crate::server) struct Checks {
    guard: Guard,
    waiting: VecDeque<Check>,
    /// The proof that runs, and when it began.
    running: Option<(Check, Instant)>,
    accounts: Accounts,
    sender: mpsc::Sender<bool>,
    results: mpsc::Receiver<bool>,
    /// Readable when there are results.
    bell: Arc<OwnedFd>,
}

impl Checks {
    pub(in crate::server) fn new(guard: Guard) -> Result<Self> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .doing(|| "make an eventfd for --auth".into())?;
        let (sender, results) = mpsc::channel();
        Ok(Checks {
            guard,
            waiting: VecDeque::new(),
            running: None,
            accounts: Accounts::default(),
            sender,
            results,
            bell: Arc::new(bell),
        })
    }

    /// Looks a credential up, or puts it into the queue. `proved` is what the client's connection has proved itself.
    pub(in crate::server) fn submit(
        &mut self,
        client: ClientId,
        remote: Remote,
        credential: Credential,
        proved: Option<&Print>,
        now: Instant,
    ) -> Ruling {
        let print = self.guard.print(remote, &credential);
        let again = proved.is_some_and(|proved| proved.is(&print).to_bool());
        if again || self.accounts.may_look_up(remote) && self.guard.knows(&print) {
            return Ruling::Right(print);
        }
        // To compare it now would tell whoever fills the queue whether a guess is right, as often as they like.
        // No block shares an account with another, so most of what others have in the queue needs no look at the accounts.
        let (key, block) = (self.accounts.key(remote), remote.block());
        let of_account = |check: &&Check| {
            check.remote.block() == block && self.accounts.key(check.remote) == key
        };
        if self.waiting.iter().filter(of_account).count() >= WAITING_PER_ACCOUNT {
            return Ruling::TooMany;
        }
        let running = self.running.iter_mut().map(|(check, _)| check);
        let mut pending = running.chain(&mut self.waiting);
        // The address is part of the print.
        if let Some(check) = pending.find(|check| check.print.is(&print).to_bool()) {
            check.clients.push(client);
            return Ruling::Waits;
        }
        self.accounts.miss(remote, now);
        self.waiting.push_back(Check {
            clients: vec![client],
            remote,
            print,
            credential: Arc::new(credential),
        });
        Ruling::Waits
    }

    /// Forgets a client that has left, and its credential if nobody else has sent it and its proof does not run yet.
    pub(in crate::server) fn forget(&mut self, client: ClientId) {
        let running = self.running.iter_mut().map(|(check, _)| check);
        for check in running.chain(&mut self.waiting) {
            check.clients.retain(|other| *other != client);
        }
        self.waiting.retain(|check| !check.clients.is_empty());
    }

    /// Begins the next proof, unless one is running.
    pub(in crate::server) fn start(&mut self, now: Instant) -> Start {
        if self.running.is_some() {
            return Start::Enough;
        }
        let times = self.waiting.iter().map(|check| {
            let not_before = self.accounts.not_before(check.remote);
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
        if self.spawn(Arc::clone(&check.credential)).is_ok() {
            self.running = Some((check, now));
            Start::Enough
        } else {
            self.waiting.push_front(check);
            Start::Impossible(now + RETRY)
        }
    }

    fn spawn(&self, credential: Arc<Credential>) -> io::Result<JoinHandle<()>> {
        let users = Arc::clone(&self.guard.users);
        let (sender, bell) = (self.sender.clone(), Arc::clone(&self.bell));
        let prove = move || {
            // On Linux this affects only the calling thread (setpriority(2)). If it fails, the proof still works.
            let _ = rustix::process::nice(19);
            let right = users.prove(&credential);
            // Both fail only if the server is gone.
            let _ = sender.send(right);
            let _ = rustix::io::write(&*bell, &1u64.to_ne_bytes());
        };
        let thread = thread::Builder::new()
            .name("proof".into())
            .stack_size(STACK);
        thread.spawn(prove)
    }

    /// The result of the proof that was running, if it has ended. A right credential is known from now on. The
    /// penalty of a wrong one counts from the beginning of its proof, so that the time of the answer does not reveal
    /// how long the proof took: an existing name may have a slower hash than one that does not exist.
    pub(in crate::server) fn finished(&mut self) -> Option<ProofResult> {
        let mut count = [0; 8];
        // Resets the counter. It may have been zero, which is not a failure.
        let _ = rustix::io::read(&*self.bell, &mut count);
        let right = self.results.try_recv().ok()?;
        let (check, began) = self.running.take()?;
        let verdict = if right {
            self.guard.remember(check.print);
            self.accounts.clear(check.remote);
            Ok(check.print)
        } else {
            Err(self.accounts.fail(check.remote, began))
        };
        Some(ProofResult {
            clients: check.clients,
            remote: check.remote,
            verdict,
        })
    }
}

impl AsFd for Checks {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

#[cfg(test)]
mod tests;
