//! Hosts and request targets in the syntax of RFC 3986.
//!
//! A character that need not be escaped means the same whether it is escaped or not. So such escapes are decoded
//! here, once, for all code that reads a target. No other escape is decoded: `%2F` is not a slash. Dot segments stay
//! as they are, because no name here consists of dots.

use std::borrow::Cow;
use std::net::Ipv6Addr;

/// Whether this is the value of a `Host` field (RFC 9110, 7.2): a name, which may be empty, or an address, optionally
/// with a port.
pub(in crate::server) fn is_host(value: &[u8]) -> bool {
    let is_colon = |byte: &u8| *byte == b':';
    let (host, port) = match value.strip_prefix(b"[") {
        Some(rest) => {
            let end = rest.iter().position(|byte| *byte == b']');
            let Some(end) = end.filter(|end| is_literal(&rest[..*end])) else {
                return false;
            };
            (&b""[..], &rest[end + 1..])
        }
        None => value.split_at(value.iter().position(is_colon).unwrap_or(value.len())),
    };
    let is_port = match port {
        [] => true,
        [first, digits @ ..] => *first == b':' && digits.iter().all(u8::is_ascii_digit),
    };
    let in_a_name = |byte: &u8| is_in_a_name(*byte) || *byte == b'%';
    is_port && host.iter().all(in_a_name) && escapes_are_whole(host)
}

/// Whether this is what may stand in brackets (RFC 3986, 3.2.2): an IPv6 address, or one of a future version. Some
/// clients append the zone of a link (RFC 6874), of which only the characters are checked.
fn is_literal(text: &[u8]) -> bool {
    let text = std::str::from_utf8(text).unwrap_or_default();
    let is_all =
        |text: &str, allowed: fn(u8) -> bool| !text.is_empty() && text.bytes().all(allowed);
    if let Some(later) = text.strip_prefix(['v', 'V']) {
        let (version, address) = later.split_once('.').unwrap_or_default();
        return is_all(version, |byte| byte.is_ascii_hexdigit())
            && is_all(address, |byte| is_in_a_name(byte) || byte == b':');
    }
    let (address, zone) = text.split_once('%').unwrap_or((text, "none"));
    address.parse::<Ipv6Addr>().is_ok() && is_all(zone, |byte| is_unreserved(byte) || byte == b'%')
}

/// The target with all escaped letters, digits, `-`, `.`, `_` and `~` decoded (RFC 3986, 6.2.2.2). `None` if a `%` in
/// its path does not begin an escape, or if its host is invalid. A query may contain anything, because only known
/// parameters are read from it.
pub(in crate::server) fn normal(target: &str) -> Option<Cow<'_, str>> {
    if let Some((host, _)) = split_absolute(target) {
        // The host must not be empty (RFC 9110, 4.2.1), nor come with a user's name (4.2.4).
        if host.is_empty() || host.starts_with(':') || !is_host(host.as_bytes()) {
            return None;
        }
    }
    if !target.contains('%') {
        return Some(Cow::Borrowed(target));
    }
    let path = target.split('?').next().unwrap_or_default();
    if !escapes_are_whole(path.as_bytes()) {
        return None;
    }
    let mut normal = String::with_capacity(target.len());
    let mut rest = target;
    while let Some(at) = rest.find('%') {
        let (plain, escaped) = rest.split_at(at);
        normal.push_str(plain);
        let (letter, len) = match escape(escaped.as_bytes()) {
            Some(byte) if is_unreserved(byte) => (byte, 3),
            _ => (b'%', 1),
        };
        normal.push(char::from(letter));
        rest = &escaped[len..];
    }
    normal.push_str(rest);
    Some(Cow::Owned(normal))
}

/// Splits a target in absolute form (RFC 9112, 3.2.2), which proxies use, into its host and the rest.
pub(in crate::server) fn split_absolute(target: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = target.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    Some(rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len())))
}

/// The raw value of the first parameter with this name.
pub(in crate::server) fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query
        .split(['&', '?', ';'])
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

/// Whether the name of a host may contain this byte unescaped (RFC 3986, 3.2.2).
fn is_in_a_name(byte: u8) -> bool {
    is_unreserved(byte) || b"!$&'()*+,;=".contains(&byte)
}

/// Whether the byte is unreserved (RFC 3986, 2.3).
pub(in crate::server) fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Decodes the escape (`%` and two digits) at the beginning of `text`.
pub(in crate::server) fn escape(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else {
        return None;
    };
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

fn escapes_are_whole(text: &[u8]) -> bool {
    let mut percents = text.iter().enumerate().filter(|(_, byte)| **byte == b'%');
    percents.all(|(at, _)| escape(&text[at..]).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for good in [
            "",
            "a",
            "a_b",
            "camera.local:8080",
            "a:",
            ":80",
            "192.168.0.1",
            "[::1]",
            "[::ffff:192.0.2.1]",
            "[fe80::1%eth0]:80",
            "[fe80::1%25eth0]",
            "[v1.a:b]",
            "[vF.$]:80",
            "%2Frun%2Fa.sock",
            "a,b",
        ] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in [
            "a b",
            "a/b",
            "a@b",
            "a:b",
            "a:80:80",
            "a:-1",
            "[::1",
            "[]",
            "[::1]a",
            "[a/b]",
            "[foo]",
            "[1]",
            "[::1::2]",
            "[::1%]",
            "[%eth0]",
            "[v.a]",
            "[v1.]",
            "[v1]",
            "[vg.a]",
            "[192.0.2.1]",
            "http://a",
            "a%",
            "a%2",
            "a%zz",
            "\"a\"",
            "ä",
            "a\tb",
        ] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn only_what_needs_no_escape_is_unescaped() {
        for (target, expected) in [
            ("/stream", "/stream"),
            ("/%73tr%65am?%6bey=%41", "/stream?key=A"),
            ("/%2e%2E/%7E%5f%2d", "/../~_-"),
            ("/a%2Fb%00%25%3f%20", "/a%2Fb%00%25%3f%20"),
            ("/%2573", "/%2573"),
            ("/?a=100%&b=%zz%7", "/?a=100%&b=%zz%7"),
            ("http://a%2e/%73", "http://a./s"),
        ] {
            assert_eq!(normal(target).as_deref(), Some(expected), "{target}");
        }
        for bad in ["/%", "/a%2", "/%zz", "/%+1", "/%é0", "/%/?a", "http://a%/b"] {
            assert_eq!(normal(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_absolute_target_has_a_host() {
        for bad in [
            "http:///stream",
            "http://",
            "http://?action=stream",
            "http://:80/",
            "http://me@a/",
            "https://a b/",
        ] {
            assert_eq!(normal(bad), None, "{bad}");
        }
        assert!(normal("HTTP://a:8080?action=stream").is_some());
    }
}
