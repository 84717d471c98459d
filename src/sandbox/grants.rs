//! On which directories rules are put.
//!
//! A Landlock rule is tied to an inode, not to a path. What is removed and made again, as frame directories and the nodes
//! of devices are, would not be covered any more, so the rule is set on the directory that contains it ([`holder`]).

use std::fs;
use std::path::{Path, PathBuf};

use landlock::{AccessFs, BitFlags};

/// The number of symlinks that the kernel follows in one path (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// What a process may do to files: directories, and the access rights that apply beneath each of them.
pub(super) type Grants = Vec<(PathBuf, BitFlags<AccessFs>)>;

/// The access rights that are granted beneath the root of the file system, and therefore everywhere.
pub(super) fn everywhere(grants: &Grants) -> BitFlags<AccessFs> {
    let root = grants.iter().find(|(place, _)| place.parent().is_none());
    root.map_or(BitFlags::EMPTY, |(_, rights)| *rights)
}

/// Adds access rights beneath `place` to those that were already granted.
pub(super) fn grant(grants: &mut Grants, place: PathBuf, rights: impl Into<BitFlags<AccessFs>>) {
    let rights = rights.into();
    match grants.iter_mut().find(|(other, _)| *other == place) {
        Some((_, has)) => *has |= rights,
        None => grants.push((place, rights)),
    }
}

/// The directory that contains `path` and that remains when `path` is removed; if `path` does not exist, the nearest
/// existing directory above it. For an existing `path` this is never the root of the file system, because a rule on
/// it would cover too much.
pub(super) fn holder(path: &Path) -> PathBuf {
    let mut real = nearest(path);
    let above = real.parent().and_then(Path::parent);
    if above.is_some() && path.exists() {
        real.pop();
    }
    real
}

/// The place that `path` leads to, with symlinks resolved; if it does not exist (yet), the nearest existing directory
/// above.
pub(super) fn nearest(path: &Path) -> PathBuf {
    let mut path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut links = 0..MAX_LINKS;
    loop {
        if let Ok(real) = fs::canonicalize(&path) {
            return real;
        }
        // A link whose target does not exist yet is followed too.
        let link = fs::read_link(&path).ok().filter(|_| links.next().is_some());
        if !path.pop() {
            return PathBuf::from("/");
        }
        path.extend(link);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_rule_is_on_the_directory_that_outlives_what_it_is_for() {
        let base = std::env::temp_dir().join(format!("lazycam-places-{}", std::process::id()));
        fs::create_dir_all(base.join("run/front")).unwrap();
        let base = fs::canonicalize(base).unwrap();
        symlink("run/front", base.join("link")).unwrap();
        symlink("run/late/front", base.join("early")).unwrap();
        symlink("circle", base.join("circle")).unwrap();
        for (path, expected) in [
            ("run/front", "run"),
            ("run/late", "run"),
            ("run/late/front", "run"),
            ("late/front", ""),
            ("link", "run"),
            ("early", "run"),
            ("run/../run/front", "run"),
        ] {
            assert_eq!(holder(&base.join(path)), base.join(expected), "{path}");
        }
        assert_eq!(nearest(&base.join("run")), base.join("run"));
        assert_eq!(nearest(&base.join("link")), base.join("run/front"));
        assert_eq!(nearest(&base.join("circle")), base);
        assert_eq!(holder(Path::new("/dev")), PathBuf::from("/dev"));
        fs::remove_dir_all(&base).unwrap();
    }
}
