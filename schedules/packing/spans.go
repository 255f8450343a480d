package packing

import (
	"cmp"
	"math"
	"slices"
)

// placed is a sample on the lanes that a packer with dynamic parallelism chose.
type placed struct {
	sample       int32
	first, width int
}

// spread places samples on lanes: widthOf says how many (a power of two), widest
// first and then longest first, each on the aligned lanes whose fullest has the
// least work. Lanes that nest so never wait for each other in a circle, as long as
// units run in the order of [unitsOf].
func (j *Job) spread(widthOf func(tokens int) int) []placed {
	load := make([]float64, j.Lanes())
	out := make([]placed, 0, len(j.Lengths))
	for _, i := range descending(j.Lengths) {
		out = append(out, placed{sample: i, width: min(widthOf(j.Lengths[i]), floorPower(j.Lanes()))})
	}
	slices.SortStableFunc(out, func(a, b placed) int { return cmp.Compare(b.width, a.width) })
	singles := newLeast(0)
	for k := range out {
		p := &out[k]
		if p.width == 1 {
			if len(singles.load) == 0 {
				singles = newLeast(j.Lanes())
				copy(singles.load, load)
				singles.fill()
			}
			f, b := j.Cost.Sample(j.Lengths[p.sample])
			p.first = singles.add(f + b)
			continue
		}
		least := math.Inf(1)
		for first := 0; first+p.width <= len(load); first += p.width {
			if l := slices.Max(load[first : first+p.width]); l < least {
				p.first, least = first, l
			}
		}
		f, b := j.Cost.SampleOn(j.Lengths[p.sample], p.first, p.width)
		for lane := p.first; lane < p.first+p.width; lane++ {
			load[lane] = least + f + b
		}
	}
	return out
}

// unitsOf groups placed samples that share their lanes into units of at most so many
// tokens a lane, widest first.
func (j *Job) unitsOf(samples []placed, tokens int) []Unit {
	samples = slices.Clone(samples)
	slices.SortStableFunc(samples, func(a, b placed) int {
		return cmp.Or(cmp.Compare(b.width, a.width), cmp.Compare(a.first, b.first))
	})
	var out []Unit
	room := 0
	for _, p := range samples {
		l := j.Lengths[p.sample]
		n := len(out) - 1
		if n < 0 || int(out[n].First) != p.first || int(out[n].Width) != p.width || l > room {
			out = append(out, Unit{First: int32(p.first), Width: int32(p.width)})
			room = max(l, tokens*p.width)
			n++
		}
		out[n].Slices = append(out[n].Slices, j.whole(p.sample))
		room -= l
	}
	return out
}

// floorPower is the largest power of two up to n, 1 or more.
func floorPower(n int) int {
	p := 1
	for 2*p <= n {
		p *= 2
	}
	return p
}

// powerFor is the smallest power of two of lanes that hold so many tokens with at
// most perLane each.
func powerFor(tokens, perLane int) int {
	w := 1
	for perLane*w < tokens {
		w *= 2
	}
	return w
}

// fastest is the best of candidates by the simulator: that fit memory first.
func (j *Job) fastest(candidates func(yield func(*Plan) bool)) (*Plan, error) {
	var best *Plan
	var score outcome
	var failed error
	candidates(func(p *Plan) bool {
		t, err := Evaluate(j, p)
		if err != nil {
			failed = err
			return false
		}
		if s := t.outcome(j); best == nil || s.better(score) {
			best, score = p, s
		}
		return true
	})
	return best, failed
}

// capacities are candidates for the tokens a lane of a unit: the most, halved.
func (j *Job) capacities() []int {
	var out []int
	for c := j.unitTokens(); c >= max(1, j.Cost.Tile) && len(out) < 6; c /= 2 {
		out = append(out, c)
	}
	if len(out) == 0 {
		out = append(out, j.unitTokens())
	}
	return out
}
