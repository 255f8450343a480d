package pipeline

import (
	"fmt"

	"orrery/sim/unit"
)

// VocabularyParallel times 1F1B with the output layer cut over all p devices
// (arXiv:2411.05288; sail-sg/VocabularyParallelism, whose order is rebuilt from
// its code): each device computes its share of the logits as a pass S of its own
// between the others. barriers is 1 or 2, the all-reduces that a microbatch's
// loss waits for: 2 delay the gradient of the input to the next S and hold one
// microbatch more (Vocab-1 and Vocab-2 of the paper are 2 and 1 barriers).
//
// Pass S_k, k = 0..m, has the logits of microbatch k and the weight gradients of
// k-1. A device's shares wait for the last stage's forward and for the barrier
// before; the last stage's backward waits for the barrier of its microbatch.
// c.F and the sum of c.I and c.W are the times of F and B of a stage without
// output layer, s that of S. Barriers themselves take c.Comm.
func VocabularyParallel(shape Shape, barriers int, c Costs, s unit.Time) (*Timing, error) {
	order, err := Vocabulary1F1B{Barriers: barriers}.Order(shape)
	if err != nil {
		return nil, err
	}
	switch {
	case s < 0:
		return nil, fmt.Errorf("the cost of S is %d, cannot be negative", s)
	case c.Vary != nil:
		return nil, fmt.Errorf("costs that differ from pass to pass are not known here")
	}
	fused := Costs{F: c.F, I: c.I + c.W, Comm: c.Comm, Vary: func(slot Slot) unit.Time {
		switch slot.Phase {
		case F:
			return c.F
		case S:
			return s
		default:
			return c.I + c.W
		}
	}}
	// The ranges of Costs.check bound F and B; S is bounded by being one of them.
	return runVocabulary(shape, barriers, fused, Costs{F: max(c.F, s), I: c.I, W: c.W, Comm: c.Comm}, order)
}

// runVocabulary times an order with passes S; barriers is 0 where it is interlaced.
// Costs are checked by a bound of them.
func runVocabulary(shape Shape, barriers int, c, bound Costs, order [][]Slot) (*Timing, error) {
	if err := bound.check(shape, order); err != nil {
		return nil, err
	}
	n := 2 * (shape.Microbatches + 1)
	r := &vocabularyRun{t: newTiming(order), c: c, barriers: barriers, m: shape.Microbatches, ends: map[Slot]unit.Time{}, shares: make([]int, n), barrier: make([]unit.Time, n)}
	for progress := true; progress; {
		progress = false
		for d := range order {
			for r.step(d) {
				progress = true
			}
		}
	}
	for d, slots := range order {
		if at := len(r.t.End[d]); at < len(slots) {
			return nil, fmt.Errorf("deadlock: device %d never gets to run %v", d, slots[at])
		}
	}
	r.t.finish(&c)
	return r.t, nil
}

// Vocabulary1F1B is that order as a [Schedule]. It is not registered: its passes S
// are not those of a stage, so that [Simulate] and [Validate] do not know them.
type Vocabulary1F1B struct {
	looped
	Barriers int // 1 or 2
}

// Name is "vocab_1f1b".
func (Vocabulary1F1B) Name() string { return "vocab_1f1b" }

// Describe is one line.
func (Vocabulary1F1B) Describe() string {
	return "1F1B with the output layer cut over the devices (arXiv:2411.05288)"
}

// Check refuses more than one chunk a device, slices, groups, and one device.
func (v Vocabulary1F1B) Check(s Shape) error {
	if err := s.checkPlain(); err != nil {
		return err
	}
	switch {
	case v.Barriers != 1 && v.Barriers != 2:
		return fmt.Errorf("barriers: %d, want 1 or 2", v.Barriers)
	case s.Devices < 2:
		return fmt.Errorf("one device has all of the vocabulary; use none")
	}
	return nil
}

// Order gives each device's passes; the stage of an S is the number of its device.
func (v Vocabulary1F1B) Order(s Shape) ([][]Slot, error) {
	if err := v.Check(s); err != nil {
		return nil, err
	}
	return vocabularyOrder(s, v.Barriers), nil
}

// vocabularyOrder places the passes S. Offsets, in units of F = 1 and B = 2,
// tell by how much a device's S precedes the last device's: one that would come
// before its B moves behind the following F.
func vocabularyOrder(shape Shape, barriers int) [][]Slot {
	p, m := shape.Devices, shape.Microbatches
	const f, b = 1, 2
	beforeF, early := make([]bool, p), make([]int, p) // S runs between B and F; passes S before the first B
	beforeF[p-1] = true
	offset := 0
	for d := p - 2; d >= 0; d-- {
		switch {
		case !beforeF[d+1]:
			offset += b - f
			beforeF[d] = true
		case offset-f >= -b:
			offset -= f
			beforeF[d] = true
		}
		early[d] = early[d+1]
		if beforeF[d+1] || !beforeF[d] {
			early[d]++
		}
	}
	order := make([][]Slot, p)
	for d := range order {
		var next [S + 1]int
		var out []Slot
		put := func(phase Phase, count int) {
			last := m // with one barrier, nothing waits for S_m: it runs at the end
			if phase == S && barriers == 2 {
				last = m + 1
			}
			for ; count > 0 && next[phase] < last; count-- {
				out = append(out, Slot{Phase: phase, Stage: int32(d), Microbatch: int32(next[phase])})
				next[phase]++
			}
		}
		warmup := min(p-d, m)
		put(F, warmup)
		for range barriers {
			put(S, 1)
			put(F, 1)
		}
		put(S, early[d])
		for range max(0, m-warmup-barriers) {
			put(B, 1)
			if beforeF[d] {
				put(S, 1)
			}
			put(F, 1)
			if !beforeF[d] {
				put(S, 1)
			}
		}
		for next[B] < m {
			put(B, 1)
			put(S, 1)
		}
		if barriers == 1 {
			out = append(out, Slot{Phase: S, Stage: int32(d), Microbatch: int32(m)})
		}
		order[d] = out
	}
	return order
}

// vocabularyRun is the state of runVocabulary.
type vocabularyRun struct {
	t           *Timing
	c           Costs
	barriers, m int
	ends        map[Slot]unit.Time
	shares      []int       // devices whose S has ended, by shareOf
	barrier     []unit.Time // when the last of them did
}

// step runs device d's next pass if its inputs are known.
func (r *vocabularyRun) step(d int) bool {
	at := len(r.t.End[d])
	if at == len(r.t.Order[d]) {
		return false
	}
	slot := r.t.Order[d][at]
	start, ok := r.arrival(slot)
	if !ok {
		return false
	}
	if at > 0 {
		start = max(start, r.t.End[d][at-1])
	}
	end := start + r.c.At(slot)
	r.t.Start[d], r.t.End[d] = append(r.t.Start[d], start), append(r.t.End[d], end)
	r.ends[slot] = end
	if k := shareOf(slot); slot.Phase == S {
		r.shares[k]++
		r.barrier[k] = max(r.barrier[k], end)
	}
	return true
}

// shareOf numbers the passes S of a device.
func shareOf(s Slot) int32 { return 2*s.Microbatch + s.Slice }

// arrival is when the last input of a pass is there; false if one is not known.
func (r *vocabularyRun) arrival(slot Slot) (unit.Time, bool) {
	at, known := unit.Time(0), true
	last := int32(len(r.t.Order) - 1)
	need := func(phase Phase, stage int32) {
		end, ok := r.ends[Slot{Phase: phase, Stage: stage, Microbatch: slot.Microbatch}]
		known = known && ok
		if stage != slot.Stage {
			end += r.c.Comm
		}
		at = max(at, end)
	}
	barrier := func(s Slot) {
		k := shareOf(s)
		known = known && r.shares[k] == len(r.t.Order)
		at = max(at, r.barrier[k]+r.c.Comm)
	}
	before, next := slot, slot
	next.Microbatch++
	if r.barriers > 0 {
		before.Microbatch--
	} else {
		before.Slice--
	}
	switch {
	case slot.Phase == F:
		if slot.Stage > 0 {
			need(F, slot.Stage-1)
		}
	case slot.Phase == S && r.barriers == 0:
		need(F, last)
		if slot.Slice > 0 {
			barrier(before)
		}
	case slot.Phase == S:
		if int(slot.Microbatch) < r.m {
			need(F, last)
		}
		if slot.Microbatch > 0 {
			barrier(before)
		}
	case slot.Stage < last:
		need(F, slot.Stage)
		need(B, slot.Stage+1)
	case r.barriers == 0:
		slot.Slice = 1
		barrier(slot)
	default:
		need(F, slot.Stage)
		barrier(slot)
		if r.barriers == 2 {
			barrier(next)
		}
	}
	return at, known
}
