//! `lazycam run`: the capture process beside the server, started again when it ends unasked.
//!
//! Capture is a process of its own even here, because camera stacks crash and pictures go on. Nobody is left behind
//! when this process dies, however it dies: the child asks the kernel for a signal at its parent's death
//! (prctl(2), `PR_SET_PDEATHSIG`), in [`follow_supervisor`], and then checks that the parent is still the one that
//! started it.
//!
//! A child that ends with status 0 or 3 has come to the end of its input, and one that ends with 2 was called wrongly:
//! none of them is started again, and the server ends too.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use log::{info, warn};
use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal};

use crate::error::{Context, ENDED_STATUS, Error, Result, USAGE_STATUS};
use crate::server::{Attendant, Verdict};

/// Tells a child who started it.
const SUPERVISOR: &str = "LAZYCAM_SUPERVISOR";

/// The first pause before a restart; it doubles with each one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A child that ran for so long was not broken from the start: the next pause is a short one again.
const GOOD_RUN: Duration = Duration::from_secs(60);

/// How long a child may take to end when asked.
const END_LIMIT: Duration = Duration::from_secs(3);

/// One supervised child.
#[derive(Debug)]
pub struct Supervisor {
    arguments: Vec<OsString>,
    stdin: bool,
    child: Option<(Child, Instant)>,
    pause: Duration,
    restart_at: Option<Instant>,
}

impl Supervisor {
    /// Starts `lazycam` with these arguments as a child; `stdin` says that it reads our standard input.
    pub fn start(arguments: Vec<OsString>, stdin: bool) -> Result<Self> {
        let mut supervisor = Supervisor {
            arguments,
            stdin,
            child: None,
            pause: FIRST_PAUSE,
            restart_at: None,
        };
        supervisor.spawn(Instant::now())?;
        Ok(supervisor)
    }

    fn spawn(&mut self, now: Instant) -> Result<()> {
        let program = std::env::current_exe().doing(|| "find this program's own file".into())?;
        let child = Command::new(&program)
            .args(&self.arguments)
            .stdin(if self.stdin {
                Stdio::inherit()
            } else {
                Stdio::null()
            })
            .env(SUPERVISOR, std::process::id().to_string())
            .env_remove("NOTIFY_SOCKET")
            .env_remove("WATCHDOG_USEC")
            .env_remove("WATCHDOG_PID")
            .spawn()
            .doing(|| format!("start {} as the capture process", program.display()))?;
        info!("capture is process {}", child.id());
        self.child = Some((child, now));
        self.restart_at = None;
        Ok(())
    }

    /// The child has ended: whether and when it is started again.
    fn ended(&mut self, status: ExitStatus, ran: Duration, now: Instant) -> Result<Verdict> {
        if status.success() {
            info!("capture has come to its end");
            return Ok(Verdict::Stop);
        }
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        match code {
            Some(USAGE_STATUS) => {
                let message = "the capture process cannot work like this; its message is above";
                return Err(Error::Usage(message.into()));
            }
            Some(ENDED_STATUS) => {
                let message = "there is nothing more to capture; the message is above";
                return Err(Error::Ended(message.into()));
            }
            _ => {}
        }
        if ran >= GOOD_RUN {
            self.pause = FIRST_PAUSE;
        }
        let how = match status.signal() {
            Some(signal) => format!("was ended by signal {signal}"),
            None => format!("ended with {status}"),
        };
        warn!("capture {how}; starting it again in {:?}", self.pause);
        self.restart_at = Some(now + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(Verdict::GoOn)
    }

    /// Ends the child, if it has not ended: asked first, then made to.
    fn end(&mut self) {
        let Some((mut child, _)) = self.child.take() else {
            return;
        };
        if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            // It cannot have been reaped by anybody else, so the number is still its own.
            let _ = kill_process(pid, Signal::TERM);
        }
        let limit = Instant::now() + END_LIMIT;
        while Instant::now() < limit {
            match child.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        warn!("capture did not end within {END_LIMIT:?} and is killed");
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.end();
    }
}

impl Attendant for Supervisor {
    fn child_changed(&mut self, now: Instant) -> Result<Verdict> {
        let Some((child, started)) = &mut self.child else {
            return Ok(Verdict::GoOn);
        };
        match child
            .try_wait()
            .doing(|| "wait for the capture process".into())?
        {
            Some(status) => {
                let ran = now.saturating_duration_since(*started);
                self.child = None;
                self.ended(status, ran, now)
            }
            None => Ok(Verdict::GoOn),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.restart_at
    }

    fn wake(&mut self, now: Instant) -> Result<Verdict> {
        if self.restart_at.is_some_and(|at| at <= now) {
            self.spawn(now)?;
        }
        Ok(Verdict::GoOn)
    }
}

/// In a supervised child: ends with its supervisor. Called first thing in `main`.
pub fn follow_supervisor() -> Result<()> {
    let Some(supervisor) = std::env::var_os(SUPERVISOR) else {
        return Ok(());
    };
    set_parent_process_death_signal(Some(Signal::TERM))
        .doing(|| "ask for a signal at the supervisor's death".into())?;
    let parent = getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    if supervisor.to_str() != Some(&parent.to_string()) {
        return Err(Error::Busy(
            "the supervisor ended before its child had begun".into(),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idle() -> Supervisor {
        Supervisor {
            arguments: Vec::new(),
            stdin: false,
            child: None,
            pause: FIRST_PAUSE,
            restart_at: None,
        }
    }

    #[test]
    fn a_child_that_fails_is_started_again_with_growing_pauses() {
        let mut supervisor = idle();
        let now = Instant::now();
        let failed = ExitStatus::from_raw(1 << 8);
        for pause in [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000] {
            let verdict = supervisor.ended(failed, Duration::from_secs(1), now);
            assert_eq!(verdict.unwrap(), Verdict::GoOn);
            assert_eq!(
                supervisor.deadline(),
                Some(now + Duration::from_millis(pause))
            );
        }
        supervisor.ended(failed, GOOD_RUN, now).unwrap();
        assert_eq!(supervisor.deadline(), Some(now + FIRST_PAUSE));
    }

    #[test]
    fn a_child_that_is_done_or_was_called_wrongly_ends_the_server() {
        let now = Instant::now();
        let done = idle().ended(ExitStatus::from_raw(0), Duration::ZERO, now);
        assert_eq!(done.unwrap(), Verdict::Stop);
        let wrong = idle().ended(ExitStatus::from_raw(2 << 8), Duration::ZERO, now);
        assert!(matches!(wrong, Err(Error::Usage(_))));
        let cut = idle().ended(ExitStatus::from_raw(3 << 8), Duration::ZERO, now);
        assert!(matches!(cut, Err(Error::Ended(_))));
    }
}
