package cost

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/sim/hw"
	"orrery/sim/unit"
)

func h100(t require.TestingT) *hw.GPU {
	g, err := hw.LookupGPU("h100")
	require.NoError(t, err)
	return g
}

// plainAttention is a physical model without correction, near FlashAttention-3.
func plainAttention() *AttentionModel {
	fit := func(tiling Tiling, dims ...int64) *AttentionFit {
		f := &AttentionFit{Surface: Surface{{
			Axes: []Axis{{Feature: "seq", Knots: []float64{0, 14}}, {Feature: "bh", Knots: []float64{0, 14}}}, Values: make([]float64, 4),
		}}}
		for _, d := range dims {
			f.Heads = append(f.Heads, HeadFit{Dim: d, VDim: d, Tiling: tiling, Launch: 10, Block: 0.0125 * float64(d), Query: 1.5, KeyValue: 3, Sequence: 0.01})
		}
		return f
	}
	encoder := fit(Tiling{Rows: 192, Waves: true}, 64, 80)
	for i := range encoder.Heads { // no cache is written
		encoder.Heads[i].Query, encoder.Heads[i].KeyValue = 1, 1
	}
	return &AttentionModel{
		Causal:   map[unit.DType]*AttentionFit{unit.BF16: fit(Tiling{Rows: 128, Packed: true}, 64, 128, 256)},
		Decode:   map[unit.DType]*AttentionFit{unit.BF16: fit(Tiling{Rows: 128}, 64, 128)},
		Encoder:  encoder,
		Backward: BackwardRule{RateShare: 0.84, LatentRateShare: 0.82, RelErr: 0.1, Note: "2.5 times the FLOPs"},
	}
}

func drawAttention(t *rapid.T) Attention {
	kv := rapid.SampledFrom([]int64{1, 2, 4, 8}).Draw(t, "kv heads")
	q := rapid.Int64Range(1, 1<<17).Draw(t, "q")
	a := Attention{
		Batch: rapid.Int64Range(1, 16).Draw(t, "batch"),
		SeqQ:  q, SeqKV: q + rapid.Int64Range(0, 1<<17).Draw(t, "earlier keys"),
		KVHeads: kv, Heads: kv * rapid.SampledFrom([]int64{1, 2, 8, 16}).Draw(t, "group"),
		HeadDim: rapid.SampledFrom([]int64{64, 96, 128, 192, 256}).Draw(t, "dim"),
		Causal:  rapid.Bool().Draw(t, "causal"),
		DType:   unit.BF16,
	}
	a.Backward = rapid.Bool().Draw(t, "backward")
	return a
}

func TestAttentionGrowsWithWork(t *testing.T) {
	m, g := plainAttention(), h100(t)
	rapid.Check(t, func(t *rapid.T) {
		a := drawAttention(t)
		price := func(a Attention) float64 {
			e, err := m.Price(a, g)
			require.NoError(t, err)
			require.Positive(t, e.Time)
			require.Greater(t, e.RelErr, 0.0)
			require.NotEmpty(t, e.Source)
			return e.Time.Seconds()
		}
		us := price(a)
		for name, bigger := range map[string]Attention{
			"batch": with(a, func(a *Attention) { a.Batch *= 2 }),
			"heads": with(a, func(a *Attention) { a.Heads *= 2; a.KVHeads *= 2 }),
			"keys":  with(a, func(a *Attention) { a.SeqKV *= 2 }),
			"both":  with(a, func(a *Attention) { a.SeqKV += a.SeqQ; a.SeqQ *= 2 }),
		} {
			assert.GreaterOrEqual(t, price(bigger), us*0.999, name)
		}
		forward, backward := a, a
		forward.Backward, backward.Backward = false, true
		assert.Greater(t, price(backward), price(forward))
		windowed := with(a, func(a *Attention) { a.Window = rapid.Int64Range(1, 1<<18).Draw(t, "window") })
		assert.LessOrEqual(t, price(windowed), us*1.001)
		// no kernel beats the tensor cores
		assert.Less(t, a.FLOPs()/us, g.PeakTFLOPS[unit.BF16]*1e12)
	})
}

func with(a Attention, change func(*Attention)) Attention {
	change(&a)
	return a
}

// TestAttentionNeverPanics feeds shapes that make no sense.
func TestAttentionNeverPanics(t *testing.T) {
	m, g := plainAttention(), h100(t)
	rapid.Check(t, func(t *rapid.T) {
		n := func(name string) int64 {
			return rapid.OneOf(rapid.Int64(), rapid.Int64Range(-2, 300)).Draw(t, name)
		}
		a := Attention{
			Batch: n("batch"), SeqQ: n("q"), SeqKV: n("kv"), Heads: n("heads"), KVHeads: n("kv heads"),
			HeadDim: n("dim"), VDim: n("v dim"), Window: n("window"),
			Causal: rapid.Bool().Draw(t, "causal"), Backward: rapid.Bool().Draw(t, "backward"), Decode: rapid.Bool().Draw(t, "decode"),
			DType:   unit.DType(rapid.SampledFrom([]string{"bf16", "fp8", "fp32", "int3", ""}).Draw(t, "dtype")),
			KVDType: unit.DType(rapid.SampledFrom([]string{"bf16", "fp8", "fp32", "int3", ""}).Draw(t, "kv dtype")),
		}
		if e, err := m.Price(a, g); err == nil {
			require.Positive(t, e.Time)
			require.False(t, math.IsNaN(e.RelErr))
		}
	})
}

// TestBlocksMatchPairs: a tile computes whole blocks, so they cover the pairs
// that the mask leaves, and not much more where sequences are long.
func TestBlocksMatchPairs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := drawAttention(t)
		a.Window = rapid.SampledFrom([]int64{0, 1000, 4096}).Draw(t, "window")
		tiling := Tiling{Rows: rapid.SampledFrom([]int64{64, 128, 192, 256}).Draw(t, "rows")}
		blocks := tiling.blocks(a, 1) * 128 * 128
		pairs := a.Pairs() * float64(a.Batch*a.Heads)
		assert.GreaterOrEqual(t, blocks, pairs*0.97) // long sequences are sampled
		if a.SeqQ >= 8192 && a.Window == 0 {
			assert.LessOrEqual(t, blocks, pairs*1.1)
		}
	})
}

func TestAttentionSources(t *testing.T) {
	m, g := plainAttention(), h100(t)
	base := Attention{Batch: 1, SeqQ: 4096, SeqKV: 4096, Heads: 32, KVHeads: 8, HeadDim: 128, Causal: true, DType: unit.BF16, KVDType: unit.BF16}
	for name, c := range map[string]struct {
		kernel Attention
		source Source
	}{
		"measured shape":    {base, Interpolated},
		"longer sequence":   {with(base, func(a *Attention) { a.SeqQ, a.SeqKV = 1<<17, 1<<17 }), Roofline},
		"training":          {with(base, func(a *Attention) { a.KVDType = "" }), Derived},
		"backward":          {with(base, func(a *Attention) { a.Backward = true }), Derived},
		"window":            {with(base, func(a *Attention) { a.Window = 512 }), Derived},
		"context parallel":  {with(base, func(a *Attention) { a.SeqQ = 1024 }), Derived},
		"latent":            {with(base, func(a *Attention) { a.HeadDim, a.VDim = 192, 128 }), Derived},
		"other head dim":    {with(base, func(a *Attention) { a.HeadDim = 96 }), Derived},
		"fp8 queries":       {with(base, func(a *Attention) { a.DType, a.KVDType = unit.FP8, unit.FP8 }), Derived},
		"bidirectional":     {with(base, func(a *Attention) { a.Causal, a.HeadDim, a.KVHeads = false, 80, 32 }), Interpolated},
		"bidirectional 128": {with(base, func(a *Attention) { a.Causal = false }), Derived},
		"decode":            {with(base, func(a *Attention) { a.SeqQ, a.Decode = 1, true }), Interpolated},
	} {
		e, err := m.Price(c.kernel, g)
		require.NoError(t, err, name)
		assert.Equal(t, c.source, e.Source, name)
		assert.Equal(t, e.Source == Interpolated, e.Note == "", "%s: a rule is stated where there is one: %q", name, e.Note)
	}
	for name, kernel := range map[string]Attention{
		"backward through a cache": with(base, func(a *Attention) { a.Backward, a.KVDType = true, unit.FP8 }),
		"no fp8 cache":             with(base, func(a *Attention) { a.KVDType = unit.FP8 }),
		"decode of latent":         with(base, func(a *Attention) { a.SeqQ, a.Decode, a.VDim = 1, true, 64 }),
		"fp32":                     with(base, func(a *Attention) { a.DType, a.KVDType = unit.FP32, "" }),
		"more queries than keys":   with(base, func(a *Attention) { a.SeqQ = 8192 }),
	} {
		_, err := m.Price(kernel, g)
		assert.Error(t, err, name)
	}
}

// TestSurface: the weights of a lattice interpolate: they are positive, sum to
// one and reproduce a function that is linear in the features.
func TestSurface(t *testing.T) {
	l := Lattice{Axes: []Axis{{Feature: "x", Knots: []float64{0, 1, 4}}, {Feature: "y", Knots: []float64{-2, 2}}}}
	for _, x := range l.Axes[0].Knots {
		for _, y := range l.Axes[1].Knots {
			l.Values = append(l.Values, 3*x-y+1)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.Float64Range(-3, 8).Draw(t, "x")
		y := rapid.Float64Range(-5, 5).Draw(t, "y")
		sum := 0.0
		l.Corners(Coords{"x": x, "y": y}, func(_ int, w float64) {
			require.GreaterOrEqual(t, w, 0.0)
			sum += w
		})
		require.InDelta(t, 1, sum, 1e-12)
		inX, inY := max(0, min(4, x)), max(-2, min(2, y))
		require.InDelta(t, 3*inX-inY+1, Surface{l}.At(Coords{"x": x, "y": y}), 1e-9)
		_, by := Surface{l}.Beyond(Coords{"x": x, "y": y})
		far := max(-x, x-4, -2-y, y-2, 0)
		require.InDelta(t, max(0, far-0.05), by, 1e-9)
	})
}
