//! What each command does: it puts together the parts that its flags ask for.

mod own_frames;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use self::own_frames::OwnFrames;
use crate::activation::{self, Manager};
use crate::capture;
use crate::capture::assignment::Assignment;
#[cfg(feature = "libcamera")]
use crate::capture::libcamera::Libcamera;
use crate::capture::network::Network;
use crate::capture::pattern::Pattern;
use crate::capture::settings::CameraSettings;
use crate::capture::source::{Source, SourceKind};
use crate::capture::stdin::Stdin;
use crate::capture::url::Endpoint;
use crate::capture::v4l2::{EncoderKind, V4l2};
use crate::cli::{self, Cli, Command};
use crate::error::{Context, Error, Result};
use crate::frames::controls::{self, make_public};
use crate::frames::name::Name;
use crate::list;
use crate::picture;
use crate::picture::format::USUAL_SIZE;
use crate::picture::jpeg::Size;
use crate::sandbox::{Needs, Sandbox};
use crate::server::auth::{self, Guard, Users};
use crate::server::http::cors::Origins;
use crate::server::http::hosts::Hosts;
use crate::server::settings::Setters;
use crate::server::{self, Address, Alone, Server};
use crate::snapshot;
use crate::supervise::{self, CaptureProcess, Supervisor};

/// The ports that `run` tries when none is given: that of mjpg-streamer and ustreamer, and if it is taken, the
/// following ones.
const DEFAULT_PORTS: std::ops::Range<u16> = 8080..8090;

/// The longest time for which frames are held back while the exposure settles.
const SETTLE: Duration = Duration::from_secs(1);

const DEFAULT_FPS: f64 = 30.0;

/// Executes the command line.
pub fn run(cli: Cli) -> Result<ExitCode> {
    picture::limit_frames(usize::from(cli.common.max_frame) << 20);
    let sandbox = Sandbox::basic();
    let common = &cli.common;
    match cli.command {
        None => run_both(&cli.run, common, sandbox),
        Some(Command::Run(run)) => run_both(&run, common, sandbox),
        Some(Command::Capture(capture)) => run_capture(&capture, sandbox),
        Some(Command::Serve(serve)) => run_serve(&serve, sandbox),
        Some(Command::Snapshot(snapshot)) => {
            let output = snapshot.output.as_deref();
            snapshot::run(&snapshot.frames, output, snapshot.timeout)
        }
        Some(Command::Control(control)) => set_controls(&control),
        Some(Command::List(flags)) => list::run(flags.json),
    }
    .map(|()| ExitCode::SUCCESS)
}

fn run_capture(flags: &cli::CaptureFlags, sandbox: Sandbox) -> Result<()> {
    let is_supervised = supervise::follow_supervisor()?;
    check_source(&flags.source)?;
    let sources = std::slice::from_ref(&flags.source);
    capture_sandbox(sandbox, &[&flags.frames], sources).tell();
    let mut source = open_source(&flags.source)?;
    if let Some(hardware) = flags.source.encoder.hardware() {
        source.encode_with(hardware);
    }
    let options = capture::CaptureOptions {
        dir: flags.frames.clone(),
        linger: flags.source.linger,
        settle: SETTLE,
        fps: flags.source.fps,
        settable: flags.source.all_settable(),
        mailbox: flags.source.mailbox.clone(),
        is_supervised,
    };
    capture::run(source.as_mut(), &options)
}

/// The restrictions for processes that capture from these sources, or that start such processes.
fn capture_sandbox(sandbox: Sandbox, frames: &[&Path], sources: &[cli::SourceFlags]) -> Sandbox {
    let is_libcamera = |flags: &cli::SourceFlags| matches!(flags.source, SourceKind::Libcamera(_));
    if sources.iter().any(is_libcamera) {
        return sandbox.because("libcamera unpacks files and starts processes where it likes");
    }
    let (mut devices, mut connects, mut ports) = (Vec::new(), Vec::new(), Vec::new());
    let mut names = false;
    for flags in sources {
        if flags.encoder != EncoderKind::Software {
            devices.push(Path::new("/dev"));
        }
        if let EncoderKind::V4l2(Some(node)) = &flags.encoder {
            devices.push(node);
        }
        match &flags.source {
            SourceKind::V4l2(device) => {
                devices.push(Path::new("/dev"));
                devices.extend(device.as_deref().map(Path::new));
            }
            SourceKind::Network(url) => match &url.place {
                Endpoint::Host(host, port) => {
                    ports.push(*port);
                    names |= host.parse::<std::net::IpAddr>().is_err();
                }
                Endpoint::Socket(path) => connects.push(path.as_path()),
            },
            SourceKind::Pattern | SourceKind::Stdin | SourceKind::Libcamera(_) => {}
        }
    }
    sandbox.capture(&Needs {
        frames: frames.to_vec(),
        devices,
        connects,
        ports,
        names,
        manager: Manager::socket().as_deref(),
        ..Needs::default()
    })
}

/// Refuses settings that do not apply to the source.
fn check_source(flags: &cli::SourceFlags) -> Result<()> {
    let kind = &flags.source;
    if !kind.takes("format") && flags.format.is_some() {
        let message = "--format is for --source v4l2 and libcamera";
        return Err(Error::Usage(message.into()));
    }
    if !kind.takes("standard") && flags.standard.is_some() {
        let message = "--standard is for --source v4l2";
        return Err(Error::Usage(message.into()));
    }
    let settable = flags.all_settable();
    if !kind.has_controls() && !settable.is_empty() {
        let message = "--control and --settable are for --source v4l2, libcamera and pattern";
        return Err(Error::Usage(message.into()));
    }
    if flags.mailbox.is_some() && settable.is_empty() {
        let message = "--mailbox is for controls that may be set: name them with --settable";
        return Err(Error::Usage(message.into()));
    }
    let asks = kind.takes("source-password");
    if asks != flags.source_password.is_some() {
        let message = "--source http://USER@HOST… and --source-password FILE go together";
        return Err(Error::Usage(message.into()));
    }
    if !kind.takes("size") && flags.size.is_some() {
        let message = "--size is for sources that have no size of their own; pictures of stdin and of the network come as they are";
        return Err(Error::Usage(message.into()));
    }
    Ok(())
}

/// Prints what was set, and fails if something was refused.
fn set_controls(flags: &cli::ControlFlags) -> Result<()> {
    let wishes: Vec<_> = flags.controls.iter().map(Assignment::to_string).collect();
    let answer = controls::want(&flags.frames, &wishes)?;
    let (refused, set): (Vec<_>, Vec<_>) = answer
        .into_iter()
        .partition(|line| line.starts_with("refused "));
    let mut out = std::io::stdout();
    for line in set {
        writeln!(out, "{line}").doing(|| "write the answer to standard output".into())?;
    }
    match refused.is_empty() {
        true => Ok(()),
        false => Err(Error::Input(refused.join("; "))),
    }
}

fn open_source(flags: &cli::SourceFlags) -> Result<Box<dyn Source>> {
    match &flags.source {
        SourceKind::Pattern => {
            let Size { width, height } = flags.size.unwrap_or(USUAL_SIZE);
            let fps = flags.fps.unwrap_or(DEFAULT_FPS);
            let pattern = Pattern::new((width, height), fps, flags.quality)?;
            let pattern = pattern.turned(flags.turn()).with(&flags.control)?;
            Ok(Box::new(pattern))
        }
        SourceKind::Stdin => {
            let stdin = Stdin::new(std::io::stdin(), flags.fps)?;
            Ok(Box::new(stdin.turned(flags.turn())))
        }
        SourceKind::Network(url) => {
            let password = password(flags)?;
            let network = Network::new(url.clone(), flags.turn(), flags.fps, &password)?;
            Ok(Box::new(network))
        }
        SourceKind::V4l2(device) => {
            let source = V4l2::new(device.clone(), settings(flags), flags.quality)?;
            Ok(Box::new(source))
        }
        #[cfg(feature = "libcamera")]
        SourceKind::Libcamera(camera) => {
            let source = Libcamera::new(camera.clone(), settings(flags), flags.quality)?;
            Ok(Box::new(source))
        }
        #[cfg(not(feature = "libcamera"))]
        SourceKind::Libcamera(_) => Err(Error::Usage(
            "this lazycam was built without libcamera: take one that was built with it, or --source stdin behind rpicam-vid".into(),
        )),
    }
}

/// The password for a camera on the network; empty if it needs none.
fn password(flags: &cli::SourceFlags) -> Result<String> {
    let Some(file) = &flags.source_password else {
        return Ok(String::new());
    };
    let file = auth::in_credentials(file);
    let text = std::fs::read_to_string(&file).doing(|| format!("read {}", file.display()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn settings(flags: &cli::SourceFlags) -> CameraSettings {
    CameraSettings {
        format: flags.format,
        size: flags.size,
        standard: flags.standard.clone(),
        fps: flags.fps,
        controls: flags.control.clone(),
        turn: flags.turn(),
    }
}

fn run_serve(flags: &cli::Serve, sandbox: Sandbox) -> Result<()> {
    let frames = flags.frames.iter().cloned();
    let cameras = frames.map(|frames| (frames.name, frames.dir)).collect();
    let mailboxes = flags.allow_control.as_deref();
    if let Some(dir) = mailboxes {
        make_public(dir).doing(|| format!("make {}", dir.display()))?;
    }
    let options = server::ServerOptions {
        root: flags.root.clone(),
        setters: match flags.open_control {
            _ if mailboxes.is_none() => Setters::Nobody,
            true => Setters::Everybody,
            false => Setters::Known,
        },
        mailboxes: flags.allow_control.clone(),
        ..server_options(&flags.http, cameras)?
    };
    let passed = activation::passed_sockets()?;
    let manager = Manager::of_this_process();
    let server = Server::new(options, &flags.http.listen, passed, manager)?;
    let sandbox = sandbox.serve(&Needs {
        frames: flags.frames.iter().map(|one| one.dir.as_path()).collect(),
        root: flags.root.as_deref(),
        also_read: flags.also_read.as_deref(),
        mailboxes,
        threads: flags.http.auth.is_some(),
        manager: Manager::socket().as_deref(),
        ..Needs::default()
    });
    let server = server.within(sandbox.tell());
    server.tell_where();
    server.run(&mut Alone)
}

fn server_options(
    flags: &cli::Http,
    cameras: Vec<(Name, PathBuf)>,
) -> Result<server::ServerOptions> {
    let users = flags.auth.as_deref().map(Users::read).transpose()?;
    let origins = Origins::new(&flags.allow_origin, users.is_some())
        .map_err(|what| Error::Usage(format!("--allow-origin: {what}")))?;
    let hosts = Hosts::new(&flags.allow_host)
        .map_err(|what| Error::Usage(format!("--allow-host: {what}")))?;
    Ok(server::ServerOptions {
        cameras,
        root: None,
        default_camera: flags.default_camera.clone(),
        max_clients: flags.max_clients as usize,
        max_clients_per_address: flags.max_clients_per_address.map(|n| n as usize),
        max_held: u64::from(flags.max_held) << 20,
        stall_timeout: flags.stall_timeout,
        exit_idle: flags.exit_idle,
        origins,
        hosts,
        setters: Setters::Nobody,
        mailboxes: None,
        guard: users.map(Guard::new).transpose()?,
        open_sockets: flags.open_socket.clone(),
        auth_without_memory: flags.auth_without_memory,
        congestion: flags.congestion.clone().unwrap_or_default(),
    })
}

fn run_both(flags: &cli::Run, common: &cli::Common, sandbox: Sandbox) -> Result<()> {
    let sources = check_cameras(flags)?;
    let passed = activation::passed_sockets()?;
    let listen = match flags.http.listen.as_slice() {
        [] if passed.is_empty() => vec![free_port()?],
        listen => listen.to_vec(),
    };
    let mut own = match &flags.frames {
        Some(_) => None,
        None => Some(OwnFrames::new(&listen)?),
    };
    let frames = flags.frames.as_ref().or(own.as_ref().map(OwnFrames::dir));
    let frames = frames.cloned().unwrap_or_default();
    let all: Vec<_> = match sources.as_slice() {
        [] => vec![flags.source.clone()],
        sources => sources.iter().map(|(_, one)| one.clone()).collect(),
    };
    let captures = captures(flags, sources, &frames, common);
    let cameras = captures
        .iter()
        .map(|(capture, dir)| (capture.name.clone(), dir.clone()));
    let options = server_options(&flags.http, cameras.collect())?;
    let manager = Manager::of_this_process();
    let server = Server::new(options, &listen, passed, manager)?;
    if let Some(own) = &mut own {
        own.listens();
    }
    let mut dirs: Vec<_> = captures.iter().map(|(_, dir)| dir.as_path()).collect();
    // To be removed at the end.
    dirs.extend(own.as_ref().map(|own| own.dir().as_path()));
    let sandbox = capture_sandbox(sandbox, &dirs, &all)
        .because("what is started from here inherits it; `serve` and `capture` as two services are held to more")
        .tell();
    let captures = captures.into_iter().map(|(capture, _)| capture);
    let mut supervisor = Supervisor::start(captures.collect())?;
    for line in server.lines() {
        say_where(&line)?;
    }
    server.tell_where();
    server.within(sandbox).run(&mut supervisor)
}

/// What each `--camera` captures. Settings that make no sense are refused here, before any of the processes is
/// started.
fn check_cameras(flags: &cli::Run) -> Result<Vec<(Name, cli::SourceFlags)>> {
    let mut sources = Vec::new();
    for camera in &flags.camera {
        let source = camera.over(&flags.source)?;
        check_source(&source)
            .map_err(|error| Error::Usage(format!("--camera {}: {error}", camera.name)))?;
        sources.push((camera.name.clone(), source));
    }
    let stdins = sources
        .iter()
        .filter(|(_, source)| source.source == SourceKind::Stdin);
    if stdins.count() > 1 {
        let message = "there is one standard input, for one camera";
        return Err(Error::Usage(message.into()));
    }
    Ok(sources)
}

/// The capture processes and their frame directories: a single camera uses `frames` itself; with several, each gets a
/// directory of its own inside it.
fn captures(
    flags: &cli::Run,
    sources: Vec<(Name, cli::SourceFlags)>,
    frames: &Path,
    common: &cli::Common,
) -> Vec<(CaptureProcess, PathBuf)> {
    let capture = |name, source: &cli::SourceFlags, dir: PathBuf| {
        let capture = CaptureProcess {
            name,
            arguments: source.capture_arguments(&dir, common),
            stdin: source.source == SourceKind::Stdin,
        };
        (capture, dir)
    };
    if sources.is_empty() {
        // A directory of our own has a name that no camera may have, so this is called `camera`.
        let name = Name::of_directory(frames);
        return vec![capture(name, &flags.source, frames.to_owned())];
    }
    let of_several = |(name, source): (Name, cli::SourceFlags)| {
        let dir = frames.join(name.as_str());
        capture(name, &source, dir)
    };
    sources.into_iter().map(of_several).collect()
}

/// The first port that nobody else is listening on. If another program takes it before the server does, the server
/// reports that.
fn free_port() -> Result<Address> {
    let mut ports = DEFAULT_PORTS.map(Address::Port);
    ports.find(server::can_listen).ok_or_else(|| {
        Error::Busy("the ports 8080 to 8089 are all taken; name one with --listen".into())
    })
}

/// Prints the one line on standard output, for people and scripts: an address, then perhaps a remark. It appears once connections are accepted.
fn say_where(line: &str) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .doing(|| "write the address to standard output".into())
}
