//! Restrictions that a process puts on itself, permanently, before it hears from strangers, whoever started it.
//!
//! What each command gives up, why so, and what is deliberately left alone is written down for users, in
//! docs/services.md (What each process gives up): `basic` is for every command, `serve` and `capture` are for theirs.
//!
//! All of this is best effort: what the kernel does not support is left out, reported once in the log and in
//! `/state`, and is not an error. Landlock applies to a thread and to those that it starts later, so it is set up
//! before any other thread exists.
//!
//! On which directories rules are put, and why not on what is meant: `sandbox/grants.rs`.
//!
//! `RLIMIT_CORE` is 1, not 0: with 0 a program that collects core dumps is told of the limit, and may or may not
//! respect it; with 1 the kernel does not even start it (fs/coredump.c), and for a file 1 is too small as well. How many
//! descriptors a server may have is handled in `server/door/places.rs`.

mod grants;

use std::fmt;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, NetPort,
    PathBeneath, PathFd, RestrictionStatus, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetStatus, Scope, make_bitflags,
};
use log::{Level, log, warn};
use rustix::process::{Resource, Rlimit, getrlimit, getuid, setrlimit};
use rustix::thread::{CapabilitySet, capabilities, set_no_new_privs};

use self::grants::{Grants, everywhere, grant, holder, nearest};
use crate::json::{NULL, list, object, plain, quoted};

/// The newest version of Landlock whose access rights are requested; later ones have not been tried.
const TRIED: ABI = ABI::V10;

/// The first ABI version that can forbid TCP.
const SINCE_TCP: i32 = 4;
/// The first ABI version that can forbid signals and abstract Unix sockets.
const SINCE_SCOPES: i32 = 6;
/// The first ABI version that can forbid Unix sockets by their paths.
const SINCE_UNIX: i32 = 9;
/// The first ABI version that can forbid UDP.
const SINCE_UDP: i32 = 10;

/// The access rights that a producer needs in its frame directory.
const PUBLISH: BitFlags<AccessFs> = make_bitflags!(AccessFs::{WriteFile | RemoveFile | RemoveDir | MakeDir | MakeReg | Refer | Truncate});

/// Those that a server needs to leave what it wants of cameras.
const LEAVE: BitFlags<AccessFs> =
    make_bitflags!(AccessFs::{ReadFile | WriteFile | RemoveFile | MakeDir | MakeReg});

/// Why files are not restricted when a rule would cover the whole file system.
const EVERYWHERE: &str = "no fence around files: the directory around a frame directory was not there at the start, or / was named";

/// The port of name servers (RFC 1035, 4.2).
const DNS_PORT: u16 = 53;

/// Sockets in whose directories the C library may ask for names, as `/etc/nsswitch.conf` says: systemd-resolved, Avahi.
const RESOLVERS: [&str; 2] = [
    "/run/systemd/resolve/io.systemd.Resolve",
    "/run/avahi-daemon/socket",
];

/// The restrictions that are in force for a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sandbox {
    no_new_privs: bool,
    no_core_dumps: bool,
    no_new_processes: bool,
    landlock: Option<Enforced>,
    /// Why there are no further restrictions.
    why: Option<String>,
}

/// What Landlock forbids.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Enforced {
    abi: i32,
    /// Reading is forbidden except where it was granted.
    reads: bool,
    /// Changing files is forbidden except where it was granted.
    changes: bool,
    grants: Grants,
    ports: Ports,
}

/// The ports that a process may connect to by TCP, and those that it may send to by UDP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ports {
    tcp: Vec<u16>,
    udp: Vec<u16>,
}

/// What a process still needs after its start.
#[derive(Clone, Debug, Default)]
pub struct Needs<'a> {
    /// The frame directories.
    pub frames: Vec<&'a Path>,
    /// A directory that contains frame directories.
    pub root: Option<&'a Path>,
    /// Another directory below which the process may read.
    pub also_read: Option<&'a Path>,
    /// Devices that the process opens; they may come and go.
    pub devices: Vec<&'a Path>,
    /// Unix sockets of other processes that it connects to; they may come and go.
    pub connects: Vec<&'a Path>,
    /// The TCP ports that it connects to. Landlock knows ports, but no addresses.
    pub ports: Vec<u16>,
    /// Whether it looks up names.
    pub names: bool,
    /// The socket on which the service manager is notified.
    pub manager: Option<&'a Path>,
    /// A directory in which a server leaves what it wants of cameras.
    pub mailboxes: Option<&'a Path>,
    /// Whether the process starts threads.
    pub threads: bool,
}

impl Sandbox {
    /// Applies the restrictions that suit every process. Each command does this first.
    pub fn basic() -> Self {
        Sandbox {
            no_new_privs: told(set_no_new_privs(true), "PR_SET_NO_NEW_PRIVS"),
            no_core_dumps: told(limit(Resource::Core, 1), "RLIMIT_CORE"),
            ..Sandbox::default()
        }
    }

    /// Restricts a server to reading frames. To be called once it is listening, and before it accepts the first
    /// connection.
    pub fn serve(mut self, needs: &Needs<'_>) -> Self {
        if !needs.threads {
            let set = told(limit(Resource::Nproc, 0), "RLIMIT_NPROC");
            self.no_new_processes = set && is_held_to_nproc();
        }
        let mut grants = Grants::new();
        let mut reads = BitFlags::from(AccessFs::ReadFile);
        if let Some(dir) = needs.mailboxes {
            grant(&mut grants, nearest(dir), LEAVE);
            // To lock the directory in which the answer is (flock(2)).
            reads |= AccessFs::ReadDir;
        }
        for dir in &needs.frames {
            grant(&mut grants, holder(dir), reads);
        }
        if let Some(dir) = needs.also_read {
            grant(&mut grants, nearest(dir), AccessFs::ReadFile);
        }
        if let Some(root) = needs.root {
            let reads = AccessFs::ReadFile | AccessFs::ReadDir;
            grant(&mut grants, nearest(root), reads);
        }
        grant_manager(&mut grants, needs);
        let all = AccessFs::from_all(TRIED);
        self.enforce(all, (grants, Ports::default()), CompatLevel::BestEffort);
        self
    }

    /// Restricts a process that captures, or that starts such processes, to changing its frame directories and
    /// opening cameras. To be called before it opens them.
    pub fn capture(mut self, needs: &Needs<'_>) -> Self {
        let mut grants = Grants::new();
        for dir in &needs.frames {
            grant(&mut grants, holder(dir), PUBLISH);
        }
        for device in &needs.devices {
            grant(&mut grants, holder(device), AccessFs::WriteFile);
        }
        grant_manager(&mut grants, needs);
        let (mut sockets, mut ports) = (needs.connects.clone(), Ports::default());
        ports.tcp.clone_from(&needs.ports);
        if needs.names {
            let resolvers = RESOLVERS.iter().map(Path::new);
            sockets.extend(resolvers.filter(|socket| socket.exists()));
            ports.tcp.push(DNS_PORT);
            // Besides, the C library finds out by UDP sockets from which address it would reach those that it has found
            // (RFC 6724, 3), to sort them.
            ports.udp.clone_from(&ports.tcp);
        }
        for socket in sockets {
            grant(&mut grants, holder(socket), AccessFs::ResolveUnix);
        }
        // Before ABI 2, any restricted process was unable to rename files between directories, which is how frames
        // are published.
        let changes = AccessFs::from_write(TRIED) & !make_bitflags!(AccessFs::{IoctlDev});
        self.enforce(changes, (grants, ports), CompatLevel::SoftRequirement);
        self
    }

    /// Records why there are no further restrictions.
    pub fn because(mut self, why: &str) -> Self {
        self.why.get_or_insert_with(|| why.into());
        self
    }

    /// Reports the restrictions in the log, in one line. It is for those who look for it, unless something is missing
    /// that this program would have liked.
    pub fn tell(self) -> Self {
        let level = match self.landlock {
            Some(_) => Level::Debug,
            None => Level::Info,
        };
        log!(level, "sandbox: {self}");
        self
    }

    /// Forbids `files` everywhere except where it is granted, and whatever else Landlock can forbid. `renames` says
    /// how important it is that files can still be renamed between directories.
    fn enforce(
        &mut self,
        files: BitFlags<AccessFs>,
        (grants, ports): (Grants, Ports),
        renames: CompatLevel,
    ) {
        let status = match restrict(files, &grants, &ports, renames) {
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
                    ports,
                });
                if !open.is_empty() {
                    warn!("sandbox: {EVERYWHERE}");
                    self.why = Some(EVERYWHERE.into());
                }
            }
            other => self.why = Some(missing(other).into()),
        }
    }

    /// The restrictions by their names in `/state` and in the log.
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
            (abi >= SINCE_UNIX, "unix_sockets"),
            (abi >= SINCE_UDP, "udp"),
        ];
        let enforced = all.iter().filter(|one| one.0);
        enforced.map(|one| one.1).collect()
    }

    /// The value for `/state`. It contains no paths: those who may see the pictures need not know where the files
    /// are.
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
                    rights if rights.contains(AccessFs::WriteFile) => "writes below",
                    rights if rights.contains(AccessFs::ReadFile) => "reads below",
                    _ if dir.is_dir() => "connects below",
                    _ => "notifies",
                };
                write!(f, "; {may} {}", dir.display())?;
            }
            for port in &it.ports.tcp {
                write!(f, "; connects to TCP port {port}")?;
            }
        }
        match &self.why {
            Some(why) => write!(f, "; {why}"),
            None => Ok(()),
        }
    }
}

/// Best effort: a restriction that could not be applied is logged, and is not an error.
fn told(done: rustix::io::Result<()>, what: &str) -> bool {
    if let Err(error) = &done {
        warn!("sandbox: cannot set {what}: {error}");
    }
    done.is_ok()
}

/// Sets both limits of a resource; a hard limit that is already lower is kept.
fn limit(resource: Resource, to: u64) -> rustix::io::Result<()> {
    let hard = getrlimit(resource).maximum;
    let to = Some(hard.map_or(to, |hard| hard.min(to)));
    let both = Rlimit {
        current: to,
        maximum: to,
    };
    setrlimit(resource, both)
}

/// Whether `RLIMIT_NPROC` applies to this process (fork(2), EAGAIN).
fn is_held_to_nproc() -> bool {
    let exempt = CapabilitySet::SYS_ADMIN | CapabilitySet::SYS_RESOURCE;
    !getuid().is_root() && capabilities(None).is_ok_and(|it| !it.effective.intersects(exempt))
}

/// Grants the way to the service manager's socket, and to no other one beside it. The manager keeps the socket when it
/// is restarted itself, so a rule on the file lasts.
fn grant_manager(grants: &mut Grants, needs: &Needs<'_>) {
    if let Some(socket) = needs.manager.filter(|socket| socket.exists()) {
        grant(grants, nearest(socket), AccessFs::ResolveUnix);
    }
}

/// Applies the restrictions to this thread and everything that it starts, permanently.
fn restrict(
    files: BitFlags<AccessFs>,
    grants: &Grants,
    ports: &Ports,
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
    for port in &ports.tcp {
        rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    for port in &ports.udp {
        rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectSendUdp))?;
    }
    if !ports.udp.is_empty() {
        // From a port that the kernel chooses.
        rules = rules.add_rule(NetPort::new(0, AccessNet::BindUdp))?;
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

#[cfg(test)]
mod tests;
