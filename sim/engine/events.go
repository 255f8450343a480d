package engine

import (
	"fmt"

	"orrery/sim/net"
	"orrery/sim/program"
	"orrery/sim/timeline"
	"orrery/sim/unit"
)

// Resources are what ops share at a rate, and what makes ranks unequal. The
// zero value shares nothing.
type Resources struct {
	// LinkGBps is the capacity of each link.
	LinkGBps []float64
	// Flows gives, by WorkID, the path over links that a work's bytes take and how
	// many there are; a work without a path takes its fixed duration. The fixed
	// duration of a flow is latency, added after its last byte.
	Flows []net.Flow
	// Slowdown multiplies the durations of a rank's ops; empty or 1 is nominal.
	Slowdown []float64
}

// event is the end of an op.
type event struct {
	at unit.Time
	op program.OpID
}

// Executor runs programs event by event. It keeps its memory from run to run.
type Executor struct {
	heap    []event
	waiting []int32        // open dependencies and predecessors of each op
	nextAt  []int32        // successors by op, CSR
	next    []program.OpID // beside the next op of the lane
	follow  []program.OpID // next op of the lane
	flowOf  map[net.FlowID]program.OpID
}

// Events runs a program event by event: the next event is the earliest end,
// ties by op. Flows share links max-min fairly from the moment they start.
func Events(p *program.Program, dur []unit.Time, res Resources, t *timeline.Timeline) error {
	var x Executor
	return x.Run(p, dur, res, t)
}

// Run is Events with the executor's memory reused.
func (x *Executor) Run(p *program.Program, dur []unit.Time, res Resources, t *timeline.Timeline) error {
	if err := checkDurations(p, dur); err != nil {
		return err
	}
	t.Reset(p)
	x.link(p)
	var sharing *net.Sharing
	if len(res.Flows) > 0 {
		var err error
		if sharing, err = net.NewSharing(res.LinkGBps); err != nil {
			return err
		}
		x.flowOf = map[net.FlowID]program.OpID{}
	}
	for i := range t.Blocker {
		t.Blocker[i] = program.None
		if x.waiting[i] == 0 {
			if err := x.start(p, dur, &res, sharing, t, program.OpID(i), 0); err != nil {
				return err
			}
		}
	}
	done := 0
	for {
		e, ok, err := x.pop(p, dur, &res, sharing, t)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		done++
		for _, s := range x.next[x.nextAt[e.op]:x.nextAt[e.op+1]] {
			if err := x.arrive(p, dur, &res, sharing, t, s, e); err != nil {
				return err
			}
		}
		if s := x.follow[e.op]; s != program.None {
			if err := x.arrive(p, dur, &res, sharing, t, s, e); err != nil {
				return err
			}
		}
	}
	if done < p.Len() {
		return fmt.Errorf("engine: %d of %d ops never start: the program is not in topological order", p.Len()-done, p.Len())
	}
	settleBlockers(p, t)
	return nil
}

// arrive counts down an op's open predecessors and starts it after the last.
func (x *Executor) arrive(p *program.Program, dur []unit.Time, res *Resources, sh *net.Sharing, t *timeline.Timeline, op program.OpID, by event) error {
	if x.waiting[op]--; x.waiting[op] > 0 {
		return nil
	}
	return x.start(p, dur, res, sh, t, op, by.at)
}

// start begins an op now: a flow joins the links of its path, any other op ends
// after its duration.
func (x *Executor) start(p *program.Program, dur []unit.Time, res *Resources, sh *net.Sharing, t *timeline.Timeline, op program.OpID, now unit.Time) error {
	t.Start[op] = now
	w := p.Work[op]
	d := dur[w]
	if rank := int(p.Lanes[p.Lane[op]].Rank); rank < len(res.Slowdown) && res.Slowdown[rank] != 1 {
		d = unit.Seconds(d.Seconds() * res.Slowdown[rank])
	}
	if int(w) < len(res.Flows) && len(res.Flows[w].Path) > 0 && res.Flows[w].Bytes > 0 {
		id, err := sh.Start(now, res.Flows[w])
		if err != nil {
			return err
		}
		x.flowOf[id] = op
		t.End[op] = d // latency, until the flow ends
		return nil
	}
	end := now + d
	if end < now {
		return ErrOverflow
	}
	t.End[op] = end
	x.push(event{end, op})
	return nil
}

// pop returns the next end of an op, letting flows end that end before it.
func (x *Executor) pop(p *program.Program, dur []unit.Time, res *Resources, sh *net.Sharing, t *timeline.Timeline) (event, bool, error) {
	for sh != nil {
		at, _, ok := sh.Next()
		if !ok || len(x.heap) > 0 && x.heap[0].at < at {
			break
		}
		_, id, _ := sh.Finish()
		op := x.flowOf[id]
		delete(x.flowOf, id)
		end := at + t.End[op]
		if end < at {
			return event{}, false, ErrOverflow
		}
		t.End[op] = end
		x.push(event{end, op})
	}
	if len(x.heap) == 0 {
		return event{}, false, nil
	}
	top := x.heap[0]
	n := len(x.heap) - 1
	x.heap[0] = x.heap[n]
	x.heap = x.heap[:n]
	x.down(0)
	return top, true, nil
}

// settleBlockers names for each op what set its start, by Relax's rule, which
// does not depend on the order of events at one instant.
func settleBlockers(p *program.Program, t *timeline.Timeline) {
	last := t.Scratch(len(p.Lanes))
	for i := range program.OpID(p.Len()) {
		by, at := program.None, unit.Time(0)
		l := p.Lane[i]
		if prev := last[l]; prev != program.None && t.End[prev] > at {
			by, at = prev, t.End[prev]
		}
		for _, d := range p.Deps(i) {
			if t.End[d] > at {
				by, at = d, t.End[d]
			}
		}
		t.Blocker[i] = by
		last[l] = i
	}
}

// link turns dependencies around: who waits for whom.
func (x *Executor) link(p *program.Program) {
	n := p.Len()
	x.waiting = grow(x.waiting, n)
	x.nextAt = grow(x.nextAt, n+1)
	x.next = grow(x.next, len(p.Dep))
	x.follow = grow(x.follow, n)
	x.heap = x.heap[:0]
	clear(x.nextAt)
	for _, d := range p.Dep {
		x.nextAt[d+1]++
	}
	for i := range n {
		x.nextAt[i+1] += x.nextAt[i]
	}
	lanes := make([]program.OpID, len(p.Lanes))
	for i := range lanes {
		lanes[i] = program.None
	}
	fill := grow([]int32(nil), n)
	copy(fill, x.nextAt[:n])
	for i := range program.OpID(n) {
		deps := p.Deps(i)
		x.waiting[i] = int32(len(deps))
		for _, d := range deps {
			x.next[fill[d]] = i
			fill[d]++
		}
		x.follow[i] = program.None
		if prev := lanes[p.Lane[i]]; prev != program.None {
			x.follow[prev] = i
			x.waiting[i]++
		}
		lanes[p.Lane[i]] = i
	}
}

func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// less orders events by time, then op.
func (a event) less(b event) bool { return a.at < b.at || a.at == b.at && a.op < b.op }

func (x *Executor) push(e event) {
	h := append(x.heap, e)
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !e.less(h[up]) {
			break
		}
		h[i] = h[up]
		i = up
	}
	h[i] = e
	x.heap = h
}

func (x *Executor) down(i int) {
	h := x.heap
	if len(h) == 0 {
		return
	}
	e := h[i]
	for {
		c := 2*i + 1
		if c >= len(h) {
			break
		}
		if c+1 < len(h) && h[c+1].less(h[c]) {
			c++
		}
		if !h[c].less(e) {
			break
		}
		h[i] = h[c]
		i = c
	}
	h[i] = e
}
