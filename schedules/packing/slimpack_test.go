package packing

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// A cut with ramps has the shortest longest unit, each held against its share, that any
// consecutive cut into as many units has: dynamic programming says the same, but for a
// token that a short unit takes whole.
func TestRampsAreCutEvenly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := &Job{DP: 1, PP: rapid.IntRange(2, 5).Draw(t, "pp"), CP: 1, Context: 40, Cost: Cost{TokenS: 1e-6, PairS: 1e-8, BackToken: 2, BackPair: 3},
			Lengths: rapid.SliceOfN(rapid.IntRange(1, 40), 1, 6).Draw(t, "lengths")}
		n, forward := rapid.IntRange(1, 8).Draw(t, "n"), rapid.Bool().Draw(t, "forward")
		order := descending(j.Lengths)
		c := cutter{job: j, unit: Unit{Width: 1}, forward: forward, quantum: 1,
			ramp: j.ramp(rapid.IntRange(0, 6).Draw(t, "up"), rapid.IntRange(0, 6).Draw(t, "down"))}
		units := c.even(order, n)
		require.LessOrEqual(t, len(units), n)
		time := func(u *Unit) float64 {
			f, b := j.Cost.lanes(u)
			if forward {
				return f
			}
			return b
		}
		longest := 0.0
		for i := range units {
			longest = max(longest, time(&units[i])/c.ramp.share(i))
		}
		var tokens []float64
		dearest, least := 0.0, 1.0
		for _, s := range order {
			for x := range j.Lengths[s] {
				if !forward {
					x = j.Lengths[s] - 1 - x
				}
				tokens = append(tokens, time(&Unit{Width: 1, Slices: []Slice{{Sample: s, X0: int32(x), X1: int32(x + 1)}}}))
				dearest = max(dearest, tokens[len(tokens)-1])
			}
		}
		best := make([]float64, len(tokens)+1) // of the first i tokens, into the units so far
		for i := range tokens {
			best[i+1] = math.Inf(1)
		}
		for k := range n {
			share := c.ramp.share(k)
			least = min(least, share)
			next := slices.Clone(best)
			for i := range next {
				sum := 0.0
				for from := i; from > 0; from-- {
					sum += tokens[from-1]
					next[i] = min(next[i], max(best[from-1], sum/share))
				}
			}
			best = next
		}
		require.GreaterOrEqual(t, longest, best[len(tokens)]*(1-1e-9))
		require.LessOrEqual(t, longest, best[len(tokens)]*1.0015+dearest/least)
	})
}

// Short samples in front, the rest longest first, and each once.
func TestFrontedKeepsSamples(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := anyJob(t)
		c := cutter{job: j, unit: Unit{Width: 1}, forward: true, quantum: 1}
		front := rapid.IntRange(0, frontSteps).Draw(t, "front")
		order := descending(j.Lengths)
		got := c.fronted(order, front)
		require.ElementsMatch(t, order, got)
		turn := 0
		for turn+1 < len(got) && j.Lengths[got[turn]] <= j.Lengths[got[turn+1]] {
			turn++
		}
		for i := turn; i+1 < len(got); i++ {
			require.GreaterOrEqual(t, j.Lengths[got[i]], j.Lengths[got[i+1]])
		}
	})
}

// Activations stay on the lane where the forward put them, so samples that a unit places
// whole are in the same unit backward.
func TestWholeSamplesStayOnTheirLanes(t *testing.T) {
	placed := 0
	rapid.Check(t, func(t *rapid.T) {
		j := anyJob(t)
		plan, err := SlimPack{NoSearch: true, NoAsymmetry: rapid.Bool().Draw(t, "shared")}.Pack(j)
		require.NoError(t, err)
		back := map[Slice]*Unit{}
		for i := range plan.Backward {
			for _, s := range plan.Backward[i].Slices {
				back[s] = &plan.Backward[i]
			}
		}
		for i := range plan.Forward {
			u := &plan.Forward[i]
			if u.Sharding == PerSample {
				continue
			}
			placed++
			for _, s := range u.Slices {
				v := back[s]
				require.NotNil(t, v)
				require.Equal(t, u.Sharding, v.Sharding)
				require.ElementsMatch(t, u.Slices, v.Slices)
			}
		}
	})
	require.Positive(t, placed)
}

// Stages have limits of their own; equal ones are one limit.
func TestStagesHaveLimits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := anyJob(t)
		memory := j.Memory()
		one, err := SlimPack{NoSearch: true}.Pack(j)
		require.NoError(t, err)
		bound := LowerBound(j)
		j.StageTokens = slices.Repeat([]float64{memory}, j.PP)
		same, err := SlimPack{NoSearch: true}.Pack(j)
		require.NoError(t, err)
		require.Equal(t, one, same)
		require.Equal(t, bound, LowerBound(j))

		for s := range j.StageTokens {
			j.StageTokens[s] = memory * rapid.Float64Range(0.5, 1.5).Draw(t, "room")
		}
		require.NoError(t, j.Check())
		plan, err := SlimPack{NoSearch: true}.Pack(j)
		require.NoError(t, err)
		m, err := Measure(j, plan)
		require.NoError(t, err)
		timing, err := Evaluate(j, plan)
		require.NoError(t, err)
		fits := true
		for s, peak := range timing.Peak {
			fits = fits && peak <= j.StageTokens[s]*(1+1e-9)
		}
		require.Equal(t, fits, m.Fits)
		if fits {
			require.GreaterOrEqual(t, m.Gap, -1e-9)
		}
	})
}

// A little more memory makes no other plan of it: the search falls off no cliff.
func TestMemoryHasNoCliff(t *testing.T) {
	j := stepOf(t, "web", 1<<22, 4, 4, 4, 131072)
	j.Cost.UnitS, j.Cost.UnitBackS = 1e-3, 3e-3 // as simulated units
	last := 0.0
	for _, tokens := range []float64{120000, 140000, 200000} {
		j.MemoryTokens = tokens
		step := measure(t, j, SlimPack{}).StepS
		if last > 0 {
			require.InEpsilon(t, last, step, 0.03, "%g tokens", tokens)
		}
		last = step
	}
}
