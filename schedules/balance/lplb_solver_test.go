package balance

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// ringOfEight is V-L1: eight ranks in a ring, two tokens each that stay.
func ringOfEight() *sharing {
	p := &sharing{of: namedTopologies["ring_8p"], fixed: []float64{2, 2, 2, 2, 2, 2, 2, 2}, unit: 8}
	for _, l := range []float64{8, 2, 5, 1, 7, 3, 6, 4} {
		p.dup = append(p.dup, []float64{l})
	}
	return p
}

// Claim 25: the exact optimum, and what five steps of LPLB's solver make of it
// (both computed from the code).
func TestLPLBVector(t *testing.T) {
	p := ringOfEight()
	exact, err := p.exact()
	require.NoError(t, err)
	optimum := slices.Max(p.loads(exact))
	require.InDelta(t, 6.6667, optimum, 0.00005)

	shares, ok := p.interiorPoint()
	require.True(t, ok)
	most := slices.Max(p.loads(shares))
	t.Log(shares, p.loads(shares))
	require.InDelta(t, 6.70, most, 0.005)
	require.LessOrEqual(t, most, optimum*1.01)
	require.InDeltaSlice(t, []float64{0.578, 0.9886, 0.5857, 0.0004, 0.3374, 0.2239, 0.3285, 0.33}, shares, 0.0005)
}

// The simplex optimum is the max-flow one: no set of ranks can hold less than
// what only it can hold.
func TestLPLBExactIsOptimal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := ringOfEight()
		for i := range p.fixed {
			p.fixed[i] = float64(rapid.IntRange(0, 50).Draw(t, "fixed"))
			p.dup[i][0] = float64(rapid.IntRange(1, 50).Draw(t, "dup"))
		}
		exact, err := p.exact()
		require.NoError(t, err)
		for _, x := range exact {
			require.True(t, x > -1e-9 && x < 1+1e-9)
		}
		bound := 0.0
		for set := 1; set < 1<<8; set++ {
			load, ranks := 0.0, 0
			for i := range 8 {
				if set>>i&1 == 0 {
					continue
				}
				ranks++
				load += p.fixed[i]
				if holder := (i + 7) % 8; set>>holder&1 != 0 { // rank i-1 has the copy of i's
					load += p.dup[i][0]
				}
			}
			bound = max(bound, load/float64(ranks))
		}
		require.InDelta(t, bound, slices.Max(p.loads(exact)), 1e-6)
	})
}
