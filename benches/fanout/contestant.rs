//! The servers under test, each in a process of its own, and what /proc says about them.
//!
//! A process is started, told to listen on a free port on the loopback interface, and killed through its handle when
//! that is dropped; no other process is touched.

use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::reference::How;
use crate::{Failure, Outcome};

/// A server that is not listening by then never will be.
const START_LIMIT: Duration = Duration::from_secs(10);

/// A program to measure.
#[derive(Clone, Debug)]
pub(crate) enum Contestant {
    Reference(How),
    Lazycam { name: String, program: PathBuf },
}

impl Contestant {
    pub(crate) fn name(&self) -> &str {
        match self {
            Contestant::Reference(How::Sendfile) => "reference",
            Contestant::Reference(How::Copy) => "reference, one sendmsg",
            Contestant::Reference(How::Cork) => "reference, corked",
            Contestant::Lazycam { name, .. } => name,
        }
    }

    fn command(&self, dir: &Path) -> Outcome<Command> {
        let mut command;
        match self {
            Contestant::Reference(how) => {
                command = Command::new(std::env::current_exe()?);
                command.arg("--reference").arg(dir);
                match how {
                    How::Sendfile => {}
                    How::Copy => drop(command.args(["--how", "copy"])),
                    How::Cork => drop(command.args(["--how", "cork"])),
                }
            }
            Contestant::Lazycam { program, .. } => {
                command = Command::new(program);
                command.arg("serve").arg("--frames").arg(dir);
                command.args(["--listen", "127.0.0.1:0", "--max-clients", "4096"]);
                command.env("LAZYCAM_LOG", "info");
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::piped());
        Ok(command)
    }

    /// Starts the program on `dir` and waits until it is listening.
    pub(crate) fn start(&self, dir: &Path, cpu: Option<usize>) -> Outcome<Running> {
        let mut command = self.command(dir)?;
        let begun = Instant::now();
        let mut child = command.spawn()?;
        let stderr = child.stderr.take();
        let mut running = Running {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            started_in: Duration::ZERO,
        };
        let mut stderr = stderr.ok_or(Failure("no standard error".into()))?;
        running.address = listening_on(&mut stderr, begun)?;
        running.started_in = begun.elapsed();
        // Kept open, so that the server is not killed for writing its last messages.
        running.child.stderr = Some(stderr);
        if let Some(cpu) = cpu {
            pin(Some(Pid::from_child(&running.child)), cpu)?;
        }
        Ok(running)
    }
}

/// Binds a process, or this thread and those that it starts from now on, to one processor.
pub(crate) fn pin(pid: Option<Pid>, cpu: usize) -> Outcome<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    Ok(sched_setaffinity(pid, &set)?)
}

/// Reads up to the line with the address.
fn listening_on(stderr: &mut ChildStderr, begun: Instant) -> Outcome<SocketAddr> {
    let mut text = Vec::new();
    loop {
        let left = START_LIMIT.saturating_sub(begun.elapsed());
        let timeout = Timespec::try_from(left)?;
        let mut fds = [PollFd::new(stderr, PollFlags::IN)];
        let mut bytes = [0; 1024];
        let n = match poll(&mut fds, Some(&timeout))? {
            0 => 0,
            _ => stderr.read(&mut bytes)?,
        };
        text.extend(&bytes[..n]);
        let said = String::from_utf8_lossy(&text);
        let line = said.lines().find(|line| line.contains("listening on "));
        if let Some((line, _)) = line.zip(said.ends_with('\n').then_some(())) {
            let address = line.rsplit(' ').next().unwrap_or_default();
            return Ok(address.parse()?);
        }
        if n == 0 {
            return Err(Failure(format!("the server does not listen; it said: {said}")).into());
        }
    }
}

/// A server process, stopped when dropped.
pub(crate) struct Running {
    child: Child,
    pub(crate) address: SocketAddr,
    /// The time from before exec until it was listening.
    pub(crate) started_in: Duration,
}

impl Running {
    /// The processor time of all threads so far (the first number of schedstat, in nanoseconds).
    pub(crate) fn cpu(&self) -> Outcome<Duration> {
        let mut total = Duration::ZERO;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            let nanos = text.split(' ').next().unwrap_or_default();
            total += Duration::from_nanos(nanos.parse()?);
        }
        Ok(total)
    }

    /// Resident memory.
    pub(crate) fn memory(&self) -> Outcome<Memory> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kib = |name: &str| -> Outcome<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|rest| rest.split_whitespace().nth(0));
            Ok(number.ok_or(Failure(format!("no {name}")))?.parse()?)
        };
        Ok(Memory {
            rss: kib("VmRSS:")?,
            anon: kib("RssAnon:")?,
            file: kib("RssFile:")?,
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Resident memory in KiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) rss: u64,
    pub(crate) anon: u64,
    pub(crate) file: u64,
}
