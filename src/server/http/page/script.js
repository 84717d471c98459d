// The live picture by pull: one request at a time, so that one connection carries all, and each answer is the newest frame
// there is when it is sent. Nothing is asked for while nobody can see it. Between two frames, now and then, /state.
const LOOK = 3000; // ms from one look at /state to the next; it wakes no camera
const FRESH = 2500; // ms that a picture counts as live without a successor
const SLOW = 500, OLD = 2000; // ms from which an age is told in another colour
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
let home = ''; // the camera at the server's own address, if the page was loaded from there
let clock = 0, trip = 0; // ms that this clock is ahead of the server's; ms there and back
let nextLook = 0, failures = 0, undecodable = 0;
let paused = false, byImage = false, away = false;
let key = '', known = false, missed = 0; // of the stream in the <img>; whether /state ever knew it; how often in a row it did not
let all = false, wanted = location.hash; // all cameras at once, and whether the address asks for that
let after = '', last = null, times = [], showing = Promise.resolve();
let stop = new AbortController(), wake = () => {};

const sleep = (ms) => new Promise((done) => { wake = done; setTimeout(done, ms); });
const retry = () => sleep(Math.min(LOOK, 400 * 2 ** failures++));
const record = () => cameras.find((camera) => camera.name === name);
const isLive = (now) => last !== null && now - last.shown < FRESH;
const hasPicture = () => !all && (last !== null || byImage);

async function run() {
  for (;;) {
    const now = performance.now();
    if (document.hidden) await sleep(1e9);
    else if (byImage && away) restart(); // its stream is as dead as the server
    else if (now >= nextLook) await look(now);
    else if (paused || byImage || all) await sleep(nextLook - now);
    else await pull();
  }
}

// One frame. The next is asked for while this one is decoded; no more than one waits for that.
async function pull() {
  const mine = stop, url = new URL('snapshot', base);
  if (after) url.search = 'after=' + after;
  try {
    const reply = await fetch(url, { cache: 'no-store', signal: mine.signal });
    const came = performance.now(), blob = await reply.blob(), way = performance.now() - came + trip / 2;
    away = GONE.includes(reply.status) && reply.status !== 503;
    if (reply.ok) {
      failures = 0;
      after = reply.headers.get('X-Timestamp') || '';
      const age = reply.headers.get('X-Frame-Age');
      await showing;
      // When it was captured, by this clock: reckoned back from the server's word on its age, so that clocks may differ.
      // Half a round trip is what the way here took before the first byte.
      showing = show(blob, { served: age * 1000, way, captured: age && came - age * 1000 - trip / 2 }, mine);
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

async function show(blob, told, mine) {
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
  last = { blob, ...told, shown, at: after * 1000 };
  times = times.filter((time) => shown - time.shown < 2000).concat(last);
  if (first) tell();
}

let fitted;
function fit(size) {
  fitted = size || fitted;
  const { width, height } = fitted || { width: 4, height: 3 };
  $('stage').style.setProperty('--ratio', view(name).turn % 180 ? height / width : width / height);
  figure('size', size && `${width} × ${height}`);
}

// How a camera is shown here, whatever it sends. Browsers may refuse to keep it: then it holds until the page is left.
const views = new Map(), place = (name) => `lazycam ${root.pathname} ${name}`;
function view(name) {
  if (!views.has(name)) {
    let kept = null;
    try { kept = JSON.parse(localStorage.getItem(place(name))); } catch { /* none */ }
    views.set(name, { turn: Number(kept?.turn) || 0, mirror: Boolean(kept?.mirror) });
  }
  return views.get(name);
}

function changeView(change) {
  if (all) return;
  views.set(name, { ...view(name), ...change });
  try { localStorage.setItem(place(name), JSON.stringify(view(name))); } catch { /* for now, then */ }
  fit(fitted);
  tell();
}

function turned(box, name) {
  const { turn, mirror } = view(name);
  box.dataset.turn = turn;
  box.classList.toggle('mirrored', mirror);
}

// The stream in an <img>: no age is known then, but there is little that a browser or a proxy could have against it.
function useImage() {
  restart();
  byImage = true;
  beginStream();
  tell();
}

// No browser begins a stream anew that has ended, as it may when the server is restarted: /state tells, by its key. It says
// nothing where it never knew it: a proxy may drop the query or answer from its memory, and another process may have the stream.
function beginStream() {
  key = Math.random().toString(36).slice(2);
  known = false;
  missed = 0;
  image.src = new URL('stream?key=' + key, base);
}

function checkStream(streams) {
  if (Object.values(streams).some((one) => one.key === key)) [known, missed] = [true, 0];
  else if (known && missed++) beginStream();
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
    const reply = await fetch(new URL('state', byImage ? base : here), { cache: 'no-store', signal: mine.signal });
    const took = performance.now() - asked;
    away = GONE.includes(reply.status);
    const result = reply.ok && (await reply.json()).result, state = result?.lazycam;
    cameras = state?.cameras || [];
    if (!state) return;
    trip = trip ? Math.min(took, trip * 1.2) : took;
    if (state.time) clock = Date.now() - took / 2 - state.time * 1000;
    version = state.version;
    if (byImage && result.stream) checkStream(result.stream.clients_stat);
    if (!name) {
      name = state.camera || '';
      if (name && here.pathname.endsWith(`/${name}/`)) root = new URL('../', here);
      else home = name;
      follow(wanted);
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
  const names = ['', ...cameras.map((camera) => camera.name)];
  if (names.join() !== [...nav.children].map((link) => link.dataset.name).join()) {
    nav.replaceChildren(...names.map((name) => {
      const link = document.createElement('a'), unseen = document.createElement('span');
      link.dataset.name = name;
      link.href = name ? new URL(name + '/', root) : new URL('#all', root);
      unseen.className = 'unseen';
      link.append(name || 'All', unseen);
      return link;
    }));
  }
  [...nav.children].forEach((link, i) => {
    if (names[i] === (all ? '' : name)) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
    if (!i) return;
    const { state } = cameras[i - 1];
    link.dataset.tone = TONES[state] || 'rest';
    link.title = say(state);
    put(link.lastChild, ', ' + link.title);
  });
  listTiles();
}

// To a camera, or without a name to all of them.
function change(to, push) {
  if (all ? !to : !to || to === name) return;
  all = false;
  name = to;
  base = new URL(to + '/', root);
  if (push) history.pushState(null, '', base);
  after = '';
  last = fitted = null;
  context.transferFromImageBitmap(null);
  fit(record()?.size);
  arrive(false);
}

function showAll(watched, push) {
  if (cameras.length < 2) return;
  all = true;
  if (push) history.pushState(null, '', new URL(watched ? '#live' : '#all', root));
  arrive(!watched);
}

function arrive(still) {
  html.classList.toggle('all', all);
  list();
  nav.querySelector('[aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  pause(still);
}

// What the address says: #all and #live, or the path of a camera.
function follow(hash) {
  if (hash === '#all' || hash === '#live') return showAll(hash === '#live');
  const link = [...nav.children].find((link) => link.dataset.name && link.pathname === location.pathname);
  if (nav.hasChildNodes()) change(link?.dataset.name || home || cameras[0]?.name);
}

function pause(on) {
  if (on && byImage) return; // nothing would be left to see
  paused = on;
  times = [];
  $('pause').setAttribute('aria-pressed', on);
  if (all) history.replaceState(null, '', on ? '#all' : '#live');
  restart();
  for (const tile of tiles.values()) tile.next = 0;
  tell();
}

function duration(ms) {
  if (ms < 1000) return Math.max(0, ms).toFixed() + ' ms';
  return ms < 60e3 ? (ms / 1000).toFixed(1) + ' s' : Math.floor(ms / 60e3) + ' min';
}

function since(camera, word) {
  if (!(camera.since > 1e9)) return ''; // from a clock that was not set yet
  const then = new Date(camera.since * 1000 + clock);
  return word + (Date.now() - then > 72e6 ? then.toLocaleString() : then.toLocaleTimeString());
}

// What is wrong with a camera, in the words of who lost it, which say what to do; without the system's, which are for the log.
const reason = ({ state, why }) => (state === 'lost' ? (why || 'It sends no pictures').replace(/ \(([^()]|\(os error \d+\))*\)$/, '') : '');

// [tone, word, more]
function situation(now) {
  const camera = record() || {}, { state } = camera, why = reason(camera);
  if (away) return ['lost', 'No answer', 'The server does not answer. Trying again.'];
  if (all) {
    const live = cameras.filter((one) => one.state === 'live').length;
    if (!paused) return [live ? 'live' : 'wait', `${live} of ${cameras.length} live`, ''];
    return ['rest', 'Last pictures', 'Cameras that nobody watches stay asleep.'];
  }
  if (paused) return ['rest', state === 'off' ? 'Asleep' : 'Paused', state === 'off' ? 'Nobody else watches: the camera is off.' : ''];
  if (isLive(now)) return ['live', 'Live', ''];
  if (state === 'lost') return ['lost', 'Camera lost', `${why}\n${since(camera, 'Since ')}\nThe picture comes back by itself.`];
  if (state === 'absent') return ['lost', 'No camera', `No program takes its pictures${since(camera, ' since ')}.\n` +
    'Start lazycam capture, or its service, where the camera is.'];
  if (byImage) return ['live', 'Live', ''];
  if (!state && !failures) return ['wait', 'Connecting', ''];
  if (state === 'live' && failures) return ['wait', 'Waiting', 'The camera sends no new picture.'];
  return ['wait', 'Starting', 'The camera wakes up.'];
}

function tell() {
  const now = performance.now(), [tone, word, text] = situation(now), picture = hasPicture();
  $('state').dataset.tone = tone;
  put($('state-word'), word);
  put($('state-text'), text && ': ' + text);
  put($('notice-title'), word);
  put($('notice-text'), text);
  $('notice').hidden = tone === 'live';
  $('notice').classList.toggle('aside', paused && picture);
  $('frame').classList.toggle('stale', picture && tone !== 'live' && !paused);
  turned($('frame'), name);
  nav.querySelector('[data-tone][aria-current]')?.setAttribute('data-tone', tone);
  canvas.setAttribute('aria-label', `${tone === 'live' ? 'Live' : 'Last'} picture${name && ' of ' + name}`);
  const title = all ? 'All cameras' : name;
  put($('title'), title || 'lazycam');
  document.title = title ? `${title} · ${location.hostname}` : 'lazycam';
  canvas.hidden = byImage;
  image.hidden = !byImage;
  $('pause').disabled = byImage;
  put($('pause-word'), all ? (paused ? 'Watch all' : 'Stop') : paused ? 'Go on' : 'Pause');
  $('turn').disabled = $('mirror').disabled = all;
  $('mirror').setAttribute('aria-pressed', !all && view(name).mirror);
  if (picture) $('save').href = new URL('snapshot', base);
  else $('save').removeAttribute('href');
  figures(now);
  tellTiles(now);
  if (dialog.open) facts();
}

function figure(id, text) {
  put($(id), text || '–');
  $(id).parentNode.hidden = !text || all;
}

// The age of a picture when it came on the screen, over the last second; of one that has stood for longer, its age now.
function figures(now) {
  const recent = times.filter((time) => now - time.shown < 2000), count = recent.length - 1;
  const known = recent.filter((time) => time.captured && now - time.shown < 1000);
  const mean = (of) => known.reduce((sum, time) => sum + of(time), 0) / known.length;
  const age = known.length ? mean((time) => time.shown - time.captured) : now - last?.captured;
  figure('age', last?.captured && !byImage && duration(age));
  const cause = byImage || !last?.captured ? '' : known.length ? slowest(age, mean) : standing();
  put($('cause'), cause);
  $('age').parentNode.dataset.tone = !cause || paused ? '' : age < OLD ? 'wait' : 'lost';
  const rate = byImage ? record()?.fps : count > 0 && count * 1000 / (recent[count].shown - recent[0].shown);
  figure('rate', rate && `${rate < 9.95 ? rate.toFixed(1) : rate.toFixed()} fps`);
  if (byImage && image.naturalWidth) fit({ width: image.naturalWidth, height: image.naturalHeight });
}

// Where most of an age comes from, if it is one that people notice.
function slowest(age, mean) {
  if (age < SLOW) return '';
  const served = mean((time) => time.served), way = mean((time) => time.way), here = age - served - way;
  return served > Math.max(way, here) ? 'slow camera' : way > here ? 'slow connection' : 'slow browser';
}

// Why a picture has no successor.
function standing() {
  const { state, fps } = record() || {};
  if (away) return 'no answer';
  if (paused) return state === 'off' ? 'asleep' : 'paused';
  if (state === 'lost' || state === 'absent') return 'camera lost';
  return fps && fps < 2 ? 'slow camera' : 'no new picture';
}
