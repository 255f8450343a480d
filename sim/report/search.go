package report

import (
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"orrery/sim/search"
)

// Search prints what a search has found: the best points, the front, and why the
// others are not the best.
func Search(w io.Writer, r *search.Result, top int, colour bool) error {
	p := &printer{w: w, colour: colour}
	name := clip(r.Name, Width)
	p.printf("%s\n%s\n\n", p.paint(text.Bold, name), strings.Repeat("─", len([]rune(name))))
	p.searched(r)
	if r.Best == nil {
		p.para(p.paint(text.FgRed, r.Nothing()))
		p.printf("\n")
	} else {
		p.bests(r, top)
		p.front(r)
	}
	p.whyNot(r)
	a := r.Assumptions
	p.para(fmt.Sprintf("cost and MWh are of 1e12 tokens and assume %g USD a GPU and hour, %g USD a kWh, GPUs at %g of their power limit, %g W beside each GPU, and %g times that for the building",
		a.USDPerGPUHour, a.USDPerKWh, a.Load, a.HostWPerGPU, a.PUE))
	return p.err
}

// objectives are the words and units of what is least.
var objectives = map[search.Objective]struct{ name, unit string }{
	search.StepTime: {"step time", "s"}, search.Cost: {"cost", "USD per 1e12 tokens"}, search.Memory: {"peak memory", "GiB"}, search.Energy: {"energy", "MWh per 1e12 tokens"},
}

// value writes an objective's value with its unit.
func value(o search.Objective, v float64) string {
	switch o {
	case search.StepTime:
		return seconds(v)
	case search.Cost:
		return dollars(v) + " per 1e12 tokens"
	}
	return fmt.Sprintf("%.4g %s", v, objectives[o].unit)
}

func (p *printer) searched(r *search.Result) {
	c := r.Counts
	s := fmt.Sprintf("%s points, %s valid: %s need more memory than there is, %s cannot be better by their bounds, %s simulated",
		thousands(c.Enumerated), thousands(c.Valid), thousands(c.PrunedMemory), thousands(c.PrunedBound), thousands(c.Simulated))
	if c.NotConsidered > 0 {
		s += fmt.Sprintf(", %s not looked at", thousands(c.NotConsidered))
	}
	p.para(s + ".")
	if r.Loose != "" {
		p.para("No bounds are known of points where " + r.Loose + ": all of them are simulated.")
	}
	if r.Best == nil {
		return
	}
	s = "least " + objectives[r.Objective].name + ": " + value(r.Objective, r.Best.Of(r.Objective))
	switch r.Bound {
	case r.Best.Of(r.Objective):
		s += ", proven: nothing in the space is better"
	case 0:
		s += "; how far that is from the best is not known, since not all points have bounds"
	default:
		s += fmt.Sprintf("; nothing in the space is below %s (gap %.2g %%)", value(r.Objective, r.Bound), 100*r.Gap)
	}
	if r.Stopped != "" {
		s += "; ended early, " + r.Stopped
	}
	p.para(s + ".")
	p.printf("\n")
}

// thousands writes 1234567 as 1,234,567.
func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func figures(q *search.Point) table.Row {
	return table.Row{seconds(q.StepTimeS), fmt.Sprintf("%.1f GiB", q.PeakMemoryGiB), fmt.Sprintf("%.1f %%", 100*q.MFU), dollars(q.USDPerTTokens), fmt.Sprintf("%.4g", q.MWhPerTTokens)}
}

var figureHeads = table.Row{"step", "peak", "MFU", "cost", "MWh"}

// bests are the first points with what they set, and the scenario as it stands.
func (p *printer) bests(r *search.Result, top int) {
	var rows []table.Row
	n := 0
	for i := range r.Points {
		if n == top || !r.Points[i].Fits {
			break
		}
		n++
		rows = append(rows, append(table.Row{fmt.Sprint(n)}, figures(&r.Points[i])...))
	}
	if own := r.AsItStands; own != nil {
		name := "as it stands"
		if !own.Fits {
			name += " (does not fit)"
		}
		rows = append(rows, append(table.Row{name}, figures(&own.Point)...))
	}
	p.table(rightFrom(2, 6), append(table.Row{""}, figureHeads...), rows)
	for i := range n {
		lead := "    "
		if n > 1 {
			lead = fmt.Sprintf("%2d  ", i+1)
		}
		p.hanging(lead, sets(r.Points[i].Set))
	}
	if own := r.AsItStands; own != nil && len(own.Parts) > 0 && own.StepTimeS != r.Best.StepTimeS {
		p.hanging("as it stands against the best: ", p.changes(own.Parts, own.RestS))
	}
	p.printf("\n")
}

// sets writes overrides as a shell takes them.
func sets(all []string) string {
	out := make([]string, len(all))
	for i, s := range all {
		if strings.ContainsAny(s, "[]\" *$&|;<>()") {
			s = "'" + s + "'"
		}
		out[i] = "--set " + s
	}
	return strings.Join(out, " ")
}

// change writes a time with its sign and three digits.
func change(s float64) string {
	if a := math.Abs(s); a < 0.0995 {
		return fmt.Sprintf("%+.3g ms", 1000*s)
	}
	return fmt.Sprintf("%+.3g s", s)
}

// hanging prints a paragraph whose later lines are indented. A short lead stands
// before the text, a long one is part of it.
func (p *printer) hanging(lead, s string) {
	const indent = "        "
	n := len([]rune(lead))
	if n > 2*len(indent) {
		s, lead, n = strings.TrimLeft(lead, " ")+s, lead[:len(lead)-len(strings.TrimLeft(lead, " "))], len(indent)
	}
	for _, line := range strings.Split(text.WrapSoft(s, Width-n), "\n") {
		p.printf("%s%s\n", lead, strings.TrimRight(line, " "))
		lead = indent[:min(n, len(indent))]
	}
}

// changes writes "bubble +1.2 s, mlp -0.3 s, the rest +0.1 s".
func (p *printer) changes(parts []search.Part, rest float64) string {
	whole := math.Abs(rest)
	for _, q := range parts {
		whole = max(whole, math.Abs(q.ChangeS))
	}
	var out []string
	add := func(name string, s float64) {
		if math.Abs(s) > whole/50 && s != 0 {
			out = append(out, strings.ReplaceAll(name, "_", " ")+" "+change(s))
		}
	}
	for _, q := range parts {
		add(q.Name, q.ChangeS)
	}
	add("the rest", rest)
	return strings.Join(out, ", ")
}

// shownFront is how many points of the front are printed.
const shownFront = 12

func (p *printer) front(r *search.Result) {
	if len(r.Front) < 2 {
		return
	}
	var rows []table.Row
	for i := range r.Front {
		// first, last and evenly between
		if len(r.Front) > shownFront && i*(shownFront-1)/(len(r.Front)-1) == (i-1)*(shownFront-1)/(len(r.Front)-1) && i > 0 {
			continue
		}
		q := &r.Front[i]
		rows = append(rows, append(figures(q)[:4], layout(q)))
	}
	p.table(rightFrom(1, 4), append(append(table.Row{}, figureHeads[:4]...), "layout"), rows)
	note := fmt.Sprintf("The front has %d points.", len(r.Front))
	if len(rows) < len(r.Front) {
		note = fmt.Sprintf("%d of the %d points of the front.", len(rows), len(r.Front))
	}
	if r.FrontWhole {
		note += " Every other point takes as much time, memory and money as one of them, or more."
	} else {
		note += " Others may belong to it."
	}
	p.para(note)
	p.printf("\n")
}

// layout names a point in a few characters: t8 c2 p8 v16, expert parallelism, micro
// batch, recomputation.
func layout(q *search.Point) string {
	var out []string
	for _, k := range []struct{ letter, key string }{{"t", "parallel.tp"}, {"c", "parallel.cp"}, {"e", "parallel.ep"}, {"p", "parallel.pp"}, {"v", "parallel.vp"}, {"m", "training.micro_batch"}, {"z", "parallel.zero"}} {
		if v, ok := q.Values[k.key]; ok && fmt.Sprint(v) != "1" {
			out = append(out, k.letter+fmt.Sprint(v))
		}
	}
	if rc, ok := q.Values["training.recompute"].(string); ok && rc != "none" {
		out = append(out, strings.TrimPrefix(rc, "selective:"))
	}
	if s, ok := q.Values["schedule.name"].(string); ok && s != "auto" {
		out = append(out, s)
	}
	return clip(strings.Join(out, " "), 36)
}

// whyNot is a line for each value of each axis that the best point does not have.
func (p *printer) whyNot(r *search.Result) {
	key := ""
	for _, why := range r.Reasons {
		if why.Key != key {
			if key == "" {
				p.printf("%s\n", p.paint(text.Bold, "why not another value (best point with it against the best of all)"))
			}
			key = why.Key
			p.printf("%s\n", key)
		}
		p.hanging(fmt.Sprintf("  %-12s ", clip(why.Value, 40)), p.reason(r, &why))
	}
	if key != "" {
		p.printf("\n")
	}
}

// shownGap is the relative gap that a reason mentions.
const shownGap = 1e-3

func (p *printer) reason(r *search.Result, why *search.Reason) string {
	switch {
	case why.Best:
		return p.paint(text.FgGreen, "the best has it")
	case why.LeastMemoryGiB > 0:
		return fmt.Sprintf("%s: %.1f GiB at the least", why.Why, why.LeastMemoryGiB)
	case why.Objective == 0 && why.Bound > 0:
		return fmt.Sprintf("%s; at least %s", why.Why, value(r.Objective, why.Bound))
	case why.Why != "":
		return why.Why
	}
	s := fmt.Sprintf("%s (%+.1f %%)", value(r.Objective, why.Objective), 100*why.Over)
	if why.Bound < why.Objective*(1-shownGap) {
		s += fmt.Sprintf(" or down to %s", value(r.Objective, why.Bound))
	}
	if why.Over == 0 {
		s += ", as good"
	}
	if c := p.changes(why.Parts, why.RestS); c != "" {
		s += ": " + c
	}
	if len(why.Set) > 0 {
		s += "; with " + strings.Join(why.Set, " ")
	}
	return s
}
