#!/usr/bin/env python3
"""buildroot/boot.py IMAGES: an image of lazycam_qemu_aarch64_defconfig, booted in qemu; part of buildroot/build --image.

What: boots IMAGES/rootfs.ext4, unchanged, with IMAGES/Image; without one with Debian's kernel and those of its modules that the
  defconfig has built in, in an initramfs in front of it. Then, from outside, a picture and a stream of the kernel's test camera
  vivid over HTTP; on the console, as root, that S50lazycam started it as its user, that the camera's node is the group's, that
  nothing runs the camera while nobody looks, that S50lazycam stops and starts it. Status 0 if all of it holds.
What not: a real camera, systemd, a board.
"""
import os, socket, subprocess, sys, tempfile, threading, time, urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/vm"))
sys.dont_write_bytecode = True
import rig
from rig import check, say

MODULES = ["virtio_mmio", "virtio_blk", "virtio_net", "crc32c_generic", "ext4", "vivid"]
INIT = """#!/bin/busybox sh
/bin/busybox mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do /bin/busybox insmod $module || echo "insmod $module failed"; done
/bin/busybox mount -t ext4 /dev/vda /new
/bin/busybox mount -o move /dev /new/dev
exec /bin/busybox switch_root /new /sbin/init
"""
PATIENCE = 300


def debian_kernel(folder):
    """Debian's kernel, and an initramfs that loads modules and goes on to the disk."""
    packages = rig.Packages("arm64")
    tree = packages.unpacked("linux-image-arm64")
    (kernel,) = tree.glob("boot/vmlinuz-*")
    files = {"init": (0o100755, INIT.encode()), "new": (0o40755, b""), "dev": (0o40755, b"")}
    busybox = next(packages.unpacked("busybox-static").glob("**/bin/busybox"))
    files["bin/busybox"] = (0o100755, busybox.read_bytes())
    for number, (name, data) in enumerate(rig.kernel_modules(tree, MODULES).items()):
        files[f"modules/{number:02}-{name}"] = (0o100644, data)
    initramfs = folder / "initramfs"
    initramfs.write_bytes(rig.cpio(files))
    return kernel, ["-initrd", str(initramfs)]


class Guest:
    """The machine with its console."""

    def __init__(self, images, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        kernel, more = (images / "Image", []) if (images / "Image").exists() else debian_kernel(folder)
        say(f"kernel: {kernel.name}")
        self.url = f"http://127.0.0.1:{self.port}"
        self.qemu = subprocess.Popen(
            ["qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a53", "-m", "512", "-nodefaults", "-display", "none", "-no-reboot",
             "-serial", "stdio", "-kernel", kernel, *more, "-append", "rootwait root=/dev/vda console=ttyAMA0 quiet panic=-1 oops=panic",
             "-netdev", f"user,id=eth0,hostfwd=tcp:127.0.0.1:{self.port}-:8080", "-device", "virtio-net-device,netdev=eth0",
             "-drive", f"file={images / 'rootfs.ext4'},if=none,format=raw,id=hd0,snapshot=on", "-device", "virtio-blk-device,drive=hd0"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.said, self.commands = "", 0
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        while data := os.read(self.qemu.stdout.fileno(), 4096):
            self.said += data.decode(errors="replace")

    def eventually(self, what, holds):
        end = time.monotonic() + PATIENCE
        while not (result := holds()):
            check(self.qemu.poll() is None, f"{what}: the machine has ended")
            check(time.monotonic() < end, f"{what}: not within {PATIENCE} s")
            time.sleep(0.2)
        return result

    def type(self, text):
        self.qemu.stdin.write(text.encode())
        self.qemu.stdin.flush()

    def log_in(self):
        self.eventually("a login prompt", lambda: "login:" in self.said)
        self.type("root\n")
        self.eventually("a shell", lambda: self.said.rstrip(" ").endswith("#"))

    def run(self, command):
        """What it writes; its status has to be 0."""
        self.commands += 1
        # So that the typed line, which is echoed, is not taken for what it writes.
        begin, end = f"=begin{self.commands}=", f"=end{self.commands}="
        before = len(self.said)
        self.type(f"echo '=begin''{self.commands}='; {command}; echo $? '=end''{self.commands}='\n")
        said = self.eventually(command, lambda: end in self.said[before:] and self.said[before:])
        text, _, status = said.split(begin)[1].split(end)[0].replace("\r", "").rstrip().rpartition("\n")
        check(status == "0", f"`{command}` ended with {status}: {text}")
        return text.strip()

    def snapshot(self):
        try:
            with urllib.request.urlopen(f"{self.url}/snapshot", timeout=20) as answer:
                picture = answer.read()
        except OSError:
            return None
        check(picture[:2] == b"\xff\xd8" and picture[-2:] == b"\xff\xd9", "the picture is no JPEG")
        return picture


def tests(guest):
    picture = guest.eventually("a picture", guest.snapshot)
    say(f"a picture of {len(picture)} bytes over HTTP from outside")
    with urllib.request.urlopen(f"{guest.url}/stream", timeout=60) as stream:
        data = b""
        while data.count(b"\xff\xd8\xff") < 5:
            check(more := stream.read1(65536), "the stream ended")
            data += more
    say("a stream of five frames")
    guest.log_in()
    check("root" in guest.run("id -un"), "this is not root's shell")
    node = guest.run("ls --color=never -l /dev/video0")
    check(node.startswith("crw-rw----") and " video " in node, f"not the group's: {node}")
    processes = guest.run("ps -o user,args | grep '[/]usr/bin/lazycam'")
    check([line.split()[:3] for line in processes.splitlines()] == [["lazycam", "/usr/bin/lazycam", what] for what in ("run", "capture")],
          f"not two processes of the user lazycam, server and capture:\n{processes}")
    say(f"S50lazycam started it as its user; {node}")
    pids = guest.run("pidof lazycam").split()
    ticks = lambda: guest.run("cat " + " ".join(f"/proc/{pid}/sched" for pid in pids) + " | grep nr_switches || true")
    guest.eventually("rest while nobody looks", lambda: (before := ticks(), time.sleep(5)) and before == ticks())
    say("nobody looks: 5 s in which neither process ran")
    check(guest.run("/etc/init.d/S50lazycam stop").endswith("OK"), "S50lazycam does not stop it")
    check(guest.run("pidof lazycam || echo none") == "none", "it still runs")
    check(guest.snapshot() is None, "somebody answers")
    guest.run("/etc/init.d/S50lazycam start")
    guest.eventually("a picture after a second start", guest.snapshot)
    guest.run("/etc/init.d/S50lazycam restart")
    guest.eventually("a picture after a restart", guest.snapshot)
    say("S50lazycam stops, starts and restarts it")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory(prefix="lazycam-boot-") as folder:
        guest = Guest(Path(sys.argv[1]), Path(folder))
        try:
            tests(guest)
        except BaseException:
            print(guest.said[-6000:])
            raise
        finally:
            guest.qemu.kill()
            guest.qemu.wait()
    say("good")


main()
