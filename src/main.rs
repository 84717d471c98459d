//! The command `lazycam`: parses the command line, dispatches to the command, and sets the exit status.

use std::process::ExitCode;

use clap::Parser;
use lazycam::cli::Cli;
use lazycam::{commands, logging};

fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::start(cli.log);
    match commands::run(cli) {
        Ok(code) => code,
        Err(error) => {
            log::error!("{error}");
            error.exit_code()
        }
    }
}
