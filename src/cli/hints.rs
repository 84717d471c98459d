//! What to type in place of a flag that lazycam does not have: those of mjpg-streamer, ustreamer and others, by what
//! people know them for. What was only mistyped, clap finds.

use clap::Command;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

/// Flags of other programs, and ours.
const OTHERS: &[(&[&str], &str)] = &[
    (&["--port", "-p", "--tcp", "--bind", "-b"], "--listen 8080"),
    (&["--host"], "--listen 127.0.0.1:8080"),
    (
        &["--device", "-d", "--input", "-i", "--camera-device"],
        "--source /dev/video0",
    ),
    (
        &["--resolution", "-r", "-s", "--width", "--height"],
        "--size 1280x720",
    ),
    (&["--desired-fps", "-f", "--framerate"], "--fps 15"),
    (&["-q"], "--quality 80"),
    (&["-m"], "--format MJPG"),
    (
        &["--user", "--passwd", "-c", "--credentials"],
        "--auth FILE",
    ),
    (&["--unix", "-U"], "--listen /run/lazycam.sock"),
    (
        &["-o", "--output"],
        "--listen 8080, or `lazycam snapshot` for a file",
    ),
    (
        &["--brightness", "--contrast", "--saturation"],
        "--control brightness=10",
    ),
    (&["--verbose", "-v", "--debug"], "--log debug"),
    (&["--password"], "--auth FILE"),
];

/// A line to print behind the message of these words, if there is one that helps: it proposes only what the command takes.
/// Then clap's own guess, which goes by the spelling alone, is left out of it.
pub fn hint(error: &mut Error, words: &[String], program: &Command) -> Option<String> {
    let what = match error.kind() {
        ErrorKind::UnknownArgument => ContextKind::InvalidArg,
        ErrorKind::InvalidSubcommand => ContextKind::InvalidSubcommand,
        _ => return None,
    };
    let Some(ContextValue::String(given)) = error.get(what) else {
        return None;
    };
    let command = words.first().and_then(|word| program.find_subcommand(word));
    let hint = for_word(given, command.unwrap_or(program))?;
    for guess in [
        ContextKind::SuggestedArg,
        ContextKind::Suggested,
        ContextKind::Usage,
    ] {
        error.remove(guess);
    }
    Some(hint)
}

fn for_word(given: &str, command: &Command) -> Option<String> {
    let takes = |flag: &str| {
        let mut longs = command.get_arguments().filter_map(|one| one.get_long());
        longs.any(|long| flag.strip_prefix("--") == Some(long))
    };
    if let Some(flag) = flag_for(given).filter(|flag| takes(flag)) {
        return Some(format!(
            "a value has its flag before it here: {flag} {given}"
        ));
    }
    let mut operands = command.get_positionals();
    if given == "--frames" && operands.any(|one| one.get_id() == "frames") {
        return Some(
            "here the frame directory comes without a flag, such as /run/lazycam/front".into(),
        );
    }
    let (_, ours) = OTHERS.iter().find(|(theirs, _)| theirs.contains(&given))?;
    let flag = ours.split(' ').next().unwrap_or_default();
    takes(flag).then(|| format!("what other programs call {given} is {ours} here"))
}

/// The flag that was probably meant with a value that has none, by what the value looks like.
fn flag_for(given: &str) -> Option<&'static str> {
    if given.starts_with("/dev/video") || given.contains("://") {
        Some("--source")
    } else if given.starts_with(['/', '.']) {
        Some("--frames")
    } else if given.parse::<u16>().is_ok() || given.starts_with(':') {
        Some("--listen")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::cli::Cli;

    /// The hint for a command line, and what is said before it.
    fn told(given: &[&str]) -> (String, String) {
        let (hint, rest) = hinted(given);
        (hint.unwrap_or_else(|| panic!("{given:?}: {rest}")), rest)
    }

    fn hinted(given: &[&str]) -> (Option<String>, String) {
        let words: Vec<_> = given.iter().map(|word| (*word).to_owned()).collect();
        let all = std::iter::once(&"lazycam").chain(given);
        let mut error = Cli::try_parse_from(all).unwrap_err();
        (hint(&mut error, &words, &Cli::command()), error.to_string())
    }

    #[test]
    fn nothing_is_proposed_that_the_command_does_not_take() {
        for given in [
            &["snapshot", "/run/lazycam/front", "/tmp/a.jpg"][..],
            &["list", "/dev/video0"],
            &["serve", "/dev/video0"],
            &["capture", "8080"],
            &["capture", "--port", "8080"],
            &["list", "--frames", "/run/lazycam/front"],
        ] {
            let (hint, rest) = hinted(given);
            assert_eq!(hint, None, "{given:?}");
            assert!(rest.contains("Usage"), "{rest}");
        }
    }

    #[test]
    fn where_the_directory_has_no_flag_that_is_told() {
        for command in ["snapshot", "control"] {
            let (hint, _) = told(&[command, "--frames", "/run/lazycam/front"]);
            assert!(hint.contains("without a flag"), "{hint}");
        }
    }

    #[test]
    fn a_flag_of_another_program_has_a_hint() {
        for (given, ours) in [
            (&["--port", "8080"][..], "--listen 8080"),
            (&["-p", "8080"], "--listen 8080"),
            (&["-p8080"], "--listen 8080"),
            (&["--device=/dev/video0"], "--source /dev/video0"),
            (&["run", "--resolution", "640x480"], "--size 1280x720"),
        ] {
            let (hint, rest) = told(given);
            assert!(hint.ends_with(&format!("is {ours} here")), "{hint}");
            // '--format' is spelled like '--port', and nothing else.
            assert!(
                !rest.contains("similar") && !rest.contains("Usage"),
                "{rest}"
            );
        }
    }

    #[test]
    fn a_value_without_a_flag_is_told_which_one_it_needs() {
        for (given, flag) in [
            (&["capture", "/run/lazycam/front"][..], "--frames"),
            (&["serve", "./frames"], "--frames"),
            (&["run", "/dev/video0"], "--source"),
            (&["capture", "http://cam.local/"], "--source"),
            (&["/dev/video0"], "--source"),
            (&["8080"], "--listen"),
        ] {
            let (hint, _) = told(given);
            let value = given.last().unwrap();
            assert!(hint.ends_with(&format!("{flag} {value}")), "{hint}");
        }
    }

    /// Else clap would take it, and nobody would see the hint.
    #[test]
    fn no_flag_with_a_hint_is_ours() {
        let command = Cli::command();
        let ours: Vec<_> = command
            .get_arguments()
            .filter_map(|one| one.get_long())
            .collect();
        for theirs in OTHERS.iter().flat_map(|(theirs, _)| *theirs) {
            let is_ours = theirs
                .strip_prefix("--")
                .is_some_and(|long| ours.contains(&long));
            assert!(!is_ours, "{theirs}");
        }
    }
}
