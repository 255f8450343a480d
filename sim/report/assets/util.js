"use strict";
// What both pages share: numbers for people, elements, themes, charts' plumbing.

const $ = id => document.getElementById(id);

// el makes an element; text and elements are its children.
function el(tag, attrs, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attrs || {})) {
    if (k.startsWith("on")) e.addEventListener(k.slice(2), v);
    else if (v === true) e.setAttribute(k, "");
    else if (v !== false && v != null) e.setAttribute(k, v);
  }
  e.append(...children.filter(c => c != null));
  return e;
}

// rows makes a list of names and values; those without a value are left out.
function rows(pairs) {
  const dl = el("dl");
  for (const [name, value] of pairs) if (value != null && value !== "") dl.append(el("dt", null, name), el("dd", null, value));
  return dl;
}

function digits(x, n) {
  if (x === 0) return "0";
  const a = Math.abs(x);
  if (a >= 10 ** n || a < 1e-4) return a >= 10 ** n && a < 1e7 ? Math.round(x).toString() : x.toExponential(n - 1);
  return x.toFixed(Math.max(0, n - 1 - Math.floor(Math.log10(a))));
}

// timeText is a time in ps, in the unit that reads best.
function timeText(ps, n = 4) {
  const a = Math.abs(ps);
  if (a === 0) return "0 s";
  for (const [size, name] of [[1e12, "s"], [1e9, "ms"], [1e6, "µs"], [1e3, "ns"]]) if (a >= size) return digits(ps / size, n) + " " + name;
  return ps + " ps";
}

function bytesText(b) {
  const a = Math.abs(b);
  for (const [size, name] of [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]]) if (a >= size) return digits(b / size, 4) + " " + name;
  return Math.round(b) + " B";
}

const percentText = x => (100 * x).toFixed(1) + " %";

// words of a name in the data.
const words = s => s.replaceAll("_", " ");

// Stream reads the variable-length integers of a base64 text.
class Stream {
  constructor(text) {
    const raw = atob(text);
    this.b = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) this.b[i] = raw.charCodeAt(i);
    this.at = 0;
  }
  u() { // beyond 31 bits by multiplication: shifts are of 32 bits
    let x = 0, scale = 1;
    for (;;) {
      const c = this.b[this.at++];
      x += (c & 127) * scale;
      if (c < 128) return x;
      scale *= 128;
    }
  }
  z() {
    const x = this.u();
    return x % 2 ? -(x + 1) / 2 : x / 2;
  }
}

// firstAbove is the first i in [lo, hi) with a[i] > v, else hi; a ascends.
function firstAbove(a, v, lo, hi) {
  while (lo < hi) {
    const mid = (lo + hi) >>> 1;
    if (a[mid] > v) hi = mid; else lo = mid + 1;
  }
  return lo;
}

// firstNotBelow is the first i in [lo, hi) with a[i] >= v, else hi, looking near lo first.
function firstNotBelow(a, v, lo, hi) {
  let step = 1, end = lo;
  while (end < hi && a[end] < v) { lo = end + 1; end += step; step *= 2; }
  end = Math.min(end, hi);
  while (lo < end) {
    const mid = (lo + end) >>> 1;
    if (a[mid] >= v) end = mid; else lo = mid + 1;
  }
  return lo;
}

// ticks are round values in [lo, hi], at most n + 1.
function ticks(lo, hi, n) {
  const raw = (hi - lo) / Math.max(n, 1);
  if (!(raw > 0)) return [];
  const base = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map(f => f * base).find(s => s >= raw * 0.999);
  const out = [];
  for (let i = Math.ceil(lo / step - 1e-9); i * step <= hi * (1 + 1e-12); i++) out.push(i * step);
  return out;
}

// painter sizes a canvas to w x h CSS pixels and returns its context.
function painter(canvas, w, h) {
  const r = Math.min(window.devicePixelRatio || 1, 3);
  if (canvas.width !== Math.round(w * r) || canvas.height !== Math.round(h * r)) {
    canvas.width = Math.round(w * r);
    canvas.height = Math.round(h * r);
    canvas.style.height = h + "px";
  }
  const c = canvas.getContext("2d");
  c.setTransform(r, 0, 0, r, 0, 0);
  return c;
}

// onFrame returns a function that has draw run once in the next frame.
function onFrame(draw) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; draw(); });
  };
}

// Colours of the theme, by the names of CSS variables.
const colour = (() => {
  let known = {};
  const get = name => known[name] ??= getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  get.forget = () => { known = {}; };
  return get;
})();

const onTheme = [];
function themeChanged() {
  colour.forget();
  for (const f of onTheme) f();
}

const darkNow = () => (document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";

function startTheme() {
  const button = $("theme");
  const say = () => { button.textContent = darkNow() ? "Light" : "Dark"; };
  try { // a file opened from a disk may have no storage
    const kept = localStorage.getItem("orrery-theme");
    if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
  } catch { /* the system's theme it is */ }
  say();
  button.addEventListener("click", () => {
    const next = darkNow() ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    try { localStorage.setItem("orrery-theme", next); } catch { /* not kept */ }
    say();
    themeChanged();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { say(); themeChanged(); });
}

// forPrint runs before and after printing: paper is light.
function forPrint(before, after) {
  let kept;
  addEventListener("beforeprint", () => {
    kept = document.documentElement.dataset.theme;
    document.documentElement.dataset.theme = "light";
    colour.forget();
    before();
  });
  addEventListener("afterprint", () => {
    if (kept) document.documentElement.dataset.theme = kept; else delete document.documentElement.dataset.theme;
    colour.forget();
    after();
  });
}

// The tip beside the pointer.
const tip = {
  show(x, y, ...content) {
    const t = $("tip");
    t.replaceChildren(...content);
    t.hidden = false;
    const w = t.offsetWidth, h = t.offsetHeight;
    const left = x + 14 + w > innerWidth - 6 ? x - 14 - w : x + 14;
    const top = y + 16 + h > innerHeight - 6 ? y - 12 - h : y + 16;
    t.style.transform = `translate(${Math.round(Math.max(6, Math.min(left, innerWidth - w - 6)))}px, ${Math.round(Math.max(6, top))}px)`;
  },
  hide() { $("tip").hidden = true; },
};

// swatch is a square of a colour for legends; SVG, since the page allows no style attributes.
function swatch(name) {
  const ns = "http://www.w3.org/2000/svg";
  const s = document.createElementNS(ns, "svg"), r = document.createElementNS(ns, "rect");
  s.setAttribute("viewBox", "0 0 11 11");
  r.setAttribute("width", 11); r.setAttribute("height", 11); r.setAttribute("rx", 2.5);
  r.style.fill = `var(--${name})`;
  s.append(r);
  return s;
}

// inkOn is black or white, whichever reads better on a colour #rrggbb.
function inkOn(hex) {
  const v = parseInt(hex.slice(1), 16);
  return 0.299 * (v >> 16) + 0.587 * (v >> 8 & 255) + 0.114 * (v & 255) > 140 ? "#111" : "#fff";
}
