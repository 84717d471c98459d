#!/usr/bin/env python3
"""tests/clients/plain_browsers.py URL: browsers that know no multipart, and no scripts to speak of, show a picture at /.

What: Dillo, Links (with graphics) and NetSurf open the page on a screen of their own (Xvfb). The test pattern's strip must be on the screen.
Why: they would show nothing of a stream, not even a word about it.
What not: that the picture is new again when it is asked for; that is the browsers' business.
Needs Debian's xvfb, dillo, links2 and netsurf-gtk; one that is missing is told, and the status is 77 if all else is well. Ends with 0, or with
1 after saying what was wrong.
"""

import shutil
import subprocess

from screen import BROWSERS, shown
from shared import check, need, script, wait_for

PLAIN = {"dillo": ["dillo"], "links2": ["links2", "-g", "-mode", "1000x740"], "netsurf-gtk": ["netsurf-gtk"]}


def main(url):
    """Each of them."""
    need("xvfb", "Xvfb")
    missing = [name for name in PLAIN if not shutil.which(name)]
    if missing:
        print(f"missing: {', '.join(missing)}; on Debian: apt-get install {' '.join(missing)}")
    for name, words in PLAIN.items():
        if name in missing:
            continue
        version = subprocess.run(["dpkg-query", "--show", name], check=False, capture_output=True, text=True).stdout.strip()
        BROWSERS[name] = lambda _, address, words=words: (words + [address], None)
        with shown(name, url + "/") as screen:
            where = wait_for(f"a picture in {name}", screen.find)
            check(wait_for("all of its strip", lambda: screen.read(where)), "it is not whole")
        print(f"plain browsers: {version or name} shows a picture", flush=True)
    return 77 if missing else 0


if __name__ == "__main__":
    script(main)
