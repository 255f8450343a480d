package balance

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The token map sends exactly as many tokens to each copy as the split says, with
// and without interleaving.
func TestAssign(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		counts := make([]float64, rapid.IntRange(1, 6).Draw(t, "copies"))
		n := 0
		for j := range counts {
			c := rapid.IntRange(0, 50).Draw(t, "count")
			counts[j], n = float64(c), n+c
		}
		interleave, expert := rapid.Bool().Draw(t, "interleave"), rapid.IntRange(0, 255).Draw(t, "expert")
		got := make([]float64, len(counts))
		for i := range n {
			got[Assign(counts, expert, i, n, interleave)]++
		}
		require.Equal(t, counts, got)
	})
}

// Interleaving spreads neighbours: of two equal copies, runs are short.
func TestAssignInterleaves(t *testing.T) {
	longest := func(interleave bool) int {
		run, most := 0, 0
		for i := range 1000 {
			if i > 0 && Assign([]float64{500, 500}, 3, i, 1000, interleave) == Assign([]float64{500, 500}, 3, i-1, 1000, interleave) {
				run++
			} else {
				run = 1
			}
			most = max(most, run)
		}
		return most
	}
	require.Equal(t, 500, longest(false))
	require.LessOrEqual(t, longest(true), 2)
}

func TestStride(t *testing.T) {
	for n := 2; n < 2000; n++ {
		require.Equal(t, 1, gcd(stride(n), n), "%d", n)
		require.True(t, stride(n) >= 1 && stride(n) <= max(n-1, 1), "%d: %d", n, stride(n))
	}
}
