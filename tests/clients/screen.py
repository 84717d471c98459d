#!/usr/bin/env python3
"""tests/clients/screen.py URL [CASE...]: how old frames are on the screen, in every way in which a browser can be made to display a stream.

What: each browser, with a window on a screen of its own (Xvfb), shows the stream at one frame per second in an <img>, in an iframe and by
  its address alone. The test pattern's strip (number and capture time as black and white cells) is looked for on the screen and
  read off its pixels, over and over. Prints the median age at which frames are first seen. Fails if it is 600 ms or more: a browser that
  shows a frame when the next one comes is a second late. `advance_headers=0` must be that late in Chromium and in WebKit, or nothing
  was measured.
  Chromium and WebKit get advance headers by themselves, Firefox must not need them.
Why: what a browser has decoded and what it shows are two things, and a page cannot be asked about a stream that is no <img> of its own.
What not: no figure of the browser's own delay: a window without a graphics card takes what it takes.
Needs Debian's xvfb, chromium, firefox-esr, gir1.2-webkit2-4.1 and python3-gi; a browser that is missing is told, and the status is 77 if
all else is well. Ends with 0, or with 1 after saying what was wrong.
"""

import contextlib
import mmap
import os
import pathlib
import statistics
import struct
import subprocess
import sys
import tempfile
import time

from shared import Failed, Missing, check, need, page_server, script, wait_for

FPS = 1
FRAMES = 6
SKIPPED = 2  # the first ones: the browser warms up
BOUND_MS = 600
TRIES = 3
CELL = 16  # the pattern is 512x256 or larger
SYNC = format(0x1ACFFC1D, "032b").translate({48: 0, 49: 1}).encode()
WEBKIT = """
import sys, gi
gi.require_version("Gtk", "3.0"); gi.require_version("WebKit2", "4.1")
from gi.repository import Gtk, WebKit2
if len(sys.argv) == 1:
    print(WebKit2.get_major_version(), WebKit2.get_minor_version(), WebKit2.get_micro_version(), sep=".")
    sys.exit()
window, view = Gtk.Window(), WebKit2.WebView()
window.set_default_size(1000, 750); window.add(view); window.show_all(); view.load_uri(sys.argv[1]); Gtk.main()
"""
PAGES = {"img": "<!doctype html><body style='margin:0'><img src='%s'>",
         "iframe": "<!doctype html><body style='margin:0'><iframe src='%s' width=900 height=700 frameborder=0></iframe>"}


class Screen:
    """A screen whose pixels are a file."""

    def __init__(self, place):
        self.process = subprocess.Popen(["Xvfb", "-displayfd", "1", "-screen", "0", "1024x768x24", "-nolisten", "tcp", "-fbdir", place],
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        number = self.process.stdout.readline().strip()
        check(number, "Xvfb does not start")
        self.display = f":{number}"
        with open(pathlib.Path(place, "Xvfb_screen0"), "rb") as file:
            self.pixels = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        # XWDfile.h: the header, then a table of colours, then the lines.
        header = struct.unpack(">25I", self.pixels[:100])
        self.width, self.height, self.stride = header[4], header[5], header[12]
        self.begin = header[0] + 12 * header[19]

    def row(self, y):
        """One line of the screen: 0 for each dark pixel, 1 for each light one."""
        at = self.begin + y * self.stride
        return self.pixels[at + 1:at + 4 * self.width:4].translate(bytes(128) + b"\1" * 128)  # green

    def find(self):
        """Where the strip is, if it is there."""
        for y in range(CELL // 2, self.height - 4 * CELL, 4):
            row = self.row(y)
            for x in range(CELL):
                found = row[x::CELL].find(SYNC)
                if found >= 0:
                    # In the middle of the cell: the first sample of a white one after a black one is at its edge.
                    left = x + CELL * found
                    while left and row[left - 1:left - 1 + 32 * CELL:CELL] == SYNC:
                        left -= 1
                    top = y
                    while top and self.row(top - 1)[left:left + 32 * CELL:CELL] == SYNC:
                        top -= 1
                    return left + CELL // 2, top + CELL // 2
        return None

    def read(self, place):
        """Number and capture time of the frame that is shown there; None while it is being drawn."""
        left, top = place
        bits = b"".join(self.row(top + CELL * number)[left:left + 32 * CELL:CELL] for number in range(4))
        return stamp(bits.translate(b"01" + bytes(254)))

    def ages(self):
        """How old frames are, in milliseconds, when they are first seen."""
        place = wait_for("the pattern on the screen", self.find)
        ages, last, end, seen_at = [], None, time.monotonic() + 60, time.monotonic()
        while len(ages) < FRAMES + SKIPPED:
            check(time.monotonic() < end, f"{len(ages)} frames in 60 s")
            seen = self.read(place)
            if seen and seen[0] != last:
                last, seen_at = seen[0], time.monotonic()
                ages.append(time.time() * 1000 - seen[1])
            elif time.monotonic() > seen_at + 3:  # it has moved: the page was laid out anew
                place, seen_at = wait_for("the pattern on the screen", self.find), time.monotonic()
            time.sleep(0.004)
        return ages[SKIPPED:]

    def close(self):
        """The screen goes dark."""
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()


def stamp(bits):
    """What the 128 cells of the strip say, each `0` or `1`: number and capture time, in milliseconds since 1970, of the frame; None if it is no strip."""
    data = int(bits, 2).to_bytes(16, "big")
    sync, frame, high, low, crc = struct.unpack(">IIIHH", data)
    if sync != 0x1ACFFC1D or crc != crc16(data[4:14]):
        return None
    return frame, high << 16 | low


def crc16(data):
    """CRC-16/CCITT-FALSE."""
    value = 0xFFFF
    for byte in data:
        value ^= byte << 8
        for _ in range(8):
            value = (value << 1 ^ 0x1021 if value & 0x8000 else value << 1) & 0xFFFF
    return value


def python_with_webkit():
    """A Python that has WebKitGTK's bindings: Debian's, wherever another one is first in the path."""
    for python in (sys.executable, "/usr/bin/python3"):
        done = subprocess.run([python, "-c", WEBKIT], check=False, capture_output=True, text=True)
        if done.returncode == 0:
            return python, done.stdout.strip()
    raise Missing("WebKitGTK's bindings are missing; on Debian: apt-get install gir1.2-webkit2-4.1 python3-gi")


def chromium(profile, url):
    """What opens it, and its version."""
    need("chromium", "chromium")
    return ["chromium", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage", "--window-size=1000,750",
            "--window-position=0,0", "--disable-background-networking", "--disable-component-update", "--disable-sync",
            f"--user-data-dir={profile}", url], ["chromium", "--version"]


def firefox(profile, url):
    """The same."""
    need("firefox-esr", "firefox-esr")
    pathlib.Path(profile, "user.js").write_text(
        'user_pref("browser.shell.checkDefaultBrowser", false);\nuser_pref("browser.aboutwelcome.enabled", false);\n'
        'user_pref("datareporting.policy.dataSubmissionEnabled", false);\nuser_pref("app.update.disabledForTesting", true);\n'
        'user_pref("termsofuse.bypassNotification", true);\n')
    return ["firefox-esr", "--no-remote", "--profile", profile, "--kiosk", url], ["firefox-esr", "--version"]


def webkit(_, url):
    """The same."""
    python, _ = python_with_webkit()
    return [python, "-c", WEBKIT, url], [python, "-c", WEBKIT]


BROWSERS = {"chromium": chromium, "webkit": webkit, "firefox": firefox}
CASES = [(browser, way, "") for browser in BROWSERS for way in ("img", "iframe", "address")]
CASES += [("chromium", "address", "&advance_headers=0"), ("webkit", "img", "&advance_headers=0")]


@contextlib.contextmanager
def shown(browser, url):
    """A browser with this page, on a screen of its own."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, tempfile.TemporaryDirectory() as place:
        words, _ = BROWSERS[browser](profile, url)
        screen = Screen(place)
        environment = {**os.environ, "DISPLAY": screen.display, "HOME": profile, "XDG_RUNTIME_DIR": profile,
                       "GDK_BACKEND": "x11", "MOZ_ENABLE_WAYLAND": "0"}
        environment.pop("WAYLAND_DISPLAY", None)
        process = subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            yield screen
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 15)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()
            screen.close()


def measure(browser, way, stream):
    """The ages."""
    with contextlib.ExitStack() as stack:
        url = stream if way == "address" else stack.enter_context(page_server(PAGES[way] % stream))
        return stack.enter_context(shown(browser, url)).ages()


def attempt(browser, way, parameter, url):
    """What is wrong, if anything is."""
    ages = measure(browser, way, f"{url}/stream?fps={FPS}{parameter}")
    median, late = statistics.median(ages), bool(parameter)
    print(f"screen: {browser}, {way}{parameter.replace('&', ', ')}: age of {len(ages)} frames at {FPS} per second when first seen: "
          f"median {median:.0f} ms, {min(ages):.0f} to {max(ages):.0f} ms", flush=True)
    if late != (median >= BOUND_MS):
        return f"{browser}, {way}{parameter}: {median:.0f} ms is {'' if late else 'not '}under {BOUND_MS} ms"
    return None


def find_browsers():
    """Those that are there, and whether some are missing, which is told."""
    there = []
    for name, browser in BROWSERS.items():
        try:
            with tempfile.TemporaryDirectory() as profile:
                _, version = browser(profile, "")
            done = subprocess.run(version, check=True, capture_output=True, text=True)
            print(f"{name} is {done.stdout.strip()}")
            there.append(name)
        except Missing as what:
            print(what)
    return there, len(there) < len(BROWSERS)


def main(url, *wanted):
    """Each case, up to three times: a busy machine adds to all of them."""
    need("xvfb", "Xvfb")
    there, missing = find_browsers()
    for browser, way, parameter in CASES:
        if browser not in there or wanted and f"{browser}-{way}" not in wanted:
            continue
        for number in range(1, TRIES + 1):
            try:
                wrong = attempt(browser, way, parameter, url)
            except Failed as failed:
                wrong = f"{browser}, {way}{parameter}: {failed}"
            if wrong is None:
                break
            print(f"try {number} of {TRIES}: {wrong}", flush=True)
        check(wrong is None, wrong)
    return 77 if missing else 0


if __name__ == "__main__":
    script(main, " [CASE...]")
