package sim

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"orrery/scenarios"
	"orrery/sim/lower"
	"orrery/sim/unit"
)

// Launching says how far a step is bound by launching kernels instead of running
// them, on the mean rank.
type Launching struct {
	// BoundFraction is the share of the step in which the GPU waits for the host or
	// runs kernels that are shorter than their launch.
	BoundFraction float64 `json:"bound_fraction"`
	WaitFraction  float64 `json:"wait_fraction"` // of BoundFraction, the waits
	Kernels       int64   `json:"kernels"`       // launched in a step
	PerKernelUS   float64 `json:"per_kernel_us"` // what a launch takes
	// Changes that take launches away or spread them over more work, where the step
	// is bound by them: fastest first.
	Changes []LaunchChange `json:"changes,omitempty"`
}

// LaunchChange is a change of the scenario and what it brings.
type LaunchChange struct {
	Change        string  `json:"change"`
	Speedup       float64 `json:"speedup"` // of the tokens a second
	BoundFraction float64 `json:"bound_fraction"`
}

// graphLaunch is what a kernel takes in a CUDA graph that has nothing to do:
// measured on an H100, 1.04 us (calibrate/samples/h100, launch, kind=graph).
const graphLaunch = 1_040_000 * unit.Picosecond

// launchBound is the fraction from which on a step counts as bound by launches,
// so that changes are tried.
const launchBound = 0.2

// launching adds up the compute lanes.
func (r *Run) launching(ctx context.Context) {
	launch := r.prices.host
	if launch == 0 {
		launch = graphLaunch
	}
	counts := make([]int64, len(r.Step.Works))
	for id, w := range r.Step.Program.Work {
		if r.Step.Program.Lane[id] == r.Step.Lanes[r.Step.Program.Lanes[r.Step.Program.Lane[id]].Rank].Compute {
			counts[w]++
		}
	}
	var waits, short unit.Time
	kernels := int64(0)
	for w, n := range counts {
		waits += unit.Time(n) * r.prices.works[w].Host
		kernels += n * r.prices.works[w].Launches
		for _, u := range r.Step.Works[w].Blocks {
			short += unit.Time(n*u.Times) * r.prices.shorter(u.Block, launch)
		}
	}
	ranks := float64(len(r.Step.Lanes))
	step := r.Result.StepTimeS
	r.Result.Launching = Launching{
		BoundFraction: (waits + short).Seconds() / ranks / step, WaitFraction: waits.Seconds() / ranks / step,
		Kernels: kernels / int64(len(r.Step.Lanes)), PerKernelUS: launch.Micros(),
	}
	if r.Result.Launching.BoundFraction >= launchBound && !r.opt.NoAdvice && r.Plan.Varlen == nil {
		r.Result.Launching.Changes = r.launchChanges(ctx)
	}
}

// shorter is the time of a block's kernels that take less than their launch.
func (p *prices) shorter(b *lower.Block, launch unit.Time) unit.Time {
	var sum unit.Time
	bp := p.blocks[b]
	if bp == nil { // a pass of a pair, which has been merged with another
		return 0
	}
	for i, op := range b.Ops {
		if op.Lane == lower.Compute && bp.Dur[i] < launch*unit.Time(max(op.Launches, 1)) {
			sum += bp.Dur[i]
		}
	}
	return sum
}

// launchRemedies are changes against launches.
var launchRemedies = []change{
	{"framework.cuda_graphs = true", func(s *scenarios.Scenario) bool {
		old := s.Framework.CUDAGraphs
		s.Framework.CUDAGraphs = true
		return !old
	}, true},
	{"framework.fused_kernels = true", func(s *scenarios.Scenario) bool {
		old := s.Framework.FusedKernels
		s.Framework.FusedKernels = true
		return !old
	}, true},
	{"data.by_dialogue = false", func(s *scenarios.Scenario) bool {
		old := s.Data.ByDialogue
		s.Data.ByDialogue = false
		return old
	}, true},
	{"4 x training.micro_batch and global_batch", func(s *scenarios.Scenario) bool {
		s.Training.MicroBatch *= 4
		s.Training.GlobalBatch *= 4
		return true
	}, true},
}

// launchChanges tries each remedy alone and keeps those that fit and are faster by
// 1 % or more.
func (r *Run) launchChanges(ctx context.Context) []LaunchChange {
	var out []LaunchChange
	for _, c := range launchRemedies {
		s := *r.Scenario
		s.Expect = nil
		if !c.apply(&s) {
			continue
		}
		other, err := Simulate(ctx, &s, Options{NoAdvice: true, Profile: r.opt.Profile})
		if err != nil || !other.Result.Fits || other.Result.TokensPerSPerGPU < 1.01*r.Result.TokensPerSPerGPU {
			continue
		}
		out = append(out, LaunchChange{c.what, other.Result.TokensPerSPerGPU / r.Result.TokensPerSPerGPU, other.Result.Launching.BoundFraction})
	}
	slices.SortStableFunc(out, func(a, b LaunchChange) int { return cmp.Compare(b.Speedup, a.Speedup) })
	return out
}

// String says it in a sentence; empty where launches do not matter.
func (l Launching) String() string {
	if l.BoundFraction < launchBound {
		return ""
	}
	return fmt.Sprintf("launch-bound: in %.0f %% of the step the GPU waits for the host (%.0f %%) or runs kernels shorter than their launch (%.3g us each, %d a step)",
		100*l.BoundFraction, 100*l.WaitFraction, l.PerKernelUS, l.Kernels)
}
