//! Manual pages and shell completions: complete, well-formed, and understood by those who read them.

#[path = "../../examples/manual.rs"]
#[allow(dead_code, reason = "its main is not called here")]
mod example;

use std::fs;
use std::process::Command;

use crate::common::{Scratch, skipped};
use clap::CommandFactory;
use lazycam::cli::Cli;

/// What a program prints on standard output; `None`, said loudly, if it is not there.
fn output(program: &str, arguments: &[&str]) -> Option<(bool, String)> {
    let Ok(output) = Command::new(program).args(arguments).output() else {
        skipped(&format!("there is no {program} here"));
        return None;
    };
    let text = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8(text).unwrap()))
}

#[test]
fn each_command_has_a_page_with_each_of_its_flags_and_their_variables() {
    let scratch = Scratch::new();
    example::write(scratch.path()).unwrap();
    let mut all = vec![("lazycam".to_owned(), Cli::command())];
    let commands = Cli::command();
    for command in commands.get_subcommands() {
        all.push((format!("lazycam-{}", command.get_name()), command.clone()));
    }
    assert!(all.len() > 4);
    for (name, command) in all {
        let page = fs::read_to_string(scratch.join(&format!("man1/{name}.1"))).unwrap();
        let page = page.replace('\\', "");
        for argument in command.get_arguments() {
            if let Some(long) = argument.get_long() {
                assert!(page.contains(&format!("--{long}")), "{name}: --{long}");
            }
            if let Some(variable) = argument.get_env() {
                let variable = variable.to_str().unwrap();
                assert!(page.contains(variable), "{name}: {variable}");
            }
        }
    }
}

#[test]
fn mandoc_has_nothing_to_say_about_the_pages() {
    let scratch = Scratch::new();
    for file in example::write(scratch.path()).unwrap() {
        let file = file.to_str().unwrap();
        if file.ends_with(".1") {
            let Some((clean, said)) = output("mandoc", &["-T", "lint", "-W", "warning", file])
            else {
                return;
            };
            assert!(clean, "{said}");
        }
    }
}

#[test]
fn bash_completes_a_flag_and_a_command() {
    let scratch = Scratch::new();
    example::write(scratch.path()).unwrap();
    let script = scratch.join("completions/lazycam.bash");
    let complete = |words: &str, last: usize| {
        let program = format!(
            ". {}; COMP_WORDS=({words}); COMP_CWORD={last}; _lazycam lazycam \"${{COMP_WORDS[{last}]}}\" ''; echo \"${{COMPREPLY[@]}}\"",
            script.display()
        );
        output("bash", &["-c", &program])
    };
    let Some((_, commands)) = complete("lazycam sn", 1) else {
        return;
    };
    assert_eq!(commands.trim(), "snapshot");
    let (_, flags) = complete("lazycam serve --max-", 2).unwrap();
    let flags: Vec<_> = flags.split_whitespace().collect();
    assert!(
        flags.contains(&"--max-clients") && flags.contains(&"--max-held"),
        "{flags:?}"
    );
}

#[test]
fn zsh_and_fish_accept_their_completions() {
    let scratch = Scratch::new();
    example::write(scratch.path()).unwrap();
    for (shell, file) in [("zsh", "_lazycam"), ("fish", "lazycam.fish")] {
        let file = scratch.join("completions").join(file);
        if let Some((accepted, said)) = output(shell, &["-n", file.to_str().unwrap()]) {
            assert!(accepted, "{shell}: {said}");
        }
    }
}
