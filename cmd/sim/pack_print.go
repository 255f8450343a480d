package main

import (
	"fmt"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"orrery/schedules/packing"
	"orrery/sim/report"
	"orrery/sim/unit"
)

func (c *packCmd) print(std *streams, r *packReport) error {
	title := fmt.Sprintf("%d samples, %s tokens, %d GPUs: dp %d x pp %d x cp %d", r.Lengths.Samples, count(r.Lengths.Tokens), r.GPUs, r.DP, r.PP, r.CP)
	if r.TP > 1 {
		title += fmt.Sprintf(" x tp %d", r.TP)
	}
	if r.Steps > 1 {
		title += fmt.Sprintf("; %d steps", r.Steps)
	}
	if _, err := fmt.Fprintln(std.out, title); err != nil {
		return err
	}
	if err := report.Para(std.out, r.assumptions(c)); err != nil {
		return err
	}
	if err := r.printLengths(std); err != nil {
		return err
	}
	if len(r.Results) == 1 {
		return r.printOne(std, r.Results[0])
	}
	return r.printAll(std)
}

// assumptions says what the times rest on.
func (r *packReport) assumptions(c *packCmd) string {
	from := fmt.Sprintf("costs derived for %s on H100s", r.Model)
	if len(c.Cost) > 0 {
		from += ", with " + strings.Join(c.Cost, ", ")
	}
	return fmt.Sprintf("Context %d; %s; a token's activations take %s a rank, a rank holds %s tokens at most.",
		r.Context, from, unit.Bytes(r.TokenBytes), count(int(r.MemoryTokens)))
}

func (r *packReport) printLengths(std *streams) error {
	l := r.Lengths
	var head, row table.Row
	for _, q := range l.Quantiles {
		head = append(head, fmt.Sprintf("p%.0f", 100*q.Share))
		row = append(row, q.Length)
	}
	head[len(head)-1] = "max"
	if err := report.Table(std.out, append(head, "mean", "sd/mean"), []table.Row{append(row, fmt.Sprintf("%.0f", l.Mean), fmt.Sprintf("%.2f", l.CV))}); err != nil {
		return err
	}
	var rows []table.Row
	for _, h := range l.Histogram {
		bar := strings.Repeat("#", int(h.Tokens*40+0.5))
		rows = append(rows, table.Row{fmt.Sprintf("%d-", h.From), h.Samples, fmt.Sprintf("%.1f %%", 100*h.Tokens), bar})
	}
	if err := report.Table(std.out, table.Row{"length", "samples", "tokens", ""}, rows); err != nil {
		return err
	}
	source := "Lengths from " + l.Source
	if d := distribution(l.Source); d != nil {
		source += fmt.Sprintf(": %s (%s: %s)", d.Describe, d.Kind, d.Source)
	}
	if l.CutSamples > 0 {
		source += fmt.Sprintf("; %d longer than the context were cut, by %s tokens", l.CutSamples, count(l.CutTokens))
	}
	return report.Para(std.out, source+".")
}

// distribution is the one that a source names, nil for files.
func distribution(source string) *packing.Distribution {
	name, _, _ := strings.Cut(source, ", seed")
	for _, d := range packing.Distributions() {
		if d.Name == strings.ReplaceAll(strings.ToLower(name), "-", "_") {
			return &d
		}
	}
	return nil
}

func (r *packReport) printOne(std *streams, p *packResult) error {
	if err := report.Para(std.out, fmt.Sprintf("%s: %s.", p.Algorithm, p.describe)); err != nil {
		return err
	}
	step := "step"
	if r.Steps > 1 {
		step = fmt.Sprintf("%d steps", r.Steps)
	}
	fits := "fits"
	if !p.Fits {
		fits = "DOES NOT FIT"
	}
	rows := []table.Row{
		{step, duration(p.StepS), fmt.Sprintf("%s tokens/s", count(int(p.TokensPerS)))},
		{"lower bound", duration(p.BoundS), fmt.Sprintf("gap %.1f %%", 100*p.Gap)},
		{"bubble", fmt.Sprintf("%.1f %%", 100*p.Bubble), "of the mean rank"},
		{"padding", fmt.Sprintf("%.1f %%", 100*p.Padding), fmt.Sprintf("recomputed %.1f %%", 100*p.Recomputed)},
		{"peak memory", fmt.Sprintf("%.2f GiB", p.PeakGiB), fmt.Sprintf("activations of %s tokens; %s", count(int(p.PeakTokens)), fits)},
		{"units", fmt.Sprintf("%d / %d", p.Forward, p.Backward), "forward / backward"},
		{"samples", fmt.Sprintf("%d / %d / %d", p.Sliced, p.Merged, p.Narrow), "cut / on more ranks than cp / on fewer"},
		{"solved in", fmt.Sprintf("%.1f ms", p.SolveMS), "on this machine"},
	}
	if err := report.Table(std.out, table.Row{"", "", ""}, rows); err != nil {
		return err
	}
	ratio := func(x float64) string { return fmt.Sprintf("%.3f", x) }
	return report.Table(std.out, table.Row{"imbalance", "max/mean", "sd/mean"}, []table.Row{
		{"replicas", ratio(p.DP), ""},
		{"context-parallel ranks", ratio(p.Lanes), ""},
		{"stages", ratio(p.Stages), ""},
		{"forward units", ratio(p.MaxForward), ratio(p.CVForward)},
		{"backward units", ratio(p.MaxBack), ratio(p.CVBackward)},
	})
}

func (r *packReport) printAll(std *streams) error {
	base, name := r.Results[0].StepS, r.Results[0].Algorithm
	for _, p := range r.Results {
		if p.Algorithm == "fixed" {
			base, name = p.StepS, p.Algorithm
		}
	}
	var rows []table.Row
	for _, p := range r.Results {
		memory := fmt.Sprintf("%.1f", p.PeakGiB)
		if !p.Fits {
			memory += "!"
		}
		rows = append(rows, table.Row{p.Algorithm, duration(p.StepS), fmt.Sprintf("%.2f", base/p.StepS), fmt.Sprintf("%.1f", 100*p.Gap),
			fmt.Sprintf("%.1f", 100*p.Bubble), fmt.Sprintf("%.2f", p.DP), fmt.Sprintf("%.2f", p.MaxForward), fmt.Sprintf("%.1f", 100*p.Padding), memory, fmt.Sprintf("%.0f", p.SolveMS)})
	}
	if err := report.Table(std.out, table.Row{"packer", "step", "x", "gap %", "idle %", "dp", "units", "pad %", "GiB", "ms"}, rows); err != nil {
		return err
	}
	return report.Para(std.out, fmt.Sprintf("x: speed against %s. gap: over the lower bound of %s. dp, units: max/mean over replicas, over forward units. GiB: activations; ! is over the limit. ms: to solve, here.", name, duration(r.Results[0].BoundS)))
}

// duration prints seconds in the unit that reads best.
func duration(s float64) string { return unit.Seconds(s).String() }

// count prints a number of tokens to three digits.
func count(n int) string {
	switch {
	case n < 10_000:
		return fmt.Sprint(n)
	case n < 10_000_000:
		return fmt.Sprintf("%.4g k", float64(n)/1e3)
	}
	return fmt.Sprintf("%.4g M", float64(n)/1e6)
}
