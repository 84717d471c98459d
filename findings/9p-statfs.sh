#!/usr/bin/env bash
# findings/9p-statfs.sh: statfs(2) of a directory on 9p gives the type of the file system that the server has.
#
# statfs(2) lists V9FS_MAGIC (0x01021997) as the type of 9p. With the protocol that all use, 9p2000.L, the kernel passes on what the server says
# (v9fs_statfs in fs/9p/vfs_super.c), and qemu says what its own file system is. So a program that looks at the type, in order to know whether inotify(7)
# tells of what others change, takes it for ext4, or a tmpfs; that there is no block device (st_dev has the major number 0) tells it from the former
# alone. In /proc/self/mountinfo it is 9p.
#
# Seen on 2026-11-30 with Debian 13's Linux 6.12.117+deb13-arm64 and busybox-static, emulated by Debian 12's qemu-system-arm 1:7.2+dfsg-7+deb12u18+b3, which
# had the directory on ext4:
#
#     the server's type ef53, on 9p ef53, device 0:28, mounted as 9p
#
# Fails if that has changed, and where the server's type is 9p's. Boots Debian's kernel with what tests/vm boots its own with; lazycam is not in it.
set -euo pipefail
cd "$(dirname "$0")/.."
packages=(qemu-system-arm apt dpkg)
dpkg-query -W "${packages[@]}" >/dev/null 2>&1 || { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null; }
dpkg-query -W -f '${Package} ${Version}\n' qemu-system-arm
python3 - <<'PYTHON'
import re, subprocess, sys, tempfile
from pathlib import Path
sys.dont_write_bytecode = True
sys.path.insert(0, "tests/vm")
from rig import CACHE, Machine

CACHE.mkdir(parents=True, exist_ok=True)
with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory(dir=CACHE) as shared:
    devices = ["-fsdev", f"local,id=shared,path={shared},security_model=none", "-device", "virtio-9p-device,fsdev=shared,mount_tag=shared"]
    machine = Machine("arm64", Path(folder), {}, modules=["virtio_mmio", "virtio_net", "9pnet_virtio", "9p"], devices=devices)
    try:
        print(machine.told("uname -sr").strip())
        machine.told("mkdir /run/shared; mount -t 9p -o trans=virtio,version=9p2000.L,msize=65536 shared /run/shared")
        below = subprocess.run(["stat", "-f", "-c", "%t", shared], check=True, capture_output=True, text=True).stdout.strip()
        there = machine.told("stat -f -c %t /run/shared").strip()
        device, kind = re.search(r" (\d+:\d+) / /run/shared .* - (\S+) ", machine.told("cat /proc/self/mountinfo")).groups()
    finally:
        machine.off()
print(f"the server's type {below}, on 9p {there}, device {device}, mounted as {kind}")
assert below != "1021997" and there == below and device.startswith("0:") and kind == "9p"
PYTHON
echo 'unchanged'
