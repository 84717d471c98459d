//! The command `lazycam`: parses the command line, dispatches to the command, and sets the exit status.

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use lazycam::cli::{self, Cli};
use lazycam::error::{Error, USAGE_STATUS};
use lazycam::{commands, logging};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(mut error) => {
            let words: Vec<_> = std::env::args_os()
                .skip(1)
                .map(|word| word.to_string_lossy().into_owned())
                .collect();
            let hint = cli::hint(&mut error, &words, &Cli::command());
            // A help text goes to standard output, and anything that is wrong to standard error.
            let _ = error.print();
            if let Some(hint) = hint {
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

/// Takes the place of libunwind's walk along the stack in static files for 64 bit (`cross/build`), which have neither
/// tables for that walk nor names of functions: a backtrace there is empty in any case. Where it is seen to be empty,
/// what std has for reading debug information is left out: a tenth of the file. A panic tells its message and its
/// place as everywhere.
#[cfg(all(
    any(target_arch = "aarch64", target_arch = "x86_64"),
    target_feature = "crt-static",
    panic = "abort",
    any(target_env = "musl", feature = "libcamera-static")
))]
mod without_unwinding {
    use std::ffi::{c_int, c_void};

    /// `_URC_END_OF_STACK` (Itanium C++ ABI: Exception Handling, 1.6).
    const END_OF_STACK: c_int = 5;

    // SAFETY: this is the declaration of the ABI, and there is no other definition in the file: libunwind's stand together
    // in one object, of which std refers to these four. Nothing unwinds, since a panic ends the process.
    #[allow(unsafe_code)]
    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_Backtrace(_trace: *const c_void, _data: *mut c_void) -> c_int {
        END_OF_STACK
    }

    // SAFETY: as above. Only what reads the tables calls these.
    #[allow(unsafe_code)]
    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_GetIPInfo(_context: *mut c_void, _before: *mut c_int) -> usize {
        0
    }

    // SAFETY: as above.
    #[allow(unsafe_code)]
    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_GetTextRelBase(_context: *mut c_void) -> usize {
        0
    }

    // SAFETY: as above.
    #[allow(unsafe_code)]
    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_GetDataRelBase(_context: *mut c_void) -> usize {
        0
    }
}
