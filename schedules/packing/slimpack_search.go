package packing

import (
	"math"
	"slices"

	"orrery/sim/unit"
)

// search looks for the best cutting of a part with the simulator: first some
// numbers of units, the same forward and backward; then one thing at a time is
// changed as long as that helps. like, where it is set, fixes the order of passes,
// which all parts of a plan share.
func (p *part) search(o SlimPack, like *cutting) {
	orders := []cutting{{hop: 1, pace: PaceTokens}, {hop: 1, pace: PaceNeed}}
	if like != nil {
		orders = []cutting{{hop: like.hop, pace: like.pace}}
	}
	long := []bool{false, true}
	if o.NoAsymmetry {
		long = []bool{true, false} // the reverse of a long chain holds much memory
	}
	guesses := p.guesses()
	// The shared partition has an optimum of its own, so the climb begins at both.
	shared := []bool{false, true}
	if o.NoAsymmetry {
		shared = shared[:1] // build shares in any case
	}
	var best *part
	keep := func() {
		if p.plan != nil && (best == nil || p.score.better(best.score)) {
			found := *p
			best = &found
		}
	}
	keep() // what was found before is not tried again
	for _, sh := range shared {
		p.plan = nil
		for _, n := range guesses {
			for _, l := range long {
				for _, c := range orders {
					c.forward, c.backward, c.long, c.shared = n[fwd], n[bwd], l, sh
					if (!sh || l) && (p.plan == nil || *p.passes > 0) {
						p.try(o, c)
					}
				}
			}
		}
		if p.plan != nil {
			p.climb(o, like == nil, 0)
		}
		keep()
	}
	if best != nil {
		*p = *best
	}
}

// climb changes one thing at a time as long as that helps, by smaller and smaller
// steps, until the part is as fast as enough.
func (p *part) climb(o SlimPack, free bool, enough unit.Time) {
	if p.most == 0 {
		p.guesses()
	}
	for step := 2.0; step > 1.1; step = math.Sqrt(step) {
		for improved := true; improved; {
			improved = false
			for _, next := range p.neighbours(o, step, free) {
				if *p.passes < 0 || p.score.fits && p.score.time <= enough {
					return
				}
				if p.try(o, next) {
					improved = true
					break
				}
			}
		}
	}
}

// guesses are numbers of units around the optimum of the closed form: units of
// equal time cost (p-1) of them as bubble, and their own fixed time each, so the
// best number is the root of (p-1) total / fixed.
func (p *part) guesses() [][2]int {
	total := p.totals()
	var out [][2]int
	for _, scale := range []float64{1, 0.5, 2, 0.25} {
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
		p.most = max(p.most, 2*n[fwd], 2*n[bwd])
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

// neighbours are the cuttings one change away.
func (p *part) neighbours(o SlimPack, step float64, free bool) []cutting {
	c := p.cutting
	var out []cutting
	add := func(change func(*cutting)) {
		n := c
		change(&n)
		if n != c && n.hop >= 1 && n.hop <= 4 {
			out = append(out, n)
		}
	}
	more := func(n int) int { return min(p.bounded(max(float64(n+1), float64(n)*step)), max(n, p.most)) }
	less := func(n int) int { return p.bounded(min(float64(n-1), float64(n)/step)) }
	add(func(n *cutting) { n.forward, n.backward = more(c.forward), more(c.backward) })
	add(func(n *cutting) { n.forward, n.backward = less(c.forward), less(c.backward) })
	if !o.NoAsymmetry {
		add(func(n *cutting) { n.forward = more(c.forward) })
		add(func(n *cutting) { n.forward = less(c.forward) })
		add(func(n *cutting) { n.backward = more(c.backward) })
		add(func(n *cutting) { n.backward = less(c.backward) })
	}
	if !o.NoAsymmetry {
		add(func(n *cutting) { n.shared = !c.shared })
	}
	add(func(n *cutting) { n.long = !c.long })
	if free {
		add(func(n *cutting) { n.hop++ })
		add(func(n *cutting) { n.hop-- })
		for _, pace := range []Pace{PaceUnits, PaceTokens, PaceNeed} {
			add(func(n *cutting) { n.pace = pace })
		}
	}
	return out
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
	out.passes = p.passes
	return out
}
