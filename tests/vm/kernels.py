"""What keeps a server in, and a viewer's stream, and frames on 9p, on kernels of older and newer Debian releases: arm64 with the static binary, the
test picture and no camera. Used by run, whose machines have the first done on the kernel of the current release.
"""
import json, shutil, subprocess, time

import rig
from rig import PROGRAM, Guest, Machine, Stream, check, eventually, number, say

# The release, and the least ABI of its kernel's Landlock (landlock(7)): 6.1 has renaming between directories and no TCP yet; 5.10 has none;
# what is in the backports (7.2 and later) has unix sockets by path and UDP.
KERNELS = [("bookworm", 2), ("bullseye", None), ("trixie-backports", 10)]
MODULES = ["virtio_mmio", "virtio_net", "9pnet_virtio", "9p"]


class Fences(Guest):
    def fence(self, least):
        """A link in the place of a frame directory leads a server nowhere, unless it may read there: by the kernel's Landlock, if it
        has one of the ABI `least` or later."""
        machine = self.machine
        machine.told("mkdir -p /run/in /run/out; lazycam capture --log debug --frames /run/out/front --size 64x48 >/run/out.log 2>&1 & echo $! >/run/fence.pids")
        eventually("the capture process is ready", lambda: " on demand\n" in self.log("out"))
        for name, port, more in [("fenced", 8081, ""), ("wide", 8082, "--also-read /run")]:
            machine.told(f"lazycam serve --log debug --frames /run/in/front --listen {port} {more} >/run/{name}.log 2>&1 & echo $! >>/run/fence.pids")
            eventually("the server listens", lambda: machine.run(f"netstat -ltn | grep -q :{port}")[0] == 0)
        told = json.loads(machine.told("wget -q -O - http://127.0.0.1:8081/state"))["result"]["lazycam"]["sandbox"]
        machine.told("ln -s /run/out/front /run/in/front")
        shows = lambda port: machine.run(f"wget -q -O /dev/null http://127.0.0.1:{port}/snapshot")[0] == 0
        eventually("the picture behind the link, for who may", lambda: shows(8082))
        # Where nothing keeps the link away, it may take a while.
        shown = shows(8081) if least else eventually("the picture behind the link, without Landlock", lambda: shows(8081))
        self.held(told, least, shown)
        machine.told("kill $(cat /run/fence.pids)")
        eventually("the processes end", lambda: machine.run("pidof lazycam")[0] != 0)

    def held(self, told, least, shown):
        """What the fenced server said of itself, and whether it showed what is behind the link."""
        enforced, abi = set(told["enforced"]), told["landlock"]
        check({"no_new_privs", "no_core_dumps"} <= enforced, f"it is held to too little: {told}")
        if least is None:
            check(abi is None and "has no Landlock" in told["why"] and told["why"] in self.log("fenced"), f"it does not say that nothing holds it: {told}")
            check(shown, "without Landlock nothing keeps the link away, and there was no picture")
            say("no Landlock in this kernel: told, and served")
            return
        wanted = {"reads", "changes"}
        for since, what in [(4, {"tcp"}), (6, {"signals", "abstract_sockets"}), (9, {"unix_sockets"}), (10, {"udp"})]:
            wanted |= what if least >= since else set()
        check(wanted <= enforced and abi >= least, f"it is held to too little: {told}")
        check("; reads below /run/in\n" in self.log("fenced"), self.log("fenced"))
        check("; writes below /run/out\n" in self.log("out"), self.log("out"))
        check(not shown, "the picture behind the link was shown")
        check("Permission denied" in self.log("fenced"), self.log("fenced"))
        say(f"Landlock, ABI {abi}: a server cannot be led out of where its frames are")

    def jumps(self):
        """The clock is set by hours while somebody looks, both ways: frames go on, also for who comes then."""
        machine = self.machine
        self.start("--source pattern --size 64x48 --fps 10 --linger 1")
        viewer = Stream(machine.url)
        for hours in (5, -11, 6):
            last = number(viewer.frames(3)[-1])
            machine.told(f"date -s @$(($(date +%s) + {hours * 3600}))")
            numbers = [number(picture) for picture in viewer.frames(30)]
            check(last < numbers[0] and numbers == sorted(set(numbers)), f"{hours} h: frames came twice or out of order: {last}, {numbers}")
            check(number(rig.snapshot(machine.url)) > last, f"{hours} h: an old snapshot")
        viewer.close()
        eventually("the end of the camera", lambda: "off: nobody looks" in self.log())
        time.sleep(1)
        self.sleeps(5)
        self.stop()
        say("the clock set by 5, -11 and 6 hours: every viewer's frames go on, and the processes sleep after the last")

    def shared(self, folder):
        """Another system, which is this one, puts frames into a directory that the machine has by 9p: no event tells of them."""
        machine, front = self.machine, folder / "front"
        self.start("--source pattern --size 64x48 --linger 1")
        pictures = [rig.snapshot(machine.url) for _ in range(4)]
        self.stop()
        front.mkdir()
        machine.told("mkdir /run/shared; mount -t 9p -o trans=virtio,version=9p2000.L shared /run/shared")
        kind = machine.told("stat -f -c %t /run/shared").strip()
        if kind == "1021994":
            say(f"SKIPPED: {folder} is in memory here, and 9p says that its own files are")
            return
        machine.told("lazycam serve --frames /run/shared/front --listen 8080 >/run/shared.log 2>&1 & echo $! >/run/shared.pid")
        eventually("the server listens", lambda: machine.run("netstat -ltn | grep -q :8080")[0] == 0)
        check("is on 9p, which does not report" in self.log("shared"), self.log("shared"))
        viewer = Stream(machine.url)
        for picture in pictures:
            (front / "next").write_bytes(picture)
            (front / "next").rename(front / "current.jpg")
            eventually("the frame is shown", lambda: number(viewer.frames(1)[0]) == number(picture))
        viewer.close()
        self.stop("shared")
        say(f"9p, which says it were of type {kind}: known, and its frames are found")


def run(binaries):
    """True if all holds on each kernel."""
    binary, _ = rig.build("arm64", binaries)
    files = {"bin/lazycam": (PROGRAM, binary.read_bytes())}

    def on(suite, abi):
        # Not with the other files, which may be in memory.
        folder = rig.CACHE / f"shared-{suite}"

        class Tests(Fences):
            def all(self):
                say(f"{suite}: {self.machine.told('uname -r').strip()}")
                self.fence(abi)
                self.jumps()
                self.shared(folder)

        def machine(own):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            devices = ["-fsdev", f"local,id=shared,path={folder},security_model=none", "-device", "virtio-9p-device,fsdev=shared,mount_tag=shared"]
            return Machine("arm64", own, files, modules=MODULES, devices=devices, suite=suite)

        try:
            rig.Packages("arm64", suite).unpacked(rig.ARCHES["arm64"]["kernel"])
        except subprocess.CalledProcessError as failure:
            # Releases end: mirrors drop them.
            say(f"SKIPPED: the kernel of {suite} cannot be had: {failure.stderr or failure}")
            return True
        return rig.run(suite, machine, Tests, "lazycam", "fenced", "shared")

    return all([on(suite, abi) for suite, abi in KERNELS])
