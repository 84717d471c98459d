
// Controls of the camera: only where the server lets this page set them. The panel is no modal one, since what it changes is
// to be seen. One request at a time, with the newest value of each control.
const panel = document.createElement('dialog'), knobs = make('div'), said = make('p', { role: 'status' });
const adjust = make('button', { id: 'adjust', 'aria-haspopup': 'dialog', 'aria-keyshortcuts': 'c', title: 'Camera controls (C)' });
const changed = new Map(); // name -> value that is to be sent
let sending = false;

function make(kind, attributes = {}, ...inside) {
  const node = document.createElement(kind);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...inside);
  return node;
}

const close = make('button', { 'aria-label': 'Close', title: 'Close (Esc)' });
close.innerHTML = $('details').querySelector('form button').innerHTML;
panel.id = 'panel';
panel.setAttribute('aria-labelledby', 'panel-title');
panel.append(make('form', { method: 'dialog' }, make('h2', { id: 'panel-title' }, 'Camera controls'), close), said, knobs);
document.body.append(panel);
adjust.innerHTML = '<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M4 7h9m5 0h2M4 17h2m5 0h9"/><circle cx="15.5" cy="7" r="2.5"/><circle cx="8.5" cy="17" r="2.5"/></svg><span>Adjust</span>';
adjust.hidden = true;
$('more').before(adjust);

const words = (name) => name.replace(/_/g, ' ').replace(/([a-z])([A-Z])/g, '$1 $2');

// What a control is set with, and what it says of its value.
function input(control) {
  const { kind, minimum, maximum, step, items } = control, isRange = minimum < maximum;
  if (kind === 'boolean' || kind === 'bool') return make('input', { type: 'checkbox', role: 'switch' });
  if (kind === 'menu') return make('select', {}, ...items.map(({ index, name }) => make('option', { value: index }, name)));
  if (kind === 'button') return make('button', { type: 'button' }, 'Press');
  if (isRange && (kind === 'integer' || kind === 'float')) {
    return make('input', { type: 'range', min: minimum, max: maximum, step: step || (kind === 'float' ? (maximum - minimum) / 1000 : 1) });
  }
  return make('input', { type: 'text', size: 12 });
}

function knob(control) {
  const id = 'set-' + control.name, field = input(control), value = make('output', { for: id });
  field.id = id;
  const row = make('div', { class: 'knob' }, make('label', { for: id }, words(control.name)), value, field);
  const read = () => field.type === 'checkbox' ? field.checked : field.type === 'range' ? field.valueAsNumber : field.value;
  const change = () => {
    if (field.type === 'range') put(value, field.value);
    changed.set(control.name, field.type === 'button' ? 1 : read());
    send();
  };
  if (field.type === 'button') field.onclick = change;
  else field[field.type === 'range' ? 'oninput' : 'onchange'] = change;
  row.show = ({ value: now, default: usual, inactive }) => {
    const shown = now ?? usual;
    field.disabled = inactive;
    if (changed.has(control.name) || shown === null) return;
    if (field.type === 'checkbox') field.checked = Boolean(shown);
    else if (field.type !== 'button') field.value = shown;
    if (field.type === 'range') put(value, String(now ?? '–'));
  };
  return row;
}

// The controls as they are now; those that another one holds can change with each.
async function ask() {
  const reply = await fetch(new URL('controls', base), { cache: 'no-store' });
  if (!reply.ok) return put(said, await reply.text());
  const controls = await reply.json(), names = controls.map((control) => control.name).join();
  if (knobs.dataset.names !== names) {
    knobs.replaceChildren(...controls.map(knob));
    knobs.dataset.names = names;
  }
  controls.forEach((control, at) => knobs.children[at].show(control));
  if (!controls.length) put(said, 'None while the camera is not there');
}

// Sends what was changed, and says what became of it.
async function post() {
  while (changed.size) {
    const body = JSON.stringify(Object.fromEntries(changed));
    changed.clear();
    const reply = await fetch(new URL('controls', base), { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
    const isJson = reply.headers.get('Content-Type') === 'application/json';
    const results = isJson ? (await reply.json()).results : [];
    const told = { later: 'will be set when the camera is there', set: '' };
    put(said, isJson ? results.map(({ result, why }) => why ?? told[result]).filter(Boolean).join('; ') : await reply.text());
  }
}

async function send() {
  if (sending) return;
  sending = true;
  try {
    do {
      await post();
      await ask();
    } while (changed.size); // in the meantime
  } catch {
    put(said, 'No answer');
  }
  sending = false;
}

// Not in a frame: the page around it could lay itself over this one and have a click meant for it land here.
const offered = () => window.top === window && !all && record()?.controls;
async function openPanel() {
  if (panel.open || !offered()) return;
  put(said, '');
  delete knobs.dataset.names;
  try { await ask(); } catch { put(said, 'No answer'); }
  panel.show();
  (knobs.querySelector('input, select, button') || close).focus();
}

adjust.onclick = keys.c = () => (panel.open ? panel.close() : openPanel());
panel.onkeydown = (event) => {
  event.stopPropagation();
  if (event.key !== 'Escape') return;
  panel.close();
};
panel.onclose = () => adjust.focus();
setInterval(() => {
  adjust.hidden = !offered();
  if (panel.open && !offered()) panel.close();
}, 250);
