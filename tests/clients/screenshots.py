#!/usr/bin/env python3
"""tests/clients/screenshots.py BINARY DIRECTORY: the page at / as people see it, in PNG files to be looked at.

What: starts `BINARY run` on loopback with one and with six cameras, opens the page in headless Chromium, and takes pictures of what it
  shows: live, paused and asleep, lost, turned, with its panel, and all cameras at once, asleep and watched; each on a desk and on an
  upright phone, light and dark. The files are named SCENE-SCREEN.png.
Why: that something is too wide, too small or looks broken is seen at a glance, and by no assertion.
What not: it judges nothing but that the page gets there and is no wider than the screen; page.py says what the page must do.
Needs only Python's own library. Ends with 0, with 1 after saying what was wrong, with 77 where Chromium or its driver is missing.
"""

import base64
import contextlib
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

from chromium import Driver
from page import Page
from shared import Failed, check

SCREENS = {"desk": (1280, 800, False), "desk-dark": (1280, 800, True), "phone": (390, 844, False), "phone-dark": (390, 844, True)}
ONE = ["--source", "pattern"]
LOST = ["--source", "v4l2:/dev/no-such-camera"]
SIX = [f"--camera={name}=pattern,size={size},fps=15" for name, size in {
    "front-door": "1280x720", "printer": "640x480", "garage": "640x480", "garden-behind-the-house": "800x600",
    "workshop": "640x480"}.items()] + ["--camera=attic=v4l2:/dev/no-such-camera"]


class Direct:
    """What Page expects of the relay that page.py puts in between: an address."""

    def __init__(self, url):
        self.url, self.out_of_time = url, 0


@contextlib.contextmanager
def server(binary, cameras):
    """lazycam with these cameras; its URL."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [binary, "run", "--listen", "127.0.0.1:0", "--frames", scratch + "/frames", "--linger", "0.5", *cameras]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            try:
                found = next(filter(None, (re.search(r"127\.0\.0\.1:(\d+)", line) for line in process.stderr)), None)
                check(found, f"{binary} run does not say where it listens")
                yield f"http://127.0.0.1:{found[1]}/"
            finally:
                process.terminate()


def showing(word):
    """Whether the page shows this state."""
    return lambda shown: shown["state"] == word


def one(page, shoot):
    """A camera: live, its panel, turned, paused, asleep."""
    page.go()
    page.wait_live()
    time.sleep(2)
    shoot("one-live")
    page.press("i")
    shoot("one-panel")
    page.press("escape")
    page.press("r")
    shoot("one-turned")
    for _ in range(3):
        page.press("r")
    page.press(" ")
    page.wait("a camera asleep", showing("Asleep"))
    shoot("one-asleep")


def lost(page, shoot):
    """A camera that is not there."""
    page.go()
    page.wait("the loss of a camera", showing("Camera lost"))
    shoot("one-lost")


def six(page, shoot):
    """Several: one of them, one that is lost, all while they sleep, all watched."""
    page.go("printer/")
    page.wait_live()
    page.go("garage/")
    page.wait_live()
    page.go()
    page.wait_live()
    time.sleep(2)
    shoot("six-first")
    page.go("attic/")
    page.wait("the loss of a camera", showing("Camera lost"))
    shoot("six-lost")
    page.press("a")
    time.sleep(4)
    shoot("six-asleep")
    page.press(" ")
    page.wait("cameras that are watched", lambda shown: shown["state"].endswith("of 6 live"))
    time.sleep(3)
    shoot("six-watched")


def main(binary, directory):
    """All scenes on all screens."""
    for program in ("chromium", "chromedriver"):
        if not shutil.which(program):
            print(f"{program} is missing; on Debian: apt-get install chromium chromium-driver")
            return 77
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch, Driver(scratch + "/profile") as browser:
            browser.open()
            for cameras, scene in ((ONE, one), (LOST, lost), (SIX, six)):
                with server(binary, cameras) as url:
                    for screen, size in SCREENS.items():
                        page = Page(browser, Direct(url))
                        page.resize(*size)

                        def shoot(name, page=page, screen=screen):
                            time.sleep(0.5)
                            shown = page.read()
                            check(not shown["wide"] and not shown["tall"], f"{name}, {screen}: the page is larger than the screen")
                            png = page.devtools("Page.captureScreenshot", format="png")["data"]
                            (directory / f"{name}-{screen}.png").write_bytes(base64.b64decode(png))

                        scene(page, shoot)
    except (Failed, OSError) as error:
        print(f"screenshots: {error}")
        return 1
    print(f"screenshots: {len(list(directory.glob('*.png')))} in {directory}, to be looked at")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: screenshots.py BINARY DIRECTORY")
    sys.exit(main(*sys.argv[1:]))
