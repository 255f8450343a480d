package lower

import "slices"

// layerKey identifies layers of a stage that are lowered alike.
type layerKey struct {
	moe       bool
	window    int64
	recompute bool
}

func (s *shapes) keyOf(layer int64, recompute bool) layerKey {
	return layerKey{moe: s.m.IsMoE(layer), window: s.m.Window(layer), recompute: recompute}
}

// layerForward lowers one layer's forward pass.
func (s *shapes) layerForward(layer int64) Block {
	b := newBuilder("layer forward")
	s.layer(b, layer)
	return b.b
}

func (s *shapes) layer(b *builder, layer int64) {
	s.attention(b, layer)
	if s.m.IsMoE(layer) {
		s.moe(b)
	} else {
		s.mlp(b)
	}
}

// layerBackward lowers one layer's backward pass with what it recomputes.
func (s *shapes) layerBackward(layer int64, full bool) Block {
	b := newBuilder("layer backward")
	if full {
		b.recomp = true
		s.layer(b, layer)
		b.recomp = false
	} else {
		s.recomputeParts(b, layer)
	}
	if s.m.IsMoE(layer) {
		s.moeBackward(b)
	} else {
		s.mlpBackward(b)
	}
	s.attentionBackward(b, layer)
	return b.b
}

// recomputeParts appends the forward kernels that selective recomputation runs
// again (Megatron-Core, --recompute-modules).
func (s *shapes) recomputeParts(b *builder, layer int64) {
	rc := s.s.Training.Recompute
	if rc.Mode != "selective" {
		return
	}
	has := func(p string) bool { return slices.Contains(rc.Parts, p) }
	b.recomp = true
	defer func() { b.recomp = false }()
	moe := s.m.IsMoE(layer)
	if has("layernorm") {
		s.norm(b, "attention norm", s.sp, s.h)
		s.norm(b, "mlp norm", s.sp, s.h)
	}
	switch {
	case moe && has("moe"):
		s.moe(b)
	case moe && has("moe_act"):
		e := s.experts()
		s.act(b, "expert activation", e.rows, e.width)
	case !moe && has("mlp"):
		s.mlp(b)
	}
	if s.m.Attn.MLA() && has("mla_up_proj") {
		a := s.m.Attn
		s.forward(b, s.lin("q up", AttnLinear, s.tokens, s.heads*(a.Nope+a.Rope), max(a.QLoRA, 1), whole, true, true))
		s.forward(b, s.lin("kv up", AttnLinear, s.tokens, s.heads*(a.Nope+a.VDim), a.KVLoRA, whole, true, true))
	}
	if has("core_attn") {
		s.core(b, layer, false)
	}
}
