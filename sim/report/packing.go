package report

import (
	"fmt"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"orrery/sim"
)

// packingRow is a line of what is said of packed samples.
type packingRow struct{ Name, Value, Note string }

// packingRows are those of a result, the same in a terminal and on a page.
func packingRows(p *sim.Packing) []packingRow {
	percent := func(x float64) string { return fmt.Sprintf("%.1f %%", 100*x) }
	rows := []packingRow{
		{"samples", fmt.Sprint(p.Lengths.Samples), fmt.Sprintf("%d tokens, mean %.0f, sd/mean %.2f", p.Lengths.Tokens, p.Lengths.Mean, p.Lengths.CV)},
		{"units forward", fmt.Sprint(p.Forward), fmt.Sprintf("longest over mean %.2f, sd/mean %.3f", p.MaxForward, p.CVForward)},
		{"units backward", fmt.Sprint(p.Backward), fmt.Sprintf("longest over mean %.2f, sd/mean %.3f", p.MaxBack, p.CVBackward)},
		{"samples cut", fmt.Sprint(p.Sliced), fmt.Sprintf("on merged replicas %d, on part of one %d", p.Merged, p.Narrow)},
		{"padding", percent(p.Padding), "recomputed " + percent(p.Recomputed)},
		{"imbalance", fmt.Sprintf("%.3f", p.SimulatedDP), fmt.Sprintf("max/mean of replicas; stages %.3f, cp %.3f", p.SimulatedStages, p.Lanes)},
		{"lower bound", seconds(p.BoundS), fmt.Sprintf("%s in the packers' model, gap %s", seconds(p.StepS), percent(p.Gap))},
		{"passes", seconds(p.SimulatedS), "simulated, " + percent(p.SimulatedGap) + " above the bound"},
		{"  of which", "", fmt.Sprintf("bubble %s, imbalance %s, exchange %s, kernels %s", percent(p.Split.Bubble), percent(p.Split.Imbalance), percent(p.Split.Exchange), percent(p.Split.Kernels))},
	}
	if b := p.Baseline; b != nil {
		note := fmt.Sprintf("over %s, whose step takes %s", b.Packer, seconds(b.StepTimeS))
		if !b.Fits {
			note += " and does not fit"
		}
		note += fmt.Sprintf("; its longest row takes %.2f of the mean one", b.LongestRow)
		rows = append(rows, packingRow{"speed-up", fmt.Sprintf("%.2f x", b.Speedup), note})
	}
	return rows
}

// octave is a bar of the histogram of lengths.
type octave struct {
	From, Samples int
	Share         float64 // of the tokens
}

func octaves(p *sim.Packing) []octave {
	var out []octave
	for _, h := range p.Lengths.Histogram {
		out = append(out, octave{h.From, h.Samples, h.Tokens})
	}
	return out
}

// quantiles are the heads and lengths of a row of quantiles.
func quantiles(p *sim.Packing) (head, row []string) {
	for _, q := range p.Lengths.Quantiles {
		name := fmt.Sprintf("p%.0f", 100*q.Share)
		if q.Share == 1 {
			name = "max"
		}
		head, row = append(head, name), append(row, fmt.Sprint(q.Length))
	}
	return head, row
}

func (p *printer) packing(r *sim.Result) {
	if r.Packing == nil {
		return
	}
	right := func(n int) table.ColumnConfig { return table.ColumnConfig{Number: n, Align: text.AlignRight} }
	var rows []table.Row
	for _, row := range packingRows(r.Packing) {
		rows = append(rows, table.Row{row.Name, row.Value, row.Note})
	}
	p.table([]table.ColumnConfig{right(2), {Number: 3, WidthMax: 46}}, table.Row{"packing by " + r.Packing.Packer, "", ""}, rows)
	var head, lengths table.Row
	var cols []table.ColumnConfig
	names, values := quantiles(r.Packing)
	for i := range names {
		head, lengths, cols = append(head, names[i]), append(lengths, values[i]), append(cols, right(i+2))
	}
	p.table(cols, append(table.Row{"lengths"}, head...), []table.Row{append(table.Row{clip(r.Packing.Lengths.Source, 24)}, lengths...)})
	rows = nil
	for _, o := range octaves(r.Packing) {
		rows = append(rows, table.Row{fmt.Sprintf("%d-", o.From), o.Samples, fmt.Sprintf("%.1f %%", 100*o.Share), p.paint(text.FgCyan, strings.Repeat("█", int(o.Share*40+0.5)))})
	}
	p.table([]table.ColumnConfig{right(1), right(2), right(3)}, table.Row{"length", "samples", "tokens", ""}, rows)
	if n := r.Packing.Lengths.CutSamples; n > 0 {
		p.para(fmt.Sprintf("%d samples longer than the context were cut, by %d tokens.", n, r.Packing.Lengths.CutTokens))
		p.printf("\n")
	}
}
