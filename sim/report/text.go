// Package report shows results to people: tables in a terminal, a page in a
// browser.
package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"orrery/sim"
)

// Width of everything that is printed, in columns.
const Width = 80

// Text prints a result as tables. With colour, bars and verdicts are coloured.
func Text(w io.Writer, r *sim.Result, colour bool) error {
	p := &printer{w: w, colour: colour}
	p.headline(r)
	p.packing(r)
	p.breakdown(r)
	p.modules(r)
	p.memory(r)
	p.experts(r)
	p.path(r)
	p.launching(r)
	p.expectations(r.Expect)
	for _, x := range r.Warnings {
		p.para("warning: " + x)
	}
	return p.err
}

type printer struct {
	w      io.Writer
	colour bool
	err    error
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

// para prints a paragraph, wrapped.
func (p *printer) para(s string) {
	for _, line := range strings.Split(text.WrapSoft(s, Width), "\n") {
		p.printf("%s\n", strings.TrimRight(line, " "))
	}
}

func (p *printer) paint(c text.Color, s string) string {
	if p.colour {
		return c.EscapeSeq() + s + text.Reset.EscapeSeq()
	}
	return s
}

func (p *printer) table(cols []table.ColumnConfig, head table.Row, rows []table.Row) {
	t := table.NewWriter()
	st := table.StyleLight
	st.Options = table.Options{SeparateHeader: true}
	st.Format.Header = text.FormatDefault
	st.Box.PaddingLeft, st.Box.PaddingRight = "", "  "
	t.SetStyle(st)
	t.SetColumnConfigs(cols)
	if head != nil {
		t.AppendHeader(head)
	}
	t.AppendRows(rows)
	for _, line := range strings.Split(t.Render(), "\n") {
		p.printf("%s\n", strings.TrimRight(line, " "))
	}
	p.printf("\n")
}

func (p *printer) headline(r *sim.Result) {
	name := clip(r.Name, Width)
	p.printf("%s\n", p.paint(text.Bold, name))
	p.printf("%s\n\n", strings.Repeat("─", len([]rune(name))))
	fits := p.paint(text.FgGreen, "fits")
	if !r.Fits {
		fits = p.paint(text.FgRed, "DOES NOT FIT")
	}
	row := func(k, v, note string) table.Row { return table.Row{k, v, note} }
	p.table([]table.ColumnConfig{{Number: 2, Align: text.AlignRight}, {Number: 3, WidthMax: 44}}, nil, []table.Row{
		row("step time", seconds(r.StepTimeS), fmt.Sprintf("± %.0f %% (90 %% interval)", 100*r.StepTimeRelError)),
		row("throughput", fmt.Sprintf("%.0f tokens/s/GPU", r.TokensPerSPerGPU), where(r)),
		row("model FLOP/s", fmt.Sprintf("%.1f TFLOP/s/GPU", r.ModelTFLOPSPerGPU), fmt.Sprintf("MFU %.1f %% of the peak of the precision", 100*r.MFU)),
		row("bubble", fmt.Sprintf("%.1f %%", 100*r.BubbleFraction), fmt.Sprintf("exposed communication %.1f %%", 100*r.ExposedCommFraction)),
		row("launches", fmt.Sprintf("%d kernels", r.Launching.Kernels), fmt.Sprintf("launch-bound %.1f %% of the step", 100*r.Launching.BoundFraction)),
		row("peak memory", fmt.Sprintf("%.1f GiB", r.PeakMemoryGiB), fits),
		row("prices", r.Profile, sources(r)),
	})
}

// where is on how many GPUs, by which schedule, with how much padding.
func where(r *sim.Result) string {
	s := fmt.Sprintf("%d GPUs, schedule %s", r.GPUs, r.Schedule)
	if r.PaddingFraction > 0 {
		s += fmt.Sprintf(", padding %.0f %%", 100*r.PaddingFraction)
	}
	return s
}

func sources(r *sim.Result) string { return shares(r.Sources) }

// shares lists what makes up at least one per cent.
func shares(of map[string]float64) string {
	var parts []string
	for _, s := range byValue(of) {
		if of[s] >= 0.01 {
			parts = append(parts, fmt.Sprintf("%.0f %% %s", 100*of[s], s))
		}
	}
	return strings.Join(parts, ", ")
}

func (p *printer) breakdown(r *sim.Result) {
	var rows []table.Row
	total := r.StepTimeS
	for _, k := range byValue(r.BreakdownS) {
		v := r.BreakdownS[k]
		if v < total*5e-4 {
			continue
		}
		bar := strings.Repeat("█", int(v/total*24+0.5))
		rows = append(rows, table.Row{strings.ReplaceAll(k, "_", " "), seconds(v), fmt.Sprintf("%.1f %%", 100*v/total), p.paint(text.FgCyan, bar)})
	}
	p.table([]table.ColumnConfig{{Number: 2, Align: text.AlignRight}, {Number: 3, Align: text.AlignRight}},
		table.Row{"where the time goes (mean rank)", "time", "share", ""}, rows)
}

// modules prints what encoder and generator take of a rank.
func (p *printer) modules(r *sim.Result) {
	if len(r.Modules) == 0 {
		return
	}
	var rows []table.Row
	for _, m := range r.Modules {
		rows = append(rows, table.Row{m.Module, fmt.Sprintf("%.2f B", m.Params/1e9), fmt.Sprintf("%.0f (%d)", m.Tokens, m.MaxTokens),
			seconds(m.ForwardS), seconds(m.BackwardS), m.LiveUnits, fmt.Sprintf("%.1f", m.UnitGiB), fmt.Sprintf("%.1f", m.PeakGiB)})
	}
	var right []table.ColumnConfig
	for n := 2; n <= 8; n++ {
		right = append(right, table.ColumnConfig{Number: n, Align: text.AlignRight})
	}
	p.table(right, table.Row{"module", "params", "tokens (max)", "forward", "backward", "held", "GiB each", "peak"}, rows)
}

func (p *printer) memory(r *sim.Result) {
	if len(r.MemoryGiBByStage) == 0 {
		return
	}
	worst := slices.MaxFunc(r.MemoryGiBByStage, func(a, b sim.StageMemory) int { return cmp.Compare(a.PeakGiB, b.PeakGiB) })
	var rows []table.Row
	for _, k := range byValue(worst.Breakdown) {
		if v := worst.Breakdown[k]; v > 0.005 {
			rows = append(rows, table.Row{strings.ReplaceAll(k, "_", " "), fmt.Sprintf("%.2f GiB", v)})
		}
	}
	p.table([]table.ColumnConfig{{Number: 2, Align: text.AlignRight}},
		table.Row{fmt.Sprintf("memory of stage %d at its peak (%s)", worst.Stage, worst.At), ""}, rows)
}

func (p *printer) path(r *sim.Result) {
	var parts []string
	for _, k := range byValue(r.CriticalPath) {
		if v := r.CriticalPath[k]; v >= 0.005 {
			parts = append(parts, fmt.Sprintf("%s %.1f %%", strings.ReplaceAll(k, "_", " "), 100*v))
		}
	}
	p.para("critical path: " + strings.Join(parts, ", "))
	p.printf("\n")
}

// launching says where a step is bound by launches, and what would change it.
func (p *printer) launching(r *sim.Result) {
	s := r.Launching.String()
	if s == "" {
		return
	}
	p.para(p.paint(text.FgYellow, s))
	p.printf("\n")
	var rows []table.Row
	for _, c := range r.Launching.Changes {
		rows = append(rows, table.Row{c.Change, fmt.Sprintf("%.2f x", c.Speedup), fmt.Sprintf("%.0f %%", 100*c.BoundFraction)})
	}
	if rows != nil {
		p.table([]table.ColumnConfig{{Number: 2, Align: text.AlignRight}, {Number: 3, Align: text.AlignRight}},
			table.Row{"what to change, each alone", "tokens/s", "launch-bound"}, rows)
	}
}

func (p *printer) expectations(all []sim.Expectation) {
	if len(all) == 0 {
		return
	}
	var rows []table.Row
	for _, e := range all {
		verdict := p.paint(text.FgGreen, "ok")
		if !e.OK {
			verdict = p.paint(text.FgRed, "off")
		}
		metric := e.Metric
		if e.Balancer != "" {
			metric += ", " + e.Balancer
		}
		rows = append(rows, table.Row{metric, fmt.Sprintf("%.4g", e.Expected), fmt.Sprintf("%.4g", e.Got),
			fmt.Sprintf("%+.1f %%", 100*e.Error), fmt.Sprintf("± %.0f %%", 100*e.Tolerance), verdict})
	}
	right := func(n int) table.ColumnConfig { return table.ColumnConfig{Number: n, Align: text.AlignRight} }
	p.table([]table.ColumnConfig{right(2), right(3), right(4), right(5)},
		table.Row{"held against", "published", "predicted", "error", "allowed", ""}, rows)
	seen := map[string]bool{}
	for _, e := range all {
		if !seen[e.Source] {
			p.para("source: " + e.Source)
			seen[e.Source] = true
		}
	}
}

// byValue returns the keys from the largest value; equal values by name.
func byValue(m map[string]float64) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b string) int {
		return cmp.Or(cmp.Compare(m[b], m[a]), cmp.Compare(a, b))
	})
	return keys
}

func seconds(s float64) string {
	switch {
	case s >= 1:
		return fmt.Sprintf("%.3f s", s)
	case s >= 1e-3:
		return fmt.Sprintf("%.2f ms", s*1e3)
	}
	return fmt.Sprintf("%.1f us", s*1e6)
}
