package program

import (
	"fmt"
	"strings"
)

// Ref names an op of a Draft, in the order of adding.
type Ref int32

// Draft is a program whose ops are given lane by lane, in the order in which
// each lane runs them, with dependencies on ops of any place: a receive may be
// added before its send. Build numbers the ops topologically. The zero value is
// an empty draft.
type Draft struct {
	lanes []Lane
	works []Work

	// by op
	lane   []LaneID
	work   []WorkID
	behind []Ref // next op of the lane, or noRef

	first, last []Ref // by lane

	deps []draftDep
}

type draftDep struct{ op, on Ref }

const noRef = Ref(-1)

// AddLane appends a lane.
func (d *Draft) AddLane(rank int32, name string) LaneID {
	d.lanes = append(d.lanes, Lane{rank, name})
	d.first = append(d.first, noRef)
	d.last = append(d.last, noRef)
	return LaneID(len(d.lanes) - 1)
}

// AddWork appends a kind of work.
func (d *Draft) AddWork(w Work) WorkID {
	d.works = append(d.works, w)
	return WorkID(len(d.works) - 1)
}

// Op appends an op behind those of its lane. A lane that the draft does not
// have is Build's error.
func (d *Draft) Op(lane LaneID, work WorkID) Ref {
	r := Ref(len(d.lane))
	d.lane = append(d.lane, lane)
	d.work = append(d.work, work)
	d.behind = append(d.behind, noRef)
	if uint(lane) >= uint(len(d.last)) {
		return r
	}
	if prev := d.last[lane]; prev != noRef {
		d.behind[prev] = r
	} else {
		d.first[lane] = r
	}
	d.last[lane] = r
	return r
}

// Dep makes op wait for the end of another, which need not be there yet.
func (d *Draft) Dep(op, on Ref) { d.deps = append(d.deps, draftDep{op, on}) }

// Build numbers the ops so that each comes after its dependencies and after the
// ops before it in its lane, and returns the program with the new number of each
// op by Ref. Each lane goes on until it waits, then the lanes that waited for it
// take their turn, so that ops that follow each other lie together; an op's
// dependencies keep their order. It takes time linear in ops and dependencies.
//
// A Draft whose ops wait for each other in a circle gives a [*CycleError].
func (d *Draft) Build() (*Program, []OpID, error) {
	depAt, dep, err := d.csr()
	if err != nil {
		return nil, nil, err
	}
	n := len(d.lane)
	p := &Program{
		Lane: make([]LaneID, 0, n), Work: make([]WorkID, 0, n),
		Dep: make([]OpID, 0, len(dep)), DepAt: make([]int32, 1, n+1),
		Lanes: d.lanes, Works: d.works,
	}
	id := make([]OpID, n)
	waiters := make([]LaneID, n) // lanes that wait for an op, linked by nextWaiter
	for i := range id {
		id[i], waiters[i] = None, noLane
	}
	nextWaiter := make([]LaneID, len(d.lanes))
	head := append([]Ref(nil), d.first...)
	ready := make([]LaneID, len(d.lanes)) // a ring: each lane is in it at most once
	for l := range ready {
		ready[l] = LaneID(l)
	}
	for at, queued := 0, len(ready); queued > 0; queued-- {
		l := ready[at]
		if at++; at == len(ready) {
			at = 0
		}
		r := head[l]
	run:
		for ; r != noRef; r = d.behind[r] {
			open := len(p.Dep)
			for _, on := range dep[depAt[r]:depAt[r+1]] {
				if id[on] == None {
					p.Dep = p.Dep[:open]
					nextWaiter[l], waiters[on] = waiters[on], l
					break run
				}
				p.Dep = append(p.Dep, id[on])
			}
			id[r] = OpID(len(p.Lane))
			p.Lane = append(p.Lane, l)
			p.Work = append(p.Work, d.work[r])
			p.DepAt = append(p.DepAt, int32(len(p.Dep)))
			for w := waiters[r]; w != noLane; w = nextWaiter[w] {
				slot := at + queued - 1 // l has left the ring: there is room
				if slot >= len(ready) {
					slot -= len(ready)
				}
				ready[slot] = w
				queued++
			}
		}
		head[l] = r
	}
	if len(p.Lane) < n {
		return nil, nil, d.cycle(head, id, depAt, dep)
	}
	return p, id, nil
}

const noLane = LaneID(-1)

// csr sorts the dependencies by op, in the order in which they were added.
func (d *Draft) csr() (at []int32, dep []Ref, err error) {
	n := len(d.lane)
	for i := range n {
		if uint(d.lane[i]) >= uint(len(d.lanes)) {
			return nil, nil, fmt.Errorf("program: op %d is on lane %d of %d", i, d.lane[i], len(d.lanes))
		}
		if uint(d.work[i]) >= uint(len(d.works)) {
			return nil, nil, fmt.Errorf("program: op %d is work %d of %d", i, d.work[i], len(d.works))
		}
	}
	at = make([]int32, n+2) // one further than needed: at[i+1] is where op i fills
	for _, e := range d.deps {
		if uint(e.op) >= uint(n) || uint(e.on) >= uint(n) {
			return nil, nil, fmt.Errorf("program: op %d depends on op %d, of %d ops", e.op, e.on, n)
		}
		at[e.op+2]++
	}
	for i := 2; i < len(at); i++ {
		at[i] += at[i-1]
	}
	dep = make([]Ref, len(d.deps))
	for _, e := range d.deps {
		dep[at[e.op+1]] = e.on
		at[e.op+1]++
	}
	return at[:n+1], dep, nil
}

// CycleError names ops that wait for each other in a circle: each waits for the
// next, the last for the first.
type CycleError struct {
	Ops  []Ref
	text string
}

func (e *CycleError) Error() string { return e.text }

// cycle finds a circle among the ops that could not be numbered. The head of
// each lane that is left waits for an op of such a lane: going from lane to lane
// must come back to one that was seen.
func (d *Draft) cycle(head []Ref, id []OpID, depAt []int32, dep []Ref) error {
	missing := func(r Ref) Ref {
		for _, on := range dep[depAt[r]:depAt[r+1]] {
			if id[on] == None {
				return on
			}
		}
		return noRef
	}
	at := LaneID(0)
	for head[at] == noRef {
		at++
	}
	seen := make([]bool, len(d.lanes))
	for !seen[at] {
		seen[at] = true
		at = d.lane[missing(head[at])]
	}
	e := &CycleError{}
	var b strings.Builder
	b.WriteString("program: ops wait for each other:")
	for start := at; ; {
		r := head[at]
		on := missing(r)
		e.Ops = append(e.Ops, r)
		d.tell(&b, len(e.Ops), " ", r)
		d.tell(&b, len(e.Ops), " waits for ", on)
		at = d.lane[on]
		if next := head[at]; on != next {
			e.Ops = append(e.Ops, on)
			d.tell(&b, len(e.Ops), ", which is behind ", next)
		}
		if at == start {
			break
		}
		b.WriteByte(';')
	}
	e.text = b.String()
	if len(e.Ops) > cycleShown {
		e.text = fmt.Sprintf("%s … (%d ops)", strings.TrimRight(e.text, ";"), len(e.Ops))
	}
	return e
}

// cycleShown is how many ops of a circle an error spells out.
const cycleShown = 12

func (d *Draft) tell(b *strings.Builder, nth int, how string, r Ref) {
	if nth > cycleShown {
		return
	}
	l := d.lanes[d.lane[r]]
	fmt.Fprintf(b, "%sop %d (%s on rank %d, %s)", how, r, d.works[d.work[r]].Name, l.Rank, l.Name)
}
