//! Fences from inside: what a process gives up before it hears from strangers, for good, whoever started it.
//!
//! | | `serve` | `capture`, `run` |
//! | --- | --- | --- |
//! | no new privileges: setuid files and file capabilities are worth nothing (prctl(2), `PR_SET_NO_NEW_PRIVS`) | yes | yes, and every other command |
//! | no core dumps, which would hold pictures | yes | the same |
//! | no new processes and threads (`RLIMIT_NPROC` 0; root and who has `CAP_SYS_ADMIN` or `CAP_SYS_RESOURCE` are not held to it, fork(2)) | without `--auth`, whose proofs run on threads | |
//! | reading files (landlock(7)) | only below where frames are | |
//! | changing files | not at all | only below where frames are; with V4L2 also in `/dev` |
//! | TCP of its own, signals to others, abstract sockets (as far as the kernel's ABI goes) | none | none |
//!
//! `run` starts the capture processes, and they inherit what it is held to: so it is held to no more than they are. Neither is held to any
//! of Landlock with libcamera, which unpacks files and starts processes where it likes.
//!
//! It is best effort: what the kernel does not have is left out, told once in the log and in `/state`, and is no error. Landlock holds
//! for a thread and those that it starts, so it comes before any other.
//!
//! A rule of Landlock is tied to a directory, not to its path, while frame directories are removed and made again: so the rule is on the
//! directory that they lie in (`holder`).
//!
//! A device has a new inode each time that it is plugged in, so a rule on `/dev/video0` would lose the camera with its cable. Hence all of
//! `/dev`: which devices are opened the user's groups decide, and in a unit `DeviceAllow=`.
//!
//! `RLIMIT_CORE` is 1, not 0: of a limit of 0 programs that the kernel pipes cores into are told, and may heed it or not; at 1
//! the kernel does not even start them (fs/coredump.c), and for a file it is too little as well. `PR_SET_DUMPABLE` would do it too, but makes
//! /proc/PID root's: htop and BusyBox's ps would call the process root's, and its own user could not look into it.
//!
//! What is not here. `RLIMIT_FSIZE` 0: standard error may be a file, and the picture of a lost camera is one (memfd_create(2)).
//! `RLIMIT_AS`: an allocation that fails ends the process, for all viewers at once; what a client can hold is bounded where it
//! is held. `RLIMIT_NOFILE` is `server/places.rs`'s. A seccomp filter: SECURITY.md has the reason. UDP: Landlock cannot yet.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus,
    PathBeneath, PathFd, RestrictionStatus, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetStatus, Scope, make_bitflags,
};
use log::{info, warn};
use rustix::process::{Resource, Rlimit, getrlimit, getuid, setrlimit};
use rustix::thread::{CapabilitySet, capabilities, set_no_new_privs};

use crate::json::{NULL, list, object, plain, quoted};

/// The newest version of Landlock whose rights are asked for: nothing later was tried.
const TRIED: ABI = ABI::V7;

/// Since this version TCP can be forbidden.
const SINCE_TCP: i32 = 4;
/// Signals and abstract unix sockets.
const SINCE_SCOPES: i32 = 6;

/// What a producer does to its frame directory.
const PUBLISH: BitFlags<AccessFs> = make_bitflags!(AccessFs::{WriteFile | RemoveFile | RemoveDir | MakeDir | MakeReg | Refer | Truncate});

/// Why there is less if all files lie beneath a rule.
const EVERYWHERE: &str = "no fence around files: the directory around a frame directory was not there at the start, or / was named";

/// As many symlinks as the kernel follows in one path (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// What a process is held to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sandbox {
    no_new_privs: bool,
    no_core_dumps: bool,
    no_new_processes: bool,
    landlock: Option<Enforced>,
    /// Why it is not held to more.
    why: Option<String>,
}

/// What Landlock forbids.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Enforced {
    abi: i32,
    /// Reading is forbidden but for what is granted.
    reads: bool,
    /// The same for changing.
    changes: bool,
    grants: Grants,
}

/// What a process may do to files: beneath which directory which rights.
type Grants = Vec<(PathBuf, BitFlags<AccessFs>)>;

/// What a process needs after its start.
#[derive(Clone, Debug, Default)]
pub struct Needs<'a> {
    /// Frame directories.
    pub frames: Vec<&'a Path>,
    /// A directory of frame directories.
    pub root: Option<&'a Path>,
    /// A directory below which it may read as well.
    pub also_read: Option<&'a Path>,
    /// Devices to open, which may come and go.
    pub devices: Vec<&'a Path>,
    /// Unix sockets that it removes at its end.
    pub sockets: Vec<&'a Path>,
    /// It starts threads.
    pub threads: bool,
}

impl Sandbox {
    /// What every process can do without. First thing in each command.
    pub fn basic() -> Self {
        Sandbox {
            no_new_privs: told(set_no_new_privs(true), "PR_SET_NO_NEW_PRIVS"),
            no_core_dumps: told(limit(Resource::Core, 1), "RLIMIT_CORE"),
            ..Sandbox::default()
        }
    }

    /// Holds a server to reading frames. After it listens, and before it takes the first connection.
    pub fn serve(mut self, needs: &Needs<'_>) -> Self {
        if !needs.threads {
            let set = told(limit(Resource::Nproc, 0), "RLIMIT_NPROC");
            self.no_new_processes = set && is_held_to_nproc();
        }
        let mut grants = Grants::new();
        for dir in &needs.frames {
            grant(&mut grants, holder(dir), AccessFs::ReadFile);
        }
        if let Some(dir) = needs.also_read {
            grant(&mut grants, nearest(dir), AccessFs::ReadFile);
        }
        if let Some(root) = needs.root {
            let reads = AccessFs::ReadFile | AccessFs::ReadDir;
            grant(&mut grants, nearest(root), reads);
        }
        grant_sockets(&mut grants, needs);
        self.enforce(AccessFs::from_all(TRIED), grants, CompatLevel::BestEffort);
        self
    }

    /// Holds a capture process, or one that starts some, to changing its frame directories and opening cameras. Before it opens them.
    pub fn capture(mut self, needs: &Needs<'_>) -> Self {
        let mut grants = Grants::new();
        for dir in &needs.frames {
            grant(&mut grants, holder(dir), PUBLISH);
        }
        for device in &needs.devices {
            grant(&mut grants, holder(device), AccessFs::WriteFile);
        }
        grant_sockets(&mut grants, needs);
        // Before ABI 2 whoever is held to anything cannot rename from one directory to another, and that is how frames are published.
        let changes = AccessFs::from_write(TRIED) & !make_bitflags!(AccessFs::{IoctlDev});
        self.enforce(changes, grants, CompatLevel::SoftRequirement);
        self
    }

    /// Says why there is no more than this.
    pub fn because(mut self, why: &str) -> Self {
        self.why.get_or_insert_with(|| why.into());
        self
    }

    /// Tells it in the log, in one line.
    pub fn tell(self) -> Self {
        info!("sandbox: {self}");
        self
    }

    /// Forbids `files` everywhere but for what is granted, and what else Landlock can. `renames` says how much it matters that
    /// files can be renamed between directories.
    fn enforce(&mut self, files: BitFlags<AccessFs>, grants: Grants, renames: CompatLevel) {
        let status = match restrict(files, &grants, renames) {
            Ok(status) => status,
            Err(error) => {
                warn!("sandbox: cannot use Landlock: {error}");
                self.why = Some(error.to_string());
                return;
            }
        };
        match status.landlock {
            LandlockStatus::Available {
                effective_abi,
                kernel_abi,
            } if status.ruleset != RulesetStatus::NotEnforced => {
                let open = everywhere(&grants);
                self.landlock = Some(Enforced {
                    abi: kernel_abi.unwrap_or(effective_abi as i32),
                    reads: files.contains(AccessFs::ReadFile) && !open.contains(AccessFs::ReadFile),
                    changes: !open.contains(AccessFs::WriteFile),
                    grants,
                });
                if !open.is_empty() {
                    warn!("sandbox: {EVERYWHERE}");
                    self.why = Some(EVERYWHERE.into());
                }
            }
            other => self.why = Some(missing(other).into()),
        }
    }

    /// Each with its name in `/state` and in the log.
    fn enforced(&self) -> Vec<&'static str> {
        let abi = self.landlock.as_ref().map_or(0, |it| it.abi);
        let reads = self.landlock.as_ref().is_some_and(|it| it.reads);
        let changes = self.landlock.as_ref().is_some_and(|it| it.changes);
        let all = [
            (self.no_new_privs, "no_new_privs"),
            (self.no_core_dumps, "no_core_dumps"),
            (self.no_new_processes, "no_new_processes"),
            (reads, "reads"),
            (changes, "changes"),
            (abi >= SINCE_TCP, "tcp"),
            (abi >= SINCE_SCOPES, "signals"),
            (abi >= SINCE_SCOPES, "abstract_sockets"),
        ];
        let enforced = all.iter().filter(|one| one.0);
        enforced.map(|one| one.1).collect()
    }

    /// As a member of `/state`. No paths: whoever may see pictures need not know where they lie.
    pub fn json(&self) -> String {
        let abi = self.landlock.as_ref().map(|it| it.abi);
        object([
            ("enforced", list(self.enforced(), quoted)),
            ("landlock", plain(abi)),
            ("why", self.why.as_deref().map_or(NULL.into(), quoted)),
        ])
    }
}

impl fmt::Display for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.enforced().join(", "))?;
        if let Some(it) = &self.landlock {
            write!(f, "; Landlock ABI {}", it.abi)?;
            for (dir, rights) in &it.grants {
                let may = match rights {
                    rights if rights.contains(AccessFs::WriteFile) => "writes",
                    rights if rights.contains(AccessFs::ReadFile) => "reads",
                    _ => "removes its socket",
                };
                write!(f, "; {may} below {}", dir.display())?;
            }
        }
        match &self.why {
            Some(why) => write!(f, "; {why}"),
            None => Ok(()),
        }
    }
}

/// Best effort: what could not be done is told, and is no error.
fn told(done: rustix::io::Result<()>, what: &str) -> bool {
    if let Err(error) = &done {
        warn!("sandbox: cannot set {what}: {error}");
    }
    done.is_ok()
}

/// Sets both limits of a resource; a hard limit that is lower stays.
fn limit(resource: Resource, to: u64) -> rustix::io::Result<()> {
    let hard = getrlimit(resource).maximum;
    let to = Some(hard.map_or(to, |hard| hard.min(to)));
    let both = Rlimit {
        current: to,
        maximum: to,
    };
    setrlimit(resource, both)
}

/// Whether `RLIMIT_NPROC` holds this process (fork(2), EAGAIN).
fn is_held_to_nproc() -> bool {
    let exempt = CapabilitySet::SYS_ADMIN | CapabilitySet::SYS_RESOURCE;
    !getuid().is_root() && capabilities(None).is_ok_and(|it| !it.effective.intersects(exempt))
}

/// The rights that are granted beneath the root of the file system, and with it everywhere.
fn everywhere(grants: &Grants) -> BitFlags<AccessFs> {
    let root = grants.iter().find(|(place, _)| place.parent().is_none());
    root.map_or(BitFlags::EMPTY, |(_, rights)| *rights)
}

/// Adds rights beneath `place` to those that are there.
fn grant(grants: &mut Grants, place: PathBuf, rights: impl Into<BitFlags<AccessFs>>) {
    let rights = rights.into();
    match grants.iter_mut().find(|(other, _)| *other == place) {
        Some((_, has)) => *has |= rights,
        None => grants.push((place, rights)),
    }
}

/// Sockets are removed out of their directories; one in the root of the file system stays.
fn grant_sockets(grants: &mut Grants, needs: &Needs<'_>) {
    let places = needs.sockets.iter().map(|socket| holder(socket));
    for place in places.filter(|place| place.is_dir()) {
        grant(grants, place, AccessFs::RemoveFile);
    }
}

/// Holds this thread, and whatever it starts, for good.
fn restrict(
    files: BitFlags<AccessFs>,
    grants: &Grants,
    renames: CompatLevel,
) -> Result<RestrictionStatus, Box<dyn std::error::Error>> {
    let mut rules = Ruleset::default()
        .set_compatibility(renames)
        .handle_access(AccessFs::Refer)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(files)?
        .handle_access(AccessNet::from_all(TRIED))?
        .scope(Scope::from_all(TRIED))?
        .create()?;
    for (place, rights) in grants {
        rules = rules.add_rule(PathBeneath::new(PathFd::new(place)?, *rights))?;
    }
    Ok(rules.restrict_self()?)
}

fn missing(status: LandlockStatus) -> &'static str {
    match status {
        LandlockStatus::NotEnabled => "Landlock is switched off in this kernel",
        LandlockStatus::NotImplemented => {
            "this kernel has no Landlock, or a filter of system calls keeps it away"
        }
        LandlockStatus::Available { .. } => {
            "the Landlock of this kernel forbids renaming between directories"
        }
    }
}

/// The directory that `path` lies in, which outlives it; of a path that is not there, the nearest above that is. Never the root of
/// the file system for something that is there: too much would lie beneath it.
fn holder(path: &Path) -> PathBuf {
    let mut real = nearest(path);
    let above = real.parent().and_then(Path::parent);
    if above.is_some() && path.exists() {
        real.pop();
    }
    real
}

/// Where `path` leads, free of symlinks; if that is not there (yet), the nearest directory above.
fn nearest(path: &Path) -> PathBuf {
    let mut path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut links = 0..MAX_LINKS;
    loop {
        if let Ok(real) = fs::canonicalize(&path) {
            return real;
        }
        // A link that leads to nothing yet is followed all the same.
        let link = fs::read_link(&path).ok().filter(|_| links.next().is_some());
        if !path.pop() {
            return PathBuf::from("/");
        }
        path.extend(link);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_rule_is_on_the_directory_that_outlives_what_it_is_for() {
        let base = std::env::temp_dir().join(format!("lazycam-places-{}", std::process::id()));
        fs::create_dir_all(base.join("run/front")).unwrap();
        let base = fs::canonicalize(base).unwrap();
        symlink("run/front", base.join("link")).unwrap();
        symlink("run/late/front", base.join("early")).unwrap();
        symlink("circle", base.join("circle")).unwrap();
        for (path, expected) in [
            ("run/front", "run"),
            ("run/late", "run"),
            ("run/late/front", "run"),
            ("late/front", ""),
            ("link", "run"),
            ("early", "run"),
            ("run/../run/front", "run"),
        ] {
            assert_eq!(holder(&base.join(path)), base.join(expected), "{path}");
        }
        assert_eq!(nearest(&base.join("run")), base.join("run"));
        assert_eq!(nearest(&base.join("link")), base.join("run/front"));
        assert_eq!(nearest(&base.join("circle")), base);
        assert_eq!(holder(Path::new("/dev")), PathBuf::from("/dev"));
        fs::remove_dir_all(&base).unwrap();
    }

    #[test]
    fn what_is_enforced_is_told_and_what_is_not_has_a_reason() {
        let mut sandbox = Sandbox {
            no_new_privs: true,
            ..Sandbox::default()
        };
        sandbox = sandbox.because("this kernel has no Landlock");
        assert_eq!(
            sandbox.to_string(),
            "no_new_privs; this kernel has no Landlock"
        );
        assert_eq!(
            sandbox.json(),
            r#"{"enforced":["no_new_privs"],"landlock":null,"why":"this kernel has no Landlock"}"#
        );
        sandbox.why = None;
        sandbox.landlock = Some(Enforced {
            abi: 4,
            reads: true,
            changes: true,
            grants: vec![
                ("/run/lazycam".into(), AccessFs::ReadFile.into()),
                ("/run".into(), AccessFs::RemoveFile.into()),
            ],
        });
        assert_eq!(
            sandbox.to_string(),
            "no_new_privs, reads, changes, tcp; Landlock ABI 4; reads below /run/lazycam; removes its socket below /run"
        );
        assert_eq!(
            sandbox.json(),
            r#"{"enforced":["no_new_privs","reads","changes","tcp"],"landlock":4,"why":null}"#
        );
    }
}
