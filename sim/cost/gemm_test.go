package cost_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/sim/cost"
	"orrery/sim/hw"
	"orrery/sim/unit"
)

func lookup(t require.TestingT, name string) *hw.GPU {
	g, err := hw.LookupGPU(name)
	require.NoError(t, err)
	return g
}

// plain is a physical model without correction.
func plain() *cost.GEMMModel {
	return &cost.GEMMModel{Launch: 2.5, Rate: 800, Fill: 150, Small: 0.05, Split: 1, Traffic: 1.2}
}

func drawGEMM(t *rapid.T) cost.GEMM {
	size := func(label string) int64 { return int64(math.Exp2(rapid.Float64Range(0, 17).Draw(t, label))) }
	return cost.GEMM{M: size("m"), N: size("n"), K: size("k"), DType: unit.BF16}
}

// More rows, columns or channels never make the physical model cheaper, nor do
// more copies; a batch costs no more than its products one after another.
func TestGEMMModelGrows(t *testing.T) {
	g := lookup(t, "h100")
	rapid.Check(t, func(t *rapid.T) {
		m, k := plain(), drawGEMM(t)
		us := m.Micros(k, g)
		require.Greater(t, us, m.Launch)
		for i := range 3 {
			more := k
			*[]*int64{&more.M, &more.N, &more.K}[i] += int64(rapid.IntRange(1, 1<<16).Draw(t, "more"))
			require.GreaterOrEqual(t, m.Micros(more, g), us*(1-1e-12))
		}
		batch := k
		batch.Batch = int64(rapid.IntRange(2, 64).Draw(t, "batch"))
		require.GreaterOrEqual(t, m.Micros(batch, g), us*(1-1e-12))
		require.LessOrEqual(t, m.Micros(batch, g), us*float64(batch.Batch)*(1+1e-12))
	})
}

// A full wave more of tiles costs a wave more; part of one as much.
func TestGEMMWaves(t *testing.T) {
	g := lookup(t, "h100") // 132 SMs
	m := plain()
	m.Small, m.Traffic = 10, 0 // 128 x 256 tiles only, no memory
	at := func(rows int64) float64 {
		return m.Micros(cost.GEMM{M: 128 * rows, N: 256, K: 8192, DType: unit.BF16}, g)
	}
	assert.InDelta(t, at(100), at(132), 1, "one wave")
	assert.InDelta(t, 2*(at(132)-m.Launch), at(133)-m.Launch, 1, "a second wave for one tile")
}

func TestLayouts(t *testing.T) {
	g := lookup(t, "h100")
	m := plain()
	price := func(l cost.Layout) cost.Estimate {
		e, err := m.Price(cost.GEMM{M: 8192, N: 8192, K: 4096, DType: unit.BF16, Layout: l}, g)
		require.NoError(t, err)
		return e
	}
	fwd, dgrad, wgrad := price(cost.Fwd), price(cost.Dgrad), price(cost.Wgrad)
	assert.Equal(t, fwd, price(""))
	assert.Equal(t, cost.Interpolated, fwd.Source)
	assert.Equal(t, cost.Derived, dgrad.Source)
	assert.Contains(t, wgrad.Note, "B200")
	assert.Greater(t, dgrad.Time, fwd.Time)
	extra := 0.81 * 6 * 8192 * 8192 / (g.HBMGBps * 1e3) // us, an fp32 gradient read and written
	assert.InDelta(t, 2.5+1.013*(fwd.Time.Micros()-2.5)+extra, wgrad.Time.Micros(), 0.01)

	m.Layouts = map[cost.Layout]cost.LayoutFit{cost.Dgrad: {Factor: 2}}
	assert.Equal(t, cost.Interpolated, price(cost.Dgrad).Source)
}

// Prices go on smoothly beyond the measured sizes, and say so.
func TestBeyondTheTable(t *testing.T) {
	g := lookup(t, "h100")
	m := plain()
	m.Surface = cost.Surface{{Axes: []cost.Axis{{Feature: "m", Knots: []float64{10, 12}}}, Values: []float64{0, 0.1}}}
	price := func(rows int64) cost.Estimate {
		e, err := m.Price(cost.GEMM{M: rows, N: 8192, K: 8192, DType: unit.BF16}, g)
		require.NoError(t, err)
		return e
	}
	edge, far := price(4096), price(65536)
	assert.Equal(t, cost.Interpolated, edge.Source)
	assert.Equal(t, cost.Roofline, far.Source)
	assert.Contains(t, far.Note, "m by a factor 1")
	assert.Greater(t, far.RelErr, edge.RelErr)
	assert.InEpsilon(t, 16*edge.Time.Micros(), far.Time.Micros(), 0.03)
}
