package calibrate

import (
	"context"
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"orrery/sim/cost"
	"orrery/sim/hw"
	"orrery/sim/unit"
)

// A fit to four fifths of a table must predict the other fifth. Errors count
// rows of 20 us and more; training sizes are 2048 and more in m, n and k.
func TestGEMMHeldOut(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: takes long; the whole test runs without it")
	}
	for _, c := range []struct {
		dir, table            string
		median, p90, training float64
	}{
		{"h100_sxm", "gemm_bfloat16_us.csv", 0.03, 0.10, 0.03},
		{"h100_sxm", "gemm_fp8_us.csv", 0.07, 0.20, 0.07},
		{"gb200", "gemm_bfloat16_us.csv", 0.045, 0.12, 0.04},
		{"gb200", "gemm_fp8_block_us.csv", 0.07, 0.20, 0.05},
		{"gb200", "gemm_nvfp4_us.csv", 0.06, 0.20, 0.06},
	} {
		t.Run(c.dir+"/"+c.table, func(t *testing.T) {
			g := sharedGPU(t, c.dir)
			samples, _, err := readGEMM(filepath.Join(sharedKernels(t, c.dir), c.table), g)
			require.NoError(t, err)
			train, held := split(samples, byShape("report"))
			p, err := fitProfile(context.Background(), cost.NewProfile(g.Name, g, nil), train)
			require.NoError(t, err)
			var training []Sample
			for _, s := range held {
				if k := s.Kernel.(cost.GEMM); min(k.M, k.N, k.K) >= 2048 {
					training = append(training, s)
				}
			}
			all, err := judgeSamples(context.Background(), p, held)
			require.NoError(t, err)
			large, err := judgeSamples(context.Background(), p, training)
			require.NoError(t, err)
			assert.Less(t, all[0].MedianAbsError, c.median)
			assert.Less(t, all[0].P90AbsError, c.p90)
			assert.InDelta(t, 0.9, all[0].Coverage90, 0.04)
			assert.Less(t, large[0].MedianAbsError, c.training)
			t.Logf("held out: %d rows, median %.1f %%, p90 %.1f %%, %.1f %% inside; training sizes: %d rows, median %.1f %%, p90 %.1f %%",
				all[0].Count, 100*all[0].MedianAbsError, 100*all[0].P90AbsError, 100*all[0].Coverage90,
				large[0].Count, 100*large[0].MedianAbsError, 100*large[0].P90AbsError)
		})
	}
}

// truth is a GEMM model that tests measure instead of a GPU.
var truth = cost.GEMMModel{Launch: 3, Rate: 700, Fill: 150, Small: 0.05, Split: 1, Traffic: 1.3}

// synthetic measures random shapes on truth, with noise of the given width.
func synthetic(g *hw.GPU, rows int, noise float64) []Sample {
	rng := rand.New(rand.NewPCG(1, 2))
	size := func(low, high float64) int64 { return int64(math.Exp2(low + (high-low)*rng.Float64())) }
	var samples []Sample
	for range rows {
		k := cost.GEMM{M: size(0, 15), N: size(7, 16), K: size(7, 16), DType: unit.BF16}
		samples = append(samples, Sample{Kernel: k, DType: "bf16", Micros: truth.Micros(k, g) * math.Exp(noise*rng.NormFloat64())})
	}
	return samples
}

// A fit to samples of a known model finds it again through noise.
func TestFitGEMMRecoversModel(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: takes long; the whole test runs without it")
	}
	g, err := hw.LookupGPU("h100")
	require.NoError(t, err)
	p := cost.NewProfile(g.Name, g, nil)
	require.NoError(t, fitGEMM(synthetic(g, 3000, 0.03), g, p))
	m := p.GEMM[unit.BF16]
	assert.InEpsilon(t, truth.Rate, m.Rate, 0.05)
	assert.InEpsilon(t, truth.Launch, m.Launch, 0.3)
	exact := synthetic(g, 500, 0)
	judged, err := judgeSamples(context.Background(), p, exact)
	require.NoError(t, err)
	assert.Less(t, judged[0].MedianAbsError, 0.015)
}

// A few rows on a GPU like its base, but slower, in three layouts.
func TestFitGEMMOverBase(t *testing.T) {
	g, err := hw.LookupGPU("h100")
	require.NoError(t, err)
	base := cost.NewProfile("base", g, nil)
	own := truth
	base.GEMM = map[unit.DType]*cost.GEMMModel{unit.BF16: &own}
	other := *g
	other.Name = "other" // else p would be the base with other figures
	p := cost.NewProfile("other", &other, base)
	var samples []Sample
	for i, s := range synthetic(g, 600, 0) {
		k := s.Kernel.(cost.GEMM)
		k.Layout = []cost.Layout{cost.Fwd, cost.Dgrad, cost.Wgrad}[i%3]
		above := 1.2 * (s.Micros - 2.5) * []float64{1, 1.1, 1}[i%3]
		if k.Layout == cost.Wgrad {
			above += 0.8 * 6 * float64(k.M*k.N) / (g.HBMGBps * 1e3)
		}
		samples = append(samples, Sample{Kernel: k, DType: "bf16", Micros: 2.5 + above})
	}
	require.NoError(t, fitGEMM(samples, g, p))
	m := p.GEMM[unit.BF16]
	assert.True(t, m.OverBase)
	assert.InEpsilon(t, 1.1, m.Layouts[cost.Dgrad].Factor, 0.02)
	assert.InEpsilon(t, 1.0, m.Layouts[cost.Wgrad].Factor, 0.03)
	assert.InEpsilon(t, 0.8, m.Layouts[cost.Wgrad].Traffic, 0.1)
	judged, err := judgeSamples(context.Background(), p, samples)
	require.NoError(t, err)
	assert.Less(t, judged[0].MedianAbsError, 0.03)

	alone := cost.NewProfile("alone", g, nil)
	assert.ErrorContains(t, fitGEMM(samples, g, alone), "too few")
}
