package calibrate

import (
	"fmt"
	"math"
	"slices"

	"orrery/sim/cost"
	"orrery/sim/hw"
	"orrery/sim/unit"
)

func init() {
	fitters = append(fitters,
		attentionFitter(cost.FamAttention, causalLayout, func(m *cost.AttentionModel, kv unit.DType, f *cost.AttentionFit) {
			if m.Causal == nil {
				m.Causal = map[unit.DType]*cost.AttentionFit{}
			}
			m.Causal[kv] = f
		}),
		attentionFitter(cost.FamEncoderAttn, encoderLayout, func(m *cost.AttentionModel, kv unit.DType, f *cost.AttentionFit) {
			m.Encoder = f
		}),
		attentionFitter(cost.FamDecodeAttn, decodeLayout, func(m *cost.AttentionModel, kv unit.DType, f *cost.AttentionFit) {
			if m.Decode == nil {
				m.Decode = map[unit.DType]*cost.AttentionFit{}
			}
			m.Decode[kv] = f
		}),
		attentionFitter(cost.FamMLA, latentLayout, func(m *cost.AttentionModel, kv unit.DType, f *cost.AttentionFit) {
			if m.Latent == nil {
				m.Latent = map[unit.DType]*cost.AttentionFit{}
			}
			m.Latent[kv] = f
		}),
	)
}

// fewestAttentionRows that make a fit: SimuMax's 22 shapes do not, and each of
// them carries about 70 us of host time that no training step with queued
// launches pays; a GPU with no more than those takes its attention from another.
const fewestAttentionRows = 100

// attentionFitter fits one kind of attention, once for each format of K and V.
func attentionFitter(family cost.Family, layout func() cost.Surface, set func(*cost.AttentionModel, unit.DType, *cost.AttentionFit)) fitter {
	return fitter{family: family, fit: func(samples []Sample, g *hw.GPU, p *cost.Profile) error {
		byKV := map[unit.DType][]Sample{}
		for _, s := range samples {
			a, ok := s.Kernel.(cost.Attention)
			if !ok {
				return fmt.Errorf("fit %s: %s is no attention", family, s.Kernel)
			}
			if a.Backward {
				continue
			}
			kv := a.KVDType
			if kv == "" {
				kv = a.DType
			}
			byKV[kv] = append(byKV[kv], s)
		}
		for _, kv := range []unit.DType{unit.BF16, unit.FP8} {
			if len(byKV[kv]) < fewestAttentionRows {
				continue
			}
			f, err := fitAttention(byKV[kv], g, layout())
			if err != nil {
				return fmt.Errorf("fit %s with %s keys: %w", family, kv, err)
			}
			if p.Attention == nil {
				p.Attention = &cost.AttentionModel{}
			}
			p.Attention.Backward = backwardRule(g)
			set(p.Attention, kv, f)
		}
		return nil
	}}
}

// backwardRule states how backward passes follow from forward ones. No table has
// a causal backward pass on these GPUs; the figures are of
//   - FlashAttention-3 on an H100-class GPU, head dim 128, not causal, 4K-16K
//     tokens: 682-754 TFLOP/s forward, 584-653 backward, a share of 0.81-0.89
//     (kernels/misc/fa3_fwd_bwd_hd128_noncausal.csv);
//     DeepSeek's training trace on H800 (profile-data, train.json): backward 3.05
//     times forward at dims 192 and 128, a share of 0.82;
//   - Blackwell, head dim 128, causal: FlashAttention-4 at 8K tokens 1418 forward,
//     1118-1209 backward (pull request 2280), a share of 0.79-0.85; cuDNN through
//     TransformerEngine on B200 (SimuMax b200_bf16_ceperm.json) 0.75-0.84 at
//     32K-128K, and 0.69-0.96 with a median of 0.78 at dims 192 and 128.
func backwardRule(g *hw.GPU) cost.BackwardRule {
	if g.Arch == "sm100" || g.Arch == "sm103" {
		return cost.BackwardRule{
			RateShare: 0.81, LatentRateShare: 0.78, RelErr: 0.12,
			Note: "backward: 2.5 times the FLOPs at 0.81 of the forward rate, 0.78 at dims 192 and 128 (FlashAttention-4 PR 2280; SimuMax B200)",
		}
	}
	return cost.BackwardRule{
		RateShare: 0.84, LatentRateShare: 0.82, RelErr: 0.12,
		Note: "backward: 2.5 times the FLOPs at 0.84 of the forward rate (FlashAttention-3, head dim 128), 0.82 at dims 192 and 128 (DeepSeek trace); deterministic kernels take 1.05-1.4 times that",
	}
}

// fitAttention fits the physical model of each head dim, then one correction.
func fitAttention(samples []Sample, g *hw.GPU, layout cost.Surface) (*cost.AttentionFit, error) {
	fit, errors, err := fitValidated(samples, func(rows []Sample) (*cost.AttentionFit, error) { return fitAttentionRows(rows, g, layout) },
		func(f *cost.AttentionFit, k cost.Kernel) (float64, error) {
			return attentionMicros(f, g, k.(cost.Attention)), nil
		},
		byShape("errors"), byShape("errors1"), byShape("errors2"))
	if err != nil {
		return nil, err
	}
	fit.Errors = errors
	return fit, nil
}

// attentionMicros evaluates a fit at the shapes it was fitted to.
func attentionMicros(f *cost.AttentionFit, g *hw.GPU, a cost.Attention) float64 {
	for _, h := range f.Heads {
		if h.Dim == a.HeadDim && h.VDim == valueDim(a) {
			return h.Micros(a.Terms(h.Tiling, g)) * math.Exp(f.Surface.At(a.Coords()))
		}
	}
	return 0
}

func valueDim(a cost.Attention) int64 {
	if a.VDim == 0 {
		return a.HeadDim
	}
	return a.VDim
}

func fitAttentionRows(samples []Sample, g *hw.GPU, layout cost.Surface) (*cost.AttentionFit, error) {
	byDim := map[int64][]int{}
	for i, s := range samples {
		d := s.Kernel.(cost.Attention).HeadDim
		byDim[d] = append(byDim[d], i)
	}
	fit := &cost.AttentionFit{}
	target := make([]float64, len(samples))
	weight := make([]float64, len(samples))
	at := make([]cost.Coords, len(samples))
	dims := make([]int64, 0, len(byDim))
	for d := range byDim {
		dims = append(dims, d)
	}
	slices.Sort(dims)
	for _, d := range dims {
		rows := byDim[d]
		kernels := make([]cost.Attention, len(rows))
		micros := make([]float64, len(rows))
		for i, r := range rows {
			kernels[i], micros[i] = samples[r].Kernel.(cost.Attention), samples[r].Micros
		}
		h, err := fitHead(kernels, micros, g)
		if err != nil {
			return nil, fmt.Errorf("head dim %d: %w", d, err)
		}
		fit.Heads = append(fit.Heads, h)
		for i, r := range rows {
			target[r] = math.Log(micros[i] / h.Micros(kernels[i].Terms(h.Tiling, g)))
			weight[r] = weightOf(micros[i])
			at[r] = kernels[i].Coords()
		}
	}
	var err error
	fit.Surface, err = fitSurface(layout, at, target, weight)
	return fit, err
}

// tilings that kernels of this family use: FlashAttention-3 takes 64 rows at head
// dim 512, 192 at 64 and 128 between; FlashAttention-4 two tiles of 128.
var tilings = func() (all []cost.Tiling) {
	for _, rows := range []int64{64, 128, 192, 256} {
		for _, packed := range []bool{false, true} {
			for _, waves := range []bool{false, true} {
				all = append(all, cost.Tiling{Rows: rows, Packed: packed, Waves: waves})
			}
		}
	}
	return all
}()

// fitHead fits the physical model of one head dim. The tiling is the one that
// explains a sample of the rows best; of equals the first.
func fitHead(kernels []cost.Attention, micros []float64, g *hw.GPU) (cost.HeadFit, error) {
	const sampled = 500
	stride := 1 + len(kernels)/sampled
	var some []cost.Attention
	var someMicros []float64
	for i := 0; i < len(kernels); i += stride {
		some, someMicros = append(some, kernels[i]), append(someMicros, micros[i])
	}
	best, least := tilings[0], math.Inf(1)
	for _, tiling := range tilings {
		if kernels[0].Decode && (tiling.Packed || tiling.Waves) {
			continue
		}
		_, loss, err := fitTiling(some, someMicros, tiling, g)
		if err != nil {
			return cost.HeadFit{}, err
		}
		if loss < least*0.999 {
			best, least = tiling, loss
		}
	}
	h, _, err := fitTiling(kernels, micros, best, g)
	return h, err
}

// fitTiling fits the physical model under a tiling and returns its loss.
func fitTiling(kernels []cost.Attention, micros []float64, tiling cost.Tiling, g *hw.GPU) (cost.HeadFit, float64, error) {
	a := kernels[0]
	head := func(p []float64) cost.HeadFit {
		return cost.HeadFit{
			Dim: a.HeadDim, VDim: valueDim(a), Tiling: tiling,
			Launch: p[0], Block: p[1], Query: p[2], KeyValue: p[3], Sequence: p[4],
		}
	}
	terms := make([]cost.AttentionTerms, len(kernels))
	for i, k := range kernels {
		terms[i] = k.Terms(tiling, g)
	}
	// a block of 4 x 128 x 128 x dim FLOPs at three quarters of the bf16 peak
	block := 4 * 128 * 128 * float64(a.HeadDim) / (0.75 * g.PeakTFLOPS[unit.BF16] * 1e6 / float64(g.SMs))
	p, loss, err := fitPositive([]float64{8, block, 1.5, 2, 0.01}, micros, func(i int, p []float64) float64 {
		return head(p).Micros(terms[i])
	})
	if err != nil {
		return cost.HeadFit{}, 0, err
	}
	for i := range p {
		p[i] = round4(p[i])
	}
	return head(p), loss, nil
}

// The layouts below have their knots where the kernels change behaviour: below a
// tile (128) the grid is dense because launches, packed heads and split keys
// alternate; above, one knot an octave.

// longKernels is the axis of what is presumably the power limit: long kernels
// run slower, whichever way they come to be long. With 16K tokens and head dim 128 a GB200
// does 1416 TFLOP/s with 64 heads and 960 with 256 and more. It starts at 7e10
// FLOPs, a tenth of a millisecond, and is over at 3e13, ten.
func longKernels() cost.Lattice {
	work := axis("work", 36, 38, 40, 41, 42, 43, 44, 44.5)
	work.Saturates = true
	return lattice(work)
}

func causalLayout() cost.Surface {
	seq := axis("seq", 0, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14)
	bh := axis("bh", 0, 3, 5, 7, 9, 11, 14)
	gqa := axis("gqa", 0, 1, 2, 3, 4, 6)
	dim := axis("dim", 6, 7, math.Log2(192), 8, 9)
	return cost.Surface{
		lattice(seq, bh),
		lattice(seq, gqa),
		lattice(bh, gqa),
		lattice(seq, axis("batch", 0, 2, 4, 6, 8)),
		lattice(dim, axis("seq", 4, 7, 9, 11, 14), axis("bh", 0, 5, 8, 12)),
		lattice(dim, axis("seq", 4, 7, 10, 14), axis("gqa", 0, 2, 4, 6)),
		longKernels(),
	}
}

func encoderLayout() cost.Surface {
	seq := axis("seq", 0, 3.7, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16)
	return cost.Surface{
		lattice(seq, axis("bh", 0, 2, 4, 6, 7, 8, 9, 11)),
		lattice(axis("dim", 6, math.Log2(72), math.Log2(80)), axis("seq", 5, 7, 8, 9, 10, 11, 12, 13, 14, 16), axis("bh", 0, 4, 6, 8, 11)),
		lattice(seq, axis("batch", 0, 3, 6)),
		longKernels(),
	}
}

func decodeLayout() cost.Surface {
	seq := axis("seq", 1, 3, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17)
	bh := axis("bh", 0, 2, 4, 6, 7, 8, 9, 10, 12, 14)
	gqa := axis("gqa", 0, 1, 2, 3, 4, 6)
	return cost.Surface{
		lattice(seq, bh),
		lattice(seq, gqa),
		lattice(bh, gqa),
		lattice(axis("dim", 6, 7), axis("seq", 1, 5, 8, 10, 12, 14, 17), axis("bh", 0, 4, 7, 10, 14)),
		lattice(axis("seq", 1, 5, 8, 10, 12, 14, 17), axis("batch", 0, 2, 4, 6, 8, 11)),
	}
}

func latentLayout() cost.Surface {
	seq := axis("seq", 0, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
	return cost.Surface{
		lattice(seq, axis("bh", 0, 2, 4, 6, 7, 8, 9, 11, 13)),
		lattice(seq, axis("batch", 0, 1, 2, 3, 4, 5, 6, 8)),
		longKernels(),
	}
}
