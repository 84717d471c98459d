//! What to do with a camera none of whose formats lazycam reads.

use crate::picture::format::Fourcc;

/// What to do about formats none of which can be read.
pub(super) fn advice(path: &str, formats: &[Fourcc]) -> String {
    if !formats.is_empty() && formats.iter().all(|format| is_sensor_data(*format)) {
        return "Cameras with raw sensor data go through libcamera".into();
    }
    let compressed = |format: &&Fourcc| COMPRESSED.iter().any(|(code, _)| *code == &format.0);
    let input = formats.iter().find(compressed).and_then(|format| {
        let (_, name) = COMPRESSED.iter().find(|(code, _)| *code == &format.0)?;
        Some(format!("-input_format {name} "))
    });
    let input = input.unwrap_or_default();
    format!(
        "ffmpeg can turn them into MJPEG: `ffmpeg -f v4l2 {input}-i {path} -c:v mjpeg -q:v 5 -f mjpeg - | \
         lazycam --source stdin`"
    )
}

/// Compressed formats, with ffmpeg's names for them.
const COMPRESSED: [(&[u8; 4], &str); 4] = [
    (b"H264", "h264"),
    (b"HEVC", "hevc"),
    (b"VP80", "vp8"),
    (b"MPG4", "mpeg4"),
];

/// Whether these are a sensor's own values under a colour filter (the kernel's "Raw Bayer Formats"), which take a
/// camera's tuning to become a picture.
fn is_sensor_data(Fourcc(code): Fourcc) -> bool {
    let filter = matches!(
        &code[..2].to_ascii_uppercase()[..],
        b"BA" | b"BG" | b"GB" | b"GR" | b"RG" | b"BY" | b"PB" | b"PG" | b"PR"
    );
    let depth = code[2].is_ascii_digit()
        || matches!(
            &code[2..],
            b"GB" | b"BG" | b"RG" | b"AA" | b"CC" | b"EE" | b"FF"
        );
    filter && depth || &code == b"BYR2"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_is_one_that_helps_for_the_format() {
        let advice = |codes: &[&str]| {
            let codes: Vec<_> = codes.iter().map(|code| code.parse().unwrap()).collect();
            advice("/dev/video7", &codes)
        };
        for sensor in [
            "BA81", "RGGB", "GRBG", "GBRG", "BG10", "RG12", "pBAA", "pgCC", "BYR2",
        ] {
            assert!(advice(&[sensor]).contains("libcamera"), "{sensor}");
        }
        for raw in [
            "YVYU", "BGR3", "BGR4", "RGB4", "RGBP", "Y16", "GREY", "NV16",
        ] {
            let told = advice(&[raw]);
            assert!(
                told.contains("ffmpeg -f v4l2 -i /dev/video7"),
                "{raw}: {told}"
            );
            assert!(!told.contains("libcamera"), "{raw}: {told}");
        }
        assert!(advice(&["YVYU", "H264"]).contains("-input_format h264 -i /dev/video7"));
        assert!(advice(&["BG10", "YVYU"]).contains("ffmpeg"));
        assert!(advice(&[]).contains("ffmpeg"));
    }
}
