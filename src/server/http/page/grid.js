
// All cameras at once. A tile shows the last picture that anybody took, which wakes no camera (wake=0); unless it is
// paused, each camera in view is watched. A few requests at a time, so that one that is slow to start holds up no other.
const LINES = 3; // requests at a time
const STILL = 1000; // ms from one picture to the next of a camera that only others watch

const tiles = new Map(), grid = $('grid');
const watcher = new IntersectionObserver((seen) => {
  for (const { target, isIntersecting } of seen) target.tile.inView = isIntersecting;
  feed();
});

function makeTile(name) {
  const make = (kind, className, ...inside) => {
    const node = document.createElement(kind);
    node.className = className;
    node.append(...inside);
    return node;
  };
  const canvas = make('canvas', ''), none = make('span', 'none'), status = make('span', 'status');
  const box = make('span', 'picture', canvas, none), link = make('a', 'tile', box, make('b', '', name), status);
  const tile = { name, link, box, canvas, none, status, base: new URL(name + '/', root), begun: 0, next: 0, failures: 0 };
  Object.assign(link, { href: tile.base, tile });
  link.dataset.name = name;
  tile.context = canvas.getContext('bitmaprenderer');
  watcher.observe(link);
  return tile;
}

function listTiles() {
  const names = cameras.map((camera) => camera.name);
  if (names.join() === [...tiles.keys()].join()) return;
  watcher.disconnect();
  tiles.clear();
  if (names.length > 1) for (const name of names) tiles.set(name, makeTile(name));
  grid.replaceChildren(...[...tiles.values()].map((tile) => tile.link));
}

const watchesAll = () => all && !paused;

// Whether there is something to fetch: always if it is watched; else if somebody took another picture.
function isDue(tile, camera, now) {
  if (!tile || tile.busy || !tile.inView || tile.next > now || (!all && tile.name === name)) return false;
  return watchesAll() ? camera.state !== 'absent' : camera.frame && (camera.state === 'live' || camera.frame.timestamp !== tile.stamp);
}

function nextTile(now) {
  const due = cameras.filter((camera) => isDue(tiles.get(camera.name), camera, now)).map((camera) => tiles.get(camera.name));
  return due.sort((a, b) => a.begun - b.begun)[0];
}

function feed() {
  let free = LINES - [...tiles.values()].filter((tile) => tile.busy).length;
  while (!document.hidden && !away && free-- > 0) {
    const tile = nextTile(performance.now());
    if (!tile) return;
    tile.busy = true;
    fetchTile(tile).finally(() => { tile.busy = false; feed(); });
  }
}

async function fetchTile(tile) {
  const mine = stop, watched = watchesAll(), url = new URL('snapshot', tile.base);
  if (!watched) url.search = 'wake=0';
  else if (tile.stamp) url.search = 'after=' + tile.stamp;
  tile.begun = performance.now();
  tile.next = watched ? 0 : tile.begun + STILL;
  try {
    const reply = await fetch(url, { cache: 'no-store', signal: mine.signal });
    const came = performance.now(), age = reply.headers.get('X-Frame-Age'), stamp = reply.headers.get('X-Timestamp');
    const blob = await reply.blob();
    if (!reply.ok) throw reply.status;
    if (!stamp || stamp !== tile.stamp) {
      const bitmap = await createImageBitmap(blob), { width, height } = bitmap;
      Object.assign(tile.canvas, { width, height });
      tile.context.transferFromImageBitmap(bitmap);
    }
    Object.assign(tile, { stamp, captured: age && came - age * 1000 - trip / 2, failures: 0 });
    if (!stamp) tile.next += 100; // else the same frame would come again and again
  } catch {
    if (!mine.signal.aborted) tile.next = performance.now() + Math.min(LOOK, 400 * 2 ** tile.failures++);
  }
}

const WORDS = { live: 'Live', off: 'Asleep', starting: 'Starting', lost: 'Lost', absent: 'Not there' };

function tellTiles(now) {
  const { size } = cameras[0] || {};
  grid.style.setProperty('--ratio', size ? size.width / size.height : 4 / 3);
  for (const camera of cameras) {
    const tile = tiles.get(camera.name), { state } = camera;
    if (!tile) return;
    const age = tile.captured && now - tile.captured, isLive = state === 'live' && age < FRESH;
    tile.link.dataset.tone = TONES[state] || 'rest';
    tile.link.classList.toggle('stale', !isLive);
    tile.link.toggleAttribute('data-shown', !all && camera.name === name);
    const ago = !age || (isLive && age < SLOW) ? '' : ` · ${duration(age)} ${isLive ? 'old' : 'ago'}`;
    const word = watchesAll() && state === 'live' && !isLive ? WORDS.starting : WORDS[state] || '';
    put(tile.status, word + ago);
    put(tile.none, tile.captured ? '' : reason(camera) || 'No picture yet');
    turned(tile.box, camera.name);
  }
}
