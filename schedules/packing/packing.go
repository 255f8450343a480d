// Package packing turns samples of unequal length into the units that a
// pipeline runs, and times and judges the result.
//
// A packer is one file that implements [Packer] and calls register from init;
// the conformance test then holds it to the invariants of every packer.
//
// The machine is a row of DP x CP lanes. A lane is a pipeline of PP ranks. A
// unit (what the pipeline runs as one piece: a microbatch, a part of one, a
// MicroPack) occupies one or more neighbouring lanes, which share its tokens as
// a context-parallel group. Without dynamic parallelism every unit has the CP
// lanes of a replica; a packer that merges replicas, or splits one, uses other
// widths. A forward and a backward unit need not hold the same tokens.
package packing

import (
	"fmt"
	"math"
	"slices"
)

// Job is what is to be packed: the samples of one step, and the machine.
type Job struct {
	Lengths []int // tokens of each sample, 1..Context
	DP      int   // data-parallel replicas
	PP      int   // stages of the pipeline
	CP      int   // lanes of a replica, which share each of its units by default
	Context int   // the longest sample, and the most tokens in a unit of classic packers
	Cost    Cost
	// MemoryTokens is how many tokens' activations of one stage a rank may hold at
	// once; 0 is what 1F1B over units of Context tokens needs, see [Job.Memory].
	MemoryTokens float64
	// StageTokens is the limit by stage, where they differ: the last holds logits, the
	// first optimizer states of the embedding. nil is MemoryTokens on all.
	StageTokens []float64
	// Footprint converts tokens to bytes.
	Footprint Footprint
	// Units, at most so many tokens a lane, bounds the units of packers that choose
	// their size themselves; 0 is Context/CP.
	Units int
}

// Footprint is what a token costs in memory, on one rank (of one stage).
type Footprint struct {
	// Activation is what is kept from the forward to the backward of a token, its
	// keys and values included.
	Activation float64 // B
	// KV is the part of Activation that is keys and values; their gradients, which
	// wait for the backward of earlier slices, take as much again.
	KV float64 // B
}

// kvShare is KV as a share of Activation, 0 to 1.
func (f Footprint) kvShare() float64 {
	if f.Activation <= 0 {
		return 0
	}
	return f.KV / f.Activation
}

// Lanes is the number of pipelines, DP x CP.
func (j *Job) Lanes() int { return j.DP * j.CP }

// Memory is the limit in tokens a rank: MemoryTokens, or by default what the
// first stage of classic 1F1B holds with units of Context tokens over CP lanes,
// PP x Context / CP, and twice that of the gradients of keys and values.
func (j *Job) Memory() float64 {
	if j.MemoryTokens > 0 {
		return j.MemoryTokens
	}
	return float64(j.PP) * float64(j.Context) / float64(j.CP) * (1 + 2*j.Footprint.kvShare())
}

// MemoryAt is the limit of a stage, in tokens a rank.
func (j *Job) MemoryAt(stage int) float64 {
	if len(j.StageTokens) > 0 {
		return j.StageTokens[stage]
	}
	return j.Memory()
}

// roomiest and tightest are the limits of the stages with the most and the least room.
func (j *Job) roomiest() float64 {
	most := 0.0
	for s := range j.PP {
		most = max(most, j.MemoryAt(s))
	}
	return most
}

func (j *Job) tightest() float64 {
	least := math.Inf(1)
	for s := range j.PP {
		least = min(least, j.MemoryAt(s))
	}
	return least
}

// unitTokens is the most tokens a lane in a unit whose size a packer chooses.
func (j *Job) unitTokens() int {
	if j.Units > 0 {
		return j.Units
	}
	return max(1, j.Context/j.CP)
}

// Tokens is the sum of the lengths.
func (j *Job) Tokens() int {
	n := 0
	for _, l := range j.Lengths {
		n += l
	}
	return n
}

// Bounds of a Job: what keeps counts and times within their types.
const (
	maxLanes   = 1 << 16
	maxStages  = 1 << 10
	maxContext = 1 << 30
	maxSamples = 1 << 26
)

// Check returns what is wrong with the job, or nil.
func (j *Job) Check() error {
	switch {
	case j.DP < 1 || j.PP < 1 || j.CP < 1:
		return fmt.Errorf("dp %d, pp %d, cp %d: each must be 1 or more", j.DP, j.PP, j.CP)
	case j.DP > maxLanes || j.CP > maxLanes || j.Lanes() > maxLanes:
		return fmt.Errorf("dp %d x cp %d is over %d lanes", j.DP, j.CP, maxLanes)
	case j.PP > maxStages:
		return fmt.Errorf("pp %d is over %d stages", j.PP, maxStages)
	case j.Context < 1 || j.Context > maxContext:
		return fmt.Errorf("context %d, must be 1 to %d tokens", j.Context, maxContext)
	case len(j.Lengths) == 0:
		return fmt.Errorf("there is no sample to pack")
	case len(j.Lengths) > maxSamples:
		return fmt.Errorf("%d samples, at most %d can be packed at once", len(j.Lengths), maxSamples)
	case j.MemoryTokens < 0 || math.IsNaN(j.MemoryTokens) || math.IsInf(j.MemoryTokens, 0):
		return fmt.Errorf("memory limit of %g tokens, must be 0 (the default) or more", j.MemoryTokens)
	case len(j.StageTokens) > 0 && (len(j.StageTokens) != j.PP || !(slices.Min(j.StageTokens) > 0) || math.IsInf(slices.Max(j.StageTokens), 0)):
		return fmt.Errorf("memory limits %v, must be above 0 tokens, one for each of %d stages", j.StageTokens, j.PP)
	case j.Units < 0 || j.Units > maxContext:
		return fmt.Errorf("units of %d tokens a lane, must be 0 (the default) to %d", j.Units, maxContext)
	case !(j.Footprint.KV >= 0) || !(j.Footprint.Activation >= j.Footprint.KV) || math.IsInf(j.Footprint.Activation, 0):
		return fmt.Errorf("a token's activations take %g B and its keys and values %g B of them", j.Footprint.Activation, j.Footprint.KV)
	}
	for i, l := range j.Lengths {
		if l < 1 || l > j.Context {
			return fmt.Errorf("sample %d has %d tokens, must be 1 to the context %d", i, l, j.Context)
		}
	}
	return j.Cost.check()
}

// Slice is the tokens [X0, X1) of a sample.
type Slice struct {
	Sample int32
	X0, X1 int32
	// Pad is how many tokens of padding follow and are computed in full, as a
	// kernel without variable lengths does.
	Pad int32
}

// Tokens is the number of the slice's own tokens.
func (s Slice) Tokens() int { return int(s.X1 - s.X0) }

// Sharding is how the lanes of a unit share it.
type Sharding uint8

const (
	// PerSample cuts every slice into 2w pieces and gives lane i pieces i and
	// 2w-1-i: all lanes have the same work, short pieces fill their tiles badly.
	PerSample Sharding = iota
	// PerUnit does so once with the whole unit: pieces are long, work differs.
	PerUnit
	// Blocks places whole short samples, and blocks of long ones, on the lane with
	// the least work: only what is cut is exchanged.
	Blocks
)

// Unit is what the pipeline runs as one piece.
type Unit struct {
	First, Width int32 // lanes First..First+Width-1 run it together
	Slices       []Slice
	Pad          int32 // tokens of padding that attention masks out
	Sharding     Sharding
	// Recompute: the forward keeps only keys and values of the unit; the backward
	// runs the forward again. A slice must be in units of one kind in both.
	Recompute bool
}

// Tokens is the number of the unit's tokens, padding not included.
func (u *Unit) Tokens() int {
	n := 0
	for _, s := range u.Slices {
		n += s.Tokens()
	}
	return n
}

// padding is the number of tokens that are computed and thrown away.
func (u *Unit) padding() int {
	n := int(u.Pad)
	for _, s := range u.Slices {
		n += int(s.Pad)
	}
	return n
}

// Pace is how many forwards run between backwards.
type Pace uint8

const (
	// PaceUnits runs one forward unit for each backward unit, as 1F1B does.
	PaceUnits Pace = iota
	// PaceTokens runs forwards of as many tokens as the last backwards freed, which
	// keeps memory constant where units differ.
	PaceTokens
	// PaceNeed runs what the next backward needs and no more: the least memory.
	PaceNeed
)

// Plan is the units of one step. Each lane runs the units that it is part of, in
// the order of the lists; [Evaluate] says when.
type Plan struct {
	Forward, Backward []Unit
	// Hop is how many forwards a stage is ahead of the stage after it when it
	// starts a backward: 1 in 1F1B; more hides unequal units and costs memory. 0
	// counts as 1.
	Hop  int
	Pace Pace
}

func (p *Plan) hop() int { return max(1, p.Hop) }

// Packer plans steps.
type Packer interface {
	// Name is the packer's name on the command line ("slimpack").
	Name() string
	// Describe is one line on what it does, with the source.
	Describe() string
	// Pack plans the step of a job that Check accepts. It returns an error where the
	// packer cannot do the job, which names what would work.
	Pack(*Job) (*Plan, error)
}

// Streaming is a packer that moves samples between the steps of a run.
type Streaming interface {
	Packer
	// Regroup takes the samples of each step (indices into lengths), in order, and
	// returns those of the steps that it would run: each sample once, as many steps.
	Regroup(job *Job, lengths []int, steps [][]int) [][]int
}
