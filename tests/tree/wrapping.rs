//! Prose in Markdown wraps at 120 columns everywhere, so that a change of one sentence is a change of few lines.

use std::fs;
use std::path::{Path, PathBuf};

const WIDTH: usize = 120;

/// All Markdown files of the repository, without what was built.
fn markdown(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() && name != "target" && name != "corpus" && !name.starts_with('.') {
            markdown(&path, files);
        } else if name.ends_with(".md") {
            files.push(path);
        }
    }
}

/// Whether a line could have ended earlier: what is longer is no table, heading or code, and not a single code span or link.
fn is_too_long(line: &str) -> bool {
    let text = line.trim_start();
    if line.chars().count() <= WIDTH
        || text.starts_with(['|', '#', '<'])
        || line.starts_with("    ")
    {
        return false;
    }
    let within: String = line.chars().take(WIDTH + 1).collect();
    let spans = within.matches('`').count() % 2 == 1;
    let link = within
        .rfind('[')
        .is_some_and(|at| !within[at..].contains(' ') || !within[at..].contains(')'));
    !spans && !link
}

#[test]
fn prose_wraps_alike_in_all_documents() {
    let mut files = Vec::new();
    markdown(Path::new(env!("CARGO_MANIFEST_DIR")), &mut files);
    assert!(files.len() > 20, "{files:?}");
    let mut wrong = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let mut code = false;
        for (number, line) in text.lines().enumerate() {
            code ^= line.trim_start().starts_with("```");
            if !code && is_too_long(line) {
                wrong.push(format!("{}:{}", file.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "lines over {WIDTH} columns: {wrong:#?}");
}

#[test]
fn a_long_line_is_one_that_has_a_better_place_to_end() {
    let word = "word ".repeat(30);
    assert!(is_too_long(&word));
    assert!(!is_too_long(&format!("| {word} |")));
    assert!(!is_too_long(&format!("# {word}")));
    assert!(!is_too_long(&format!("short `{word}` span")));
    assert!(!is_too_long("short"));
}
