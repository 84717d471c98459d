//! Frame directories on file systems that do not report every change, and on disks.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::frames::Maker;
use crate::common::http::Client;
use crate::common::process::{Process, capture, clean, serve, serve_arguments, words};
use crate::common::producer::Camera;
use crate::common::{Scratch, skipped};
use serde_json::Value;

/// A server in a mount namespace of its own, in which `mount` has been run with the paths `below` and `dir`; `None`,
/// said loudly, if that cannot be done.
fn serve_on(mount: &str, below: &Path, dir: &Path, need: &str) -> Option<Process> {
    let mut command = in_a_namespace(mount, below, dir, need)?;
    command.args(words(&serve_arguments(dir, &[])));
    command.stdin(Stdio::null()).stdout(Stdio::null());
    Some(Process::start(command))
}

/// The same for the command that is appended.
fn in_a_namespace(mount: &str, below: &Path, dir: &Path, need: &str) -> Option<Command> {
    let script = format!("{mount} && shift 2 && exec \"$@\"");
    let start = |arguments: &[&str]| {
        let mut command = clean("unshare");
        command.args(["-m", "sh", "-c", &script, "sh"]);
        command.args([below, dir]).args(arguments);
        command
    };
    let probe = start(&["true"]).stderr(Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        skipped(&format!("{mount} cannot be done here ({need}, root)"));
        return None;
    }
    Some(start(&[]))
}

/// The only camera, as `/state` shows it.
fn camera(server: &Process) -> Value {
    let reply = Client::connect(server.address()).get("/state");
    let state: Value = serde_json::from_slice(&reply.body).unwrap();
    state["result"]["lazycam"]["cameras"][0].clone()
}

/// Frames that are put into the directory below are shown from the one above it, which reports none of them.
#[test]
fn frames_are_found_through_a_fuse_file_system() {
    let scratch = Scratch::new();
    let (below, dir) = (scratch.join("below"), scratch.join("dir"));
    fs::create_dir(&below).unwrap();
    fs::create_dir(&dir).unwrap();
    let maker = Maker::new(3000);
    // It does not wait for requests, which may not get through either.
    let camera = Camera::start(&below, 10.0, maker.clone());
    let Some(server) = serve_on("bindfs \"$1\" \"$2\"", &below, &dir, "bindfs") else {
        return;
    };
    server.line("is on FUSE, which does not report");
    let mut stream = Client::connect(server.address()).stream("/stream");
    let mut last = 0;
    for _ in 0..4 {
        let part = stream.part();
        assert_eq!(part.notice(), None, "there are frames");
        let number = maker.verify(&part.jpeg).frame;
        assert!(number > last, "{number} after {last}");
        last = number;
    }
    let reply = Client::connect(server.address()).picture("/snapshot");
    assert!(maker.verify(&reply.body).frame >= last);
    let state = self::camera(&server);
    assert_eq!(state["state"], "live", "{state}");
    drop(camera);
}

/// The kernel does not show them.
#[test]
fn viewers_of_an_overlay_are_told_that_frames_from_below_are_not_seen() {
    let mount = "top=${1%/below} && mount -t overlay -o \
                 lowerdir=\"$1\",upperdir=\"$top/upper\",workdir=\"$top/work\" lazycam-test \"$2\"";
    let scratch = Scratch::new();
    let (below, dir) = (scratch.join("below"), scratch.join("dir"));
    for path in [&below, &dir, &scratch.join("upper"), &scratch.join("work")] {
        fs::create_dir(path).unwrap();
    }
    let _camera = Camera::start(&below, 10.0, Maker::new(3000));
    let Some(server) = serve_on(mount, &below, &dir, "overlay") else {
        return;
    };
    server.line("is on overlay: what is put there from outside");
    let mut stream = Client::connect(server.address()).stream("/stream");
    stream.part_that(|part| part.notice().is_some());
    let why = camera(&server)["why"].clone();
    assert!(why.as_str().unwrap().contains("below the overlay"), "{why}");
}

#[test]
fn a_frame_directory_on_a_disk_is_told() {
    let scratch = Scratch::new();
    let (image, dir) = (scratch.join("image"), scratch.join("dir"));
    fs::create_dir(&dir).unwrap();
    fs::File::create(&image).unwrap().set_len(8 << 20).unwrap();
    let mount = "mke2fs -q -t ext4 -F \"$1\" && mount -o loop \"$1\" \"$2\"";
    let Some(server) = serve_on(mount, &image, &dir, "e2fsprogs, loop devices") else {
        return;
    };
    server.line("is on ext4: each frame is written to the disk");
}

#[test]
fn capture_tells_on_what_its_frames_lie() {
    let scratch = Scratch::new();
    let dir = scratch.join("frames");
    fs::create_dir(&dir).unwrap();
    let newest = dir.join("current.jpg");
    let plain = Process::start(capture(&dir, &["--source", "pattern"]));
    plain.line("on demand");
    File::open(&newest).unwrap();
    let line = plain.line("frames lie on ");
    assert!(line.ends_with(&format!(": {}", dir.display())), "{line}");
    for (options, told) in [
        ("size=16M", "tmpfs of at most 16 MiB, without large folios"),
        (
            "size=16M,huge=within_size",
            "tmpfs of at most 16 MiB, with large folios (huge=within_size)",
        ),
        ("size=0", "tmpfs without a limit"),
    ] {
        let mount = format!("mount -t tmpfs -o {options} lazycam-test \"$2\"");
        let Some(mut command) = in_a_namespace(&mount, scratch.path(), &dir, "tmpfs") else {
            continue;
        };
        let flags = ["capture", "--frames", dir.to_str().unwrap()];
        command.args(words(&[&flags[..], &["--source", "pattern"]].concat()));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let there = Process::start(command);
        there.line("on demand");
        // Through its root, because another file system is mounted there.
        let root = PathBuf::from(format!("/proc/{}/root", there.pid()));
        File::open(root.join(newest.strip_prefix("/").unwrap())).unwrap();
        let line = there.line("frames lie on ");
        assert!(line.contains(told), "{line}");
    }
}

#[test]
fn a_frame_directory_in_memory_needs_no_word() {
    let scratch = Scratch::new();
    let server = serve(scratch.path(), &[]);
    let mut client = Client::connect(server.address());
    assert_eq!(client.get("/state").head.status, 200);
    let said = server.stop().log;
    assert!(!said.contains(" is on "), "{said}");
}
