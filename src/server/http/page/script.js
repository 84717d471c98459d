// The live picture by pull: one request at a time, so that one connection carries all, and each answer is the newest frame
// there is when it is sent. Nothing is asked for while nobody can see it. Between two frames, now and then, /state.
const LOOK = 3000; // ms from one look at /state to the next; it wakes no camera
const FRESH = 2500; // ms that a picture counts as live without a successor
const PATIENCE = 3; // strange answers, or pictures that cannot be decoded, until <img> has to do
const GONE = [502, 503, 504]; // no picture for now; from a proxy, no server

const $ = (id) => document.getElementById(id);
const put = (node, text) => { if (node.textContent !== text) node.textContent = text; };
const html = document.documentElement, canvas = $('picture'), image = $('stream'), dialog = $('details'), nav = $('cameras');
const context = canvas.getContext('bitmaprenderer');

// The directory that this page is: /, /<camera>/, either behind a proxy's prefix, and perhaps without the last slash.
// Not location.href: fetch refuses an address with a password in it.
const here = new URL(location.pathname.replace(/\/*$/, '/'), location.origin);
let root = here, base = here; // of the server, of the camera that is shown
let cameras = [], name = '', version = ''; // from /state
let clock = 0, trip = 0; // ms that this clock is ahead of the server's; ms there and back
let nextLook = 0, failures = 0, undecodable = 0;
let paused = false, byImage = false, away = false;
let after = '', last = null, times = [], showing = Promise.resolve();
let stop = new AbortController(), wake = () => {};

const sleep = (ms) => new Promise((done) => { wake = done; setTimeout(done, ms); });
const retry = () => sleep(Math.min(LOOK, 400 * 2 ** failures++));
const record = () => cameras.find((camera) => camera.name === name);
const isLive = (now) => last !== null && now - last.shown < FRESH;

async function run() {
  for (;;) {
    const now = performance.now();
    if (document.hidden) await sleep(1e9);
    else if (byImage && away) restart(); // its stream is as dead as the server
    else if (now >= nextLook) await look(now);
    else if (paused || byImage) await sleep(nextLook - now);
    else await pull();
  }
}

// One frame. The next is asked for while this one is decoded; no more than one waits for that.
async function pull() {
  const mine = stop, url = new URL('snapshot', base);
  if (after) url.search = 'after=' + after;
  try {
    const reply = await fetch(url, { cache: 'no-store', signal: mine.signal });
    const came = performance.now(), blob = await reply.blob();
    away = GONE.includes(reply.status) && reply.status !== 503;
    if (reply.ok) {
      failures = 0;
      after = reply.headers.get('X-Timestamp') || '';
      const age = reply.headers.get('X-Frame-Age');
      await showing;
      // When it was captured, by this clock: reckoned back from the server's word on its age, so that clocks may differ.
      // Half a round trip is what the way here took before the first byte.
      showing = show(blob, age && came - age * 1000 - trip / 2, mine);
      if (!after) await sleep(100); // else the same frame would come again and again
      return;
    }
    if (!GONE.includes(reply.status) && failures >= PATIENCE - 1) return useImage();
  } catch {
    if (mine.signal.aborted) return;
    away = true;
  }
  tell();
  nextLook = 0; // what is it?
  await retry();
}

async function show(blob, captured, mine) {
  try {
    const bitmap = await createImageBitmap(blob), { width, height } = bitmap;
    if (mine !== stop || paused) return;
    Object.assign(canvas, { width, height });
    context.transferFromImageBitmap(bitmap);
    fit({ width, height });
  } catch {
    if (++undecodable >= PATIENCE) useImage();
    return;
  }
  const shown = performance.now(), first = !isLive(shown);
  undecodable = 0;
  last = { blob, captured, shown, at: after * 1000 };
  times = times.filter((time) => shown - time.shown < 2000).concat(last);
  if (first) tell();
}

function fit(size) {
  if (size) $('frame').style.setProperty('--ratio', size.width / size.height);
  figure('size', size && `${size.width} × ${size.height}`);
}

// The stream in an <img>: no age is known then, but there is little that a browser or a proxy could have against it.
function useImage() {
  restart();
  byImage = true;
  image.src = new URL('stream', base);
  tell();
}

function restart() {
  stop.abort();
  stop = new AbortController();
  byImage = false;
  failures = undecodable = nextLook = 0;
  image.removeAttribute('src');
  wake();
}

async function look(asked) {
  const mine = stop;
  nextLook = asked + LOOK;
  try {
    const reply = await fetch(new URL('state', here), { cache: 'no-store', signal: mine.signal });
    const took = performance.now() - asked;
    away = GONE.includes(reply.status);
    const state = reply.ok && (await reply.json()).result?.lazycam;
    cameras = state?.cameras || [];
    if (!state) return;
    trip = trip ? Math.min(took, trip * 1.2) : took;
    if (state.time) clock = Date.now() - took / 2 - state.time * 1000;
    version = state.version;
    if (!name) {
      name = state.camera || '';
      if (name && here.pathname.endsWith(`/${name}/`)) root = new URL('../', here);
    }
  } catch {
    if (mine.signal.aborted) return;
    away = true;
  } finally {
    list();
    tell();
  }
}

const TONES = { live: 'live', starting: 'wait', lost: 'lost', absent: 'lost' };
const say = (state) => (state === 'off' ? 'asleep' : state);

function list() {
  nav.hidden = cameras.length < 2;
  const names = cameras.map((camera) => camera.name);
  if (names.join() !== [...nav.children].map((link) => link.dataset.name).join()) {
    nav.replaceChildren(...names.map((name) => {
      const link = document.createElement('a'), unseen = document.createElement('span');
      link.dataset.name = name;
      link.href = new URL(name + '/', root);
      unseen.className = 'unseen';
      link.append(name, unseen);
      return link;
    }));
  }
  [...nav.children].forEach((link, i) => {
    const { state } = cameras[i];
    if (names[i] === name) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
    link.dataset.tone = TONES[state] || 'rest';
    link.title = say(state);
    put(link.lastChild, ', ' + link.title);
  });
}

function change(to, push) {
  if (!to || to === name) return;
  name = to;
  base = new URL(to + '/', root);
  if (push) history.pushState(null, '', base);
  after = '';
  last = null;
  context.transferFromImageBitmap(null);
  fit(record()?.size);
  list();
  nav.querySelector('[aria-current]').scrollIntoView({ block: 'nearest', inline: 'nearest' });
  pause(false);
}

function pause(on) {
  if (on && byImage) return; // nothing would be left to see
  paused = on;
  times = [];
  $('pause').setAttribute('aria-pressed', on);
  restart();
  tell();
}

function duration(ms) {
  if (ms < 1000) return Math.max(0, ms).toFixed() + ' ms';
  return ms < 60e3 ? (ms / 1000).toFixed(1) + ' s' : Math.floor(ms / 60e3) + ' min';
}

function since(camera, word) {
  if (!camera.since) return '';
  const then = new Date(camera.since * 1000 + clock);
  return word + (Date.now() - then > 72e6 ? then.toLocaleString() : then.toLocaleTimeString());
}

// [tone, word, more]
function situation(now) {
  const camera = record() || {}, { state, why } = camera;
  if (paused) return ['rest', state === 'off' ? 'Asleep' : 'Paused', state === 'off' ? 'Nobody else watches: the camera is off.' : ''];
  if (away) return ['lost', 'No answer', 'The server does not answer. Trying again.'];
  if (isLive(now)) return ['live', 'Live', ''];
  if (state === 'lost') return ['lost', 'Camera lost', `${why || 'It sends no pictures'}\n${since(camera, 'Since ')}`];
  if (state === 'absent') return ['lost', 'No camera', 'Nothing captures from it' + since(camera, ' since ')];
  if (byImage) return ['live', 'Live', ''];
  if (!state && !failures) return ['wait', 'Connecting', ''];
  if (state === 'live' && failures) return ['wait', 'Waiting', 'The camera sends no new picture.'];
  return ['wait', 'Starting', 'The camera wakes up.'];
}

function tell() {
  const now = performance.now(), [tone, word, text] = situation(now), picture = last !== null || byImage;
  $('state').dataset.tone = tone;
  put($('state-word'), word);
  put($('state-text'), text && ': ' + text);
  put($('notice-title'), word);
  put($('notice-text'), text);
  $('notice').hidden = tone === 'live';
  $('notice').classList.toggle('aside', paused && picture);
  $('frame').classList.toggle('stale', picture && tone !== 'live' && !paused);
  nav.querySelector('[aria-current]')?.setAttribute('data-tone', tone);
  canvas.setAttribute('aria-label', `${tone === 'live' ? 'Live' : 'Last'} picture${name && ' of ' + name}`);
  document.title = name ? name + ' · lazycam' : 'lazycam';
  canvas.hidden = byImage;
  image.hidden = !byImage;
  $('pause').disabled = byImage;
  $('save').href = new URL('snapshot', base);
  figures(now);
  if (dialog.open) facts();
}

function figure(id, text) {
  put($(id), text || '–');
  $(id).parentNode.hidden = !text;
}

// The age of a picture when it came on the screen, over the last second; of one that has stood for longer, its age now.
function figures(now) {
  const recent = times.filter((time) => now - time.shown < 2000), count = recent.length - 1;
  const known = recent.filter((time) => time.captured && now - time.shown < 1000);
  const mean = known.reduce((sum, time) => sum + time.shown - time.captured, 0) / known.length;
  figure('age', last?.captured && !byImage && duration(known.length ? mean : now - last.captured));
  const rate = byImage ? record()?.fps : count > 0 && count * 1000 / (recent[count].shown - recent[0].shown);
  figure('rate', rate && `${rate < 9.95 ? rate.toFixed(1) : rate.toFixed()} fps`);
  if (byImage && image.naturalWidth) fit({ width: image.naturalWidth, height: image.naturalHeight });
}

function facts() {
  const camera = record() || {}, { size, fps } = camera;
  const rows = {
    Source: camera.source,
    State: camera.state && say(camera.state) + since(camera, ' since '),
    Size: size && `${size.width} × ${size.height}`,
    'Rate of the camera': fps && fps.toFixed(1) + ' fps',
    'Other viewers': camera.viewers,
    'Frames published': camera.published,
    Server: version && 'lazycam ' + version,
  };
  put($('details-title'), name || 'Camera');
  $('facts').replaceChildren(...Object.entries(rows).filter(([, value]) => (value ?? '') !== '').map(([label, value]) => {
    const row = document.createElement('div');
    row.append(document.createElement('dt'), document.createElement('dd'));
    row.firstChild.append(label);
    row.lastChild.append(value);
    return row;
  }));
  for (const what of ['stream', 'snapshot']) {
    const link = $(what + '-link');
    link.href = new URL(what, base);
    put(link, link.href);
  }
}

const details = () => { facts(); dialog.showModal(); };

// The very frame that is on the screen; where there is none, a fresh one.
function save() {
  const link = $('save');
  link.download = (name || 'snapshot') + '.jpg';
  if (!last || byImage) return;
  link.download = `${name || 'snapshot'}-${new Date(last.at).toISOString().slice(0, 19).replace(/:/g, '')}Z.jpg`;
  link.href = URL.createObjectURL(last.blob);
  setTimeout((url) => URL.revokeObjectURL(url), 60e3, link.href);
}

// Where a browser has no full screen for pages (phones), the window is what there is.
const isFull = () => html.classList.contains('full');
function full(on) {
  html.classList.toggle('full', on);
  $('full').setAttribute('aria-pressed', on);
  if (on) html.requestFullscreen?.().catch(() => {});
  else if (document.fullscreenElement) document.exitFullscreen();
}

let rest;
function stir() {
  html.classList.remove('idle');
  clearTimeout(rest);
  rest = setTimeout(() => html.classList.add('idle'), 2500);
}

function step(by) {
  const at = cameras.findIndex((camera) => camera.name === name) + by;
  change(cameras[(at + cameras.length) % cameras.length]?.name, true);
}

const keys = {
  ' ': () => pause(!paused), f: () => full(!isFull()), s: () => $('save').click(), i: details,
  ArrowLeft: () => step(-1), ArrowRight: () => step(1), Escape: () => full(false),
};
document.onkeydown = (event) => {
  stir();
  const act = keys[event.key.length > 1 ? event.key : event.key.toLowerCase()];
  if (!act || dialog.open || event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === ' ' && event.target.closest('button')) return; // it is the button's
  event.preventDefault();
  act();
};
$('pause').onclick = keys[' '];
$('save').onclick = save;
$('full').onclick = $('frame').ondblclick = keys.f;
$('more').onclick = details;
dialog.onclick = (event) => { if (event.target === dialog) dialog.close(); };
nav.onclick = (event) => {
  const link = event.target.closest('a');
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  change(link.dataset.name, true);
};
image.onerror = () => { if (byImage) { away = true; restart(); } };
window.onpointermove = window.onpointerdown = stir;
window.onpopstate = () => {
  const link = [...nav.children].find((link) => link.pathname === location.pathname);
  change(link?.dataset.name || cameras[0]?.name);
};
document.onfullscreenchange = () => { if (!document.fullscreenElement) full(false); };
document.onvisibilitychange = restart;
setInterval(() => { if (!document.hidden) tell(); }, 250);

html.classList.add('js');
run();
