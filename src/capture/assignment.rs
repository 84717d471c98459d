//! A control and the value that it is to have, as users write it.

use std::fmt;
use std::str::FromStr;

/// A control to set, as given on the command line: `NAME=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The normalised name.
    pub name: String,
    /// The value, or the name of a menu item.
    pub value: String,
}

impl FromStr for Assignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('=').map(|(name, value)| Assignment {
            name: normalised(name),
            value: value.trim().to_owned(),
        });
        parts
            .filter(|parts| !parts.name.is_empty() && !parts.value.is_empty())
            .ok_or_else(|| "a control is NAME=VALUE, such as brightness=10".into())
    }
}

impl fmt::Display for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

/// The form in which v4l2-ctl writes a name.
pub(super) fn normalised(name: &str) -> String {
    let mut words = String::new();
    let mut between = false;
    for c in name.chars() {
        if !c.is_ascii_alphanumeric() {
            between = !words.is_empty();
            continue;
        }
        if std::mem::take(&mut between) {
            words.push('_');
        }
        words.push(c.to_ascii_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_as_v4l2_ctl_makes_them() {
        for (name, expected) in [
            ("Brightness", "brightness"),
            ("White Balance, Automatic", "white_balance_automatic"),
            ("Exposure Time, Absolute", "exposure_time_absolute"),
            ("Focus (absolute)", "focus_absolute"),
            ("  50 Hz ", "50_hz"),
        ] {
            assert_eq!(normalised(name), expected);
        }
    }

    #[test]
    fn an_assignment_is_a_name_and_a_value() {
        let assignment: Assignment = "Power Line Frequency=50 Hz".parse().unwrap();
        assert_eq!(assignment.to_string(), "power_line_frequency=50 Hz");
        for bad in ["brightness", "=1", "brightness=", "()=1", ""] {
            assert!(bad.parse::<Assignment>().is_err(), "{bad}");
        }
    }
}
