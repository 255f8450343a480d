package capacity

import (
	"context"
	"math"

	"orrery/scenarios"
	"orrery/sim/goodput"
)

// rerunFactor is the finite change that derivatives are held against.
const rerunFactor = 1.1

// stepNames are the machine's figures as people call them.
var stepNames = map[string]string{"cluster.override.flops_factor": "FLOP/s", "cluster.override.hbm_gbps": "HBM bandwidth",
	"cluster.override.nvlink_gbps": "NVLink bandwidth", "cluster.override.nic_gbps": "NIC bandwidth"}

// sensitivity is what one per cent more of each figure buys the chosen machine:
// derivatives of the step along its critical path and of the closed form, each
// beside the same question asked again with ten per cent more.
func sensitivity(ctx context.Context, c *scenarios.Capacity, o *Option) ([]Effect, error) {
	steps, err := o.run.Sensitivity(ctx)
	if err != nil {
		return nil, err
	}
	every := o.Checkpoint.EverySteps
	el := o.job.Elasticity(every)
	var out []Effect
	add := func(e Effect, change func(*goodput.Job)) {
		j := o.job
		change(&j)
		k := c.Checkpoint.Steps
		if k == 0 {
			k = j.BestInterval()
		}
		e.Rerun = (j.Expect(k).TotalS/day/o.Days - 1) / (rerunFactor - 1)
		e.PerUnitDays = e.Days * o.Days / e.Value
		out = append(out, e)
	}
	for _, d := range steps {
		add(Effect{What: stepNames[d.Key], Value: d.Value, Unit: d.Unit, Step: d.Elasticity, Days: d.Elasticity * el.Step},
			func(j *goodput.Job) { j.StepS *= 1 + d.Rerun*(rerunFactor-1) })
	}
	if o.MTBFHours > 0 {
		add(Effect{What: "time between failures", Value: o.MTBFHours, Unit: "h", Days: -el.Failures}, func(j *goodput.Job) {
			j.Rates.Node, j.Rates.Else = j.Rates.Node/rerunFactor, j.Rates.Else/rerunFactor
		})
		loads := o.Checkpoint.GB / c.ReadGBps / o.RestartS
		if c.RestartMinutes > 0 {
			add(Effect{What: "restart time", Value: c.RestartMinutes, Unit: "min", Days: el.Restart * (1 - loads)},
				func(j *goodput.Job) { j.RestartS += c.RestartMinutes * 60 * (rerunFactor - 1) })
		}
		add(Effect{What: "storage reads", Value: c.ReadGBps, Unit: "GB/s", Days: -el.Restart * loads},
			func(j *goodput.Job) { j.RestartS -= o.RestartS * loads * (1 - 1/rerunFactor) })
	}
	writing := Effect{What: "storage writes", Value: c.Checkpoint.StorageGBps, Unit: "GB/s"}
	if c.Checkpoint.Mode == scenarios.CheckpointBehind {
		writing.Days = -el.Write
		add(writing, func(j *goodput.Job) { j.WriteS /= rerunFactor })
	} else {
		bytes := o.job.BlockS - c.Checkpoint.OverheadS
		writing.Days = -el.Checkpoint * bytes / o.job.BlockS
		add(writing, func(j *goodput.Job) { j.BlockS -= bytes * (1 - 1/rerunFactor) })
	}
	for i := range out { // no negative zeros
		out[i].Days, out[i].PerUnitDays, out[i].Rerun = zero(out[i].Days), zero(out[i].PerUnitDays), zero(out[i].Rerun)
	}
	return out, nil
}

// zero drops the sign of a zero, and what is no more than rounding.
func zero(x float64) float64 {
	if math.Abs(x) < 1e-12 {
		return 0
	}
	return x
}
