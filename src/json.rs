//! JSON written by hand (RFC 8259), for `lazycam list --json` and `/state`.
//!
//! The structure of both is fixed, so a few functions that assemble text are enough; serde with its derives would be
//! larger than all the code that uses these. What is read is simpler still (`json/flat.rs`).

mod flat;

pub use flat::flat;

use std::fmt::{Display, Write as _};

/// Stands for a value that is not known.
pub const NULL: &str = "null";

/// A string, with any character allowed: devices and producers choose their own names.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// An array with the result of `json` for each item.
pub fn list<T>(items: impl IntoIterator<Item = T>, json: impl FnMut(T) -> String) -> String {
    let items: Vec<_> = items.into_iter().map(json).collect();
    format!("[{}]", items.join(","))
}

/// An object whose members' values are already JSON.
pub fn object<N: AsRef<str>>(members: impl IntoIterator<Item = (N, String)>) -> String {
    let members = members.into_iter();
    let members: Vec<_> = members
        .map(|(name, value)| format!("{}:{value}", quoted(name.as_ref())))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// A whole number or a boolean, written as `Display` shows it, or null if it is not known.
pub fn plain<T: Display>(value: Option<T>) -> String {
    value.map_or(NULL.into(), |value| value.to_string())
}

/// A number with at most `digits` decimal places. JSON has neither infinity nor NaN; both are written as null.
pub fn number(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return NULL.into();
    }
    let text = format!("{value:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').into(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_whatever_is_in_them() {
        assert_eq!(quoted("a\"b\\c\n\u{7f}ü"), "\"a\\\"b\\\\c\\u000a\\u007fü\"");
    }

    #[test]
    fn numbers_are_as_short_as_they_can_be() {
        let texts = [30.0, 29.966, 0.0, 1_733_918_400.1].map(|value| number(value, 2));
        assert_eq!(texts, ["30", "29.97", "0", "1733918400.1"]);
        assert_eq!(number(100.0, 0), "100");
        assert_eq!(number(f64::NAN, 3), NULL);
    }

    #[test]
    fn objects_and_lists_nest() {
        let one = object([("n", plain(Some(1))), ("of", plain::<u8>(None))]);
        assert_eq!(list([1, 2], |_| one.clone()), format!("[{one},{one}]"));
        assert_eq!(one, r#"{"n":1,"of":null}"#);
        assert_eq!(object::<&str>([]), "{}");
    }
}
