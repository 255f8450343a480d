package report

import (
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"orrery/sim/compare"
	"orrery/sim/unit"
)

// Compare prints what tells B from A.
func Compare(w io.Writer, c *compare.Comparison, colour bool) error {
	p := &printer{w: w, colour: colour}
	for _, s := range []struct {
		letter string
		of     compare.Summary
	}{{"A", c.A}, {"B", c.B}} {
		p.para(fmt.Sprintf("%s  %s: %d GPUs, schedule %s; step ± %.0f %%, prices %s (%s)", s.letter, p.paint(text.Bold, s.of.Name), s.of.GPUs, s.of.Schedule,
			100*s.of.RelError, s.of.Profile, shares(s.of.PriceSources)))
	}
	p.printf("\n")
	p.inputs(c)
	p.metrics(c)
	p.split("where the step differs (mean rank)", c.Step, func(v int64) string { return unit.Time(v).String() })
	p.split("memory at the peak", c.Memory, func(v int64) string { return unit.Bytes(v).String() })
	p.para("peak of A: " + c.A.PeakOf)
	p.para("peak of B: " + c.B.PeakOf)
	for _, n := range c.Notes {
		p.para("note: " + n)
	}
	return p.err
}

// fileLine is the origin of what stands in a file; which, the heading tells.
var fileLine = regexp.MustCompile(`^\S.*\.toml:(\d+)$`)

func (p *printer) inputs(c *compare.Comparison) {
	switch {
	case !c.A.InputsKnown || !c.B.InputsKnown:
		p.para("What was asked is not known of a result.json: compare scenarios to see it.")
		p.printf("\n")
		return
	case len(c.Inputs) == 0:
		p.para("Both ask the same.")
		p.printf("\n")
		return
	}
	var rows []table.Row
	for _, in := range c.Inputs {
		why := in.FromB
		if m := fileLine.FindStringSubmatch(why); m != nil {
			why = "line " + m[1]
		}
		if in.B == "" {
			why = "none in B"
		}
		rows = append(rows, table.Row{in.Key, in.A, in.B, why})
	}
	const padding, because = 4 * 2, 14
	key, a, b := 0, 0, 0
	for _, in := range c.Inputs {
		key, a, b = max(key, len(in.Key)), max(a, len(in.A)), max(b, len(in.B))
	}
	value := min((Width-key-padding-because)/2, 16) // "interleaved_1f1b"
	a, b = min(a, value), min(b, value)
	wrapped := func(n, width int) table.ColumnConfig {
		return table.ColumnConfig{Number: n, WidthMax: width, WidthMaxEnforcer: text.WrapSoft}
	}
	p.table([]table.ColumnConfig{wrapped(2, a), wrapped(3, b), wrapped(4, Width-key-a-b-padding)}, table.Row{"changed", "A", "B", "because"}, rows)
}

func (p *printer) metrics(c *compare.Comparison) {
	var rows []table.Row
	for _, m := range c.Metrics {
		if m.A == m.B {
			continue
		}
		change := ""
		if m.A != 0 {
			change = fmt.Sprintf("%+.1f %%", 100*m.Change)
		}
		rows = append(rows, table.Row{m.Name, number(m.A), number(m.B), change})
	}
	if len(rows) > 0 {
		p.table(rightFrom(2, 4), table.Row{"", "A", "B", "change"}, rows)
	}
}

// split prints groups with their rows below them; rows that hardly differ are
// summed in one.
func (p *printer) split(title string, s compare.Split, format func(int64) string) {
	if s.A == 0 && s.B == 0 {
		return
	}
	signed := func(v int64) string {
		if v > 0 {
			return "+" + format(v)
		}
		return format(v)
	}
	of := func(v int64) string {
		if s.A == 0 {
			return ""
		}
		return fmt.Sprintf("%+.1f %%", 100*float64(v)/float64(s.A))
	}
	small := max(s.A, s.B) / 1000
	var rows []table.Row
	var rest compare.Row
	add := func(name string, a, b, change int64) {
		rows = append(rows, table.Row{name, format(a), format(b), signed(change), of(change)})
	}
	for _, g := range s.Groups {
		single := len(g.Rows) == 1
		if max(g.A, g.B) > small || !single {
			add(strings.ReplaceAll(g.Name, "_", " "), g.A, g.B, g.Change)
		} else {
			rest.A, rest.B, rest.Change = rest.A+g.A, rest.B+g.B, rest.Change+g.Change
		}
		for _, r := range g.Rows {
			if !single && max(r.Change, -r.Change) >= small {
				add("  "+strings.ReplaceAll(r.Name, "_", " "), r.A, r.B, r.Change)
			}
		}
	}
	if rest != (compare.Row{}) {
		add("the rest", rest.A, rest.B, rest.Change)
	}
	add("all", s.A, s.B, s.Change)
	p.table(rightFrom(2, 5), table.Row{title, "A", "B", "change", "of A"}, rows)
}
