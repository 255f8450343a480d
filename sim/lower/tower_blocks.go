package lower

import (
	"orrery/schedules/pipeline"
	"orrery/sim/cost"
	"orrery/sim/plan"
	"orrery/sim/unit"
)

// towerShapes are the sizes of one rank's share of a tower's layer over so many
// tokens. Towers compute in bf16. A frozen one has no gradients of weights.
func (l *lowering) towerShapes(t *plan.Tower, tokens int64) *shapes {
	s := *l.shapes
	body := &t.Model.Body
	s.m, s.dt, s.lora = body, unit.BF16, t.Trained != "all"
	s.tokens, s.sp, s.h = tokens, tokens, body.Hidden
	s.tp, s.cp, s.slice, s.vol = t.TP, 1, 0, 0
	if s.s.Parallel.SP && t.TP > 1 {
		s.sp = (tokens + t.TP - 1) / t.TP
	}
	s.heads = body.Attn.Heads / t.TP
	s.kvHeads = s.heads
	s.q, s.kv = s.heads*body.Attn.HeadDim, s.heads*body.Attn.HeadDim
	return &s
}

// streams are the shapes of a layer's streams: the items' own tokens, and the LLM's
// beside them where there are two.
func (l *lowering) streams(t *plan.Tower, load plan.Load) []*shapes {
	out := []*shapes{l.towerShapes(t, load.Tokens)}
	if t.Model.Streams > 1 && load.Beside > 0 {
		out = append(out, l.towerShapes(t, load.Beside))
	}
	return out
}

// towerLayer is one layer's share of a pass.
func (l *lowering) towerLayer(t *plan.Tower, phase pipeline.Phase, load plan.Load) *Block {
	what := "layer forward"
	if phase != pipeline.F {
		what = "layer backward"
	}
	return l.towerBlock(towerKey{t.Module, phase, what, load}, func(b *builder) {
		if phase == pipeline.F {
			l.towerForward(b, t, load)
			return
		}
		if t.Recompute {
			b.recomp = true
			l.towerForward(b, t, load)
			b.recomp = false
		}
		l.towerBackward(b, t, load)
	})
}

// modulate scales and shifts a stream, or gates a branch of it (adaLN).
func (s *shapes) modulate(b *builder, t *plan.Tower, name string, passes int64) {
	if t.Model.Modulated {
		x := passes * 2 * s.sp * s.h
		b.compute(name, Elementwise, mem("residual_add", x, 2*s.sp*s.h))
	}
}

func (l *lowering) towerForward(b *builder, t *plan.Tower, load plan.Load) {
	streams := l.streams(t, load)
	for _, s := range streams {
		s.norm(b, "attention norm", s.sp, s.h)
		s.modulate(b, t, "modulate", 1)
		s.forward(b, s.qkv())
		if s.m.QKNorm {
			x := 2 * s.tokens * (s.q + s.kv)
			b.compute("qk norm", Elementwise, mem("rmsnorm", x, x))
		}
		s.rope(b, "rope", s.q+s.kv)
	}
	l.towerCore(b, t, load, false)
	for _, s := range streams {
		s.forward(b, s.attnOut())
		s.modulate(b, t, "gate", 1)
		s.residual(b, "attention residual")
		s.norm(b, "mlp norm", s.sp, s.h)
		s.modulate(b, t, "modulate", 1)
		fc1, fc2 := s.fc(s.m.FFN, MLP, "")
		s.forward(b, fc1)
		s.act(b, "activation", s.tokens, s.m.FFN/s.tp)
		s.forward(b, fc2)
		s.modulate(b, t, "gate", 1)
		s.residual(b, "mlp residual")
	}
}

func (l *lowering) towerBackward(b *builder, t *plan.Tower, load plan.Load) {
	streams := l.streams(t, load)
	for _, s := range streams {
		s.modulate(b, t, "d gate", 2)
		fc1, fc2 := s.fc(s.m.FFN, MLP, "")
		s.backward(b, fc2)
		s.actBackward(b, "activation", s.tokens, s.m.FFN/s.tp)
		s.backward(b, fc1)
		s.modulate(b, t, "d modulate", 2)
		s.normBackward(b, "mlp norm", s.sp, s.h)
		s.residual(b, "mlp residual grad")
		s.modulate(b, t, "d gate", 2)
		s.backward(b, s.attnOut())
	}
	l.towerCore(b, t, load, true)
	for _, s := range streams {
		s.rope(b, "d rope", s.q+s.kv)
		if s.m.QKNorm {
			x := 2 * s.tokens * (s.q + s.kv)
			b.compute("d qk norm", Elementwise, mem("rmsnorm", 2*x, x))
		}
		s.backward(b, s.qkv())
		s.modulate(b, t, "d modulate", 2)
		s.normBackward(b, "attention norm", s.sp, s.h)
		s.residual(b, "attention residual grad")
	}
}

// towerCore is attention in which every token of an item sees all of the item. With
// context parallelism heads are exchanged for tokens before it and back behind it.
func (l *lowering) towerCore(b *builder, t *plan.Tower, load plan.Load, backward bool) {
	s := l.towerShapes(t, load.Tokens+load.Beside)
	heads := s.heads / t.CP
	k := cost.Attention{Batch: load.Items, SeqQ: load.Length, SeqKV: load.Length, Heads: heads, KVHeads: heads, HeadDim: s.m.Attn.HeadDim,
		Backward: backward, DType: unit.BF16, FA2: s.fw.FlashAttention2, CuDNN: !s.fw.FlashAttention2, Deterministic: s.fw.DeterministicAttn}
	name := "attention"
	if backward {
		name = "d attention"
	}
	if t.CP == 1 {
		b.compute(name, Attention, k)
		return
	}
	x := 2 * s.tokens * s.q
	in, out := l.coll(cost.AllToAll, 3*x, t.Pool), l.coll(cost.AllToAll, x, t.Pool)
	if backward {
		in, out = out, in
	}
	b.comm("all-to-all heads", CPComm, in)
	b.compute(name, Attention, k)
	b.comm("all-to-all tokens", CPComm, out)
}

// towerEnds are the blocks before the first and behind the last layer of a stage; nil
// where it has none.
func (l *lowering) towerEnds(t *plan.Tower, st plan.Stage, phase pipeline.Phase, load plan.Load) (first, last *Block) {
	begins, ends := st.TowerFirst == 0, st.TowerFirst+st.TowerLayers == t.Model.Body.Layers
	if begins {
		first = l.towerBlock(towerKey{t.Module, phase, "begin", load}, func(b *builder) { l.towerBegin(b, t, phase, load) })
	}
	if ends {
		last = l.towerBlock(towerKey{t.Module, phase, "end", load}, func(b *builder) { l.towerEnd(b, t, phase, load) })
	}
	return first, last
}

// end is a linear layer at an end of a tower, whole on every tensor-parallel rank.
func end(name string, m, n, k int64, frozen bool) linear {
	return linear{name: name, class: EmbeddingHead, m: m, n: n, k: k, split: whole, dt: unit.BF16, frozen: frozen}
}

// weightsOnly appends the gradient of a linear layer whose input needs none.
func weightsOnly(b *builder, l linear) {
	if l.frozen {
		return
	}
	w := b.compute("wgrad "+l.name, l.class, gemm(l.n, l.k, l.m, l.dt, cost.Wgrad))
	b.b.Ops[w].Wgrad = true
}

// pooled appends the exchange that hands a rank its share of pooled items, or back.
func (l *lowering) pooled(b *builder, t *plan.Tower, bytes int64) {
	par := l.s.Parallel
	if t.CP > par.TP*par.CP/t.TP && bytes > 0 {
		b.comm("all-to-all items", CPComm, l.coll(cost.AllToAll, bytes, t.Pool))
	}
}

// towerBegin is an encoder's embedding of patches, or a generator's of latents and
// the connector that takes the LLM's output.
func (l *lowering) towerBegin(b *builder, t *plan.Tower, phase pipeline.Phase, load plan.Load) {
	s, frozen := l.towerShapes(t, load.Tokens), t.Trained != "all"
	embed := end("embed", load.Tokens, s.h, t.Model.In, frozen)
	connector := end("connector", max(load.Beside, 1), s.h, l.m.Hidden, t.Trained == "none")
	generator := t.Module == pipeline.Generator
	in := 2 * load.Tokens * t.Model.In
	if generator {
		in += 2 * load.Beside * l.m.Hidden
	}
	if phase == pipeline.F {
		l.pooled(b, t, in)
		s.forward(b, embed)
		if generator {
			s.forward(b, connector)
		}
		return
	}
	if generator {
		s.backward(b, connector)
	}
	weightsOnly(b, embed)
	if generator {
		l.pooled(b, t, 2*load.Beside*l.m.Hidden)
	}
}

// towerEnd is an encoder's connector, or a generator's output and loss.
func (l *lowering) towerEnd(b *builder, t *plan.Tower, phase pipeline.Phase, load plan.Load) {
	s := l.towerShapes(t, load.Tokens)
	if t.Module == pipeline.Generator {
		out := end("output", load.Tokens, t.Model.In, s.h, t.Trained != "all")
		x := 2 * load.Tokens * t.Model.In
		if phase == pipeline.F {
			s.norm(b, "final norm", load.Tokens, s.h)
			s.forward(b, out)
			b.compute("loss", EmbeddingHead, mem("residual_add", 2*x, x))
			return
		}
		s.backward(b, out)
		s.normBackward(b, "final norm", load.Tokens, s.h)
		return
	}
	merged := t.Merged(load)
	wide := t.Model.Merge * s.h
	inner := t.Model.Merge * t.Model.Connector
	frozen := t.Trained == "none"
	first := end("connector", merged, inner, wide, frozen)
	last := end("connector out", merged, l.m.Hidden, max(inner, wide), frozen)
	if inner == 0 {
		first, last = last, linear{}
	}
	if phase == pipeline.F {
		s.norm(b, "final norm", load.Tokens, s.h)
		s.forward(b, first)
		if last.n > 0 {
			b.compute("connector activation", Elementwise, mem("gelu", 2*merged*inner, 2*merged*inner))
			s.forward(b, last)
		}
		l.pooled(b, t, 2*merged*l.m.Hidden)
		return
	}
	if frozen {
		return
	}
	l.pooled(b, t, 2*merged*l.m.Hidden)
	if last.n > 0 {
		s.backward(b, last)
		b.compute("d connector activation", Elementwise, mem("gelu", 4*merged*inner, 2*merged*inner))
	}
	if t.Trained != "all" { // nothing goes on into the layers
		weightsOnly(b, first)
		return
	}
	s.backward(b, first)
	s.normBackward(b, "final norm", load.Tokens, s.h)
}
