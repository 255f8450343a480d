package report

import (
	"fmt"
	"math"

	"orrery/sim/search"
)

// SearchPage is the page of the points that a search simulated. Command is what their
// settings are appended to: "sim run quickstart".
func SearchPage(r *search.Result, command string) (*PointsPage, error) {
	p := &PointsPage{Title: r.Name, Command: command, X: "peak_memory_gib", Y: "step_time_s", Columns: []Column{
		{Key: "step_time_s", Name: "step time", Unit: "s", Better: Lower},
		{Key: "peak_memory_gib", Name: "peak memory", Unit: "GiB", Better: Lower},
		{Key: "mfu", Name: "MFU", Better: Higher},
		{Key: "usd_per_1e12_tokens", Name: "cost of 1e12 tokens", Unit: "USD", Better: Lower},
		{Key: "mwh_per_1e12_tokens", Name: "energy of 1e12 tokens", Unit: "MWh", Better: Lower},
		{Key: "gpus", Name: "GPUs", Better: Lower},
		{Key: "over_bound", Name: "step time over its lower bound"},
	}}
	for i, q := range r.Points {
		pt := Point{Name: fmt.Sprint(i + 1), Settings: map[string]string{}, Status: StatusOK,
			Values: []float64{q.StepTimeS, q.PeakMemoryGiB, q.MFU, q.USDPerTTokens, q.MWhPerTTokens, float64(q.GPUs), math.NaN()}}
		if q.BoundS > 0 {
			pt.Values[6] = q.StepTimeS/q.BoundS - 1
		}
		if !q.Fits {
			pt.Status = "does not fit"
		}
		for key, v := range q.Values {
			text, err := settingText(v)
			if err != nil {
				return nil, err
			}
			pt.Settings[key] = text
		}
		p.Points = append(p.Points, pt)
	}
	c := r.Counts
	p.About = fmt.Sprintf("The %s points that a search simulated, of %s valid ones: %s need more memory than there is and %s cannot be better, by their bounds.",
		thousands(len(r.Points)), thousands(c.Valid), thousands(c.PrunedMemory), thousands(c.PrunedBound))
	if c.NotConsidered > 0 {
		p.About += fmt.Sprintf(" %s were not looked at.", thousands(c.NotConsidered))
	}
	return p, nil
}
