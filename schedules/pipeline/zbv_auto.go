package pipeline

import (
	"fmt"
	"math"
	"slices"
)

// zbvAuto is ZB-V fitted to costs under a memory limit (Qi et al.,
// arXiv:2405.15362; sail-sg's zero-bubble, zbv.py): two chunks a device in a V,
// weight gradients where a device would wait longer than the worst one does.
type zbvAuto struct{ vShaped }

func (zbvAuto) Name() string { return "zbv_auto" }

func (zbvAuto) Describe() string {
	return "two chunks in a V fitted to costs under a memory limit, the best of four greedy variants (arXiv:2405.15362)"
}

func (zbvAuto) Check(s Shape) error { return s.checkV() }

// Order tries the heuristic's four variants. Without a limit a device may hold as
// many microbatches as there are devices, as with 1f1b; its warm-up bears little less.
func (z zbvAuto) Order(s Shape, c Costs, limit float64) (Schedule, error) {
	if err := checkAuto(z, s, c, limit); err != nil {
		return nil, err
	}
	if limit == 0 {
		limit = float64(s.Devices)
	}
	var best *zbvRun
	var failed error
	for variant := range 4 {
		r, err := runZBV(s, c, limit, variant&2 == 0, variant&1 == 0, nil)
		switch {
		case err != nil:
			failed = err
		case best == nil || r.score() < best.score():
			best = r
		}
	}
	if best == nil {
		return nil, fmt.Errorf("%s: a limit of %g microbatches is too tight (%w); %d are enough", z.Name(), limit, failed, s.Devices)
	}
	return fixedOrder{placement: z, name: z.Name(), shape: s, order: best.order}, nil
}

// Ways through a device's two chunks: a forward comes down first, then up again; a
// backward goes down the arm that forwards came up, then up the other.
const wayDown, wayUp = 0, 1

// zbvRun is one run of the heuristic.
type zbvRun struct {
	autoRun
	fillBackward, fillForward bool
	approved                  []float64 // bubbles of the run before

	end     [][2][4][]float64 // by device, way, phase and microbatch
	weights [][]int           // ways whose weight gradients are due, in turn, by device
	order   [][]Slot
}

// runZBV runs the heuristic, and again with the bubbles that it found approved for
// as long as that helps.
func runZBV(s Shape, c Costs, limit float64, fillBackward, fillForward bool, approved []float64) (*zbvRun, error) {
	r := newZBVRun(s, c, limit, approved)
	r.fillBackward, r.fillForward = fillBackward, fillForward
	for _, part := range []func() error{r.warmUp, r.widen, r.steady} {
		if err := part(); err != nil {
			return nil, err
		}
	}
	if approved == nil || r.score() < slices.Max(approved) {
		again, err := runZBV(s, c, limit, fillBackward, fillForward, r.bubble)
		if err == nil && again.score() < r.score() {
			return again, nil
		}
	}
	return r, nil
}

func newZBVRun(s Shape, c Costs, limit float64, approved []float64) *zbvRun {
	p, m := s.Devices, s.Microbatches
	r := &zbvRun{autoRun: newAutoRun(s, c, limit*autoForward*2), approved: approved,
		end: make([][2][4][]float64, p), weights: make([][]int, p), order: make([][]Slot, p)}
	for d := range p {
		r.order[d] = make([]Slot, 0, 6*m)
		for way := range r.end[d] {
			for _, phase := range []Phase{F, I, W} {
				r.end[d][way][phase] = make([]float64, 0, m)
			}
		}
	}
	return r
}

// score is the bubble of the worst device.
func (r *zbvRun) score() float64 { return slices.Max(r.bubble) }

// done is how many passes there were so far.
func (r *zbvRun) done(d, way int, p Phase) int { return len(r.end[d][way][p]) }

// before is the device whose output a pass on a way waits for, -1 where it is this
// one's or nobody's.
func (r *zbvRun) before(d, way int) int {
	switch {
	case way == wayDown:
		return d - 1
	case d < r.p-1:
		return d + 1
	}
	return -1
}

// known reports whether the output that the next pass waits for has a time.
func (r *zbvRun) known(d, way int, p Phase) bool {
	from := r.before(d, way)
	return from < 0 || r.done(from, way, p) > r.done(d, way, p)
}

// stage is the one of a way's chunk.
func (r *zbvRun) stage(d, way int, p Phase) int {
	if (p == F) == (way == wayDown) {
		return d
	}
	return 2*r.p - 1 - d
}

// put runs a device's next pass on a way as early as it can.
func (r *zbvRun) put(d, way int, p Phase) error {
	k := r.done(d, way, p)
	if p == F && r.held[d]+autoForward > r.limit {
		return fmt.Errorf("device %d has no memory for its next pass", d)
	}
	t := r.clock[d] + r.cost[p]
	if p != W {
		if !r.known(d, way, p) {
			return fmt.Errorf("device %d comes to %v of microbatch %d on stage %d before its input", d, p, k, r.stage(d, way, p))
		}
		if from := r.before(d, way); from >= 0 {
			t = max(t, r.end[from][way][p][k]+r.comm+r.cost[p])
		}
	}
	r.book(d, p, t, len(r.order[d]) == 0)
	r.end[d][way][p] = append(r.end[d][way][p], t)
	r.order[d] = append(r.order[d], Slot{Phase: p, Stage: int32(r.stage(d, way, p)), Microbatch: int32(k)})
	if p == I {
		r.weights[d] = append(r.weights[d], way)
	}
	return nil
}

// putWeights runs the weight gradient that is due for longest.
func (r *zbvRun) putWeights(d int) error {
	way := r.weights[d][0]
	r.weights[d] = r.weights[d][1:]
	return r.put(d, way, W)
}

// allowed is how much more a device may idle than it has.
func (r *zbvRun) allowed(d int) float64 {
	worst := slices.Max(r.bubble)
	if r.approved != nil {
		worst = max(worst, slices.Max(r.approved)-r.approved[d])
	}
	return worst - r.bubble[d]
}

// fill runs weight gradients before the next pass of a phase: those that end
// before its input is there and, if one may delay it, one more where the device
// would idle more than is allowed.
func (r *zbvRun) fill(d, way int, p Phase, delay bool) error {
	arrival := math.Inf(-1)
	if from := r.before(d, way); from >= 0 && r.known(d, way, p) {
		arrival = r.end[from][way][p][r.done(d, way, p)] + r.comm
	}
	for len(r.weights[d]) > 0 && arrival >= r.clock[d]+r.cost[W] {
		if err := r.putWeights(d); err != nil {
			return err
		}
	}
	if math.IsInf(arrival, -1) {
		// The reference reads the last entry of its table of times here: the very
		// last weight gradient of the last device, -1 until it has run.
		arrival = -1 + r.comm
		if last := r.end[r.p-1][wayUp][W]; len(last) == r.m {
			arrival = last[r.m-1] + r.comm
		}
	}
	if delay && len(r.weights[d]) > 0 && arrival-r.clock[d] > r.allowed(d) {
		return r.putWeights(d)
	}
	return nil
}

// warmUp runs the first microbatch down and up, and as many more down as fit
// before it is back.
func (r *zbvRun) warmUp() error {
	for d := range r.p {
		if err := r.put(d, wayDown, F); err != nil {
			return err
		}
	}
	for d := r.p - 1; d >= 0; d-- {
		for d < r.p-1 && r.held[d]+float64(2+2*d)*autoForward <= r.limit &&
			r.clock[d]+r.cost[F] <= r.end[d+1][wayUp][F][0]+r.comm && r.done(d, wayDown, F) < r.m {
			for j := range d + 1 {
				if err := r.put(j, wayDown, F); err != nil {
					return err
				}
			}
		}
		if err := r.put(d, wayUp, F); err != nil {
			return err
		}
	}
	return nil
}

// widen gives each device as many forwards as the one before it, and one more on
// the way up.
func (r *zbvRun) widen() error {
	way := wayDown
	for d := 1; d < r.p; d++ {
		down, up := func(d int) int { return r.done(d, wayDown, F) }, func(d int) int { return r.done(d, wayUp, F) }
		for down(d)+up(d) < down(d-1)+up(d-1) || up(d) <= up(d-1) && up(d-1) < r.m {
			for j := r.p - 1; j >= d; j-- {
				if r.done(j, way, F) == r.m {
					continue
				}
				if err := r.put(j, way, F); err != nil {
					return err
				}
			}
			way = 1 - way
		}
	}
	return nil
}

// steady runs a backward and a forward on every device in turn, then the weight
// gradients that are left.
func (r *zbvRun) steady() error {
	for range 2 * r.m {
		if err := r.backwards(); err != nil {
			return err
		}
		if err := r.forwards(); err != nil {
			return err
		}
	}
	for d := range r.p {
		for len(r.weights[d]) > 0 {
			if err := r.putWeights(d); err != nil {
				return err
			}
		}
	}
	return nil
}

// backwards runs a backward for inputs on every device: on the way up from the
// last device, then on the way down from the first.
func (r *zbvRun) backwards() error {
	ways := make([]int, r.p)
	for d := range ways {
		if r.done(d, wayUp, I) < r.done(d, wayDown, I) && (r.known(d, wayUp, I) || r.done(d, wayDown, I) == r.m) {
			ways[d] = wayUp
		}
	}
	run := func(d, way int) error {
		if ways[d] != way {
			return nil
		}
		if err := r.fill(d, way, I, way == wayUp || r.fillBackward); err != nil {
			return err
		}
		return r.put(d, way, I)
	}
	for d := r.p - 1; d >= 0; d-- {
		if err := run(d, wayUp); err != nil {
			return err
		}
	}
	for d := range r.p {
		if err := run(d, wayDown); err != nil {
			return err
		}
	}
	return nil
}

// forwards runs a forward on every device that has one whose input is known.
func (r *zbvRun) forwards() error {
	for d := range r.p {
		down, up := r.done(d, wayDown, F), r.done(d, wayUp, F)
		way := wayDown
		switch {
		case up == r.m:
			continue
		case up >= down:
		case r.known(d, wayUp, F):
			way = wayUp
		case down == r.m || !r.known(d, wayDown, F):
			continue
		}
		for r.held[d]+autoForward > r.limit && len(r.weights[d]) > 0 {
			if err := r.putWeights(d); err != nil {
				return err
			}
		}
		if err := r.fill(d, way, F, r.fillForward); err != nil {
			return err
		}
		if err := r.put(d, way, F); err != nil {
			return err
		}
	}
	return nil
}
