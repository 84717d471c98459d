//! Snapshots, over HTTP and by the command: how fresh they are, and that there is always an answer.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::slice::from_mut;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::common::frames::Maker;
use crate::common::http::{Client, Reply};
use crate::common::process::{Process, lazycam, serve, wait_until_asleep, wrapped};
use crate::common::producer::{Camera, Hand};
use crate::common::{PATIENCE, Scratch, jpeg, put};
use rustix::process::Signal;

/// The limit below which the pickiest of the clients gives up later than we do.
const LIMIT: Duration = Duration::from_secs(5);

/// Longer than a frame stays fresh for a camera of which nothing is known.
const PAUSE: Duration = Duration::from_millis(300);

fn number(reply: &Reply) -> u64 {
    assert_eq!(reply.head.status, 200, "{:?}", reply.head);
    Maker::new(3000).verify(&reply.body).frame
}

/// Asks with each of the `clients` for a picture, publishes one when the server asks for it, and has them all given that one; its
/// number. Where the machine stalls for longer than the server waits, they are asked again.
#[track_caller]
fn ask_and_publish(hand: &mut Hand, clients: &mut [Client], server: &Process, target: &str) -> u64 {
    let limit = Instant::now() + PATIENCE;
    loop {
        let asked = Instant::now();
        for client in &mut *clients {
            client.request("GET", target);
        }
        wait_until_asleep(server.pid());
        hand.wait_until_asked();
        let new = hand.publish().frame;
        let replies: Vec<_> = clients.iter_mut().map(Client::reply).collect();
        let is_late = replies.iter().any(|reply| reply.is_out_of_time(asked));
        if !is_late || Instant::now() > limit {
            assert!(replies.iter().all(|reply| number(reply) == new));
            return new;
        }
        hand.was_asked();
        thread::sleep(PAUSE);
    }
}

fn site() -> (Scratch, Hand, Process, Client) {
    let scratch = Scratch::new();
    let hand = Hand::new(scratch.path(), Maker::new(3000));
    let server = serve(scratch.path(), &[]);
    let client = Client::connect(server.address());
    (scratch, hand, server, client)
}

/// Publishes until the camera would rest: the last frame came while nobody looked. Its number.
fn publish_and_rest(hand: &mut Hand, client: &mut Client, server: &Process) -> u64 {
    ask_and_publish(hand, from_mut(client), server, "/snapshot");
    // That one was opened, so there is another, which is not.
    hand.wait_until_asked();
    let last = hand.publish().frame;
    wait_until_asleep(server.pid());
    assert!(!hand.was_asked());
    last
}

#[test]
fn a_camera_that_rests_is_asked_and_the_frame_from_before_the_pause_is_not_taken() {
    let (_scratch, mut hand, server, mut client) = site();
    let old = publish_and_rest(&mut hand, &mut client, &server);
    thread::sleep(PAUSE);
    let new = ask_and_publish(&mut hand, from_mut(&mut client), &server, "/snapshot");
    assert!(new > old);
}

#[test]
fn without_a_new_frame_there_is_a_503_and_not_the_frame_from_before_the_pause() {
    let (_scratch, mut hand, server, mut client) = site();
    publish_and_rest(&mut hand, &mut client, &server);
    thread::sleep(PAUSE);
    let mut took = Vec::new();
    let in_time = (0..3).find_map(|_| {
        let start = Instant::now();
        let reply = client.get("/snapshot");
        assert_eq!(reply.head.status, 503);
        took.push(start.elapsed());
        (start.elapsed() < LIMIT).then_some(reply)
    });
    let reply = in_time.unwrap_or_else(|| panic!("{took:?}"));
    let after = reply.head.field("Retry-After").unwrap();
    assert!(after.parse::<u32>().unwrap() > 0);
    // That is no reason to end the connection.
    assert_eq!(reply.head.field("Connection"), Some("keep-alive"));
    ask_and_publish(&mut hand, from_mut(&mut client), &server, "/snapshot");
}

#[test]
fn an_answer_comes_whatever_is_in_the_directory_and_if_there_is_none() {
    let scratch = Scratch::new();
    let missing = serve(&scratch.join("not/there"), &[]);
    let server = serve(scratch.path(), &[]);
    thread::scope(|scope| {
        scope.spawn(|| {
            let reply = Client::connect(missing.address()).get("/snapshot");
            assert_eq!(reply.head.status, 503);
        });
        let mut client = Client::connect(server.address());
        assert_eq!(client.get("/snapshot").head.status, 503);
        put(scratch.path(), b"");
        assert_eq!(client.get("/snapshot").head.status, 503);
        put(scratch.path(), b"\xFF\xD8 this is none \xFF\xD9");
        assert_eq!(client.get("/snapshot?max_age=9").head.status, 503);
        fs::remove_file(scratch.join("current.jpg")).unwrap();
        fs::create_dir(scratch.join("current.jpg")).unwrap();
        assert_eq!(client.get("/snapshot?max_age=9").head.status, 503);
    });
    let said = server.stop().log;
    assert!(said.contains("no SOI") || said.contains("broken"), "{said}");
}

#[test]
fn max_age_takes_the_frame_that_is_there_as_long_as_it_is_no_older() {
    let (_scratch, mut hand, server, mut client) = site();
    let old = publish_and_rest(&mut hand, &mut client, &server);
    assert_eq!(number(&client.get("/snapshot?max_age=60")), old);
    thread::sleep(PAUSE);
    assert_eq!(number(&client.get("/?action=snapshot&max_age=60")), old);
    ask_and_publish(
        &mut hand,
        from_mut(&mut client),
        &server,
        "/snapshot?max_age=0.1",
    );
}

#[test]
fn without_waking_the_camera_the_frame_that_was_taken_last_is_given_again() {
    let (_scratch, mut hand, server, mut client) = site();
    let asked = Instant::now();
    let none = client.get("/snapshot?wake=0");
    assert_eq!(none.head.status, 503, "nobody has taken a frame yet");
    assert!(none.is_out_of_time(asked));
    let last = publish_and_rest(&mut hand, &mut client, &server);
    thread::sleep(PAUSE);
    let still = client.get("/snapshot?wake=0");
    assert_eq!(
        number(&still),
        last - 1,
        "the newest is one that nobody has opened"
    );
    let age: f64 = still.head.field("X-Frame-Age").unwrap().parse().unwrap();
    assert!(age >= PAUSE.as_secs_f64(), "{age}");
    assert_eq!(number(&client.get("/snapshot?wake=0")), last - 1);
    assert!(!hand.was_asked());
    // A frame that somebody takes is the one to be shown from then on.
    let new = ask_and_publish(&mut hand, from_mut(&mut client), &server, "/snapshot");
    assert_eq!(number(&client.get("/snapshot?wake=0")), new);
}

#[test]
fn a_frame_from_before_the_servers_start_is_as_old_as_it_says() {
    let scratch = Scratch::new();
    let mut hand = Hand::new(scratch.path(), Maker::new(3000));
    hand.publish();
    let server = serve(scratch.path(), &[]);
    let mut client = Client::connect(server.address());
    assert_eq!(number(&client.get("/snapshot?max_age=60")), 1);
    hand.wait_until_asked();
    drop(server);
    for target in ["/snapshot?max_age=60", "/snapshot"] {
        hand.publish();
        let file = fs::File::open(scratch.join("current.jpg")).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(100))
            .unwrap();
        hand.was_asked();
        let server = serve(scratch.path(), &[]);
        let mut client = Client::connect(server.address());
        ask_and_publish(&mut hand, from_mut(&mut client), &server, target);
    }
}

#[test]
fn after_is_answered_with_another_frame_than_the_one_that_the_client_has() {
    assert!((0..3).any(|_| after_is_answered_with_another_frame()));
}

/// False if the machine stalled for longer than the server waits for that frame.
fn after_is_answered_with_another_frame() -> bool {
    let (_scratch, mut hand, server, mut client) = site();
    publish_and_rest(&mut hand, &mut client, &server);
    let first = client.get("/snapshot?max_age=60");
    let timestamp = first.head.field("X-Timestamp").unwrap();
    let asked = Instant::now();
    client.request("GET", &format!("/snapshot?max_age=60&after={timestamp}"));
    hand.wait_until_asked();
    let new = hand.publish().frame;
    let reply = client.reply();
    if reply.is_out_of_time(asked) {
        return false;
    }
    assert_eq!(number(&reply), new);
    // The next client has another one already, so the newest will do.
    let again = client.get(&format!("/snapshot?max_age=60&after={timestamp}"));
    assert_eq!(number(&again), new);
    true
}

#[test]
fn polling_with_after_gets_each_frame_once() {
    let scratch = Scratch::new();
    let _camera = Camera::on_demand(scratch.path(), 30.0, Maker::new(3000));
    let server = serve(scratch.path(), &[]);
    let mut client = Client::connect(server.address());
    let (mut last, mut timestamp) = (0, "0.000000".to_owned());
    for _ in 0..20 {
        let reply = client.picture(&format!("/snapshot?after={timestamp}"));
        let new = number(&reply);
        assert!(new > last, "{new} after {last}");
        last = new;
        timestamp = reply.head.field("X-Timestamp").unwrap().to_owned();
    }
}

#[test]
fn one_frame_answers_everybody_who_waits() {
    let (_scratch, mut hand, server, _client) = site();
    let mut clients: Vec<_> = (0..20).map(|_| Client::connect(server.address())).collect();
    ask_and_publish(&mut hand, &mut clients, &server, "/snapshot?max_age=0");
}

fn take(arguments: &[&str]) -> Process {
    let mut words = vec!["snapshot"];
    words.extend(arguments);
    let mut command = lazycam(&words);
    command.stdout(Stdio::piped());
    Process::start(command)
}

fn all_of(fd: std::os::fd::OwnedFd) -> Vec<u8> {
    let mut bytes = Vec::new();
    fs::File::from(fd).read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn the_command_writes_a_fresh_frame_to_standard_output() {
    let scratch = Scratch::new();
    let mut hand = Hand::new(scratch.path(), Maker::new(3000));
    hand.publish();
    let mut taker = take(&[scratch.path().to_str().unwrap()]);
    let out = taker.take_stdout();
    hand.wait_until_asked();
    let new = hand.publish();
    assert_eq!(all_of(out), Maker::new(3000).make(&new));
    let ended = taker.end();
    assert!(ended.status.success(), "{}", ended.log);
    assert_eq!(ended.log, "");
}

#[test]
fn the_command_replaces_a_file_as_a_whole() {
    let scratch = Scratch::new();
    let (dir, out) = (scratch.join("camera"), scratch.join("out.jpg"));
    let _camera = Camera::on_demand(&dir, 30.0, Maker::new(3000));
    fs::write(&out, "what was there before").unwrap();
    let before = fs::File::open(&out).unwrap();
    let taker = take(&[dir.to_str().unwrap(), "--output", out.to_str().unwrap()]);
    assert!(taker.end().status.success());
    Maker::new(3000).verify(&fs::read(&out).unwrap());
    let mut kept = String::new();
    (&before).read_to_string(&mut kept).unwrap();
    assert_eq!(kept, "what was there before");
    let mode = fs::metadata(&out).unwrap().permissions().mode();
    assert_eq!(mode & 0o400, 0o400);
    assert_eq!(
        fs::read_dir(scratch.path()).unwrap().count(),
        2,
        "nothing left beside it"
    );
}

/// Who may write where the file goes can know what it is called until it is complete: the number of the process is in it.
#[test]
fn the_command_follows_no_link_that_was_put_where_it_writes() {
    let scratch = Scratch::new();
    let (dir, out) = (scratch.join("camera"), scratch.join("out.jpg"));
    let _camera = Camera::on_demand(&dir, 30.0, Maker::new(3000));
    let victim = scratch.join("victim");
    fs::write(&victim, "as before").unwrap();
    let script = "ln -s victim \"$1/.out.jpg.$$\" && shift && exec \"$@\"";
    let wrapper = ["sh", "-c", script, "sh", scratch.path().to_str().unwrap()];
    let words = [
        "snapshot",
        dir.to_str().unwrap(),
        "-o",
        out.to_str().unwrap(),
    ];
    let ended = Process::start(wrapped(&wrapper, &words)).end();
    assert!(ended.status.success(), "{}", ended.log);
    Maker::new(3000).verify(&fs::read(&out).unwrap());
    assert!(fs::symlink_metadata(&out).unwrap().is_file());
    assert_eq!(fs::read_to_string(&victim).unwrap(), "as before");
}

#[test]
fn the_command_fails_when_no_frame_comes_and_writes_nothing() {
    let scratch = Scratch::new();
    put(scratch.path(), &jpeg(10));
    let out = scratch.join("out.jpg");
    let dir = scratch.path().to_str().unwrap();
    let taker = take(&[dir, "-o", out.to_str().unwrap(), "--timeout", "0.3"]);
    let ended = taker.end();
    assert_eq!(ended.status.code(), Some(1));
    let expected = format!("lazycam: error: no new frame in {dir} within 0.3 s");
    assert!(ended.log.starts_with(&expected), "{}", ended.log);
    assert!(!out.exists());
    let missing = scratch.join("missing");
    let ended = take(&[missing.to_str().unwrap(), "--timeout", "0.1"]).end();
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.log.contains("no such directory"), "{}", ended.log);
}

#[test]
fn the_command_waits_for_a_directory_that_does_not_exist_yet() {
    let scratch = Scratch::new();
    let dir = scratch.join("later/camera");
    let patience = PATIENCE.as_secs().to_string();
    let mut taker = take(&[dir.to_str().unwrap(), "--timeout", &patience]);
    let out = taker.take_stdout();
    thread::sleep(Duration::from_millis(100));
    let _camera = Camera::on_demand(&dir, 30.0, Maker::new(3000));
    Maker::new(3000).verify(&all_of(out));
    assert!(taker.end().status.success());
}

/// After a moment in which it had no processor, the server finds both: the frame, and that the time for it is over.
#[test]
fn a_frame_that_came_while_the_server_stood_still_is_given_and_no_refusal() {
    let (_scratch, mut hand, server, mut client) = site();
    let mut is_given = || {
        client.request("GET", "/snapshot");
        hand.wait_until_asked();
        server.signal(Signal::STOP);
        let frame = hand.publish().frame;
        thread::sleep(Duration::from_secs(2));
        server.signal(Signal::CONT);
        let reply = client.reply();
        reply.head.status == 200 && Maker::new(3000).verify(&reply.body).frame == frame
    };
    // If this test stands still as well, before it stops the server, the refusal is right.
    assert!((0..3).any(|_| is_given()));
}
