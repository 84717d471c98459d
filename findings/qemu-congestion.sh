#!/usr/bin/env bash
# findings/qemu-congestion.sh: of the name of a congestion control, qemu-user passes on four bytes, in both directions.
#
# tcp(7): TCP_CONGESTION is a string. QEMU's user-mode emulation passes options of IPPROTO_TCP on as integers (do_setsockopt and do_getsockopt in
# linux-user/syscall.c). So `reno` can be set, and `cubic` is refused, since nothing is called `cubi`; of the name that holds, four bytes come back,
# with four for the length, and without the zero behind them where the name has four letters or more. A library that relies on that zero fails
# there, and a test that is run for another architecture this way says little about congestion control.
#
# Seen on 2026-11-30 with Debian 12's qemu-user-static 1:7.2+dfsg-7+deb12u18+b3 and gcc-aarch64-linux-gnu 4:12.2.0-3, on Linux 6.18.44 (x86_64), as root,
# who may make a network namespace in which `reno` is the default; every kernel has it, and nearly all have cubic:
#
#     this machine: cubic is set: yes, reno is set: yes; asked for: 16 bytes, reno (zero behind it: yes)
#     qemu-aarch64: cubic is set: no (No such file or directory), reno is set: yes; asked for: 4 bytes, reno (zero behind it: no)
#
# Fails if that has changed.
set -euo pipefail
[ "$(id -u)" = 0 ] || { echo 'this takes root, for a network namespace' >&2; exit 77; }
packages=(qemu-user-static gcc-aarch64-linux-gnu libc6-dev-arm64-cross gcc libc6-dev procps util-linux)
dpkg-query -W "${packages[@]}" >/dev/null 2>&1 || { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uname -sr
dpkg-query -W -f '${Package} ${Version}\n' qemu-user-static gcc-aarch64-linux-gnu
cat >"$folder/ask.c" <<'C'
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

int main(void)
{
	char name[16];
	socklen_t length = sizeof name;
	int tcp = socket(AF_INET, SOCK_STREAM, 0);

	if (setsockopt(tcp, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5))
		printf("cubic is set: no (%s), ", strerror(errno));
	else
		printf("cubic is set: yes, ");
	printf("reno is set: %s; ", setsockopt(tcp, IPPROTO_TCP, TCP_CONGESTION, "reno", 4) ? "no" : "yes");
	memset(name, '#', sizeof name);
	if (getsockopt(tcp, IPPROTO_TCP, TCP_CONGESTION, name, &length))
		return 1;
	printf("asked for: %d bytes, %.*s (zero behind it: %s)\n", (int)length, (int)strcspn(name, "#"), name,
	       memchr(name, 0, length) ? "yes" : "no");
	return 0;
}
C
gcc -o "$folder/here" "$folder/ask.c"
aarch64-linux-gnu-gcc -static -o "$folder/there" "$folder/ask.c"
ask() { unshare --net sh -c 'sysctl -qw net.ipv4.tcp_congestion_control=reno && exec "$@"' sh "$@"; }
here=$(ask "$folder/here")
there=$(ask qemu-aarch64-static "$folder/there")
echo "this machine: $here"
echo "qemu-aarch64: $there"
[ "$here" = 'cubic is set: yes, reno is set: yes; asked for: 16 bytes, reno (zero behind it: yes)' ]
[ "$there" = 'cubic is set: no (No such file or directory), reno is set: yes; asked for: 4 bytes, reno (zero behind it: no)' ]
echo 'unchanged'
