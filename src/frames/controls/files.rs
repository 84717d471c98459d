//! The files in the subdirectory `controls`, and how they are read and replaced.

use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process;
use std::time::{Duration, SystemTime};

use rustix::fs::{self as sys, AtFlags, Mode, OFlags};

use crate::frames::frame::{Links, open_file};
use crate::frames::replace;
use crate::time::clock::Seconds;

/// The name of the subdirectory.
pub(super) const FOLDER: &str = "controls";
pub(super) const WANTED: &str = "wanted";
pub(super) const ANSWER: &str = "answer";
pub(super) const OFFERED: &str = "offered";

/// The number of bytes of any of these files that are read.
const LARGEST: u64 = 16 << 10;

/// What becomes of one control that somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is set.
    Set,
    /// It will be set when the camera is there.
    Later,
    /// It cannot be set, for this reason.
    Refused(String),
}

/// What the producer of `dir` lets others set, as JSON; `None` if that is nothing. Whether it is JSON is not checked.
pub fn offered(dir: &Path) -> Option<String> {
    let (_, text) = read(&dir.join(FOLDER), OFFERED)?;
    Some(text).filter(|text| !text.is_empty())
}

/// Whether the producer of `dir` lets others set anything.
pub fn are_offered(dir: &Path) -> bool {
    let about = sys::stat(dir.join(FOLDER).join(OFFERED));
    about.is_ok_and(|about| about.st_size > 0)
}

/// The name in `NAME=VALUE`.
pub(super) fn name(wish: &str) -> &str {
    wish.split_once('=').map_or(wish, |(name, _)| name)
}

/// Whether two names mean the same control. Producers take no notice of case, nor of what stands between words.
pub fn is_same(one: &str, other: &str) -> bool {
    let plain = |name: &str| -> String {
        let kept = name.chars().filter(char::is_ascii_alphanumeric);
        kept.map(|c| c.to_ascii_lowercase()).collect()
    };
    plain(one) == plain(other)
}

/// Whether two wishes are for the same control.
pub fn is_about_same(one: &str, other: &str) -> bool {
    is_same(name(one), name(other))
}

/// A file's text and modification time, in microseconds. Links are not followed: what is in the file may be shown to
/// whoever put it there.
pub(super) fn read(folder: &Path, file: &str) -> Option<(Seconds, String)> {
    let file = File::from(open_file(folder, file, Links::Refuse).ok()?);
    let about = file.metadata().ok().filter(|about| about.is_file())?;
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes).ok()?;
    let at = Seconds::since_1970(about.modified().ok()?);
    let whole = Duration::from_micros(at.0.as_micros() as u64);
    Some((Seconds(whole), String::from_utf8_lossy(&bytes).into_owned()))
}

/// Replaces a file, for everybody to read if `public`, whatever the umask says.
pub(super) fn put(
    folder: &Path,
    name: &str,
    text: &str,
    at: SystemTime,
    public: bool,
) -> io::Result<()> {
    let dir = sys::open(folder, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let staged = format!(".{name}.{}", process::id());
    // Nobody else's file, nor what somebody else made under this name.
    let _ = sys::unlinkat(&dir, &staged, AtFlags::empty());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o644);
    let created = sys::openat(&dir, &staged, flags, mode).and_then(|file| {
        if public {
            sys::fchmod(&file, mode)?;
        }
        Ok(File::from(file))
    });
    let names = (staged.as_str(), name);
    replace::replace(dir.as_fd(), names, created, text.as_bytes(), Some(at))
}

/// Makes a directory that others can read, whatever the umask says, unless it is there.
pub fn make_public(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Ok(()) => fs::set_permissions(dir, Permissions::from_mode(0o755)),
        Err(_) if dir.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}
