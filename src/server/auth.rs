//! Basic authentication (RFC 7617): the file of users, and who has proved already that he is one of them.
//!
//! A password's hash is slow by design: milliseconds on a desktop, many times that on a small board, and the loop must not
//! stand still for so long. So a header is proved once (`verify.rs`, on a thread of its own) and known from then on: what
//! is kept of it is a digest under a key of this process. Looking up a known header costs one SHA-256, and its time does
//! not depend on how much of it is right.
//!
//! What is not here: sessions, roles, other schemes, a way to read the file again. The connection is not encrypted:
//! that is a proxy's work.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64ct::{Base64, Encoding};
use ctutils::CtEq;
use sha_crypt::{PasswordVerifier, ShaCrypt};
use sha2::{Digest, Sha256};

use crate::error::{Context, Error, Result};

pub(super) mod verify;

/// Longer ones are no passwords (crypt(3) takes 511 bytes): the time for a hash grows with the square of the length.
const MAX_PASSWORD: usize = 511;

/// `rounds=` may be so many: some seconds on a small board.
const MAX_ROUNDS: u32 = 500_000;

/// What a header looks like once it was seen: SHA-256 under the key of this process.
type Print = [u8; 32];

/// The lines of a file `user:hash`.
pub struct Users(Vec<User>);

struct User {
    name: String,
    hash: String,
}

impl Users {
    /// Reads the file that `--auth` names: one `user:hash` per line, empty lines and those that begin with `#` apart.
    pub fn read(path: &Path) -> Result<Self> {
        let path = in_credentials(path);
        let text = fs::read_to_string(&path).doing(|| format!("read {}", path.display()))?;
        Users::parse(&text)
            .map_err(|(line, what)| Error::Usage(format!("{}:{line}: {what}", path.display())))
    }

    /// The number of the line that cannot be used, and why: without what stands in it.
    fn parse(text: &str) -> Result<Self, (usize, &'static str)> {
        let mut users: Vec<User> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let user = User::parse(line).map_err(|what| (index + 1, what))?;
            if users.iter().any(|other| other.name == user.name) {
                return Err((index + 1, "this user stands in an earlier line as well"));
            }
            users.push(user);
        }
        if users.is_empty() {
            return Err((1, "there is no user in this file"));
        }
        Ok(Users(users))
    }

    /// Whose credential this is, in as long a time for an unknown name as for a wrong password.
    fn prove(&self, credential: &Credential) -> Option<usize> {
        let (name, password) = credential.parts();
        if password.len() > MAX_PASSWORD {
            return None;
        }
        let found = self.0.iter().position(|user| user.name.as_bytes() == name);
        let user = &self.0[found.unwrap_or(0)];
        let right = ShaCrypt::default()
            .verify_password(password, user.hash.as_str())
            .is_ok();
        found.filter(|_| right)
    }
}

impl User {
    fn parse(line: &str) -> Result<Self, &'static str> {
        let (name, hash) = line.split_once(':').ok_or("a line is user:hash")?;
        if name.is_empty() {
            return Err("there is no name before the colon");
        }
        let rest = hash
            .strip_prefix("$6$")
            .map(|rest| (rest, 86))
            .or_else(|| hash.strip_prefix("$5$").map(|rest| (rest, 43)));
        let Some((rest, length)) = rest else {
            return Err(
                "the hash is not one of SHA-crypt, which begin with $6$ or $5$; `openssl passwd -6` makes them",
            );
        };
        let rest = match rest.strip_prefix("rounds=") {
            Some(rest) => {
                let (rounds, rest) = rest.split_once('$').ok_or("the hash is cut short")?;
                let rounds: u32 = rounds.parse().map_err(|_| "rounds= is not a number")?;
                if !(1000..=MAX_ROUNDS).contains(&rounds) {
                    return Err("rounds= is not from 1000 to 500000");
                }
                rest
            }
            None => rest,
        };
        let (salt, digest) = rest.split_once('$').ok_or("the hash is cut short")?;
        let ours = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '/';
        if salt.is_empty() || salt.len() > 16 || digest.len() != length || !digest.chars().all(ours)
        {
            return Err("the hash is cut short or has something behind it");
        }
        Ok(User {
            name: name.to_owned(),
            hash: hash.to_owned(),
        })
    }
}

/// Relative names are those of the service's credentials (systemd.exec(5), `LoadCredential=`), where there are any.
fn in_credentials(path: &Path) -> PathBuf {
    std::env::var_os("CREDENTIALS_DIRECTORY")
        .map(|dir| Path::new(&dir).join(path))
        .filter(|there| path.is_relative() && there.exists())
        .unwrap_or_else(|| path.to_owned())
}

/// `user:password` as somebody sent it; never shown.
pub struct Credential(Vec<u8>);

impl Credential {
    /// Out of the value of an `Authorization` field; `None` if that is no Basic credential.
    fn decode(value: &[u8]) -> Option<Self> {
        let (scheme, rest) = value.split_at_checked(6)?;
        if !scheme.eq_ignore_ascii_case(b"basic ") {
            return None;
        }
        let text = std::str::from_utf8(rest.trim_ascii()).ok()?;
        let bytes = Base64::decode_vec(text).ok()?;
        bytes.contains(&b':').then_some(Credential(bytes))
    }

    /// Name and password.
    fn parts(&self) -> (&[u8], &[u8]) {
        let colon = self.0.iter().position(|byte| *byte == b':');
        let colon = colon.unwrap_or(self.0.len());
        (&self.0[..colon], self.0.get(colon + 1..).unwrap_or(b""))
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential")
    }
}

/// What a request's `Authorization` is worth.
#[derive(Debug)]
pub enum Entry {
    /// It was proved before.
    Known,
    /// It has to be proved.
    Unproven(Credential),
    /// There is none, or none that could be proved.
    Nothing,
}

/// Who may come in.
#[derive(Clone)]
pub struct Guard {
    users: Arc<Users>,
    /// Of each user the print of the credential that was proved.
    known: Vec<Option<Print>>,
    key: [u8; 32],
}

impl Guard {
    /// Nobody is known yet.
    pub fn new(users: Users) -> Result<Self> {
        let mut key = [0; 32];
        rustix::rand::getrandom(&mut key, rustix::rand::GetRandomFlags::empty())
            .doing(|| "get random bytes for --auth".into())?;
        Ok(Guard {
            known: vec![None; users.0.len()],
            users: Arc::new(users),
            key,
        })
    }

    /// Looks at the value of an `Authorization` field.
    pub fn look_at(&self, value: Option<&[u8]>) -> Entry {
        let Some(credential) = value.and_then(Credential::decode) else {
            return Entry::Nothing;
        };
        let print = self.print(&credential);
        // All of them, so that the time does not tell which.
        let known = self.known.iter().flatten().fold(0, |found, known| {
            found | known.as_slice().ct_eq(print.as_slice()).to_u8()
        });
        if known == 1 {
            Entry::Known
        } else {
            Entry::Unproven(credential)
        }
    }

    /// Remembers that `credential` is `user`'s.
    fn remember(&mut self, user: usize, credential: &Credential) {
        self.known[user] = Some(self.print(credential));
    }

    fn print(&self, credential: &Credential) -> Print {
        let mut hasher = Sha256::new();
        hasher.update(self.key);
        hasher.update(&credential.0);
        hasher.update(self.key);
        hasher.finalize().into()
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guard of {} users", self.known.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `openssl passwd -6 -salt saltsalt secret`, and the same with `-5`.
    const SHA512: &str = "$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1";
    const SHA256: &str = "$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA";

    fn guard(text: &str) -> Guard {
        Guard::new(Users::parse(text).unwrap_or_else(|(line, what)| panic!("{line}: {what}")))
            .unwrap()
    }

    fn field(credential: &str) -> String {
        format!("Basic {}", Base64::encode_string(credential.as_bytes()))
    }

    fn prove(guard: &Guard, credential: &str) -> Option<usize> {
        match guard.look_at(Some(field(credential).as_bytes())) {
            Entry::Unproven(credential) => guard.users.prove(&credential),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn hashes_that_openssl_made_are_proved() {
        let guard = guard(&format!("# two\nanna:{SHA512}\n\nbert:{SHA256}\n"));
        assert_eq!(prove(&guard, "anna:secret"), Some(0));
        assert_eq!(prove(&guard, "bert:secret"), Some(1));
        for wrong in [
            "anna:Secret",
            "anna:",
            "nobody:secret",
            ":secret",
            "anna:secret:",
            "an:secret",
        ] {
            assert_eq!(prove(&guard, wrong), None, "{wrong}");
        }
        assert_eq!(prove(&guard, &format!("anna:{}", "x".repeat(512))), None);
    }

    #[test]
    fn what_was_proved_is_known_and_nothing_else() {
        let mut guard = guard(&format!("anna:{SHA512}\nbert:{SHA256}"));
        let value = field("anna:secret");
        let Entry::Unproven(credential) = guard.look_at(Some(value.as_bytes())) else {
            panic!("known before it was proved");
        };
        guard.remember(0, &credential);
        assert!(matches!(
            guard.look_at(Some(value.as_bytes())),
            Entry::Known
        ));
        for other in ["anna:secreT", "bert:secret", "anna:secret "] {
            let value = field(other);
            let entry = guard.look_at(Some(value.as_bytes()));
            assert!(matches!(entry, Entry::Unproven(_)), "{other}");
        }
    }

    #[test]
    fn what_is_no_basic_credential_is_nothing() {
        let guard = guard(&format!("anna:{SHA512}"));
        for value in [
            "",
            "Basic",
            "Basic ",
            "Basic !!!!",
            "Basic YW5uYQ==",
            "Bearer YW5uYTpzZWNyZXQ=",
            "Basic YW5uYTpzZWNyZXQ",
        ] {
            let entry = guard.look_at(Some(value.as_bytes()));
            assert!(matches!(entry, Entry::Nothing), "{value}");
        }
        assert!(matches!(guard.look_at(None), Entry::Nothing));
        let lower = guard.look_at(Some(b"basic  YW5uYTpzZWNyZXQ="));
        assert!(matches!(lower, Entry::Unproven(_)));
    }

    #[test]
    fn a_line_that_cannot_be_used_is_told_by_its_number() {
        let good = format!("anna:{SHA512}");
        let cut = &good[..good.len() - 1];
        for (text, line) in [
            (String::new(), 1),
            ("# nobody\n".into(), 1),
            (format!("{good}\nbert\n"), 2),
            (format!("{good}\n\n:{SHA512}\n"), 3),
            (format!("{good}\n{good}\n"), 2),
            ("anna:secret".into(), 1),
            ("anna:$2y$05$abcdefghijklmnopqrstuv".into(), 1),
            (cut.into(), 1),
            (format!("{good}x"), 1),
            (good.replace("$6$", "$6$rounds=99$"), 1),
            (good.replace("$6$", "$6$rounds=999999999$"), 1),
            (good.replace("$6$", "$6$rounds=many$"), 1),
        ] {
            let told = Users::parse(&text).err().map(|(line, _)| line);
            assert_eq!(told, Some(line), "{text}");
        }
        assert!(Users::parse(&good.replace("$6$", "$6$rounds=1000$")).is_ok());
    }

    #[test]
    fn nothing_secret_is_shown() {
        let guard = guard(&format!("anna:{SHA512}"));
        let entry = guard.look_at(Some(field("anna:secret").as_bytes()));
        assert_eq!(
            format!("{guard:?} {entry:?}"),
            "Guard of 1 users Unproven(Credential)"
        );
    }
}
