//! lazycam as a process: started, listened to, stopped. What a test starts ends with the test, whichever way that ends.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal, test_kill_process,
};

use super::PATIENCE;

/// The binary under test: `LAZYCAM_BIN`, or the one that cargo has built.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("LAZYCAM_BIN").map_or(env!("CARGO_BIN_EXE_lazycam").into(), PathBuf::from)
}

/// What stands before the binary: the words of `LAZYCAM_RUNNER`, an emulator for instance.
fn runner() -> Vec<String> {
    let words = std::env::var("LAZYCAM_RUNNER").unwrap_or_default();
    words.split_whitespace().map(str::to_owned).collect()
}

/// Whether the binary runs under something else, whose system calls and memory would be measured with its own.
pub(crate) fn is_emulated() -> bool {
    !runner().is_empty()
}

/// The words of a command line that starts lazycam with `arguments`.
pub(crate) fn words<S: AsRef<OsStr>>(arguments: &[S]) -> Vec<std::ffi::OsString> {
    let mut words: Vec<_> = runner().into_iter().map(Into::into).collect();
    words.push(binary().into());
    words.extend(arguments.iter().map(|word| word.as_ref().to_owned()));
    words
}

/// `program` with the environment of a fresh login: nothing of ours, nothing of a service manager's.
pub(crate) fn clean(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let foreign = ["LAZYCAM_", "LISTEN_", "NOTIFY_", "WATCHDOG_", "JOURNAL_"];
        let text = name.to_string_lossy();
        if foreign.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command
}

/// lazycam with `arguments`, not started yet.
pub(crate) fn lazycam<S: AsRef<OsStr>>(arguments: &[S]) -> Command {
    let words = words(arguments);
    let mut command = clean(&words[0]);
    command.args(&words[1..]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// lazycam behind another program's words: `sh -c 'ulimit -n 20; exec "$@"' sh`, say.
pub(crate) fn wrapped<S: AsRef<OsStr>>(wrapper: &[&str], arguments: &[S]) -> Command {
    let mut command = clean(wrapper[0]);
    command.args(&wrapper[1..]).args(words(arguments));
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// `serve` on a free port of IPv4's loopback, with more flags.
pub(crate) fn serve(frames: &Path, flags: &[&str]) -> Process {
    Process::start(lazycam(&serve_arguments(frames, flags)))
}

pub(crate) fn serve_arguments<'a>(frames: &'a Path, flags: &[&'a str]) -> Vec<&'a str> {
    let frames = frames.to_str().unwrap();
    let mut arguments = vec!["serve", "--frames", frames, "--listen", "127.0.0.1:0"];
    arguments.extend(flags);
    arguments
}

/// `capture` into `frames`.
pub(crate) fn capture(frames: &Path, flags: &[&str]) -> Command {
    let mut arguments = vec!["capture", "--frames", frames.to_str().unwrap()];
    arguments.extend(flags);
    lazycam(&arguments)
}

/// `run` on a free port of IPv4's loopback, with these frames and more flags.
pub(crate) fn run(frames: &Path, flags: &[&str]) -> Command {
    let mut arguments = vec!["run", "--frames", frames.to_str().unwrap()];
    arguments.extend(["--listen", "127.0.0.1:0"]);
    arguments.extend(flags);
    lazycam(&arguments)
}

/// A running process and what it has said on standard error.
pub(crate) struct Process {
    child: Child,
    log: Arc<Log>,
}

/// How a process ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) log: String,
}

impl Process {
    /// Starts `command`; standard error is the log.
    pub(crate) fn start(mut command: Command) -> Self {
        command.stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        // The command's own copies of the descriptors that it hands on, listening sockets for instance.
        drop(command);
        let log = Arc::new(Log::default());
        let lines = BufReader::new(child.stderr.take().unwrap());
        thread::spawn({
            let log = Arc::clone(&log);
            move || log.fill(lines)
        });
        Process { child, log }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn take_stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    pub(crate) fn take_stdout(&mut self) -> OwnedFd {
        self.child.stdout.take().unwrap().into()
    }

    /// Everything said so far.
    pub(crate) fn log(&self) -> String {
        self.log.text.lock().unwrap().said.clone()
    }

    /// The first line with `part` in it, waited for.
    pub(crate) fn line(&self, part: &str) -> String {
        self.lines(part, 1).remove(0)
    }

    /// The first `count` lines with `part` in them, waited for.
    pub(crate) fn lines(&self, part: &str, count: usize) -> Vec<String> {
        let limit = Instant::now() + PATIENCE;
        let mut text = self.log.text.lock().unwrap();
        loop {
            let lines = text.said.lines().filter(|line| line.contains(part));
            let lines: Vec<_> = lines.take(count).map(str::to_owned).collect();
            if lines.len() == count {
                return lines;
            }
            let left = limit.saturating_duration_since(Instant::now());
            if text.ended || left.is_zero() {
                // Not while the lock is held: whoever comes next would panic too, in the middle of this one.
                let said = text.said.clone();
                drop(text);
                panic!("'{part}' was never said, but\n{said}");
            }
            text = self.log.more.wait_timeout(text, left).unwrap().0;
        }
    }

    /// The TCP address that it listens on, as it says itself.
    pub(crate) fn address(&self) -> SocketAddr {
        let line = self.line("listening on ");
        let address = line.rsplit(' ').next().unwrap();
        address.parse().unwrap_or_else(|_| panic!("{line}"))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(pid(self.pid()), signal).unwrap();
    }

    /// Whether it has not ended.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end. Closing inotify's descriptors is work for threads of the kernel's, for which a process that has
    /// done all of its own waits: for minutes on a machine without a processor to spare.
    pub(crate) fn end(mut self) -> Ended {
        let limit = Instant::now() + PATIENCE;
        let status = loop {
            let now = Instant::now();
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if now < limit => thread::sleep(Duration::from_millis(2)),
                // In the kernel, in a sleep that no signal ends.
                None if stat(self.pid()).starts_with('D') && now < limit + 4 * PATIENCE => {
                    thread::sleep(Duration::from_millis(100));
                }
                None => panic!(
                    "it does not end: {}; it said\n{}",
                    what_threads_do(self.pid()),
                    self.log()
                ),
            }
        };
        // Children that outlive it hold its standard error open: then what there is has to do.
        let text = self.log.text.lock().unwrap();
        let brief = Duration::from_secs(2);
        let waited = self.log.more.wait_timeout_while(text, brief, |t| !t.ended);
        let log = waited.unwrap().0.said.clone();
        Ended { status, log }
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        self.end()
    }

    /// Kills it, and waits until it is gone.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The child processes that it has now.
    pub(crate) fn children(&self) -> Vec<u32> {
        children(self.pid())
    }

    /// Its one child, waited for.
    pub(crate) fn child(&self) -> u32 {
        let mut found = Vec::new();
        super::eventually("it has one child", || {
            found = self.children();
            found.len() == 1
        });
        found[0]
    }
}

/// The state of each of its threads, who traces it, and where in the kernel it waits: what hinders an end.
fn what_threads_do(pid: u32) -> String {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return "it is gone".into();
    };
    let about = |task: PathBuf| {
        let status = fs::read_to_string(task.join("status")).unwrap_or_default();
        let told = ["Pid:", "State:", "TracerPid:"];
        let told = |line: &&str| told.iter().any(|name| line.starts_with(name));
        let lines: Vec<_> = status.lines().filter(told).collect();
        let wchan = fs::read_to_string(task.join("wchan")).unwrap_or_default();
        format!("{}, in {wchan}", lines.join(", "))
    };
    let all: Vec<_> = tasks.flatten().map(|task| about(task.path())).collect();
    all.join("; ")
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(Some(_)) = self.child.try_wait() {
            return;
        }
        // By descriptor, not by number: a child may end by itself as soon as its parent is gone.
        let children: Vec<_> = children(self.child.id())
            .into_iter()
            .filter_map(|child| pidfd_open(pid(child), PidfdFlags::empty()).ok())
            .collect();
        let _ = self.child.kill();
        let _ = self.child.wait();
        for child in children {
            let _ = pidfd_send_signal(child, Signal::KILL);
        }
        if thread::panicking() {
            eprintln!("process {} said\n{}", self.child.id(), self.log());
        }
    }
}

#[derive(Default)]
struct Log {
    text: Mutex<Text>,
    more: Condvar,
}

#[derive(Default)]
struct Text {
    said: String,
    ended: bool,
}

impl Log {
    fn fill(&self, lines: impl BufRead) {
        for line in lines.lines().map_while(Result::ok) {
            let mut text = self.text.lock().unwrap();
            text.said += &line;
            text.said.push('\n');
            self.more.notify_all();
        }
        self.text.lock().unwrap().ended = true;
        self.more.notify_all();
    }
}

pub(crate) fn pid(number: u32) -> Pid {
    Pid::from_raw(number.try_into().unwrap()).unwrap()
}

/// The children of a process, of all its threads.
fn children(parent: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{parent}/task"));
    let lists = tasks.into_iter().flatten().flatten().map(|task| {
        let list = std::fs::read_to_string(task.path().join("children"));
        list.unwrap_or_default()
    });
    let lists: Vec<_> = lists.collect();
    let numbers = lists.iter().flat_map(|list| list.split_whitespace());
    numbers.map(|number| number.parse().unwrap()).collect()
}

/// Whether there is a process with this number that has not ended.
pub(crate) fn is_alive(number: u32) -> bool {
    test_kill_process(pid(number)).is_ok() && !stat(number).starts_with(['Z', 'X'])
}

/// What proc_pid_stat(5) says of a process behind its name: first its state. Nothing if it is gone.
pub(crate) fn stat(number: u32) -> String {
    let text = fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
    text.rsplit(") ").next().unwrap_or_default().to_owned()
}

/// CPU time that a process has used so far, in clock ticks (proc_pid_stat(5): utime and stime).
pub(crate) fn cpu_ticks(number: u32) -> u64 {
    let stat = stat(number);
    let fields: Vec<_> = stat.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Processor time of a process from one moment on. Time itself is no measure on a busy machine.
pub(crate) struct Spent {
    pid: u32,
    before: u64,
    since: Instant,
}

impl Spent {
    pub(crate) fn by(pid: u32) -> Self {
        Spent {
            pid,
            before: cpu_ticks(pid),
            since: Instant::now(),
        }
    }

    /// A loop that spins uses all of a processor's time, or what a busy machine leaves of it; half of one is far more than
    /// anything here has a use for.
    #[track_caller]
    pub(crate) fn is_little(&self, when: &str) {
        if is_emulated() {
            // What an emulator takes to translate would be counted.
            return;
        }
        let used = cpu_ticks(self.pid) - self.before;
        // A tick is a hundredth of a second on every Linux (USER_HZ), and the first ones are anybody's.
        let passed = self.since.elapsed().as_millis() as u64 / 10;
        assert!(used <= 10 + passed / 2, "{when}: {used} ticks of {passed}");
    }
}

/// How many descriptors a process has open.
pub(crate) fn descriptors(number: u32) -> usize {
    std::fs::read_dir(format!("/proc/{number}/fd"))
        .unwrap()
        .count()
}

/// How often the threads of a process have been put on a processor and taken off it again.
pub(crate) fn switches(number: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{number}/task")).unwrap();
    let count = |status: String| -> u64 {
        let lines = status.lines().filter(|line| line.contains("ctxt_switches"));
        let counts = lines.map(|line| line.split_whitespace().last().unwrap().parse::<u64>());
        counts.map(Result::unwrap).sum()
    };
    tasks
        .map(|task| std::fs::read_to_string(task.unwrap().path().join("status")).unwrap())
        .map(count)
        .sum()
}

/// Whether a process was `undisturbed` over one look at it. An emulator's own threads wake up now and then: there one of five will do.
pub(crate) fn is_left_alone(mut undisturbed: impl FnMut() -> bool) -> bool {
    let looks = if is_emulated() { 5 } else { 1 };
    (0..looks).any(|_| undisturbed())
}

/// Waits until a process sleeps: it has dealt with everything that has happened so far.
pub(crate) fn wait_until_asleep(number: u32) {
    let sleeps = || stat(number).starts_with('S');
    super::eventually("it sleeps", || {
        let before = (sleeps(), switches(number));
        thread::sleep(Duration::from_millis(20));
        before == (true, switches(number)) && sleeps()
    });
}

/// Whether a program is installed; says so if it is not.
pub(crate) fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    if !found {
        super::skipped(&format!("{program} is not installed"));
    }
    found
}

/// How many sockets a process has open.
pub(crate) fn sockets(number: u32) -> usize {
    let files = std::fs::read_dir(format!("/proc/{number}/fd")).unwrap();
    let targets = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    let names = targets.map(|target| target.to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("socket:")).count()
}
