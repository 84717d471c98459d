#!/usr/bin/env python3
"""tests/clients/embedding.py URL: which pages of another origin may show and read pictures, in real browsers.

What: pages on a port of their own, which is another origin, are opened in Chromium, WebKitGTK and Firefox. Each of them tries what it says
  in TRIES, and sends what came of it to its own server: <img> with and without `crossorigin`, whose pixels must be readable with it, also
  on a page with `Cross-Origin-Embedder-Policy: require-corp`; a `fetch` with a field of its own, with and without credentials. This is
  done with a server that has no `--allow-origin` (the page is on the same host), and with `*`, the page's origin, another one, and `none`.
Why: what a field does is decided by browsers, each in its own way: WebKit looks for it in every part of a stream.
What not: no names and passwords; which of the two origins the page is said to have is what counts.
LAZYCAM_BINARY names the program, as tests/clients/run does; without it, only the server at URL is tried.
Needs what screen.py needs. Ends with 0, with 1 after saying what was wrong, with 77 where a browser is missing and all else is well.
"""

import contextlib
import http.server
import json
import os
import re
import subprocess
import tempfile
import threading

from screen import find_browsers, shown
from shared import check, need, script, wait_for

PAGE = """<!doctype html><title>embedding</title><body><script>
const url = '%s';
const sleep = (time) => new Promise((done) => setTimeout(done, time));
async function picture(target, crossOrigin) {
    const image = new Image();
    if (crossOrigin) image.crossOrigin = crossOrigin;
    image.src = url + target;
    document.body.append(image);
    for (let waited = 0; !image.naturalWidth; waited += 100) {
        if (waited > 5000) return 'nothing';
        await sleep(100);
    }
    await sleep(1500); // so that a part behind the first one is judged too
    const canvas = document.createElement('canvas');
    canvas.getContext('2d').drawImage(image, 0, 0, 300, 150);
    const read = () => { try { return canvas.toDataURL().length; } catch { return 0; } };
    const result = !image.naturalWidth ? 'gone' : read() ? 'readable' : 'shown';
    image.src = 'data:,';
    image.remove();
    return result;
}
async function data(target, options) {
    try {
        const answer = await fetch(url + target, options);
        return (await answer.blob()).size > 1000 ? 'readable' : 'empty';
    } catch { return 'refused'; }
}
const own = {headers: {'X-Own': '1', 'X-Other': '2'}};
(async () => {
    const pictures = {
        stream: picture('/stream?fps=4'), 'stream, anonymous': picture('/stream?fps=4', 'anonymous'),
        'stream, use-credentials': picture('/stream?fps=4', 'use-credentials'),
        snapshot: picture('/snapshot'), 'snapshot, anonymous': picture('/snapshot', 'anonymous'),
    };
    const found = {};
    for (const [name, result] of Object.entries(pictures)) found[name] = await result;
    found.fetch = await data('/snapshot', own);
    found['fetch, credentials'] = await data('/snapshot', {credentials: 'include', ...own});
    await fetch('/result', {method: 'POST', body: JSON.stringify(found)});
})();
</script>"""

ANY = {"stream": "shown", "stream, anonymous": "readable", "stream, use-credentials": "nothing", "snapshot": "shown",
       "snapshot, anonymous": "readable", "fetch": "readable", "fetch, credentials": "refused"}
NAMED = dict.fromkeys(ANY, "readable") | {"stream": "shown", "snapshot": "shown"}
ANOTHER = dict.fromkeys(ANY, "nothing") | {"stream": "shown", "snapshot": "shown", "fetch": "refused", "fetch, credentials": "refused"}
# With require-corp, an <img> that does not say on whose page it is shows nothing, unless all may read.
HIDDEN = {"stream": "nothing", "snapshot": "nothing"}
NONE = ANOTHER | HIDDEN


class Site:
    """A website with one page, which tells it what it found."""

    def __init__(self, strict):
        self.page = self.found = None
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            """The page for every path."""

            def do_GET(self):  # pylint: disable=invalid-name
                """The page."""
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                if strict:
                    self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
                self.end_headers()
                self.wfile.write(site.page.encode())

            def do_POST(self):  # pylint: disable=invalid-name
                """What it found."""
                site.found = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                """Quiet."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.origin = f"http://127.0.0.1:{self.server.server_port}"

    def ask(self, browser, url):
        """What this browser finds of that server."""
        self.page, self.found = PAGE % url, None
        with shown(browser, self.origin + "/"):
            return wait_for("what the page found", lambda: self.found)


@contextlib.contextmanager
def serving(*flags):
    """A server of its own with these flags."""
    binary = os.environ["LAZYCAM_BINARY"]
    with tempfile.TemporaryDirectory() as frames:
        words = os.environ.get("LAZYCAM_RUNNER", "").split() + [binary, "run", "--listen", "127.0.0.1:0", "--frames", frames,
                                                                "--camera", "front=pattern", *flags]
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            for line in process.stderr:
                if told := re.search(r"listening on 127\.0\.0\.1:(\d+)", line):
                    break
            check(told, "the server does not start")
            threading.Thread(target=process.stderr.read, daemon=True).start()
            yield f"http://127.0.0.1:{told[1]}"
        finally:
            process.terminate()
            process.wait()


def compare(what, found, expected):
    """Or it has failed."""
    wrong = [f"{name}: {found[name]}, not {wanted}" for name, wanted in expected.items() if found[name] != wanted]
    print(f"embedding: {what}: {'as expected' if not wrong else '; '.join(wrong)}", flush=True)
    return wrong


def look(browsers, url):
    """All tries; what is wrong."""
    wrong = []
    for strict in (False, True):
        site, name = Site(strict), " with require-corp" if strict else ""
        hidden = HIDDEN if strict else {}
        cases = [("its host", ANY | hidden, None)]
        if "LAZYCAM_BINARY" in os.environ:
            cases += [("any origin", ANY, "*"), ("its origin", NAMED | hidden, site.origin),
                      ("another origin", ANOTHER | hidden, "http://192.0.2.1"), ("none", NONE, "none")]
        for who, expected, origin in cases:
            with serving("--allow-origin", origin) if origin else contextlib.nullcontext(url) as server:
                for browser in browsers:
                    found = site.ask(browser, server)
                    wrong += compare(f"{browser}, a page{name} where {who} may read", found, expected)
        site.server.shutdown()
    return wrong


def main(url):
    """All browsers that are there."""
    need("xvfb", "Xvfb")
    browsers, missing = find_browsers()
    check(not look(browsers, url), "see above")
    return 77 if missing else 0


if __name__ == "__main__":
    script(main)
