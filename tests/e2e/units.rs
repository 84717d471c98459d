//! The units in `systemd/`, as far as that can be told without a system that runs them: systemd-analyze(1) finds no
//! fault, the fences are as high as they are meant to be, and what is said twice is said alike. `tests/image/run` boots them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::common::process::{Process, clean, has, lazycam};
use crate::common::{Scratch, jpeg};

const SERVER: &str = include_str!("../../systemd/lazycam.service");
const CONNECTION: &str = include_str!("../../systemd/lazycam@.service");
const DEFAULTS: &str = include_str!("../../systemd/lazycam.default");
const ACCEPT_YES: &str = include_str!("../../systemd/examples/accept-yes.conf");
const RPICAM: &str = include_str!("../../systemd/examples/rpicam.conf");
const LIBCAMERA: &str = include_str!("../../systemd/examples/libcamera.conf");

/// The units as a folder that systemd-analyze takes: their program is one that every machine has.
fn units(scratch: &Scratch) -> PathBuf {
    let dir = scratch.join("units");
    fs::create_dir(&dir).unwrap();
    for entry in fs::read_dir("systemd").unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|kind| kind == "service" || kind == "socket" || kind == "mount")
        {
            let text = fs::read_to_string(&path).unwrap();
            let text = text.replace("ExecStart=/usr/bin/lazycam ", "ExecStart=/bin/true ");
            fs::write(dir.join(path.file_name().unwrap()), text).unwrap();
        }
    }
    dir
}

fn analyze(dir: &Path, arguments: &[&str]) -> Option<Output> {
    if !has("systemd-analyze") {
        return None;
    }
    let mut command = Command::new("systemd-analyze");
    command.args(arguments).current_dir(dir);
    // With the colon, those that the machine has too: sockets.target and the like.
    command.env("SYSTEMD_UNIT_PATH", format!("{}:", dir.display()));
    Some(command.output().unwrap())
}

/// What systemd-analyze says against these units.
fn faults(dir: &Path, units: &[&str]) -> Option<String> {
    let mut arguments = vec!["verify", "--man=no"];
    arguments.extend(units);
    let output = analyze(dir, &arguments)?;
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() || !said.is_empty());
    Some(said)
}

#[test]
fn systemd_finds_no_fault_in_the_units() {
    let scratch = Scratch::new();
    let dir = units(&scratch);
    let names = [
        "lazycam.socket",
        "lazycam-local.socket",
        "lazycam.service",
        "lazycam-capture@front.service",
        "run-lazycam.mount",
    ];
    if let Some(said) = faults(&dir, &names) {
        assert_eq!(said, "");
    }
}

#[test]
fn systemd_finds_no_fault_in_a_process_per_connection() {
    let scratch = Scratch::new();
    let dir = units(&scratch);
    fs::create_dir(dir.join("lazycam.socket.d")).unwrap();
    fs::write(dir.join("lazycam.socket.d/accept-yes.conf"), ACCEPT_YES).unwrap();
    if let Some(said) = faults(&dir, &["lazycam.socket", "lazycam@1.service"]) {
        assert_eq!(said, "");
    }
}

#[test]
fn a_fault_in_a_unit_would_be_found() {
    let scratch = Scratch::new();
    let dir = units(&scratch);
    let wrong = SERVER.replace("PrivateUsers=yes", "PrivateUsers=perhaps");
    fs::write(dir.join("lazycam.service"), wrong).unwrap();
    if let Some(said) = faults(&dir, &["lazycam.service"]) {
        assert!(said.contains("perhaps"), "{said}");
    }
}

/// How exposed a unit is at most, as systemd-analyze counts: 0 to 10, of which it prints one decimal.
fn exposure_is_at_most(unit: &str, threshold: u32) {
    let scratch = Scratch::new();
    let dir = units(&scratch);
    let threshold = format!("--threshold={threshold}");
    let path = dir.join(unit);
    let arguments = [
        "security",
        "--offline=true",
        "--no-pager",
        &threshold,
        path.to_str().unwrap(),
    ];
    if let Some(output) = analyze(&dir, &arguments) {
        let said = String::from_utf8_lossy(&output.stdout);
        let open: Vec<_> = said
            .lines()
            .filter(|line| line.starts_with(['✗', '→']))
            .collect();
        assert!(output.status.success(), "{}", open.join("\n"));
        assert!(said.contains("Overall exposure level"), "{said}");
    }
}

// The threshold is in tenths.

#[test]
fn the_servers_exposure_is_at_most_1() {
    exposure_is_at_most("lazycam.service", 10);
    exposure_is_at_most("lazycam@.service", 10);
}

#[test]
fn the_captures_exposure_is_at_most_2() {
    exposure_is_at_most("lazycam-capture@.service", 20);
}

/// The settings of a unit from `begin` on, without comments.
fn settings(unit: &str, begin: &str) -> Vec<String> {
    let (_, rest) = unit.split_once(begin).unwrap();
    let (rest, _) = rest.split_once("\n[").unwrap_or((rest, ""));
    rest.lines()
        .filter(|line| line.contains('=') && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_process_per_connection_has_the_same_fences() {
    let fences = settings(SERVER, "# Who it is");
    assert!(fences.len() > 30, "{fences:?}");
    assert_eq!(fences, settings(CONNECTION, "# Who it is"));
    let program = |unit| {
        settings(unit, "[Service]")
            .into_iter()
            .find(|line| line.starts_with("ExecStart="))
    };
    assert_eq!(program(SERVER), program(CONNECTION));
}

/// The variables that a command's help names.
fn variables(command: &str) -> BTreeSet<String> {
    let mut help = lazycam(&[command, "--help"]);
    let output = help.stdout(Stdio::piped()).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    help.split("[env: ")
        .skip(1)
        .map(|rest| rest.split(['=', ']']).next().unwrap().to_owned())
        .collect()
}

#[test]
fn the_defaults_tell_of_every_variable_and_of_no_other() {
    let known: BTreeSet<_> = variables("serve")
        .union(&variables("capture"))
        .cloned()
        .collect();
    assert!(known.contains("LAZYCAM_SOURCE") && known.contains("LAZYCAM_EXIT_IDLE"));
    let word = |c: char| !(c.is_ascii_uppercase() || c == '_');
    let told: BTreeSet<_> = DEFAULTS
        .split(word)
        .filter(|name| name.starts_with("LAZYCAM_"))
        .map(str::to_owned)
        .collect();
    assert_eq!(told, known);
}

#[test]
fn what_the_defaults_would_set_is_valid() {
    let set: Vec<_> = DEFAULTS
        .lines()
        .filter_map(|line| line.strip_prefix("#LAZYCAM_"))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (format!("LAZYCAM_{name}"), value))
        .collect();
    assert!(set.len() > 10, "{set:?}");
    for command in ["serve", "capture"] {
        // --frames is missing, which is found out after the values are read.
        let output = lazycam(&[command]).envs(set.clone()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("--frames"), "{said}");
        assert!(!said.contains("invalid value"), "{said}");
    }
}

/// The command line of the drop-in, with a program in place of rpicam-vid that sends what the test picture looks like.
#[test]
fn the_drop_in_for_rpicam_vid_captures_what_that_sends() {
    let scratch = Scratch::new();
    let line = RPICAM
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart=/bin/sh -c '"));
    let line = line.unwrap().strip_suffix('\'').unwrap();
    let frames = scratch.join("camera");
    let line = line.replace("/run/lazycam/%i", frames.to_str().unwrap());
    let programs = scratch.join("bin");
    fs::create_dir(&programs).unwrap();
    let picture = scratch.join("picture.jpg");
    fs::write(&picture, jpeg(2000)).unwrap();
    let words = lazycam::<&str>(&[]);
    let ours = words.get_args().map(|word| word.to_str().unwrap());
    let ours: Vec<_> = std::iter::once(words.get_program().to_str().unwrap())
        .chain(ours)
        .collect();
    for (name, script) in [
        (
            "rpicam-vid",
            format!(
                "echo \"$*\" >{}/flags; while sleep 0.1; do cat {}; done",
                scratch.path().display(),
                picture.display()
            ),
        ),
        ("lazycam", format!("exec {} \"$@\"", ours.join(" "))),
    ] {
        fs::write(programs.join(name), format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(programs.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = clean("sh");
    command.args(["-c", &line]).stdin(Stdio::null());
    command.env(
        "PATH",
        format!("{}:{}", programs.display(), std::env::var("PATH").unwrap()),
    );
    command.env("RPICAM_FLAGS", "--width 1280 --height 720");
    let camera = Process::start(command);
    camera.line(" on demand");
    let taken = lazycam(&["snapshot", frames.to_str().unwrap(), "--timeout", "60"])
        .stdout(Stdio::piped())
        .output()
        .unwrap();
    assert!(taken.status.success() && taken.stdout.starts_with(&[0xFF, 0xD8]));
    let flags = fs::read_to_string(scratch.join("flags")).unwrap();
    assert!(
        flags.ends_with("--codec mjpeg --output - --width 1280 --height 720\n"),
        "{flags}"
    );
}

/// What systemd-analyze says against the capture unit with a drop-in.
fn faults_with(drop_in: &str) -> Option<String> {
    let scratch = Scratch::new();
    let dir = units(&scratch);
    let drop_ins = dir.join("lazycam-capture@.service.d");
    fs::create_dir(&drop_ins).unwrap();
    fs::write(drop_ins.join("example.conf"), drop_in).unwrap();
    faults(&dir, &["lazycam-capture@camera.service"])
}

#[test]
fn systemd_finds_no_fault_in_the_drop_ins_for_cameras() {
    for drop_in in [RPICAM, LIBCAMERA] {
        if let Some(said) = faults_with(drop_in) {
            assert_eq!(said, "");
        }
    }
    let wrong = LIBCAMERA.replace("/dev/udmabuf rw", "/dev/udmabuf x");
    if let Some(said) = faults_with(&wrong) {
        assert!(said.contains("Invalid device rights"), "{said}");
    }
}

/// All files and links below a directory, with the program that each unit starts.
fn installed(root: &Path) -> BTreeSet<String> {
    let found = Command::new("find")
        .arg(".")
        .args(["!", "-type", "d"])
        .current_dir(root)
        .output()
        .unwrap();
    String::from_utf8(found.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn what_the_install_script_installs_it_removes_and_settings_stay_until_the_purge() {
    let scratch = Scratch::new();
    let (root, file) = (scratch.join("root"), scratch.join("lazycam"));
    fs::create_dir(&root).unwrap();
    fs::write(&file, "#!/bin/sh\n").unwrap();
    let install = |argument: &str| {
        let mut command = Command::new("packaging/install");
        let output = command
            .arg(argument)
            .env("DESTDIR", &root)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        installed(&root)
    };
    let first = install(file.to_str().unwrap());
    for name in [
        "usr/local/bin/lazycam",
        "etc/systemd/system/lazycam.socket",
        "etc/default/lazycam",
    ] {
        assert!(first.contains(&format!("./{name}")), "{first:?}");
    }
    let server = fs::read_to_string(root.join("etc/systemd/system/lazycam.service")).unwrap();
    assert!(
        server.contains("ExecStart=/usr/local/bin/lazycam serve"),
        "{server}"
    );
    // What was changed stays, and a camera that was taken out does not come back.
    fs::write(root.join("etc/default/lazycam"), "LAZYCAM_FPS=1\n").unwrap();
    let link = "etc/systemd/system/lazycam.service.wants/lazycam-capture@camera.service";
    fs::remove_file(root.join(link)).unwrap();
    let again = install(file.to_str().unwrap());
    assert_eq!(again.len() + 1, first.len());
    assert_eq!(
        fs::read_to_string(root.join("etc/default/lazycam")).unwrap(),
        "LAZYCAM_FPS=1\n"
    );
    assert_eq!(
        install("--remove"),
        BTreeSet::from(["./etc/default/lazycam".to_owned()])
    );
    assert!(install("--purge").is_empty());
}
