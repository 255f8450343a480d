package lower

import (
	"slices"

	"orrery/schedules/pipeline"
	"orrery/sim/cost"
	"orrery/sim/program"
)

// finish appends what follows the last backward pass: gradients that were not
// reduced behind it, the gradient norm over all ranks, the optimizer, and the
// parameters that the next step will not gather behind its forward pass.
func (l *lowering) finish() {
	done := make([][]program.OpID, len(l.ranks)) // what a rank's gradients wait for
	for r := range l.ranks {
		st := &l.ranks[r]
		tag := Tag{pipeline.W, int32(r), -1, 0}
		last := st.lastOp
		if !l.fw.OverlapGradReduce && l.trains() && l.replicated() {
			b := &bucket{p: l.rankParams(r), kind: program.GradReduce}
			last = l.add(l.step.Lanes[r].DP, l.bucketWork(b), tag, last)
		}
		if l.vocab != nil && l.fw.OverlapGradReduce && l.trains() && l.replicated() {
			last = l.add(l.step.Lanes[r].DP, l.bucketWork(&bucket{p: params{dense: l.p.VocabShareParams()}, kind: program.GradReduce}), tag, last)
		}
		done[r] = append(done[r], l.finishTowers(r, last))
		for _, g := range st.grads {
			if g != program.None {
				done[r] = append(done[r], g)
			}
		}
	}
	ready := slices.Concat(l.sumCopies(done)...)
	if l.s.Training.Optimizer == "none" {
		return
	}
	// The gradient norm needs the gradients of every rank before any may step.
	barrier := l.work(workKey{kind: "barrier"}, func() (program.Work, Work) {
		return program.Work{Name: "all gradients", Kind: program.Other}, Work{}
	})
	all := l.add(l.step.World, barrier, Tag{pipeline.W, 0, -1, 0}, ready...)
	for r := range l.ranks {
		l.update(r, all)
		l.updateTowers(r, all)
	}
}

// trains reports whether the base parameters have gradients.
func (l *lowering) trains() bool { return !l.lora }

// rankParams are the parameters of all chunks of a rank.
func (l *lowering) rankParams(r int) params {
	dense, expert := l.p.RankParams(r)
	return params{dense, expert}
}

// updated are the parameters of a rank that have gradients.
func (l *lowering) updated(r int) params {
	if l.lora {
		return params{dense: l.p.AdapterParams(r)}
	}
	return l.rankParams(r)
}

// update appends gradient norm, optimizer and parameter gather of a rank.
func (l *lowering) update(r int, ready program.OpID) {
	tag := Tag{pipeline.W, int32(r), -1, 0}
	lanes := l.step.Lanes[r]
	p := l.updated(r)
	replicas := l.p.LastingReplicas(r)
	k := workKey{kind: "optimizer", bytes: p.dense, first: p.expert, layers: replicas}
	w := l.work(k, func() (program.Work, Work) {
		b := l.optimizer(p, replicas)
		return program.Work{Name: "optimizer", Kind: program.Optimizer}, Work{Blocks: []Use{{&b, 1}}}
	})
	op := l.add(lanes.Compute, w, tag, ready)
	if l.gathersAtEnd() {
		l.add(lanes.DP, l.bucketWork(&bucket{p: p, kind: program.ParamGather}), tag, op)
	}
}

// gathersAtEnd reports whether parameters are gathered once they have been updated.
func (l *lowering) gathersAtEnd() bool {
	overlapped := l.fw.OverlapParamGather || (l.s.Parallel.ZeRO == 3 && len(l.ranks) == 1)
	return l.sharded() && !overlapped && l.trains()
}

// optimizer is one rank's update. Adam reads gradient, master weight and two
// moments and writes the last three and the working copy (Megatron's
// distributed optimizer, fused multi-tensor Adam).
func (l *lowering) optimizer(p params, replicas int64) Block {
	b := newBuilder("optimizer")
	l.sumLasting(b, replicas)
	l.adam(b, l.p.OptimizerElements(p.dense, p.expert))
	if l.fp8() && l.trains() { // weights are quantised once a step
		all := p.dense + p.expert
		b.compute("cast weights", Casts, mem("transpose_cast_fp8", 2*all, int64(2*l.dt.Bytes()*float64(all))))
	}
	l.renewLasting(b, replicas)
	return b.b
}

// adam appends the update of n elements.
func (l *lowering) adam(b *builder, n int64) {
	gb, mb, vb := l.fw.GradDType.Bytes(), l.fw.MainParamDType.Bytes(), l.fw.MomentDType.Bytes()
	bytes := func(per float64) int64 { return int64(per * float64(n)) }
	b.compute("gradient norm", OptimizerStep, mem("grad_norm", bytes(gb), 0))
	if g := l.p.Groups.World; g.Ranks > 1 {
		b.comm("reduce gradient norm", OptimizerStep, l.coll(cost.AllReduce, 4, g))
	}
	if l.s.Training.Optimizer == "sgd" {
		b.compute("sgd", OptimizerStep, mem("adam", bytes(gb+mb+vb), bytes(mb+vb+2)))
	} else {
		b.compute("adam", OptimizerStep, mem("adam", bytes(gb+mb+2*vb), bytes(mb+2*vb+2)))
	}
}
