package pipeline

import "fmt"

// SlimPipeMemory is the analytical memory model of SlimPipe's authors, recovered
// from the tables of their SC'25 artifact (Cuiym715/Megatron-LM at 8e42108,
// examples/sc25slimpipe), which it reproduces to rounding. `sim run` has a finer
// account of its own; this one is for comparison. One slice is interleaved 1F1B.
type SlimPipeMemory struct {
	Layers, Hidden, FFN, KV int64 // KV: channels of the keys, kv heads x head dim
	Vocab                   int64
	Experts, TopK           int64 // 1 and 1 of a dense model
	Seq                     int64
	TP, CP, PP, EP, DP      int64 // DP without CP
	Virtual, Slices         int64
	Microbatches            int64
	Recompute               string  // "no", "partial+fc1" or "full"
	Offload                 float64 // share of activations that leave the GPU, 0 to 1
}

// SlimPipeBytes is what the model predicts for the first pipeline rank, in bytes.
type SlimPipeBytes struct {
	ParamsAndGrads, Optimizer float64
	Activations               float64 // that stay on the GPU
	Offloaded                 float64 // not on the GPU
	Output                    float64 // logits, fp32
	Recompute                 float64 // of one layer
	KVCache, KVGrad           float64
}

// Peak is the sum of what is on the GPU.
func (b SlimPipeBytes) Peak() float64 {
	return b.ParamsAndGrads + b.Optimizer + b.Activations + b.Output + b.Recompute + b.KVCache + b.KVGrad
}

// Bubble is the fraction of the step that a device idles with equal slices.
func (m SlimPipeMemory) Bubble() float64 {
	p := float64(m.PP - 1)
	return p / (float64(max(m.Slices, 1)*m.Virtual*m.Microbatches) + p)
}

// Bytes evaluates the model. The error names a form of recomputation that it
// does not have.
func (m SlimPipeMemory) Bytes() (SlimPipeBytes, error) {
	var out SlimPipeBytes
	h, f, kv, k := float64(m.Hidden), float64(m.FFN), float64(m.KV), float64(m.TopK)
	t, c, p, d, e := float64(m.TP), float64(m.CP), float64(m.PP), float64(m.DP), float64(m.EP)
	v, n := float64(m.Virtual), float64(max(m.Slices, 1))
	tokens, layers := float64(m.Seq)/(t*c), float64(m.Layers)/p
	all := 12*h + 4*kv + k*6*f // norms 8h, q 2h, k and v 4kv, attention out 2h, MLP 6f an expert
	kept := map[string]float64{"no": all, "partial+fc1": all - 4*h - 6*k*f, "full": 2 * h}
	per, ok := kept[m.Recompute]
	if !ok {
		return out, fmt.Errorf("recompute %q: want no, partial+fc1 or full", m.Recompute)
	}
	whole := per * tokens * float64(m.Layers)
	if m.Slices > 1 {
		out.Activations = whole / p * (1 + 2*(p-1)/(n*v))
		out.Output = 4 * tokens * float64(m.Vocab) / p
	} else {
		out.Activations = whole * (1 + (p-1)/(p*v))
	}
	switch m.Recompute {
	case "partial+fc1":
		out.Recompute = 6 * k * f * tokens / n
	case "full":
		out.Recompute = (all - 2*h) * tokens / n
	}
	vocab := h * float64(m.Vocab) / t
	if m.Slices > 1 {
		vocab /= p
	}
	dense := layers * (2*h*h + 2*h*kv) / t
	expert := layers * float64(m.Experts) * 3 * h * f / (t * e)
	out.ParamsAndGrads = 6 * (dense + expert + vocab)
	if m.Experts > 1 {
		out.Optimizer = 12*(dense+vocab)/(d*c) + 12*expert/(d*c/e)
	} else {
		out.Optimizer = 12 * (dense + expert + vocab) / (d * c)
	}
	if m.Slices > 1 { // of h channels as the authors have it, not of the kv channels that there are
		out.KVGrad = 4 * h * tokens * layers * (1 - p/n + 1/v + (p-2)/(n*v))
	}
	if m.Offload > 0 { // four slices of a chunk never leave, and no keys and values
		live := n*v + 2*(p-1)
		out.Offloaded = m.Offload * (live - 4) * out.Activations / live
		out.Activations -= out.Offloaded
		out.KVCache = 4 * kv * tokens * layers * (live - 2) / (n * v)
	}
	return out, nil
}
