#!/usr/bin/env python3
"""tests/clients/vlc.py URL: VLC plays the stream.

What: cvlc without a screen plays /stream by its address alone and writes what it shows as PNG files (its scene filter), until 20
  different pictures are there or its time is up. They must have the snapshot's size.
Why: VLC's multipart reader is its own (demuxer mjpeg), and goes by the boundary, not by the length.
What not: no delay. VLC reads 5 KiB beyond a frame before it looks for the frame's end, so at low rates it is a frame late with every
  server. It shows what is new only 15 to 25 times a second here.
VLC refuses to run as root, so root runs it as nobody. Ends with 0, with 1 after saying what was wrong, with 77 where VLC is
missing.
"""

import hashlib
import os
import pathlib
import struct
import subprocess
import tempfile

from shared import check, need, script, snapshot_size, wait_for

NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
VLC = ["cvlc", "--intf=dummy", "--no-audio", "--vout=dummy", "--video-filter=scene", "--scene-format=png", "--scene-ratio=1"]


def written(place):
    """The pictures so far: their sizes, and how many are different. The last file may not be whole."""
    files = sorted(place.glob("frame*.png"))[:-1]
    heads = [file.read_bytes() for file in files]
    sizes = {struct.unpack(">II", data[16:24]) for data in heads}  # PNG's first chunk, IHDR
    return sizes, len({hashlib.sha256(data).digest() for data in heads})


def main(url):
    """Plays, counts."""
    need("vlc-bin vlc-plugin-base", "cvlc")
    need("util-linux", "setpriv")
    expected = tuple(snapshot_size(url))
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o777)
        command = (NOBODY if os.getuid() == 0 else []) + VLC
        environment = {**os.environ, "HOME": place}
        with subprocess.Popen(command + [f"--scene-path={place}", "--scene-prefix=frame", url + "/stream"], env=environment,
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                wait_for("20 different pictures", lambda: written(pathlib.Path(place))[1] >= 20)
                sizes, different = written(pathlib.Path(place))
            finally:
                process.terminate()
        check(sizes == {expected}, f"the pictures are {sizes}, the snapshot {expected}")
    version = subprocess.run(command[:-7] + ["cvlc", "--version"], check=True, capture_output=True, text=True, timeout=20, env=environment)
    print(f"vlc {version.stdout.split()[2]}: {different} different pictures of {expected[0]}x{expected[1]}")


if __name__ == "__main__":
    script(main)
