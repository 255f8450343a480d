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
		l.memory(op, r, true, l.kept(r, s))
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
		free = l.kept(r, s) + l.held[s.Stage].kvGrad
	case pipeline.I:
		free = l.activations(r, s) + l.held[s.Stage].kvGrad - l.keptForWeights(r, s)
	case pipeline.W:
		free = l.keptForWeights(r, s)
	}
	l.memory(op, r, false, -free)
}

// kept is what a pass keeps for its backward pass, on the rank that receives the
// most tokens where loads differ.
func (l *lowering) kept(r int, s pipeline.Slot) int64 {
	if l.m.Net != nil {
		return l.p.BatchBytes(int(s.Microbatch))
	}
	return l.activations(r, s)
}

// activations are those of a pass, on the rank that receives the most tokens where
// loads of experts differ.
func (l *lowering) activations(r int, s pipeline.Slot) int64 {
	return l.held[s.Stage].activations + int64(l.p.UnevenBytes(r, int(s.Stage), int(s.Microbatch)))
}

// keptForWeights is what of it the gradients of weights need.
func (l *lowering) keptForWeights(r int, s pipeline.Slot) int64 {
	return l.held[s.Stage].weightGrad + int64(l.p.UnevenWeightGradBytes(r, int(s.Stage), int(s.Microbatch)))
}

func (l *lowering) memory(op program.OpID, r int, atStart bool, bytes int64) {
	if bytes != 0 {
		l.prog.Mem = append(l.prog.Mem, program.MemEvent{Op: op, Rank: int32(r), Class: MemActivations, AtStart: atStart, Bytes: bytes})
	}
}
