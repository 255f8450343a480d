package sim

import (
	"fmt"
	"math"

	"orrery/scenarios"
	"orrery/schedules/packing"
)

// TooLarge is the error of a scenario that takes more work than Options.MaxOps
// allows.
type TooLarge struct {
	Ops, Max float64
	Because  string // the largest part, with the sizes that make it
}

func (e *TooLarge) Error() string {
	return fmt.Sprintf("the step is too large to simulate here: about %.3g ops, the limit is %.3g; most of them for %s", e.Ops, e.Max, e.Because)
}

// part is one kind of work that grows with a scenario's sizes.
type part struct {
	ops  float64
	what string
}

// What a pass or a load comes to in ops, at most, as the catalogue has them (TestSize
// holds them to it).
const (
	opsPerPass      = 8   // the pass, its messages, the context exchange
	opsPerTowerPass = 64  // with an encoder or a generator, whose passes come in pieces
	opsPerLayerPass = 8   // gathering and reducing a layer's parameters around every pass
	opsPerSample    = 16  // packing one and running its slices
	cellsPerOp      = 128 // entries of load matrices, ranks and samples that are looked at, utterances and items that are drawn in the time of an op
)

// Ops estimates, from above, how many ops a scenario's step has, what is drawn and
// planned beside them counted as so many that take as long; the runs beside it that look
// for advice have at most twice as many. It looks at sizes only and takes no time.
func Ops(s *scenarios.Scenario) float64 {
	ops, _ := size(s)
	return ops
}

// size is Ops with the largest part.
func size(s *scenarios.Scenario) (ops float64, most part) {
	for _, p := range parts(s) {
		ops += p.ops
		if p.ops > most.ops {
			most = p
		}
	}
	return ops, most
}

func parts(s *scenarios.Scenario) []part {
	par, tr := s.Parallel, s.Training
	mb, slices := float64(tr.Microbatches), float64(max(s.Schedule.Slices, 1))
	layers := float64(s.Model.Layers)
	per := float64(opsPerPass)
	if s.Encoder != nil || s.Generator != nil {
		per = opsPerTowerPass
	}
	out := []part{
		{per * float64(par.PP) * float64(par.VP) * mb * slices,
			fmt.Sprintf("passes of pp %d x vp %d stages x %d microbatches x %g slices", par.PP, par.VP, tr.Microbatches, slices)},
		{float64(par.PP) * float64(par.PP) * float64(par.VP) * mb * slices / cellsPerOp, fmt.Sprintf("pp %d ranks that wait for each other", par.PP)},
		{opsPerLayerPass * layers, fmt.Sprintf("%d layers", s.Model.Layers)},
	}
	if par.ZeRO >= 2 || par.PP == 1 { // where the job does not fit, ZeRO 3 is tried
		out = append(out, part{opsPerLayerPass * layers * mb * slices, fmt.Sprintf("gathers of %d layers x %d microbatches", s.Model.Layers, tr.Microbatches)})
	}
	if s.Model.Net != nil {
		loops := mb
		if s.Data.ByDialogue {
			loops *= float64(tr.MicroBatch)
		}
		out = append(out, part{float64(len(s.Model.Net)) * loops, fmt.Sprintf("%d listed layers x %g loops", len(s.Model.Net), loops)},
			part{float64(tr.GlobalBatch) * float64(s.Data.LongestDialogue) / cellsPerOp, fmt.Sprintf("utterances of %d sequences", tr.GlobalBatch)})
	}
	for _, t := range []*scenarios.Tower{s.Encoder, s.Generator} {
		if t != nil {
			out = append(out, part{float64(tr.GlobalBatch) * float64(max(t.ItemsMax, 1)) / cellsPerOp, fmt.Sprintf("items of %d samples of up to %d", tr.GlobalBatch, t.ItemsMax)})
		}
	}
	if s.Data.Packed() {
		out = append(out, packedParts(s)...)
	}
	if s.Model.MoE != nil && s.Routing.Uneven() {
		out = append(out, routedPart(s))
	}
	return out
}

// packedParts are samples to pack, and lanes that each run units of their own.
func packedParts(s *scenarios.Scenario) []part {
	par, tr := s.Parallel, s.Training
	lanes := float64(par.DP) * float64(par.CP)
	samples := float64(s.Data.Samples)
	if s.Data.Samples == 0 {
		samples = float64(tr.GlobalBatch) * float64(tr.SequenceLength) / meanLength(s)
	}
	return []part{
		{opsPerSample*samples*max(1, math.Sqrt(float64(par.PP))) + samples*samples/cellsPerOp, fmt.Sprintf("%.3g samples to pack", samples)},
		{opsPerSample * lanes * float64(par.PP), fmt.Sprintf("%g lanes x pp %d, each with units of its own", lanes, par.PP)},
	}
}

// meanLength is that of a few samples as they will be drawn; 1 where they come from a
// file, or cannot be drawn, which packing says better.
func meanLength(s *scenarios.Scenario) float64 {
	const few = 256
	lengths, err := packing.Draw(s.Data.Distribution, few, int(s.Training.SequenceLength), uint64(s.Data.Seed))
	if err != nil {
		return 1
	}
	sum := 0
	for _, n := range lengths {
		sum += n
	}
	return float64(sum) / few
}

// routedPart are the loads that the balancers plan: a matrix of ranks by experts for
// every layer, microbatch and group, and those of the steps before.
func routedPart(s *scenarios.Scenario) part {
	par := s.Parallel
	groups := max(float64(par.DP)*float64(par.CP)*float64(par.TP)/(float64(par.EP)*float64(par.ETP)), 1)
	balancers := float64(len(s.Routing.Compare) + 2) // and the ideal one
	loads := groups * float64(s.Model.Layers) * float64(s.Training.Microbatches) * (balancers + float64(s.Routing.History))
	return part{loads * float64(par.EP) * float64(s.Model.MoE.Experts) / cellsPerOp,
		fmt.Sprintf("loads of %g expert groups x %d layers x %d microbatches x %g balancers", groups, s.Model.Layers, s.Training.Microbatches, balancers)}
}

// Fits refuses a scenario that takes more work than the options allow.
func (o Options) Fits(s *scenarios.Scenario) error {
	if o.MaxOps <= 0 {
		return nil
	}
	if ops, most := size(s); !(ops <= o.MaxOps) {
		return &TooLarge{Ops: ops, Max: o.MaxOps, Because: most.what}
	}
	return nil
}
