#!/usr/bin/env python3
"""tests/clients/chromium.py URL [SCREENSHOT.png]: a real browser shows the stream in an <img>, and it moves.

What: headless Chromium opens a page with `<img src=URL/stream>`. The picture must have the size of the
  snapshot's JPEG, and read through a canvas it must change within a few seconds. The second look is
  saved as SCREENSHOT.png.
Why: browsers are the main viewers, and <img> decides silently: one part it cannot decode and it stands
  still for ever. The canvas needs Access-Control-Allow-Origin, so that header is tried too.
What not: no measuring of latency, and only Blink; Firefox and WebKit frame parts differently.
Needs only Python's own library: chromedriver speaks plain HTTP (W3C WebDriver).
Ends with 0, with 1 after saying what was wrong, with 77 where Chromium or its driver is missing.
"""

import base64
import json
import re
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

from shared import Failed, check, need, page_server, script, snapshot_size, wait_for

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key that the WebDriver standard fixes
CHROMIUM_FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]
PAGE = "<!doctype html><title>lazycam</title><img id=picture crossorigin=anonymous src=%s/stream>"
SIZE = "const i = document.getElementById('picture'); return [i.naturalWidth, i.naturalHeight]"
READ = """
    const image = document.getElementById('picture'), canvas = document.createElement('canvas');
    canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
    canvas.getContext('2d').drawImage(image, 0, 0);
    return canvas.toDataURL('image/png');"""


class Driver:
    """chromedriver and one browser session; gone at the end of the with block."""

    def __init__(self, profile):
        self.base = self.session = None
        self.profile = profile
        # On any port that is free; which, it says.
        self.process = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def call(self, method, path, body=None):
        """One WebDriver command; its value, or Failed with the driver's message."""
        data = None if method != "POST" else json.dumps(body or {}).encode()
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return json.load(reply)["value"]
        except urllib.error.HTTPError as error:
            raise Failed(json.load(error)["value"]["message"].splitlines()[0]) from error

    def __enter__(self):
        return self

    def open(self, **more):
        """Starts the browser, with more capabilities if any; its version."""
        for line in self.process.stdout:
            if told := re.search(r"started successfully on port (\d+)", line):
                self.base = f"http://127.0.0.1:{told[1]}"
                break
        check(self.base, "chromedriver does not start")
        wait_for("chromedriver", self.ready)
        options = {"args": CHROMIUM_FLAGS + [f"--user-data-dir={self.profile}"]}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, **more}
        value = self.call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.session = "/session/" + value["sessionId"]
        return value["capabilities"]["browserVersion"]

    def ready(self):
        """Whether the driver takes sessions."""
        try:
            return self.call("GET", "/status")["ready"]
        except OSError:
            return False

    def run(self, script):
        """The value of a script in the page."""
        return self.call("POST", self.session + "/execute/sync", {"script": script, "args": []})

    def __exit__(self, *_):
        try:
            if self.session:
                self.call("DELETE", self.session)
        except (Failed, OSError):
            pass  # the browser is gone already
        finally:
            self.process.terminate()
            self.process.wait()
            self.process.stdout.close()


def look(browser, url, expected, screenshot):
    """The check itself."""
    version = browser.open()
    with page_server(PAGE % url) as page:
        opened = time.monotonic()
        browser.call("POST", browser.session + "/url", {"url": page})
    size = wait_for("a picture in the <img>", lambda: (s := browser.run(SIZE))[0] and s)
    waited = time.monotonic() - opened
    if size != expected:
        raise Failed(f"the <img> is {size}, the snapshot {expected}")
    first = browser.run(READ)
    time.sleep(1)
    wait_for("the picture to change", lambda: browser.run(READ) != first)
    if screenshot:
        picture = browser.call("POST", browser.session + "/element", {"using": "css selector", "value": "#picture"})
        png = browser.call("GET", f"{browser.session}/element/{picture[ELEMENT]}/screenshot")
        with open(screenshot, "wb") as file:
            file.write(base64.b64decode(png))
    print(f"chromium {version}: {size[0]}x{size[1]} in an <img>, first picture after {waited:.1f} s, it moves")


def main(url, screenshot=None):
    """Opens the page, looks twice."""
    need("chromium chromium-driver", "chromium", "chromedriver")
    expected = snapshot_size(url)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, Driver(profile) as browser:
        look(browser, url, expected, screenshot)
    return 0


if __name__ == "__main__":
    script(main, " [SCREENSHOT.png]")
