//! Reads a flat JSON object of numbers, booleans and strings (RFC 8259), and nothing else: what a client may send is as
//! little as is needed. The whole grammar takes a crate ten times as long, of which the better part would be refused
//! afterwards.

/// How many members there may be.
const MOST: usize = 64;

/// The members in their order, each with its value as text: numbers as they are written, `true` or `false`, and strings
/// without their quotes. Refused are other values, a name that comes twice, and characters that are no text.
pub fn flat(text: &[u8]) -> Result<Vec<(String, String)>, &'static str> {
    let text = std::str::from_utf8(text).map_err(|_| "this is not UTF-8")?;
    let mut reader = Scanner { rest: text };
    let mut members: Vec<(String, String)> = Vec::new();
    reader.expect('{')?;
    if !reader.skip('}') {
        loop {
            reader.blank();
            let name = reader.string()?;
            reader.expect(':')?;
            let value = reader.value()?;
            if members.iter().any(|(before, _)| *before == name) {
                return Err("a name comes twice");
            }
            if members.len() >= MOST {
                return Err("there are more than 64 members");
            }
            members.push((name, value));
            if !reader.skip(',') {
                break;
            }
        }
        reader.expect('}')?;
    }
    reader.blank();
    match reader.rest {
        "" => Ok(members),
        _ => Err(NOT_FLAT),
    }
}

const NOT_FLAT: &str =
    "this is not a JSON object of numbers, booleans and strings, such as {\"brightness\": 10}";

struct Scanner<'a> {
    rest: &'a str,
}

impl Scanner<'_> {
    fn blank(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    /// Whether this comes next, which is then behind us.
    fn skip(&mut self, wanted: char) -> bool {
        self.blank();
        let rest = self.rest.strip_prefix(wanted);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, wanted: char) -> Result<(), &'static str> {
        self.skip(wanted).then_some(()).ok_or(NOT_FLAT)
    }

    fn value(&mut self) -> Result<String, &'static str> {
        self.blank();
        if self.rest.starts_with('"') {
            return self.string();
        }
        let is_inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        let end = self.rest.find(|c| !is_inside(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match word {
            "true" | "false" => Ok(word.to_owned()),
            _ if is_number(word) => Ok(word.to_owned()),
            _ => Err(NOT_FLAT),
        }
    }

    fn string(&mut self) -> Result<String, &'static str> {
        let mut text = String::new();
        let mut chars = self.rest.strip_prefix('"').ok_or(NOT_FLAT)?.chars();
        loop {
            let c = match chars.next().ok_or(NOT_FLAT)? {
                '"' => break,
                '\\' => match chars.next().ok_or(NOT_FLAT)? {
                    c @ ('"' | '\\' | '/') => c,
                    // Half of a pair is no character, and neither is a control in a name or a value that we know of.
                    'u' => {
                        let digits = chars.as_str().get(..4).ok_or(NOT_FLAT)?;
                        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                            return Err(NOT_FLAT);
                        }
                        let code = u32::from_str_radix(digits, 16).ok();
                        chars = chars.as_str()[4..].chars();
                        code.and_then(char::from_u32).ok_or(NO_TEXT)?
                    }
                    'b' | 'f' | 'n' | 'r' | 't' => return Err(NO_TEXT),
                    _ => return Err(NOT_FLAT),
                },
                c => c,
            };
            if c.is_control() {
                return Err(NO_TEXT);
            }
            text.push(c);
        }
        self.rest = chars.as_str();
        Ok(text)
    }
}

const NO_TEXT: &str = "a string has a character that no name and no value has";

/// Whether this is a number (RFC 8259, 6).
fn is_number(word: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let word = word.strip_prefix('-').unwrap_or(word);
    let (number, exponent) = word.split_once(['e', 'E']).unwrap_or((word, "0"));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && digits(fraction)
        && digits(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, &'static str> {
        let members = flat(text.as_bytes())?;
        let lines = members
            .iter()
            .map(|(name, value)| format!("{name}={value};"));
        Ok(lines.collect())
    }

    #[test]
    fn a_flat_object_is_read_as_it_is_written() {
        for (text, expected) in [
            ("{}", ""),
            (" {\r\n\t} ", ""),
            (r#"{"a":1}"#, "a=1;"),
            (
                r#"{ "a" : -0.5e+10 , "b":true,"c":"50 Hz" }"#,
                "a=-0.5e+10;b=true;c=50 Hz;",
            ),
            (r#"{"gr\u00fcn":"\"\\\/","b":false}"#, "grün=\"\\/;b=false;"),
            (r#"{"":""}"#, "=;"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "{",
            "}",
            "[]",
            "1",
            "null",
            "{}{}",
            "{} x",
            "{,}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{"a":1 "b":2}"#,
            r#"{"a":null}"#,
            r#"{"a":{}}"#,
            r#"{"a":[1]}"#,
            r#"{a:1}"#,
            r#"{"a":'1'}"#,
            r#"{"a":01}"#,
            r#"{"a":1.}"#,
            r#"{"a":.5}"#,
            r#"{"a":+1}"#,
            r#"{"a":1e}"#,
            r#"{"a":NaN}"#,
            r#"{"a":0x1}"#,
            r#"{"a":True}"#,
            r#"{"a":"\x"}"#,
            r#"{"a":"\u12"}"#,
            r#"{"a":"\u+123"}"#,
            r#"{"a":"x}"#,
            r#"{"a":1}//"#,
        ] {
            assert_eq!(read(text), Err(NOT_FLAT), "{text}");
        }
        for text in [
            "\"\\n\"",
            "\"\\u000a\"",
            "\"\\ud83d\\ude00\"",
            "\"a\nb\"",
            "\"\u{7f}\"",
        ] {
            assert_eq!(read(&format!("{{\"a\":{text}}}")), Err(NO_TEXT), "{text}");
        }
        assert_eq!(read(r#"{"a":1,"a":1}"#), Err("a name comes twice"));
        assert!(flat(b"{\"\xff\":1}").is_err());
        let many = |count: usize| {
            let members: Vec<_> = (0..count).map(|n| format!("\"{n}\":0")).collect();
            flat(format!("{{{}}}", members.join(",")).as_bytes()).is_ok()
        };
        assert!(many(MOST) && !many(MOST + 1));
    }
}
