//! Which other websites' pages may read what is served here (WHATWG Fetch, 3.2: the CORS protocol).
//!
//! The default is `*`, as in mjpg-streamer, because Mainsail and Fluidd fetch the picture from another port. If
//! origins are named, only those may read, and with credentials. Browsers rightly refuse `*` together with
//! credentials.

use std::rc::Rc;

/// The origins of `--allow-origin`.
#[derive(Clone, Debug)]
pub struct Origins {
    /// The fields for requests from any origin that is not named.
    others: Rc<String>,
    named: Vec<(String, Rc<String>)>,
}

impl Default for Origins {
    fn default() -> Self {
        Origins {
            others: Rc::new("Access-Control-Allow-Origin: *\r\n".into()),
            named: Vec::new(),
        }
    }
}

impl Origins {
    /// Accepts `*`, `none`, or origins such as `https://octopi.local:8080`. No words mean `*`.
    pub fn new(words: &[String]) -> Result<Self, String> {
        match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] | ["*"] => return Ok(Origins::default()),
            ["none"] => {
                return Ok(Origins {
                    others: Rc::default(),
                    named: Vec::new(),
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
            others: Rc::new("Vary: Origin\r\n".into()),
        })
    }

    /// The header fields of every reply to a request with this `Origin`. Each client keeps them, by a thin pointer.
    pub fn fields(&self, origin: Option<&[u8]>) -> Rc<String> {
        let origin = origin.unwrap_or_default();
        let found = self
            .named
            .iter()
            .find(|(named, _)| named.as_bytes().eq_ignore_ascii_case(origin));
        Rc::clone(found.map_or(&self.others, |(_, fields)| fields))
    }
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
        Origins::new(
            &words
                .iter()
                .map(|word| word.to_string())
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn everybody_may_read_unless_it_is_said_otherwise() {
        for words in [&[][..], &["*"]] {
            let fields = origins(words).unwrap().fields(Some(b"http://a"));
            assert_eq!(*fields, "Access-Control-Allow-Origin: *\r\n");
        }
        assert_eq!(*origins(&["none"]).unwrap().fields(Some(b"http://a")), "");
    }

    #[test]
    fn a_named_origin_is_echoed_and_another_is_not() {
        let origins = origins(&["http://a.local", "https://B.local:8443"]).unwrap();
        let fields = origins.fields(Some(b"https://b.local:8443"));
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
            assert_eq!(*origins.fields(other), "Vary: Origin\r\n", "{other:?}");
        }
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
