//! Pictures for tests: real JPEGs of any size in bytes, that tell number and time of capture, and of which each byte
//! is known. Whoever has one can say whether it is whole.

use jpeg_encoder::{ColorType, Encoder};
use lazycam::capture::pattern::stamp::Stamp;

/// Makes pictures of one size in pixels and one length in bytes.
#[derive(Clone)]
pub(crate) struct Maker {
    base: Vec<u8>,
    len: usize,
}

/// Where in the encoder's output the stamp goes: behind SOI and the JFIF header.
const STAMP_AT: usize = 20;

impl Maker {
    /// Pictures of 64 by 48 pixels and `len` bytes.
    pub(crate) fn new(len: usize) -> Self {
        Maker::sized(64, 48, len)
    }

    pub(crate) fn sized(width: u16, height: u16, len: usize) -> Self {
        let pixels = usize::from(width) * usize::from(height);
        let pixels: Vec<u8> = (0..pixels).map(|at| (at * 7 % 251) as u8).collect();
        let mut base = Vec::new();
        Encoder::new(&mut base, 50)
            .encode(&pixels, width, height, ColorType::Luma)
            .unwrap();
        assert_eq!(base[2..4], [0xFF, 0xE0], "a JFIF header first");
        Maker { base, len }
    }

    /// The picture with this stamp: always the same bytes.
    pub(crate) fn make(&self, stamp: &Stamp) -> Vec<u8> {
        let (front, back) = self.base.split_at(STAMP_AT);
        let (back, end) = back.split_at(back.len() - 2);
        let mut jpeg = front.to_vec();
        push_comment(&mut jpeg, stamp.to_string().as_bytes());
        jpeg.extend(back);
        // Behind the scan, because the head of a frame is short. As bytes that differ from frame to frame.
        let mut left = self.len.saturating_sub(jpeg.len() + end.len());
        while left > 4 {
            let body = (left - 4).min(60_000);
            let cycle: Vec<_> = (0..128)
                .map(|at| (stamp.frame as u8).wrapping_add(at) & 0x7F)
                .collect();
            push_comment(&mut jpeg, &cycle.repeat(body / 128 + 1)[..body]);
            left -= body + 4;
        }
        // Fill bytes may stand before any marker (T.81, B.1.1.2).
        jpeg.extend(std::iter::repeat_n(0xFF, left));
        jpeg.extend(end);
        jpeg
    }

    /// The stamp of a picture that this one made, of which every byte is as it was.
    #[track_caller]
    pub(crate) fn verify(&self, jpeg: &[u8]) -> Stamp {
        let stamp = Stamp::find(jpeg).expect("a frame without a stamp");
        assert!(
            jpeg == self.make(&stamp),
            "frame {} is not what was published",
            stamp.frame
        );
        stamp
    }
}

fn push_comment(jpeg: &mut Vec<u8>, text: &[u8]) {
    let length = u16::try_from(text.len() + 2).unwrap();
    jpeg.extend([0xFF, 0xFE]);
    jpeg.extend(length.to_be_bytes());
    jpeg.extend(text);
}

/// Decodes a picture, to the last block.
#[track_caller]
pub(crate) fn decode(jpeg: &[u8]) -> (u16, u16) {
    let mut decoder = jpeg_decoder::Decoder::new(jpeg);
    decoder.decode().expect("a JPEG that decodes");
    let info = decoder.info().unwrap();
    (info.width, info.height)
}
