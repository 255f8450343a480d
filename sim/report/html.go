package report

import (
	_ "embed" // the page's template
	"fmt"
	"html/template"
	"io"
	"strings"

	"orrery/sim"
)

//go:embed page.html
var pageSource string

var page = template.Must(template.New("report").Funcs(template.FuncMap{
	"seconds": seconds,
	"percent": func(f float64) string { return fmt.Sprintf("%.1f %%", 100*f) },
	"css":     func(f float64) template.CSS { return template.CSS(fmt.Sprintf("%.2f%%", 100*f)) },
	"words":   func(s string) string { return strings.ReplaceAll(s, "_", " ") },
	"gib":     func(f float64) string { return fmt.Sprintf("%.2f", f) },
	"sources": sources,
	"mul":     func(f float64) float64 { return 100 * f },
}).Parse(pageSource))

// share is a row of the breakdown.
type share struct {
	Name    string
	Seconds float64
	Share   float64
}

// HTML writes the report as one page that needs nothing else.
func HTML(w io.Writer, run *sim.Run) error {
	r := run.Result
	var rows []share
	for _, k := range byValue(r.BreakdownS) {
		if v := r.BreakdownS[k]; v >= r.StepTimeS*5e-4 {
			rows = append(rows, share{k, v, v / r.StepTimeS})
		}
	}
	var path []share
	for _, k := range byValue(r.CriticalPath) {
		if v := r.CriticalPath[k]; v >= 0.005 {
			path = append(path, share{k, v * r.StepTimeS, v})
		}
	}
	classes := memoryClasses(r)
	var packed map[string]any
	if r.Packing != nil {
		head, row := quantiles(r.Packing)
		packed = map[string]any{"P": r.Packing, "Rows": packingRows(r.Packing), "Octaves": octaves(r.Packing), "Head": head, "Quantiles": row}
	}
	return page.Execute(w, map[string]any{
		"R": r, "Breakdown": rows, "Path": path, "Gantt": gantt(run), "Memory": memoryChart(run),
		"MemClasses": classes, "MemRows": memoryRows(r, classes), "Scenario": run.Scenario, "Packed": packed, "Balancers": balancers(r),
	})
}

// memoryClasses are the columns of the memory table, in order of size.
func memoryClasses(r *sim.Result) []string {
	sum := map[string]float64{}
	for _, s := range r.MemoryGiBByStage {
		for k, v := range s.Breakdown {
			sum[k] += v
		}
	}
	return byValue(sum)
}

type memoryRow struct {
	Stage int
	Peak  float64
	At    string
	Cells []float64
}

func memoryRows(r *sim.Result, classes []string) []memoryRow {
	var out []memoryRow
	for _, s := range r.MemoryGiBByStage {
		row := memoryRow{Stage: s.Stage, Peak: s.PeakGiB, At: s.At}
		for _, c := range classes {
			row.Cells = append(row.Cells, s.Breakdown[c])
		}
		out = append(out, row)
	}
	return out
}
