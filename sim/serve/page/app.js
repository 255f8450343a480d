// What the views share, and which of them is shown.
import * as editor from './editor.js';
import * as runs from './runs.js';
import * as compare from './compare.js';
import * as sweeps from './sweeps.js';

export const $ = (id) => document.getElementById(id);

// el makes an element: el('td', {className: 'n'}, 'text', child).
export function el(tag, props, ...children) {
  const e = Object.assign(document.createElement(tag), props);
  e.append(...children.filter((c) => c !== null && c !== undefined && c !== false));
  return e;
}

// ask fetches JSON; an answer that is an error is thrown with what the server says.
export async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (e) {
    if (e.name === 'AbortError') throw e;
    throw new Error('the server does not answer; is sim serve running?');
  }
  const text = await response.text();
  let value = null;
  try { value = text ? JSON.parse(text) : null; } catch { /* not JSON: told below */ }
  if (response.ok) return value;
  const error = new Error(value?.error ?? `${response.status} ${response.statusText}`);
  error.problems = value?.errors;
  throw error;
}

export const post = (path, body, options = {}) =>
  ask(path, { ...options, method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });

// tell shows an error until the next one that went well.
export function tell(error) {
  if (error?.name === 'AbortError') return;
  $('problem').textContent = error ? error.message : '';
  $('problem').hidden = !error;
}

export const num = (x, digits = 4) => (x !== 0 && Math.abs(x) < 1e-4 ? x.toExponential(digits - 1) : Number(x.toPrecision(digits)).toString());
export const percent = (x, digits = 1) => (100 * x).toFixed(digits) + ' %';

export function seconds(s) {
  const a = Math.abs(s);
  for (const [size, unit] of [[1, 's'], [1e-3, 'ms'], [1e-6, 'µs'], [1e-9, 'ns']]) if (a >= size) return num(s / size) + ' ' + unit;
  return a === 0 ? '0 s' : num(s / 1e-12) + ' ps';
}

export function bytes(n) {
  const a = Math.abs(n);
  for (const [size, unit] of [[2 ** 30, 'GiB'], [2 ** 20, 'MiB'], [2 ** 10, 'KiB']]) if (a >= size) return num(n / size) + ' ' + unit;
  return n + ' B';
}

const views = { scenario: editor, runs, compare, sweeps };

// show shows the view that the address names: #compare?a=1&b=2.
function show() {
  const [name, query] = location.hash.slice(1).split('?');
  const current = name in views ? name : 'scenario';
  for (const v of Object.keys(views)) $(v).hidden = v !== current;
  for (const a of document.querySelectorAll('nav a')) {
    if (a.hash === '#' + current) a.setAttribute('aria-current', 'page');
    else a.removeAttribute('aria-current');
  }
  views[current].show?.(new URLSearchParams(query));
}

for (const v of Object.values(views)) v.start();
addEventListener('hashchange', show);
show();
