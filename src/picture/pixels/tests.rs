use super::*;
use crate::picture::encode::Encoder;
use crate::picture::format::Fourcc;

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

/// A format by its definition: its planes, each with the pixels that a group of its bytes stands for (across and down) and the bytes
/// themselves: of which pixel in that group, and which component of it. Written down a second time, on purpose, from the kernel's
/// tables.
type Definition = (
    &'static [u8; 4],
    &'static [(usize, usize, &'static [(usize, u8)])],
);

const Y_PLANE: (usize, usize, &[(usize, u8)]) = (1, 1, &[(0, b'Y')]);
const FORMATS: [Definition; 34] = [
    (
        b"YUYV",
        &[(2, 1, &[(0, b'Y'), (0, b'U'), (1, b'Y'), (0, b'V')])],
    ),
    (
        b"UYVY",
        &[(2, 1, &[(0, b'U'), (0, b'Y'), (0, b'V'), (1, b'Y')])],
    ),
    (
        b"YVYU",
        &[(2, 1, &[(0, b'Y'), (0, b'V'), (1, b'Y'), (0, b'U')])],
    ),
    (
        b"VYUY",
        &[(2, 1, &[(0, b'V'), (0, b'Y'), (0, b'U'), (1, b'Y')])],
    ),
    (b"NV12", &[Y_PLANE, (2, 2, &[(0, b'U'), (0, b'V')])]),
    (b"NV21", &[Y_PLANE, (2, 2, &[(0, b'V'), (0, b'U')])]),
    (b"NM12", &[Y_PLANE, (2, 2, &[(0, b'U'), (0, b'V')])]),
    (b"NM21", &[Y_PLANE, (2, 2, &[(0, b'V'), (0, b'U')])]),
    (
        b"YU12",
        &[Y_PLANE, (2, 2, &[(0, b'U')]), (2, 2, &[(0, b'V')])],
    ),
    (
        b"YV12",
        &[Y_PLANE, (2, 2, &[(0, b'V')]), (2, 2, &[(0, b'U')])],
    ),
    (
        b"YM12",
        &[Y_PLANE, (2, 2, &[(0, b'U')]), (2, 2, &[(0, b'V')])],
    ),
    (
        b"YM21",
        &[Y_PLANE, (2, 2, &[(0, b'V')]), (2, 2, &[(0, b'U')])],
    ),
    (b"NV16", &[Y_PLANE, (2, 1, &[(0, b'U'), (0, b'V')])]),
    (b"NV61", &[Y_PLANE, (2, 1, &[(0, b'V'), (0, b'U')])]),
    (b"NM16", &[Y_PLANE, (2, 1, &[(0, b'U'), (0, b'V')])]),
    (b"NM61", &[Y_PLANE, (2, 1, &[(0, b'V'), (0, b'U')])]),
    (
        b"422P",
        &[Y_PLANE, (2, 1, &[(0, b'U')]), (2, 1, &[(0, b'V')])],
    ),
    (
        b"YM16",
        &[Y_PLANE, (2, 1, &[(0, b'U')]), (2, 1, &[(0, b'V')])],
    ),
    (
        b"YM61",
        &[Y_PLANE, (2, 1, &[(0, b'V')]), (2, 1, &[(0, b'U')])],
    ),
    (b"NV24", &[Y_PLANE, (1, 1, &[(0, b'U'), (0, b'V')])]),
    (b"NV42", &[Y_PLANE, (1, 1, &[(0, b'V'), (0, b'U')])]),
    (
        b"YM24",
        &[Y_PLANE, (1, 1, &[(0, b'U')]), (1, 1, &[(0, b'V')])],
    ),
    (
        b"YM42",
        &[Y_PLANE, (1, 1, &[(0, b'V')]), (1, 1, &[(0, b'U')])],
    ),
    (b"RGB3", &[(1, 1, &[(0, b'R'), (0, b'G'), (0, b'B')])]),
    (b"BGR3", &[(1, 1, &[(0, b'B'), (0, b'G'), (0, b'R')])]),
    (
        b"XR24",
        &[(1, 1, &[(0, b'B'), (0, b'G'), (0, b'R'), (0, b'X')])],
    ),
    (
        b"XB24",
        &[(1, 1, &[(0, b'R'), (0, b'G'), (0, b'B'), (0, b'X')])],
    ),
    (
        b"RX24",
        &[(1, 1, &[(0, b'X'), (0, b'B'), (0, b'G'), (0, b'R')])],
    ),
    (
        b"BX24",
        &[(1, 1, &[(0, b'X'), (0, b'R'), (0, b'G'), (0, b'B')])],
    ),
    (
        b"AR24",
        &[(1, 1, &[(0, b'B'), (0, b'G'), (0, b'R'), (0, b'X')])],
    ),
    (
        b"AB24",
        &[(1, 1, &[(0, b'R'), (0, b'G'), (0, b'B'), (0, b'X')])],
    ),
    (
        b"RA24",
        &[(1, 1, &[(0, b'X'), (0, b'B'), (0, b'G'), (0, b'R')])],
    ),
    (
        b"BA24",
        &[(1, 1, &[(0, b'X'), (0, b'R'), (0, b'G'), (0, b'B')])],
    ),
    (b"GREY", &[Y_PLANE]),
];

/// The bars in a format, plane by plane, with lines padded by `pad` bytes in the first one and as many samples in the others.
fn frame(
    (fourcc, planes): Definition,
    (full, bt709): (bool, bool),
    height: usize,
    pad: usize,
) -> (Format, Vec<Vec<u8>>) {
    let width = BARS.len() * PER_BAR;
    let sample = |x: usize, component: u8| {
        let rgb = BARS[x / PER_BAR];
        let limited = |value: u8| (16.0 + f64::from(value) * 219.0 / 255.0).round() as u8;
        let level = |value: u8| if full { value } else { limited(value) };
        match component {
            b'Y' => ycbcr(rgb, full, bt709)[0],
            b'U' => ycbcr(rgb, full, bt709)[1],
            b'V' => ycbcr(rgb, full, bt709)[2],
            b'R' => level(rgb[0]),
            b'G' => level(rgb[1]),
            b'B' => level(rgb[2]),
            _ => 99,
        }
    };
    let plane = |&(across, down, group): &(usize, usize, &[(usize, u8)])| -> Vec<u8> {
        let groups = (0..width).step_by(across);
        let bytes = groups.flat_map(|x| group.iter().map(move |(at, what)| sample(x + at, *what)));
        let row: Vec<u8> = bytes
            .chain(std::iter::repeat_n(7, pad * group.len() / across))
            .collect();
        row.repeat(height.div_ceil(down))
    };
    let made: Vec<_> = planes.iter().map(plane).collect();
    let format = Format {
        fourcc: Fourcc(*fourcc),
        width: width as u32,
        height: height as u32,
        stride: (made[0].len() / height) as u32,
        chroma_strides: [0; 2],
        full_range: full,
        bt709,
    };
    (format, made)
}

fn decoded(format: &Format, bytes: &[&[u8]]) -> Vec<u8> {
    let mut unpacker = Unpacker::new(format).unwrap();
    let mut jpeg = Vec::new();
    let planes = unpacker.unpack_all(bytes).unwrap();
    Encoder::new(95)
        .unwrap()
        .encode(planes, None, &mut jpeg)
        .unwrap();
    jpeg_decoder::Decoder::new(&jpeg[..]).decode().unwrap()
}

/// Of a picture with these bars, how far the colour in the middle of each is off at most.
fn off(pixels: &[u8], (grey, bt709): (bool, bool), height: usize) -> u8 {
    let off = BARS.iter().enumerate().flat_map(|(i, bar)| {
        let shade = [ycbcr(*bar, true, bt709)[0]; 3];
        let expected = if grey { shade } else { *bar };
        let at = ((height / 2) * BARS.len() * PER_BAR + i * PER_BAR + PER_BAR / 2) * 3;
        [0, 1, 2].map(|channel| pixels[at + channel].abs_diff(expected[channel]))
    });
    off.max().unwrap()
}

#[test]
fn the_colour_bars_come_out_right_in_every_format_range_matrix_and_padding() {
    for definition in FORMATS {
        for (full, bt709, height, pad) in [
            (false, false, 16, 0),
            (true, false, 16, 0),
            (false, false, 18, 32),
            (true, false, 18, 32),
            (true, false, 17, 0),
            (false, true, 16, 32),
            (true, true, 17, 0),
        ] {
            let (format, planes) = frame(definition, (full, bt709), height, pad);
            let about = (definition.0 == b"GREY", bt709);
            let pixels = decoded(&format, &[&planes.concat()]);
            assert!(off(&pixels, about, height) <= 5, "{format:?}");
            // The same with each plane somewhere else, and with lines that are padded in their own way.
            let apart: Vec<&[u8]> = planes.iter().map(Vec::as_slice).collect();
            assert_eq!(decoded(&format, &apart), pixels, "{format:?}");
            let wider = |plane: &Vec<u8>, definition: &(usize, usize, &[(usize, u8)])| -> Vec<u8> {
                let lines = plane.chunks(plane.len() / height.div_ceil(definition.1));
                lines.flat_map(|line| [line, &[3; 10]].concat()).collect()
            };
            let wide = planes.iter().zip(definition.1);
            let wide: Vec<_> = wide.map(|(plane, about)| wider(plane, about)).collect();
            let stride = |i: usize| {
                let plane = wide.get(i)?;
                Some((plane.len() / height.div_ceil(definition.1[i].1)) as u32)
            };
            let format = Format {
                stride: stride(0).unwrap(),
                chroma_strides: [1, 2].map(|i| stride(i).unwrap_or(0)),
                ..format
            };
            let wide: Vec<&[u8]> = wide.iter().map(Vec::as_slice).collect();
            assert_eq!(decoded(&format, &wide), pixels, "{format:?}");
        }
    }
}

#[test]
fn every_format_but_jpeg_and_rgb565_is_defined_here_too() {
    let here = FORMATS.iter().map(|(code, _)| Fourcc(**code));
    let others = [b"MJPG", b"JPEG", b"RGBP", b"RGB4", b"BGR4"].map(|code| Fourcc(*code));
    let here: Vec<_> = here.chain(others).collect();
    for (code, _) in PREFERENCE {
        assert!(here.contains(&code), "{code}");
    }
    assert_eq!(here.len(), PREFERENCE.len());
    let older = |code: &[u8; 4]| Pixels::of(Fourcc(*code));
    assert_eq!(older(b"BGR4"), older(b"XR24"));
    assert_eq!(older(b"RGB4"), older(b"BX24"));
}

#[test]
fn rgb565_has_its_colours_at_both_ends() {
    let format = Format {
        fourcc: Fourcc(*b"RGBP"),
        width: 2,
        height: 8,
        stride: 4,
        chroma_strides: [0; 2],
        full_range: true,
        bt709: false,
    };
    for (bits, rgb) in [
        (0xF800_u16, [255, 0, 0]),
        (0x07E0, [0, 255, 0]),
        (0x001F, [0, 0, 255]),
        (0xFFFF, [255; 3]),
    ] {
        let pixels = decoded(&format, &[&bits.to_le_bytes().repeat(16)]);
        for (channel, expected) in pixels.iter().zip(rgb) {
            assert!(channel.abs_diff(expected) <= 5, "{bits:x}: {pixels:?}");
        }
    }
}

#[test]
fn chroma_of_every_pixel_is_averaged_over_four() {
    let format = Format {
        fourcc: Fourcc(*b"YM24"),
        width: 3,
        height: 3,
        stride: 3,
        chroma_strides: [0; 2],
        full_range: true,
        bt709: false,
    };
    let mut unpacker = Unpacker::new(&format).unwrap();
    let (y, cb, cr) = ([50; 9], [0, 10, 100, 20, 40, 120, 7, 9, 200], [90; 9]);
    let planes = unpacker.unpack_planes(&[&y, &cb, &cr]).unwrap();
    assert_eq!(planes.chroma[0].bytes, [18, 110, 8, 200]);
    assert_eq!(planes.chroma[1].bytes, [90; 4]);
    assert!(unpacker.unpack_planes(&[&y, &cb]).is_none());
}

#[test]
fn a_frame_cut_short_is_none_at_every_length() {
    for definition in FORMATS {
        for full in [false, true] {
            let (format, planes) = frame(definition, (full, !full), 4, 0);
            let bytes = planes.concat();
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
        chroma_strides: [0; 2],
        full_range: true,
        bt709: true,
    };
    let pixels = decoded(&format, &[&[200, 40, 40].repeat(51)]);
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
