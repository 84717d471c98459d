#!/usr/bin/env python3
"""tests/clients/leaving.py URL [BROWSER...]: how long a camera stays awake after a viewer has left, in real browsers.

What: a page shows the stream in an <img>, and after some seconds does what front-ends do with one: removes it from the page, empties its
  `src` before, leaves for another page. Told is when the server has no viewer any more, when the camera sleeps, and what the browser took
  meanwhile. Fails where a browser does something else than EXPECTED, which is what docs/http.md says of it.
Why: a camera sleeps when nobody looks, and only a browser knows that nobody does.
What not: it is no part of `tests/clients/run` without arguments, because it waits for what does not come; its last result is in
  benches/runs/2026-11-30-viewers/leaving.txt.
LAZYCAM_BINARY names the program, as tests/clients/run does: it starts servers of its own. Needs what screen.py needs. Ends with 0, with 1
after saying what was wrong, with 77 where a browser is missing and all else is well.
"""

import json
import time
import urllib.request

from embedding import Site, serving
from screen import find_browsers, shown
from shared import check, need, script, wait_for

# A viewer that still takes frames when this has passed will take them for good. Chromium's megabyte is 20 s at this rate.
LIMIT_SECS = 60
RATE = "/stream?fps=5"
WAYS = {"removed": "image.remove()",
        "src emptied, then removed": "image.src = 'data:,'; image.remove()",
        "another page": "location.href = '/another'"}
# When the server has no viewer: at once, some time later, or not within the limit.
EXPECTED = {("chromium", "removed"): "not", ("chromium", "src emptied, then removed"): "at once", ("chromium", "another page"): "later",
            ("firefox", "removed"): "not", ("firefox", "src emptied, then removed"): "at once", ("firefox", "another page"): "at once",
            ("webkit", "removed"): "not", ("webkit", "src emptied, then removed"): "not", ("webkit", "another page"): "at once"}
PAGE = """<!doctype html><title>leaving</title><body><script>
if (location.pathname === '/') {
    const image = new Image();
    image.src = '%s';
    document.body.append(image);
    setTimeout(async () => {
        await fetch('/result', {method: 'POST', body: JSON.stringify(image.naturalWidth)});
        %s;
    }, 4000);
}
</script>"""


def facts(url):
    """The stream if there is one, and what the camera does."""
    with urllib.request.urlopen(url + "/state", timeout=60) as reply:
        told = json.load(reply)["result"]["lazycam"]
    return next(iter(told["viewers"]), None), told["cameras"][0]


def leave(site, url, browser, way):
    """What becomes of the stream."""
    site.page, site.found = PAGE % (url + RATE, WAYS[way]), None
    with shown(browser, site.origin + "/"):
        wait_for("the page to leave", lambda: site.found is not None)
        check(site.found, f"{browser} had no picture")
        start, first, last, gone = time.monotonic(), None, None, None
        while time.monotonic() < start + LIMIT_SECS:
            viewer, camera = facts(url)
            passed = time.monotonic() - start
            if viewer:
                gone, last = None, viewer
                first = first or viewer
            else:
                gone = passed if gone is None else gone
                if camera["state"] == "off":
                    break
            time.sleep(0.1)
    taken = last["frames_sent"] - first["frames_sent"] if last else 0
    size = camera["frame"]["bytes"]
    asleep = f"the camera sleeps after {passed:.1f} s" if camera["state"] == "off" else "the camera does not sleep"
    ended = f"not within {LIMIT_SECS} s" if gone is None else f"after {gone:.1f} s"
    print(f"leaving: {browser}, {way}: the stream ends {ended}, {asleep}; {taken} frames of {size / 1000:.0f} KB taken meanwhile", flush=True)
    return "not" if gone is None else "at once" if gone < 3 else "later"


def main(_, *wanted):
    """All browsers that are there, or those that are wanted."""
    need("xvfb", "Xvfb")
    browsers, missing = find_browsers()
    site, wrong = Site(False), []
    for browser in browsers:
        for way in WAYS if not wanted or browser in wanted else ():
            with serving() as url:
                found, expected = leave(site, url, browser, way), EXPECTED[browser, way]
            if found != expected:
                wrong.append(f"{browser}, {way}: the stream ends {found}, not {expected}")
    check(not wrong, "; ".join(wrong))
    return 77 if missing else 0


if __name__ == "__main__":
    script(main, " [BROWSER...]")
