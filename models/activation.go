package models

import "slices"

// Split says how tensor parallelism divides an activation.
type Split int

// How a rank's share of an activation follows from the whole.
const (
	// SplitAlways: computed by column-parallel layers or consumed by
	// row-parallel ones, 1/TP on each rank.
	SplitAlways Split = iota
	// SplitSP: in the residual stream; replicated over TP, or 1/TP with
	// sequence parallelism (arXiv:2205.05198, section 4.2.2).
	SplitSP
	// SplitDispatch: tokens at the experts; 1/TP of them start at each rank and
	// the ranks of expert tensor parallelism all hold the same: ETP/TP.
	SplitDispatch
)

// ActPart is one tensor that a layer keeps from forward to backward.
type ActPart struct {
	Name          string  // "attn.q", "mlp.fc1_out", …
	Group         string  // "attn", "mlp" (dense) or "moe"
	BytesPerToken float64 // over all TP ranks, 16-bit activations; at balanced routing for experts
	Split         Split
	Recompute     []string // parts of selective recomputation that free it
	LinearInput   bool     // kept as the input of a linear layer: quantised where that layer is
}

// FreedBy reports whether selective recomputation of the given parts computes
// this tensor again instead of keeping it.
func (a ActPart) FreedBy(parts []string) bool {
	return slices.ContainsFunc(a.Recompute, func(p string) bool { return slices.Contains(parts, p) })
}

// PerRank is the part's bytes per token on each of tp tensor-parallel ranks,
// with expert tensor parallelism etp, with or without sequence parallelism.
func (a ActPart) PerRank(tp, etp int64, sp bool) float64 {
	switch {
	case a.Split == SplitDispatch:
		return a.BytesPerToken * float64(etp) / float64(tp)
	case a.Split == SplitSP && !sp:
		return a.BytesPerToken
	}
	return a.BytesPerToken / float64(tp)
}

// Parts of selective recomputation, as Megatron-Core's --recompute-modules
// names them. core_attn frees the softmax statistics only, since the attention
// kernels are fused; layernorm the outputs of both norms; moe_act the output of
// the experts' activation function; mla_up_proj the queries, keys and values
// that MLA expands; fc1 what the first linear layer of the MLP or of the experts
// and the activation function after it put out (SlimPipe's partial+fc1, with
// layernorm); mlp and moe all inside the dense MLP and the MoE layer.
// "attention" is the whole attention block but its input.
const (
	partCoreAttn  = "core_attn"
	partAttention = "attention"
	partLayerNorm = "layernorm"
	partMLAUpProj = "mla_up_proj"
	partMLP       = "mlp"
	partMoEAct    = "moe_act"
	partMoE       = "moe"
	partFC1       = "fc1"
)

// Activations lists what layer i keeps for its backward pass when nothing is
// recomputed: fused attention, RoPE, no dropout, 16-bit, as Transformer Engine
// does; derived tensor by tensor as in arXiv:2205.05198, section 4.1. Experts'
// parts (permuted_in to expert_out) are of balanced routing: under imbalance
// they grow by max over mean load. A fully recomputed layer keeps
// FullRecomputeBytes instead.
func (m *Model) Activations(i int64) []ActPart {
	if m.Net != nil {
		return nil // what they keep depends on the batch: Layer.SavedBytes
	}
	parts := m.attnActivations()
	if m.IsMoE(i) {
		return append(parts, m.moeActivations()...)
	}
	return append(parts, m.mlpActivations()...)
}

// FullRecomputeBytes is what a fully recomputed layer keeps per token, its
// input; divided by TP where the layer's input is.
func (m *Model) FullRecomputeBytes() float64 { return float64(2 * m.Hidden) }

func (m *Model) attnActivations() []ActPart {
	a := m.Attn
	var parts []ActPart
	add := func(name string, bytes int64, s Split, linearInput bool, freed ...string) {
		parts = append(parts, ActPart{Name: "attn." + name, Group: "attn", BytesPerToken: float64(bytes), Split: s, LinearInput: linearInput, Recompute: freed})
	}
	add("norm_in", 2*m.Hidden, SplitSP, false)
	add("norm_out", 2*m.Hidden, SplitSP, true, partLayerNorm, partAttention)
	q, k, v, out := a.Heads*a.HeadDim, a.KVHeads*a.HeadDim, a.KVHeads*a.HeadDim, a.Heads*a.HeadDim
	freed := []string{partAttention}
	if a.MLA() {
		// Input and output of the latents' norms; RoPE's key has no norm.
		if a.QLoRA > 0 {
			add("q_lora", 4*a.QLoRA, SplitSP, false, partAttention)
		}
		add("kv_lora", 2*(2*a.KVLoRA+a.Rope), SplitSP, false, partAttention)
		q = a.Heads * (a.Nope + a.Rope)
		k, v, out = q, a.Heads*a.VDim, a.Heads*a.VDim
		freed = []string{partMLAUpProj, partAttention}
	}
	add("q", 2*q, SplitAlways, false, freed...)
	add("k", 2*k, SplitAlways, false, freed...)
	add("v", 2*v, SplitAlways, false, freed...)
	add("attn_out", 2*out, SplitAlways, true, partAttention)
	add("lse", 4*a.Heads, SplitAlways, false, partCoreAttn, partAttention) // fp32 log-sum-exp
	if m.QKNorm {
		add("qk_norm_in", 2*(q+k), SplitAlways, false, partAttention)
	}
	return parts
}

func (m *Model) mlpActivations() []ActPart {
	fc1 := 2 * (m.Matrices() - 1) * m.FFN
	return []ActPart{
		{Name: "mlp.norm_in", Group: "mlp", BytesPerToken: float64(2 * m.Hidden), Split: SplitSP},
		{Name: "mlp.norm_out", Group: "mlp", BytesPerToken: float64(2 * m.Hidden), Split: SplitSP, LinearInput: true, Recompute: []string{partLayerNorm}},
		{Name: "mlp.fc1_out", Group: "mlp", BytesPerToken: float64(fc1), Split: SplitAlways, Recompute: []string{partFC1, partMLP}},
		{Name: "mlp.act_out", Group: "mlp", BytesPerToken: float64(2 * m.FFN), Split: SplitAlways, LinearInput: true, Recompute: []string{partFC1, partMLP}},
	}
}

func (m *Model) moeActivations() []ActPart {
	e := m.MoE
	var parts []ActPart
	add := func(name string, bytes int64, s Split, linearInput bool, freed ...string) {
		parts = append(parts, ActPart{Name: "mlp." + name, Group: "moe", BytesPerToken: float64(bytes), Split: s, LinearInput: linearInput, Recompute: freed})
	}
	fc1 := m.Matrices() - 1
	width := m.Hidden
	add("norm_in", 2*m.Hidden, SplitSP, false)
	// The router reads it unquantised.
	add("norm_out", 2*m.Hidden, SplitSP, false, partLayerNorm)
	add("router_logits_fp32", 4*e.Experts, SplitSP, false, partMoE)
	add("probs_fp32", 4*e.TopK, SplitSP, false, partMoE)
	if e.Latent > 0 {
		width = e.Latent
		add("latent_in", 2*e.Latent, SplitSP, false, partMoE)
		add("latent_out", 2*e.Latent, SplitSP, true, partMoE)
	}
	add("permuted_in", 2*e.TopK*width, SplitDispatch, true, partMoE)
	add("fc1_out", 2*fc1*e.TopK*e.FFN, SplitAlways, false, partFC1, partMoE)
	add("act_out", 2*e.TopK*e.FFN, SplitAlways, true, partMoEAct, partFC1, partMoE)
	add("expert_out", 2*e.TopK*width, SplitDispatch, false, partMoE)
	if e.SharedFFN > 0 {
		add("shared_fc1", 2*fc1*e.SharedFFN, SplitAlways, false, partMoE)
		add("shared_act", 2*e.SharedFFN, SplitAlways, true, partMoE)
	}
	return parts
}
