// Package goodput tells how much of a long job's time is useful when parts of
// its machine fail: checkpoints, what a failure loses, restarts, stragglers and
// spare nodes, in closed form (expect.go) and by simulation (montecarlo.go).
// It knows seconds and rates, not what a step computes.
//
// One model underlies both. The job runs segments of Steps steps, each ended by
// a checkpoint for which training waits BlockS and which is safe WriteS later,
// while the next segment runs; the next checkpoint waits for it. Failures come
// as a Poisson process while the job runs or restarts. A failure throws the job
// back to the last safe checkpoint and costs RestartS, in which it may fail
// again. A failure that breaks a node takes one of Spares spare nodes, which a
// repaired node refills after RepairS; without one the job waits, and what does
// not run does not fail.
package goodput

import (
	"fmt"
	"math"
)

// Job is one training job on its machine. Durations are seconds.
type Job struct {
	Steps int64   // steps to train
	StepS float64 // one step without failures

	BlockS   float64 // training waits for each checkpoint
	WriteS   float64 // from there until the checkpoint is safe, beside training; 0 if BlockS includes the writing
	RestartS float64 // from a failure to the first step: detect, replace, start, load

	Rates Rates

	// SlowShare is the share of segments in which a straggler stretches every
	// step by SlowBy (0.1: 10 %).
	SlowShare, SlowBy float64

	Spares  int64   // spare nodes; Unlimited if there is always one
	RepairS float64 // from a node's failure until it is a spare again
}

// Unlimited is the number of spares of a job that never waits for one.
const Unlimited = math.MaxInt64

// Rates are failures of the whole job per second of running.
type Rates struct {
	Node float64 // that take a node out: GPUs and hosts
	Else float64 // that need a restart only: network, software
}

// Total is the rate of all failures.
func (r Rates) Total() float64 { return r.Node + r.Else }

// Check refuses jobs that make no sense, naming the field.
func (j Job) Check() error {
	for _, f := range []struct {
		name     string
		v        float64
		positive bool
	}{{"step time", j.StepS, true}, {"checkpoint's block time", j.BlockS, false}, {"checkpoint's write time", j.WriteS, false},
		{"restart time", j.RestartS, false}, {"rate of node failures", j.Rates.Node, false}, {"rate of other failures", j.Rates.Else, false},
		{"slow-down of stragglers", j.SlowBy, false}, {"repair time", j.RepairS, false}} {
		if !(f.v >= 0) || math.IsInf(f.v, 0) || f.positive && f.v == 0 {
			return fmt.Errorf("goodput: the %s is %g", f.name, f.v)
		}
	}
	switch {
	case j.Steps < 1:
		return fmt.Errorf("goodput: %d steps to train", j.Steps)
	case !(j.SlowShare >= 0 && j.SlowShare <= 1):
		return fmt.Errorf("goodput: a share %g of slow segments", j.SlowShare)
	case j.Spares < 0:
		return fmt.Errorf("goodput: %d spare nodes", j.Spares)
	}
	return nil
}

// segment is how long a segment of steps takes where nothing fails.
type segment struct {
	// after a checkpoint: from the moment it is safe to the moment the next one is.
	after float64
	// again: from the first step to the moment its checkpoint is safe.
	again float64
}

func (j Job) segment(steps int64, slow bool) segment {
	work := float64(steps) * j.StepS
	if slow {
		work *= 1 + j.SlowBy
	}
	return segment{after: max(work, j.WriteS) + j.BlockS, again: work + j.BlockS + j.WriteS}
}
