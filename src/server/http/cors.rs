//! Which other websites' pages may read what is served here (WHATWG Fetch, 3.2: the CORS protocol).
//!
//! By default, pages of the same host may, on whatever port they are: Mainsail and Fluidd fetch the picture from another port of
//! the printer. It is the page's origin that has to agree with `Host`, and `Host` has to be a name of this server
//! ([`super::hosts`]). With `*`, which is the only choice of mjpg-streamer, every website that somebody in this network visits could read
//! the pictures. Where passwords are asked for, nobody may by default: a page of the same host may be somebody
//! else's, and a browser would send the password.
//!
//! If origins are named, only those may read, and with credentials. Browsers rightly refuse `*` together with
//! credentials.
//!
//! `Cross-Origin-Resource-Policy` (WHATWG Fetch, 3.7) says the same to pages that only show a picture. Without it, a page
//! with `Cross-Origin-Embedder-Policy: require-corp` shows none from another origin. It is sent where all may read or
//! none: which page an `<img>` is on is not known, unless it has `crossorigin`, which needs no such field.

use std::rc::Rc;

use super::hosts::without_port;

/// The origins of `--allow-origin`.
#[derive(Clone, Debug)]
pub struct Origins {
    /// The fields for requests from any origin that is not named.
    others: Rc<String>,
    named: Vec<(String, Rc<String>)>,
    /// Pages of the host to which the request went may read too.
    same_host: bool,
    /// Nobody wants to know who may not read.
    quiet: bool,
}

impl Default for Origins {
    fn default() -> Self {
        Origins {
            same_host: true,
            ..Origins::of("Vary: Origin\r\n")
        }
    }
}

impl Origins {
    /// Accepts `*`, `none`, or origins such as `https://octopi.local:8080`. No words mean pages of the same host, or where
    /// passwords are asked for (`guarded`) none.
    pub fn new(words: &[String], guarded: bool) -> Result<Self, String> {
        match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] if guarded => return Ok(Origins::of("")),
            [] => return Ok(Origins::default()),
            ["*"] => {
                return Ok(Origins::of(
                    "Access-Control-Allow-Origin: *\r\n\
                     Cross-Origin-Resource-Policy: cross-origin\r\n",
                ));
            }
            ["none"] => {
                return Ok(Origins {
                    quiet: true,
                    ..Origins::of("Cross-Origin-Resource-Policy: same-origin\r\n")
                });
            }
            _ => {}
        }
        let named = words.iter().map(|word| {
            let origin = word.to_ascii_lowercase();
            check(&origin)?;
            let fields = format!(
                "Access-Control-Allow-Origin: {origin}\r\n\
                 Access-Control-Allow-Credentials: true\r\n\
                 Vary: Origin\r\n"
            );
            Ok((origin, Rc::new(fields)))
        });
        Ok(Origins {
            named: named.collect::<Result<_, String>>()?,
            // A cache must not give one origin's reply to another.
            ..Origins::of("Vary: Origin\r\n")
        })
    }

    /// These fields for everybody.
    fn of(fields: &str) -> Self {
        Origins {
            others: Rc::new(fields.into()),
            named: Vec::new(),
            same_host: false,
            quiet: false,
        }
    }

    /// Whether it is worth a remark in the log who may not read.
    pub(in crate::server) fn are_told(&self) -> bool {
        !self.quiet
    }

    /// Whether a page of this origin may change something here: one of this very host and port, if that is a name of ours
    /// (`is_ours`), or one that is named. Without an origin it is no page: browsers send one with every POST (WHATWG
    /// Fetch, 3.1).
    pub fn may_change(&self, origin: Option<&[u8]>, host: Option<&[u8]>, is_ours: bool) -> bool {
        let Some(origin) = origin else {
            return true;
        };
        let own = ["http://", "https://"].into_iter().any(|scheme| {
            let place = origin.strip_prefix(scheme.as_bytes());
            place.is_some_and(|place| host.is_some_and(|host| place.eq_ignore_ascii_case(host)))
        });
        let mut named = self.named.iter().map(|(named, _)| named.as_bytes());
        (own && is_ours) || named.any(|named| named.eq_ignore_ascii_case(origin))
    }

    /// The header fields of every reply to a request with this `Origin` and `Host`. Each client keeps them, by a thin
    /// pointer.
    pub fn fields(&self, origin: Option<&[u8]>, host: Option<&[u8]>) -> Rc<String> {
        let origin = origin.unwrap_or_default();
        if self.same_host {
            if let Some(origin) = of_host(origin, host.unwrap_or_default()) {
                let fields = format!("Access-Control-Allow-Origin: {origin}\r\n{}", self.others);
                return Rc::new(fields);
            }
        }
        let found = self
            .named
            .iter()
            .find(|(named, _)| named.as_bytes().eq_ignore_ascii_case(origin));
        Rc::clone(found.map_or(&self.others, |(_, fields)| fields))
    }
}

/// Whether the fields let somebody read.
pub(super) fn let_read(fields: &str) -> bool {
    fields.contains("Access-Control-Allow-Origin: ")
}

/// The origin, if it is that of a page on this host, on any port.
fn of_host<'a>(origin: &'a [u8], host: &[u8]) -> Option<&'a str> {
    let origin = std::str::from_utf8(origin).ok()?;
    let (scheme, place) = origin.split_once("://")?;
    let of_page = without_port(place.as_bytes());
    let is_same = matches!(scheme, "http" | "https")
        && !of_page.is_empty()
        && of_page.eq_ignore_ascii_case(without_port(host));
    // What comes back in a field is what may stand in a `Host`, and digits.
    is_same.then_some(origin)
}

/// Checks for a scheme, a host and optionally a port, with nothing behind them (RFC 6454, 6.1).
fn check(origin: &str) -> Result<(), String> {
    let (scheme, host) = origin.split_once("://").unwrap_or_default();
    // A scheme (RFC 3986, 3.1).
    let in_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic());
    let is_scheme = is_scheme && scheme.chars().all(in_scheme);
    let allowed =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':' | '[' | ']' | '_');
    if !is_scheme || host.is_empty() || !host.chars().all(allowed) {
        return Err(format!(
            "'{origin}' is no origin such as https://octopi.local:8080; * and none stand alone"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(words: &[&str]) -> Result<Origins, String> {
        let words: Vec<_> = words.iter().map(|word| word.to_string()).collect();
        Origins::new(&words, false)
    }

    #[test]
    fn pages_of_the_same_host_may_read_on_any_port_unless_it_is_said_otherwise() {
        let origins = origins(&[]).unwrap();
        let fields = |origin: &'static str, host: &'static str| {
            origins.fields(Some(origin.as_bytes()), Some(host.as_bytes()))
        };
        for (origin, host) in [
            ("http://a", "a:8080"),
            ("http://a:81", "a"),
            ("https://A.local", "a.local:8080"),
            ("http://192.0.2.7", "192.0.2.7:80"),
            ("http://[2001:db8::7]:81", "[2001:db8::7]"),
        ] {
            let expected = format!("Access-Control-Allow-Origin: {origin}\r\nVary: Origin\r\n");
            assert_eq!(*fields(origin, host), expected);
        }
        for (origin, host) in [
            ("http://b", "a"),
            ("http://a.b", "b"),
            ("http://b", "a.b"),
            ("http://a", ""),
            ("http://", ""),
            ("null", "null"),
            ("", "a"),
            ("ftp://a", "a"),
            ("http://a/", "a"),
            ("http://a\r\nX: y", "a"),
            ("http://[2001:db8::7]", "[2001:db8::8]:7"),
        ] {
            assert_eq!(*fields(origin, host), "Vary: Origin\r\n", "{origin} {host}");
        }
        assert_eq!(*origins.fields(None, Some(b"a")), "Vary: Origin\r\n");
    }

    #[test]
    fn everybody_or_nobody_may_read_if_that_is_said() {
        let fields = |words| {
            origins(words)
                .unwrap()
                .fields(Some(b"http://a"), Some(b"a"))
        };
        let shown = |policy: &str| format!("Cross-Origin-Resource-Policy: {policy}\r\n");
        let any = format!(
            "Access-Control-Allow-Origin: *\r\n{}",
            shown("cross-origin")
        );
        assert_eq!(*fields(&["*"]), any);
        assert_eq!(*fields(&["none"]), shown("same-origin"));
        let guarded = Origins::new(&[], true).unwrap();
        assert_eq!(*guarded.fields(Some(b"http://a"), Some(b"a")), "");
    }

    #[test]
    fn a_named_origin_is_echoed_and_another_is_not() {
        let origins = origins(&["http://a.local", "https://B.local:8443"]).unwrap();
        let fields = origins.fields(Some(b"https://b.local:8443"), None);
        assert_eq!(
            *fields,
            "Access-Control-Allow-Origin: https://b.local:8443\r\n\
             Access-Control-Allow-Credentials: true\r\nVary: Origin\r\n"
        );
        for other in [
            None,
            Some(&b"http://a.local:80"[..]),
            Some(b"null"),
            Some(b"*"),
        ] {
            let fields = origins.fields(other, Some(b"a.local"));
            assert_eq!(*fields, "Vary: Origin\r\n", "{other:?}");
        }
    }

    #[test]
    fn only_pages_of_this_very_host_or_named_ones_may_change_something() {
        let named = origins(&["http://octopi.local"]).unwrap();
        let any = origins(&["*"]).unwrap();
        for (origin, host, ours, may) in [
            ("http://cam.local:8080", "cam.local:8080", true, true),
            ("https://CAM.local", "cam.local", true, true),
            ("http://cam.local", "cam.local:8080", true, false),
            ("http://evil.example", "evil.example", false, false),
            ("null", "null", true, false),
            ("cam.local", "cam.local", true, false),
            ("http://other.local", "cam.local", true, false),
        ] {
            for origins in [&named, &any] {
                let told = origins.may_change(Some(origin.as_bytes()), Some(host.as_bytes()), ours);
                assert_eq!(told, may, "{origin} {host}");
            }
        }
        let octopi = Some(&b"http://octopi.local"[..]);
        assert!(named.may_change(octopi, Some(b"cam.local"), false));
        assert!(!any.may_change(octopi, Some(b"cam.local"), true));
        assert!(any.may_change(None, None, false));
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for bad in [
            &["*", "http://a"][..],
            &["none", "http://a"],
            &["a.local"],
            &["http://"],
            &["http://a/"],
            &["http://a\r\nX: y"],
            &["a\r\nX: y\r\nz://b"],
            &["://a"],
            &["1a://b"],
            &["ht tp://b"],
        ] {
            assert!(origins(bad).is_err(), "{bad:?}");
        }
    }
}
