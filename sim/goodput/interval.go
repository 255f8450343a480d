package goodput

import "math"

// YoungS is Young's first-order optimum of the time between checkpoints in
// seconds: sqrt(2 C M) for a checkpoint of C seconds and a mean time between
// failures of M (Young, "A first order approximation to the optimum checkpoint
// interval", CACM 17(9), 1974).
func YoungS(blockS, mtbfS float64) float64 { return math.Sqrt(2 * blockS * mtbfS) }

// DalyS is Daly's higher-order optimum, in seconds of work between checkpoints
// (Daly, "A higher order estimate of the optimum checkpoint interval for
// restart dumps", FGCS 22(3), 2006, equation 37).
func DalyS(blockS, mtbfS float64) float64 {
	if blockS >= 2*mtbfS {
		return mtbfS
	}
	x := blockS / (2 * mtbfS)
	return YoungS(blockS, mtbfS)*(1+math.Sqrt(x)/3+x/9) - blockS
}

// ExactS is the optimum for exponential failures, in seconds of work between
// checkpoints: the x = work/M that solves 1 - x = exp(-(x + C/M)), which
// minimises Daly's equation 20 (the root is 1 + W(-exp(-1 - C/M)) by Lambert's
// function W). It does not depend on the restart time.
func ExactS(blockS, mtbfS float64) float64 {
	c := blockS / mtbfS
	f := func(x float64) float64 { return -x - math.Expm1(-(x + c)) } // falls from 1-exp(-c) to below 0 at 1
	lo, hi := 0.0, 1.0
	for range 200 {
		mid := (lo + hi) / 2
		if mid == lo || mid == hi {
			break
		}
		if f(mid) > 0 {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo * mtbfS
}

// BestInterval is the number of steps between checkpoints with the highest
// goodput. Goodput rises to one maximum and falls behind it, also where
// stragglers mix segments of two lengths, so that a search by thirds finds it.
// Without failures it is the whole job.
func (j Job) BestInterval() int64 {
	lo, hi := int64(1), j.Steps
	if j.Rates.Total() == 0 {
		return hi
	}
	for hi-lo > 2 {
		a := lo + (hi-lo)/3
		b := hi - (hi-lo)/3
		if j.Goodput(a) < j.Goodput(b) {
			lo = a + 1
		} else { // where both underflow to 0 the interval is too long
			hi = b
		}
	}
	best := lo
	for k := lo + 1; k <= hi; k++ {
		if j.Goodput(k) > j.Goodput(best) {
			best = k
		}
	}
	return best
}
