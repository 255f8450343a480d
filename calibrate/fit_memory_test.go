package calibrate

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"orrery/sim/cost"
)

func TestMemoryHeldOut(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: takes long; the whole test runs without it")
	}
	for _, dir := range []string{"h100_sxm", "a100_sxm"} {
		t.Run(dir, func(t *testing.T) {
			g := sharedGPU(t, dir)
			samples, _ := readShared(t, dir, g, cost.FamMemory)
			train, held := split(samples[cost.FamMemory], byShape("report"))
			p := cost.NewProfile(g.Name, g, nil)
			require.NoError(t, fitMemory(train, g, p))
			e, err := judgeSamples(context.Background(), p, held)
			require.NoError(t, err)
			assert.Less(t, e[0].MedianAbsError, 0.04)
			assert.Less(t, e[0].P90AbsError, 0.1)
			assert.InDelta(t, 0.9, e[0].Coverage90, 0.05)
		})
	}
}

// The fit finds back an op that streams at a known share of the bandwidth.
func TestFitMemoryRecoversShare(t *testing.T) {
	g := profile(t, "h100").Hardware()
	op := cost.MemoryOp{Launch: 4, Share: 0.6, Cached: 0.9, Knee: 1}
	var samples []Sample
	for bytes := 1 << 16; bytes < 1<<31; bytes += bytes / 8 {
		k := cost.Memory{Op: "swiglu", Read: int64(bytes), Write: int64(bytes)}
		samples = append(samples, Sample{Kernel: k, DType: "half", Micros: op.Micros(k.HBMBytes(), g)})
	}
	p := cost.NewProfile(g.Name, g, nil)
	require.NoError(t, fitMemory(samples, g, p))
	assert.InEpsilon(t, op.Share, p.Memory.Ops["swiglu"].Share, 0.02)
	assert.InEpsilon(t, op.Launch, p.Memory.Ops["swiglu"].Launch, 0.1)
	e, err := p.Price(cost.Memory{Op: "gelu", Read: 1 << 28, Write: 1 << 28})
	require.NoError(t, err)
	assert.Equal(t, cost.Derived, e.Source)
	assert.Contains(t, e.Note, "swiglu")
}
