"""Kernel modules, built for the kernel of an emulated system from Debian's packages. Used by encoder.py and loopback.py.

The version of the headers is exactly that of the kernel, whose symbols have versions (CONFIG_MODVERSIONS). Their tools are those of this machine's
architecture, and need the C library of the same release, which is not installed here: modpost is started through that one's own loader.
"""
import re, shutil, subprocess

from rig import ARCHES, CACHE, SUITE, Packages, alone, need, output, say

# gcc 12 lacks -fmin-function-alignment, which the kernel's configuration was made with.
COMPILER = """#!/bin/sh
for word; do
    shift
    case $word in -fmin-function-alignment=*) word=-falign-functions=${word#*=} ;; esac
    set -- "$@" "$word"
done
exec GNU-gcc "$@"
"""


def headers(packages, release, folder, bits):
    """The kernel's headers in `folder`, as its own Makefile wants them, with paths to where they are."""
    own = packages.unpacked(f"linux-headers-{release}") / f"usr/src/linux-headers-{release}"
    (common,) = re.findall(r"Depends: (linux-headers-\S+-common)\n", packages.depends(f"linux-headers-{release}"))
    shared = packages.unpacked(common) / f"usr/src/{common}"
    here = Packages(output("dpkg", "--print-architecture").strip(), SUITE)
    kbuild = common.removesuffix("-common").replace("headers", "kbuild")
    tools = here.unpacked(kbuild) / f"usr/lib/{kbuild}"
    libc = here.unpacked("libc6")
    # What the shared part links to is in a package of another architecture.
    link = packages.unpacked(common) / f"usr/lib/{kbuild}"
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(tools)
    # Without vmlinux, of which pahole would make types for BPF.
    shutil.copytree(own, folder, symlinks=True, ignore=shutil.ignore_patterns("vmlinux", "scripts", "tools"))
    shutil.copytree(tools / "scripts", folder / "scripts", symlinks=True)
    (folder / "tools").symlink_to(tools / "tools")
    (folder / "Makefile").write_text(f"include {shared}/Makefile\n")
    (loader,) = [file for file in libc.rglob("ld-linux*.so.*") if not file.is_symlink()]
    modpost = folder / "scripts/mod/modpost"
    modpost.write_text(f'#!/bin/sh\nexec {loader} --library-path {loader.parent} {modpost}.real-lsb-{bits} "$@"\n')


def version(packages, arch="arm64"):
    """What the kernel that the system of this architecture boots calls itself."""
    (kernel,) = packages.unpacked(ARCHES[arch]["kernel"]).glob("boot/vmlinuz-*")
    return kernel.name.removeprefix("vmlinuz-")


def build(name, sources, arch="arm64"):
    """The module `name`, of these files, for the kernel that the system of this architecture boots."""
    gnu = ARCHES[arch]["gnu"]
    need(f"{gnu}-gcc", f"gcc-{gnu}")
    need("make", "make")
    packages = Packages(arch)
    release = version(packages, arch)
    folder = CACHE / f"headers-{release}"
    with alone("module.lock"):
        if not folder.exists():
            half = CACHE / f"headers-{release}.part"
            shutil.rmtree(half, ignore_errors=True)
            try:
                headers(packages, release, half, ARCHES[arch]["bits"])
            except subprocess.CalledProcessError as failure:
                # A mirror keeps the newest only.
                raise SystemExit(f"vm: no headers of {release}, which an earlier run has fetched: remove {packages.dir}\n{failure.stderr or ''}") from failure
            half.rename(folder)
            # It names itself in it.
            modpost = folder / "scripts/mod/modpost"
            modpost.write_text(modpost.read_text().replace(str(half), str(folder)))
        work = CACHE / f"module-{name}-{arch}"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        (work / "gcc").write_text(COMPILER.replace("GNU", gnu))
        (work / "gcc").chmod(0o755)
        objects = [f"{source.stem}.o" for source in sources if source.suffix == ".c"]
        parts = f"{name}-y := {' '.join(objects)}\n" if objects != [f"{name}.o"] else ""
        (work / "Kbuild").write_text(f"obj-m := {name}.o\n{parts}")
        for source in sources:
            shutil.copy(source, work)
        done = subprocess.run(["make", "-s", "-C", folder, f"M={work}", f"CC={work}/gcc", "modules"], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"vm: the module {name} cannot be built:\n{done.stdout}{done.stderr}")
        subprocess.run([f"{gnu}-strip", "-g", work / f"{name}.ko"], check=True)
        module = (work / f"{name}.ko").read_bytes()
    say(f"module {name} for Linux {release}, {len(module)} bytes")
    return module


def of_the_kernel(name, folder):
    """A module of Linux itself that Debian does not build, from the folder of Debian's source of the same version."""
    packages = Packages("arm64")
    short = ".".join(version(packages).split(".")[:2])
    source = CACHE / f"source-{name}"
    with alone(f"source-{name}.lock"):
        if not source.exists():
            archive = packages.unpacked(f"linux-source-{short}") / f"usr/src/linux-source-{short}.tar.xz"
            half = source.with_suffix(".part")
            shutil.rmtree(half, ignore_errors=True)
            half.mkdir()
            subprocess.run(["tar", "-xf", archive, "-C", half, "--strip-components", str(folder.count("/") + 2), f"linux-source-{short}/{folder}"], check=True)
            half.rename(source)
    return build(name, sorted(source.glob("*.[ch]")))
