package lower

import (
	"orrery/models"
	"orrery/sim/cost"
)

// Kernels that layers of all kinds are made of, as eager PyTorch launches them.
// Where fused_kernels is set a compiler has merged the streaming ones between two
// products, so that each tensor is read and written once.

// dense is y = x W^T + b over m rows.
func (n *netShapes) dense(b *builder, name string, class Class, m, out, in int64) {
	b.compute(name, class, gemm(m, out, in, n.dt, cost.Fwd))
}

// denseBackward is its gradients for input, weight and bias.
func (n *netShapes) denseBackward(b *builder, name string, class Class, m, out, in int64, bias bool) {
	b.compute("dgrad "+name, class, gemm(m, in, out, n.dt, cost.Dgrad))
	b.b.Ops[b.compute("wgrad "+name, class, gemm(out, in, m, n.dt, cost.Wgrad))].Wgrad = true
	if bias {
		b.b.Ops[b.compute("bias grad "+name, Elementwise, mem("copy", 2*m*out, 2*out))].Wgrad = true
	}
}

// stream is an elementwise kernel over so many 16-bit elements in and out.
func (n *netShapes) stream(b *builder, name string, in, out int64) {
	b.compute(name, Elementwise, mem("copy", 2*in, 2*out))
}

// dropout writes a mask of a byte an element beside its output, or reads it back.
func (n *netShapes) dropout(b *builder, elements int64) {
	b.compute("dropout", Elementwise, mem("copy", 2*elements, 3*elements))
}

func (n *netShapes) dropoutBackward(b *builder, elements int64) {
	b.compute("d dropout", Elementwise, mem("copy", 3*elements, 2*elements))
}

// add is a sum of two tensors, the same forward and backward.
func (n *netShapes) add(b *builder, name string, elements int64) {
	b.compute(name, Elementwise, mem("residual_add", 4*elements, 2*elements))
}

// normOf is a norm: PyTorch's layer norm is one kernel forward and two backward,
// an RMS norm in Python several.
func (n *netShapes) normOf(b *builder, name, how string, rows, width int64, backward bool) {
	x := 2 * rows * width
	switch {
	case how == "layer" && !backward:
		b.compute(name, Elementwise, mem("layernorm", x, x))
	case how == "layer":
		b.compute("d "+name, Elementwise, mem("layernorm_bwd", 2*x, x))
		b.b.Ops[b.compute("d "+name+" weight", Elementwise, mem("copy", 2*x, 4*width))].Wgrad = true
	case !backward:
		n.norm(b, name, rows, width)
	default:
		n.normBackward(b, name, rows, width)
	}
}

// dropAddNorm ends a sub-layer: dropout of the branch, the residual, the norm.
func (n *netShapes) dropAddNorm(b *builder, how string, rows, width int64, backward bool) {
	x := 2 * rows * width
	switch {
	case n.fw.FusedKernels && !backward:
		b.compute("dropout, residual, norm", Elementwise, mem("layernorm", 2*x, 2*x+x/2))
	case n.fw.FusedKernels:
		b.compute("d dropout, residual, norm", Elementwise, mem("layernorm_bwd", 3*x+x/2, 2*x))
	case !backward:
		n.dropout(b, rows*width)
		n.add(b, "residual", rows*width)
		n.normOf(b, "norm", how, rows, width, false)
	default:
		n.normOf(b, "norm", how, rows, width, true)
		n.add(b, "residual grad", rows*width)
		n.dropoutBackward(b, rows*width)
	}
}

// lookup is the embedding; its gradient is dense: zeros for the whole table, then
// the tokens' rows.
func (n *netShapes) lookup(b *builder, e models.Embedding, backward bool) {
	rows := n.batch.Tokens
	x := 2 * rows * e.Width
	tables := []int64{e.Vocab}
	for _, size := range []int64{e.Positions, e.Types} {
		if size > 0 {
			tables = append(tables, size)
		}
	}
	if !backward {
		for i := range tables {
			b.compute("embedding", EmbeddingHead, mem("embedding", x, x))
			if i > 0 {
				n.add(b, "add embedding", rows*e.Width)
			}
		}
		if e.Norm != "" {
			n.normOf(b, "embedding norm", e.Norm, rows, e.Width, false)
		}
		n.dropout(b, rows*e.Width)
		return
	}
	n.dropoutBackward(b, rows*e.Width)
	if e.Norm != "" {
		n.normOf(b, "embedding norm", e.Norm, rows, e.Width, true)
	}
	for _, size := range tables {
		grad := int64(float64(size*e.Width) * n.fw.GradDType.Bytes())
		for _, op := range []int{
			b.compute("zero embedding grad", EmbeddingHead, mem("fill", 0, grad)),
			b.compute("d embedding", EmbeddingHead, mem("embedding_grad", x, 2*x)),
		} {
			b.b.Ops[op].Wgrad = true
		}
		if n.again {
			b.b.Ops[b.compute("accumulate embedding grad", EmbeddingHead, mem("copy", 2*grad, grad))].Wgrad = true
		}
	}
}

// head is a linear layer with dropout before it and maybe an activation after it.
func (n *netShapes) head(b *builder, d models.Dense, backward bool) {
	rows := n.batch.Rows(d.Over)
	x := 2 * rows * d.Out
	if !backward {
		n.dropout(b, rows*d.In)
		n.dense(b, "linear", EmbeddingHead, rows, d.Out, d.In)
		if d.Activation {
			b.compute("activation", Elementwise, mem("gelu", x, x))
		}
		return
	}
	if d.Activation {
		b.compute("d activation", Elementwise, mem("gelu", 2*x, x))
	}
	n.denseBackward(b, "linear", EmbeddingHead, rows, d.Out, d.In, true)
	n.dropoutBackward(b, rows*d.In)
}

// pool takes the maximum over the tokens of an utterance, in so many calls.
func (n *netShapes) pool(b *builder, p models.Pool, calls int64, backward bool) {
	tokens, rows := ceilDiv(n.batch.Tokens, calls)*p.Width, ceilDiv(n.batch.Utterances, calls)*p.Width
	if !backward {
		b.compute("max over tokens", Elementwise, mem("copy", 2*tokens, 10*rows)) // and 64-bit indices
		return
	}
	b.compute("zero token grads", Elementwise, mem("fill", 0, 2*tokens))
	b.compute("scatter to the maxima", Elementwise, mem("copy", 10*rows, 2*rows))
}

// loss is log-softmax in fp32 and the mean of the labels' log-probabilities.
func (n *netShapes) loss(b *builder, l models.Loss, backward bool) {
	rows := n.batch.Rows(l.Over)
	x := 4 * rows * l.Classes
	if !backward {
		b.compute("logits to fp32", EmbeddingHead, mem("copy", x/2, x))
		b.compute("log softmax", EmbeddingHead, mem("cross_entropy", x, x))
		b.compute("nll", EmbeddingHead, mem("copy", 12*rows, 4))
		return
	}
	b.compute("d nll", EmbeddingHead, mem("copy", 12*rows, x))
	b.compute("d log softmax", EmbeddingHead, mem("cross_entropy", 2*x, x))
	b.compute("grad to 16 bits", EmbeddingHead, mem("copy", x, x/2))
}

// consistency is the symmetric divergence of the two passes' outputs, one for
// each loss (arXiv:2301.02010): KL(p, q) + KL(q, p) over the rows of the example.
func (n *netShapes) consistency(backward bool) Use {
	b := newBuilder("consistency")
	for _, l := range n.m.Losses() {
		x := 4 * n.batch.Rows(l.Over) * l.Classes
		names := []string{"softmax p", "softmax q", "kl p q", "kl q p"}
		if backward {
			names = []string{"d kl p q", "d kl q p", "d softmax p", "d softmax q"}
		}
		for _, name := range names {
			b.compute(name, EmbeddingHead, mem("cross_entropy", 2*x, x))
		}
		if !backward {
			b.compute("sum of divergences", EmbeddingHead, mem("copy", 2*x, 4))
		}
	}
	return Use{&b.b, 1}
}
