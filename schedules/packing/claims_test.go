package packing

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// stepOf is a step of so many tokens of a distribution.
func stepOf(t testing.TB, dist string, tokens, dp, pp, cp, context int) *Job {
	t.Helper()
	j := testJob(t, dist, 65536, dp, pp, cp, context, 1)
	step := Steps(j.Lengths, tokens)[0]
	j.Lengths = j.Lengths[:len(step)]
	return j
}

func measure(t testing.TB, j *Job, p Packer) *Metrics {
	t.Helper()
	plan, err := p.Pack(j)
	require.NoError(t, err)
	m, err := Measure(j, plan)
	require.NoError(t, err)
	require.True(t, m.Fits)
	return m
}

// Claim K1 (arXiv:2509.26246): over fixed packing with 1F1B the gain grows with the
// tail of the lengths and with the context, is above 1.5 for a long tail at 256K and
// about 1.1 where lengths differ little. 16 microbatches a replica.
func TestGainGrowsWithTheTail(t *testing.T) {
	var gaps []float64
	gain := func(dist string, context, rows int) float64 {
		j := stepOf(t, dist, rows*context, 2, 4, 4, context)
		slim := measure(t, j, SlimPack{})
		gaps = append(gaps, slim.Gap)
		return measure(t, j, fixed{}).StepS / slim.StepS
	}
	last := 0.0
	for _, context := range []int{32768, 131072, 262144} {
		same, long := gain("fixed", context, 32), gain("web", context, 32)
		require.Greater(t, long, same)
		require.Greater(t, long, last, "at %d", context)
		require.Less(t, same, 1.2, "at %d: no tail, only bubbles to gain", context)
		last = long
	}
	require.Greater(t, last, 1.5)
	require.Greater(t, last, gain("wikipedia", 262144, 32), "Wikipedia has no samples above 32K")
	require.InDelta(t, 1.1, gain("wikipedia", 32768, 128), 0.1, "samples that are short beside the rows, and many rows")
	mean := 0.0
	for _, g := range gaps {
		mean += g / float64(len(gaps))
	}
	require.Less(t, mean, 0.1, "gaps to the bound: %v", gaps)
}

// Claim K3: backward over forward lies between the ratios of linear layers and of
// attention, so units that share the forward's partition and are equal forward are
// not equal backward, by up to the quotient of the ratios; a partition of their own
// is never worse.
func TestAsymmetricPartition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := &Job{DP: 1, PP: 1, CP: 1, Context: 1 << 17, Cost: Cost{TokenS: 1e-6, PairS: 1e-10, BackToken: 2, BackPair: 2.5},
			Lengths: rapid.SliceOfN(rapid.IntRange(1, 1<<17), 1, 20).Draw(t, "lengths")}
		n := rapid.IntRange(1, 12).Draw(t, "units")
		for _, l := range j.Lengths {
			f, b := j.Cost.Sample(l)
			require.GreaterOrEqual(t, b, 2*f)
			require.LessOrEqual(t, b, 2.5*f)
		}
		order := descending(j.Lengths)
		cut := func(forward bool) []Unit {
			c := cutter{job: j, unit: Unit{Width: 1}, forward: forward, quantum: 1}
			return c.even(order, n)
		}
		most := func(units []Unit) (peak, mean float64) {
			for i := range units {
				_, b := j.Cost.lanes(&units[i])
				peak, mean = max(peak, b), mean+b/float64(n)
			}
			return peak, mean
		}
		forward := cut(true)
		shared, mean := most(j.mirrored(forward))
		own, _ := most(cut(false))
		token := j.Cost.BackToken*j.Cost.TokenS + j.Cost.BackPair*j.Cost.PairS*float64(j.Lengths[order[0]])
		require.LessOrEqual(t, own, shared*1.002+token, "bisection ends at a thousandth, and cuts are between tokens")
		require.LessOrEqual(t, shared, 1.25*1.002*mean+token)
	})
	// And so for steps, as far as the search finds it.
	for _, dist := range []string{"web", "code"} {
		j := stepOf(t, dist, 1<<21, 2, 4, 2, 65536)
		require.LessOrEqual(t, measure(t, j, SlimPack{}).StepS, 1.01*measure(t, j, SlimPack{NoAsymmetry: true}).StepS)
	}
}

// Claim K4: slices and packs remove the variance of lengths: of forward and backward
// times of units against those of samples, and of rows.
func TestPacksHaveLittleVariance(t *testing.T) {
	for _, dist := range []string{"web", "code", "long_context"} {
		j := stepOf(t, dist, 1<<22, 2, 4, 2, 131072)
		samples := make([][]int32, len(j.Lengths))
		for i := range samples {
			samples[i] = []int32{int32(i)}
		}
		m, err := Measure(j, j.dealt(samples))
		require.NoError(t, err)
		longest := descending(j.Lengths)
		for _, p := range (SlimPack{}).assign(j, longest, SlimPack{}.outliers(j, longest, merging{1, j.DP})) {
			plan := p.build(SlimPack{}, cutting{forward: 64, backward: 64, hop: 1})
			packs, err := Measure(&p.job, plan)
			require.NoError(t, err)
			require.Less(t, packs.CVForward, 0.1*m.CVForward, dist)
			require.Less(t, packs.CVBackward, 0.1*m.CVBackward, dist)
		}
		rows := measure(t, j, fixed{})
		slim := measure(t, j, SlimPack{NoRamps: true}) // ramps are unequal by design
		require.Less(t, slim.CVForward, rows.CVForward, dist)
		require.Less(t, slim.CVBackward, rows.CVBackward, dist)
	}
}

// Every mechanism of SlimPack is worth something on a long tail, and the whole is
// worth most: what is left out makes the step longer (asymmetry by little, since fine
// units leave little to it).
func TestAblation(t *testing.T) {
	j := stepOf(t, "web", 1<<22, 4, 4, 4, 262144)
	whole := measure(t, j, SlimPack{})
	for _, v := range Ablation()[1:] {
		least := 1.01
		if v.Packs == (SlimPack{NoAsymmetry: true}) || v.Packs == (SlimPack{NoMerge: true}) || v.Packs == (SlimPack{NoRamps: true}) {
			least = 0.99
		}
		require.Greater(t, measure(t, j, v.Packs).StepS, least*whole.StepS, v.Name)
	}
}

// The bound is sharp where it can be: equal samples, one lane each, no pipeline.
func TestBoundIsSharp(t *testing.T) {
	for _, pp := range []int{1, 4} {
		j := &Job{Lengths: []int{100, 100, 100, 100}, DP: 2, PP: pp, CP: 1, Context: 100, Cost: linearCost, MemoryTokens: 1e6}
		b := LowerBound(j)
		require.InDelta(t, 2*300e-6, b.Seconds(), 1e-9)
		m := measure(t, j, ffd{})
		require.InDelta(t, 300e-6*float64(2+pp-1), m.StepS, 1e-9)
	}
	// One sample of four slices' worth of fixed time through two stages: 100 (F + B) and
	// the best number of units, 2 = sqrt(100 us / 25 us), each way.
	u := linearCost
	u.UnitS, u.UnitBackS = 25e-6, 50e-6
	j := &Job{Lengths: []int{100}, DP: 1, PP: 2, CP: 1, Context: 100, Cost: u, MemoryTokens: 1e6}
	require.InEpsilon(t, 3*225e-6, LowerBound(j).PathS, 0.06, "(100 + 2 x 25) 3/2 us, and twice that")
	require.InDelta(t, 3*225e-6, measure(t, j, SlimPack{}).StepS, 1e-6)
	// The path: one sample that many lanes cannot make as short as its share, since
	// keys and values must be received.
	c := linearCost
	c.KVTokenS = 1e-6
	j = &Job{Lengths: []int{1000}, DP: 8, PP: 1, CP: 1, Context: 1000, Cost: c}
	b := LowerBound(j)
	require.InDelta(t, 3000e-6/8, b.WorkS, 1e-9)
	require.InDelta(t, 3000e-6, b.PathS, 1e-9, "receiving a token takes as long as computing it")
	// Memory: 10 lanes hold a tenth of the tokens; the others are computed twice.
	j = &Job{Lengths: []int{1000}, DP: 10, PP: 1, CP: 1, Context: 1000, Cost: linearCost, MemoryTokens: 10, Footprint: Footprint{Activation: 1}}
	require.InDelta(t, (3000+900)*1e-6/10, LowerBound(j).PathS, 1e-9)
}
