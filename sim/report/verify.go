package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"orrery/sim/verify"
)

// Para prints a paragraph, wrapped to the width.
func Para(w io.Writer, s string) error {
	p := &printer{w: w}
	p.para(s)
	return p.err
}

// Table prints rows under a header in the style of all reports. The last column
// is clipped to what is left of the width.
func Table(w io.Writer, head table.Row, rows []table.Row) error {
	const padding, least = 2, 8
	left, last := Width-padding, len(head)-1
	for c := range last {
		widest := len([]rune(fmt.Sprint(head[c])))
		for _, r := range rows {
			widest = max(widest, len([]rune(fmt.Sprint(r[c]))))
		}
		left -= widest + padding
	}
	clipped := make([]table.Row, len(rows))
	for i, r := range rows {
		clipped[i] = slices.Clone(r)
		clipped[i][last] = clip(fmt.Sprint(r[last]), max(left, least))
	}
	p := &printer{w: w}
	p.table(nil, head, clipped)
	return p.err
}

// Verify prints each row's prediction against its measurement, then errors by
// source, by GPU and in all, and why rows were not predicted.
func Verify(w io.Writer, r *verify.Report) error {
	p := &printer{w: w}
	right := func(n int) table.ColumnConfig { return table.ColumnConfig{Number: n, Align: text.AlignRight} }
	var rows []table.Row
	for _, o := range r.Rows {
		if o.Status == verify.Predicted {
			rows = append(rows, table.Row{o.ID, o.GPU, clip(o.Model, 14), shortMetric(o.Metric), number(o.Predicted), number(o.Measured), fmt.Sprintf("%+.1f %%", 100*o.Error)})
		}
	}
	p.table([]table.ColumnConfig{right(5), right(6), right(7)},
		table.Row{"run", "gpu", "model", "metric", "predicted", "measured", "error"}, rows)
	p.reasons(r)
	p.groups(r.Summary.Groups)
	s := r.Summary
	p.printf("%d of %d rows predicted (%.0f %%)\n", s.Expressed, s.Rows, 100*s.Share)
	return p.err
}

func (p *printer) reasons(r *verify.Report) {
	ids := map[string][]string{}
	for _, o := range r.Rows {
		if o.Status != verify.Predicted {
			ids[o.Reason] = append(ids[o.Reason], o.ID)
		}
	}
	reasons := make([]string, 0, len(ids))
	for k := range ids {
		reasons = append(reasons, k)
	}
	slices.SortFunc(reasons, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(ids[b]), len(ids[a])), cmp.Compare(a, b))
	})
	if len(reasons) > 0 {
		p.printf("not predicted\n")
	}
	for _, k := range reasons {
		p.para(fmt.Sprintf("%4d  %s: %s", len(ids[k]), k, strings.Join(ids[k], " ")))
	}
	if len(reasons) > 0 {
		p.printf("\n")
	}
}

func (p *printer) groups(groups []verify.Group) {
	right := []table.ColumnConfig{}
	for n := 2; n <= 9; n++ {
		right = append(right, table.ColumnConfig{Number: n, Align: text.AlignRight})
	}
	pct := func(e verify.Errors) []any {
		if e.Count == 0 {
			return []any{"", "", "", ""}
		}
		return []any{e.Count, fmt.Sprintf("%.1f", 100*e.Median), fmt.Sprintf("%.1f", 100*e.Mean), fmt.Sprintf("%.1f", 100*e.P90)}
	}
	var rows []table.Row
	for _, g := range groups {
		name := g.Value
		if g.By == "all" {
			name = "all"
		}
		row := table.Row{clip(name, 26)}
		row = append(row, pct(g.Time)...)
		row = append(row, pct(g.Memory)...)
		rows = append(rows, row)
	}
	p.printf("absolute error of time and memory metrics, in %%\n")
	p.table(right, table.Row{"", "time", "med", "mean", "p90", "mem", "med", "mean", "p90"}, rows)
}

func clip(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

func shortMetric(m string) string {
	return strings.NewReplacer("tokens_per_s_per_gpu", "tok/s/GPU", "model_tflops_per_gpu", "TFLOP/s", "step_time_s", "step s").Replace(m)
}

func number(f float64) string { return fmt.Sprintf("%.4g", f) }
