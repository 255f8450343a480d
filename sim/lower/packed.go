package lower

import (
	"fmt"
	"math"

	"orrery/schedules/packing"
	"orrery/schedules/pipeline"
	"orrery/sim/plan"
	"orrery/sim/program"
)

// Steps whose samples are packed. Replicas run different units, so each has its own
// lanes; of the neighbouring lanes of data and context parallelism that run the same
// units, one stands for all (plan.Varlen.FoldedLanes). A unit on several of them is an op
// on each, all of one duration and with the same inputs, so that they start together.
// Rank r x PP + s is stage s of the r-th lane.

// packedLowering is the state of building such a step.
type packedLowering struct {
	*lowering
	v     *plan.Varlen
	fold  int
	lanes int                 // folded ones
	order [][][]packing.Pass  // by folded lane and stage
	at    []int               // next pass of each rank
	last  []program.OpID      // of the compute lane of each rank
	sends [][]program.OpID    // that the rank's next pass waits for
	ends  [2][][]program.OpID // by unit x PP + stage: arrivals at the next stage, one a lane
	units [2][]*unitBlocks    // by unit
	final [][]packing.Pass    // by rank: its first forward and its last backward
	grads [][][]program.OpID  // by stage and segment: the last backwards of all lanes
	cuts  [2][][]segment      // by stage: of first forwards and of last backwards
	ready [][]program.OpID    // by stage and segment: gathers of parameters
	bytes [][2]float64        // by stage: of a token, of its keys and values
}

// Directions, as indices.
const (
	ahead = 0
	back  = 1
)

// unitBlocks are the kernels of one pass of a unit; layers that are lowered alike
// share theirs.
type unitBlocks struct {
	shapes *shapes
	embed  *Block
	head   [2]*Block // forward and backward
	layers map[layerKey]*Block
}

func newPackedStep(p *plan.Plan) (*Step, error) {
	v := p.Varlen
	l := &packedLowering{v: v, lowering: &lowering{shapes: newShapes(p), p: p, works: map[workKey]program.WorkID{}, blocks: map[layerKey]*Block{}, alike: map[layerKey]int64{}}}
	l.prog = &program.Program{}
	l.step = &Step{Plan: p, Program: l.prog}
	pp := len(p.Stages)
	l.ranks = make([]rankState, pp)
	for i := range p.Stages {
		l.stages = append(l.stages, l.stageBlocks(i))
		all, kv := p.PackedBytes(i)
		l.bytes = append(l.bytes, [2]float64{all, kv})
	}
	order, err := packing.Order(&v.Job, v.Units)
	if err != nil {
		return nil, err
	}
	l.fold = v.FoldedLanes()
	l.lanes = v.Job.Lanes() / l.fold
	for r := range l.lanes {
		l.order = append(l.order, order[r*l.fold])
		for s := range pp {
			rank := int32(len(l.step.Lanes))
			lanes := RankLanes{Compute: l.prog.AddLane(rank, "compute"), SendF: l.prog.AddLane(rank, "send forward"), SendB: l.prog.AddLane(rank, "send backward")}
			if r == 0 {
				lanes.DP = l.prog.AddLane(rank, "data parallel")
			} else { // one group reduces the gradients of all lanes of a stage
				lanes.DP = l.step.Lanes[s].DP
			}
			l.step.Lanes = append(l.step.Lanes, lanes)
		}
	}
	l.step.World = l.prog.AddLane(0, "world")
	l.prepare()
	if err := l.passes(); err != nil {
		return nil, err
	}
	l.finish()
	return l.step, nil
}

// prepare sizes the tables, finds the passes that carry data-parallel communication and
// appends the gathers of parameters, which need nothing.
func (l *packedLowering) prepare() {
	pp, ranks := len(l.p.Stages), len(l.step.Lanes)
	l.at, l.last = make([]int, ranks), filled(ranks, program.None)
	l.sends = make([][]program.OpID, ranks)
	for k, units := range [2][]packing.Unit{l.v.Units.Forward, l.v.Units.Backward} {
		l.ends[k] = make([][]program.OpID, len(units)*pp)
		l.units[k] = make([]*unitBlocks, len(units))
	}
	l.final = make([][]packing.Pass, ranks)
	for rank := range ranks {
		order := l.order[rank/pp][rank%pp]
		for i, p := range order {
			if !p.Backward {
				l.final[rank] = append(l.final[rank], order[i])
				break
			}
		}
		for i := len(order) - 1; i >= 0; i-- {
			if order[i].Backward {
				l.final[rank] = append(l.final[rank], order[i])
				break
			}
		}
	}
	gathers := l.sharded() && l.fw.OverlapParamGather
	reduces := l.replicated() && l.fw.OverlapGradReduce
	l.grads, l.ready = make([][][]program.OpID, pp), make([][]program.OpID, pp)
	for s := range pp {
		l.cuts[ahead] = append(l.cuts[ahead], l.cutStage(s, gathers, false, false))
		l.cuts[back] = append(l.cuts[back], l.cutStage(s, false, reduces, true))
		l.grads[s] = make([][]program.OpID, len(l.cuts[back][s]))
		for _, seg := range l.cuts[ahead][s] {
			op := program.None
			if seg.gather != nil {
				op = l.add(l.step.Lanes[s].DP, l.bucketWork(seg.gather), Tag{pipeline.F, int32(s), -1, 0})
			}
			l.ready[s] = append(l.ready[s], op)
		}
	}
}

func direction(p packing.Pass) int {
	if p.Backward {
		return back
	}
	return ahead
}

func (l *packedLowering) unit(p packing.Pass) *packing.Unit {
	if p.Backward {
		return &l.v.Units.Backward[p.Unit]
	}
	return &l.v.Units.Forward[p.Unit]
}

// passes emits the passes of all ranks: each goes on until its next pass waits for one
// that is not there yet, on its own lanes or on another that runs the unit too.
func (l *packedLowering) passes() error {
	pp := len(l.p.Stages)
	left := 0
	var queue []int
	for rank := range l.step.Lanes {
		left += len(l.order[rank/pp][rank%pp])
		queue = append(queue, rank)
	}
	for len(queue) > 0 {
		rank := queue[0]
		queue = queue[1:]
		for {
			p, ok := l.next(rank)
			if !ok || !l.hasInputs(p, rank%pp) {
				break
			}
			s, to := rank%pp, rank%pp+1
			if p.Backward {
				to = s - 1
			}
			lo, hi := l.runs(p)
			l.pass(p, s, lo, hi)
			left -= hi - lo
			for r := lo; r < hi; r++ {
				l.at[r*pp+s]++
				if r*pp+s != rank {
					queue = append(queue, r*pp+s)
				}
				if to >= 0 && to < pp {
					queue = append(queue, r*pp+to)
				}
			}
		}
	}
	if left > 0 {
		return fmt.Errorf("packer %s: the units deadlock, %d passes wait for each other", l.v.Packer.Name(), left)
	}
	return nil
}

func (l *packedLowering) next(rank int) (p packing.Pass, ok bool) {
	pp := len(l.p.Stages)
	order := l.order[rank/pp][rank%pp]
	if l.at[rank] >= len(order) {
		return p, false
	}
	return order[l.at[rank]], true
}

// runs is the folded lanes that run a pass.
func (l *packedLowering) runs(p packing.Pass) (lo, hi int) {
	u := l.unit(p)
	return int(u.First) / l.fold, int(u.First+u.Width) / l.fold
}

// from is the stage that a pass has its input from; outside the pipeline for none.
func from(p packing.Pass, s int) int {
	if p.Backward {
		return s + 1
	}
	return s - 1
}

// hasInputs reports whether a pass of a stage has its input, and is next on all its lanes.
func (l *packedLowering) hasInputs(p packing.Pass, s int) bool {
	pp := len(l.p.Stages)
	if in := from(p, s); in >= 0 && in < pp && l.ends[direction(p)][p.Unit*pp+in] == nil {
		return false
	}
	lo, hi := l.runs(p)
	for r := lo; r < hi; r++ {
		if q, ok := l.next(r*pp + s); !ok || q != p {
			return false
		}
	}
	return true
}

// pass appends a pass of a stage on all the lanes that run its unit.
func (l *packedLowering) pass(p packing.Pass, s, lo, hi int) {
	pp, k := len(l.p.Stages), direction(p)
	tag := Tag{pipeline.F, int32(s), int32(p.Unit), 0}
	if p.Backward {
		tag.Phase = pipeline.B
	}
	cut := false // it carries data-parallel communication of one of its lanes
	for r := lo; r < hi; r++ {
		cut = cut || l.final[r*pp+s][k] == p
	}
	segs := []segment{{layers: l.p.Stages[s].Layers, embedding: l.p.Stages[s].Embedding, head: l.p.Stages[s].Head}}
	if cut {
		segs = l.cuts[k][s]
	}
	var inputs []program.OpID
	if in := from(p, s); in >= 0 && in < pp {
		inputs = l.ends[k][p.Unit*pp+in]
	}
	for r := lo; r < hi; r++ { // all lanes start when the last is free
		inputs = append(inputs[:len(inputs):len(inputs)], l.last[r*pp+s])
		inputs = append(inputs, l.sends[r*pp+s]...)
		l.sends[r*pp+s] = l.sends[r*pp+s][:0]
	}
	var out []program.OpID
	for r := lo; r < hi; r++ {
		rank, deps := r*pp+s, inputs
		for i, seg := range segs {
			if cut && !p.Backward {
				deps = append(deps[:len(deps):len(deps)], l.ready[s][i])
			}
			op := l.add(l.step.Lanes[rank].Compute, l.passWork(p, s, seg), tag, deps...)
			deps = nil
			if i == 0 {
				l.hold(op, rank, p)
			}
			if cut && p.Backward && l.final[rank][back] == p {
				l.grads[s][i] = append(l.grads[s][i], op)
			}
			l.last[rank] = op
		}
		l.free(l.last[rank], rank, p)
		out = append(out, l.sent(p, s, rank))
	}
	l.ends[k][p.Unit*pp+s] = out
}

// sent appends the send of a pass's output to the next stage, and returns what that
// waits for.
func (l *packedLowering) sent(p packing.Pass, s, rank int) program.OpID {
	to, lane, tag := s+1, l.step.Lanes[rank].SendF, Tag{pipeline.F, int32(s), int32(p.Unit), 0}
	if p.Backward {
		to, lane, tag.Phase = s-1, l.step.Lanes[rank].SendB, pipeline.B
	}
	if to < 0 || to >= len(l.p.Stages) {
		return l.last[rank]
	}
	old := l.sp
	l.sp = l.blocksOf(p).shapes.sp // sendWork sends what a pass has
	t := l.add(lane, l.sendWork(s, to), tag, l.last[rank])
	l.sp = old
	if !l.fw.OverlapP2P {
		l.sends[rank] = append(l.sends[rank], t)
	}
	return t
}

// passWork is the work of a segment of a unit's pass.
func (l *packedLowering) passWork(p packing.Pass, s int, seg segment) program.WorkID {
	kind, k := "F", program.Forward
	if p.Backward {
		kind, k = "B", program.Backward
	}
	name := fmt.Sprintf("%s stage %d", kind, s)
	kind = "unit " + kind
	if seg.embedding {
		kind += "e"
	}
	if seg.head {
		kind += "h"
	}
	var beside []Use
	for _, b := range []*bucket{seg.gather, seg.reduce} {
		if b != nil {
			kind += "+"
			beside = append(beside, l.step.Works[l.bucketWork(b)].Blocks...)
		}
	}
	key := workKey{kind: kind, stage: s, microbatch: int32(p.Unit), first: seg.first, layers: seg.layers}
	return l.work(key, func() (program.Work, Work) {
		return program.Work{Name: name, Kind: k}, Work{Blocks: l.unitUses(p, s, seg), Beside: beside}
	})
}

// unitUses are the blocks of a segment of a pass in the order in which they run.
func (l *packedLowering) unitUses(p packing.Pass, s int, seg segment) []Use {
	return l.usesOf(l.blocksOf(p), l.unit(p).Recompute, p.Backward, s, seg)
}

// usesOf are those of a pass; again: the backward runs the forward first.
func (l *packedLowering) usesOf(u *unitBlocks, again, backward bool, s int, seg segment) []Use {
	var uses []Use
	put := func(b *Block) {
		if n := len(uses); n > 0 && uses[n-1].Block == b {
			uses[n-1].Times++
			return
		}
		uses = append(uses, Use{b, 1})
	}
	layer := func(i int64) {
		key := l.stages[s].layers[i]
		key.recompute = key.recompute || again
		put(u.layer(key, backward))
	}
	if backward {
		if seg.head {
			if again {
				put(u.headBlock(false))
			}
			put(u.headBlock(true))
		}
		for i := seg.first + seg.layers - 1; i >= seg.first; i-- {
			layer(i)
		}
		if seg.embedding {
			put(u.embedBlock(true))
		}
		return uses
	}
	if seg.embedding {
		put(u.embedBlock(false))
	}
	for i := seg.first; i < seg.first+seg.layers; i++ {
		layer(i)
	}
	if seg.head {
		put(u.headBlock(false))
	}
	return uses
}

// blocksOf are the kernels of a unit's pass.
func (l *packedLowering) blocksOf(p packing.Pass) *unitBlocks {
	k := direction(p)
	if b := l.units[k][p.Unit]; b != nil {
		return b
	}
	u := l.unit(p)
	share := l.v.Job.Cost.Share(u)
	b := newUnitBlocks(l.shapes, share.Tokens, newPackedUnit(u, share, l.p.LaneGroup(int(u.First), int(u.Width))))
	l.units[k][p.Unit] = b
	return b
}

// newUnitBlocks are blocks of a pass over so many tokens of a lane.
func newUnitBlocks(of *shapes, tokens float64, u *packedUnit) *unitBlocks {
	s := *of
	s.packed = u
	s.tokens = max(int64(math.Ceil(tokens)), 1)
	if s.sp = s.tokens; s.s.Parallel.SP {
		s.sp = (s.tokens + s.tp - 1) / s.tp
	}
	return &unitBlocks{shapes: &s, layers: map[layerKey]*Block{}}
}

func (u *unitBlocks) layer(k layerKey, backward bool) *Block {
	k.recompute = k.recompute && backward
	if b := u.layers[k]; b != nil {
		return b
	}
	var b Block
	if backward {
		b = u.shapes.layerBackward(k.layer, k.recompute)
	} else {
		b = u.shapes.layerForward(k.layer)
	}
	u.layers[k] = &b
	return &b
}

func (u *unitBlocks) embedBlock(backward bool) *Block {
	if u.embed == nil {
		b := newBuilder("embedding")
		if backward {
			u.shapes.embeddingBackward(b)
		} else {
			u.shapes.embedding(b)
		}
		u.embed = &b.b
	}
	return u.embed
}

// headBlock is the output layer with the loss. A backward that recomputes has both.
func (u *unitBlocks) headBlock(backward bool) *Block {
	if u.head[ahead] == nil {
		f, b := newBuilder("head"), newBuilder("head backward")
		(&lowering{shapes: u.shapes}).mtp(f, b)
		u.shapes.head(f)
		u.shapes.headBackward(b)
		u.head = [2]*Block{&f.b, &b.b}
	}
	if backward {
		return u.head[back]
	}
	return u.head[ahead]
}
