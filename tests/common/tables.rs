//! Pictures as cameras give them that mean AVI's kind of MJPEG. The USB camera of `tests/vm` has them as well.

/// The picture without its Huffman tables.
pub(crate) fn without_tables(jpeg: &[u8]) -> Vec<u8> {
    let mut bare = jpeg[..2].to_vec();
    let mut at = 2;
    while jpeg[at + 1] != 0xDA {
        let end = at + 2 + usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
        if jpeg[at + 1] != 0xC4 {
            bare.extend_from_slice(&jpeg[at..end]);
        }
        at = end;
    }
    [&bare, &jpeg[at..]].concat()
}
