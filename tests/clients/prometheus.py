#!/usr/bin/env python3
"""tests/clients/prometheus.py URL: Prometheus takes /metrics, in its linter's view and for real, and no camera wakes.

What: promtool check metrics has nothing to say about /metrics; a prometheus of this script's own scrapes it every second and then
  answers queries: the server is up, frames were sent, the lost camera is down. Meanwhile the cameras fall asleep,
  and stay so over further scrapes.
Why: scraping goes on for ever; a camera that it woke would never sleep.
What not: what each metric counts (tests/state.rs).
Ends with 0, with 1 after saying what was wrong, with 77 where Prometheus is missing.
"""

import json
import pathlib
import socket
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request

from shared import check, need, script, wait_for


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
    up = query(base, "lazycam_camera_up")
    check(up == {"front": 1, "bench": 1, "gone": 0}, f"lazycam_camera_up is {up}")
    asleep = 'lazycam_camera_state{state="off",camera!="gone"}'
    wait_for("the cameras to sleep", lambda: query(base, asleep) == {"front": 1, "bench": 1})
    scrapes = "count_over_time(up[1h])"
    before = query(base, scrapes)[None]
    wait_for("three more scrapes", lambda: query(base, scrapes)[None] >= before + 3)
    check(query(base, asleep) == {"front": 1, "bench": 1}, "a scrape woke a camera")
    return int(query(base, scrapes)[None])


def main(url):
    """Lints, scrapes."""
    need("prometheus", "prometheus", "promtool")
    get(url + "/snapshot")
    try:
        get(url + "/gone/snapshot")  # somebody must have asked before a camera can be lost
    except urllib.error.HTTPError as error:
        check(error.code == 503, f"a lost camera's snapshot is {error.code}")
    done = subprocess.run(["promtool", "check", "metrics"], input=get(url + "/metrics"), check=False, capture_output=True, timeout=30)
    check(done.returncode == 0 and not done.stderr, f"promtool: {done.stderr.decode()}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as place:
        config = pathlib.Path(place, "prometheus.yml")
        config.write_text(f"""
scrape_configs:
  - job_name: lazycam
    scrape_interval: 1s
    scrape_timeout: 1s
    static_configs: [{{targets: ['{urllib.parse.urlsplit(url).netloc}']}}]
""")
        with subprocess.Popen(["prometheus", f"--config.file={config}", f"--storage.tsdb.path={place}/data",
                               f"--web.listen-address=127.0.0.1:{port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                scrapes = look(url, f"http://127.0.0.1:{port}")
            finally:
                process.terminate()
    version = subprocess.run(["promtool", "--version"], check=True, capture_output=True, text=True, timeout=10).stdout.split()[2]
    print(f"prometheus {version}: promtool finds nothing, {scrapes} scrapes, and the cameras sleep")


if __name__ == "__main__":
    script(main)
