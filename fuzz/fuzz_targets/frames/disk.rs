//! What happens on the disk, and what is there.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use lazycam::frames::frame::Frame;
use lazycam::picture::LARGEST;
use lazycam::server::shot::Shot;
use rustix::fs::{CWD, FileType, Mode, mknodat};

/// The directory itself, wherever links lead.
pub fn identity(dir: &Path) -> Option<u64> {
    let about = fs::metadata(dir).ok()?;
    about.is_dir().then_some(about.ino())
}

/// Whatever it is.
pub fn remove(path: &Path) {
    if fs::remove_file(path).is_err() {
        let _ = fs::remove_dir_all(path);
    }
}

/// Something that is no directory with frames, or no frame.
pub fn make_another_kind(path: &Path, with: u8, other: &Path) -> std::io::Result<()> {
    remove(path);
    match with % 8 {
        0 => symlink(other, path),
        1 => symlink("nowhere", path),
        2 => mknodat(CWD, path, FileType::Fifo, Mode::RUSR, 0).map_err(Into::into),
        3 => fs::create_dir(path),
        4 => fs::write(path, "<html>no picture</html>"),
        5 => fs::write(path, &jpeg(usize::MAX, 100)[..90]),
        6 => File::create(path)?.set_len(LARGEST + 1),
        _ => symlink(path.file_name().unwrap_or_default(), path),
    }
}

/// Moves `a` in `base` away, or back, or puts a link to `b` in its place.
pub fn move_parent(base: &Path, with: u8) {
    let (parent, moved) = (base.join("a"), base.join("moved"));
    match with % 3 {
        0 => {
            remove(&moved);
            let _ = fs::rename(&parent, &moved);
        }
        1 => {
            remove(&parent);
            let _ = fs::rename(&moved, &parent);
        }
        _ => {
            remove(&parent);
            let _ = symlink("b", &parent);
        }
    }
}

/// What a viewer would be sent.
pub fn contents(shot: &Shot<Frame>) -> Vec<u8> {
    let mut bytes = vec![0; shot.len as usize];
    let read = rustix::io::pread(shot.file.as_fd(), &mut bytes[..], 0).unwrap();
    bytes.truncate(read);
    bytes
}

/// Which file that is in.
pub fn inode(shot: &Shot<Frame>) -> u64 {
    rustix::fs::fstat(shot.file.as_fd()).unwrap().st_ino
}

/// A picture of 16 by 8 pixels as far as its markers go, that tells its number.
pub fn jpeg(number: usize, filling: usize) -> Vec<u8> {
    let mut bytes = vec![0xFF, 0xD8, 0xFF, 0xFE, 0, 10];
    bytes.extend(number.to_le_bytes());
    bytes.extend([0xFF, 0xDB, 0, 67, 0]);
    bytes.resize(bytes.len() + 64, 1);
    bytes.extend([0xFF, 0xC0, 0, 11, 8, 0, 8, 0, 16, 1, 1, 0x11, 0]);
    bytes.extend([0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 63, 0]);
    bytes.resize(bytes.len() + filling, number as u8 & 0x7F);
    bytes.extend([0xFF, 0xD9]);
    bytes
}

/// The number that such a picture tells.
pub fn number_in(bytes: &[u8]) -> Option<usize> {
    let number = bytes
        .strip_prefix(&[0xFF, 0xD8, 0xFF, 0xFE, 0, 10])?
        .first_chunk()?;
    Some(usize::from_le_bytes(*number))
}
