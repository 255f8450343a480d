// Package models holds architectures as data: layers, their parameters, FLOPs
// and activation bytes, and a catalogue of published models.
package models

import "slices"

// Model is a decoder-only transformer, or where Net is set a list of layers of
// other kinds, whose sizes they say themselves. Lengths are in elements.
type Model struct {
	Name   string // catalogue key, "llama3-70b"
	Title  string
	Source string // where the numbers are from

	Layers int64 // of a transformer; with Net, of its list
	Net    []Layer
	Hidden int64
	FFN    int64 // dense MLP's inner width; 0 where no layer is dense
	Vocab  int64 // as published, unpadded

	Attn Attention
	MoE  *MoE // nil for dense models

	Gated     bool   // SwiGLU (three matrices) or not (two)
	Norm      string // "rms" or "layer"
	PlainNorm bool   // layer norms have no bias (MPT's no_bias)
	Bias      bool   // biases on all linears, router included
	QKVBias   bool
	QKNorm    bool
	Tied      bool  // output layer shares the embedding
	Positions int64 // learned position embeddings; 0 with RoPE or ALiBi
	// MTP is the number of multi-token-prediction modules, not counted in
	// Layers. The catalogue leaves it 0, as published totals do ("671B"); a
	// scenario that trains with the MTP loss sets it.
	MTP int64
}

// Attention is grouped-query attention, or MLA where KVLoRA > 0.
type Attention struct {
	Heads, KVHeads, HeadDim int64
	// MLA (DeepSeek-V2, section 2.1): ranks of the compressed query (0: not
	// compressed) and key/value, head dims without and with RoPE, and of V.
	QLoRA, KVLoRA, Nope, Rope, VDim int64
	// Window > 0: layers where WindowLayer(i) holds see that many keys only.
	Window      int64
	WindowEvery int64 // 2: every second layer from layer 0 is windowed
	GlobalEvery int64 // 4: every fourth layer (3, 7, …) sees all, the others are windowed; instead of WindowEvery
	Sinks       bool  // a learned attention sink per head (gpt-oss)
}

// MLA reports whether the attention is multi-head latent.
func (a Attention) MLA() bool { return a.KVLoRA > 0 }

// MoE is a mixture of experts.
type MoE struct {
	Experts, TopK int64
	FFN           int64 // inner width of one routed expert
	SharedFFN     int64 // inner width of all shared experts together; 0 for none
	FirstDense    int64 // leading dense layers
	Every         int64 // 1 (or 0): every layer after those; 2: every second (layers 1, 3, …)
	RouterBias    bool  // expert bias buffers of loss-free balancing (arXiv:2408.15664)
	Latent        int64 // width that tokens are projected to before routed experts; 0 for none
}

// IsMoE reports whether layer i (from 0) is a mixture of experts.
func (m *Model) IsMoE(i int64) bool {
	if m.MoE == nil || i < m.MoE.FirstDense {
		return false
	}
	if m.MoE.Every > 1 {
		return (i-m.MoE.FirstDense)%m.MoE.Every == m.MoE.Every-1
	}
	return true
}

// MoELayers is the number of layers that are a mixture of experts.
func (m *Model) MoELayers() int64 {
	n := int64(0)
	for i := range m.Layers {
		if m.IsMoE(i) {
			n++
		}
	}
	return n
}

// Window is the number of keys that layer i's attention sees; 0 is all.
func (m *Model) Window(i int64) int64 {
	a := m.Attn
	switch {
	case a.Window <= 0:
		return 0
	case a.GlobalEvery > 0:
		if (i+1)%a.GlobalEvery == 0 {
			return 0
		}
	case a.WindowEvery > 1 && i%a.WindowEvery != 0:
		return 0
	}
	return a.Window
}

// Clone is a copy that shares nothing with m.
func (m *Model) Clone() *Model {
	c := *m
	if m.MoE != nil {
		moe := *m.MoE
		c.MoE = &moe
	}
	c.Net = slices.Clone(m.Net)
	return &c
}
