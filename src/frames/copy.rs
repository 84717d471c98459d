//! A copy of one frame in memory, for sending it to several viewers, or with few calls to one.
//!
//! There is one buffer, which the next frame that is copied takes. So a copy costs no memory for as long as somebody is
//! sent the frame: who has not taken all of it while it was here is sent the rest from the file.

use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::io::{Result, pread};

use crate::frames::file_id::FileId;

/// Lengths are told apart by these classes, each twice as long as the one before.
pub const CLASSES: usize = 6;

/// Frames of the first class have fewer bytes than this; those of no class, 512 KiB or more, are not copied.
const SHORTEST: u64 = 16 << 10;

/// The class of a frame of `len` bytes; `None` if it is too long for a copy.
pub fn class(len: u64) -> Option<usize> {
    (0..CLASSES).find(|class| len < SHORTEST << class)
}

/// The buffer.
#[derive(Debug, Default)]
pub struct FrameCopy {
    bytes: Vec<u8>,
    of: Option<FileId>,
    /// The classes of which frames are copied when they are opened.
    pub wanted: [bool; CLASSES],
}

impl FrameCopy {
    /// The content of this file, if it is here.
    pub fn of(&self, file: FileId) -> Option<&[u8]> {
        (self.of == Some(file)).then_some(&self.bytes)
    }

    /// Gives the memory back.
    pub fn clear(&mut self) {
        (self.bytes, self.of) = (Vec::new(), None);
    }

    /// A file of `len` bytes was opened. Reads it, if it is to be copied; `None` if it is not, if there is no memory for
    /// it, or if there was not as much in it.
    pub(super) fn read(&mut self, file: &OwnedFd, id: FileId, len: u64) -> Result<Option<&[u8]>> {
        self.of = None;
        if !class(len).is_some_and(|class| self.wanted[class]) {
            return Ok(None);
        }
        let len = len as usize;
        self.bytes.clear();
        if self.bytes.try_reserve_exact(len).is_err() {
            return Ok(None);
        }
        pread(file, spare_capacity(&mut self.bytes), 0)?;
        // It is longer than it was a moment ago, if somebody writes into it.
        if self.bytes.len() < len {
            return Ok(None);
        }
        self.bytes.truncate(len);
        self.of = Some(id);
        Ok(Some(&self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Seek, Write};

    use rustix::fs::{MemfdFlags, fstat, ftruncate, memfd_create};

    use super::*;

    fn file(content: &[u8]) -> (OwnedFd, FileId) {
        let mut file = File::from(memfd_create("copy", MemfdFlags::CLOEXEC).unwrap());
        file.write_all(content).unwrap();
        file.rewind().unwrap();
        let id = FileId::of(&fstat(&file).unwrap());
        (file.into(), id)
    }

    fn wanting_all() -> FrameCopy {
        FrameCopy {
            wanted: [true; CLASSES],
            ..FrameCopy::default()
        }
    }

    #[test]
    fn the_next_frame_takes_the_place_of_the_last_one_and_no_more() {
        let mut copy = wanting_all();
        let (first, first_id) = file(&[1; 50_000]);
        let (second, second_id) = file(&[2; 30_000]);
        assert!(copy.read(&first, first_id, 50_000).unwrap().is_some());
        assert_eq!(copy.of(first_id), Some(&[1; 50_000][..]));
        assert_eq!(copy.of(second_id), None);
        for _ in 0..100 {
            assert!(copy.read(&second, second_id, 30_000).unwrap().is_some());
        }
        assert_eq!(copy.of(first_id), None);
        assert_eq!(copy.of(second_id), Some(&[2; 30_000][..]));
        assert!(copy.bytes.capacity() < 100_000);
        copy.clear();
        assert_eq!((copy.of(second_id), copy.bytes.capacity()), (None, 0));
    }

    #[test]
    fn what_is_too_long_or_not_wanted_or_shorter_than_it_was_is_not_copied() {
        let mut copy = wanting_all();
        let (long, id) = file(&vec![1; 600_000]);
        assert_eq!(copy.read(&long, id, 600_000).unwrap(), None);
        ftruncate(&long, 20_000).unwrap();
        assert_eq!(copy.read(&long, id, 30_000).unwrap(), None);
        assert_eq!(copy.of(id), None);
        copy.wanted = [false; CLASSES];
        assert_eq!(copy.read(&long, id, 20_000).unwrap(), None);
        assert_eq!(copy.of(id), None);
    }

    #[test]
    fn each_class_is_twice_as_long_as_the_one_before() {
        assert_eq!(
            [0, 16_383, 16_384, 100_000].map(class),
            [0, 0, 1, 3].map(Some)
        );
        assert_eq!([524_287, 524_288].map(class), [Some(5), None]);
    }
}
