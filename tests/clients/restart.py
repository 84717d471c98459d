#!/usr/bin/env python3
"""tests/clients/restart.py URL [BROWSER...]: the server is restarted, and the picture comes back by itself.

What: a server with a socket that outlives it, as a service manager's does, is ended and started again while browsers look.
  The page, in Chromium: in each of its views (a camera, all of them, all of them watched, the stream in an <img>) the picture goes on, without
  being loaded again. An <img> of another page with the stream, in Chromium, Firefox and WebKitGTK: it goes on where the service
  manager keeps connections (FDSTORE), and stands still where it does not.
Why: no browser begins a stream anew that has ended, and none tells that it has.
What not: no service manager of a real system; tests/image has that.
LAZYCAM_BINARY names the program, as tests/clients/run does: it starts servers of its own. Needs Debian's chromium and chromium-driver, and for the
<img> what screen.py needs; what is missing is told, and the status is 77 if all else is well. Ends with 0, or with 1 after saying what was wrong.
"""

import array
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time

from chromium import Driver
from page import PIXELS, TILES, Page, Relay
from screen import find_browsers, shown
from shared import Missing, check, need, page_server, script, wait_for

# What systemd does before it starts a program (sd_listen_fds(3)).
EXEC = """
import os, sys
count, passed = int(sys.argv[1]), [os.dup(int(number)) for number in sys.argv[2].split(",")]
high = [os.dup2(number, 100 + at) for at, number in enumerate(passed)]
for at, number in enumerate(high): os.dup2(number, 3 + at)
os.closerange(3 + count, 1000)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(count), LISTEN_FDNAMES=sys.argv[3])
os.execv(sys.argv[4], sys.argv[4:])
"""
STILL_SECS = 4  # without a new frame for so long, a picture stands still


class Service:
    """A server under a service manager, which is this program."""

    def __init__(self, place, keeps):
        self.place, self.keeps, self.process, self.kept = place, keeps, None, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(place + "/notify")
        self.notify.settimeout(60)
        binary = os.environ["LAZYCAM_BINARY"]
        self.cameras = [subprocess.Popen([binary, "capture", "--source", "pattern", "--frames", f"{place}/frames/{name}"],
                                         stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for name in ("bench", "front")]
        self.start()

    def start(self):
        """Starts it with what is kept, until it is ready."""
        sockets = [("web", self.listener.fileno()), *self.kept]
        numbers, names = [number for _, number in sockets], ":".join(name for name, _ in sockets)
        environment = {**os.environ, "NOTIFY_SOCKET": self.place + "/notify", **({"FDSTORE": "64"} if self.keeps else {})}
        words = [sys.executable, "-c", EXEC, str(len(sockets)), ",".join(map(str, numbers)), names, os.environ["LAZYCAM_BINARY"],
                 "serve", "--root", self.place + "/frames"]
        self.process = subprocess.Popen(words, env=environment, pass_fds=numbers, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _, number in self.kept:
            os.close(number)
        self.kept = []
        while self.hear() != "READY=1":
            pass

    def hear(self):
        """The next message, whose descriptor is kept."""
        text, control, _, _ = self.notify.recvmsg(1000, socket.CMSG_SPACE(4))
        text = text.decode().strip()
        for _, _, data in control:
            self.kept.append((text.split("FDNAME=")[1], array.array("i", data)[0]))
        return text

    def stop(self):
        """Ends it; what it leaves is kept."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self.notify.setblocking(False)
        try:
            while True:
                self.hear()
        except BlockingIOError:
            pass
        self.notify.settimeout(60)

    def restart(self, pause=0):
        """As an upgrade does; the new one may take a while."""
        self.stop()
        time.sleep(pause)
        self.start()

    def close(self):
        """The end of all."""
        for process in (self.process, *self.cameras):
            process.terminate()
            process.wait()


def moves(page, read):
    """Until what is read changes twice: the picture that was there before may be shown once more."""
    for _ in range(2):
        before = page.browser.run(read)
        wait_for("a new picture", lambda before=before: page.browser.run(read) != before)


IMAGE = PIXELS.replace("'picture'", "'stream'")
# A picture of each tile.
GRID = """return [...document.querySelectorAll('.tile canvas')].map((one) => {
    const copy = document.createElement('canvas');
    copy.getContext('2d').drawImage(one, 0, 0, 300, 150);
    return copy.toDataURL();
})"""


def check_page(browser):
    """The page, in each of its views, when the server is away for a moment, and for longer than two looks at it."""
    with tempfile.TemporaryDirectory() as place:
        service = Service(place, False)
        try:
            version = browser.open(**{"goog:loggingPrefs": {"browser": "ALL"}})
            page = Page(browser, Relay(service.url))
            for pause in (0, 8):
                for name, read in (("front/", PIXELS), ("#live", GRID), ("front/", IMAGE)):
                    page.relay.status = {"/snapshot": 404} if read is IMAGE else {}
                    page.go(name)
                    page.call("POST", "/refresh")
                    page.browser.run("window.same = true")
                    wait_for("the view", lambda read=read: page.browser.run(f"try {{ {read} }} catch {{}}"))
                    moves(page, read)
                    begun = time.monotonic()
                    service.restart(pause)
                    moves(page, read)
                    if read is GRID:
                        wait_for("every camera", lambda: all(tile[0].startswith("Live") for tile in page.browser.run(TILES).values()))
                    check(page.browser.run("return window.same"), "the page was loaded again")
                    view = "the stream in an <img>" if read is IMAGE else name
                    print(f"restart: chromium {version}, the page, {view}: the picture is back {time.monotonic() - begun:.1f} s after a "
                          f"restart{f' of {pause} s' if pause else ''}", flush=True)
            page.relay.status = {}
            # There is a last picture once somebody has taken one.
            for view in ("#live", "#all"):
                page.go(view)
                page.call("POST", "/refresh")
                wait_for("all cameras", lambda: (tiles := page.browser.run(TILES)) and all(
                    "Live" in tile[0] for tile in tiles.values()) or view == "#all")
            last = lambda: all(tile[1] > 300 for tile in page.browser.run(TILES).values())
            wait_for("last pictures", lambda: page.browser.run(TILES) and last())
            service.restart(8)
            page.wait("the server again", lambda shown: shown["state"] == "Last pictures")
            check(last(), "the last pictures are gone")
            print(f"restart: chromium {version}, the page, #all: the last pictures are still there after a restart of 8 s", flush=True)
        finally:
            service.close()


def check_image(browser, keeps):
    """An <img> of somebody else's page."""
    with tempfile.TemporaryDirectory() as place:
        service = Service(place, keeps)
        try:
            page = f"<!doctype html><body style='margin:0'><img src='{service.url}/front/stream?fps=5'>"
            with page_server(page) as url, shown(browser, url) as screen:
                where = wait_for(f"the pattern in {browser}", screen.find)
                number = lambda: (screen.read(where) or (0, 0))[0]
                first = wait_for("a frame", number)
                wait_for("another frame", lambda: number() > first)
                service.restart()
                time.sleep(STILL_SECS)
                before = number()
                time.sleep(STILL_SECS)
                goes_on = number() > before
                print(f"restart: {browser}, an <img>, {'connections are kept' if keeps else 'nobody keeps connections'}: "
                      f"{'it goes on' if goes_on else 'it does not go on'}", flush=True)
                return goes_on == keeps
        finally:
            service.close()


def main(_, *wanted):
    """The page, then an <img> in all browsers that are there; or an <img> in those that are wanted."""
    if not wanted:
        need("chromium chromium-driver", "chromium", "chromedriver")
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch, Driver(scratch + "/profile") as browser:
            check_page(browser)
    try:
        need("xvfb", "Xvfb")
        browsers, missing = find_browsers()
    except Missing as what:
        print(what)
        return 77
    wrong = [(browser, keeps) for browser in browsers if not wanted or browser in wanted for keeps in (True, False) if not check_image(browser, keeps)]
    check(not wrong, f"not so: {wrong}")
    return 77 if missing else 0


if __name__ == "__main__":
    script(main, " [BROWSER...]")
