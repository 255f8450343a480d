package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"
)

// Gantt is passes of devices over time, to be drawn.
type Gantt struct {
	Title string
	Lanes []GanttLane
	End   float64 // of the last bar; the first starts at 0
}

// GanttLane is one device; its bars ascend and do not overlap but for pairs.
type GanttLane struct {
	Name string
	Bars []GanttBar
}

// GanttBar is one pass.
type GanttBar struct {
	Start, End float64
	// Kind is the pass's letter: F, B, I, W or S, or EF, EB, GF, GB of an encoder or a
	// generator.
	Kind string
	// Label is what is written into the bar where it fits ("12").
	Label string
	// Shade tells bars of one kind apart (the device's chunk, from 0).
	Shade int
	// Paired: the bar runs together with the one before, from its start to its end.
	Paired bool
}

// paired reports whether a bar is the first of a pair.
func (l GanttLane) paired(i int) bool { return i+1 < len(l.Bars) && l.Bars[i+1].Paired }

// kinds of bars in the order of the legend, with what a person calls them.
var ganttKinds = []struct {
	kind, name string
	colour     text.Color
	fill       string // colour-blind safe (Okabe and Ito)
}{
	{"F", "forward", text.BgBlue, "#56b4e9"},
	{"B", "backward", text.BgGreen, "#009e73"},
	{"I", "backward for inputs", text.BgCyan, "#7fcdbb"},
	{"W", "backward for weights", text.BgYellow, "#e69f00"},
	{"S", "output layer", text.BgMagenta, "#cc79a7"},
	{"EF", "encoder forward", text.BgHiYellow, "#f0e442"},
	{"EB", "encoder backward", text.BgYellow, "#e69f00"},
	{"GF", "generator forward", text.BgHiMagenta, "#cc79a7"},
	{"GB", "generator backward", text.BgMagenta, "#d55e00"},
}

// TextGantt draws the chart in 80 columns: a column a unit of time or more where
// that fits, else each column shows the pass (or pair) that fills most of it, and a
// dot where idling does. With colour, kinds of passes are coloured.
func TextGantt(w io.Writer, g Gantt, colour bool) error {
	p := &printer{w: w, colour: colour}
	label := 0
	for _, lane := range g.Lanes {
		label = max(label, len([]rune(lane.Name)))
	}
	columns := Width - label - 1
	if g.End <= 0 || columns < 8 {
		p.para("nothing to draw: no pass takes time")
		return p.err
	}
	if whole := int(float64(columns) / g.End); whole >= 1 && g.End == float64(int(g.End)) {
		columns = whole * int(g.End)
	}
	for _, lane := range g.Lanes {
		p.printf("%-*s ", label, lane.Name)
		p.cells(columnsOf(lane, g.End, columns), lane)
		p.printf("\n")
	}
	p.legend(g, label+1, fmt.Sprintf(". idle; a column is %.3g", g.End/float64(columns)))
	return p.err
}

// legend prints what letters mean, and the last text, in lines that fit.
func (p *printer) legend(g Gantt, indent int, last string) {
	at := indent - 1
	p.printf("%*s", at, "")
	put := func(shown, plain, after string) {
		if at >= indent && at+1+len(plain)+len(after) > Width {
			p.printf("\n%*s", indent-1, "")
			at = indent - 1
		}
		p.printf(" %s%s", shown, after)
		at += 1 + len(plain) + len(after)
	}
	for _, k := range ganttKinds {
		if g.has(k.kind) {
			put(p.paint(k.colour, k.kind)+" "+k.name, k.kind+" "+k.name, ",")
		}
	}
	put(last, last, "")
	p.printf("\n")
}

func (g Gantt) has(kind string) bool {
	for _, lane := range g.Lanes {
		for _, b := range lane.Bars {
			if b.Kind == kind {
				return true
			}
		}
	}
	return false
}

// columnsOf is the bar that fills most of each column, -1 where idling does.
func columnsOf(lane GanttLane, end float64, columns int) []int {
	out := make([]int, columns)
	per := end / float64(columns)
	first := 0
	for c := range out {
		from, to := float64(c)*per, float64(c+1)*per
		for first < len(lane.Bars) && lane.Bars[first].End <= from {
			first++
		}
		out[c] = -1
		covered, most := 0.0, 0.0
		for i := first; i < len(lane.Bars) && lane.Bars[i].Start < to; i++ {
			if lane.Bars[i].Paired {
				continue // the first of the pair stands for both
			}
			part := min(lane.Bars[i].End, to) - max(lane.Bars[i].Start, from)
			if covered += part; part > most+1e-9*per {
				most, out[c] = part, i
			}
		}
		if per-covered > most+1e-9*per {
			out[c] = -1
		}
	}
	return out
}

// cells prints a lane: runs of columns of one bar carry its letter and label.
func (p *printer) cells(of []int, lane GanttLane) {
	for at := 0; at < len(of); {
		next := at
		for next < len(of) && of[next] == of[at] {
			next++
		}
		width := next - at
		if of[at] < 0 {
			p.printf("%s", strings.Repeat(".", width))
		} else {
			bars := lane.Bars[of[at] : of[at]+1]
			if lane.paired(of[at]) {
				bars = lane.Bars[of[at] : of[at]+2]
			}
			p.printf("%s", p.cell(bars, width))
		}
		at = next
	}
}

// cell is a bar, or a pair, in so many columns; a pair has its first bar's colour.
func (p *printer) cell(bars []GanttBar, width int) string {
	s, kinds := "", ""
	for _, b := range bars {
		s += b.Kind + b.Label
		kinds += b.Kind
	}
	if len(s) > width {
		s = strings.Repeat(kinds, width)[:width]
	} else {
		s += strings.Repeat("-", width-len(s))
	}
	for _, k := range ganttKinds {
		if k.kind == bars[0].Kind {
			return p.paint(k.colour, s)
		}
	}
	return s
}
