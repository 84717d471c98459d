use super::*;
use crate::picture::jpeg::check;
use crate::picture::jpeg::sample::{DQT, EOI, SOF, SOI, SOS};

/// A frame of these segments, and its defect if it has one.
fn defect(segments: &[&[u8]]) -> Option<Defect> {
    check(&[SOI, &segments.concat(), &[1, 2, 3], EOI].concat()).err()
}

/// The segment with one byte changed.
fn changed(segment: &[u8], at: usize, to: u8) -> Vec<u8> {
    let mut segment = segment.to_vec();
    segment[at] = to;
    segment
}

/// A segment with the right length.
fn segment(code: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u16 + 2).to_be_bytes();
    [&[0xFF, code], &length[..], body].concat()
}

/// A Huffman table: class and number, the counts of codes of one bit and more, the rest of them 0, and values.
fn huffman(first: u8, counts: &[u8], values: usize) -> Vec<u8> {
    let mut body = vec![first];
    body.extend(counts);
    body.resize(17, 0);
    body.resize(17 + values, 7);
    segment(marker::DHT, &body)
}

#[test]
fn quantization_tables_are_those_that_can_be() {
    let tables = |body: &[u8]| segment(marker::DQT, body);
    let one = |first| [&[first], &[1; 64][..]].concat();
    let wide = |first| [&[first], &[1; 128][..]].concat();
    for body in [
        one(0),
        [wide(0x10), one(0)].concat(),
        [one(3), one(0)].concat(),
    ] {
        assert_eq!(defect(&[&tables(&body), SOF, SOS]), None);
    }
    let bad = [
        one(4),
        one(0x10),
        wide(0),
        wide(0x20),
        one(0)[..64].to_vec(),
        [one(0), vec![1]].concat(),
    ];
    for body in bad {
        let found = defect(&[&tables(&body), SOF, SOS]);
        assert_eq!(found, Some(Defect::Quantization(2)), "{body:02x?}");
    }
    let other = [&tables(&one(1))[..], SOF, SOS];
    assert_eq!(defect(&other), Some(Defect::NoQuantization));
}

#[test]
fn huffman_tables_are_those_that_can_be() {
    let check = |table: &[u8]| defect(&[table, DQT, SOF, SOS]);
    let all_lengths = [1; 16];
    for good in [
        huffman(0x00, &[1], 1),
        huffman(0x13, &[0, 3], 3),
        huffman(0x00, &all_lengths, 16),
        huffman(0x10, &[0, 0, 0, 0, 0, 0, 0, 0, 255], 255),
        huffman(0x00, &[], 0),
    ] {
        assert_eq!(check(&good), None, "{good:02x?}");
    }
    for bad in [
        // A class, a number, too many codes for their length, one of ones alone, more codes than values.
        huffman(0x20, &[1], 1),
        huffman(0x04, &[1], 1),
        huffman(0x00, &[3], 3),
        huffman(0x00, &[2], 2),
        huffman(0x00, &[1, 2], 3),
        huffman(0x10, &[0, 0, 0, 0, 0, 0, 0, 0, 200, 100], 300),
        huffman(0x00, &[0, 3], 2),
        huffman(0x00, &[0, 3], 4),
        changed(&huffman(0x00, &[1], 1), 21, 16),
    ] {
        assert_eq!(check(&bad), Some(Defect::Huffman(2)), "{bad:02x?}");
    }
}

#[test]
fn frame_headers_are_those_that_can_be() {
    let check = |header: &[u8]| defect(&[DQT, header, SOS]);
    let at = 2 + DQT.len();
    let bad = Some(Defect::FrameHeader(at));
    for (position, value, expected) in [
        (4, 8, None),
        (
            4,
            12,
            Some(Defect::Process("a picture of 12 bits per sample")),
        ),
        (4, 0, bad),
        (4, 9, bad),
        (5, 1, None),
        (9, 0, Some(Defect::BadLength(at))),
        (9, 2, Some(Defect::BadLength(at))),
        (11, 0x44, None),
        (11, 0x01, bad),
        (11, 0x10, bad),
        (11, 0x51, bad),
        (11, 0x15, bad),
        (12, 4, bad),
        (12, 3, Some(Defect::NoQuantization)),
    ] {
        let header = changed(SOF, position, value);
        assert_eq!(check(&header), expected, "byte {position} is {value}");
    }
    let two = segment(marker::SOF0, &[8, 0, 48, 0, 64, 2, 1, 0x11, 0, 2, 0x11, 0]);
    assert_eq!(check(&two), bad);
    let again = Some(Defect::FrameHeader(at + SOF.len()));
    assert_eq!(defect(&[DQT, SOF, SOF, SOS]), again);
}

#[test]
fn what_no_browser_shows_is_refused_by_its_name() {
    for (code, name) in [
        (0xC0, None),
        (0xC1, None),
        (0xC3, Some("a lossless picture")),
        (0xC5, Some("a hierarchical picture")),
        (0xC7, Some("a hierarchical picture")),
        (0xC9, Some("a picture with arithmetic coding")),
        (0xCA, Some("a picture with arithmetic coding")),
        (0xCB, Some("a picture with arithmetic coding")),
        (0xCF, Some("a picture with arithmetic coding")),
    ] {
        let found = defect(&[DQT, &changed(SOF, 1, code), SOS]);
        assert_eq!(found, name.map(Defect::Process), "{code:02x}");
    }
    let told = Defect::Process("a lossless picture").to_string();
    assert_eq!(told, "a lossless picture, which no browser shows");
}

#[test]
fn scan_headers_are_those_that_can_be() {
    let at = 2 + DQT.len() + SOF.len();
    let bad = Some(Defect::ScanHeader(at));
    for (position, value, expected) in [
        (4, 0, Some(Defect::BadLength(at))),
        (4, 2, Some(Defect::BadLength(at))),
        (5, 2, bad),
        (6, 0x33, None),
        (6, 0x40, bad),
        (6, 0x04, bad),
        // Cameras write anything here, and decoders of sequential pictures do not look.
        (7, 63, None),
        (8, 0, None),
        (9, 0xFF, bad),
    ] {
        let found = defect(&[DQT, SOF, &changed(SOS, position, value)]);
        assert_eq!(found, expected, "byte {position} is {value}");
    }
}

#[test]
fn a_scan_of_several_components_has_as_many_blocks_as_a_unit_holds() {
    let frame = |luma| {
        let body = [8, 0, 48, 0, 64, 3, 1, luma, 0, 2, 0x11, 0, 3, 0x11, 0];
        segment(marker::SOF0, &body)
    };
    let scan = segment(marker::SOS, &[3, 1, 0, 2, 0, 3, 0, 0, 63, 0]);
    assert_eq!(defect(&[DQT, &frame(0x42), &scan]), None);
    let at = 2 + DQT.len() + frame(0).len();
    let found = defect(&[DQT, &frame(0x43), &scan]);
    assert_eq!(found, Some(Defect::ScanHeader(at)));
    assert_eq!(defect(&[DQT, &frame(0x44), SOS]), None, "alone it may");
}

#[test]
fn progressive_scans_are_those_that_can_be() {
    let progressive = changed(SOF, 1, 0xC2);
    let at = 2 + DQT.len() + SOF.len();
    for (scan, good) in [
        ([0, 0, 0x00], true),
        ([0, 0, 0x01], true),
        ([0, 0, 0x10], true),
        ([1, 63, 0x02], true),
        ([6, 5, 0x00], false),
        ([1, 64, 0x00], false),
        ([0, 63, 0x00], false),
        ([0, 0, 0x20], false),
        ([0, 0, 0x0E], false),
    ] {
        let header = [&SOS[..7], &scan].concat();
        let found = defect(&[DQT, &progressive, &header]);
        let expected = (!good).then_some(Defect::ScanHeader(at));
        assert_eq!(found, expected, "{scan:02x?}");
    }
}

#[test]
fn a_restart_interval_has_two_bytes() {
    let interval = |body| defect(&[DQT, &segment(marker::DRI, body), SOF, SOS]);
    assert_eq!(interval(&[0, 8]), None);
    for body in [&[8][..], &[0, 0, 8]] {
        assert_eq!(interval(body), Some(Defect::BadLength(2 + DQT.len())));
    }
}
