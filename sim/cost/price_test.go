package cost_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/calibrate"
	"orrery/sim/cost"
	"orrery/sim/unit"
)

func TestRoofline(t *testing.T) {
	g := lookup(t, "h100")
	seconds := func(k cost.Kernel) float64 {
		e, err := cost.RooflineOf(k, g)
		require.NoError(t, err)
		assert.Equal(t, cost.Roofline, e.Source)
		return e.Time.Seconds()
	}
	assert.InEpsilon(t, 2*8192*8192*8192/989.4e12, seconds(cost.GEMM{M: 8192, N: 8192, K: 8192, DType: unit.BF16}), 1e-6)
	assert.InEpsilon(t, 2*8192*8192/3352e9, seconds(cost.GEMM{M: 1, N: 8192, K: 8192, DType: unit.BF16}), 1e-3)
	assert.InEpsilon(t, 2e9/3352e9, seconds(cost.Memory{Op: "copy", Read: 1e9, Write: 1e9}), 1e-6)
	eight := cost.Group{Ranks: 8, PerDomain: 8}
	assert.InEpsilon(t, 1e9*7/8/450e9, seconds(cost.Collective{Kind: cost.AllReduce, Bytes: 1e9, Group: eight}), 1e-6)
	two := cost.Group{Ranks: 16, PerDomain: 8}
	gather := cost.Collective{Kind: cost.AllGather, Bytes: 1e9, Group: two, NICGBps: 50}
	assert.InEpsilon(t, 1e9*7/8/450e9, seconds(gather), 1e-6, "NVLink of 450 GB/s, not 8 NICs for half of it")
	gather.NICGBps = 12.5
	assert.InEpsilon(t, 1e9/2/100e9, seconds(gather), 1e-6, "8 NICs of 12.5 GB/s")
	gather.Kind = cost.AllToAll
	assert.InEpsilon(t, 1e9/2/12.5e9, seconds(gather), 1e-6)
	assert.InEpsilon(t, 1e9/450e9, seconds(cost.P2P{Bytes: 1e9}), 1e-6)
	_, err := cost.RooflineOf(cost.GEMM{M: 1, N: 1, K: 1, DType: unit.NVFP4}, g)
	assert.Error(t, err, "no nvfp4 on Hopper")
	_, err = cost.RooflineOf(nil, g)
	assert.Error(t, err)
}

// withGEMM is a profile of the GPU with one fitted format.
func withGEMM(t require.TestingT, gpu string, d unit.DType) *cost.Profile {
	p := cost.NewProfile(gpu, lookup(t, gpu), nil)
	m := plain()
	m.Rate = 0.8 * p.Hardware().PeakTFLOPS[d]
	p.GEMM = map[unit.DType]*cost.GEMMModel{d: m}
	return p
}

// On another GPU a kernel above its launch scales with the roofline.
func TestDerivingScalesWithRoofline(t *testing.T) {
	base := withGEMM(t, "h100", unit.BF16)
	for _, name := range []string{"h800", "h200", "a100", "gb200"} {
		to := base.On(lookup(t, name))
		rapid.Check(t, func(t *rapid.T) {
			k := drawGEMM(t)
			was, err := base.Price(k)
			require.NoError(t, err)
			is, err := to.Price(k)
			require.NoError(t, err)
			a, err := cost.RooflineOf(k, base.Hardware())
			require.NoError(t, err)
			b, err := cost.RooflineOf(k, to.Hardware())
			require.NoError(t, err)
			floor := min(2.5, was.Time.Micros())
			want := floor + (was.Time.Micros()-floor)*b.Time.Seconds()/a.Time.Seconds()
			require.InEpsilon(t, want, is.Time.Micros(), 1e-4)
			require.Greater(t, is.RelErr, was.RelErr)
			require.Equal(t, cost.Derived, is.Source)
		})
	}
}

func TestFormatsDerived(t *testing.T) {
	p := withGEMM(t, "gb200", unit.FP8)
	k := cost.GEMM{M: 8192, N: 8192, K: 8192, DType: unit.FP8}
	fp8, err := p.Price(k)
	require.NoError(t, err)
	k.DType = unit.MXFP8
	mx, err := p.Price(k)
	require.NoError(t, err)
	assert.InEpsilon(t, fp8.Time.Micros(), mx.Time.Micros(), 0.01)
	assert.Equal(t, cost.Derived, mx.Source)
	assert.Contains(t, mx.Note, "mxfp8")
	k.DType = unit.BF16
	_, err = p.Price(k)
	var missing *cost.MissingError
	assert.ErrorAs(t, err, &missing)

	hopper := withGEMM(t, "h100", unit.FP8)
	k.DType = unit.MXFP8
	_, err = hopper.Price(k)
	assert.ErrorAs(t, err, &missing)
}

func TestFamilies(t *testing.T) {
	p := withGEMM(t, "h100", unit.BF16)
	assert.Equal(t, []cost.Family{cost.FamGEMM}, p.Families())
	assert.Nil(t, p.Base())
	assert.Equal(t, p, p.On(lookup(t, "h800")).Base())
	_, err := p.Price(cost.Collective{Kind: cost.AllReduce, Bytes: 1 << 20, Group: cost.Group{Ranks: 8, PerDomain: 8}})
	var missing *cost.MissingError
	assert.ErrorAs(t, err, &missing)
}

// An op's rate falls from the cache's to the memory's as it outgrows the cache.
func TestMemoryOp(t *testing.T) {
	g := lookup(t, "h100")
	op := cost.MemoryOp{Launch: 2, Share: 0.8, Cached: 1.6, Knee: 1}
	rate := func(bytes float64) float64 { return bytes / (op.Micros(bytes, g) - op.Launch) / (g.HBMGBps * 1e3) }
	assert.InDelta(t, 1.6, rate(1<<20), 0.01)
	assert.InDelta(t, 0.8, rate(1<<32), 0.01)
	assert.Equal(t, 2.0, op.Micros(0, g))
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.Float64Range(0, 1e10).Draw(t, "a")
		b := a + rapid.Float64Range(0, 1e9).Draw(t, "more")
		require.GreaterOrEqual(t, op.Micros(b, g), op.Micros(a, g))
	})
}

// Of a collective only what is above its latency follows the links.
func TestDerivedCollectivesFollowTheLinks(t *testing.T) {
	h800, err := calibrate.Profile("h800")
	require.NoError(t, err)
	h100 := h800.Base()
	micros := func(p *cost.Profile, k cost.Kernel) float64 {
		e, err := p.Price(k)
		require.NoError(t, err)
		return e.Time.Micros()
	}
	in := cost.Collective{Kind: cost.AllGather, Bytes: 1 << 30, Group: cost.Group{Ranks: 8, PerDomain: 8}}
	assert.InEpsilon(t, 450.0/200, micros(h800, in)/micros(h100, in), 0.02)
	in.Bytes = 512
	assert.InEpsilon(t, 1, micros(h800, in)/micros(h100, in), 0.02)
	over := cost.Collective{Kind: cost.AllGather, Bytes: 1 << 30, Group: cost.Group{Ranks: 16, PerDomain: 8}, NICGBps: 50}
	assert.InEpsilon(t, 1, micros(h800, over)/micros(h100, over), 1e-6)
	assert.InEpsilon(t, 450.0/200, micros(h800, cost.P2P{Bytes: 1 << 30})/micros(h100, cost.P2P{Bytes: 1 << 30}), 0.02)
}
