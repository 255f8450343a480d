package models

// LayerParams is the number of parameters of one layer, over all ranks, by how
// parallelism cuts them: attention, MLP and shared experts are cut over TP
// (MLA's down-projections excepted), experts over EP and expert TP, norms and
// router are replicated.
type LayerParams struct {
	Attn    int64 // projections, their biases, QK norms, MLA's latent norms, sinks
	Norms   int64 // the two norms of the residual stream
	MLP     int64 // dense
	Router  int64 // with bias buffers and the projections to and from latent experts
	Experts int64 // all routed experts
	Shared  int64 // all shared experts
	Whole   int64 // of layers that nothing cuts (Model.Net)
}

// Total is the sum of the parts.
func (l LayerParams) Total() int64 {
	return l.Attn + l.Norms + l.MLP + l.Router + l.Experts + l.Shared + l.Whole
}

// LayerParams counts the parameters of layer i (from 0).
func (m *Model) LayerParams(i int64) LayerParams {
	if m.Net != nil {
		return LayerParams{Whole: m.Net[i].Params()}
	}
	l := LayerParams{Attn: m.attnParams(), Norms: 2 * m.norm(m.Hidden)}
	if !m.IsMoE(i) {
		l.MLP = m.mlp(m.Hidden, m.FFN)
		return l
	}
	e := m.MoE
	l.Router = m.Hidden * e.Experts
	if m.Bias {
		l.Router += e.Experts
	}
	if e.RouterBias {
		l.Router += e.Experts
	}
	l.Router += 2 * m.Hidden * e.Latent
	l.Experts = e.Experts * m.ExpertParams()
	if e.SharedFFN > 0 {
		l.Shared = m.mlp(m.Hidden, e.SharedFFN)
	}
	return l
}

// ExpertParams is the number of parameters of one routed expert; 0 where the
// model has none.
func (m *Model) ExpertParams() int64 {
	if m.MoE == nil {
		return 0
	}
	width := m.Hidden
	if m.MoE.Latent > 0 {
		width = m.MoE.Latent
	}
	return m.mlp(width, m.MoE.FFN)
}

// EmbeddingParams is the token embedding: vocabulary x hidden.
func (m *Model) EmbeddingParams() int64 { return m.Vocab * m.Hidden }

// PositionParams are learned position embeddings: positions x hidden.
func (m *Model) PositionParams() int64 { return m.Positions * m.Hidden }

// OutputParams is the output layer; 0 where it shares the embedding.
func (m *Model) OutputParams() int64 {
	if m.Tied {
		return 0
	}
	return m.Vocab * m.Hidden
}

// FinalNormParams is the norm before the output layer.
func (m *Model) FinalNormParams() int64 { return m.norm(m.Hidden) }

// MTPParams is one multi-token-prediction module: a layer like the last one,
// the projection of the two concatenated streams (2h x h), and three norms. It
// shares embedding and output layer with the model (DeepSeek-V3,
// arXiv:2412.19437, section 2.2).
func (m *Model) MTPParams() int64 {
	return m.LayerParams(m.Layers-1).Total() + 2*m.Hidden*m.Hidden + 3*m.norm(m.Hidden)
}

// Params is the number of parameters, MTP modules included. Expert bias buffers
// of loss-free balancing count, though no gradient flows to them.
func (m *Model) Params() int64 { return m.params(false) }

// ActiveParams are the parameters that one token passes through: all but the
// experts that it is not sent to. Both embedding matrices count.
func (m *Model) ActiveParams() int64 { return m.params(true) }

func (m *Model) params(active bool) int64 {
	if m.Net != nil {
		n := int64(0)
		for _, l := range m.Net {
			n += l.Params()
		}
		return n
	}
	n := m.EmbeddingParams() + m.PositionParams() + m.FinalNormParams() + m.OutputParams()
	moe := m.MoELayers()
	if moe < m.Layers {
		n += (m.Layers - moe) * m.layerOfKind(false).Total()
	}
	if moe > 0 {
		n += moe * m.layerOfKind(true).Total()
	}
	n += m.MTP * m.MTPParams()
	if active && m.MoE != nil {
		if m.IsMoE(m.Layers - 1) {
			moe += m.MTP
		}
		n -= moe * (m.MoE.Experts - m.MoE.TopK) * m.ExpertParams()
	}
	return n
}

// layerOfKind are the parameters of the dense or of the MoE layers, all alike.
func (m *Model) layerOfKind(moe bool) LayerParams {
	for i := range m.Layers {
		if m.IsMoE(i) == moe {
			return m.LayerParams(i)
		}
	}
	return LayerParams{}
}

// norm is the number of parameters of a norm over width elements: a weight, and
// a bias in layer norms.
func (m *Model) norm(width int64) int64 {
	if m.Norm == "layer" && !m.PlainNorm {
		return 2 * width
	}
	return width
}

// Matrices is the number of weight matrices of an MLP.
func (m *Model) Matrices() int64 {
	if m.Gated {
		return 3
	}
	return 2
}

// mlp is the number of parameters of an MLP from and to width elements.
func (m *Model) mlp(width, ffn int64) int64 {
	n := m.Matrices() * width * ffn
	if m.Bias {
		n += (m.Matrices()-1)*ffn + width
	}
	return n
}

func (m *Model) attnParams() int64 {
	a, h := m.Attn, m.Hidden
	if a.MLA() {
		qk, q := a.Nope+a.Rope, int64(0)
		if a.QLoRA > 0 {
			q = a.QLoRA*(h+a.Heads*qk) + m.norm(a.QLoRA)
		} else {
			q = h * a.Heads * qk
		}
		kv := h*(a.KVLoRA+a.Rope) + m.norm(a.KVLoRA) + a.KVLoRA*a.Heads*(a.Nope+a.VDim)
		return q + kv + a.Heads*a.VDim*h
	}
	q, kv := a.Heads*a.HeadDim, a.KVHeads*a.HeadDim
	n := h*(q+2*kv) + q*h
	if m.Bias || m.QKVBias {
		n += q + 2*kv
	}
	if m.Bias {
		n += h
	}
	if m.QKNorm {
		n += 2 * m.norm(a.HeadDim)
	}
	if a.Sinks {
		n += a.Heads
	}
	return n
}
