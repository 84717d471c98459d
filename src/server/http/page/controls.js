
function facts() {
  const camera = (!all && record()) || {}, { size, fps } = camera;
  const count = (state) => cameras.filter((one) => one.state === state).length;
  const rows = {
    Cameras: all && `${cameras.length}: ${count('live')} live, ${count('off')} asleep, ${count('lost') + count('absent')} lost`,
    Camera: camera.source,
    State: camera.state && say(camera.state) + since(camera, ' since '),
    'Picture size': size && `${size.width} × ${size.height}`,
    'Pictures per second': fps && fps.toFixed(1),
    'Pictures so far': camera.published,
    'Age of the picture': last && !all && !paused && last.captured && parts(last),
    'Others who watch': camera.viewers,
    Server: version && 'lazycam ' + version,
  };
  put($('details-title'), all ? 'All cameras' : name || 'Camera');
  $('of-camera').hidden = all;
  $('facts').replaceChildren(...Object.entries(rows).filter(([, value]) => (value || value === 0)).map(([label, value]) => {
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

// Of which parts the age consists. The server says the first, the rest was measured here.
function parts({ served, way, captured, shown }) {
  const here = Math.max(0, shown - captured - served - way);
  return `${duration(served)} at the camera and server, ${duration(way)} on the way, ${duration(here)} in this browser`;
}

// Without the clipboard's API, which browsers have only for pages with TLS.
function copy(button) {
  getSelection().selectAllChildren($(button.dataset.of));
  put(button, document.execCommand('copy') ? 'Copied' : 'Selected');
  setTimeout(() => put(button, 'Copy'), 2000);
}

const details = () => { facts(); dialog.showModal(); };

// The very frame that is on the screen; from an <img>, a fresh one.
function save() {
  const link = $('save');
  if (!hasPicture()) return;
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
  ' ': () => pause(!paused), f: () => full(!isFull()), s: () => hasPicture() && $('save').click(), i: details,
  r: () => changeView({ turn: (view(name).turn + 90) % 360 }), m: () => changeView({ mirror: !view(name).mirror }),
  a: () => (all ? change(name, true) : showAll(false, true)),
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
$('turn').onclick = keys.r;
$('mirror').onclick = keys.m;
$('full').onclick = $('frame').ondblclick = keys.f;
$('more').onclick = details;
dialog.onclick = (event) => {
  if (event.target === dialog) dialog.close();
  if (event.target.dataset.of) copy(event.target);
};
nav.onclick = grid.onclick = (event) => {
  const link = event.target.closest('a');
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  if (link.dataset.name) change(link.dataset.name, true);
  else if (!all) showAll(false, true);
};
image.onerror = () => { if (byImage) { away = true; restart(); } };
window.onpointermove = window.onpointerdown = stir;
window.onpopstate = () => follow(location.hash);
document.onfullscreenchange = () => { if (!document.fullscreenElement) full(false); };
document.onvisibilitychange = restart;
setInterval(() => {
  if (document.hidden) return;
  tell();
  feed();
}, 250);

html.classList.add('js');
run();
