package packing

import (
	"fmt"
	"math"
	"slices"

	"orrery/sim/unit"
)

// Timing is how a plan runs.
type Timing struct {
	// Step is when the slowest lane ends: gradients are reduced then.
	Step unit.Time
	// Forward and Backward are the times of the plan's units on one stage (not the last).
	Forward, Backward []unit.Time
	LaneEnd           []unit.Time   // when each lane's last pass ended
	Busy              [][]unit.Time // by lane and stage
	// Peak is the most tokens' activations that a rank holds, by stage; the
	// gradients of keys and values count as their share of a token.
	Peak []float64
}

// outcome is what plans are chosen by.
type outcome struct {
	fits bool
	peak float64 // of the fullest stage, over its limit
	time unit.Time
}

// outcome says how long the plan takes and whether no rank is over the limit of
// memory, but for the rounding of sums of fractions of tokens.
func (t *Timing) outcome(j *Job) outcome {
	peak := 0.0
	for s, tokens := range t.Peak {
		peak = max(peak, tokens/j.MemoryAt(s))
	}
	return outcome{fits: peak <= 1+1e-9, peak: peak, time: t.Step}
}

// better says whether a plan is to be preferred: one that fits before one that does
// not, of those that fit the faster, of the others the one that holds less.
func (o outcome) better(than outcome) bool {
	switch {
	case o.fits != than.fits:
		return o.fits
	case !o.fits && o.peak != than.peak:
		return o.peak < than.peak
	}
	return o.time < than.time
}

// Evaluate times a plan, which must be valid, by one model for all packers: an
// exact longest path over the passes (unit, stage).
//
// Every lane is a pipeline that runs forward units in the order of the plan, and
// so for backward units. A stage starts a backward as soon as its order allows:
// before backward unit k, stage s of a lane has run the forwards that hold its
// samples (later slices of them included), what the [Pace] adds, and hop x (PP-1-s)
// more. With whole samples, [PaceUnits] and hop 1 this is 1F1B. A pass waits for the pass before it on each of its
// lanes, for the stage before it (forward) or after it (backward) and the
// transfer. A unit of several lanes starts when all are free.
//
// It returns an error where lanes wait for each other in a circle, or where the
// times leave the range of unit.Time.
func Evaluate(j *Job, p *Plan) (*Timing, error) {
	r, err := newRun(j, p)
	if err != nil {
		return nil, err
	}
	if err := r.run(); err != nil {
		return nil, err
	}
	return r.timing(j), nil
}

// block is neighbouring lanes that run the same units.
type block struct {
	first, lanes      int
	forward, backward []int32 // units, in order
	need              []int32 // forwards that must have run before each backward unit
}

// run is the state of Evaluate.
type run struct {
	plan   *Plan
	p, hop int
	blocks []block
	// By unit: the blocks that run it, and its times.
	on     [2][][2]int32
	times  [2][]unitTime
	end    [2][]unit.Time // of unit u on stage s at u*p+s
	queue  []int32        // block*p+stage to try
	done   [2][]int32     // passes run, by block*p+stage
	free   []unit.Time
	busy   []unit.Time
	passes int // that have not run
}

const (
	fwd = 0
	bwd = 1
)

const unset unit.Time = -1

func newRun(j *Job, plan *Plan) (*run, error) {
	r := &run{plan: plan, p: j.PP, hop: plan.hop()}
	r.cut(j)
	total := 0.0                          // ps, of all passes one after the other
	last := make([]int32, len(j.Lengths)) // by sample, forwards of its block up to its last
	for k, units := range [2][]Unit{plan.Forward, plan.Backward} {
		r.on[k] = make([][2]int32, len(units))
		r.times[k] = make([]unitTime, len(units))
		r.end[k] = make([]unit.Time, len(units)*r.p)
		for i := range r.end[k] {
			r.end[k][i] = unset
		}
		for i := range units {
			u := &units[i]
			from, _ := slices.BinarySearchFunc(r.blocks, int(u.First), func(b block, lane int) int { return b.first - lane })
			to := from
			for to < len(r.blocks) && r.blocks[to].first < int(u.First)+int(u.Width) {
				to++
			}
			r.on[k][i] = [2]int32{int32(from), int32(to)}
			t := j.Cost.time(u)
			r.times[k][i] = t
			total += float64(r.p) * (float64(t.forward) + float64(t.backward) + float64(t.lastForward) + float64(t.lastBackward) + float64(t.hop))
			for b := from; b < to; b++ {
				blk := &r.blocks[b]
				if k == fwd {
					blk.forward = append(blk.forward, int32(i))
					continue
				}
				blk.backward = append(blk.backward, int32(i))
			}
			r.passes += r.p
		}
	}
	if total > math.MaxInt64/2 {
		return nil, fmt.Errorf("the passes of %d units could take %.3g s, out of the range of time (%.3g s)",
			len(plan.Forward)+len(plan.Backward), total/float64(unit.Second), unit.Time(math.MaxInt64/2).Seconds())
	}
	// What a backward waits for depends on the lane: how many forwards of others lie
	// between. Blocks are few, so each goes through its own units.
	for b := range r.blocks {
		blk := &r.blocks[b]
		for i, u := range blk.forward {
			for _, s := range plan.Forward[u].Slices {
				last[s.Sample] = int32(i) + 1
			}
		}
		r.pace(blk, last)
	}
	n := len(r.blocks) * r.p
	r.done = [2][]int32{make([]int32, n), make([]int32, n)}
	r.free, r.busy = make([]unit.Time, n), make([]unit.Time, n)
	return r, nil
}

// cut finds the blocks: the lanes where a unit begins or ends part them.
func (r *run) cut(j *Job) {
	edge := make([]bool, j.Lanes()+1)
	for _, units := range [2][]Unit{r.plan.Forward, r.plan.Backward} {
		for i := range units {
			u := &units[i]
			edge[u.First], edge[u.First+u.Width] = true, true
		}
	}
	edge[0], edge[j.Lanes()] = true, true
	for lane, first := 1, 0; lane <= j.Lanes(); lane++ {
		if edge[lane] {
			r.blocks = append(r.blocks, block{first: first, lanes: lane - first})
			first = lane
		}
	}
}

// pace says how many forwards of a block must have run before each backward on the
// last stage; last is, by sample, the forwards up to its last slice.
func (r *run) pace(blk *block, last []int32) {
	blk.need = make([]int32, len(blk.backward))
	need, window, freed, run := int32(0), 0.0, 0.0, 0.0
	f := int32(0) // forwards that run holds the tokens of
	for i, u := range blk.backward {
		for _, s := range r.plan.Backward[u].Slices {
			need = max(need, last[s.Sample])
		}
		switch r.plan.Pace {
		case PaceUnits:
			if i > 0 {
				need = max(need, blk.need[i-1]+1)
			}
		case PaceTokens:
			for ; f < need; f++ {
				run += laneTokens(&r.plan.Forward[blk.forward[f]])
			}
			if i == 0 {
				window = run
			}
			for ; int(f) < len(blk.forward) && run < freed+window; f++ {
				run += laneTokens(&r.plan.Forward[blk.forward[f]])
			}
			need = max(need, f)
			freed += laneTokens(&r.plan.Backward[u])
		}
		blk.need[i] = min(need, int32(len(blk.forward)))
	}
}

// next is the pass that a stage of a block runs next: of which list, and the
// unit; -1 where it has run all.
func (r *run) next(b, s int) (kind int, u int32) {
	blk, at := &r.blocks[b], b*r.p+s
	f, g := int(r.done[fwd][at]), int(r.done[bwd][at])
	if g < len(blk.backward) && f >= min(len(blk.forward), int(blk.need[g])+r.hop*(r.p-1-s)) {
		return bwd, blk.backward[g]
	}
	if f < len(blk.forward) {
		return fwd, blk.forward[f]
	}
	return fwd, -1
}

func (r *run) run() error {
	for i := len(r.blocks)*r.p - 1; i >= 0; i-- {
		r.queue = append(r.queue, int32(i))
	}
	for len(r.queue) > 0 {
		at := r.queue[len(r.queue)-1]
		r.queue = r.queue[:len(r.queue)-1]
		r.advance(int(at)/r.p, int(at)%r.p)
	}
	if r.passes > 0 {
		return fmt.Errorf("the plan deadlocks: %d passes wait for each other; units of several lanes must come in the same order on all", r.passes)
	}
	return nil
}

// advance runs what stage s of block b can run.
func (r *run) advance(b, s int) {
	for {
		kind, u := r.next(b, s)
		if u < 0 {
			return
		}
		t := &r.times[kind][u]
		start, duration := unit.Time(0), t.forward
		from := s - 1 // stage that the input comes from
		if kind == bwd {
			from, duration = s+1, t.backward
		}
		if s == r.p-1 {
			duration = t.lastForward
			if kind == bwd {
				duration = t.lastBackward
			}
		}
		if from >= 0 && from < r.p {
			end := r.end[kind][int(u)*r.p+from]
			if end == unset {
				return
			}
			start = end + t.hop
		}
		lo, hi := int(r.on[kind][u][0]), int(r.on[kind][u][1])
		for other := lo; other < hi; other++ {
			if other != b {
				if k, v := r.next(other, s); k != kind || v != u {
					return // that block's advance will run it
				}
			}
			start = max(start, r.free[other*r.p+s])
		}
		end := start + duration
		r.end[kind][int(u)*r.p+s] = end
		r.passes--
		to := s + 1
		if kind == bwd {
			to = s - 1
		}
		for other := lo; other < hi; other++ {
			at := other*r.p + s
			r.free[at] = end
			r.busy[at] += duration
			r.done[kind][at]++
			if other != b {
				r.queue = append(r.queue, int32(at))
			}
		}
		if to >= 0 && to < r.p {
			// Any block of the unit may be the last to be ready for it there.
			for other := lo; other < hi; other++ {
				r.queue = append(r.queue, int32(other*r.p+to))
			}
		}
	}
}

func (r *run) timing(j *Job) *Timing {
	t := &Timing{LaneEnd: make([]unit.Time, j.Lanes()), Busy: make([][]unit.Time, j.Lanes()), Peak: make([]float64, r.p)}
	for k, into := range []*[]unit.Time{&t.Forward, &t.Backward} {
		*into = make([]unit.Time, len(r.times[k]))
		for i := range r.times[k] {
			(*into)[i] = r.times[k][i].forward
			if k == bwd {
				(*into)[i] = r.times[k][i].backward
			}
		}
	}
	m := newMemory(j, r)
	for b := range r.blocks {
		blk := &r.blocks[b]
		busy, end := r.busy[b*r.p:(b+1)*r.p], unit.Time(0)
		for s := range r.p {
			end = max(end, r.free[b*r.p+s])
			t.Peak[s] = max(t.Peak[s], m.peak(b, s))
		}
		for lane := blk.first; lane < blk.first+blk.lanes; lane++ {
			t.LaneEnd[lane], t.Busy[lane] = end, busy
		}
		t.Step = max(t.Step, end)
	}
	return t
}
