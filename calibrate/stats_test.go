package calibrate

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// R: wilcox.test(c(1.1,2.2,3.3,-0.4,5.5,6.6), exact=TRUE) has V = 20, p = 0.0625.
func TestSignedRankAgainstR(t *testing.T) {
	assert.InDelta(t, 0.0625, signedRank([]float64{1.1, 2.2, 3.3, -0.4, 5.5, 6.6}), 1e-12)
	assert.InDelta(t, 2/math.Exp2(6), signedRank([]float64{1, 2, 3, 4, 5, 6}), 1e-12)
	assert.Equal(t, 1.0, signedRank(nil))
	assert.Equal(t, 1.0, signedRank([]float64{0, 0}))
}

// The exact distribution and brute force over all signs agree.
func TestSignedRankIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 10).Draw(t, "n")
		signs := rapid.IntRange(0, 1<<n-1).Draw(t, "signs")
		statistic := func(signs int) (w int) {
			for i := range n {
				if signs>>i&1 == 1 {
					w += i + 1
				}
			}
			return w
		}
		d := make([]float64, n)
		for i := range d {
			d[i] = float64(i+1) * float64(2*(signs>>i&1)-1)
		}
		total := n * (n + 1) / 2
		w := min(statistic(signs), total-statistic(signs))
		tail := 0.0
		for s := range 1 << n {
			if statistic(s) <= w {
				tail++
			}
		}
		require.InDelta(t, min(1, 2*tail/math.Exp2(float64(n))), signedRank(d), 1e-12)
		slices.Reverse(d)
		require.InDelta(t, min(1, 2*tail/math.Exp2(float64(n))), signedRank(d), 1e-12)
	})
}

func TestHolm(t *testing.T) {
	assert.InDeltaSlice(t, []float64{0.03, 0.06, 0.06, 0.02}, holm([]float64{0.01, 0.04, 0.03, 0.005}), 1e-12)
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SliceOfN(rapid.Float64Range(0, 1), 1, 9).Draw(t, "p")
		for i, q := range holm(p) {
			require.GreaterOrEqual(t, q, p[i])
			require.LessOrEqual(t, q, min(1, p[i]*float64(len(p)))+1e-12)
		}
	})
}

// Under the null both tests reject at 5 % in about 5 % of draws, and they see a shift.
func TestTestsHoldTheirLevel(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	draw := func(n int, shift float64) []float64 {
		x := make([]float64, n)
		for i := range x {
			x[i] = rng.NormFloat64() + shift
		}
		return x
	}
	const runs = 2000
	var ranked, summed, seen float64
	for range runs {
		if signedRank(draw(40, 0)) < 0.05 {
			ranked++
		}
		if rankSum([][2][]float64{{draw(12, 0), draw(15, 0)}, {draw(20, 5), draw(11, 5)}}) < 0.05 {
			summed++
		}
		if rankSum([][2][]float64{{draw(12, 0), draw(15, 2)}, {draw(20, 5), draw(11, 7)}}) < 0.05 {
			seen++
		}
	}
	assert.InDelta(t, 0.05, ranked/runs, 0.015)
	assert.InDelta(t, 0.05, summed/runs, 0.015)
	assert.Greater(t, seen/runs, 0.99)
}

func TestMannWhitneyU(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		small := rapid.Map(rapid.IntRange(0, 6), func(i int) float64 { return float64(i) })
		x, y := rapid.SliceOfN(small, 1, 8).Draw(t, "x"), rapid.SliceOfN(small, 1, 8).Draw(t, "y")
		want := 0.0
		for _, a := range x {
			for _, b := range y {
				switch {
				case b > a:
					want++
				case b == a:
					want += 0.5
				}
			}
		}
		u, _ := mannWhitneyU(x, y)
		require.InDelta(t, want, u, 1e-9)
	})
}

func TestBootstrapMean(t *testing.T) {
	x := []float64{0.1, 0.2, 0.3, 0.15, 0.25}
	low, high := bootstrapMean(x)
	l2, h2 := bootstrapMean(x)
	assert.Equal(t, [2]float64{low, high}, [2]float64{l2, h2}, "the same numbers give the same interval")
	assert.Less(t, low, 0.2)
	assert.Greater(t, high, 0.2)
	low, high = bootstrapMean([]float64{3})
	assert.Equal(t, [2]float64{3, 3}, [2]float64{low, high})
}
