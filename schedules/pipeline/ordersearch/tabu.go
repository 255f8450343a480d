package ordersearch

import (
	"math/rand/v2"

	"orrery/sim/unit"
)

// How far a pass is moved at most, in passes of its device: longer ways are taken in
// steps.
const reach = 24

// forbidden is the size of the table of arcs that are not to come back.
const forbidden = 1 << 14

// chain is one tabu search: steps to the best order of a neighbourhood that was not
// left lately (Nowicki and Smutnicki, Management Science 42(6), 1996, for job
// shops). The neighbourhood is that of the longest path: the makespan only falls
// if a pass within a block of it, a run of passes on one device, comes before the
// block's first or behind its last (Balas and Vazacopoulos, Management Science
// 44(2), 1998). A move is judged by the longest path through the passes that it
// shifts, from heads and tails as they were (Taillard, ORSA J. Computing 6(2),
// 1994): exact for neighbours that are swapped, an estimate for longer ways.
type chain struct {
	o      *order
	rng    *rand.Rand
	path   []pass
	until  []int32 // by hashed arc: the step up to which it must not come back
	step   int32
	heads  [2*reach + 2]unit.Time
	seq    []pass
	judged int64 // moves, for reports

	best     [][]pass
	bestSpan unit.Time
	fresh    int32 // step of the last new best
}

func newChain(o *order, seed uint64, stream uint64) *chain {
	c := &chain{o: o, rng: rand.New(rand.NewPCG(seed, stream)), path: make([]pass, 0, len(o.topo)), seq: make([]pass, 0, 2*reach+2), until: make([]int32, forbidden), bestSpan: o.span}
	for _, word := range o.word {
		c.best = append(c.best, append([]pass(nil), word...))
	}
	return c
}

// proposal is a move and what it is worth.
type proposal struct {
	d, from, to int
	freed       int // place of a pass that goes before x, to make room for it; -1 where none does
	span        unit.Time
	ties        int
}

// run takes so many steps, or as many as it takes to reach the goal or to be stopped.
func (c *chain) run(steps int, goal unit.Time, stop func() bool) {
	patience := int32(max(50, len(c.o.topo)))
	for i := range steps {
		if c.bestSpan <= goal || i%256 == 0 && stop() {
			return
		}
		c.step++
		if c.step-c.fresh > patience {
			c.restart()
		}
		if !c.advance() {
			c.kick(8)
		}
		if c.o.span < c.bestSpan {
			c.bestSpan, c.fresh = c.o.span, c.step
			for d, word := range c.o.word {
				copy(c.best[d], word)
			}
		}
	}
}

// restart goes back to the best order and away from it another way.
func (c *chain) restart() {
	if c.rng.IntN(2) == 0 {
		c.o.set(list(c.o.m, anyRule(c.o.m, c.rng)))
	} else {
		c.o.set(c.best)
	}
	clear(c.until)
	c.fresh = c.step
	c.kick(4 + c.rng.IntN(12))
}

// kick makes so many random swaps of neighbours.
func (c *chain) kick(swaps int) {
	for range swaps {
		d := c.rng.IntN(len(c.o.word))
		word := c.o.word[d]
		if len(word) < 2 {
			continue
		}
		i := c.rng.IntN(len(word) - 1)
		if c.may(d, i, i+1) {
			c.o.move(d, i, i+1)
		}
	}
}

// may reports whether neighbours at i and j = i+1 can change places.
func (c *chain) may(d, i, j int) bool {
	o := c.o
	x, y := o.word[d][i], o.word[d][j]
	m := o.m
	if m.kind(x) == m.kind(y) || m.later[x] == y || m.taker[x] == y {
		return false
	}
	return m.Limit == 0 || int(o.held[d][i])-m.holds(x)+m.holds(y) <= m.Limit
}

// advance makes the best move that is allowed; false where there is none, or it would
// deadlock.
func (c *chain) advance() bool {
	p, ok := c.choose()
	if !ok {
		return false
	}
	c.forbid(p)
	return c.make(p)
}

// choose is the best move of the neighbourhood that is allowed, else the best.
func (c *chain) choose() (proposal, bool) {
	c.trace()
	var best, forced proposal
	best.span, forced.span = -1, -1
	o := c.o
	for lo := 0; lo < len(c.path); {
		d := o.device(c.path[lo])
		hi := lo
		for hi+1 < len(c.path) && o.before(c.path[hi+1]) == c.path[hi] {
			hi++
		}
		if hi > lo {
			first, last := int(o.at[c.path[lo]]), int(o.at[c.path[hi]])
			c.block(d, first, last, &best, &forced)
		}
		lo = hi + 1
	}
	if best.span < 0 {
		best = forced
	}
	return best, best.span >= 0
}

// make makes a move; false, and nothing has changed, where a deadlock would follow.
func (c *chain) make(p proposal) bool {
	from, to := p.from, p.to
	if p.freed < 0 {
		return c.o.move(p.d, from, to)
	}
	if !c.o.move(p.d, p.freed, to) {
		return false
	}
	if p.freed > from {
		from++
	}
	if !c.o.move(p.d, from, to+1) {
		c.o.move(p.d, to, p.freed)
		return false
	}
	return true
}

// trace walks back along a longest path; where several are as long, along any.
func (c *chain) trace() {
	o := c.o
	m := o.m
	c.path = c.path[:0]
	x, ends := none, 0
	for _, word := range o.word {
		if len(word) == 0 {
			continue
		}
		if y := word[len(word)-1]; o.head[y]+m.cost[y] == o.span {
			if ends++; c.rng.IntN(ends) == 0 {
				x = y
			}
		}
	}
	for x != none {
		c.path = append(c.path, x)
		from, ways := none, 0
		for _, w := range [...]struct {
			y   pass
			lag unit.Time
		}{{o.before(x), 0}, {m.giver[x], m.lagIn[x]}, {m.earlier[x], 0}} {
			if w.y != none && o.head[w.y]+m.cost[w.y]+w.lag == o.head[x] {
				if ways++; ways == 1 || c.rng.IntN(ways) == 0 {
					from = w.y
				}
			}
		}
		x = from
	}
	for i, j := 0, len(c.path)-1; i < j; i, j = i+1, j-1 {
		c.path[i], c.path[j] = c.path[j], c.path[i]
	}
}

// block proposes the moves of one block, at places first to last of a device.
func (c *chain) block(d, first, last int, best, forced *proposal) {
	for i := max(first, last-reach); i < last; i++ {
		c.later(d, i, last, best, forced)
		if last-i > 1 && c.rng.IntN(2) == 0 {
			c.later(d, i, i+1+c.rng.IntN(last-i-1), best, forced)
		}
	}
	for i := min(last, first+reach); i > first; i-- {
		c.earlier(d, i, first, best, forced)
		if i-first > 1 && c.rng.IntN(2) == 0 {
			c.earlier(d, i, i-1-c.rng.IntN(i-first-1), best, forced)
		}
		if m := c.o.m; m.Limit > 0 && !m.Fused && m.phase(c.o.word[d][i]) == 0 && int(c.o.held[d][first]) >= m.Limit-1 {
			c.exchange(d, i, first, best, forced)
		}
	}
}

// later proposes to move the pass at i behind that at place end, or as far as it may.
func (c *chain) later(d, i, end int, best, forced *proposal) {
	o, m := c.o, c.o.m
	word := o.word[d]
	x := word[i]
	holds, kind := int32(m.holds(x)), m.kind(x)
	// What takes x's output may not have to run before a pass that x goes behind: it
	// does not where it ends later than that pass starts.
	bar := unit.Time(-1)
	for _, y := range [...]pass{m.taker[x], m.later[x]} {
		if y != none && (bar < 0 || o.head[y]+m.cost[y] < bar) {
			bar = o.head[y] + m.cost[y]
		}
	}
	free := unit.Time(0)
	if i > 0 {
		free = o.head[word[i-1]] + m.cost[word[i-1]]
	}
	banned := false
	j := i
	for ; j < end; j++ {
		y := word[j+1]
		if m.kind(y) == kind || y == m.later[x] || y == m.taker[x] || bar >= 0 && o.head[y] >= bar {
			break
		}
		if holds < 0 && m.Limit > 0 && int(o.held[d][j+1]-holds) > m.Limit {
			break
		}
		h := max(free, o.ready(y))
		c.heads[j-i] = h
		free = h + m.cost[y]
		banned = banned || c.until[arc(y, x)] >= c.step
	}
	if j == i {
		return
	}
	tail := o.needed(x)
	if j+1 < len(word) {
		z := word[j+1]
		tail = max(tail, m.cost[z]+o.tail[z])
	}
	span := max(free, o.ready(x)) + m.cost[x] + tail
	next := m.cost[x] + tail
	for k := j; k > i; k-- {
		y := word[k]
		next = max(next, o.needed(y)) + m.cost[y]
		span = max(span, c.heads[k-i-1]+next)
	}
	c.propose(proposal{d, i, j, -1, span, 0}, banned, best, forced)
}

// earlier proposes to move the pass at i before that at place end, or as far as it may.
func (c *chain) earlier(d, i, end int, best, forced *proposal) {
	o, m := c.o, c.o.m
	word := o.word[d]
	x := word[i]
	holds, kind := int32(m.holds(x)), m.kind(x)
	// What x waits for does not wait for a pass that ends later than it starts.
	bar := unit.Time(-1)
	for _, y := range [...]pass{m.giver[x], m.earlier[x]} {
		if y != none {
			bar = max(bar, o.head[y])
		}
	}
	next := unit.Time(0) // the way on from what is before
	if i+1 < len(word) {
		z := word[i+1]
		next = m.cost[z] + o.tail[z]
	}
	banned := false
	to, after, barred := i, next, false
	for j := i; j > end; j-- {
		y := word[j-1]
		if m.kind(y) == kind || y == m.earlier[x] || y == m.giver[x] || bar >= 0 && o.head[y]+m.cost[y] <= bar {
			break
		}
		if holds > 0 && m.Limit > 0 && int(o.held[d][j-1]+holds) > m.Limit {
			break // y would run with x's activation there
		}
		next = max(next, o.needed(y))
		c.heads[i-j] = next // tails, here
		next += m.cost[y]
		banned = banned || c.until[arc(x, y)] >= c.step
		if holds > 0 && m.Limit > 0 && j > 1 && int(o.held[d][j-2]+holds) > m.Limit {
			continue // x before y has too much, y gives its own back
		}
		to, after, barred = j-1, next, banned
	}
	if to == i {
		return
	}
	free := unit.Time(0)
	if to > 0 {
		b := word[to-1]
		free = o.head[b] + m.cost[b]
	}
	free = max(free, o.ready(x)) + m.cost[x]
	span := free + max(after, o.needed(x))
	for k := to; k < i; k++ {
		y := word[k]
		free = max(free, o.ready(y)) + m.cost[y]
		span = max(span, free+c.heads[i-1-k])
	}
	c.propose(proposal{d, i, to, -1, span, 0}, barred, best, forced)
}

// exchange proposes to move the forward at i before the pass at place to, and before
// it a weight gradient that gives back what it takes.
func (c *chain) exchange(d, i, to int, best, forced *proposal) {
	o, m := c.o, c.o.m
	word := o.word[d]
	x := word[i]
	banned := false
	for j := i - 1; j >= to; j-- {
		y := word[j]
		if g := m.giver[x]; m.kind(y) == m.kind(x) || y == g || g != none && o.head[y]+m.cost[y] <= o.head[g] {
			return
		}
		banned = banned || c.until[arc(x, y)] >= c.step
	}
	w := to
	for last := min(len(word)-1, i+reach); m.phase(word[w]) != 2 || int(o.at[m.earlier[word[w]]]) >= to; w++ {
		if w == last {
			return
		}
	}
	if w == to { // it runs there already
		return
	}
	for k := w + 1; k < i; k++ { // these hold x's activation in place of what w gave back
		if int(o.held[d][k]) >= m.Limit {
			return
		}
	}
	c.seq = append(c.seq[:0], word[w], x)
	for k := to; k <= max(i, w); k++ {
		if k != i && k != w {
			c.seq = append(c.seq, word[k])
		}
	}
	c.propose(proposal{d, i, to, w, c.estimate(d, to), 0}, banned, best, forced)
}

// estimate is the longest path through the passes of seq if they ran one behind
// another on a device from a place on.
func (c *chain) estimate(d, lo int) unit.Time {
	o, m := c.o, c.o.m
	word := o.word[d]
	free := unit.Time(0)
	if lo > 0 {
		free = o.head[word[lo-1]] + m.cost[word[lo-1]]
	}
	for k, x := range c.seq {
		c.heads[k] = max(free, o.ready(x))
		free = c.heads[k] + m.cost[x]
	}
	next, span := unit.Time(0), unit.Time(0)
	if z := lo + len(c.seq); z < len(word) {
		next = m.cost[word[z]] + o.tail[word[z]]
	}
	for k := len(c.seq) - 1; k >= 0; k-- {
		x := c.seq[k]
		next = max(next, o.needed(x)) + m.cost[x]
		span = max(span, c.heads[k]+next)
	}
	return span
}

// propose keeps the shortest proposal, of equal ones any; one that is forbidden
// only where it leads to a new best or nothing else is left.
func (c *chain) propose(p proposal, banned bool, best, forced *proposal) {
	c.judged++
	into := best
	if banned && p.span >= c.bestSpan {
		into = forced
	}
	switch {
	case into.span < 0 || p.span < into.span:
		p.ties = 1
		*into = p
	case p.span == into.span:
		ties := into.ties + 1
		if c.rng.IntN(ties) == 0 {
			*into = p
		}
		into.ties = ties
	}
}

// forbid bars the way back of a move for some steps.
func (c *chain) forbid(p proposal) {
	until := c.step + 8 + int32(c.rng.IntN(12))
	word := c.o.word[p.d]
	x := word[p.from]
	for j := p.from + 1; j <= p.to; j++ {
		c.until[arc(x, word[j])] = until
	}
	for j := p.to; j < p.from; j++ {
		c.until[arc(word[j], x)] = until
	}
}

// arc hashes that x runs before y.
func arc(x, y pass) int {
	h := (uint32(x)*0x9E3779B1 ^ uint32(y)) * 0x85EBCA6B
	return int(h >> 18)
}
