use std::sync::LazyLock;

use super::*;
use crate::picture::jpeg::{Defect, marker};
use crate::picture::mjpeg::Mjpeg;
use crate::picture::mjpeg::tests::noisy;

/// Pictures of noise, each of another length than the ones before.
fn picture(seed: usize) -> Vec<u8> {
    static BASE: LazyLock<Vec<u8>> = LazyLock::new(|| noisy((32, 32), 60));
    let (front, end) = BASE.split_at(BASE.len() - 2);
    // Stuffing and a restart marker in it, as far as the walk is concerned.
    let more = [seed as u8 & 0x7F, 0x55, 0xFF, 0, 0xFF, 0xD3].repeat(seed % 50 + 1);
    [front, &more, end].concat()
}

/// As Motion JPEG often is: without Huffman tables.
fn bare(jpeg: &[u8]) -> Vec<u8> {
    let at = jpeg.windows(2).position(|two| two == [0xFF, marker::DHT]);
    let at = at.unwrap();
    let mut bare = jpeg.to_vec();
    while bare[at..].starts_with(&[0xFF, marker::DHT]) {
        let length = usize::from(u16::from_be_bytes([bare[at + 2], bare[at + 3]]));
        bare.drain(at..at + 2 + length);
    }
    bare
}

/// A camera, and pictures as right ones of it.
struct Scene {
    camera: Mjpeg,
    made: usize,
    is_bare: bool,
}

impl Scene {
    fn new(is_bare: bool) -> Self {
        Scene {
            camera: Mjpeg::new("/dev/video7".into()),
            made: 0,
            is_bare,
        }
    }

    fn picture(&mut self) -> Vec<u8> {
        self.made += 1;
        match self.is_bare {
            true => bare(&picture(self.made)),
            false => picture(self.made),
        }
    }

    /// Lets the camera be right until it is trusted.
    fn trusted(&mut self) -> &mut Self {
        while self.camera.trust.samples.is_none() {
            let next = self.picture();
            self.camera.frame(&next).unwrap();
            assert!(self.made < 1_000_000, "it never is");
        }
        self.camera.discarded();
        self
    }

    /// What a trusted camera makes of the buffer is what one does that is not trusted.
    #[track_caller]
    fn makes_the_same_of(&mut self, buffer: &[u8], what: &str) -> Result<Vec<u8>, Defect> {
        let mut trusted = self.trusted().camera.clone();
        let mut other = trusted.clone();
        other.trust.lose();
        let expected = other.frame(buffer).map(<[u8]>::to_vec);
        let made = trusted.frame(buffer).map(<[u8]>::to_vec);
        assert_eq!(made, expected, "{what}");
        assert_eq!(trusted.discarded(), other.discarded(), "{what}");
        made
    }
}

#[test]
fn a_camera_is_trusted_after_a_while_and_until_something_is_odd() {
    for is_bare in [false, true] {
        let mut scene = Scene::new(is_bare);
        for _ in 0..WHILE {
            let next = scene.picture();
            assert_eq!(scene.camera.trust.head(&next), None);
            scene.camera.frame(&next).unwrap();
        }
        let next = scene.picture();
        let head = scene.camera.trust.head(&next).unwrap();
        assert_eq!(head, crate::picture::jpeg::head(&next).unwrap());
        let next = scene.picture();
        let frame = scene.camera.frame(&next).unwrap();
        if !is_bare {
            assert_eq!(frame.as_ptr_range(), next.as_ptr_range(), "not copied");
        }
        scene.camera.discard(Defect::Marked);
        let next = scene.picture();
        assert_eq!(scene.camera.trust.head(&next), None);
    }
}

#[test]
fn of_a_trusted_camera_a_whole_picture_behind_a_cut_one_is_still_found_wherever_it_was_cut() {
    for is_bare in [false, true] {
        let mut scene = Scene::new(is_bare);
        let (cut, whole) = (scene.picture(), scene.picture());
        for at in 1..=cut.len() {
            let buffer = [&cut[..at], &whole].concat();
            let made = scene.makes_the_same_of(&buffer, &format!("cut at {at}"));
            assert!(made.unwrap().len() < buffer.len() + 421 - at.min(421));
        }
    }
}

#[test]
fn of_a_trusted_camera_a_cut_picture_is_none() {
    let mut scene = Scene::new(false);
    let whole = scene.picture();
    for at in 0..whole.len() {
        let made = scene.makes_the_same_of(&whole[..at], &format!("cut at {at}"));
        assert!(made.is_err(), "cut at {at}");
    }
}

#[test]
fn of_a_trusted_camera_what_stands_around_the_picture_is_still_left_out() {
    let mut scene = Scene::new(false);
    let whole = scene.picture();
    for len in 1..400 {
        for kind in [|_| 0, |_| 0xFF, |at: usize| [0xFF, 0xD8][at % 2]] {
            let junk: Vec<u8> = (0..len).map(kind).collect();
            for buffer in [[&junk, &whole[..]].concat(), [&whole, &junk[..]].concat()] {
                let made = scene.makes_the_same_of(&buffer, &format!("{len} bytes"));
                assert_eq!(made.as_ref(), Ok(&whole), "{len} bytes");
            }
        }
    }
}

#[test]
fn of_a_trusted_camera_old_bytes_behind_the_end_are_still_left_out() {
    let mut scene = Scene::new(false);
    for first in 0..40 {
        let mut memory = vec![vec![0; 20_000]; 4];
        scene.trusted();
        // A driver that from then on takes a buffer's longest picture for its length.
        let mut lengths = [0; 4];
        for at in 0..60 {
            let (picture, of) = (scene.picture(), at % 4);
            memory[of][..picture.len()].copy_from_slice(&picture);
            lengths[of] = match at < first {
                true => picture.len(),
                false => picture.len().max(lengths[of]),
            };
            let buffer = &memory[of][..lengths[of]];
            assert_eq!(scene.camera.frame(buffer), Ok(&picture[..]), "{at}");
        }
    }
}

#[test]
fn of_a_trusted_camera_a_head_that_no_decoder_takes_is_still_a_broken_one() {
    let mut scene = Scene::new(false);
    let whole = scene.picture();
    let scan = crate::picture::jpeg::head(&whole).unwrap().scan;
    let mut broken = 0;
    for at in 0..scan {
        for value in [0, 0xFF, whole[at] ^ 0x10] {
            let mut damaged = whole.clone();
            damaged[at] = value;
            let made = scene.makes_the_same_of(&damaged, &format!("{value} at {at}"));
            broken += usize::from(made.is_err());
        }
    }
    assert!(broken > 200, "{broken} of {scan}");
}

#[test]
fn heads_that_change_are_not_trusted() {
    let mut scene = Scene::new(true);
    scene.trusted();
    let other = |scene: &mut Scene| {
        let mut next = scene.picture();
        let table = next.windows(2).position(|two| two == [0xFF, marker::DQT]);
        // One of the second table's values, which are nearest to the scan.
        next[table.unwrap() + 2 * 69 - 1] = 1;
        next
    };
    for _ in 0..WHILE {
        let next = other(&mut scene);
        assert_eq!(scene.camera.trust.head(&next), None);
        assert!(scene.camera.frame(&next).is_ok());
    }
    let next = other(&mut scene);
    assert!(
        scene.camera.trust.head(&next).is_some(),
        "they are the usual ones now"
    );
}
