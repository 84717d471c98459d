//! `cargo run --example manual -- DIR`: manual pages and shell completions, for packages and images.
//!
//! Writes `DIR/man1/lazycam.1` and a page per command, and `DIR/completions/` for bash, zsh and fish. All of it is made from the
//! table of flags that the program itself reads, so nothing can be told that is not so; only what no flag knows (exit status,
//! files, examples) is written here. It is an example and not a command of the program, because a camera's image has no
//! use for it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;
use lazycam::cli::Cli;

/// The day of the release, which a page's foot tells; one line of its own, so that two builds give the same bytes.
const DATE: &str = "2026-11-22";

/// What follows the flags of lazycam(1).
const MORE: &str = r#".SH EXIT STATUS
.TP
0
A good end: a signal, the end of the input, no client for \-\-exit\-idle.
.TP
1
A failure that may pass: a camera in use, an address in use, a timeout.
.TP
2
A command that cannot work as it was given.
.TP
3
An input that ended within a frame, or without one.
.SH ENVIRONMENT
Each flag has a variable, named with it above; a flag on the command line wins. Where several values may be given they are separated by commas.
.PP
LISTEN_FDS, LISTEN_FDNAMES, NOTIFY_SOCKET and WATCHDOG_USEC are those of the service manager: see sd_listen_fds(3) and sd_notify(3).
.SH FILES
.TP
/run/lazycam/
Frame directories, where the service manager gives no RUNTIME_DIRECTORY and XDG_RUNTIME_DIR is not set.
.TP
DIR/current.jpg
The newest frame. Opening it asks for the next one.
.SH EXAMPLES
.TP
lazycam
The test picture on port 8080.
.TP
lazycam \-\-source v4l2 \-\-size 1280x720
The first USB camera.
.TP
rpicam\-vid \-\-codec mjpeg \-\-timeout 0 \-\-output \- | lazycam \-\-source stdin
A camera on a Raspberry Pi's connector.
.SH SEE ALSO
"#;

fn main() -> io::Result<()> {
    let Some(dir) = std::env::args_os().nth(1) else {
        return Err(io::Error::other("usage: manual DIR"));
    };
    write(Path::new(&dir)).map(|_| ())
}

/// Writes everything into `dir`; the files.
pub(crate) fn write(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let (man, completions) = (dir.join("man1"), dir.join("completions"));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;
    let mut command = Cli::command();
    command.build();
    let commands: Vec<_> = command.get_subcommands().cloned().collect();
    let pages = commands.iter().filter(|one| one.get_name() != "help");
    let mut files = vec![page(&man, &command, "lazycam", &pages_named(&commands))?];
    for one in pages {
        let name = format!("lazycam-{}", one.get_name());
        files.push(page(&man, one, &name, "lazycam(1)")?);
    }
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        files.push(clap_complete::generate_to(
            shell,
            &mut Cli::command(),
            "lazycam",
            &completions,
        )?);
    }
    Ok(files)
}

fn pages_named(commands: &[clap::Command]) -> String {
    let names = commands
        .iter()
        .map(clap::Command::get_name)
        .filter(|name| *name != "help");
    let names: Vec<_> = names.map(|name| format!("lazycam\\-{name}(1)")).collect();
    names.join(", ")
}

fn page(dir: &Path, command: &clap::Command, name: &str, see_also: &str) -> io::Result<PathBuf> {
    let path = dir.join(format!("{name}.1"));
    let man = Man::new(command.clone()).title(name).date(DATE);
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if name == "lazycam" {
        man.render_subcommands_section(&mut text)?;
        text.extend_from_slice(MORE.as_bytes());
        text.extend_from_slice(see_also.as_bytes());
    } else {
        text.extend_from_slice(format!(".SH SEE ALSO\n{see_also}").as_bytes());
    }
    text.push(b'\n');
    fs::write(&path, text)?;
    Ok(path)
}
