// Sweeps: the folders that hold one; each has a page of its points.
import { $, el, ask, tell } from './app.js';

export function start() {}

export async function show() {
  try {
    const list = await ask('/api/sweeps');
    const empty = list.dir ? 'There is no sweep in the folder: sim sweep SPEC.toml --out DIR/NAME makes one.'
      : 'The server was started without --dir, the folder in which sweeps are looked for.';
    $('sweep-note').textContent = [list.sweeps.length ? 'Each opens as a page of its points, with their Pareto front and filters.' : empty, list.note].filter(Boolean).join(' ');
    $('folders').hidden = !list.sweeps.length;
    $('sweep-list').replaceChildren(...list.sweeps.map((s) => el('tr', {}, el('td', {},
      el('a', { href: '/sweeps/' + s.split('/').map(encodeURIComponent).join('/'), target: '_blank', rel: 'noopener' }, s)))));
    tell(null);
  } catch (e) { tell(e); }
}
