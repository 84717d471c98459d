"""Debian's packages of another architecture or release: fetched by an apt whose state is apart from this machine's, and unpacked.

What: a package's files in a folder of their own (`unpacked`), for kernels and single libraries; and one tree of packages with all that they
  depend on (`tree`), to compile and link against, with the files themselves beside it.
Why: whatever is installed here, and on a machine where nothing may be installed, the result is the same; no program of them runs.
What not: newer files once they are there; delete target/vm for these. LAZYCAM_VM_MIRROR names another Debian mirror.
"""
import contextlib, fcntl, os, re, shutil, subprocess, tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
CACHE = TARGET / "vm"
SUITE = "trixie"
# Taken for installed: the drivers for graphics that libegl1 wants, with LLVM 200 MB that nothing here calls.
LEFT_OUT = """Package: libegl-mesa0
Status: install ok installed
Maintainer: nobody
Architecture: {}
Version: 99
Description: left out
"""


def say(text):
    print(f"packages: {text}", flush=True)


def output(*command, **more):
    return subprocess.run(command, check=True, capture_output=True, text=True, **more).stdout


@contextlib.contextmanager
def alone(name, folder=CACHE):
    """Takes a lock, so that another process that makes the same thing at the same time waits and then finds it made."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / name, "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Packages:
    """Those of one architecture in a suite. `backports`: what is asked for as name/SUITE-backports is there too."""

    def __init__(self, arch, suite=SUITE, backports=False):
        name = f"apt-{arch}" if suite == SUITE else f"apt-{arch}-{suite}"
        self.arch, self.suites = arch, [suite, f"{suite}-backports"] if backports else [suite]
        self.dir = CACHE / (f"{name}-and-backports" if backports else name)
        self.lock = f"{self.dir.name}.lock"
        self.env = dict(os.environ, APT_CONFIG=str(self.dir / "conf"))
        with alone(self.lock):
            self.configure()

    def configure(self):
        arch = self.arch
        for sub in (self.dir / "lists/partial", self.dir / "archives/partial", self.dir / "none"):
            sub.mkdir(parents=True, exist_ok=True)
        (self.dir / "status").write_text(LEFT_OUT.format(arch))
        mirror = os.environ.get("LAZYCAM_VM_MIRROR", "http://deb.debian.org/debian")
        key = "/usr/share/keyrings/debian-archive-keyring.gpg"
        (self.dir / "sources").write_text("".join(f"deb [arch={arch} signed-by={key}] {mirror} {suite} main\n"
                                               for suite in self.suites))
        (self.dir / "conf").write_text("".join(f'{name} "{value}";\n' for name, value in {
            "Dir::Etc::sourcelist": self.dir / "sources", "Dir::Etc::sourceparts": self.dir / "none",
            "Dir::State": self.dir, "Dir::State::status": self.dir / "status", "Dir::Cache": self.dir,
            "APT::Architecture": arch, "APT::Architectures": arch, "Acquire::Languages": "none",
            "APT::Sandbox::User": "root", "Acquire::Retries": "3"}.items()))

    def lists(self):
        if not list((self.dir / "lists").glob(f"*_{self.suites[-1]}_*Packages*")):
            say(f"package lists of {' and '.join(self.suites)} for {self.arch}")
            subprocess.run(["apt-get", "-qq", "update"], check=True, env=self.env)

    def unpacked(self, package):
        """The folder of a package's files. The name of a kernel package stands for the newest kernel that it depends on.
        `name/suite` is taken from that suite."""
        known = self.dir / package.replace("/", "_")
        with alone(self.lock):
            if not known.exists():
                self.unpack(package, known)
        return known

    def unpack(self, package, known):
        self.lists()
        names = [package]
        if package.startswith("linux-image"):
            names = re.findall(r"Depends: (linux-image-\S+)", self.depends(package))[:1]
            # Debian 14's kernels come in parts.
            names += re.findall(r"Depends: (linux-(?:binary|modules)-\S+)", self.depends(names[0]))
        say(f"package {' '.join(names)}")
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            subprocess.run(["apt-get", "-qq", "download", *names], check=True, env=self.env, cwd=folder)
            for deb in list(Path(folder).iterdir()):
                subprocess.run(["dpkg-deb", "-x", deb, Path(folder, "tree")], check=True)
            Path(folder, "tree").rename(known)

    def depends(self, package):
        return output("apt-cache", "depends", "-i", package, env=self.env)

    def tree(self, name, packages):
        """One tree of the files of packages and of all that they depend on, called `name`. In it `debs/` has the packages themselves, and `shlibs`
        what dpkg-shlibdeps wants to know of their libraries."""
        tree = self.dir / name
        with alone(self.lock):
            if not tree.exists():
                self.lists()
                say(f"{', '.join(packages)} for {self.arch}, with all that they depend on")
                new = tree.with_suffix(".new")
                shutil.rmtree(new, ignore_errors=True)
                (new / "debs/partial").mkdir(parents=True)
                subprocess.run(["apt-get", "-qq", "--yes", "--download-only", "--no-install-recommends", "-o", f"Dir::Cache::archives={new}/debs",
                                "install", *packages], check=True, env=self.env, stdout=subprocess.DEVNULL)
                (new / "shlibs").write_text("".join(self.laid(deb, new) for deb in sorted((new / "debs").glob("*.deb"))))
                (new / "lib").exists() or (new / "lib").symlink_to("usr/lib")
                new.rename(tree)
        return tree

    def libcamera(self):
        """A tree with libcamera, its IPA modules and its headers."""
        newest = self.suites[-1]
        return self.tree("libcamera", [f"{name}/{newest}" for name in ("libcamera-dev", "libcamera-ipa", "libcamera0.7")])

    @staticmethod
    def laid(deb, tree):
        """Unpacks a package into the tree, and returns its file `shlibs` (deb-shlibs(5)), if it has one."""
        subprocess.run(["dpkg-deb", "-x", deb, tree], check=True)
        control = output("dpkg-deb", "--info", deb)
        return output("dpkg-deb", "--info", deb, "shlibs") if re.search(r"\bshlibs\b", control.partition(" Package:")[0]) else ""
