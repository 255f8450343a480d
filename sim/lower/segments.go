package lower

import (
	"fmt"
	"math"
	"slices"

	"orrery/schedules/pipeline"
	"orrery/sim/cost"
	"orrery/sim/plan"
	"orrery/sim/program"
)

// stageBlocks are the distinct blocks of one stage.
type stageBlocks struct {
	embedF, embedB *Block
	headF, headB   *Block
	headI, headW   *Block     // headB in two, where the order splits backward
	layers         []layerKey // by layer of the stage
	layerGrads     []params   // parameters by layer
}

// params are the parameters of a part on one rank, before sharding over data
// parallel ranks; experts have their own group.
type params struct{ dense, expert int64 }

func (p params) plus(q params) params { return params{p.dense + q.dense, p.expert + q.expert} }

func (l *lowering) stageBlocks(i int) stageBlocks {
	st := l.p.Stages[i]
	var sb stageBlocks
	rc := l.s.Training.Recompute
	for k := range st.Layers {
		layer := st.First + k
		full := rc.Mode == "full" && (rc.Layers == 0 || k < rc.Layers)
		if l.m.Net == nil {
			sb.layers = append(sb.layers, l.keyOf(layer, full))
		}
		dense, expert := l.p.LayerParams(layer)
		sb.layerGrads = append(sb.layerGrads, params{dense, expert})
	}
	switch {
	case l.p.VocabPasses():
		sb.embedF, sb.embedB = l.vocabEmbedding()
	case st.Embedding:
		f, b := newBuilder("embedding"), newBuilder("embedding backward")
		l.embedding(f)
		l.embeddingBackward(b)
		sb.embedF, sb.embedB = &f.b, &b.b
	}
	switch {
	case !st.Head:
	case l.p.VocabPasses():
		f, b := newBuilder("final norm"), newBuilder("final norm backward")
		l.norm(f, "final norm", l.sp, l.h)
		l.normBackward(b, "final norm", l.sp, l.h)
		sb.headF, sb.headB = &f.b, &b.b
	case !l.p.VocabParallel():
		f, b := newBuilder("head"), newBuilder("head backward")
		l.mtp(f, b)
		l.head(f)
		l.headBackward(b)
		sb.headF, sb.headB = &f.b, &b.b
		sb.headI, sb.headW = splitBackward(&b.b)
	}
	return sb
}

// mtp appends the multi-token-prediction modules (DeepSeek-V3, section 2.2):
// two norms, a projection of 2h to h, a layer like the last, and the head again.
func (l *lowering) mtp(f, b *builder) {
	last := l.m.Layers - 1
	for range l.m.MTP {
		l.norm(f, "mtp norm", l.sp, 2*l.h)
		proj := l.lin("mtp proj", MLP, l.sp, l.h, 2*l.h, whole, true, false)
		l.forward(f, proj)
		l.layer(f, last)
		l.head(f)

		l.headBackward(b)
		blk := l.layerBackward(last, false)
		base := len(b.b.Ops)
		for _, op := range blk.Ops {
			after := make([]int, len(op.After))
			for i, a := range op.After {
				after[i] = a + base
			}
			op.After, op.Pair = after, op.Pair+base
			b.b.Ops = append(b.b.Ops, op)
		}
		b.last = len(b.b.Ops) - 1
		l.backward(b, proj)
		l.normBackward(b, "mtp norm", l.sp, 2*l.h)
	}
}

// segment is a part of a pass between two points where data-parallel
// communication starts or is waited for.
type segment struct {
	first, layers   int64
	embedding, head bool
	gather, reduce  *bucket
	pass            int // of a backward pass through a model that lists its layers
}

// bucket is parameters whose gradients are reduced, or that are gathered, together.
type bucket struct {
	p     params
	kind  program.Kind
	tower *plan.Tower // whose they are; nil for the LLM
}

// gathers and reduces tell whether a pass carries data-parallel communication.
func (l *lowering) gathers(s pipeline.Slot) bool {
	z, pp := l.s.Parallel.ZeRO, len(l.ranks)
	if !l.sharded() {
		return false
	}
	switch {
	case z == 3 && pp == 1: // FSDP: every pass gathers its parameters
		return true
	case z >= 1 && l.fw.OverlapParamGather && l.trains():
		return s == l.firstForward(s)
	}
	return false
}

func (l *lowering) reduces(s pipeline.Slot) bool {
	if s.Phase == pipeline.F || s.Phase == pipeline.I || !l.trains() || !l.replicated() || !l.fw.OverlapGradReduce {
		return false
	}
	return l.eachMicrobatch() || s == l.lastBackward(s)
}

// eachMicrobatch: FSDP without a pipeline reduces after every backward pass.
func (l *lowering) eachMicrobatch() bool { return l.s.Parallel.ZeRO >= 2 && len(l.ranks) == 1 }

// replicated reports whether several ranks compute gradients of the same parameters.
func (l *lowering) replicated() bool {
	g := l.p.Groups
	return g.Shard.Ranks*g.Replica.Ranks > 1 || (l.m.MoE != nil && g.ExpertShard.Ranks > 1)
}

// sharded reports whether parameters are sharded over more than one rank.
func (l *lowering) sharded() bool { return l.s.Parallel.ZeRO >= 1 && l.replicated() }

// firstForward is the first pass that needs a stage's parameters.
func (l *lowering) firstForward(s pipeline.Slot) pipeline.Slot {
	key := [2]int{l.p.Schedule.Device(l.p.Shape, s), int(s.Stage)}
	first, known := l.first[key]
	if !known {
		order := l.order[key[0]]
		first = order[slices.IndexFunc(order, func(of pipeline.Slot) bool { return of.Stage == s.Stage && !l.shares(of) })] // s itself at the latest
		l.first[key] = first
	}
	return first
}

// lastBackward is the pass that completes the gradients that a pass adds to.
func (l *lowering) lastBackward(s pipeline.Slot) pipeline.Slot {
	order := l.order[l.p.Schedule.Device(l.p.Shape, s)]
	for i := len(order) - 1; i >= 0; i-- {
		if order[i].Stage == s.Stage && order[i].Phase != pipeline.F && !l.shares(order[i]) {
			return order[i]
		}
	}
	return pipeline.Slot{Microbatch: -1}
}

// segments cuts a pass where its communication needs it.
func (l *lowering) segments(s pipeline.Slot) []segment {
	if l.m.Net != nil {
		return l.netSegments(s)
	}
	return l.cutStage(int(s.Stage), l.gathers(s), l.reduces(s), s.Phase != pipeline.F)
}

// cutStage cuts a pass of a stage, of which the backward runs the other way.
func (l *lowering) cutStage(stage int, gathers, reduces, backward bool) []segment {
	st := l.p.Stages[stage]
	st.Embedding = st.Embedding || l.p.VocabPasses()
	if !gathers && !reduces {
		return []segment{{layers: st.Layers, embedding: st.Embedding, head: st.Head}} // what vocabulary parallelism took away has no block
	}
	var segs []segment
	cut := func(seg segment, p params) {
		if p.dense+p.expert > 0 {
			if gathers {
				seg.gather = &bucket{p: p, kind: program.ParamGather}
			}
			if reduces {
				seg.reduce = &bucket{p: p, kind: program.GradReduce}
			}
		}
		segs = append(segs, seg)
	}
	if st.Embedding {
		var p params // vocabulary parallelism: reduced with the shares of the others
		if !l.p.VocabParallel() {
			p.dense = l.p.EmbeddingParams()
		}
		cut(segment{embedding: true}, p)
	}
	per := l.layersPerBucket(stage)
	for at := int64(0); at < st.Layers; at += per {
		n := min(per, st.Layers-at)
		var p params
		for k := at; k < at+n; k++ {
			p = p.plus(l.stages[stage].layerGrads[k])
		}
		cut(segment{first: at, layers: n}, p)
	}
	if st.Head && (!l.p.VocabParallel() || l.p.VocabPasses()) {
		cut(segment{head: true}, params{l.p.StageHeadParams(), l.p.HeadExpertParams()})
	}
	if backward {
		for i, j := 0, len(segs)-1; i < j; i, j = i+1, j-1 {
			segs[i], segs[j] = segs[j], segs[i]
		}
	}
	return segs
}

// layersPerBucket: FSDP wraps each layer; Megatron fills buckets of a size.
func (l *lowering) layersPerBucket(stage int) int64 {
	grads := l.stages[stage].layerGrads
	if l.s.Parallel.ZeRO >= 2 || len(grads) == 0 {
		return 1
	}
	per := float64(grads[len(grads)-1].dense+grads[len(grads)-1].expert) * l.fw.GradDType.Bytes()
	return max(int64(math.Ceil(l.fw.BucketMiB*(1<<20)/max(per, 1))), 1)
}

// segmentWork is the WorkID of a segment's kernels.
func (l *lowering) segmentWork(s pipeline.Slot, seg segment) program.WorkID {
	kind, k := s.Phase.String(), program.Forward
	if s.Phase != pipeline.F {
		k = program.Backward
	}
	if seg.embedding {
		kind += "e"
	}
	if seg.head {
		kind += "h"
	}
	var beside []Use
	if seg.embedding && l.p.VocabPasses() {
		beside = append(beside, Use{l.vocabEmbeddingComm(s.Phase == pipeline.F), 1})
	}
	for _, b := range []*bucket{seg.gather, seg.reduce} {
		if b != nil {
			kind += "+"
			beside = append(beside, l.step.Works[l.bucketWork(b)].Blocks...)
		}
	}
	key := workKey{kind: kind, stage: int(s.Stage), slice: int(s.Slice), handed: l.handed, first: seg.first, layers: seg.layers, pass: seg.pass}
	if l.m.Net != nil {
		key.microbatch = s.Microbatch
	}
	return l.ofGroups(func() program.WorkID {
		return l.work(l.loadKey(key, s), func() (program.Work, Work) {
			return program.Work{Name: fmt.Sprintf("%s stage %d", kind[:1], s.Stage), Kind: k}, Work{Blocks: l.uses(s, seg), Beside: beside}
		})
	})
}

// uses are the blocks of a segment in the order in which they run.
func (l *lowering) uses(s pipeline.Slot, seg segment) []Use {
	if l.m.Net != nil {
		return l.netUses(s, seg)
	}
	sb := l.stages[s.Stage]
	var uses []Use
	put := func(b *Block) {
		if b == nil {
			return
		}
		if n := len(uses); n > 0 && uses[n-1].Block == b {
			uses[n-1].Times++
			return
		}
		uses = append(uses, Use{b, 1})
	}
	if s.Phase == pipeline.F {
		if seg.embedding {
			put(sb.embedF)
		}
		for i := seg.first; i < seg.first+seg.layers; i++ {
			put(l.layerBlock(sb.layers[i], s))
		}
		if seg.head {
			put(sb.headF)
		}
		return uses
	}
	if seg.head {
		put(map[pipeline.Phase]*Block{pipeline.B: sb.headB, pipeline.I: sb.headI, pipeline.W: sb.headW}[s.Phase])
	}
	for i := seg.first + seg.layers - 1; i >= seg.first; i-- {
		put(l.layerBlock(sb.layers[i], s))
	}
	if seg.embedding && s.Phase != pipeline.I {
		put(sb.embedB)
	}
	return uses
}

// bucketWork is the WorkID of a bucket's collectives.
func (l *lowering) bucketWork(b *bucket) program.WorkID {
	k := workKey{kind: b.kind.String(), bytes: b.p.dense, first: b.p.expert}
	if b.tower != nil {
		k.stage = int(b.tower.Module)
	}
	return l.work(k, func() (program.Work, Work) {
		return program.Work{Name: b.kind.String(), Kind: b.kind}, Work{Blocks: []Use{{l.bucketBlock(b), 1}}}
	})
}

// bucketBlock are a bucket's collectives.
func (l *lowering) bucketBlock(b *bucket) *Block {
	blk := &Block{Name: b.kind.String()}
	if b.tower != nil {
		l.towerBucketOps(blk, b)
		return blk
	}
	g := l.p.Groups
	l.bucketOps(blk, b.kind, b.p.dense, g.Shard, g.Replica)
	l.bucketOps(blk, b.kind, b.p.expert, g.ExpertShard, cost.Group{Ranks: 1, PerDomain: 1})
	return blk
}

// towerBucketOps are the collectives of a tower's parameters or gradients.
func (l *lowering) towerBucketOps(blk *Block, b *bucket) {
	kind, dt := cost.ReduceScatter, l.fw.GradDType
	switch {
	case b.kind == program.ParamGather:
		kind, dt = cost.AllGather, l.fw.ParamDType
	case b.tower.ZeRO == 0:
		kind = cost.AllReduce
	}
	bytes := int64(float64(b.p.dense) * dt.Bytes())
	blk.Ops = append(blk.Ops, Op{Name: string(kind), Lane: Comm, Kernel: l.coll(kind, bytes, b.tower.Shard)})
}

func (l *lowering) bucketOps(blk *Block, kind program.Kind, n int64, shard, replica cost.Group) {
	if n == 0 {
		return
	}
	add := func(c cost.CollectiveKind, bytes float64, g cost.Group) {
		if g.Ranks > 1 {
			blk.Ops = append(blk.Ops, Op{Name: string(c), Lane: Comm, Kernel: l.coll(c, int64(bytes), g)})
		}
	}
	if kind == program.ParamGather {
		dt := l.fw.ParamDType
		add(cost.AllGather, float64(n)*dt.Bytes(), shard)
		return
	}
	bytes := float64(n) * l.fw.GradDType.Bytes()
	if l.s.Parallel.ZeRO == 0 {
		add(cost.AllReduce, bytes, cost.Group{Ranks: shard.Ranks * replica.Ranks, PerDomain: shard.PerDomain})
		return
	}
	add(cost.ReduceScatter, bytes, shard)
	add(cost.AllReduce, bytes/float64(shard.Ranks), replica)
}
