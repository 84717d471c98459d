"""A page for browsers under test: an <img> whose frames tell their number and age.

What: `start(url)` shows a stream; `ages` then has, for each frame of the test pattern, how old it was in milliseconds when it was
  first seen on the page. For that a script reads the pattern's strip (number and capture time as black and white
  cells) out of the picture's pixels, over and over.
Not a client itself. Needs the test pattern at 512x256 or more as the stream's source.
"""

PAGE = """<!doctype html><title>lazycam</title><img id=picture crossorigin=anonymous>
<script>
// The layout of src/capture/pattern/strip.rs: 4 rows of 32 cells, here one pixel each.
const firefox = navigator.userAgent.includes('Firefox/');
const image = document.getElementById('picture'), canvas = document.createElement('canvas');
canvas.width = 32; canvas.height = 4;
const context = canvas.getContext('2d', {willReadFrequently: true});
context.imageSmoothingEnabled = false;
var ages = [], last = null; // var, because Firefox's driver sees the window's properties alone
function crc(bytes) {
    let value = 0xFFFF;
    for (const byte of bytes) {
        value ^= byte << 8;
        for (let bit = 0; bit < 8; bit++) value = (value & 0x8000 ? value << 1 ^ 0x1021 : value << 1) & 0xFFFF;
    }
    return value;
}
async function read() {
    const cell = image.naturalWidth >= 512 && image.naturalHeight >= 256 ? 16 : 8;
    // Firefox's drawImage remembers for seconds how an <img> looked; its bitmaps are new each time.
    const picture = firefox ? await createImageBitmap(image) : image;
    context.drawImage(picture, 0, 0, 32 * cell, 4 * cell, 0, 0, 32, 4);
    if (firefox) picture.close();
    const pixels = context.getImageData(0, 0, 32, 4).data, bytes = new Uint8Array(16);
    for (let bit = 0; bit < 128; bit++) if (pixels[4 * bit + 1] >= 128) bytes[bit >> 3] |= 0x80 >> (bit & 7);
    const view = new DataView(bytes.buffer);
    if (view.getUint32(0) !== 0x1ACFFC1D || crc(bytes.subarray(4, 14)) !== view.getUint16(14)) return null;
    return {frame: view.getUint32(4), millis: view.getUint32(8) * 65536 + view.getUint16(12)};
}
async function look() {
    const strip = image.naturalWidth ? await read().catch(() => null) : null;
    if (strip && strip.frame !== last) { last = strip.frame; ages.push(Date.now() - strip.millis); }
    setTimeout(look, 4);
}
look();
function start(url) { ages = []; last = null; image.src = url; }
</script>"""
