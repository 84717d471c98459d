//! Huffman codes and bits of baseline JPEG: read, kept and written (ITU-T T.81, annexes C and F).

use crate::picture::jpeg::Defect;
use crate::picture::jpeg::marker;

/// Codes up to this length are found by one look into a table; in frames of cameras nearly all are.
const SHORT: u32 = 9;

/// The longest code.
const LONGEST: usize = 16;

/// How a table's codes are read.
#[derive(Clone, Debug)]
pub(super) struct Decoding {
    /// By the next [`SHORT`] bits: length and value of the code that they begin with; 0 if it is longer.
    short: [u16; 1 << SHORT],
    /// For each length: what the next 16 bits are below if the code is at most so long.
    limits: [u32; LONGEST + 1],
    /// For each length: what a code and this are the place of the value.
    offsets: [u32; LONGEST + 1],
    values: [u8; 256],
}

impl Decoding {
    /// From the numbers of codes of 1 to 16 bits and their values; `None` if there cannot be such codes.
    pub(super) fn new(counts: &[u8; LONGEST], values: &[u8]) -> Option<Self> {
        let mut table = Decoding {
            short: [0; 1 << SHORT],
            limits: [0; LONGEST + 1],
            offsets: [0; LONGEST + 1],
            values: [0; 256],
        };
        table
            .values
            .get_mut(..values.len())?
            .copy_from_slice(values);
        let (mut code, mut at) = (0_u32, 0);
        for (length, &count) in (1..).zip(counts) {
            table.offsets[length as usize] = (at as u32).wrapping_sub(code);
            for &value in values.get(at..at + usize::from(count))? {
                if length <= SHORT {
                    let first = (code << (SHORT - length)) as usize;
                    let all = table
                        .short
                        .get_mut(first..first + (1 << (SHORT - length)))?;
                    all.fill((length << 8) as u16 | u16::from(value));
                }
                code += 1;
            }
            at += usize::from(count);
            table.limits[length as usize] = code << (LONGEST as u32 - length);
            code <<= 1;
        }
        Some(table)
    }
}

/// How values are written: for each its code, and in the upper half its length.
#[derive(Debug)]
pub(super) struct Encoding([u32; 256]);

impl Encoding {
    /// From the numbers of codes of 1 to 16 bits and their values.
    pub(super) fn new(counts: &[u8; LONGEST], values: &[u8]) -> Self {
        let mut table = [0; 256];
        let mut values = values.iter();
        let mut code = 0;
        for (length, &count) in (1..).zip(counts) {
            for value in values.by_ref().take(count.into()) {
                table[usize::from(*value)] = length << 16 | code;
                code += 1;
            }
            code <<= 1;
        }
        Encoding(table)
    }

    /// Code and length of a value with the bits that follow it; `None` for a value without a code.
    #[inline(always)]
    pub(super) fn with(&self, value: u8, bits: u32, count: u32) -> Option<(u64, u32)> {
        let entry = self.0[usize::from(value)];
        let (code, length) = (entry & 0xFFFF, entry >> 16);
        (length > 0).then_some((u64::from(code) << count | u64::from(bits), length + count))
    }
}

/// The bits of a scan.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The next bits, from the top.
    window: u64,
    /// How many.
    left: u32,
    /// How many of the last ones are none, but stand behind the end.
    padding: u32,
}

impl<'a> Bits<'a> {
    /// `bytes` begin with the scan, and go on at least to the marker behind it.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Bits {
            bytes,
            at: 0,
            window: 0,
            left: 0,
            padding: 0,
        }
    }

    /// Makes sure that there are at least 32 bits in the window.
    #[inline(always)]
    fn fill(&mut self) {
        if self.left >= 32 {
            return;
        }
        let ahead = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk);
        match ahead.map(|eight| u64::from_be_bytes(*eight)) {
            Some(word) if !has_ff(word) => {
                let bytes = (64 - self.left) / 8;
                let unused = 64 - 8 * bytes;
                self.window |= (word >> unused << unused) >> self.left;
                self.left += 8 * bytes;
                self.at += bytes as usize;
            }
            _ => self.fill_slowly(),
        }
    }

    #[inline(never)]
    fn fill_slowly(&mut self) {
        while self.left <= 56 {
            let byte = match self.bytes.get(self.at..) {
                Some([0xFF, 0, ..]) => {
                    self.at += 2;
                    0xFF
                }
                Some([byte, ..]) if *byte != 0xFF => {
                    self.at += 1;
                    *byte
                }
                _ => {
                    self.padding += 8;
                    0
                }
            };
            self.window |= u64::from(byte) << (56 - self.left);
            self.left += 8;
        }
    }

    /// The next value of a table, and the bits that follow it: as many as the value's lower half says.
    #[inline(always)]
    pub(super) fn value(&mut self, table: &Decoding) -> Result<(u8, u32), Defect> {
        self.fill();
        let entry = table.short[(self.window >> (64 - SHORT)) as usize];
        let (value, length) = match entry {
            0 => self.long(table)?,
            _ => (entry as u8, u32::from(entry >> 8)),
        };
        // A code has at most 16 bits, so 16 are left for these, of which there may be none.
        let count = u32::from(value & 15);
        let bits = (self.window << length >> 32) as u32;
        let bits = bits.checked_shr(32 - count).unwrap_or(0);
        self.window <<= length + count;
        self.left -= length + count;
        Ok((value, bits))
    }

    #[inline(never)]
    fn long(&self, table: &Decoding) -> Result<(u8, u32), Defect> {
        let ahead = (self.window >> 48) as u32;
        let lengths = SHORT + 1..=LONGEST as u32;
        let mut longer = lengths.filter(|length| ahead < table.limits[*length as usize]);
        let length = longer.next().ok_or(Defect::Data)?;
        let code = ahead >> (LONGEST as u32 - length);
        let place = code.wrapping_add(table.offsets[length as usize]);
        let value = table.values.get(place as usize).ok_or(Defect::Data)?;
        Ok((*value, length))
    }

    /// Whether bits were taken that are not there.
    pub(super) fn is_over(&self) -> bool {
        self.padding > self.left
    }

    /// Goes on behind the next restart marker, which has this number.
    pub(super) fn restart(&mut self, number: u8) -> Result<(), Defect> {
        self.end()?;
        match self.bytes.get(self.at..) {
            Some([0xFF, code, ..]) if *code == marker::RST0 + number % 8 => self.at += 2,
            _ => return Err(Defect::Data),
        }
        (self.window, self.left, self.padding) = (0, 0, 0);
        Ok(())
    }

    /// Goes on to the next marker. What is left before it must be what cameras fill up with, which is zeros or ones, or
    /// the data was damaged.
    pub(super) fn end(&mut self) -> Result<(), Defect> {
        let there = self.left.checked_sub(self.padding).ok_or(Defect::Data)?;
        // The rest of the last byte, which is filled with ones (F.1.2.3), but is not looked at by any decoder.
        let (rest, unread) = (self.window << (there % 8), there / 8 * 8);
        let unread = rest.checked_shr(64 - unread).unwrap_or(0);
        let is_filler = |byte: &u8| matches!(byte, 0 | 0xFF);
        if !unread.to_be_bytes().iter().all(is_filler) {
            return Err(Defect::Data);
        }
        loop {
            match self.bytes.get(self.at..) {
                Some([0xFF, code, ..]) if !matches!(code, 0 | 0xFF) => return Ok(()),
                Some([byte, ..]) if is_filler(byte) => self.at += 1,
                _ => return Err(Defect::Data),
            }
        }
    }
}

/// Whether one of eight bytes is 0xFF. (For those that only may have one, the answer is yes.)
fn has_ff(word: u64) -> bool {
    word & 0x8080_8080_8080_8080 & !word.wrapping_add(0x0101_0101_0101_0101) != 0
}

/// Bits that are kept, to be written in another order.
#[derive(Debug, Default)]
pub(super) struct Store {
    words: Vec<u64>,
    last: u64,
    /// How many bits of `last` are used; always less than 64.
    count: u32,
}

impl Store {
    pub(super) fn clear(&mut self) {
        self.words.clear();
        self.count = 0;
    }

    /// How many bits there are.
    pub(super) fn len(&self) -> usize {
        self.words.len() * 64 + self.count as usize
    }

    /// Adds the lowest `count` bits, which are at most 32.
    #[inline(always)]
    pub(super) fn put(&mut self, bits: u64, count: u32) {
        let free = 64 - self.count;
        if count < free {
            self.last = self.last << count | bits;
            self.count += count;
        } else {
            self.count = count - free;
            // With `free` below 64: there are at most 32 bits to add.
            self.words.push(self.last << free | bits >> self.count);
            self.last = bits;
        }
    }

    /// Makes all bits readable.
    pub(super) fn finish(&mut self) {
        self.words
            .push(self.last.checked_shl(64 - self.count).unwrap_or(0));
        self.words.push(0);
    }

    /// Copies `count` bits from `at` on.
    pub(super) fn copy(&self, mut at: usize, mut count: u32, into: &mut BitWriter<'_>) {
        while count > 0 {
            let (word, shift) = (at / 64, at as u32 % 64);
            // In two steps, because a shift by 64 is none.
            let next = self.words[word] << shift | self.words[word + 1] >> 1 >> (63 - shift);
            let some = count.min(32);
            into.put(next >> (64 - some), some);
            at += some as usize;
            count -= some;
        }
    }
}

/// The bits of a scan that is written, with a zero behind each 0xFF.
pub(super) struct BitWriter<'a> {
    bytes: &'a mut Vec<u8>,
    window: u64,
    /// How many bits of it are not written yet; always less than 32.
    count: u32,
}

impl<'a> BitWriter<'a> {
    pub(super) fn new(bytes: &'a mut Vec<u8>) -> Self {
        BitWriter {
            bytes,
            window: 0,
            count: 0,
        }
    }

    /// Writes bits, at most 32 of them.
    #[inline(always)]
    pub(super) fn put(&mut self, bits: u64, count: u32) {
        self.window = self.window << count | bits;
        self.count += count;
        if self.count >= 32 {
            self.count -= 32;
            let four = (self.window >> self.count) as u32;
            match has_ff(u64::from(four)) {
                false => self.bytes.extend_from_slice(&four.to_be_bytes()),
                true => four.to_be_bytes().iter().for_each(|byte| self.byte(*byte)),
            }
        }
    }

    fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
        if byte == 0xFF {
            self.bytes.push(0);
        }
    }

    /// Fills the last byte with ones (F.1.2.3).
    pub(super) fn finish(mut self) {
        let ones = self.count.next_multiple_of(8) - self.count;
        self.window = self.window << ones | ((1 << ones) - 1);
        self.count += ones;
        while self.count > 0 {
            self.count -= 8;
            self.byte((self.window >> self.count) as u8);
        }
    }
}
