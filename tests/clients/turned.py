#!/usr/bin/env python3
"""tests/clients/turned.py URL: pictures that lazycam has turned, as decoders see them.

What: servers of their own, of pictures of 640x480, 1920x1080 and 641x483, turned in each of the seven ways: the test pattern, which is
  turned before it is encoded; its JPEGs from another server, which are turned without decoding them; and the same as cameras and other
  programs encode them, with 4:2:2 and restart markers, and in grey. Chromium, Firefox, ffmpeg, OpenCV and Pillow decode each of them. Each must see
  the strip with the frame's number and the colours of the bars where the turn puts them, as it sees them in the picture that was not
  turned.
  It is not among those that `run` runs by itself: the decoders change less than the rest. benches/runs/2026-11-30-turning has its last result.
Why: a turned JPEG is written by lazycam's own code, with 4:4:0 where 4:2:2 was, and what one decoder takes another may not.
What not: whether a camera turns its pictures itself (tests/vm), and what does not fit a whole block, which is trimmed.
What OpenCV and Pillow need comes from PyPI at the versions that opencv.txt names. Ends with 0, with 1 after saying what was wrong, with 77
where one of the programs is missing.
"""

import contextlib
import json
import os
import pathlib
import re
import subprocess
import tempfile
import urllib.error
import urllib.request

from chromium import Driver
from firefox import Firefox
from screen import stamp
from shared import check, jpeg_size, need, page_server, run_with_packages, script, wait_for

SIZES = [(640, 480), (1920, 1080), (641, 483)]
# Rotated clockwise by so much, and then flipped.
TURNS = [(90, None), (180, None), (270, None), (0, "horizontal"), (0, "vertical"), (90, "horizontal"), (90, "vertical")]
KINDS = ["pattern", "plain", "restarts", "grey"]
CELL = 16
CODES = """
from PIL import Image
with Image.open("plain.jpg") as image:
    image.save("restarts.jpg", subsampling="4:2:2", quality=90, restart_marker_blocks=7)
    image.convert("L").save("grey.jpg", quality=90)
"""
# Of each picture that "points" names: its size, and the colours there.
PILLOW = """
import json
from PIL import Image
seen = {}
for path, points in json.load(open("points")).items():
    with Image.open(path) as image:
        image = image.convert("RGB")
        seen[path] = [image.size, [image.getpixel(tuple(point)) for point in points]]
print(json.dumps(seen))
"""
OPENCV = """
import json
import cv2
seen = {}
for path, points in json.load(open("points")).items():
    image = cv2.imread(path)
    seen[path] = [image.shape[1::-1], [image[y, x, ::-1].tolist() for x, y in points]]
print(json.dumps(seen))
"""
PAGE = """<!doctype html><title>lazycam</title><script>
var seen = null, failure = null; // var, because Firefox's driver sees the window's properties alone
async function look() {
    const pictures = await (await fetch('/points')).json(), all = {};
    for (const [path, points] of Object.entries(pictures)) {
        const image = new Image();
        image.src = path;
        await image.decode();
        const canvas = document.createElement('canvas');
        canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
        const context = canvas.getContext('2d', {willReadFrequently: true});
        context.drawImage(image, 0, 0);
        const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
        all[path] = [[canvas.width, canvas.height], points.map(([x, y]) => Array.from(pixels.slice(4 * (y * canvas.width + x), 4 * (y * canvas.width + x) + 3)))];
    }
    return all;
}
look().then((all) => { seen = all; }, (error) => { failure = String(error); });
</script>"""
LOOK = "return failure ? {failure} : seen && {seen: JSON.stringify(seen)}"


def turned(point, size, turn):
    """Where a point of a picture of this size goes."""
    (x, y), (width, height), (degrees, flip) = point, size, turn
    for _ in range(degrees // 90):
        x, y, width, height = height - 1 - y, x, height, width
    if flip == "horizontal":
        x = width - 1 - x
    if flip == "vertical":
        y = height - 1 - y
    return x, y


def points(size):
    """The middles of the strip's cells, and of the parts of the picture that do not move: the bars on both sides of the clock's box, and their
    upper ends."""
    width, height = size
    cells = [(CELL * column + CELL // 2, CELL * row + CELL // 2) for row in range(4) for column in range(32)]
    top = 4 * CELL + 12
    bars = [(width * (2 * bar + 1) // 14, top) for bar in range(7)]
    lower = [(width // 14, height // 2), (width * 13 // 14, height // 2)]
    return cells + bars + lower


def number(colours):
    """The frame's number in the strip; None if there is no strip."""
    found = stamp("".join("1" if colour[1] >= 128 else "0" for colour in colours[:128]))
    return found and found[0]


@contextlib.contextmanager
def lazycam(folder, *arguments):
    """A server with these arguments; its URL."""
    command = [*os.environ.get("LAZYCAM_RUNNER", "").split(), os.environ["LAZYCAM_BINARY"], "run", "--listen", "127.0.0.1:0",
               "--frames", folder / "frames", "--linger", "0.2", *arguments]
    log = folder / "log"
    with open(log, "w", encoding="utf-8") as out, subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=out) as server:
        try:
            yield wait_for("lazycam", lambda: re.search(r"http://127\.0\.0\.1:\d+", log.read_text(encoding="utf-8")))[0]
        finally:
            server.terminate()
            server.wait()


def picture(url):
    """A picture of a camera, once it has one."""

    def there():
        try:
            with urllib.request.urlopen(url + "/snapshot?timeout=30", timeout=60) as reply:
                return reply.read()
        except urllib.error.HTTPError as error:
            check(error.code == 503, f"{url}: {error}")
            return None

    return wait_for(url, there)


def collect(folder, size):
    """Makes the pictures of this size: upright ones, a file for each kind, and turned ones. The kind and the turn of each of these."""
    width, height = size
    with lazycam(folder, "--size", f"{width}x{height}") as origin:
        plain = picture(origin)
    for kind in ("plain", "pattern"):
        (folder / f"{kind}.jpg").write_bytes(plain)
    run_with_packages("opencv.txt", CODES, cwd=folder)
    made, cameras = {}, []
    with page_server(PAGE, folder) as server:
        for kind in KINDS:
            source = f"pattern,size={width}x{height}" if kind == "pattern" else f"{server}{kind}.jpg"
            for at, (degrees, flip) in enumerate(TURNS):
                how = [source] + [f"rotate={degrees}"] * bool(degrees) + [f"flip={flip}"] * bool(flip)
                made[f"{kind}-{at}"] = (kind, (degrees, flip))
                cameras += ["--camera", f"{kind}-{at}={','.join(how)}"]
        with lazycam(folder, *cameras) as url:
            for name in made:
                (folder / f"{name}.jpg").write_bytes(picture(f"{url}/{name}"))
    return made


def where(folder, size, made):
    """The points to look at in each picture."""
    wanted = {f"{kind}.jpg": points(size) for kind in KINDS}
    for name, (kind, turn) in made.items():
        got = jpeg_size((folder / f"{name}.jpg").read_bytes())
        # What does not fill a block is trimmed, so that the rest stays where it was.
        kept = tuple(got if turn[0] % 180 == 0 else got[::-1])
        trimmed = [whole - left for whole, left in zip(size, kept)]
        check(all(0 <= lost < (1 if kind == "pattern" else CELL) for lost in trimmed), f"{name}: {got} of {size}")
        wanted[f"{name}.jpg"] = [turned(point, kept, turn) for point in points(size)]
    return wanted


def with_python(program):
    """A decoder of Python's, by a program that reads the points."""
    return lambda folder, wanted: json.loads(run_with_packages("opencv.txt", program, cwd=folder))


def with_ffmpeg(folder, wanted):
    """The same by ffmpeg."""
    seen = {}
    for name, places in wanted.items():
        width, height = jpeg_size((folder / name).read_bytes())
        done = subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-xerror", "-i", name, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"],
                              check=True, capture_output=True, timeout=60, cwd=folder)
        check(len(done.stdout) == 3 * width * height, f"ffmpeg: {name}: {len(done.stdout)} bytes for {width}x{height}")
        at = [3 * (y * width + x) for x, y in places]
        seen[name] = [[width, height], [list(done.stdout[begin:begin + 3]) for begin in at]]
    return seen


def with_browser(browser, go):
    """The same by a browser that is open."""

    def look(folder, wanted):
        with page_server(PAGE, folder) as server:
            go(server)
            told = wait_for("the browser's look at the pictures", lambda: browser.run(LOOK))
        check("failure" not in told, f"the browser: {told.get('failure')}")
        return json.loads(told["seen"])

    return look


def compare(decoder, folder, size, made, seen):
    """What this decoder has seen of the turned pictures, held against what it has seen of the upright ones; how far the colours are off."""
    frame = lambda name: int(re.search(rb"lazycam frame=(\d+)", (folder / name).read_bytes())[1])
    worst = 0
    for name, (kind, turn) in made.items():
        (_, upright), (got, colours) = seen[f"{kind}.jpg"], seen[f"{name}.jpg"]
        what = f"{decoder}: {kind} of {size[0]}x{size[1]}, rotated by {turn[0]}, flipped {turn[1]}"
        check(list(got) == jpeg_size((folder / f"{name}.jpg").read_bytes()), f"{what}: decoded as {got}")
        found, expected = number(colours), frame(f"{name}.jpg" if kind == "pattern" else "plain.jpg")
        check(found == expected, f"{what}: the strip says frame {found}, and it is {expected}")
        bars, others = upright[128:], colours[128:]
        check(kind == "grey" or len(set(map(tuple, bars))) >= 7, f"{what}: these are no bars: {bars}")
        off = max(abs(a - b) for one, other in zip(bars, others) for a, b in zip(one, other))
        check(off <= 6, f"{what}: a bar's colour is {off} off: {others} instead of {bars}")
        worst = max(worst, off)
    return worst


def main(_):
    """All sizes, by all decoders."""
    need("chromium chromium-driver", "chromium", "chromedriver")
    need("firefox-esr", "firefox-esr")
    need("ffmpeg", "ffmpeg")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place, contextlib.ExitStack() as browsers:
        place = pathlib.Path(place)
        chromium = browsers.enter_context(Driver(place / "chromium"))
        (place / "firefox").mkdir()
        firefox = browsers.enter_context(Firefox(place / "firefox"))
        versions = chromium.open(), firefox.open()
        decoders = [("Pillow", with_python(PILLOW)), ("OpenCV", with_python(OPENCV)), ("ffmpeg", with_ffmpeg),
                    (f"Chromium {versions[0]}", with_browser(chromium, lambda url: chromium.call("POST", chromium.session + "/url", {"url": url}))),
                    (f"Firefox {versions[1]}", with_browser(firefox, firefox.go))]
        for size in SIZES:
            folder = place / f"{size[0]}x{size[1]}"
            folder.mkdir()
            made = collect(folder, size)
            wanted = where(folder, size, made)
            (folder / "points").write_text(json.dumps(wanted), encoding="utf-8")
            for decoder, look in decoders:
                worst = compare(decoder, folder, size, made, look(folder, wanted))
                print(f"{decoder}: {len(made)} turned pictures of {size[0]}x{size[1]}, colours at most {worst} off")


if __name__ == "__main__":
    script(main)
