#!/usr/bin/env python3
"""tests/clients/fluidd.py URL: Fluidd's own players show the camera, and what they do when it is lost or the server is restarted.

What: the two MJPEG players of a checkout of Fluidd, which FLUIDD names (https://github.com/fluidd-core/fluidd), are bundled as they are and
  mounted alone in Chromium, on a page of the same host and another port. Both must show pictures that move. The adaptive one must go
  on over the 503 of a lost camera. The stream's one must go on over a restart of the server where the service manager keeps
  connections, and, as the guide says, ends where it does not.
Why: these players are what most printers of that kind have, each with rules of its own.
What not: the rest of Fluidd, which needs a printer. It is no part of `tests/clients/run` without arguments, because the source is not a
  package; its last result is in benches/runs/2026-11-30-viewers.
Vue and esbuild come from npm, to target/npm. LAZYCAM_BINARY as in restart.py. Ends with 0, with 1 after saying what was wrong, with 77 where
FLUIDD is not set, or npm or Chromium is missing.
"""

import json
import os
import pathlib
import subprocess
import tempfile
import time
import urllib.parse

from chromium import Driver
from restart import Service
from shared import Missing, check, need, page_server, script, wait_for

PACKAGES = ["vue@2.7.16", "vue-property-decorator@9.1.2", "vue-class-component@7.2.6", "consola@3.4.2", "esbuild@0.28.2"]
PLAYERS = {"stream": "MjpegstreamerCamera", "adaptive": "MjpegstreamerAdaptiveCamera"}
BUNDLE = """
import { build } from 'esbuild';
import { readFileSync } from 'node:fs';
const [root, player, out] = process.argv.slice(2), loads = '?ts?worker';
const typescript = { tsconfigRaw: { compilerOptions: { experimentalDecorators: true, useDefineForClassFields: false } } };
// What Fluidd's own build does of it: its path, single-file components, and workers.
const fluidd = { name: 'fluidd', setup(at) {
    at.onResolve({ filter: /^@\\/.*worker\\?ts\\?worker$/ }, ({ path }) => ({ path, namespace: 'worker' }));
    at.onLoad({ filter: /.*/, namespace: 'worker' }, () => ({
        contents: `export default class extends Worker { constructor() { super('/worker.js'); } }` }));
    at.onResolve({ filter: /^@\\/types$/ }, ({ path }) => ({ path, namespace: 'none' }));
    at.onLoad({ filter: /.*/, namespace: 'none' }, () => ({ contents: '' }));
    at.onResolve({ filter: /^@\\// }, ({ path }) => ({ path: `${root}/src/${path.slice(2)}.ts` }));
    at.onResolve({ filter: /^vue$/ }, () => ({ path: process.cwd() + '/node_modules/vue/dist/vue.esm.js' }));
    at.onLoad({ filter: /\\.vue$/ }, ({ path }) => {
        const text = readFileSync(path, 'utf8'), inside = (name) => text.match(new RegExp(`<${name}[^>]*>([^]*?)</${name}>`))[1];
        const contents = inside('script').replace('@Component({})', `@Component({ template: ${JSON.stringify(inside('template').trim())} })`);
        return { contents, loader: 'ts', resolveDir: process.cwd() };
    });
} };
const options = { bundle: true, platform: 'browser', logLevel: 'error', nodePaths: [process.cwd() + '/node_modules'], ...typescript,
    define: { 'process.env.NODE_ENV': '"production"' } };
await build({ ...options, plugins: [fluidd], outfile: `${out}/player.js`, stdin: { resolveDir: process.cwd(), contents: `
    import Vue from 'vue';
    import Player from '${root}/src/components/widgets/camera/services/${player}.vue';
    window.told = [];
    const query = new URLSearchParams(location.search), camera = { name: 'front', rotation: 0, flip_horizontal: false, flip_vertical: false,
        target_fps: 15, stream_url: query.get('stream'), snapshot_url: query.get('snapshot') };
    new Vue({ el: '#app', render: (make) => make(Player, { props: { camera, crossorigin: 'anonymous' },
        on: { 'update:status': (status) => window.told.push(status) } }) });` } });
await build({ ...options, entryPoints: [`${root}/src/workers/mjpegStream.worker.ts`], outfile: `${out}/worker.js` });
"""
PAGE = "<!doctype html><title>Fluidd's player</title><div id=app></div><script src=/player.js></script>"
PICTURE = """
    const image = document.querySelector('img'), canvas = document.createElement('canvas');
    if (!image || !image.complete || !image.naturalWidth) return '';
    canvas.getContext('2d').drawImage(image, 0, 0, 300, 150);
    return canvas.toDataURL();"""


def bundle(source, player, out):
    """The player and its worker, as two files."""
    need("npm", "npm", "node")
    store = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target"), "npm", "fluidd").absolute()
    store.mkdir(parents=True, exist_ok=True)
    if not (store / "node_modules/esbuild").exists():
        (store / "package.json").write_text("{}")
        got = subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", *PACKAGES], cwd=store, check=False, timeout=300)
        if got.returncode:
            raise Missing("Vue and esbuild cannot be had from npm")
    (store / "bundle.mjs").write_text(BUNDLE)
    done = subprocess.run(["node", "bundle.mjs", source, player, out], cwd=store, check=False, capture_output=True, text=True, timeout=300)
    check(done.returncode == 0, f"Fluidd's player cannot be bundled: {done.stderr.strip()}")


class Player:
    """One of them in the browser."""

    def __init__(self, browser, page, url, camera="front"):
        self.browser = browser
        query = urllib.parse.urlencode({"stream": f"{url}/{camera}/?action=stream", "snapshot": f"{url}/{camera}/?action=snapshot"})
        browser.call("POST", browser.session + "/url", {"url": f"{page}?{query}"})

    def told(self):
        """What it said of itself."""
        return self.browser.run("return window.told")

    def moves(self, within=None):
        """Whether the picture becomes another one twice, within so many seconds, or it has failed."""
        end = within and time.monotonic() + within
        for _ in range(2):
            before = self.browser.run(PICTURE)
            another = lambda before=before: (now := self.browser.run(PICTURE)) and now != before
            if not within:
                wait_for(f"a new picture; the player says {self.told()[-3:]}", another)
            while within and not another():
                if time.monotonic() > end:
                    return False
                time.sleep(0.1)
        return True


def look(browser, url, source):
    """Both players."""
    for kind, player in PLAYERS.items():
        with tempfile.TemporaryDirectory() as place:
            bundle(source, player, place)
            with page_server(PAGE, place) as page:
                shown = Player(browser, page, url)
                shown.moves()
                check(shown.told()[-1] == "connected", f"it says {shown.told()}")
                print(f"fluidd: {player}: the picture moves", flush=True)
                if kind == "adaptive":
                    lost = Player(browser, page, url, "gone")
                    wait_for("a picture that says so", lambda: lost.browser.run(PICTURE))
                    time.sleep(8)
                    check("error" not in lost.told(), f"at a lost camera it says {lost.told()}")
                    print(f"fluidd: {player}: at a lost camera it shows the picture that says so, and goes on asking", flush=True)
                    continue
                for keeps in (True, False):
                    with tempfile.TemporaryDirectory() as of_service:
                        service = Service(of_service, keeps)
                        try:
                            again = Player(browser, page, service.url)
                            again.moves()
                            service.restart()
                            goes_on = again.moves(10)
                        finally:
                            service.close()
                    print(f"fluidd: {player}: over a restart {'with' if keeps else 'without'} a service manager that keeps connections it "
                          f"{'goes on' if goes_on else 'does not go on'}, and says {again.told()[-1]}", flush=True)
                    check(goes_on == keeps, "that is not what docs/octoprint-mainsail-fluidd.md says")


def main(url):
    """Fluidd's players of this checkout."""
    source = os.environ.get("FLUIDD")
    if not source:
        raise Missing("FLUIDD names no checkout of Fluidd")
    need("chromium chromium-driver", "chromium", "chromedriver")
    version = json.loads(pathlib.Path(source, "package.json").read_text())["version"]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch, Driver(scratch + "/profile") as browser:
        print(f"fluidd {version}, chromium {browser.open()}")
        look(browser, url, str(pathlib.Path(source).absolute()))


if __name__ == "__main__":
    script(main)
