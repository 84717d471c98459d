//! The whole command line: whatever is said, there is an answer; what is accepted means the same in the words with which a
//! capture process is started, and every camera's settings are settings or an error under its name.
//!
//! The input is the words behind `lazycam`, a line each.
#![no_main]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use clap::Parser;
use clap::error::ErrorKind;
use lazycam::Error;
use lazycam::cli::{Cli, Common, Command, Http, SourceFlags};
use lazycam::server::http::cors::Origins;
use lazycam::server::http::hosts::Hosts;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let words = input.split(|byte| *byte == b'\n').map(OsStr::from_bytes);
    let cli = match Cli::try_parse_from(std::iter::once(OsStr::new("lazycam")).chain(words)) {
        Ok(cli) => cli,
        Err(error) => return check_refusal(&error),
    };
    match &cli.command {
        None => check_run(&cli.run, &cli.common),
        Some(Command::Run(run)) => check_run(run, &cli.common),
        Some(Command::Capture(capture)) => check_source(&capture.source, &cli.common),
        Some(Command::Serve(serve)) => {
            assert!(!serve.frames.is_empty() || serve.root.is_some());
            check_http(&serve.http);
        }
        Some(Command::Snapshot(_) | Command::Control(_) | Command::List(_)) => {}
    }
});

/// Help and the version are no errors; everything else says what is wrong.
fn check_refusal(error: &clap::Error) {
    let text = error.to_string();
    let asked = matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    );
    assert_eq!(error.exit_code(), if asked { 0 } else { 2 });
    assert!(asked || text.starts_with("error: "), "{text}");
}

fn check_run(run: &lazycam::cli::Run, common: &Common) {
    check_source(&run.source, common);
    check_http(&run.http);
    for camera in &run.camera {
        match camera.over(&run.source) {
            Ok(source) => check_source(&source, common),
            Err(Error::Usage(text)) => assert!(text.starts_with("--camera "), "{text}"),
            Err(error) => panic!("no error of flags: {error}"),
        }
    }
}

fn check_source(source: &SourceFlags, common: &Common) {
    assert!((1..=100).contains(&source.quality));
    assert!(source.fps.is_none_or(|fps| (0.1..=1000.0).contains(&fps)));
    let arguments = source.capture_arguments(Path::new("/run/x"), common);
    let again = Cli::try_parse_from(std::iter::once("lazycam".into()).chain(arguments.clone()));
    let again = again.unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
    let Some(Command::Capture(capture)) = again.command else {
        panic!("no capture command: {arguments:?}");
    };
    assert_eq!(again.common, *common);
    assert_eq!(format!("{:?}", capture.source), format!("{source:?}"));
}

fn check_http(http: &Http) {
    assert!(http.max_clients > 0);
    assert!(http.auth.is_some() || http.open_socket.is_empty());
    for address in &http.listen {
        assert!(!address.to_string().is_empty());
    }
    if let Err(what) = Origins::new(&http.allow_origin, http.auth.is_some()) {
        assert!(!what.is_empty());
    }
    if let Err(what) = Hosts::new(&http.allow_host) {
        assert!(!what.is_empty());
    }
}
