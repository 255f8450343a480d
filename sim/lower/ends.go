package lower

import (
	"orrery/sim/cost"
	"orrery/sim/unit"
)

// embedding appends the lookup (vocabulary cut over TP) and its reduction.
func (s *shapes) embedding(b *builder) {
	x := 2 * s.tokens * s.h
	b.compute("embedding", EmbeddingHead, mem("embedding", x, x))
	if s.tp > 1 {
		b.comm("reduce embedding", TPComm, s.reduceKernel(x))
	}
	if s.p.VocabParallel() { // every pipeline rank looks up its share
		b.comm("reduce embedding over stages", TPComm, s.stages(cost.ReduceScatter, x/s.tp))
	}
}

func (s *shapes) embeddingBackward(b *builder) {
	x := 2 * s.tokens * s.h
	if s.tp > 1 && s.s.Parallel.SP {
		b.comm("all-gather d embedding", TPComm, s.coll(cost.AllGather, x, s.p.Groups.TP))
	}
	if !s.lora {
		b.compute("d embedding", EmbeddingHead, mem("embedding_grad", x, 2*x))
	}
}

// outLayer is the output projection, always in bf16.
func (s *shapes) outLayer() linear {
	l := linear{name: "output layer", class: EmbeddingHead, m: s.tokens, n: s.p.Vocab / s.tp, k: s.h, split: column, dt: unit.BF16, frozen: s.lora}
	return l
}

// head appends the final norm, the output layer and the loss.
func (s *shapes) head(b *builder) {
	s.norm(b, "final norm", s.sp, s.h)
	s.forward(b, s.outLayer())
	s.crossEntropy(b, false)
}

func (s *shapes) headBackward(b *builder) {
	s.crossEntropy(b, true)
	s.backward(b, s.outLayer())
	s.normBackward(b, "final norm", s.sp, s.h)
}

// crossEntropy is vocabulary-parallel. Fused: logits are read once for the
// statistics and once to be replaced by their gradient. Unfused (Megatron's
// VocabParallelCrossEntropy): cast to fp32, max, subtract, exp, sum, and the
// gradient in place.
func (s *shapes) crossEntropy(b *builder, backward bool) {
	s.crossEntropyOf(b, s.tokens*s.p.Vocab/s.tp, backward)
}

// crossEntropyOf is the loss over v logits of this rank.
func (s *shapes) crossEntropyOf(b *builder, v int64, backward bool) {
	stat := func() {
		if s.tp > 1 {
			b.comm("reduce loss", TPComm, s.coll(cost.AllReduce, 4*s.tokens, s.p.Groups.TP))
		}
	}
	switch {
	case s.fw.FusedCrossEntropy && !backward:
		b.compute("cross entropy", EmbeddingHead, mem("cross_entropy", 2*v, 0))
		stat()
		b.compute("cross entropy grad", EmbeddingHead, mem("cross_entropy", 2*v, 2*v))
	case s.fw.FusedCrossEntropy: // the gradient is there already; it is scaled
		b.compute("scale loss grad", EmbeddingHead, mem("scale", 4*s.tokens, 4*s.tokens))
	case !backward:
		b.compute("logits to fp32", EmbeddingHead, mem("copy", 2*v, 4*v))
		b.compute("logits max", EmbeddingHead, mem("copy", 4*v, 0))
		stat()
		b.compute("logits minus max", EmbeddingHead, mem("copy", 4*v, 4*v))
		b.compute("exp", EmbeddingHead, mem("copy", 4*v, 4*v))
		b.compute("sum", EmbeddingHead, mem("copy", 4*v, 0))
		stat()
		b.compute("softmax", EmbeddingHead, mem("copy", 4*v, 4*v))
	default:
		b.compute("loss grad", EmbeddingHead, mem("copy", 4*v, 4*v))
		b.compute("grad to bf16", EmbeddingHead, mem("copy", 4*v, 2*v))
	}
}
