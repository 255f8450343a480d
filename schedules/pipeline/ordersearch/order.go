package ordersearch

import (
	"orrery/sim/unit"
)

// order is an order of passes and its longest paths, kept up to date move by move
// without allocating.
type order struct {
	m    *model
	word [][]pass // by device
	at   []int32  // place of a pass in its device's word
	held [][]int32
	// head is when a pass starts; tail how long it takes from its end to the end of
	// all that waits for it.
	head, tail []unit.Time
	topo       []pass // a topological order
	place      []int32
	span       unit.Time // the makespan

	dirty  []bool
	marked []bool
	left   []pass // scratch of a window of topo
	right  []pass
}

func newOrder(m *model) *order {
	n := len(m.cost)
	o := &order{m: m, at: make([]int32, n), head: make([]unit.Time, n), tail: make([]unit.Time, n), topo: make([]pass, n), place: make([]int32, n),
		dirty: make([]bool, n), marked: make([]bool, n), left: make([]pass, 0, n), right: make([]pass, 0, n)}
	for _, work := range m.work {
		o.word, o.held = append(o.word, make([]pass, len(work))), append(o.held, make([]int32, len(work)))
	}
	return o
}

// set takes an order of the model's passes; false where it runs into a deadlock.
func (o *order) set(word [][]pass) bool {
	for d := range word {
		copy(o.word[d], word[d])
		held := int32(0)
		for i, x := range word[d] {
			o.at[x] = int32(i)
			held += int32(o.m.holds(x))
			o.held[d][i] = held
		}
	}
	if !o.sort() {
		return false
	}
	for _, x := range o.topo {
		o.head[x] = o.headOf(x)
	}
	for i := len(o.topo) - 1; i >= 0; i-- {
		o.tail[o.topo[i]] = o.tailOf(o.topo[i])
	}
	o.span = o.makespan()
	return true
}

// sort makes a topological order from the words; false where there is none.
func (o *order) sort() bool {
	next := make([]int, len(o.word))
	n := 0
	for i := range o.place {
		o.place[i] = -1
	}
	for before := -1; before != n; {
		before = n
		for d, word := range o.word {
			for next[d] < len(word) {
				x := word[next[d]]
				if g := o.m.giver[x]; g != none && o.place[g] < 0 {
					break
				}
				if e := o.m.earlier[x]; e != none && o.place[e] < 0 {
					break
				}
				o.topo[n], o.place[x] = x, int32(n)
				n++
				next[d]++
			}
		}
	}
	return n == len(o.topo)
}

func (o *order) device(x pass) int { return int(o.m.on[x]) }

// before and after are the neighbours of a pass on its device.
func (o *order) before(x pass) pass {
	if i := o.at[x]; i > 0 {
		return o.word[o.device(x)][i-1]
	}
	return none
}

func (o *order) after(x pass) pass {
	word := o.word[o.device(x)]
	if i := int(o.at[x]); i+1 < len(word) {
		return word[i+1]
	}
	return none
}

// ready is when the inputs of a pass are there.
func (o *order) ready(x pass) unit.Time {
	t := unit.Time(0)
	if g := o.m.giver[x]; g != none {
		t = o.head[g] + o.m.cost[g] + o.m.lagIn[x]
	}
	if e := o.m.earlier[x]; e != none {
		t = max(t, o.head[e]+o.m.cost[e])
	}
	return t
}

// needed is how long it takes from the end of a pass through those that take its
// output.
func (o *order) needed(x pass) unit.Time {
	t := unit.Time(0)
	if y := o.m.taker[x]; y != none {
		t = o.m.lagOut[x] + o.m.cost[y] + o.tail[y]
	}
	if y := o.m.later[x]; y != none {
		t = max(t, o.m.cost[y]+o.tail[y])
	}
	return t
}

func (o *order) headOf(x pass) unit.Time {
	t := o.ready(x)
	if b := o.before(x); b != none {
		t = max(t, o.head[b]+o.m.cost[b])
	}
	return t
}

func (o *order) tailOf(x pass) unit.Time {
	t := o.needed(x)
	if a := o.after(x); a != none {
		t = max(t, o.m.cost[a]+o.tail[a])
	}
	return t
}

func (o *order) makespan() unit.Time {
	t := unit.Time(0)
	for _, word := range o.word {
		if last := len(word) - 1; last >= 0 {
			t = max(t, o.head[word[last]]+o.m.cost[word[last]])
		}
	}
	return t
}

// move takes the pass at place i of a device's word to place j, those between one
// place along. It is false, and nothing has changed, where a deadlock would follow.
// The caller sees to memory.
func (o *order) move(d, i, j int) bool {
	o.shift(d, i, j)
	x := o.word[d][j]
	ok := false
	if i < j {
		ok = o.sortLater(x)
	} else {
		ok = o.sortEarlier(x)
	}
	if !ok {
		o.shift(d, j, i)
		return false
	}
	lo, hi := min(i, j), max(i, j)
	o.renewHeads(d, lo, hi)
	o.renewTails(d, lo, hi)
	o.span = o.makespan()
	return true
}

// shift is move in the word alone.
func (o *order) shift(d, i, j int) {
	word, held := o.word[d], o.held[d]
	x := word[i]
	if i < j {
		copy(word[i:j], word[i+1:j+1])
	} else {
		copy(word[j+1:i+1], word[j:i])
	}
	word[j] = x
	lo, hi := min(i, j), max(i, j)
	level := int32(0)
	if lo > 0 {
		level = held[lo-1]
	}
	for k := lo; k <= hi; k++ {
		y := word[k]
		o.at[y] = int32(k)
		level += int32(o.m.holds(y))
		held[k] = level
	}
}

// sortLater repairs the topological order where x has come behind the pass that is
// now before it on its device: x and what follows from it goes behind that pass.
func (o *order) sortLater(x pass) bool {
	stop := o.before(x)
	from, to := o.place[x], o.place[stop]
	o.left, o.right = o.left[:0], o.right[:0]
	ok := true
	for p := from; p <= to; p++ {
		y := o.topo[p]
		follows := y == x
		if !follows {
			g, e, b := o.m.giver[y], o.m.earlier[y], o.before(y)
			follows = g != none && o.marked[g] || e != none && o.marked[e] || b != none && o.marked[b]
		}
		if !follows {
			o.left = append(o.left, y)
			continue
		}
		o.marked[y] = true
		o.right = append(o.right, y)
		if y == stop {
			ok = false
		}
	}
	for _, y := range o.right {
		o.marked[y] = false
	}
	if ok {
		o.write(from)
	}
	return ok
}

// sortEarlier is sortLater the other way round: x and what it waits for goes before
// the pass that is now behind it.
func (o *order) sortEarlier(x pass) bool {
	stop := o.after(x)
	from, to := o.place[stop], o.place[x]
	o.left, o.right = o.left[:0], o.right[:0] // both in reverse
	ok := true
	for p := to; p >= from; p-- {
		y := o.topo[p]
		leads := y == x
		if !leads {
			t, l, a := o.m.taker[y], o.m.later[y], o.after(y)
			leads = t != none && o.marked[t] || l != none && o.marked[l] || a != none && o.marked[a]
		}
		if !leads {
			o.right = append(o.right, y)
			continue
		}
		o.marked[y] = true
		o.left = append(o.left, y)
		if y == stop {
			ok = false
		}
	}
	for _, y := range o.left {
		o.marked[y] = false
	}
	if !ok {
		return false
	}
	p := to
	for _, part := range [][]pass{o.right, o.left} {
		for _, y := range part {
			o.topo[p], o.place[y] = y, p
			p--
		}
	}
	return true
}

// write puts the two halves of a window behind each other.
func (o *order) write(p int32) {
	for _, part := range [][]pass{o.left, o.right} {
		for _, y := range part {
			o.topo[p], o.place[y] = y, p
			p++
		}
	}
}

// renewHeads computes the heads that changed because places lo to hi of a word did.
func (o *order) renewHeads(d, lo, hi int) {
	word := o.word[d]
	p, n := int32(len(o.topo)), 0
	for k := lo; k <= min(hi+1, len(word)-1); k++ {
		o.dirty[word[k]] = true
		p = min(p, o.place[word[k]])
		n++
	}
	for ; n > 0; p++ {
		x := o.topo[p]
		if !o.dirty[x] {
			continue
		}
		o.dirty[x] = false
		n--
		t := o.headOf(x)
		if t == o.head[x] {
			continue
		}
		o.head[x] = t
		n += o.soil(o.m.taker[x]) + o.soil(o.m.later[x]) + o.soil(o.after(x))
	}
}

// renewTails is renewHeads the other way round.
func (o *order) renewTails(d, lo, hi int) {
	word := o.word[d]
	p, n := int32(-1), 0
	for k := max(lo-1, 0); k <= hi; k++ {
		o.dirty[word[k]] = true
		p = max(p, o.place[word[k]])
		n++
	}
	for ; n > 0; p-- {
		x := o.topo[p]
		if !o.dirty[x] {
			continue
		}
		o.dirty[x] = false
		n--
		t := o.tailOf(x)
		if t == o.tail[x] {
			continue
		}
		o.tail[x] = t
		n += o.soil(o.m.giver[x]) + o.soil(o.m.earlier[x]) + o.soil(o.before(x))
	}
}

// soil marks a pass to be computed again; 1 where it was not marked.
func (o *order) soil(x pass) int {
	if x == none || o.dirty[x] {
		return 0
	}
	o.dirty[x] = true
	return 1
}

// fits reports whether no device ever holds more than the limit.
func (o *order) fits() bool {
	for _, held := range o.held {
		for _, h := range held {
			if o.m.Limit > 0 && int(h) > o.m.Limit {
				return false
			}
		}
	}
	return true
}
