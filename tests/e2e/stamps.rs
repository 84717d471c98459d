//! Times of capture that cannot be: frames are told apart by their arrival.

use std::thread;
use std::time::{Duration, SystemTime};

use crate::common::Scratch;
use crate::common::frames::Maker;
use crate::common::http::Client;
use crate::common::process::serve;
use lazycam::capture::pattern::stamp::Stamp;
use lazycam::frames::publish::Publisher;

/// A time of capture for the frame with this number, published now.
type Clock = fn(u32, SystemTime) -> SystemTime;

const YEAR: Duration = Duration::from_secs(365 * 86_400);

const CLOCKS: &[(&str, Clock)] = &[
    ("right", |_, now| now),
    ("stands", |_, _| SystemTime::UNIX_EPOCH + YEAR * 50),
    ("stands since a moment ago", |number, now| {
        now - Duration::from_millis(50) * number
    }),
    ("goes backwards", |number, now| {
        now - Duration::from_millis(90) * number
    }),
    ("jumps back once", |number, now| match number {
        0..=3 => now,
        _ => now - Duration::from_secs(30),
    }),
    ("is ahead", |_, now| now + Duration::from_secs(20)),
    ("is far ahead", |_, now| now + YEAR),
    ("is of another year", |number, _| {
        SystemTime::UNIX_EPOCH + YEAR * (number % 2 + 40)
    }),
];

#[test]
fn a_page_that_asks_for_the_frame_after_its_last_one_gets_it_whatever_the_stamps_say() {
    thread::scope(|scope| {
        for (name, clock) in CLOCKS {
            scope.spawn(|| each_frame_is_another(name, *clock));
        }
    });
}

fn each_frame_is_another(name: &str, clock: Clock) {
    let scratch = Scratch::new();
    let mut publisher = Publisher::open(scratch.path()).unwrap();
    publisher.announce().unwrap();
    let server = serve(scratch.path(), &[]);
    let maker = Maker::new(3000);
    let mut client = Client::connect(server.address());
    let mut stream = Client::connect(server.address()).stream("/stream");
    let mut timestamp = "0.000000".to_owned();
    for number in 1..=6 {
        let stamp = Stamp::now(number.into());
        let captured = clock(number, SystemTime::now());
        publisher.publish(&maker.make(&stamp), captured).unwrap();
        let reply = client.picture(&format!(
            "/snapshot?max_age=60&after={timestamp}&timeout=20"
        ));
        let frame = maker.verify(&reply.body).frame;
        assert_eq!(frame, u64::from(number), "{name}");
        let age: f64 = reply.head.field("X-Frame-Age").unwrap().parse().unwrap();
        assert!(age < 60.0, "{name}: {age}");
        timestamp = reply.head.field("X-Timestamp").unwrap().to_owned();
        assert_eq!(stream.number(&maker), u64::from(number), "{name}");
    }
}
