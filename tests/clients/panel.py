#!/usr/bin/env python3
"""tests/clients/panel.py URL BINARY [DIRECTORY]: the page's panel for controls sets them in a real browser, where the server lets it.

What: BINARY captures the test pattern, which has a slider, a switch and a menu, and serves it with --allow-control and a password.
  Headless Chromium opens the page and sets each by keyboard alone and by mouse; what the server lists afterwards is what was set, and
  what another program sets is shown. A refusal is shown in the panel. On a desk and on a phone nothing sticks out, targets are
  large enough, and axe-core finds nothing. At URL, a server without the flag, there is no panel. DIRECTORY gets screenshots.
Why: the panel's requests have to pass the server's rules on origins, and a script that hangs looks fine in its source.
What not: no touch gestures, and only Blink.
Ends with 0, with 1 after saying what was wrong, with 77 where a program is missing.
"""

import base64
import contextlib
import json
import pathlib
import re
import subprocess
import tempfile
import time
import urllib.request

from chromium import Driver
from page import RUN_AXE, SIZES, Page, fetch_axe
from shared import Failed, check, directory, need, script, wait_for

USER, PASSWORD = "anna", "secret"
# openssl passwd -6 -salt saltsalt secret
HASH = "$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1"
CREDENTIAL = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
LOOK = """
    const panel = document.getElementById('panel'), adjust = document.getElementById('adjust');
    const box = panel?.getBoundingClientRect();
    const fields = [...(panel?.querySelectorAll('.knob > :is(input, select, button)') || [])];
    return {offered: adjust !== null && !adjust.hidden, open: Boolean(panel?.open), said: panel?.querySelector('[role=status]').textContent,
        labels: [...(panel?.querySelectorAll('label') || [])].map((label) => label.textContent),
        values: fields.map((field) => field.type === 'checkbox' ? Number(field.checked) : Number(field.value)),
        small: fields.map((field) => field.getBoundingClientRect()).filter(({height}) => height < 24).length,
        inside: !box || !panel.open || (box.left >= 0 && box.right <= innerWidth && box.top >= 0 && box.bottom <= innerHeight),
        wide: Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) > innerWidth, focus: document.activeElement.id};"""


class Site:
    """Where the page is, in the place of page.py's relay."""

    def __init__(self, url):
        self.url, self.out_of_time = url, 0


@contextlib.contextmanager
def started(binary, *arguments, until):
    """The program, once it has said this; what stands behind that on the line."""
    process = subprocess.Popen([binary, *map(str, arguments)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        for line in process.stderr:
            if until in line:
                yield line.split(until)[1].strip()
                break
        else:
            raise Failed(f"{binary} {arguments[0]} never said '{until}'")
    finally:
        process.terminate()
        process.stderr.close()
        process.wait()


def request(url, body=None):
    """What the server answers to a program with the password."""
    fields = {"Authorization": CREDENTIAL, "Content-Type": "application/json"}
    data = body and json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url + "controls", data, fields), timeout=30) as reply:
        return json.load(reply)


def values(url):
    """The values as the server lists them."""
    return [control["value"] for control in request(url)]


class Panel:
    """The panel in the browser."""

    def __init__(self, page, url):
        self.page, self.url = page, url

    def look(self):
        """What can be seen of it."""
        return self.page.browser.run(LOOK)

    def wait(self, what, condition):
        """Until what can be seen is so; that."""
        try:
            return wait_for(what, lambda: (shown := self.look()) and condition(shown) and shown)
        except Failed as error:
            raise Failed(f"{error}; the panel shows {self.look()}") from error

    def wait_set(self, expected):
        """Until the server lists these values, and the panel shows them."""
        try:
            wait_for(f"the values {expected}", lambda: values(self.url) == expected)
        except Failed as error:
            raise Failed(f"{error}; there are {values(self.url)}, and the panel shows {self.look()}") from error
        self.wait(f"the values {expected} in the panel", lambda shown: shown["values"] == expected)

    def open(self):
        """By its key, when it is there."""
        self.page.go()
        self.page.wait_live()
        self.wait("the button", lambda shown: shown["offered"])
        self.page.press("c")
        return self.wait("the panel", lambda shown: shown["open"] and shown["focus"] == "set-lane_brightness")


def check_keyboard(panel):
    """Everything by keys alone."""
    press = panel.page.press
    shown = panel.open()
    check(shown["labels"] == ["lane brightness", "clock", "sweep"], f"the labels are {shown['labels']}")
    check(shown["values"] == [24, 1, 0], f"the values are {shown['values']}")
    for _ in range(6):
        press("right")
    panel.wait_set([30, 1, 0])
    press("tab")
    press(" ")
    panel.wait_set([30, 0, 0])
    press("tab")
    press("s")  # the item that begins with this letter; elsewhere it saves the picture
    panel.wait_set([30, 0, 1])
    check(panel.look()["focus"] == "set-sweep", "the focus is lost when a value is set")
    press("escape")
    panel.wait("the end of the panel", lambda shown: not shown["open"] and shown["focus"] == "adjust")


def check_mouse(panel):
    """By the mouse, and what others set is shown when the panel is opened again."""
    check(request(panel.url, {"lane_brightness": 100})["results"] == [{"name": "lane_brightness", "result": "set"}], "it was not set")
    panel.page.click("#adjust")
    shown = panel.wait("what another program has set", lambda shown: shown["open"] and shown["values"][0] == 100)
    panel.page.click("#set-clock")
    panel.wait_set([100, 1, 1])
    # Many at once, as when somebody pulls at it: the last one counts.
    panel.page.browser.run("""
        const slider = document.getElementById('set-lane_brightness');
        for (let at = 0; at <= 150; at++) { slider.value = at; slider.dispatchEvent(new Event('input')); }""")
    panel.wait_set([150, 1, 1])
    panel.page.expect_no_message("setting controls")
    # Beyond its range, as the page would never: the refusal is shown.
    panel.page.browser.run("""
        const slider = document.getElementById('set-lane_brightness');
        slider.max = 255; slider.value = 255; slider.dispatchEvent(new Event('input'));""")
    shown = panel.wait("a refusal", lambda shown: shown["said"])
    check("0 to 200" in shown["said"], f"the refusal is told as {shown['said']}")
    panel.page.expect_refusals_alone("a refusal")


def check_screens(panel, axe, shots):
    """On each screen it is inside, usable, and no rule of accessibility is violated."""
    for name, size in SIZES.items():
        panel.page.resize(*size)
        shown = panel.open()
        check(shown["inside"] and not shown["wide"], f"{name}: the panel sticks out")
        check(not shown["small"], f"{name}: {shown['small']} controls are less than 24 pixels high")
        if shots:
            png = panel.page.devtools("Page.captureScreenshot", format="png")["data"]
            (shots / f"panel-{name}.png").write_bytes(base64.b64decode(png))
        if axe:
            panel.page.browser.run(axe)
            found = panel.page.call("POST", "/execute/async", {"script": RUN_AXE, "args": []})
            check(not found, f"axe-core, {name}: {found}")


def look(browser, plain, url, shots):
    """All checks; whether axe-core was among them."""
    version = browser.open(**{"goog:loggingPrefs": {"browser": "ALL"}})
    page = Page(browser, Site(plain.rstrip("/") + "/"))
    page.resize(*SIZES["desk"])
    page.go()
    page.wait_live()
    time.sleep(1)
    check(not page.browser.run(LOOK)["offered"], "there is a panel where nothing may be set")
    page.relay.url = re.sub("//", f"//{USER}:{PASSWORD}@", url)
    panel = Panel(page, url)
    check_keyboard(panel)
    check_mouse(panel)
    axe = fetch_axe()
    check_screens(panel, axe, shots)
    print(f"panel, chromium {version}: slider, switch and menu set by keys and mouse; "
          f"{'axe-core finds nothing' if axe else 'SKIPPED: axe-core, for want of npm'}")
    return bool(axe)


def main(plain, binary, shots=None):
    """Starts both sides, opens the page."""
    need("chromium chromium-driver", "chromium", "chromedriver")
    shots = directory(shots)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch, contextlib.ExitStack() as stack:
        scratch = pathlib.Path(scratch)
        (scratch / "users").write_text(f"{USER}:{HASH}\n", encoding="utf-8")
        camera = ("capture", "--frames", scratch / "frames/front", "--settable", "lane_brightness,clock,sweep",
                  "--mailbox", scratch / "boxes/front")
        server = ("serve", "--frames", scratch / "frames/front", "--listen", "127.0.0.1:0", "--auth", scratch / "users",
                  "--allow-control", scratch / "boxes")
        stack.enter_context(started(binary, *camera, until=" on demand"))
        at = stack.enter_context(started(binary, *server, until="listening on "))
        browser = stack.enter_context(Driver(str(scratch / "profile")))
        complete = look(browser, plain, f"http://{at}/", shots)
    return 0 if complete else 77


if __name__ == "__main__":
    script(main, " BINARY [DIRECTORY]")
