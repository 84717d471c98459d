//! A frame as a reader has it: an open file that can no longer change.
//!
//! Producers rename and do not write in place, so an opened file stays complete, whatever is renamed over it; the
//! kernel frees it when its last descriptor is closed. It is checked all the same, because anybody with access to the
//! directory can be a producer: that it is a regular file, that it begins with a chain of markers, and that it ends
//! with EOI. Decoding what is in between is left to the viewer.
//!
//! Opening a frame is also the request for the next one, so nothing here opens a frame twice.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{self as sys, AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::{Errno, pread};

use crate::error::{Context, Error, Result};
use crate::frames::CURRENT;
use crate::frames::copy::FrameCopy;
pub use crate::frames::file_id::FileId;
use crate::picture::jpeg::{self, Defect, Size};
use crate::picture::largest;

/// The number of bytes read at first to find the scan. The headers of all cameras tried fit in it.
const PREFIX: usize = 2 << 10;

/// The number of bytes read if they do not fit, for a frame with a thumbnail or a colour profile.
const LONG_PREFIX: usize = 128 << 10;

/// Whether a frame directory's path may end in a symlink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// It may end in a symlink. For directories that the user named.
    Follow,
    /// It may not, and this is checked each time a file in it is opened. For directories that were found in a root:
    /// whoever can write there could replace one by a link to files from elsewhere.
    Refuse,
}

/// An open frame, checked.
#[derive(Debug)]
pub struct Frame {
    file: OwnedFd,
    id: FileId,
    len: u64,
    size: Size,
    captured: SystemTime,
}

/// Why no frame is available now.
#[derive(Debug)]
pub enum NoFrame {
    /// There is no file yet, or only the empty one of a producer that has no frame yet.
    NotYet,
    /// It is not a whole JPEG.
    Broken(Defect),
    /// It is a FIFO, a device, a directory, a socket or a symlink.
    NotAFile,
    /// It has this many bytes, which is more than [`largest`].
    TooLarge(u64),
    /// It is written to instead of being replaced.
    InPlace,
    /// The system refused an operation.
    Io(io::Error),
}

impl Frame {
    /// Opens the current frame of `dir`, and thereby asks for the next one. This takes open, fstat, and one pread
    /// each for the beginning and the end.
    pub fn open(dir: &Path) -> Result<Frame, NoFrame> {
        Frame::open_with(dir, Links::Follow)
    }

    /// Like [`Frame::open`]; `links` says whether the path of the directory may end in a symlink.
    pub fn open_with(dir: &Path, links: Links) -> Result<Frame, NoFrame> {
        Frame::open_into(dir, links, &mut FrameCopy::default())
    }

    /// The same. A frame of which a copy is wanted is read as a whole, in one call in place of two.
    pub fn open_into(dir: &Path, links: Links, copy: &mut FrameCopy) -> Result<Frame, NoFrame> {
        let file = open(dir, links)?;
        let about = sys::fstat(&file)?;
        if FileType::from_raw_mode(about.st_mode) != FileType::RegularFile {
            return Err(NoFrame::NotAFile);
        }
        let len = about.st_size as u64;
        match len {
            0 => Err(NoFrame::NotYet),
            _ if len > largest() as u64 => Err(NoFrame::TooLarge(len)),
            _ => {
                let id = FileId::of(&about);
                let size = match copy.read(&file, id, len)? {
                    Some(whole) => check_whole(whole)?,
                    None => check(&file, len)?,
                };
                Ok(Frame {
                    size,
                    captured: modified(&about),
                    id,
                    file,
                    len,
                })
            }
        }
    }

    /// Makes a frame that was never in a directory: `jpeg` in a file without a name (memfd_create(2)).
    pub fn in_memory(jpeg: &[u8], captured: SystemTime) -> Result<Frame> {
        let mut frame = Frame::of_text(jpeg, captured)?;
        frame.size =
            check(&frame.file, frame.len).map_err(|problem| Error::Input(problem.to_string()))?;
        Ok(frame)
    }

    /// The same of what is no picture, and has no size: a text that many are sent at once.
    pub fn of_text(text: &[u8], captured: SystemTime) -> Result<Frame> {
        let what = || "keep a picture in memory".into();
        let flags = sys::MemfdFlags::CLOEXEC;
        let mut file = File::from(sys::memfd_create("lazycam picture", flags).doing(what)?);
        file.write_all(text).doing(what)?;
        let file = OwnedFd::from(file);
        let about = sys::fstat(&file).doing(what)?;
        Ok(Frame {
            id: FileId::of(&about),
            file,
            len: text.len() as u64,
            size: Size {
                width: 0,
                height: 0,
            },
            captured,
        })
    }

    /// Its length in bytes, never 0.
    #[expect(clippy::len_without_is_empty, reason = "an empty file is no frame")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Its width and height in pixels.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Which file it is.
    pub fn id(&self) -> FileId {
        self.id
    }

    /// The time of capture as given by the producer: the file's modification time.
    pub fn captured(&self) -> SystemTime {
        self.captured
    }
}

/// The file, to be read from offset 0: its own file offset has not moved.
impl AsFd for Frame {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Asks for the next frame of `dir` without using the current one. `Ok` means that there was something to open, even
/// if it was empty.
pub fn ask(dir: &Path) -> Result<(), NoFrame> {
    ask_with(dir, Links::Follow)
}

/// Like [`ask`]; `links` says whether the path of the directory may end in a symlink.
pub fn ask_with(dir: &Path, links: Links) -> Result<(), NoFrame> {
    let file = open(dir, links)?;
    match FileType::from_raw_mode(sys::fstat(&file)?.st_mode) {
        FileType::RegularFile => Ok(()),
        _ => Err(NoFrame::NotAFile),
    }
}

/// Which file of `dir` has this name. Finding out asks for nothing.
pub fn id_of(dir: &Path, name: &str) -> Option<FileId> {
    let about = sys::statat(CWD, dir.join(name), AtFlags::SYMLINK_NOFOLLOW);
    about.ok().map(|about| FileId::of(&about))
}

/// Whether the current file of `dir` has no content. Finding out asks for nothing.
pub fn is_empty(dir: &Path) -> bool {
    let about = sys::statat(CWD, dir.join(CURRENT), AtFlags::SYMLINK_NOFOLLOW);
    about.is_ok_and(|about| about.st_size == 0)
}

/// Opens the file without waiting for the other end of a FIFO, and without following a symlink, which could lead
/// anywhere.
fn open(dir: &Path, links: Links) -> Result<OwnedFd, NoFrame> {
    match open_file(dir, CURRENT, links) {
        Ok(file) => Ok(file),
        Err(Errno::NOENT) => Err(NoFrame::NotYet),
        // A symlink, or a socket.
        Err(Errno::LOOP | Errno::NXIO) => Err(NoFrame::NotAFile),
        Err(errno) => Err(errno.into()),
    }
}

/// Opens a file of a frame directory for reading, whatever kind of file it is.
pub(super) fn open_file(dir: &Path, name: &str, links: Links) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW;
    match links {
        Links::Follow => sys::open(dir.join(name), flags, Mode::empty()),
        // In two steps, so that nothing can take the directory's place between the check and the opening.
        Links::Refuse => {
            directory_itself(dir).and_then(|dir| sys::openat(dir, name, flags, Mode::empty()))
        }
    }
}

/// A handle that is good only for reaching what is in the directory. For a symlink this fails with ENOTDIR (open(2)),
/// since a symlink is no directory.
fn directory_itself(dir: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    sys::open(dir, flags, Mode::empty()).map_err(|errno| match errno {
        Errno::NOTDIR | Errno::LOOP => Errno::NOENT,
        errno => errno,
    })
}

fn check(file: &OwnedFd, len: u64) -> Result<Size, NoFrame> {
    let head = match head_within(file, &mut [0; PREFIX]) {
        Err(NoFrame::Broken(Defect::Short)) if len > PREFIX as u64 => {
            head_within(file, &mut vec![0; LONG_PREFIX])
        }
        head => head,
    }?;
    let mut end = [0; 2];
    let read = pread(file, &mut end, len.saturating_sub(2))?;
    if !jpeg::ends(&end[..read]) {
        return Err(NoFrame::Broken(Defect::NoEnd));
    }
    Ok(head.size)
}

/// The same of one that is in memory.
fn check_whole(bytes: &[u8]) -> Result<Size, NoFrame> {
    let head = jpeg::head(&bytes[..bytes.len().min(LONG_PREFIX)]).map_err(NoFrame::Broken)?;
    if jpeg::ends(bytes) {
        Ok(head.size)
    } else {
        Err(NoFrame::Broken(Defect::NoEnd))
    }
}

fn head_within(file: &OwnedFd, buffer: &mut [u8]) -> Result<jpeg::Head, NoFrame> {
    let read = pread(file, &mut *buffer, 0)?;
    jpeg::head(&buffer[..read]).map_err(NoFrame::Broken)
}

/// The modification time, also before 1970.
#[allow(clippy::unnecessary_cast, reason = "32 bits wide on some machines")]
fn modified(about: &Stat) -> SystemTime {
    let secs = about.st_mtime;
    let epoch = SystemTime::UNIX_EPOCH;
    let whole = Duration::from_secs(secs.unsigned_abs());
    let at = if secs < 0 {
        epoch.checked_sub(whole)
    } else {
        epoch.checked_add(whole)
    };
    at.unwrap_or(epoch) + Duration::from_nanos(about.st_mtime_nsec as u64)
}

impl From<Errno> for NoFrame {
    fn from(errno: Errno) -> Self {
        NoFrame::Io(errno.into())
    }
}

impl fmt::Display for NoFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoFrame::NotYet => f.write_str("no frame yet"),
            NoFrame::Broken(defect) => write!(f, "broken frame: {defect}"),
            NoFrame::NotAFile => write!(f, "{CURRENT} is not a regular file"),
            NoFrame::TooLarge(len) => {
                let allowed = largest();
                write!(
                    f,
                    "{CURRENT} has {len} bytes, more than {allowed} allowed (--max-frame)"
                )
            }
            NoFrame::InPlace => write!(
                f,
                "{CURRENT} is written in place: write to another file and rename it onto {CURRENT}"
            ),
            NoFrame::Io(error) => write!(f, "cannot read {CURRENT}: {error}"),
        }
    }
}
