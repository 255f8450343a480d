"use strict";
// Timeline is the step of the page as typed arrays, an entry a slice, lane by lane.
class Timeline {
  constructor(d) {
    this.ranks = d.ranks;
    this.labels = d.labels;
    this.works = d.works;
    this.blocks = d.blocks;
    this.kinds = d.kinds;
    this.makespan = d.makespan;
    this.lanes = d.lanes;
    this.left = d;
    const n = this.n = d.lanes.reduce((sum, l) => sum + l.n, 0);
    this.start = new Float64Array(n);
    this.end = new Float64Array(n);
    this.label = new Uint32Array(n);
    this.microbatch = new Int32Array(n);
    this.blocker = new Int32Array(n); // -1 none, -2 not on the page
    this.kind = new Uint8Array(n);
    this.busy = new Float64Array(n + 1); // sum of durations before a slice
    this.onPath = new Uint32Array(n + 1); // slices of the critical path before one
    this.hits = new Uint32Array(n + 1); // found slices before one
    const s = new Stream(d.slices);
    let i = 0;
    for (const lane of d.lanes) {
      lane.from = i;
      let end = 0;
      for (let k = 0; k < lane.n; k++, i++) {
        const w = d.works[d.labels[this.label[i] = s.u()].w];
        this.microbatch[i] = s.u() - 1;
        this.start[i] = end + s.u();
        this.end[i] = end = this.start[i] + w.t + s.z();
        this.kind[i] = w.k;
        this.busy[i + 1] = this.busy[i] + this.end[i] - this.start[i];
        const b = s.u();
        this.blocker[i] = b === 0 ? -1 : b === 1 ? i - 1 : b === 2 ? -2 : i + ((b - 3) % 2 ? -(b - 2) / 2 : (b - 3) / 2);
      }
      lane.to = i;
    }
    this.sumKinds();
    this.readPath(d);
    this.readKernels(d);
  }

  // sumKinds adds up durations by kind, for what is drawn together.
  sumKinds() {
    this.byKind = []; // of a kind: sum of its durations before a slice
    for (const lane of this.lanes) {
      lane.kinds = [...new Set(this.kind.subarray(lane.from, lane.to))].sort((a, b) => a - b);
      for (const k of lane.kinds) this.byKind[k] ??= new Float64Array(this.n + 1);
    }
    for (const [k, sums] of this.byKind.entries()) {
      if (!sums) continue;
      for (let i = 0; i < this.n; i++) sums[i + 1] = sums[i] + (this.kind[i] === k ? this.end[i] - this.start[i] : 0);
    }
  }

  readPath(d) {
    const s = new Stream(d.path);
    this.path = new Int32Array(d.pathLen);
    const on = new Uint8Array(this.n);
    for (let k = 0, at = 0; k < d.pathLen; k++) {
      this.path[k] = at += s.z();
      on[at] = 1;
    }
    for (let i = 0; i < this.n; i++) this.onPath[i + 1] = this.onPath[i] + on[i];
  }

  readKernels(d) {
    const s = new Stream(d.kernels), text = () => d.strings[s.u()];
    for (const b of this.blocks) {
      b.length = 0;
      b.kernels = [];
      for (let k = 0; k < b.k; k++) {
        const op = { name: text(), cls: text(), shape: text(), source: text(), note: text(), lane: s.u(), start: s.u(), t: s.u(), err: s.u() / 1e4 };
        b.kernels.push(op);
        b.length = Math.max(b.length, op.start + op.t);
      }
    }
  }

  work(i) { return this.works[this.labels[this.label[i]].w]; }
  kindName(i) { return this.kinds[this.kind[i]]; }
  isOnPath(i) { return this.onPath[i + 1] > this.onPath[i]; }
  isHit(i) { return this.hits[i + 1] > this.hits[i]; }

  name(i) { return this.labels[this.label[i]].t.replace("#", this.microbatch[i]); }

  laneOf(i) {
    let lo = 0, hi = this.lanes.length - 1;
    while (lo < hi) {
      const mid = (lo + hi + 1) >>> 1;
      if (this.lanes[mid].from <= i) lo = mid; else hi = mid - 1;
    }
    return lo;
  }

  where(i) {
    const lane = this.lanes[this.laneOf(i)];
    return `${this.ranks[lane.rank].name}, ${lane.name}`;
  }

  // at is the slice of a lane at a time, or the nearest within slack; -1 for none.
  at(lane, t, slack) {
    const { from, to } = this.lanes[lane];
    let best = -1, far = slack;
    for (let i = Math.max(from, firstAbove(this.end, t - slack, from, to)); i < to && this.start[i] <= t + slack; i++) {
      const off = t < this.start[i] ? this.start[i] - t : t > this.end[i] ? t - this.end[i] : 0;
      if (off < far || off === 0) { best = i; far = off; }
      if (off === 0 && this.end[i] > this.start[i] || this.start[i] > t) break;
    }
    return best;
  }

  // search marks the slices whose name, work, kind or kernels have all words of a text;
  // mb:N asks for a microbatch. It returns their number.
  search(text) {
    const parts = text.toLowerCase().split(/\s+/).filter(Boolean);
    const mbs = parts.filter(p => /^mb:\d+$/.test(p)).map(p => +p.slice(3));
    const need = parts.filter(p => !/^mb:\d+$/.test(p));
    const of = this.labels.map(l => {
      const w = this.works[l.w];
      const kernels = need.length ? (w.b || []).flatMap(([b]) => b < 0 ? [] : this.blocks[b].found ??= this.blocks[b].kernels.map(k => k.name + " " + words(k.cls)).join(" ").toLowerCase()) : [];
      const all = `${l.t} ${w.n} ${words(this.kinds[w.k])} ${w.shape || ""}`.toLowerCase() + " " + kernels.join(" ");
      return need.every(p => all.includes(p)) ? 1 : 0;
    });
    for (let i = 0; i < this.n; i++) {
      const hit = parts.length && of[this.label[i]] && mbs.every(m => m === this.microbatch[i]) ? 1 : 0;
      this.hits[i + 1] = this.hits[i] + hit;
    }
    return this.hits[this.n];
  }

  sources(i) {
    return (this.work(i).s || []).map(s => s.p > 0.9995 ? s.s : `${percentText(s.p)} ${s.s}`).join(", ");
  }

  // facts of a slice as pairs of name and text.
  facts(i) {
    const w = this.work(i), d = this.end[i] - this.start[i], b = this.blocker[i];
    const of = this.ranks[this.lanes[this.laneOf(i)].rank].of;
    const blocks = (w.b || []).filter(([x]) => x >= 0).map(([x, times]) => `${times} × ${this.blocks[x].n}`).join(", ");
    const parts = [[w.x, "waiting for messages"], [w.c, "slowed by messages"], [w.h, "launching"]].filter(([v]) => v > 0).map(([v, what]) => `${timeText(v, 3)} ${what}`).join(", ");
    return [
      ["where", this.where(i) + (of > 1 ? ` (stands for ${of} GPUs)` : "")],
      ["time", `${timeText(this.start[i], 6)} to ${timeText(this.end[i], 6)}`],
      ["price", w.t ? `${timeText(d)} ± ${percentText(w.e)}` : "nothing: a barrier"],
      ["of it", parts],
      ["source", [this.sources(i), w.note].filter(Boolean).join("; ")],
      ["shape", w.shape || blocks],
      ["class", words(this.kindName(i))],
      ["waited for", b === -1 ? "nothing" : b === -2 ? "an op that is not on this page" : `${this.name(b)} (${this.where(b)})`],
    ];
  }
}
