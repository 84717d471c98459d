//! What standard input looks like, if it is not MJPEG: told by its first bytes, so that the log can say what to do.

/// The number of bytes that are looked at.
const ENOUGH: usize = 64;

/// After so many bytes without a picture the input is not MJPEG.
const MUCH: u64 = 1 << 20;

/// The first bytes of an input.
#[derive(Debug, Default)]
pub(super) struct Beginning {
    bytes: Vec<u8>,
    told: bool,
}

impl Beginning {
    /// Takes in what has been read.
    pub(super) fn see(&mut self, bytes: &[u8]) {
        let missing = ENOUGH - self.bytes.len();
        self.bytes.extend(&bytes[..missing.min(bytes.len())]);
    }

    /// What to tell, once, if so many bytes contained no picture. Of what begins like a JPEG each broken frame is told.
    pub(super) fn complaint(&mut self, read: u64) -> Option<String> {
        let is_news = read >= MUCH && !self.bytes.starts_with(&[0xFF, 0xD8, 0xFF]);
        if !is_news || std::mem::replace(&mut self.told, true) {
            return None;
        }
        let what = self.looks_like();
        Some(format!(
            "stdin: no picture in the first MiB, which looks like {what}: lazycam takes MJPEG, such as that of \
             `ffmpeg … -c:v mjpeg -f mjpeg -` or `rpicam-vid --codec mjpeg --output -`"
        ))
    }

    /// What it looks like.
    pub(super) fn looks_like(&self) -> &'static str {
        looks_like(&self.bytes)
    }
}

/// What the first bytes of an input look like, for people.
fn looks_like(bytes: &[u8]) -> &'static str {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => "PNG pictures",
        [b'G', b'I', b'F', b'8', ..] => "a GIF",
        [b'B', b'M', ..] => "BMP pictures",
        [b'P', b'1'..=b'6', b'\n' | b' ', ..] => "PNM pictures",
        [b'Y', b'U', b'V', b'4', b'M', b'P', b'E', b'G', ..] => "raw video (YUV4MPEG2)",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'A', b'V', b'I', ..] => "an AVI file",
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => "WebP pictures",
        [0x1A, 0x45, 0xDF, 0xA3, ..] => "a Matroska or WebM file",
        [b'F', b'L', b'V', 1, ..] => "a Flash video",
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => "an MP4 file",
        [0x47, ..] => "an MPEG transport stream",
        // A start code, and the type of the first unit (H.264, table 7-1; H.265, table 7-1): parameters, a delimiter, a picture.
        [0, 0, 0, 1, unit, ..] | [0, 0, 1, unit, ..] => match (unit & 0x1F, unit >> 1 & 0x3F) {
            (1 | 5..=9, _) if unit & 0x80 == 0 => "H.264",
            (_, 32..=35 | 39) => "H.265",
            _ => "MPEG video",
        },
        [0xFF, 0xD8, 0xFF, ..] => "JPEG pictures, all of them damaged",
        _ if !bytes.is_empty()
            && bytes
                .iter()
                .all(|byte| matches!(byte, b'\t'..=b'\r' | b' '..=b'~')) =>
        {
            "text"
        }
        _ => "raw video or something else",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_mjpeg_is_told_once_and_after_a_mebibyte() {
        let mut beginning = Beginning::default();
        beginning.see(b"\x89P");
        beginning.see(&[&b"NG\r\n"[..], &[0; 100]].concat());
        assert_eq!(beginning.complaint(MUCH - 1), None);
        let told = beginning.complaint(MUCH).unwrap();
        assert!(told.contains("looks like PNG pictures: "), "{told}");
        assert_eq!(beginning.complaint(MUCH + 1), None);
        let mut jpeg = Beginning::default();
        jpeg.see(&[0xFF, 0xD8, 0xFF, 0xE0]);
        assert_eq!(jpeg.complaint(MUCH), None);
    }

    #[test]
    fn inputs_are_known_by_their_first_bytes() {
        let cases: [(&[u8], &str); 14] = [
            (b"\x89PNG\r\n\x1A\n\0\0\0\rIHDR", "PNG pictures"),
            (b"\0\0\0\x01\x67\x64\0\x1F", "H.264"),
            (b"\0\0\0\x01\x27\x64\0\x1F", "H.264"),
            (b"\0\0\x01\x09\xF0", "H.264"),
            (b"\0\0\0\x01\x40\x01\x0C\x01", "H.265"),
            (b"\0\0\x01\xBA\x44", "MPEG video"),
            (b"\0\0\0\x20ftypisom", "an MP4 file"),
            (b"\x1A\x45\xDF\xA3\x01", "a Matroska or WebM file"),
            (b"\x47\x40\x11\x10", "an MPEG transport stream"),
            (b"YUV4MPEG2 W640", "raw video (YUV4MPEG2)"),
            (b"usage: camera [-x]\n", "text"),
            (&[16, 128, 16, 128], "raw video or something else"),
            (
                &[0xFF, 0xD8, 0xFF, 0xE0],
                "JPEG pictures, all of them damaged",
            ),
            (b"", "raw video or something else"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(looks_like(bytes), expected, "{bytes:02x?}");
        }
    }
}
