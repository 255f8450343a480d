"use strict";
// Gantt draws a timeline on a canvas: a band for each rank, in it a row for each lane.
// However many slices there are, a frame draws at most one a pixel and row: those that
// are narrower are drawn together, bands of their kinds, as dark as the pixel is busy.
const AXIS = 22, BETWEEN = 7;

class Gantt {
  constructor(tl, canvas, onView) {
    this.tl = tl;
    this.canvas = canvas;
    this.scroller = canvas.parentElement;
    this.spacer = this.scroller.querySelector(".spacer");
    this.onView = onView;
    this.t0 = 0;
    this.t1 = tl.makespan;
    this.hover = this.pinned = -1;
    this.allLanes = true;
    this.found = false;
    this.showPath = false;
    this.printing = false;
    this.most = 12000; // pixels of height: canvases have a limit, and sheets are dear
    this.bins = []; // of a kind: x, y, width, height and alpha of rectangles to be drawn
    this.texts = [];
    this.stats = { frames: 0, rects: 0, rows: 0, width: 0 };
    this.draw = onFrame(() => this.paint());
    this.layout();
    this.scroller.addEventListener("scroll", this.draw);
    new ResizeObserver(() => this.layout()).observe(this.scroller);
  }

  // layout places the rows; their y is from the top of the first rank.
  layout() {
    const rows = [], ranks = this.tl.ranks.length;
    let compute = Math.min(42, Math.max(20, Math.floor(250 / ranks))), other = compute > 30 ? 9 : 7; // few ranks have room
    if (this.printing && ranks > 8) [compute, other] = [Math.max(9, Math.min(20, Math.floor(330 / ranks))), 3]; // on the first sheet, if it can be
    let y = BETWEEN / 2, rank = -1;
    for (const [l, lane] of this.tl.lanes.entries()) {
      const first = lane.rank !== rank;
      if (!first && !this.allLanes) continue;
      if (first && rank >= 0) y += BETWEEN;
      rank = lane.rank;
      const h = first ? compute : other;
      rows.push({ lane: l, y, h, first });
      y += h + 1;
    }
    this.rows = rows;
    this.tops = Float64Array.from(rows, r => r.y);
    this.full = y + BETWEEN / 2;
    this.resize();
  }

  resize() {
    this.width = Math.max(this.scroller.clientWidth, 200);
    this.gutter = this.width < 520 ? 62 : 104;
    const tall = this.printing ? this.full : Math.min(this.full, Math.max(220, Math.round(innerHeight * 0.58)));
    this.height = Math.ceil(Math.min(tall, this.most)) + AXIS;
    const bands = this.rows.filter(r => r.first), there = bands.filter(r => r.y + r.h <= this.most).length;
    $("printed").hidden = !this.printing || there === bands.length;
    $("printed").textContent = `Printed are the first ${there} of ${bands.length} ranks.`;
    this.scroller.style.height = this.height + "px";
    this.spacer.style.height = Math.max(0, this.full - (this.height - AXIS)) + "px";
    this.changed();
  }

  changed() {
    this.draw();
    this.onView();
  }

  get plot() { return this.width - this.gutter - 4; }
  x(t) { return this.gutter + (t - this.t0) / (this.t1 - this.t0) * this.plot; }
  t(x) { return this.t0 + (x - this.gutter) / this.plot * (this.t1 - this.t0); }

  // show sets the times on view; it keeps within the step and to a nanosecond at least.
  show(t0, t1) {
    const all = this.tl.makespan, span = Math.min(Math.max(t1 - t0, 1000), all);
    this.t0 = Math.min(Math.max(t0, 0), all - span);
    this.t1 = this.t0 + span;
    this.changed();
  }

  zoom(factor, x = this.gutter + this.plot / 2) {
    const at = this.t(Math.max(x, this.gutter)), before = this.t1 - this.t0;
    const span = Math.min(before * factor, this.tl.makespan);
    this.show(at - (at - this.t0) * span / before, at + (this.t1 - at) * span / before);
  }

  pan(px) {
    const d = px / this.plot * (this.t1 - this.t0);
    this.show(this.t0 + d, this.t1 + d);
  }

  get wide() { return this.t1 - this.t0 >= this.tl.makespan * 0.9999; }

  // reveal brings a slice on view, and near enough to see it.
  reveal(i, close) {
    const s = this.tl.start[i], e = this.tl.end[i], mid = (s + e) / 2;
    let span = this.t1 - this.t0;
    if (close || (e - s) / span * this.plot < 3) span = Math.max((e - s) * (close ? 1.3 : 40), this.tl.makespan * 1e-5, 1000);
    if (close || span !== this.t1 - this.t0 || s < this.t0 || e > this.t1) this.show(mid - span / 2, mid + span / 2);
    const row = this.rows.find(r => r.lane === this.tl.laneOf(i));
    if (!row) return;
    const top = this.scroller.scrollTop, room = this.height - AXIS;
    if (row.y < top) this.scroller.scrollTop = row.y - BETWEEN;
    else if (row.y + row.h > top + room) this.scroller.scrollTop = row.y + row.h - room + BETWEEN;
  }

  // hit is what lies at a point of the canvas: its row and slice, -1 for none.
  hit(x, y) {
    const at = y - AXIS + this.scroller.scrollTop;
    if (x < this.gutter || y < AXIS) return { row: -1, slice: -1 };
    const row = firstAbove(this.tops, at, 0, this.rows.length) - 1;
    if (row < 0 || at > this.rows[row].y + this.rows[row].h + 1) return { row: -1, slice: -1 };
    const lane = this.rows[row].lane;
    return { row, slice: this.tl.at(lane, this.t(x), 2.5 / this.plot * (this.t1 - this.t0)) };
  }

  paint() {
    const c = painter(this.canvas, this.width, this.height);
    c.fillStyle = colour("card");
    c.fillRect(0, 0, this.width, this.height);
    this.stats = { frames: this.stats.frames + 1, rects: 0, rows: 0, width: this.plot };
    this.fills = this.tl.kinds.map(k => colour("k-" + k));
    this.inks = this.fills.map(inkOn);
    const top = this.printing ? 0 : this.scroller.scrollTop;
    c.save();
    c.beginPath();
    c.rect(0, AXIS, this.width, this.height - AXIS);
    c.clip();
    c.translate(0, AXIS - top);
    let i = Math.max(0, firstAbove(this.tops, top, 0, this.rows.length) - 1);
    for (; i < this.rows.length && this.rows[i].y < top + this.height; i++) this.row(c, this.rows[i]);
    this.outline(c);
    c.restore();
    this.axis(c);
  }

  axis(c) {
    c.font = "11px system-ui, sans-serif";
    c.fillStyle = colour("soft");
    c.strokeStyle = colour("line");
    c.lineWidth = 1;
    c.textBaseline = "middle";
    const far = [1e12, 1e9, 1e6, 1e3].find(s => this.t1 >= s * 1.2) || 1, name = { 1e12: "s", 1e9: "ms", 1e6: "µs", 1e3: "ns", 1: "ps" }[far];
    const list = ticks(this.t0 / far, this.t1 / far, Math.max(2, Math.floor(this.plot / 105)));
    const step = list.length > 1 ? list[1] - list[0] : 1, places = Math.max(0, Math.min(9, -Math.floor(Math.log10(step) + 1e-9)));
    for (const v of list) {
      const x = Math.round(this.x(v * far)) + 0.5;
      c.beginPath();
      c.moveTo(x, AXIS - 4);
      c.lineTo(x, AXIS);
      c.stroke();
      const text = `${v.toFixed(places)} ${name}`, w = c.measureText(text).width;
      c.textAlign = "left";
      c.fillText(text, Math.min(Math.max(x - w / 2, this.gutter), this.width - w - 2), AXIS / 2 - 1);
    }
    c.beginPath();
    c.moveTo(this.gutter, AXIS - 0.5);
    c.lineTo(this.width, AXIS - 0.5);
    c.stroke();
  }

  row(c, r) {
    const tl = this.tl, lane = tl.lanes[r.lane], rank = tl.ranks[lane.rank];
    this.stats.rows++;
    c.fillStyle = colour("idle");
    c.fillRect(this.gutter, r.y, this.plot, r.h);
    if (r.first) {
      c.textAlign = "left";
      c.textBaseline = "middle";
      c.font = "11.5px system-ui, sans-serif";
      c.fillStyle = colour("ink");
      const small = this.gutter < 90, below = small && r.h > 28, of = rank.of > 1 && (!small || below);
      c.fillText(rank.name, 0, r.y + r.h / 2 + (below && of ? -6 : 0.5), this.gutter - (of && !small ? 38 : 4));
      if (of) {
        c.font = "10.5px system-ui, sans-serif";
        c.fillStyle = colour("faint");
        c.textAlign = small ? "left" : "right";
        c.fillText("× " + rank.of, small ? 0 : this.gutter - 6, r.y + r.h / 2 + (below ? 8 : 0.5));
      }
    }
    this.slices(c, lane, r);
  }

  slices(c, lane, r) {
    const { start, end, busy, hits, onPath, kind } = this.tl;
    const k = this.plot / (this.t1 - this.t0);
    let i = firstAbove(end, this.t0, lane.from, lane.to);
    while (i < lane.to && start[i] < this.t1) {
      const a = Math.max(0, (start[i] - this.t0) * k), b = Math.min(this.plot, (end[i] - this.t0) * k);
      let next = i + 1;
      const narrow = b - a < 1, x = narrow ? Math.floor(a) : Math.round(a);
      if (narrow) { // all that start in this pixel, but a wide one at its end
        next = Math.max(next, firstNotBelow(start, this.t0 + (x + 1) / k, i, lane.to));
        if (next - 1 > i && (end[next - 1] - start[next - 1]) * k >= 1) next--;
      }
      const light = (!this.found || hits[next] > hits[i] ? 1 : 0.14) * (this.showPath && onPath[next] === onPath[i] ? 0.3 : 1);
      if (narrow) this.column(i, next, x, r, lane, light * Math.min(1, 0.25 + 0.75 * (busy[next] - busy[i]) * k));
      else {
        const w = Math.max(1, Math.round(b) - x); // whole pixels: neighbours do not blend
        this.rect(this.gutter + x, r.y, w > 4 ? w - 1 : w, r.h, kind[i], light);
        if (r.first && w > 24) this.texts.push([i, this.gutter + x, w, r, light]);
      }
      i = next;
    }
    this.flush(c);
  }

  // rect notes a rectangle of a kind for flush: colours change seldom then, which a
  // canvas is slow at.
  rect(x, y, w, h, kind, alpha) {
    (this.bins[kind] ??= []).push(x, y, w, h, Math.round(alpha * 16) / 16);
    this.stats.rects++;
  }

  flush(c) {
    let last = -1;
    for (const [kind, bin] of this.bins.entries()) {
      if (!bin?.length) continue;
      c.fillStyle = this.fills[kind];
      for (let i = 0; i < bin.length; i += 5) {
        if (bin[i + 4] !== last) c.globalAlpha = last = bin[i + 4];
        c.fillRect(bin[i], bin[i + 1], bin[i + 2], bin[i + 3]);
      }
      bin.length = 0;
    }
    for (const text of this.texts) this.inside(c, ...text);
    this.texts.length = 0;
    c.globalAlpha = 1;
  }

  // column draws slices i to next in one pixel: a band for each kind, as high as its
  // share of their time.
  column(i, next, x, r, lane, alpha) {
    const { busy, byKind } = this.tl, all = busy[next] - busy[i];
    if (all === 0) return;
    let y = r.y;
    for (const kind of lane.kinds) {
      const h = (byKind[kind][next] - byKind[kind][i]) / all * r.h;
      if (h < 0.4) continue;
      this.rect(this.gutter + x, y, 1, h, kind, alpha);
      y += h;
    }
  }

  // inside writes a wide slice's microbatch, and its kernels below where they can be seen.
  inside(c, i, x, w, r, alpha) {
    const tl = this.tl, mb = tl.microbatch[i];
    const kernels = w > 150 && this.kernels(c, i, x, w, r);
    const text = w > 190 ? tl.name(i) : mb >= 0 ? String(mb) : w > 80 ? tl.name(i) : "";
    if (!text) return;
    c.globalAlpha = alpha;
    c.font = `${kernels ? 9.5 : 11}px system-ui, sans-serif`;
    if (c.measureText(text).width > w - 6) return;
    c.fillStyle = this.inks[tl.kind[i]];
    c.textAlign = "center";
    c.textBaseline = "middle";
    c.fillText(text, x + w / 2, r.y + (kernels ? r.h * 0.26 : r.h / 2 + 0.5));
  }

  // stretch is by how much a slice's blocks are drawn longer than their kernels take: what
  // messages slow is spread over them. 0 where the page cannot tell its kernels' times.
  stretch(i) {
    const w = this.tl.work(i);
    const all = (w.b || []).reduce((sum, [b, times]) => sum + (b < 0 ? NaN : this.tl.blocks[b].length * times), 0);
    return all > 0 && !w.p ? (this.tl.end[i] - this.tl.start[i]) / all : 0;
  }

  // kernels draws the kernels of a slice's blocks at its foot; false where it has none.
  kernels(c, i, x, w, r) {
    const tl = this.tl, stretch = this.stretch(i), k = this.plot / (this.t1 - this.t0);
    if (!stretch) return false;
    const y = r.y + r.h * 0.52, h = r.h * 0.48 - 2;
    c.fillStyle = colour("card");
    c.fillRect(x + 1, y, w - 3, h);
    let at = tl.start[i];
    for (const [b, times] of tl.work(i).b) {
      const block = tl.blocks[b], len = block.length * stretch;
      const from = Math.max(0, Math.floor((this.t0 - at) / len)), to = Math.min(times, Math.ceil((this.t1 - at) / len));
      for (let n = from; n < to; n++) {
        const t = at + n * len, px = len * k;
        if (px < 4) { // too narrow to tell kernels apart
          this.bar(c, t, t + len, y, h, n % 2 ? "s4" : "faint", k);
          if (px < 1) n += Math.floor(1 / px) - 1;
          continue;
        }
        for (const op of block.kernels) if (op.t * stretch * k >= 0.7) this.bar(c, t + op.start * stretch, t + (op.start + op.t) * stretch, op.lane ? y + h * 0.6 : y, op.lane ? h * 0.4 : h, kernelColour(op.cls), k);
      }
      at += times * len;
    }
    return true;
  }

  // kernelAt is what a slice runs at a time, where its kernels can be seen; computing
  // goes before messages beside it.
  kernelAt(i, t) {
    const stretch = this.stretch(i), k = this.plot / (this.t1 - this.t0);
    if (!stretch || (this.tl.end[i] - this.tl.start[i]) * k < 150) return null;
    let at = (t - this.tl.start[i]) / stretch;
    for (const [b, times] of this.tl.work(i).b) {
      const { length, kernels } = this.tl.blocks[b];
      if (at < length * times) {
        const within = kernels.filter(op => at % length >= op.start && at % length < op.start + op.t);
        return within.find(op => !op.lane) || within[0] || null;
      }
      at -= length * times;
    }
    return null;
  }

  bar(c, a, b, y, h, name, k) {
    const x0 = Math.max(0, (a - this.t0) * k), x1 = Math.min(this.plot, (b - this.t0) * k);
    if (x1 <= x0) return;
    c.fillStyle = colour(name);
    c.fillRect(this.gutter + x0, y, Math.max(x1 - x0 - 0.4, 0.4), h);
    this.stats.kernels = (this.stats.kernels || 0) + 1;
  }

  // outline frames the slice under the pointer and the pinned one, which an arrow joins
  // to what it waited for.
  outline(c) {
    for (const i of new Set([this.pinned, this.hover])) {
      const box = this.box(i);
      if (!box) continue;
      c.lineWidth = i === this.pinned ? 2 : 1.2;
      c.strokeStyle = colour("mark");
      c.strokeRect(box.x, box.y, box.w, box.h);
      const by = this.box(this.tl.blocker[i]);
      if (!by) continue;
      c.lineWidth = 1.2;
      c.setLineDash([4, 3]);
      c.beginPath();
      c.moveTo(by.x + by.w, by.y + by.h / 2);
      const bend = (by.x + by.w + box.x) / 2;
      c.bezierCurveTo(bend, by.y + by.h / 2, bend, box.y + box.h / 2, box.x, box.y + box.h / 2);
      c.stroke();
      c.setLineDash([]);
    }
  }

  box(i) {
    if (i < 0) return null;
    const r = this.rows.find(row => row.lane === this.tl.laneOf(i));
    const a = Math.max(this.x(this.tl.start[i]), this.gutter - 2), b = Math.min(this.x(this.tl.end[i]), this.width);
    if (!r || b < this.gutter - 2 || a > this.width) return null;
    return { x: a, y: r.y - 0.5, w: Math.max(b - a, 2), h: r.h + 1 };
  }
}

const kernelColour = cls => /_comm$|expert_weights/.test(cls) ? "k-tp_comm"
  : ({ attention: "s3", attention_linear: "s0", mlp: "s7", experts: "s7", recurrent: "s3", graph_attention: "s5", embedding_head: "s5", optimizer: "k-optimizer" })[cls] || "s6";

// Overview is the whole step in a strip: how many compute lanes are busy, and a frame
// around what the Gantt shows.
class Overview {
  constructor(gantt, canvas) {
    this.g = gantt;
    this.canvas = canvas;
    this.draw = onFrame(() => this.paint());
    let grab = null;
    const at = e => (e.offsetX - this.g.gutter) / this.g.plot * this.g.tl.makespan;
    canvas.addEventListener("pointerdown", e => {
      canvas.setPointerCapture(e.pointerId);
      const t = at(e), span = this.g.t1 - this.g.t0;
      grab = t >= this.g.t0 && t <= this.g.t1 && !this.g.wide ? t - this.g.t0 : span / 2;
      this.g.show(t - grab, t - grab + span);
    });
    canvas.addEventListener("pointermove", e => { if (grab !== null) this.g.show(at(e) - grab, at(e) - grab + this.g.t1 - this.g.t0); });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { grab = null; });
  }

  // columns is the share of compute lanes that are busy in each pixel.
  columns(n) {
    if (this.cols?.length === n) return this.cols;
    const tl = this.g.tl, per = tl.makespan / n, cols = new Float64Array(n);
    let lanes = 0, rank = -1;
    for (const lane of tl.lanes) {
      if (lane.rank === rank) continue;
      rank = lane.rank;
      lanes++;
      for (let i = lane.from; i < lane.to; i++) {
        for (let p = Math.floor(tl.start[i] / per); p < n && p * per < tl.end[i]; p++) {
          cols[p] += Math.min(tl.end[i], (p + 1) * per) - Math.max(tl.start[i], p * per);
        }
      }
    }
    for (let p = 0; p < n; p++) cols[p] /= per * Math.max(lanes, 1);
    return this.cols = cols;
  }

  paint() {
    const g = this.g, H = 34, c = painter(this.canvas, g.width, H);
    c.clearRect(0, 0, g.width, H);
    const n = Math.max(1, Math.floor(g.plot)), cols = this.columns(n);
    c.fillStyle = colour("idle");
    c.fillRect(g.gutter, 0, g.plot, H);
    c.fillStyle = colour("faint");
    for (let p = 0; p < n; p++) c.fillRect(g.gutter + p, H - cols[p] * (H - 3), 1, cols[p] * (H - 3));
    c.font = "10.5px system-ui, sans-serif";
    c.textBaseline = "middle";
    c.fillText("lanes busy", 0, H / 2);
    const a = g.gutter + g.t0 / g.tl.makespan * g.plot, b = g.gutter + g.t1 / g.tl.makespan * g.plot;
    c.globalAlpha = 0.62;
    c.fillStyle = colour("card");
    c.fillRect(g.gutter, 0, a - g.gutter, H);
    c.fillRect(b, 0, g.gutter + g.plot - b, H);
    c.globalAlpha = 1;
    c.strokeStyle = colour("accent");
    c.lineWidth = 1.5;
    c.strokeRect(a + 0.75, 0.75, Math.max(b - a - 1.5, 1), H - 1.5);
  }
}
