package numbers

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Formats keep what they can hold, and round to the nearest of it.
func TestBF16(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.Float64Range(-1e30, 1e30).Draw(t, "x")
		y := FromBF16(ToBF16(x))
		require.InDelta(t, x, y, math.Abs(x)/256+1e-38)
		require.Equal(t, y, FromBF16(ToBF16(y)))
	})
}

// All codes of fp8, in order of size, against the tables of the OCP specification.
func TestFP8(t *testing.T) {
	for code := byte(1); code < 0x7f; code++ {
		require.Greater(t, FromE4M3(code), FromE4M3(code-1))
		require.Equal(t, -FromE4M3(code), FromE4M3(code|0x80))
	}
	require.Equal(t, 448.0, FromE4M3(0x7e))
	require.Equal(t, 1.0, FromE4M3(0x38))
	require.Equal(t, math.Ldexp(1, -9), FromE4M3(1))
	for code := byte(1); code < 0x7c; code++ {
		require.Greater(t, FromE5M2(code), FromE5M2(code-1))
	}
	require.Equal(t, 57344.0, FromE5M2(0x7b))
	require.Equal(t, 1.0, FromE5M2(0x3c))
	require.True(t, math.IsInf(FromE5M2(0x7c), 1))
}

func TestPattern(t *testing.T) {
	draw := func(r *rand.Rand, out []byte) { RandomBits(r, out) }
	require.Len(t, Pattern(rand.New(rand.NewPCG(1, 1)), 800, draw), 800)
	long := Pattern(rand.New(rand.NewPCG(1, 1)), 1<<33, draw)
	require.Len(t, long, Period)
	require.NotEqual(t, long[:800], long[800:1600])
}
