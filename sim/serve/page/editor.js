// The scenario: its text, what is wrong with it and where, its keys, its values.
import { $, el, ask, post, tell, num } from './app.js';
import * as runs from './runs.js';

const lineHeight = 20; // pixels, of the text's font in style.css
const pause = 250; // ms after the last key until the text is checked

let keys = new Map(); // reference by key
let sets = []; // overrides
let checked = null; // last answer
let problems = [];
let asking = null; // the check in flight
let timer = 0;

const text = () => $('toml').value;

// asked is what the server is told to check or run.
const asked = () => ({ name: $('catalogue').value || 'scenario', toml: text(), sets });

export function start() {
  $('toml').addEventListener('input', () => { draw(); later(); });
  for (const e of ['keyup', 'click', 'focus']) $('toml').addEventListener(e, help);
  $('toml').addEventListener('keydown', (e) => { if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) { e.preventDefault(); run(); } });
  $('run').addEventListener('click', run);
  $('find').addEventListener('input', origins);
  $('catalogue').addEventListener('change', () => pick($('catalogue').value));
  $('override').addEventListener('submit', (e) => { e.preventDefault(); override(); });
  $('set-key').addEventListener('input', () => explain($('set-key').value.trim()));
  load();
}

async function load() {
  try {
    const [names, reference] = await Promise.all([ask('/api/scenarios'), ask('/api/keys')]);
    $('catalogue').append(el('option', { value: '' }, '— own text —'), ...names.map((n) => el('option', { value: n }, n)));
    keys = new Map(reference.map((k) => [k.key, k]));
    $('keys').append(...reference.filter((k) => !k.key.startsWith('expect.')).map((k) => el('option', { value: k.key })));
    if (!text()) await pick('quickstart');
  } catch (e) { tell(e); }
}

// pick takes a scenario of the catalogue.
async function pick(name) {
  if (!name) return;
  try {
    const r = await fetch('/api/scenarios/' + name.split('/').map(encodeURIComponent).join('/'));
    edit(name, await r.text(), []);
  } catch (e) { tell(e); }
}

// edit shows a text with its overrides.
export function edit(name, toml, overrides) {
  $('catalogue').value = [...$('catalogue').options].some((o) => o.value === name) ? name : '';
  $('toml').value = toml;
  sets = [...overrides];
  problems = [];
  $('editor').scrollTo(0, 0);
  draw();
  later(0);
}

function later(ms = pause) {
  clearTimeout(timer);
  timer = setTimeout(check, ms);
}

async function check() {
  asking?.abort();
  const mine = asking = new AbortController();
  try {
    const answer = await post('/api/check', asked(), { signal: mine.signal });
    problems = answer.errors;
    if (answer.ok) checked = answer;
    $('verdict').textContent = answer.ok ? `valid · ${answer.gpus} GPUs · about ${num(answer.ops, 2)} ops` : `${problems.length} problem${problems.length > 1 ? 's' : ''}`;
    $('verdict').className = answer.ok ? 'good' : 'bad';
    $('run').disabled = !answer.ok;
    $('origins').classList.toggle('old', !answer.ok); // of the text as it was before
    tell(null);
    draw();
    list();
    origins();
    help();
  } catch (e) { tell(e); }
}

// draw sizes the text and marks the lines of problems.
function draw() {
  const lines = text().split('\n');
  const longest = Math.min(lines.reduce((n, l) => Math.max(n, l.length), 0), 4000);
  $('toml').style.height = lines.length * lineHeight + 'px';
  $('toml').style.width = `calc(${longest + 3}ch + 20px)`;
  const wrong = new Map();
  for (const p of problems) if (p.line > 0 && p.line <= lines.length && !wrong.has(p.line)) wrong.set(p.line, p);
  const gutter = document.querySelector('.gutter');
  gutter.replaceChildren();
  let plain = '';
  lines.forEach((_, i) => {
    if (!wrong.has(i + 1)) { plain += i + 1 + '\n'; return; }
    gutter.append(plain, el('b', {}, String(i + 1)), '\n');
    plain = '';
  });
  gutter.append(plain);
  document.querySelector('.marks').replaceChildren(...[...wrong].map(([line, p]) => {
    const mark = el('div', { className: 'mark', title: p.text });
    mark.style.top = (line - 1) * lineHeight + 'px';
    const token = /^("[^"]*"|[\w.+-]+|.)/.exec(lines[line - 1].slice(p.col - 1))?.[0].length ?? 1;
    const under = el('i'), say = el('span', {}, p.msg + (p.nearest ? ` — did you mean ${p.nearest}?` : ''));
    under.style.left = `calc(${p.col - 1}ch + 6px)`;
    under.style.width = token + 'ch';
    say.style.left = `calc(${lines[line - 1].length + 2}ch + 6px)`;
    mark.append(under, say);
    return mark;
  }));
}

// list lists the problems; a click goes to the place.
function list() {
  $('problems').replaceChildren(...problems.map((p) => {
    const at = p.line ? `${p.line}:${p.col}` : p.file === '--set' ? 'override' : '';
    const more = [p.found && 'found ' + p.found, p.allowed && 'allowed: ' + p.allowed, p.nearest && `did you mean ${p.nearest}?`].filter(Boolean).join(' · ');
    return el('li', {}, el('button', { type: 'button', onclick: () => go(p) }, el('b', {}, at), ' ', [p.key, p.msg].filter(Boolean).join(': '), more && el('small', {}, more)));
  }));
  $('sets').replaceChildren(...sets.map((s, i) => {
    const bad = problems.some((p) => p.file === '--set' && (s.startsWith(p.key + '=') || !p.key));
    return el('li', { className: bad ? 'wrong' : '' }, s, el('button', { type: 'button', className: 'quiet', title: 'remove', ariaLabel: 'remove ' + s, onclick: () => { sets.splice(i, 1); list(); later(0); } }, '×'));
  }));
}

function go(p) {
  if (!p.line) return;
  const lines = text().split('\n');
  const at = lines.slice(0, p.line - 1).reduce((n, l) => n + l.length + 1, 0) + p.col - 1;
  $('toml').focus({ preventScroll: true });
  $('toml').setSelectionRange(at, at);
  $('editor').scrollTo({ top: Math.max((p.line - 4) * lineHeight, 0) });
  help();
}

function override() {
  const key = $('set-key').value.trim(), value = $('set-value').value.trim();
  if (!key || !value) return;
  sets = sets.filter((s) => !s.startsWith(key + '='));
  sets.push(`${key}=${value}`);
  $('set-value').value = '';
  list();
  later(0);
}

// keyAt is the key that the cursor is on: the line's, below the last table before it.
function keyAt() {
  const before = text().slice(0, $('toml').selectionStart);
  const at = before.split('\n').length - 1;
  const lines = text().split('\n');
  const key = /^\s*([\w.-]+)\s*=/.exec(lines[at] ?? '')?.[1];
  for (let i = at; i >= 0; i--) {
    const table = /^\s*\[\[?\s*([\w.-]+)\s*\]/.exec(lines[i])?.[1];
    if (table) return i === at ? table : key ? `${table}.${key}` : '';
  }
  return key ?? '';
}

function help() { explain(keyAt()); }

// explain shows the reference of a key, and its value here; of a table, its keys.
function explain(key) {
  const k = keys.get(key);
  const below = [...keys.keys()].filter((n) => n.startsWith(key + '.'));
  if (!key || (!k && below.length === 0)) return;
  const name = el('p', {}, el('code', {}, key));
  if (!k) {
    $('help').replaceChildren(name, el('p', { className: 'sub' }, 'keys: ' + below.map((n) => n.slice(key.length + 1)).join(', ')));
    return;
  }
  const rows = [['type', k.kind + (k.unit ? ', ' + k.unit : '')], ['default', k.default], ['allowed', k.allowed]];
  const value = checked?.values?.find((o) => o.key === key);
  if (value) rows.push(['here', `${value.value} (${value.from})`]);
  $('help').replaceChildren(name, el('p', {}, k.doc), el('dl', {}, ...rows.flatMap(([t, d]) => [el('dt', {}, t), el('dd', {}, d)])));
}

// origins shows the resolved values.
function origins() {
  const want = $('find').value.toLowerCase();
  const rows = [];
  let section = '';
  for (const o of checked?.values ?? []) {
    if (!o.value || !`${o.key} ${o.value} ${o.from}`.toLowerCase().includes(want)) continue;
    const dot = o.key.lastIndexOf('.');
    const own = dot < 0 ? '' : o.key.slice(0, dot);
    if (own !== section) rows.push(el('tr', { className: 'section' }, el('td', { colSpan: 3 }, `[${section = own}]`)));
    rows.push(el('tr', {}, el('td', { title: keys.get(o.key)?.doc ?? '' }, o.key.slice(dot + 1)), el('td', { className: 'wrap' }, o.value), el('td', { className: 'wrap sub' }, o.from)));
  }
  $('origins').replaceChildren(...rows);
}

async function run() {
  $('run').disabled = true;
  try {
    const view = await post('/api/runs', asked());
    tell(null);
    runs.watch(view.id);
  } catch (e) {
    tell(e);
    if (e.problems) { problems = e.problems; draw(); list(); }
  }
  $('run').disabled = false;
}
