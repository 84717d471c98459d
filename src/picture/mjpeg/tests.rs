use super::*;
use crate::picture::encode::{Encoder, Planes};
use crate::picture::jpeg;

/// A picture of noise.
pub(super) fn noisy((width, height): (u16, u16), quality: u8) -> Vec<u8> {
    let (row, rows) = (usize::from(width), usize::from(height));
    let noise = |seed: usize| -> Vec<u8> {
        let at = |i: usize| ((i * i * seed + i / 7 * seed) >> 3) as u8;
        (0..row * rows).map(at).collect()
    };
    let (y, cb, cr) = (noise(3), noise(5), noise(11));
    let planes = Planes::new((width, height), (&y, row), (&cb, row / 2), (&cr, row / 2)).unwrap();
    let mut jpeg = Vec::new();
    let mut encoder = Encoder::new(quality).unwrap();
    encoder.encode(planes, None, &mut jpeg).unwrap();
    jpeg
}

/// A picture that is not empty, and the same without its tables.
fn pictures() -> (Vec<u8>, Vec<u8>) {
    let jpeg = noisy((64, 48), 80);
    let mut bare = vec![0xFF, marker::SOI];
    let mut at = 2;
    loop {
        let length = usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
        let code = jpeg[at + 1];
        if code == marker::SOS {
            break;
        }
        if code != marker::DHT {
            bare.extend(&jpeg[at..at + 2 + length]);
        }
        at += 2 + length;
    }
    bare.extend(&jpeg[at..]);
    assert!(bare.len() < jpeg.len() - 400);
    (jpeg, bare)
}

fn pixels(jpeg: &[u8]) -> Vec<u8> {
    jpeg_decoder::Decoder::new(jpeg).decode().unwrap()
}

/// What a camera of its own makes of the buffer.
fn cleaned(bytes: &[u8]) -> Result<Vec<u8>, Defect> {
    camera().frame(bytes).map(<[u8]>::to_vec)
}

fn camera() -> Mjpeg {
    Mjpeg::new("/dev/video7".into())
}

#[test]
fn missing_tables_are_put_in_and_the_picture_is_the_same() {
    let (jpeg, bare) = pictures();
    let cleaned = cleaned(&bare).unwrap();
    assert_eq!(cleaned.len(), bare.len() + 420);
    assert!(jpeg::check(&cleaned).is_ok());
    assert_eq!(jpeg::head(&cleaned).unwrap().missing_tables, None);
    assert_eq!(pixels(&cleaned), pixels(&jpeg));
}

#[test]
fn a_whole_picture_is_passed_on_where_it_lies() {
    let (jpeg, _) = pictures();
    let mut camera = camera();
    let frame = camera.frame(&jpeg).unwrap();
    assert_eq!(frame.as_ptr_range(), jpeg.as_ptr_range());
    assert_eq!(camera.discarded(), None);
}

#[test]
fn whatever_lies_behind_the_end_is_left_out() {
    let (jpeg, bare) = pictures();
    let old = &jpeg[jpeg.len() / 2..];
    let junk: [&[u8]; 8] = [
        &[0; 1],
        &[0; 3000],
        &[0xFF; 64],
        &[0xD9, 0xFF],
        &[0xFF, 0xD9],
        b"junk",
        old,
        &jpeg,
    ];
    for behind in junk {
        assert_eq!(cleaned(&[&jpeg, behind].concat()), Ok(jpeg.clone()));
        let with_tables = cleaned(&[&bare, behind].concat()).unwrap();
        assert_eq!(with_tables.len(), bare.len() + 420);
    }
}

#[test]
fn a_picture_cut_short_is_none_at_every_length() {
    let (jpeg, bare) = pictures();
    for whole in [jpeg, bare] {
        for len in 0..whole.len() {
            assert!(cleaned(&whole[..len]).is_err(), "{len}");
        }
    }
}

#[test]
fn the_whole_picture_behind_a_cut_one_is_taken_and_the_cut_one_counted() {
    let (jpeg, bare) = pictures();
    for cut_one in [&jpeg, &bare] {
        for cut in 4..cut_one.len() - 1 {
            let mut camera = camera();
            let buffer = [&cut_one[..cut], &jpeg].concat();
            assert_eq!(camera.frame(&buffer), Ok(&jpeg[..]), "cut at {cut}");
            let discarded = camera.discarded().map(|discarded| discarded.count);
            assert!(discarded >= Some(1), "cut at {cut}: {discarded:?}");
        }
    }
}

#[test]
fn junk_of_any_length_before_the_beginning_is_left_out() {
    let (jpeg, _) = pictures();
    let kinds: [fn(usize) -> u8; 4] = [
        |_| 0,
        |_| 0xFF,
        |at| (at * 83 % 251) as u8,
        |at| [0xFF, 0xD8][at % 2],
    ];
    for kind in kinds {
        for len in 0..600 {
            let junk: Vec<u8> = (0..len).map(kind).collect();
            let mut camera = camera();
            let buffer = [&junk, &jpeg[..]].concat();
            assert_eq!(camera.frame(&buffer), Ok(&jpeg[..]), "{len}");
            assert_eq!(camera.discarded(), None, "no picture was lost");
        }
    }
}

#[test]
fn of_a_camera_that_never_ends_its_pictures_each_is_ended_once_that_is_known() {
    let (jpeg, bare) = pictures();
    let cut = jpeg.len() - 2;
    let mut camera = camera();
    for _ in 0..PROOF {
        assert_eq!(camera.frame(&jpeg[..cut]), Err(Defect::NoEnd));
    }
    for _ in 0..3 {
        assert_eq!(camera.frame(&jpeg[..cut]), Ok(&jpeg[..]));
    }
    let completed = camera.frame(&bare[..bare.len() - 2]).unwrap();
    assert_eq!(pixels(completed), pixels(&jpeg));
}

#[test]
fn one_picture_with_an_end_makes_those_without_it_broken_ones() {
    let (jpeg, _) = pictures();
    let cut = jpeg.len() - 2;
    for whole_one_at in 0..PROOF + 3 {
        let mut camera = camera();
        for at in 0..30 {
            let bytes = &jpeg[..if at == whole_one_at { jpeg.len() } else { cut }];
            let accepted = at == whole_one_at || (at >= PROOF && at < whole_one_at);
            assert_eq!(
                camera.frame(bytes).is_ok(),
                accepted,
                "{at} of {whole_one_at}"
            );
        }
    }
}

#[test]
fn pictures_marked_by_the_driver_are_counted_like_any_other() {
    let mut camera = camera();
    assert_eq!(camera.discarded(), None);
    camera.discard(Defect::NoEnd);
    camera.discard(Defect::Marked);
    let told = camera.discarded().unwrap();
    assert_eq!(
        (told.count, &told.why[..]),
        (2, "/dev/video7: the driver marked it as broken")
    );
    assert_eq!(camera.discarded(), None);
}
