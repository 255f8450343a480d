package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"orrery/sim/unit"
)

// SimulateProgram times a program of schedule s: a device runs its passes and
// batches in their order, each when the one before it has ended. A transfer starts
// when both its ends are posted and takes Comm. The program must have all passes of
// the shape, each behind what it needs, and both ends of every transfer. One whose
// devices wait for each other is an error that names the circle.
func SimulateProgram(s Schedule, shape Shape, c Costs, program Program) (*Timing, error) {
	order := program.order()
	if err := Validate(s, shape, order); err != nil {
		return nil, err
	}
	if err := c.check(shape, order); err != nil {
		return nil, err
	}
	r := newProgramRun(s, shape, c, program, order)
	if err := r.checkEnds(); err != nil {
		return nil, err
	}
	// A device is tried again whenever a transfer ended that it waits for.
	for d := range r.devices {
		r.pending = append(r.pending, d)
	}
	for len(r.pending) > 0 {
		d := r.pending[len(r.pending)-1]
		r.pending = r.pending[:len(r.pending)-1]
		if err := r.advance(d); err != nil {
			return nil, err
		}
	}
	for d := range r.devices {
		if r.devices[d].at < len(program[d]) {
			return nil, r.blocked(d)
		}
	}
	r.t.finish(&c)
	return r.t, nil
}

// order is the passes of a program.
func (p Program) order() [][]Slot {
	order := make([][]Slot, len(p))
	for d, steps := range p {
		for _, step := range steps {
			order[d] = append(order[d], step.Passes...)
		}
	}
	return order
}

// programRun is the state of SimulateProgram. Messages have the key of their pass.
type programRun struct {
	*run
	program  Program
	devices  []programDevice
	pending  []int       // devices to be tried
	posted   []unit.Time // when the first end of a message was posted
	done     []unit.Time // when it ends, known once both are
	received []bool      // its receiver has gone on
}

type programDevice struct {
	at   int    // step
	open []bool // transfers of the batch `at` that are posted, nil before the first
	free unit.Time
}

func newProgramRun(s Schedule, shape Shape, c Costs, program Program, order [][]Slot) *programRun {
	r := &programRun{run: newRun(s, shape, c, order), program: program, devices: make([]programDevice, len(program))}
	n := len(r.ended)
	r.posted, r.done, r.received = make([]unit.Time, n), make([]unit.Time, n), make([]bool, n)
	for i := range r.posted {
		r.posted[i], r.done[i] = unset, unset
	}
	return r
}

// checkEnds refuses transfers that have not both their ends, once each, on the
// devices of the two stages.
func (r *programRun) checkEnds() error {
	ends := make([][2]bool, len(r.posted)) // receive, send
	side := map[bool]int{false: 0, true: 1}
	for d, steps := range r.program {
		for i, step := range steps {
			if len(step.Passes) > 0 == (len(step.Batch) > 0) {
				return fmt.Errorf("device %d, step %d: want passes or a batch of transfers, got %d and %d", d, i, len(step.Passes), len(step.Batch))
			}
			if len(step.Passes) > 2 || len(step.Passes) == 2 && !step.Passes[1].Paired {
				return fmt.Errorf("device %d, step %d: %d passes that are no pair", d, i, len(step.Passes))
			}
			for _, x := range step.Batch {
				if !x.Output.in(r.shape, r.stages) || x.Output != output(x.Output) {
					return fmt.Errorf("device %d, step %d: %v is no output of a pass", d, i, x.Output)
				}
				to, ok := beside(x.Output, +1, r.stages)
				from, other := r.s.Device(r.shape, x.Output), r.s.Device(r.shape, to)
				if !x.Send {
					from, other = other, from
				}
				if !ok || from != d || other != int(x.Peer) || from == other {
					return fmt.Errorf("device %d, step %d: it has not to %v", d, i, x)
				}
				end := &ends[r.key(x.Output)][side[x.Send]]
				if *end {
					return fmt.Errorf("device %d, step %d: %v is there twice", d, i, x)
				}
				*end = true
			}
		}
	}
	for d, steps := range r.program {
		for i, step := range steps {
			for _, x := range step.Batch {
				if !ends[r.key(x.Output)][side[!x.Send]] {
					return fmt.Errorf("device %d, step %d: device %d lacks the other end of %v", d, i, x.Peer, x)
				}
			}
		}
	}
	return nil
}

// advance runs device d's steps until one has to wait.
func (r *programRun) advance(d int) error {
	dev := &r.devices[d]
	for dev.at < len(r.program[d]) {
		step := &r.program[d][dev.at]
		if len(step.Batch) == 0 {
			if err := r.pass(d, step.Passes); err != nil {
				return err
			}
		} else if !r.batch(d, step) {
			return nil
		}
		dev.at++
	}
	return nil
}

// pass runs a pass or a pair of device d.
func (r *programRun) pass(d int, now []Slot) error {
	dev := &r.devices[d]
	start := dev.free
	for _, slot := range now {
		other, own := r.inputs(slot)
		if other >= 0 && r.device(slot.from()) != d {
			if !r.received[other] {
				return r.early(d, slot, other)
			}
			other = -1
		}
		for _, key := range append(own[:], other) {
			if key >= 0 && r.ended[key] == unset {
				return r.early(d, slot, key)
			}
		}
		dev.free += r.c.At(slot)
	}
	for _, slot := range now {
		r.t.Start[d] = append(r.t.Start[d], start)
		r.t.End[d] = append(r.t.End[d], dev.free)
		if slot.Phase != W {
			r.ended[r.key(slot)] = dev.free
		}
	}
	return nil
}

// early says that a pass stands before the one of a key, which it needs.
func (r *programRun) early(d int, slot Slot, key int) error {
	from := slotAt(r.shape, key/2)
	if key%2 == 1 {
		from.Phase = B
	}
	return fmt.Errorf("device %d runs %v without %v, which its program has later", d, slot, from)
}

// batch posts what can be of device d's batch and reports whether all has ended.
func (r *programRun) batch(d int, step *Step) bool {
	dev := &r.devices[d]
	if len(dev.open) == 0 {
		dev.open = append(dev.open, make([]bool, len(step.Batch))...)
	}
	end, ended := dev.free, true
	for i, x := range step.Batch {
		m := r.key(x.Output)
		if !dev.open[i] {
			if at, ok := r.turn(dev.free, step, i); ok {
				dev.open[i] = true
				if r.posted[m] == unset {
					r.posted[m] = at
				} else {
					r.done[m] = max(r.posted[m], at) + r.c.Comm
					r.pending = append(r.pending, int(x.Peer))
				}
			}
		}
		if r.done[m] == unset {
			ended = false
		}
		end = max(end, r.done[m])
	}
	if !ended {
		return false
	}
	for _, x := range step.Batch {
		if !x.Send {
			r.received[r.key(x.Output)] = true
		}
	}
	dev.free, dev.open = end, dev.open[:0]
	return true
}

// turn is when transfer i of a batch that was reached at a time can be posted;
// false if it waits for one before it.
func (r *programRun) turn(at unit.Time, step *Step, i int) (unit.Time, bool) {
	if !step.InTurn {
		return at, true
	}
	for _, before := range step.Batch[:i] {
		if before.Peer != step.Batch[i].Peer {
			continue
		}
		done := r.done[r.key(before.Output)]
		if done == unset {
			return 0, false
		}
		at = max(at, done)
	}
	return at, true
}

// blocked names the circle of devices in which device d, which got stuck, waits
// for itself. Every transfer has both ends, so the device at the other end of one
// that does not start is stuck before it.
func (r *programRun) blocked(d int) error {
	var devices []int
	var waits []string
	for !slices.Contains(devices, d) {
		at := r.devices[d].at
		step := r.program[d][at]
		i := slices.IndexFunc(step.Batch, func(x Transfer) bool { return r.done[r.key(x.Output)] == unset })
		before := "at its end"
		for _, next := range r.program[d][at+1:] {
			if len(next.Passes) > 0 {
				before = fmt.Sprintf("before %v", next.Passes[0])
				break
			}
		}
		devices = append(devices, d)
		waits = append(waits, fmt.Sprintf("device %d waits, %s, to %v", d, before, step.Batch[i]))
		d = int(step.Batch[i].Peer)
	}
	return fmt.Errorf("deadlock: %s", strings.Join(waits[slices.Index(devices, d):], "; "))
}
