package packing

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The pieces of a share are the work that its unit is timed by: with tiles of one
// query, they add up to the pairs of a lane, and tokens to those of the unit.
func TestShareIsWhatUnitsAreTimedBy(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, _ := Llama8B(4)
		c.Tile, c.QueryKV, c.KVTokenS, c.FarKVTokenS = 1, 0, 0, 0
		u := Unit{Width: int32(rapid.SampledFrom([]int{1, 2, 4, 8}).Draw(t, "width")), Sharding: Sharding(rapid.IntRange(0, 2).Draw(t, "sharding"))}
		for i := range rapid.IntRange(1, 6).Draw(t, "slices") {
			x0 := 128 * rapid.IntRange(0, 8).Draw(t, "x0")
			u.Slices = append(u.Slices, Slice{Sample: int32(i), X0: int32(x0), X1: int32(x0 + 256*rapid.IntRange(1, 64).Draw(t, "q"))})
		}
		s := c.Share(&u)
		l := load{tokens: s.Tokens}
		for _, p := range s.Pieces {
			l.pairs += c.pairs(p.Y0, p.Y1)
		}
		f, b := l.times(&c, 0, int(u.Width))
		wantF, wantB := c.lanes(&u)
		require.InEpsilon(t, wantF, f, 1e-9)
		if u.Sharding == PerSample { // else the slowest backward may be another lane's
			require.InEpsilon(t, wantB, b, 1e-9)
		}
		require.LessOrEqual(t, b, wantB*(1+1e-9))
	})
}

// Where queries are fewer bytes than the keys of their prefix they travel, and the
// slice is in no piece.
func TestShareSendsQueriesOfLongPrefixes(t *testing.T) {
	c, _ := Llama8B(4)
	c.QueryKV = 4
	u := Unit{Width: 4, Slices: []Slice{{Sample: 0, X0: 65536, X1: 66560}, {Sample: 1, X0: 0, X1: 4096}}}
	s := c.Share(&u)
	require.Equal(t, u.Slices[:1], s.Queries)
	require.Len(t, s.Pieces, 2)
	require.InDelta(t, 4096*3/4, s.Foreign, 1e-9)
	require.InDelta(t, 5120.0/4, s.Tokens, 1e-9)
}
