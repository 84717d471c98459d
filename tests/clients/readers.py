#!/usr/bin/env python3
"""tests/clients/readers.py URL: the stream, read by the rules of programs that take it apart themselves, agrees frame by frame.

What: 30 frames' bytes are taken from the stream once, and then read in the ways of
  - go2rtc (pkg/mpjpeg): a line that begins with two dashes, MIME header lines, and just as many bytes as Content-Length says;
  - Go's mime/multipart, the library of programs in Go: the boundary of Content-Type alone (RFC 2046), no length;
  - Home Assistant's MJPEG camera: from the first FF D8 to the first FF D9 of all that has come, whatever else there is;
  - Mainsail and mjpeg-readable-stream: FF D8 begins a body, the text before it has Content-Length.
  Each must find what the first one does, in order; the last two would not where a frame has a thumbnail.
Why: these are strict where players forgive, each in another place. That they agree is what "drop-in" means.
What not: the programs themselves; these are their rules in our words. No decoding and no time. That the test pattern has no
  thumbnails is no news; tests/e2e/faults.rs has a camera whose frames have.
Needs only Python's own library. Ends with 0, or with 1 after saying what was wrong.
"""

import http.client
import re
import urllib.parse

from shared import Failed, check, script

FRAMES = 30
FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*?)[ \t]*\r\n")  # RFC 9110, 5.1 and 5.5; strict about line ends


def take(url):
    """Boundary and first bytes of the stream: FRAMES frames, the boundary behind the last with them."""
    where = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(where.netloc, timeout=10)
    connection.request("GET", "/stream")
    reply = connection.getresponse()
    kind = reply.getheader("Content-Type")
    # As Go's mime.ParseMediaType has it: unquoted, a token.
    boundary = re.fullmatch(r"multipart/x-mixed-replace; ?boundary=([0-9A-Za-z'_.+-]{1,70})", kind)
    check(boundary, f"Content-Type is {kind}")
    mark, data = b"--" + boundary[1].encode(), b""
    while data.count(b"\r\n" + mark) < FRAMES:
        more = reply.read1(65536)
        check(more, "the stream ended")
        data += more
    connection.close()
    return mark, data[:data.rindex(b"\r\n" + mark) + len(mark) + 2] + b"\r\n"


def fields(data, at):
    """MIME header lines from there to the empty one, and where that ends."""
    found = {}
    while data[at:at + 2] != b"\r\n":
        line = FIELD.match(data, at)
        check(line, f"no header line: {data[at:at + 60]!r}")
        name = line[1].lower()
        check(name not in found, f"{name.decode()} twice")
        found[name] = line[2]
        at = line.end()
    return found, at + 2


def by_length(_, data):
    """go2rtc's way."""
    at, frames = 0, []
    while True:
        line = data[at:data.index(b"\n", at) + 1]
        at += len(line)
        if line == b"\r\n":
            continue
        check(line.startswith(b"--"), f"a boundary that is none: {line[:60]!r}")
        if at == len(data):
            return frames
        check(data[at:at + 2] != b"--", "dashes behind a boundary")
        head, at = fields(data, at)
        length = int(head[b"content-length"])
        frames.append(data[at:at + length])
        at += length


def by_boundary(mark, data):
    """The way of Go's mime/multipart."""
    check(data.startswith(mark + b"\r\n"), f"the first line is not the boundary: {data[:60]!r}")
    at, frames = len(mark) + 2, []
    while at < len(data):
        head, at = fields(data, at)
        check(head.get(b"content-type") == b"image/jpeg", f"a part of type {head.get(b'content-type')}")
        end = data.index(b"\r\n" + mark, at)
        frames.append(data[at:end])
        at = end + 2 + len(mark)
        check(data[at:at + 2] == b"\r\n", f"behind a boundary: {data[at:at + 20]!r}")
        at += 2
    return frames


def by_markers(data, piece):
    """Home Assistant's way, once for each frame: it closes the stream when it has one."""
    have = b""
    for at in range(0, len(data), piece):
        have += data[at:at + piece]
        end = have.find(b"\xff\xd9")
        begin = have.find(b"\xff\xd8")
        if end != -1 and begin != -1:
            return have[begin:end + 2]
    return None


def by_scan(data):
    """Mainsail's way. It looks at one byte after the other; a frame is done when the byte behind it comes."""
    frames, text, body, length = [], bytearray(), bytearray(), 0
    for at, byte in enumerate(data):
        if byte == 0xFF and data[at + 1:at + 2] == b"\xd8":
            named = re.findall(rb"(?im)^content-length:(.*)$", text)
            check(named, "a frame without Content-Length before it")
            length, body = int(named[-1]), bytearray()
        if length <= 0:
            text.append(byte)
        elif len(body) < length:
            body.append(byte)
        else:
            frames.append(bytes(body))
            length, text = 0, bytearray()
    return frames


def same(name, frames, expected):
    """Or it has failed."""
    if frames != expected:
        pairs = enumerate(zip(frames, expected))
        wrong = next((number for number, (ours, theirs) in pairs if ours != theirs), min(len(frames), len(expected)))
        raise Failed(f"{name} finds {len(frames)} frames of {len(expected)}, and frame {wrong} is another")


def main(url):
    """Takes it apart."""
    mark, data = take(url)
    frames = by_length(mark, data)
    check(len(frames) == FRAMES, f"{len(frames)} frames of {FRAMES}")
    check(len(set(frames)) > 1, "all frames are the same")
    same("the boundary alone", by_boundary(mark, data), frames)
    same("the scan for FF D8", by_scan(data), frames)
    at = 0
    for number, frame in enumerate(frames):
        for piece in (1460, 102400):
            found = by_markers(data[at:], piece)
            check(found == frame, f"frame {number} of {len(frame)} bytes: from FF D8 to FF D9 there are {len(found or b'')}")
        at = data.index(frame, at) + len(frame)
    print(f"readers: {FRAMES} frames, the same by length, by boundary, by FF D8 and by FF D8 to FF D9")


if __name__ == "__main__":
    script(main)
