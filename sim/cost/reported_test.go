package cost

import (
	"testing"

	"github.com/stretchr/testify/require"

	"orrery/sim/hw"
	"orrery/sim/unit"
)

// A reported time scales with NVLink where it says so, and says where it is from.
func TestReported(t *testing.T) {
	gb200, err := hw.LookupGPU("gb200")
	require.NoError(t, err)
	h100, err := hw.LookupGPU("h100")
	require.NoError(t, err)
	k := Reported{Op: "expert_weights", Latency: 8 * unit.Microsecond, Bytes: 733e6, GBps: 733, NVLinkGBps: 900, Source: "paper"}
	e, err := k.price(gb200)
	require.NoError(t, err)
	require.Equal(t, 1008*unit.Microsecond, e.Time)
	require.Equal(t, Published, e.Source)
	require.Equal(t, "paper", e.Note)
	e, err = k.price(h100) // half the links
	require.NoError(t, err)
	require.Equal(t, 2008*unit.Microsecond, e.Time)
	k.NVLinkGBps = 0
	e, err = k.price(h100)
	require.NoError(t, err)
	require.Equal(t, 1008*unit.Microsecond, e.Time)
	k.GBps = 0
	_, err = k.price(h100)
	require.ErrorContains(t, err, "above 0")
}

// The tiles of uneven groups are what a grouped GEMM is priced by; an exchange is
// priced by its busiest rank.
func TestUnevenLoads(t *testing.T) {
	gb200, err := hw.LookupGPU("gb200")
	require.NoError(t, err)
	even := GroupedGEMM{Groups: 4, Tokens: 4096, N: 1024, K: 512, DType: unit.BF16, Layout: Fwd}
	tiled := even
	tiled.Tiles = 32
	require.Equal(t, even.Terms(gb200), tiled.Terms(gb200))
	tiled.Tiles = 35
	require.NoError(t, tiled.valid())
	require.Greater(t, tiled.Terms(gb200).TileTFLOP, even.Terms(gb200).TileTFLOP)
	for _, tiles := range []int64{31, 38} { // fewer than the rows fill, more than partial tiles explain
		tiled.Tiles = tiles
		require.ErrorContains(t, tiled.valid(), "do not fill")
	}
	x := ExpertExchange{Op: "dispatch", Backend: "hybridep", Tokens: 8192, Hidden: 4096, TopK: 8, Experts: 128, Group: Group{Ranks: 64, PerDomain: 64}, DType: unit.BF16}
	hot := x
	hot.Busiest = 2.5
	require.InEpsilon(t, 2.5*x.Traffic(), hot.Traffic(), 1e-12)
	hot.Busiest = -1
	require.ErrorContains(t, hot.check(), "busiest")
}
