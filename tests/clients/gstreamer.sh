#!/bin/sh
# tests/clients/gstreamer.sh URL [FRAMES]: decodes the stream with GStreamer's HTTP source, demuxer and decoder.
#
# What: souphttpsrc ! multipartdemux ! jpegdec must give FRAMES pictures (default 20), not all the same.
# Why: multipartdemux goes by the boundary and by Content-Length its own way; it is what robots and kiosks use.
# What not: no display and no rates.
# Ends with 0, with 1 after saying what was wrong, with 77 where GStreamer or one of the three is missing.
set -eu
packages='gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good'
for element in souphttpsrc multipartdemux jpegdec multifilesink; do
    gst-inspect-1.0 --exists "$element" 2>/dev/null ||
        { echo "GStreamer with $element is missing; on Debian: apt-get install $packages"; exit 77; }
done
url=${1:?usage: gstreamer.sh URL [FRAMES]}
frames=${2:-20}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
fail() { echo "gstreamer: $*"; exit 1; }

timeout 60 gst-launch-1.0 -q souphttpsrc location="$url/stream" is-live=true ! multipartdemux ! jpegdec \
    ! identity eos-after=$((frames + 1)) ! multifilesink location="$dir/%05d.raw" >"$dir/log" 2>&1 ||
    { cat "$dir/log"; fail 'the pipeline failed'; }
got=$(find "$dir" -name '*.raw' -size +0 | wc -l)
[ "$got" -ge "$frames" ] || { cat "$dir/log"; fail "$got frames instead of $frames"; }
different=$(md5sum "$dir"/*.raw | cut -d ' ' -f 1 | sort -u | wc -l)
[ "$different" -gt 1 ] || fail "$got times the same picture"
echo "gstreamer: $got frames, $different different pictures"
