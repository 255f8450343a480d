package lower

import (
	"fmt"
	"slices"

	"orrery/schedules/pipeline"
	"orrery/sim/plan"
	"orrery/sim/program"
)

// tower is the encoder or generator that a slot's stage belongs to; nil for the LLM.
func (l *lowering) tower(s pipeline.Slot) *plan.Tower {
	if int(s.Stage) >= len(l.p.Stages) { // of the vocabulary cut over all ranks
		return nil
	}
	return l.p.Tower(l.p.Stages[s.Stage].Module)
}

// togetherSharded reports whether all pipeline ranks gather a tower's sharded
// parameters together: then each waits for the last before every layer.
func (l *lowering) togetherSharded(s pipeline.Slot) bool {
	t := l.tower(s)
	return t != nil && t.Whole && t.ZeRO == 3 && !t.Pull
}

// met reports whether every rank is at its pass of the unit that a slot is of, with
// all inputs there.
func (l *lowering) met(s pipeline.Slot) bool {
	p := int32(len(l.ranks))
	for r := range l.ranks {
		if l.ranks[r].next == len(l.order[r]) {
			return false
		}
		other := l.order[r][l.ranks[r].next]
		if other.Phase != s.Phase || other.Stage != s.Stage || other.Microbatch/p != s.Microbatch/p {
			return false
		}
		if _, ready := l.arrivals([]pipeline.Slot{other}); !ready {
			return false
		}
	}
	return true
}

// unit appends every rank's pass of a unit and returns how many there are.
func (l *lowering) unit() int {
	ranks := make([]int, len(l.ranks))
	slots := make([]pipeline.Slot, len(l.ranks))
	arrived := make([][]program.OpID, len(l.ranks))
	for r := range l.ranks {
		ranks[r], slots[r] = r, l.order[r][l.ranks[r].next]
		arrived[r], _ = l.arrivals(slots[r : r+1])
		l.ranks[r].next++
	}
	l.towerPasses(ranks, slots, arrived)
	return len(ranks)
}

// towerPasses appends passes of a tower, one of each of the ranks. The parameters of
// the next segment are gathered behind the current one; where several ranks are named
// they gather together, when the last of them has come as far.
func (l *lowering) towerPasses(ranks []int, slots []pipeline.Slot, arrived [][]program.OpID) {
	n := len(ranks)
	segs := make([][]segment, n)
	deps, ready := make([][]program.OpID, n), make([]program.OpID, n)
	gather := func(k, i int, after []program.OpID) program.OpID {
		if i >= len(segs[k]) || segs[k][i].gather == nil {
			return program.None
		}
		if n == 1 {
			after = after[:1]
		}
		s := slots[k]
		return l.add(l.step.Lanes[ranks[k]].DP, l.bucketWork(segs[k][i].gather), Tag{s.Phase, s.Stage, s.Microbatch, s.Slice}, after...)
	}
	last := func() []program.OpID {
		out := make([]program.OpID, n)
		for k, r := range ranks {
			out[k] = l.ranks[r].lastOp
		}
		return out
	}
	before := last()
	for k, r := range ranks {
		st := &l.ranks[r]
		segs[k] = l.towerSegments(slots[k])
		deps[k] = slices.Concat(st.frontier, arrived[k])
		st.frontier = st.frontier[:0]
		st.beforeLast = st.lastOp
		ready[k] = gather(k, 0, before)
	}
	for i := range segs[0] {
		before = last()
		for k, r := range ranks {
			st, s := &l.ranks[r], slots[k]
			tag := Tag{s.Phase, s.Stage, s.Microbatch, s.Slice}
			next := gather(k, i+1, before)
			op := l.add(l.step.Lanes[r].Compute, l.towerWork(s, segs[k][i]), tag, append(deps[k], ready[k])...)
			deps[k], ready[k] = deps[k][:0], next
			if i == 0 {
				l.towerMemory(op, r, s, true)
			}
			if b := segs[k][i].reduce; b != nil {
				st.grads[slices.Index(l.p.Held[r], int(s.Stage))] = l.add(l.step.Lanes[r].DP, l.bucketWork(b), tag, op)
			}
			st.lastOp = op
		}
	}
	for k, r := range ranks {
		l.done(r, slots[k], l.ranks[r].lastOp)
		l.towerMemory(l.ranks[r].lastOp, r, slots[k], false)
	}
}

// towerSegments cuts a pass of a tower where its communication needs it: after every
// layer where parameters are sharded, else nowhere.
func (l *lowering) towerSegments(s pipeline.Slot) []segment {
	st, t := l.p.Stages[s.Stage], l.tower(s)
	all, trained := l.p.TowerStageParams(int(s.Stage))
	whole := segment{layers: st.TowerLayers, embedding: true, head: true}
	if t.Shard.Ranks == 1 {
		return []segment{whole}
	}
	if t.ZeRO < 3 {
		if l.fw.OverlapGradReduce && trained > 0 && s == l.lastBackward(s) {
			whole.reduce = l.towerBucket(t, trained, program.GradReduce)
		}
		if t.ZeRO == 1 && l.fw.OverlapParamGather && trained > 0 && s == l.firstForward(s) {
			whole.gather = l.towerBucket(t, trained, program.ParamGather)
		}
		return []segment{whole}
	}
	cut, repeated := t.Model.LayerParams()
	layer := cut/t.TP + repeated
	ends := all - st.TowerLayers*layer
	backward := s.Phase != pipeline.F
	var segs []segment
	put := func(seg segment, params, trained int64) {
		if params > 0 {
			seg.gather = l.towerBucket(t, params, program.ParamGather)
		}
		if backward && trained > 0 {
			seg.reduce = l.towerBucket(t, trained, program.GradReduce)
		}
		segs = append(segs, seg)
	}
	layersTrained, endsTrained := int64(0), trained
	if t.Trained == "all" {
		layersTrained, endsTrained = layer, ends
	}
	first := segment{embedding: true}
	if ends > 0 {
		put(first, ends/2, endsTrained/2)
	}
	if !backward || l.throughLayers(t) {
		for k := range st.TowerLayers {
			put(segment{first: k, layers: 1}, layer, layersTrained)
		}
	}
	if ends > 0 {
		put(segment{head: true}, ends-ends/2, endsTrained-endsTrained/2)
	}
	if backward {
		slices.Reverse(segs)
	}
	if len(segs) == 0 {
		return []segment{{}}
	}
	return segs
}

// throughLayers reports whether gradients go through a tower's layers.
func (l *lowering) throughLayers(t *plan.Tower) bool {
	return t.Trained == "all" || t.Module == pipeline.Generator
}

func (l *lowering) towerBucket(t *plan.Tower, n int64, kind program.Kind) *bucket {
	return &bucket{params{dense: n}, kind, t}
}

// towerWork is the WorkID of a segment's kernels over a microbatch's load; loads that
// are alike share it.
func (l *lowering) towerWork(s pipeline.Slot, seg segment) program.WorkID {
	t := l.tower(s)
	kind, k := s.Phase.String(), program.Forward
	if s.Phase != pipeline.F {
		k = program.Backward
	}
	name := fmt.Sprintf("%s %v", kind, t.Module)
	load := t.Loads[s.Microbatch]
	key := workKey{kind: name, stage: int(s.Stage), first: seg.first, layers: seg.layers, load: load}
	if seg.embedding {
		key.kind += "e"
	}
	if seg.head {
		key.kind += "h"
	}
	var beside []Use
	for _, b := range []*bucket{seg.gather, seg.reduce} {
		if b != nil {
			key.kind += "+"
			beside = append(beside, l.step.Works[l.bucketWork(b)].Blocks...)
		}
	}
	return l.work(key, func() (program.Work, Work) {
		return program.Work{Name: name, Kind: k}, Work{Blocks: l.towerUses(s, seg, load), Beside: beside}
	})
}

// towerUses are a segment's blocks in the order in which they run.
func (l *lowering) towerUses(s pipeline.Slot, seg segment, load plan.Load) []Use {
	st, t := l.p.Stages[s.Stage], l.tower(s)
	if load.Items == 0 {
		return nil
	}
	var uses []Use
	put := func(b *Block, times int64) {
		if b != nil && len(b.Ops) > 0 && times > 0 {
			uses = append(uses, Use{b, times})
		}
	}
	first, last := l.towerEnds(t, st, s.Phase, load)
	if s.Phase == pipeline.F {
		if seg.embedding {
			put(first, 1)
		}
		put(l.towerLayer(t, s.Phase, load), seg.layers)
		if seg.head {
			put(last, 1)
		}
		return uses
	}
	if seg.head {
		put(last, 1)
	}
	if l.throughLayers(t) {
		put(l.towerLayer(t, s.Phase, load), seg.layers)
	}
	if seg.embedding {
		put(first, 1)
	}
	return uses
}

// towerKey identifies a block of a tower.
type towerKey struct {
	module pipeline.Module
	phase  pipeline.Phase
	what   string
	load   plan.Load
}

// towerBlock is the block of a key, made on first use.
func (l *lowering) towerBlock(k towerKey, make func(*builder)) *Block {
	if b := l.towerBlocks[k]; b != nil {
		return b
	}
	b := newBuilder(fmt.Sprintf("%v %s", k.module, k.what))
	make(b)
	if l.towerBlocks == nil {
		l.towerBlocks = map[towerKey]*Block{}
	}
	l.towerBlocks[k] = &b.b
	return &b.b
}

// towerMemory is what a pass of a tower takes when it starts and gives back when it
// ends; a backward pass has a layer's workspace meanwhile.
func (l *lowering) towerMemory(op program.OpID, r int, s pipeline.Slot, start bool) {
	t := l.tower(s)
	load, class := t.Loads[s.Microbatch], uint8(MemEncoder)
	if t.Module == pipeline.Generator {
		class = MemGenerator
	}
	add := func(bytes float64) {
		if n := int64(bytes); n != 0 {
			l.prog.Mem = append(l.prog.Mem, program.MemEvent{Op: op, Rank: int32(r), Class: class, AtStart: start, Bytes: n})
		}
	}
	held := float64(int64(l.p.TowerActivationBytes(int(s.Stage), load)))
	work := 0.0
	if l.throughLayers(t) {
		work = float64(int64(l.p.TowerWorkspaceBytes(int(s.Stage), load)))
	}
	switch {
	case s.Phase == pipeline.F && start:
		add(held)
	case s.Phase == pipeline.F:
	case start:
		add(work)
	default:
		add(-work - held)
	}
}

// towerEdge is the bytes of the message between two stages of which at least one is a
// tower's, the one before being stage; for one rank.
func (l *lowering) towerEdge(stage int, s pipeline.Slot) int64 {
	from, to := l.p.Stages[stage], l.p.Stages[stage+1]
	const width = 2 // bytes of an element
	switch {
	case from.Module == pipeline.Encoder && to.Module == pipeline.Encoder, from.Module == pipeline.Generator:
		t := l.p.Tower(from.Module)
		load := t.Loads[s.Microbatch]
		tokens := load.Tokens
		if t.Model.Streams > 1 {
			tokens += load.Beside
		}
		return max(width*tokens*t.Model.Body.Hidden, 1)
	case from.Module == pipeline.Encoder:
		t := l.p.Tower(pipeline.Encoder)
		return max(width*t.Merged(t.Loads[s.Microbatch])*l.m.Hidden, 1)
	}
	return max(width*l.p.Tower(pipeline.Generator).Loads[s.Microbatch].Beside*l.m.Hidden, 1)
}

// finishTowers appends a rank's reduction of tower gradients that did not run behind
// the backward passes, and returns what they wait for.
func (l *lowering) finishTowers(r int, last program.OpID) program.OpID {
	for _, stage := range l.p.Held[r] {
		t := l.p.Tower(l.p.Stages[stage].Module)
		if t == nil || t.ZeRO == 3 || l.fw.OverlapGradReduce || t.Shard.Ranks == 1 {
			continue
		}
		if _, trained := l.p.TowerStageParams(stage); trained > 0 {
			last = l.add(l.step.Lanes[r].DP, l.bucketWork(l.towerBucket(t, trained, program.GradReduce)), Tag{pipeline.W, int32(r), -1, 0}, last)
		}
	}
	return last
}

// updateTowers appends a rank's optimizer for what it holds of towers.
func (l *lowering) updateTowers(r int, ready program.OpID) {
	tag := Tag{pipeline.W, int32(r), -1, 0}
	for _, t := range l.p.Towers() {
		trained := int64(0)
		for _, stage := range l.p.Held[r] {
			if l.p.Stages[stage].Module == t.Module {
				_, n := l.p.TowerStageParams(stage)
				trained += n
			}
		}
		if trained == 0 {
			continue
		}
		own := trained
		if t.ZeRO >= 1 {
			own /= t.Shard.Ranks
		}
		w := l.work(workKey{kind: "optimizer", bytes: own, first: -1}, func() (program.Work, Work) {
			b := newBuilder("optimizer")
			l.adam(b, own)
			return program.Work{Name: "optimizer", Kind: program.Optimizer}, Work{Blocks: []Use{{&b.b, 1}}}
		})
		op := l.add(l.step.Lanes[r].Compute, w, tag, ready)
		if t.ZeRO == 1 && !l.fw.OverlapParamGather && t.Shard.Ranks > 1 {
			l.add(l.step.Lanes[r].DP, l.bucketWork(l.towerBucket(t, trained, program.ParamGather)), tag, op)
		}
	}
}
