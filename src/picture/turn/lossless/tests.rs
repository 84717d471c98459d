//! Pictures of all kinds that cameras send, in all turns, looked at by independent decoders.

use jpeg_encoder::{ColorType, SamplingFactor};

use super::*;
use crate::picture::jpeg::exif;
use crate::picture::jpeg::{self, Size};

/// How a test picture is coded.
#[derive(Clone, Copy, Debug)]
struct Kind {
    sampling: SamplingFactor,
    grey: bool,
    restart: u16,
    quality: u8,
}

const USUAL: Kind = Kind {
    sampling: SamplingFactor::F_2_2,
    grey: false,
    restart: 0,
    quality: 85,
};

const KINDS: [Kind; 6] = [
    USUAL,
    // As USB cameras send them.
    Kind {
        sampling: SamplingFactor::F_2_1,
        restart: 4,
        ..USUAL
    },
    Kind {
        sampling: SamplingFactor::F_1_1,
        quality: 100,
        ..USUAL
    },
    Kind {
        sampling: SamplingFactor::F_1_2,
        quality: 30,
        ..USUAL
    },
    Kind {
        grey: true,
        restart: 7,
        ..USUAL
    },
    Kind {
        restart: 3,
        quality: 98,
        ..USUAL
    },
];

/// A picture in which no two places look alike: smooth in most, and with noise in one corner.
fn samples(size: Size, channels: usize) -> Vec<u8> {
    let (width, height) = (usize::from(size.width), usize::from(size.height));
    let mut random = 1_u32;
    let mut samples = Vec::with_capacity(width * height * channels);
    for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = match x < width / 3 && y < height / 4 {
            true => (random >> 26) as usize,
            false => 0,
        };
        let all = [
            x * 190 / width + noise,
            y * 190 / height + noise,
            (x + y) / 8 % 200,
        ];
        samples.extend(all[..channels].iter().map(|sample| *sample as u8));
    }
    samples
}

fn coded(size: Size, kind: Kind) -> Vec<u8> {
    let mut jpeg = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut jpeg, kind.quality);
    encoder.set_sampling_factor(kind.sampling);
    if kind.restart > 0 {
        encoder.set_restart_interval(kind.restart);
    }
    let (colours, channels) = match kind.grey {
        true => (ColorType::Luma, 1),
        false => (ColorType::Rgb, 3),
    };
    let samples = samples(size, channels);
    encoder
        .encode(&samples, size.width, size.height, colours)
        .unwrap();
    jpeg
}

fn decoded(jpeg: &[u8]) -> (Size, usize, Vec<u8>) {
    let mut decoder = jpeg_decoder::Decoder::new(jpeg);
    let pixels = decoder.decode().unwrap();
    let about = decoder.info().unwrap();
    let (width, height) = (about.width, about.height);
    let channels = about.pixel_format.pixel_bytes();
    (Size { width, height }, channels, pixels)
}

fn turned(jpeg: &[u8], turn: Transform) -> Vec<u8> {
    let mut into = vec![1, 2, 3];
    let size = Turner::default().turn(jpeg, turn, &mut into).unwrap();
    assert_eq!(jpeg::check(&into), Ok(size));
    into
}

/// How far the turned picture is from what it should be, sample by sample: the mean and the most. What was trimmed is
/// left out.
fn distance(before: &[u8], after: &[u8], turn: Transform) -> (f64, u8) {
    let (size, channels, before) = decoded(before);
    let (turned, _, after) = decoded(after);
    let (mut sum, mut most) = (0.0, 0);
    let (width, height) = (usize::from(turned.width), usize::from(turned.height));
    for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
        let (mut from_x, mut from_y) = (x, y);
        if turn.horizontal {
            from_x = width - 1 - x;
        }
        if turn.vertical {
            from_y = height - 1 - y;
        }
        if turn.transposed {
            (from_x, from_y) = (from_y, from_x);
        }
        let from = (from_y * usize::from(size.width) + from_x) * channels;
        let to = (y * width + x) * channels;
        for (one, other) in before[from..from + channels]
            .iter()
            .zip(&after[to..to + channels])
        {
            sum += f64::from(one.abs_diff(*other));
            most = most.max(one.abs_diff(*other));
        }
    }
    (sum / (width * height * channels) as f64, most)
}

const SIZES: [Size; 3] = [
    Size {
        width: 640,
        height: 480,
    },
    Size {
        width: 641,
        height: 483,
    },
    Size {
        width: 37,
        height: 90,
    },
];

#[test]
fn every_kind_of_picture_is_turned_in_every_way() {
    for size in &SIZES[1..] {
        for kind in KINDS {
            let before = coded(*size, kind);
            for turn in Transform::ALL {
                let after = turned(&before, turn);
                let (mean, most) = distance(&before, &after, turn);
                // Decoders round differently at the left and at the right.
                assert!(
                    mean < 0.5 && most < 40,
                    "{size} {kind:?} {turn}: {mean} {most}"
                );
            }
        }
    }
}

#[test]
fn a_picture_that_is_turned_on_and_on_comes_back_without_loss() {
    let size = Size {
        width: 96,
        height: 64,
    };
    for kind in KINDS {
        let picture = coded(size, kind);
        let upright = turned(&picture, Transform::default());
        for first in Transform::ALL {
            let once = turned(&picture, first);
            for second in Transform::ALL {
                let twice = turned(&once, second);
                assert_eq!(twice, turned(&picture, first.then(second)));
            }
        }
        let quarter = Transform::of_orientation(6);
        let around = (0..4).fold(picture, |picture, _| turned(&picture, quarter));
        assert_eq!(around, upright);
    }
}

#[test]
fn the_size_is_that_of_whole_mcus_where_an_edge_changes_sides() {
    let size = Size {
        width: 1920,
        height: 1080,
    };
    let picture = coded(size, USUAL);
    for (turn, expected) in [
        (2, "1920x1080"),
        (3, "1920x1072"),
        (4, "1920x1072"),
        (5, "1080x1920"),
        (6, "1072x1920"),
        (7, "1072x1920"),
        (8, "1080x1920"),
    ] {
        let after = turned(&picture, Transform::of_orientation(turn));
        assert_eq!(jpeg::check(&after).unwrap().to_string(), expected);
    }
}

#[test]
fn what_exif_asks_for_is_done_once() {
    let plain = coded(SIZES[0], USUAL);
    for asked in 1..=8 {
        let frame = [&plain[..2], &exif::segment(asked), &plain[2..]].concat();
        for turn in Transform::ALL {
            let after = turned(&frame, turn);
            let both = Transform::of_orientation(asked).then(turn);
            let expected = turned(&plain, both);
            if asked == 1 {
                assert_eq!(after.len(), expected.len() + exif::segment(1).len());
            } else {
                assert_eq!(after, expected, "{asked} {turn}");
            }
        }
    }
}

#[test]
fn comments_stay_and_restart_markers_go() {
    let plain = coded(SIZES[0], KINDS[1]);
    let frame = [
        &plain[..2],
        &[0xFF, marker::COM, 0, 4, b'h', b'i'],
        &plain[2..],
    ]
    .concat();
    let after = turned(&frame, Transform::of_orientation(3));
    assert_eq!(jpeg::comments(&after).collect::<Vec<_>>(), [b"hi"]);
    let scan = jpeg::head(&after).unwrap().scan;
    let is_restart = |two: &[u8]| two[0] == 0xFF && matches!(two[1], marker::RST0..=marker::RST7);
    assert!(plain.windows(2).any(is_restart));
    assert!(!after[scan..].windows(2).any(is_restart));
    assert!(
        !after[..scan]
            .windows(2)
            .any(|two| two == [0xFF, marker::DRI])
    );
}

#[test]
fn damage_is_found() {
    let size = SIZES[0];
    for kind in [USUAL, KINDS[1]] {
        let whole = coded(size, kind);
        let scan = jpeg::head(&whole).unwrap().scan;
        let mut turner = Turner::default();
        let mut into = Vec::new();
        let turn = Transform::of_orientation(3);
        let end = whole.len() - 2;
        for cut in [scan, scan + 1, scan + (end - scan) / 2, end - 8] {
            let frame = [&whole[..cut], &[0xFF, marker::EOI]].concat();
            let told = turner.turn(&frame, turn, &mut into);
            assert_eq!(told, Err(Defect::Data), "cut at {cut}");
        }
        let mut overwritten = whole.clone();
        overwritten[scan + 2000..scan + 2040].fill(0x55);
        assert_eq!(
            turner.turn(&overwritten, turn, &mut into),
            Err(Defect::Data)
        );
        // The memory is fine for the next one.
        assert_eq!(turner.turn(&whole, turn, &mut into), Ok(size));
        // Zeros behind the last block are what some cameras fill up with.
        let filled = [&whole[..end], &[0; 9], &whole[end..]].concat();
        assert_eq!(turner.turn(&filled, turn, &mut into), Ok(size));
    }
}

#[test]
fn any_damage_is_an_error_or_a_picture() {
    let size = Size {
        width: 24,
        height: 40,
    };
    let (mut turner, mut into) = (Turner::default(), Vec::new());
    for kind in [KINDS[1], KINDS[4]] {
        let whole = coded(size, kind);
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[at] ^= 1 << bit;
                let is_picture = jpeg::head(&damaged).is_ok();
                for orientation in [3, 5] {
                    let turn = Transform::of_orientation(orientation);
                    let told = turner.turn(&damaged, turn, &mut into);
                    if let (Ok(size), true) = (told, is_picture) {
                        assert_eq!(jpeg::check(&into), Ok(size));
                    }
                }
            }
        }
    }
}

#[test]
fn what_cameras_do_not_send_is_refused_in_words() {
    let mut jpeg = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut jpeg, 80);
    encoder.set_progressive(true);
    encoder
        .encode(&[100; 32 * 32], 32, 32, ColorType::Luma)
        .unwrap();
    let (mut turner, mut into) = (Turner::default(), Vec::new());
    let told = turner
        .turn(&jpeg, Transform::default(), &mut into)
        .unwrap_err();
    assert_eq!(
        told.to_string(),
        "a progressive picture, which cannot be turned"
    );
    let small = Size {
        width: 15,
        height: 40,
    };
    let mirror = Transform::of_orientation(2);
    let told = turner.turn(&coded(small, USUAL), mirror, &mut into);
    let told = told.unwrap_err().to_string();
    assert_eq!(
        told,
        "a picture of less than one MCU, which cannot be turned"
    );
}

/// libjpeg-turbo's own transformer, to which this one is held.
#[cfg(any(feature = "turbojpeg", feature = "turbojpeg-system"))]
fn by_libjpeg_turbo(picture: &[u8], turn: Transform, optimize: bool) -> Vec<u8> {
    use turbojpeg::{Transform, TransformOp, Transformer};
    let op = match (turn.transposed, turn.horizontal, turn.vertical) {
        (false, false, false) => TransformOp::None,
        (false, true, false) => TransformOp::Hflip,
        (false, false, true) => TransformOp::Vflip,
        (false, true, true) => TransformOp::Rot180,
        (true, false, false) => TransformOp::Transpose,
        (true, true, false) => TransformOp::Rot90,
        (true, false, true) => TransformOp::Rot270,
        (true, true, true) => TransformOp::Transverse,
    };
    let mut transform = Transform::op(op);
    (transform.trim, transform.optimize) = (true, optimize);
    // A new one each time: with several buffers that grow, one transformer frees memory twice.
    let mut transformer = Transformer::new().unwrap();
    transformer.transform_to_vec(&transform, picture).unwrap()
}

#[cfg(any(feature = "turbojpeg", feature = "turbojpeg-system"))]
#[test]
fn libjpeg_turbo_gives_the_same_bytes() {
    let scan = |jpeg: &[u8]| {
        let head = jpeg::head(jpeg).unwrap();
        (head.size, jpeg[head.scan..].to_vec())
    };
    for size in SIZES {
        for kind in KINDS {
            let picture = coded(size, kind);
            for turn in Transform::ALL {
                let theirs = by_libjpeg_turbo(&picture, turn, false);
                let ours = turned(&picture, turn);
                let case = format!("{size} {kind:?} {turn}");
                // Of MCUs that are there only in part they leave out the blocks that nobody sees.
                match size == SIZES[0] {
                    true => assert!(scan(&theirs) == scan(&ours), "{case}"),
                    false => assert!(decoded(&theirs) == decoded(&ours), "{case}"),
                }
                // With Huffman tables of its own, as few cameras have them.
                let optimized = by_libjpeg_turbo(&picture, Transform::default(), true);
                assert!(optimized.len() < theirs.len() || kind.grey);
                assert!(
                    scan(&turned(&optimized, turn))
                        == scan(&turned(&turned(&picture, Transform::default()), turn))
                        || size != SIZES[0],
                    "{case}"
                );
            }
        }
    }
}
