package lower

import (
	"orrery/sim/cost"
	"orrery/sim/unit"
)

func (s *shapes) gate() int64 {
	if s.m.Gated {
		return 2
	}
	return 1
}

func (s *shapes) fc(f int64, class Class, what string) (fc1, fc2 linear) {
	return s.lin(what+"fc1", class, s.tokens, s.gate()*f/s.tp, s.h, column, true, false),
		s.lin(what+"fc2", class, s.tokens, s.h, f/s.tp, row, false, false)
}

// mlp appends the dense half of a layer.
func (s *shapes) mlp(b *builder) {
	s.norm(b, "mlp norm", s.sp, s.h)
	fc1, fc2 := s.fc(s.m.FFN, MLP, "")
	s.forward(b, fc1)
	s.act(b, "activation", s.tokens, s.m.FFN/s.tp)
	s.forward(b, fc2)
	s.residual(b, "mlp residual")
}

func (s *shapes) mlpBackward(b *builder) {
	fc1, fc2 := s.fc(s.m.FFN, MLP, "")
	s.backward(b, fc2)
	s.actBackward(b, "activation", s.tokens, s.m.FFN/s.tp)
	s.backward(b, fc1)
	s.normBackward(b, "mlp norm", s.sp, s.h)
	s.residual(b, "mlp residual grad")
}

// expertShapes are the sizes of a rank's share of a mixture of experts.
type expertShapes struct {
	groups, rows, width int64 // local experts, rows of them together, inner width
	tiles               int64 // of the grouped GEMMs; 0: rows are even over the experts
}

func (s *shapes) experts() expertShapes {
	par, moe := s.s.Parallel, s.m.MoE
	if s.share != nil {
		return expertShapes{groups: s.share.Experts, rows: s.share.Rows, width: moe.FFN / par.ETP, tiles: s.share.Tiles}
	}
	return expertShapes{
		groups: max(moe.Experts/par.EP, 1),
		rows:   int64(float64(s.sp*moe.TopK*par.ETP) * max(s.fw.MoEImbalance, 1)),
		width:  moe.FFN / par.ETP,
	}
}

// expertCast quantises the rows of all local experts; Transformer Engine's
// GroupedLinear launches a kernel for each.
func (s *shapes) expertCast(b *builder, name string, e expertShapes, width int64) {
	if s.fp8() {
		b.launches(b.compute(name, Casts, s.castKernel(e.rows, width)), e.groups)
	}
}

// expertGEMM is the product of all local experts: a cuBLAS call for each, and
// for MXFP8 a kernel before it that swizzles the scales of each operand
// (Transformer Engine, GroupedLinear).
func (s *shapes) expertGEMM(b *builder, name string, e expertShapes, n, k int64, l cost.Layout) int {
	op := b.compute(name, Experts, s.grouped(e, n, k, l))
	each := int64(1)
	if s.dt == unit.MXFP8 || s.dt == unit.NVFP4 {
		each = 3
	}
	b.launches(op, each*e.groups)
	return op
}

func (s *shapes) expertHidden() int64 {
	if l := s.m.MoE.Latent; l > 0 {
		return l
	}
	return s.h
}

func (s *shapes) grouped(e expertShapes, n, k int64, l cost.Layout) cost.GroupedGEMM {
	return cost.GroupedGEMM{Groups: e.groups, Tokens: e.rows, N: n, K: k, DType: s.dt, Layout: l, Tiles: e.tiles}
}

// exchange is dispatch or combine among the ranks of the expert group; nothing
// where each rank holds all experts. With overlap_ep the kernels of another
// microbatch run meanwhile (Megatron's 1F1B all-to-all overlap), which in the
// steady state is as if those of this block did not wait. It returns the message that
// what follows waits for, -1 where there is none.
func (s *shapes) exchange(b *builder, op string) int {
	g, moe := s.p.Groups.EP, s.m.MoE
	if g.Ranks == 1 {
		return -1
	}
	busiest := max(s.fw.MoEImbalance, 1)
	if s.share != nil {
		busiest = s.share.Volume
	}
	send := b.comm
	if s.fw.OverlapEP {
		send = b.side
	}
	h := s.expertHidden()
	switch s.fw.MoEDispatcher {
	case "deepep", "hybridep":
		e := cost.ExpertExchange{Op: op, Backend: s.fw.MoEDispatcher, Tokens: s.sp, Hidden: h, TopK: moe.TopK,
			Experts: moe.Experts, Group: g, DType: unit.BF16, NICGBps: s.p.NIC(g, cost.AllToAll), Within: s.fw.MoEDomains, SMs: s.fw.MoEDispatchSMs}
		if op == "dispatch" && s.fw.MoEDispatchDType == unit.FP8 { // with scales by block
			e.DType = unit.FP8Block
		}
		if s.share != nil {
			e.Busiest = busiest
		}
		send(op, EPComm, e)
	case "allgather":
		kind := cost.AllGather
		if op == "combine" {
			kind = cost.ReduceScatter
		}
		send(op, EPComm, s.coll(kind, 2*s.sp*h*g.Ranks, g))
	default:
		bytes := int64(float64(2*s.sp*moe.TopK*h) * busiest)
		send(op, EPComm, s.coll(cost.AllToAll, bytes, g))
	}
	if s.fw.OverlapEP {
		return -1
	}
	return b.last
}

// etp gathers tokens over expert tensor parallelism, or reduces its partial sums.
func (s *shapes) etp(b *builder, kind cost.CollectiveKind) {
	if g := s.p.Groups.ETP; g.Ranks > 1 {
		b.comm("expert "+string(kind), TPComm, s.coll(kind, 2*s.sp*s.m.MoE.TopK*s.expertHidden()*g.Ranks, g))
	}
}

// moe appends the mixture-of-experts half of a layer.
func (s *shapes) moe(b *builder) {
	m, e, h := s.m.MoE, s.experts(), s.expertHidden()
	s.norm(b, "mlp norm", s.sp, s.h)
	b.compute("router", Router, gemm(s.sp, m.Experts, s.h, unit.BF16, cost.Fwd))
	s.topk(b, false)
	up, down := s.sharedExperts(b)
	if !s.fw.OverlapShared {
		up()
		down()
	}
	b.compute("permute", Router, mem("permute", 2*s.sp*h, 2*s.sp*h*m.TopK))
	s.replicate(b)
	s.beside(b, s.exchange(b, "dispatch"), up)
	s.etp(b, cost.AllGather)
	s.expertCast(b, "cast experts", e, h)
	s.expertGEMM(b, "expert fc1", e, s.gate()*e.width, h, cost.Fwd)
	s.act(b, "expert activation", e.rows, e.width)
	s.expertCast(b, "cast expert hidden", e, e.width)
	s.expertGEMM(b, "expert fc2", e, h, e.width, cost.Fwd)
	s.etp(b, cost.ReduceScatter)
	s.beside(b, s.exchange(b, "combine"), down)
	b.compute("unpermute", Router, mem("unpermute", 2*s.sp*h*m.TopK, 2*s.sp*h))
	s.residual(b, "mlp residual")
}

func (s *shapes) moeBackward(b *builder) {
	m, e, h := s.m.MoE, s.experts(), s.expertHidden()
	b.compute("d unpermute", Router, mem("permute", 2*s.sp*h, 2*s.sp*h*m.TopK))
	down, up := s.sharedBackward(b)
	s.beside(b, s.exchange(b, "dispatch"), down)
	again := s.replicateAgain(b)
	s.etp(b, cost.AllGather)
	s.expertCast(b, "cast d experts", e, h)
	if again >= 0 { // the weights arrive behind the gradient that does not need them
		s.expertWgrad(b, "wgrad expert fc2", e, h, e.width)
	}
	d := s.expertGEMM(b, "dgrad expert fc2", e, e.width, h, cost.Dgrad)
	if again >= 0 {
		b.b.Ops[d].After = append(b.b.Ops[d].After, again)
	} else {
		s.expertWgrad(b, "wgrad expert fc2", e, h, e.width)
	}
	s.actBackward(b, "expert activation", e.rows, e.width)
	s.expertCast(b, "cast d expert hidden", e, s.gate()*e.width)
	s.expertGEMM(b, "dgrad expert fc1", e, h, s.gate()*e.width, cost.Dgrad)
	s.expertWgrad(b, "wgrad expert fc1", e, s.gate()*e.width, h)
	s.etp(b, cost.ReduceScatter)
	s.beside(b, s.exchange(b, "combine"), up)
	s.reduceReplicas(b)
	b.compute("d permute", Router, mem("unpermute", 2*s.sp*h*m.TopK, 2*s.sp*h))
	if !s.fw.OverlapShared {
		down()
		up()
	}
	s.topk(b, true)
	b.compute("dgrad router", Router, gemm(s.sp, s.h, m.Experts, unit.BF16, cost.Dgrad))
	w := b.compute("wgrad router", Router, gemm(m.Experts, s.h, s.sp, unit.BF16, cost.Wgrad))
	b.b.Ops[w].Wgrad = true
	s.normBackward(b, "mlp norm", s.sp, s.h)
	s.residual(b, "mlp residual grad")
}

func (s *shapes) expertWgrad(b *builder, name string, e expertShapes, n, k int64) {
	if s.lora {
		return
	}
	b.b.Ops[s.expertGEMM(b, name, e, n, k, cost.Wgrad)].Wgrad = true
}

// topk is softmax or sigmoid, top-k and the load-balancing statistics, in fp32
// over the router's logits: five small kernels forward, three backward.
func (s *shapes) topk(b *builder, backward bool) {
	x := 4 * s.sp * s.m.MoE.Experts
	names := []string{"router scores", "router top-k", "router probs", "routing map", "tokens per expert"}
	if backward {
		names = []string{"d router probs", "d router scores", "d router cast"}
	}
	for _, n := range names {
		b.compute(n, Router, mem("router", x, x))
	}
}
