#!/bin/sh
# tests/clients/ffmpeg.sh URL [FRAMES]: decodes the stream with ffmpeg, the first error being the last.
#
# What: once as people type it (the URL alone, ffmpeg finds out what it is) and once with -f mpjpeg. FRAMES
#   (default 20) must come out of each, and not all the same.
# Why: ffmpeg stands behind OpenCV, Home Assistant, Frigate and many more, and is strict about part headers.
# What not: no rates; ffmpeg reads as fast as frames come.
# Ends with 0, with 1 after saying what was wrong, with 77 where ffmpeg is missing.
set -eu
command -v ffmpeg >/dev/null || { echo 'ffmpeg is missing; on Debian: apt-get install ffmpeg'; exit 77; }
url=${1:?usage: ffmpeg.sh URL [FRAMES]}
frames=${2:-20}
fail() { echo "ffmpeg: $*"; exit 1; }

for format in '' '-f mpjpeg'; do
    # shellcheck disable=SC2086 # the format is two words or none
    sums=$(timeout 60 ffmpeg -nostdin -v error -xerror $format -i "$url/stream" -frames:v "$frames" -f framemd5 -) ||
        fail "ffmpeg $format failed"
    sums=$(echo "$sums" | grep -v '^#' | sed 's/.*, *//')
    got=$(echo "$sums" | wc -l)
    different=$(echo "$sums" | sort -u | wc -l)
    [ "$got" = "$frames" ] || fail "$got frames instead of $frames ($format)"
    [ "$different" -gt 1 ] || fail "$frames times the same picture ($format)"
    echo "ffmpeg ${format:-by URL}: $got frames, $different different pictures"
done
