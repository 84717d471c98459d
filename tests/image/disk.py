"""The disk of the image: Debian packages that are unpacked here, by mmdebstrap, and whose programs run nowhere but in the image."""
import hashlib, os, re, subprocess, tempfile
from pathlib import Path

from rig import CACHE, SUITE, alone, need, output

ARCH = "arm64"
PACKAGES = ["base-files", "base-passwd", "dash", "coreutils", "util-linux", "mount", "grep", "sed", "procps", "kmod", "systemd",
            "systemd-sysv", "udev", "dpkg", "tar", "diffutils", "findutils", "init-system-helpers", "perl-base", "libc-bin"]
# In emulation every unit costs tenths of a second, so units that no test here needs stay off.
MASKED = """getty.target serial-getty@ttyAMA0.service systemd-networkd.service systemd-networkd.socket systemd-resolved.service
    systemd-timesyncd.service systemd-hwdb-update.service systemd-firstboot.service systemd-update-utmp.service
    systemd-journal-catalog-update.service systemd-journal-flush.service systemd-binfmt.service systemd-pstore.service
    ldconfig.service apt-daily.timer e2scrub_all.timer fstrim.timer systemd-tmpfiles-clean.timer systemd-remount-fs.service
    systemd-logind.service systemd-user-sessions.service systemd-random-seed.service dev-hugepages.mount dev-mqueue.mount
    sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount sys-fs-fuse-connections.mount
    proc-sys-fs-binfmt_misc.automount systemd-machine-id-commit.service systemd-ask-password-console.path
    systemd-ask-password-wall.path modprobe@drm.service modprobe@fuse.service modprobe@configfs.service
    modprobe@efi_pstore.service systemd-hostnamed.socket""".split()
CONSOLE = """[Unit]
DefaultDependencies=no
After=multi-user.target
[Service]
ExecStart=/rig/console
StandardInput=tty-force
StandardOutput=tty
StandardError=tty
TTYPath=/dev/console
"""
# An entry by which dpkg takes a package as installed; it knows nothing of the others, which were only unpacked.
KNOWN = """Package: systemd
Status: install ok installed
Maintainer: nobody
Architecture: arm64
Version: {}
Description: unpacked

"""


def say(text):
    print(f"image: {text}", flush=True)


def disk(more=()):
    """An ext4 file system of unpacked packages; it is made again when the recipe changes. With `more` packages, also from the backports, the
    database of dpkg knows all of them, for apt."""
    recipe = hashlib.sha256(repr((PACKAGES, more, MASKED, CONSOLE, KNOWN, SUITE)).encode()).hexdigest()[:12]
    image = CACHE / f"systemd-{ARCH}-{recipe}.ext4"
    with alone(f"{image.name}.lock"):
        if not image.exists():
            make(image, more)
    return image


def make(image, more):
    need("mmdebstrap", "mmdebstrap debian-archive-keyring")
    need("mke2fs", "e2fsprogs")
    say(f"a disk of Debian's {SUITE} for {ARCH}, with systemd {' '.join(more)}")
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        root = Path(folder, "root")
        mirror = os.environ.get("LAZYCAM_VM_MIRROR", "http://deb.debian.org/debian")
        key = "/usr/share/keyrings/debian-archive-keyring.gpg"
        suites = [SUITE, f"{SUITE}-backports"] if more else [SUITE]
        keep = ["--skip=cleanup/apt"] if more else []
        subprocess.run(["mmdebstrap", "--quiet", "--variant=extract", f"--architectures={ARCH}", f"--include={','.join([*PACKAGES, *more])}",
                        *keep, "--dpkgopt=path-exclude=/usr/share/doc/*", SUITE, root,
                        *(f"deb [signed-by={key}] {mirror} {suite} main" for suite in suites)], check=True)
        installed = known(sorted(root.glob("var/cache/apt/archives/*.deb")), root / "var/lib/dpkg") if more else ""
        # The last is from mmdebstrap, and would also keep out our documentation, which has examples.
        for waste in ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/lib/udev/hwdb.d", "var/lib/apt", "var/cache/apt",
                      "etc/dpkg/dpkg.cfg.d/99mmdebstrap"):
            subprocess.run(["rm", "-rf", root / waste], check=True)
        for name in ("passwd", "group"):
            (root / "etc" / name).write_bytes((root / f"usr/share/base-passwd/{name}.master").read_bytes())
        units = root / "etc/systemd/system"
        (version,) = (re.search(r"-(\d+)\.so", f.name)[1] for f in root.glob("usr/lib/*/systemd/libsystemd-shared-*.so"))
        files = {"var/lib/dpkg/status": installed or KNOWN.format(version), "etc/hostname": "image\n", "etc/fstab": "",
                 "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
                 "etc/systemd/journald.conf.d/test.conf": "[Journal]\nStorage=volatile\n",
                 "etc/systemd/system/console.service": CONSOLE,
                 # If udev had to handle every device, it would take longer than everything else.
                 "etc/systemd/system/systemd-udev-trigger.service.d/test.conf":
                     "[Service]\nExecStart=\nExecStart=-udevadm trigger --action=add --subsystem-match=video4linux\n"}
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        (units / "default.target").symlink_to("/usr/lib/systemd/system/multi-user.target")
        (units / "multi-user.target.wants").mkdir(exist_ok=True)
        (units / "multi-user.target.wants/console.service").symlink_to("/etc/systemd/system/console.service")
        for unit in MASKED:
            (units / unit).symlink_to("/dev/null")
        part = image.with_suffix(".part")
        part.unlink(missing_ok=True)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d", root, part, "1G" if more else "500M"], check=True)
        part.rename(image)


def known(debs, dpkg):
    """Makes dpkg believe that packages which were only unpacked are installed, without a list of their files."""
    entries = []
    for deb in debs:
        first, _, rest = output("dpkg-deb", "--field", deb).partition("\n")
        entries.append(f"{first}\nStatus: install ok installed\n{rest}")
        name = first.removeprefix("Package: ") + (f":{ARCH}" if "\nMulti-Arch: same\n" in rest else "")
        (dpkg / "info" / f"{name}.list").touch()
    return "\n".join(entries)
