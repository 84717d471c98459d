//! The crate's only error type: what was attempted, on what, and the cause.
//!
//! In a program of this size, few places react to an error other than by reporting it. So there is one type with few
//! variants, which differ in what the caller should do: try again later ([`Error::Io`], [`Error::Input`]), call again
//! with other arguments ([`Error::Usage`]), look at another process ([`Error::Busy`]), or give up ([`Error::Ended`]).
//! A viewer's mistake is not an `Error`: it is an HTTP response or a counted event.

use std::fmt;
use std::io;
use std::process::ExitCode;

/// Exit status of a command that cannot work with the arguments that it was given.
pub const USAGE_STATUS: u8 = 2;

/// Exit status of a command whose input ended in the middle of something.
pub const ENDED_STATUS: u8 = 3;

/// What went wrong, ready to be shown: in lower case, without a full stop, and with the name of the path, device or
/// peer.
#[derive(Debug)]
pub enum Error {
    /// The system refused an operation.
    Io {
        /// What was attempted, and on what: `open frame directory /run/lazycam/front`.
        doing: String,
        /// The error that the system returned.
        source: io::Error,
    },
    /// The command's arguments contradict each other or name something that does not exist.
    Usage(String),
    /// Another process holds what this one needs.
    Busy(String),
    /// What arrived cannot be used, or nothing arrived in time.
    Input(String),
    /// The input has ended, and not in the proper way: there will never be more.
    Ended(String),
    /// A process that was started here has failed with this exit status, and has said why.
    Told(u8),
}

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The exit status, which tells a supervisor whether another attempt makes sense: with 2 and 3 it does not.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Error::Usage(_) => ExitCode::from(USAGE_STATUS),
            Error::Ended(_) => ExitCode::from(ENDED_STATUS),
            Error::Told(status) => ExitCode::from(*status),
            Error::Io { .. } | Error::Busy(_) | Error::Input(_) => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io { doing, source } => write!(f, "cannot {doing}: {source}"),
            Error::Usage(message)
            | Error::Busy(message)
            | Error::Input(message)
            | Error::Ended(message) => f.write_str(message),
            Error::Told(status) => write!(f, "status {status}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            Error::Usage(_)
            | Error::Busy(_)
            | Error::Input(_)
            | Error::Ended(_)
            | Error::Told(_) => None,
        }
    }
}

/// Adds to a failed call what was being attempted.
pub trait Context<T> {
    /// Wraps the failure; `doing` completes the sentence 'cannot …'.
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> Context<T> for Result<T, E> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Io {
            doing: doing(),
            source: source.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_call_is_told_as_one_sentence() {
        let failed: Result<(), io::Error> = Err(io::ErrorKind::NotFound.into());
        let error = failed.doing(|| "open /dev/video0".into()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot open /dev/video0: entity not found"
        );
    }
}
