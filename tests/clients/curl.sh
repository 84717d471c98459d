#!/bin/sh
# tests/clients/curl.sh URL: what curl sees of a running lazycam, down to the bytes.
#
# What: the stream's reply header, its framing and at least three parts in three seconds; a snapshot whose
#   length is the promised one and which begins and ends as a JPEG does; HEAD that ends at once.
# Why: the other clients forgive much. The framing rules here are those that some client breaks without.
# What not: no decoding (ffmpeg.sh, gstreamer.sh) and no latency.
# Ends with 0, with 1 after saying what was wrong, with 77 where curl is missing.
set -eu
command -v curl >/dev/null || { echo 'curl is missing; on Debian: apt-get install curl'; exit 77; }
url=${1:?usage: curl.sh URL}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
fail() { echo "curl: $*"; exit 1; }
# header FILE PATTERN: a reply header that must be there.
header() { tr -d '\r' <"$1" | grep -qiE "^$2" || { cat "$1"; fail "no header like $2"; }; }
# count PATTERN: matching lines in the stream, which is binary.
count() { tr -d '\r' <"$dir/stream" | grep -acE "$1" || true; }
# hex FILE COMMAND...: what head or tail takes from it, as hex digits.
hex() { file=$1; shift; "$@" "$file" | od -An -tx1 | tr -d ' \n'; }

status=0
curl -sSN --max-time 3 -D "$dir/head" -o "$dir/stream" "$url/stream" 2>"$dir/err" || status=$?
[ "$status" = 28 ] || { cat "$dir/err"; fail "a stream that ends by itself (curl status $status, 28 is its time-out)"; }
header "$dir/head" 'HTTP/1\.[01] 200 '
header "$dir/head" 'Content-Type: multipart/x-mixed-replace; ?boundary=[^"-]'
header "$dir/head" 'Vary: Origin'
header "$dir/head" 'Cache-Control: .*no-store'
boundary=$(tr -d '\r' <"$dir/head" | sed -n 's/.*boundary=//p')
first=$(head -c $((${#boundary} + 2)) "$dir/stream" | tr -d '\0')
[ "$first" = "--$boundary" ] || fail "the body does not begin with --$boundary"
parts=$(count '^Content-Type: image/jpeg$')
lengths=$(count '^Content-Length: [0-9]+$')
[ "$parts" -ge 3 ] || fail "only $parts parts in three seconds"
[ "$parts" = "$lengths" ] || fail "$parts parts but $lengths lengths"

curl -sS --max-time 10 -D "$dir/head" -o "$dir/snapshot" "$url/snapshot" || fail 'no snapshot'
header "$dir/head" 'HTTP/1\.[01] 200 '
header "$dir/head" 'Content-Type: image/jpeg'
header "$dir/head" "Content-Length: $(wc -c <"$dir/snapshot")\$"
[ "$(hex "$dir/snapshot" head -c 3)" = ffd8ff ] || fail 'the snapshot does not begin with FF D8 FF'
[ "$(hex "$dir/snapshot" tail -c 2)" = ffd9 ] || fail 'the snapshot does not end with FF D9'

curl -sS --max-time 10 -I "$url/stream" >"$dir/head" || fail 'HEAD of the stream did not end'
header "$dir/head" 'HTTP/1\.[01] 200 '

echo "curl: $parts parts in 3 s, snapshot of $(wc -c <"$dir/snapshot") bytes"
