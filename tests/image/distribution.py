"""The package lazycam-libcamera on a system that has libcamera, as Raspberry Pi OS does: what tests/image/run does with --libcamera.

What: on the disk there are Debian's libcamera 0.7 with its IPA modules (trixie-backports), apt, and a database of dpkg that knows them all. apt puts
  lazycam-libcamera in the place of lazycam: with the settings, and with what was disabled. The first connection starts server and capture within the
  fences of the units, and the colours of libcamera's virtual camera arrive; then those of vimc, the kernel's test camera with a media controller,
  sensor and image processor, for which libcamera loads an IPA module as it does for real ones. The package is left alone when the one before it is
  purged, refused where libcamera is another, replaced by lazycam again, removed and purged.
Why: tests/vm/libcamera.py tries the source alone: no unit, no user, no udev, no package, no IPA module.
What not: a real sensor or image processor; Raspberry Pi OS's own libcamera, which has the same soname.
"""
import re, subprocess

import module, rig
from disk import say
from libcamera import CAMERAS, off
from rig import Stream, check

VIRTUAL = "/usr/share/libcamera/pipeline/virtual/virtual.yaml"
PACKAGES = ["apt", "libcamera0.7/trixie-backports", "libcamera-ipa/trixie-backports"]
LINK = "/etc/systemd/system/{}.wants/lazycam-capture@camera.service"
# The sensor's test picture (75 % bars, Rec. ITU-R BT.471), in full range.
BARS = [(191, 191, 191), (191, 191, 0), (0, 191, 191), (0, 191, 0), (191, 0, 191), (191, 0, 0), (0, 0, 191), (0, 0, 0)]


def files(package):
    """What the machine has for this, by name: mode and content."""
    subprocess.run(["cargo", "build", "-q", "--locked", "--target-dir", rig.TARGET, "--example", "columns"], check=True, cwd=rig.ROOT)
    # From that suite, whatever this machine has.
    return {"overlay/rig/lazycam-libcamera.deb": (rig.FILE, package("--libcamera", "--suite", f"{rig.SUITE}-backports")),
            # Debian's kernel has none.
            "overlay/rig/vimc.ko": (rig.FILE, module.of_the_kernel("vimc", "drivers/media/test-drivers/vimc"))}


class Distribution:
    """A part of Tests, which has the rest."""

    def distribution(self):
        self.prepared()
        self.replaced()
        self.watched()
        self.with_ipa()
        self.other_source()
        self.purged_beside()
        self.soname()
        self.back()
        self.removal()

    def apt(self, *words, expected=0):
        status, text = self.machine.run(f"DEBIAN_FRONTEND=noninteractive apt-get -o APT::Sandbox::User=root {' '.join(words)}", seconds=300)
        self.told_too(f"apt-get {' '.join(words)}", text)
        check(status == expected, f"apt-get {' '.join(words)} ends with {status}:\n{text}")
        return text

    def prepared(self):
        """udev has set the devices up; libcamera has two cameras; the package without libcamera is there, with settings of somebody's."""
        machine = self.machine
        machine.told("udevadm trigger --action=add --subsystem-match=media --subsystem-match=misc; udevadm settle")
        owners = machine.told("stat -c '%n %U:%G %a' /dev/udmabuf /dev/media0 /dev/video0; ls /dev/dma_heap 2>&1 || true")
        check("/dev/udmabuf root:kvm 660" in owners, f"devices are {owners}")
        machine.told(f"printf '%b' '{escaped(CAMERAS)}' >{VIRTUAL}")
        machine.told("mkdir -p /var/lib/apt/lists/partial /var/cache/apt/archives/partial")
        self.apt("check")
        self.dpkg("-i", "/rig/lazycam.deb")
        machine.told(f"printf '%s\\n' {self.SETTINGS} >>/etc/default/lazycam && rm {LINK.format('lazycam@.service')}")

    def replaced(self):
        machine = self.machine
        text = self.apt("install", "--yes", "/rig/lazycam-libcamera.deb")
        check("REMOVED:\n  lazycam\n" in text, text)
        states = machine.told("dpkg-query -W -f '${Package} ${db:Status-Status}\\n' lazycam lazycam-libcamera")
        check(states == "lazycam config-files\nlazycam-libcamera installed\n", states)
        self.same_as_before()
        self.typed([("dpkg-query -W -f '${Depends}\\n' lazycam-libcamera", 0, "libcamera0.7 (>= 0.7"), ("lazycam --version", 0, "lazycam 0"),
                    ("lazycam list 2>/dev/null", 0, "--source libcamera:Bars"), ("systemctl --no-pager status lazycam.socket", 0, "active (listening)")])
        say("apt puts lazycam-libcamera in the place of lazycam; settings, and what was disabled, stay")

    def same_as_before(self):
        """The socket listens and nothing else runs; settings and links are as they were left."""
        machine = self.machine
        check(machine.state("lazycam.socket") == "active", "nobody listens")
        check(machine.told("systemctl is-enabled lazycam.socket").strip() == "enabled", "the socket would not listen after a reboot")
        check(machine.run("pidof lazycam")[0] != 0, "something runs before the first connection")
        check(set(self.SETTINGS.split()) <= set(machine.told("cat /etc/default/lazycam").split()), "settings are gone")
        check(machine.run(f"test -e {LINK.format('lazycam.service')}")[0] == 0, "the camera's link is gone")
        check(machine.run(f"test -e {LINK.format('lazycam@.service')}")[0] != 0, "a link that was removed is there again")

    def watched(self):
        machine = self.machine
        viewer = Stream(machine.url, 120)
        pictures = viewer.frames(20)
        # Samples may lie on the edges of bars that move.
        least = min(off(colours) for colours in rig.columns(self.folder, pictures))
        check(least <= 8, f"colours are {least} off")
        server, capture = (machine.pid(unit) for unit in self.UNITS)
        for process in (server, capture):
            check("libcamera.so.0.7" in machine.told(f"cat /proc/{process}/maps"), "a process has not loaded the distribution's libcamera")
        owner = machine.told("id -u lazycam").strip()
        check(machine.told(f"stat -c %u /proc/{capture}").strip() == owner, "capture has another user")
        told = machine.told(f"journalctl -u {self.UNITS[1]} -o cat")
        check("libcamera Bars (lazycam bars), 640x480" in told, f"another source was opened:\n{told}")
        names = [" ".join(machine.told(f"cat /proc/{process}/task/*/comm").split()) for process in (server, capture)]
        memory = [machine.told(f"grep VmRSS /proc/{process}/status").split()[1] for process in (server, capture)]
        peaks = [machine.shows(unit, "MemoryPeak")[0] for unit in self.UNITS]
        say(f"started by the socket: 20 valid frames, colour bars at best {least:.0f} of 255 off")
        say(f"threads: {names[0]}; {names[1]}; resident kB {', '.join(memory)}; peak of the units' memory {', '.join(peaks)}")
        viewer.close()
        self.all_ended()
        say("nobody looks: server and capture end, and the next viewer starts them again")
        self.picture()
        self.all_ended()

    def picture(self):
        """One of the camera's. With its libraries, the server takes long to start in emulation."""
        viewer = Stream(self.machine.url, 120)
        (picture,) = viewer.frames(1)
        viewer.close()
        return picture

    def with_ipa(self):
        """A camera whose pipeline has an IPA module: signed by whoever built libcamera, loaded into the process, and none runs beside it."""
        machine = self.machine
        machine.told("insmod /rig/vimc.ko && udevadm settle")
        (camera,) = re.findall(r"--source (libcamera:\S*vimc.*)", machine.told("lazycam list 2>/dev/null"))
        settings = f'LAZYCAM_SOURCE="{camera}"\\nLIBCAMERA_LOG_LEVELS=IPAManager:DEBUG,IPAModule:DEBUG\\n'
        machine.told(f"printf '{settings}' >/etc/default/lazycam-camera")
        viewer = Stream(machine.url, 120)
        seen = rig.columns(self.folder, viewer.frames(2))[-1]
        worst = max(abs(a - b) for bar, colour in zip(BARS, seen) for a, b in zip(bar, colour))
        check(worst <= 24, f"colours are {worst} off: {seen}")
        told = machine.told(f"journalctl -u {self.UNITS[1]} -o cat")
        check(re.search(r"ipa_vimc.so signature is valid", told), f"no signature of an IPA module was looked at:\n{told[-3000:]}")
        check(machine.run("pidof vimc_ipa_proxy")[0] != 0, "the IPA module runs in a process of its own")
        maps = machine.told(f"cat /proc/{machine.pid(self.UNITS[1])}/maps")
        check("ipa_vimc.so" in maps, "the IPA module is not in the process")
        viewer.close()
        self.all_ended()
        machine.told("rm /etc/default/lazycam-camera && rmmod vimc")
        say(f"{camera}: a sensor, an image processor and a signed IPA module, within the fences; colours at most {worst} of 255 off")

    def other_source(self):
        machine = self.machine
        machine.told("echo LAZYCAM_SOURCE=pattern >/etc/default/lazycam-camera")
        check(b"lazycam frame=" in self.picture(), "the setting of a source is not heeded")
        self.all_ended()
        machine.told("rm /etc/default/lazycam-camera")
        say("a source in /etc/default outranks the package's")

    def purged_beside(self):
        self.dpkg("-P", "lazycam")
        self.same_as_before()
        self.picture()
        self.all_ended()
        say("lazycam is purged beside it: settings, links and the socket stay, and a picture comes")

    def soname(self):
        """As if the distribution had gone on to the next libcamera."""
        self.machine.told("sed -e '/^Package: lazycam/,/^$/d' -e 's/libcamera0[.]7/libcamera0.8/g' /var/lib/dpkg/status >/tmp/status")
        text = self.apt("-o", "Dir::State::status=/tmp/status", "--simulate", "install", "/rig/lazycam-libcamera.deb", expected=100)
        check("Depends: libcamera0.7" in text, text)
        say("where libcamera is another, apt refuses, and says which one is missing")

    def back(self):
        machine = self.machine
        text = self.apt("install", "--yes", "/rig/lazycam.deb")
        check("REMOVED:\n  lazycam-libcamera\n" in text, text)
        self.same_as_before()
        rig.columns(self.folder, [self.picture()])
        check(machine.run("test -e /usr/lib/systemd/system/lazycam-capture@.service.d")[0] != 0, "the drop-in is left")
        self.all_ended()
        self.dpkg("-P", "lazycam-libcamera")
        self.same_as_before()
        say("and back: lazycam in the place of lazycam-libcamera, with a picture of the kernel's test camera")


def escaped(text):
    """For printf's %b, in single quotes, on the one line that a command is."""
    return text.replace("\\", "\\\\").replace("\n", "\\n")
