//! The parts of a least JPEG, for tests: 64x48, grey, with whatever as its scan.

pub(crate) const SOI: &[u8] = &[0xFF, 0xD8];
pub(crate) const EOI: &[u8] = &[0xFF, 0xD9];
pub(crate) const SOF: &[u8] = &[0xFF, 0xC0, 0, 11, 8, 0, 48, 0, 64, 1, 1, 0x11, 0];
pub(crate) const SOS: &[u8] = &[0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 63, 0];
/// Quantization table 0, of ones.
pub(crate) const DQT: &[u8] = &{
    let mut segment = [1; 69];
    (segment[0], segment[1], segment[2], segment[3], segment[4]) = (0xFF, 0xDB, 0, 67, 0);
    segment
};
/// All of one, in 97 bytes.
pub(crate) const WHOLE: &[u8; 97] = &{
    let parts = [SOI, DQT, SOF, SOS, &[0x55], EOI];
    let (mut whole, mut at, mut part) = ([0; 97], 0, 0);
    while part < parts.len() {
        let mut i = 0;
        while i < parts[part].len() {
            whole[at] = parts[part][i];
            (at, i) = (at + 1, i + 1);
        }
        part += 1;
    }
    assert!(at == whole.len());
    whole
};
/// DC Huffman table 0, with one code of two bits.
pub(crate) const DHT: &[u8] = &[
    0xFF, 0xC4, 0, 20, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3,
];
