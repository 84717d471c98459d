//! Where a camera on the network is: `http://HOST[:PORT]/PATH`, or `http+unix:SOCKET:/PATH` for a socket file.
//!
//! Before the host there may be `USER@`; the password comes from a file. A URL is kept as it was given, so that it can be written as an argument again; what is shown to people has no query,
//! because cameras take passwords there. TLS is not spoken (`https:` is refused): that is a proxy's job.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The port of `http:` (RFC 9110, 4.2.1).
const HTTP_PORT: u16 = 80;

/// The longest URL; that of a request has to fit into the buffer of a socket.
const LONGEST: usize = 2048;

const FORM: &str = "a camera on the network is http://[USER@]HOST[:PORT]/PATH or http+unix:/SOCKET:/PATH, in ASCII and without blanks";

/// The address of a camera on the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Without the user.
    text: String,
    /// Who asks, if the camera wants to know.
    pub user: Option<String>,
    /// What to connect to.
    pub place: Endpoint,
    /// Where in `text` the path with its query begins; if it has none, its end.
    path: usize,
}

/// What to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A name or an address (an IPv6 address without its brackets), and a TCP port.
    Host(String, u16),
    /// A socket file.
    Socket(PathBuf),
}

impl Url {
    /// Whether this is meant as a URL, be it a right one or not.
    pub(super) fn is_meant(text: &str) -> bool {
        text.starts_with("http") && text.contains(':')
    }

    /// The target of requests: path and query.
    pub fn target(&self) -> &str {
        match &self.text[self.path..] {
            "" => "/",
            path => path,
        }
    }

    /// Where `Location` in an answer to this target, or that of the URL, leads to, if it is on the same host and port and can be sent
    /// (RFC 9110, 10.2.2; a relative path with dot segments is not resolved).
    pub(super) fn target_after(&self, target: Option<&str>, location: &str) -> Option<String> {
        let location = location.split('#').next()?;
        let to_here = |rest: &str| {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let (there, path) = rest.split_at(end);
            let without_port = |name: &str| {
                name.strip_suffix(":80")
                    .unwrap_or(name)
                    .to_ascii_lowercase()
            };
            let is_here = without_port(there) == without_port(self.authority());
            let path = match path.starts_with('/') {
                true => path.to_owned(),
                false => format!("/{path}"),
            };
            is_here.then_some(path)
        };
        let absolute = location.strip_prefix("http:").unwrap_or(location);
        let new = if let Some(rest) = absolute.strip_prefix("//") {
            to_here(rest)?
        } else if location.starts_with('/') {
            location.to_owned()
        } else {
            let before = target.unwrap_or(self.target()).split('?').next()?;
            let (folder, _) = before.rsplit_once('/')?;
            let is_path =
                !location.is_empty() && !location.contains(':') && !location.contains("..");
            let new = match location.starts_with('?') {
                true => format!("{before}{location}"),
                false => format!("{folder}/{location}"),
            };
            is_path.then_some(new)?
        };
        (is_sendable(&new)).then_some(new)
    }

    /// The value of the field `Host`.
    pub fn authority(&self) -> &str {
        match &self.place {
            Endpoint::Host(..) => &self.text["http://".len()..self.path],
            Endpoint::Socket(_) => "localhost",
        }
    }

    /// The socket file.
    pub fn socket(&self) -> Option<&Path> {
        match &self.place {
            Endpoint::Host(..) => None,
            Endpoint::Socket(path) => Some(path),
        }
    }

    /// The URL for people: without its query.
    pub fn shown(&self) -> &str {
        self.text.split('?').next().unwrap_or_default()
    }
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !is_sendable(text) {
            return Err(FORM.into());
        }
        if let Some(rest) = text.strip_prefix("http+unix:") {
            let (socket, path) = rest.split_once(":/").unwrap_or((rest, ""));
            if !socket.starts_with('/') {
                return Err(FORM.into());
            }
            let path = match path {
                "" => text.len(),
                path => text.len() - path.len() - 1,
            };
            return Ok(Url {
                place: Endpoint::Socket(socket.into()),
                path,
                text: text.into(),
                user: None,
            });
        }
        if text.starts_with("https:") {
            return Err("TLS is not spoken: put a proxy in between, such as stunnel or nginx, and name it by http://".into());
        }
        let rest = text.strip_prefix("http://").ok_or(FORM)?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (user, rest) = match rest[..end].rsplit_once('@') {
            Some((user, _)) if user.contains(':') => {
                return Err("a password in a URL is seen by everybody on this machine: put it into a file, and name that by --source-password".into());
            }
            Some((user, _)) => (Some(user.to_owned()), &rest[user.len() + 1..]),
            None => (None, rest),
        };
        let end = end - user.as_ref().map_or(0, |user| user.len() + 1);
        let authority = &rest[..end];
        if rest[end..].starts_with('?') || user.as_ref().is_some_and(String::is_empty) {
            return Err(FORM.into());
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !authority.ends_with(']') => (
                host,
                port.parse().ok().filter(|port| *port > 0).ok_or(FORM)?,
            ),
            _ => (authority, HTTP_PORT),
        };
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let host = bare.unwrap_or(host);
        if host.is_empty() || host.contains(['[', ']']) || (bare.is_none() && host.contains(':')) {
            return Err(FORM.into());
        }
        Ok(Url {
            place: Endpoint::Host(host.into(), port),
            path: "http://".len() + end,
            text: format!("http://{rest}"),
            user,
        })
    }
}

/// Whether it can be part of a request, also within quotes.
fn is_sendable(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'"' | b'\\');
    text.len() <= LONGEST && text.bytes().all(is_plain)
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.user, self.text.strip_prefix("http://")) {
            (Some(user), Some(rest)) => write!(f, "http://{user}@{rest}"),
            _ => f.write_str(&self.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> (String, u16, String) {
        let url: Url = text.parse().unwrap();
        let Endpoint::Host(host, port) = url.place.clone() else {
            panic!("{url:?}");
        };
        assert_eq!(url.to_string(), text);
        (host, port, url.target().to_owned())
    }

    #[test]
    fn a_url_says_where_to_connect_and_what_to_ask_for() {
        let cases = [
            ("http://cam", "cam", 80, "/"),
            (
                "http://cam.local:8080/stream?x=1:2@3",
                "cam.local",
                8080,
                "/stream?x=1:2@3",
            ),
            ("http://[fe80::1]:81/", "fe80::1", 81, "/"),
            ("http://[::1]/a:b", "::1", 80, "/a:b"),
        ];
        for (text, name, port, target) in cases {
            assert_eq!(host(text), (name.into(), port, target.into()), "{text}");
        }
        let url: Url = "http://user@cam:81/x@y".parse().unwrap();
        assert_eq!(url.user.as_deref(), Some("user"));
        assert_eq!((url.authority(), url.target()), ("cam:81", "/x@y"));
        assert_eq!(url.shown(), "http://cam:81/x@y");
        assert_eq!(url.to_string(), "http://user@cam:81/x@y");
        let url: Url = "http://[::1]:81/x".parse().unwrap();
        assert_eq!(url.authority(), "[::1]:81");
        let url: Url = "http+unix:/run/cam.sock:/stream?a:/b".parse().unwrap();
        assert_eq!(url.socket(), Some(Path::new("/run/cam.sock")));
        assert_eq!(
            (url.target(), url.authority()),
            ("/stream?a:/b", "localhost")
        );
        let url: Url = "http+unix:/run/cam.sock".parse().unwrap();
        assert_eq!(
            (url.target(), url.socket()),
            ("/", Some(Path::new("/run/cam.sock")))
        );
    }

    #[test]
    fn a_redirect_leads_to_the_same_host_or_nowhere() {
        let url: Url = "http://user@Cam/a/b?c=d/e".parse().unwrap();
        for (location, target) in [
            ("/x?y", Some("/x?y")),
            ("x", Some("/a/x")),
            ("?z", Some("/a/b?z")),
            ("http://cam/x#y", Some("/x")),
            ("http://cam:80", Some("/")),
            ("http://CAM?q", Some("/?q")),
            ("//cam/x", Some("/x")),
            ("", None),
            ("../x", None),
            ("http://cam:81/x", None),
            ("http://cam.example.org/x", None),
            ("http://cam@other/x", None),
            ("//other/x", None),
            ("https://cam/x", None),
            ("ftp:x", None),
            ("/a b", None),
            ("/a\rb", None),
            ("/\"", None),
        ] {
            let found = url.target_after(None, location);
            assert_eq!(found.as_deref(), target, "{location}");
        }
        let next = url.target_after(Some("/p/q/r"), "s");
        assert_eq!(next.as_deref(), Some("/p/q/s"));
        assert_eq!(url.target_after(None, &"/".repeat(LONGEST + 1)), None);
    }

    #[test]
    fn what_people_see_has_no_query() {
        let url: Url = "http://cam/video.cgi?user=a&pwd=secret".parse().unwrap();
        assert_eq!(url.shown(), "http://cam/video.cgi");
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for bad in [
            "http://",
            "http:/x",
            "http://:80/",
            "http://a:0/",
            "http://a:b/",
            "http://a:99999/",
            "http://a b/",
            "http://a/\r\nX: y",
            "http://::1/",
            "http://[::1/",
            "http://a/#x",
            "http://a/\"x",
            "http://a?x",
            "http://user:password@a/",
            "http://@a/",
            "https://a/",
            "http+unix:cam.sock:/x",
            "httpx:",
            "http://ä/",
        ] {
            assert!(bad.parse::<Url>().is_err(), "{bad}");
        }
    }
}
