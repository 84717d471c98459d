use super::sample::{DHT, DQT, EOI, SOF, SOI, SOS};
use super::*;

const COM: &[u8] = &[0xFF, 0xFE, 0, 4, b'h', b'i'];
const SIZE: Size = Size {
    width: 64,
    height: 48,
};

fn whole() -> Vec<u8> {
    [SOI, COM, DQT, SOF, SOS, &[1, 2, 3], EOI].concat()
}

#[test]
fn a_whole_file_tells_its_size() {
    assert_eq!(check(&whole()), Ok(SIZE));
    let scan = whole().len() - 5;
    let head = head(&whole()).unwrap();
    assert_eq!((head.size, head.scan), (SIZE, scan));
}

#[test]
fn every_prefix_that_lacks_part_of_the_head_is_short_and_the_longer_ones_lack_their_end() {
    let whole = whole();
    for cut in 0..whole.len() {
        let expected = match cut < whole.len() - 5 {
            true => Defect::Short,
            false => Defect::NoEnd,
        };
        assert_eq!(check(&whole[..cut]), Err(expected), "cut at {cut}");
    }
}

#[test]
fn an_end_that_belongs_to_the_scan_header_is_none() {
    let mut sos = SOS.to_vec();
    let len = sos.len();
    sos[len - 2..].copy_from_slice(EOI);
    assert_eq!(
        check(&[SOI, DQT, SOF, &sos].concat()),
        Err(Defect::NoEnd),
        "the last bytes are parameters of the scan"
    );
}

#[test]
fn fill_bytes_and_lone_markers_are_stepped_over() {
    let filled = [SOI, &[0xFF, 0xFF], SOF, &[0xFF, 0x01], DQT, SOS, EOI].concat();
    assert_eq!(check(&filled), Ok(SIZE));
}

#[test]
fn each_defect_is_told_apart() {
    let zero = [0xFF, 0xC2, 0, 11, 8, 0, 0, 0, 64, 1, 1, 0x11, 0];
    let cases: [(&[&[u8]], Defect); 10] = [
        (&[b"GIF89a"], Defect::NoStart),
        (&[&[0xFF, 0xD9]], Defect::NoStart),
        (&[SOI, b"x"], Defect::BadMarker(2)),
        (&[SOI, &[0xFF, 0x00]], Defect::BadMarker(2)),
        (&[SOI, SOI], Defect::BadMarker(2)),
        (&[SOI, &[0xFF, 0x42, 0, 2]], Defect::BadMarker(2)),
        (&[SOI, &[0xFF, 0xE0, 0, 1, 0]], Defect::BadLength(2)),
        (&[SOI, &[0xFF, 0xC0, 0, 3, 8]], Defect::BadLength(2)),
        (&[SOI, SOS], Defect::NoSize),
        (&[SOI, &zero, SOS], Defect::ZeroSize),
    ];
    for (parts, defect) in cases {
        assert_eq!(head(&parts.concat()), Err(defect), "{parts:02x?}");
    }
    assert_eq!(head(&[SOI, SOF, EOI].concat()), Err(Defect::NoScan));
}

#[test]
fn huffman_tables_are_not_taken_for_a_frame_header() {
    assert_eq!(check(&[SOI, DQT, SOF, DHT, SOS, EOI].concat()), Ok(SIZE));
}

#[test]
fn missing_huffman_tables_are_missed_where_the_scan_begins() {
    let missing_tables = |bytes: &[u8]| head(bytes).unwrap().missing_tables;
    let at = SOI.len() + DQT.len() + SOF.len();
    assert_eq!(
        missing_tables(&[SOI, DQT, SOF, SOS, EOI].concat()),
        Some(at)
    );
    let filled = [SOI, DQT, SOF, &[0xFF], SOS, EOI].concat();
    assert_eq!(missing_tables(&filled), Some(at + 1));
    let with = [SOI, DQT, SOF, DHT, SOS, EOI].concat();
    assert_eq!(missing_tables(&with), None);
}

#[test]
fn comments_are_found_in_the_head_alone() {
    let after = [SOI, COM, SOF, COM, SOS, COM, EOI].concat();
    assert_eq!(comments(&after).collect::<Vec<_>>(), [b"hi", b"hi"]);
    assert_eq!(comments(&after[..9]).count(), 1);
    assert_eq!(comments(b"no picture").count(), 0);
}

#[test]
fn pictures_in_application_data_and_comments_are_found_and_nothing_else_is() {
    let exif = [&[0xFF, 0xE1, 0, 8], SOI, b"xy", EOI].concat();
    let end_only = [&[0xFF, 0xFE, 0, 4], EOI].concat();
    // Values in a table may look the same, but without the table there is no picture.
    let table = [&[0xFF, 0xDB, 0, 4], SOI].concat();
    let bytes = [SOI, COM, &exif, &table, SOF, &end_only, SOS, &exif, EOI].concat();
    let found: Vec<_> = hidden_pictures(&bytes).map(|at| &bytes[at]).collect();
    assert_eq!(found, [&exif, &end_only]);
    assert_eq!(hidden_pictures(&whole()).count(), 0);
    assert_eq!(hidden_pictures(&bytes[..12]).count(), 0);
}

#[test]
fn a_size_is_read_as_it_is_written() {
    let size = Size {
        width: 64,
        height: 48,
    };
    assert_eq!("64x48".parse(), Ok(size));
    assert_eq!(size.to_string(), "64x48");
    for bad in ["64", "64x", "0x48", "64x0", "64x48x1", "65536x1", "-1x1"] {
        assert!(bad.parse::<Size>().is_err(), "{bad}");
    }
}
