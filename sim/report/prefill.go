package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"orrery/sim"
)

// Prefill prints what serving makes of a scenario as tables.
func Prefill(w io.Writer, r *sim.PrefillResult, colour bool) error {
	p := &printer{w: w, colour: colour}
	name := clip(r.Name, Width)
	p.printf("%s\n", p.paint(text.Bold, name))
	p.printf("%s\n\n", strings.Repeat("─", len([]rune(name))))
	p.para(fmt.Sprintf("%d GPUs, prompts of %.0f tokens on average, batches of up to %d tokens a rank; objective: %s to the first token on average.",
		r.GPUs, r.PromptTokens, r.ChunkTokens, seconds(r.SLOS)))
	p.printf("\n")
	var rows, waits []table.Row
	for _, b := range r.Balancers {
		of, _, _ := strings.Cut(b.Balancer, ":")
		rows = append(rows, table.Row{of, fmt.Sprintf("%.3f", b.ImbalanceBefore), fmt.Sprintf("%.3f", b.ImbalanceAfter), fmt.Sprintf("%.3f", b.OverBound), fmt.Sprintf("%.1f", b.ActivationOverIdeal),
			seconds(b.BatchS), fmt.Sprintf("%.1f", b.RPSAtSLO), fmt.Sprintf("%.1f %%", 100*b.OverIdeal)})
		waits = append(waits, table.Row{of, fmt.Sprintf("%.1f", b.Rate), seconds(b.TTFT.Mean), seconds(b.TTFT.P50), seconds(b.TTFT.P90), seconds(b.TTFT.P99)})
	}
	cols := []table.ColumnConfig{{Number: 1, WidthMax: 18}}
	for n := 2; n <= 8; n++ {
		cols = append(cols, table.ColumnConfig{Number: n, Align: text.AlignRight})
	}
	p.table(cols, table.Row{"balancer", "before", "after", "over", "peak", "batch", "requests/s", "of ideal"}, rows)
	p.table(cols, table.Row{"first token after", "requests/s", "mean", "p50", "p90", "p99"}, waits)
	p.para("before, after: imbalance of ranks, largest load over the mean; over: largest load over its certified bound; peak: of what experts hold, over an ideal router's; batch: a full one on all ranks; requests/s: most that meet the objective.")
	p.printf("\n")
	p.expectations(r.Expect)
	for _, x := range r.Warnings {
		p.para("warning: " + x)
	}
	return p.err
}
