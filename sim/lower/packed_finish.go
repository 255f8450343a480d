package lower

import (
	"slices"

	"orrery/schedules/pipeline"
	"orrery/sim/program"
)

// finish appends what follows the passes: the reduction of each stage's gradients, which
// waits for the slowest lane, the gradient norm over all ranks, the optimizer, and the
// parameters that the next step will not gather behind its forward pass.
func (l *packedLowering) finish() {
	pp := len(l.p.Stages)
	var ready []program.OpID
	for s := range pp {
		tag := Tag{pipeline.W, int32(s), -1, 0}
		var ends []program.OpID // of the stage on all lanes
		for rank := s; rank < len(l.last); rank += pp {
			ends = append(ends, l.last[rank])
		}
		ready = append(ready, ends...)
		if !l.replicated() {
			continue
		}
		if !l.fw.OverlapGradReduce {
			ready = append(ready, l.add(l.step.Lanes[s].DP, l.bucketWork(&bucket{p: l.rankParams(s), kind: program.GradReduce}), tag, ends...))
			continue
		}
		for i, seg := range l.cuts[back][s] {
			if seg.reduce != nil {
				ready = append(ready, l.add(l.step.Lanes[s].DP, l.bucketWork(seg.reduce), tag, l.grads[s][i]...))
			}
		}
	}
	if l.s.Training.Optimizer == "none" {
		return
	}
	barrier := l.work(workKey{kind: "barrier"}, func() (program.Work, Work) {
		return program.Work{Name: "all gradients", Kind: program.Other}, Work{}
	})
	all := l.add(l.step.World, barrier, Tag{pipeline.W, 0, -1, 0}, ready...)
	for s := range pp {
		l.updates(s, all)
	}
}

// updates appends the optimizer of a stage on all lanes, and the gather of what they
// have updated.
func (l *packedLowering) updates(s int, ready program.OpID) {
	tag := Tag{pipeline.W, int32(s), -1, 0}
	p := l.rankParams(s)
	w := l.work(workKey{kind: "optimizer", bytes: p.dense, first: p.expert}, func() (program.Work, Work) {
		b := l.optimizer(p, 0)
		return program.Work{Name: "optimizer", Kind: program.Optimizer}, Work{Blocks: []Use{{&b, 1}}}
	})
	var ops []program.OpID
	for rank := s; rank < len(l.last); rank += len(l.p.Stages) {
		ops = append(ops, l.add(l.step.Lanes[rank].Compute, w, tag, ready))
	}
	if l.sharded() && !l.fw.OverlapParamGather {
		l.add(l.step.Lanes[s].DP, l.bucketWork(&bucket{p: p, kind: program.ParamGather}), tag, slices.Clone(ops)...)
	}
}
