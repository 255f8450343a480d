package calibrate

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

// signedRank returns the two-sided p-value of Wilcoxon's signed-rank test of
// differences: exact up to 25 differences without ties, else by the normal
// approximation with ties and continuity corrected (Hollander, Wolfe, Chicken,
// Nonparametric Statistical Methods, 3.1). Zeros are left out; 1 without any other.
func signedRank(differences []float64) float64 {
	var d []float64
	for _, x := range differences {
		if x != 0 {
			d = append(d, x)
		}
	}
	n := len(d)
	if n == 0 {
		return 1
	}
	slices.SortFunc(d, func(a, b float64) int { return cmp.Compare(math.Abs(a), math.Abs(b)) })
	positive, ties := 0.0, 0.0
	for i := 0; i < n; {
		j := i
		for j < n && math.Abs(d[j]) == math.Abs(d[i]) {
			j++
		}
		rank, t := float64(i+j+1)/2, float64(j-i)
		ties += t*t*t - t
		for ; i < j; i++ {
			if d[i] > 0 {
				positive += rank
			}
		}
	}
	if n <= 25 && ties == 0 {
		return exactSignedRank(n, int(positive))
	}
	mean := float64(n*(n+1)) / 4
	sd := math.Sqrt(float64(n*(n+1)*(2*n+1))/24 - ties/48)
	if sd == 0 {
		return 1
	}
	z := max(math.Abs(positive-mean)-0.5, 0) / sd
	return math.Erfc(z / math.Sqrt2)
}

// exactSignedRank counts the subsets of the ranks 1…n by their sums.
func exactSignedRank(n, w int) float64 {
	total := n * (n + 1) / 2
	ways := make([]float64, total+1)
	ways[0] = 1
	for r := 1; r <= n; r++ {
		for s := total; s >= r; s-- {
			ways[s] += ways[s-r]
		}
	}
	tail := 0.0
	for s := 0; s <= min(w, total-w); s++ {
		tail += ways[s]
	}
	return min(1, 2*tail/math.Exp2(float64(n)))
}

// holm adjusts p-values for being looked at together (Holm 1979): each is what
// the family-wise error rate would have to be for it to count.
func holm(p []float64) []float64 {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(p[a], p[b]) })
	out := make([]float64, len(p))
	worst := 0.0
	for i, at := range order {
		worst = max(worst, min(1, p[at]*float64(len(p)-i)))
		out[at] = worst
	}
	return out
}

// bootstrapMean returns a 95 % percentile interval of the mean (Efron, Tibshirani,
// An Introduction to the Bootstrap, 13.3), from a fixed seed: the same numbers give
// the same interval.
func bootstrapMean(x []float64) (low, high float64) {
	const draws = 2000
	if len(x) == 0 {
		return math.NaN(), math.NaN()
	}
	rng := rand.New(rand.NewPCG(0x0b00757a, uint64(len(x))))
	means := make([]float64, draws)
	for i := range means {
		sum := 0.0
		for range x {
			sum += x[rng.IntN(len(x))]
		}
		means[i] = sum / float64(len(x))
	}
	slices.Sort(means)
	return means[draws*25/1000], means[draws*975/1000-1]
}

// rankSum returns the two-sided p-value of the Mann-Whitney U test stratified by
// pairs of samples (van Elteren 1960): the U of each pair, weighted by 1/(n+m+1),
// by the normal approximation. It serves where a family has too few rows to
// compare their medians.
func rankSum(pairs [][2][]float64) float64 {
	sum, variance := 0.0, 0.0
	for _, p := range pairs {
		n, m := float64(len(p[0])), float64(len(p[1]))
		if n == 0 || m == 0 {
			continue
		}
		u, ties := mannWhitneyU(p[0], p[1])
		weight := 1 / (n + m + 1)
		sum += weight * (u - n*m/2)
		all := n + m
		variance += weight * weight * n * m / 12 * (all + 1 - ties/(all*max(all-1, 1)))
	}
	if variance <= 0 {
		return 1
	}
	return math.Erfc(math.Abs(sum) / math.Sqrt(variance) / math.Sqrt2)
}

// mannWhitneyU counts the pairs in which y is above x, ties as half, and returns the
// sum of t³-t over groups of t tied values.
func mannWhitneyU(x, y []float64) (u, ties float64) {
	type value struct {
		v   float64
		ofY bool
	}
	var all []value
	for _, v := range x {
		all = append(all, value{v, false})
	}
	for _, v := range y {
		all = append(all, value{v, true})
	}
	slices.SortFunc(all, func(a, b value) int { return cmp.Compare(a.v, b.v) })
	below := 0.0
	for i := 0; i < len(all); {
		j, xs, ys := i, 0.0, 0.0
		for ; j < len(all) && all[j].v == all[i].v; j++ {
			if all[j].ofY {
				ys++
			} else {
				xs++
			}
		}
		u += ys * (below + xs/2)
		below += xs
		t := float64(j - i)
		ties += t*t*t - t
		i = j
	}
	return u, ties
}
