package report

import (
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"strings"

	"orrery/sim"
	"orrery/sim/cost"
	"orrery/sim/program"
	"orrery/sim/unit"
)

//go:embed page.html
var pageSource string

// assets are the pages' scripts and styles; they become part of each page.
//
//go:embed assets
var assets embed.FS

var page = template.Must(template.New("report").Funcs(pageFuncs).Parse(pageSource))

var pageFuncs = template.FuncMap{
	"seconds": seconds,
	"percent": func(f float64) string { return fmt.Sprintf("%.1f\u00a0%%", 100*f) },
	"css":     func(f float64) string { return fmt.Sprintf("%.2f%%", 100*min(max(f, 0), 1)) },
	"words":   func(s string) string { return strings.ReplaceAll(s, "_", " ") },
	"gib":     func(f float64) string { return fmt.Sprintf("%.2f", f) },
	"amount":  amount,
	"count":   count,
	"sources": sources,
	"mul":     func(f float64) float64 { return 100 * f },
}

// shell is what every page has: its looks, its script, and the policy under which a
// browser runs that script and nothing else, and loads nothing.
type shell struct {
	CSS    template.CSS
	Script template.JS
	Policy string
}

func newShell(scripts ...string) shell {
	css := asset("page.css")
	var js strings.Builder
	for _, s := range scripts {
		js.WriteString(asset(s))
	}
	hash := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return shell{
		CSS: template.CSS(css), Script: template.JS(js.String()), //nolint:gosec // embedded files
		Policy: "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; style-src " + hash(css) + "; script-src " + hash(js.String()),
	}
}

func asset(name string) string {
	b, err := assets.ReadFile("assets/" + name)
	if err != nil {
		panic(err) // it is embedded
	}
	return string(b)
}

var stepShell = newShell("util.js", "timeline.js", "gantt.js", "explore.js", "memory.js", "report.js")

// inline is a value as the text of a data block of a page: json.Marshal escapes what
// could end the block.
func inline(v any) (template.JS, error) {
	b, err := json.Marshal(v)
	return template.JS(b), err //nolint:gosec // see above
}

// amount is a mean number of bytes, which need not be whole.
func amount(bytes float64) string {
	if bytes < 1024 {
		return fmt.Sprintf("%.3g B", bytes)
	}
	return unit.Bytes(bytes + 0.5).String()
}

// count is a mean number of things.
func count(x float64) string {
	if x >= 100 {
		return fmt.Sprintf("%.0f", x)
	}
	return fmt.Sprintf("%.3g", x)
}

// share is a row of the breakdown.
type share struct {
	Name    string
	Seconds float64
	Share   float64
}

// stepData is what the page's script reads.
type stepData struct {
	Makespan int64    `json:"makespan"` // ps
	Kinds    []string `json:"kinds"`    // by program.Kind
	sliceData
	worksData
	Memory *memoryData `json:"memory"`
}

// HTML writes the report as one page that needs nothing else.
func HTML(w io.Writer, run *sim.Run) error {
	return writeHTML(w, run, maxSlices, maxKernels, maxMemoryPoints)
}

func writeHTML(w io.Writer, run *sim.Run, slices, kernels, points int) error {
	r := run.Result
	data := stepData{Makespan: int64(run.Makespan()), Memory: memoryOf(run, points)}
	for k := range program.NumKinds {
		data.Kinds = append(data.Kinds, k.String())
	}
	shown, err := slicesOf(stepsOf(run), slices)
	if err != nil {
		return err
	}
	works, err := worksOf(run, kernels)
	if err != nil {
		return err
	}
	data.sliceData, data.worksData = *shown, *works
	text, err := inline(data)
	if err != nil {
		return err
	}
	links, err := linksOf(run)
	if err != nil {
		return err
	}
	var rows, path, from []share
	for _, k := range byValue(r.BreakdownS) {
		if v := r.BreakdownS[k]; v >= r.StepTimeS*5e-4 {
			rows = append(rows, share{k, v, v / r.StepTimeS})
		}
	}
	for _, k := range byValue(r.CriticalPath) {
		if v := r.CriticalPath[k]; v >= 0.005 {
			path = append(path, share{k, v * r.StepTimeS, v})
		}
	}
	for _, k := range byValue(r.Sources) {
		if r.Sources[k] < 5e-4 {
			continue
		}
		from = append(from, share{Name: sourceWords(cost.Source(k)), Share: r.Sources[k]})
	}
	classes := memoryClasses(r)
	var packed map[string]any
	if r.Packing != nil {
		head, row := quantiles(r.Packing)
		packed = map[string]any{"P": r.Packing, "Rows": packingRows(r.Packing), "Octaves": octaves(r.Packing), "Head": head, "Quantiles": row}
	}
	return page.Execute(w, map[string]any{
		"CSS": stepShell.CSS, "Script": stepShell.Script, "Policy": stepShell.Policy, "Data": text,
		"R": r, "Scenario": run.Scenario, "CapacityGiB": run.GPU().HBM.GiB(), "ModelError": sim.StepModelError,
		"Kinds": kindsOf(run), "Notes": notes(run, &data), "Breakdown": rows, "Path": path, "Sources": from,
		"MemClasses": classes, "MemRows": memoryRows(r, classes), "Links": links, "Rates": rates(run), "Packed": packed, "Balancers": balancers(r),
	})
}

// kindsOf are the kinds of work on the page's timeline, for its legend.
func kindsOf(run *sim.Run) (out []string) {
	var there [program.NumKinds]bool
	for id, w := range run.Program.Work {
		if run.Timeline.End[id] > run.Timeline.Start[id] {
			there[run.Program.Works[w].Kind] = true
		}
	}
	for k := range program.NumKinds {
		if there[k] {
			out = append(out, k.String())
		}
	}
	return out
}

// notes say what the timeline stands for and what is not on the page.
func notes(run *sim.Run, d *stepData) (out []string) {
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if n := standsFor(run); n > 1 {
		add("Each rank stands for the %d GPUs that do the same at the same time (× %d); sim run --expand shows every one.", n, n)
	}
	if d.LeftOutRanks > 0 {
		add("Left out: %d of %d ranks with %d of %d slices. A page holds the first ranks with at most %d slices in all; timeline.pftrace has every one. Of the critical path %d ops are not here.",
			d.LeftOutRanks, len(run.Lanes), d.LeftOutSlices, run.Program.Len(), maxSlices, d.LeftOutPath)
	}
	if n := d.LeftOut; n > 0 {
		add("The kernels of %d kinds of blocks are left out of the pinned ops' tables, which hold at most %d in all; each op has its price.", n, maxKernels)
	}
	if d.Memory.LeftOut > 0 {
		add("Memory over time is left out for the last %d ranks; the table has the peak of every stage.", d.Memory.LeftOut)
	}
	return out
}

// rates of a GPU's links, as the report's note names them.
func rates(run *sim.Run) string {
	var out []string
	for _, l := range []struct {
		of   link
		GBps float64
	}{{nvlink, run.GPU().NVLinkGBps}, {network, run.Scenario.Cluster.NICGBps}, {hostLink, run.Scenario.Cluster.HostGBps}} {
		if l.GBps > 0 {
			out = append(out, fmt.Sprintf("%s %g GB/s", l.of, l.GBps))
		}
	}
	return strings.Join(out, ", ")
}

// sourceWords tells what a source of prices means.
func sourceWords(s cost.Source) string {
	return cmp.Or(map[cost.Source]string{
		cost.Measured: "measured", cost.Interpolated: "fitted to measured kernels", cost.Derived: "derived by a stated rule",
		cost.Published: "published figures", cost.Roofline: "roofline, outside what was measured"}[s], string(s))
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
