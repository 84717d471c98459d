use super::*;
use crate::picture::encode::Encoder;

/// Two adjacent pixels of each colour, as in 4:2:2: white, yellow, cyan, green, magenta, red, blue, black.
const BARS: [[u8; 3]; 8] = [
    [255, 255, 255],
    [255, 255, 0],
    [0, 255, 255],
    [0, 255, 0],
    [255, 0, 255],
    [255, 0, 0],
    [0, 0, 255],
    [0, 0, 0],
];
const PER_BAR: usize = 16;

/// Y, Cb, Cr of a colour according to BT.601 (Rec. ITU-R BT.601-7, 2.5) or BT.709, in either range.
fn ycbcr(rgb: [u8; 3], full: bool, bt709: bool) -> [u8; 3] {
    let [r, g, b] = rgb.map(|channel| f64::from(channel) / 255.0);
    let (of_r, of_b) = if bt709 {
        (0.2126, 0.0722)
    } else {
        (0.299, 0.114)
    };
    let y = of_r * r + (1.0 - of_r - of_b) * g + of_b * b;
    let (cb, cr) = ((b - y) / (2.0 - 2.0 * of_b), (r - y) / (2.0 - 2.0 * of_r));
    let (luma, chroma, black) = if full {
        (255.0, 255.0, 0.0)
    } else {
        (219.0, 224.0, 16.0)
    };
    let round = |value: f64| value.round().clamp(0.0, 255.0) as u8;
    [
        round(black + luma * y),
        round(128.0 + chroma * cb),
        round(128.0 + chroma * cr),
    ]
}

/// The bars in a format, with lines padded by `pad` bytes.
fn frame(
    fourcc: &[u8; 4],
    (full, bt709): (bool, bool),
    height: usize,
    pad: usize,
) -> (Format, Vec<u8>) {
    let width = BARS.len() * PER_BAR;
    let rgb = |x: usize| BARS[x / PER_BAR];
    let yuv = |x: usize| ycbcr(rgb(x), full, bt709);
    let even = (0..width).step_by(2);
    let padded = |row: Vec<u8>, pad: usize| [row, vec![7; pad]].concat();
    let luma: Vec<u8> = (0..width).map(|x| yuv(x)[0]).collect();
    let pairs = |first: usize| -> Vec<u8> {
        let pair = |x| [yuv(x)[first], yuv(x)[3 - first]];
        even.clone().flat_map(pair).collect()
    };
    let plane = |i: usize| -> Vec<u8> { even.clone().map(|x| yuv(x)[i]).collect() };
    let (row, below): (Vec<u8>, Vec<Vec<u8>>) = match fourcc {
        b"YUYV" => {
            let four = |x| [yuv(x)[0], yuv(x)[1], yuv(x + 1)[0], yuv(x)[2]];
            (even.clone().flat_map(four).collect(), Vec::new())
        }
        b"UYVY" => {
            let four = |x| [yuv(x)[1], yuv(x)[0], yuv(x)[2], yuv(x + 1)[0]];
            (even.clone().flat_map(four).collect(), Vec::new())
        }
        b"RGB3" => ((0..width).flat_map(rgb).collect(), Vec::new()),
        b"GREY" => (luma, Vec::new()),
        b"NV12" => (luma, vec![padded(pairs(1), pad)]),
        b"NV21" => (luma, vec![padded(pairs(2), pad)]),
        _ => {
            let planes = [plane(1), plane(2)];
            (luma, planes.map(|row| padded(row, pad / 2)).to_vec())
        }
    };
    let row = padded(row, pad);
    let stride = row.len() as u32;
    let mut bytes = row.repeat(height);
    for row in below {
        bytes.extend(row.repeat(height.div_ceil(2)));
    }
    let format = Format {
        fourcc: Fourcc(*fourcc),
        width: width as u32,
        height: height as u32,
        stride,
        full_range: full,
        bt709,
    };
    (format, bytes)
}

fn decoded(format: &Format, bytes: &[u8]) -> Vec<u8> {
    let mut unpacker = Unpacker::new(format).unwrap();
    let mut jpeg = Vec::new();
    let planes = unpacker.unpack(bytes).unwrap();
    Encoder::new(95)
        .unwrap()
        .encode(planes, None, &mut jpeg)
        .unwrap();
    jpeg_decoder::Decoder::new(&jpeg[..]).decode().unwrap()
}

#[test]
fn the_colour_bars_come_out_right_in_every_format_range_matrix_and_padding() {
    for fourcc in [
        b"YUYV", b"UYVY", b"NV12", b"NV21", b"YU12", b"RGB3", b"GREY",
    ] {
        for (full, bt709, height, pad) in [
            (false, false, 16, 0),
            (true, false, 16, 0),
            (false, false, 18, 32),
            (true, false, 18, 32),
            (true, false, 17, 0),
            (false, true, 16, 32),
            (true, true, 17, 0),
        ] {
            let (format, bytes) = frame(fourcc, (full, bt709), height, pad);
            let pixels = decoded(&format, &bytes);
            for (i, bar) in BARS.iter().enumerate() {
                let grey = [ycbcr(*bar, true, bt709)[0]; 3];
                let expected = if fourcc == b"GREY" { &grey } else { bar };
                let at = ((height / 2) * BARS.len() * PER_BAR + i * PER_BAR + PER_BAR / 2) * 3;
                for (channel, expected) in pixels[at..at + 3].iter().zip(expected) {
                    let off = channel.abs_diff(*expected);
                    assert!(
                        off <= 5,
                        "{format:?}, bar {i}: {off} off, {:?}",
                        &pixels[at..at + 3]
                    );
                }
            }
        }
    }
}

#[test]
fn a_frame_cut_short_is_none_at_every_length() {
    for fourcc in [
        b"YUYV", b"UYVY", b"NV12", b"NV21", b"YU12", b"RGB3", b"GREY",
    ] {
        for full in [false, true] {
            let (format, bytes) = frame(fourcc, (full, !full), 4, 0);
            let mut unpacker = Unpacker::new(&format).unwrap();
            for len in (0..bytes.len()).step_by(7) {
                assert!(unpacker.unpack(&bytes[..len]).is_none(), "{format:?} {len}");
            }
            assert!(unpacker.unpack(&bytes).is_some());
        }
    }
}

#[test]
fn odd_widths_of_rgb_keep_their_last_column() {
    let format = Format {
        fourcc: Fourcc(*b"RGB3"),
        width: 17,
        height: 3,
        stride: 51,
        full_range: true,
        bt709: true,
    };
    let pixels = decoded(&format, &[200, 40, 40].repeat(51));
    assert!(pixels[48].abs_diff(200) < 6 && pixels[49].abs_diff(40) < 6);
}

#[test]
fn limited_range_is_stretched_to_its_ends_and_cut_off_beyond() {
    let ranges = Ranges::new();
    let luma = [0, 16, 126, 235, 255].map(|i: usize| ranges.luma[i]);
    assert_eq!(luma, [0, 0, 128, 255, 255]);
    let chroma = [0, 16, 128, 240, 255].map(|i: usize| ranges.chroma[i]);
    assert_eq!(chroma, [0, 0, 128, 255, 255]);
}

#[test]
fn formats_that_are_not_known_are_none() {
    assert_eq!(Pixels::of(Fourcc(*b"H264")), None);
    assert_eq!(Pixels::of(Fourcc(*b"MJPG")), Some(Pixels::Jpeg));
}
