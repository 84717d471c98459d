//! The search for an encoder among all video devices.
//!
//! It opens each of them, and opening a camera wakes it. So its outcome is kept, also that there is none, until the nodes in /dev have
//! changed: one has come or gone, or has another owner or other permissions, as udev sets them a moment after it has come. Only if what
//! was found cannot be used is it looked for again.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::super::device::Device;
use super::facts::EncoderFacts;
use crate::capture::devices::video_nodes;

/// A node, and when it was made or its permissions were changed (st_ctim of stat(2)).
type Node = (PathBuf, (i64, i64));

/// Which nodes there were, and what was found among them.
#[derive(Default)]
pub(super) struct Search {
    nodes: Vec<Node>,
    found: Option<PathBuf>,
}

impl Search {
    /// The best encoder of this machine that can be opened.
    pub(super) fn best(&mut self) -> Option<&Path> {
        self.among(nodes(), best_of)
    }

    /// The same when what was found cannot be opened now. It is kept if there is no other.
    pub(super) fn anew(&mut self) -> Option<&Path> {
        self.anew_among(nodes(), best_of)
    }

    /// The same among these nodes. `look` is called only if the outcome is not known. What was found before, and is still the same
    /// node, is kept.
    fn among(
        &mut self,
        nodes: Vec<Node>,
        look: impl FnOnce(&[Node]) -> Option<PathBuf>,
    ) -> Option<&Path> {
        if self.nodes != nodes {
            let of = |nodes: &[Node], path: &Path| nodes.iter().find(|one| one.0 == path).cloned();
            let is_same = |path: &PathBuf| of(&self.nodes, path) == of(&nodes, path);
            self.found = self.found.take().filter(is_same).or_else(|| look(&nodes));
            self.nodes = nodes;
        }
        self.found.as_deref()
    }

    fn anew_among(
        &mut self,
        nodes: Vec<Node>,
        look: impl FnOnce(&[Node]) -> Option<PathBuf>,
    ) -> Option<&Path> {
        self.found = look(&nodes).or(self.found.take());
        self.nodes = nodes;
        self.found.as_deref()
    }
}

fn best_of(nodes: &[Node]) -> Option<PathBuf> {
    let devices = nodes.iter().filter_map(|(path, _)| Device::open(path).ok());
    let found: Vec<_> = devices
        .filter_map(|device| EncoderFacts::of(&device))
        .collect();
    EncoderFacts::best(&found).map(|best| best.path.clone())
}

fn nodes() -> Vec<Node> {
    let paths = video_nodes().unwrap_or_default().into_iter();
    paths
        .filter_map(|path| {
            let about = fs::metadata(&path).ok()?;
            Some((path, (about.ctime(), about.ctime_nsec())))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_opened_only_if_the_outcome_is_not_known() {
        let mut search = Search::default();
        let mut found = |nodes: &[(&str, i64)], there: Option<&str>| {
            let mut looked = false;
            let nodes = nodes.iter().map(|(path, time)| (path.into(), (*time, 0)));
            let best = search.among(nodes.collect(), |_| {
                looked = true;
                there.map(PathBuf::from)
            });
            (best.map(|path| path.display().to_string()), looked)
        };
        let a = |looked| (Some("a".to_owned()), looked);
        // None, at this start and the next ones; then its owner is set.
        assert_eq!(found(&[], None), (None, false));
        assert_eq!(found(&[("a", 1), ("b", 1)], None), (None, true));
        assert_eq!(found(&[("a", 1), ("b", 1)], None), (None, false));
        assert_eq!(found(&[("a", 2), ("b", 1)], Some("a")), a(true));
        // Cameras come and go.
        assert_eq!(found(&[("a", 2), ("b", 1)], None), a(false));
        assert_eq!(found(&[("a", 2), ("c", 3)], None), a(false));
        assert_eq!(found(&[("a", 2)], None), a(false));
        // Another one of that name.
        assert_eq!(found(&[("a", 4)], Some("a")), a(true));
        assert_eq!(found(&[], None), (None, true));
    }

    #[test]
    fn what_cannot_be_opened_is_kept_until_there_is_another() {
        let mut search = Search::default();
        let nodes = || vec![("a".into(), (1, 0)), ("b".into(), (1, 0))];
        let a = search.among(nodes(), |_| Some("a".into()));
        assert_eq!(a, Some(Path::new("a")));
        let still = search.anew_among(nodes(), |_| None);
        assert_eq!(still, Some(Path::new("a")));
        let other = search.anew_among(nodes(), |_| Some("b".into()));
        assert_eq!(other, Some(Path::new("b")));
        let remembered = search.among(nodes(), |_| panic!("it is known"));
        assert_eq!(remembered, Some(Path::new("b")));
    }
}
