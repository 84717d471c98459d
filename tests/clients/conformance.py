#!/usr/bin/env python3
"""tests/clients/conformance.py URL: public checkers of HTTP have nothing to say about the replies that is not known and meant.

What: one client of h11, which takes no liberty with framing, asks for every kind of reply, several on one connection where that
  goes on; httplint looks at each; REDbot asks for the page and a snapshot in its own ways, with conditions, ranges and
  compression. Notes that are bad or a warning fail, but for those in MEANT.
Why: tests/e2e/rfc9110.rs and tests/e2e/rfc9112.rs have one reading of the RFCs, the project's own.
What not: requests that are malformed. No checker of servers for those is in PyPI, npm or Debian (h1spec and its like are
  repositories only); tests/e2e/rfc9112.rs has them.
The packages come from PyPI at the versions that conformance.txt names, but for sniffpy, of which there is only source: so nobody
looks whether the content is of the type that it says. Ends with 0, with 1 after saying what was wrong, with 77 where there is no
python3-venv.
"""

import urllib.parse

from shared import run_with_packages, script

CHECK = r"""
import concurrent.futures, json, socket, subprocess, sys, types

STUB = "import sys, types; m = types.ModuleType('sniffpy'); m.sniff = lambda _, kind: kind; sys.modules['sniffpy'] = m\n"
exec(STUB)
import h11
from httplint import HttpRequestLinter, HttpResponseLinter

# What is done although a checker would rather not have it, and why.
MEANT = {
    "REQUEST_HDR_IN_RESPONSE": "Pragma: mjpg-streamer sends it, and old caches heed it",
    "CC_CONFLICTING": "no-store with all the rest: for caches that know only some of it, as mjpg-streamer does",
    "CORS_PREFLIGHT_ONLY": "every OPTIONS is answered alike, whether it is a preflight or not",
}

host, port = sys.argv[1], int(sys.argv[2])
url = f"http://{host}:{port}"
wrong, notes = [], set()


def judge(what, level, note, text):
    # That the status is one of an error is no news.
    if level not in ("GOOD", "INFO") and not note.startswith("STATUS_"):
        notes.add(note)
        if note not in MEANT:
            wrong.append(f"{what}: {level}: {note}: {text}")


def lint(method, target, reply, body):
    asked = HttpRequestLinter()
    asked.process_request_topline(method, url.encode() + target, b"HTTP/1.1")
    asked.process_headers([(b"Host", host.encode())])
    asked.finish_content(True)
    linter = HttpResponseLinter(_related=asked, no_content=method == b"HEAD")
    linter.process_response_topline(b"HTTP/" + reply.http_version, str(reply.status_code).encode(), reply.reason)
    linter.process_headers(list(reply.headers.raw_items()))
    linter.feed_content(body)
    linter.finish_content(True)
    for note in linter.notes:
        judge(f"httplint: {method.decode()} {target[:40].decode()}", note.level.name, type(note).__name__, str(note.summary))


class Client:
    def __init__(self):
        self.socket = socket.create_connection((host, port), timeout=10)
        self.state = h11.Connection(h11.CLIENT)

    def next_event(self):
        while True:
            event = self.state.next_event()
            if event is not h11.NEED_DATA:
                return event
            self.state.receive_data(self.socket.recv(65536))

    def ask(self, method, target, fields, enough):
        request = h11.Request(method=method, target=target, headers=[("Host", host), *fields])
        for event in (request, h11.EndOfMessage()):
            self.socket.sendall(self.state.send(event))
        reply, body = self.next_event(), b""
        while len(body) < enough:
            event = self.next_event()
            if isinstance(event, h11.EndOfMessage):
                break
            body += event.data
        return reply, body


def follow(asked):
    client, count = Client(), 0
    for method, target, fields, status in asked:
        reply, body = client.ask(method, target, fields, 100_000 if target == b"/stream" else 1 << 30)
        if reply.status_code != status:
            wrong.append(f"h11: {method} {target[:40]}: {reply.status_code} is not {status}")
        if target == b"/stream":
            # It has no end, so nothing can be said of its length.
            body = b""
        lint(method, target, reply, body)
        count += 1
        tag = dict(reply.headers).get(b"etag")
        if tag and status == 200 and method == b"GET":
            count += follow([(b"GET", target, [("If-None-Match", tag)], 304), (b"HEAD", target, [("If-None-Match", tag)], 304)])
        if client.state.our_state is h11.MUST_CLOSE:
            if target != b"/stream" and client.socket.recv(1):
                wrong.append(f"h11: more behind the end of {method} {target}")
            client = Client()
        elif target != b"/stream":
            client.state.start_next_cycle()
        else:
            client = Client()
    return count


def redbot(path):
    program = STUB + "from redbot.cli import main\nmain()"
    done = subprocess.run([sys.executable, "-c", program, "-o", "har", url + path], capture_output=True, text=True, timeout=50)
    if done.returncode or not done.stdout:
        return [(f"redbot: {path}", "BAD", "no answer", done.stderr[-2000:])]
    entries = json.loads(done.stdout)["log"]["entries"]
    found = [(f"redbot: {path}", note["level"], note["note_id"], note["summary"]) for entry in entries for note in entry["_red_messages"]]
    if not found:
        return [(f"redbot: {path}", "BAD", "no answer", done.stdout)]
    return found


paths = ["/", "/snapshot"]
pool = concurrent.futures.ThreadPoolExecutor()
by_redbot = pool.map(redbot, paths)
origin = [("Origin", "http://page.invalid")]
preflight = [*origin, ("Access-Control-Request-Method", "GET")]
close = [("Connection", "close")]
count = follow([
    (b"GET", b"/", [], 200), (b"HEAD", b"/", [], 200), (b"GET", b"/snapshot", [], 200), (b"HEAD", b"/snapshot", [], 200),
    (b"GET", b"/front/snapshot?max_age=1", origin, 200), (b"GET", b"/state", [], 200), (b"HEAD", b"/state", [], 200),
    (b"GET", b"/metrics", [], 200), (b"GET", b"/favicon.ico", [], 204), (b"HEAD", b"/favicon.ico", [], 204),
    (b"GET", b"/front", [], 308), (b"OPTIONS", b"*", [], 200), (b"OPTIONS", b"/stream", preflight, 200),
    (b"GET", b"/nothing", [], 404), (b"HEAD", b"/nothing", [], 404), (b"GET", b"*", [], 400),
    (b"GET", b"/?action=command", [], 501), (b"GET", b"/gone/snapshot", [], 503), (b"GET", b"/snapshot", close, 200),
    (b"PUT", b"/", [], 405), (b"BREW", b"/", [], 501), (b"GET", b"/" + b"a" * 8000, [], 414),
    (b"GET", b"/", [("A", "a" * 17_000)], 431), (b"GET", b"/%zz", [], 400),
    (b"HEAD", b"/stream", [], 200), (b"GET", b"/stream", [], 200), (b"POST", b"/stream", [("Content-Length", "0")], 200),
])
for found in by_redbot:
    for note in found:
        judge(*note)
if wrong:
    sys.exit("\n".join(wrong))
print(f"h11 and httplint: {count} replies, REDbot: {len(paths)} resources; known and meant: {', '.join(sorted(notes))}")
"""


def main(url):
    """Checks."""
    where = urllib.parse.urlsplit(url)
    print(run_with_packages("conformance.txt", CHECK, where.hostname, str(where.port)))


if __name__ == "__main__":
    script(main)
