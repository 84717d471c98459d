use super::*;
use crate::picture::LARGEST;
use crate::picture::jpeg::sample::{DHT, DQT, EOI, SOF, SOI, SOS};

const LIMIT: usize = LARGEST as usize;

const PROGRESSIVE: &[u8] = &[0xFF, 0xC2, 0, 11, 8, 0, 48, 0, 64, 1, 1, 0x11, 0];
/// Stuffed bytes and two restart markers.
const DATA: &[u8] = &[
    1, 0xFF, 0, 2, 0xFF, 0xD0, 3, 0xFF, 0xFF, 0xD1, 0xFF, 0, 0xD9, 4,
];

fn baseline() -> Vec<u8> {
    [SOI, DQT, DHT, SOF, SOS, DATA, EOI].concat()
}

fn progressive() -> Vec<u8> {
    let dc = [0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 0, 0x01];
    let ac = [0xFF, 0xDA, 0, 8, 1, 1, 0, 1, 63, 0];
    let refined = [0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 0, 0x10];
    let scan = |header: &[u8]| [DHT, header, DATA].concat();
    let dnl = [0xFF, 0xDC, 0, 4, 0, 48];
    let scans = [&scan(&dc)[..], &dnl, &scan(&ac), &[0xFF], &scan(&refined)].concat();
    [SOI, DQT, PROGRESSIVE, &scans, EOI].concat()
}

/// A frame with another one in its APP1 segment, as cameras with EXIF write it.
fn with_thumbnail() -> Vec<u8> {
    let thumbnail = baseline();
    let length = (thumbnail.len() as u16 + 2).to_be_bytes();
    let app1 = [&[0xFF, 0xE1], &length[..], &thumbnail].concat();
    [SOI, &app1, DQT, SOF, SOS, DATA, EOI].concat()
}

/// All kinds of frames, with all kinds of things between them.
fn stream() -> (Vec<u8>, Vec<Vec<u8>>) {
    let header = b"\r\n--frame\r\nContent-Type: image/jpeg\r\n\r\n";
    let frames = vec![baseline(), with_thumbnail(), progressive(), baseline()];
    let between: [&[u8]; 4] = [b"\xFFrub\xFF\xD8bish\xFF", &[], header, &[0; 7]];
    let parts = between.iter().zip(&frames);
    let bytes = parts
        .flat_map(|(gap, frame)| [gap, &frame[..]].concat())
        .collect();
    (bytes, frames)
}

#[derive(Debug, PartialEq)]
enum Seen {
    Frame(Vec<u8>),
    Unended(Vec<u8>),
    Broken(Defect),
}

/// The result of reading the chunks one by one.
fn split<'a>(limit: usize, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Seen> {
    let mut splitter = Splitter::new(limit);
    let mut seen = Vec::new();
    for chunk in chunks {
        splitter.feed(chunk);
        while let Some(event) = splitter.next_event() {
            seen.push(match event {
                Event::Frame(found) => Seen::Frame(splitter.frame(&found).to_vec()),
                Event::Unended(found) => Seen::Unended(splitter.frame(&found).to_vec()),
                Event::Broken(defect) => Seen::Broken(defect),
            });
        }
    }
    seen
}

fn whole(frames: &[Vec<u8>]) -> Vec<Seen> {
    frames.iter().cloned().map(Seen::Frame).collect()
}

/// xorshift64: the same garbage in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    /// Cuts into pieces of up to 40 bytes.
    fn cut<'a>(&mut self, mut bytes: &'a [u8]) -> Vec<&'a [u8]> {
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(self.below(40).min(bytes.len()));
            pieces.push(piece);
            bytes = rest;
        }
        pieces
    }
}

#[test]
fn a_stream_cut_at_any_byte_gives_the_same_frames() {
    let (bytes, frames) = stream();
    for cut in 0..=bytes.len() {
        let (first, second) = bytes.split_at(cut);
        assert_eq!(
            split(LIMIT, [first, second]),
            whole(&frames),
            "cut at {cut}"
        );
    }
}

#[test]
fn a_stream_that_comes_byte_by_byte_gives_the_same_frames() {
    let (bytes, frames) = stream();
    assert_eq!(split(LIMIT, bytes.chunks(1)), whole(&frames));
}

#[test]
fn what_belongs_to_no_frame_is_counted() {
    let (bytes, frames) = stream();
    for size in [1, 2, 3, 1000] {
        let mut splitter = Splitter::new(LIMIT);
        for chunk in bytes.chunks(size) {
            splitter.feed(chunk);
            while splitter.next_event().is_some() {}
        }
        let in_frames: usize = frames.iter().map(Vec::len).sum();
        assert_eq!(splitter.between(), (bytes.len() - in_frames) as u64);
        assert_eq!(splitter.position(), bytes.len() as u64);
    }
}

#[test]
fn a_new_frame_in_the_middle_of_one_ends_it() {
    let cut = [SOI, DQT, SOF, SOS, &[1, 2, 3]].concat();
    let bytes = [cut.clone(), baseline()].concat();
    let expected = [Seen::Unended(cut), Seen::Frame(baseline())];
    assert_eq!(split(LIMIT, [&bytes[..]]), expected);
    assert_eq!(split(LIMIT, bytes.chunks(1)), expected);
}

#[test]
fn damage_costs_no_more_than_the_frames_it_touches() {
    let bad_code = [SOI, DQT, SOF, SOS, &[1, 0xFF, 0x42, 2], EOI].concat();
    let bad_length = [SOI, &[0xFF, 0xE0, 0, 1], DQT, SOF, SOS, EOI].concat();
    let no_marker = [SOI, &[0xFF, 0xE0, 0, 2, 7], DQT, SOF, SOS, EOI].concat();
    let no_size = [SOI, SOS, DATA, EOI].concat();
    let no_scan = [SOI, SOF, EOI].concat();
    let cases = [
        (bad_code, Defect::BadMarker(95)),
        (bad_length, Defect::BadLength(2)),
        (no_marker, Defect::BadMarker(6)),
        (no_size, Defect::NoSize),
        (no_scan, Defect::NoScan),
    ];
    for (damaged, defect) in cases {
        let bytes = [progressive(), damaged, with_thumbnail()].concat();
        let expected = [
            Seen::Frame(progressive()),
            Seen::Broken(defect),
            Seen::Frame(with_thumbnail()),
        ];
        assert_eq!(split(LIMIT, bytes.chunks(7)), expected);
    }
}

#[test]
fn a_frame_of_just_the_limit_passes_and_one_byte_more_does_not() {
    let frame = baseline();
    let seen = split(frame.len(), [&frame[..]]);
    assert_eq!(seen, [Seen::Frame(frame.clone())]);
    let limit = frame.len() - 1;
    let seen = split(limit, [&frame[..]]);
    assert_eq!(seen[0], Seen::Broken(Defect::TooLong(limit)));
}

#[test]
fn a_frame_without_an_end_is_dropped_at_the_limit() {
    let endless = [SOI, DQT, SOF, SOS, &[5; 400]].concat();
    let segment = [SOI, &[0xFF, 0xE0, 0xFF, 0xFF]].concat();
    let filled = [SOI, &[0xFF; 400]].concat();
    for broken in [endless, segment, filled] {
        let bytes = [broken, baseline()].concat();
        let expected = [Seen::Broken(Defect::TooLong(200)), Seen::Frame(baseline())];
        for size in [1, 13, 1000] {
            assert_eq!(split(200, bytes.chunks(size)), expected);
        }
    }
}

#[test]
fn rubbish_and_damage_give_the_same_however_they_are_cut() {
    let mut dice = Dice(0x1234_5678_9ABC_DEF1);
    let (clean, _) = stream();
    for round in 0..3000 {
        let mut bytes = clean.repeat(2);
        for _ in 0..dice.below(6) {
            let at = dice.below(bytes.len());
            match dice.below(4) {
                0 => bytes[at] = dice.below(256) as u8,
                1 => bytes[at] = 0xFF,
                2 => drop(bytes.drain(at..bytes.len().min(at + dice.below(60)))),
                _ => drop(bytes.splice(at..at, (0..dice.below(50)).map(|n| (n * 83) as u8))),
            }
        }
        let pieces = dice.cut(&bytes);
        assert_eq!(split(700, pieces), split(700, [&bytes[..]]), "{round}");
    }
}

#[test]
fn pure_rubbish_holds_nothing_and_is_not_kept() {
    let mut dice = Dice(42);
    let mut splitter = Splitter::new(LIMIT);
    for _ in 0..2000 {
        let rubbish: Vec<u8> = (0..100)
            .map(|_| [0xFF, 0xD8, 0, 9][dice.below(4)])
            .collect();
        splitter.feed(&rubbish);
        while let Some(event) = splitter.next_event() {
            assert!(matches!(event, Event::Broken(_)), "{event:?}");
        }
    }
    assert!(splitter.buffer.capacity() < 300_000);
}

#[test]
fn a_taken_frame_outlives_what_is_read_next() {
    let (bytes, frames) = stream();
    let mut splitter = Splitter::new(LIMIT);
    let (mut taken, mut last) = (Vec::new(), Vec::new());
    for chunk in bytes.chunks(31) {
        splitter.feed(chunk);
        while let Some(event) = splitter.next_event() {
            let Event::Frame(found) = event else { continue };
            splitter.take(found, &mut last);
            assert_eq!(splitter.frame(&found), b"", "it left the buffer");
            taken.push(last.clone());
        }
    }
    assert_eq!(taken, frames);
    assert_eq!(splitter.position(), bytes.len() as u64);
}

#[test]
fn of_several_frames_in_one_read_the_last_can_be_taken() {
    let bytes = [baseline(), progressive(), baseline()[..9].to_vec()].concat();
    let mut splitter = Splitter::new(LIMIT);
    splitter.feed(&bytes);
    let mut last = None;
    while let Some(Event::Frame(found)) = splitter.next_event() {
        last = Some(found);
    }
    let mut frame = Vec::new();
    splitter.take(last.unwrap(), &mut frame);
    assert_eq!(frame, progressive());
    let unfinished = baseline().len() + progressive().len();
    assert_eq!(splitter.unfinished(), Some(unfinished as u64));
    splitter.feed(&baseline()[9..]);
    let Some(Event::Frame(found)) = splitter.next_event() else {
        panic!("the third frame is whole");
    };
    assert_eq!(splitter.frame(&found), baseline());
    assert_eq!(found.head.size.width, 64);
    assert_eq!(splitter.unfinished(), None);
}
