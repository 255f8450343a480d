package lower

import (
	"orrery/sim/cost"
	"orrery/sim/unit"
)

// linear is one weight matrix [n, k] applied to m tokens of this rank.
type linear struct {
	name    string
	class   Class
	m, n, k int64
	split   tpSplit
	dt      unit.DType
	frozen  bool  // no gradient for the weight
	adapter int64 // LoRA rank beside it; 0 for none
	// fusedCast: the kernel before writes the quantised input already (a norm
	// or activation fused with the cast, as Transformer Engine's LayerNormLinear).
	fusedCast bool
}

// tpSplit tells how tensor parallelism cuts a linear layer.
type tpSplit uint8

const (
	whole  tpSplit = iota // not cut
	column                // output channels cut: input gathered before
	row                   // input channels cut: output reduced after
)

// castKernel quantises m x c elements, in as many copies as are kept
// (plan.QuantisedCopies).
func (s *shapes) castKernel(m, c int64) cost.Memory {
	copies := s.p.QuantisedCopies()
	op := "transpose_cast_fp8"
	if copies < 2 {
		op = "cast_fp8"
	}
	return mem(op, 2*m*c, int64(copies*s.dt.Bytes()*float64(m*c)))
}

// forward appends y = x W^T with the collectives that tensor parallelism needs.
func (s *shapes) forward(b *builder, l linear) {
	gather := -1
	if l.split == column && s.tp > 1 && s.s.Parallel.SP {
		gather = b.comm("all-gather "+l.name, TPComm, s.coll(cost.AllGather, 2*l.m*l.k, s.p.Groups.TP))
	}
	if s.quantised(l) && !l.fusedCast {
		b.compute("cast "+l.name, Casts, s.castKernel(l.m, l.k))
	}
	g := b.compute(l.name, l.class, s.product(l, l.m, l.n, l.k, cost.Fwd))
	if gather >= 0 && s.fw.OverlapTP {
		b.pipelined(g, gather, int(s.tp))
	}
	s.adapter(b, l, cost.Fwd)
	if l.split == row && s.tp > 1 {
		r := b.comm("reduce "+l.name, TPComm, s.reduceKernel(2*l.m*l.n))
		if s.fw.OverlapTP {
			b.pipelined(g, r, int(s.tp))
		}
	}
}

// reduceKernel joins partial sums of tensor parallel ranks: reduce-scatter
// with sequence parallelism, else all-reduce.
func (s *shapes) reduceKernel(bytes int64) cost.Kernel {
	if s.s.Parallel.SP {
		return s.coll(cost.ReduceScatter, bytes, s.p.Groups.TP)
	}
	return s.coll(cost.AllReduce, bytes, s.p.Groups.TP)
}

// product is one of a linear layer's three products. Narrow formats are priced
// by the fastest library: training frameworks call cuBLASLt, the median of the
// tables is over the inference engines' own kernels.
func (s *shapes) product(l linear, m, n, k int64, layout cost.Layout) cost.GEMM {
	g := gemm(m, n, k, l.dt, layout)
	g.Fastest = s.quantised(l)
	return g
}

func (s *shapes) quantised(l linear) bool { return s.fp8() && l.dt == s.dt }

// adapter appends the two thin GEMMs of a LoRA adapter.
func (s *shapes) adapter(b *builder, l linear, dir cost.Layout) {
	if l.adapter == 0 {
		return
	}
	r, dt := l.adapter, unit.BF16
	if dir == cost.Fwd {
		b.compute("lora A "+l.name, l.class, gemm(l.m, r, l.k, dt, cost.Fwd))
		b.compute("lora B "+l.name, l.class, gemm(l.m, l.n, r, dt, cost.Fwd))
		return
	}
	b.compute("lora dB "+l.name, l.class, gemm(l.m, r, l.n, dt, cost.Dgrad))
	b.compute("lora wB "+l.name, l.class, gemm(l.n, r, l.m, dt, cost.Wgrad))
	b.compute("lora dA "+l.name, l.class, gemm(l.m, l.k, r, dt, cost.Dgrad))
	b.compute("lora wA "+l.name, l.class, gemm(r, l.k, l.m, dt, cost.Wgrad))
}

// backward appends dgrad and wgrad. As Megatron's
// LinearWithGradAccumulationAndAsyncCommunication and Transformer Engine do,
// a column-parallel layer gathers its input behind dgrad and reduces the input
// gradient behind wgrad; a row-parallel one gathers the output gradient first.
func (s *shapes) backward(b *builder, l linear) {
	sp := s.tp > 1 && s.s.Parallel.SP
	gather := -1
	if l.split == row && sp {
		gather = b.comm("all-gather d "+l.name, TPComm, s.coll(cost.AllGather, 2*l.m*l.n, s.p.Groups.TP))
	}
	if s.quantised(l) {
		b.compute("cast d "+l.name, Casts, s.castKernel(l.m, l.n))
	}
	regather := -1
	side := b.side
	if !s.fw.OverlapTPBackward {
		side = b.comm
	}
	if l.split == column && sp && !l.frozen {
		regather = side("all-gather x "+l.name, TPComm, s.coll(cost.AllGather, 2*l.m*l.k, s.p.Groups.TP))
	}
	d := b.compute("dgrad "+l.name, l.class, s.product(l, l.m, l.k, l.n, cost.Dgrad))
	if gather >= 0 && s.fw.OverlapTP {
		b.pipelined(d, gather, int(s.tp))
	}
	s.adapter(b, l, cost.Dgrad)
	reduce := -1
	if l.split == column && s.tp > 1 {
		reduce = side("reduce d "+l.name, TPComm, s.reduceKernel(2*l.m*l.k))
	}
	if !l.frozen {
		w := b.computeAfter("wgrad "+l.name, l.class, s.product(l, l.n, l.k, l.m, cost.Wgrad), regather)
		b.b.Ops[w].Wgrad = true
	}
	if reduce >= 0 { // what follows needs the reduced gradient
		b.last = reduce
	}
}
