//! Commands and flags. Each flag can also be given as an environment variable, for `EnvironmentFile=` and
//! `/etc/default/lazycam`. lazycam has no configuration file of its own.
//!
//! clap does the parsing and the help texts. The result is checked values, in the types that the rest of the program
//! uses.

mod camera;
mod common;
mod hints;
mod source;
mod values;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::capture::assignment::Assignment;
use crate::frames::name::Name;
use crate::server::{Address, Congestion};
pub use camera::{CameraFlag, Frames};
pub use common::Common;
pub use hints::hint;
pub use source::SourceFlags;

/// MJPEG camera server: every viewer gets the newest frame, and when nobody looks, nothing runs.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do [default: run].
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The flags of `run`.
    #[command(flatten)]
    pub run: Run,
    /// What applies to each command.
    #[command(flatten)]
    pub common: Common,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Capture from a camera into a frame directory, on demand.
    Capture(CaptureFlags),
    /// Serve frame directories over HTTP.
    Serve(Serve),
    /// Do both: serve, and run a capture process for each camera. The default.
    Run(Box<Run>),
    /// Ask for one fresh frame and write it as JPEG.
    Snapshot(SnapshotFlags),
    /// Set controls of a camera while it runs.
    Control(ControlFlags),
    /// List the cameras with their formats, sizes, rates and controls.
    List(List),
}

/// Flags of `list`.
#[derive(Debug, Args)]
pub struct List {
    /// Print JSON instead of text.
    #[arg(long)]
    pub json: bool,
}

/// Flags of `capture`.
#[derive(Debug, Args)]
pub struct CaptureFlags {
    /// The frame directory, which should be on a tmpfs. It is created if it does not exist.
    #[arg(long, env = "LAZYCAM_FRAMES", value_name = "DIR")]
    pub frames: PathBuf,
    /// What to capture.
    #[command(flatten)]
    pub source: SourceFlags,
}

/// Flags of `serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// A frame directory to serve, and the camera's name [default: the directory's name]. May be given several times, or as a
    /// list separated by semicolons.
    #[arg(
        long,
        env = "LAZYCAM_FRAMES",
        value_name = "[NAME=]DIR",
        value_delimiter = ';',
        required_unless_present = "root"
    )]
    pub frames: Vec<Frames>,
    /// Serve each directory in DIR as a camera of that name, including those that are created later.
    #[arg(long, env = "LAZYCAM_ROOT", value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Also allow reading below DIR. After start the server can read only the directories that contain the frame directories;
    /// use this if a parent directory may be recreated or a link re-pointed.
    #[arg(long, env = "LAZYCAM_ALSO_READ", value_name = "DIR")]
    pub also_read: Option<PathBuf>,
    /// Let clients set controls of the cameras over HTTP, those that each camera's program allows (`--settable`). What they want
    /// is left below DIR, which this server alone may write to: in DIR/NAME, the `--mailbox` of the camera NAME. It takes a
    /// password (--auth), a Unix socket, or --open-control.
    #[arg(long, env = "LAZYCAM_ALLOW_CONTROL", value_name = "DIR")]
    pub allow_control: Option<PathBuf>,
    /// Let everybody who can reach this server set controls.
    #[arg(
        long,
        env = "LAZYCAM_OPEN_CONTROL",
        requires_if("true", "allow_control")
    )]
    pub open_control: bool,
    /// How to serve it.
    #[command(flatten)]
    pub http: Http,
}

/// How HTTP is served.
#[derive(Debug, Args)]
pub struct Http {
    /// The camera for URLs that name none, such as /stream [default: the first].
    #[arg(long, env = "LAZYCAM_DEFAULT_CAMERA", value_name = "NAME")]
    pub default_camera: Option<Name>,
    /// Listen on PORT, ADDRESS:PORT or a Unix socket's /PATH. May be given several times. Sockets passed by the service
    /// manager (LISTEN_FDS) are used as well.
    #[arg(
        long,
        env = "LAZYCAM_LISTEN",
        value_name = "ADDR",
        value_delimiter = ','
    )]
    pub listen: Vec<Address>,
    /// Maximum number of clients; further ones get a 503.
    #[arg(long, env = "LAZYCAM_MAX_CLIENTS", value_name = "N", default_value_t = 256,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub max_clients: u32,
    /// Maximum clients per address; 0 for no limit. Never applies to Unix sockets [default: half of --max-clients; no
    /// limit for local addresses, where proxies run].
    #[arg(long, env = "LAZYCAM_MAX_CLIENTS_PER_ADDRESS", value_name = "N")]
    pub max_clients_per_address: Option<u32>,
    /// MiB of frames that may be kept in memory for slow viewers.
    #[arg(
        long,
        env = "LAZYCAM_MAX_HELD",
        value_name = "MIB",
        default_value_t = 32
    )]
    pub max_held: u32,
    /// Disconnect a client that accepts no data for this many seconds.
    #[arg(long, env = "LAZYCAM_STALL_TIMEOUT", value_name = "SECONDS", default_value = "20", value_parser = values::parse_positive_seconds)]
    pub stall_timeout: Duration,
    /// Exit after this many seconds without a client; for socket activation, where the next client starts the server again.
    #[arg(long, env = "LAZYCAM_EXIT_IDLE", value_name = "SECONDS", value_parser = values::parse_seconds)]
    pub exit_idle: Option<Duration>,
    /// Allow pages of this origin, such as `http://octopi.local`, to read the pictures. May be given several times. `*`: all pages;
    /// `none`: no other page [default: pages of the same host, on any port; with --auth none].
    #[arg(
        long,
        env = "LAZYCAM_ALLOW_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    pub allow_origin: Vec<String>,
    /// Also answer to this name, such as `cam.example.org`. May be given several times. `*`: to any. Addresses, names without a
    /// dot, and those in .local, .lan, .home.arpa and .internal are answered to in any case.
    #[arg(
        long,
        env = "LAZYCAM_ALLOW_HOST",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub allow_host: Vec<String>,
    /// Ask for a name and a password. FILE has lines of user:hash, with hashes as `openssl passwd -6` makes them. A relative
    /// FILE may be one of the service's credentials (`LoadCredential=`).
    #[arg(long, env = "LAZYCAM_AUTH", value_name = "FILE")]
    pub auth: Option<PathBuf>,
    /// A socket on which no password is asked for: its ADDR as in --listen, or its name in `LISTEN_FDNAMES`. May be given
    /// several times.
    #[arg(
        long,
        env = "LAZYCAM_OPEN_SOCKET",
        value_name = "NAME",
        value_delimiter = ',',
        requires = "auth"
    )]
    pub open_socket: Vec<String>,
    /// With --auth, also serve a connection that the service manager has accepted (Accept=yes). Each is a process of its own,
    /// which knows nothing of earlier wrong passwords, so that they can be guessed without a wait.
    #[arg(long, env = "LAZYCAM_AUTH_WITHOUT_MEMORY", requires_if("true", "auth"))]
    pub auth_without_memory: bool,
    /// Congestion control of TCP connections: `system` for that of the system, or an algorithm of the kernel, such as cubic
    /// [default: bbr, if the kernel has it].
    #[arg(long, env = "LAZYCAM_CONGESTION", value_name = "NAME")]
    pub congestion: Option<Congestion>,
}

/// Flags of `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// The frame directory; with --camera, the directory in which each camera gets its own [default: one on a tmpfs].
    #[arg(long, env = "LAZYCAM_FRAMES", value_name = "DIR")]
    pub frames: Option<PathBuf>,
    /// A camera: its name, its source, and its own settings, such as front=v4l2:/dev/video0,size=1280x720,fps=15. Settings
    /// have the names of the flags --size, --fps and so on; the flags are the defaults for all cameras. May be given several
    /// times, or as a list separated by semicolons.
    #[arg(
        long,
        env = "LAZYCAM_CAMERA",
        value_name = "NAME=SOURCE[,SETTING=VALUE...]",
        value_delimiter = ';',
        conflicts_with = "source"
    )]
    pub camera: Vec<CameraFlag>,
    /// What to capture.
    #[command(flatten)]
    pub source: SourceFlags,
    /// How to serve it.
    #[command(flatten)]
    pub http: Http,
}

/// Flags of `snapshot`.
#[derive(Debug, Args)]
pub struct SnapshotFlags {
    /// The frame directory.
    pub frames: PathBuf,
    /// Write to this file, which is replaced in one step [default: standard output].
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Fail if no new frame has arrived after this many seconds; until then, also wait for a directory that does not exist
    /// yet [default: 5, without waiting for a directory].
    #[arg(long, value_name = "SECONDS", value_parser = values::parse_seconds)]
    pub timeout: Option<Duration>,
}

/// Flags of `control`.
#[derive(Debug, Args)]
pub struct ControlFlags {
    /// The frame directory.
    pub frames: PathBuf,
    /// What to set, in this order: brightness=10, AfMode=Manual. `lazycam list` shows the names.
    #[arg(required = true, value_name = "NAME=VALUE")]
    pub controls: Vec<Assignment>,
}

#[cfg(test)]
mod tests {
    use log::LevelFilter;

    use super::*;

    fn parse(arguments: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once(&"lazycam").chain(arguments))
    }

    #[test]
    fn the_flags_do_not_contradict_each_other() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn without_a_command_the_flags_are_those_of_run() {
        let cli = parse(&["--listen", "8081", "--size", "320x240"]).unwrap();
        assert!(cli.command.is_none());
        assert_eq!(cli.run.http.listen, [Address::Port(8081)]);
        assert_eq!(cli.run.source.size.unwrap().to_string(), "320x240");
    }

    #[test]
    fn a_captures_arguments_say_what_the_flags_of_run_said() {
        let flags = [
            "--source",
            "v4l2:/dev/video7",
            "--format",
            "yuyv",
            "--control",
            "Brightness=-3,power_line_frequency=50 Hz",
            "--control",
            "focus=1",
            "--size",
            "32x16",
            "--fps",
            "7.5",
            "--rotate",
            "270",
            "--flip",
            "vertical",
            "--settable",
            "focus_absolute,gain",
            "--mailbox",
            "/run/box/front",
            "--quality",
            "33",
            "--encoder",
            "v4l2:/dev/video31",
            "--linger",
            "0.25",
        ];
        let cli = parse(&flags).unwrap();
        let common = Common {
            log: LevelFilter::Warn,
            max_frame: 7,
        };
        let arguments = cli.run.source.capture_arguments("/tmp/x".as_ref(), &common);
        let arguments: Vec<_> = arguments.iter().map(|a| a.to_str().unwrap()).collect();
        let again = parse(&arguments).unwrap();
        assert_eq!(again.common, common);
        let Some(Command::Capture(capture)) = again.command else {
            panic!("not a capture command: {arguments:?}");
        };
        assert_eq!(capture.frames, PathBuf::from("/tmp/x"));
        assert_eq!(
            format!("{:?}", capture.source),
            format!("{:?}", cli.run.source)
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_reason() {
        for bad in [
            ["--size", "0x0"],
            ["--size", "640"],
            ["--fps", "0"],
            ["--fps", "NaN"],
            ["--quality", "101"],
            ["--rotate", "45"],
            ["--flip", "both"],
            ["--max-frame", "0"],
            ["--max-frame", "1025"],
            ["--encoder", "gpu"],
            ["--linger", "-1"],
            ["--linger", "1e300"],
            ["--stall-timeout", "0"],
            ["--stall-timeout", "-1"],
            ["--listen", "nowhere"],
            ["--source", "webcam"],
            ["--source", "v4l2:"],
            ["--format", "H.264"],
            ["--control", "brightness"],
        ] {
            assert!(parse(&bad).is_err(), "{bad:?}");
        }
    }
}
