//! The device nodes in /dev: which ones exist, and when they come and go.
//!
//! The kernel makes and removes them itself (devtmpfs), so inotify on /dev reports a camera that is plugged in, with
//! or without udev. Where udev runs, it assigns the node to its group a moment later, which causes IN_ATTRIB: a
//! camera that could not be opened for lack of permission is then tried again. The names that udev makes appear
//! another moment later; those in directories below /dev are not watched. All other events in /dev are ignored.

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use crate::error::{Context, Result};

const DEV: &str = "/dev";

/// The video nodes of this system, ordered by number: /dev/video0 before /dev/video10.
pub fn video_nodes() -> io::Result<Vec<PathBuf>> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir(DEV)?
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            Some((number(path.file_name()?.to_str()?)?, path))
        })
        .collect();
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Whether a path is that of a node itself and not another name for one.
pub(super) fn is_node(path: &Path) -> bool {
    name_in_dev(path).is_some_and(|name| number(name).is_some())
}

/// The name of a file in /dev.
fn name_in_dev(path: &Path) -> Option<&str> {
    let in_dev = path.parent() == Some(Path::new(DEV));
    path.file_name()?.to_str().filter(|_| in_dev)
}

/// The number of a video node, by its name.
fn number(name: &str) -> Option<u32> {
    name.strip_prefix("video")?.parse().ok()
}

/// Reports when nodes may have come or gone.
#[derive(Debug)]
pub(in crate::capture) struct DeviceWatch {
    inotify: OwnedFd,
    /// Whether a name in /dev is of interest.
    concerns: fn(&str) -> bool,
    /// One more name that is.
    link: Option<String>,
}

impl DeviceWatch {
    /// Watches /dev for video nodes from now on, and for `path` if that is a different name in /dev.
    pub(super) fn new(path: Option<&Path>) -> Result<Self> {
        // `v4l` is udev's directory of persistent names: v4l/by-id, v4l/by-path.
        let mut watch = DeviceWatch::of(|name| number(name).is_some() || name == "v4l")?;
        watch.link = path.and_then(name_in_dev).map(str::to_owned);
        Ok(watch)
    }

    /// Watches /dev for everything that libcamera needs from a camera: apart from permissions, its media device comes
    /// last.
    #[cfg(feature = "libcamera")]
    pub(in crate::capture) fn for_media() -> Result<Self> {
        DeviceWatch::of(|name| {
            ["media", "video", "v4l-subdev"]
                .iter()
                .any(|kind| name.starts_with(kind))
        })
    }

    fn of(concerns: fn(&str) -> bool) -> Result<Self> {
        let what = || "watch /dev for cameras that come and go".into();
        let flags = CreateFlags::CLOEXEC | CreateFlags::NONBLOCK;
        let inotify = inotify::init(flags).doing(what)?;
        let coming = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ATTRIB;
        let going = WatchFlags::DELETE | WatchFlags::MOVED_FROM;
        inotify::add_watch(&inotify, DEV, coming | going | WatchFlags::ONLYDIR).doing(what)?;
        let link = None;
        Ok(DeviceWatch {
            inotify,
            concerns,
            link,
        })
    }

    /// Whether anything of interest has happened since the last call. Never blocks.
    pub(in crate::capture) fn drain(&mut self) -> bool {
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.inotify, &mut space);
        let mut news = false;
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().and_then(|name| name.to_str().ok());
                    news |= event.events().contains(ReadFlags::QUEUE_OVERFLOW);
                    news |= name.is_some_and(self.concerns);
                    news |= name.is_some() && name == self.link.as_deref();
                }
                Err(Errno::INTR) => {}
                // There is nothing more. Reading again would not make other errors go away, and retries are made
                // without this watch too.
                Err(_) => return news,
            }
        }
    }
}

impl AsFd for DeviceWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn video_nodes_are_known_by_their_names() {
        assert_eq!(number("video10"), Some(10));
        for name in ["video", "videodev", "vbi0", "media0", "video-1"] {
            assert_eq!(number(name), None, "{name}");
        }
    }

    #[test]
    fn other_names_of_a_node_are_told_from_its_own() {
        assert!(is_node(Path::new("/dev/video0")));
        for name in [
            "/dev/mycam",
            "/dev/v4l/by-id/usb-a-video-index0",
            "/run/video0",
        ] {
            assert!(!is_node(Path::new(name)), "{name}");
        }
        assert_eq!(name_in_dev(Path::new("/dev/mycam")), Some("mycam"));
        assert_eq!(name_in_dev(Path::new("/dev/v4l/by-id/mycam")), None);
    }

    #[test]
    fn what_happens_to_other_devices_is_no_news() {
        let Ok(mut watch) = DeviceWatch::new(None) else {
            return;
        };
        // Anything may happen in /dev while this test runs, but hardly to a camera.
        assert!(!watch.drain());
    }

    #[test]
    fn a_link_of_any_name_in_dev_is_news_to_who_is_told_of_it() {
        let link = format!("{DEV}/lazycam-test-{}", std::process::id());
        let link = Path::new(&link);
        let (Ok(mut watch), Ok(mut other)) = (DeviceWatch::new(Some(link)), DeviceWatch::new(None))
        else {
            return;
        };
        if std::os::unix::fs::symlink("video0", link).is_ok() {
            assert!(watch.drain() && !other.drain());
            assert!(fs::remove_file(link).is_ok() && watch.drain());
        }
    }
}
