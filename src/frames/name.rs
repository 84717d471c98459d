//! The name of a camera: the name of its frame directory in a root, and the first part of its URLs.
//!
//! Only a few characters are allowed, none of which has a meaning in a path, a URL or a list of flags: a name cannot
//! lead out of the root, needs no percent-encoding, and looks the same everywhere.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// The longest name, in bytes: the limit for a label of a host name (RFC 1035, 2.3.4).
const LONGEST: usize = 63;

/// Words that already have a meaning in URLs.
const TAKEN: [&str; 9] = [
    "stream", "snapshot", "controls", "option", "state", "metrics", "favicon", "robots", "static",
];

/// A valid name: 1 to 63 of the characters `A-Z`, `a-z`, `0-9`, `-` and `_`, beginning with a letter or a digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

impl Name {
    /// The name of a camera for which only a directory was given: the directory's name, if that is a valid one.
    pub fn of_directory(dir: &Path) -> Self {
        let last = dir.file_name().and_then(|name| name.to_str());
        last.and_then(|name| name.parse().ok())
            .unwrap_or_else(|| Name("camera".into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let within = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let begins = text.starts_with(|first: char| first.is_ascii_alphanumeric());
        if !begins || text.len() > LONGEST || !text.bytes().all(within) {
            return Err(format!(
                "'{text}' is no camera's name: that is 1 to {LONGEST} letters, digits, - and _, \
                 a letter or digit first"
            ));
        }
        if TAKEN.contains(&text) {
            return Err(format!(
                "a camera cannot be called '{text}': URLs have that word for something else"
            ));
        }
        Ok(Name(text.into()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_plain() {
        let longest = "a".repeat(LONGEST);
        for good in [
            "a",
            "0",
            "front",
            "Front-door_2",
            "stream_1",
            "camera",
            &longest,
        ] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
        let long = "a".repeat(LONGEST + 1);
        for bad in [
            "", ".", "..", "-a", "_a", "a.b", "a/b", "/a", "a b", "a%62", "ä", "a\0", &long,
            "stream", "snapshot", "state", "metrics", "favicon", "robots", "static",
        ] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_directory_gives_its_name_if_it_is_one() {
        for (dir, name) in [
            ("/run/lazycam/front", "front"),
            ("front/", "front"),
            ("/", "camera"),
            ("..", "camera"),
            ("/tmp/.hidden", "camera"),
            ("/tmp/stream", "camera"),
        ] {
            assert_eq!(Name::of_directory(Path::new(dir)).as_str(), name, "{dir}");
        }
    }
}
