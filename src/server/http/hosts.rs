//! The names under which this server answers: the fence against DNS rebinding.
//!
//! A page of another site may not read what this server says ([`super::cors`]), but whoever runs that site can have its
//! name answered with this machine's address once the page is loaded. For the browser, page and pictures are then of the same site. What the
//! attacker cannot change is the name, which the browser sends as `Host`. So requests are answered only under names that
//! nobody on the internet can have: addresses, names without a dot, those that are reserved for the network at hand, and
//! those that the owner has named.
//!
//! | name | why nobody else can have it |
//! | --- | --- |
//! | an address | it is not looked up |
//! | `octopi`, `localhost` | names without a dot are looked up in the network at hand |
//! | `.localhost` | RFC 6761, 6.3 |
//! | `.local` | multicast DNS, RFC 6762 |
//! | `.home.arpa` | RFC 8375 |
//! | `.internal` | reserved by ICANN in 2024 |
//! | `.lan` | no such domain was ever given away; OpenWrt's default |

use std::net::Ipv4Addr;

/// Domains of the network at hand.
const OWN_DOMAINS: [&str; 5] = ["local", "lan", "home.arpa", "internal", "localhost"];

/// The names that are known beside those.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    any: bool,
    named: Vec<String>,
}

impl Hosts {
    /// Accepts `*` or names such as `cam.example.org`, without a port.
    pub fn new(words: &[String]) -> Result<Self, String> {
        if words == ["*"] {
            return Ok(Hosts {
                any: true,
                named: Vec::new(),
            });
        }
        let in_a_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if let Some(word) = words
            .iter()
            .find(|word| word.is_empty() || !word.chars().all(in_a_name))
        {
            return Err(format!(
                "'{word}' is no name such as cam.example.org, without a port; * stands alone"
            ));
        }
        Ok(Hosts {
            any: false,
            named: words.to_vec(),
        })
    }

    /// These names as well.
    pub fn and(mut self, names: Vec<String>) -> Self {
        self.named.extend(names);
        self
    }

    /// Whether requests for this host, a valid `Host` without user, are answered. Requests of HTTP/1.0 may have none; no browser sends
    /// such.
    pub fn include(&self, host: Option<&[u8]>) -> bool {
        let host = host.unwrap_or_default();
        if self.any || host.starts_with(b"[") {
            return true;
        }
        let name = without_port(host);
        let name = name.strip_suffix(b".").unwrap_or(name);
        let Ok(name) = std::str::from_utf8(name) else {
            return false;
        };
        let is_inside = |domain: &&str| {
            let rest = name.len().checked_sub(domain.len());
            let parts = rest.and_then(|at| Some((name.get(..at)?, name.get(at..)?)));
            parts.is_some_and(|(host, end)| host.ends_with('.') && end.eq_ignore_ascii_case(domain))
        };
        !name.contains('.')
            || name.parse::<Ipv4Addr>().is_ok()
            || OWN_DOMAINS.iter().any(is_inside)
            || self.named.iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

/// The name or address in a valid `Host`.
pub(super) fn without_port(host: &[u8]) -> &[u8] {
    let port = host.iter().rev().take_while(|byte| byte.is_ascii_digit());
    let end = host.len() - port.count();
    match host[..end] {
        // An IPv6 address ends with a bracket, so a colon before digits is that of a port.
        [ref name @ .., b':'] => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn includes(hosts: &Hosts, host: &str) -> bool {
        hosts.include(Some(host.as_bytes()))
    }

    #[test]
    fn names_that_nobody_else_can_have_are_answered() {
        let hosts = Hosts::default();
        for own in [
            "",
            "octopi",
            "octopi:8080",
            "localhost",
            "192.168.1.7:80",
            "[fe80::1%25eth0]:8080",
            "[::1]",
            "OctoPi.Local",
            "octopi.local.:8080",
            "a.b.lan",
            "pi.home.arpa",
            "pi.internal",
            "a.localhost:1",
        ] {
            assert!(includes(&hosts, own), "{own}");
        }
        assert!(hosts.include(None));
    }

    #[test]
    fn names_that_others_can_have_are_not() {
        let hosts = Hosts::default();
        for foreign in [
            "evil.example",
            "evil.example:8080",
            "EVIL.example.",
            "local.evil.example",
            "evillocal.example",
            "notlan.example.lan.org",
            "x.notlocal",
            "x.arpa",
            "192.168.1.7.evil.example",
            "1.2.3",
            "ä.local.example",
        ] {
            assert!(!includes(&hosts, foreign), "{foreign}");
        }
    }

    #[test]
    fn names_that_were_named_are_answered_and_everything_is_if_that_was_said() {
        let words = ["Cam.Example.org".to_owned()];
        let hosts = Hosts::new(&words).unwrap().and(vec!["pi.fritz.box".into()]);
        assert!(includes(&hosts, "cam.example.ORG:8080") && includes(&hosts, "pi.fritz.box"));
        assert!(!includes(&hosts, "x.cam.example.org"));
        let any = Hosts::new(&["*".into()]).unwrap();
        assert!(includes(&any, "evil.example"));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for bad in ["", "*", "a:80", "http://a", "[::1]", "a b"] {
            let words = [bad.to_owned(), "b.example".to_owned()];
            assert!(Hosts::new(&words).is_err(), "{bad}");
        }
    }
}
