package sample

import (
	"math"
	"slices"
	"strings"
)

// closeEnough is the half width of the interval, relative to the median, at which
// a row counts as known well enough.
const closeEnough = 0.02

// ID names what was measured: rows with the same ID are of the same kernel,
// format and shape, and bench.Case.ID gives the same text.
func (r Row) ID() string {
	return r.Family + "/" + r.Kernel + "/" + r.DType + "/" + string(r.Shape)
}

// Summarise fills N, Median, Low, High and Within from Samples.
func (r *Row) Summarise() {
	r.N = len(r.Samples)
	r.Median, r.Low, r.High = Interval(r.Samples)
	r.Within = r.N >= fewestForInterval && max(r.High-r.Median, r.Median-r.Low) <= closeEnough*r.Median
}

// fewestForInterval samples bound the median with 95 % confidence: the interval
// from the smallest to the largest of n misses it with probability 2^(1-n).
const fewestForInterval = 6

// Interval returns the median and a distribution-free 95 % interval of the median:
// the k-th smallest and k-th largest sample, with the largest k for which a
// binomial of n and 1/2 falls below k with probability 2.5 % at most (Conover,
// Practical Nonparametric Statistics, 3.2). Fewer than six samples have no such
// k: the interval is then all of them, and covers less. NaN without samples.
func Interval(samples []float64) (median, low, high float64) {
	n := len(samples)
	if n == 0 {
		return math.NaN(), math.NaN(), math.NaN()
	}
	x := slices.Sorted(slices.Values(samples))
	median = x[(n-1)/2]
	if n%2 == 0 {
		median += (x[n/2] - median) / 2
	}
	k := max(intervalRank(n), 1)
	return median, x[k-1], x[n-k]
}

// intervalRank is the k of Interval, from 1; 0 where there is none.
func intervalRank(n int) int {
	below := 0.0 // P(binomial < k)
	logHalf := float64(n) * math.Ln2
	all, _ := math.Lgamma(float64(n) + 1)
	for k := 1; ; k++ {
		a, _ := math.Lgamma(float64(k))
		b, _ := math.Lgamma(float64(n-k) + 2)
		below += math.Exp(all - a - b - logHalf)
		if below > 0.025 || k > n/2 {
			return k - 1
		}
	}
}

// Get returns the value of a key, and whether the shape has it.
func (s Shape) Get(key string) (value string, ok bool) {
	for _, pair := range strings.Fields(string(s)) {
		if k, v, _ := strings.Cut(pair, "="); k == key {
			return v, true
		}
	}
	return "", false
}

// Pairs are the shape's key=value texts, in order.
func (s Shape) Pairs() []string { return strings.Fields(string(s)) }
