"use strict";
// The page of points: a scatter of two columns with its front, filters and a table.
const POINTS_HEIGHT = 420, MOST_ROWS = 400, MOST_CHIPS = 14;

class Points {
  constructor(d) {
    this.d = d;
    this.n = d.names.length;
    this.canvas = $("points");
    this.ok = d.status.at.map(v => d.status.values[v - 1] === "ok");
    // Axes: columns, and settings whose values are all numbers.
    this.axes = d.columns.map((c, i) => ({ ...c, label: c.name + (c.unit ? ` (${c.unit})` : ""), of: d.values[i] }));
    for (const s of d.settings) {
      if (s.values.length > 1 && s.values.every(v => v !== "" && !isNaN(v))) this.axes.push({ key: s.key, name: s.key, label: s.key, unit: "", better: "", of: s.at.map(v => v ? +s.values[v - 1] : null) });
    }
    this.varied = d.settings.filter(s => s.values.length > 1 || s.at.includes(0));
    this.hidden = new Map(); // of a setting's key: numbers of values that are filtered out
    this.range = new Map(); // of a setting's key: [from, to]
    this.log = { x: false, y: false };
    this.at = this.chosen = -1;
    this.sort = { key: "", up: true };
    this.draw = onFrame(() => this.paint());
    this.controls();
    this.filters();
    this.update();
    new ResizeObserver(this.draw).observe(this.canvas.parentElement);
    onTheme.push(() => { this.legend(); this.draw(); });
    forPrint(() => this.paint(), () => this.draw());
  }

  controls() {
    const pick = (id, options, value, does) => {
      $(id).append(...options.map(([v, text]) => el("option", { value: v }, text)));
      $(id).value = value;
      $(id).addEventListener("change", () => does($(id).value));
    };
    const axes = this.axes.map((a, i) => [i, a.label]), find = (key, other) => Math.max(0, key ? this.axes.findIndex(a => a.key === key) : Math.min(other, this.axes.length - 1));
    this.x = find(this.d.x, 0);
    this.y = find(this.d.y, 1);
    pick("x", axes, this.x, v => { this.x = +v; this.update(); });
    pick("y", axes, this.y, v => { this.y = +v; this.update(); });
    const start = this.varied.findIndex(s => s.values.length > 1);
    this.by = start < 0 ? "status" : this.varied[start].key;
    pick("colour", [["status", "status"], ...this.varied.map(s => [s.key, s.key])], this.by, v => { this.by = v; this.update(); });
    const toggle = (id, set) => $(id).addEventListener("click", () => {
      const now = $(id).getAttribute("aria-pressed") !== "true";
      $(id).setAttribute("aria-pressed", now);
      set(now);
      this.update();
    });
    this.others = !this.ok.includes(true);
    $("others").setAttribute("aria-pressed", this.others);
    toggle("others", now => { this.others = now; });
    toggle("front-only", now => { this.frontOnly = now; });
    for (const a of ["x", "y"]) toggle(a + "-log", now => { this.log[a] = now; });
    const where = e => { const b = this.canvas.getBoundingClientRect(); return this.near(e.clientX - b.left, e.clientY - b.top); };
    this.canvas.addEventListener("pointermove", e => this.point(where(e), e.clientX, e.clientY));
    this.canvas.addEventListener("pointerleave", () => this.point(-1));
    this.canvas.addEventListener("blur", () => this.point(-1));
    this.canvas.addEventListener("click", e => { const i = where(e); if (i >= 0) this.choose(i); });
    this.canvas.addEventListener("keydown", e => this.key(e));
    $("copy").addEventListener("click", () => this.copy());
  }

  key(e) {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[e.key];
    if (e.key === "Enter" && this.at >= 0) { e.preventDefault(); this.choose(this.at); }
    if (e.key === "Escape") this.point(-1);
    if (!by || !this.drawn.length) return;
    e.preventDefault();
    const line = [...this.drawn].sort((a, b) => this.px[a] - this.px[b] || a - b);
    const k = line.indexOf(this.at), i = line[k < 0 ? (by > 0 ? 0 : line.length - 1) : Math.min(Math.max(k + by, 0), line.length - 1)];
    const box = this.canvas.getBoundingClientRect();
    this.point(i, box.left + this.px[i], box.top + this.py[i]);
  }

  filters() {
    for (const s of [this.d.status, ...this.varied]) {
      if (s.values.length < 2) continue;
      const row = el("div", { class: "row" }, el("span", null, s.key));
      const order = s.values.map((_, i) => i).sort((a, b) => byNumber(s.values[a], s.values[b]));
      if (s.values.length > MOST_CHIPS && s.values.every(v => !isNaN(v))) {
        const all = order.map(i => +s.values[i]), ends = [el("input", { type: "number", step: "any", value: all[0], "aria-label": s.key + " from" }), el("input", { type: "number", step: "any", value: all.at(-1), "aria-label": s.key + " to" })];
        for (const e of ends) e.addEventListener("input", () => { this.range.set(s.key, ends.map(x => +x.value)); this.update(); });
        row.append(ends[0], "to", ends[1]);
      } else {
        for (const i of order) {
          row.append(el("button", { type: "button", "aria-pressed": "true", "data-key": s.key, "data-value": s.values[i], onclick: e => {
            const off = this.hidden.get(s.key) || new Set();
            this.hidden.set(s.key, off);
            if (!off.delete(i + 1)) off.add(i + 1);
            e.currentTarget.setAttribute("aria-pressed", !off.has(i + 1));
            this.update();
          } }, s.values[i]));
        }
      }
      $("filters").append(row);
    }
  }

  passes(i) {
    if (!this.others && !this.ok[i]) return false;
    for (const s of [this.d.status, ...this.varied]) {
      if (this.hidden.get(s.key)?.has(s.at[i])) return false;
      const r = this.range.get(s.key);
      if (r && s.at[i] && !(+s.values[s.at[i] - 1] >= r[0] && +s.values[s.at[i] - 1] <= r[1])) return false;
    }
    return true;
  }

  // update works out what is shown after a choice.
  update() {
    const X = this.axes[this.x], Y = this.axes[this.y];
    let shown = [];
    for (let i = 0; i < this.n; i++) if (this.passes(i)) shown.push(i);
    const judged = X.better && Y.better;
    this.front = judged ? front(shown.filter(i => this.ok[i]), X.of, Y.of, X.better, Y.better) : [];
    this.inFront = new Set(this.front);
    if (this.frontOnly && judged) shown = shown.filter(i => this.inFront.has(i));
    this.shown = shown;
    const usable = i => X.of[i] != null && Y.of[i] != null && (!this.log.x || X.of[i] > 0) && (!this.log.y || Y.of[i] > 0);
    const drawn = shown.filter(usable);
    this.drawn = drawn.filter(i => !this.inFront.has(i)).concat(drawn.filter(i => this.inFront.has(i))); // the front on top
    const words = [`${this.drawn.length} of ${this.n} points drawn`];
    const hidden = this.others ? 0 : this.ok.filter(ok => !ok).length;
    if (hidden) words.push(`${hidden} do not count`);
    if (shown.length > this.drawn.length) words.push(`${shown.length - this.drawn.length} have no value on these axes`);
    words.push(judged ? `${this.front.length} on the front (${X.better} ${X.name}, ${Y.better} ${Y.name})` : "no front: neither way is better on one of the axes");
    $("said").textContent = words.join("; ") + ".";
    this.legend();
    this.table();
    this.draw();
  }

  get setting() { return this.by === "status" ? this.d.status : this.d.settings.find(s => s.key === this.by); }

  // hue of a point by the setting chosen: a colour each for few values, a scale for many.
  hue(v) {
    const s = this.setting, order = this.order ??= new Map(s.values.map((_, i) => i).sort((a, b) => byNumber(s.values[a], s.values[b])).map((i, k) => [i + 1, k]));
    if (!v) return colour("faint");
    return s.values.length <= 8 ? colour("s" + order.get(v)) : between(order.get(v) / (s.values.length - 1));
  }

  legend() {
    this.order = null;
    const s = this.setting, order = s.values.map((_, i) => i).sort((a, b) => byNumber(s.values[a], s.values[b]));
    const few = order.length <= 8 ? order : [order[0], order[order.length >> 1], order.at(-1)];
    $("key").replaceChildren(el("span", null, s.key), ...few.map(i => {
      const dot = swatch("ink");
      dot.firstChild.style.fill = this.hue(i + 1);
      return el("span", null, dot, s.values[i]);
    }), this.others ? el("span", null, "○ does not count") : "");
  }

  scale(axis, log, from, to) {
    const f = log ? Math.log10 : v => v, all = this.drawn.map(i => f(axis.of[i]));
    let lo = all.reduce((a, b) => Math.min(a, b), Infinity), hi = all.reduce((a, b) => Math.max(a, b), -Infinity);
    if (!(hi > lo)) { lo = (isFinite(lo) ? lo : 0) - 0.5; hi = lo + 1; }
    const room = (hi - lo) * 0.06;
    lo -= room; hi += room;
    const at = v => from + (f(v) - lo) / (hi - lo) * (to - from);
    const marks = log ? this.decades(lo, hi) : ticks(lo, hi, Math.abs(to - from) / 80);
    return { at, marks };
  }

  decades(lo, hi) {
    const steps = hi - lo > 2.5 ? [1] : hi - lo > 0.9 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 8];
    const out = [];
    for (let e = Math.floor(lo); e <= hi; e++) for (const s of steps) if (Math.log10(s) + e >= lo && Math.log10(s) + e <= hi) out.push(s * 10 ** e);
    return out;
  }

  paint() {
    const W = Math.max(this.canvas.parentElement.clientWidth, 200), H = W < 520 ? 320 : POINTS_HEIGHT, c = painter(this.canvas, W, H);
    const X = this.axes[this.x], Y = this.axes[this.y], left = 58, foot = 40;
    c.fillStyle = colour("card");
    c.fillRect(0, 0, W, H);
    const sx = this.scale(X, this.log.x, left, W - 10), sy = this.scale(Y, this.log.y, H - foot, 20);
    c.font = "11px system-ui, sans-serif";
    c.lineWidth = 1;
    c.textBaseline = "middle";
    const line = (x0, y0, x1, y1) => { c.beginPath(); c.moveTo(x0, y0); c.lineTo(x1, y1); c.stroke(); };
    c.strokeStyle = colour("line");
    c.fillStyle = colour("soft");
    for (const v of sx.marks) {
      const x = Math.round(sx.at(v)) + 0.5;
      line(x, 20, x, H - foot);
      c.textAlign = "center";
      c.fillText(digits(v, 4).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, ""), x, H - foot + 11);
    }
    for (const v of sy.marks) {
      const y = Math.round(sy.at(v)) + 0.5;
      line(left, y, W - 10, y);
      c.textAlign = "right";
      c.fillText(digits(v, 4).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, ""), left - 7, y);
    }
    c.fillStyle = colour("ink");
    c.textAlign = "right";
    c.fillText(X.label + (X.better ? `, ${X.better} is better` : ""), W - 10, H - 9);
    c.textAlign = "left";
    c.fillText(Y.label + (Y.better ? `, ${Y.better} is better` : ""), 0, 8);
    this.px = new Float64Array(this.n);
    this.py = new Float64Array(this.n);
    for (const i of this.drawn) { this.px[i] = sx.at(X.of[i]); this.py[i] = sy.at(Y.of[i]); }
    this.line(c);
    const many = this.drawn.length > 3000, size = many ? 2.5 : 4.5;
    c.lineWidth = 1.3;
    for (const i of this.drawn) {
      const best = this.inFront.has(i), x = this.px[i], y = this.py[i];
      c.fillStyle = c.strokeStyle = this.hue(this.setting.at[i]);
      c.globalAlpha = best ? 1 : 0.75;
      if (many && !best) { // squares are drawn faster
        if (this.ok[i]) c.fillRect(x - 2, y - 2, 4, 4); else c.strokeRect(x - 2, y - 2, 4, 4);
        continue;
      }
      c.beginPath();
      c.arc(x, y, best ? size + 1 : size, 0, 7);
      if (this.ok[i]) c.fill(); else c.stroke();
      if (best) { c.strokeStyle = colour("mark"); c.stroke(); }
    }
    c.globalAlpha = 1;
    for (const i of [this.chosen, this.at]) {
      if (i < 0 || !this.drawn.includes(i)) continue;
      c.beginPath();
      c.arc(this.px[i], this.py[i], size + 5, 0, 7);
      c.strokeStyle = colour("mark");
      c.lineWidth = 1.6;
      c.stroke();
    }
  }

  // line joins the front in steps: nothing was tried between its points.
  line(c) {
    const f = this.front.filter(i => this.drawn.includes(i));
    if (f.length < 2) return;
    c.strokeStyle = colour("mark");
    c.globalAlpha = 0.55;
    c.lineWidth = 1.4;
    c.beginPath();
    f.forEach((i, k) => {
      if (k === 0) return c.moveTo(this.px[i], this.py[i]);
      c.lineTo(this.px[i], this.py[f[k - 1]]);
      c.lineTo(this.px[i], this.py[i]);
    });
    c.stroke();
    c.globalAlpha = 1;
  }

  near(x, y) {
    let best = -1, far = 18 * 18;
    for (const i of this.drawn) {
      const d = (this.px[i] - x) ** 2 + (this.py[i] - y) ** 2;
      if (d < far) { best = i; far = d; }
    }
    return best;
  }

  text(c, v) {
    if (v == null) return "";
    if (Number.isInteger(v) && v > 1) return v + (c.unit ? " " + c.unit : "");
    const percent = c.unit === "" && Math.abs(v) <= 1.5 && c.better !== "" ? percentText(v) : null;
    return percent || digits(v, 4) + (c.unit ? " " + c.unit : "");
  }

  facts(i) {
    const d = this.d, note = d.notes.at[i] ? d.notes.values[d.notes.at[i] - 1] : "";
    return [["status", d.status.values[d.status.at[i] - 1]], ["", note],
      ...d.columns.map((c, k) => [c.name, this.text(c, d.values[k][i])]),
      ...d.settings.filter(s => s.at[i]).map(s => [s.key, s.values[s.at[i] - 1]])];
  }

  point(i, clientX, clientY) {
    if (i !== this.at) { this.at = i; this.draw(); }
    if (i < 0) return tip.hide();
    tip.show(clientX, clientY, el("b", null, `point ${this.d.names[i]}${this.inFront.has(i) ? ", on the front" : ""}`), rows(this.facts(i)));
  }

  sets(i) {
    return this.d.settings.filter(s => s.at[i]).map(s => "--set " + shell(`${s.key}=${s.values[s.at[i] - 1]}`)).join(" ");
  }

  choose(i) {
    this.chosen = i;
    $("chosen").hidden = false;
    $("command").value = [this.d.command, this.sets(i)].filter(Boolean).join(" ");
    for (const tr of document.querySelectorAll("#table tbody tr")) tr.classList.toggle("on", +tr.dataset.point === i);
    this.copy();
    this.draw();
  }

  async copy() {
    const box = $("command");
    try {
      await navigator.clipboard.writeText(box.value);
      $("copied").textContent = "copied";
    } catch { // not allowed here: leave it selected
      box.select();
      $("copied").textContent = "selected: press Ctrl+C";
    }
  }

  table() {
    const d = this.d, front = this.inFront;
    const cols = [{ name: "point", of: i => d.names[i], text: i => d.names[i] }, { name: "status", of: i => d.status.at[i], text: i => d.status.values[d.status.at[i] - 1] },
      ...this.varied.map(s => ({ name: s.key, n: s.values.every(v => !isNaN(v)), of: i => s.at[i] ? s.values[s.at[i] - 1] : "", text: i => s.at[i] ? s.values[s.at[i] - 1] : "" })),
      ...d.columns.map((c, k) => [c, k]).filter(([, k]) => new Set(d.values[k].filter(v => v != null)).size > 1).map(([c, k]) => ({ name: c.name + (c.unit ? ` (${c.unit})` : ""), n: true, of: i => d.values[k][i], text: i => this.text({ ...c, unit: "", better: c.unit ? "" : c.better }, d.values[k][i]) }))];
    const heads = cols.map(c => el("th", { class: c.n && "n", "aria-sort": this.sort.key === c.name ? (this.sort.up ? "ascending" : "descending") : null }, el("button", { type: "button", onclick: () => {
      this.sort = { key: c.name, up: this.sort.key === c.name ? !this.sort.up : true };
      this.table();
    } }, c.name.replace(/[._]/g, "$&\u200b") + (this.sort.key === c.name ? (this.sort.up ? " ↑" : " ↓") : ""))));
    $("table").tHead.replaceChildren(el("tr", null, ...heads));
    const by = cols.find(c => c.name === this.sort.key), up = this.sort.up ? 1 : -1, Y = this.axes[this.y], sy = Y.better === "lower" ? 1 : -1;
    // Unsorted: the front first, then what counts, each from the best.
    const list = [...this.shown].sort(by ? (a, b) => up * byNumber(by.of(a) ?? Infinity, by.of(b) ?? Infinity) || a - b
      : (a, b) => front.has(b) - front.has(a) || this.ok[b] - this.ok[a] || sy * ((Y.of[a] ?? Infinity * sy) - (Y.of[b] ?? Infinity * sy)) || a - b);
    $("table").tBodies[0].replaceChildren(...list.slice(0, MOST_ROWS).map(i => el("tr", { "data-point": i, tabindex: "0", class: [this.ok[i] ? "" : "off", i === this.chosen ? "on" : ""].join(" ").trim(), onclick: () => this.choose(i), onkeydown: e => { if (e.key === "Enter") this.choose(i); } },
      ...cols.map((c, k) => el("td", { class: c.n && "n" }, k === 0 && front.has(i) ? el("b", null, c.text(i) + " ◆") : c.text(i))))));
    $("more").textContent = list.length > MOST_ROWS ? `The first ${MOST_ROWS} of ${list.length} points; ◆ is on the front.` : "◆ is on the front. Click a point for its --set line.";
  }
}

startTheme();
window.orrery = new Points(JSON.parse($("data").textContent));
