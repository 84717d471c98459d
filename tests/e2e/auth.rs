//! Names and passwords: who gets in, what the others are told, and that nobody who watches notices.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding};

use crate::common::frames::Maker;
use crate::common::http::{Client, Head, connect_from};
use crate::common::process::{Process, clean, has, lazycam, serve, serve_arguments};
use crate::common::producer::Camera;
use crate::common::{Scratch, eventually};

/// `openssl passwd -6 -salt saltsalt secret`.
pub(crate) const SECRET: &str = "$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1";

/// `user:password` in base64, which is all that this needs of it.
const ANNA: &str = "YW5uYTpzZWNyZXQ="; // anna:secret
const WRONG: &str = "YW5uYTp3cm9uZw=="; // anna:wrong
const NOBODY: &str = "bm9ib2R5OnNlY3JldA=="; // nobody:secret

struct Site {
    server: Process,
    _camera: Camera,
    scratch: Scratch,
}

fn users(scratch: &Scratch) -> PathBuf {
    let path = scratch.join("users");
    fs::write(&path, format!("# who may look\nanna:{SECRET}\n")).unwrap();
    path
}

impl Site {
    fn new(flags: &[&str]) -> Self {
        let scratch = Scratch::new();
        let camera = Camera::on_demand(scratch.path(), 50.0, Maker::new(5000));
        let users = users(&scratch);
        let mut all = vec!["--auth", users.to_str().unwrap()];
        all.extend(flags);
        Site {
            server: serve(scratch.path(), &all),
            _camera: camera,
            scratch,
        }
    }

    fn client(&self) -> Client {
        Client::connect(self.server.address())
    }
}

fn ask(client: &mut Client, method: &str, target: &str, credential: Option<&str>) {
    let field = credential.map(|text| format!("Authorization: Basic {text}\r\n"));
    let field = field.unwrap_or_default();
    client.send(format!(
        "{method} {target} HTTP/1.1\r\nHost: test\r\n{field}\r\n"
    ));
}

fn snapshot_for_anna(client: &mut Client) {
    ask(client, "GET", "/snapshot", Some(ANNA));
}

#[track_caller]
fn expect_challenge(head: &Head) {
    assert_eq!(head.status, 401, "{head:?}");
    let challenge = head.field("WWW-Authenticate").unwrap();
    assert!(challenge.starts_with("Basic realm=\""), "{challenge}");
    assert_eq!(head.field("Cache-Control"), Some("no-store"));
    assert_eq!(head.field("Access-Control-Allow-Origin"), None);
    assert_eq!(head.field("Connection"), Some("keep-alive"));
}

#[test]
fn who_says_nothing_is_asked_at_once_and_the_connection_goes_on() {
    let site = Site::new(&[]);
    let mut client = site.client();
    for target in [
        "/",
        "/stream",
        "/snapshot",
        "/nothing",
        "/?action=stream",
        "/favicon.ico",
        "/state",
        "/metrics",
    ] {
        let reply = client.get(target);
        expect_challenge(&reply.head);
        assert!(reply.body.ends_with(b"\n"));
        ask(&mut client, "HEAD", target, None);
        expect_challenge(&client.head());
    }
    // What is no credential at all is none.
    for nonsense in ["Bearer abc", "Basic", "Basic %%%", "Basic YW5uYQ=="] {
        client.send(format!(
            "GET /stream HTTP/1.1\r\nHost: a\r\nAuthorization: {nonsense}\r\n\r\n"
        ));
        expect_challenge(&client.reply().head);
    }
    // The same connection, with the right one.
    let reply = client.picture_by(snapshot_for_anna);
    Maker::new(5000).verify(&reply.body);
    let log = site.server.stop().log;
    assert!(log.contains(" 401"), "counted: {log}");
}

#[test]
fn a_preflight_needs_no_password() {
    let site = Site::new(&["--allow-origin", "http://octopi.local"]);
    for target in ["/stream", "/snapshot", "*"] {
        let mut client = site.client();
        let fields = "Host: test\r\nOrigin: http://octopi.local\r\n";
        client.send(format!("OPTIONS {target} HTTP/1.1\r\n{fields}\r\n"));
        let head = client.reply().head;
        assert_eq!(head.status, 200, "{target}");
        let allowed = head.field("Access-Control-Allow-Headers").unwrap();
        assert!(allowed.contains("Authorization"), "{allowed}");
    }
}

#[test]
fn who_has_the_password_gets_what_he_asks_for_and_in_its_order() {
    let site = Site::new(&[]);
    let mut client = site.client();
    // All at once: the first waits for its proof, and the others for the first.
    for target in ["/snapshot", "/", "/snapshot"] {
        ask(&mut client, "GET", target, Some(ANNA));
    }
    for kind in ["image/jpeg", "text/html; charset=utf-8", "image/jpeg"] {
        let reply = client.reply();
        assert_eq!(reply.head.status, 200);
        assert_eq!(reply.head.field("Content-Type"), Some(kind));
    }
    let mut client = site.client();
    ask(&mut client, "GET", "/stream", Some(ANNA));
    assert_eq!(client.head().status, 200);
    // A client that sends no more still gets its answer.
    let mut client = site.client();
    ask(&mut client, "GET", "/snapshot", Some(ANNA));
    client.half_close();
    assert_eq!(client.reply().head.status, 200);
    client.expect_end();
}

#[test]
fn a_wrong_password_is_refused_later_each_time_while_others_come_in_at_once() {
    assert!((0..3).any(|_| others_come_in_at_once()));
}

/// False if that took them as long as who is refused has to wait.
fn others_come_in_at_once() -> bool {
    let site = Site::new(&[]);
    let mut anna = site.client();
    anna.picture_by(snapshot_for_anna);
    let mut guesser = site.client();
    let mut waited = Vec::new();
    for guess in [WRONG, NOBODY] {
        let asked = Instant::now();
        ask(&mut guesser, "GET", "/snapshot", Some(guess));
        // She is known, so she does not wait although she has the same address.
        anna.picture_by(snapshot_for_anna);
        if guesser.hears_something(Duration::from_millis(1)) {
            assert!(asked.elapsed() >= Duration::from_secs(1));
            return false;
        }
        expect_challenge(&guesser.reply().head);
        waited.push(asked.elapsed());
    }
    assert!(waited[0] >= Duration::from_secs(1), "{waited:?}");
    assert!(waited[1] >= Duration::from_secs(2), "{waited:?}");
    let log = site.server.stop().log;
    assert!(
        log.contains("a wrong name or password from 127.0.0.1"),
        "{log}"
    );
    assert!(log.contains("2 401"), "{log}");
    for secret in [
        "wrong", "secret", "anna", "nobody", WRONG, NOBODY, ANNA, "$6$",
    ] {
        let shown = log.replace("a wrong name", "").contains(secret);
        assert!(!shown, "{secret} in {log}");
    }
    true
}

#[test]
fn a_crowd_of_guesses_keeps_no_viewer_waiting_and_fills_no_queue() {
    let site = Site::new(&[]);
    // One with the guessers' address, on a connection of its own, and one elsewhere, who comes anew each time.
    let mut viewer = site.client();
    let elsewhere = || connect_from(1, site.server.address());
    for client in [&mut viewer, &mut elsewhere()] {
        client.picture_by(snapshot_for_anna);
    }
    let mut crowd: Vec<_> = (0..40)
        .map(|number| {
            let mut client = site.client();
            ask(&mut client, "GET", "/stream", Some(&guess_number(number)));
            client
        })
        .collect();
    // While they are dealt with, pictures go out as ever.
    let mut slowest = Duration::ZERO;
    for _ in 0..50 {
        for client in [&mut viewer, &mut elsewhere()] {
            let asked = Instant::now();
            client.picture_by(snapshot_for_anna);
            slowest = slowest.max(asked.elapsed());
        }
    }
    println!("the slowest of 100 snapshots beside 40 guesses took {slowest:?}");
    let mut sent_away = 0;
    for client in &mut crowd {
        if client.hears_something(Duration::from_millis(1)) {
            let reply = client.reply();
            if reply.head.status == 503 {
                sent_away += 1;
                let text = String::from_utf8(reply.body).unwrap();
                assert!(
                    text.starts_with("your password was not looked at"),
                    "{text}"
                );
                client.expect_end();
            }
        }
    }
    // One is being proved, eight wait.
    assert!((20..=31).contains(&sent_away), "{sent_away}");
    let log = site.server.log();
    let lines = log.lines().filter(|line| line.contains("wrong name"));
    assert!(lines.count() <= 1, "{log}");
    drop(crowd);
    assert!(site.server.stop().status.success());
}

/// A credential that nobody has sent before.
fn guess_number(number: usize) -> String {
    Base64::encode_string(format!("anna:guess {number}").as_bytes())
}

#[test]
fn a_hundred_who_come_at_once_with_one_right_password_are_all_let_in() {
    let site = Site::new(&[]);
    // Twice: when nobody knows it yet, and when it has been proved.
    for _ in 0..2 {
        let mut crowd: Vec<_> = (0..100).map(|_| site.client()).collect();
        for client in &mut crowd {
            ask(client, "GET", "/snapshot", Some(ANNA));
        }
        for client in &mut crowd {
            assert_eq!(client.reply().head.status, 200);
        }
    }
}

/// The guesser is not told sooner by sending more, nor by hitting upon the right one meanwhile.
#[test]
fn guesses_are_answered_no_faster_than_failures_cost_however_many_there_are() {
    let site = Site::new(&[]);
    let address = site.server.address();
    let elsewhere = || {
        let mut viewer = connect_from(1, address);
        ask(&mut viewer, "GET", "/snapshot", Some(ANNA));
        viewer.reply().head.status
    };
    assert_eq!(elsewhere(), 200);
    let begun = Instant::now();
    let guess = |client: &mut Client, guess: &str| ask(client, "GET", "/favicon.ico", Some(guess));
    let mut guesses = 0..;
    let mut next = || guess_number(guesses.next().unwrap_or_default());
    let guesser = |credential: String| {
        let mut client = connect_from(2, address);
        guess(&mut client, &credential);
        client
    };
    let mut guessers: Vec<_> = (0..12).map(|_| guesser(next())).collect();
    // More than one second, so that the first failure is answered.
    let (mut told, mut refused) = (0, 0);
    while told == 0 || begun.elapsed() < Duration::from_secs(3) {
        for client in &mut guessers {
            if !client.hears_something(Duration::from_millis(1)) {
                continue;
            }
            let head = client.reply().head;
            if head.status == 503 {
                refused += 1;
                client.expect_end();
                *client = guesser(next());
            } else {
                expect_challenge(&head);
                told += 1;
                guess(client, &next());
            }
        }
        // The right one, from the same address: nobody knows it there.
        let mut client = connect_from(2, address);
        guess(&mut client, ANNA);
        if client.hears_something(Duration::from_millis(20)) {
            assert_eq!(client.reply().head.status, 503);
            client.expect_end();
        }
        assert_eq!(elsewhere(), 200);
    }
    let spent = begun.elapsed();
    println!("{told} guesses answered and {refused} not looked at in {spent:?}");
    // 1 s, 2 s, 4 s and so on.
    assert!(
        spent >= Duration::from_secs((1 << told) - 1),
        "{told} in {spent:?}"
    );
    assert!(refused > 0);
}

#[test]
fn an_open_socket_asks_for_nothing() {
    let scratch = Scratch::new();
    let path = scratch.join("open socket");
    let listen = path.to_str().unwrap();
    let site = Site::new(&["--listen", listen, "--open-socket", listen]);
    eventually("it listens", || UnixStream::connect(&path).is_ok());
    let mut local = Client::connect_unix(&path);
    local.picture("/snapshot");
    expect_challenge(&site.client().get("/snapshot").head);
    let unix = scratch.join("guarded");
    let site = Site::new(&["--listen", unix.to_str().unwrap()]);
    eventually("it listens", || UnixStream::connect(&unix).is_ok());
    expect_challenge(&Client::connect_unix(&unix).get("/snapshot").head);
    drop(site.scratch);
}

#[test]
fn a_slip_of_the_pen_is_told_at_start_with_file_and_line() {
    let scratch = Scratch::new();
    let path = users(&scratch);
    let file = path.to_str().unwrap().to_owned();
    let fails = |text: Option<String>, flags: &[&str], said: &str| {
        if let Some(text) = text {
            fs::write(&path, text).unwrap();
        }
        let ended = serve(scratch.path(), flags).end();
        assert!(!ended.status.success(), "{}", ended.log);
        assert!(ended.log.contains(said), "{said}: {}", ended.log);
        assert!(!ended.log.contains("$6$salt"), "{}", ended.log);
    };
    let auth = ["--auth", file.as_str()];
    let good = format!("anna:{SECRET}");
    fails(
        Some(format!("{good}\nbert:{SECRET}x\n")),
        &auth,
        &format!("{file}:2: "),
    );
    fails(
        Some(format!("{good}\n{good}\n")),
        &auth,
        &format!("{file}:2: "),
    );
    fails(Some("anna:secret".into()), &auth, "openssl passwd -6");
    fails(
        Some(String::new()),
        &auth,
        &format!("{file}:1: there is no user"),
    );
    fails(
        None,
        &["--auth", "/nowhere/users"],
        "cannot read /nowhere/users: ",
    );
    let slip = ["--auth", &file, "--open-socket", "/run/other"];
    fails(Some(good), &slip, "--open-socket /run/other: ");
}

#[test]
fn a_relative_name_is_one_of_the_services_credentials() {
    let scratch = Scratch::new();
    let _camera = Camera::on_demand(scratch.path(), 50.0, Maker::new(5000));
    let credentials = scratch.join("credentials");
    fs::create_dir(&credentials).unwrap();
    fs::rename(users(&scratch), credentials.join("viewers")).unwrap();
    let mut command = lazycam(&serve_arguments(scratch.path(), &["--auth", "viewers"]));
    command.env("CREDENTIALS_DIRECTORY", &credentials);
    let server = Process::start(command);
    let mut client = Client::connect(server.address());
    expect_challenge(&client.get("/snapshot").head);
    client.picture_by(snapshot_for_anna);
}

#[test]
fn a_line_that_openssl_made_now_lets_its_user_in() {
    if !has("openssl") {
        return;
    }
    let scratch = Scratch::new();
    let _camera = Camera::on_demand(scratch.path(), 50.0, Maker::new(5000));
    let path = scratch.join("users");
    for scheme in ["-6", "-5"] {
        let made = Command::new("openssl")
            .args(["passwd", scheme, "secret"])
            .output()
            .unwrap();
        let hash = String::from_utf8(made.stdout).unwrap();
        fs::write(&path, format!("anna:{hash}")).unwrap();
        let server = serve(scratch.path(), &["--auth", path.to_str().unwrap()]);
        let mut client = Client::connect(server.address());
        client.picture_by(snapshot_for_anna);
    }
}

#[test]
fn curl_gets_in_with_its_u() {
    if !has("curl") {
        return;
    }
    let site = Site::new(&[]);
    let url = format!("http://{}/snapshot", site.server.address());
    let fetch = |user: &str| {
        let form = "%{http_code}";
        let arguments = [
            "-s",
            "-m",
            "20",
            "-o",
            "/dev/null",
            "-w",
            form,
            "-u",
            user,
            &url,
        ];
        let output = clean("curl").args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(fetch("anna:secret"), "200");
    let guess = thread::scope(|scope| {
        let guess = scope.spawn(|| fetch("anna:guess"));
        assert_eq!(fetch("anna:secret"), "200");
        guess.join().unwrap()
    });
    assert_eq!(guess, "401");
}
