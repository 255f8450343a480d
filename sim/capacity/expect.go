package capacity

import (
	"fmt"
	"math"

	"orrery/scenarios"
	"orrery/sim"
)

// expect holds the chosen machine against the plan's published figures.
func (r *Result) expect(c *scenarios.Capacity) error {
	for _, e := range c.Expect {
		x := sim.Expectation{Metric: e.Metric, Expected: e.Value, Tolerance: e.Tolerance, Source: e.Source}
		if r.Chosen >= 0 {
			got, err := r.Options[r.Chosen].metric(e.Metric)
			if err != nil {
				return err
			}
			x.Got, x.Error = got, got
			if e.Value != 0 { // of nothing there is no relative error
				x.Error = got/e.Value - 1
			}
			x.OK = math.Abs(x.Error) <= e.Tolerance
		}
		r.Expect = append(r.Expect, x)
	}
	return nil
}

// metric is a figure by the name that [[expect]] gives it.
func (o *Option) metric(name string) (float64, error) {
	switch name {
	case "gpus":
		return float64(o.GPUs), nil
	case "step_time_s":
		return o.StepTimeS, nil
	case "goodput":
		return o.Goodput, nil
	case "interruptions":
		return o.Interruptions, nil
	case "mtbf_hours":
		return o.MTBFHours, nil
	case "days":
		return o.Days, nil
	case "tokens":
		return o.Tokens, nil
	case "checkpoint_interval_s":
		return o.Checkpoint.EveryS, nil
	case "spare_nodes":
		return float64(o.SpareNodes), nil
	case "gpu_hours":
		return o.GPUHours, nil
	case "cost_usd":
		return o.CostUSD, nil
	case "energy_mwh":
		return o.EnergyMWh, nil
	}
	return 0, fmt.Errorf("no figure of a plan is called %q", name)
}
