#!/usr/bin/env python3
"""tests/clients/prometheus.py URL: Prometheus takes /metrics, in its linter's view and for real, and no camera wakes.

What: promtool check metrics has nothing to say about /metrics; a prometheus of this script's own scrapes it every second and then
  answers queries: the server is up, frames were sent, the lost camera is down. Meanwhile the cameras fall asleep,
  and stay so over further scrapes.
Why: scraping goes on for ever; a camera that it woke would never sleep.
What not: what each metric counts (tests/e2e/state.rs).
Ends with 0, with 1 after saying what was wrong, with 77 where Prometheus is missing.
"""

import contextlib
import json
import pathlib
import socket
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request

from shared import Failed, check, need, script, snapshot, wait_for


def get(url):
    """The answer's body."""
    with urllib.request.urlopen(url, timeout=10) as reply:
        return reply.read()


def query(base, expression):
    """The values of an expression, by camera; None while Prometheus is not ready."""
    try:
        reply = json.loads(get(f"{base}/api/v1/query?query={urllib.parse.quote(expression)}"))
    except (urllib.error.HTTPError, ConnectionError, urllib.error.URLError):
        return None
    return {each["metric"].get("camera"): float(each["value"][1]) for each in reply["data"]["result"]}


def look(url, base):
    """The check itself."""
    wait_for("a first scrape", lambda: query(base, "up") == {None: 1})
    wait_for("a sent frame", lambda: sum((query(base, "lazycam_snapshots_sent_total") or {}).values()) >= 1)
    wait_for("the cameras to be up, but the lost one", lambda: query(base, "lazycam_camera_up") == {"front": 1, "bench": 1, "gone": 0})
    asleep = 'lazycam_camera_state{state="off",camera!="gone"}'
    wait_for("the cameras to sleep", lambda: query(base, asleep) == {"front": 1, "bench": 1})
    scrapes = "sum_over_time(up[1h])"  # those that were answered in time
    before = wait_for("the scrapes", lambda: query(base, scrapes))[None]
    more = wait_for("three more scrapes", lambda: (found := query(base, scrapes)) and found[None] >= before + 3 and found)
    # Of a scrape that took too long there is no value, and so no answer.
    still = wait_for("the cameras' state", lambda: query(base, asleep))
    check(still == {"front": 1, "bench": 1}, "a scrape woke a camera")
    return int(more[None])


@contextlib.contextmanager
def started(config, data):
    """A prometheus, and where it answers. Between the question for a free port and its use somebody else might take it: then it ends,
    and is started again."""
    for _ in range(3):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        base = f"http://127.0.0.1:{port}"
        with subprocess.Popen(["prometheus", f"--config.file={config}", f"--storage.tsdb.path={data}",
                               f"--web.listen-address=127.0.0.1:{port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                wait_for("prometheus", lambda: process.poll() is not None or query(base, "up") is not None)
                if process.poll() is None:
                    yield base
                    return
            finally:
                process.terminate()
    raise Failed("prometheus ends as soon as it is started")


def main(url):
    """Lints, scrapes."""
    need("prometheus", "prometheus", "promtool")
    wait_for("a snapshot", lambda: snapshot(url))
    try:
        get(url + "/gone/snapshot")  # somebody must have asked before a camera can be lost
    except urllib.error.HTTPError as error:
        check(error.code == 503, f"a lost camera's snapshot is {error.code}")
    done = subprocess.run(["promtool", "check", "metrics"], input=get(url + "/metrics"), check=False, capture_output=True, timeout=30)
    check(done.returncode == 0 and not done.stderr, f"promtool: {done.stderr.decode()}")
    with tempfile.TemporaryDirectory() as place:
        config = pathlib.Path(place, "prometheus.yml")
        config.write_text(f"""
scrape_configs:
  - job_name: lazycam
    scrape_interval: 1s
    scrape_timeout: 1s
    static_configs: [{{targets: ['{urllib.parse.urlsplit(url).netloc}']}}]
""")
        with started(config, f"{place}/data") as base:
            scrapes = look(url, base)
    version = subprocess.run(["promtool", "--version"], check=True, capture_output=True, text=True, timeout=10).stdout.split()[2]
    print(f"prometheus {version}: promtool finds nothing, {scrapes} scrapes, and the cameras sleep")


if __name__ == "__main__":
    script(main)
