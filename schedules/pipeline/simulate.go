package pipeline

import (
	"fmt"
	"math"

	"orrery/sim/unit"
)

// Costs is how long one pass takes: one chunk, one microbatch, one slice. A
// fused backward takes I+W.
type Costs struct {
	F, I, W unit.Time
	// Comm is the time of a transfer between two devices.
	Comm unit.Time
	// Vary, where it is set, is the time of each pass, in place of F, I and W:
	// for costs that differ by stage, microbatch or slice.
	Vary func(Slot) unit.Time
}

// at is the duration of a slot's pass.
func (c Costs) at(s Slot) unit.Time {
	if c.Vary != nil {
		return c.Vary(s)
	}
	return c.of(s.Phase)
}

// of is the duration of a pass where all of its phase take the same.
func (c Costs) of(p Phase) unit.Time {
	switch p {
	case F:
		return c.F
	case I:
		return c.I
	case W:
		return c.W
	default:
		return c.I + c.W
	}
}

// check refuses costs that are negative or whose sum over the passes could
// leave the range of unit.Time.
func (c Costs) check(shape Shape, order [][]Slot) error {
	if c.F < 0 || c.I < 0 || c.W < 0 || c.Comm < 0 {
		return fmt.Errorf("costs cannot be negative: F %d, I %d, W %d, comm %d", c.F, c.I, c.W, c.Comm)
	}
	if c.Vary != nil {
		return c.checkVaried(shape, order)
	}
	total := float64(shape.passes()) * (float64(c.F) + float64(c.I) + float64(c.W) + 2*float64(c.Comm))
	if total > math.MaxInt64/2 {
		return fmt.Errorf("costs F %d, I %d, W %d, comm %d over %d passes leave the range of time", c.F, c.I, c.W, c.Comm, shape.passes())
	}
	return nil
}

// checkVaried is check for costs that differ from pass to pass.
func (c Costs) checkVaried(shape Shape, order [][]Slot) error {
	total := 2 * float64(shape.passes()) * float64(c.Comm)
	for _, slots := range order {
		for _, slot := range slots {
			cost := c.Vary(slot)
			if cost < 0 {
				return fmt.Errorf("the cost of %v is %d, cannot be negative", slot, cost)
			}
			total += float64(cost)
		}
	}
	if total > math.MaxInt64/2 {
		return fmt.Errorf("the costs of %d passes leave the range of time", shape.passes())
	}
	return nil
}

// Timing is how an order runs under the timing model of [Simulate].
type Timing struct {
	Order      [][]Slot
	Start, End [][]unit.Time // as Order
	Makespan   unit.Time     // end of the last pass; the first starts at 0
	Busy       []unit.Time   // per device
	// Span is, per device, from the start of its first pass to the end of its
	// last: what zero-bubble papers divide by.
	Span []unit.Time
	// Peak is, per device, the most forwards (of one chunk and slice) whose
	// activations are held at once: from the start of the forward to the end of
	// B or W. PeakInputOnly counts to the end of B or I. Real systems lie
	// between.
	Peak, PeakInputOnly []int
}

// Bubble is the share of the makespan in which the busiest device idles, 0 to 1.
func (t *Timing) Bubble() float64 {
	if t.Makespan == 0 {
		return 0
	}
	busiest := unit.Time(0)
	for _, b := range t.Busy {
		busiest = max(busiest, b)
	}
	return 1 - float64(busiest)/float64(t.Makespan)
}

// Simulate times a schedule by the model that papers on schedules use: a device
// runs its passes one at a time in the given order, each as soon as the device
// is free and its inputs are there; an output reaches another device Comm after
// its pass ended, any number of transfers at a time. It is a reference for the
// orders of this package; the engine of package sim prices real programs.
//
// A forward needs the stage before and the slice before. A backward needs its
// own forward, the stage after (at the last stage nothing more) and the slice
// after; W needs I. Simulate returns an error where the order is incomplete or
// cannot be run to its end.
func Simulate(s Schedule, shape Shape, c Costs) (*Timing, error) {
	order, err := s.Order(shape)
	if err != nil {
		return nil, err
	}
	if err := Validate(s, shape, order); err != nil {
		return nil, err
	}
	if err := c.check(shape, order); err != nil {
		return nil, err
	}
	r := newRun(s, shape, c, order)
	// A device is tried again whenever a pass ended that it may wait for.
	pending := make([]int, shape.Devices)
	for d := range pending {
		pending[d] = d
	}
	for len(pending) > 0 {
		d := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		for n := r.step(d); n > 0; n = r.step(d) {
			ran := order[d][:len(r.t.End[d])]
			for _, slot := range ran[len(ran)-n:] {
				if to := r.consumer(slot); to >= 0 && to != d {
					pending = append(pending, to)
				}
			}
		}
	}
	for d, slots := range order {
		if at := len(r.t.End[d]); at < len(slots) {
			return nil, r.deadlock(d)
		}
	}
	r.t.finish(c)
	return r.t, nil
}

// unset marks a pass that has not ended.
const unset unit.Time = -1

// run is the state of Simulate.
type run struct {
	s      Schedule
	shape  Shape
	stages int
	c      Costs
	// forward and backward are the ends of F and of B or I, by Slot.index.
	forward, backward []unit.Time
	t                 *Timing
}

func newRun(s Schedule, shape Shape, c Costs, order [][]Slot) *run {
	stages := Stages(s, shape)
	passes := stages * shape.Microbatches * shape.slices()
	r := &run{s: s, shape: shape, stages: stages, c: c, t: newTiming(order),
		forward: make([]unit.Time, passes), backward: make([]unit.Time, passes)}
	for i := range r.forward {
		r.forward[i], r.backward[i] = unset, unset
	}
	return r
}

func newTiming(order [][]Slot) *Timing {
	p := len(order)
	t := &Timing{Order: order, Start: make([][]unit.Time, p), End: make([][]unit.Time, p)}
	for d, slots := range order {
		t.Start[d] = make([]unit.Time, 0, len(slots))
		t.End[d] = make([]unit.Time, 0, len(slots))
	}
	return t
}

// step runs device d's next pass, or pair of passes, if its inputs are known, and
// returns how many it ran. A pair starts when the inputs of both are there and
// takes as long as one after the other.
func (r *run) step(d int) int {
	now := r.next(d)
	start, end := unit.Time(0), unit.Time(0)
	if at := len(r.t.End[d]); at > 0 {
		start = r.t.End[d][at-1]
	}
	for _, slot := range now {
		arrival, ok := r.arrival(d, slot)
		if !ok {
			return 0
		}
		start, end = max(start, arrival), end+r.c.at(slot)
	}
	end += start
	for _, slot := range now {
		r.t.Start[d] = append(r.t.Start[d], start)
		r.t.End[d] = append(r.t.End[d], end)
		switch slot.Phase {
		case F:
			r.forward[slot.index(r.shape)] = end
		case B, I:
			r.backward[slot.index(r.shape)] = end
		}
	}
	return len(now)
}

// next is what device d runs next: a pass, a pair, or nothing at the end.
func (r *run) next(d int) []Slot {
	left := r.t.Order[d][len(r.t.End[d]):]
	if len(left) > 1 && left[1].Paired {
		return left[:2]
	}
	return left[:min(1, len(left))]
}

// arrival is when the last input of a pass of device d is there; false if one
// has not been produced yet.
func (r *run) arrival(d int, slot Slot) (unit.Time, bool) {
	at, known := unit.Time(0), true
	r.inputs(slot, func(ends []unit.Time, from Slot) {
		end := ends[from.index(r.shape)]
		if end == unset {
			known = false
			return
		}
		if r.s.Device(r.shape, from) != d {
			end += r.c.Comm
		}
		at = max(at, end)
	})
	return at, known
}

// inputs calls need for every pass that a pass waits for, with the table of
// the passes' ends. A backward pass among them has the phase of slot, fused or
// not: it stands for either.
func (r *run) inputs(slot Slot, need func(ends []unit.Time, from Slot)) {
	switch slot.Phase {
	case F:
		if slot.Stage > 0 {
			from := slot
			from.Stage--
			need(r.forward, from)
		}
		if slot.Slice > 0 { // keys and values of earlier slices
			from := slot
			from.Slice--
			need(r.forward, from)
		}
	case W:
		need(r.backward, slot)
	default:
		own := slot
		own.Phase = F
		need(r.forward, own)
		if int(slot.Stage) < r.stages-1 {
			from := slot
			from.Stage++
			need(r.backward, from)
		}
		if int(slot.Slice) < r.shape.slices()-1 { // gradients of keys and values
			from := slot
			from.Slice++
			need(r.backward, from)
		}
	}
}

// consumer is the device that the output of a pass goes to, -1 if none.
func (r *run) consumer(slot Slot) int {
	switch slot.Phase {
	case W:
		return -1
	case B, I:
		slot.Stage--
	default:
		slot.Stage++
	}
	if slot.Stage < 0 || int(slot.Stage) == r.stages {
		return -1
	}
	return r.s.Device(r.shape, slot)
}

// finish fills in what follows from the order, Start and End.
func (t *Timing) finish(c Costs) {
	p := len(t.Order)
	t.Busy, t.Span = make([]unit.Time, p), make([]unit.Time, p)
	t.Peak, t.PeakInputOnly = make([]int, p), make([]int, p)
	for d, slots := range t.Order {
		held, heldInput := 0, 0
		for _, slot := range slots {
			t.Busy[d] += c.at(slot)
			if slot.Phase == F {
				held++
				heldInput++
			}
			t.Peak[d], t.PeakInputOnly[d] = max(t.Peak[d], held), max(t.PeakInputOnly[d], heldInput)
			if slot.Phase == B || slot.Phase == W {
				held--
			}
			if slot.Phase == B || slot.Phase == I {
				heldInput--
			}
		}
		if last := len(slots) - 1; last >= 0 {
			t.Span[d] = t.End[d][last] - t.Start[d][0]
			t.Makespan = max(t.Makespan, t.End[d][last])
		}
	}
}
