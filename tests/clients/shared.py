"""What the clients written in Python share: how they fail, wait, read JPEG heads and get what is not Debian's.

Not a client itself. Needs only Python's own library.
"""

import contextlib
import hashlib
import http.server
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

PATIENCE_SECS = 60  # a cold browser on a busy machine of two cores took 6, and some machines stand still for seconds
SKIPPED = 77  # the status that tests/clients/run takes for a client that is not there


class Failed(Exception):
    """What was wrong, for people."""


class Missing(Exception):
    """What is not installed, and how to get it."""


def check(condition, what):
    """Or it has failed."""
    if not condition:
        raise Failed(what)


def need(packages, *programs):
    """Or the client is skipped: these programs, which are in these packages of Debian."""
    for program in programs:
        if not shutil.which(program):
            raise Missing(f"{program} is missing; on Debian: apt-get install {packages}")


def directory(path):
    """This directory, made if it is missing; None if there is to be none."""
    path = path and pathlib.Path(path)
    if path:
        path.mkdir(parents=True, exist_ok=True)
    return path


def script(main, more=""):
    """Runs a client that takes the URL, and perhaps more as the usage says, and ends with the status that it returns, if any."""
    name = pathlib.Path(sys.argv[0]).name
    words = more.split()
    least = sum(not word.startswith("[") for word in words)
    most = len(sys.argv) if "..." in more else len(words)
    if not least <= len(sys.argv) - 2 <= most:
        sys.exit(f"usage: {name} URL{more}")
    try:
        sys.exit(main(*sys.argv[1:]))
    except Missing as missing:
        print(missing)
        sys.exit(SKIPPED)
    except (Failed, OSError, subprocess.SubprocessError) as error:
        print(f"{name}: {error}")
        sys.exit(1)


def jpeg_size(jpeg):
    """Width and height out of the frame header (ITU T.81, B.2.2)."""
    at = 2
    while at + 9 < len(jpeg):
        marker, length = struct.unpack(">xBH", jpeg[at:at + 4])
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", jpeg[at + 5:at + 9])
            return [width, height]
        at += 2 + length
    raise Failed("the snapshot has no frame header")


def snapshot_size(url):
    """Width and height of the pictures that the server has."""
    return jpeg_size(wait_for("a snapshot", lambda: snapshot(url)))


def snapshot(url):
    """A picture; None where the machine stood still for longer than the server waits for a frame."""
    try:
        with urllib.request.urlopen(url + "/snapshot", timeout=PATIENCE_SECS) as reply:
            return reply.read()
    except urllib.error.HTTPError as error:
        check(error.code == 503, f"/snapshot is answered by {error.code}")
        return None


def wait_for(what, condition):
    """The first true value of `condition`."""
    deadline = time.monotonic() + PATIENCE_SECS
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.2)
    raise Failed(f"waited {PATIENCE_SECS} s for {what}")


@contextlib.contextmanager
def page_server(page, folder=None):
    """The page on a port of its own, as Mainsail's or a dashboard's is: another origin than the stream. Not a
    data: or file: page, because Chromium keeps pages of no known address away from loopback. With a `folder`, its files are there
    beside it."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        """The page for every path, or for the root alone where there are files."""

        def __init__(self, *arguments):
            super().__init__(*arguments, directory=folder)

        def do_GET(self):  # pylint: disable=invalid-name
            """The page, or a file."""
            if folder and self.path.partition("?")[0] != "/":
                super().do_GET()
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *_):
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # somebody left in mid-picture
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()


def run_with_packages(requirements, program, *arguments, cwd=None):
    """What `program` prints, run in `cwd` by a Python that has the packages of that file beside this one; they come from PyPI.
    They are kept in a virtual environment in target/, whose name says what is in it."""
    listed = pathlib.Path(__file__).with_name(requirements)
    digest = hashlib.sha256(listed.read_bytes() + sys.version.encode()).hexdigest()[:12]
    place = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target"), "python", f"{listed.stem}-{digest}").absolute()
    if not (place / "complete").exists():
        shutil.rmtree(place, ignore_errors=True)
        made = subprocess.run([sys.executable, "-m", "venv", place], check=False, capture_output=True, text=True, timeout=60)
        if made.returncode:
            raise Missing(f"python3 makes no virtual environment; on Debian: apt-get install python3-venv\n{made.stdout}")
        # As listed and no more: what is in the list was tried together, and nothing is compiled or run to install it.
        got = subprocess.run([place / "bin/pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-compile",
                              "--only-binary", ":all:", "--requirement", listed], check=False, timeout=300)
        if got.returncode:
            raise Missing(f"what {requirements} lists cannot be had from PyPI for this machine")
        (place / "complete").touch()
    done = subprocess.run([place / "bin/python", "-c", program, *arguments], check=False, capture_output=True, text=True,
                          timeout=60, cwd=cwd)
    check(done.returncode == 0, (done.stdout + done.stderr).strip())
    return done.stdout.strip()
