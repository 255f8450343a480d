package cost

import (
	"fmt"
	"math"

	"orrery/sim/hw"
	"orrery/sim/unit"
)

// AttentionModel prices scaled dot product attention. Forward passes are fitted
// to measured kernels: FlashAttention-3 on Hopper, FlashInfer's TRT-LLM kernels
// on Blackwell. The causal ones were timed with the write of a KV cache; a kernel
// with an empty KVDType has none, as in training, and pays for its traffic what
// the bidirectional kernel does. Backward passes follow BackwardRule.
type AttentionModel struct {
	// Causal, Decode and Latent (multi-head latent attention) by the format of K
	// and V; Q is always bf16.
	Causal map[unit.DType]*AttentionFit `json:"causal"`
	Decode map[unit.DType]*AttentionFit `json:"decode,omitempty"`
	Latent map[unit.DType]*AttentionFit `json:"latent,omitempty"`
	// Encoder is bidirectional attention.
	Encoder  *AttentionFit `json:"encoder,omitempty"`
	Backward BackwardRule  `json:"backward"`
}

// AttentionFit is a physical model per head dim and one correction for all.
type AttentionFit struct {
	Heads   []HeadFit `json:"heads"` // ascending in Dim
	Surface Surface   `json:"surface"`
	Errors  ErrorBand `json:"errors"`
}

// HeadFit is the physical model at one head dim:
//
//	us = Launch + Sequence*batch + Block*(blocks of the busiest SM)
//	     + (Query*bytes(Q,O) + KeyValue*bytes(K,V)) / HBM bandwidth
type HeadFit struct {
	Dim      int64   `json:"dim"`
	VDim     int64   `json:"v_dim"`
	Tiling   Tiling  `json:"tiling"`
	Launch   float64 `json:"launch_us"`
	Block    float64 `json:"block_us"` // 128 rows by 128 keys on one SM
	Query    float64 `json:"query_traffic"`
	KeyValue float64 `json:"kv_traffic"`
	Sequence float64 `json:"sequence_us"`
}

// BackwardRule derives a backward pass from its forward pass: 2.5 times the
// FLOPs (five products instead of two) at a share of the forward rate.
type BackwardRule struct {
	RateShare       float64 `json:"rate_share"`        // equal dims of keys and values
	LatentRateShare float64 `json:"latent_rate_share"` // 192 and 128
	RelErr          float64 `json:"rel_err"`
	Note            string  `json:"note"`
}

// fp8Speedup is what FP8 operands bring over bf16 in the tile products. The
// FlashAttention-3 paper (Shah et al. 2024, abstract) gives 740 TFLOP/s in FP16
// and close to 1.2 PFLOP/s in FP8.
const fp8Speedup = 1200.0 / 740

// Price returns the time of one attention kernel. A shape outside what was
// measured is priced by the physical model with the correction of the nearest
// measured shape. It is an error if no fit covers the kind of kernel.
func (m *AttentionModel) Price(a Attention, g *hw.GPU) (Estimate, error) {
	if err := a.valid(); err != nil {
		return Estimate{}, err
	}
	compute, kv := a.DType, a.kvDType()
	if !compute.Valid() || !kv.Valid() {
		return Estimate{}, fmt.Errorf("attention: unknown dtype in %s", a)
	}
	if a.Backward && kv != compute {
		return Estimate{}, fmt.Errorf("attention: no backward pass through a %s KV cache", kv)
	}
	var rules ruleBook
	speedup := 1.0
	switch compute {
	case unit.BF16, unit.FP16:
	case unit.FP8, unit.FP8Block, unit.MXFP8:
		speedup = fp8Speedup
		rules.add(0.3, "no table has fp8 queries: tile products of bf16 sped up by 1.2/0.74 (FlashAttention-3 paper, abstract)")
	default:
		return Estimate{}, fmt.Errorf("attention: no kernel for queries in %s", compute)
	}
	if compute == kv || kv == unit.FP16 {
		kv = unit.BF16
	}
	if kv == unit.FP8Block || kv == unit.MXFP8 {
		kv = unit.FP8
	}
	fit, err := m.choose(a, kv, &rules)
	if err != nil {
		return Estimate{}, err
	}

	h := fit.head(a.HeadDim, a.vDim(), &rules)
	if a.KVDType == "" && !a.Decode && fit != m.Encoder {
		h = m.withoutCache(h, &rules)
	}
	if !a.Causal && !a.Decode && fit != m.Encoder {
		h.Tiling = Tiling{Rows: 128}
	}
	c := a.Coords()
	kvPriced := a
	kvPriced.DType, kvPriced.KVDType = unit.BF16, kv
	us := h.micros(kvPriced, g, speedup) * math.Exp(fit.Surface.At(c))
	relErr := fit.Errors.At(us)
	est := Estimate{Source: Interpolated}
	if feature, by := fit.Surface.Beyond(c); by > 0 {
		est.Source = Roofline
		est.Note = fmt.Sprintf("beyond the measured %s by a factor %.3g: physical model with the correction at the edge", feature, math.Exp2(by))
		relErr += 0.02 + 0.03*by
	}
	if a.Window > 0 {
		rules.add(0.15, "sliding window: priced by the tiles it visits")
	}
	if a.SeqQ != a.SeqKV && !a.Decode {
		rules.add(0.1, "fewer queries than keys: priced by the tiles they visit")
	}
	if a.Backward {
		share := m.Backward.RateShare
		if a.vDim() != a.HeadDim {
			share = m.Backward.LatentRateShare
		}
		if !(share > 0) {
			return Estimate{}, fmt.Errorf("attention: this profile has no rule for backward passes")
		}
		full, copies := a, 1.0
		full.Backward = false
		if a.vDim() == a.HeadDim { // backward kernels of 192/128 fill no better than forward ones
			full, copies = a.saturating(g)
		}
		full.DType, full.KVDType = unit.BF16, kv
		work := h.micros(full, g, speedup) * math.Exp(fit.Surface.At(full.Coords())) / copies
		us = h.Launch + max(max(work-h.Launch, 0)*2.5/share, max(us-h.Launch, 0)*backwardSerial)
		rules.add(m.Backward.RelErr, m.Backward.Note)
	}
	us += max(us-h.Launch, 0) * (a.variant(us, g, &rules) - 1) // what is fitted below the launch stays there
	if len(rules.notes) > 0 {
		est.Source, relErr = Derived, math.Hypot(relErr, rules.relErr)
		if est.Note != "" {
			rules.notes = append(rules.notes, est.Note)
		}
		est.Note = rules.String()
	}
	est.Time, est.RelErr = unit.Micros(us), relErr
	return est, nil
}

// backwardSerial is a backward pass over its forward pass where there are too few
// blocks to fill the GPU, so that the longest block sets the time of both: 1.2 to
// 1.5 in SimuMax's B200 rows of 4 and 8 heads at 4K.
const backwardSerial = 1.4

// saturating is the kernel over so many copies of its batch that eight waves of
// blocks fill the GPU, and the number of copies.
func (a Attention) saturating(g *hw.GPU) (full Attention, copies float64) {
	full = a
	full.Backward = false
	blocks := float64(a.Batch*a.Heads) * math.Ceil(float64(a.SeqQ)/128)
	copies = max(math.Ceil(8*float64(g.SMs)/blocks), 1)
	full.Batch = a.Batch * int64(copies)
	return full, copies
}

// cuDNN's time over FlashAttention-3's is 1 + cudnnShare/sqrt(us) for kernels that take
// FlashAttention-3 so many microseconds: rounded medians over the 33 forward (4.7) and 34
// backward (4.8) shapes of calibrate/samples/h100 that take it 0.2 ms and more. The
// rule misses them by 2 and 5 % in the median, 9 and 17 % at the p90.
const cudnnShare, cudnnShortest = 5.0, 200.0

// cuDNN's backward pass where keys and values have other dims (192 and 128) takes so
// much longer than the rules for the equal ones say: rounded medians over the 6 causal
// (1.13 to 1.33) and 10 bidirectional (1.81 to 2.06) shapes of calibrate/samples/h100.
// Its forward pass follows them (0.99 to 1.16).
const cudnnLatentCausal, cudnnLatent = 1.2, 1.9

// variant is the slow-down of kernels other than the one that was fitted, by
// the ratios of fa3_fwd_bwd_hd128_noncausal.csv (H100, head dim 128, 4K to 16K):
// FlashAttention-2 takes 2.0 to 2.3 times the forward and 2.0 to 2.2 times the
// backward of FlashAttention-3; a deterministic backward of FlashAttention-3
// takes 1.05 to 1.17 times, one of FlashAttention-2 1.7 to 1.9 times. Measured on
// an H100 (calibrate/samples/h100, cuDNN 9.19): FlashAttention-2 2.1 times the price
// at 8K; cuDNN's by the rule above.
func (a Attention) variant(us float64, g *hw.GPU, rules *ruleBook) float64 {
	f := 1.0
	if a.CuDNN && !a.FA2 && g.Arch == "sm90" {
		f += cudnnShare / math.Sqrt(max(us, cudnnShortest))
		rules.add(0.12, "cuDNN over FlashAttention-3 by the ratio measured on H100")
		switch latent := a.Backward && a.vDim() != a.HeadDim; {
		case latent && a.Causal:
			f *= cudnnLatentCausal
		case latent:
			f *= cudnnLatent
		}
	}
	if a.FA2 && g.Arch != "sm80" {
		f = 2.1
		rules.add(0.1, "FlashAttention-2 at 1/2.1 of FlashAttention-3")
	}
	if a.Deterministic && a.Backward {
		if a.FA2 {
			f *= 1.8
		} else {
			f *= 1.1
		}
		rules.add(0.06, "deterministic backward")
	}
	return f
}

// choose picks the fit that measured this kind of kernel.
func (m *AttentionModel) choose(a Attention, kv unit.DType, rules *ruleBook) (*AttentionFit, error) {
	causal := m.Causal[kv]
	latent := m.Latent[kv]
	switch {
	case a.Decode:
		if a.vDim() != a.HeadDim {
			return nil, fmt.Errorf("attention: no table of decoding with latent attention")
		}
		if f := m.Decode[kv]; f != nil {
			return f, nil
		}
		return nil, fmt.Errorf("attention: no table of decoding with a %s KV cache", kv)
	case a.vDim() != a.HeadDim && a.Causal && latent != nil && latent.has(a.HeadDim, a.vDim()):
		return latent, nil
	case !a.Causal && m.Encoder != nil && m.Encoder.covers(a.HeadDim):
		if kv != unit.BF16 {
			return nil, fmt.Errorf("attention: no bidirectional kernel with %s keys", kv)
		}
		return m.Encoder, nil
	case causal == nil:
		return nil, fmt.Errorf("attention: no table of prefill with a %s KV cache", kv)
	}
	if !a.Causal {
		rules.add(0.1, "bidirectional at this head dim: tiles at the causal kernel's rate")
	}
	return causal, nil
}

// withoutCache takes away the write of a KV cache that the causal tables include.
func (m *AttentionModel) withoutCache(h HeadFit, rules *ruleBook) HeadFit {
	if m.Encoder == nil || len(m.Encoder.Heads) == 0 {
		return h
	}
	e := m.Encoder.Heads[len(m.Encoder.Heads)-1]
	if h.Query > e.Query || h.KeyValue > e.KeyValue {
		h.Query, h.KeyValue = min(h.Query, e.Query), min(h.KeyValue, e.KeyValue)
		rules.add(0.05, "no KV cache: traffic of Q, K, V and O as in the bidirectional kernel")
	}
	return h
}

func (f *AttentionFit) has(dim, vDim int64) bool {
	for _, h := range f.Heads {
		if h.Dim == dim && h.VDim == vDim {
			return true
		}
	}
	return false
}

// covers reports whether dim lies within the measured head dims.
func (f *AttentionFit) covers(dim int64) bool {
	return len(f.Heads) > 0 && f.Heads[0].Dim <= dim && dim <= f.Heads[len(f.Heads)-1].Dim
}

// head returns the physical model at a head dim: a measured one, or one
// interpolated on the logarithm of the mean of key and value dims. Outside, the
// time of a tile grows in proportion to the dim.
func (f *AttentionFit) head(dim, vDim int64, rules *ruleBook) HeadFit {
	for _, h := range f.Heads {
		if h.Dim == dim && h.VDim == vDim {
			return h
		}
	}
	d := float64(dim+vDim) / 2
	mean := func(h HeadFit) float64 { return float64(h.Dim+h.VDim) / 2 }
	lo, hi := f.Heads[0], f.Heads[len(f.Heads)-1]
	if dim != vDim {
		rules.add(0.1, fmt.Sprintf("key dim %d and value dim %d priced at their mean", dim, vDim))
	}
	for _, h := range f.Heads {
		if mean(h) == d {
			return h
		}
		if mean(h) < d {
			lo = h
		}
	}
	for i := len(f.Heads) - 1; i >= 0; i-- {
		if mean(f.Heads[i]) > d {
			hi = f.Heads[i]
		}
	}
	if d < mean(lo) || d > mean(hi) {
		edge := lo
		if d > mean(hi) {
			edge = hi
		}
		edge.Block *= d / mean(edge)
		rules.add(0.25, fmt.Sprintf("head dim %g is outside the measured ones: tile time in proportion to it", d))
		return edge
	}
	w := (math.Log(d) - math.Log(mean(lo))) / (math.Log(mean(hi)) - math.Log(mean(lo)))
	mix := func(x, y float64) float64 { return x + w*(y-x) }
	if dim == vDim {
		rules.add(0.1, fmt.Sprintf("head dim %d between the measured %d and %d", dim, lo.Dim, hi.Dim))
	}
	return HeadFit{
		Dim: dim, VDim: vDim, Tiling: lo.Tiling,
		Launch:   mix(lo.Launch, hi.Launch),
		Block:    mix(lo.Block/mean(lo), hi.Block/mean(hi)) * d,
		Query:    mix(lo.Query, hi.Query),
		KeyValue: mix(lo.KeyValue, hi.KeyValue),
		Sequence: mix(lo.Sequence, hi.Sequence),
	}
}

// micros evaluates the physical model.
func (h HeadFit) micros(a Attention, g *hw.GPU, speedup float64) float64 {
	t := a.Terms(h.Tiling, g)
	t.Blocks /= speedup
	return h.Micros(t)
}

// Micros weighs the terms of a kernel.
func (h HeadFit) Micros(t AttentionTerms) float64 {
	return h.Launch + h.Sequence*t.Sequences + h.Block*t.Blocks + h.Query*t.QueryMicros + h.KeyValue*t.KVMicros
}

// AttentionTerms are the quantities that HeadFit weighs.
type AttentionTerms struct {
	Sequences   float64 // sequences in the batch
	Blocks      float64 // blocks that the busiest SM computes
	QueryMicros float64 // bytes of Q and O at peak HBM bandwidth, microseconds
	KVMicros    float64 // likewise of K and V
}

// Terms returns what the physical model weighs on a GPU.
func (a Attention) Terms(t Tiling, g *hw.GPU) AttentionTerms {
	q, kv := a.traffic()
	perMicro := g.HBMGBps * 1e3 // bytes per microsecond
	return AttentionTerms{
		Sequences:   float64(a.Batch),
		Blocks:      t.blocks(a, g.SMs),
		QueryMicros: q / perMicro,
		KVMicros:    kv / perMicro,
	}
}

// ruleBook collects the rules by which a price was derived.
type ruleBook struct {
	relErr float64
	notes  []string
}

func (r *ruleBook) add(relErr float64, note string) {
	r.relErr = math.Hypot(r.relErr, relErr)
	r.notes = append(r.notes, note)
}

func (r *ruleBook) String() string {
	s := ""
	for i, n := range r.notes {
		if i > 0 {
			s += "; "
		}
		s += n
	}
	return s
}
