package packing

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// anyCost draws costs of every regime: attention or linear layers dear, tiles,
// exchange that hides and that does not, fixed times or none.
func anyCost(t *rapid.T) Cost {
	oneOf := func(name string, x ...float64) float64 { return rapid.SampledFrom(x).Draw(t, name) }
	return Cost{
		TokenS: oneOf("token", 1e-7, 1e-6), PairS: oneOf("pair", 0, 1e-10, 1e-8), QueryPairs: oneOf("query", 0, 32),
		Tile: rapid.SampledFrom([]int{0, 16, 128}).Draw(t, "tile"), BackToken: oneOf("back_token", 1, 2), BackPair: oneOf("back_pair", 2, 3.5),
		LastTokenS: oneOf("last", 0, 1e-7), UnitS: oneOf("unit", 0, 1e-5), UnitBackS: oneOf("unit_back", 0, 2e-5),
		HopS: oneOf("hop", 0, 1e-5), HopTokenS: oneOf("hop_token", 0, 1e-8),
		KVTokenS: oneOf("kv", 0, 1e-8, 2e-6), FarKVTokenS: oneOf("far", 0, 1e-7), QueryKV: oneOf("query_kv", 0, 1, 4),
		Node: rapid.SampledFrom([]int{0, 2, 8}).Draw(t, "node"),
	}
}

// anyJob draws a job: short samples, a few long ones, few or many lanes.
func anyJob(t *rapid.T) *Job {
	context := rapid.SampledFrom([]int{1, 7, 256, 4096}).Draw(t, "context")
	length := rapid.OneOf(rapid.IntRange(1, context), rapid.IntRange(1, max(1, context/16)), rapid.Just(context))
	j := &Job{
		DP: rapid.IntRange(1, 5).Draw(t, "dp"), PP: rapid.IntRange(1, 5).Draw(t, "pp"), CP: rapid.IntRange(1, 4).Draw(t, "cp"),
		Context: context, Lengths: rapid.SliceOfN(length, 1, 60).Draw(t, "lengths"), Cost: anyCost(t),
		Footprint: Footprint{Activation: 100, KV: rapid.SampledFrom([]float64{0, 3, 100}).Draw(t, "kv_bytes")},
		Units:     rapid.SampledFrom([]int{0, 0, 64}).Draw(t, "units"),
	}
	require.NoError(t, j.Check())
	return j
}

// Every packer, on any job: each token exactly once in the forward and in the
// backward, in a legal order that does not deadlock, no faster than the bound, and
// the same plan when asked again.
func TestConformance(t *testing.T) {
	for _, p := range All() {
		t.Run(p.Name(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				j := anyJob(t)
				lengths := slices.Clone(j.Lengths)
				plan, err := p.Pack(j)
				require.NoError(t, err)
				require.Equal(t, lengths, j.Lengths, "the job is not the packer's to change")
				m, err := Measure(j, plan)
				require.NoError(t, err)
				if m.Fits {
					require.GreaterOrEqual(t, m.Gap, -1e-9)
				}
				again, err := p.Pack(j)
				require.NoError(t, err)
				require.Equal(t, plan, again)
			})
		})
	}
}

// With the memory that 1F1B over units of the context needs, whole samples fit in
// any order.
func TestWholeSamplesFit(t *testing.T) {
	for _, name := range []string{"padding", "sorted", "length_grouped", "greedy", "ffd", "bfd", "fixed", "wlb_llm", "dcp", "slimpack"} {
		t.Run(name, func(t *testing.T) {
			p, err := Lookup(name)
			require.NoError(t, err)
			rapid.Check(t, func(t *rapid.T) {
				j := anyJob(t)
				plan, err := p.Pack(j)
				require.NoError(t, err)
				m, err := Measure(j, plan)
				require.NoError(t, err)
				require.True(t, m.Fits, "%g tokens, the limit is %g", m.PeakTokens, j.Memory())
			})
		})
	}
}

// SlimPack can express whole samples in rows and slices of rows, so it is never
// slower than those by more than 1 %, where they fit memory.
func TestSlimPackIsNotSlowerThanWhatItCanExpress(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := anyJob(t)
		plan, err := SlimPack{}.Pack(j)
		require.NoError(t, err)
		slim, err := Measure(j, plan)
		require.NoError(t, err)
		for _, name := range []string{"padding", "sorted", "length_grouped", "greedy", "ffd", "bfd", "fixed", "seq1f1b"} {
			p, err := Lookup(name)
			require.NoError(t, err)
			other, err := p.Pack(j)
			require.NoError(t, err)
			m, err := Measure(j, other)
			require.NoError(t, err)
			if m.Fits {
				require.LessOrEqual(t, slim.StepS, 1.01*m.StepS, name)
			}
		}
	})
}
