package lower

import (
	"orrery/schedules/packing"
	"orrery/sim/cost"
	"orrery/sim/plan"
	"orrery/sim/program"
)

// Probe lowers single passes of units that need not be part of a step, so that the
// costs that packers plan with can be priced.
type Probe struct{ l *packedLowering }

// NewProbe makes the probe of a plan whose samples are packed, or will be.
func NewProbe(p *plan.Plan) *Probe {
	l := &packedLowering{v: p.Varlen, lowering: &lowering{shapes: newShapes(p), p: p, works: map[workKey]program.WorkID{}, blocks: map[layerKey]*Block{}, alike: map[layerKey]int64{}}}
	l.ranks = make([]rankState, len(p.Stages))
	for i := range p.Stages {
		l.stages = append(l.stages, l.stageBlocks(i))
	}
	return &Probe{l}
}

// Pass is the pass of a stage over a unit. Keys come to queries, wherever costs would
// send queries.
func (p *Probe) Pass(stage int, u *packing.Unit, backward bool) (program.Kind, Work) {
	share := (&packing.Cost{}).Share(u)
	b := newUnitBlocks(p.l.shapes, share.Tokens, newPackedUnit(u, share, p.l.p.LaneGroup(int(u.First), int(u.Width))))
	st := p.l.p.Stages[stage]
	kind := program.Forward
	if backward {
		kind = program.Backward
	}
	return kind, Work{Blocks: p.l.usesOf(b, false, backward, stage, segment{layers: st.Layers, embedding: st.Embedding, head: st.Head})}
}

// Hop is the transfer of a pass's output over so many tokens to the next stage.
func (p *Probe) Hop(stage int, tokens int64) cost.P2P {
	s := newUnitBlocks(p.l.shapes, float64(tokens), nil).shapes
	k := cost.P2P{Bytes: 2 * s.sp * s.h}
	if p.l.p.Groups.CrossStage[stage] {
		k.NICGBps = s.nic
	}
	return k
}

// KVBytes is what the keys and values of a token take on a rank of a layer, in bytes,
// and QueryBytes what a query and its output do.
func (p *Probe) KVBytes() (kv, query int64) { return 2 * p.l.kvChannels(), 2*2*p.l.q + 4*p.l.heads }
