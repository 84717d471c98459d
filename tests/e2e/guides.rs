//! Commands and flags that the README and the pages of docs/ name are those of the program, and their links lead somewhere.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use lazycam::cli::Cli;

/// The README and all pages, with their names.
fn pages() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).unwrap();
    let docs = docs.map(|entry| entry.unwrap().path());
    let all =
        docs.chain(["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(|name| root.join(name)));
    let pages = all.filter(|path| path.extension().is_some_and(|e| e == "md"));
    pages
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect()
}

/// A command's words as a shell reads them, as far as this program's examples go: up to a comment, pipe or redirection.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in command.chars() {
        let last = words.last_mut().unwrap();
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => last.push(c),
            (None, '\'' | '"') => quote = Some(c),
            (None, '#') if last.is_empty() => break,
            (None, '|' | '&' | ';' | '>' | '<') => break,
            (None, ' ') if last.is_empty() => {}
            (None, ' ') => words.push(String::new()),
            (None, c) => last.push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Commands in blocks of code, also behind a pipe or another program's flags, and in code within the text.
fn commands(page: &str) -> Vec<&str> {
    let mut fenced = false;
    let mut found = Vec::new();
    for line in page.lines() {
        fenced ^= line.trim_start().starts_with("```");
        if fenced || line.starts_with("    ") {
            found.extend(command(line));
        } else {
            found.extend(line.split('`').skip(1).step_by(2).filter_map(command));
        }
    }
    found
}

/// The command of this program in a line of code.
fn command(code: &str) -> Option<&str> {
    let starts = ["| lazycam ", "-l 8080 lazycam ", "cargo run --release -- "];
    let behind = |start: &&str| Some(&code[code.find(start)? + start.len()..]);
    let first = code.trim_start().strip_prefix("lazycam ");
    first.or_else(|| starts.iter().find_map(behind))
}

/// Examples stand for something where they have words in capitals or dots.
fn is_pattern(words: &[String]) -> bool {
    let stands_for = |word: &str| {
        let letters = |c: char| c.is_ascii_uppercase() || c == '=' || c == '[' || c == ']';
        word.contains('…') || word.chars().filter(|c| *c != '_').all(letters)
    };
    words.iter().any(|word| stands_for(word))
}

#[test]
fn each_command_that_is_shown_is_one_that_the_program_takes() {
    let mut checked = 0;
    for (path, page) in pages() {
        for command in commands(&page) {
            let words = words(command);
            // A single word is a command's name.
            if words.len() < 2 || is_pattern(&words) {
                continue;
            }
            checked += 1;
            let parsed = Cli::try_parse_from(std::iter::once("lazycam".to_owned()).chain(words));
            assert!(
                parsed.is_ok(),
                "{}: {command}\n{}",
                path.display(),
                parsed.unwrap_err()
            );
        }
    }
    assert!(checked > 20, "only {checked} commands were found");
}

#[test]
fn each_flag_that_replaces_another_programs_is_one_that_the_program_takes() {
    let page = include_str!("../../docs/coming-from.md");
    let mut in_table = false;
    let mut checked = 0;
    for line in page.lines() {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        in_table = line.starts_with('|') && (in_table || cells.get(2) == Some(&"lazycam"));
        if !in_table {
            continue;
        }
        for flags in cells[2].split('`').skip(1).step_by(2) {
            checked += 1;
            let mut all = vec!["lazycam".to_owned()];
            all.extend(words(flags));
            let parsed = Cli::try_parse_from(&all);
            assert!(parsed.is_ok(), "{flags}\n{}", parsed.unwrap_err());
        }
    }
    assert!(checked > 50, "only {checked} flags were found");
}

#[test]
fn each_link_to_a_file_of_the_project_leads_somewhere() {
    for (path, page) in pages() {
        let links = page.split("](").skip(1);
        for link in links
            .filter_map(|rest| rest.split_once(')'))
            .map(|(link, _)| link)
        {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            if file.contains("://") {
                continue;
            }
            let target = match file {
                "" => path.clone(),
                file => path.with_file_name(file),
            };
            assert!(target.exists(), "{}: {link}", path.display());
            if !heading.is_empty() {
                let text = fs::read_to_string(&target).unwrap();
                let known = text
                    .lines()
                    .filter(|line| line.starts_with('#'))
                    .any(|line| anchor(line) == heading);
                assert!(known, "{}: {link}", path.display());
            }
        }
    }
}

/// What a heading is called in links, as the usual renderers do it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn commands_are_read_as_a_shell_would() {
    assert_eq!(
        words("lazycam --control a='60 Hz' --log debug   # more"),
        ["lazycam", "--control", "a=60 Hz", "--log", "debug"]
    );
    assert_eq!(
        words("lazycam --source stdin & x"),
        ["lazycam", "--source", "stdin"]
    );
    let page = "a `lazycam list` b

    x | lazycam --fps 1
    # lazycam no";
    assert_eq!(commands(page), ["list", "--fps 1"]);
    assert!(is_pattern(&words("lazycam snapshot DIR")));
    assert!(!is_pattern(&words("lazycam --size 1x1 --listen 8080")));
}
