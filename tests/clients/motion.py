#!/usr/bin/env python3
"""tests/clients/motion.py URL: how old pictures are when motion has stored them, with the address in either way.

What: motion watches the test pattern and stores every picture. The time of capture is read off the pattern's strip in each, and compared with
  that of the file. With `mjpeg://`, which docs/coming-from.md names, the median age must be under 300 ms; with `http://` motion
  reads through ffmpeg, which is told and not judged.
Why: motion is the usual program for detecting motion, and the way in which its address is written decides how late it is.
What not: it detects nothing here. It is no part of `tests/clients/run` without arguments; its last result is in
  benches/runs/2026-11-30-viewers.
Needs Debian's motion and ffmpeg. Ends with 0, with 1 after saying what was wrong, with 77 where one is missing.
"""

import pathlib
import statistics
import subprocess
import tempfile
import time

from screen import stamp
from shared import check, need, script, wait_for

PICTURES = 60
SKIPPED = 20  # while motion warms up
BOUND_MS = 300
CONFIGURATION = """daemon off
log_level 3
netcam_url %s
width 640
height 480
framerate 30
emulate_motion on
picture_output on
picture_quality 95
movie_output off
text_left
text_right
target_dir %s
picture_filename %%v-%%Y%%m%%d%%H%%M%%S-%%q
webcontrol_port 0
stream_port 0
"""


def captured(picture):
    """When it was captured, in milliseconds since 1970; None if the strip is not readable."""
    # A pixel for each cell.
    words = ["ffmpeg", "-nostdin", "-v", "error", "-i", picture, "-vf", "crop=512:64:0:0,scale=32:4:flags=area", "-f", "rawvideo",
             "-pix_fmt", "gray", "-"]
    pixels = subprocess.run(words, check=True, capture_output=True).stdout
    found = stamp("".join("1" if pixel >= 128 else "0" for pixel in pixels))
    return found and found[1]


def ages(url):
    """How old each picture was when it was stored, in milliseconds."""
    with tempfile.TemporaryDirectory() as place:
        configuration = pathlib.Path(place, "motion.conf")
        configuration.write_text(CONFIGURATION % (url, place))
        process = subprocess.Popen(["motion", "-n", "-c", configuration], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, cwd=place)
        try:
            stored = lambda: sorted(pathlib.Path(place).glob("*.jpg"), key=lambda file: file.stat().st_mtime)
            wait_for("motion's pictures", lambda: len(stored()) >= PICTURES + SKIPPED)
        finally:
            process.terminate()
            process.wait()
        time.sleep(0.1)
        pictures = stored()[SKIPPED:SKIPPED + PICTURES]
        found = [(file.stat().st_mtime * 1000, captured(file)) for file in pictures]
    return [stored_at - taken for stored_at, taken in found if taken]


def main(url):
    """Both ways."""
    need("motion ffmpeg", "motion", "ffmpeg")
    version = subprocess.run(["dpkg-query", "--show", "motion"], check=False, capture_output=True, text=True).stdout.strip()
    for scheme in ("mjpeg", "http"):
        found = ages(url.replace("http", scheme, 1) + "/stream")
        check(len(found) >= PICTURES / 2, f"{len(found)} of {PICTURES} strips are readable")
        median = statistics.median(found)
        print(f"{version}, {scheme}://: {len(found)} pictures, stored {median:.0f} ms after their capture ({min(found):.0f} to "
              f"{max(found):.0f})", flush=True)
        check(scheme != "mjpeg" or median < BOUND_MS, f"{median:.0f} ms are too many")


if __name__ == "__main__":
    script(main)
