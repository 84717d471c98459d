"""What benches/soak and benches/floods share: a server and its camera, what /proc and /metrics say about them, and a
viewer that measures what it receives. It uses only the standard library.
"""
import ctypes, os, re, signal, socket, statistics, struct, subprocess, sys, time
from pathlib import Path

STAMP = re.compile(rb"lazycam frame=(\d+) captured=[\d.]+ monotonic=([\d.]+)")
LENGTH = re.compile(rb"Content-Length: (\d+)")
PATIENCE = 20
CLONE_NEWNET = 0x40000000


def own_network(script):
    """Continues in a network of its own, with only this process and its children; returns whether that worked. Needs root."""
    if os.environ.pop("LAZYCAM_OWN_NETWORK", None):
        return subprocess.run(["ip", "link", "set", "lo", "up"]).returncode == 0
    can = subprocess.run(["unshare", "--net", "ip", "link", "set", "lo", "up"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if can.returncode == 0:
        os.environ["LAZYCAM_OWN_NETWORK"] = "1"
        os.execvp("unshare", ["unshare", "--net", sys.executable, script, *sys.argv[1:]])
    return False


def eventually(what, is_so, patience=PATIENCE):
    end = time.monotonic() + patience
    while not (found := is_so()):
        if time.monotonic() > end:
            sys.exit(f"never so: {what}")
        time.sleep(0.01)
    return found


class Program:
    """A lazycam process. Its output goes to a file; `hangup` says whether SIGHUP reaches it, which it does not under nohup(1)."""

    def __init__(self, binary, *arguments, log, hangup=True):
        disposition = signal.SIG_DFL if hangup else signal.SIG_IGN
        self.log = Path(log)
        with open(self.log, "ab") as file:
            self.process = subprocess.Popen([binary, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                                            preexec_fn=lambda: signal.signal(signal.SIGHUP, disposition))

    @property
    def pid(self):
        return self.process.pid

    def runs(self):
        return self.process.poll() is None

    def end(self, how=signal.SIGTERM):
        if self.runs():
            self.process.send_signal(how)
        return self.process.wait(PATIENCE)

    def port(self):
        """The port on which it listens, once it does."""
        pattern = re.compile(r"listening on \S+:(\d+)")

        def find():
            if not self.runs():
                sys.exit(f"the server ended: {self.log.read_text()}")
            return pattern.search(self.log.read_text())
        return int(eventually("the server listens", find)[1])

    def memory(self):
        """Memory of each kind in KiB: VmRSS, RssAnon, VmHWM."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return {name: int(value.split()[0]) for name, value in (line.split(":", 1) for line in lines)
                if name in ("VmRSS", "RssAnon", "VmHWM")}

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))


class Metrics:
    """/metrics over one persistent connection, as a mapping from series to value."""

    def __init__(self, address, patience=PATIENCE):
        self.address, self.patience, self.socket = address, patience, None

    def __call__(self):
        try:
            return self.ask()
        except OSError:
            return self.ask()  # An idle connection is closed after a while.

    def ask(self):
        # Kept only after a complete answer: a late one would be mistaken for the answer to the next request.
        kept, self.socket = self.socket, None
        one = kept or socket.create_connection(self.address, self.patience)
        one.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        data = b""
        while b"\r\n\r\n" not in data or len(data) < data.index(b"\r\n\r\n") + 4 + int(LENGTH.search(data)[1]):
            more = one.recv(65536)
            if not more:
                raise ConnectionResetError("the end of /metrics")
            data += more
        head, text = data.decode().split("\r\n\r\n", 1)
        if " 200 " not in head.splitlines()[0]:
            raise ConnectionResetError(head.splitlines()[0])
        self.socket = one
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


class Frames:
    """Turns a stream's bytes into its frames' numbers and ages. A number that is not above the last one belongs to another camera."""

    def __init__(self):
        self.buffer, self.last, self.last_at = bytearray(), None, None
        self.clear()

    def clear(self):
        self.got, self.missed, self.ages, self.longest = 0, 0, [], 0.0

    def feed(self, data):
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            length = LENGTH.search(self.buffer, 0, end)
            size = int(length[1]) if length else 0
            if len(self.buffer) < end + 4 + size:
                return
            stamp = STAMP.search(self.buffer, end, end + 4 + min(size, 1024)) if size else None
            if stamp:
                self.take(int(stamp[1]), float(stamp[2]), time.monotonic())
            del self.buffer[:end + 4 + size]

    def take(self, number, captured, now):
        if self.last is not None and number == self.last:
            return  # Sent once more: there was no newer one.
        if self.last is not None and number > self.last:
            self.missed += number - self.last - 1
            self.longest = max(self.longest, now - self.last_at)
        self.got += 1
        self.ages.append(1000 * (now - captured))
        self.last, self.last_at = number, now


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))] if values else float("nan")


def median(values):
    return statistics.median(values) if values else float("nan")


def connect(address, buffer=None, wait=True):
    """A connection, with room for `buffer` bytes on our side; `wait` says whether to wait for the other side's answer."""
    one = socket.socket()
    if buffer:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    one.settimeout(PATIENCE)
    if not wait:
        one.setblocking(False)
        one.connect_ex(address)
        return one
    one.connect(address)
    return one


def request(path, close=False):
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n{'Connection: close' if close else 'Accept: */*'}\r\n\r\n".encode()


def reset(one):
    """Closes the connection with a reset instead of a FIN."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one.close()


class Machine:
    """Another machine, which is a network namespace at the far end of a cable."""
    count = 0

    def __init__(self):
        Machine.count += 1
        number = Machine.count % 250 + 1
        self.name, self.cable = f"lazycam-{os.getpid()}-{Machine.count}", f"cable{Machine.count}"
        self.here, self.there = f"10.98.{number}.1", f"10.98.{number}.2"
        self.run("ip", "netns", "add", self.name)
        self.run("ip", "link", "add", self.cable, "type", "veth", "peer", "name", "cable", "netns", self.name)
        self.run("ip", "address", "add", f"{self.here}/24", "dev", self.cable)
        self.run("ip", "link", "set", self.cable, "up")
        self.run("ip", "-n", self.name, "address", "add", f"{self.there}/24", "dev", "cable")
        self.run("ip", "-n", self.name, "link", "set", "cable", "up")
        self.run("ip", "-n", self.name, "link", "set", "lo", "up")

    @staticmethod
    def run(*command):
        subprocess.run(command, check=True)

    def enter(self):
        """Moves the calling thread there; sockets that it makes from now on stay there."""
        file = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        if ctypes.CDLL(None, use_errno=True).setns(file, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        os.close(file)

    def unplug(self):
        """Cuts the cable: from now on nothing gets through in either direction, and neither side is notified."""
        self.run("ip", "link", "del", self.cable)

    def remove(self):
        self.run("ip", "netns", "del", self.name)
