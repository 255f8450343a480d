package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"regexp"
	"strings"

	"orrery/sim"
	"orrery/sim/report"
	"orrery/sim/sweep"
)

// sweepColumns are the values of a sweep's page, and where a result has them.
var sweepColumns = []struct {
	report.Column
	of func(*sim.Result) float64
}{
	{report.Column{Key: "step_time_s", Name: "step time", Unit: "s", Better: report.Lower}, func(r *sim.Result) float64 { return r.StepTimeS }},
	{report.Column{Key: "tokens_per_s_per_gpu", Name: "throughput", Unit: "tokens/s/GPU", Better: report.Higher}, func(r *sim.Result) float64 { return r.TokensPerSPerGPU }},
	{report.Column{Key: "peak_memory_gib", Name: "peak memory", Unit: "GiB", Better: report.Lower}, func(r *sim.Result) float64 { return r.PeakMemoryGiB }},
	{report.Column{Key: "mfu", Name: "MFU", Better: report.Higher}, func(r *sim.Result) float64 { return r.MFU }},
	{report.Column{Key: "bubble_fraction", Name: "bubble", Better: report.Lower}, func(r *sim.Result) float64 { return r.BubbleFraction }},
	{report.Column{Key: "exposed_comm_fraction", Name: "exposed communication", Better: report.Lower}, func(r *sim.Result) float64 { return r.ExposedCommFraction }},
	{report.Column{Key: "gpus", Name: "GPUs", Better: report.Lower}, func(r *sim.Result) float64 { return float64(r.GPUs) }},
}

// sweepPage makes a page of the points of a sweep that are done.
func sweepPage(dir string) (*report.PointsPage, error) {
	p := &report.PointsPage{Title: strings.TrimSuffix(filepath.Base(filepath.Clean(dir)), ".sweep"), X: "peak_memory_gib", Y: "tokens_per_s_per_gpu"}
	for _, c := range sweepColumns {
		p.Columns = append(p.Columns, c.Column)
	}
	counts := map[sweep.Status]int{}
	points, err := sweep.Rows(dir, func(r *sweep.Row) error {
		counts[r.Status]++
		pt, err := pointOf(r)
		if err != nil {
			return fmt.Errorf("point %d: %w", r.Point, err)
		}
		p.Points = append(p.Points, pt)
		return nil
	})
	if err != nil {
		return nil, err
	}
	p.About = fmt.Sprintf("A sweep of %d points: %s.", points, countsText(counts))
	if left := points - len(p.Points); left > 0 {
		p.About += fmt.Sprintf(" %d points are not computed yet.", left)
	}
	p.About += " Settings are those of the sweep's axes; what it sets for all points is in its file."
	return p, nil
}

func pointOf(r *sweep.Row) (report.Point, error) {
	pt := report.Point{Name: fmt.Sprint(r.Point), Settings: map[string]string{}, Status: strings.ReplaceAll(string(r.Status), "_", " "), Note: r.Reason}
	for key, v := range r.Values {
		text, err := settingText(v)
		if err != nil {
			return pt, err
		}
		pt.Settings[key] = text
	}
	var res sim.Result
	if r.Result != nil {
		if err := json.Unmarshal(r.Result, &res); err != nil {
			return pt, err
		}
	}
	for _, c := range sweepColumns {
		v := math.NaN()
		if r.Result != nil {
			v = c.of(&res)
		}
		pt.Values = append(pt.Values, v)
	}
	return pt, nil
}

// plainText is a string that --set takes without quotes and does not read as a number.
var plainText = regexp.MustCompile(`^[A-Za-z_][\w./-]*$`)

// settingText is a value as --set takes it: JSON's lists and strings are TOML's too.
func settingText(v any) (string, error) {
	if s, ok := v.(string); ok && plainText.MatchString(s) && s != "true" && s != "false" && s != "inf" && s != "nan" {
		return s, nil
	}
	b, err := json.Marshal(v)
	return string(b), err
}

// page writes the page of --html.
func (c *resultsCmd) page(std *streams) error {
	if c.SQL != "" || c.Out != "" || c.Format != "table" {
		return badInput(fmt.Errorf("--html shows all points of the sweep: not with --sql, --format or --out"))
	}
	p, err := sweepPage(c.Dir)
	if err != nil {
		return badInput(err)
	}
	if err := writeFile(c.HTML, func(w io.Writer) error { return report.Points(w, *p) }); err != nil {
		return badInput(err)
	}
	_, err = fmt.Fprintf(std.out, "wrote %s\n", c.HTML)
	return err
}
