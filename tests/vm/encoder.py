"""A JPEG encoder in hardware, played by the kernel module jpeg_encoder.c: what goes into it and comes out of it, with all that real ones do besides, and
what happens when it fails. The camera is vivid's. Used by run: on armhf only for the calls whose structures are other ones there.
"""
import json, re, urllib.request
from concurrent.futures import ThreadPoolExecutor

import module
from rig import FILE, HERE, PROGRAM, Stream, check, columns, eventually, number, programs, say, snapshot
from vivid import BARS, sent

NODE = "/dev/video31"
DEPENDS = ["v4l2_mem2mem", "videobuf2_vmalloc"]
PARAMETERS = "/sys/module/jpeg_encoder/parameters"
DRIVER = "/sys/bus/platform/drivers/jpeg_encoder"
USUAL = dict(takes=0x1f, align=32, columns=2, rows=2, largest=4096, delay_ms=5, abort_ms=0, pad=0, fail_every=0, busy=-1, no_dht=0, no_eoi=0, no_crop=0, no_quality=0,
             junk_first=0, stall=0)
ROUNDED = dict(align=96, columns=16, rows=16)
# As the bits of `takes`. The single-planar interface has only the first three.
RAWS = ["YU12", "NV12", "YUYV", "NM12", "YM12"]
# What the program says when it takes the work over from the device.
INSTEAD = "; the processor encodes until the camera starts again"
BY_DEVICE = "(JPEG encoder for tests) encodes"


def files(arch):
    built = {"modules/jpeg_encoder.ko": (FILE, module.build("jpeg_encoder", [HERE / "jpeg_encoder.c"], arch))}
    return {**built, **programs(["v4l2-compliance"])} if arch == "arm64" else built


def quantization(picture):
    """The values of the first DQT; all are the same if the device has made the picture."""
    at = picture.index(b"\xff\xdb")
    return picture[at + 5:at + 69]


def by_device(picture):
    return len(set(quantization(picture))) == 1


class Encoder:
    def encoder(self):
        self.load()
        self.encoder_listed()
        if self.machine.arch != "arm64":
            self.through("YM12", "320x192", ROUNDED)
            self.single(["YU12"])
            return
        self.compliance()
        self.through_device()
        self.quirks()
        self.takes_over()
        self.vanishes()
        self.mistaken()
        self.encoder_sleeps()
        self.single(["YU12", "YUYV"])
        self.two()

    def load(self, **at_load):
        self.machine.told(f"insmod /modules/jpeg_encoder.ko nr=31 {' '.join(f'{name}={value}' for name, value in at_load.items())}")

    def set(self, **parameters):
        """These, and all others as usual."""
        self.machine.told("; ".join(f"echo {value} >{PARAMETERS}/{name}" for name, value in {**USUAL, **parameters}.items()))

    def dmesg(self, words):
        return int(self.machine.run(f"dmesg | grep -c 'jpeg_encoder: {words}'")[1])

    def bars_of(self, arguments):
        """Starts with three of vivid's devices in three formats, and `arguments`. The first device keeps controls of other tests."""
        cameras = " ".join(f"--camera 'v{i}=v4l2:{self.nodes[i + 1]},format={code}'" for i, code in enumerate(("YU12", "NV12", "YUYV")))
        self.start(f"--quality 95 --linger 1 --control 'test_pattern=100% Colorbar' --control osd_text_mode=none {cameras} {arguments}")

    def three(self, size=(320, 180)):
        """A picture of each, whose size and colours are checked."""
        with ThreadPoolExecutor() as viewers:
            pictures = list(viewers.map(lambda i: snapshot(f"{self.machine.url}/v{i}"), range(3)))
        for i, (picture, seen) in enumerate(zip(pictures, columns(self.folder, pictures))):
            off = max(abs(a - b) for s, e in zip(seen, BARS) for a, b in zip(s, e))
            check(off <= 8, f"camera v{i}: colours are {off} off: {seen}\n{self.log()}")
            check(sent(picture) == size, f"camera v{i}: pictures of {sent(picture)}")
        return pictures

    def encoder_listed(self):
        text = self.machine.told("lazycam list")
        check(f"--encoder v4l2:{NODE}, or v4l2 alone\n" in text and "JPEG encoder for tests" in text, f"`lazycam list`: {text}")
        self.set(takes=0)
        told = json.loads(self.machine.told("lazycam list --json"))["encoders"]
        check(told == [], f"an encoder that takes nothing is listed: {told}")
        say("a JPEG encoder is listed, unless it has no formats")

    def compliance(self):
        """Others than lazycam say whether the device behaves as one."""
        self.set()
        status, text = self.machine.run(f"v4l2-compliance -d {NODE} -s10", 300)
        total = re.search(r"Total for .*: (\d+), Succeeded: (\d+), Failed: (\d+), Warnings: (\d+)", text)
        check(total and status == 0 and total[3] == "0", f"v4l2-compliance: status {status}\n{text}")
        say(f"v4l2-compliance of the device: {total[0]}")

    def through_device(self):
        """Each of its formats from each of the camera's, also with strides and sizes that are rounded up."""
        self.through("YU12", "320x180", {})
        for raw in RAWS:
            self.through(raw, "320x192", ROUNDED)
        for quality, expected in [(20, 40), (90, 3), (2, 160)]:
            self.set()
            self.start(f"--source pattern --size 320x180 --quality {quality} --encoder v4l2:{NODE}")
            picture = snapshot(self.machine.url)
            check(set(quantization(picture)) == {expected}, f"quality {quality}: {set(quantization(picture))}")
            check(number(picture) >= 0, "no comment")
            self.stop()
        say("the quality arrives, as far as the device has it; comments are kept")

    def through(self, raw, memory, parameters):
        self.set(takes=1 << RAWS.index(raw), **parameters)
        self.bars_of("--size 320x180 --encoder v4l2")
        pictures = self.three()
        check(all(map(by_device, pictures)) and INSTEAD not in self.log(), f"{raw}: the processor encoded\n{self.log()}")
        check(f"{NODE} {BY_DEVICE} 320x180 in quality 95, as {raw} in memory for {memory}\n" in self.log(), f"{raw}: {self.log()}")
        self.stop()
        say(f"YU12, NV12 and YUYV of a camera, as {raw} in memory for {memory} through the encoder: colour bars right")

    def quirks(self):
        for quirks in (dict(no_dht=1), dict(no_eoi=1), dict(pad=500, junk_first=1), dict(no_dht=1, no_eoi=1, pad=500),
                       dict(rows=16, no_crop=1, no_quality=1)):
            self.set(**quirks)
            self.bars_of("--size 320x180 --encoder auto")
            check(all(map(by_device, self.three())) and INSTEAD not in self.log(), f"{quirks}: the processor encoded\n{self.log()}")
            check("no_quality" not in quirks or " in fixed quality, " in self.log(), self.log())
            self.stop()
            say(f"an encoder with {', '.join(quirks)}: pictures of it, whole and in their size")
        self.set(rows=16, columns=16, no_crop=1)
        self.start("--source pattern --size 328x184 --encoder auto")
        picture = snapshot(self.machine.url)
        check(by_device(picture) and sent(picture) == (328, 184), f"328x184 by an encoder that rounds up: {sent(picture)}")
        columns(self.folder, [picture])
        self.stop()
        say("328x184 from an encoder that gives 336x192: set right")

    def one(self, arguments="--encoder v4l2"):
        self.start(f"--source v4l2:{self.nodes[0]} --format YUYV --size 320x180 --linger 1 {arguments}")

    def seen(self, viewer, device):
        """Waits for a picture that the device has made, or has not; all are valid."""
        def is_it():
            picture = viewer.frames(1)[0]
            columns(self.folder, [picture])
            return by_device(picture) == device

        eventually(f"a picture by the {'device' if device else 'processor'}", is_it, 60)

    def made_by(self, device):
        """Waits until the server says so, in ustreamer's place and in ours."""
        expected = ("M2M-IMAGE", f"M2M-IMAGE {device} (JPEG encoder for tests)") if device else ("CPU", "CPU")

        def told():
            result = json.loads(urllib.request.urlopen(self.machine.url + "/state", timeout=30).read())["result"]
            return (result["encoder"]["type"], result["lazycam"]["cameras"][0]["encoder"])

        eventually(f"/state tells {expected}, and it is {told()}", lambda: told() == expected)

    def rested(self):
        """Waits until the camera is off, and the device with it."""
        eventually("off", lambda: self.about()["state"] == "off")
        on = self.dmesg("stream on")
        eventually("the end of the device's streams", lambda: self.dmesg("stream off") == self.dmesg("results off") == on)

    def takes_over(self):
        """The device fails while it works: the processor goes on, one warning says why, and the next start tries it again."""
        for quirks, why in [(dict(fail_every=4), "it marked its result as damaged"), (dict(stall=1), "no result after 1 s"),
                            (dict(stall=1, abort_ms=9000), "no result after 1 s"),
                            (dict(rows=128, no_crop=1), "it gives pictures of 320x256 for 320x180"),
                            (dict(largest=160), "it takes pictures of 160x160 YU12, and not of 320x180")]:
            self.set(**quirks)
            self.one()
            viewer = Stream(self.machine.url, 60)
            if "fail_every" in quirks:
                self.seen(viewer, device=True)
                self.made_by(NODE)
            self.seen(viewer, device=False)
            self.made_by(None)
            # The kernel still closes it, beside the loop.
            check("abort_ms" not in quirks or self.dmesg("stream off") < self.dmesg("stream on"), "the loop waited until the device was closed")
            check(not any(map(by_device, viewer.frames(3))), "it was tried again while somebody looks")
            told = [line for line in self.log().splitlines() if INSTEAD in line]
            check(len(told) == 1 and f"cannot encode with {NODE}" in told[0] and why in told[0], f"{quirks}: {told}")
            viewer.close()
            self.rested()
            self.set()
            viewer = Stream(self.machine.url, 60)
            self.seen(viewer, device=True)
            self.made_by(NODE)
            check("the hardware encoder works again" in self.log(), self.log())
            viewer.close()
            self.rested()
            self.stop()
            say(f"an encoder with {', '.join(quirks)}: the processor goes on, {why}; the next start tries it again; /state tells both")
        self.comes_back_early()
        self.set(delay_ms=300)
        self.one()
        viewer = Stream(self.machine.url, 60)
        pictures = viewer.frames(6)
        check(all(map(by_device, pictures)) and INSTEAD not in self.log(), f"a slow encoder: {self.log()}")
        columns(self.folder, pictures)
        viewer.close()
        self.stop()
        say("an encoder slower than the camera: its pictures, as many as it makes")

    def comes_back_early(self):
        """It hangs, and the camera starts again before the kernel has closed it: nothing waits for that. The module holds its lock meanwhile."""
        self.set(stall=1, abort_ms=30000)
        self.one()
        is_closing = lambda: self.dmesg("stream off") < self.dmesg("stream on")
        offs = lambda: self.log().count("off: nobody looks")
        # The first one hangs.
        for start in range(3):
            before = offs()
            check(not by_device(snapshot(self.machine.url)), "a picture by a device that hangs")
            check(is_closing(), f"start {start} waited until the device was closed")
            eventually("off", lambda: offs() > before)
        told = [line for line in self.log().splitlines() if "is still being closed" in line]
        check(len(told) >= 2 and all(f"cannot encode with {NODE}: it hung" in line and "debug" in line for line in told), f"{told}\n{self.log()}")
        eventually("the device's end", lambda: not is_closing(), 90)
        self.rested()
        self.set()
        viewer = Stream(self.machine.url, 60)
        self.seen(viewer, device=True)
        viewer.close()
        self.rested()
        self.stop()
        say("an encoder that hangs, and two starts before it is closed: the processor at once, and it again when it is closed")

    def bind(self, there):
        self.machine.told(f"echo jpeg_encoder >{DRIVER}/{'bind' if there else 'unbind'}")

    def vanishes(self):
        self.set()
        self.one()
        viewer = Stream(self.machine.url, 60)
        self.seen(viewer, device=True)
        self.bind(False)
        self.seen(viewer, device=False)
        check(self.log().count(INSTEAD) == 1, self.log())
        viewer.close()
        self.rested()
        # Missing at the next starts: that was told.
        for _ in range(2):
            check(not by_device(snapshot(self.machine.url)), "a picture by a device that is not there")
            self.rested()
        warnings = [line for line in self.log().splitlines() if INSTEAD in line and "warning" in line]
        check(len(warnings) == 1, f"it is told again and again: {warnings}")
        self.bind(True)
        viewer = Stream(self.machine.url, 60)
        self.seen(viewer, device=True)
        viewer.close()
        self.stop()
        say("an encoder that vanishes in use: the processor goes on; once it is back, the next start has it")

    def mistaken(self):
        self.bind(False)
        for arguments, words in [("--encoder v4l2", "there is no JPEG encoder: "), (f"--encoder v4l2:{NODE}", f"cannot open {NODE}: it is not there"),
                                 (f"--encoder v4l2:{self.nodes[1]}", f"{self.nodes[1]} (vivid) is no JPEG encoder that lazycam can use"),
                                 ("--encoder auto", None), ("--encoder software", None)]:
            self.one(arguments)
            check(not by_device(snapshot(self.machine.url)), "a picture by a device that is not there")
            told = [line for line in self.log().splitlines() if INSTEAD in line]
            check(not told if words is None else len(told) == 1 and words in told[0], f"{arguments}: {told}")
            self.stop()
        self.bind(True)
        say("no encoder, or none of that name: told once, and the processor encodes; with auto that is nothing to tell")

    def encoder_sleeps(self):
        """Asleep means that the device is closed."""
        self.set()
        self.one()
        opened = lambda: int(self.machine.run(f"ls -l /proc/[0-9]*/fd 2>/dev/null | grep -c '{NODE}$'")[1])
        check(opened() == 0, "it is open before anybody looks")

        def turn():
            before = self.dmesg("stream off")
            viewer = Stream(self.machine.url, 60)
            check(all(map(by_device, viewer.frames(2))), f"the processor encoded: {self.log()}")
            viewer.close()
            eventually("another end of its stream", lambda: self.dmesg("stream off") == before + 1)
            check(opened() == 0, "it is still open")

        told = self.flat(turn)
        self.rested()
        self.sleeps()
        self.stop()
        say(f"the encoder is closed with the last viewer, {told}; asleep: neither process ran")

    def single(self, raws):
        self.machine.told("rmmod jpeg_encoder")
        self.load(single=1)
        for raw in raws:
            self.through(raw, "320x192", ROUNDED)
        self.machine.told("rmmod jpeg_encoder")
        say("the same through the single-planar interface")

    def two(self):
        """The one that is remembered cannot be opened, though its node is the same: another one is found, and then remembered."""
        self.load(devices=2)
        self.set()
        other = NODE[:-1] + "2"
        self.one()
        for busy, device in [(-1, NODE), (31, other), (-1, other)]:
            self.set(busy=busy)
            check(by_device(snapshot(self.machine.url)), f"the processor encoded, with {busy} busy:\n{self.log()}")
            self.made_by(device)
            self.rested()
        check(INSTEAD not in self.log(), self.log())
        self.stop()
        self.machine.told("rmmod jpeg_encoder")
        say("two encoders, of which the one in use cannot be opened any more: the other, from then on; /state tells which")
