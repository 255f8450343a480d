package pipeline

import (
	"cmp"
	"fmt"
	"slices"
)

// zbAuto is the automatic zero-bubble schedule under a memory limit (Qi et al.,
// arXiv:2401.10241, section 3; sail-sg's zero-bubble, graph heuristic): forwards
// as the memory allows, weight gradients where a device would wait.
type zbAuto struct{ looped }

func (zbAuto) Name() string { return "zb_auto" }

func (zbAuto) Describe() string {
	return "split backward under a memory limit, the best of eight greedy variants (arXiv:2401.10241)"
}

func (zbAuto) Check(s Shape) error { return s.checkPlain() }

// Order tries the heuristic's eight variants. Without a limit a device may hold
// three times the microbatches that there are.
func (z zbAuto) Order(s Shape, c Costs, limit float64) (Schedule, error) {
	if err := checkAuto(z, s, c, limit); err != nil {
		return nil, err
	}
	if limit == 0 {
		limit = 3 * float64(s.Microbatches)
	}
	var best *zbRun
	var failed error
	for variant := range 8 { // true before false, the first parameter slowest
		r := newZBRun(s, c, limit*autoForward)
		r.allowBubble, r.backwardFirst, r.greedy = variant&4 == 0, variant&2 == 0, variant&1 == 0
		if err := r.run(); err != nil {
			failed = err
			continue
		}
		if best == nil || r.score() < best.score() {
			best = r
		}
	}
	if best == nil {
		return nil, failed
	}
	return fixedOrder{placement: z, name: z.Name(), shape: s, order: best.order()}, nil
}

// zbRun is one run of the heuristic.
type zbRun struct {
	autoRun
	allowBubble, backwardFirst, greedy bool

	n   [][4]int       // passes so far, by device and phase
	end [][4][]float64 // by device, phase and microbatch
}

func newZBRun(s Shape, c Costs, limit float64) *zbRun {
	r := &zbRun{autoRun: newAutoRun(s, c, limit), n: make([][4]int, s.Devices), end: make([][4][]float64, s.Devices)}
	for d := range r.end {
		for _, p := range []Phase{F, I, W} {
			r.end[d][p] = make([]float64, 0, s.Microbatches)
		}
	}
	return r
}

// put runs a device's next pass of a phase as early as it can.
func (r *zbRun) put(d int, p Phase) {
	k := r.n[d][p]
	t := r.clock[d] + r.cost[p]
	switch {
	case p == F && d > 0:
		t = max(t, r.end[d-1][F][k]+r.comm+r.cost[F])
	case p == I && d < r.p-1:
		t = max(t, r.end[d+1][I][k]+r.comm+r.cost[I])
	}
	r.book(d, p, t, r.n[d][F] == 0)
	r.n[d][p]++
	r.end[d][p] = append(r.end[d][p], t)
}

// pending weight gradients of a device.
func (r *zbRun) pending(d int) int { return r.n[d][I] - r.n[d][W] }

// fill runs weight gradients until an input arrives.
func (r *zbRun) fill(d int, arrival float64) {
	for r.pending(d) > 0 && r.clock[d]+r.cost[W] <= arrival {
		r.put(d, W)
	}
	if r.pending(d) > 0 && r.clock[d] < arrival && (arrival-r.clock[d] > r.slack(d) || r.greedy) {
		r.put(d, W)
	}
}

// need frees memory for a pass.
func (r *zbRun) need(d int, p Phase) error {
	for r.held[d]+memoryOf(p) > r.limit {
		if r.pending(d) == 0 {
			return fmt.Errorf("zb_auto: a limit of %g microbatches leaves device %d no memory for its next pass", r.limit/autoForward, d)
		}
		r.put(d, W)
	}
	return nil
}

func (r *zbRun) run() error {
	r.warmUp()
	for i := 1; i < r.m; i++ {
		if err := r.forwards(); err != nil {
			return err
		}
		for d := r.p - 1; d >= 0; d-- {
			if err := r.need(d, I); err != nil {
				return err
			}
			if d < r.p-1 {
				r.fill(d, r.end[d+1][I][i]+r.comm)
			}
			for d == 0 && r.n[d][F] == r.m && r.pending(d) > 0 {
				r.put(d, W)
			}
			r.put(d, I)
		}
	}
	for d := range r.p {
		for r.pending(d) > 0 {
			r.put(d, W)
		}
	}
	return nil
}

// warmUp runs the forwards before the first backward, and that.
func (r *zbRun) warmUp() {
	for d := range r.p {
		r.put(d, F)
	}
	extra := make([]int, r.p)
	last := r.end[r.p-1][F][0] + r.cost[I]
	for d := r.p - 2; d >= 0; d-- {
		t, held := r.clock[d], r.held[d]
		for r.n[d][F]+extra[d] < r.m && held+autoForward <= r.limit {
			if r.allowBubble && t+r.cost[F] > last+r.comm || !r.allowBubble && t >= last+r.comm {
				break
			}
			held += autoForward
			t += r.cost[F]
			extra[d]++
		}
		last = max(t, last+r.comm) + r.cost[I]
	}
	for d := 1; d < r.p; d++ {
		for extra[d] > 0 && extra[d] >= extra[d-1] && r.n[d][F]+extra[d] < r.m {
			extra[d]--
		}
	}
	for d := range r.p {
		for range extra[d] {
			r.put(d, F)
		}
	}
	for d := r.p - 1; d >= 0; d-- {
		r.put(d, I)
	}
}

// forwards runs the next forward of the devices that should have one now.
func (r *zbRun) forwards() error {
	wanted := make([]bool, r.p)
	for d := range r.p {
		wanted[d] = r.wants(d)
	}
	for d := r.p - 2; d >= 0; d-- {
		wanted[d] = wanted[d] && wanted[d+1]
	}
	for d, want := range wanted {
		if !want {
			continue
		}
		if err := r.need(d, F); err != nil {
			return err
		}
		if d > 0 {
			r.fill(d, r.end[d-1][F][r.n[d][F]]+r.comm)
		}
		r.put(d, F)
	}
	return nil
}

// wants reports whether a device runs a forward before its next backward.
func (r *zbRun) wants(d int) bool {
	if r.n[d][F] >= r.m {
		return false
	}
	if !r.backwardFirst || d+1 >= r.p || r.n[d][F] < r.n[d+1][F]+2 {
		return true
	}
	next := r.clock[d+1] + r.cost[F] + r.cost[I] + r.comm // when the backward's input may come
	if r.clock[d] >= next {
		return false
	}
	weights, held := 0.0, r.held[d]
	for held+autoForward > r.limit {
		weights += r.cost[W]
		held += autoWeight
	}
	if r.clock[d]+r.cost[F]+weights <= next {
		return true
	}
	return next-r.clock[d] > r.slack(d)
}

// score is the longest device span.
func (r *zbRun) score() float64 {
	worst := 0.0
	for d := range r.p {
		worst = max(worst, r.end[d][W][r.m-1]-r.end[d][F][0]+r.cost[F])
	}
	return worst
}

func (r *zbRun) order() [][]Slot {
	out := make([][]Slot, r.p)
	for d := range out {
		var ends []float64
		for _, p := range []Phase{F, I, W} {
			for mb, t := range r.end[d][p] {
				out[d] = append(out[d], Slot{Phase: p, Stage: int32(d), Microbatch: int32(mb)})
				ends = append(ends, t)
			}
		}
		at := make([]int, len(ends))
		for i := range at {
			at[i] = i
		}
		slices.SortStableFunc(at, func(a, b int) int { return cmp.Compare(ends[a], ends[b]) })
		sorted := make([]Slot, len(at))
		for i, j := range at {
			sorted[i] = out[d][j]
		}
		out[d] = sorted
	}
	return out
}
