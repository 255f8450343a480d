package lower

import (
	"slices"

	"orrery/schedules/pipeline"
	"orrery/sim/cost"
	"orrery/sim/program"
)

// vocabulary is the output layer cut over all pipeline ranks, as SlimPipe's
// artifact runs it (--kaimm-vocab-in-pipeline-parallel): when the last stage has
// produced a slice, every rank computes the logits of its share of the
// vocabulary, in the tick in which the last rank would. In orders it is the stage
// after the last, and every rank has its passes.
type vocabulary struct {
	stage  int32
	shape  pipeline.Shape
	done   map[pipeline.Slot][]program.OpID // by pass, the ops of the ranks that have run it
	fwd    Block
	bwd    Block
	logits int64 // bytes of one pass
}

func (l *lowering) newVocabulary() *vocabulary {
	v := &vocabulary{stage: int32(len(l.p.Stages)), shape: l.p.Shape, done: map[pipeline.Slot][]program.OpID{}, logits: int64(l.p.LogitsBytes())}
	f, b := newBuilder("vocabulary share"), newBuilder("vocabulary share backward")
	l.vocabShare(f, b)
	v.fwd, v.bwd = f.b, b.b
	return v
}

// holds reports whether a slot is one of the vocabulary's.
func (v *vocabulary) holds(s pipeline.Slot) bool { return s.Stage == v.stage }

// interleave puts the vocabulary's passes into the order of every rank. In the
// steady state the last rank runs forward q and backward q-(nv-1) in a tick, rank
// r forward q+d and backward q-(nv-1)-d with d = p-1-r; the vocabulary's passes
// stand between the two.
func (v *vocabulary) interleave(order [][]pipeline.Slot) [][]pipeline.Slot {
	last := order[len(order)-1]
	var forward, backward []pipeline.Slot
	for _, s := range last {
		if s.Phase == pipeline.F {
			forward = append(forward, s)
		} else {
			backward = append(backward, s)
		}
	}
	lead := v.shape.Virtual*v.shape.Slices - 1
	out := make([][]pipeline.Slot, len(order))
	for r := range order {
		d := len(order) - 1 - r
		after := make([][]pipeline.Slot, len(forward))   // by forward pass
		before := make([][]pipeline.Slot, len(backward)) // by backward pass
		for q, s := range forward {
			if s.Stage != v.stage-1 {
				continue
			}
			s.Stage = v.stage
			if at := q + d; at < len(forward) {
				after[at] = append(after[at], s)
			} else {
				before[q-lead-d] = append(before[q-lead-d], s)
			}
		}
		for k, s := range backward {
			if s.Stage != v.stage-1 {
				continue
			}
			s.Stage = v.stage
			if at := k - d; at >= 0 {
				before[at] = append(before[at], s)
			} else {
				at := min(lead+k+d, len(forward)-1)
				after[at] = append(after[at], s)
			}
		}
		f, b := 0, 0
		for _, s := range order[r] {
			if s.Phase == pipeline.F {
				out[r] = append(append(out[r], s), after[f]...)
				f++
			} else {
				out[r] = append(append(out[r], before[b]...), s)
				b++
			}
		}
	}
	return out
}

// interlaced names the halves of passes S of the interlaced 1F1B as passes of the
// stage after the last. The logits of all ranks end in an all-reduce, after which the
// gradients start together.
func (v *vocabulary) interlaced(order [][]pipeline.Slot) [][]pipeline.Slot {
	out := make([][]pipeline.Slot, len(order))
	for r, slots := range order {
		for _, s := range slots {
			if s.Phase == pipeline.S {
				s.Phase = [...]pipeline.Phase{pipeline.F, pipeline.B}[s.Slice]
				s.Stage, s.Slice = v.stage, 0
			}
			out[r] = append(out[r], s)
		}
	}
	return out
}

// input lists what a slot waits for where the vocabulary has a part in it, nil
// where that is not there yet: a share waits for the last stage's output, its
// backward for the softmax over all shares, the last stage's backward for the
// input gradients of all shares.
func (v *vocabulary) input(l *lowering, s pipeline.Slot) (ops []program.OpID, known bool) {
	of := s
	switch {
	case s.Stage == v.stage && s.Phase == pipeline.F:
		if op := l.fEnd[l.at(int(v.stage)-1, s)]; op != program.None {
			return []program.OpID{op}, true
		}
		return nil, true
	case s.Stage == v.stage:
		of.Phase = pipeline.F
	case s.Stage == v.stage-1 && s.Phase == pipeline.B:
		of.Stage = v.stage
	default:
		return nil, false
	}
	if len(v.done[of]) < len(l.ranks) {
		return nil, true
	}
	return v.done[of], true
}

// pass appends a rank's share of one slice.
func (v *vocabulary) pass(l *lowering, r int, s pipeline.Slot, arrived []program.OpID) {
	st := &l.ranks[r]
	blk, kind, bytes := &v.fwd, program.Forward, v.logits
	if s.Phase != pipeline.F {
		blk, kind, bytes = &v.bwd, program.Backward, -v.logits
	}
	w := l.work(workKey{kind: "vocabulary " + s.Phase.String()}, func() (program.Work, Work) {
		return program.Work{Name: s.Phase.String() + " vocabulary share", Kind: kind}, Work{Blocks: []Use{{blk, 1}}}
	})
	deps := slices.Concat(st.frontier, arrived)
	st.frontier = st.frontier[:0]
	op := l.add(l.step.Lanes[r].Compute, w, Tag{s.Phase, s.Stage, s.Microbatch, s.Slice}, deps...)
	st.lastOp = op
	l.memory(op, r, s.Phase == pipeline.F, bytes)
	v.done[s] = append(v.done[s], op)
}

// vocabShare appends a rank's share of the output layer and the loss: hidden
// states come to all ranks, statistics of the softmax are joined over all, the
// gradients of hidden states are summed on the last.
func (s *shapes) vocabShare(f, b *builder) {
	pp := s.s.Parallel.PP
	hidden := 2 * s.tokens * s.h
	out := s.outLayer()
	out.n /= pp
	f.comm("all-gather hidden over stages", TPComm, s.stages(cost.AllGather, hidden/s.tp))
	s.norm(f, "final norm", s.sp, s.h)
	s.forward(f, out)
	s.crossEntropyOf(f, s.tokens*s.p.Vocab/s.tp/pp, false)
	f.comm("reduce loss over stages", TPComm, s.stages(cost.AllReduce, 4*s.tokens))
	s.crossEntropyOf(b, s.tokens*s.p.Vocab/s.tp/pp, true)
	s.backward(b, out)
	b.comm("reduce d hidden over stages", TPComm, s.stages(cost.ReduceScatter, hidden/s.tp))
	s.normBackward(b, "final norm", s.sp, s.h)
}

// stages is a collective over the ranks of a pipeline.
func (s *shapes) stages(kind cost.CollectiveKind, bytes int64) cost.Kernel {
	g := cost.Group{Ranks: s.s.Parallel.PP, PerDomain: s.s.Parallel.PP}
	c := cost.Collective{Kind: kind, Bytes: bytes, Group: g}
	run := int64(1) // stages in a row that share an NVLink domain
	for i, far := range s.p.Groups.CrossStage {
		if far && i < int(g.Ranks)-1 {
			c.Group.PerDomain, c.NICGBps = min(c.Group.PerDomain, run), s.nic
			run = 0
		}
		run++
	}
	for c.Group.Ranks%c.Group.PerDomain != 0 {
		c.Group.PerDomain--
	}
	return c
}
