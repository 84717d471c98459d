use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::OwnedFd;
use std::thread;

use rustix::fs::{OFlags, fcntl_getfl};
use rustix::pipe::pipe;

use super::*;
use crate::picture::jpeg::sample::{DHT, DQT, EOI, SOF, SOS};

/// A small JPEG that contains its number in a comment.
fn frame(number: u8) -> Vec<u8> {
    let head = [0xFF, 0xD8, 0xFF, 0xFE, 0, 3, number];
    [&head[..], DQT, DHT, SOF, SOS, &[1, 2, 3], EOI].concat()
}

fn broken() -> Vec<u8> {
    vec![0xFF, 0xD8, 0xFF, 0xE0, 0, 0]
}

struct Piped {
    source: Stdin<OwnedFd>,
    writer: Option<File>,
    now: Instant,
}

impl Piped {
    fn new(fps: Option<f64>) -> Self {
        let (reader, writer) = pipe().unwrap();
        Piped {
            source: Stdin::new(reader, fps).unwrap(),
            writer: Some(writer.into()),
            now: Instant::now(),
        }
    }

    fn started() -> Self {
        let mut piped = Piped::new(None);
        piped.source.start(piped.now).unwrap();
        piped
    }

    fn write(&mut self, bytes: &[u8]) {
        self.writer.as_mut().unwrap().write_all(bytes).unwrap();
    }

    /// The number of the frame that was reported, if any was.
    fn advance(&mut self) -> Result<Option<u8>, Trouble> {
        let told = self.source.advance(self.now)?;
        Ok(told.map(|_| self.source.jpeg().unwrap()[6]))
    }

    fn later(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self
    }
}

fn ended(result: Result<Option<u8>, Trouble>) -> (String, bool) {
    match result {
        Err(Trouble::Ended { message, clean }) => (message, clean),
        other => panic!("not the end: {other:?}"),
    }
}

#[test]
fn a_frame_is_told_once_it_is_whole() {
    let mut piped = Piped::started();
    let bytes = frame(1);
    piped.write(&bytes[..20]);
    assert!(matches!(piped.advance(), Ok(None)));
    piped.write(&bytes[20..]);
    assert!(matches!(piped.advance(), Ok(Some(1))));
    assert_eq!(piped.source.jpeg().unwrap(), bytes);
}

#[test]
fn nothing_to_read_does_not_block() {
    let mut piped = Piped::started();
    assert!(matches!(piped.advance(), Ok(None)));
    assert_eq!(piped.source.deadline(), None);
}

#[test]
fn the_descriptor_stays_as_others_share_it() {
    let piped = Piped::started();
    let flags = fcntl_getfl(&piped.source.fd).unwrap();
    assert!(!flags.contains(OFlags::NONBLOCK));
}

#[test]
fn of_several_frames_in_one_read_the_newest_is_told() {
    let mut piped = Piped::started();
    piped.write(&[frame(1), frame(2), frame(3), frame(4)[..9].to_vec()].concat());
    assert!(matches!(piped.advance(), Ok(Some(3))));
    assert_eq!(piped.source.counts.skipped, 2);
    piped.write(&frame(4)[9..]);
    assert!(matches!(piped.advance(), Ok(Some(4))));
}

#[test]
fn the_time_of_capture_is_when_the_first_byte_came() {
    let mut piped = Piped::started();
    piped.write(&frame(1)[..9]);
    assert!(matches!(piped.advance(), Ok(None)));
    let between = SystemTime::now();
    thread::sleep(Duration::from_millis(2));
    piped.write(&frame(1)[9..]);
    let first = piped.source.advance(piped.now).unwrap().unwrap();
    assert!(first.at <= between);
    piped.write(&frame(2));
    let second = piped.source.advance(piped.now).unwrap().unwrap();
    assert!(second.at > between);
}

#[test]
fn while_stopped_nothing_is_read() {
    let mut piped = Piped::new(None);
    piped.write(&frame(1));
    assert!(matches!(piped.advance(), Ok(None)));
    assert_eq!(piped.source.deadline(), None);
    assert_eq!(ioctl_fionread(&piped.source.fd), Ok(frame(1).len() as u64));
}

#[test]
fn what_was_written_before_the_start_is_never_told() {
    let mut piped = Piped::new(None);
    // The pipe holds a frame and a half; the writer sleeps with the remaining half and one more frame still to write.
    piped.write(&[frame(1), frame(2)[..9].to_vec()].concat());
    piped.source.start(piped.now).unwrap();
    assert!(matches!(piped.advance(), Ok(None)));
    // The pipe is empty now, but only because the writer has not run yet.
    assert!(matches!(piped.advance(), Ok(None)));
    piped.write(&[&frame(2)[9..], &frame(3), &frame(4)[..9]].concat());
    assert!(matches!(
        piped.later(Duration::from_millis(1)).advance(),
        Ok(None)
    ));
    // Now the writer waits for its camera, in the middle of a frame that it began too early.
    assert!(piped.source.deadline().is_some());
    assert!(matches!(piped.later(QUIET).advance(), Ok(None)));
    assert_eq!(piped.source.deadline(), None);
    piped.write(&[&frame(4)[9..], &frame(5)].concat());
    assert!(matches!(piped.advance(), Ok(Some(5))));
    assert_eq!(piped.source.counts.old, 4);
}

#[test]
fn a_frame_that_a_pause_cuts_in_two_is_not_told() {
    let mut piped = Piped::started();
    piped.write(&frame(1)[..9]);
    assert!(matches!(piped.advance(), Ok(None)));
    piped.source.stop();
    piped.source.start(piped.now).unwrap();
    piped.write(&[&frame(1)[9..], &frame(2)].concat());
    assert!(matches!(piped.advance(), Ok(Some(2))));
}

#[test]
fn a_writer_that_never_pauses_is_believed_after_a_while() {
    let mut piped = Piped::new(None);
    piped.write(&frame(0));
    piped.source.start(piped.now).unwrap();
    let start = piped.now;
    let told = (1..).find_map(|number| {
        piped.write(&frame(number));
        piped.later(QUIET / 2).advance().unwrap()
    });
    assert!(told.is_some());
    let waited = piped.now - start;
    assert!(waited >= CATCH_UP_TIME && waited <= CATCH_UP_TIME + QUIET);
}

#[test]
fn a_writer_that_pours_is_believed_after_so_many_bytes() {
    let mut piped = Piped::new(None);
    let padding = [0; 8000];
    piped.write(&padding);
    piped.source.start(piped.now).unwrap();
    let mut written = 8000;
    while piped.advance().unwrap().is_none() {
        piped.write(&padding);
        piped.write(&frame(1));
        written += padding.len() + frame(1).len();
    }
    assert!(written as u64 > CATCH_UP_BYTES && (written as u64) < CATCH_UP_BYTES + 30_000);
}

#[test]
fn every_broken_frame_is_counted_whether_a_good_one_came_with_it_or_not() {
    let mut piped = Piped::started();
    piped.write(&[broken(), frame(1)].concat());
    assert!(matches!(piped.advance(), Ok(Some(1))));
    let told = piped.source.discarded().unwrap();
    let why = "stdin: wrong segment length at offset 2";
    assert_eq!((told.count, &told.why[..]), (1, why));
    assert_eq!(piped.source.discarded(), None);
    piped.write(&[broken(), broken(), broken()].concat());
    assert!(matches!(piped.advance(), Ok(None)));
    assert_eq!(piped.source.discarded().map(|told| told.count), Some(3));
    assert!(matches!(piped.advance(), Ok(None)));
}

#[test]
fn a_producer_that_never_ends_its_frames_is_seen_all_the_same() {
    let unended = |number| frame(number)[..frame(number).len() - 2].to_vec();
    let mut piped = Piped::started();
    for number in 0..10 {
        piped.write(&unended(number));
        // A frame without an end is known when the next one begins.
        let expected = number.checked_sub(1).filter(|before| *before >= 5);
        assert_eq!(piped.advance().unwrap(), expected, "{number}");
    }
    assert_eq!(piped.source.jpeg().unwrap(), frame(8));
    assert_eq!(piped.source.discarded().map(|told| told.count), Some(5));
    piped.writer = None;
    let (message, clean) = ended(piped.advance());
    assert!(clean, "{message}");
}

#[test]
fn the_end_between_frames_is_clean() {
    let mut piped = Piped::started();
    piped.write(&[frame(1), frame(2)].concat());
    piped.writer = None;
    assert!(matches!(piped.advance(), Ok(Some(2))));
    let (message, clean) = ended(piped.advance());
    assert_eq!(message, "stdin: end of input after 2 frames, 1 skipped");
    assert!(clean);
}

#[test]
fn the_end_within_a_frame_or_without_one_is_not_clean() {
    let mut piped = Piped::started();
    piped.write(&[&frame(1), &frame(2)[..9]].concat());
    piped.writer = None;
    assert!(matches!(piped.advance(), Ok(Some(1))));
    let (message, clean) = ended(piped.advance());
    assert_eq!(
        message,
        "stdin: end of input after 1 frame, in the middle of a frame"
    );
    assert!(!clean);

    let mut piped = Piped::started();
    piped.writer = None;
    let (message, clean) = ended(piped.advance());
    assert_eq!(message, "stdin: end of input after 0 frames");
    assert!(!clean);
}

#[test]
fn a_file_gives_a_frame_per_tick() {
    let mut file = memory_file();
    file.write_all(&[frame(1), broken(), frame(2)].concat())
        .unwrap();
    file.rewind().unwrap();
    let mut source = Stdin::new(file, Some(10.0)).unwrap();
    assert!(source.fd().is_none());
    let mut now = Instant::now();
    source.start(now).unwrap();
    assert!(source.advance(now).unwrap().is_some());
    assert_eq!(source.jpeg().unwrap()[6], 1);
    assert!(source.advance(now).unwrap().is_none());
    let tenth = Duration::from_millis(100);
    assert_eq!(source.deadline(), Some(now + tenth));
    now += tenth;
    assert!(source.advance(now).unwrap().is_some());
    assert_eq!(source.jpeg().unwrap()[6], 2);
    let end = source.advance(now + tenth).map(|_| None);
    let (message, clean) = ended(end);
    assert_eq!(message, "stdin: end of input after 2 frames, 1 broken");
    assert!(clean);
}

#[test]
fn no_input_at_all_ends_at_once() {
    let null = File::open("/dev/null").unwrap();
    let mut source = Stdin::new(null, None).unwrap();
    let now = Instant::now();
    source.start(now).unwrap();
    assert_eq!(source.deadline(), Some(now));
    let (_, clean) = ended(source.advance(now).map(|_| None));
    assert!(!clean);
}

/// A file in memory, which disappears with its descriptor.
fn memory_file() -> File {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    rustix::fs::memfd_create("stream", flags).unwrap().into()
}
