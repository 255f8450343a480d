package lower

import (
	"orrery/schedules/pipeline"
	"orrery/sim/cost"
	"orrery/sim/program"
)

// Activations that wait in the host's memory, as SlimPipe's artifact moves them:
// out behind the next pass, back behind the pass before their own backward; what
// comes back within a few passes never leaves.

// stays is how many passes there must be between a forward and its backward for
// the activations to leave.
const stays = 4

// leaving marks, by rank and slot, the passes whose activations leave: forwards
// that send them, backwards that fetch them.
func (l *lowering) leaving() [][]bool {
	out := make([][]bool, len(l.order))
	for r, order := range l.order {
		out[r] = make([]bool, len(order))
		at := map[pipeline.Slot]int{}
		for i, s := range order {
			if l.shares(s) {
				continue
			}
			if s.Phase == pipeline.F {
				at[s] = i
				continue
			}
			s.Phase = pipeline.F
			if from := at[s]; i-from > stays && l.held[s.Stage].offload > 0 {
				out[r][from], out[r][i] = true, true
			}
		}
	}
	return out
}

// sendOut moves what a forward pass left to the host.
func (l *lowering) sendOut(r int, s pipeline.Slot, done program.OpID) {
	b := l.held[s.Stage].offload
	op := l.add(l.step.Lanes[r].Out, l.copyWork(b, "out"), Tag{s.Phase, s.Stage, s.Microbatch, s.Slice}, done)
	l.memory(op, r, false, -b)
	if l.out == nil {
		l.out = map[pipeline.Slot]program.OpID{}
	}
	s.Phase = pipeline.B
	l.out[s] = op
}

// fetch brings it back behind the pass before the last one.
func (l *lowering) fetch(r int, s pipeline.Slot) program.OpID {
	st := &l.ranks[r]
	b := l.held[s.Stage].offload
	op := l.add(l.step.Lanes[r].In, l.copyWork(b, "in"), Tag{s.Phase, s.Stage, s.Microbatch, s.Slice}, l.out[s], st.beforeLast)
	l.memory(op, r, true, b)
	return op
}

func (l *lowering) copyWork(bytes int64, way string) program.WorkID {
	return l.work(workKey{kind: "copy " + way, bytes: bytes}, func() (program.Work, Work) {
		return program.Work{Name: "copy " + way, Kind: program.Offload}, Work{Kernel: cost.HostCopy{Bytes: bytes, GBps: l.s.Cluster.HostGBps}}
	})
}

// offloads reports whether a slot of a rank, by its index, moves activations.
func (l *lowering) offloads(r, i int) bool {
	return l.moves != nil && l.moves[r][i]
}
