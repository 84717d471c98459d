//! docs/troubleshooting.md has the messages of the program, in its words, and all of them.
//!
//! Messages are found in the source: literals of several words, in code that is not a test. What is read is text and not
//! syntax, so a literal that is no message can look like one; [`NOT_FOR_USERS`] has those.

use std::fs;
use std::path::Path;

use crate::common::Scratch;
use crate::common::process::{Process, wrapped};

const PAGE: &str = include_str!("../../docs/troubleshooting.md");

/// What stands for a part of a message that is different each time.
const PART: char = '…';

/// Beginnings of literals that need no explanation on the page.
const NOT_FOR_USERS: &[&str] = &[
    // How long a camera has been lost, in its picture.
    "less than a minute",
    // What was tried, written into a variable first.
    "add a buffer to a request of",
    "answer in",
    "ask for a format of",
    "ask for the format of",
    "ask for the standards of",
    "get buffers of",
    "keep a picture in memory",
    "lock frame directory",
    "look for cameras in",
    "open frame directory",
    "queue a request of",
    "read the events of",
    "set the format of",
    "set the standard of",
    "set the timings of",
    "unpack tuning files into",
    "wait for a frame in",
    "wait for an answer in",
    "wait for signals and requests",
    "watch the source of",
    "watch /dev for cameras",
    // To those who build it.
    "the feature libcamera-static is for",
    // Parts of messages, or nothing but other messages put together.
    "…: … (… more like it)",
    "a unix socket",
    "capture of …",
    "of at most … MiB",
    "with large folios (huge=…)",
    "without large folios",
    "which has not said who it is",
    // Told for information, by way of a variable.
    "… connections, … streams",
    "…, to … on demand",
    "… (…) encodes … in …, as … in memory for",
    "asked for a frame: starting",
    "ending on signal",
    "from before a start",
    "libcamera, the first camera",
    "off: nobody looks",
    "pictures are … when they are …",
    "rotated by",
    "v4l2, the first camera",
    // Ranges and notes of `lazycam list`.
    ", read only",
    ", several with a colon between",
    "X:Y:WIDTH:HEIGHT",
    "a button (any value presses it)",
    "bits out of",
    "false or true",
    "  …: no format that lazycam can read",
    "…: not told",
    // Never asked of a source that has no frame.
    "no frame has come yet",
    "pattern: no frame was due yet",
    "stdin: no frame has come yet",
    "v4l2: no frame has come yet",
    // In the picture of a lost camera.
    "less than a minute",
    "lazycam notice:",
];

/// Files and folders of tests, and the file of what metrics are called.
const NO_SOURCES: &[&str] = &["tests", "metrics"];

/// Ends of the code before literals that are no warnings and no errors: what is told for information, what was tried (it becomes
/// the first half of `cannot …: …`), and what only developers read.
const NO_MESSAGES: &[&str] = &[
    "info!(",
    "debug!(",
    // What an `OpeningLog` gives.
    "told.level(Instant::now()),",
    "told.level(Instant::now());log!(level,",
    "reason=",
    ".doing(||",
    ".doing(||format!(",
];

/// A string literal, and the code right before it without white space.
#[derive(Debug)]
struct Literal {
    before: String,
    text: String,
}

/// The string literals of Rust code, up to its unit tests. Comments are left out; raw strings are taken as they are.
fn literals(code: &str) -> Vec<Literal> {
    let code = code.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let mut found = Vec::new();
    let mut before = String::new();
    let mut rest = code;
    while let Some(c) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\\"'") {
            rest = rest.split_once("\"'").map_or("", |(_, rest)| rest);
        } else if c == '"' {
            let (text, after) = literal(&rest[1..]);
            let before = std::mem::take(&mut before);
            found.push(Literal { before, text });
            rest = after;
        } else {
            if !c.is_whitespace() {
                before.push(c);
            }
            rest = &rest[c.len_utf8()..];
        }
    }
    found
}

/// A literal's text and what follows, from behind its first quote.
fn literal(code: &str) -> (String, &str) {
    let mut text = String::new();
    let mut chars = code.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (text, &code[at + 1..]),
            '\\' => match chars.next() {
                Some((at, '\n')) => {
                    let rest = code[at..].trim_start();
                    let (more, after) = literal(rest);
                    return (text + &more, after);
                }
                Some((_, 'n' | 'r' | 't')) => text.push(' '),
                Some((_, c)) => text.push(c),
                None => break,
            },
            c => text.push(c),
        }
    }
    (text, "")
}

/// A format string with [`PART`] for each of its arguments.
fn with_parts(format: &str) -> String {
    let mut text = String::new();
    let mut rest = format;
    while let Some((head, tail)) = rest.split_once('{') {
        text += head;
        text.push(PART);
        rest = tail.split_once('}').map_or("", |(_, rest)| rest);
    }
    text + rest
}

/// Several words in a row, as people write them.
fn is_prose(text: &str) -> bool {
    let word = |word: &str| word.len() > 1 && word.chars().all(|c| c.is_ascii_lowercase());
    let words: Vec<_> = text.split([' ', ',', ':', ';']).collect();
    words.len() > 2 && words.windows(2).any(|pair| pair.iter().all(|w| word(w)))
}

/// The source files of the program.
fn sources(dir: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if NO_SOURCES.contains(&name) {
            continue;
        }
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(fs::read_to_string(&path).unwrap());
        }
    }
}

/// All literals of the program.
fn all_literals() -> Vec<Literal> {
    let mut files = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut files,
    );
    files.iter().flat_map(|code| literals(code)).collect()
}

/// What the page explains, which is code there: its headings, the paragraphs that begin with `Also:`, and the first cells
/// of tables of messages.
fn explained() -> Vec<&'static str> {
    let mut found = Vec::new();
    let (mut in_table, mut in_also) = (false, false);
    for line in PAGE.lines() {
        in_also = line.starts_with("Also: ") || in_also && !line.is_empty();
        in_table = line.starts_with("| message |") || in_table && line.starts_with('|');
        let messages = match line {
            _ if in_table => line.split('|').nth(1).unwrap_or_default(),
            _ if line.starts_with("### ") || in_also => line,
            _ => continue,
        };
        found.extend(messages.split('`').skip(1).step_by(2));
    }
    let bare = |message: &'static str| message.trim_matches([PART, ' ']);
    found.into_iter().map(bare).collect()
}

#[test]
fn each_explained_message_is_one_that_the_program_has() {
    let known: Vec<_> = all_literals().iter().map(|l| with_parts(&l.text)).collect();
    let explained = explained();
    assert!(explained.len() > 50, "only {} were read", explained.len());
    for message in explained {
        assert!(
            known.iter().any(|text| text.contains(message)),
            "docs/troubleshooting.md explains '{message}', which src/ does not have"
        );
    }
}

#[test]
fn each_message_that_a_user_can_meet_is_explained() {
    let explained = explained();
    let mut missing = Vec::new();
    for literal in all_literals() {
        let text = with_parts(&literal.text);
        let other = NO_MESSAGES.iter().any(|end| literal.before.ends_with(end))
            || NOT_FOR_USERS.iter().any(|start| text.starts_with(start));
        if is_prose(&text) && !other && !explained.iter().any(|e| text.contains(e)) {
            missing.push(text);
        }
    }
    assert!(
        missing.is_empty(),
        "docs/troubleshooting.md does not explain (write them there, or name them in NOT_FOR_USERS):\n{}",
        missing.join("\n")
    );
}

#[test]
fn the_exceptions_are_needed() {
    let known: Vec<_> = all_literals().iter().map(|l| with_parts(&l.text)).collect();
    for start in NOT_FOR_USERS {
        let used = known.iter().any(|t| t.starts_with(start) && is_prose(t));
        assert!(used, "no literal begins with '{start}'");
    }
}

#[test]
fn literals_are_read_with_what_stands_before_them() {
    let code = "// \"no\"\nwarn!(\n    \"one {two:?} \\\"three\\\" \\\n     four\",\n); let c = '\"'; f(\"five\");\n#[cfg(test)]\nmod tests { f(\"six\")";
    let found = literals(code);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0].before, "warn!(");
    assert_eq!(with_parts(&found[0].text), "one … \"three\" four");
    assert_eq!(found[1].text, "five");
    assert!(is_prose("cannot do … at all"));
    assert!(!is_prose("Content-Type: image/jpeg"));
}

/// The words of the C library that the binary was built with: glibc's and musl's differ, and the page has to have those of
/// the file that people install. `tests/` runs against any file.
#[test]
fn the_systems_answers_are_on_the_page_in_the_words_of_this_file() {
    let (_, answers) = PAGE.split_once("| at the end | what to do |").unwrap();
    let (answers, _) = answers.split_once("\n\n").unwrap();
    let scratch = Scratch::new();
    let frames = scratch.path().to_str().unwrap();
    for (listen, limit) in [("192.0.2.1:1", "256"), ("127.0.0.1:0", "4")] {
        let arguments = ["serve", "--frames", frames, "--listen", listen];
        let limited = [
            "sh",
            "-c",
            &format!("ulimit -n {limit} && exec \"$@\""),
            "sh",
        ];
        let ended = Process::start(wrapped(&limited, &arguments)).end();
        let answer = ended.log.lines().find_map(|line| {
            let (before, _) = line.rsplit_once(" (os error ")?;
            before
                .rsplit_once(": ")
                .map(|(_, answer)| answer.to_owned())
        });
        let answer = answer.unwrap_or_else(|| panic!("{listen}: {}", ended.log));
        assert!(
            answers.contains(&format!("`{answer}`")),
            "{answer}: {}",
            ended.log
        );
    }
}
