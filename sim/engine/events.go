package engine

import (
	"fmt"
	"math"

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
	// Flows gives, by WorkID, what a work sends over which links; a work of no
	// bytes, or beyond the end, takes its fixed duration. The fixed duration of a
	// flow is latency, added after its last byte.
	Flows []net.Flow
	// Slowdowns stretch the fixed durations of ranks; flows and their latency
	// are the network's.
	Slowdowns []Slowdown
}

// Executor runs programs event by event. It keeps its memory from run to run:
// only a run with flows allocates, and that by links and flows in progress, not
// by ops.
type Executor struct {
	p   *program.Program
	dur []unit.Time
	t   *timeline.Timeline

	now     unit.Time
	heap    eventHeap
	waiting []int32        // what each op still waits for
	nextAt  []int32        // who waits for each op, CSR:
	next    []program.OpID // next[nextAt[i]:nextAt[i+1]], beside
	follow  []program.OpID // the next op of its lane

	sharing *net.Sharing // nil without flows
	flows   []net.Flow
	flowOp  []program.OpID // by FlowID
	slow    slowdowns
}

// Events runs a program event by event: the next event is the earliest end,
// ties by op. Flows share links max-min fairly from the moment they start. Where
// nothing is shared and nothing slow the timeline is bit-identical to Relax's.
// Errors are those of Relax, and of resources that are malformed.
func Events(p *program.Program, dur []unit.Time, res Resources, t *timeline.Timeline) error {
	var x Executor
	return x.Run(p, dur, res, t)
}

// Run is [Events] with the executor's memory reused.
func (x *Executor) Run(p *program.Program, dur []unit.Time, res Resources, t *timeline.Timeline) error {
	if err := checkInput(p, dur); err != nil {
		return err
	}
	if err := p.Check(); err != nil {
		return err
	}
	if err := x.prepare(p, dur, res, t); err != nil {
		return err
	}
	for i, n := range x.waiting {
		if n == 0 {
			if err := x.start(program.OpID(i)); err != nil {
				return err
			}
		}
	}
	for {
		if x.sharing != nil {
			if err := x.endFlows(); err != nil {
				return err
			}
		}
		if len(x.heap) == 0 {
			break
		}
		e := x.heap.pop()
		x.now = e.at
		for _, s := range x.next[x.nextAt[e.op]:x.nextAt[e.op+1]] {
			if x.waiting[s]--; x.waiting[s] == 0 {
				if err := x.start(s); err != nil {
					return err
				}
			}
		}
		if s := x.follow[e.op]; s != program.None {
			if x.waiting[s]--; x.waiting[s] == 0 {
				if err := x.start(s); err != nil {
					return err
				}
			}
		}
	}
	settleBlockers(p, t)
	return checkInvariants(t)
}

// prepare takes the input over and turns dependencies around.
func (x *Executor) prepare(p *program.Program, dur []unit.Time, res Resources, t *timeline.Timeline) error {
	t.Reset(p)
	x.p, x.dur, x.t = p, dur, t
	x.now, x.heap = 0, x.heap[:0]
	x.sharing, x.flows, x.flowOp = nil, res.Flows, x.flowOp[:0]
	if len(res.Flows) > len(p.Works) {
		return fmt.Errorf("engine: %d flows for %d kinds of work", len(res.Flows), len(p.Works))
	}
	if len(res.Flows) > 0 {
		var err error
		if x.sharing, err = net.NewSharing(res.LinkGBps); err != nil {
			return fmt.Errorf("engine: %w", err)
		}
	}
	if err := x.slow.set(res.Slowdowns); err != nil {
		return err
	}
	x.link()
	return nil
}

// start begins an op now: a flow joins the links of its path, any other op ends
// after its duration.
func (x *Executor) start(op program.OpID) error {
	w := x.p.Work[op]
	x.t.Start[op] = x.now
	if int(w) < len(x.flows) && x.flows[w].Bytes != 0 {
		id, err := x.sharing.Start(x.now, x.flows[w])
		if err != nil {
			return fmt.Errorf("engine: op %d: %w", op, err)
		}
		for int(id) >= len(x.flowOp) {
			x.flowOp = append(x.flowOp, program.None)
		}
		x.flowOp[id] = op
		return nil
	}
	end := x.now + x.dur[w]
	if len(x.slow) > 0 {
		end = x.slow.end(x.p.Lanes[x.p.Lane[op]].Rank, x.now, x.dur[w])
	}
	return x.end(op, end)
}

// end puts an op's end, which is not before now unless it overflows, on the
// heap.
func (x *Executor) end(op program.OpID, at unit.Time) error {
	if at < 0 {
		return ErrOverflow
	}
	x.t.End[op] = at
	x.heap.push(event{at, op})
	return nil
}

// endFlows ends the flows that end before the next event of the heap, or with
// it. Events of this instant come first, so that rates are shared out once for
// all flows that start in it.
func (x *Executor) endFlows() error {
	for len(x.heap) == 0 || x.heap[0].at > x.now {
		at, _, ok := x.sharing.Next()
		if !ok || len(x.heap) > 0 && x.heap[0].at < at {
			return nil
		}
		if at == math.MaxInt64 { // the rate is too low for its bytes
			return ErrOverflow
		}
		_, id, _ := x.sharing.Finish()
		x.now = at
		op := x.flowOp[id]
		if err := x.end(op, at+x.dur[x.p.Work[op]]); err != nil {
			return err
		}
	}
	return nil
}

// settleBlockers names for each op what set its start, by Relax's rule, which
// does not depend on the order of events at one instant.
func settleBlockers(p *program.Program, t *timeline.Timeline) {
	lanes := t.LaneEnds(len(p.Lanes))
	for i, l := range p.Lane {
		free := &lanes[l]
		at, by := free.At, free.Op
		if at == 0 {
			by = program.None
		}
		for _, d := range p.Deps(program.OpID(i)) {
			if e := t.End[d]; e > at {
				at, by = e, d
			}
		}
		t.Blocker[i] = by
		free.At, free.Op = t.End[i], program.OpID(i)
	}
}

// link counts what each op waits for and lists who waits for it.
func (x *Executor) link() {
	p, n := x.p, x.p.Len()
	x.waiting = sized(x.waiting, n)
	x.next = sized(x.next, len(p.Dep))
	x.follow = sized(x.follow, n)
	// One entry further than the offsets: nextAt[i+1] is where i's list fills.
	at := sized(x.nextAt, n+2)
	clear(at)
	for _, d := range p.Dep {
		at[d+2]++
	}
	for i := 2; i < len(at); i++ {
		at[i] += at[i-1]
	}
	lanes := x.t.LaneEnds(len(p.Lanes))
	for i := range program.OpID(n) {
		deps := p.Deps(i)
		x.waiting[i] = int32(len(deps))
		for _, d := range deps {
			x.next[at[d+1]] = i
			at[d+1]++
		}
		x.follow[i] = program.None
		last := &lanes[p.Lane[i]]
		if last.Op != program.None {
			x.follow[last.Op] = i
			x.waiting[i]++
		}
		last.Op = i
	}
	x.nextAt = at
}

// sized is a slice of n elements, of any content, in s's memory where it
// suffices.
func sized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
