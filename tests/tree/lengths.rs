//! Files of `src/` stay short enough to be read in one go.

use crate::imports::{files, name};

/// About 450 lines (CONTRIBUTING.md, House style).
const LONGEST: usize = 460;

#[test]
fn no_file_is_too_long_to_be_read_in_one_go() {
    let lengths = files()
        .into_iter()
        .map(|(module, text)| (name(&module), text.lines().count()));
    let long: Vec<_> = lengths.filter(|(_, lines)| *lines > LONGEST).collect();
    assert!(
        long.is_empty(),
        "to be divided where a reader would look: {long:?}"
    );
}
