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
pub(in crate::server) struct Outcome {
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
    pub(in crate::server) fn finished(&mut self) -> Option<Outcome> {
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
        Some(Outcome {
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
mod tests {
    use super::*;

    fn remote(text: &str) -> Remote {
        Remote::of_address(text.parse().unwrap())
    }

    #[test]
    fn each_failure_costs_twice_as_long_up_to_a_bound_and_is_forgotten_in_the_end() {
        let mut accounts = Accounts::default();
        let (here, there) = (remote("192.0.2.1"), remote("192.0.2.2"));
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
            accounts.fail(Remote::V4(n.to_be_bytes()), now);
        }
        assert_eq!(accounts.0.len(), MAX_ACCOUNTS);
        assert_eq!(accounts.not_before(remote("0.0.0.1")), None);
    }

    #[test]
    fn a_flood_of_unknown_credentials_frees_nobody_from_a_penalty() {
        let (mut accounts, now) = (Accounts::default(), Instant::now());
        let guesser = remote(HERE);
        let until = accounts.fail(guesser, now);
        for n in 0..3000u32 {
            accounts.miss(Remote::V4(n.to_be_bytes()), now + Duration::from_millis(1));
        }
        assert_eq!(accounts.0.len(), MAX_ACCOUNTS);
        assert_eq!(accounts.not_before(guesser), Some(until));
    }

    /// The users are anna, whose password is `secret`, and bert, whose hash takes longer.
    fn checks() -> Checks {
        const ANNA: &str = "anna:$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA";
        let bert = ANNA.replace("anna:$5$", "bert:$5$rounds=20000$");
        let users = super::super::Users::parse(&format!("{ANNA}\n{bert}")).unwrap();
        Checks::new(Guard::new(users).unwrap()).unwrap()
    }

    impl Checks {
        fn hand_in(
            &mut self,
            client: ClientId,
            from: &str,
            credential: &str,
            now: Instant,
        ) -> Ruling {
            let credential = Credential(credential.as_bytes().to_vec());
            self.submit(client, remote(from), credential, None, now)
        }

        /// Runs the next proof to its end.
        fn run(&mut self, now: Instant) -> Result<Print, Instant> {
            assert!(matches!(self.start(now), Start::Enough));
            assert!(self.running.is_some());
            self.outcome().verdict
        }

        /// Waits for the end of the proof that runs.
        fn outcome(&mut self) -> Outcome {
            loop {
                if let Some(outcome) = self.finished() {
                    return outcome;
                }
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    const HERE: &str = "192.0.2.1";
    const THERE: &str = "192.0.2.2";

    #[test]
    fn an_address_has_a_few_requests_in_the_queue_and_leaves_room_for_others() {
        let (mut checks, now) = (checks(), Instant::now());
        for client in 0..8 {
            let ruling = checks.hand_in(client, HERE, &format!("a:{client}"), now);
            assert!(matches!(ruling, Ruling::Waits), "{ruling:?}");
        }
        let misses = |checks: &Checks| checks.accounts.0[&remote(HERE)].misses;
        assert_eq!(misses(&checks), 8);
        // Not even one that waits already is recognised.
        for credential in ["a:8", "a:0"] {
            let ruling = checks.hand_in(8, HERE, credential, now);
            assert!(matches!(ruling, Ruling::TooMany), "{ruling:?}");
        }
        assert_eq!(misses(&checks), 8);
        let ruling = checks.hand_in(9, THERE, "a:9", now);
        assert!(matches!(ruling, Ruling::Waits), "{ruling:?}");
        checks.forget(0);
        let ruling = checks.hand_in(10, HERE, "a:10", now);
        assert!(matches!(ruling, Ruling::Waits), "{ruling:?}");
    }

    #[test]
    fn equal_credentials_of_one_address_are_proved_together_and_count_once() {
        let (mut checks, now) = (checks(), Instant::now());
        for client in 0..50 {
            let ruling = checks.hand_in(client, HERE, "anna:secret", now);
            assert!(matches!(ruling, Ruling::Waits), "{ruling:?}");
        }
        checks.hand_in(50, THERE, "anna:secret", now);
        checks.forget(7);
        // More come while it runs.
        assert!(matches!(checks.start(now), Start::Enough));
        checks.hand_in(51, HERE, "anna:secret", now);
        let outcome = checks.outcome();
        let expected: Vec<_> = (0..50).filter(|id| *id != 7).chain([51]).collect();
        assert_eq!(outcome.clients, expected);
        assert!(outcome.verdict.is_ok());
        assert_eq!(checks.accounts.0[&remote(HERE)].misses, 0);
        let ruling = checks.hand_in(52, HERE, "anna:secret", now);
        assert!(matches!(ruling, Ruling::Right(_)), "{ruling:?}");
        // The other address has a proof of its own.
        assert_eq!(checks.waiting.len(), 1);
    }

    #[test]
    fn whoever_hangs_up_while_its_proof_runs_is_forgotten_and_the_proof_counts_all_the_same() {
        let (mut checks, now) = (checks(), Instant::now());
        checks.hand_in(0, HERE, "bert:guess", now);
        assert!(matches!(checks.start(now), Start::Enough));
        for client in 1..100 {
            checks.hand_in(client, HERE, "bert:guess", now);
            checks.forget(client);
        }
        checks.forget(0);
        let outcome = checks.outcome();
        assert!(outcome.clients.is_empty(), "{:?}", outcome.clients);
        assert_eq!(outcome.verdict.unwrap_err(), now + FIRST_PENALTY);
    }

    #[test]
    fn neighbours_pay_for_themselves_but_a_host_cannot_escape_by_changing_its_address() {
        let (mut accounts, now) = (Accounts::default(), Instant::now());
        let mut address = 0x66_u128;
        let mut next = || {
            address += 1;
            Remote::of_address(std::net::Ipv6Addr::from(0xfe80 << 112 | address).into())
        };
        let guest = remote("fe80::1");
        accounts.miss(guest, now);
        accounts.clear(guest);
        for _ in 1..ACCOUNTS_PER_BLOCK {
            assert_eq!(accounts.fail(next(), now), now + FIRST_PENALTY);
        }
        let penalties: Vec<_> = (0..3).map(|_| accounts.fail(next(), now) - now).collect();
        assert_eq!(penalties, [1, 2, 4].map(Duration::from_secs));
        assert!(accounts.not_before(next()) > Some(now));
        assert_eq!(accounts.not_before(guest), Some(now));
        assert_eq!(accounts.not_before(remote("fe80:0:0:1::1")), None);
    }

    #[test]
    fn where_many_guess_and_hang_up_nothing_is_known_any_more_but_what_a_connection_proved_itself()
    {
        let (mut checks, now) = (checks(), Instant::now());
        for from in [HERE, THERE] {
            checks.hand_in(0, from, "anna:secret", now);
            checks.run(now).unwrap();
        }
        let Ruling::Right(proved) = checks.hand_in(0, HERE, "anna:secret", now) else {
            panic!("not known");
        };
        for guess in 0..u64::from(MISSES_PER_ACCOUNT) {
            let ruling = checks.hand_in(0, HERE, "anna:secret", now);
            assert!(
                matches!(ruling, Ruling::Right(_)),
                "{guess} guesses: {ruling:?}"
            );
            let ruling = checks.hand_in(guess, HERE, &format!("anna:{guess}"), now);
            assert!(matches!(ruling, Ruling::Waits), "{ruling:?}");
            checks.forget(guess);
        }
        let ruling = checks.hand_in(1, HERE, "anna:secret", now);
        assert!(matches!(ruling, Ruling::Waits), "{ruling:?}");
        let ruling = checks.hand_in(2, THERE, "anna:secret", now);
        assert!(matches!(ruling, Ruling::Right(_)), "{ruling:?}");
        let again = |credential: &str| Credential(credential.as_bytes().to_vec());
        let ruling = checks.submit(3, remote(HERE), again("anna:secret"), Some(&proved), now);
        assert!(matches!(ruling, Ruling::Right(_)), "{ruling:?}");
        let ruling = checks.submit(4, remote(HERE), again("anna:guess"), Some(&proved), now);
        assert!(matches!(ruling, Ruling::Waits), "{ruling:?}");
        // A failure is paid for with its wait; after that, everything is as before.
        checks.run(now).unwrap();
        let until = checks.run(now).unwrap_err();
        assert!(until > now);
        let ruling = checks.hand_in(5, HERE, "anna:secret", now);
        assert!(matches!(ruling, Ruling::Right(_)), "{ruling:?}");
    }

    #[test]
    fn where_a_guess_is_wrong_even_the_right_one_waits_if_it_was_not_known_there() {
        let (mut checks, now) = (checks(), Instant::now());
        checks.hand_in(0, THERE, "anna:secret", now);
        checks.run(now).unwrap();
        checks.hand_in(1, HERE, "anna:guess", now);
        let until = checks.run(now).unwrap_err();
        let ruling = checks.hand_in(2, HERE, "anna:secret", now);
        assert!(matches!(ruling, Ruling::Waits), "{ruling:?}");
        let start = checks.start(now);
        assert!(matches!(start, Start::At(at) if at == until), "{start:?}");
        checks.run(until).unwrap();
    }

    #[test]
    fn a_wrong_answer_comes_at_a_time_that_tells_nothing_of_the_names_there_are() {
        let began = Instant::now();
        for name in ["anna", "bert", "nobody"] {
            let mut checks = checks();
            checks.hand_in(0, HERE, &format!("{name}:guess"), began);
            assert_eq!(checks.run(began).unwrap_err(), began + FIRST_PENALTY);
        }
    }
}
