package report

import (
	"fmt"
	"html"
	"html/template"
	"strings"

	"orrery/sim"
	"orrery/sim/program"
	"orrery/sim/unit"
)

// Sizes of the charts, in pixels of the SVG's own coordinates.
const (
	chartWidth  = 1120.0
	labelWidth  = 64.0
	laneHeight  = 18.0
	memHeight   = 220.0
	minBarWidth = 0.6 // narrower bars of a lane are merged
)

// bar is a run of one kind of work on a rank's compute lane.
type bar struct {
	start, end unit.Time
	kind       program.Kind
	title      string
}

// bars of a rank's compute lane, neighbours merged where they would be
// narrower than the screen shows.
func bars(run *sim.Run, rank int, perPixel float64) []bar {
	p, t := run.Program, run.Timeline
	lane := run.Lanes[rank].Compute
	var out []bar
	for id := range program.OpID(p.Len()) {
		if p.Lane[id] != lane || t.End[id] == t.Start[id] {
			continue
		}
		k := p.Works[p.Work[id]].Kind
		if n := len(out); n > 0 {
			last := &out[n-1]
			narrow := float64(t.End[id]-last.start)/perPixel < minBarWidth*2
			if last.kind == k && float64(t.Start[id]-last.end)/perPixel < minBarWidth && narrow || narrow && float64(last.end-last.start)/perPixel < minBarWidth {
				last.end = t.End[id]
				last.title = ""
				continue
			}
		}
		out = append(out, bar{t.Start[id], t.End[id], k, run.OpName(id)})
	}
	return out
}

// shortName is a rank's, narrow enough for an axis.
func shortName(run *sim.Run, rank int) string {
	if run.Plan.Varlen == nil {
		return fmt.Sprintf("stage %d", rank)
	}
	pp := len(run.Plan.Stages)
	return fmt.Sprintf("r%d stage %d", rank/pp, rank%pp)
}

// gantt draws the compute lane of each pipeline rank.
func gantt(run *sim.Run) template.HTML {
	total := run.Makespan()
	if total == 0 {
		return ""
	}
	ranks := len(run.Step.Lanes)
	perPixel := float64(total) / (chartWidth - labelWidth)
	x := func(t unit.Time) float64 { return labelWidth + float64(t)/perPixel }
	var b strings.Builder
	h := laneHeight*float64(ranks) + 24
	fmt.Fprintf(&b, `<svg id="gantt" viewBox="0 0 %g %g" role="img" aria-label="passes of each pipeline rank over time">`, chartWidth, h)
	for r := range ranks {
		y := laneHeight * float64(r)
		fmt.Fprintf(&b, `<text class="axis" x="0" y="%g">%s</text>`, y+13, shortName(run, r))
		fmt.Fprintf(&b, `<rect class="idle" x="%g" y="%g" width="%g" height="%g"/>`, labelWidth, y+1, chartWidth-labelWidth, laneHeight-2)
		for _, s := range bars(run, r, perPixel) {
			w := max(x(s.end)-x(s.start)-0.15, 0.3)
			fmt.Fprintf(&b, `<rect class="k-%s" x="%.2f" y="%g" width="%.2f" height="%g">`, s.kind, x(s.start), y+1, w, laneHeight-2)
			if s.title != "" {
				fmt.Fprintf(&b, `<title>%s: %s</title>`, html.EscapeString(s.title), s.end-s.start)
			}
			b.WriteString(`</rect>`)
		}
	}
	timeAxis(&b, total, laneHeight*float64(ranks), x)
	b.WriteString(`</svg>`)
	return template.HTML(b.String()) //nolint:gosec // numbers and escaped titles only
}

func timeAxis(b *strings.Builder, total unit.Time, y float64, x func(unit.Time) float64) {
	const ticks = 6
	for i := range ticks + 1 {
		at := total / ticks * unit.Time(i)
		anchor := "middle"
		switch i {
		case 0:
			anchor = "start"
		case ticks:
			anchor = "end"
		}
		fmt.Fprintf(b, `<text class="axis" text-anchor="%s" x="%.1f" y="%g">%s</text>`, anchor, x(at), y+16, at)
	}
}

// memoryChart draws the memory of the first, the worst and the last rank.
func memoryChart(run *sim.Run) template.HTML {
	total := run.Makespan()
	res := run.Result
	if total == 0 || len(res.MemoryGiBByStage) == 0 {
		return ""
	}
	worst := 0
	for i, s := range res.MemoryGiBByStage {
		if s.PeakGiB > res.MemoryGiBByStage[worst].PeakGiB {
			worst = i
		}
	}
	ranks := []int{worst}
	for _, r := range []int{0, len(res.MemoryGiBByStage) - 1} {
		if r != worst && (len(ranks) == 1 || ranks[len(ranks)-1] != r) {
			ranks = append(ranks, r)
		}
	}
	top := max(res.PeakMemoryGiB*1.08, 1)
	x := func(t unit.Time) float64 { return labelWidth + float64(t)/float64(total)*(chartWidth-labelWidth) }
	y := func(gib float64) float64 { return 8 + (1-gib/top)*(memHeight-8) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg id="memory" viewBox="0 0 %g %g" role="img" aria-label="memory of pipeline ranks over time">`, chartWidth, memHeight+28)
	for i := range 5 {
		v := top / 4 * float64(i)
		fmt.Fprintf(&b, `<line class="grid" x1="%g" x2="%g" y1="%.1f" y2="%.1f"/><text class="axis" x="0" y="%.1f">%.0f GiB</text>`, labelWidth, chartWidth, y(v), y(v), y(v)+4, v)
	}
	for i, r := range ranks {
		var d strings.Builder
		lastX := -1.0
		for j, pt := range run.MemoryCurve(r) {
			px, py := x(pt.At), y(unit.Bytes(pt.Bytes).GiB())
			if j == 0 {
				fmt.Fprintf(&d, "M%.1f %.1f", px, py)
			} else if px-lastX >= 0.4 {
				fmt.Fprintf(&d, "H%.1fV%.1f", px, py)
				lastX = px
			}
		}
		fmt.Fprintf(&d, "H%g", chartWidth)
		fmt.Fprintf(&b, `<path class="mem m%d" d="%s"/>`, i, d.String())
		fmt.Fprintf(&b, `<text class="legend m%d" text-anchor="end" x="%g" y="%.1f">stage %d</text>`, i, chartWidth-8-70*float64(len(ranks)-1-i), memHeight-6, r)
	}
	timeAxis(&b, total, memHeight+4, x)
	b.WriteString(`</svg>`)
	return template.HTML(b.String()) //nolint:gosec // numbers only
}
