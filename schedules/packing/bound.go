package packing

import "math"

// Bound is the least time of a step, whatever the plan: each part is a proof of
// its own, in seconds.
type Bound struct {
	// Work: all samples' work over all lanes, and the units that memory forces.
	WorkS float64 `json:"work_s"`
	// Path: the sample that takes longest on the lanes that suit it best, forwards
	// and backwards on one stage, its exchange and what memory makes it recompute.
	PathS float64 `json:"path_s"`
	// Fill: the way of the smallest unit to the last stage and back.
	FillS float64 `json:"fill_s"`
}

// Seconds is the bound on the step.
func (b Bound) Seconds() float64 { return max(b.WorkS, b.PathS) + b.FillS }

// LowerBound proves how long a step takes at least under the model of [Evaluate],
// for every plan that [Validate] accepts and that keeps the limit of memory.
//
// Work. A unit of w lanes takes each of them at least 1/w of its slices' time on
// one lane, so the mean lane is busy for total work over lanes on the last stage,
// and a unit's fixed time for each Memory tokens. (Since lane-time does not fall
// with the width, this is also the value of the linear program that chooses
// widths, so there is no sharper relaxation of that kind.)
//
// Path. Say a sample's tokens lie on v lanes (v <= the width of its units). The
// slowest of them computes at least 1/v of its work. Lane k, in the order of the
// last token that each holds, must receive at least the tokens of the lanes before
// it: with a the time of a token and e that of its exchange, the tokens that v lanes
// can do within t are at most t (1-(1-e/a)^v)/e, or t/a where e > a. What v lanes cannot keep is
// recomputed. The path is the least over v of the dearest sample.
//
// Fill. The last stage's first pass waits for a unit to come through the other
// stages, and after its last pass, a backward, one goes back through them.
func LowerBound(j *Job) Bound {
	c := &j.Cost
	memory, lanes := j.Memory(), float64(j.Lanes())
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
		PathS: c.pathOf(longest, j.Lanes(), memory, j.Footprint.kvShare()) + units,
		FillS: float64(j.PP-1) * (units + 2*c.HopS),
	}
}

// pathOf is the least time that a sample takes on one stage, on any number of
// lanes.
func (c *Cost) pathOf(tokens, lanes int, memory, share float64) float64 {
	forward, backward := c.work(0, tokens)
	l := float64(tokens)
	least := math.Inf(1)
	for v := 1; v <= lanes; v++ {
		w := float64(v)
		recompute := 0.0
		if room := memory*w - share*l; room < 0 {
			continue // not even the keys and values fit
		} else if share < 1 {
			recompute = max(0, l-room/(1-share)) / w * c.TokenS
		}
		t := (forward + backward) / w
		if v > 1 {
			e := c.exchange(0, v)
			t = max(t, exchangeBound(l, c.TokenS, e, v)+exchangeBound(l, c.BackToken*c.TokenS, 2*e, v))
		}
		least = min(least, t+recompute)
	}
	if math.IsInf(least, 1) {
		return (forward + backward) / float64(lanes) // no plan fits; this holds all the same
	}
	return least
}

// exchangeBound is the least t in which v lanes can take l tokens, of which one
// takes a to compute and e to receive.
func exchangeBound(l, a, e float64, v int) float64 {
	if e <= 0 {
		return a * l / float64(v)
	}
	if e >= a {
		return a * l // receiving a token takes longer than computing it: one lane is best
	}
	return e * l / (1 - math.Pow(1-e/a, float64(v)))
}
