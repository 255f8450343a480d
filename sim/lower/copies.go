package lower

import (
	"orrery/schedules/pipeline"
	"orrery/sim/cost"
	"orrery/sim/plan"
	"orrery/sim/program"
)

// sumCopies appends, where stages have several copies, the sum of their gradients
// over the ranks that hold them, and returns what each rank's gradients then wait
// for. done is what they wait for before, by rank. Chimera's synchronisation without
// overlap (arXiv:2107.06925, section 3.2): it starts when the last of the ranks has
// all of its gradients.
func (l *lowering) sumCopies(done [][]program.OpID) [][]program.OpID {
	if l.p.Copies == nil {
		return done
	}
	out := make([][]program.OpID, len(done))
	for r, c := range l.p.Copies {
		var deps []program.OpID
		for _, q := range c.Ranks {
			deps = append(deps, done[q]...)
		}
		out[r] = []program.OpID{l.add(l.step.Lanes[r].DP, l.copiesWork(r, c), Tag{pipeline.W, int32(r), -1, 0}, deps...)}
	}
	return out
}

// copiesWork is the all-reduce of a rank's gradients over the ranks with copies. Under
// ZeRO each has a share of them once its data-parallel peers have reduced theirs.
func (l *lowering) copiesWork(r int, c plan.Copies) program.WorkID {
	p := l.updated(r)
	bytes := int64(float64(l.p.OptimizerElements(p.dense, p.expert)) * l.fw.GradDType.Bytes())
	k := workKey{kind: "copies", bytes: bytes, first: c.Group.PerDomain}
	return l.work(k, func() (program.Work, Work) {
		blk := Block{Name: "sum over copies", Ops: []Op{{Name: string(cost.AllReduce), Lane: Comm, Kernel: l.coll(cost.AllReduce, bytes, c.Group)}}}
		return program.Work{Name: "sum over copies", Kind: program.GradReduce}, Work{Blocks: []Use{{&blk, 1}}}
	})
}
