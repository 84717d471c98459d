//! contrib/haproxy-fresh-frames, which bounds the buffers of a haproxy that is configured already.
//!
//! Each run has its own `PATH`, with what the script calls and a haproxy that accepts, one that refuses, or none; so
//! that it does not matter which of them this machine has. The real one refuses too, where there is one.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::common::{Scratch, skipped};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/haproxy-fresh-frames");

const STUB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/haproxy");

/// What the script calls. A machine without one of them has no use for it.
const TOOLS: [&str; 5] = ["awk", "cat", "cmp", "mktemp", "rm"];

const CONTAINER: &str = "\
global
        maxconn 4096
        daemon

defaults
        mode    http
        timeout connect 5s
        timeout client  15min
        timeout server  15min

frontend public
        bind :::80 v4v6
        use_backend webcam if { path_beg /webcam/ }

backend webcam
        http-request replace-path /webcam/(.*)   /\\1
        server webcam1  127.0.0.1:8080
";

/// Files, temporaries and a `PATH` of a test's own.
struct Place {
    dir: Scratch,
    status: u8,
}

impl Place {
    fn new() -> Self {
        let dir = Scratch::new();
        for name in ["bin", "tmp"] {
            fs::create_dir(dir.join(name)).unwrap();
        }
        for name in TOOLS {
            let tool = found(name).unwrap_or_else(|| panic!("there is no {name} here"));
            symlink(tool, dir.join("bin").join(name)).unwrap();
        }
        Place { dir, status: 0 }
    }

    /// One with a haproxy that notes how it was called and what it was shown, and ends with this status.
    fn with_haproxy(status: u8) -> Self {
        let mut place = Place::new();
        place.link_haproxy(Path::new(STUB));
        place.status = status;
        place
    }

    fn link_haproxy(&self, program: &Path) {
        symlink(program, self.dir.join("bin/haproxy")).unwrap();
    }

    /// What haproxy was asked, one call behind the other.
    fn calls(&self) -> String {
        fs::read_to_string(self.dir.join("called")).unwrap_or_default()
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let file = self.dir.join(name);
        fs::write(&file, text).unwrap();
        file
    }

    fn run(&self, bytes: Option<&str>, files: &[&Path]) -> Output {
        let mut command = Command::new(found("sh").unwrap());
        command.arg(SCRIPT).args(files).stdin(Stdio::null());
        command.env("PATH", self.dir.join("bin"));
        command.env("TMPDIR", self.dir.join("tmp"));
        command.env("HAPROXY_CALLED", self.dir.join("called"));
        command.env("HAPROXY_STATUS", self.status.to_string());
        match bytes {
            Some(bytes) => command.env("BYTES", bytes),
            None => command.env_remove("BYTES"),
        };
        let output = command.output().unwrap();
        let left = fs::read_dir(self.dir.join("tmp")).unwrap().count();
        assert_eq!(left, 0, "temporaries are left: {output:?}");
        output
    }
}

fn found(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut all = std::env::split_paths(&path).map(|dir| dir.join(program));
    all.find(|file| file.is_file())
}

fn said(output: &Output) -> (Option<i32>, &str, &str) {
    let text = |bytes| std::str::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// What the script makes of standard input.
fn filtered(text: &str) -> String {
    let mut child = Command::new("sh")
        .arg(SCRIPT)
        .env_remove("BYTES")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(text.as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_script_for_the_octoprint_container_adds_the_pages_lines_and_a_second_run_changes_nothing() {
    let once = filtered(CONTAINER);
    let lines =
        "global\n    tune.sndbuf.client 32768\n    tune.rcvbuf.server 32768\n        maxconn";
    assert!(once.starts_with(lines), "{once}");
    let without: String = once
        .split_inclusive('\n')
        .filter(|line| !line.contains("tune."))
        .collect();
    assert_eq!(without, CONTAINER);
    assert_eq!(filtered(&once), once);
}

#[test]
fn the_script_replaces_other_values_and_leaves_other_sections_alone() {
    let other = CONTAINER.replace(
        "maxconn 4096",
        "tune.sndbuf.client 4096\n        tune.bufsize 16384",
    );
    let once = filtered(&other);
    assert_eq!(once.matches("tune.sndbuf.client").count(), 1, "{once}");
    assert!(once.contains("tune.sndbuf.client 32768") && once.contains("tune.bufsize 16384"));
    let headless = filtered("defaults\n    mode http\n");
    assert!(
        headless.starts_with("global\n    tune.")
            && headless.ends_with("\n\ndefaults\n    mode http\n")
    );
}

#[test]
fn a_file_is_written_in_place_once_haproxy_has_accepted_the_result() {
    let place = Place::with_haproxy(0);
    let file = place.file("haproxy.cfg", CONTAINER);
    fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    let before = fs::metadata(&file).unwrap();
    let output = place.run(None, &[&file]);
    let (status, out, err) = said(&output);
    let line = format!(
        "{}: tune.sndbuf.client and tune.rcvbuf.server are 32768 now\n",
        file.display()
    );
    assert_eq!((status, out), (Some(0), line.as_str()), "{err}");
    // What haproxy says is no part of the answer.
    assert_eq!(err, "a word of haproxy\n");
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text, filtered(CONTAINER));
    assert_eq!(place.calls(), format!("-c -f\n{text}"));
    // A bind mount holds on to the inode.
    let after = fs::metadata(&file).unwrap();
    assert_eq!((after.ino(), after.mode()), (before.ino(), before.mode()));
}

#[test]
fn a_file_that_is_right_already_is_not_touched_and_haproxy_not_asked() {
    let place = Place::with_haproxy(1);
    let right = filtered(CONTAINER);
    let file = place.file("haproxy.cfg", &right);
    let before = fs::metadata(&file).unwrap();
    let output = place.run(None, &[&file]);
    let line = format!("{}: nothing to change\n", file.display());
    assert_eq!(said(&output), (Some(0), line.as_str(), ""));
    let after = fs::metadata(&file).unwrap();
    assert_eq!(after.modified().unwrap(), before.modified().unwrap());
    assert_eq!(after.ino(), before.ino());
    assert_eq!(fs::read_to_string(&file).unwrap(), right);
    assert_eq!(place.calls(), "");
}

#[test]
fn a_file_that_haproxy_refuses_is_left_as_it_was() {
    let place = Place::with_haproxy(1);
    let file = place.file("haproxy.cfg", CONTAINER);
    let output = place.run(None, &[&file]);
    let (status, out, err) = said(&output);
    assert_eq!((status, out), (Some(1), ""), "{err}");
    let refused = format!(
        "haproxy-fresh-frames: haproxy does not accept {} with these lines; it is left as it was\n",
        file.display()
    );
    assert!(err.ends_with(&refused), "{err}");
    assert!(place.calls().contains("tune.sndbuf.client 32768"));
    assert_eq!(fs::read_to_string(&file).unwrap(), CONTAINER);
}

#[test]
fn the_real_haproxy_accepts_the_containers_file_and_refuses_a_broken_one() {
    let Some(haproxy) = found("haproxy") else {
        return skipped("there is no haproxy here");
    };
    let place = Place::new();
    place.link_haproxy(&haproxy);
    let file = place.file("haproxy.cfg", CONTAINER);
    let output = place.run(None, &[&file]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let broken = CONTAINER.replace("maxconn", "no-such-word");
    let file = place.file("broken.cfg", &broken);
    let output = place.run(None, &[&file]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(said(&output).2.contains("no-such-word"), "{output:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), broken);
}

#[test]
fn without_a_haproxy_nothing_is_asked_and_each_file_gets_its_answer() {
    let place = Place::new();
    let right = filtered(CONTAINER);
    let (one, two) = (place.file("one", CONTAINER), place.file("two", &right));
    let missing = place.dir.join("missing");
    let last = place.file("last", CONTAINER);
    let output = place.run(None, &[&one, &two, &missing, &last]);
    let (status, out, err) = said(&output);
    assert_eq!(status, Some(1));
    let lines = format!(
        "{}: tune.sndbuf.client and tune.rcvbuf.server are 32768 now\n{}: nothing to change\n",
        one.display(),
        two.display()
    );
    assert_eq!(out, lines);
    let no_file = format!(
        "haproxy-fresh-frames: {} is not a file\n",
        missing.display()
    );
    assert_eq!(err, no_file);
    assert!(!missing.exists());
    assert_eq!(fs::read_to_string(&one).unwrap(), right);
    // The first failure is the end.
    assert_eq!(fs::read_to_string(&last).unwrap(), CONTAINER);
}

#[test]
fn bytes_is_another_size_and_what_is_no_number_changes_nothing() {
    let place = Place::new();
    let file = place.file("haproxy.cfg", &filtered(CONTAINER));
    let output = place.run(Some("65536"), &[&file]);
    let (status, out, err) = said(&output);
    assert_eq!(status, Some(0), "{err}");
    assert!(out.ends_with(" are 65536 now\n"), "{out}");
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text, filtered(CONTAINER).replace("32768", "65536"));
    for bytes in ["64k", "-1", "1 2", "0x10"] {
        let output = place.run(Some(bytes), &[&file]);
        let line = format!("haproxy-fresh-frames: BYTES={bytes} is not a number of bytes\n");
        assert_eq!(said(&output), (Some(2), "", line.as_str()));
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
    // Empty is as if it were not there.
    place.run(Some(""), &[&file]);
    assert_eq!(fs::read_to_string(&file).unwrap(), filtered(CONTAINER));
}
