package cost_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"orrery/calibrate"
	"orrery/sim/cost"
	"orrery/sim/hw"
	"orrery/sim/unit"
)

// A GPU whose figures hardly differ from the catalogue's has prices that hardly
// do, whatever rule prices a kernel there: its own fit, a published share of the
// bandwidth, or the GPU that it is derived from. More of a figure is never slower.
func TestVariantsAreContinuous(t *testing.T) {
	node := cost.Group{Ranks: 8, PerDomain: 8}
	kernels := []cost.Kernel{
		cost.GEMM{M: 8192, N: 8192, K: 4096, DType: unit.BF16}, cost.GEMM{M: 4096, N: 14336, K: 4096, DType: unit.FP8}, cost.GEMM{M: 16, N: 4096, K: 4096, DType: unit.BF16},
		cost.Attention{Batch: 1, SeqQ: 8192, SeqKV: 8192, Heads: 32, KVHeads: 8, HeadDim: 128, Causal: true, DType: unit.BF16},
		cost.Attention{Batch: 1, SeqQ: 8192, SeqKV: 8192, Heads: 32, KVHeads: 8, HeadDim: 128, Causal: true, Backward: true, DType: unit.BF16},
		cost.Memory{Op: "rmsnorm", Read: 64 << 20, Write: 64 << 20}, cost.Memory{Op: "adam", Read: 512 << 20, Write: 512 << 20},
		cost.Memory{Op: "cast_fp8", Read: 64 << 20, Write: 32 << 20}, cost.Memory{Op: "embedding", Read: 64 << 20, Write: 64 << 20},
		cost.Collective{Kind: cost.AllGather, Bytes: 64 << 20, Group: node}, cost.Collective{Kind: cost.AllReduce, Bytes: 64 << 20, Group: cost.Group{Ranks: 64, PerDomain: 8}, NICGBps: 50},
		cost.P2P{Bytes: 64 << 20}, cost.HostCopy{Bytes: 64 << 20, GBps: 64},
	}
	for _, name := range hw.GPUNames() {
		profile, err := calibrate.Profile(name)
		require.NoError(t, err)
		gpu := lookup(t, name)
		base := profile.On(gpu)
		require.Same(t, base, base.On(gpu))
		for figure, more := range map[string]func(*hw.GPU, float64){
			"HBM":    func(g *hw.GPU, f float64) { g.HBMGBps *= f },
			"NVLink": func(g *hw.GPU, f float64) { g.NVLinkGBps *= f },
			"FLOPs": func(g *hw.GPU, f float64) {
				peaks := map[unit.DType]float64{}
				for d, p := range g.PeakTFLOPS {
					peaks[d] = p * f
				}
				g.PeakTFLOPS = peaks
			},
		} {
			for _, k := range kernels {
				want, err := base.Price(k)
				if err != nil {
					continue // not every GPU has every kernel
				}
				factor := base.Sustained(k)
				at := func(f float64) float64 {
					g := *gpu
					more(&g, f)
					p := base.On(&g)
					require.NotSame(t, base, p)
					e, err := p.Price(k)
					require.NoError(t, err, "%s of %s", k, name)
					require.InDelta(t, factor, p.Sustained(k), 0, "%s of %s", k, name)
					return e.Time.Seconds()
				}
				require.InEpsilon(t, want.Time.Seconds(), at(1+1e-9), 1e-6, "%s of %s with more %s", k, name, figure)
				require.LessOrEqual(t, at(1.5), want.Time.Seconds()*(1+1e-6), "%s of %s with more %s", k, name, figure)
			}
		}
	}
}
