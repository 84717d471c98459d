//! Requests that set controls: the only ones whose body is read.
//!
//! A body is read to the length that its head announced, and never more; whatever follows is discarded as it is behind
//! any request with a body, which is the last one of its connection.

use super::Connection;
use super::state::{ConnectionState, Wishing};
use crate::frames::controls::is_same;
use crate::json::{self, list, object, quoted};
use crate::server::http::response;
use crate::server::http::route::ALLOW;
use crate::server::http::status::Status;
use crate::server::lent::Lent;
use crate::server::want::Wished;

const NOTHING: &str = "there is nothing to set";
const TWICE: &str =
    "two names mean the same control: case, and what stands between words, do not count";
const NO_CONTROL: &str =
    "a control has a name of letters, digits and underscores, and a value of 1 to 100 characters";

impl<F> Connection<F> {
    /// Takes what the client sent of the body. When that is all of it, the controls are wanted.
    pub(super) fn read_body(&mut self, bytes: &[u8], lent: &mut Lent<'_>) {
        let ConnectionState::Upload(upload) = &mut self.state else {
            return;
        };
        let (ours, behind) = bytes.split_at(bytes.len().min(upload.left));
        upload.body.extend_from_slice(ours);
        upload.left -= ours.len();
        if upload.left == 0 {
            let camera = upload.camera;
            match wishes(&upload.body) {
                Ok(wishes) => {
                    let (since, details) = (lent.now, self.asker().is_told_details());
                    self.state = ConnectionState::Setting(Box::new(Wishing {
                        camera,
                        since,
                        wishes,
                        details,
                    }));
                }
                Err(why) => self.refuse_with(Status::BadRequest, Some(why), ALLOW, lent),
            }
        }
        self.discard(behind.len());
    }

    /// The controls that this connection waits for, if it does.
    pub fn wants_setting(&self) -> Option<Wished<'_>> {
        match &self.state {
            ConnectionState::Setting(setting) => Some(Wished {
                camera: setting.camera,
                wishes: &setting.wishes,
                since: setting.since,
                details: setting.details,
            }),
            _ => None,
        }
    }

    /// Gives it the lines of the answer that are about them, or the reason why there is none.
    pub fn give_setting(&mut self, answer: Result<Vec<String>, &str>, lent: &mut Lent<'_>) {
        let ConnectionState::Setting(setting) = &self.state else {
            return;
        };
        let lines = match answer {
            Ok(lines) => lines,
            Err(why) => return self.refuse_for_now(why, lent),
        };
        let is_refused = lines.iter().any(|line| line.starts_with("refused "));
        let results = list(&setting.wishes, |wish| result(wish, &lines));
        let text = object([("results", results)]) + "\n";
        let status = is_refused.then_some(Status::Unprocessable);
        if let Some(status) = status {
            lent.stats.refuse(status);
        }
        let reply = response::json(status, &text, &self.exchange, lent.moment.wall);
        self.reply(&reply);
    }
}

/// What became of a wish, as JSON.
fn result(wish: &str, lines: &[String]) -> String {
    let name = wish.split_once('=').map_or(wish, |(name, _)| name);
    let told = |line: &String| {
        let (word, rest) = line.split_once(' ')?;
        let why = rest.strip_prefix(wish)?;
        (why.is_empty() || why.starts_with(": ")).then(|| (word.to_owned(), why.to_owned()))
    };
    let (word, why) = lines.iter().find_map(told).unwrap_or_default();
    let why = why.strip_prefix(": ").map(|why| ("why", quoted(why)));
    object(
        [("name", quoted(name)), ("result", quoted(&word))]
            .into_iter()
            .chain(why),
    )
}

/// The members of a JSON object, each as `NAME=VALUE`.
fn wishes(body: &[u8]) -> Result<Vec<String>, &'static str> {
    let members = json::flat(body)?;
    for (at, (name, _)) in members.iter().enumerate() {
        if members[..at]
            .iter()
            .any(|(before, _)| is_same(before, name))
        {
            return Err(TWICE);
        }
    }
    let of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let wish = |(name, value): (String, String)| {
        let is_name = (1..=64).contains(&name.len()) && name.chars().all(of_name);
        let is_value = (1..=100).contains(&value.len()) && value.trim() == value;
        (is_name && is_value)
            .then(|| format!("{name}={value}"))
            .ok_or(NO_CONTROL)
    };
    let wishes: Vec<_> = members.into_iter().map(wish).collect::<Result<_, _>>()?;
    match wishes.is_empty() {
        true => Err(NOTHING),
        false => Ok(wishes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_names_and_values_and_no_line_of_them_is_two() {
        let read = |text: &str| wishes(text.as_bytes());
        assert_eq!(
            read(r#"{"AfMode":"Manual","gain":-3,"auto_1":false,"menu":"50 Hz = x"}"#),
            Ok(
                ["AfMode=Manual", "gain=-3", "auto_1=false", "menu=50 Hz = x"]
                    .map(String::from)
                    .into()
            )
        );
        assert_eq!(read("{}"), Err(NOTHING));
        for bad in [
            r#"{"":1}"#,
            r#"{"a=b":1}"#,
            r#"{"a b":1}"#,
            r#"{"a":""}"#,
            r#"{"a":" 1"}"#,
            r#"{"gr\u00fcn":1}"#,
        ] {
            assert_eq!(read(bad), Err(NO_CONTROL), "{bad}");
        }
        let long = |len| read(&format!(r#"{{"a":"{}"}}"#, "x".repeat(len))).is_ok();
        assert!(long(100) && !long(101));
        assert!(read(r#"{"a":"1\nb=2"}"#).is_err());
        assert_eq!(read(r#"{"af_mode":1,"b":2,"AfMode":3}"#), Err(TWICE));
    }

    #[test]
    fn each_wish_has_its_result() {
        let lines = [
            "set a=1",
            "later b=2",
            "refused c=3: c is 0 to 2, not '3'",
            "set aa=1",
        ]
        .map(String::from);
        for (wish, expected) in [
            ("a=1", r#"{"name":"a","result":"set"}"#),
            ("b=2", r#"{"name":"b","result":"later"}"#),
            (
                "c=3",
                r#"{"name":"c","result":"refused","why":"c is 0 to 2, not '3'"}"#,
            ),
            ("d=4", r#"{"name":"d","result":""}"#),
        ] {
            assert_eq!(result(wish, &lines), expected);
        }
    }
}
