"use strict";
// How people move in the Gantt: pointer, touch, wheel, keys, search, critical path.
class Explorer {
  constructor(gantt) {
    this.g = gantt;
    this.tl = gantt.tl;
    this.selected = -1;
    this.pointers = new Map();
    const area = gantt.scroller;
    area.addEventListener("wheel", e => this.wheel(e), { passive: false });
    area.addEventListener("pointerdown", e => this.down(e));
    area.addEventListener("pointermove", e => this.move(e));
    for (const end of ["pointerup", "pointercancel"]) area.addEventListener(end, e => this.up(e, end === "pointerup"));
    area.addEventListener("pointerleave", () => this.leave());
    area.addEventListener("dblclick", e => { const i = this.under(e).slice; if (i >= 0) this.g.reveal(i, true); });
    area.addEventListener("keydown", e => this.key(e));
    area.addEventListener("blur", () => tip.hide());
    this.buttons();
  }

  under(e) {
    const box = this.g.canvas.getBoundingClientRect();
    return this.g.hit(e.clientX - box.left, e.clientY - box.top);
  }

  wheel(e) {
    if (e.shiftKey || Math.abs(e.deltaX) > Math.abs(e.deltaY)) {
      e.preventDefault();
      this.g.pan(e.deltaX || e.deltaY);
      return;
    }
    if (e.deltaY > 0 && this.g.wide) return; // nothing to zoom out of: the page scrolls
    e.preventDefault();
    const unit = e.deltaMode === 1 ? 18 : 1;
    this.g.zoom(Math.exp(Math.max(-240, Math.min(240, e.deltaY * unit)) * 0.0022), e.clientX - this.g.canvas.getBoundingClientRect().left);
    this.hoverAt(e);
  }

  down(e) {
    if (e.target !== this.g.canvas || e.button > 0) return;
    this.pointers.set(e.pointerId, { x: e.clientX, y: e.clientY });
    this.moved = 0;
  }

  move(e) {
    const p = this.pointers.get(e.pointerId);
    if (!p) { if (e.pointerType !== "touch") this.hoverAt(e); return; }
    const dx = e.clientX - p.x, dy = e.clientY - p.y;
    if (this.pointers.size === 2) this.pinch(e.pointerId, e);
    else if (this.moved + Math.abs(dx) + Math.abs(dy) > 4) {
      if (!this.g.scroller.hasPointerCapture(e.pointerId)) this.g.scroller.setPointerCapture(e.pointerId);
      this.g.scroller.classList.add("drag");
      tip.hide();
      this.g.pan(-dx);
      if (e.pointerType !== "touch") this.g.scroller.scrollTop -= dy;
    } else return;
    this.moved += Math.abs(dx) + Math.abs(dy);
    this.pointers.set(e.pointerId, { x: e.clientX, y: e.clientY });
  }

  pinch(id, e) {
    const [other] = [...this.pointers].filter(([k]) => k !== id).map(([, v]) => v), p = this.pointers.get(id);
    const before = Math.abs(p.x - other.x), now = Math.abs(e.clientX - other.x);
    if (before > 8 && now > 8) this.g.zoom(before / now, (e.clientX + other.x) / 2 - this.g.canvas.getBoundingClientRect().left);
  }

  up(e, clicked) {
    if (!this.pointers.delete(e.pointerId)) return;
    this.g.scroller.classList.remove("drag");
    if (!clicked || this.moved > 4) return;
    const { slice } = this.under(e);
    if (slice >= 0) this.pin(slice); else this.unpin();
  }

  leave() {
    if (this.pointers.size) return;
    this.g.hover = -1;
    this.g.draw();
    tip.hide();
  }

  hoverAt(e) {
    const { slice } = this.under(e);
    if (slice !== this.g.hover) {
      this.g.hover = slice;
      this.g.draw();
    }
    if (slice < 0) return tip.hide();
    const k = this.g.kernelAt(slice, this.g.t(e.clientX - this.g.canvas.getBoundingClientRect().left));
    const kernel = k && [["kernel", `${k.name}: ${timeText(k.t, 3)} ± ${percentText(k.err)}, ${k.source}`], ["its shape", k.shape]];
    tip.show(e.clientX, e.clientY, el("b", null, this.tl.name(slice)), rows([...(kernel || []), ...this.tl.facts(slice)]));
  }

  // select moves the keyboard's slice, shows its tip beside it and says it aloud.
  select(i, close) {
    if (i < 0) return;
    if (!this.g.rows.some(r => r.lane === this.tl.laneOf(i))) $("lanes-all").click(); // its lane is hidden
    this.selected = this.g.hover = i;
    this.g.reveal(i, close);
    this.g.draw();
    const box = this.g.box(i), at = this.g.canvas.getBoundingClientRect();
    const y = box ? at.top + AXIS + box.y + box.h - this.g.scroller.scrollTop : at.top;
    tip.show(at.left + Math.max(box ? box.x : 0, this.g.gutter), y, el("b", null, this.tl.name(i)), rows(this.tl.facts(i)));
    $("spoken").textContent = [this.tl.name(i), ...this.tl.facts(i).filter(([, v]) => v).map(([k, v]) => `${k} ${v}`)].join("; ");
  }

  key(e) {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const i = this.selected >= 0 ? this.selected : 0;
    const does = {
      ArrowRight: () => this.step(1), ArrowLeft: () => this.step(-1), ArrowDown: () => this.lane(1), ArrowUp: () => this.lane(-1),
      "+": () => this.g.zoom(0.6, this.focusX()), "=": () => this.g.zoom(0.6, this.focusX()), "-": () => this.g.zoom(1 / 0.6, this.focusX()),
      "0": () => this.g.show(0, this.tl.makespan), Home: () => this.g.show(0, this.tl.makespan),
      a: () => this.g.pan(-this.g.plot / 5), d: () => this.g.pan(this.g.plot / 5), PageUp: () => this.g.pan(-this.g.plot), PageDown: () => this.g.pan(this.g.plot),
      Enter: () => this.pin(i), " ": () => this.pin(i), Escape: () => { this.unpin(); tip.hide(); },
      b: () => this.select(this.tl.blocker[i]), n: () => this.hop(1), N: () => this.hop(-1), "[": () => this.along(-1), "]": () => this.along(1),
      "/": () => $("search").focus(),
    }[e.key];
    if (!does) return;
    e.preventDefault();
    does();
  }

  focusX() {
    const box = this.selected >= 0 && this.g.box(this.selected);
    return box ? box.x + box.w / 2 : undefined;
  }

  step(by) {
    if (this.selected < 0) return this.select(0);
    const { from, to } = this.tl.lanes[this.tl.laneOf(this.selected)];
    this.select(Math.min(Math.max(this.selected + by, from), to - 1));
  }

  lane(by) {
    if (this.selected < 0) return this.select(0);
    const here = this.g.rows.findIndex(r => r.lane === this.tl.laneOf(this.selected));
    const row = this.g.rows[Math.min(Math.max(here + by, 0), this.g.rows.length - 1)];
    const mid = (this.tl.start[this.selected] + this.tl.end[this.selected]) / 2;
    this.select(this.tl.at(row.lane, mid, this.tl.makespan));
  }

  // hop goes to the next slice that the search found, in order of lanes and time.
  hop(by) {
    const { hits, n } = this.tl, all = hits[n];
    if (!all) return;
    const seen = this.selected < 0 ? 0 : hits[this.selected] + (by > 0 ? (this.tl.isHit(this.selected) ? 1 : 0) : 0);
    const want = this.selected < 0 && by < 0 ? all - 1 : ((by > 0 ? seen : seen - 1) + all) % all;
    this.select(firstAbove(hits, want, 0, n + 1) - 1);
    this.countHits(want + 1);
  }

  countHits(at) {
    const all = this.tl.hits[this.tl.n];
    $("hits").textContent = this.g.found ? (at ? `${at} of ${all}` : `${all} found`) : "";
  }

  // along goes to the next op of the critical path.
  along(by) {
    const path = this.tl.path;
    if (!path.length) return;
    let k = path.indexOf(this.selected);
    if (k < 0 && this.selected >= 0) { // the one before this time
      k = 0;
      while (k + 1 < path.length && this.tl.start[path[k + 1]] <= this.tl.start[this.selected]) k++;
      if (by > 0) k--;
    } else if (k < 0) k = by > 0 ? -1 : path.length;
    k = Math.min(Math.max(k + by, 0), path.length - 1);
    this.select(path[k]);
    $("path-at").textContent = `${k + 1} of ${path.length}`;
  }

  pin(i) {
    this.g.pinned = this.selected = i;
    this.g.draw();
    const blocker = this.tl.blocker[i], box = $("detail");
    box.replaceChildren(el("h3", null, this.tl.name(i)), rows(this.tl.facts(i)),
      el("div", { class: "acts" },
        blocker >= 0 ? el("button", { type: "button", onclick: () => { this.select(blocker); this.pin(blocker); } }, "Go to what it waited for") : null,
        el("button", { type: "button", onclick: () => this.g.reveal(i, true) }, "Zoom to it"),
        el("button", { type: "button", onclick: () => this.unpin() }, "Close")),
      this.kernelTable(i));
    box.hidden = false;
  }

  unpin() {
    this.g.pinned = -1;
    $("detail").hidden = true;
    this.g.draw();
  }

  kernelTable(i) {
    const w = this.tl.work(i), uses = w.b || [];
    if (!uses.length) return null;
    const body = el("tbody");
    let left = 0;
    for (const [b, times] of uses) {
      if (b < 0) { left += times; continue; }
      for (const k of this.tl.blocks[b].kernels) {
        body.append(el("tr", null, el("td", null, `${this.tl.blocks[b].n}${times > 1 ? " × " + times : ""}`), el("td", null, k.name),
          el("td", { class: "n" }, timeText(k.t, 3)), el("td", { class: "n" }, "± " + percentText(k.err)), el("td", { title: k.note }, k.source), el("td", null, k.shape)));
      }
    }
    const head = el("tr", null, ...["block", "kernel"].map(t => el("th", null, t)), el("th", { class: "n" }, "time each"), el("th", { class: "n" }, "error"), el("th", null, "source"), el("th", null, "shape"));
    return el("div", { class: "scroll", tabindex: "0" },
      left ? el("p", { class: "note" }, `The kernels of ${left} blocks of this op are not on the page, which holds those of the first works only.`) : null,
      el("table", null, el("thead", null, head), body));
  }

  buttons() {
    const on = (id, does) => $(id).addEventListener("click", does);
    on("zoom-in", () => this.g.zoom(0.5, this.focusX()));
    on("zoom-out", () => this.g.zoom(2, this.focusX()));
    on("zoom-all", () => this.g.show(0, this.tl.makespan));
    on("hit-next", () => this.hop(1));
    on("hit-prev", () => this.hop(-1));
    on("path-next", () => this.along(1));
    on("path-prev", () => this.along(-1));
    const toggle = (id, set) => on(id, () => {
      const now = $(id).getAttribute("aria-pressed") !== "true";
      $(id).setAttribute("aria-pressed", now);
      set(now);
    });
    toggle("path-show", now => { this.g.showPath = now; this.g.draw(); });
    toggle("lanes-all", now => { this.g.allLanes = now; this.g.layout(); });
    const box = $("search");
    box.addEventListener("input", () => {
      this.tl.search(box.value);
      this.g.found = box.value.trim() !== "";
      this.countHits();
      this.g.draw();
    });
    box.addEventListener("keydown", e => {
      if (e.key === "Enter") { e.preventDefault(); this.hop(e.shiftKey ? -1 : 1); }
      if (e.key === "Escape") { box.value = ""; box.dispatchEvent(new Event("input")); this.g.scroller.focus(); }
    });
  }
}
