package plan

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"orrery/schedules/packing"
	"orrery/sim/cost"
)

// Varlen is a step whose samples are packed: what is to be packed and, once [Plan.Pack]
// has run, the units.
type Varlen struct {
	Source     string // of the lengths
	CutSamples int    // that were longer than the context
	CutTokens  int    // which they lost
	Job        packing.Job
	Units      *packing.Plan
	Packer     packing.Packer
}

// drawSamples fills Varlen where the scenario packs samples. Costs, the limit of memory
// and units come with Pack.
func (p *Plan) drawSamples() error {
	s := p.Scenario
	d, par := &s.Data, s.Parallel
	if !d.Packed() {
		return nil
	}
	v := &Varlen{Job: packing.Job{DP: int(par.DP), PP: int(par.PP), CP: int(par.CP), Context: int(s.Training.SequenceLength), Units: int(d.UnitTokens)}}
	p.Varlen = v
	p.Tokens = (s.Training.SequenceLength + par.CP - 1) / par.CP
	var err error
	if v.Packer, err = d.Algorithm(); err != nil {
		return err
	}
	if v.Job.Lengths, err = p.samples(); err != nil {
		return err
	}
	all, kv := p.PackedBytes(0) // the stage with most units in flight
	v.Job.Footprint = packing.Footprint{Activation: all, KV: min(kv, all)}
	return nil
}

// samples are the lengths of the step's samples, cut at the context.
func (p *Plan) samples() ([]int, error) {
	s := p.Scenario
	d, v := &s.Data, p.Varlen
	budget := int(s.Training.GlobalBatch * s.Training.SequenceLength)
	if d.File != "" {
		v.Source = d.File
		lengths := d.FileLengths()
		if n := int(d.Samples); n > 0 {
			if n > len(lengths) {
				return nil, fmt.Errorf("data.samples is %d, %s has %d", n, d.File, len(lengths))
			}
			lengths = lengths[:n]
		}
		lengths, v.CutSamples, v.CutTokens = packing.Truncate(lengths, v.Job.Context)
		if d.Samples == 0 {
			lengths = lengths[:len(packing.Steps(lengths, budget)[0])]
		}
		return lengths, nil
	}
	v.Source = fmt.Sprintf("%s, seed %d", d.Distribution, d.Seed)
	if d.Samples > 0 {
		return packing.Draw(d.Distribution, int(d.Samples), v.Job.Context, uint64(d.Seed))
	}
	for n := max(256, int(s.Training.GlobalBatch)); ; n *= 2 { // as many as fill the budget
		lengths, err := packing.Draw(d.Distribution, n, v.Job.Context, uint64(d.Seed))
		if err != nil {
			return nil, err
		}
		if steps := packing.Steps(lengths, budget); len(steps) > 1 {
			return lengths[:len(steps[0])], nil
		}
	}
}

// Pack packs the step by costs that somebody has priced; stageTokens are the limits of
// the ranks of each stage, where the scenario sets none.
func (p *Plan) Pack(c packing.Cost, stageTokens []float64) error {
	v := p.Varlen
	v.Job.Cost, v.Job.StageTokens, v.Job.MemoryTokens = c, stageTokens, slices.Min(stageTokens)
	if t := p.Scenario.Data.MemoryTokens; t > 0 {
		v.Job.StageTokens, v.Job.MemoryTokens = nil, t
	}
	if !(v.Job.MemoryTokens >= 1) {
		return errors.New("no activations fit beside parameters, gradients and optimizer states; use more tp or pp, or training.recompute")
	}
	if err := v.Job.Check(); err != nil {
		return err
	}
	units, err := v.Packer.Pack(&v.Job)
	if err != nil {
		return fmt.Errorf("packer %s: %w", v.Packer.Name(), err)
	}
	if err := packing.Validate(&v.Job, units); err != nil {
		return fmt.Errorf("packer %s: %w", v.Packer.Name(), err)
	}
	v.Units = units
	return p.checkUnits()
}

// checkUnits holds the units against what the ranks exchange, and notes the largest.
func (p *Plan) checkUnits() error {
	par, v := p.Scenario.Parallel, p.Varlen
	inside := int32(max(par.EP*par.ETP/par.TP, 1)) // lanes that share the experts
	p.Tokens = 1
	for _, units := range [][]packing.Unit{v.Units.Forward, v.Units.Backward} {
		for i := range units {
			u := &units[i]
			if p.Model.MoE != nil && (u.First%inside != 0 || u.Width%inside != 0) {
				return fmt.Errorf("packer %s runs a unit on %d lanes from %d, and the experts are exchanged among %d (parallel.ep); use ep up to tp, or a packer with replicas of equal width", v.Packer.Name(), u.Width, u.First, inside)
			}
			p.Tokens = max(p.Tokens, int64(math.Ceil(v.Job.Cost.Share(u).Tokens)))
		}
	}
	return nil
}

// LaneGroup is where neighbouring lanes sit: CP ranks of a replica, or of several that
// are merged.
func (p *Plan) LaneGroup(first, width int) cost.Group {
	domain := func(lane int) int64 {
		return p.laneAt(lane) / max(p.Scenario.Cluster.NVLinkDomain, 1)
	}
	near := map[int64]int64{}
	for lane := first; lane < first+width; lane++ {
		near[domain(lane)]++
	}
	per := near[domain(first)]
	for _, n := range near { // the least: no order comes out
		per = min(per, n)
	}
	for int64(width)%per != 0 {
		per--
	}
	return cost.Group{Ranks: int64(width), PerDomain: per}
}

// laneAt is the first rank of a lane's first stage.
func (p *Plan) laneAt(lane int) int64 {
	par := p.Scenario.Parallel
	s := strides(par)
	return int64(lane)%par.CP*s["cp"] + int64(lane)/par.CP*s["dp"]
}

// NodeLanes is how many lanes from the first on share its NVLink domain.
func (p *Plan) NodeLanes() int {
	n := 1
	for n < p.Varlen.Job.Lanes() && p.laneAt(n)/max(p.Scenario.Cluster.NVLinkDomain, 1) == 0 {
		n++
	}
	return n
}

// FoldedLanes is how many neighbouring lanes run the same units, whichever lane they
// begin at: one of each stands for all.
func (v *Varlen) FoldedLanes() int {
	fold := v.Job.Lanes()
	for _, units := range [][]packing.Unit{v.Units.Forward, v.Units.Backward} {
		for i := range units {
			fold = gcd(gcd(fold, int(units[i].First)), int(units[i].Width))
		}
	}
	return fold
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// tokenBytes is what a token of a packed sample keeps on a rank of a stage from its
// forward to its backward, its logits included.
func (p *Plan) tokenBytes(stage int) float64 {
	b := p.ActivationBytes(stage) / float64(p.Tokens)
	if p.Stages[stage].Head {
		b += p.LogitsBytes() / float64(p.Tokens)
	}
	return b
}

// PackedBytes is what a token of a packed sample takes on a rank of a stage from its
// forward to its backward, logits included, and the keys and values among it.
func (p *Plan) PackedBytes(stage int) (all, kv float64) {
	st := p.Stages[stage]
	for i := range st.Layers {
		kv += p.kvBytes(st.First + i)
	}
	return p.tokenBytes(stage), kv
}

// packedTokens are the step's own tokens, and those with padding.
func (v *Varlen) packedTokens() (own, padded int64) {
	own = int64(v.Job.Tokens())
	padded = own
	for i := range v.Units.Forward {
		u := &v.Units.Forward[i]
		padded += int64(u.Pad)
		for _, s := range u.Slices {
			padded += int64(s.Pad)
		}
	}
	return own, padded
}
