#!/usr/bin/env python3
"""tests/clients/chromium_fetch.py URL: a page of another origin reads the stream by fetch, as Mainsail's does.

What: a page on another port fetches /?action=stream&timestamp=N, reads the body as a ReadableStream, takes frames out of it by FF D8
  and Content-Length, piece by piece as they come, and has each decoded. 20 frames must come, each of the snapshot's size
  and newer than the one before. At one frame per second a frame must be whole before the next one is sent: its age is under a
  second by X-Timestamp. Then the page stops reading, and the server must forget the viewer. A snapshot must show the
  page its X-Timestamp.
Why: Mainsail and mjpeg-readable-stream do it so; it hangs on Access-Control-Allow-Origin, on the length of each part, and on the
  boundary that comes right behind a frame: a frame is done for them when the byte behind it is there.
What not: Mainsail itself; these are its rules in our words. Only Blink.
Ends with 0, with 1 after saying what was wrong, with 77 where Chromium or its driver is missing.
"""

import json
import tempfile
import urllib.request

from chromium import Driver
from shared import check, need, page_server, script, snapshot_size, wait_for

PAGE = """<!doctype html><title>lazycam</title>
<script>
let frames = [], failure = null, reader = null;
async function start(url, wanted) {
    frames = []; failure = null;
    try {
        const reply = await fetch(`${url}&timestamp=${Date.now()}`, {mode: 'cors'});
        if (!reply.ok) throw new Error(`status ${reply.status}`);
        reader = reply.body.getReader();
        let text = '', body = null, have = 0;
        for (;;) {
            const {done, value} = await reader.read();
            if (done) break;
            for (let at = 0; at < value.length; at++) {
                if (value[at] === 0xFF && value[at + 1] === 0xD8) {
                    body = new Uint8Array(Number(/^content-length:(.*)$/im.exec(text)[1]));
                    have = 0;
                }
                if (!body) text += String.fromCharCode(value[at]);
                else if (have < body.length) body[have++] = value[at];
                else { await shown(body, text); body = null; text = ''; }
            }
            if (frames.length >= wanted) { await reader.cancel(); break; }
        }
    } catch (error) { failure = String(error); }
}
async function shown(body, text) {
    const stamp = Number(/^x-timestamp:(.*)$/im.exec(text)[1]), age = Date.now() - 1000 * stamp;
    const bitmap = await createImageBitmap(new Blob([body], {type: 'image/jpeg'}));
    frames.push({size: [bitmap.width, bitmap.height], age, stamp});
    bitmap.close();
}
</script>"""
SNAPSHOT = """
    const done = arguments[1];
    fetch(arguments[0]).then((reply) => done(reply.headers.get('X-Timestamp')), (error) => done(String(error)));"""


def read(browser, url, wanted):
    """So many frames of that address."""
    browser.run(f"start({url!r}, {wanted})")
    state = {}

    def finished():
        state.update(browser.run("return {frames, failure}"))
        return state["failure"] or len(state["frames"]) >= wanted

    wait_for("frames", finished)
    check(not state["failure"], f"{url}: {state['failure']}")
    return state["frames"]


def viewers(url):
    """How many the server has."""
    with urllib.request.urlopen(url + "/state", timeout=10) as reply:
        return json.load(reply)["result"]["stream"]["clients"]


def look(browser, url, expected):
    """The check itself."""
    version = browser.open()
    with page_server(PAGE) as page:
        browser.call("POST", browser.session + "/url", {"url": page})
    frames = read(browser, url + "/?action=stream", 20)
    for frame in frames:
        check(frame["size"] == expected, f"a frame is {frame['size']}, the snapshot {expected}")
    stamps = [frame["stamp"] for frame in frames]
    check(stamps == sorted(set(stamps)), f"the frames' times are {stamps}, not each later than the one before")
    ages = [frame["age"] for frame in read(browser, url + "/stream?fps=1", 4)]
    check(sorted(ages)[2] < 1000, f"at one frame per second frames are whole when they are {ages} ms old: one late")
    wait_for("the server to forget the viewer", lambda: viewers(url) == 0)
    stamp = browser.call("POST", browser.session + "/execute/async", {"script": SNAPSHOT, "args": [url + "/snapshot"]})
    check(stamp and stamp.replace(".", "").isdigit(), f"the page sees X-Timestamp as {stamp}")
    print(f"fetch, chromium {version}: {len(frames)} frames by ReadableStream from another origin, each newer; "
          f"at 1 frame per second whole when {min(ages):.0f} to {max(ages):.0f} ms old; the snapshot tells its time")


def main(url):
    """Opens the page, reads."""
    need("chromium chromium-driver", "chromium", "chromedriver")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, Driver(profile) as browser:
        look(browser, url, snapshot_size(url))


if __name__ == "__main__":
    script(main)
