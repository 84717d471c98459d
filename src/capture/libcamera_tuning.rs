//! The tuning files of libcamera's modules, in a lazycam that has libcamera built in (feature `libcamera-static`).
//!
//! What libcamera needs to know about an image sensor (its noise, colours, lens shading) is in one file per sensor,
//! which distributions put into /usr/share/libcamera/ipa. Without its file, a camera of the rpi pipelines fails. A
//! system image without libcamera has none of these files, so the static executable carries all of them, packed as
//! one LZMA stream that contains, for each file, a line `NAME BYTES` followed by the bytes (made by
//! `cross/libcamera`).
//!
//! libcamera reads a camera's file only once, when it finds the camera while a CameraManager starts. So [`offer`]
//! unpacks the files for that time only, into a directory of its own in memory (some 0.7 MB), and puts the directory
//! into LIBCAMERA_IPA_CONFIG_PATH: <https://libcamera.org/docs.html>, Documentation/environment_variables.rst.
//! Whatever the user has set there comes first, then the places where the system image would have its own files, and
//! our directory last.
//!
//! Two things are not done here: choosing another file for a sensor (LIBCAMERA_RPI_TUNING_FILE does that), and
//! finding out which sensor there is.
#![allow(unsafe_code)] // for the environment: see `announce`

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::{env, process, str};

use log::warn;

use crate::error::{Context, Error, Result};

/// Where libcamera itself would look without the variable. Files in these places were put there on purpose.
const OF_THE_IMAGE: [&str; 2] = ["/etc/libcamera/ipa", "/usr/share/libcamera/ipa"];

/// Unpacked files, which are removed when this is dropped.
pub(crate) struct Offered(PathBuf);

impl Drop for Offered {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            warn!("cannot remove {}: {error}", self.0.display());
        }
    }
}

/// Unpacks the files that this program carries; they are removed when the returned value is dropped. If there is no
/// place for them, a warning is logged: a camera that needs no such file still works, and for others libcamera
/// reports which file is missing.
#[cfg(feature = "libcamera-static")]
pub(crate) fn offer() -> Option<Offered> {
    let packed = include_bytes!(env!(
        "LAZYCAM_TUNING",
        "the feature libcamera-static is for cross/build --libcamera, which names the packed tuning files"
    ));
    // The place is the same every time, because the variable is set only once, before libcamera starts its first
    // thread.
    static PLACE: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    let offered = match PLACE.get() {
        Some(place) => unpack_into(place.clone(), packed),
        None => unpack(packed, &places()).inspect(|offered| {
            announce(&offered.0);
            PLACE.get_or_init(|| offered.0.clone());
        }),
    };
    offered
        .inspect_err(|error| warn!("{error}; cameras that need tuning files will be missing"))
        .ok()
}

/// Directories that are in memory, followed by the one for temporary files.
#[cfg(feature = "libcamera-static")]
fn places() -> Vec<PathBuf> {
    let given = ["RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"].map(env::var_os);
    let mut places: Vec<PathBuf> = given.into_iter().flatten().map(Into::into).collect();
    places.extend(["/dev/shm".into(), "/run".into(), env::temp_dir()]);
    places
}

/// Unpacks into a new directory in the first of `places` where that works.
fn unpack(packed: &[u8], places: &[PathBuf]) -> Result<Offered> {
    let mut last = Error::Input("no place for libcamera's tuning files".into());
    for place in places {
        match unpack_into(
            place.join(format!("lazycam-tuning.{}", process::id())),
            packed,
        ) {
            Ok(offered) => return Ok(offered),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Unpacks into a directory that must not exist yet: anything already there under our name is somebody else's.
fn unpack_into(dir: PathBuf, packed: &[u8]) -> Result<Offered> {
    let doing = || format!("unpack tuning files into {}", dir.display());
    DirBuilder::new().mode(0o700).create(&dir).doing(doing)?;
    let offered = Offered(dir.clone());
    write_all(&offered.0, packed).doing(doing)?;
    Ok(offered)
}

fn write_all(dir: &Path, packed: &[u8]) -> io::Result<()> {
    let damaged = || io::Error::other("the tuning files in this program are damaged");
    let mut files = Vec::new();
    lzma_rs::lzma_decompress(&mut &packed[..], &mut files).map_err(|_| damaged())?;
    let mut rest = files.as_slice();
    while !rest.is_empty() {
        let end = rest
            .iter()
            .position(|&byte| byte == b'\n')
            .ok_or_else(damaged)?;
        let line = str::from_utf8(&rest[..end]).map_err(|_| damaged())?;
        let (name, bytes) = line.rsplit_once(' ').ok_or_else(damaged)?;
        let bytes = bytes.parse().map_err(|_| damaged())?;
        let (content, behind) = rest[end + 1..]
            .split_at_checked(bytes)
            .ok_or_else(damaged)?;
        let path = dir.join(name);
        fs::create_dir_all(path.parent().ok_or_else(damaged)?)?;
        fs::write(path, content)?;
        rest = behind;
    }
    Ok(())
}

/// The value of the variable: what the user has set, the system image's own places, and `dir`.
fn search_path(set: Option<OsString>, dir: &Path) -> OsString {
    let mut path = set.filter(|path| !path.is_empty()).unwrap_or_default();
    for place in OF_THE_IMAGE.map(Path::new).into_iter().chain([dir]) {
        if !path.is_empty() {
            path.push(":");
        }
        path.push(place);
    }
    path
}

#[cfg(feature = "libcamera-static")]
fn announce(dir: &Path) {
    const VARIABLE: &str = "LIBCAMERA_IPA_CONFIG_PATH";
    let path = search_path(env::var_os(VARIABLE), dir);
    // SAFETY: no other thread reads or writes the environment. Neither `capture` nor `list` starts threads of its
    // own, and libcamera's first thread starts with the first CameraManager, which is created after this.
    unsafe { env::set_var(VARIABLE, path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(files: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        lzma_rs::lzma_compress(&mut &files[..], &mut packed).unwrap();
        packed
    }

    #[test]
    fn files_are_there_for_a_while_in_the_first_place_that_takes_them() {
        let base = env::temp_dir();
        let packed = packed(b"rpi/vc4/imx219.json 5\n{\n\n}\nsimple/uncalibrated.yaml 0\n");
        let offered = unpack(&packed, &["/proc".into(), base.clone()]).unwrap();
        let dir = offered.0.clone();
        assert_eq!(dir.parent(), Some(base.as_path()));
        assert_eq!(
            fs::read(dir.join("rpi/vc4/imx219.json")).unwrap(),
            b"{\n\n}\n"
        );
        assert_eq!(fs::read(dir.join("simple/uncalibrated.yaml")).unwrap(), b"");
        assert!(
            unpack_into(dir.clone(), &packed).is_err(),
            "the directory is somebody's"
        );
        drop(offered);
        assert!(!dir.exists());
    }

    #[test]
    fn damaged_files_are_an_error_and_leave_nothing() {
        let dir = env::temp_dir().join(format!("lazycam-damaged.{}", process::id()));
        for files in [&b"a 5\nfour"[..], b"a\n", b"a x\n", b"no line", b"\xff 0\n"] {
            assert!(unpack_into(dir.clone(), &packed(files)).is_err());
            assert!(!dir.exists());
        }
        assert!(unpack_into(dir.clone(), b"not LZMA").is_err());
        assert!(!dir.exists());
    }

    #[test]
    fn the_users_place_comes_first_and_ours_last() {
        let ours = Path::new("/dev/shm/x");
        let image = "/etc/libcamera/ipa:/usr/share/libcamera/ipa:/dev/shm/x";
        assert_eq!(search_path(None, ours), image);
        assert_eq!(search_path(Some("".into()), ours), image);
        assert_eq!(
            search_path(Some("/mine".into()), ours),
            *format!("/mine:{image}")
        );
    }
}
