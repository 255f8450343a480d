package lower

import (
	"slices"

	"orrery/schedules/pipeline"
	"orrery/sim/cost"
	"orrery/sim/program"
)

// sharedLayer is the output layer where every pipeline rank has a share of it.
type sharedLayer interface {
	// holds reports whether a slot is one of its passes.
	holds(pipeline.Slot) bool
	// input lists what a slot waits for where the layer has a part in it, nil where
	// that is not there yet; not known where the layer has none.
	input(*lowering, pipeline.Slot) (ops []program.OpID, known bool)
	// pass appends one of its passes on a rank.
	pass(l *lowering, rank int, s pipeline.Slot, arrived []program.OpID)
}

// shares reports whether a slot is a pass of the output layer that all ranks share.
func (l *lowering) shares(s pipeline.Slot) bool { return l.vocab != nil && l.vocab.holds(s) }

// barriers is the output layer of vocabulary-parallel 1F1B (arXiv:2411.05288,
// algorithms 1 and 2; sail-sg/VocabularyParallelism, vocab_parallel_output). Pass
// S_k of a rank computes the weight gradients of its share for microbatch k-1 and
// the logits of its share for k. When the last stage has produced k it broadcasts
// it; when all ranks have run S_k they join the statistics of the softmax and the
// gradients of the hidden states. Both run on lanes of their own, behind other
// passes; that they take SMs there is left out.
type barriers struct {
	count        int // 1 or 2
	logits       Block
	weights      Block
	kept         int64          // bytes that S_k leaves for S_k+1
	hidden, join program.LaneID // the broadcast of hidden states, the barriers
	sent, joined []program.OpID // by microbatch
	shares       [][]program.OpID
}

func (l *lowering) newBarriers() *barriers {
	n := l.mbs + 1
	v := &barriers{count: int(l.s.Schedule.Barriers), kept: l.p.VocabKeptBytes(), shares: make([][]program.OpID, n),
		sent: filled(n, program.None), joined: filled(n, program.None),
		hidden: l.prog.AddLane(0, "hidden states to all stages"), join: l.prog.AddLane(0, "output layer over stages")}
	l.step.Pipeline = append(l.step.Pipeline, v.hidden, v.join)
	f, b := newBuilder("vocabulary share"), newBuilder("vocabulary share backward")
	l.vocabLogits(f, v.count)
	l.vocabWeights(b, v.count)
	v.logits, v.weights = f.b, b.b
	return v
}

func (v *barriers) holds(s pipeline.Slot) bool { return s.Phase == pipeline.S }

// input: S_k needs the last stage's output k, on the other ranks by broadcast, and
// the barrier before; the last stage's backward of k the barriers that join its
// input gradients.
func (v *barriers) input(l *lowering, s pipeline.Slot) (ops []program.OpID, known bool) {
	k, last := int(s.Microbatch), len(l.p.Stages)-1
	switch {
	case s.Phase == pipeline.S:
		if k < l.mbs {
			ops = append(ops, v.arrival(l, s, last))
		}
		if k > 0 {
			ops = append(ops, v.joined[k-1])
		}
	case s.Phase == pipeline.B && int(s.Stage) == last:
		ops = append(ops, v.joined[k:k+v.count]...)
	default:
		return nil, false
	}
	if slices.Contains(ops, program.None) {
		return nil, true
	}
	return ops, true
}

// arrival is when a rank has the last stage's output; None where there is none yet.
func (v *barriers) arrival(l *lowering, s pipeline.Slot, last int) program.OpID {
	end := l.fEnd[l.at(last, s)]
	if end == program.None || int(s.Stage) == last {
		return end
	}
	sent := &v.sent[s.Microbatch]
	if *sent == program.None {
		*sent = l.add(v.hidden, l.stagesWork("hidden states to all stages", l.shapes.stages(cost.Broadcast, 4*l.sp*l.h)), tagOf(s), end)
	}
	return *sent
}

// pass appends S_k: the weight gradients of the microbatch before, then the share of
// this one's logits.
func (v *barriers) pass(l *lowering, r int, s pipeline.Slot, arrived []program.OpID) {
	st, compute, k := &l.ranks[r], l.step.Lanes[r].Compute, int(s.Microbatch)
	deps := slices.Concat(st.frontier, arrived)
	st.frontier = st.frontier[:0]
	if k > 0 {
		st.lastOp = l.add(compute, l.shareWork("weights of vocabulary share", program.Backward, &v.weights), tagOf(s), deps...)
		l.memory(st.lastOp, r, false, -v.kept)
		deps = nil
	}
	if k < l.mbs {
		st.lastOp = l.add(compute, l.shareWork("vocabulary share", program.Forward, &v.logits), tagOf(s), deps...)
		l.memory(st.lastOp, r, true, v.kept)
	}
	if v.shares[k] = append(v.shares[k], st.lastOp); len(v.shares[k]) == len(l.ranks) {
		v.barrier(l, s)
	}
}

// barrier appends what joins the shares of S_k, after the last of them.
func (v *barriers) barrier(l *lowering, s pipeline.Slot) {
	k := int(s.Microbatch)
	stats, grads := k < l.mbs, k < l.mbs // of one barrier
	if v.count == 2 {
		grads = k > 0 // of the microbatch before
	}
	if !stats && !grads {
		return
	}
	var over []cost.Kernel
	if stats { // maximum, sum of exponentials, logit of the target, one after the other
		over = slices.Repeat([]cost.Kernel{l.shapes.stages(cost.AllReduce, 4*l.sp)}, 3)
	}
	if grads {
		over = append(over, l.shapes.stages(cost.AllReduce, 2*l.sp*l.h))
	}
	v.joined[k] = l.add(v.join, l.stagesWork("output layer over stages", over...), tagOf(s), v.shares[k]...)
}

func tagOf(s pipeline.Slot) Tag { return Tag{s.Phase, s.Stage, s.Microbatch, s.Slice} }

// shareWork is one block of the output layer's share.
func (l *lowering) shareWork(name string, kind program.Kind, b *Block) program.WorkID {
	return l.work(workKey{kind: name}, func() (program.Work, Work) {
		return program.Work{Name: name, Kind: kind}, Work{Blocks: []Use{{b, 1}}}
	})
}

// stagesWork is messages between all ranks of a pipeline.
func (l *lowering) stagesWork(name string, kernels ...cost.Kernel) program.WorkID {
	return l.work(workKey{kind: name, layers: int64(len(kernels))}, func() (program.Work, Work) {
		blk := Block{Name: name}
		for _, k := range kernels {
			blk.Ops = append(blk.Ops, Op{Name: name, Class: TPComm, Lane: Comm, Kernel: k})
		}
		return program.Work{Name: name, Kind: program.Send}, Work{Blocks: []Use{{&blk, 1}}}
	})
}

// vocabLayer is a rank's share of the output layer.
func (s *shapes) vocabLayer() linear {
	out := s.outLayer()
	out.n /= s.s.Parallel.PP
	return out
}

// vocabLogits appends logits and softmax of a rank's share by what it has itself;
// with one barrier also the input gradients of that softmax and of the targets,
// which the barrier scales and joins.
func (s *shapes) vocabLogits(b *builder, barriers int) {
	out, v := s.vocabLayer(), s.tokens*s.p.Vocab/s.tp/s.s.Parallel.PP
	s.forward(b, out)
	s.crossEntropyOf(b, v, false)
	if barriers == 2 {
		return
	}
	if !s.fw.FusedCrossEntropy {
		b.compute("softmax to bf16", EmbeddingHead, mem("copy", 4*v, 2*v))
	}
	b.compute("dgrad output layer", out.class, s.product(out, out.m, out.k, out.n, cost.Dgrad))
	b.compute("rows of targets", EmbeddingHead, mem("embedding", 2*s.tokens*s.h, 2*s.tokens*s.h))
	if s.tp > 1 { // the two gradients apart, since only one is scaled
		for range 2 {
			b.comm("reduce d output layer", TPComm, s.reduceKernel(2*s.tokens*s.h))
		}
	}
}

// vocabWeights appends, once the statistics of all shares are known, the scaling
// of the softmax and the gradients that are left.
func (s *shapes) vocabWeights(b *builder, barriers int) {
	out, v := s.vocabLayer(), s.tokens*s.p.Vocab/s.tp/s.s.Parallel.PP
	bytes := int64(4)
	if s.fw.FusedCrossEntropy {
		bytes = 2
	}
	b.compute("scale softmax", EmbeddingHead, mem("copy", bytes*v, bytes*v))
	s.crossEntropyOf(b, v, true)
	if barriers == 2 {
		s.backward(b, out)
		return
	}
	w := b.compute("wgrad output layer", out.class, s.product(out, out.n, out.k, out.m, cost.Wgrad))
	b.b.Ops[w].Wgrad = true
}

// vocabEmbedding are the blocks of a rank's share of the embedding. What all ranks
// looked up is summed, and its gradient broadcast, behind other passes
// (sail-sg/VocabularyParallelism, vocab_input_store).
func (s *shapes) vocabEmbedding() (forward, backward *Block) {
	x := 2 * s.tokens * s.h
	f, b := newBuilder("embedding share"), newBuilder("embedding share backward")
	f.compute("embedding", EmbeddingHead, mem("embedding", x, x))
	b.compute("d embedding", EmbeddingHead, mem("embedding_grad", x, 2*x))
	return &f.b, &b.b
}

// vocabEmbeddingComm is what runs behind a pass for the embedding.
func (s *shapes) vocabEmbeddingComm(forward bool) *Block {
	name, kind := "sum embedding over stages", cost.AllReduce
	if !forward {
		name, kind = "d embedding to all stages", cost.Broadcast
	}
	blk := &Block{Name: name, Ops: []Op{{Name: name, Class: TPComm, Lane: Comm, Kernel: s.stages(kind, 2*s.sp*s.h)}}}
	if s.tp > 1 && forward {
		blk.Ops = append(blk.Ops, Op{Name: "reduce embedding", Class: TPComm, Lane: Comm, Kernel: s.reduceKernel(2 * s.tokens * s.h)})
	}
	return blk
}
