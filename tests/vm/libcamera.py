"""The source libcamera on an emulated system: what tests/vm/run does for `libcamera`.

What: builds lazycam with the feature for arm64, dynamically linked against Debian's libcamera 0.7 (trixie-backports), puts it into an
  initramfs with that library and those that it needs, and drives libcamera's own virtual camera: listed, viewed, suspended,
  silent, mistaken. The same with the static file that has libcamera inside (`libcamera-static`), which needs none of those files:
  there too that its IPA modules and tuning files are inside, and on armhf that it starts and lists.
Why: a real camera of libcamera cannot be emulated; its virtual one goes the whole way through the library, buffers included.
What not: sensors, ISPs, IPA modules, a rate (the virtual camera sends frames as fast as it is asked), and a camera in use: several
  processes may have the virtual one at a time. armhf's kernel has no /dev/udmabuf, so there is arm64 alone.
"""
import json, os, re, subprocess, time, urllib.request

import rig
from rig import CACHE, FILE, HERE, PROGRAM, ROOT, TARGET, Guest, Machine, Stream, check, columns, eventually, say

TRIPLE, LIB = "aarch64-unknown-linux-gnu", "usr/lib/aarch64-linux-gnu"
CAMERAS = """%YAML 1.1
---
"Bars":
  supported_formats:
  - {width: 640, height: 480, frame_rates: [30, 60]}
  - {width: 320, height: 240, frame_rates: [30]}
  test_pattern: "bars"
  location: "CameraLocationFront"
  model: "lazycam bars"
"Lines":
  supported_formats:
  - {width: 1280, height: 720, frame_rates: [30]}
  test_pattern: "lines"
  location: "CameraLocationBack"
  model: "lazycam lines"
"""
# libcamera's bars. It writes them by BT.601 and says that they are of BT.709, so what is right is what comes out of that.
BARS = [(255, 255, 255), (255, 255, 0), (0, 255, 255), (0, 255, 0), (255, 0, 255), (255, 0, 0), (0, 0, 255), (0, 0, 0)]


def mistaken(rgb):
    """Coded by BT.601, decoded by BT.709 (Rec. ITU-R BT.601-7, 2.5; BT.709-6, 3)."""
    r, g, b = rgb
    y = 0.299 * r + 0.587 * g + 0.114 * b
    cb, cr = (b - y) / 1.772, (r - y) / 1.402
    return [min(255, max(0, c)) for c in (y + 1.5748 * cr, y - 0.1873 * cb - 0.4681 * cr, y + 1.8556 * cb)]


def off(colours):
    """How far from the bars, wherever they have moved to, the worst of eight samples is."""
    bars = [mistaken(bar) for bar in BARS]
    return min(max(abs(a - b) for i, seen in enumerate(colours) for a, b in zip(seen, bars[(i + shift) % 8]))
               for shift in range(8))


# --- what is built ----------------------------------------------------------------------------------------------------

def sysroot():
    """Headers and libraries in one tree."""
    return rig.Packages("arm64", backports=True).libcamera()


def environment():
    """For cargo, so that it builds the feature for TRIPLE."""
    tree, target = sysroot(), TRIPLE.replace("-", "_")
    linking = ["--allow-shlib-undefined", f"-rpath-link,{tree / LIB}"]
    env = {name: value for name, value in os.environ.items() if name not in ("RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS")}
    env.update({
        "PKG_CONFIG_ALLOW_CROSS": "1", "PKG_CONFIG_SYSROOT_DIR": str(tree), "PKG_CONFIG_LIBDIR": str(tree / LIB / "pkgconfig"),
        f"CC_{target}": "aarch64-linux-gnu-gcc", f"CXX_{target}": "aarch64-linux-gnu-g++", f"AR_{target}": "aarch64-linux-gnu-ar",
        f"BINDGEN_EXTRA_CLANG_ARGS_{target}": "--sysroot=/ -isystem /usr/aarch64-linux-gnu/include",
        f"CARGO_TARGET_{target.upper()}_LINKER": "aarch64-linux-gnu-g++",
        f"CARGO_TARGET_{target.upper()}_RUSTFLAGS": " ".join(f"-C link-arg=-Wl,{flag}" for flag in linking),
        f"CARGO_TARGET_{target.upper()}_RUNNER": f"qemu-aarch64-static -L {tree}"})
    return env


def cargo(*arguments):
    """cargo with the feature, for TRIPLE. Its own unit tests run under qemu's user mode."""
    command, *more = arguments
    at, *rest = " ".join(more).partition(" -- ")
    options = ["--locked", "--features", "libcamera", "--target", TRIPLE, "--target-dir", TARGET]
    subprocess.run(["cargo", command, "-q", *options, *at.split(), *" ".join(rest).split()], check=True, env=environment(), cwd=ROOT)


def dynamic():
    """The dynamically linked binary and the files that it needs."""
    for program, package in (("aarch64-linux-gnu-g++", "g++-aarch64-linux-gnu"), ("pkg-config", "pkgconf"),
                             ("qemu-aarch64-static", "qemu-user-static")):
        rig.need(program, package)
    subprocess.run(["rustup", "target", "add", TRIPLE], check=True, capture_output=True)
    cargo("clippy", "--lib", "--bins", "--", "-D", "warnings")
    cargo("test", "--lib", "libcamera")
    # Not a release, which takes two minutes more: what is handed out with libcamera is the static file.
    cargo("build", "--bin", "lazycam")
    binary = CACHE / "lazycam-libcamera"
    subprocess.run(["aarch64-linux-gnu-strip", "-o", binary, TARGET / TRIPLE / "debug/lazycam"], check=True)
    say("the feature libcamera: clippy is clean, its unit tests pass under qemu-user, it links")
    silent, tree = TARGET / "vm/silent_camera.so", sysroot()
    subprocess.run(["aarch64-linux-gnu-g++", "-std=c++17", "-shared", "-fPIC", "-O1", "-I", tree / "usr/include/libcamera", "-o", silent,
                    HERE / "silent_camera.cpp"], check=True)
    files = {f"{LIB}/{name}": (PROGRAM, file.read_bytes()) for name, file in needed(binary, tree / LIB).items()}
    files["lib/ld-linux-aarch64.so.1"] = (PROGRAM, next(tree.rglob("ld-linux-aarch64.so.1")).read_bytes())
    files["lib/silent_camera.so"] = (PROGRAM, silent.read_bytes())
    return binary, files


def needed(binary, libraries):
    """The shared libraries that a binary loads, and those that these do: name and file."""
    found, todo = {}, [binary]
    while todo:
        dynamic_section = rig.output("readelf", "-d", todo.pop())
        for name in re.findall(r"NEEDED.*\[(.*)\]", dynamic_section):
            if name not in found and not name.startswith("ld-"):
                found[name] = libraries / name
                check(found[name].exists(), f"no package brings {name}")
                todo.append(found[name])
    return found


def image(binary, files):
    """A machine with a binary, the files that it needs beside itself, and cameras for it."""
    rig.say(f"{binary}: {binary.stat().st_size} bytes, with {len(files)} files of {sum(len(f) for _, f in files.values())} bytes")
    cameras = {"usr/share/libcamera/pipeline/virtual/virtual.yaml": (FILE, CAMERAS.encode()),
               "bin/lazycam": (PROGRAM, binary.read_bytes())}
    return lambda folder: Machine("arm64", folder, {**files, **cameras}, memory=512)


def run():
    """With the dynamically linked binary; true if all holds."""
    subprocess.run(["cargo", "build", "-q", "--locked", "--target-dir", TARGET, "--example", "columns"], check=True, cwd=ROOT)
    return rig.run("libcamera", image(*dynamic()), Tests, "lazycam")


def static():
    """The same with the static files of cross/build --libcamera; true if all holds."""
    subprocess.run([ROOT / "cross/build", "--libcamera"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cargo", "build", "-q", "--locked", "--target-dir", TARGET, "--example", "columns"], check=True, cwd=ROOT)
    arm64, armhf = (TARGET / f"static/lazycam-libcamera-{arch}" for arch in ("aarch64", "armv7"))
    alone = {"bin/lazycam": (PROGRAM, armhf.read_bytes())}
    return all([rig.run("libcamera-static", image(arm64, {}), Static, "lazycam"),
                rig.run("libcamera-static, armhf", lambda folder: Machine("armhf", folder, alone), Inside, "lazycam")])


# --- what has to hold -------------------------------------------------------------------------------------------------

class Tests(Guest):
    def all(self):
        self.absent()
        self.media()
        self.listed()
        self.viewed()
        self.suspended()
        self.controlled()
        self.killed()
        if self.machine.run("test -e /lib/silent_camera.so")[0] == 0:
            self.fails("silent", "has given no frame for 5 s")
            self.fails("cancelled", "was given up by libcamera, which cancels its frames")
        else:
            say("SKIPPED: a camera that fails (it takes a shared library to preload into)")
        self.mistakes()

    def absent(self):
        """No memory for buffers and no media device: waited for, and found when they come."""
        memory = "/dev/udmabuf /dev/dma_heap"
        self.machine.told(f"mkdir /run/dev; mv {memory} /run/dev 2>/dev/null; test -e /run/dev/udmabuf")
        self.start("--source libcamera:Bars --linger 1")
        told = "there is no (memory to be had for it|media device).*; waiting for it"
        eventually("the log of the absence", lambda: re.search(told, self.log()))
        viewer = Stream(self.machine.url, 60)
        eventually("a try that fails", lambda: "is lost" in self.log())
        self.machine.told("mv /run/dev/* /dev")
        self.media()
        viewer.frames(3)
        check("opened libcamera Bars" in self.log(), self.log())
        viewer.close()
        self.stop()
        say("no camera: told, and found without udev as soon as there is one, while a viewer waits")

    def media(self):
        """A media device, which libcamera's udev must believe to be set up."""
        self.machine.told("test -e /dev/media0 || insmod /modules/vivid.ko n_devs=1 node_types=0x1; mkdir -p /run/udev/data; "
                          "for d in /sys/bus/media/devices/*/dev /sys/class/video4linux/*/dev; do "
                          "echo I:1 >/run/udev/data/c$(cat $d); done; touch /dev/media0; chmod 600 /dev/media0")

    def listed(self):
        text = self.machine.told("lazycam list 2>/dev/null")
        for line in ("lazycam bars (libcamera, Bars)", "  --source libcamera:Bars", "  --source libcamera:Lines", "  --format NV12",
                     "    --size 640x480  --fps not told", "    --size 1280x720  --fps not told"):
            check(f"{line}\n" in text, f"`lazycam list` does not tell {line}:\n{text}")
        check("--control FrameDurationLimits=" in text and "--control Orientation=Rotate0, " in text, text)
        listed = json.loads(self.machine.told("lazycam list --json 2>/dev/null"))["cameras"]
        bars = next(camera for camera in listed if camera["source"] == "libcamera:Bars")
        check(bars["readable"] and {"width": 320, "height": 240, "fps": []} in bars["formats"][0]["sizes"], str(bars))
        check(any(control["name"] == "FrameDurationLimits" for control in bars["controls"]), str(bars))
        say("list: as text and as JSON")

    def viewed(self):
        self.start("--source libcamera:Bars --size 640x480 --quality 95 --linger 1")
        time.sleep(2)
        self.sleeps(looks=3)
        say("nobody looks: 10 s in which no thread ran, those of libcamera included")
        viewer = Stream(self.machine.url)
        pictures = viewer.frames(20)
        least = min(off(colours) for colours in columns(self.folder, pictures))
        check(least <= 8, f"colours are {least} off: {columns(self.folder, pictures[:1])}")
        viewer.close()
        say(f"20 valid frames of NV12, colour bars at most {least:.0f} of 255 off")
        self.asleep()
        self.sleeps()
        say("the last viewer has gone: again 10 s in which no thread ran")

    def asleep(self):
        eventually("the camera is off", lambda: self.state() == "off")

    def state(self):
        return json.loads(urllib.request.urlopen(self.machine.url + "/state", timeout=30).read())[
            "result"]["lazycam"]["cameras"][0]["state"]

    def suspended(self):
        def turn():
            viewer = Stream(self.machine.url)
            viewer.frames(2)
            viewer.close()
            self.asleep()

        say(f"suspended and resumed {self.flat(turn)}")
        self.sleeps()
        threads = self.machine.told("for p in $(pidof lazycam); do cat /proc/$p/task/*/comm; echo; done")
        say(f"asleep: threads by process: {'; '.join(' '.join(names.split()) for names in threads.strip().split(chr(10) * 2))}")
        self.stop()

    def controlled(self):
        self.start("--source libcamera:1 --size 1280x720 --fps 25 --control FrameDurationLimits=33333:33333 "
                   "--control orientation=rotate0")
        columns(self.folder, [rig.snapshot(self.machine.url)])
        check("libcamera Lines (lazycam lines), 1280x720 NV12" in self.log(), self.log())
        self.stop()
        say("by number, with a rate, a control and an orientation")

    def killed(self):
        self.start("--source libcamera --linger 1")
        viewer = Stream(self.machine.url, 60)
        viewer.frames(3)
        capture = re.findall(r"capture is process (\d+)", self.log())[-1]
        self.machine.told(f"kill -9 {capture}")
        viewer.frames(3)
        eventually("the log of the new process", lambda: self.log().count("capture is process") >= 2)
        viewer.frames(3)
        viewer.close()
        self.stop()
        say("the capture process is killed: its viewer stays, and sees the next one's frames")

    def fails(self, how, told):
        """A camera whose requests have one of the fates that silent_camera.cpp has for them, from a frame on."""
        self.start("--source libcamera:Bars", before="LD_PRELOAD=/lib/silent_camera.so")
        viewer = Stream(self.machine.url, 60)
        viewer.frames(3)
        self.machine.told(f"touch /run/{how}")
        eventually(f"the end of the {how} capture", lambda: told in self.log())
        eventually("its successor", lambda: self.log().count("capture is process") >= 2)
        check("capture ended with exit status: 1" in self.log(), self.log())
        check("broken frame" not in self.log(), self.log())
        self.machine.told(f"rm /run/{how}")
        viewer.frames(3)
        viewer.close()
        self.stop()
        say(f"requests are {how}: told, the process ends with status 1, its viewer sees the next one's frames")

    def mistakes(self):
        capture = "lazycam capture --frames /run/mistaken --source libcamera"
        for arguments, words in [
            (":Bars --size 641x480", ["no pictures of 641x480", "640x480", "320x240"]),
            (":Bars --format YUYV", ["no format YUYV", "NV12"]),
            (":Bars --control Sharpness=1", ["no control sharpness", "FrameDurationLimits", "Orientation"]),
            (":Bars --control FrameDurationLimits=1:2", ["FrameDurationLimits is "]),
            (":Bars --control orientation=upside_down", ["Orientation is one of Rotate0, "]),
        ]:
            got, text = self.machine.run(f"{capture}{arguments}")
            check(got == 2 and all(word in text for word in words), f"{arguments}: status {got}: {text}")
        for name in ("Nobody", "7"):
            absent = f"no camera {name}; it has 0 (Bars), 1 (Lines)"
            text = self.says(f"{capture}:{name}", absent)
            check(absent in text, text)
        self.machine.told("mkdir -p /run/nobody; chown 99 /run/nobody")
        refused = "no permission for /dev/"
        text = self.says("su nobody -c 'exec lazycam capture --frames /run/nobody/x --source libcamera'", refused)
        check(refused in text, f"without permission: {text}")
        say("mistakes are told with what to do: size, format, control, value, orientation, camera, permission")


class Inside(Guest):
    """What the static file brings with it."""

    def all(self):
        text = self.machine.told("lazycam --version; ls /lib /usr/lib 2>&1; lazycam list 2>&1")
        check("ls: /usr/lib" in text and re.search(r"^(no cameras|lazycam bars)", text, re.M), text)
        self.machine.told("insmod /modules/vivid.ko n_devs=1 node_types=0x1; test -e /dev/media0")
        file = "/run/lazycam-tuning.*/rpi/vc4/imx219.json"
        self.machine.told(f"while sleep 0.01; do ls {file}; done >/tmp/seen 2>&1 & echo $! >/tmp/looking")
        text = self.machine.told("LIBCAMERA_LOG_LEVELS='*:DEBUG' RUNTIME_DIRECTORY=/run lazycam list 2>&1")
        for module in ("rpi/vc4 for rpi/vc4", "simple for simple"):
            check(f"built in: {module}" in text, f"no IPA module {module}:\n{text}")
        check("vivid" in text, text)
        seen = self.machine.told("kill $(cat /tmp/looking); cat /tmp/seen")
        check(re.search(r"^/run/lazycam-tuning\.\d+/", seen, re.M), f"no tuning files while libcamera looked:\n{seen[-300:]}")
        check(self.machine.run("ls -d /run/lazycam-tuning.*")[0] != 0, "tuning files were left behind")
        say("starts and lists without a library in the image; IPA modules rpi/vc4 and simple, and tuning files, are inside")


class Static(Tests):
    def all(self):
        Inside.all(self)
        self.machine.told("rmmod vivid")
        super().all()
