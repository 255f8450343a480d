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
	p.breakdown(r)
	p.memory(r)
	p.experts(r)
	p.path(r)
	p.expect(r)
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
		row("throughput", fmt.Sprintf("%.0f tokens/s/GPU", r.TokensPerSPerGPU), fmt.Sprintf("%d GPUs, schedule %s", r.GPUs, r.Schedule)),
		row("model FLOP/s", fmt.Sprintf("%.1f TFLOP/s/GPU", r.ModelTFLOPSPerGPU), fmt.Sprintf("MFU %.1f %% of the peak of the precision", 100*r.MFU)),
		row("bubble", fmt.Sprintf("%.1f %%", 100*r.BubbleFraction), fmt.Sprintf("exposed communication %.1f %%", 100*r.ExposedCommFraction)),
		row("peak memory", fmt.Sprintf("%.1f GiB", r.PeakMemoryGiB), fits),
		row("prices", r.Profile, sources(r)),
	})
}

func sources(r *sim.Result) string {
	var parts []string
	for _, s := range byValue(r.Sources) {
		if r.Sources[s] >= 0.01 {
			parts = append(parts, fmt.Sprintf("%.0f %% %s", 100*r.Sources[s], s))
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

func (p *printer) expect(r *sim.Result) {
	if len(r.Expect) == 0 {
		return
	}
	var rows []table.Row
	for _, e := range r.Expect {
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
	for _, e := range r.Expect {
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
