package packing

import (
	"math"
	"math/rand/v2"
	"slices"

	"orrery/sim/unit"
)

// search looks for the best cutting of a part with the simulator: first some numbers
// of units, the same forward and backward, with and without ramps; then it changes
// things at random, as long as that helps. like, where it is set, fixes the order of
// passes, which all parts of a plan share.
func (p *part) search(o SlimPack, like *cutting) {
	orders := []cutting{{hop: 1, pace: PaceTokens}, {hop: 1, pace: PaceNeed}, {hop: 2, pace: PaceUnits}}
	if like != nil {
		orders = []cutting{{hop: like.hop, pace: like.pace}}
	}
	ramps := []cutting{{}, {up: 4, down: 8, front: 3}}
	if o.NoRamps || p.job.PP == 1 {
		ramps = ramps[:1]
	}
	guesses, best, passes := p.guesses(), *p, p.passes
	for i, r := range ramps { // each start climbs its own hill, with its share of the passes
		share := passes / (len(ramps) - i)
		p.plan, p.passes = nil, share
		p.seed(o, guesses, orders, r)
		if p.plan != nil {
			p.climb(o, like == nil, 0)
		}
		passes -= share - p.passes
		if p.plan != nil && (best.plan == nil || p.score.better(best.score)) {
			best = *p
		}
	}
	best.err, best.passes = p.err, passes
	*p = best
}

// seed tries numbers of units with the ramps of r.
func (p *part) seed(o SlimPack, guesses [][2]int, orders []cutting, r cutting) {
	for _, n := range guesses {
		for _, c := range orders {
			c.forward, c.backward = n[fwd], n[bwd]
			c.up, c.down, c.front = r.up, r.down, r.front
			for _, shared := range []bool{true, false} {
				if p.score.fits && p.passes < 0 {
					return
				}
				c.long, c.shared = shared, shared // the reverse of a long chain holds much memory
				p.try(o, c)
			}
		}
	}
}

// patience is how many changes in a row that do not help end a climb.
const patience = 150

// climb changes the cutting at random as long as that helps, until the part is as fast
// as enough. The numbers are the same in every run.
func (p *part) climb(o SlimPack, free bool, enough unit.Time) {
	if p.most == 0 {
		p.guesses()
	}
	rng := rand.New(rand.NewPCG(1, uint64(p.first)))
	for failed := 0; failed < patience && p.passes >= 0; failed++ {
		if p.score.fits && p.score.time <= enough {
			return
		}
		next := p.cutting
		for range 1 + rng.IntN(3) {
			p.change(o, &next, rng, free)
		}
		if p.try(o, next) {
			failed = 0
		}
	}
}

// change changes one thing of a cutting.
func (p *part) change(o SlimPack, c *cutting, rng *rand.Rand, free bool) {
	scaled := func(n int, by float64) int {
		m := p.bounded(float64(n) * by)
		if m == n && by > 1 {
			m = p.bounded(float64(n + 1))
		} else if m == n {
			m = p.bounded(float64(n - 1))
		}
		return min(m, max(n, p.most))
	}
	by := math.Exp(rng.NormFloat64() / 3)
	step := 1 + rng.IntN(3)
	if rng.IntN(2) == 0 {
		step = -step
	}
	within := func(n, most int) int { return min(max(n+step, 0), most) }
	switch rng.IntN(10) {
	case 0, 1:
		c.forward, c.backward = scaled(c.forward, by), scaled(c.backward, by)
	case 2:
		c.backward = scaled(c.backward, by)
	case 3:
		c.forward = scaled(c.forward, by)
	case 4:
		c.up = within(c.up, maxRamp)
	case 5:
		c.down = within(c.down, 2*maxRamp)
	case 6:
		c.front = within(c.front, frontSteps)
	case 7:
		c.long = !c.long
	case 8:
		c.shared = !c.shared
	case 9:
		if !free {
			return
		}
		if rng.IntN(2) == 0 {
			c.hop = max(1, within(c.hop, maxHop))
		} else {
			c.pace = []Pace{PaceUnits, PaceTokens, PaceNeed}[rng.IntN(3)]
		}
	}
	if o.NoAsymmetry {
		c.shared = false // build shares in any case
		c.backward = c.forward
	}
	if o.NoRamps || p.job.PP == 1 {
		c.up, c.down, c.front = 0, 0, 0
	}
}

// Bounds of the search.
const (
	maxHop  = 4
	maxRamp = 8 // units at the start; twice as many at the end, where ramps are flatter
)

// guesses are numbers of units around the optimum of the closed form: units of
// equal time cost (p-1) of them as bubble, and their own fixed time each, so the
// best number is the root of (p-1) total / fixed.
func (p *part) guesses() [][2]int {
	total := p.totals()
	var out [][2]int
	for _, scale := range []float64{1, 0.5, 0.25} {
		var n [2]int
		for k, fixed := range [2]float64{p.job.Cost.UnitS, p.job.Cost.UnitBackS} {
			n[k] = p.bounded(math.Sqrt(float64(p.job.PP-1)*total[k]/fixed) * scale)
		}
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	// Far more than the optimum only cost time, here and on the cluster.
	p.most = 0
	for _, n := range out {
		p.most = max(p.most, 4*n[fwd], 4*n[bwd])
	}
	// And as many as there are microbatches in classic packing.
	tokens := 0
	for _, samples := range p.own {
		t := 0
		for _, s := range samples {
			t += p.job.Lengths[s]
		}
		tokens = max(tokens, t)
	}
	rows := p.bounded(float64(tokens) / float64(p.job.Context))
	p.most = max(p.most, 8*rows)
	return append(out, [2]int{rows, rows})
}

// bounded is a number of units that a part can have: not less than a quantum or a
// sample each.
func (p *part) bounded(n float64) int {
	tokens := 0
	for _, l := range p.job.Lengths {
		tokens += l
	}
	most := max(tokens/p.cutter(1, true).quantum, len(p.ids))/len(p.own) + 1
	if !(n < float64(most)) { // no fixed time: as many as there can be
		return most
	}
	return max(1, int(math.Round(n)))
}

// rebalance moves samples from the slowest part to the fastest as long as the
// simulator says that it helps, in parts of one replica.
func (o SlimPack) rebalance(parts []*part) {
	if o.NoAssignment {
		return
	}
	for range 16 {
		slow, fast := -1, -1
		for i, p := range parts {
			if len(p.own) > 1 {
				continue
			}
			if slow < 0 || p.score.time > parts[slow].score.time {
				slow = i
			}
			if fast < 0 || p.score.time < parts[fast].score.time {
				fast = i
			}
		}
		if slow < 0 || !o.move(parts[slow], parts[fast]) {
			return
		}
	}
}

// move takes the sample nearest to half of the difference from slow to fast; it
// reports whether the slower of the two is faster then, and changes nothing else.
func (o SlimPack) move(slow, fast *part) bool {
	gap := (slow.score.time - fast.score.time).Seconds()
	if gap <= 2e-3*slow.score.time.Seconds() || len(slow.ids) < 2 || !slow.score.fits || !fast.score.fits {
		return false
	}
	best, off := -1, gap/2
	for i, s := range slow.own[0] {
		f, b := slow.job.Cost.SampleOn(slow.job.Lengths[s], 0, slow.job.CP)
		if d := math.Abs(f + b - gap/2); d < off {
			best, off = i, d
		}
	}
	if best < 0 {
		return false
	}
	stay := slow.globalIDs(slices.Delete(slices.Clone(slow.own[0]), best, best+1))
	come := append(fast.globalIDs(fast.own[0]), slow.ids[slow.own[0][best]])
	sortDescending(slow.all, come)
	less, more := slow.with(stay), fast.with(come)
	less.try(o, slow.cutting)
	more.try(o, fast.cutting)
	if max(less.score.time, more.score.time) >= slow.score.time || !less.score.fits || !more.score.fits {
		return false
	}
	*slow, *fast = *less, *more
	return true
}

// globalIDs is the numbers of the part's samples in the whole job.
func (p *part) globalIDs(samples []int32) []int32 {
	out := make([]int32, len(samples), len(samples)+1)
	for i, s := range samples {
		out[i] = p.ids[s]
	}
	return out
}

// with is a part of the same replica with other samples, by their numbers in the
// whole job.
func (p *part) with(samples []int32) *part {
	out := newPart(p.all, p.first, p.first+1)
	out.own[0] = out.add(samples)
	return out
}
