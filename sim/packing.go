package sim

import (
	"context"
	"errors"
	"slices"

	"orrery/schedules/packing"
	"orrery/sim/lower"
	"orrery/sim/program"
	"orrery/sim/unit"
)

// Packing says how samples of unequal length were packed and what became of it. The
// fields of Metrics are by the packers' own model, which has no optimizer and no
// gradient reduction; those that are named simulated are of the run.
type Packing struct {
	Packer  string         `json:"packer"`
	Lengths PackingLengths `json:"lengths"`
	packing.Metrics
	// SimulatedS is when the last pass ended, SimulatedGap that over the bound, less 1:
	// of an average of kernels, since the bound is certified under the packers' model.
	SimulatedS   float64  `json:"simulated_passes_s"`
	SimulatedGap float64  `json:"simulated_gap"`
	Split        GapSplit `json:"simulated_gap_split"`
	// Busy time of replicas and stages in the run, max over mean.
	SimulatedDP     float64 `json:"simulated_imbalance_dp"`
	SimulatedStages float64 `json:"simulated_imbalance_stages"`
	// MemoryLimitGiB is the packers' limit on activations of the first stage,
	// SimulatedPeakGiB what the fullest rank of it held in the run.
	MemoryLimitGiB   float64 `json:"memory_limit_gib"`
	SimulatedPeakGiB float64 `json:"simulated_peak_gib"`
	// Baseline is the same step with rows of the context and 1F1B; nil where that is
	// what was run.
	Baseline *PackingBaseline `json:"baseline,omitempty"`
}

// GapSplit is what SimulatedGap is made of, as shares of the bound: they add up to it.
// It is told on the last stage, where the bound's work is.
type GapSplit struct {
	Bubble    float64 `json:"bubble"`    // in which the busiest lane waits, for the pipeline or for others
	Imbalance float64 `json:"imbalance"` // of the lanes: the busiest over the mean
	Exchange  float64 `json:"exchange"`  // context parallelism's, as far as attention does not hide it
	// Kernels: what units lose to launches, to tiles that pieces do not fill and to being
	// small, and what the packers' model is off, either way.
	Kernels float64 `json:"kernels"`
}

// PackingLengths is what was packed.
type PackingLengths struct {
	Source     string `json:"source"`
	CutSamples int    `json:"cut_samples"` // that were longer than the context
	CutTokens  int    `json:"cut_tokens"`  // which they lost
	packing.Stats
}

// PackingBaseline is fixed-length packing of the same samples.
type PackingBaseline struct {
	Packer    string  `json:"packer"`
	StepTimeS float64 `json:"step_time_s"`
	Fits      bool    `json:"fits"`
	Speedup   float64 `json:"speedup"` // of the step over the baseline's
	// LongestRow is the time of its longest row over that of the mean one, forward: what
	// the speed-up grows with.
	LongestRow float64 `json:"longest_row"`
}

// baselinePacker is Megatron-LM's: rows of exactly the context.
const baselinePacker = "fixed"

// packing fills in Result.Packing.
func (r *Run) packing(ctx context.Context) error {
	v := r.Plan.Varlen
	if v == nil {
		return nil
	}
	m, err := packing.Measure(&v.Job, v.Units)
	if err != nil {
		return err
	}
	p := &Packing{Packer: v.Packer.Name(), Metrics: *m, MemoryLimitGiB: v.Job.MemoryAt(0) * v.Job.Footprint.Activation / float64(unit.GiB),
		Lengths: PackingLengths{Source: v.Source, CutSamples: v.CutSamples, CutTokens: v.CutTokens, Stats: packing.Describe(v.Job.Lengths)}}
	r.Result.Packing = p
	r.simulated(p)
	p.SimulatedPeakGiB = float64(r.fullest(0).Peak.Bytes) / float64(unit.GiB)
	if r.opt.baseline || p.Packer == baselinePacker {
		return nil
	}
	s := *r.Scenario
	s.Expect, s.Data.Packer, s.Data.Without = nil, baselinePacker, nil
	base, err := Simulate(ctx, &s, Options{NoAdvice: true, Profile: r.opt.Profile, baseline: true})
	if err != nil {
		return err
	}
	p.Baseline = &PackingBaseline{Packer: baselinePacker, StepTimeS: base.Result.StepTimeS, Fits: base.Result.Fits,
		Speedup: base.Result.StepTimeS / r.Result.StepTimeS, LongestRow: base.Result.Packing.MaxForward}
	return nil
}

// simulated sums up the passes that ran.
func (r *Run) simulated(p *Packing) {
	prog, pp := r.Step.Program, r.stages()
	end := unit.Time(0)
	lanes := len(r.Step.Lanes) / pp
	replicas, stages := make([]float64, lanes), make([]float64, pp)
	last, exchange := make([]float64, lanes), 0.0 // on the last stage
	for id, w := range r.Program.Work {
		switch r.Program.Works[w].Kind {
		case program.Forward, program.Backward:
			end = max(end, r.Timeline.End[id])
		}
	}
	for id, w := range prog.Work {
		switch prog.Works[w].Kind {
		case program.Forward, program.Backward:
			rank := int(prog.Lanes[prog.Lane[id]].Rank)
			t := r.prices.dur[w].Seconds()
			replicas[rank/pp] += t
			stages[rank%pp] += t
			if rank%pp == pp-1 {
				last[rank/pp] += t
				exchange += r.prices.works[w].Exposed[lower.CPComm].Seconds() / float64(lanes)
			}
		}
	}
	p.SimulatedS = end.Seconds()
	p.SimulatedGap = p.SimulatedS/p.BoundS - 1
	p.SimulatedDP, p.SimulatedStages = maxOverMean(replicas), maxOverMean(stages)
	busiest := slices.Max(last)
	mean := busiest / maxOverMean(last)
	p.Split = GapSplit{Bubble: (p.SimulatedS - busiest) / p.BoundS, Imbalance: (busiest - mean) / p.BoundS,
		Exchange: exchange / p.BoundS, Kernels: (mean-exchange)/p.BoundS - 1}
}

func maxOverMean(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return slices.Max(x) * float64(len(x)) / max(sum, 1e-300)
}

// metric is one that [[expect]] may name.
func (p *Packing) metric(name string) (float64, error) {
	switch {
	case p == nil:
		return 0, errors.New("expect.metric " + name + ": no samples are packed; it needs data.distribution or data.lengths")
	case name == "packing_gap":
		return p.Gap, nil
	case p.Baseline == nil: // it is the baseline
		return 1, nil
	}
	return p.Baseline.Speedup, nil
}

// scheduleName is the packer's where it orders the passes.
func (r *Run) scheduleName() string {
	if v := r.Plan.Varlen; v != nil {
		return v.Packer.Name()
	}
	return r.Scenario.Schedule.Name
}

// packedFLOPs is flops of samples that do not see each other.
func (r *Run) packedFLOPs() (model, hardware float64) {
	lengths := make([]int64, len(r.Plan.Varlen.Job.Lengths))
	for i, l := range r.Plan.Varlen.Job.Lengths {
		lengths[i] = int64(l)
	}
	model = r.Plan.Model.PackedFLOPs(lengths, r.Plan.Vocab).Total()
	return model, r.Plan.Model.HardwareFLOPs(lengths, r.Plan.Vocab).Total()
}
