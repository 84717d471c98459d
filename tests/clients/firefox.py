#!/usr/bin/env python3
"""tests/clients/firefox.py URL: Firefox shows the stream in an <img>, and the page at / works in it.

What: headless Firefox opens a page with `<img src=URL/stream>`: the picture must have the size of the snapshot's JPEG, and 20
  different frames must be seen in it. At one frame per second the same <img> must show a frame before the next one is sent:
  each frame's age is read off the test pattern's strip. Then the page at /: its picture must be live, have an age, change, and stand
  still when it is paused.
Why: Firefox's multipart reader is its own: it shows a part when the boundary behind it has come, and keeps the first part's
  size.
What not: what the page does beyond that (page.py, Chromium) and no bound on the delay but that of one frame.
Firefox is driven by its Marionette protocol (JSON over TCP, each message led by its length), because Debian has no
geckodriver. Needs only Python's own library. Ends with 0, with 1 after saying what was wrong, with 77 where Firefox is missing.
"""

import json
import pathlib
import socket
import statistics
import subprocess
import tempfile
import time

import pattern_strip
from shared import Failed, check, need, page_server, script, snapshot_size, wait_for

SETTINGS = {
    "marionette.port": 0,  # any; the profile's file MarionetteActivePort tells which
    "app.update.disabledForTesting": True, "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False, "network.connectivity-service.enabled": False,
}
SIZE = "const i = document.getElementById('picture'); return [i.naturalWidth, i.naturalHeight]"
PIXELS = """
    const source = document.getElementById('picture'), copy = document.createElement('canvas');
    copy.width = 64; copy.height = 48;
    copy.getContext('2d').drawImage(source, 0, 0, 64, 48);
    return copy.toDataURL('image/png');"""
READ = """
    const text = (id) => document.getElementById(id).textContent;
    return {state: text('state-word'), age: text('age'), size: text('size')};"""


class Firefox:
    """One browser, gone at the end of the with block."""

    def __init__(self, profile):
        profile = pathlib.Path(profile)
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in SETTINGS.items()]
        (profile / "user.js").write_text("\n".join(lines))
        self.port_file = profile / "MarionetteActivePort"
        self.process = subprocess.Popen(["firefox-esr", "--headless", "--no-remote", "--marionette", "--profile", profile],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.line = None
        self.number = 0

    def __enter__(self):
        return self

    def open(self):
        """Connects and begins a session; the browser's version."""
        port = wait_for("Firefox", lambda: self.port_file.exists() and self.port_file.read_text())
        self.line = socket.create_connection(("127.0.0.1", int(port)), timeout=60)
        self.receive()  # who it is
        return self.call("WebDriver:NewSession", capabilities={})["capabilities"]["browserVersion"]

    def receive(self):
        """One message."""
        length = b""
        while not length.endswith(b":"):
            length += self.read(1)
        return json.loads(self.read(int(length[:-1])))

    def read(self, count):
        """So many bytes."""
        data = b""
        while len(data) < count:
            more = self.line.recv(count - len(data))
            if not more:
                raise Failed("Firefox has gone")
            data += more
        return data

    def call(self, command, **parameters):
        """One command; its result, or Failed with Firefox's message."""
        self.number += 1
        message = json.dumps([0, self.number, command, parameters]).encode()
        self.line.sendall(b"%d:%s" % (len(message), message))
        _, _, error, result = self.receive()
        if error:
            raise Failed(f"{command}: {error['message']}")
        return result

    def go(self, url):
        """Opens an address."""
        self.call("WebDriver:Navigate", url=url)

    def run(self, body):
        """The value of a script in the page."""
        return self.call("WebDriver:ExecuteScript", script=body, args=[])["value"]

    def __exit__(self, *_):
        if self.line:
            self.line.close()
        self.process.terminate()
        self.process.wait()


def check_image(firefox, url, expected):
    """The stream in an <img> of another site's page."""
    with page_server(pattern_strip.PAGE) as page:
        firefox.go(page)
    firefox.run(f"start('{url}/stream')")
    size = wait_for("a picture in the <img>", lambda: (s := firefox.run(SIZE))[0] and s)
    check(size == expected, f"the <img> is {size}, the snapshot {expected}")
    moved = wait_for("20 frames", lambda: (n := firefox.run("return ages.length")) >= 20 and n)
    firefox.run(f"start('{url}/stream?fps=1')")
    wait_for("5 frames", lambda: firefox.run("return ages.length") >= 6)
    ages = firefox.run("return ages")[1:]
    check(statistics.median(ages) < 1000, f"at one frame per second frames are shown when they are {ages} ms old: one late")
    return f"<img> of {size[0]}x{size[1]}, {moved} frames seen; at 1 frame per second a frame is shown when it is {min(ages)} to {max(ages)} ms old"


def check_page(firefox, url):
    """The page at /."""
    firefox.go(url + "/")
    shown = wait_for("a live picture", lambda: (s := firefox.run(READ))["state"] == "Live" and "s" in s["age"] and s)
    first = firefox.run(PIXELS)
    wait_for("the picture to change", lambda: firefox.run(PIXELS) != first)
    firefox.run("document.getElementById('pause').click()")
    wait_for("a pause", lambda: firefox.run(READ)["state"] in ("Paused", "Asleep"))
    time.sleep(0.5)  # a request may have been on its way
    still = firefox.run(PIXELS)
    time.sleep(1)
    check(firefox.run(PIXELS) == still, "a paused picture changes")
    firefox.run("document.getElementById('pause').click()")
    wait_for("the picture to change again", lambda: firefox.run(PIXELS) != still)
    return f"the page is live ({shown['size']}, age {shown['age']})"


def main(url):
    """Opens both."""
    need("firefox-esr", "firefox-esr")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, Firefox(profile) as firefox:
        version = firefox.open()
        print(f"firefox {version}: {check_image(firefox, url, snapshot_size(url))}")
        print(f"firefox {version}: {check_page(firefox, url)}")


if __name__ == "__main__":
    script(main)
