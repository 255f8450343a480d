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

// At is the duration of a slot's pass.
func (c *Costs) At(s Slot) unit.Time {
	if c.Vary != nil {
		return c.Vary(s)
	}
	return c.of(s.Phase)
}

// of is the duration of a pass where all of its phase take the same.
func (c *Costs) of(p Phase) unit.Time {
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
	r.runAll(r.step)
	for d, slots := range order {
		if at := len(r.t.End[d]); at < len(slots) {
			return nil, r.deadlock(d)
		}
	}
	r.t.finish(&c)
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
	slices int
	ended  []unit.Time // passes but W, by key
	waits  []int       // key of the input that a device waits for, by device
	// where is the device of each stage, nil where it depends on the microbatch too.
	where []int32
	t     *Timing
}

func newRun(s Schedule, shape Shape, c Costs, order [][]Slot) *run {
	stages := Stages(s, shape)
	passes := stages * shape.Microbatches * shape.slices()
	r := &run{s: s, shape: shape, stages: stages, slices: shape.slices(), c: c, t: newTiming(order),
		ended: make([]unit.Time, 2*passes), waits: make([]int, shape.Devices)}
	for i := range r.ended {
		r.ended[i] = unset
	}
	r.where = devicesOf(s, shape)
	return r
}

// devicesOf is the device of each stage, nil where it depends on the microbatch.
func devicesOf(s Schedule, shape Shape) []int32 {
	if _, modules := s.(Multimodal); modules || Replicas(s) > 1 {
		return nil
	}
	where := make([]int32, shape.chunks())
	for stage := range where {
		where[stage] = int32(s.Device(shape, Slot{Stage: int32(stage)}))
	}
	return where
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

// runAll steps every device as far as it goes; step returns how many passes it ran.
// A device is tried again when the pass has ended that it waits for.
func (r *run) runAll(step func(d int) int) {
	pending := make([]int, r.shape.Devices)
	for d := range pending {
		pending[d] = d
	}
	for len(pending) > 0 {
		d := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		for n := step(d); n > 0; n = step(d) {
			ran := r.t.Order[d][:len(r.t.End[d])]
			for _, slot := range ran[len(ran)-n:] {
				if to := r.consumer(slot); to >= 0 && to != d && r.waits[to] == r.key(slot) {
					pending = append(pending, to)
				}
			}
		}
	}
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
		start, end = max(start, arrival), end+r.c.At(slot)
	}
	end += start
	for _, slot := range now {
		r.t.Start[d] = append(r.t.Start[d], start)
		r.t.End[d] = append(r.t.End[d], end)
		if slot.Phase != W {
			r.ended[r.key(slot)] = end
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
// has not been produced yet, which d then waits for.
func (r *run) arrival(d int, slot Slot) (unit.Time, bool) {
	at := unit.Time(0)
	other, own := r.inputs(slot)
	if other >= 0 {
		if at = r.ended[other]; at == unset {
			r.waits[d] = other
			return 0, false
		}
		if r.device(slot.from()) != d {
			at += r.c.Comm
		}
	}
	for _, key := range own {
		if key < 0 {
			continue
		}
		end := r.ended[key]
		if end == unset {
			r.waits[d] = key
			return 0, false
		}
		at = max(at, end)
	}
	return at, true
}

// device is where a pass runs.
func (r *run) device(slot Slot) int {
	if r.where != nil {
		return int(r.where[slot.Stage])
	}
	return r.s.Device(r.shape, slot)
}

// key is a pass's place in ended: forwards at even ones, backwards, fused or for
// inputs, at the odd one behind.
func (r *run) key(slot Slot) int {
	key := 2 * ((int(slot.Stage)*r.shape.Microbatches+int(slot.Microbatch))*r.slices + int(slot.Slice))
	if slot.Phase != F {
		key++
	}
	return key
}

// inputs are the keys of what a pass waits for, -1 for none: the pass of the stage
// whose output it takes, and those of its own stage.
func (r *run) inputs(slot Slot) (other int, own [2]int) {
	key, stage := r.key(slot), 2*r.shape.Microbatches*r.slices
	other, own = -1, [2]int{-1, -1}
	switch slot.Phase {
	case F:
		if slot.Stage > 0 {
			other = key - stage
		}
		if slot.Slice > 0 { // keys and values of earlier slices
			own[0] = key - 2
		}
	case W:
		own[0] = key
	default:
		if int(slot.Stage) < r.stages-1 {
			other = key + stage
		}
		own[0] = key - 1                  // its forward
		if int(slot.Slice) < r.slices-1 { // gradients of keys and values
			own[1] = key + 2
		}
	}
	return other, own
}

// from is a pass of the stage whose output this one takes.
func (s Slot) from() Slot {
	if s.Phase == F {
		s.Stage--
	} else {
		s.Stage++
	}
	return s
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
	return r.device(slot)
}

// finish fills in what follows from the order, Start and End.
func (t *Timing) finish(c *Costs) {
	p := len(t.Order)
	t.Busy, t.Span = make([]unit.Time, p), make([]unit.Time, p)
	t.Peak, t.PeakInputOnly = make([]int, p), make([]int, p)
	for d, slots := range t.Order {
		held, heldInput := 0, 0
		for _, slot := range slots {
			t.Busy[d] += c.At(slot)
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
