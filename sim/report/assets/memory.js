"use strict";
// MemoryChart stacks what a rank holds over the times that the Gantt shows.
const MEMORY_HEIGHT = 250;

class MemoryChart {
  constructor(d, makespan, canvas, view) {
    this.d = d;
    this.makespan = makespan;
    this.canvas = canvas;
    this.view = view; // returns the times on view
    this.curves = [];
    this.cursor = -1;
    this.draw = onFrame(() => this.paint());
    this.use(0);
    new ResizeObserver(this.draw).observe(canvas.parentElement);
    const at = e => this.point(e.clientX - canvas.getBoundingClientRect().left, e.clientX, e.clientY);
    canvas.addEventListener("pointermove", at);
    canvas.addEventListener("pointerdown", at);
    canvas.addEventListener("pointerleave", () => this.away());
    canvas.addEventListener("blur", () => this.away());
    canvas.addEventListener("keydown", e => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[e.key];
      if (!by) return;
      e.preventDefault();
      const box = canvas.getBoundingClientRect();
      const x = Math.min(Math.max(this.cursor < 0 ? this.gutter + this.plot / 2 : this.cursor + by * (e.shiftKey ? 40 : 6), this.gutter), this.gutter + this.plot);
      this.point(x, box.left + x, box.top + MEMORY_HEIGHT / 2);
    });
  }

  // curve of a rank: times, and bytes by class at each, read once.
  curve(rank) {
    if (this.curves[rank]) return this.curves[rank];
    const r = this.d.ranks[rank], n = this.d.classes.length, s = new Stream(r.points);
    const at = new Float64Array(r.n + 1), by = this.d.classes.map(() => new Float64Array(r.n + 1));
    for (let i = 1; i <= r.n; i++) {
      at[i] = at[i - 1] + s.u();
      for (let c = 0; c < n; c++) by[c][i] = by[c][i - 1] + s.z();
    }
    const sum = at.map((_, i) => by.reduce((v, b) => v + b[i], 0));
    return this.curves[rank] = { at, by, sum, peak: sum.reduce((a, b) => Math.max(a, b), 0) };
  }

  use(rank) {
    this.rank = rank;
    this.shown = this.curve(rank);
    const r = this.d.ranks[rank];
    this.parts = r.held.map((p, i) => ({ name: p.n, colour: "s" + [0, 2, 3, 6, 7, 4][i % 6], bytes: p.b }))
      .concat(this.d.classes.map((name, c) => ({ name, colour: ["s1", "s5", "s4"][c % 3], of: c })));
    const key = $("memory-key");
    key.replaceChildren(...this.parts.map(p => el("span", null, swatch(p.colour), words(p.name) + (p.bytes ? " " + bytesText(p.bytes) : ""))));
    $("memory-note").textContent = r.atPeak.length
      ? `The peak of the tables also counts ${r.atPeak.map(p => `${words(p.n)} (${bytesText(p.b)})`).join(" and ")}, there within a pass and not drawn.` : "";
    this.draw();
  }

  // bytes of a part at a point.
  bytes(part, i) { return part.bytes ?? this.shown.by[part.of][i]; }

  // index of the point that holds at a time.
  index(t) { return Math.max(0, firstAbove(this.shown.at, t, 0, this.shown.at.length) - 1); }

  // fullest is the point of most bytes in [a, b).
  fullest(a, b) {
    const { at, sum } = this.shown;
    let best = this.index(a);
    for (let i = best + 1; i < at.length && at[i] < b; i++) if (sum[i] > sum[best]) best = i;
    return best;
  }

  paint() {
    const W = Math.max(this.canvas.parentElement.clientWidth, 200), H = MEMORY_HEIGHT, foot = 20;
    this.gutter = W < 520 ? 62 : 104;
    this.plot = W - this.gutter - 4;
    const c = painter(this.canvas, W, H), [t0, t1] = this.view();
    c.fillStyle = colour("card");
    c.fillRect(0, 0, W, H);
    const held = this.parts.reduce((sum, p) => sum + (p.bytes || 0), 0), peak = held + this.shown.peak;
    const cap = this.d.capacity, top = cap < peak * 1.9 ? Math.max(cap, peak) * 1.06 : peak * 1.12;
    const y = b => 6 + (1 - b / top) * (H - foot - 6);
    c.font = "11px system-ui, sans-serif";
    c.textBaseline = "middle";
    c.textAlign = "left";
    for (const v of ticks(0, top / 2 ** 30, 6)) {
      const at = Math.round(y(v * 2 ** 30)) + 0.5;
      c.strokeStyle = colour("line");
      c.lineWidth = 1;
      c.beginPath();
      c.moveTo(this.gutter, at);
      c.lineTo(W - 4, at);
      c.stroke();
      c.fillStyle = colour("soft");
      c.fillText(`${v} GiB`, 0, at);
    }
    this.areas(c, y, t0, t1);
    if (cap <= top) {
      c.strokeStyle = colour("bad");
      c.setLineDash([5, 4]);
      c.beginPath();
      c.moveTo(this.gutter, y(cap));
      c.lineTo(W - 4, y(cap));
      c.stroke();
      c.setLineDash([]);
      const text = `the GPU has ${bytesText(cap)}`;
      c.fillStyle = colour("card"); // so that it can be read on what is stacked higher
      c.fillRect(W - 12 - c.measureText(text).width, y(cap) + 3, c.measureText(text).width + 8, 14);
      c.fillStyle = colour("bad");
      c.textAlign = "right";
      c.fillText(text, W - 8, y(cap) + 10);
    }
    c.fillStyle = colour("soft");
    for (const [t, align, x] of [[t0, "left", this.gutter], [(t0 + t1) / 2, "center", this.gutter + this.plot / 2], [t1, "right", W - 4]]) {
      c.textAlign = align;
      c.fillText(timeText(t), x, H - 8);
    }
    if (this.cursor >= 0) {
      c.strokeStyle = colour("mark");
      c.beginPath();
      c.moveTo(Math.round(this.cursor) + 0.5, 4);
      c.lineTo(Math.round(this.cursor) + 0.5, H - foot);
      c.stroke();
    }
  }

  areas(c, y, t0, t1) {
    const n = Math.floor(this.plot), per = (t1 - t0) / n, at = new Int32Array(n);
    for (let p = 0; p < n; p++) at[p] = this.fullest(t0 + p * per, t0 + (p + 1) * per);
    const low = new Float64Array(n);
    for (const part of this.parts) {
      c.fillStyle = colour(part.colour);
      c.globalAlpha = 0.86;
      for (let p = 0; p < n;) { // what stays as it is is one rectangle
        const from = p, under = low[p], high = under + this.bytes(part, at[p]);
        for (; p < n && low[p] === under && under + this.bytes(part, at[p]) === high; p++) low[p] = high;
        if (high > under) c.fillRect(this.gutter + from, y(high), p - from, y(under) - y(high));
      }
    }
    c.globalAlpha = 1;
  }

  point(x, clientX, clientY) {
    if (x < this.gutter || x > this.gutter + this.plot) return this.away();
    const [t0, t1] = this.view(), per = (t1 - t0) / this.plot, t = t0 + (x - this.gutter) * per;
    const i = this.fullest(t, t + per);
    const held = this.parts.map(p => [p, this.bytes(p, i)]);
    this.cursor = x;
    this.draw();
    tip.show(clientX, clientY, el("b", null, bytesText(held.reduce((sum, [, b]) => sum + b, 0))),
      rows([["rank", this.d.ranks[this.rank].name], ["at", timeText(t)], ...held.reverse().map(([p, b]) => [words(p.name), bytesText(b)])]));
  }

  away() {
    this.cursor = -1;
    tip.hide();
    this.draw();
  }
}
