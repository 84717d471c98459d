#!/usr/bin/env python3
"""tests/clients/page.py URL [DIRECTORY]: the page at / does in a real browser what docs/http.md says of it.

What: headless Chromium opens the page through a relay that stands for a proxy with a prefix (/webcam/) and counts what is asked
  for. Checked: the picture moves; age, rate and state are shown, and the age counts the way to the browser; never more than
  one request at a time; several cameras can be switched; pause and a hidden tab end the asking; a lost camera, and a server that
  goes and comes back; the keys; the saved snapshot; an answer that is no picture leads to the stream in an <img>; without JavaScript there is a
  still picture that leads to the stream; no message in the console, which is where Content-Security-Policy complains too; no violation that axe-core
  finds, on a desk and on a phone, light and dark. DIRECTORY gets screenshots of these, for people.
Why: what a page does cannot be read off its source, least of all that it stops.
What not: no figures of latency, and only Blink. The server must have cameras that work, two or more, and behind them one called
  `gone` whose device does not exist.
axe-core comes from npm, its digest is checked; without npm it is said, and the status is 77 if all else is well.
Needs only Python's own library. Ends with 0, with 1 after saying what was wrong, with 77 where a program is missing.
"""

import base64
import contextlib
import hashlib
import http.client
import http.server
import json
import os
import pathlib
import re
import shutil
import subprocess
import tarfile
import tempfile
import threading
import time
import urllib.parse
import urllib.request

from chromium import Driver
from shared import Failed, check, directory, need, script, wait_for

PREFIX = "/webcam"
AXE = "axe-core@4.14.1"
AXE_DIGEST = "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
SIZES = {"desk": (1280, 800, False), "desk-dark": (1280, 800, True), "phone": (360, 740, False),
         "phone-dark": (360, 740, True), "side": (740, 360, True), "wall": (2560, 1300, False)}
KEYS = {"tab": "\ue004", "escape": "\ue00c", "left": "\ue012", "right": "\ue014"}
READ = """
    const text = (id) => document.getElementById(id).textContent, view = document.documentElement.classList;
    return {state: text('state-word'), more: text('state-text'), age: text('age'), rate: text('rate'), size: text('size'),
        title: document.title, full: view.contains('full'), bar: getComputedStyle(document.getElementById('bar')).opacity, path: location.pathname,
        notice: !document.getElementById('notice').hidden, dialog: document.getElementById('details').open,
        image: !document.getElementById('stream').hidden && document.getElementById('stream').naturalWidth,
        focus: document.activeElement.id || document.activeElement.dataset.name || document.activeElement.tagName,
        outline: getComputedStyle(document.activeElement).outlineStyle,
        cameras: [...document.querySelectorAll('nav a[data-tone]')].map((link) => link.dataset.name),
        wide: document.documentElement.scrollWidth > innerWidth,
        tall: document.documentElement.scrollHeight > innerHeight};"""
PIXELS = """
    const picture = document.getElementById('picture'), copy = document.createElement('canvas');
    copy.width = 64; copy.height = 48;
    copy.getContext('2d').drawImage(picture, 0, 0, 64, 48);
    return copy.toDataURL('image/png');"""
RUN_AXE = """
    const done = arguments[0];
    axe.run(document, {resultTypes: ['violations']}).then((found) => done(found.violations.map((each) =>
        each.id + ': ' + each.nodes.map((node) => node.html.slice(0, 120)).join(' ; '))), (error) => done([String(error)]));"""


class Relay:
    """A proxy with a prefix, as nginx is for OctoPrint. It counts, and does on demand what networks and servers do."""

    def __init__(self, url):
        self.target = urllib.parse.urlsplit(url).netloc
        self.lock = threading.Lock()
        self.asked = []  # paths, in order
        self.queries = []  # paths with queries, in order
        self.busy = self.most_busy = self.connections = 0
        self.body_delay = 0  # seconds between a snapshot's head and its body
        self.status = {}  # path's end -> status instead of an answer
        self.out_of_time = 0  # snapshots that the server had no frame for in time, since somebody looked
        relay = self

        class Handler(http.server.BaseHTTPRequestHandler):
            """One connection."""

            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                relay.connections += 1

            def handle(self):
                with contextlib.suppress(ConnectionError):  # browsers drop what they need no more
                    super().handle()

            def do_GET(self):  # pylint: disable=invalid-name
                """Asks the server and passes its answer on."""
                with contextlib.suppress(OSError), relay.counted(self.path):
                    relay.pass_on(self)

            def log_message(self, *_):
                """Quiet."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}{PREFIX}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @contextlib.contextmanager
    def counted(self, path):
        """Counts a request, and how many there are at a time."""
        with self.lock:
            self.asked.append(urllib.parse.urlsplit(path).path)
            self.queries.append(path)
            self.busy += 1
            self.most_busy = max(self.most_busy, self.busy)
        try:
            yield
        finally:
            with self.lock:
                self.busy -= 1

    def count(self, end):
        """How often a path with this end was asked for."""
        with self.lock:
            return sum(path.endswith(end) for path in self.asked)

    def pass_on(self, client):
        """One request and its answer; a stream for as long as both sides like."""
        path = urllib.parse.urlsplit(client.path).path
        status = next((status for end, status in self.status.items() if path.endswith(end)), None)
        if status or not client.path.startswith(PREFIX + "/"):
            client.send_error(status or 404)
            return
        upstream = http.client.HTTPConnection(self.target, timeout=30)
        try:
            upstream.request("GET", client.path[len(PREFIX):])
            reply = upstream.getresponse()
            if path.endswith("/snapshot") and reply.status == 503:
                self.out_of_time += 1
            client.send_response(reply.status)
            for name, value in reply.getheaders():
                if name.lower() != "connection":
                    client.send_header(name, value)
            if reply.length is None:
                client.send_header("Connection", "close")
                client.close_connection = True
            client.end_headers()
            if path.endswith("/snapshot"):
                time.sleep(self.body_delay)
            while data := reply.read1(65536):
                client.wfile.write(data)
        finally:
            upstream.close()


class Page:
    """The page in the browser, through the relay."""

    def __init__(self, browser, relay):
        self.browser, self.relay = browser, relay

    def call(self, method, path, body=None):
        """A command of the session."""
        return self.browser.call(method, self.browser.session + path, body)

    def devtools(self, command, **parameters):
        """A command of Chromium's own."""
        return self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def go(self, path=""):
        """Opens the page."""
        self.call("POST", "/url", {"url": self.relay.url + path})

    def read(self):
        """What it shows."""
        return self.browser.run(READ)

    def wait(self, what, condition):
        """Until what it shows is so; that."""
        try:
            return wait_for(what, lambda: (shown := self.read()) and condition(shown) and shown)
        except Failed as error:
            raise Failed(f"{error}; the page shows {self.read()}") from error

    def wait_live(self):
        """Until it shows a live picture."""
        return self.wait("a live picture", lambda shown: shown["state"] == "Live" and shown["rate"] != "–")

    def press(self, key):
        """A key, down and up."""
        value = KEYS.get(key, key)
        strokes = [{"type": "keyDown", "value": value}, {"type": "keyUp", "value": value}]
        self.call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]})

    def click(self, selector):
        """The mouse, on that element."""
        element = self.call("POST", "/element", {"using": "css selector", "value": selector})
        self.call("POST", f"/element/{next(iter(element.values()))}/click")

    def resize(self, width, height, dark):
        """Another screen."""
        phone = width < 800
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height, mobile=phone,
                      deviceScaleFactor=2 if phone else 1)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", features=[scheme])

    def console(self):
        """What the console said since the last call."""
        return [entry["message"] for entry in self.call("POST", "/se/log", {"type": "browser"})]

    def expect_no_message(self, after):
        """The console is silent but for snapshots that there was no frame for in time, where the machine stood still."""
        messages = self.console()
        late = [message for message in messages if "/snapshot" in message and "503" in message]
        excused, self.relay.out_of_time = late[:self.relay.out_of_time], 0
        for message in excused:
            messages.remove(message)
        check(not messages, f"the console after {after}: {messages}")

    def expect_refusals_alone(self, after):
        """The console tells of requests that were refused, and of nothing that the page may not do."""
        self.relay.out_of_time = 0
        messages = [message for message in self.console() if "Failed to load resource" not in message]
        check(not messages, f"the console after {after}: {messages}")


def milliseconds(shown):
    """'48 ms', '1.2 s' or '3 min' as a number."""
    value, unit = shown.split()
    return float(value) * {"ms": 1, "s": 1000, "min": 60000}[unit]


def check_picture(page):
    """It moves, and its figures are those of a live picture, fetched one after the other."""
    page.go()
    shown = page.wait_live()
    check(re.fullmatch(r"\d+ × \d+", shown["size"]), f"the size is {shown['size']}")
    check(0 < milliseconds(shown["age"]) < 5000, f"the age is {shown['age']}")
    check(not shown["notice"], "a live picture has a notice on it")
    first = page.browser.run(PIXELS)
    wait_for("the picture to change", lambda: page.browser.run(PIXELS) != first)
    relay = page.relay
    relay.most_busy, before, frames = 0, relay.connections, relay.count("/snapshot")
    time.sleep(4)
    check(relay.most_busy == 1, f"{relay.most_busy} requests at a time")
    check(relay.connections == before, f"{relay.connections - before} new connections in 4 s")
    check(relay.count("/state") >= 2, "/state was not looked at again")
    frames = relay.count("/snapshot") - frames
    page.expect_no_message("4 s of a live picture")
    return f"{frames} frames in 4 s over one connection, age {page.read()['age']}"


def check_age(page):
    """What the way to the browser takes is part of the age."""
    page.relay.body_delay = 1
    try:
        page.wait("an age over 1 s", lambda shown: milliseconds(shown["age"]) >= 1000)
        time.sleep(2)
        for _ in range(30):
            age = page.read()["age"]
            check(milliseconds(age) >= 1000, f"a picture that was 1 s on its way is shown as {age} old")
            time.sleep(0.1)
    finally:
        page.relay.body_delay = 0
    page.wait("an age under 1 s", lambda shown: milliseconds(shown["age"]) < 1000)


def expect_silence(page, what):
    """No picture is asked for. One request may have been on its way."""
    time.sleep(0.5)
    before = page.relay.count("/snapshot")
    time.sleep(2)
    asked = page.relay.count("/snapshot") - before
    check(asked == 0, f"{what}: {asked} pictures were asked for")


def check_pause(page):
    """Pause ends the asking, the picture stays and ages, and the camera falls asleep."""
    page.go()  # Space belongs to the control that has the focus
    page.wait_live()
    page.press(" ")
    page.wait("a pause", lambda shown: shown["state"] in ("Paused", "Asleep"))
    expect_silence(page, "paused")
    still = page.browser.run(PIXELS)
    page.wait("the camera to fall asleep", lambda shown: shown["state"] == "Asleep")
    check(page.browser.run(PIXELS) == still, "a paused picture changes")
    check(milliseconds(page.read()["age"]) > 2000, "a paused picture does not age")
    page.press(" ")
    page.wait_live()


def check_hidden(page):
    """Another tab in front: nothing is asked for, not even /state. Back again: the picture is live again."""
    front = page.call("GET", "/window")
    other = page.call("POST", "/window/new", {"type": "tab"})["handle"]
    page.call("POST", "/window", {"handle": other})
    expect_silence(page, "hidden")
    looks = page.relay.count("/state")
    time.sleep(4)
    check(page.relay.count("/state") == looks, "hidden: /state was asked for")
    page.call("DELETE", "/window")
    page.call("POST", "/window", {"handle": front})
    page.wait_live()


def check_cameras(page):
    """Arrows and links switch the camera; its address is one to come back to."""
    names = page.wait("the cameras", lambda shown: len(shown["cameras"]) >= 2)["cameras"]
    check(page.read()["title"].startswith(names[0]), "the first camera is not the first")
    page.press("right")
    shown = page.wait("the second camera", lambda shown: shown["title"].startswith(names[1]))
    check(shown["path"] == f"{PREFIX}/{names[1]}/", f"the second camera's address is {shown['path']}")
    page.wait_live()
    check(page.relay.count(f"/{names[1]}/snapshot") > 0, "the second camera's pictures are another's")
    page.call("POST", "/back")
    page.wait("the first camera again", lambda shown: shown["title"].startswith(names[0]))
    page.go(names[1] + "/")
    page.wait("the second camera by its address", lambda shown: shown["title"].startswith(names[1]))
    page.wait_live()
    page.press("left")
    page.wait("the first camera by a key", lambda shown: shown["path"] == f"{PREFIX}/{names[0]}/")
    page.click(f"nav a[data-name={names[1]}]")
    page.wait("the second camera by its link", lambda shown: shown["title"].startswith(names[1]))
    page.wait_live()
    page.expect_no_message("switching cameras")
    return names


def check_lost(page):
    """A camera that is not there: the page says why and since when. Each refused snapshot is in Chromium's console."""
    page.go("gone/")
    shown = page.wait("the loss of a camera", lambda shown: shown["state"] == "Camera lost" and shown["notice"])
    check(re.search(r"cannot open .*plug it in.*\nSince \d.*\n", shown["more"], re.DOTALL), f"the loss is told as {shown['more']}")
    check("os error" not in shown["more"], f"the loss is told in the system's words: {shown['more']}")
    check(not page.browser.run("return document.getElementById('save').href"), "there is no picture, and it could be saved")
    page.press("right")  # behind the last comes the first
    page.wait_live()
    page.expect_refusals_alone("the loss of a camera")


def check_keys(page, downloads):
    """Each control can be reached and seen; each key does what the panel says."""
    page.go()
    names = page.wait_live()["cameras"]
    order = []
    for _ in range(len(names) + 7):
        page.press("tab")
        shown = page.read()
        order.append(shown["focus"])
        check(shown["outline"] != "none", f"the focus on {shown['focus']} cannot be seen")
    check(order == ["A", *names, "pause", "save", "turn", "mirror", "full", "more"], f"Tab goes to {order}")
    page.press("f")
    page.wait("full screen", lambda shown: shown["full"])
    page.press("f")
    page.wait("the end of full screen", lambda shown: not shown["full"])
    page.click("#full")
    page.wait("the controls to go", lambda shown: shown["full"] and shown["bar"] == "0")
    page.press("escape")
    page.wait("the end of full screen", lambda shown: not shown["full"] and shown["bar"] == "1")
    page.press("i")
    page.wait("the panel", lambda shown: shown["dialog"])
    page.click("[data-of=stream-link]")
    wait_for("a copied address", lambda: page.browser.run("return document.querySelector('[data-of]').textContent") == "Copied")
    page.press("escape")
    page.wait("the end of the panel", lambda shown: not shown["dialog"])
    page.devtools("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))
    page.press("s")
    # The file is there before all of it is written.
    whole = lambda file: file.read_bytes().endswith(b"\xff\xd9")
    saved = wait_for("a saved snapshot", lambda: list(filter(whole, downloads.glob("*.jpg"))))[0]
    check(saved.read_bytes()[:3] == b"\xff\xd8\xff", f"{saved.name} is no JPEG")
    check(saved.name.startswith(names[0] + "-"), f"the snapshot's name is {saved.name}")
    page.expect_no_message("all keys")


TILES = """
    return Object.fromEntries([...document.querySelectorAll('.tile')].map((link) => [link.dataset.name,
        [link.querySelector('.status').textContent, link.querySelector('canvas').width, link.querySelector('.none').textContent]]));"""


def published(page, name):
    """How many frames a camera has made since the server started."""
    with urllib.request.urlopen(f"http://{page.relay.target}/state", timeout=30) as reply:
        cameras = json.load(reply)["result"]["lazycam"]["cameras"]
    return next(camera["published"] for camera in cameras if camera["name"] == name)


def check_overview(page, names):
    """All at once: the last pictures of cameras that sleep on; then all watched, and only what can be seen; then none again."""
    relay, working = page.relay, [name for name in names if name != "gone"]
    page.go(working[0] + "/")
    page.wait_live()
    page.press("a")
    shown = page.wait("all cameras", lambda shown: shown["state"] == "Last pictures")
    check(shown["title"].startswith("All cameras"), f"the title of all is {shown['title']}")
    wait_for("cameras that fall asleep", lambda: all(tile[0].startswith("Asleep") for name, tile in page.browser.run(TILES).items()
                                                     if name != "gone"))
    check("plug it in" in page.browser.run(TILES)["gone"][2], "a tile does not say why there is no picture")
    begun, before = len(relay.queries), [published(page, name) for name in working]
    page.go("#all")
    page.call("POST", "/refresh")
    wait_for("last pictures", lambda: all(page.browser.run(TILES).get(name, (0, 0))[1] > 300 for name in working))
    time.sleep(4)
    waking = [path for path in relay.queries[begun:] if "/snapshot" in path and "wake=0" not in path]
    check(not waking, f"the last pictures were asked for with {waking[:3]}")
    check([published(page, name) for name in working] == before, "looking at the last pictures wakes a camera")
    check("ago" in page.browser.run(TILES)[working[0]][0], "a last picture's age is not told")
    page.press(" ")
    page.wait("the address of all, watched", lambda _: page.browser.run("return location.hash") == "#live")
    wait_for("all cameras live", lambda: all(page.browser.run(TILES)[name][0].startswith("Live") for name in working))
    page.resize(360, 400, False)
    time.sleep(3)
    begun = len(relay.queries)
    time.sleep(2)
    seen = {path.split("/")[2] for path in relay.queries[begun:] if "/snapshot" in path}
    check(seen == {names[0]}, f"pictures of {seen} were asked for where only {names[0]} can be seen")
    page.resize(*SIZES["desk"])
    page.press(" ")
    page.wait("all cameras, unwatched", lambda shown: shown["state"] == "Last pictures")
    wait_for("cameras that fall asleep again", lambda: all(tile[0].startswith("Asleep")
                                                           for name, tile in page.browser.run(TILES).items() if name != "gone"))
    page.click(f".tile[data-name={working[1]}]")
    page.wait("the camera of a tile", lambda shown: shown["path"] == f"{PREFIX}/{working[1]}/")
    page.wait_live()
    page.expect_refusals_alone("all cameras")


def check_view(page):
    """Turned and mirrored, also after the page was left, and for that camera alone."""
    view = lambda: page.browser.run("const {dataset, classList} = document.getElementById('frame');"
                                    "return [dataset.turn, classList.contains('mirrored')]")
    page.go()
    names = page.wait_live()["cameras"]
    page.press("r")
    page.press("m")
    wait_for("a turned view", lambda: view() == ["90", True])
    page.go(names[1] + "/")
    page.wait_live()
    check(view() == ["0", False], f"another camera's view is {view()}")
    page.go()
    page.wait_live()
    check(view() == ["90", True], f"after the page was left its view is {view()}")
    for _ in range(3):
        page.press("r")
    page.press("m")
    wait_for("the view as it was", lambda: view() == ["0", False])


def check_failures(page):
    """The server gone and back; answers that are no pictures. Chromium puts each refused request into its console."""
    relay = page.relay
    relay.status = {"": 502}
    page.wait("the server to be missed", lambda shown: shown["state"] == "No answer" and shown["notice"])
    relay.status = {}
    page.wait_live()
    relay.status = {"/snapshot": 404}
    page.wait("the stream in an <img>", lambda shown: shown["image"] and shown["state"] == "Live")
    relay.status = {"": 502}
    page.wait("the server to be missed again", lambda shown: shown["state"] == "No answer" and not shown["image"])
    relay.status = {}
    page.wait_live()
    page.expect_refusals_alone("failures")


def check_without_javascript(page):
    """A still picture, which leads to the stream."""
    page.devtools("Emulation.setScriptExecutionDisabled", value=True)
    try:
        before = len(page.relay.asked)
        page.go()
        picture = page.call("POST", "/element", {"using": "css selector", "value": "noscript img"})
        picture = f"/element/{next(iter(picture.values()))}"
        wait_for("a picture without JavaScript", lambda: page.call("GET", picture + "/property/naturalWidth"))
        asked = page.relay.asked[before:]
        check(not any(path.endswith("/stream") for path in asked), f"without JavaScript there was asked for {asked}")
        # Not clicked: the driver would wait until the stream has ended.
        link = page.call("POST", "/element", {"using": "css selector", "value": "noscript a"})
        link = page.call("GET", f"/element/{next(iter(link.values()))}/property/href")
        check(link.endswith(PREFIX + "/stream"), f"without JavaScript the picture leads to {link}")
    finally:
        page.devtools("Emulation.setScriptExecutionDisabled", value=False)


def fetch_axe():
    """axe-core's source, or None where there is no npm."""
    if not shutil.which("npm"):
        return None
    target = os.environ.get("CARGO_TARGET_DIR") or pathlib.Path(__file__).resolve().parents[2] / "target"
    store = pathlib.Path(target) / "npm"
    store.mkdir(parents=True, exist_ok=True)
    package = store / (AXE.replace("@", "-") + ".tgz")
    if not package.exists():
        done = subprocess.run(["npm", "pack", AXE, "--pack-destination", str(store)],
                              check=False, capture_output=True, text=True, timeout=120)
        check(done.returncode == 0, f"npm pack {AXE}: {done.stderr.strip()[-300:]}")
    digest = base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode()
    check(digest == AXE_DIGEST, f"{package} is not the {AXE} that was looked at")
    with tarfile.open(package) as archive:
        return archive.extractfile("package/axe.min.js").read().decode()


def check_access(page, axe, shots):
    """No violations, nothing that sticks out, on any screen; with the panel open too."""
    for name, size in SIZES.items():
        page.resize(*size)
        page.go()
        shown = page.wait_live()
        check(not shown["wide"] and not shown["tall"], f"{name}: the page is larger than the screen")
        for panel in (False, True):
            if panel:
                page.press("i")
                page.wait("the panel", lambda shown: shown["dialog"])
            if shots:
                png = page.devtools("Page.captureScreenshot", format="png")["data"]
                (shots / f"page-{name}{'-panel' if panel else ''}.png").write_bytes(base64.b64decode(png))
            if axe:
                page.browser.run(axe)
                found = page.call("POST", "/execute/async", {"script": RUN_AXE, "args": []})
                check(not found, f"axe-core, {name}{', panel' if panel else ''}: {found}")
    page.expect_no_message("all screens")


def look(browser, relay, downloads, shots):
    """All checks; whether axe-core was among them."""
    version = browser.open(**{"goog:loggingPrefs": {"browser": "ALL"}})
    page = Page(browser, relay)
    page.resize(*SIZES["desk"])
    figures = check_picture(page)
    check_age(page)
    check_hidden(page)
    names = check_cameras(page)
    check_lost(page)
    check_keys(page, downloads)
    check_view(page)
    check_overview(page, names)
    check_pause(page)
    check_failures(page)
    check_without_javascript(page)
    axe = fetch_axe()
    check_access(page, axe, shots)
    print(f"page, chromium {version}: {figures}; cameras {', '.join(names)}; "
          f"{f'{AXE} finds nothing on {len(SIZES)} screens' if axe else 'SKIPPED: axe-core, for want of npm'}")
    return bool(axe)


def main(url, shots=None):
    """Opens the page, tries everything."""
    need("chromium chromium-driver", "chromium", "chromedriver")
    shots = directory(shots)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch, Driver(scratch + "/profile") as browser:
        downloads = pathlib.Path(scratch) / "downloads"
        downloads.mkdir()
        complete = look(browser, Relay(url), downloads, shots)
    return 0 if complete else 77


if __name__ == "__main__":
    script(main, " [DIRECTORY]")
