#!/usr/bin/env bash
# findings/unread.sh: what a sender on Linux can learn about bytes that the other end's program has not read yet.
#
# tcp(7) has no count of them. The advertised window (tcpi_snd_wnd) does not shrink by the first of them, because less than the whole receive buffer is
# advertised (rcv_ssthresh in net/ipv4/tcp_input.c), and then by all that come. The time of an acknowledgement tells of all, with Linux at the other
# end: a lone byte that is read at once is acknowledged at once (tcp_cleanup_rbuf), one that is not after the 40 ms of a delayed acknowledgement, as soon
# as the first quick ones of a connection are used up.
#
# Seen on Linux 6.18.44 (x86_64) on 2026-11-30, with Python 3.11.7; nothing else is used:
#
#     a lone byte is acknowledged after 0 ms if it is read at once, after 44 ms if it is not
#     windows with 0 to 4 frames of 20000 bytes unread: 106496, 106496, 87040, 67584, 48128
#
# Fails if that has changed.
set -euo pipefail
uname -sr
python3 --version
python3 - <<'PYTHON'
import fcntl, socket, statistics, struct, termios, threading, time

def queued(end):
    return struct.unpack("i", fcntl.ioctl(end, termios.TIOCOUTQ, bytes(4)))[0]

def pair():
    listener = socket.create_server(("127.0.0.1", 0))
    ours = socket.create_connection(listener.getsockname())
    peer, _ = listener.accept()
    ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return ours, peer

def all_acknowledged(end):
    began = time.monotonic()
    while queued(end):
        time.sleep(0.0005)
    return 1000 * (time.monotonic() - began)

ours, peer = pair()
reads = threading.Event()
reads.set()
threading.Thread(target=lambda: [reads.wait() and peer.recv(1) for _ in range(80)], daemon=True).start()
def bytes_take(count):
    times = []
    for _ in range(count):
        ours.sendall(b"x")
        times.append(all_acknowledged(ours))
        time.sleep(0.06)
    return statistics.median(times[count // 2:])
bytes_take(40)
read = bytes_take(12)
reads.clear()
time.sleep(0.1)
unread = bytes_take(12)
print(f"a lone byte is acknowledged after {read:.0f} ms if it is read at once, after {unread:.0f} ms if it is not")
assert read < 20 < unread, "the acknowledgement does not tell any more"

def window(end):
    return struct.unpack_from("I", end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232), 228)[0]

ours, peer = pair()
def frame():
    ours.sendall(bytes(20000))
    all_acknowledged(ours)
for _ in range(20):
    frame()
    peer.recv(20000, socket.MSG_WAITALL)
windows = [window(ours)]
for _ in range(4):
    frame()
    windows.append(window(ours))
print("windows with 0 to 4 frames of 20000 bytes unread:", ", ".join(map(str, windows)))
assert windows[1] == windows[0], "the first frame shows"
assert all(10000 < before - after < 30000 for before, after in zip(windows[1:], windows[2:])), "the others do not show"
PYTHON
echo 'unchanged'
