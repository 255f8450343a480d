// Sweeps: their points as a table with a filter, two figures of them as dots.
import { $, el, ask, tell, num } from './app.js';

const less = ['step_time_s', 'peak_memory_gib', 'bubble_fraction', 'exposed_comm_fraction', 'step_time_rel_error']; // is better
const more = ['tokens_per_s_per_gpu', 'mfu', 'model_tflops_per_gpu', 'hardware_tflops_per_gpu'];
const drawn = 500; // rows of the table

let sweep = null; // columns, rows
let sorted = { column: 0, down: false };
let chosen = null; // a row

export function start() {
  $('sweep').addEventListener('change', () => { location.hash = '#sweeps?of=' + encodeURIComponent($('sweep').value); });
  for (const id of ['x', 'y', 'filter']) $(id).addEventListener('input', draw);
}

export async function show(query) {
  try {
    const list = await ask('/api/sweeps');
    $('sweep').replaceChildren(...list.sweeps.map((s) => el('option', { value: s }, s)));
    $('points').hidden = true;
    if (!list.dir) { $('sweep-note').textContent = 'The server was started without --dir, the folder in which sweeps are looked for.'; return; }
    if (!list.sweeps.length) { $('sweep-note').textContent = 'There is no sweep in the folder: sim sweep SPEC.toml --out DIR/NAME makes one.'; return; }
    $('sweep-note').textContent = list.note ?? '';
    $('sweep').value = query.get('of') ?? list.sweeps[0];
    sweep = await ask('/api/sweeps/' + $('sweep').value.split('/').map(encodeURIComponent).join('/'));
    $('sweep-note').textContent = [`${sweep.rows.length} points`, sweep.note, list.note].filter(Boolean).join('; ');
    chosen = null;
    axes();
    $('points').hidden = false;
    draw();
    tell(null);
  } catch (e) { tell(e); }
}

function axes() {
  const numeric = sweep.columns.filter((_, i) => sweep.rows.some((r) => typeof r[i] === 'number'));
  for (const [id, first] of [['x', 'peak_memory_gib'], ['y', 'tokens_per_s_per_gpu']]) {
    const was = $(id).value;
    $(id).replaceChildren(...numeric.map((c) => el('option', { value: c }, c)));
    $(id).value = numeric.includes(was) ? was : numeric.includes(first) ? first : numeric[0];
  }
}

// condition reads "mfu > 0.4" or a word that a row contains; null is not understood.
function condition(text) {
  const m = /^(\S+)\s*(<=|>=|!=|=|<|>)\s*(.+)$/.exec(text);
  if (!m) return (row) => row.some((v) => String(v ?? '').toLowerCase().includes(text.toLowerCase()));
  const i = sweep.columns.indexOf(m[1].replaceAll('.', '_'));
  if (i < 0) return null;
  const want = m[3].trim(), x = Number(want);
  return (row) => {
    const v = row[i];
    if (m[2] === '=' || m[2] === '!=') return (typeof v === 'number' ? v === x : String(v ?? '') === want) === (m[2] === '=');
    if (typeof v !== 'number') return false;
    return { '<': v < x, '>': v > x, '<=': v <= x, '>=': v >= x }[m[2]];
  };
}

function selected() {
  const conditions = $('filter').value.split(',').map((t) => t.trim()).filter(Boolean).map(condition);
  $('filter').setCustomValidity(conditions.includes(null) ? 'no such column' : '');
  $('filter').classList.toggle('bad', conditions.includes(null));
  return sweep.rows.filter((r) => conditions.every((c) => !c || c(r)));
}

function draw() {
  const rows = selected();
  const { column, down } = sorted;
  const order = (a, b) => (typeof a === 'number' && typeof b === 'number' ? a - b : String(a ?? '').localeCompare(String(b ?? '')));
  rows.sort((a, b) => (a[column] === null) - (b[column] === null) || (down ? -1 : 1) * order(a[column], b[column]));
  const shown = sweep.columns.map((c, i) => [c, i]).filter(([c, i]) => c !== 'id' && rows.some((r) => r[i] !== null));
  const text = (v) => (v === null ? '' : typeof v === 'number' ? num(v) : String(v));
  $('rows').replaceChildren(
    el('tr', {}, ...shown.map(([c, i]) => el('th', { title: 'sort', onclick: () => { sorted = { column: i, down: column === i && !down }; draw(); } }, c + (column === i ? (down ? ' ↓' : ' ↑') : '')))),
    ...rows.slice(0, drawn).map((r) => el('tr', { className: r === chosen ? 'on' : '', onclick: () => { chosen = r; draw(); } }, ...shown.map(([, i]) => el('td', { className: typeof r[i] === 'number' ? 'n' : '' }, text(r[i]))))));
  if (rows.length > drawn) $('rows').append(el('tr', {}, el('td', { colSpan: shown.length, className: 'sub' }, `and ${rows.length - drawn} more; filter to see them`)));
  scatter(rows);
}

const svg = (tag, attributes, text) => {
  const e = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  if (text !== undefined) e.textContent = text;
  return e;
};

// scatter draws two columns as dots, and the front where it is known what is better.
function scatter(rows) {
  const w = 1120, h = 360, left = 70, bottom = 40, top = 12;
  const [xi, yi, si] = [$('x').value, $('y').value, 'status'].map((c) => sweep.columns.indexOf(c));
  const dots = rows.filter((r) => typeof r[xi] === 'number' && typeof r[yi] === 'number');
  const out = svg('svg', { viewBox: `0 0 ${w} ${h}`, role: 'img', 'aria-label': `${$('y').value} over ${$('x').value}` });
  const scale = (i, from, to) => {
    let lo = Math.min(...dots.map((r) => r[i])), hi = Math.max(...dots.map((r) => r[i]));
    if (lo === hi) [lo, hi] = [lo - Math.abs(lo) / 2 - 1e-9, hi + Math.abs(hi) / 2 + 1e-9];
    return { lo, hi, at: (v) => from + ((v - lo) / (hi - lo)) * (to - from) };
  };
  if (!dots.length) { $('scatter').replaceChildren(el('p', { className: 'sub' }, 'no points with both figures')); return; }
  const x = scale(xi, left, w - 16), y = scale(yi, h - bottom, top);
  for (let i = 0; i <= 4; i++) {
    const vx = x.lo + ((x.hi - x.lo) * i) / 4, vy = y.lo + ((y.hi - y.lo) * i) / 4;
    out.append(svg('line', { class: 'grid', x1: left, x2: w - 16, y1: y.at(vy), y2: y.at(vy) }), svg('text', { class: 'axis', x: left - 8, y: y.at(vy) + 4, 'text-anchor': 'end' }, num(vy, 3)),
      svg('text', { class: 'axis', x: x.at(vx), y: h - bottom + 16, 'text-anchor': i === 0 ? 'start' : i === 4 ? 'end' : 'middle' }, num(vx, 3)));
  }
  out.append(svg('text', { class: 'axis', x: w / 2, y: h - 6, 'text-anchor': 'middle' }, `${$('x').value}, and over it ${$('y').value}`));
  const sign = (c) => (less.includes(c) ? 1 : more.includes(c) ? -1 : 0);
  const [sx, sy] = [sign($('x').value), sign($('y').value)];
  if (sx && sy) {
    let best = Infinity;
    const front = dots.filter((r) => si < 0 || r[si] === 'ok').sort((a, b) => sx * (a[xi] - b[xi]) || sy * (a[yi] - b[yi])).filter((r) => sy * r[yi] < best && ((best = sy * r[yi]), true));
    out.append(svg('polyline', { class: 'front', points: front.map((r) => `${x.at(r[xi])},${y.at(r[yi])}`).join(' ') }));
  }
  for (const r of dots) {
    const dot = svg('circle', { class: `dot ${si >= 0 && r[si] !== 'ok' ? 'out' : ''} ${r === chosen ? 'on' : ''}`, cx: x.at(r[xi]), cy: y.at(r[yi]), r: r === chosen ? 6 : 4 });
    dot.append(svg('title', {}, `point ${r[0]}: ${num(r[xi])}, ${num(r[yi])}`));
    dot.addEventListener('click', () => { chosen = r; draw(); document.querySelector('#rows tr.on')?.scrollIntoView({ block: 'nearest' }); });
    out.append(dot);
  }
  $('scatter').replaceChildren(out);
}
