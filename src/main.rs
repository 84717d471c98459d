//! The command `lazycam`: parses the command line, dispatches to the command, and sets the exit status.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use lazycam::cli::{self, Cli};
use lazycam::error::{Error, USAGE_STATUS};
use lazycam::{commands, logging};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A help text goes to standard output, and anything that is wrong to standard error.
            let _ = error.print();
            if let Some(hint) = cli::hint(&error) {
                let _ = writeln!(std::io::stderr(), "\nhint: {hint}");
            }
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(USAGE_STATUS));
        }
    };
    logging::start(cli.common.log);
    match commands::run(cli) {
        Ok(code) => code,
        Err(error) => {
            if !matches!(error, Error::Told(_)) {
                log::error!("{error}");
            }
            error.exit_code()
        }
    }
}
