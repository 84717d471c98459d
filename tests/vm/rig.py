"""What the tests in emulated systems share: Debian packages of another architecture, an initramfs made from them, the
machine that boots it, and what a viewer sees. Used by run and by the files beside it.
"""
import hashlib, lzma, os, re, shutil, socket, subprocess, sys, tempfile, threading, time, urllib.error, urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "cross"))
from packages import CACHE, ROOT, SUITE, TARGET, Packages, alone, output

MODULES = ["virtio_mmio", "virtio_net", "uvcvideo", "vhci_hcd", "vivid"]
ARCHES = {
    "arm64": dict(qemu="qemu-system-aarch64", cpu="cortex-a53", kernel="linux-image-arm64", cross="aarch64", gnu="aarch64-linux-gnu", bits=64,
                  triple="aarch64-unknown-linux-musl", linker="rust-lld", flags=""),
    "armhf": dict(qemu="qemu-system-arm", cpu="cortex-a7", kernel="linux-image-armmp", cross="armv7", gnu="arm-linux-gnueabihf", bits=32,
                  triple="armv7-unknown-linux-gnueabihf", linker="arm-linux-gnueabihf-gcc",
                  flags="-C target-feature=+crt-static"),
}


def say(text):
    print(f"vm: {text}", flush=True)


def need(program, package):
    if not shutil.which(program):
        sys.exit(f"vm: {program} is missing; on Debian: apt-get install {package}")


# --- what is booted ---------------------------------------------------------------------------------------------------

def kernel_modules(tree, wanted):
    """The wanted modules and their dependencies, with dependencies first, as pairs of name and content."""
    files = {re.sub(r"\.ko(\.xz)?$", "", f.name).replace("-", "_"): f for f in tree.rglob("*.ko*")}
    order = {}

    def visit(name):
        if name in order or name not in files:
            return
        data = files[name].read_bytes()
        data = lzma.decompress(data) if files[name].suffix == ".xz" else data
        depends = re.search(rb"\0depends=([^\0]*)\0", data)
        for other in depends[1].decode().split(",") if depends else []:
            visit(other.replace("-", "_"))
        order[name] = data

    for name in wanted:
        visit(name)
    return order


def programs(names):
    """Programs of Debian's v4l-utils for arm64, and the shared libraries that they load, for the initramfs."""
    packages, files, found, lib = Packages("arm64"), {}, {}, "usr/lib/aarch64-linux-gnu"
    for package in "v4l-utils libv4l-0t64 libv4lconvert0t64 libjpeg62-turbo libstdc++6 libgcc-s1 libc6".split():
        found.update({file.name: file for file in packages.unpacked(package).rglob("*") if not file.is_dir()})
    todo = [*names, "ld-linux-aarch64.so.1"]
    while todo:
        name = todo.pop()
        check(name in found, f"no package brings {name}")
        path = f"bin/{name}" if name in names else f"lib/{name}" if name.startswith("ld-") else f"{lib}/{name}"
        file = found[name].resolve()
        if path not in files:
            files[path] = (PROGRAM, file.read_bytes())
            todo += re.findall(r"NEEDED.*\[(.*)\]", output("readelf", "-d", file))
    return files


def cpio(files):
    """An initramfs (the kernel's Documentation/driver-api/early-userspace/buffer-format.rst) from name: (mode, content)."""
    out = bytearray()
    folders = {str(p) for name in files for p in Path(name).parents if str(p) != "."}
    entries = [(name, 0o40755, b"") for name in sorted(folders)]
    entries += [(name, mode, data) for name, (mode, data) in files.items()] + [("TRAILER!!!", 0, b"")]
    for inode, (name, mode, data) in enumerate(entries, 1):
        name = name.encode() + b"\0"
        major, minor = (5, 1) if mode & 0o170000 == 0o20000 else (0, 0)
        fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, major, minor, len(name), 0)
        for part in (b"070701" + b"".join(b"%08X" % f for f in fields) + name, data):
            out += part + b"\0" * (-(len(out) + len(part)) % 4)
    return bytes(out)


def arguments(description):
    """The words of the command line, and the folder given by --binary-dir, if there is one."""
    words = sys.argv[1:]
    if words[:1] != ["--binary-dir"]:
        return words, None
    if len(words) < 2 or not Path(words[1]).is_dir():
        sys.exit(description)
    return words[2:], Path(words[1]).resolve()


def build(arch, binaries=None, examples=("usb_camera",)):
    """The static binary, and the camera for the same target. If a folder of binaries is given, the binary is taken from it."""
    about = ARCHES[arch]
    if binaries:
        binary = binaries / f"lazycam-{about['cross']}"
        check(binary.exists(), f"no {binary}")
    else:
        subprocess.run([ROOT / "cross/build", about["cross"]], check=True, stdout=subprocess.DEVNULL)
        binary = TARGET / f"static/lazycam-{about['cross']}"
    say(f"{binary}, {binary.stat().st_size} bytes, sha256 {hashlib.sha256(binary.read_bytes()).hexdigest()[:16]}")
    need(about["linker"], "gcc-arm-linux-gnueabihf libc6-dev-armhf-cross") if about["linker"] != "rust-lld" else None
    variable = f"CARGO_TARGET_{about['triple'].upper().replace('-', '_')}_LINKER"
    # Nothing of it is handed out, so it need not be small: linking it whole takes longer than all the rest.
    quick = {"CARGO_PROFILE_RELEASE_LTO": "off", "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16"}
    env = dict(os.environ, RUSTFLAGS=about["flags"], **quick, **{variable: about["linker"]})
    release = ["cargo", "build", "-q", "--locked", "--release", "--target-dir", TARGET]
    subprocess.run([*release, "--target", about["triple"], *(word for example in examples for word in ("--example", example))], check=True, env=env, cwd=ROOT)
    subprocess.run(["cargo", "build", "-q", "--locked", "--target-dir", TARGET, "--example", "columns"], check=True, cwd=ROOT)
    return binary, TARGET / about["triple"] / "release/examples/usb_camera"


# --- the machine ------------------------------------------------------------------------------------------------------

PROGRAM, FILE, LINK = 0o100755, 0o100644, 0o120777  # modes of files in the image


class Machine:
    """A booted system. `files`, as name: (mode, content), are added to busybox and the modules, or replace the init of this
    folder; `devices` are additional arguments for qemu. The kernel is that of a Debian `suite`."""

    def __init__(self, arch, folder, files, memory=320, modules=MODULES, processors=2, devices=(), suite=SUITE):
        self.arch = arch
        about, packages = ARCHES[arch], Packages(arch, suite)
        tree = packages.unpacked(about["kernel"])
        modules = kernel_modules(tree, modules)
        busybox = max(Packages(arch, suite.removesuffix("-backports")).unpacked("busybox-static").rglob("busybox"), key=lambda f: f.is_file() and f.stat().st_size)
        files = {"init": (PROGRAM, (HERE / "init").read_bytes()), "bin/busybox": (PROGRAM, busybox.read_bytes()),
                 "bin/sh": (LINK, b"busybox"), "dev/console": (0o20600, b""),
                 "etc/passwd": (FILE, b"root::0:0::/:/bin/sh\nlazycam::98:98::/:/bin/sh\nnobody::99:99::/:/bin/sh\n"),
                 "etc/group": (FILE, b"root::0:\nvideo::44:lazycam\nlazycam::98:\nnobody::99:\n"),
                 # As in images: first what they have themselves.
                 "etc/mdev.conf": (FILE, b"null 0:0 666\nurandom 0:0 666\n" + (ROOT / "buildroot/package/lazycam/mdev.conf").read_bytes()),
                 "modules/order": (FILE, "".join(f"{name}\n" for name in modules).encode()), **files}
        files.update({f"modules/{name}.ko": (FILE, data) for name, data in modules.items()})
        (folder / "initrd").write_bytes(cpio(files))
        (kernel,) = [*tree.glob("boot/vmlinuz-*"), *tree.glob("usr/lib/modules/*/vmlinuz")]
        self.start([
            about["qemu"], "-M", "virt", "-cpu", about["cpu"], "-smp", str(processors), "-m", str(memory), "-nodefaults", "-display", "none",
            "-no-reboot", "-serial", "stdio", "-kernel", kernel, "-initrd", folder / "initrd",
            "-append", "console=ttyAMA0 quiet panic=-1 oops=panic rdinit=/init", "-device", "virtio-net-device,netdev=net", *devices])

    def start(self, command, tries=3):
        """Boots, with the guest's port 8080 forwarded from a port of this machine."""
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        net = f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:8080"
        self.process = subprocess.Popen([*command, "-netdev", net], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.text, self.news = "", threading.Condition()
        threading.Thread(target=self.read, daemon=True).start()
        try:
            self.until(r"=ready\n", 240)
        except Failed:
            # If another program took the free port before qemu could use it, qemu reports that and ends before it boots.
            if tries == 1 or self.text.strip() != "=end of console":
                self.process.kill()
                raise
            self.process.wait()
            self.start(command, tries - 1)

    def read(self):
        while chunk := os.read(self.process.stdout.fileno(), 65536):
            with self.news:
                self.text += chunk.decode(errors="replace").replace("\r", "")
                self.news.notify_all()
        with self.news:
            self.text += "\n=end of console\n"
            self.news.notify_all()

    def until(self, pattern, seconds, start=0):
        with self.news:
            found = self.news.wait_for(lambda: re.search(pattern, self.text[start:]) or "=end of console" in self.text, seconds)
        if not found or isinstance(found, bool):
            kind = Crashed if self.crashed() else Failed
            raise kind(f"the machine does not answer; its console ends with\n{self.text[-3000:]}")
        return found

    def crashed(self):
        """Whether the kernel itself has failed, which no program may be able to bring about."""
        return "Kernel panic" in self.text or "Oops" in self.text or "BUG:" in self.text

    def run(self, command, seconds=60):
        """Runs a command line in the guest; returns its status and its output."""
        start = len(self.text)
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()
        # What the kernel says goes to the same console at any moment, in whole lines, and also between the last word of one and its end.
        found = self.until(r"=status (\d+)(\[ *\d+\.\d{6}\] [^\n]*)?\n", seconds, start)
        return int(found[1]), re.sub(r"\[ *\d+\.\d{6}\] [^\n]*\n", "", self.text[start:start + found.start()])

    def told(self, command, seconds=60):
        status, text = self.run(command, seconds)
        check(status == 0, f"`{command}` in the guest: status {status}\n{text}")
        return text

    def off(self):
        try:
            self.process.stdin.write(b"poweroff -f\n")
            self.process.stdin.flush()
            self.process.wait(30)
        except BrokenPipeError:
            pass  # it is off already
        finally:
            self.process.kill()


# --- what has to hold -------------------------------------------------------------------------------------------------

class Failed(Exception):
    pass


class Crashed(Failed):
    """The machine's kernel, not what was tested in it."""


def check(holds, otherwise):
    if not holds:
        raise Failed(otherwise)


def eventually(what, test, seconds=30):
    end = time.monotonic() + seconds
    while not (found := test()):
        check(time.monotonic() < end, f"not within {seconds} s: {what}")
        time.sleep(0.2)
    return found


class Stream:
    """A viewer: the parts of a multipart stream."""

    def __init__(self, url, seconds=30):
        self.reply = urllib.request.urlopen(url + "/stream", timeout=seconds)

    def frame(self):
        length = 0
        while line := self.reply.readline():
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
            if line == b"\r\n" and length:
                return self.reply.read(length)
        raise Failed("the stream ended")

    def frames(self, count):
        """Reads `count` frames. The picture that stands for a missing or lost camera does not count."""
        frames, end = [], time.monotonic() + 180
        while len(frames) < count:
            check(time.monotonic() < end, "no frame within 180 s, but what stands in its place")
            if b"lazycam notice: " not in (picture := self.frame()):
                frames.append(picture)
                end = time.monotonic() + 180
        return frames

    def close(self):
        self.reply.close()


def snapshot(url):
    """A picture. On a busy machine a camera may take longer to start than the server waits; after a 503 the request is repeated."""
    def picture():
        try:
            return urllib.request.urlopen(url + "/snapshot", timeout=30).read()
        except urllib.error.HTTPError as error:
            check(error.code == 503, f"/snapshot: {error}")
            return None

    return eventually("a snapshot", picture, 60)


def columns(folder, pictures):
    """Decodes each picture and returns eight of its colours."""
    names = []
    for i, picture in enumerate(pictures):
        names.append(str(folder / f"{i}.jpg"))
        Path(names[-1]).write_bytes(picture)
    done = subprocess.run([TARGET / "debug/examples/columns", *names], capture_output=True, text=True)
    check(done.returncode == 0, f"a frame is no valid JPEG: {done.stderr}")
    return [[tuple(map(int, c.split(","))) for c in line.split()] for line in done.stdout.splitlines()]


def number(picture):
    found = re.search(rb"lazycam frame=(\d+)", picture)
    check(found, "a picture has no number")
    return int(found[1])


class Guest:
    """lazycam running in a machine."""

    def __init__(self, machine, folder):
        self.machine, self.folder = machine, folder

    def start(self, arguments, name="lazycam", before=""):
        self.machine.told(f"{before} lazycam --log debug --listen 8080 {arguments} >/run/{name}.log 2>&1 & echo $! >/run/{name}.pid")
        eventually("the server listens", lambda: self.machine.run("netstat -ltn | grep -q :8080")[0] == 0)
        eventually("the capture process is ready", lambda: " on demand\n" in self.log(name))

    def stop(self, name="lazycam"):
        self.machine.run(f"kill $(cat /run/{name}.pid)")
        eventually("the processes end", lambda: self.machine.run("pidof lazycam")[0] != 0)

    def log(self, name="lazycam"):
        return self.machine.run(f"cat /run/{name}.log")[1]

    def says(self, command, words):
        """The output of a command that would not end by itself, once it contains these words or 60 s have passed."""
        return self.machine.run(f"rm -f /run/said; {command} >/run/said 2>&1 & p=$!; i=0; while [ $i -lt 300 ] && ! grep -qF '{words}' /run/said 2>/dev/null; "
                                "do sleep 0.2; i=$((i + 1)); done; kill $p; cat /run/said", 240)[1]

    def sleeps(self, seconds=10, looks=1):
        """Checks that neither process was given the processor in between, so neither made a system call: /proc/PID/schedstat.
        Processes that have only just been started may need more than one check."""
        for left in reversed(range(looks)):
            before, after = self.turns(seconds)
            if before == after:
                return
            check(left, f"a process ran while nobody looked:\n{before}{after}")

    def turns(self, seconds):
        """What /proc says about each thread's turns on the processor, read twice."""
        look = "cat $(for p in $(pidof lazycam); do echo /proc/$p/task/*/schedstat; done)"
        before = self.machine.told(look)
        # The third number counts turns on the processor; if all are zero, the kernel does not count them.
        turns = [int(line.split()[2]) for line in before.split("\n") if line]
        check(len(turns) >= 2 and min(turns) > 0, f"two processes that have run were expected: {before}")
        time.sleep(seconds)
        return before, self.machine.told(look)

    def inventory(self):
        """The number of descriptors and the private memory in kB of each process; pages of files are left out, because they come and go."""
        text = self.machine.told("for p in $(pidof lazycam); do ls /proc/$p/fd | wc -l; grep RssAnon /proc/$p/status; done")
        return [int(n) for n in re.findall(r"^(\d+)$", text, re.M)], [int(n) for n in re.findall(r"(\d+) kB", text)]

    def flat(self, turn, turns=20):
        """Repeats an action, and checks that it leaves no descriptors behind and less than one more page of memory each time."""
        for _ in range(3):
            turn()
        before = self.inventory()
        for _ in range(turns):
            turn()
        after = self.inventory()
        check(before[0] == after[0], f"descriptors leak: {before[0]} -> {after[0]}")
        check(all(b - a < 4 * turns for a, b in zip(before[1], after[1])), f"memory in kB grows: {before[1]} -> {after[1]}")
        return f"{turns} times; descriptors {after[0]}, memory of its own in kB {before[1]} -> {after[1]}"


def run(name, machine, tests, *logs):
    """Starts a machine and runs its tests; true if all of them hold. A kernel that crashes is no fault of the program's, so that is told and another
    machine gets a chance: of 6.12 on armhf, uvcvideo now and then frees a camera that is unplugged while it is open before its last user has closed it."""
    try:
        return tried(name, machine, tests, logs)
    except Crashed as crash:
        say(f"{name}: THE KERNEL CRASHED; once more in another machine: {crash}")
    return tried(name, machine, tests, logs)


def tried(name, machine, tests, logs):
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        booted = machine(Path(folder))
        say(f"{name}: up after {time.monotonic() - began:.0f} s")
        guest = tests(booted, Path(folder))
        try:
            guest.all()
            if booted.crashed():
                raise Crashed(booted.text[-3000:])
            say(f"{name}: good, {time.monotonic() - began:.0f} s")
            return True
        except Crashed:
            raise
        except (Failed, OSError, subprocess.SubprocessError) as failure:
            if booted.crashed():
                raise Crashed(str(failure)) from failure
            say(f"{name}: FAILED: {failure}")
            for log in logs:
                say(f"{log}.log:\n{guest.log(log)}")
            return False
        finally:
            booted.off()
