package lower

// Streaming kernels between the GEMMs. Fused kernels read and write each
// tensor once; unfused ones are the sequence that PyTorch runs op by op
// (Llama's reference modules), counted in passes over the tensor.

// norm appends RMSNorm or LayerNorm over sp tokens. With fp8 the fused kernel
// writes the quantised output instead.
func (s *shapes) norm(b *builder, name string, tokens, width int64) {
	x := 2 * tokens * width
	op := "rmsnorm"
	if s.m.Norm == "layer" {
		op = "layernorm"
	}
	if s.fw.FusedKernels {
		b.compute(name, Elementwise, mem(op, x, x))
		return
	}
	// upcast, square-mean, scale, downcast, weight: fp32 in between
	b.compute(name+" upcast", Elementwise, mem("copy", x, 2*x))
	b.compute(name+" mean", Elementwise, mem("copy", 2*x, 0))
	b.compute(name+" scale", Elementwise, mem("copy", 2*x, 2*x))
	b.compute(name+" weight", Elementwise, mem("copy", 2*x, x))
}

func (s *shapes) normBackward(b *builder, name string, tokens, width int64) {
	x := 2 * tokens * width
	op := "rmsnorm_bwd"
	if s.m.Norm == "layer" {
		op = "layernorm_bwd"
	}
	if s.fw.FusedKernels {
		b.compute("d "+name, Elementwise, mem(op, 2*x, x))
		return
	}
	b.compute("d "+name+" weight", Elementwise, mem("copy", 2*x, 2*x))
	b.compute("d "+name+" scale", Elementwise, mem("copy", 4*x, 2*x))
	b.compute("d "+name+" mean", Elementwise, mem("copy", 4*x, 2*x))
	b.compute("d "+name+" downcast", Elementwise, mem("copy", 2*x, x))
}

// residual adds a branch to the stream.
func (s *shapes) residual(b *builder, name string) {
	x := 2 * s.sp * s.h
	b.compute(name, Elementwise, mem("residual_add", 2*x, x))
}

// act appends the activation of an MLP with inner width f over rows.
func (s *shapes) act(b *builder, name string, rows, f int64) {
	x := 2 * rows * f
	switch {
	case s.m.Gated && s.fw.FusedKernels:
		b.compute(name, Elementwise, mem("swiglu", 2*x, x))
	case s.m.Gated:
		b.compute(name+" silu", Elementwise, mem("swiglu", x, x))
		b.compute(name+" mul", Elementwise, mem("swiglu", 2*x, x))
	default:
		b.compute(name, Elementwise, mem("gelu", x, x))
	}
}

func (s *shapes) actBackward(b *builder, name string, rows, f int64) {
	x := 2 * rows * f
	switch {
	case s.m.Gated && s.fw.FusedKernels:
		b.compute("d "+name, Elementwise, mem("swiglu", 3*x, 2*x))
	case s.m.Gated:
		b.compute("d "+name+" mul", Elementwise, mem("swiglu", 3*x, 2*x))
		b.compute("d "+name+" silu", Elementwise, mem("swiglu", 2*x, x))
		b.compute("d "+name+" cat", Elementwise, mem("copy", 2*x, 2*x))
	default:
		b.compute("d "+name, Elementwise, mem("gelu", 2*x, x))
	}
}

// rope rotates queries and keys.
func (s *shapes) rope(b *builder, name string, width int64) {
	if s.m.Positions > 0 {
		return // learned positions are added once, in the embedding
	}
	x := 2 * s.tokens * width
	if s.fw.FusedKernels {
		b.compute(name, Elementwise, mem("rope", x, x))
		return
	}
	b.compute(name+" rotate", Elementwise, mem("rope", x, x))
	b.compute(name+" cos", Elementwise, mem("rope", x, x))
	b.compute(name+" sin add", Elementwise, mem("rope", 2*x, x))
}
