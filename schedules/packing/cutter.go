package packing

import (
	"math"
	"slices"
)

// cutter cuts the tokens of samples, taken in order, into units of consecutive
// slices: each sample from its start for the forward, from its end for the
// backward.
type cutter struct {
	job     *Job
	unit    Unit // what its units have in common: lanes, recomputation
	forward bool
	// Cuts inside a sample are at multiples of quantum tokens; samples of up to
	// whole tokens are not cut at all.
	quantum, whole int
	// most tokens in a unit, 0 for no limit. A sample that must not be cut may exceed it.
	most int
	ramp ramp
}

// ramp is units at the start and at the end that are shorter than those between, so
// that the pipeline fills and drains sooner.
type ramp struct {
	up, down int     // how many
	rise     float64 // a unit of the start over the one before it
	fall     float64 // a unit of the end over the one after it
	units    int     // in all, which down counts from
}

// share is the n-th unit's time over that of the units in the middle.
func (r *ramp) share(n int) float64 {
	share := 1.0
	if steps := r.up - n; steps > 0 {
		share = math.Pow(r.rise, -float64(steps))
	}
	if steps := n - (r.units - 1 - r.down); r.down > 0 && steps > 0 {
		share *= math.Pow(r.fall, -float64(steps))
	}
	return share
}

// missing is how many units of the middle the ramps are short of their number.
func (r *ramp) missing() float64 {
	sum := 0.0
	for i := range r.up {
		sum += 1 - math.Pow(r.rise, -float64(i+1))
	}
	for i := range r.down {
		sum += 1 - math.Pow(r.fall, -float64(i+1))
	}
	return sum
}

// rates are the coefficients of a slice's time a lane: linear x + square x²/2 at x1
// less the same at x0.
func (c *cutter) rates() (linear, square float64) {
	k := &c.job.Cost
	linear, square = k.TokenS, k.PairS*k.QueryPairs
	token, pair := 1.0, 1.0
	if !c.forward {
		token, pair = k.BackToken, k.BackPair
	}
	w := float64(c.unit.Width)
	return (token*linear + pair*square) / w, pair * k.PairS / w
}

// queue is samples in order with the sums of the time and the tokens before each.
type queue struct {
	samples []int32
	time    []float64
	tokens  []int
}

func (c *cutter) queue(samples []int32) *queue {
	linear, square := c.rates()
	q := &queue{samples, make([]float64, len(samples)+1), make([]int, len(samples)+1)}
	for i, s := range samples {
		l := float64(c.job.Lengths[s])
		q.time[i+1] = q.time[i] + linear*l + square*l*l/2
		q.tokens[i+1] = q.tokens[i] + c.job.Lengths[s]
	}
	return q
}

// total is the time of all samples in seconds a lane, that of units not included.
func (c *cutter) total(samples []int32) float64 {
	linear, square := c.rates()
	sum := 0.0
	for _, s := range samples {
		l := float64(c.job.Lengths[s])
		sum += linear*l + square*l*l/2
	}
	return sum
}

// fitting is how many samples from the i-th fit whole into what is left.
func (q *queue) fitting(i int, timeLeft float64, tokensLeft int) int {
	fits := func(k int) bool { // the first k samples of the queue
		return q.time[k]-q.time[i] <= timeLeft && q.tokens[k]-q.tokens[i] <= tokensLeft
	}
	low, step := i, 1
	for low+step <= len(q.samples) && fits(low+step) {
		low, step = low+step, 2*step
	}
	high := min(low+step, len(q.samples)+1) // does not fit
	for low+1 < high {
		if mid := low + (high-low)/2; fits(mid) {
			low = mid
		} else {
			high = mid
		}
	}
	return low - i
}

// cut walks through the samples and calls emit for each slice, with the number of
// its unit, so that a unit takes at most target seconds, or its share of them on a
// ramp, as far as the quantum allows; it returns the number of units, or a number
// above most as soon as that is passed.
func (c *cutter) cut(q *queue, target float64, most int, emit func(unit int, s Slice)) int {
	linear, square := c.rates()
	timeTo := func(x float64) float64 { return linear*x + square*x*x/2 }
	inverse := func(g float64) float64 {
		if square == 0 {
			return g / linear
		}
		return (math.Sqrt(linear*linear+2*square*max(0, g)) - linear) / square
	}
	tokensLeft, timeLeft, empty, n := math.MaxInt, target*c.ramp.share(0), true, 1
	if c.most > 0 {
		tokensLeft = c.most
	}
	next := func() {
		n++
		timeLeft, empty = target*c.ramp.share(n-1), true
		if c.most > 0 {
			tokensLeft = c.most
		}
	}
	for at := 0; at < len(q.samples); at++ {
		if k := q.fitting(at, timeLeft, tokensLeft); k > 0 {
			timeLeft -= q.time[at+k] - q.time[at]
			tokensLeft -= q.tokens[at+k] - q.tokens[at]
			empty = false
			if emit != nil {
				for _, s := range q.samples[at : at+k] {
					emit(n-1, c.job.whole(s))
				}
			}
			at += k
			if at == len(q.samples) {
				break
			}
		}
		i := q.samples[at]
		length := c.job.Lengths[i]
		left := length // tokens that are not in a unit yet
		for left > 0 {
			if n > most {
				return n
			}
			x0, x1 := length-left, length
			if !c.forward {
				x0, x1 = 0, left
			}
			time := timeTo(float64(x1)) - timeTo(float64(x0))
			fits := time <= timeLeft && left <= tokensLeft
			if !fits && (length <= c.whole || left <= c.quantum) {
				if !empty {
					next()
					continue
				}
				fits = true // alone in its unit, whatever it takes
			}
			if !fits {
				x0, x1 = c.part(x0, x1, timeLeft, tokensLeft, empty, timeTo, inverse)
				if x0 == x1 {
					next()
					continue
				}
				time = timeTo(float64(x1)) - timeTo(float64(x0))
			}
			if emit != nil {
				emit(n-1, Slice{Sample: i, X0: int32(x0), X1: int32(x1)})
			}
			left -= x1 - x0
			timeLeft -= time
			tokensLeft -= x1 - x0
			empty = false
		}
	}
	return n
}

// part is as much of [x0, x1) as there is room for, from its start in the forward
// and from its end in the backward, cut at a multiple of the quantum; an empty unit
// takes at least one quantum, another may take nothing.
func (c *cutter) part(x0, x1 int, timeLeft float64, tokensLeft int, empty bool, at, inverse func(float64) float64) (from, to int) {
	q := c.quantum
	if c.forward {
		x := int(min(inverse(at(float64(x0))+timeLeft), float64(x0)+float64(min(tokensLeft, x1-x0))))
		x = min(x/q*q, x1)
		if x <= x0 {
			if !empty {
				return x0, x0
			}
			x = min((x0/q+1)*q, x1)
		}
		return x0, x
	}
	x := int(math.Ceil(max(inverse(at(float64(x1))-timeLeft), float64(x1)-float64(min(tokensLeft, x1-x0)))))
	x = max((x+q-1)/q*q, x0)
	if x >= x1 {
		if !empty {
			return x1, x1
		}
		x = max((x1-1)/q*q, x0)
	}
	return x, x1
}

// units cuts so that no unit takes more than target, as far as the quantum allows.
func (c *cutter) units(q *queue, target float64) []Unit {
	all := make([]Slice, 0, len(q.samples)+len(q.samples)/4) // of one unit after the other
	var ends []int
	units := c.cut(q, target, math.MaxInt, func(n int, s Slice) {
		for len(ends) < n {
			ends = append(ends, len(all))
		}
		all = append(all, s)
	})
	out := make([]Unit, units)
	for n := range out {
		for len(ends) <= n {
			ends = append(ends, len(all))
		}
		from := 0
		if n > 0 {
			from = ends[n-1]
		}
		out[n] = c.unit
		out[n].Slices = all[from:ends[n]:ends[n]]
	}
	return out
}

// even cuts into at most n units, the longest as short as it can be, those of ramps in
// proportion: the linear partition problem, by bisection on the longest unit. Where the
// limit on tokens needs more units, there are more.
func (c *cutter) even(order []int32, n int) []Unit {
	if len(order) == 0 {
		return nil
	}
	q := c.queue(order)
	total := q.time[len(order)] * (1 + 1e-12) // rounding must not need a second unit
	ramps := c.ramp
	c.ramp.up, c.ramp.down = 0, 0
	n = max(n, c.cut(q, total, math.MaxInt, nil))
	c.ramp = ramps
	c.ramp.up, c.ramp.down, c.ramp.units = min(ramps.up, n/2), min(ramps.down, n/2), n
	shares, least := 0.0, 1.0
	for i := range n {
		share := c.ramp.share(i)
		shares, least = shares+share, min(least, share)
	}
	// The answer is mostly just above the mean: gallop from there, then bisect.
	low, most := total/shares, total/least
	high, step := low, 2e-3*low
	for high < most && c.cut(q, high, n, nil) > n {
		low, high, step = high, min(most, high+step), 2*step
	}
	for high-low > 1e-3*high {
		mid := low + (high-low)/2
		if c.cut(q, mid, n, nil) <= n {
			high = mid
		} else {
			low = mid
		}
	}
	return c.units(q, high)
}

// reversed is the backward units that use the forward's partition: units and their
// slices in reverse.
func reversed(units []Unit) []Unit {
	out := make([]Unit, len(units))
	for i := range units {
		u := units[len(units)-1-i]
		u.Slices = slices.Clone(u.Slices)
		slices.Reverse(u.Slices)
		out[i] = u
	}
	return out
}

// mirrored is reversed for each chain of units that samples link, the chains in the
// order of the forward: the backward of a replica that shares its partition.
func (j *Job) mirrored(units []Unit) []Unit {
	out := make([]Unit, 0, len(units))
	for from := 0; from < len(units); {
		to := from + 1
		for to < len(units) && units[to].First == units[from].First && units[to].Width == units[from].Width {
			last := units[to-1].Slices[len(units[to-1].Slices)-1]
			if int(last.X1) == j.Lengths[last.Sample] {
				break
			}
			to++
		}
		out = append(out, reversed(units[from:to])...)
		from = to
	}
	return out
}
