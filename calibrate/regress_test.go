package calibrate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/kernels/sample"
)

// recorded is a file of samples as a run on a GPU gives them, from a seed and
// marked synthetic: medians that differ from run to run by 0.7 % a kernel, samples
// by 1 % with a tail of slow ones, and a slow family.
func recorded(seed uint64, slow string, factor float64) *sample.File {
	rng := rand.New(rand.NewPCG(seed, 42))
	f := &sample.File{Name: fmt.Sprintf("run%d.csv", seed), Header: sample.Header{GPU: "fake", Driver: "1", Synthetic: true}}
	for _, family := range []struct {
		name string
		rows int
	}{{"gemm", 60}, {"memory_bound", 40}, {"attention", 30}, {"collective", 20}, {"launch", 3}} {
		for i := range family.rows {
			us := 5 * math.Pow(1.2, float64(i%40)) * math.Exp(0.007*rng.NormFloat64())
			if family.name == slow {
				us *= factor
			}
			r := sample.Row{Family: family.name, Kernel: "k", Hash: "0", Shape: sample.Shape(fmt.Sprintf("i=%d", i)), DType: "bf16", Unit: "us"}
			for range 25 {
				x := us * math.Exp(0.01*rng.NormFloat64())
				if rng.IntN(20) == 0 {
					x *= 1.1
				}
				r.Samples = append(r.Samples, x)
			}
			r.Summarise()
			f.Rows = append(f.Rows, r)
		}
	}
	return f
}

func family(t require.TestingT, c Comparison, name string) FamilyComparison {
	for _, f := range c.Families {
		if f.Family == name {
			return f
		}
	}
	require.Fail(t, "no family "+name)
	return FamilyComparison{}
}

// A slowdown of 5 % in one family is found in every draw, and only there; the same
// in the other direction is a speedup and does not fail.
func TestCompareFindsASlowdown(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64Range(0, 1<<40).Draw(t, "seed")
		slow := rapid.SampledFrom([]string{"gemm", "memory_bound", "attention", "collective"}).Draw(t, "slow")
		old, fresh := recorded(2*seed, "", 1), recorded(2*seed+1, slow, 1.05)
		c, err := Compare(old, fresh, 0.03)
		require.NoError(t, err)
		require.True(t, c.Slower)
		require.True(t, c.Synthetic)
		f := family(t, c, slow)
		require.Equal(t, "slower", f.Verdict)
		require.InDelta(t, 1.05, f.Ratio, 0.01)
		require.Less(t, f.Low, f.Ratio)
		require.Greater(t, f.High, f.Ratio)
		back, err := Compare(fresh, old, 0.03)
		require.NoError(t, err)
		require.Equal(t, "faster", family(t, back, slow).Verdict)
		require.InDelta(t, 1/f.Ratio, family(t, back, slow).Ratio, 1e-9)
	})
}

// Two runs of the same code raise fewer than 5 % false alarms, with a threshold of
// nothing too: then the tests alone hold them back.
func TestCompareIsSilentOnTheSameData(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: takes long; the whole test runs without it")
	}
	const runs = 300
	for _, threshold := range []float64{0, 0.03} {
		alarms := 0
		for seed := range uint64(runs) {
			old, fresh := recorded(2*seed, "", 1), recorded(2*seed+1, "", 1)
			for _, f := range []*sample.File{old, fresh} { // few rows compare samples, which know nothing of how runs differ
				f.Rows = f.Rows[:len(f.Rows)-3]
			}
			c, err := Compare(old, fresh, threshold)
			require.NoError(t, err)
			if c.Slower {
				alarms++
			}
		}
		assert.Less(t, float64(alarms)/runs, 0.05, "threshold %v", threshold)
	}
	// three rows in a family: the threshold holds back what runs differ by
	alarms := 0
	for seed := range uint64(runs) {
		c, err := Compare(recorded(2*seed, "", 1), recorded(2*seed+1, "", 1), 0.03)
		require.NoError(t, err)
		if c.Slower {
			alarms++
		}
	}
	assert.Less(t, float64(alarms)/runs, 0.05)
	same := recorded(7, "", 1)
	c, err := Compare(same, same, 0)
	require.NoError(t, err)
	assert.False(t, c.Slower)
}

func TestCompareNamesWhatDiffers(t *testing.T) {
	old, fresh := recorded(1, "", 1), recorded(2, "", 1)
	fresh.Header.Driver, fresh.Header.GPU = "2", "other"
	fresh.Rows[0].Hash = "1"
	fresh.Rows = append(fresh.Rows[:len(fresh.Rows)-1], sample.Row{Family: "new", Kernel: "n", Unit: "us", N: 1, Median: 1, Samples: []float64{1}})
	for i := range fresh.Rows {
		old.Rows[i].ClockMHz, fresh.Rows[i].ClockMHz = 1980, 1700
		old.Rows[i].Throttle, fresh.Rows[i].Throttle = "none", "sw_power_cap"
	}
	c, err := Compare(old, fresh, 0.03)
	require.NoError(t, err)
	text := fmt.Sprint(c.Warnings)
	for _, want := range []string{`driver differs: "1" and "2"`, "GPU differs", "1 kernels have other code", "SM clock 0.859", "throttled in 60 rows, 0 in the baseline"} {
		assert.Contains(t, text, want)
	}
	assert.Equal(t, []string{"launch/k/bf16/i=2"}, c.OnlyBaseline)
	assert.Equal(t, []string{"new/n//"}, c.OnlyNew)

	_, err = Compare(old, &sample.File{Name: "empty"}, 0.03)
	assert.ErrorContains(t, err, "no row in common")
	fresh.Rows[0].Unit = "mhz"
	_, err = Compare(old, fresh, 0.03)
	assert.ErrorContains(t, err, "is in us in run1.csv, and in mhz in run2.csv")
}

// Lower clocks are slower; power is not judged.
func TestCompareKnowsUnits(t *testing.T) {
	file := func(clock, watts float64) *sample.File {
		f := &sample.File{}
		for i := range 10 {
			for _, r := range []sample.Row{{Unit: "mhz", Samples: []float64{clock + float64(i)}}, {Unit: "watt", Samples: []float64{watts}}} {
				r.Family, r.Kernel, r.Shape = "clock", r.Unit, sample.Shape(fmt.Sprintf("i=%d", i))
				r.Summarise()
				f.Rows = append(f.Rows, r)
			}
		}
		return f
	}
	c, err := Compare(file(1900, 300), file(1700, 700), 0.03)
	require.NoError(t, err)
	assert.True(t, c.Slower)
	assert.Equal(t, 10, c.NotJudged)
	assert.Equal(t, 10, family(t, c, "clock").Rows)
}
