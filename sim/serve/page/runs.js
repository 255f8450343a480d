// Runs: the server tells their changes, all views read them here.
import { $, el, ask, tell, num, percent, seconds } from './app.js';
import * as editor from './editor.js';
import * as compare from './compare.js';

const phases = ['planning', 'packing', 'routing', 'lowering', 'pricing', 'simulating', 'summarising', 'writing the report', 'writing the trace'];

const known = new Map(); // views by number
let order = []; // numbers, newest first
let evicted = 0;
let watched = ''; // the run that the editor started last
let keep = 0;

export const done = () => order.map((id) => known.get(id)).filter((r) => r?.state === 'done');
export const title = (r) => `${r.id}: ${r.scenario}${r.sets.length ? ' · ' + r.sets.join(', ') : ''}`;

export function start() {
  ask('/api/about').then((a) => { keep = a.keep; draw(); }).catch(tell);
  const events = new EventSource('/api/events');
  events.onopen = () => { $('lost').hidden = true; };
  events.onerror = () => { $('lost').hidden = false; }; // the browser tries again by itself
  events.addEventListener('runs', (e) => {
    const news = JSON.parse(e.data);
    for (const r of news.changed) known.set(r.id, r);
    order = news.ids ?? [];
    evicted = news.evicted;
    for (const id of known.keys()) if (!order.includes(id)) known.delete(id);
    draw();
    compare.choices();
  });
}

export function show() { draw(); }

// watch shows a run beside the scenario.
export function watch(id) {
  watched = id;
  draw();
}

const open = (r) => r.state === 'queued' || r.state === 'running';

const word = (r) => el('span', { className: 'state ' + ({ done: 'good', failed: 'bad' }[r.state] ?? '') }, r.state === 'running' ? r.phase : r.state);

function bar(r) {
  const p = el('progress', { max: phases.length, ariaLabel: 'progress' });
  if (r.state === 'running') p.value = phases.indexOf(r.phase) + 0.5;
  return p;
}

const act = (name, why, what) => el('button', { type: 'button', className: 'quiet', title: why, onclick: what }, name);

async function remove(r) {
  try { await ask('/api/runs/' + r.id, { method: 'DELETE' }); } catch (e) { tell(e); }
}

async function reopen(r) {
  try {
    const text = await fetch(`/api/runs/${r.id}/scenario`);
    if (!text.ok) throw new Error(`the scenario of run ${r.id} is not there any more`);
    editor.edit(r.scenario, await text.text(), r.sets);
    location.hash = '#scenario';
  } catch (e) { tell(e); }
}

function links(r) {
  if (open(r)) return [act('cancel', 'end this run', () => remove(r))];
  const out = [];
  if (r.state === 'done') {
    out.push(r.no_report ? el('span', { className: 'sub', title: r.no_report }, 'no report') : el('a', { href: `/runs/${r.id}/report`, target: '_blank', rel: 'noopener' }, 'report'));
    out.push(r.no_trace ? el('span', { className: 'sub', title: r.no_trace }, 'no trace') : el('a', { href: `/runs/${r.id}/trace`, title: 'timeline, for ui.perfetto.dev' }, 'trace'));
    const other = done().find((o) => o.id !== r.id);
    if (other) out.push(el('a', { href: `#compare?a=${other.id}&b=${r.id}` }, 'compare'));
  }
  out.push(act('edit', 'take its scenario into the editor', () => reopen(r)), act('delete', 'forget this run', () => remove(r)));
  return out;
}

function cards(r) {
  const s = r.summary;
  const card = (big, small, bad) => el('div', { className: 'card' }, el('b', { className: bad ? 'bad' : '' }, big), el('span', {}, small));
  return el('div', { className: 'cards' },
    card(seconds(s.step_time_s), `step ± ${percent(s.step_time_rel_error, 0)}`), card(Math.round(s.tokens_per_s_per_gpu).toString(), 'tokens/s/GPU'),
    card(percent(s.mfu), 'MFU'), card(percent(s.bubble_fraction), 'bubble'),
    card(num(s.peak_memory_gib, 3) + ' GiB', s.fits ? 'fits' : 'does not fit', !s.fits));
}

function draw() {
  const active = order.filter((id) => open(known.get(id))).length;
  $('active').textContent = active;
  $('active').hidden = active === 0;
  const now = known.get(watched);
  $('now').hidden = !now;
  if (now) {
    $('now').replaceChildren(el('div', {}, `run ${now.id} · `, word(now)), open(now) ? bar(now) : '', now.error ? el('p', { className: 'bad' }, now.error) : '',
      now.summary ? cards(now) : '', el('div', { className: 'links' }, ...links(now)));
  }
  if ($('runs').hidden) return;
  $('kept').textContent = (keep ? `The latest ${keep} that are over are kept.` : '') + (evicted ? ` ${evicted} made room for others.` : '');
  const head = ['run', 'scenario', 'state', 'step', 'tok/s/GPU', 'MFU', 'bubble', 'peak GiB'];
  const number = (t) => el('td', { className: 'n' }, t);
  const rows = order.map((id) => {
    const r = known.get(id), s = r.summary;
    const what = el('td', { className: 'wrap' }, r.scenario, ...r.sets.map((x) => el('div', { className: 'sub' }, x)), r.error ? el('div', { className: 'bad' }, r.error) : '', el('div', { className: 'links' }, ...links(r)));
    const figures = s ? [number(seconds(s.step_time_s)), number(Math.round(s.tokens_per_s_per_gpu)), number(percent(s.mfu)), number(percent(s.bubble_fraction)), el('td', { className: 'n ' + (s.fits ? '' : 'bad'), title: s.fits ? '' : 'does not fit' }, num(s.peak_memory_gib, 3))]
      : [el('td', { colSpan: 5 }, open(r) ? bar(r) : '')];
    return el('tr', {}, el('td', {}, r.id), what, el('td', {}, word(r)), ...figures);
  });
  $('list').replaceChildren(el('tr', {}, ...head.map((h, i) => el('th', { className: i >= 3 ? 'n' : '' }, h))), ...rows);
  if (!rows.length) $('list').replaceChildren(el('tr', {}, el('td', { className: 'sub' }, 'No runs yet.')));
}
