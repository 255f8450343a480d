package ordersearch

import (
	"math"
	"math/rand/v2"
	"slices"

	"orrery/sim/unit"
)

// rule is how list scheduling chooses: the pass that could start first, where a
// forward counts as so much later than it is and a weight gradient too. A device so
// waits for a backward that is about to arrive instead of starting what would delay
// it.
type rule struct {
	forward, weight float64 // in costs of the pass itself
	deep            bool    // of forwards that could start at once, that of the deepest stage
	cap             int     // activations that a device holds; the limit, or less
	// Forwards of a stage that may be ahead of its backwards, over how many passes of
	// a stage run while one comes back if nothing waits; 0 is any.
	ahead float64
	// Each choice is wrong by up to so much of a pass's cost, by chance.
	noise float64
	rng   *rand.Rand
}

// rules are those that are tried.
func rules(m *model) []rule {
	limit := m.Limit
	if limit == 0 {
		limit = m.Shape.Virtual * m.each
	}
	least, usual := m.Shape.Virtual*m.Shape.Slices, m.Shape.Devices*m.Shape.Virtual
	var caps []int
	for _, n := range []int{limit, 2 * usual, usual, (usual + least) / 2} {
		if n = max(min(n, limit), least); len(caps) == 0 || n < caps[len(caps)-1] {
			caps = append(caps, n)
		}
	}
	var out []rule
	weights := []float64{0, 0.5, 1}
	if m.Fused {
		weights = []float64{0}
	}
	for _, n := range caps {
		for _, deep := range []bool{true, false} {
			for _, ahead := range []float64{0, 1, 1.25, 1.5, 2} {
				for _, f := range []float64{0, 1} {
					for _, w := range weights {
						out = append(out, rule{forward: f, weight: w, deep: deep, cap: n, ahead: ahead})
					}
				}
			}
		}
	}
	some := max(minRules, maxListed/len(m.cost))
	if some >= len(out) {
		return out
	}
	for i := range some { // evenly
		out[i] = out[i*len(out)/some]
	}
	return out[:some]
}

// Of large problems fewer rules are tried: so many passes are listed in all, but so
// many rules at least.
const maxListed, minRules = 1 << 20, 8

// anyRule is a rule by chance.
func anyRule(m *model, rng *rand.Rand) rule {
	limit := m.Limit
	if limit == 0 {
		limit = m.Shape.Virtual * m.each
	}
	r := rule{forward: rng.Float64(), weight: 2 * rng.Float64(), deep: rng.IntN(2) == 0, cap: limit, noise: rng.Float64(), rng: rng}
	if rng.IntN(3) > 0 {
		r.ahead = 0.75 + 1.5*rng.Float64()
	}
	return r
}

// lister is a run of list scheduling.
type lister struct {
	m     *model
	r     rule
	next  []int       // by kind: how many ran
	end   []unit.Time // by pass; -1 has not run
	free  []unit.Time // by device
	held  []int
	old   []int   // by device: the oldest microbatch that it is not done with
	share [][]mem // by device and microbatch
	kinds [][]int
	most  []int // by stage: forwards ahead of backwards
	word  [][]pass
}

// list schedules by a rule, pass by pass in the order in which they start. It always
// gets to the end: a device only takes a forward that leaves it enough memory to
// finish its microbatches one after the other, the oldest first (Dijkstra's banker,
// EWD 123), so that the oldest of all can always go on.
func list(m *model, r rule) [][]pass {
	p := len(m.work)
	l := &lister{m: m, r: r, next: make([]int, m.stages*m.phases), end: make([]unit.Time, len(m.cost)), free: make([]unit.Time, p), held: make([]int, p),
		old: make([]int, p), share: make([][]mem, p), kinds: make([][]int, p), word: make([][]pass, p)}
	for i := range l.end {
		l.end[i] = -1
	}
	for s, d := range m.device {
		for phase := range m.phases {
			l.kinds[d] = append(l.kinds[d], s*m.phases+phase)
		}
	}
	each := m.Shape.Virtual * m.Shape.Slices
	for d := range l.share {
		l.share[d] = slices.Repeat([]mem{{owed: each, left: each * m.phases}}, m.Shape.Microbatches)
	}
	l.allow()
	choice := make([]chosen, p)
	for d := range choice {
		choice[d] = l.choose(d)
	}
	for range m.cost {
		at := -1
		for d, c := range choice {
			if c.x != none && (at < 0 || c.start < choice[at].start) {
				at = d
			}
		}
		x := choice[at].x
		l.run(at, choice[at])
		choice[at] = l.choose(at)
		if to := m.taker[x]; to != none {
			d := m.on[to]
			choice[d] = l.choose(int(d))
		}
	}
	return l.word
}

// mem is the memory of a microbatch on a device, in activations.
type mem struct {
	held int
	owed int // forwards that are still to run
	left int // passes that are
}

type chosen struct {
	x     pass
	start unit.Time
}

// choose is what a device runs next as things are.
func (l *lister) choose(d int) chosen {
	best, worth := chosen{x: none}, 0.0
	for _, kind := range l.kinds[d] {
		k := l.next[kind]
		if k == l.m.each {
			continue
		}
		x := pass(kind*l.m.each + k)
		start, ok := l.start(d, x)
		if !ok {
			continue
		}
		value := float64(start)
		switch l.m.phase(x) {
		case 0:
			value += l.r.forward * float64(l.m.cost[x])
		case 2:
			value += l.r.weight * float64(l.m.cost[x])
		}
		if l.r.noise > 0 {
			value += l.r.noise * l.r.rng.Float64() * float64(l.m.cost[x])
		}
		if better := best.x == none || value < worth || value == worth && l.prefer(x, best.x); better {
			best, worth = chosen{x, start}, value
		}
	}
	return best
}

// prefer breaks ties: backwards first, weight gradients last.
func (l *lister) prefer(x, y pass) bool {
	rank := [...]int{1, 0, 2}
	px, py := l.m.phase(x), l.m.phase(y)
	if px != py {
		return rank[px] < rank[py]
	}
	return l.r.deep == (l.m.stage(x) > l.m.stage(y))
}

// start is when a pass could; false where an input has no time or memory is short.
func (l *lister) start(d int, x pass) (unit.Time, bool) {
	m, t := l.m, l.free[d]
	if g := m.giver[x]; g != none {
		if l.end[g] < 0 {
			return 0, false
		}
		t = max(t, l.end[g]+m.lagIn[x])
	}
	if e := m.earlier[x]; e != none {
		if l.end[e] < 0 {
			return 0, false
		}
		t = max(t, l.end[e])
	}
	if m.phase(x) == 0 && l.microbatch(x) != l.old[d] {
		ahead := l.next[m.kind(x)] - l.next[m.kind(x)+1]
		if ahead >= l.most[m.stage(x)] || !l.safe(d, l.microbatch(x)) {
			return 0, false
		}
	}
	return t, true
}

// allow computes how many forwards each stage may be ahead.
func (l *lister) allow() {
	m := l.m
	pace := unit.Time(1) // of a microbatch, or slice, through the busiest device
	for _, work := range m.work {
		busy := unit.Time(0)
		for _, x := range work {
			busy += m.cost[x]
		}
		pace = max(pace, busy/unit.Time(m.each))
	}
	for s := range m.stages {
		n := m.each
		if l.r.ahead > 0 {
			n = max(m.Shape.Slices, int(math.Ceil(l.r.ahead*float64(m.holding(m.pass(s, 0, 0)))/float64(pace))))
		}
		l.most = append(l.most, n)
	}
}

func (l *lister) microbatch(x pass) int { return int(x) % l.m.each / l.m.Shape.Slices }

func (l *lister) run(d int, c chosen) {
	x := c.x
	l.end[x] = c.start + l.m.cost[x]
	l.free[d] = l.end[x]
	l.held[d] += l.m.holds(x)
	l.next[l.m.kind(x)]++
	l.word[d] = append(l.word[d], x)
	share := l.share[d]
	of := &share[l.microbatch(x)]
	of.left--
	of.held += l.m.holds(x)
	if l.m.phase(x) == 0 {
		of.owed--
	}
	for l.old[d] < len(share) && share[l.old[d]].left == 0 {
		l.old[d]++
	}
}

// safe reports whether a device that ran one more forward of a microbatch could
// finish all that it has begun, the oldest first.
func (l *lister) safe(d, mb int) bool {
	free := l.r.cap - l.held[d] - 1
	if free < 0 {
		return false
	}
	each := l.m.Shape.Virtual * l.m.Shape.Slices
	for k := l.old[d]; free < each && k < len(l.share[d]); k++ {
		m := l.share[d][k]
		if k == mb {
			m.owed--
			m.held++
		}
		if m.owed > free {
			return false
		}
		free += m.held
	}
	return true
}
