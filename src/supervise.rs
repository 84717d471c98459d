//! `lazycam run`: the capture processes beside the server, one per camera, which are restarted when they end
//! unexpectedly.
//!
//! Capture is a separate process even here, because camera stacks crash and the server has to survive that. No child
//! is left behind when this process dies, however it dies: each child asks the kernel for a signal on its parent's
//! death (prctl(2), `PR_SET_PDEATHSIG`), in [`follow_supervisor`], and then checks that its parent is still the
//! process that started it.
//!
//! A child that ends with status 0 or 3 has reached the end of its input, and one that ends with 2 was given wrong
//! arguments; neither is restarted. The server then treats its camera as gone while the others continue, and when the
//! last child has ended, the server ends too. A restart that fails, for example for lack of memory, is tried again
//! after the same pauses.
//!
//! The program that is started is `/proc/self/exe` (proc_pid_exe(5)), which is the file that is running now, and not
//! its path: an upgrade may have replaced the file at the path with another version, or just removed it.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use log::{info, warn};
use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal};
use rustix::thread::set_name;

use crate::error::{Context, ENDED_STATUS, Error, Result, USAGE_STATUS};
use crate::frames::name::Name;
use crate::logging::SPEAKER;
use crate::server::{Attendant, Verdict};
use crate::time::backoff::Backoff;

/// The file of this program, whatever is at its path by now.
const PROGRAM: &str = "/proc/self/exe";

/// The environment variable that tells a child which process started it.
const SUPERVISOR: &str = "LAZYCAM_SUPERVISOR";

/// The pause before the first restart; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A child that ran for this long was not broken from the start, so the next pause is a short one again.
const GOOD_RUN: Duration = Duration::from_secs(60);

/// The time that a child gets to end after it was asked to.
const END_LIMIT: Duration = Duration::from_secs(3);

/// What to capture in a process of its own.
#[derive(Clone, Debug)]
pub struct CaptureProcess {
    /// The camera's name.
    pub name: Name,
    /// The arguments of `lazycam`.
    pub arguments: Vec<OsString>,
    /// Whether it reads our standard input.
    pub stdin: bool,
}

/// The supervised children.
#[derive(Debug)]
pub struct Supervisor {
    /// In the order of the cameras' numbers.
    children: Vec<Supervised>,
    /// How the children that are not restarted have ended; the worst case counts.
    outcome: ChildEnd,
}

/// How a child ended for good; a variant further down outweighs those above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ChildEnd {
    /// It reached the end of its input.
    Done,
    /// Its input ended in the middle of something.
    Cut,
    /// It was given wrong arguments.
    Wrong,
}

#[derive(Debug)]
struct Supervised {
    capture: CaptureProcess,
    /// Whether this is the only child.
    alone: bool,
    /// The name for it in the log.
    title: String,
    child: Option<(Child, Instant)>,
    pauses: Backoff,
    restart_at: Option<Instant>,
}

impl Supervisor {
    /// Starts all children; `captures` is in the order of the cameras' numbers.
    pub fn start(captures: Vec<CaptureProcess>) -> Result<Self> {
        let alone = captures.len() == 1;
        let captures = captures.into_iter();
        let children = captures.map(|capture| Supervised::new(capture, alone));
        let mut supervisor = Supervisor {
            children: children.collect(),
            outcome: ChildEnd::Done,
        };
        let now = Instant::now();
        for child in &mut supervisor.children {
            child.spawn(now)?;
        }
        Ok(supervisor)
    }

    /// One of the children has ended: it is restarted later, or the server continues without it, or it was the last
    /// one and the server ends.
    fn ended(
        &mut self,
        index: usize,
        status: ExitStatus,
        ran: Duration,
        now: Instant,
    ) -> Result<Verdict> {
        let Some(outcome) = self.children[index].ended(status, ran, now) else {
            return Ok(Verdict::GoOn);
        };
        self.outcome = self.outcome.max(outcome);
        if !self.children.iter().all(Supervised::is_over) {
            return Ok(Verdict::GoOn);
        }
        match self.outcome {
            ChildEnd::Done => Ok(Verdict::Stop),
            // Its own message says what is wrong.
            ChildEnd::Cut => Err(Error::Told(ENDED_STATUS)),
            ChildEnd::Wrong => Err(Error::Told(USAGE_STATUS)),
        }
    }
}

/// All children are asked to end at once, and then waited for together.
impl Drop for Supervisor {
    fn drop(&mut self) {
        for child in &self.children {
            child.ask_to_end();
        }
        let limit = Instant::now() + END_LIMIT;
        for child in &mut self.children {
            child.end(limit);
        }
    }
}

impl Attendant for Supervisor {
    fn child_changed(&mut self, now: Instant, ended: &mut Vec<usize>) -> Result<Verdict> {
        for index in 0..self.children.len() {
            let Some((status, ran)) = self.children[index].reap(now)? else {
                continue;
            };
            if self.ended(index, status, ran, now)? == Verdict::Stop {
                return Ok(Verdict::Stop);
            }
            if self.children[index].is_over() {
                ended.push(index);
            }
        }
        Ok(Verdict::GoOn)
    }

    fn deadline(&self) -> Option<Instant> {
        let restarts = self.children.iter().filter_map(|child| child.restart_at);
        restarts.min()
    }

    fn wake(&mut self, now: Instant) -> Result<Verdict> {
        for child in &mut self.children {
            if child.restart_at.is_some_and(|at| at <= now) {
                child.start_again(now);
            }
        }
        Ok(Verdict::GoOn)
    }
}

impl Supervised {
    fn new(capture: CaptureProcess, alone: bool) -> Self {
        let title = if alone {
            "capture".into()
        } else {
            format!("capture of {}", capture.name)
        };
        Supervised {
            capture,
            alone,
            title,
            child: None,
            pauses: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE),
            restart_at: None,
        }
    }

    fn spawn(&mut self, now: Instant) -> Result<()> {
        let mut command = Command::new(PROGRAM);
        // Under the name by which this process appears in `ps`.
        if let Some(called) = std::env::args_os().next() {
            command.arg0(called);
        }
        // The child's arguments already contain everything that our flags and their environment variables said. A
        // setting that does not apply to this camera must not reach it through a variable.
        let ours = std::env::vars_os().filter(|(name, _)| is_ours(name));
        for (name, _) in ours {
            command.env_remove(name);
        }
        if !self.alone {
            command.env(SPEAKER, self.capture.name.as_str());
        }
        let child = command
            .args(&self.capture.arguments)
            .stdin(if self.capture.stdin {
                Stdio::inherit()
            } else {
                Stdio::null()
            })
            .env(SUPERVISOR, std::process::id().to_string())
            .env_remove("NOTIFY_SOCKET")
            .env_remove("WATCHDOG_USEC")
            .env_remove("WATCHDOG_PID")
            .spawn()
            .doing(|| format!("start a process for {}", self.title))?;
        info!("{} is process {}", self.title, child.id());
        self.child = Some((child, now));
        self.restart_at = None;
        Ok(())
    }

    /// Performs a restart that is due. If it fails, the viewers stay connected, and the next attempt may succeed.
    fn start_again(&mut self, now: Instant) {
        if let Err(error) = self.spawn(now) {
            let pause = self.start_later(now);
            warn!("{error}; trying again in {pause:?}");
        }
    }

    /// Schedules the next restart and returns the pause until then; each pause is longer than the one before.
    fn start_later(&mut self, now: Instant) -> Duration {
        let pause = self.pauses.fail();
        self.restart_at = Some(now + pause);
        pause
    }

    /// Collects the child's status if it has ended; returns it together with the time for which the child ran.
    fn reap(&mut self, now: Instant) -> Result<Option<(ExitStatus, Duration)>> {
        let Some((child, started)) = &mut self.child else {
            return Ok(None);
        };
        let ran = now.saturating_duration_since(*started);
        let status = child
            .try_wait()
            .doing(|| format!("wait for the {} process", self.title))?;
        if status.is_some() {
            self.child = None;
        }
        Ok(status.map(|status| (status, ran)))
    }

    /// Handles the end of the child: it has ended for good, or a restart is scheduled.
    fn ended(&mut self, status: ExitStatus, ran: Duration, now: Instant) -> Option<ChildEnd> {
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        let outcome = match code {
            Some(0) => Some(ChildEnd::Done),
            Some(ENDED_STATUS) => Some(ChildEnd::Cut),
            Some(USAGE_STATUS) => Some(ChildEnd::Wrong),
            _ => None,
        };
        if let Some(outcome) = outcome {
            match outcome {
                _ if self.alone => {}
                ChildEnd::Done => info!("{} has come to its end", self.title),
                ChildEnd::Cut => warn!("{} has come to an end, not a good one", self.title),
                ChildEnd::Wrong => warn!("{} cannot work as it was called", self.title),
            }
            return Some(outcome);
        }
        if ran >= GOOD_RUN {
            self.pauses.reset();
        }
        let how = match status.signal() {
            Some(signal) => format!("was ended by signal {signal}"),
            None => format!("ended with {status}"),
        };
        let pause = self.start_later(now);
        warn!("{} {how}; starting it again in {pause:?}", self.title);
        None
    }

    /// Whether the child will never run again.
    fn is_over(&self) -> bool {
        self.child.is_none() && self.restart_at.is_none()
    }

    fn ask_to_end(&self) {
        let pid = self.child.as_ref().map(|(child, _)| child.id());
        if let Some(pid) = pid.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)) {
            // Nobody else can have reaped the child, so the process number is still its own.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// Waits for the child that was asked to end, and kills it if it does not.
    fn end(&mut self, limit: Instant) {
        let Some((mut child, _)) = self.child.take() else {
            return;
        };
        while Instant::now() < limit {
            match child.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        let title = &self.title;
        warn!("{title} did not end within {END_LIMIT:?} and is killed");
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn is_ours(variable: &OsStr) -> bool {
    variable.as_encoded_bytes().starts_with(b"LAZYCAM_")
}

/// In a supervised child: makes sure that it ends when its supervisor does. `lazycam capture` calls this first,
/// before it opens a camera. Returns whether there is a supervisor.
pub fn follow_supervisor() -> Result<bool> {
    let Some(supervisor) = std::env::var_os(SUPERVISOR) else {
        return Ok(false);
    };
    // The kernel takes the process name from the file that was started, so `ps`, `top` and `pgrep` would show `exe`.
    let _ = set_name(c"lazycam");
    set_parent_process_death_signal(Some(Signal::TERM))
        .doing(|| "ask for a signal at the supervisor's death".into())?;
    let parent = getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    if supervisor.to_str() != Some(&parent.to_string()) {
        return Err(Error::Busy(
            "the supervisor ended before its child had begun".into(),
        ));
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idle(names: &[&str]) -> Supervisor {
        let supervised = |name: &&str| {
            let capture = CaptureProcess {
                name: name.parse().unwrap(),
                arguments: Vec::new(),
                stdin: false,
            };
            Supervised::new(capture, names.len() == 1)
        };
        Supervisor {
            children: names.iter().map(supervised).collect(),
            outcome: ChildEnd::Done,
        }
    }

    fn status(code: i32) -> ExitStatus {
        ExitStatus::from_raw(code << 8)
    }

    #[test]
    fn a_child_that_fails_is_started_again_with_growing_pauses() {
        let mut supervisor = idle(&["a"]);
        let now = Instant::now();
        for pause in [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000] {
            let verdict = supervisor.ended(0, status(1), Duration::from_secs(1), now);
            assert_eq!(verdict.unwrap(), Verdict::GoOn);
            assert_eq!(
                supervisor.deadline(),
                Some(now + Duration::from_millis(pause))
            );
        }
        supervisor.ended(0, status(1), GOOD_RUN, now).unwrap();
        assert_eq!(supervisor.deadline(), Some(now + FIRST_PAUSE));
    }

    #[test]
    fn a_child_that_is_done_or_was_called_wrongly_ends_the_server() {
        let now = Instant::now();
        let end = |code| idle(&["a"]).ended(0, status(code), Duration::ZERO, now);
        assert_eq!(end(0).unwrap(), Verdict::Stop);
        assert!(matches!(end(2), Err(Error::Told(USAGE_STATUS))));
        assert!(matches!(end(3), Err(Error::Told(ENDED_STATUS))));
    }

    #[test]
    fn the_server_ends_with_the_last_of_several_children_and_tells_the_worst() {
        let now = Instant::now();
        let mut supervisor = idle(&["a", "b", "c"]);
        // Each of them is running, or waiting to be restarted.
        for child in &mut supervisor.children {
            child.restart_at = Some(now);
        }
        for (index, code) in [(1, 2), (0, 3)] {
            supervisor.children[index].restart_at = None;
            let verdict = supervisor.ended(index, status(code), Duration::ZERO, now);
            assert_eq!(verdict.unwrap(), Verdict::GoOn);
        }
        supervisor.children[2].restart_at = None;
        let last = supervisor.ended(2, status(0), Duration::ZERO, now);
        assert!(matches!(last, Err(Error::Told(USAGE_STATUS))), "{last:?}");
    }

    #[test]
    fn what_variables_say_for_all_cameras_does_not_reach_a_child() {
        assert!(is_ours("LAZYCAM_SIZE".as_ref()));
        assert!(!is_ours("LIBCAMERA_LOG_LEVELS".as_ref()) && !is_ours("PATH".as_ref()));
    }
}
