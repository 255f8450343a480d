package packing

import "math"

// Bound is the least time of a step, whatever the plan, in seconds: it is at least
// Work and Fill together, and at least Path.
type Bound struct {
	// Work: all samples' work over all lanes, and the units that memory forces.
	WorkS float64 `json:"work_s"`
	// Fill: the way of the smallest unit to the last stage and back.
	FillS float64 `json:"fill_s"`
	// Path: the longest sample through all stages and back, on the lanes and in the
	// slices that suit it best.
	PathS float64 `json:"path_s"`
}

// Seconds is the bound on the step.
func (b Bound) Seconds() float64 { return max(b.WorkS+b.FillS, b.PathS) }

// LowerBound proves how long a step takes at least under the model of [Evaluate],
// for every plan that [Validate] accepts and that keeps the limit of memory.
//
// Work. A unit of w lanes takes each of them at least 1/w of its slices' time on
// one lane, so the mean lane is busy for total work over lanes on the last stage,
// and a unit's fixed time for each Memory tokens, those of the roomiest stage. (Since
// lane-time does not fall with the width, this is also the value of the linear
// program that chooses widths, so there is no sharper relaxation of that kind.)
//
// Fill. The last stage's first pass waits for a unit to come through the other
// stages, and after its last pass, a backward, one goes back through them.
//
// Path. See [Cost.pathOf].
func LowerBound(j *Job) Bound {
	c := &j.Cost
	memory, lanes := j.roomiest(), float64(j.Lanes())
	units := c.UnitS + c.UnitBackS
	work, tokens := 0.0, 0.0
	longest := 0
	for _, l := range j.Lengths {
		f, b := c.work(0, l)
		work += f + b + c.LastTokenS*(1+c.BackToken)*float64(l)
		tokens += float64(l)
		longest = max(longest, l) // the path grows with the length
	}
	return Bound{
		WorkS: max(work/lanes+units, (work+units*tokens/memory)/lanes),
		FillS: float64(j.PP-1) * (units + 2*c.HopS),
		PathS: c.pathOf(longest, j),
	}
}

// pathOf is the least time in which a sample goes forward through all stages and,
// when the last of its slices is on the last stage, back.
//
// Say its tokens lie on v lanes (v <= the width of its units); the least over v
// counts. What v lanes cannot keep is recomputed.
func (c *Cost) pathOf(tokens int, j *Job) float64 {
	forward, backward := c.work(0, tokens)
	l, memory, share := float64(tokens), j.roomiest(), j.Footprint.kvShare()
	least := math.Inf(1)
	for v := 1; v <= j.Lanes(); v++ {
		w := float64(v)
		recompute := 0.0
		if room := memory*w - share*l; room < 0 {
			continue // not even the keys and values fit
		} else if share < 1 {
			recompute = max(0, l-room/(1-share)) / w * c.TokenS
		}
		e := c.exchange(0, v)
		f := passBound{l: l, v: w, token: c.TokenS, pair: c.PairS, exchange: e, unit: c.UnitS}
		b := passBound{l: l, v: w, token: c.BackToken * c.TokenS, pair: c.BackPair * c.PairS, exchange: 2 * e, unit: c.UnitBackS}
		least = min(least, f.seconds(c, j.PP)+b.seconds(c, j.PP)+recompute)
	}
	if math.IsInf(least, 1) {
		return (forward + backward) / float64(j.Lanes()) // no plan fits; this holds all the same
	}
	return least
}

// passBound is a sample of l tokens going through the stages once, on v lanes.
type passBound struct {
	l, v                  float64
	token, pair, exchange float64 // s
	unit                  float64 // s
}

// seconds is the least time of the pass. Stage by stage the same units take the same
// time t_k, so the path along the first stage to the longest unit, with it through
// all stages and along the last takes sum t_k + (p-1) max t_k.
//
// Let s be the most tokens of a slice. There are l/s units or more, and the longest
// takes at least what a slice of s tokens does at the start of a sample. The sum is at
// least the work over v, and at least the linear part and the exchange: of a slice
// [x0, x0+q) each lane receives min(x0, QueryKV q) (1-1/v) or more, so all slices the
// integral of min((x-s)/s, QueryKV) from s to l. The least over s counts, by
// intervals: what falls with s is taken at their upper end, what rises at the lower.
func (b *passBound) seconds(c *Cost, stages int) float64 {
	linear, attention := b.token*b.l/b.v, b.pair*c.pairs(0, b.l)/b.v
	alone := b.alone()
	least := math.Inf(1)
	const ratio = 1.0905077326652577 // 2^(1/8)
	for high := b.l; ; high /= ratio {
		low := max(1, high/ratio) // a slice has one token
		sum := max(linear+max(attention, b.exchange*(1-1/b.v)*received(b.l, high, c.QueryKV)), alone)
		longest := (b.token*low+b.pair*c.pairs(0, low))/b.v + b.unit + c.HopS
		least = min(least, sum+b.l/high*b.unit+float64(stages-1)*longest)
		if low <= 1 {
			return least
		}
	}
}

// received is the integral of min((x-s)/s, q) from s to l; q 0 is no limit.
func received(l, s, q float64) float64 {
	if l <= s {
		return 0
	}
	end := l
	if q > 0 {
		end = min(l, (q+1)*s)
	}
	return (end-s)*(end-s)/(2*s) + q*(l-end)
}

// alone is the least time of the sample's units on a stage by what tokens and
// exchange take, however it is cut: lane k, in the order of the last token that each
// holds, must receive at least the tokens of the lanes before it. With a the time of a
// token and e that of its exchange, v lanes can then do at most t (1-(1-e/a)^v)/e
// tokens within t, or t/a where e > a.
func (b *passBound) alone() float64 {
	switch a, e := b.token, b.exchange; {
	case e <= 0:
		return a * b.l / b.v
	case e >= a:
		return a * b.l
	default:
		return e * b.l / (1 - math.Pow(1-e/a, b.v))
	}
}
