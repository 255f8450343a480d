package ordersearch

import (
	"cmp"
	"container/heap"
	"fmt"
	"slices"

	"orrery/sim/unit"
)

// Bound is a makespan that no order can beat.
type Bound struct {
	Time unit.Time
	Why  string // the argument that it is from
}

// maxSharpened bounds the work of sharpening heads and tails, passes x passes of a
// device.
const maxSharpened = 1 << 24

// bounder computes for each pass how early it can start and how long it takes from
// its end to the end of all, in whatever order.
type bounder struct {
	m          *model
	head, tail []unit.Time
	chrono     []pass // a topological order of what any order must keep
	alike      bool   // microbatches may be renumbered: passes of a kind run in turn
}

// lowerBound is the longest of: the longest chain of passes; for each device, the
// shortest preemptive one-machine schedule of its passes between heads and tails
// (Carlier, EJOR 11(1), 1982); for each device, the time that its memory takes to
// hold every activation for as long as it must be held.
func lowerBound(m *model) Bound {
	b := &bounder{m: m, head: make([]unit.Time, len(m.cost)), tail: make([]unit.Time, len(m.cost)), alike: m.Shape.Slices == 1}
	b.sortPasses()
	b.spread()
	most := 0
	for _, work := range m.work {
		most = max(most, len(work))
	}
	if b.alike && len(m.cost)*most <= maxSharpened {
		b.sharpen()
		b.spread()
	}
	var best Bound
	take := func(t unit.Time, why string, args ...any) {
		if t > best.Time {
			best = Bound{t, fmt.Sprintf(why, args...)}
		}
	}
	for x := range m.cost {
		take(b.head[x]+m.cost[x]+b.tail[x], "how early a pass can start and all that has to follow it")
	}
	for d := range m.work {
		take(b.oneMachine(d), "the work of device %d after the way to its first pass and before the way from its last", d)
		if m.Limit > 0 {
			take(b.area(d), "device %d has to hold every activation from its forward until its backward has come back", d)
		}
	}
	return best
}

// sortPasses lists the passes microbatch by microbatch, each after what it needs.
func (b *bounder) sortPasses() {
	m := b.m
	n := m.Shape.Slices
	for mb := range m.Shape.Microbatches {
		for phase := range m.phases {
			for k := mb * n; k < (mb+1)*n; k++ {
				for s := range m.stages {
					if phase == 1 {
						s = m.stages - 1 - s
					}
					b.chrono = append(b.chrono, m.pass(s, phase, k))
				}
			}
		}
	}
}

// neighbour is the pass of the same stage and phase that must be over, or not yet
// begun, when x runs: by so many passes before or behind it; none where there is none.
func (b *bounder) neighbour(x pass, by int) pass {
	k := int(x)%b.m.each + by
	n := b.m.Shape.Slices
	if k < 0 || k >= b.m.each || !b.alike && (k/n != int(x)%b.m.each/n || b.m.phase(x) == 2) {
		return none
	}
	return x + pass(by)
}

// spread makes heads and tails at least what they are of the passes around.
func (b *bounder) spread() {
	m, limit := b.m, b.m.Limit
	if !b.alike || limit >= m.each {
		limit = 0
	}
	last := m.phases - 1
	for _, x := range b.chrono {
		t := b.head[x]
		follow := func(y pass, lag unit.Time) {
			if y != none {
				t = max(t, b.head[y]+m.cost[y]+lag)
			}
		}
		follow(m.giver[x], m.lagIn[x])
		follow(m.earlier[x], 0)
		follow(b.neighbour(x, -1), 0)
		// A stage alone may not hold more than the device.
		if k := int(x) % m.each; limit > 0 && m.phase(x) == 0 && k >= limit {
			follow(m.pass(m.stage(x), last, k-limit), 0)
		}
		b.head[x] = t
	}
	for i := len(b.chrono) - 1; i >= 0; i-- {
		x := b.chrono[i]
		t := b.tail[x]
		lead := func(y pass, lag unit.Time) {
			if y != none {
				t = max(t, b.tail[y]+m.cost[y]+lag)
			}
		}
		lead(m.taker[x], m.lagOut[x])
		lead(m.later[x], 0)
		lead(b.neighbour(x, 1), 0)
		if k := int(x) % m.each; limit > 0 && m.phase(x) == last && k+limit < m.each {
			lead(m.pass(m.stage(x), 0, k+limit), 0)
		}
		b.tail[x] = t
	}
}

// sharpen makes a pass start no earlier than its device can have run all that must
// come before it, and the same backwards.
func (b *bounder) sharpen() {
	m := b.m
	for _, x := range b.chrono {
		b.sharpenOne(x, b.head, func(kind, k int) pass { return pass(kind*m.each + k) }, b.preceding)
	}
	for i := len(b.chrono) - 1; i >= 0; i-- {
		b.sharpenOne(b.chrono[i], b.tail, func(kind, k int) pass { return pass(kind*m.each + m.each - 1 - k) }, b.following)
	}
}

// sharpenOne raises the time of one pass, a head or a tail, to when its device has
// run the passes of each kind that are counted, of which at is the k-th.
func (b *bounder) sharpenOne(x pass, times []unit.Time, at func(kind, k int) pass, count func(x pass, kind int) int) {
	m := b.m
	d := m.on[x]
	var before []pass
	for s, on := range m.device {
		if on != d {
			continue
		}
		for phase := range m.phases {
			kind := s*m.phases + phase
			for k := range count(x, kind) {
				before = append(before, at(kind, k))
			}
		}
	}
	slices.SortFunc(before, func(x, y pass) int { return cmp.Compare(times[x], times[y]) })
	t := unit.Time(0)
	for _, y := range before {
		t = max(t, times[y]) + m.cost[y]
	}
	times[x] = max(times[x], t)
}

// preceding is how many passes of a kind of its device must be over when x starts.
func (b *bounder) preceding(x pass, kind int) int {
	m := b.m
	s, phase, k := m.stage(x), m.phase(x), int(x)%m.each
	t, other := kind/m.phases, kind%m.phases
	switch {
	case kind == m.kind(x):
		return k
	case other == 0 && (phase != 0 || t < s):
		return k + 1 // forwards come before all backwards of their microbatch
	case other == 1 && phase != 0 && (t > s || t == s && phase == 2):
		return k + 1
	}
	return 0
}

// following is how many passes of a kind of its device can only start when x is over.
func (b *bounder) following(x pass, kind int) int {
	m := b.m
	s, phase, k := m.stage(x), m.phase(x), m.each-1-int(x)%m.each
	t, other := kind/m.phases, kind%m.phases
	switch {
	case kind == m.kind(x):
		return k
	case phase == 0 && (other != 0 || t > s):
		return k + 1
	case phase == 1 && other != 0 && (t < s || t == s && other == 2):
		return k + 1
	}
	return 0
}

// byTail is a heap of passes, that with the longest tail first.
type byTail struct {
	list []pass
	tail []unit.Time
}

func (h *byTail) Len() int           { return len(h.list) }
func (h *byTail) Less(i, j int) bool { return h.tail[h.list[i]] > h.tail[h.list[j]] }
func (h *byTail) Swap(i, j int)      { h.list[i], h.list[j] = h.list[j], h.list[i] }
func (h *byTail) Push(x any)         { h.list = append(h.list, x.(pass)) }
func (h *byTail) Pop() any {
	last := len(h.list) - 1
	x := h.list[last]
	h.list = h.list[:last]
	return x
}

// oneMachine is Jackson's preemptive schedule of a device: whatever is there with
// the longest tail runs, until something with a longer one comes.
func (b *bounder) oneMachine(d int) unit.Time {
	m := b.m
	coming := slices.Clone(m.work[d])
	slices.SortStableFunc(coming, func(x, y pass) int { return cmp.Compare(b.head[x], b.head[y]) })
	left := make(map[pass]unit.Time, len(coming))
	ready := &byTail{tail: b.tail}
	now, end := unit.Time(0), unit.Time(0)
	for len(coming) > 0 || ready.Len() > 0 {
		if ready.Len() == 0 {
			now = max(now, b.head[coming[0]])
		}
		for len(coming) > 0 && b.head[coming[0]] <= now {
			left[coming[0]] = m.cost[coming[0]]
			heap.Push(ready, coming[0])
			coming = coming[1:]
		}
		x := ready.list[0]
		run := left[x]
		if len(coming) > 0 {
			run = min(run, b.head[coming[0]]-now)
		}
		now += run
		left[x] -= run
		if left[x] == 0 {
			heap.Pop(ready)
			end = max(end, now+b.tail[x])
		}
	}
	return end
}

// area bounds by memory: an activation of a stage is held while its microbatch is
// further down and comes back, and a device holds at most Limit of them at a time.
// At the start it can only hold as many as it has run forwards, at the end only as
// many as it has backwards left.
func (b *bounder) area(d int) unit.Time {
	m := b.m
	limit := unit.Time(m.Limit)
	first, last := b.head[m.work[d][0]], b.tail[m.work[d][0]]
	up, down := m.cost[m.work[d][0]], unit.Time(-1)
	total := unit.Time(0)
	for _, x := range m.work[d] {
		first, last = min(first, b.head[x]), min(last, b.tail[x])
		switch m.holds(x) {
		case 1:
			up = min(up, m.cost[x])
			total += m.holding(x)
		case -1:
			if down < 0 || m.cost[x] < down {
				down = m.cost[x]
			}
		}
	}
	span := (total + limit - 1) / limit
	if ramps := (up + down) * limit * (limit - 1) / 2; (total+ramps)/limit >= (up+down)*limit {
		span = (total + ramps + limit - 1) / limit
	}
	return first + span + last
}

// holding is how long a forward's activation is held at least: on to the last stage
// and back.
func (m *model) holding(x pass) unit.Time {
	t := m.cost[x]
	for y := x; m.taker[y] != none; y = m.taker[y] {
		t += m.lagOut[y] + m.cost[m.taker[y]]
	}
	for y := m.later[x]; ; y = m.giver[y] {
		t += m.cost[y]
		if m.giver[y] == none {
			break
		}
		t += m.lagIn[y]
	}
	if w := m.later[m.later[x]]; !m.Fused && w != none {
		t += m.cost[w]
	}
	return t
}
