//! What a camera wants to be told before it shows anything (`WWW-Authenticate`), and the answer by Basic (RFC 7617) or Digest
//! (RFC 7616: MD5 and SHA-256, with `qop=auth` or, as before RFC 2617, without).
//!
//! Why not `digest_auth` or `http-auth`: both bring the hashes once more in an older generation, and a generator of random numbers; what
//! they do beyond that is the hundred lines here.
//!
//! What a stranger says here gets into a request. So of a challenge with anything but visible ASCII and blanks, or with escapes, nothing is used.
//!
//! Not here: `-sess`, `auth-int`, and `userhash`, which no camera was found to ask for.

use std::hash::{BuildHasher, RandomState};

use base64ct::{Base64, Encoding};
use md5::Md5;
use sha2::{Digest, Sha256};

/// The longest value that is sent back.
const LONGEST: usize = 512;

/// How to prove who asks. The best is the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Scheme {
    #[default]
    Unknown,
    Basic,
    Md5,
    Sha256,
}

/// One way to prove who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Challenge {
    scheme: Scheme,
    realm: String,
    nonce: String,
    opaque: Option<String>,
    names_algorithm: bool,
    has_qop: bool,
}

impl Challenge {
    /// The best challenge in these values of `WWW-Authenticate`.
    pub(super) fn best<'a>(fields: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut all = Vec::new();
        fields.for_each(|field| read(field, &mut all));
        let usable = |one: &Challenge| match one.scheme {
            Scheme::Unknown => false,
            Scheme::Basic => true,
            Scheme::Md5 | Scheme::Sha256 => !one.nonce.is_empty(),
        };
        let usable = all.into_iter().filter(usable);
        usable.max_by_key(|one| one.scheme)
    }

    /// The value of `Authorization` for a `GET` of this target, the `count`th one that answers this challenge.
    pub(super) fn answer(&self, user: &str, password: &str, target: &str, count: u32) -> String {
        if self.scheme == Scheme::Basic {
            let both = format!("{user}:{password}");
            return format!("Basic {}", Base64::encode_string(both.as_bytes()));
        }
        let ours = format!("{:016x}", RandomState::new().hash_one(count));
        self.digest([user, password, target], count, &ours)
    }

    fn digest(&self, [user, password, target]: [&str; 3], count: u32, ours: &str) -> String {
        let Challenge { realm, nonce, .. } = self;
        let who = self.hash(&format!("{user}:{realm}:{password}"));
        let what = self.hash(&format!("GET:{target}"));
        let (proof, mut more) = match self.has_qop {
            true => (
                format!("{who}:{nonce}:{count:08x}:{ours}:auth:{what}"),
                format!(", qop=auth, nc={count:08x}, cnonce=\"{ours}\""),
            ),
            false => (format!("{who}:{nonce}:{what}"), String::new()),
        };
        if let Some(opaque) = &self.opaque {
            more += &format!(", opaque=\"{opaque}\"");
        }
        if self.names_algorithm {
            more += match self.scheme {
                Scheme::Sha256 => ", algorithm=SHA-256",
                _ => ", algorithm=MD5",
            };
        }
        let response = self.hash(&proof);
        format!(
            "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{target}\", response=\"{response}\"{more}"
        )
    }

    fn hash(&self, text: &str) -> String {
        match self.scheme {
            Scheme::Sha256 => hex(&Sha256::digest(text)),
            _ => hex(&Md5::digest(text)),
        }
    }

    /// Takes in one parameter.
    fn set(&mut self, name: &str, value: &str) {
        let is_plain = |c: u8| matches!(c, b' '..=b'~') && c != b'"' && c != b'\\';
        let is_usable = value.len() <= LONGEST && value.bytes().all(is_plain);
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
        if is("realm") {
            self.realm = value.into();
        } else if is("nonce") {
            self.nonce = value.into();
        } else if is("opaque") {
            self.opaque = Some(value.into());
        } else if is("algorithm") {
            self.names_algorithm = true;
            self.scheme = match value {
                _ if value.eq_ignore_ascii_case("MD5") => Scheme::Md5,
                _ if value.eq_ignore_ascii_case("SHA-256") => Scheme::Sha256,
                _ => Scheme::Unknown,
            };
        } else if is("qop") {
            self.has_qop = value
                .split(',')
                .any(|one| one.trim().eq_ignore_ascii_case("auth"));
            if !self.has_qop {
                self.scheme = Scheme::Unknown;
            }
        } else {
            return;
        }
        if !is_usable {
            self.scheme = Scheme::Unknown;
        }
    }
}

/// Adds the challenges of one field (RFC 9110, 11.6.1): each is a scheme, a blank and parameters, and commas stand between all of these.
fn read(field: &str, all: &mut Vec<Challenge>) {
    let mut is_quoted = false;
    let items = field.split(move |c| {
        is_quoted ^= c == '"';
        c == ',' && !is_quoted
    });
    for item in items {
        let mut item = item.trim();
        let (word, behind) = item.split_once([' ', '\t']).unwrap_or((item, ""));
        if !word.is_empty() && !word.contains('=') && !behind.trim_start().starts_with('=') {
            let scheme = match word {
                _ if word.eq_ignore_ascii_case("Basic") => Scheme::Basic,
                _ if word.eq_ignore_ascii_case("Digest") => Scheme::Md5,
                _ => Scheme::Unknown,
            };
            all.push(Challenge {
                scheme,
                ..Challenge::default()
            });
            item = behind;
        }
        let (Some(last), Some((name, value))) = (all.last_mut(), item.split_once('=')) else {
            continue;
        };
        let value = value.trim();
        let bare = value
            .strip_prefix('"')
            .and_then(|value| value.strip_suffix('"'));
        // Of Basic's nothing is sent back.
        if !matches!(last.scheme, Scheme::Unknown | Scheme::Basic) {
            last.set(name.trim(), bare.unwrap_or(value));
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits =
        |byte: &u8| [byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]);
    bytes.iter().flat_map(digits).map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(fields: &[&str]) -> Option<Challenge> {
        Challenge::best(fields.iter().copied())
    }

    /// The example of RFC 7616, 3.9.1.
    #[test]
    fn the_example_of_the_standard_has_the_answers_of_the_standard() {
        let rest = r#"realm="http-auth@example.org", qop="auth, auth-int",
            nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#;
        let rest = rest.replace("\n            ", " ");
        let ours = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        for (algorithm, response) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            (
                "SHA-256",
                "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
            ),
        ] {
            let field = format!("Digest {rest}, algorithm={algorithm}");
            let challenge = best(&[&field]).unwrap();
            let who = ["Mufasa", "Circle of Life", "/dir/index.html"];
            let answer = challenge.digest(who, 1, ours);
            let expected = format!(
                "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", \
                 nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", uri=\"/dir/index.html\", response=\"{response}\", \
                 qop=auth, nc=00000001, cnonce=\"{ours}\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\", \
                 algorithm={algorithm}"
            );
            assert_eq!(answer, expected);
        }
    }

    /// RFC 2069 had no `qop`; its example with the response as its erratum corrects it.
    #[test]
    fn a_camera_from_before_qop_is_answered_as_it_expects() {
        let field = r#"Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41""#;
        let answer = best(&[field]).unwrap().digest(
            ["Mufasa", "CircleOfLife", "/dir/index.html"],
            1,
            "unused",
        );
        assert!(
            answer.contains("response=\"1949323746fe6a43ef61f9606e7febea\""),
            "{answer}"
        );
        assert!(
            !answer.contains("nc=") && !answer.contains("algorithm"),
            "{answer}"
        );
    }

    #[test]
    fn the_best_of_several_is_answered_and_basic_is_the_last_resort() {
        let basic = "Basic realm=\"\u{fc}, b\"";
        let digest = r#"Digest realm="x", nonce="1", qop="auth""#;
        let better = r#"Digest realm="x", nonce="2", qop="auth", algorithm=SHA-256"#;
        assert_eq!(best(&[basic]).unwrap().scheme, Scheme::Basic);
        assert_eq!(best(&[basic, digest]).unwrap().nonce, "1");
        assert_eq!(best(&[digest, better, basic]).unwrap().nonce, "2");
        let one_field = format!("NTLM, Negotiate abc==, {basic}, {better}, {digest}");
        assert_eq!(best(&[&one_field]).unwrap().nonce, "2");
        let answer = best(&[basic])
            .unwrap()
            .answer("Aladdin", "open sesame", "/", 1);
        assert_eq!(answer, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }

    #[test]
    fn what_is_not_understood_or_could_end_a_quote_is_not_answered() {
        for field in [
            "",
            "Bearer",
            "Digest",
            r#"realm="x", nonce="1""#,
            r#"Digest realm="x", qop="auth""#,
            r#"Digest realm="x", nonce="1", algorithm=SHA-512-256"#,
            r#"Digest realm="x", nonce="1", algorithm=MD5-sess"#,
            r#"Digest realm="x", nonce="1", qop="auth-int""#,
            r#"Digest realm="x", nonce="a\"b""#,
            r#"Digest realm="x", nonce=a"b"#,
            "Digest realm=\"x\", nonce=\"a\u{e4}\"",
        ] {
            assert_eq!(best(&[field]), None, "{field}");
        }
        let long = format!("Digest realm=\"x\", nonce=\"{}\"", "n".repeat(LONGEST + 1));
        assert_eq!(best(&[&long]), None);
    }

    #[test]
    fn no_answer_is_like_the_one_before() {
        let challenge = best(&[r#"Digest realm="x", nonce="1", qop="auth""#]).unwrap();
        let answers = [1, 2].map(|count| challenge.answer("a", "b", "/", count));
        assert_ne!(answers[0], answers[1]);
        assert!(answers[1].contains("nc=00000002"));
    }
}
