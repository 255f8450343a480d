package sim

import (
	"context"
	"fmt"

	"orrery/calibrate"
	"orrery/scenarios"
	"orrery/sim/lower"
	"orrery/sim/plan"
	"orrery/sim/unit"
)

// Derivative tells what more of one figure of the machine does to the step.
type Derivative struct {
	Key   string  `json:"key"` // of the scenario
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	// Elasticity is by how many per cent the step changes for one per cent more:
	// the derivative along the critical path.
	Elasticity float64 `json:"elasticity"`
	// Rerun is the same by running again with ten per cent more: the relative
	// change of the step over 0.1. It is smaller in size, because a resource
	// buys less the more there is of it, and because another chain of ops may take
	// over.
	Rerun float64 `json:"rerun"`
}

// lever is a figure of the machine that can be bought.
type lever struct {
	key, unit string
	at        func(*scenarios.Cluster) *float64
}

var levers = []lever{
	{"cluster.override.flops_factor", "x peak", func(c *scenarios.Cluster) *float64 { return &c.FLOPsFactor }},
	{"cluster.override.hbm_gbps", "GB/s", func(c *scenarios.Cluster) *float64 { return &c.HBMGBps }},
	{"cluster.override.nvlink_gbps", "GB/s", func(c *scenarios.Cluster) *float64 { return &c.NVLinkGBps }},
	{"cluster.override.nic_gbps", "GB/s", func(c *scenarios.Cluster) *float64 { return &c.NICGBps }},
}

const (
	leverStep = 1e-4 // relative: far below kinks, far above rounding to picoseconds
	rerunStep = 0.1
)

// Sensitivity differentiates the step by the machine's peaks and bandwidths. The
// step is as long as the chain of ops that set its end, so that its derivative is
// the sum of the derivatives of their durations, and those are the prices of the
// same works on a machine with a little more of the figure: what overlaps within
// a work is overlapped again, and nothing is ordered again. As long as the
// chain stays the longest this is exact; another chain can only make the step
// longer than the derivative says.
func (r *Run) Sensitivity(ctx context.Context) ([]Derivative, error) {
	var out []Derivative
	for _, l := range levers {
		d := Derivative{Key: l.key, Unit: l.unit, Value: *l.at(&r.Scenario.Cluster)}
		more, err := r.pathWith(l, 1+leverStep)
		if err != nil {
			return nil, err
		}
		makespan := r.Makespan()
		d.Elasticity = (more - makespan).Seconds() / makespan.Seconds() / leverStep
		again, err := Simulate(ctx, r.with(l, 1+rerunStep), Options{Expand: r.opt.Expand, NoAdvice: true, Profile: r.opt.Profile})
		if err != nil {
			return nil, fmt.Errorf("%s times 1.1: %w", l.key, err)
		}
		d.Rerun = (again.Result.StepTimeS/r.Result.StepTimeS - 1) / rerunStep
		out = append(out, d)
	}
	return out, nil
}

// with is the scenario with a figure multiplied.
func (r *Run) with(l lever, factor float64) *scenarios.Scenario {
	s := *r.Scenario
	s.Expect = nil
	*l.at(&s.Cluster) *= factor
	return &s
}

// pathWith is how long the ops of the critical path take together on a machine
// with a figure multiplied.
func (r *Run) pathWith(l lever, factor float64) (unit.Time, error) {
	s := r.with(l, factor)
	gpu, err := machine(s)
	if err != nil {
		return 0, err
	}
	profile, err := calibrate.Profile(s.Cluster.Profile)
	if err != nil {
		return 0, err
	}
	p, err := r.planOn(s)
	if err != nil {
		return 0, err
	}
	step, err := lower.NewStep(p)
	if err != nil {
		return 0, err
	}
	if len(step.Works) != len(r.Step.Works) {
		return 0, fmt.Errorf("%s changes what a step is made of: %d pieces of work instead of %d", l.key, len(step.Works), len(r.Step.Works))
	}
	prices := newPrices(profile.On(gpu), gpu, hostLaunch(s, gpu))
	if err := prices.step(step); err != nil {
		return 0, err
	}
	var sum unit.Time
	for _, id := range r.Timeline.CriticalPath() {
		sum += prices.dur[r.Program.Work[id]]
	}
	return sum, nil
}

// planOn is the run's plan on a machine with another figure: the same passes in
// the same order, also where the order was fitted to the run's own prices.
func (r *Run) planOn(s *scenarios.Scenario) (*plan.Plan, error) {
	if !needsCosts(r.Plan.Schedule) {
		return plan.New(s)
	}
	p := *r.Plan
	p.Scenario = s
	return &p, nil
}
