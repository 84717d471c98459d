#!/usr/bin/env bash
# findings/siocoutq.sh: what the ioctl SIOCOUTQ counts, which tcp(7) and unix(7) describe as the unsent data in a socket's queue.
#
# Two things surprise whoever asks it how much of a picture is still on its way:
#
# 1. On a TCP connection that the peer has reset, it goes on returning what was not acknowledged before the reset, for as long as the socket is open,
#    although the kernel has freed all of it. A program that waits for 0 waits for ever; it has to look at poll(2)'s POLLERR as well.
# 2. On a Unix stream socket it counts the memory that the kernel uses for what was not read, not bytes: 768 for a single byte, and some 2 per cent
#    more than the bytes for 60,000 of them.
#
# Seen on Linux 6.18.44 (x86_64) on 2026-11-30, with Python 3.11.7; nothing else is used:
#
#     tcp: 3877915 bytes not acknowledged, after the reset still 3877915, a second later 3877915, POLLERR
#     unix: 1 byte counts as 768, 100 as 768, 1000 as 2304, 60000 as 61952, nothing as 0
#
# Fails if that has changed.
set -euo pipefail
uname -sr
python3 --version
python3 - <<'PYTHON'
import fcntl, select, socket, struct, termios, time

def queued(end):
    return struct.unpack("i", fcntl.ioctl(end, termios.TIOCOUTQ, bytes(4)))[0]  # SIOCOUTQ is the same number

listener = socket.create_server(("127.0.0.1", 0))
ours = socket.create_connection(listener.getsockname())
peer, _ = listener.accept()
ours.setblocking(False)
try:
    while True:
        ours.send(bytes(65536))
except BlockingIOError:
    before = queued(ours)
peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
peer.close()
poll = select.poll()
poll.register(ours, 0)
[(_, events)] = poll.poll(10_000)
after = queued(ours)
time.sleep(1)
later = queued(ours)
print(f"tcp: {before} bytes not acknowledged, after the reset still {after}, a second later {later},",
      "POLLERR" if events & select.POLLERR else "no POLLERR")
assert before > 0 and before == after == later and events & select.POLLERR, "a reset empties the count now"

one, other = socket.socketpair()
counts = {}
for size in (1, 100, 1000, 60000):
    one.send(bytes(size))
    counts[size] = queued(one)
    while queued(one) and other.recv(1 << 20):
        pass
counts[0] = queued(one)
print(f"unix: 1 byte counts as {counts[1]}, 100 as {counts[100]}, 1000 as {counts[1000]}, 60000 as {counts[60000]}, nothing as {counts[0]}")
assert counts[0] == 0 and all(count > size for size, count in counts.items() if size), "a Unix socket counts bytes now"
PYTHON
echo 'unchanged'
