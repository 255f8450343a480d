// What tells one run from another: the parts add up to the difference exactly.
import { $, el, ask, tell, num, percent, seconds, bytes } from './app.js';
import * as runs from './runs.js';

let shown = '';

export function start() {
  for (const side of ['side-a', 'side-b']) $(side).addEventListener('change', address);
  $('swap').addEventListener('click', () => {
    [$('side-a').value, $('side-b').value] = [$('side-b').value, $('side-a').value];
    address();
  });
}

function address() { location.hash = `#compare?a=${$('side-a').value}&b=${$('side-b').value}`; }

// choices fills the selects with the runs that are done.
export function choices() {
  const list = runs.done();
  for (const side of ['side-a', 'side-b']) {
    const was = $(side).value;
    $(side).replaceChildren(...list.map((r) => el('option', { value: r.id }, runs.title(r))));
    if (list.some((r) => r.id === was)) $(side).value = was;
  }
  if (!$('compare').hidden) show(new URLSearchParams(location.hash.split('?')[1]));
}

export async function show(query) {
  const list = runs.done();
  if (list.length < 2) {
    $('comparison').replaceChildren(el('p', { className: 'sub' }, 'Two runs that are done can be compared.'));
    shown = '';
    return;
  }
  $('side-b').value = query.get('b') ?? list[0].id;
  $('side-a').value = query.get('a') ?? list[1].id;
  const [a, b] = [$('side-a').value, $('side-b').value];
  if (!a || !b || shown === `${a} ${b}`) return;
  shown = `${a} ${b}`;
  try {
    draw(await ask(`/api/compare?a=${a}&b=${b}`));
    tell(null);
  } catch (e) { shown = ''; tell(e); }
}

const head = (...names) => el('tr', {}, ...names.map((n, i) => el('th', { className: i > 0 && i < 4 ? 'n' : '' }, n)));
const cell = (t, className = 'n') => el('td', { className }, t);

function draw(c) {
  const out = [];
  out.push(el('h2', {}, 'What was changed'));
  if (!c.a.inputs_known || !c.b.inputs_known) out.push(el('p', { className: 'sub' }, 'What was asked is not known of a run of an older version.'));
  else if (!c.inputs.length) out.push(el('p', { className: 'sub' }, 'Both ask the same.'));
  else out.push(el('div', { className: 'panel' }, el('table', { id: 'inputs' }, el('tr', {}, ...['key', 'A', 'B', 'because'].map((h) => el('th', {}, h))),
    ...c.inputs.map((i) => el('tr', {}, el('td', {}, el('code', {}, i.key)), cell(i.a || '–', 'wrap'), cell(i.b || '–', 'wrap'), cell(i.from_b || 'none in B', 'wrap sub'))))));
  for (const n of c.notes) out.push(el('p', { className: 'note' }, n));
  const metrics = c.metrics.filter((m) => m.a !== m.b);
  if (metrics.length) out.push(el('h2', {}, 'Figures'), el('div', { className: 'panel' }, el('table', {}, head('', 'A', 'B', 'change'),
    ...metrics.map((m) => el('tr', {}, cell(m.name.replaceAll('_', ' '), ''), cell(num(m.a)), cell(num(m.b)), cell(m.a ? signed(m.change, percent) : ''))))));
  out.push(...fall('Where the step differs (mean rank)', 'step', c.step_ps, (ps) => seconds(ps / 1e12)));
  out.push(...fall('Memory at the peak', 'memory', c.peak_memory_bytes, bytes));
  out.push(el('p', { className: 'note' }, `peak of A: ${c.a.peak_of}; of B: ${c.b.peak_of}`));
  $('comparison').replaceChildren(...out);
}

const signed = (v, format) => (v > 0 ? '+' : '') + format(v);

// fall is a table whose bars lead from A's whole, part by part, to B's.
function fall(title, id, split, format) {
  const top = Math.max(split.a, split.b, 1);
  const bar = (from, to, className) => {
    const i = el('i', { className });
    i.style.left = (100 * Math.min(from, to)) / top + '%';
    i.style.width = (100 * Math.abs(to - from)) / top + '%';
    return el('td', { className: 'fall' }, i);
  };
  const row = (className, name, a, b, change, ...rest) => el('tr', { className }, cell(name.replaceAll('_', ' '), ''), cell(format(a)), cell(format(b)), cell(change === 0 ? '0' : signed(change, format)), ...rest);
  const rows = [el('tr', { className: 'total' }, cell('A', ''), cell(format(split.a)), cell(''), cell(''), bar(0, split.a, 'whole'))];
  let at = split.a;
  for (const g of split.groups) {
    const line = row('', g.name, g.a, g.b, g.change, g.change ? bar(at, at + g.change, g.change > 0 ? 'more' : 'less') : cell('', 'fall'));
    at += g.change;
    rows.push(line);
    if (g.rows.length > 1) for (const r of g.rows) if (Math.abs(r.change) * 1000 >= top) rows.push(row('part', r.name, r.a, r.b, r.change, cell('', 'fall')));
  }
  rows.push(el('tr', { className: 'total' }, cell('B', ''), cell(''), cell(format(split.b)), cell(signed(split.change, format)), bar(0, split.b, 'whole')));
  return [el('h2', {}, title), el('div', { className: 'panel' }, el('table', { id }, head('', 'A', 'B', 'change', ''), ...rows))];
}
