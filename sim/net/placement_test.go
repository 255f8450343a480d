package net

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func drawDims(t *rapid.T) []Dim {
	names := rapid.Permutation([]string{"tp", "cp", "ep", "dp", "pp"}).Draw(t, "order")
	var dims []Dim
	for _, n := range names[:rapid.IntRange(1, 5).Draw(t, "dimensions")] {
		dims = append(dims, Dim{n, rapid.IntRange(1, 5).Draw(t, n)})
	}
	return dims
}

func TestGridIsABijection(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dims := drawDims(t)
		g, err := NewGrid(dims)
		require.NoError(t, err)
		for r := range g.Ranks() {
			c := g.Coords(r)
			require.Equal(t, r, g.RankAt(c))
			if r+1 < g.Ranks() && c[0]+1 < dims[0].Size {
				require.Equal(t, c[0]+1, g.Coords(r + 1)[0], "the first dimension runs fastest")
			}
		}
	})
}

// The groups of a dimension, or of several, share out the ranks.
func TestGridGroupsPartitionTheRanks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g, err := NewGrid(drawDims(t))
		require.NoError(t, err)
		joint := rapid.Permutation(index(len(g.Dims()))).Draw(t, "dims")
		joint = joint[:rapid.IntRange(0, len(joint)).Draw(t, "of them")]
		size := 1
		for _, d := range joint {
			size *= g.Dims()[d].Size
		}
		times := make([]int, g.Ranks())
		for r := range g.Ranks() {
			group := g.JointGroup(r, joint...)
			require.Len(t, group, size)
			require.True(t, slices.IsSorted(group))
			require.Contains(t, group, r)
			require.Equal(t, group, g.JointGroup(group[0], joint...), "members agree")
			for d, c := range g.Coords(r) {
				if !slices.Contains(joint, d) {
					require.Equal(t, c, g.Coords(group[0])[d])
				}
			}
			if group[0] == r {
				for _, m := range group {
					times[m]++
				}
			}
		}
		for r, n := range times {
			require.Equal(t, 1, n, "rank %d", r)
		}
		require.Equal(t, g.JointGroup(0, 0), g.GroupOf(0, 0))
	})
}

func TestGridOrderKeepsGroupSizes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dims := drawDims(t)
		g, err := NewGrid(dims)
		require.NoError(t, err)
		h, err := NewGrid(rapid.Permutation(dims).Draw(t, "other order"))
		require.NoError(t, err)
		require.Equal(t, g.Ranks(), h.Ranks())
		for i, d := range dims {
			j := h.Index(d.Name)
			require.Len(t, h.GroupOf(0, j), len(g.GroupOf(0, i)))
		}
	})
}

// Shape against counting by hand.
func TestShapeCounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g, err := NewGrid(drawDims(t))
		require.NoError(t, err)
		dim := rapid.IntRange(0, len(g.Dims())-1).Draw(t, "dim")
		domain := rapid.IntRange(1, 80).Draw(t, "domain")
		seen := map[int]bool{}
		least, most := math.MaxInt, 0
		for r := range g.Ranks() {
			count := 0
			for _, m := range g.GroupOf(r, dim) {
				if m/domain == r/domain {
					count++
				}
			}
			seen[count] = true
			least, most = min(least, count), max(most, count)
		}
		per, uniform := g.Shape(dim, domain)
		require.Equal(t, least, per)
		require.Equal(t, len(seen) == 1, uniform)
		require.LessOrEqual(t, per, g.Dims()[dim].Size)
	})
}

func TestShapeExamples(t *testing.T) {
	g, err := NewGrid([]Dim{{"tp", 4}, {"cp", 2}, {"dp", 8}, {"pp", 4}})
	require.NoError(t, err)
	for _, c := range []struct {
		dim       string
		domain    int
		perDomain int
	}{
		{"tp", 8, 4}, {"cp", 8, 2}, {"dp", 8, 1}, {"pp", 8, 1}, {"dp", 64, 8}, {"pp", 128, 2}, {"tp", 2, 2},
	} {
		per, uniform := g.Shape(g.Index(c.dim), c.domain)
		require.Equal(t, c.perDomain, per, "%+v", c)
		require.True(t, uniform, "%+v", c)
	}
	per, uniform := g.JointShape(16, g.Index("cp"), g.Index("dp"))
	require.Equal(t, 4, per)
	require.True(t, uniform)

	// Six ranks a group on nodes of four: 4+2, 2+4.
	g, err = NewGrid([]Dim{{"tp", 6}, {"dp", 2}})
	require.NoError(t, err)
	per, uniform = g.Shape(0, 4)
	require.Equal(t, 2, per)
	require.False(t, uniform)
}

// Experts share the pipeline stages of the dense layers, whatever folds inside.
func TestExpertGridKeepsStages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		etp := rapid.IntRange(1, 4).Draw(t, "etp")
		ep := rapid.IntRange(1, 8).Draw(t, "ep")
		edp := rapid.IntRange(1, 4).Draw(t, "edp")
		pp := rapid.IntRange(1, 4).Draw(t, "pp")
		world := etp * ep * edp * pp
		e, err := NewExpertGrid(world, etp, ep, pp)
		require.NoError(t, err)
		require.Equal(t, []Dim{{"etp", etp}, {"ep", ep}, {"edp", edp}, {"pp", pp}}, e.Dims())
		dense, err := NewGrid([]Dim{{"dp", world / pp}, {"pp", pp}})
		require.NoError(t, err)
		for r := range world {
			require.Equal(t, dense.Coords(r)[1], e.Coords(r)[3])
			require.Equal(t, dense.GroupOf(r, 1), e.GroupOf(r, 3))
		}
	})
	_, err := NewExpertGrid(12, 1, 8, 1)
	require.ErrorContains(t, err, "does not divide")
	_, err = NewExpertGrid(0, 1, 1, 1)
	require.Error(t, err)
}

func TestGridErrors(t *testing.T) {
	for _, dims := range [][]Dim{
		{{"tp", 0}}, {{"tp", 2}, {"tp", 2}}, {{"", 2}}, {{"a", 1 << 20}, {"b", 1 << 20}}, {{"a", math.MaxInt}, {"b", 2}},
	} {
		_, err := NewGrid(dims)
		require.Error(t, err, "%v", dims)
	}
	g, err := NewGrid([]Dim{{"tp", 2}})
	require.NoError(t, err)
	require.Nil(t, g.Coords(2))
	require.Nil(t, g.Coords(-1))
	require.Equal(t, -1, g.RankAt([]int{2}))
	require.Equal(t, -1, g.RankAt(nil))
	require.Equal(t, -1, g.Index("pp"))
	require.Nil(t, g.GroupOf(0, 1))
	require.Nil(t, g.GroupOf(5, 0))
	require.Nil(t, g.JointGroup(0, 0, 0))
	per, uniform := g.Shape(0, 0)
	require.Zero(t, per)
	require.False(t, uniform)
}
