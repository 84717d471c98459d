//! Basic authentication (RFC 7617): the file of users, and which clients have already proved that they are one of
//! them.
//!
//! The hash of a password is slow by design. It takes milliseconds on a desktop and many times that on a small board,
//! and the loop must not stop for so long. So a header is proved once (`verify.rs`, on a thread of its own) and is
//! known from then on at the address it came from. Only a digest of the header and its address is kept, under a key
//! of this process. Looking up a known header costs one SHA-256, and the time it takes does not reveal how much of it
//! is right.
//!
//! A header that is known at one address is not known at another. Otherwise a guess from another address would show
//! at once, and without any penalty, whether it is right.
//!
//! There are no sessions, no roles, no other schemes, and no way to read the file again. The connection is not
//! encrypted: that is the job of a proxy.

use std::collections::VecDeque;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64ct::{Base64, Encoding};
use ctutils::{Choice, CtEq};
use sha_crypt::{PasswordVerifier, ShaCrypt};
use sha2::{Digest, Sha256};

use crate::error::{Context, Error, Result};
use crate::server::client_id::Remote;

pub(in crate::server) mod verify;

/// The longest password that is accepted (as in crypt(3)), because the time for a hash grows with the square of its
/// length.
const MAX_PASSWORD: usize = 511;

/// The largest value of `rounds=`; it takes some seconds on a small board.
const MAX_ROUNDS: u32 = 500_000;

/// How many headers are known, each at its address. When there are more, the one that was proved longest ago has to
/// be proved again.
const MAX_KNOWN: usize = 256;

/// The fingerprint of a header from an address: its SHA-256 under the key of this process.
#[derive(Clone, Copy)]
pub(in crate::server) struct Print([u8; 32]);

impl Print {
    /// Whether both are prints of the same header and address, in a time that does not reveal how much of them is
    /// equal.
    fn is(&self, other: &Print) -> Choice {
        self.0.as_slice().ct_eq(other.0.as_slice())
    }
}

impl fmt::Debug for Print {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Print")
    }
}

/// The lines of a file in the format `user:hash`.
pub struct Users(Vec<User>);

struct User {
    name: String,
    hash: String,
}

impl Users {
    /// Reads the file that `--auth` names. It has one `user:hash` per line; empty lines and those that begin with `#`
    /// are ignored.
    pub fn read(path: &Path) -> Result<Self> {
        let path = in_credentials(path);
        let text = fs::read_to_string(&path).doing(|| format!("read {}", path.display()))?;
        Users::parse(&text)
            .map_err(|(line, what)| Error::Usage(format!("{}:{line}: {what}", path.display())))
    }

    /// The error is the number of the line that cannot be used and the reason, without the contents of the line.
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

    /// Whether this credential belongs to a user. An unknown name takes as long as a wrong password of the first
    /// user. How long that is does not show in the time of the answer, which counts from the beginning of the proof
    /// (`verify.rs`).
    ///
    /// Programs send UTF-8, or ISO 8859-1 (RFC 7617, 2.1 and B.3). What is no UTF-8 is the other, and is translated into
    /// what a file of users has. Only this, which is no ASCII, may cost a second hash: one of the bytes as they came.
    fn prove(&self, credential: &Credential) -> bool {
        let translated = credential.as_latin_1();
        translated.is_some_and(|other| self.prove_bytes(&other)) || self.prove_bytes(credential)
    }

    fn prove_bytes(&self, credential: &Credential) -> bool {
        let (name, password) = credential.parts();
        if password.len() > MAX_PASSWORD {
            return false;
        }
        let found = self.0.iter().find(|user| user.name.as_bytes() == name);
        let user = found.unwrap_or(&self.0[0]);
        let right = ShaCrypt::default().verify_password(password, user.hash.as_str());
        right.is_ok() && found.is_some()
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

/// Relative names refer to the service's credentials (systemd.exec(5), `LoadCredential=`), if it has any.
pub fn in_credentials(path: &Path) -> PathBuf {
    std::env::var_os("CREDENTIALS_DIRECTORY")
        .map(|dir| Path::new(&dir).join(path))
        .filter(|there| path.is_relative() && there.exists())
        .unwrap_or_else(|| path.to_owned())
}

/// `user:password` as a client sent it. It is never printed.
pub struct Credential(Vec<u8>);

impl Credential {
    /// Decodes the value of an `Authorization` field. `None` if it is not a Basic credential.
    fn decode(value: &[u8]) -> Option<Self> {
        let (scheme, rest) = value.split_at_checked(6)?;
        if !scheme.eq_ignore_ascii_case(b"basic ") {
            return None;
        }
        let text = std::str::from_utf8(rest.trim_ascii()).ok()?;
        let bytes = Base64::decode_vec(text).ok()?;
        bytes.contains(&b':').then_some(Credential(bytes))
    }

    /// The same in UTF-8, if it can only be ISO 8859-1, whose characters have Unicode's numbers.
    fn as_latin_1(&self) -> Option<Self> {
        let translated = || self.0.iter().copied().map(char::from).collect::<String>();
        let is_utf8 = std::str::from_utf8(&self.0).is_ok();
        (!is_utf8).then(|| Credential(translated().into_bytes()))
    }

    /// The name and the password.
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

/// The status of a request's `Authorization` field.
#[derive(Debug)]
pub enum Entry {
    /// No credential is required, or this one was proved.
    Known,
    /// The credential has to be proved.
    Unproven(Credential),
    /// There is no credential, or none that can be proved.
    Nothing,
}

impl Entry {
    /// Examines the value of an `Authorization` field.
    pub(in crate::server) fn of(value: Option<&[u8]>) -> Self {
        match value.and_then(Credential::decode) {
            Some(credential) => Entry::Unproven(credential),
            None => Entry::Nothing,
        }
    }
}

/// Who may come in.
#[derive(Clone)]
pub struct Guard {
    users: Arc<Users>,
    /// The prints of the headers that were proved, the oldest first.
    known: VecDeque<Print>,
    key: [u8; 32],
}

impl Guard {
    /// A guard that does not know any header yet.
    pub fn new(users: Users) -> Result<Self> {
        let mut key = [0; 32];
        rustix::rand::getrandom(&mut key, rustix::rand::GetRandomFlags::empty())
            .doing(|| "get random bytes for --auth".into())?;
        Ok(Guard {
            known: VecDeque::new(),
            users: Arc::new(users),
            key,
        })
    }

    /// Another number when the users or their passwords are others; the same in each version of this program.
    pub fn edition(&self) -> u64 {
        let mut digest = Sha256::new();
        for user in &self.users.0 {
            digest.update(format!("{}:{}\n", user.name, user.hash));
        }
        let digest = digest.finalize();
        u64::from_be_bytes(std::array::from_fn(|at| digest[at]))
    }

    fn knows(&self, print: &Print) -> bool {
        // All of them are compared, so that the time does not reveal which one matches.
        let all = self.known.iter().map(|known| known.is(print));
        all.fold(Choice::FALSE, |found, same| found | same)
            .to_bool()
    }

    /// Remembers a print that was proved.
    fn remember(&mut self, print: Print) {
        if self.knows(&print) {
            return;
        }
        if self.known.len() == MAX_KNOWN {
            self.known.pop_front();
        }
        self.known.push_back(print);
    }

    /// HMAC would need one more crate, and is not necessary: the key is random, prints never leave this process, and
    /// with the key on both sides the data between them cannot be extended either.
    fn print(&self, remote: Remote, credential: &Credential) -> Print {
        let mut hasher = Sha256::new();
        hasher.update(self.key);
        hasher.update(remote.bytes());
        hasher.update(&credential.0);
        hasher.update(self.key);
        Print(hasher.finalize().into())
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guard of {} users", self.users.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `openssl passwd -6 -salt saltsalt secret`, and the same with `-5`.
    const SHA512: &str = "$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1";
    const GREEN: &str = "$6$saltsalt$rpNkq7Sua6DwuHZnlFfghVE6NFsx1XUa0obJiNXPuue0etyJPh.hdMPp9wzpGbYi0XPm4.B6Kui4ba6tmXW881";
    const GREEN_LATIN_1: &str = "$6$saltsalt$bkp1jPpiKo9UTOUSelp3QoJn8hC7a8NPCgMVpk2XRiu/mQDLPMPigey2gc/8E.I6.ptPVBuiDV9qNKR6tJmgr1";
    const SHA256: &str = "$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA";

    fn guard(text: &str) -> Guard {
        Guard::new(Users::parse(text).unwrap_or_else(|(line, what)| panic!("{line}: {what}")))
            .unwrap()
    }

    fn field(credential: &str) -> String {
        format!("Basic {}", Base64::encode_string(credential.as_bytes()))
    }

    fn credential(text: &str) -> Credential {
        match Entry::of(Some(field(text).as_bytes())) {
            Entry::Unproven(credential) => credential,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn hashes_that_openssl_made_are_proved() {
        let users = Users::parse(&format!("# two\nanna:{SHA512}\n\nbert:{SHA256}\n")).unwrap();
        assert!(users.prove(&credential("anna:secret")));
        assert!(users.prove(&credential("bert:secret")));
        for wrong in [
            "anna:Secret",
            "anna:",
            "nobody:secret",
            ":secret",
            "anna:secret:",
            "an:secret",
        ] {
            assert!(!users.prove(&credential(wrong)), "{wrong}");
        }
        assert!(!users.prove(&credential(&format!("anna:{}", "x".repeat(512)))));
    }

    #[test]
    fn a_password_beyond_ascii_is_right_in_both_encodings() {
        // `openssl passwd -6 -salt saltsalt` of grün in UTF-8, and of the same in ISO 8859-1.
        let users = Users::parse(&format!("änna:{GREEN}\nbert:{GREEN_LATIN_1}\n")).unwrap();
        let send = |bytes: &[u8]| users.prove(&Credential(bytes.into()));
        assert!(send("änna:grün".as_bytes()));
        assert!(send(b"\xe4nna:gr\xfcn"));
        assert!(send(b"bert:gr\xfcn"));
        for wrong in [
            &b"\xe4nna:gr\xfcN"[..],
            b"anna:gr\xfcn",
            b"\xe4nna:gr\xc3\xbcn",
            b"\xff:\xff",
        ] {
            assert!(!send(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn what_was_proved_is_known_where_it_came_from_and_nothing_else() {
        let mut guard = guard(&format!("anna:{SHA512}\nbert:{SHA256}"));
        let remote = |text: &str| Remote::of_address(text.parse().unwrap());
        let (here, there) = (remote("192.0.2.1"), remote("192.0.2.2"));
        let print = guard.print(here, &credential("anna:secret"));
        assert!(!guard.knows(&print));
        guard.remember(print);
        assert!(guard.knows(&guard.print(here, &credential("anna:secret"))));
        for other in ["anna:secreT", "bert:secret", "anna:secret "] {
            assert!(
                !guard.knows(&guard.print(here, &credential(other))),
                "{other}"
            );
        }
        for other in [there, remote("c000:201::"), Remote::Unix] {
            assert!(
                !guard.knows(&guard.print(other, &credential("anna:secret"))),
                "{other}"
            );
        }
    }

    #[test]
    fn the_memory_for_what_is_known_is_bounded() {
        let mut guard = guard(&format!("anna:{SHA512}"));
        let print = |guard: &Guard, n: u32| {
            guard.print(Remote::V4(n.to_be_bytes()), &credential("anna:secret"))
        };
        for n in 0..=MAX_KNOWN as u32 {
            guard.remember(print(&guard, n));
            // Remembering it again takes no more memory.
            guard.remember(print(&guard, n));
        }
        assert_eq!(guard.known.len(), MAX_KNOWN);
        assert!(!guard.knows(&print(&guard, 0)));
        assert!((1..=MAX_KNOWN as u32).all(|n| guard.knows(&print(&guard, n))));
    }

    #[test]
    fn what_is_no_basic_credential_is_nothing() {
        for value in [
            "",
            "Basic",
            "Basic ",
            "Basic !!!!",
            "Basic YW5uYQ==",
            "Bearer YW5uYTpzZWNyZXQ=",
            "Basic YW5uYTpzZWNyZXQ",
        ] {
            let entry = Entry::of(Some(value.as_bytes()));
            assert!(matches!(entry, Entry::Nothing), "{value}");
        }
        assert!(matches!(Entry::of(None), Entry::Nothing));
        let lower = Entry::of(Some(b"basic  YW5uYTpzZWNyZXQ="));
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
        let entry = Entry::of(Some(field("anna:secret").as_bytes()));
        let print = guard.print(Remote::Unix, &credential("anna:secret"));
        assert_eq!(
            format!("{guard:?} {entry:?} {print:?}"),
            "Guard of 1 users Unproven(Credential) Print"
        );
    }
}
