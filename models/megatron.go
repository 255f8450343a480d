package models

import "fmt"

// MegatronMemory is the configuration that Megatron-LM's own estimate of memory
// looks at (megatron/training/theoretical_memory_usage.py, as of 2026-08). The
// estimate knows no GQA in activations and takes MoE layers for dense ones: it
// is here to compare with, and the simulator does not use it.
type MegatronMemory struct {
	Seq, MicroBatch, Microbatches int64
	TP, PP, VP, DP, EP, ETP       int64 // VP 0: not interleaved
	DistributedOptimizer          bool
	SequenceParallel, Selective   bool
	PaddedVocab                   int64
}

// Estimate is the memory of the most loaded rank, in bytes: weights, gradients
// and Adam states in one sum, activations in the other.
func (c MegatronMemory) Estimate(m *Model) (states, activations float64, err error) {
	for _, d := range []struct {
		name string
		v    int64
	}{{"tp", c.TP}, {"pp", c.PP}, {"dp", c.DP}, {"ep", c.EP}, {"etp", c.ETP}, {"seq", c.Seq}, {"micro batch", c.MicroBatch}, {"microbatches", c.Microbatches}, {"padded vocab", c.PaddedVocab}} {
		if d.v < 1 {
			return 0, 0, fmt.Errorf("models: Megatron's memory estimate: %s is %d, want at least 1", d.name, d.v)
		}
	}
	if m.MoE != nil && c.TP*c.DP%(c.ETP*c.EP) != 0 {
		return 0, 0, fmt.Errorf("models: Megatron's memory estimate: tp x dp = %d is not a multiple of etp x ep = %d", c.TP*c.DP, c.ETP*c.EP)
	}
	return c.states(m), c.activations(m), nil
}

// states is of layers/PP layers (not rounded), the MTP modules, one embedding,
// and the output layer too where PP is 1.
func (c MegatronMemory) states(m *Model) float64 {
	tp, pp := float64(c.TP), float64(c.PP)
	moeLayers := float64(m.MoELayers())
	dense := float64(m.Layers) - moeLayers
	attn, h := m.megatronAttn(), float64(m.Hidden)
	norms := 2 * float64(m.norm(m.Hidden))
	g := float64(m.Matrices())
	var mlp, shared, experts, router float64
	if dense > 0 {
		mlp = g * h * float64(m.FFN)
	}
	if e := m.MoE; e != nil {
		width := h
		if e.Latent > 0 {
			width = float64(e.Latent)
		}
		shared = g * h * float64(e.SharedFFN)
		experts = g * width * float64(e.FFN) * float64(e.Experts)
		router = h*float64(e.Experts) + 2*h*float64(e.Latent)
		if m.Bias {
			router += float64(e.Experts)
		}
	}
	sharded := ((attn+mlp)*dense + (attn+shared)*moeLayers) / pp
	replicated := (norms*dense + (norms+router)*moeLayers + float64(m.FinalNormParams())) / pp
	routed := experts * moeLayers / pp
	if mtp := float64(m.MTP); m.IsMoE(m.Layers - 1) {
		sharded, replicated, routed = sharded+mtp*(attn+shared), replicated+mtp*(norms+router), routed+mtp*experts
	} else {
		sharded, replicated = sharded+mtp*(attn+mlp), replicated+mtp*norms
	}
	embedding := h * float64(c.PaddedVocab)
	sharded += embedding
	if !m.Tied && c.PP == 1 {
		sharded += embedding
	}
	states, expertDP := StatesMegatron, c.TP*c.DP/(c.ETP*c.EP)
	if c.DistributedOptimizer {
		states = StatesDistOpt
	}
	perParam := func(dp int64) float64 { return states.Kept + states.Sharded/float64(dp) }
	bytes := (sharded/tp + replicated) * perParam(c.DP)
	if routed > 0 {
		bytes += routed / float64(c.ETP*c.EP) * perParam(expertDP)
	}
	return bytes
}

// megatronAttn is the number of attention weights without biases and QK norms,
// as the estimate counts them.
func (m *Model) megatronAttn() float64 {
	if m.Attn.MLA() {
		return float64(m.attnParams())
	}
	a := m.Attn
	return 2 * float64(m.Hidden) * float64((a.Heads+a.KVHeads)*a.HeadDim)
}

// activations is of the first stage. With
// sequence parallelism and selective recomputation it is equation 4 of
// arXiv:2205.05198, else sbh(10 + 24/t) and 5 %.
func (c MegatronMemory) activations(m *Model) float64 {
	sb, h := float64(c.Seq)*float64(c.MicroBatch), float64(m.Hidden)
	tp, pp := float64(c.TP), float64(c.PP)
	precise := c.SequenceParallel && c.Selective
	var layer float64
	if precise {
		layer = sb * (18*h + 4*float64(c.ffn(m)))
	} else {
		layer = sb * h * (10 + 24/tp)
	}
	bytes := layer*float64(m.Layers) + 8*sb*pp + sb*h*pp // and tokens, and the embedding's dropout mask
	switch {
	case c.VP > 0:
		bytes *= 1 + (pp-1)/(pp*float64(c.VP))
	case c.PP > 1:
		bytes *= min(1, float64(c.Microbatches)/pp)
	}
	if precise {
		if c.PP == 1 {
			bytes += 4 * sb * (h + float64(c.PaddedVocab))
		}
		return bytes / tp
	}
	if c.PP == 1 {
		bytes += 2 * sb * (float64(c.PaddedVocab)/tp + h)
	}
	return bytes * 1.05
}

// ffn is Megatron's ffn_hidden_size, which also stands for that of experts
// where a model has no dense layer.
func (c MegatronMemory) ffn(m *Model) int64 {
	if m.FFN == 0 && m.MoE != nil {
		return m.MoE.FFN
	}
	return m.FFN
}
