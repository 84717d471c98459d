//! The fields of a message head, by name (RFC 9110, 5).

use httparse::Header;

/// The members of a list that may be spread over several fields; empty members do not count (RFC 9110, 5.6.1).
pub(super) fn list<'a>(fields: &[Header<'a>], name: &str) -> impl Iterator<Item = &'a [u8]> {
    values(fields, name)
        .flat_map(|value| value.split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

/// The same; `None` if no such field is there.
pub(super) fn list_if_there<'a>(fields: &[Header<'a>], name: &str) -> Option<Vec<&'a [u8]>> {
    values(fields, name).next()?;
    Some(list(fields, name).collect())
}

/// The values of all fields of a name, in their order.
pub(super) fn values<'a>(fields: &[Header<'a>], name: &str) -> impl Iterator<Item = &'a [u8]> {
    fields
        .iter()
        .filter(move |field| field.name.eq_ignore_ascii_case(name))
        .map(|field| field.value)
}
