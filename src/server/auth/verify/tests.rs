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
    let users = crate::server::auth::Users::parse(&format!("{ANNA}\n{bert}")).unwrap();
    Checks::new(Guard::new(users).unwrap()).unwrap()
}

impl Checks {
    fn hand_in(&mut self, client: ClientId, from: &str, credential: &str, now: Instant) -> Ruling {
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
    fn outcome(&mut self) -> ProofResult {
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
fn where_many_guess_and_hang_up_nothing_is_known_any_more_but_what_a_connection_proved_itself() {
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
