"""The kernel's own test camera, vivid: every format that lazycam reads, through either interface, with the colours of its bars; frames that it
marks, pictures that it turns, controls; and its inputs whose source has a say, HDMI and analogue video. Used by run.
"""
import json, re, threading, time, urllib.request
from concurrent.futures import ThreadPoolExecutor

from rig import Failed, Stream, check, columns, eventually, say, snapshot

# What the picture that stands for a lost camera contains.
NOTICE = b"lazycam notice: camera lost"

# vivid's 100% bars from left to right, and the same in its grey format: Y of BT.709, full range.
BARS = [(255, 255, 255), (255, 255, 0), (0, 255, 255), (0, 255, 0), (255, 0, 255), (255, 0, 0), (0, 0, 255), (0, 0, 0)]
GREYS = [(round(0.2126 * r + 0.7152 * g + 0.0722 * b),) * 3 for r, g, b in BARS]

# What is set is kept by vivid from one test to the next.
USUAL, FULL, LIMITED = ({"y_cbcr_encoding": matrix, "quantization": range} for matrix, range in
                        [("default", "default"), ("Rec. 709", "Full Range"), ("default", "Limited Range")])
PLANES = "YUYV UYVY YVYU VYUY NV12 NV21 YU12 YV12 NV16 NV61 422P NV24 NV42".split()
COLOURS = "RGB3 BGR3 XR24 XB24 RX24 BX24 AR24 AB24 RA24 BA24 RGB4 BGR4 RGBP GREY".split()
APART = "NM12 NM21 NM16 NM61 YM12 YM21 YM16 YM61 YM24 YM42".split()
# The devices of either interface, and what each has to show; one with an HDMI input, one with S-Video, and one with TV.
SINGLE, MULTI, HDMI, S_VIDEO, TV = [0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11], 12, 13, 14
TABLE = {
    tuple(SINGLE): [(code, USUAL) for code in PLANES + COLOURS] + [(code, FULL) for code in ("YUYV", "NV12", "YU12")]
                   + [(code, LIMITED) for code in ("RGB3", "BX24", "RGBP")],
    # Of the packed formats, vivid puts the first byte of the picture 128 bytes into its memory.
    tuple(MULTI): [(code, USUAL) for code in APART + ["YUYV", "NV12", "NV24", "BGR3", "GREY"]] + [(code, FULL) for code in ("NM12", "YM12", "YM24")],
}


class Vivid:
    def plug_vivid(self):
        # Only when the tests with the other camera are over, because `--source v4l2` would have chosen one of these while that was unplugged.
        count = len(SINGLE) + len(MULTI) + 3
        each = lambda value: ",".join(str(value(i)) for i in range(count))
        self.machine.told(f"insmod /modules/vivid.ko n_devs={count} node_types={each(lambda i: 1)} multiplanar={each(lambda i: 2 if i in MULTI else 1)} "
                          # Else vivid scales whatever comes to any size, and nothing depends on the source.
                          f"ccs_cap_mode={each(lambda i: 0 if i >= HDMI else -1)} num_inputs={each(lambda i: 1)} "
                          f"input_types={each(lambda i: {HDMI: 3, S_VIDEO: 2, TV: 1}.get(i, 0))}")
        found = self.machine.told("cd /sys/class/video4linux; grep vivid */name")
        self.nodes = {int(instance): f"/dev/{node}" for node, instance in re.findall(r"(video\d+)/name:vivid-(\d+)-vid-cap", found)}
        check(len(self.nodes) == count, f"vivid's devices: {found}")

    def formats(self):
        """Several at a time, because most of the time is that of starting programs."""
        for devices, rows in TABLE.items():
            for first in range(0, len(rows), len(devices)):
                self.bars(dict(zip(devices, rows[first:first + len(devices)])))

    def bars(self, rows):
        cameras = []
        for device, (code, controls) in rows.items():
            told = "".join(f",control={name}={value}" for name, value in controls.items())
            cameras.append(f"--camera 'v{device}=v4l2:{self.nodes[device]},format={code}{told}'")
        self.start(f"--size 320x180 --quality 95 --control 'test_pattern=100% Colorbar' --control osd_text_mode=none {' '.join(cameras)}")
        # All at once, because each of them waits for its camera.
        with ThreadPoolExecutor() as viewers:
            pictures = list(viewers.map(lambda device: snapshot(f"{self.machine.url}/v{device}"), rows))
        for (device, (code, controls)), seen in zip(rows.items(), columns(self.folder, pictures)):
            what = f"{code}, {controls['quantization']}, by the {'multi' if device in MULTI else 'single'}-planar interface"
            off = max(abs(a - b) for s, e in zip(seen, GREYS if code == "GREY" else BARS) for a, b in zip(s, e))
            check(off <= (12 if code == "RGBP" else 8), f"{what}: colours are {off} off: {seen}\n{self.log()}")
            check(f" {code} at " in self.log(), f"{what}: the log does not name it:\n{self.log()}")
            say(f"vivid {what}: colour bars right, at most {off} of 255 off")
        self.stop()

    def marked(self):
        self.start(f"--source v4l2:{self.nodes[0]} --control inject_v4l2_buf_flag_error=1")
        columns(self.folder, Stream(self.machine.url).frames(3))
        check("dropped a broken frame" in self.log(), f"a frame marked as broken was not dropped: {self.log()}")
        self.stop()
        say("vivid: a frame with V4L2_BUF_FLAG_ERROR is dropped and counted")

    def turned(self):
        """By the camera, raw, and as MJPEG; and a control that is set while it runs."""
        machine = self.machine
        node = self.nodes[0]
        bars = "--control 'test_pattern=100% Colorbar' --control osd_text_mode=none"
        for flags, way, expected in [("--rotate 180", "turns its pictures itself", BARS[::-1]),
                                     ("--flip horizontal --control horizontal_flip=0", "flipped horizontally here", BARS[::-1]),
                                     ("--flip vertical --control vertical_flip=0", "flipped vertically here", BARS)]:
            self.start(f"--source v4l2:{node} --size 640x360 --format YUYV --quality 95 {bars} {flags}")
            seen = columns(self.folder, [snapshot(machine.url)])[0]
            off = max(abs(a - b) for s, e in zip(seen, expected) for a, b in zip(s, e))
            check(off <= 8 and way in self.log(), f"{flags}: colours are {off} off: {seen}\n{self.log()}")
            self.stop()
        self.start(f"--source v4l2:{node} --size 640x360 --format YUYV --quality 95 {bars}")
        seen = columns(self.folder, [snapshot(machine.url)])[0]
        off = max(abs(a - b) for s, e in zip(seen, BARS) for a, b in zip(s, e))
        check(off <= 8, f"the camera was left turned: {seen}")
        self.stop()
        say("vivid: turned by itself where it can, else here, and left as it was found")
        machine.told("rm -rf /run/live")
        self.start(f"--frames /run/live --source v4l2:{node} --size 640x360 --format YUYV {bars} --settable brightness,saturation")
        viewer = Stream(machine.url)
        viewer.frames(3)
        told = machine.told("lazycam control /run/live saturation=0")
        check(told.strip().endswith("set saturation=0"), told)
        eventually("a picture without colour", lambda: all(max(c) - min(c) <= 8 for c in columns(self.folder, [viewer.frames(1)[0]])[0]))
        status, text = machine.run("lazycam control /run/live brightness=900 contrast=1 2>&1")
        check(status == 1 and "brightness is 0 to 255, not '900'" in text and "refused contrast=1" in text, f"status {status}: {text}")
        viewer.close()
        self.stop()
        say("vivid: a control is set while it runs, and what cannot be is refused in words")

    def remote(self, node, **controls):
        """Sets controls in vivid by another process that has it open, and never streams."""
        if not self.machine.run("test -f /run/remote.pid")[0] == 0:
            names = ",".join(controls)
            self.machine.told(f"lazycam capture --log debug --frames /run/remote --source v4l2:{node} --settable {names} >/run/remote.log 2>&1 & echo $! >/run/remote.pid")
            eventually("the other process", lambda: " on demand\n" in self.log("remote"))
        told = self.machine.told("lazycam control /run/remote " + " ".join(f"{name}={value}" for name, value in controls.items()))
        check(told.count("set ") == len(controls), told)

    def no_remote(self):
        self.machine.told("kill $(cat /run/remote.pid); rm -r /run/remote.pid /run/remote")
        eventually("the other process ends", lambda: self.machine.run("pidof lazycam")[0] != 0)

    def shows(self, viewer, expected):
        """Waits for pictures of this size; all pictures after it have that size."""
        viewer.until(f"pictures of {expected}", lambda picture: NOTICE not in picture and sent(picture) == expected)
        later = [sent(picture) for picture in viewer.next(3) if NOTICE not in picture]
        check(set(later) <= {expected}, f"after {expected} came {later}")

    def lost(self, viewer, words):
        viewer.until("what stands for a lost camera", lambda picture: NOTICE in picture)
        eventually(f"the reason: {words}", lambda: words in self.why(), 60)

    def about(self):
        """What the server says of the camera."""
        return json.loads(urllib.request.urlopen(self.machine.url + "/state", timeout=30).read())["result"]["lazycam"]["cameras"][0]

    def why(self):
        return self.about().get("why") or ""

    def hdmi(self):
        """The source of an HDMI input changes its mode, or sends nothing: while somebody looks, while nobody does, and in between."""
        node, machine = self.nodes[HDMI], self.machine
        # By number: 0 is 640x480p59, 24 800x600p60, 9 1280x720p60, 3 720x576i25 (too slow a clock for it), 13 1920x1080i25.
        mode = lambda signal, timings: self.remote(node, dv_timings_signal_mode=signal, dv_timings=timings)
        mode(4, 0)
        # So few, because what is emulated is slow.
        self.start(f"--source v4l2:{node} --format YUYV --quality 50 --fps 5 --linger 1")
        viewer = Watched(machine.url)
        self.shows(viewer, (640, 480))
        mode(4, 24)
        self.shows(viewer, (800, 600))
        check(self.log().count(" is lost") == 0, f"a change of size is a loss:\n{self.log()}")
        before, after = self.turns(3)
        ran = max(int(b.split()[2]) - int(a.split()[2]) for a, b in zip(before.splitlines(), after.splitlines()))
        check(ran < 3000, f"a process ran {ran} times in 3 s after the source has changed")
        for signal, words in [(1, "no signal: look at its source"), (2, "signal is not stable"), (3, "in timings that the device cannot take")]:
            mode(signal, 24)
            self.lost(viewer, words)
            mode(4, 0)
            self.shows(viewer, (640, 480))
        for timings, words in [(3, "its source sends 720x576 in timings that the device cannot take"), (13, "every other line at a time")]:
            mode(4, timings)
            self.lost(viewer, words)
        mode(4, 9)
        self.shows(viewer, (1280, 720))
        say("vivid's HDMI: another size while live; no signal, no lock, out of range and interlaced are told, and pictures come back")
        viewer.close()
        eventually("off", lambda: "off" == self.about()["state"])
        mode(4, 0)
        viewer = Watched(machine.url)
        viewer.until("a picture", lambda picture: NOTICE not in picture)
        check(sent(viewer.last) == (640, 480), f"a picture of before the change came after it: {sent(viewer.last)}")
        viewer.close()
        for timings in (24, 0, 24):
            eventually("off", lambda: "off" == self.about()["state"])
            viewer = Watched(machine.url)
            mode(4, timings)
            self.shows(viewer, (640, 480) if timings == 0 else (800, 600))
            viewer.close()
        # At each question another mode.
        mode(5, 0)
        viewer = Watched(machine.url)
        viewer.next(1)
        mode(4, 0)
        self.shows(viewer, (640, 480))
        viewer.close()
        self.stop_beside()
        text = self.says(f"lazycam capture --frames /run/other --source v4l2:{node} --size 800x600", "waiting for it")
        check("640x480" in text and "has no pictures of 800x600" in text, f"another size than the source's: {text}")
        self.no_remote()
        say("vivid's HDMI: another size while nobody looks and in mid-start; every mode of its menu")

    def stop_beside(self):
        machine = self.machine
        machine.told("kill $(cat /run/lazycam.pid)")
        eventually("the processes end", lambda: machine.run("netstat -ltn | grep -q :8080")[0] != 0)

    def analogue(self):
        """The standard is the one that the decoder finds, or else the one that was asked for: the number of lines tells which."""
        node, tv, machine = self.nodes[S_VIDEO], self.nodes[TV], self.machine
        comes = lambda standard: self.remote(node, standard_signal_mode=4, standard=standard)
        comes("NTSC-M")
        self.start(f"--source v4l2:{node} --format YUYV --quality 50 --fps 5 --linger 1")
        viewer = Watched(machine.url)
        self.shows(viewer, (720, 480))
        comes("PAL-BGH")
        self.shows(viewer, (720, 576))
        check(self.log().count(" is lost") == 0, f"another standard is a loss:\n{self.log()}")
        viewer.close()
        eventually("off", lambda: "off" == self.about()["state"])
        comes("NTSC-M")
        check(sent(snapshot(machine.url)) == (720, 480), f"a picture of before the change came after it:\n{self.log()}")
        self.stop_beside()
        # vivid's standard is PAL, unless something else is set.
        cameras = [("detected", node, "SECAM", (720, 576)), ("other", tv, "ntsc-m", (720, 480))]
        self.start("--format YUYV --quality 50 " + " ".join(f"--camera {name}=v4l2:{at},standard={standard}" for name, at, standard, _ in cameras))
        for name, _, standard, size in cameras:
            seen = sent(snapshot(f"{machine.url}/{name}"))
            check(seen == size, f"{standard} was asked for, and pictures of {seen} came\n{self.log()}")
        self.stop_beside()
        self.no_remote()
        listed = {camera["device"]: camera["standards"] for camera in json.loads(machine.told("lazycam list --json"))["cameras"]}
        check({"PAL", "NTSC-M", "SECAM"} <= set(listed[tv]) and listed[self.nodes[0]] == [], f"standards in `lazycam list --json`: {listed}")
        status, text = machine.run(f"lazycam capture --frames /run/other --source v4l2:{tv} --standard PAL-X")
        check(status == 2 and f"has no standard PAL-X; it has {', '.join(listed[tv])}" in text, f"--standard PAL-X: status {status}: {text}")
        # Its input might be set to an analogue one later.
        text = self.says(f"lazycam capture --frames /run/other --source v4l2:{self.nodes[0]} --standard PAL", "waiting for it")
        check("has no analogue video input now" in text and "waiting for it" in text, f"--standard without an analogue input: {text}")
        say("vivid's S-Video: another standard while live and while nobody looks; it and TV with one that was asked for; what there is not is told")


class Watched:
    """A viewer that goes on to take pictures while something else is done. A stream whose pictures get another size ends, and then it comes
    again."""

    def __init__(self, url):
        self.url, self.stream, self.last, self.count, self.news, self.closed = url, Stream(url, 60), b"", 0, threading.Condition(), False
        threading.Thread(target=self.take, daemon=True).start()

    def take(self):
        while not self.closed:
            try:
                picture = self.stream.frame()
            except Failed:
                self.stream.close()
                try:
                    self.stream = Stream(self.url, 60)
                except OSError:
                    return  # the server has ended
                continue
            with self.news:
                self.last, self.count = picture, self.count + 1
                self.news.notify_all()
        self.stream.close()

    def next(self, count):
        """The next pictures; if there are many, not all of them."""
        pictures = []
        while len(pictures) < count:
            with self.news:
                seen = self.count
                check(self.news.wait_for(lambda: self.count > seen, 90), "no picture for 90 s")
                pictures.append(self.last)
        return pictures

    def until(self, what, test):
        end = time.monotonic() + 90
        while not test(self.next(1)[0]):
            check(time.monotonic() < end, f"not within 90 s: {what}")

    def close(self):
        """With the next picture."""
        self.closed = True


def sent(picture):
    """The size of a picture, by its SOF0."""
    height, width = re.search(rb"\xff\xc0\x00\x11\x08(..)(..)", picture, re.S).groups()
    return int.from_bytes(width, "big"), int.from_bytes(height, "big")
