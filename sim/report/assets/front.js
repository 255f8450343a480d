"use strict";
// What is best of points, and in which colours they are drawn.

// front lists the points that no other beats on both axes, from the best x; better is
// "lower" or "higher" for each axis. Points without a value are on no front.
function front(points, x, y, betterX, betterY) {
  const sx = betterX === "lower" ? 1 : -1, sy = betterY === "lower" ? 1 : -1;
  const order = points.filter(i => x[i] != null && y[i] != null).sort((a, b) => sx * (x[a] - x[b]) || sy * (y[a] - y[b]) || a - b);
  const out = [];
  let best = Infinity;
  for (const i of order) {
    if (sy * y[i] < best) {
      out.push(i);
      best = sy * y[i];
    }
  }
  return out;
}

// CIVIDIS is a scale that all eyes see alike (Nunez, Anderton, Renslow 2018), at fifths.
const CIVIDIS = ["#00224e", "#35456c", "#666970", "#948e77", "#c8b866", "#fee838"];

function between(v) {
  const at = Math.min(Math.max(v, 0), 1) * (CIVIDIS.length - 1), i = Math.min(Math.floor(at), CIVIDIS.length - 2), f = at - i;
  const part = (hex, n) => parseInt(hex.slice(1 + 2 * n, 3 + 2 * n), 16);
  return "#" + [0, 1, 2].map(n => Math.round(part(CIVIDIS[i], n) * (1 - f) + part(CIVIDIS[i + 1], n) * f).toString(16).padStart(2, "0")).join("");
}

// order of texts that may be numbers.
const byNumber = (a, b) => (isNaN(a) || isNaN(b) ? (a < b ? -1 : a > b ? 1 : 0) : a - b);

// shell quotes an argument where a shell would read it otherwise.
const shell = s => /^[\w.,:/=+@%-]+$/.test(s) ? s : "'" + s.replaceAll("'", "'\\''") + "'";
