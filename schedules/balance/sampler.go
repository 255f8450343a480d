package balance

import (
	"math"
	"math/rand/v2"
)

// alias draws from a discrete distribution in constant time (Walker's method).
type alias struct {
	keep    []float64 // chance to stay in a column
	other   []int32
	weights []float64
}

// newAlias makes the table; weights are at least 0 and not all 0.
func newAlias(weights []float64) *alias {
	n, sum := len(weights), 0.0
	for _, w := range weights {
		sum += w
	}
	a := &alias{keep: make([]float64, n), other: make([]int32, n), weights: weights}
	var small, large []int32
	for i, w := range weights {
		a.keep[i], a.other[i] = w*float64(n)/sum, int32(i)
		if a.keep[i] < 1 {
			small = append(small, int32(i))
		} else {
			large = append(large, int32(i))
		}
	}
	for len(small) > 0 && len(large) > 0 {
		s, l := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		a.other[s] = l
		if a.keep[l] -= 1 - a.keep[s]; a.keep[l] < 1 {
			large = large[:len(large)-1]
			small = append(small, l)
		}
	}
	for _, i := range append(small, large...) { // 1 but for rounding
		a.keep[i] = 1
	}
	return a
}

func (a *alias) draw(rng *rand.Rand) int32 {
	u := rng.Float64() * float64(len(a.keep))
	i := int32(u)
	if u-float64(i) < a.keep[i] {
		return i
	}
	return a.other[i]
}

// topK counts how often each expert is among the k different ones of a token,
// drawn one after the other by weight. That is the distribution of the k largest
// of log weight + Gumbel noise, which is how routers are simulated elsewhere;
// drawing again what was drawn before is faster.
func (a *alias) topK(tokens, k int, rng *rand.Rand, counts []int64) {
	last := make([]int, len(a.keep)) // the last token that chose the expert, from 1
	for t := 1; t <= tokens; t++ {
		again := 0
		for left := k; left > 0; {
			e := a.draw(rng)
			if last[e] == t {
				if again++; again < 64 {
					continue
				}
				e = a.drawOther(t, last, rng)
			}
			last[e] = t
			counts[e]++
			left--
		}
	}
}

// drawOther draws among the experts that token t has not chosen; what it cost to
// get here does not change the chances.
func (a *alias) drawOther(t int, last []int, rng *rand.Rand) int32 {
	total := 0.0
	for e, w := range a.weights {
		if last[e] != t {
			total += w
		}
	}
	u, best := rng.Float64()*total, int32(-1)
	for e, w := range a.weights {
		if last[e] == t {
			continue
		}
		best = int32(e)
		if u -= w; u < 0 {
			break
		}
	}
	return best
}

// inclusion approximates the chance of each expert to be among the k of a token
// drawn by weight: 1 - exp(-theta w) with the theta that makes them add up to k.
func inclusion(weights []float64, k int) []float64 {
	sum := func(theta float64) float64 {
		s := 0.0
		for _, w := range weights {
			s -= math.Expm1(-theta * w)
		}
		return s
	}
	hi := 1.0
	for range 1000 {
		if sum(hi) >= float64(k) {
			break
		}
		hi *= 2
	}
	theta := bisect(0, hi, func(x float64) bool { return sum(x) >= float64(k) })
	out := make([]float64, len(weights))
	for i, w := range weights {
		out[i] = -math.Expm1(-theta * w)
	}
	return out
}

// bisect is where a condition begins to hold, between lo, where it does not, and
// hi, where it does, to twelve digits.
func bisect(lo, hi float64, holds func(float64) bool) float64 {
	for range 2000 { // from the largest float64 to the smallest
		mid := lo + (hi-lo)/2
		if hi-lo <= 1e-12*hi || mid == lo || mid == hi {
			break
		}
		if holds(mid) {
			hi = mid
		} else {
			lo = mid
		}
	}
	return hi
}
