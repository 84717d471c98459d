#!/usr/bin/env bash
# findings/valgrind-vdso.sh: valgrind and rustix each do without the dynamic linker's view of the vDSO, and meet badly.
#
# valgrind hides the vDSO from the program that it runs: it unmaps it and takes AT_SYSINFO_EHDR out of the auxiliary vector on the stack. rustix with its
# default backend (linux_raw) reads the vector by prctl(PR_GET_AUXV), Linux 6.4, which answers from the kernel's own copy, and looks at the ELF header
# that is no longer there: the first call to a clock ends the program with SIGSEGV in rustix::backend::param::auxv::check_elf_base. So nothing that uses
# rustix's clocks can be profiled with callgrind on a new kernel, unless it is built with --cfg=rustix_use_libc.
#
# Seen on Linux 6.18.44 (x86_64) on 2026-11-30, with rustix 1.1.6 and valgrind 3.19.0 (Debian 12):
#
#     by itself: fine
#     under valgrind: signal 11, in check_elf_base
#     under valgrind, with --cfg=rustix_use_libc: fine
#
# Fails if that has changed.
set -euo pipefail
uname -sr
valgrind --version
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src
cat >Cargo.toml <<'TOML'
[package]
name = "clock"
version = "0.0.0"
edition = "2024"

[dependencies]
rustix = { version = "=1.1.6", default-features = false, features = ["std", "time"] }

[profile.dev]
debug = "line-tables-only"
TOML
cat >src/main.rs <<'RUST'
use rustix::time::{ClockId, clock_gettime};

fn main() {
    assert!(clock_gettime(ClockId::Monotonic).tv_sec >= 0);
    println!("fine");
}
RUST
# said WHAT COMMAND...: what it prints, or by which signal it ends
said() {
    local what=$1 status=0
    shift
    "$@" >out 2>err || status=$?
    if [[ $status -gt 128 ]]; then
        local where=elsewhere
        ! grep -q check_elf_base err || where=check_elf_base
        echo "$what: signal $((status - 128)), in $where"
    else
        echo "$what: $(cat out)"
    fi
}
cargo build --quiet --target-dir raw
RUSTFLAGS=--cfg=rustix_use_libc cargo build --quiet --target-dir libc
{
    said "by itself" raw/debug/clock
    said "under valgrind" valgrind --tool=none raw/debug/clock
    said "under valgrind, with --cfg=rustix_use_libc" valgrind --tool=none libc/debug/clock
} | tee seen
diff - seen <<'SEEN'
by itself: fine
under valgrind: signal 11, in check_elf_base
under valgrind, with --cfg=rustix_use_libc: fine
SEEN
