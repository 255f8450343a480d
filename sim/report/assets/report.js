"use strict";
// The report of a step: reads the page's data and starts its charts.
(() => {
  startTheme();
  const d = JSON.parse($("data").textContent);
  for (const row of document.querySelectorAll("[data-swatch]")) row.prepend(swatch(row.dataset.swatch));
  if (!d.makespan) return; // nothing took any time
  const tl = new Timeline(d);
  let overview, memory;
  const gantt = new Gantt(tl, $("gantt"), () => { overview?.draw(); memory?.draw(); });
  overview = new Overview(gantt, $("overview"));
  const explorer = new Explorer(gantt);
  const select = $("memory-rank");
  if (d.memory.ranks.length) {
    memory = new MemoryChart(d.memory, tl.makespan, $("memory"), () => [gantt.t0, gantt.t1]);
    for (const [i, r] of d.memory.ranks.entries()) select.append(el("option", { value: i }, r.name));
    const total = i => d.memory.ranks[i].held.reduce((sum, p) => sum + p.b, 0) + memory.curve(i).peak;
    select.value = d.memory.ranks.reduce((best, _, i) => total(i) > total(best) ? i : best, 0);
    memory.use(+select.value);
    select.addEventListener("change", () => memory.use(+select.value));
  }
  onTheme.push(() => { gantt.draw(); overview.draw(); memory?.draw(); });
  forPrint(() => {
    gantt.printing = true;
    gantt.layout();
    gantt.paint(); // now: printing does not wait for a frame
    memory?.paint();
  }, () => {
    gantt.printing = false;
    gantt.layout();
    memory?.draw();
  });
  window.orrery = { tl, gantt, explorer, memory };
})();
