package shapes

import (
	"testing"

	"github.com/stretchr/testify/require"

	"orrery/models"
)

// Each size once, positive, the most informative first, and every model of the
// catalogue among them.
func TestGEMMs(t *testing.T) {
	all := GEMMs()
	require.GreaterOrEqual(t, len(all), 300)
	seen := map[[3]int64]bool{}
	for i, g := range all {
		key := [3]int64{g.M, g.N, g.K}
		require.False(t, seen[key], "%v", g)
		seen[key] = true
		require.Positive(t, min(g.M, g.N, g.K))
		require.Positive(t, g.Weight)
		if i > 0 {
			require.LessOrEqual(t, g.Weight, all[i-1].Weight)
		}
	}
	for _, name := range models.Transformers() {
		m, err := models.Lookup(name)
		require.NoError(t, err)
		layers := linears(m, 1)
		require.NotEmpty(t, layers, name)
		for _, l := range layers {
			require.True(t, seen[[3]int64{8192, l.N, l.K}], "%s of %s", l.Role, name)
		}
	}
	require.Equal(t, all, GEMMs(), "the same every time")
}

func TestGrouped(t *testing.T) {
	all := Grouped()
	require.NotEmpty(t, all)
	skewed := 0
	for _, e := range all {
		sum := int64(0)
		rows := e.Rows()
		for _, r := range rows {
			require.Positive(t, r)
			sum += r
		}
		require.Equal(t, e.Tokens, sum)
		require.InDelta(t, e.MaxOverMean, float64(rows[0])*float64(e.Groups)/float64(e.Tokens), 0.1)
		if e.MaxOverMean > 1 {
			skewed++
		}
	}
	require.Positive(t, skewed)
}
