//! A camera's answer, read without any I/O: the head, the framing of the body (RFC 9112, 6), and what the body is.
//!
//! The head is parsed by httparse. The rest is so little that a client library would be larger than all of it: there is one
//! request at a time, without a body, and what is not understood ends the connection. Of all that is found here, a request is made of a
//! time of capture, as digits ([`Single`]), and of a [`Hint`], which is checked by `challenge` and `url`.

use std::time::{Duration, SystemTime};

use httparse::{EMPTY_HEADER, Response, Status};

use super::challenge::Challenge;
use super::parts::{Parts, age};
use super::pictures::Pictures;
use crate::picture::largest;

/// The longest head.
const HEAD: usize = 16 << 10;

/// The most fields in a head.
const FIELDS: usize = 64;

/// The longest line before a chunk.
const CHUNK_LINE: usize = 256;

/// Why an answer is of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What the camera did, for people.
    pub what: String,
    /// How long it asks us to stay away.
    pub wait: Option<Duration>,
    /// What could make it answer otherwise.
    pub hint: Option<Hint>,
}

/// What a camera says about how to ask it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Somewhere else, as the field `Location` says, and whether that holds for later requests too.
    Elsewhere(String, bool),
    /// With a proof of who asks.
    Challenge(Challenge),
}

impl From<String> for Refusal {
    fn from(what: String) -> Self {
        Refusal {
            what,
            wait: None,
            hint: None,
        }
    }
}

impl From<&str> for Refusal {
    fn from(what: &str) -> Self {
        Refusal::from(what.to_owned())
    }
}

/// How the end of the body is found.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Framing {
    UntilClosed,
    /// So many bytes are left.
    Length(u64),
    /// Before a chunk, or in the line that says how long it is.
    ChunkLine,
    /// In a chunk of which so much is left, with the line break behind it.
    Chunk(u64),
    Ended,
}

/// What the body is.
#[derive(Debug)]
enum Content {
    Parts(Parts),
    /// One picture after the other.
    Raw,
    /// One picture, of this age.
    Single(Option<Duration>),
}

/// What matters for the next request, once the only picture of an answer is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Single {
    /// The time of capture that a lazycam gave: the next picture is to be another one.
    pub after: Option<String>,
    /// The connection can be used again.
    pub is_kept: bool,
}

/// The answer to one request.
#[derive(Debug)]
pub struct CameraAnswer {
    /// The head, or later the line before a chunk, as far as it has come.
    line: Vec<u8>,
    body: Option<(Framing, Content)>,
    single: Option<Single>,
    /// The values of `Via`.
    via: String,
}

impl CameraAnswer {
    /// An answer of which nothing has come.
    #[allow(clippy::new_without_default, reason = "it is made, and not a default")]
    pub fn new() -> Self {
        CameraAnswer {
            line: Vec::new(),
            body: None,
            single: None,
            via: String::new(),
        }
    }

    /// Which other servers the answer has come through, as they say (RFC 9110, 7.6.3).
    pub fn via(&self) -> &str {
        &self.via
    }

    /// Whether nothing has come.
    pub fn is_untouched(&self) -> bool {
        self.body.is_none() && self.line.is_empty()
    }

    /// Once the body is whole: what to ask for next, if it was a single picture.
    pub fn single(&self) -> Option<&Single> {
        self.single.as_ref().filter(|_| self.is_ended())
    }

    /// The connection has ended, and with it a picture whose length was not told.
    pub fn close(&mut self, pictures: &mut Pictures) {
        if let Some((framing @ Framing::UntilClosed, Content::Single(_))) = &mut self.body {
            *framing = Framing::Ended;
            pictures.complete();
        }
    }

    /// Whether the head has come, and is that of a stream.
    pub fn is_accepted(&self) -> bool {
        self.body.is_some()
    }

    /// Whether the body has come to its end, before that of the connection.
    pub fn is_ended(&self) -> bool {
        matches!(self.body, Some((Framing::Ended | Framing::Length(0), _)))
    }

    /// Takes in what came at the time `at`.
    pub fn feed(
        &mut self,
        came: &[u8],
        at: SystemTime,
        pictures: &mut Pictures,
    ) -> Result<(), Refusal> {
        let (head, mut bytes);
        if self.body.is_some() {
            bytes = came;
        } else {
            self.line.extend_from_slice(came);
            let Some(len) = self.read_head()? else {
                return match self.line.len() > HEAD {
                    true => Err("sends an answer whose head is too long".into()),
                    false => Ok(()),
                };
            };
            head = std::mem::take(&mut self.line);
            bytes = &head[len..];
            if let Some((_, Content::Single(age))) = &self.body {
                pictures.begin(at, *age);
            }
        }
        let Some((framing, content)) = &mut self.body else {
            return Ok(());
        };
        while !bytes.is_empty() && *framing != Framing::Ended {
            let data = framing.take(&mut bytes, &mut self.line)?;
            match content {
                Content::Parts(parts) => parts.feed(data, at, pictures)?,
                Content::Raw => pictures.split(data, at),
                Content::Single(_) => {
                    let len = pictures.add(data);
                    if len > largest() {
                        return Err(
                            format!("sends a picture of {len} bytes, which is too long").into()
                        );
                    }
                    if *framing == Framing::Ended {
                        pictures.complete();
                    }
                }
            }
        }
        if pictures.is_hopeless() {
            return Err("sends no pictures: there is none in the first MiB".into());
        }
        Ok(())
    }

    /// Reads the head once it is there; returns its length.
    fn read_head(&mut self) -> Result<Option<usize>, Refusal> {
        loop {
            let mut fields = [EMPTY_HEADER; FIELDS];
            let mut response = Response::new(&mut fields);
            let len = match response.parse(&self.line) {
                Ok(Status::Complete(len)) => len,
                Ok(Status::Partial) => return Ok(None),
                Err(_) => return Err("sends an answer that is not HTTP".into()),
            };
            if !matches!(response.code, Some(100..=199)) {
                let via: Vec<_> = fields_called(&response, "Via").collect();
                self.via = visible(&via.join(", "), HEAD);
                let (framing, content) = accept(&response)?;
                if let Content::Single(_) = content {
                    self.single = Some(single(&response, framing));
                }
                self.body = Some((framing, content));
                return Ok(Some(len));
            }
            self.line.drain(..len);
        }
    }
}

impl Framing {
    /// Takes the next bytes of the body out of those of the connection; there may be none.
    fn take<'a>(&mut self, bytes: &mut &'a [u8], line: &mut Vec<u8>) -> Result<&'a [u8], Refusal> {
        let all = *bytes;
        match self {
            Framing::UntilClosed => {
                *bytes = &[];
                return Ok(all);
            }
            Framing::Length(left) | Framing::Chunk(left) => {
                let (now, rest) =
                    all.split_at(usize::try_from(*left).unwrap_or(usize::MAX).min(all.len()));
                *left -= now.len() as u64;
                *bytes = rest;
                if *left == 0 {
                    *self = match self {
                        Framing::Chunk(_) => Framing::ChunkLine,
                        _ => Framing::Ended,
                    };
                }
                return Ok(now);
            }
            Framing::ChunkLine => {
                let end = memchr::memchr(b'\n', all);
                let (now, rest) = all.split_at(end.map_or(all.len(), |end| end + 1));
                line.extend_from_slice(now);
                *bytes = rest;
                if line.len() > CHUNK_LINE {
                    return Err("sends chunks that cannot be read".into());
                }
                // The line break behind a chunk is an empty line before the next one.
                if end.is_some() && line.trim_ascii().is_empty() {
                    line.clear();
                } else if end.is_some() {
                    *self = match httparse::parse_chunk_size(line) {
                        Ok(Status::Complete((_, 0))) => Framing::Ended,
                        Ok(Status::Complete((_, size))) => Framing::Chunk(size),
                        _ => return Err("sends chunks that cannot be read".into()),
                    };
                    line.clear();
                }
            }
            Framing::Ended => *bytes = &[],
        }
        Ok(&[])
    }
}

/// The values of the fields with this name.
fn fields_called<'a>(response: &Response<'_, 'a>, name: &str) -> impl Iterator<Item = &'a str> {
    let fields = response.headers.iter();
    let fields = fields.filter(move |field| field.name.eq_ignore_ascii_case(name));
    fields.filter_map(|field| std::str::from_utf8(field.value).ok())
}

/// The value of a field; empty if there is none.
fn field<'a>(response: &Response<'_, 'a>, name: &str) -> &'a str {
    fields_called(response, name).next().unwrap_or_default()
}

/// What the head of a single picture says for the next one. It is a lazycam's if the age is in it: cameras and other programs
/// send `X-Timestamp` too.
fn single(response: &Response<'_, '_>, framing: Framing) -> Single {
    let after = field(response, "X-Timestamp");
    let is_time = after.len() < 32 && after.bytes().all(|c| matches!(c, b'0'..=b'9' | b'.'));
    let is_lazycam = is_time && !field(response, "X-Frame-Age").is_empty();
    let is_last = field(response, "Connection").eq_ignore_ascii_case("close");
    Single {
        after: is_lazycam.then(|| after.to_owned()),
        is_kept: response.version == Some(1) && !is_last && framing != Framing::UntilClosed,
    }
}

/// What follows a head.
fn accept(response: &Response<'_, '_>) -> Result<(Framing, Content), Refusal> {
    let field = |name: &str| field(response, name);
    if response.code != Some(200) {
        return Err(refused(response, &field));
    }
    let kind = field("Content-Type");
    let is = |start: &str| {
        let kind = kind.get(..start.len());
        kind.is_some_and(|kind| kind.eq_ignore_ascii_case(start))
    };
    let content = if is("multipart/") {
        Content::Parts(Parts::new(boundary(kind)))
    } else if is("image/j") || is("image/pj") {
        Content::Single(age(field("X-Frame-Age")))
    } else if is("text/") || is("application/json") || is("image/") {
        return Err(format!(
            "answers with {}, which is no stream: is the path right?",
            plain(kind)
        )
        .into());
    } else {
        Content::Raw
    };
    let coding = field("Transfer-Encoding");
    let framing = if coding.eq_ignore_ascii_case("chunked") {
        Framing::ChunkLine
    } else if !coding.is_empty() {
        return Err(format!(
            "answers in a coding that is not known here: {}",
            plain(coding)
        )
        .into());
    } else {
        // Some cameras say that an endless stream is empty.
        match field("Content-Length").parse() {
            Ok(0) | Err(_) => Framing::UntilClosed,
            Ok(length) => Framing::Length(length),
        }
    };
    Ok((framing, content))
}

/// What an answer without pictures says.
fn refused<'a>(response: &Response<'_, '_>, field: &impl Fn(&str) -> &'a str) -> Refusal {
    let code = response.code.unwrap_or_default();
    let reason = plain(response.reason.unwrap_or_default());
    let location = field("Location");
    let hint = match code {
        // RFC 9110, 15.4. Of 303 and older clients no more is asked: this is a GET.
        301 | 308 => Some(Hint::Elsewhere(location.to_owned(), true)),
        302 | 303 | 307 => Some(Hint::Elsewhere(location.to_owned(), false)),
        401 => Challenge::best(fields_called(response, "WWW-Authenticate")).map(Hint::Challenge),
        _ => None,
    };
    let advice = match code {
        300..=399 => format!(" and sends us to {}", plain(&without_secrets(location))),
        401 => ": it asks for a password".into(),
        404 => ": is the path right?".into(),
        // What a lazycam says of a camera that gives no pictures.
        503 => match field("X-Frame-Error") {
            "" => String::new(),
            why => format!(": {}", plain(why)),
        },
        _ => String::new(),
    };
    Refusal {
        what: format!("answers {code} {reason}{advice}"),
        wait: field("Retry-After").parse().ok().map(Duration::from_secs),
        hint,
    }
}

/// The parameter of a multipart type; empty if there is none.
fn boundary(kind: &str) -> &str {
    let mut parameters = kind
        .split(';')
        .skip(1)
        .filter_map(|one| one.split_once('='));
    let boundary = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("boundary"));
    boundary.map_or("", |(_, value)| value.trim().trim_matches('"'))
}

/// A place without its query and without who asks there: either may have a password in it.
fn without_secrets(location: &str) -> String {
    let place = location.split('?').next().unwrap_or_default();
    let Some((scheme, rest)) = place.split_once("//") else {
        return place.to_owned();
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}//{host}{path}")
}

/// What a stranger says, fit for a log.
fn plain(text: &str) -> String {
    visible(text, 80)
}

fn visible(text: &str, most: usize) -> String {
    let plain = |c: char| if (' '..='~').contains(&c) { c } else { '?' };
    text.chars().take(most).map(plain).collect()
}

#[cfg(test)]
mod tests;
