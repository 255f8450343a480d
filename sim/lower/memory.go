package lower

import (
	"orrery/schedules/pipeline"
	"orrery/sim/plan"
	"orrery/sim/program"
)

// Classes of the program's memory events: activations of the LLM, and of the modules
// beside it.
const (
	MemActivations = iota
	MemEncoder
	MemGenerator
)

// stageBytes is what one pass of a stage holds, in bytes, each rounded once so
// that it is given back as it was taken.
type stageBytes struct {
	activations, kvGrad, weightGrad, offload int64
}

func stageBytesOf(p *plan.Plan) []stageBytes {
	out := make([]stageBytes, len(p.Stages))
	for i := range out {
		out[i] = stageBytes{int64(p.ActivationBytes(i)), int64(p.KVGradBytes(i)), int64(p.WeightGradBytes(i)), int64(p.OffloadBytes(i))}
	}
	return out
}

// memoryBefore is what a pass holds from its start on: a forward what its
// backward will need; the first backward of a microbatch's slices, which is that
// of the last one, the gradients of all keys and values (SlimPipe's artifact,
// cache_utils: kv_grad).
func (l *lowering) memoryBefore(op program.OpID, r int, s pipeline.Slot) {
	switch {
	case s.Phase == pipeline.F:
		l.memory(op, r, true, l.kept(s))
	case s.Phase != pipeline.W && int(s.Slice) == l.n-1:
		l.memory(op, r, true, int64(l.n)*l.held[s.Stage].kvGrad)
	}
}

// memoryAfter is what a pass gives back when it ends. The first half of a split
// backward leaves what the weight gradients need.
func (l *lowering) memoryAfter(op program.OpID, r int, s pipeline.Slot) {
	free := int64(0)
	switch s.Phase {
	case pipeline.B:
		free = l.kept(s) + l.held[s.Stage].kvGrad
	case pipeline.I:
		free = l.held[s.Stage].activations + l.held[s.Stage].kvGrad - l.held[s.Stage].weightGrad
	case pipeline.W:
		free = l.held[s.Stage].weightGrad
	}
	l.memory(op, r, false, -free)
}

// kept is what a forward pass leaves for its backward pass.
func (l *lowering) kept(s pipeline.Slot) int64 {
	if l.m.Net != nil {
		return l.p.BatchBytes(int(s.Microbatch))
	}
	return l.held[s.Stage].activations
}

func (l *lowering) memory(op program.OpID, r int, atStart bool, bytes int64) {
	if bytes != 0 {
		l.prog.Mem = append(l.prog.Mem, program.MemEvent{Op: op, Rank: int32(r), Class: MemActivations, AtStart: atStart, Bytes: bytes})
	}
}
