package lower

import (
	"slices"

	"orrery/schedules/pipeline"
	"orrery/sim/cost"
)

// layerKey identifies passes over layers that are lowered alike.
type layerKey struct {
	moe       bool
	window    int64
	recompute bool
	layer     int64 // one of those layers
	phase     pipeline.Phase
	slice     int32
	vol       int32 // see pipeline.ContextExchange
	routed    bool  // experts have loads of their own
	group     int32 // of those
	mb        int32
}

// keyOf is the key of a layer, without phase and slice.
func (l *lowering) keyOf(layer int64, recompute bool) layerKey {
	k := layerKey{moe: l.m.IsMoE(layer), window: l.m.Window(layer), recompute: recompute}
	if k.moe && l.p.Routing != nil {
		k.routed, k.layer = true, layer
		return k
	}
	first, known := l.alike[k]
	if !known {
		first = layer
		l.alike[k] = layer
	}
	k.layer = first
	return k
}

// layerBlock is one layer's share of a pass.
func (l *lowering) layerBlock(k layerKey, s pipeline.Slot) *Block {
	k.phase, k.slice, k.vol = s.Phase, s.Slice, l.handed
	if k.routed {
		k.group, k.mb = int32(l.group), s.Microbatch
	}
	if b := l.blocks[k]; b != nil {
		return b
	}
	l.slice, l.vol = int64(s.Slice), int64(l.handed)
	if l.share = nil; k.routed {
		l.share = l.p.Routing.Share(l.group, k.layer, int(s.Microbatch))
	}
	var b Block
	if s.Phase == pipeline.F {
		b = l.layerForward(k.layer)
	} else {
		b = l.layerBackward(k.layer, k.recompute)
	}
	out := &b
	switch s.Phase {
	case pipeline.I:
		out, _ = splitBackward(&b)
	case pipeline.W:
		_, out = splitBackward(&b)
	}
	l.blocks[k] = out
	return out
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
	rc := s.s.Training.Recompute
	s.resent = full || rc.Mode == "selective" && slices.Contains(rc.Parts, "moe")
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
	case moe && has("fc1"):
		e := s.experts()
		s.expertGEMM(b, "expert fc1", e, s.gate()*e.width, s.expertHidden(), cost.Fwd)
		s.act(b, "expert activation", e.rows, e.width)
	case has("fc1"):
		fc1, _ := s.fc(s.m.FFN, MLP, "")
		s.forward(b, fc1)
		s.act(b, "activation", s.tokens, s.m.FFN/s.tp)
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
