package report

import (
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"strings"

	"orrery/sim"
	"orrery/sim/sweep"
)

// sweepColumns are the values of a sweep's page, and where a result has them.
var sweepColumns = []struct {
	Column
	of func(*sim.Result) float64
}{
	{Column{Key: "step_time_s", Name: "step time", Unit: "s", Better: Lower}, func(r *sim.Result) float64 { return r.StepTimeS }},
	{Column{Key: "tokens_per_s_per_gpu", Name: "throughput", Unit: "tokens/s/GPU", Better: Higher}, func(r *sim.Result) float64 { return r.TokensPerSPerGPU }},
	{Column{Key: "peak_memory_gib", Name: "peak memory", Unit: "GiB", Better: Lower}, func(r *sim.Result) float64 { return r.PeakMemoryGiB }},
	{Column{Key: "mfu", Name: "MFU", Better: Higher}, func(r *sim.Result) float64 { return r.MFU }},
	{Column{Key: "bubble_fraction", Name: "bubble", Better: Lower}, func(r *sim.Result) float64 { return r.BubbleFraction }},
	{Column{Key: "exposed_comm_fraction", Name: "exposed communication", Better: Lower}, func(r *sim.Result) float64 { return r.ExposedCommFraction }},
	{Column{Key: "gpus", Name: "GPUs", Better: Lower}, func(r *sim.Result) float64 { return float64(r.GPUs) }},
}

// SweepPage is the page of the points of a sweep that are done: of the first most of
// them, or of all where that is 0.
func SweepPage(dir string, most int) (*PointsPage, error) {
	p := &PointsPage{Title: strings.TrimSuffix(filepath.Base(filepath.Clean(dir)), ".sweep"), X: "peak_memory_gib", Y: "tokens_per_s_per_gpu"}
	for _, c := range sweepColumns {
		p.Columns = append(p.Columns, c.Column)
	}
	counts, done := map[sweep.Status]int{}, 0
	points, err := sweep.Rows(dir, func(r *sweep.Row) error {
		done++
		if most > 0 && done > most {
			return nil
		}
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
	p.About = fmt.Sprintf("A sweep of %d points: %s.", points, SweepCounts(counts))
	if left := done - len(p.Points); left > 0 {
		p.About += fmt.Sprintf(" %d more are left out here; sim results shows all.", left)
	}
	if left := points - done; left > 0 {
		p.About += fmt.Sprintf(" %d points are not computed yet.", left)
	}
	p.About += " Settings are those of the sweep's axes; what it sets for all points is in its file."
	return p, nil
}

func pointOf(r *sweep.Row) (Point, error) {
	pt := Point{Name: fmt.Sprint(r.Point), Settings: map[string]string{}, Status: strings.ReplaceAll(string(r.Status), "_", " "), Note: r.Reason}
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
var plainText = regexp.MustCompile(`^[A-Za-z_][\w./:+-]*$`)

// settingText is a value as --set takes it: JSON's lists and strings are TOML's too.
func settingText(v any) (string, error) {
	if s, ok := v.(string); ok && plainText.MatchString(s) && s != "true" && s != "false" && s != "inf" && s != "nan" {
		return s, nil
	}
	b, err := json.Marshal(v)
	return string(b), err
}

// SweepCounts writes "60 ok, 12 refused".
func SweepCounts(counts map[sweep.Status]int) string {
	var parts []string
	for _, s := range sweep.Statuses {
		if n := counts[s]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, strings.ReplaceAll(string(s), "_", " ")))
		}
	}
	return strings.Join(parts, ", ")
}
