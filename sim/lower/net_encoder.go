package lower

import (
	"math"

	"orrery/models"
	"orrery/sim/cost"
)

// encoder is a transformer encoder's layer. Whether norms come before or after a
// sub-layer changes no kernel.
func (n *netShapes) encoder(b *builder, e models.Encoder, backward bool) {
	rows, width := n.batch.Tokens, e.Heads*e.HeadDim
	if !backward {
		for _, name := range []string{"q", "k", "v"} {
			n.dense(b, name, AttnLinear, rows, width, e.Hidden)
		}
		n.encoderCore(b, e)
		n.dense(b, "proj", AttnLinear, rows, e.Hidden, width)
		n.dropAddNorm(b, e.Norm, rows, e.Hidden, false)
		for range e.Block().Matrices() - 1 {
			n.dense(b, "fc1", MLP, rows, e.FFN, e.Hidden)
		}
		n.encoderAct(b, e, false)
		n.dense(b, "fc2", MLP, rows, e.Hidden, e.FFN)
		n.dropAddNorm(b, e.Norm, rows, e.Hidden, false)
		return
	}
	n.dropAddNorm(b, e.Norm, rows, e.Hidden, true)
	n.denseBackward(b, "fc2", MLP, rows, e.Hidden, e.FFN, e.Bias)
	n.encoderAct(b, e, true)
	for range e.Block().Matrices() - 1 {
		n.denseBackward(b, "fc1", MLP, rows, e.FFN, e.Hidden, e.Bias)
	}
	n.dropAddNorm(b, e.Norm, rows, e.Hidden, true)
	n.denseBackward(b, "proj", AttnLinear, rows, e.Hidden, width, e.Bias)
	n.encoderCoreBackward(b, e)
	for i, name := range []string{"q", "k", "v"} {
		n.denseBackward(b, name, AttnLinear, rows, width, e.Hidden, e.Bias)
		if i > 0 {
			n.add(b, "sum of input grads", rows*e.Hidden)
		}
	}
}

// encoderAct is GELU, gated or not.
func (n *netShapes) encoderAct(b *builder, e models.Encoder, backward bool) {
	x := 2 * n.batch.Tokens * e.FFN
	switch {
	case e.Gated && n.fw.FusedKernels && !backward:
		b.compute("activation", Elementwise, mem("swiglu", 2*x, x))
	case e.Gated && n.fw.FusedKernels:
		b.compute("d activation", Elementwise, mem("swiglu", 3*x, 2*x))
	case e.Gated && !backward:
		b.compute("activation", Elementwise, mem("gelu", x, x))
		b.compute("gate", Elementwise, mem("copy", 2*x, x))
	case e.Gated:
		b.compute("d gate", Elementwise, mem("copy", 3*x, 2*x))
		b.compute("d activation", Elementwise, mem("gelu", 2*x, x))
	case !backward:
		b.compute("activation", Elementwise, mem("gelu", x, x))
	default:
		b.compute("d activation", Elementwise, mem("gelu", 2*x, x))
	}
}

// length is the length of utterances that, all alike, would have as many pairs of
// tokens: theirs where they are padded.
func (n *netShapes) length() int64 {
	return max(int64(math.Round(math.Sqrt(float64(n.batch.TokenPairs)/float64(n.batch.Utterances)))), 1)
}

// fused is attention in one kernel.
func (n *netShapes) fused(e models.Encoder, backward bool) cost.Attention {
	l := n.length()
	return cost.Attention{Batch: n.batch.Utterances, SeqQ: l, SeqKV: l, Heads: e.Heads, KVHeads: e.Heads, HeadDim: e.HeadDim,
		Backward: backward, DType: n.dt, FA2: n.fw.FlashAttention2, CuDNN: !n.fw.FlashAttention2, Deterministic: n.fw.DeterministicAttn}
}

// batched is a product for each head of each utterance, in one launch.
func (n *netShapes) batched(e models.Encoder, m, cols, k int64) cost.GEMM {
	g := gemm(m, cols, k, n.dt, cost.Fwd)
	g.Batch = n.batch.Utterances * e.Heads
	return g
}

// encoderCore is core attention; with relative positions it is product, bias,
// softmax in fp32, dropout and product, a kernel or more each.
func (n *netShapes) encoderCore(b *builder, e models.Encoder) {
	if !e.Relative {
		b.compute("attention", Attention, n.fused(e, false))
		return
	}
	l, pairs := n.length(), n.batch.TokenPairs*e.Heads
	b.compute("scores", Attention, n.batched(e, l, l, e.HeadDim))
	if n.fw.FusedKernels {
		b.compute("bias, softmax, dropout", Attention, mem("copy", 2*pairs, 5*pairs))
	} else {
		b.compute("add bias", Attention, mem("copy", 4*pairs, 2*pairs))
		b.compute("softmax", Attention, mem("copy", 2*pairs, 4*pairs))
		b.compute("to 16 bits", Attention, mem("copy", 4*pairs, 2*pairs))
		b.compute("dropout", Attention, mem("copy", 2*pairs, 3*pairs))
	}
	b.compute("weighted sum", Attention, n.batched(e, l, e.HeadDim, l))
}

func (n *netShapes) encoderCoreBackward(b *builder, e models.Encoder) {
	if !e.Relative {
		b.compute("d attention", Attention, n.fused(e, true))
		return
	}
	l, pairs := n.length(), n.batch.TokenPairs*e.Heads
	b.compute("d probabilities", Attention, n.batched(e, l, l, e.HeadDim))
	b.compute("d values", Attention, n.batched(e, l, e.HeadDim, l))
	if n.fw.FusedKernels {
		b.compute("d dropout, softmax", Attention, mem("copy", 7*pairs, 2*pairs))
	} else {
		b.compute("d dropout", Attention, mem("copy", 3*pairs, 2*pairs))
		b.compute("to fp32", Attention, mem("copy", 2*pairs, 4*pairs))
		b.compute("d softmax", Attention, mem("copy", 8*pairs, 2*pairs))
	}
	b.compute("sum of bias grads", Attention, mem("copy", 2*pairs, 2*l*l*e.Heads))
	b.compute("d queries", Attention, n.batched(e, l, e.HeadDim, l))
	b.compute("d keys", Attention, n.batched(e, l, e.HeadDim, l))
}

// relativeBias looks the bias of every pair of positions up, once for a stack of
// layers: distances, their buckets in logarithmic steps (six small kernels), the
// table.
func (n *netShapes) relativeBias(b *builder, r models.RelativeBias, backward bool) {
	pairs := n.batch.Length * n.batch.Length
	if backward {
		b.b.Ops[b.compute("d relative bias", EmbeddingHead, mem("embedding_grad", 2*pairs*r.Heads, 4*r.Params()))].Wgrad = true
		return
	}
	for _, name := range []string{"distances", "absolute", "logarithm", "steps", "nearest", "buckets"} {
		b.compute(name, EmbeddingHead, mem("copy", 8*pairs, 8*pairs))
	}
	b.compute("relative bias", EmbeddingHead, mem("embedding", 8*pairs, 2*pairs*r.Heads))
}
