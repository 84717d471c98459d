#!/usr/bin/env python3
"""tests/clients/opencv.py URL: OpenCV's VideoCapture reads the stream, as robots and every second example do.

What: cv2.VideoCapture of /stream and of /?action=stream. Of each 20 frames must come, with the size of the snapshot, and
  not all the same.
Why: VideoCapture goes by its own copy of FFmpeg, which guesses the format from the first bytes and the address.
What not: no rates and no colours.
OpenCV comes from PyPI at the version that opencv.txt names (some 80 MB). Ends with 0, with 1 after saying what was wrong,
with 77 where there is no python3-venv.
"""

from shared import run_with_packages, script, snapshot_size

READ = """
import hashlib, sys
import cv2
url, size = sys.argv[1], (int(sys.argv[3]), int(sys.argv[2]))
for path in ("/stream", "/?action=stream"):
    capture = cv2.VideoCapture(url + path)
    assert capture.isOpened(), f"{path} cannot be opened"
    seen = set()
    for number in range(20):
        good, frame = capture.read()
        assert good, f"{path}: no frame {number}"
        assert frame.shape == (*size, 3), f"{path}: frame {number} is {frame.shape}, the snapshot {size}"
        seen.add(hashlib.sha256(frame.tobytes()).digest())
    assert len(seen) > 1, f"{path}: 20 times the same picture"
    print(f"opencv {cv2.__version__} ({capture.getBackendName()}): {path}: 20 frames, {len(seen)} different pictures")
    capture.release()
"""


def main(url):
    """Reads both."""
    print(run_with_packages("opencv.txt", READ, url, *map(str, snapshot_size(url))))


if __name__ == "__main__":
    script(main)
